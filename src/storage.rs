//! The stores: where state is kept, under which durability, and how a schema comes into being.
//!
//! One [`registry`] names each store; nothing else opens one. The rules of what may be written are not here but in
//! [`tranche_actors::domain::ledger`]: a store loads, lets them decide, and saves.

pub mod lock;
pub mod migrations;
pub mod profiles;
pub mod registry;
pub mod sqlite;

use tranche_actors::ports::store::{StoreError, Switches};

use crate::settings::Storage;

/// The switches as the ledger remembers them, read beside whoever has it open; unknown where there is no ledger yet.
///
/// # Errors
/// When it can't be read.
pub async fn remembered_switches(settings: &Storage) -> Result<Switches, StoreError> {
    sqlite::remembered_switches(&settings.folder).await
}

#[cfg(test)]
mod conformance;
