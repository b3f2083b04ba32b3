//! The ledger in an SQLite file: one connection that writes, a pool that reads.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, RwLock};
use tranche_actors::domain::audit::Audited;
use tranche_actors::domain::keys::{ApiKey, KeyId};
use tranche_actors::domain::ledger::SwitchEntry;
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::names::{AccountName, Caller, IdempotencyKey, OrderId};
use tranche_actors::domain::once::FirstAnswer;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::portfolio::{CapitalEntry, DayResult, Portfolio};
use tranche_actors::domain::reconciliation::Cause;
use tranche_actors::ports::store::{
    Acquired, AnyOrder, Batch, Claimed, Commit, Confirmation, DueSlice, HeldPosition, InstanceCard, LedgerEvent,
    OrderFilter, Ownership, Page, ParentFilter, Stack, Store, StoreError, Switches,
};

use self::commit::Failed;
use self::faults::classify;
use super::lock::DataLock;
use super::migrations::migrate;
use super::profiles::Role;
use super::registry::{LEDGER, StoreSpec};

pub(super) mod cells;
mod columns;
mod commit;
pub(crate) mod faults;
pub(crate) mod keys;
mod leases;
mod load;
mod reads;
mod save;
pub mod upkeep;

/// How an embedded store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteSettings {
    /// Whether `open` may apply migrations, or refuses while some are pending.
    pub migrate_on_start: bool,
    /// How many reads may run at once.
    pub readers: u32,
    /// How long a connection waits for a lock of somebody else.
    pub busy_timeout: Duration,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { migrate_on_start: true, readers: 4, busy_timeout: Duration::from_secs(5) }
    }
}

/// The ledger as a file of the data folder.
///
/// A connection that writes is taken out of its place for as long as it works, and comes back only from a transaction
/// that has ended: one that failed, or that nobody waits for any more, is closed, and the next write opens another.
pub struct SqliteStore {
    folder: Arc<DataLock>,
    settings: SqliteSettings,
    spec: &'static StoreSpec,
    writer: Mutex<Option<Writer>>,
    readers: RwLock<Option<SqlitePool>>,
}

/// The writer's place; empty between a failure and the next write.
#[derive(Default)]
struct Writer {
    idle: Option<SqliteConnection>,
    /// Device and inode of the file that was opened.
    file: (u64, u64),
}

impl SqliteStore {
    /// A ledger that is not open yet, in a folder that is ours.
    #[must_use]
    pub fn new(folder: Arc<DataLock>, settings: SqliteSettings) -> Self {
        Self { folder, settings, spec: &LEDGER, writer: Mutex::new(None), readers: RwLock::new(None) }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.folder().join(self.spec.sqlite_file)
    }

    /// Which file the path names now. A ledger that was moved or deleted under us takes writes that nobody finds again.
    fn identity(&self) -> Result<(u64, u64), StoreError> {
        let file = self.file();
        let found = std::fs::metadata(&file)
            .map_err(|error| StoreError::Unavailable { detail: format!("{}: {error}", file.display()) })?;
        Ok((found.dev(), found.ino()))
    }

    /// Only the first connection makes a file: one that vanished while we ran must not come back empty.
    async fn connect(&self, create: bool) -> Result<SqliteConnection, StoreError> {
        let (profile, wait) = (self.spec.profile, self.settings.busy_timeout);
        let options = profile.options(&self.file(), Role::Writer, wait).create_if_missing(create);
        let mut connection = options.connect().await.map_err(classify)?;
        profile.check(&mut connection, Role::Writer, wait).await?;
        Ok(connection)
    }

    /// One reader is opened and checked before the pool, which would only try again, and say nothing of the reason.
    async fn connect_readers(&self) -> Result<SqlitePool, StoreError> {
        let (profile, wait) = (self.spec.profile, self.settings.busy_timeout);
        let options = profile.options(&self.file(), Role::Reader, wait);
        let mut first = options.connect().await.map_err(classify)?;
        profile.check(&mut first, Role::Reader, wait).await?;
        close(first).await;
        SqlitePoolOptions::new()
            .max_connections(self.settings.readers.max(1))
            .min_connections(1)
            .acquire_timeout(wait)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    let checked = profile.check(connection, Role::Reader, wait).await;
                    checked.map_err(|error| sqlx::Error::Configuration(error.to_string().into()))
                })
            })
            .connect_with(options)
            .await
            .map_err(classify)
    }

    async fn readers(&self) -> Result<SqlitePool, StoreError> {
        self.readers.read().await.clone().ok_or_else(not_open)
    }

    /// A statement of the writer's that is a transaction of its own. One that failed, or was not waited for, leaves a
    /// connection that is not used again.
    async fn outside_a_batch<T>(
        &self,
        run: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut place = self.writer.lock().await;
        let writer = place.as_mut().ok_or_else(not_open)?;
        let mut connection = writer.take(self).await?;
        let result = run(&mut connection).await;
        if matches!(result, Ok(_) | Err(StoreError::Deposed)) {
            writer.idle = Some(connection);
        }
        result
    }

    /// What is known of a batch whose commit failed, from a connection that had no part in it.
    async fn after_failed_commit(&self, batch: &Batch, detail: String, then: Commit) -> Result<Commit, StoreError> {
        let answer = match self.connect(false).await {
            Ok(mut connection) => commit::is_last(&mut connection, batch).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(true) => Ok(then),
            Ok(false) => Err(StoreError::Unavailable { detail }),
            Err(unread) => Err(StoreError::OutcomeUnknown {
                detail: format!("{detail}; and it can't be read back: {unread}"),
                then,
            }),
        }
    }
}

