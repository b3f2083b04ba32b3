//! The port's promises, held to a database of a real server.

use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tranche_actors::ports::store::Store;
use tranche_servers::Database;

use crate::storage::conformance::{Place, suite};
use crate::storage::postgres::session::Patience;
use crate::storage::postgres::{PostgresSettings, PostgresStore};

/// A database of the test's own.
pub(super) struct Base {
    database: Database,
}

impl Base {
    pub(super) fn new() -> Self {
        Self { database: Database::new() }
    }

    pub(super) fn url(&self) -> &str {
        self.database.url()
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        options(self.database.url())
    }

    pub(super) fn store_with(&self, settings: PostgresSettings) -> PostgresStore {
        PostgresStore::new(self.options(), settings)
    }

    /// A connection that is not the store's, as another program would have it.
    pub(super) async fn beside(&self) -> PgConnection {
        beside(self.database.url()).await
    }
}

pub(super) fn options(url: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(url).unwrap()
}

pub(super) async fn beside(url: &str) -> PgConnection {
    options(url).options([("search_path", "ledger")]).connect().await.unwrap()
}

/// Bounds that a test can wait for.
pub(super) const SOON: Patience = Patience {
    connect: Duration::from_secs(2),
    acquire: Duration::from_secs(2),
    statement: Duration::from_millis(800),
    lock: Duration::from_millis(400),
    idle_in_transaction: Duration::from_millis(600),
    answer: Duration::from_secs(1),
};

#[async_trait]
impl Place for Base {
    async fn store(&self) -> Box<dyn Store> {
        Box::new(self.store_with(PostgresSettings::default()))
    }
}

suite!(Base::new());
