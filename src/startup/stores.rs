//! The store that the settings ask for, not opened yet.

use std::str::FromStr;
use std::sync::Arc;

use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use tranche_actors::ports::store::{Store, StoreError};

use super::StartupError;
use crate::settings::{Settings, StorePlace};
use crate::storage::lock::DataLock;
use crate::storage::postgres::{PostgresSettings, PostgresStore};
use crate::storage::sqlite::{SqliteSettings, SqliteStore};

/// A store, and where it is embedded the right to its folder: of a database there are many users.
pub(super) struct Kept {
    pub(super) store: Arc<dyn Store>,
    _folder: Option<Arc<DataLock>>,
}

pub(super) fn store(settings: &Settings) -> Result<Kept, StartupError> {
    let storage = &settings.storage;
    let (migrate_on_start, readers) = (storage.migrate_on_start, storage.readers.get());
    match &storage.place {
        StorePlace::Embedded => {
            let folder = Arc::new(DataLock::take(&storage.folder)?);
            let own = SqliteSettings { migrate_on_start, readers, ..SqliteSettings::default() };
            Ok(Kept { store: Arc::new(SqliteStore::new(Arc::clone(&folder), own)), _folder: Some(folder) })
        }
        StorePlace::Postgres(url) => {
            let own = PostgresSettings { migrate_on_start, readers, ..PostgresSettings::default() };
            // The settings were judged by the same rule; what it says may repeat the password.
            let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|_| {
                StartupError::Store(StoreError::Unusable { detail: "storage.url names no database".to_owned() })
            })?;
            Ok(Kept { store: Arc::new(PostgresStore::new(options, own)), _folder: None })
        }
    }
}
