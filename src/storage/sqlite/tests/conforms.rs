//! The port's promises, held to an SQLite file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::Mutex;
use tranche_actors::ports::store::Store;

use super::{Folder, folder};
use crate::storage::conformance::{Place, suite};
use crate::storage::lock::DataLock;
use crate::storage::sqlite::{SqliteSettings, SqliteStore};

/// A data folder of the test's own.
pub(super) struct File {
    folder: Folder,
    lock: Mutex<Option<Arc<DataLock>>>,
}

impl File {
    /// How long its connections wait for a lock.
    pub(super) const BUSY: Duration = Duration::from_millis(250);

    pub(super) fn new() -> Self {
        Self { folder: folder(), lock: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) async fn lock(&self) -> Arc<DataLock> {
        let mut held = self.lock.lock().await;
        held.get_or_insert_with(|| Arc::new(DataLock::take(self.path()).unwrap())).clone()
    }

    /// A connection that is not the store's, as another program would have it.
    pub(super) async fn beside(&self) -> SqliteConnection {
        let file = self.path().join("ledger.db");
        SqliteConnectOptions::new().filename(file).connect().await.unwrap()
    }
}

#[async_trait]
impl Place for File {
    async fn store(&self) -> Box<dyn Store> {
        let settings = SqliteSettings { busy_timeout: Self::BUSY, ..SqliteSettings::default() };
        Box::new(SqliteStore::new(self.lock().await, settings))
    }
}

suite!(File::new());