fn not_open() -> StoreError {
    StoreError::Unavailable { detail: "it is not open".to_owned() }
}

impl Writer {
    async fn take(&mut self, store: &SqliteStore) -> Result<SqliteConnection, StoreError> {
        match self.idle.take() {
            Some(connection) => Ok(connection),
            None => store.connect(false).await,
        }
    }

    /// After a failure before the commit: a connection that rolls back is as good as new.
    async fn give_back(&mut self, mut connection: SqliteConnection) {
        match sqlx::query("ROLLBACK").execute(&mut connection).await {
            Ok(_) => self.idle = Some(connection),
            Err(_) => close(connection).await,
        }
    }
}

/// Waits until the connection's thread has let go of the file.
async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close_hard().await {
        tracing::debug!(%error, "a connection of the store did not close cleanly");
    }
}

/// The switches in a folder's ledger, which somebody else may have open.
pub(super) async fn remembered_switches(folder: &Path) -> Result<Switches, StoreError> {
    let file = folder.join(LEDGER.sqlite_file);
    if !file.exists() {
        return Ok(Switches::default());
    }
    let options = LEDGER.profile.options(&file, Role::Reader, Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(classify)?;
    let switches = reads::switches(&pool).await;
    pool.close().await;
    switches
}

#[async_trait]
impl Store for SqliteStore {
    async fn open(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        if writer.is_some() {
            return Ok(());
        }
        let mut connection = self.connect(true).await?;
        migrate(&mut connection, self.spec.sqlite_migrations, self.settings.migrate_on_start).await?;
        *self.readers.write().await = Some(self.connect_readers().await?);
        let file = self.identity()?;
        *writer = Some(Writer { idle: Some(connection), file });
        Ok(())
    }

    async fn acquire(
        &self,
        account: &AccountName,
        instance: &str,
        lease: Option<Duration>,
    ) -> Result<Acquired, StoreError> {
        self.outside_a_batch(async |connection| leases::acquire(connection, account, instance, lease).await).await
    }

    async fn renew(&self, ownership: &Ownership, lease: Duration) -> Result<(), StoreError> {
        self.outside_a_batch(async |connection| leases::renew(connection, ownership, lease).await).await
    }

    async fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.outside_a_batch(async |connection| leases::release(connection, ownership).await).await
    }

    async fn is_rewound(&self, ownership: &Ownership) -> Result<bool, StoreError> {
        self.outside_a_batch(async |connection| leases::is_rewound(connection, ownership).await).await
    }

    async fn caught_up(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.outside_a_batch(async |connection| leases::caught_up(connection, ownership).await).await
    }

    async fn heartbeat(&self, instance: &InstanceCard) -> Result<(), StoreError> {
        self.outside_a_batch(async |connection| leases::heartbeat(connection, instance).await).await
    }

    async fn farewell(&self, instance: &str) -> Result<(), StoreError> {
        self.outside_a_batch(async |connection| leases::farewell(connection, instance).await).await
    }

    async fn stack(&self) -> Result<Stack, StoreError> {
        leases::stack(&self.readers().await?).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Commit, StoreError> {
        let mut place = self.writer.lock().await;
        let writer = place.as_mut().ok_or_else(not_open)?;
        if self.identity()? != writer.file {
            return Err(StoreError::Unavailable {
                detail: format!("{} is not the file that was opened", self.file().display()),
            });
        }
        let mut connection = writer.take(self).await?;
        match commit::run(&mut connection, batch).await {
            Ok(results) => {
                writer.idle = Some(connection);
                Ok(results)
            }
            Err(Failed::Before(error)) => {
                writer.give_back(connection).await;
                Err(error)
            }
            Err(Failed::AtCommit { detail, in_doubt, then }) => {
                close(connection).await;
                if in_doubt {
                    return Err(StoreError::OutcomeUnknown { detail, then });
                }
                self.after_failed_commit(batch, detail, then).await
            }
        }
    }

    async fn settle(&self, batch: &Batch) -> Result<bool, StoreError> {
        let mut place = self.writer.lock().await;
        let writer = place.as_mut().ok_or_else(not_open)?;
        if let Some(connection) = writer.idle.take() {
            close(connection).await;
        }
        let mut connection = writer.take(self).await?;
        let settled = commit::settle(&mut connection, batch).await;
        match settled {
            Ok(_) => writer.idle = Some(connection),
            Err(_) => writer.give_back(connection).await,
        }
        settled
    }

    async fn order(&self, id: &OrderId) -> Result<Option<AnyOrder>, StoreError> {
        reads::order(&self.readers().await?, id).await
    }

    async fn by_key(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<AnyOrder>, StoreError> {
        reads::by_key(&self.readers().await?, caller, key).await
    }

    async fn slices(&self, parent: &OrderId) -> Result<Vec<Order>, StoreError> {
        reads::slices(&self.readers().await?, parent).await
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Page<Order>, StoreError> {
        reads::orders(&self.readers().await?, filter).await
    }

    async fn parents(&self, filter: &ParentFilter) -> Result<Page<Parent>, StoreError> {
        reads::parents(&self.readers().await?, filter).await
    }

    async fn events(&self, id: &OrderId) -> Result<Vec<LedgerEvent>, StoreError> {
        reads::events(&self.readers().await?, id).await
    }

    async fn open_parents(&self, account: &AccountName) -> Result<Vec<Parent>, StoreError> {
        reads::open_parents(&self.readers().await?, account).await
    }

    async fn due_slices(
        &self,
        parent: &OrderId,
        after: Option<(DateTime<Utc>, u32)>,
        limit: u32,
    ) -> Result<Vec<DueSlice>, StoreError> {
        reads::due_slices(&self.readers().await?, parent, after, limit).await
    }

    async fn open_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError> {
        reads::open_orders(&self.readers().await?, account).await
    }

    async fn marked_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError> {
        reads::marked_orders(&self.readers().await?, account).await
    }

    async fn unknown_orders(&self) -> Result<Vec<OrderId>, StoreError> {
        reads::unknown_orders(&self.readers().await?).await
    }

    async fn switches(&self) -> Result<Switches, StoreError> {
        reads::switches(&self.readers().await?).await
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn confirm(&self, engagement: &str, instance: &str, cut: &[OrderId]) -> Result<(), StoreError> {
        self.outside_a_batch(async |connection| save::confirm(connection, engagement, instance, cut).await).await
    }

    async fn confirmations(&self, engagement: &str) -> Result<Vec<Confirmation>, StoreError> {
        reads::confirmations(&self.readers().await?, engagement).await
    }

    async fn switch_history(&self, switch: &str, limit: u32) -> Result<Vec<SwitchEntry>, StoreError> {
        reads::switch_history(&self.readers().await?, switch, limit).await
    }

    async fn has_switch_entry(&self, switch: &str, event: &str, at: DateTime<Utc>) -> Result<bool, StoreError> {
        reads::has_switch_entry(&self.readers().await?, switch, event, at).await
    }

    async fn limits(&self, known: Option<u64>) -> Result<Option<LimitBook>, StoreError> {
        reads::limits(&self.readers().await?, known).await
    }

    async fn audit(&self, cursor: Option<u64>, limit: u32) -> Result<Page<Audited>, StoreError> {
        reads::audit(&self.readers().await?, cursor, limit).await
    }

    async fn first_answer(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<FirstAnswer>, StoreError> {
        reads::first_answer(&self.readers().await?, caller, key).await
    }

    async fn api_key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        keys::read(&self.readers().await?, id).await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        keys::read_all(&self.readers().await?).await
    }

    async fn causes(&self, account: &AccountName) -> Result<Vec<Cause>, StoreError> {
        reads::causes(&self.readers().await?, account).await
    }

    async fn positions(&self, account: &AccountName) -> Result<Vec<HeldPosition>, StoreError> {
        reads::positions(&self.readers().await?, account).await
    }

    async fn claims_since(&self, account: &AccountName, since: DateTime<Utc>) -> Result<Vec<Claimed>, StoreError> {
        reads::claims_since(&self.readers().await?, account, since).await
    }

    async fn portfolio(&self, account: &AccountName) -> Result<Portfolio, StoreError> {
        reads::portfolio(&self.readers().await?, account).await
    }

    async fn capital(
        &self,
        account: &AccountName,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<CapitalEntry>, StoreError> {
        reads::capital(&self.readers().await?, account, before, limit).await
    }

    async fn days(
        &self,
        account: &AccountName,
        until: Option<NaiveDate>,
        limit: u32,
    ) -> Result<Vec<DayResult>, StoreError> {
        reads::days(&self.readers().await?, account, until, limit).await
    }

    async fn close(&self) {
        let mut place = self.writer.lock().await;
        if let Some(pool) = self.readers.write().await.take() {
            pool.close().await;
        }
        // The last connection that closes folds the log into the file.
        if let Some(connection) = place.take().and_then(|writer| writer.idle)
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
