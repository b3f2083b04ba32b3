//! The store that the settings ask for, not opened yet.

use std::str::FromStr;
use std::sync::Arc;

use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use tranche_actors::ports::store::{Store, StoreError};

use super::StartupError;
use crate::settings::{Settings, StorePlace};
use crate::storage::lock::DataLock;
use crate::storage::postgres::{self, PostgresSettings, PostgresStore};
use crate::storage::sqlite::{self, SqliteSettings, SqliteStore};

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

/// Whether the store has a key of the API, taken back or not; `None` where that can't be told now.
pub(super) async fn has_keys(settings: &Settings) -> Option<bool> {
    let found = match &settings.storage.place {
        StorePlace::Embedded => sqlite::keys::look(&settings.storage.folder).await,
        StorePlace::Postgres(url) => {
            let options = PgConnectOptions::from_str(url.expose_secret()).ok()?;
            postgres::keys::look(&options).await
        }
    };
    found.inspect_err(|error| tracing::warn!(%error, "whether the store has keys is not known yet")).ok()
}
