//! The seam between the command line and the server: everything that a command knows of the start-up is here.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::settings::Settings;

/// Why the server is not running.
#[derive(Debug, thiserror::Error)]
#[expect(dead_code, reason = "the start-up that makes some of them is not joined yet")]
pub(super) enum LaunchError {
    /// Somebody else listens there. Choose another port.
    #[error("{address} is taken: choose another address by --bind or TRANCHE__HTTP__BIND")]
    AddressInUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// Another server works on these stores. Stop it, or choose another folder.
    #[error("{} is in use: {detail}", folder.display())]
    FolderInUse {
        /// The folder of the stores.
        folder: PathBuf,
        /// Who holds it.
        detail: String,
    },
    /// It ran and gave itself up. Start it again: it recovers.
    #[error("the server gave itself up: {detail}")]
    GaveUp {
        /// Why.
        detail: String,
    },
    /// Anything else.
    #[error("the server failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// Runs the server until it has been told to stop and has drained. `on_ready` gets the address that it listens on, as
/// soon as it does.
///
/// # Errors
/// Why it did not start, or did not end well.
pub(super) async fn run(settings: Settings, on_ready: impl FnOnce(SocketAddr) + 'static) -> Result<(), LaunchError> {
    // To be replaced by `crate::startup::run(settings, on_ready)` and the mapping of its errors.
    drop((settings, on_ready));
    Err(LaunchError::Failed("the start-up is not joined yet".into()))
}

/// Runs work on the runtime that actors and HTTP workers need.
pub(super) fn on_a_system<T>(work: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(work)
}
