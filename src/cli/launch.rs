//! The seam between the command line and the server: everything that a command knows of the start-up is here.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::http::auth::AuthSetupError;
use crate::settings::Settings;
use crate::startup::{self, StartupError};
use crate::storage::lock::LockError;

/// Why the server is not running.
#[derive(Debug, thiserror::Error)]
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
    /// Nobody may, or everybody: a key is to be made, or a setting to be changed.
    #[error(transparent)]
    Keys(AuthSetupError),
    /// Anything else.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

/// Runs the server until it has been told to stop and has drained. `on_ready` gets the address that it listens on, as
/// soon as it does.
///
/// # Errors
/// Why it did not start, or did not end well.
pub(super) async fn run(settings: Settings, on_ready: impl FnOnce(SocketAddr) + 'static) -> Result<(), LaunchError> {
    startup::run(settings, on_ready).await.map_err(|error| match error {
        StartupError::AddressInUse { address } => LaunchError::AddressInUse { address },
        StartupError::Folder(held @ LockError::Held { .. }) => {
            let detail = held.to_string();
            let LockError::Held { folder, .. } = held else {
                return LaunchError::Failed(detail.into());
            };
            LaunchError::FolderInUse { folder, detail }
        }
        StartupError::Auth(error) => LaunchError::Keys(error),
        StartupError::SupervisorDied => LaunchError::GaveUp { detail: error.to_string() },
        other @ (StartupError::Listen { .. }
        | StartupError::Folder(LockError::Folder { .. })
        | StartupError::Paper(_)
        | StartupError::PaperSettings(_)
        | StartupError::Alpaca(_)
        | StartupError::NoKey
        | StartupError::Store(_)
        | StartupError::Redis(_)
        | StartupError::Account
        | StartupError::Metrics(_)
        | StartupError::Server(_)) => LaunchError::Failed(Box::new(other)),
    })
}

/// Runs work on the runtime that actors and HTTP workers need.
pub(super) fn on_a_system<T>(work: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::in_full;
    use crate::storage::lock::DataLock;

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_the_cause() {
        let folder = PathBuf::from("Cargo.toml");
        let refused = DataLock::take(&folder).unwrap_err();
        let told = in_full(&LaunchError::Failed(Box::new(StartupError::Folder(refused))));
        assert!(told.starts_with("the data folder Cargo.toml can't be used: "), "{told}");
        assert!(told.contains("os error"), "{told}");
    }
}
