//! The stores: where state is kept, under which durability, and how a schema comes into being.
//!
//! One [`registry`] names each store; nothing else opens one. The rules of what may be written are not here but in
//! [`tranche_actors::domain::ledger`]: a store loads, lets them decide, and saves.

mod capital;
mod cells;
mod columns;
mod load;
pub mod lock;
pub mod migrations;
pub mod postgres;
pub mod profiles;
pub mod registry;
mod rows;
pub mod sqlite;
pub mod upkeep;

use std::str::FromStr;

use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use tranche_actors::ports::store::{Store, StoreError, Switches};

use crate::settings::{Storage, StorePlace};

/// The switches as the ledger remembers them, read beside whoever has it open; unknown where there is no ledger yet.
///
/// # Errors
/// When it can't be read.
pub async fn remembered_switches(settings: &Storage) -> Result<Switches, StoreError> {
    let url = match &settings.place {
        StorePlace::Embedded => return all_of(sqlite::remembered_switches(&settings.folder).await?),
        StorePlace::Postgres(url) => url,
    };
    let options = PgConnectOptions::from_str(url.expose_secret())
        .map_err(|_| StoreError::Unusable { detail: "storage.url names no database".to_owned() })?;
    let own = postgres::PostgresSettings { migrate_on_start: false, ..postgres::PostgresSettings::default() };
    let store = postgres::PostgresStore::new(options, own);
    store.open().await?;
    let switches = store.switches().await;
    store.close().await;
    all_of(switches?)
}

/// Whoever acts on what is remembered has to know all of it.
fn all_of(switches: Switches) -> Result<Switches, StoreError> {
    if switches.unreadable.is_empty() {
        return Ok(switches);
    }
    Err(StoreError::Corrupt { detail: format!("what is stored of {} makes no sense", switches.unreadable.join(", ")) })
}

#[cfg(test)]
mod conformance;
