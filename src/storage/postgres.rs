//! The ledger in a schema of a PostgreSQL database: a connection that writes for each account, one for its lease, one for
//! heartbeats and one for confirmations, which wait for no batch and not for each other, and a pool that reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
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
    OrderFilter, Ownership, Page, ParentFilter, Stack, Store, StoreError, Switches, Writer,
};

use self::commit::Failed;
use self::faults::classify;
use self::session::{Patience, Session, connect, set_up, within};
use super::profiles::Role;
use super::registry::{LEDGER, StoreSpec};

mod cells;
mod columns;
mod commit;
pub(in crate::storage) mod faults;
pub(crate) mod keys;
mod leases;
mod load;
mod migrating;
mod reads;
mod save;
pub mod session;
pub mod upkeep;

/// How a database is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// Whether `open` may apply migrations, or refuses while some are pending.
    pub migrate_on_start: bool,
    /// How many reads may run at once.
    pub readers: u32,
    /// How long the server is waited for.
    pub patience: Patience,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { migrate_on_start: true, readers: 4, patience: Patience::default() }
    }
}

/// The ledger in a database that others may use too.
///
/// A connection is taken out of its place for as long as it works, and comes back only from a transaction that has ended:
/// one that failed, or that nobody waits for any more, is closed, and who comes next opens another.
pub struct PostgresStore {
    options: PgConnectOptions,
    settings: PostgresSettings,
    spec: &'static StoreSpec,
    opened: RwLock<Option<Arc<Opened>>>,
}

struct Opened {
    writers: Mutex<BTreeMap<Scribe, Arc<Mutex<Place>>>>,
    /// The history of the database under which each account was taken.
    taken_under: Mutex<BTreeMap<String, String>>,
    /// Idle connections of what is asked beside the batches.
    errands: Mutex<BTreeMap<Errand, Session>>,
    readers: PgPool,
}

/// Who writes through a connection of its own. A guest's marks never wait behind what the owner's writer is stuck in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scribe {
    Owner(String),
    Guest(String),
    Nobody,
}

impl Scribe {
    fn of(writer: &Writer) -> Self {
        match writer {
            Writer::Owner(ownership) => Self::Owner(ownership.account.to_string()),
            Writer::Guest(account) => Self::Guest(account.to_string()),
            Writer::Nobody => Self::Nobody,
        }
    }
}

/// What is asked beside the batches, each on a connection of its own: a lease that waits for its row, or for an answer that
/// never comes, must not keep another account's from being renewed, nor an engagement from being confirmed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Errand {
    Lease(String),
    Life,
    Confirmation,
}

impl Errand {
    fn lease(account: &AccountName) -> Self {
        Self::Lease(account.to_string())
    }
}

/// The place of a connection that writes; empty between a failure and the next write.
#[derive(Default)]
struct Place {
    idle: Option<Session>,
}

impl PostgresStore {
    /// A ledger that is not open yet. How the connection is secured is in the options, from the URL's `sslmode`.
    #[must_use]
    pub fn new(options: PgConnectOptions, settings: PostgresSettings) -> Self {
        crate::tls::install();
        let options = options.application_name("tranche").disable_statement_logging();
        Self { options, settings, spec: &LEDGER, opened: RwLock::new(None) }
    }

    async fn connect(&self, role: Role) -> Result<Session, StoreError> {
        connect(&self.options, self.spec.name, self.spec.profile, role, self.settings.patience).await
    }

    /// One reader is opened and checked before the pool, which would only try again, and say nothing of the reason.
    async fn connect_readers(&self) -> Result<PgPool, StoreError> {
        drop(self.connect(Role::Reader).await?);
        let (schema, profile, patience) = (self.spec.name, self.spec.profile, self.settings.patience);
        let pool = PgPoolOptions::new()
            .max_connections(self.settings.readers.max(1))
            .acquire_timeout(patience.acquire)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    let checked = set_up(connection, schema, profile, Role::Reader, patience).await;
                    checked.map(drop).map_err(|error| sqlx::Error::Configuration(error.to_string().into()))
                })
            })
            .connect_lazy_with(self.options.clone());
        Ok(pool)
    }

    async fn opened(&self) -> Result<Arc<Opened>, StoreError> {
        let opened = self.opened.read().await.clone();
        opened.ok_or_else(|| StoreError::Unavailable { detail: "it is not open".to_owned() })
    }

    /// One question to the pool, with a bound.
    async fn read<T>(&self, question: impl AsyncFnOnce(&PgPool) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let readers = self.opened().await?.readers.clone();
        within(self.settings.patience.answer, question(&readers)).await
    }

    /// A statement that is a transaction of its own. One that failed, was refused or not waited for leaves a connection that
    /// is not used again.
    async fn outside_a_batch<T>(
        &self,
        errand: Errand,
        run: impl AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let opened = self.opened().await?;
        let idle = opened.errands.lock().await.remove(&errand);
        let mut session = match idle {
            Some(session) => session,
            None => self.connect(Role::Writer).await?,
        };
        let result = within(self.settings.patience.answer, run(&mut session)).await;
        if result.is_ok() {
            opened.errands.lock().await.insert(errand, session);
        }
        result
    }

    /// The connection of a batch. Where the database went back behind what the account's owner has seen, the owner has to
    /// recover first.
    async fn session(&self, opened: &Opened, place: &mut Place, batch: &Batch) -> Result<Session, StoreError> {
        let taken_under = match &batch.writer {
            Writer::Owner(ownership) => opened.taken_under.lock().await.get(ownership.account.as_str()).cloned(),
            Writer::Guest(_) | Writer::Nobody => None,
        };
        let is_another = |session: &Session| taken_under.as_ref().is_some_and(|history| *history != session.history);
        // It may be from before the account was taken.
        let session = match place.idle.take().filter(|session| !is_another(session)) {
            Some(session) => session,
            None => self.connect(Role::Writer).await?,
        };
        if let Writer::Owner(ownership) = &batch.writer {
            opened.must_be_as_taken(ownership, &session).await?;
        }
        Ok(session)
    }

    /// After a failure before the commit: where the server has answered, a connection that rolls back is as good as new.
    async fn give_back(&self, place: &mut Place, mut session: Session, error: &StoreError) {
        if matches!(error, StoreError::Unavailable { .. }) {
            return;
        }
        let rolled_back = async { sqlx::query("ROLLBACK").execute(&mut session.connection).await.map_err(classify) };
        if within(self.settings.patience.answer, rolled_back).await.is_ok() {
            place.idle = Some(session);
        }
    }

    /// What is known of a batch whose commit failed, from a connection that had no part in it.
    async fn after_failed_commit(&self, batch: &Batch, detail: String, then: Commit) -> Result<Commit, StoreError> {
        match self.read_back(batch).await {
            Ok(true) => Ok(then),
            Ok(false) => Err(StoreError::Unavailable { detail }),
            Err(unread) => Err(StoreError::OutcomeUnknown {
                detail: format!("{detail}; and it can't be read back: {unread}"),
                then,
            }),
        }
    }

    async fn read_back(&self, batch: &Batch) -> Result<bool, StoreError> {
        let mut session = self.connect(Role::Writer).await?;
        within(self.settings.patience.answer, commit::is_last(&mut session.connection, batch)).await
    }
}

impl Opened {
    async fn place(&self, writer: &Writer) -> Arc<Mutex<Place>> {
        Arc::clone(self.writers.lock().await.entry(Scribe::of(writer)).or_default())
    }

    /// Whether the database is that under which the account was taken.
    async fn must_be_as_taken(&self, ownership: &Ownership, session: &Session) -> Result<(), StoreError> {
        let taken_under = self.taken_under.lock().await;
        match taken_under.get(ownership.account.as_str()) {
            Some(before) if *before != session.history => {
                tracing::error!(
                    account = %ownership.account, %before, now = session.history,
                    "the database has another history than when the account was taken: it may lack the last commits"
                );
                Err(StoreError::Deposed)
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn open(&self) -> Result<(), StoreError> {
        let mut opened = self.opened.write().await;
        if opened.is_some() {
            return Ok(());
        }
        let may_apply = self.settings.migrate_on_start;
        migrating::open(&self.options, self.spec, self.settings.patience, may_apply).await?;
        *opened = Some(Arc::new(Opened {
            writers: Mutex::default(),
            taken_under: Mutex::default(),
            errands: Mutex::default(),
            readers: self.connect_readers().await?,
        }));
        Ok(())
    }

    async fn acquire(
        &self,
        account: &AccountName,
        instance: &str,
        lease: Option<Duration>,
    ) -> Result<Acquired, StoreError> {
        let (acquired, history) = self
            .outside_a_batch(Errand::lease(account), async |session| {
                Ok((leases::acquire(session, account, instance, lease).await?, session.history.clone()))
            })
            .await?;
        if matches!(acquired, Acquired::Taken(_)) {
            self.opened().await?.taken_under.lock().await.insert(account.to_string(), history);
        }
        Ok(acquired)
    }

    async fn renew(&self, ownership: &Ownership, lease: Duration) -> Result<(), StoreError> {
        let opened = self.opened().await?;
        self.outside_a_batch(Errand::lease(&ownership.account), async |session| {
            opened.must_be_as_taken(ownership, session).await?;
            leases::renew(session, ownership, lease).await
        })
        .await
    }

    async fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.outside_a_batch(Errand::lease(&ownership.account), async |session| {
            leases::release(session, ownership).await
        })
        .await
    }

    async fn is_rewound(&self, ownership: &Ownership) -> Result<bool, StoreError> {
        self.outside_a_batch(Errand::lease(&ownership.account), async |session| {
            leases::is_rewound(session, ownership).await
        })
        .await
    }

    async fn caught_up(&self, ownership: &Ownership) -> Result<(), StoreError> {
        let opened = self.opened().await?;
        self.outside_a_batch(Errand::lease(&ownership.account), async |session| {
            opened.must_be_as_taken(ownership, session).await?;
            leases::caught_up(session, ownership).await
        })
        .await
    }

    async fn heartbeat(&self, instance: &InstanceCard) -> Result<(), StoreError> {
        self.outside_a_batch(Errand::Life, async |session| leases::heartbeat(session, instance).await).await
    }

    async fn farewell(&self, instance: &str) -> Result<(), StoreError> {
        self.outside_a_batch(Errand::Life, async |session| leases::farewell(session, instance).await).await
    }

    async fn stack(&self) -> Result<Stack, StoreError> {
        self.read(async |pool| leases::stack(pool).await).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Commit, StoreError> {
        let opened = self.opened().await?;
        let place = opened.place(&batch.writer).await;
        let mut place = place.lock().await;
        let mut session = self.session(&opened, &mut place, batch).await?;
        match commit::run(&mut session.connection, batch, self.settings.patience.answer).await {
            Ok(results) => {
                place.idle = Some(session);
                Ok(results)
            }
            Err(Failed::Before(error)) => {
                self.give_back(&mut place, session, &error).await;
                Err(error)
            }
            Err(Failed::AtCommit { detail, then }) => {
                drop(session);
                self.after_failed_commit(batch, detail, then).await
            }
        }
    }

    async fn settle(&self, batch: &Batch) -> Result<bool, StoreError> {
        let opened = self.opened().await?;
        let place = opened.place(&batch.writer).await;
        let mut place = place.lock().await;
        place.idle = None;
        self.read_back(batch).await
    }

    async fn order(&self, id: &OrderId) -> Result<Option<AnyOrder>, StoreError> {
        self.read(async |pool| reads::order(pool, id).await).await
    }

    async fn by_key(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<AnyOrder>, StoreError> {
        self.read(async |pool| reads::by_key(pool, caller, key).await).await
    }

    async fn slices(&self, parent: &OrderId) -> Result<Vec<Order>, StoreError> {
        self.read(async |pool| reads::slices(pool, parent).await).await
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Page<Order>, StoreError> {
        self.read(async |pool| reads::orders(pool, filter).await).await
    }

    async fn parents(&self, filter: &ParentFilter) -> Result<Page<Parent>, StoreError> {
        self.read(async |pool| reads::parents(pool, filter).await).await
    }

    async fn events(&self, id: &OrderId) -> Result<Vec<LedgerEvent>, StoreError> {
        self.read(async |pool| reads::events(pool, id).await).await
    }

    async fn open_parents(&self, account: &AccountName) -> Result<Vec<Parent>, StoreError> {
        self.read(async |pool| reads::open_parents(pool, account).await).await
    }

    async fn due_slices(
        &self,
        parent: &OrderId,
        after: Option<(DateTime<Utc>, u32)>,
        limit: u32,
    ) -> Result<Vec<DueSlice>, StoreError> {
        self.read(async |pool| reads::due_slices(pool, parent, after, limit).await).await
    }

    async fn open_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError> {
        self.read(async |pool| reads::open_orders(pool, account).await).await
    }

    async fn marked_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError> {
        self.read(async |pool| reads::marked_orders(pool, account).await).await
    }

    async fn unknown_orders(&self) -> Result<Vec<OrderId>, StoreError> {
        self.read(async |pool| reads::unknown_orders(pool).await).await
    }

    async fn switches(&self) -> Result<Switches, StoreError> {
        self.read(async |pool| reads::switches(pool).await).await
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn confirm(&self, engagement: &str, instance: &str, cut: &[OrderId]) -> Result<(), StoreError> {
        self.outside_a_batch(Errand::Confirmation, async |session| {
            save::confirm(&mut session.connection, engagement, instance, cut).await
        })
        .await
    }

    async fn confirmations(&self, engagement: &str) -> Result<Vec<Confirmation>, StoreError> {
        self.read(async |pool| reads::confirmations(pool, engagement).await).await
    }

    async fn switch_history(&self, switch: &str, limit: u32) -> Result<Vec<SwitchEntry>, StoreError> {
        self.read(async |pool| reads::switch_history(pool, switch, limit).await).await
    }

    async fn has_switch_entry(&self, switch: &str, event: &str, at: DateTime<Utc>) -> Result<bool, StoreError> {
        self.read(async |pool| reads::has_switch_entry(pool, switch, event, at).await).await
    }

    async fn limits(&self, known: Option<u64>) -> Result<Option<LimitBook>, StoreError> {
        self.read(async |pool| reads::limits(pool, known).await).await
    }

    async fn audit(&self, cursor: Option<u64>, limit: u32) -> Result<Page<Audited>, StoreError> {
        self.read(async |pool| reads::audit(pool, cursor, limit).await).await
    }

    async fn first_answer(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<FirstAnswer>, StoreError> {
        self.read(async |pool| reads::first_answer(pool, caller, key).await).await
    }

    async fn api_key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        self.read(async |pool| keys::read(pool, id).await).await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(async |pool| keys::read_all(pool).await).await
    }

    async fn causes(&self, account: &AccountName) -> Result<Vec<Cause>, StoreError> {
        self.read(async |pool| reads::causes(pool, account).await).await
    }

    async fn positions(&self, account: &AccountName) -> Result<Vec<HeldPosition>, StoreError> {
        self.read(async |pool| reads::positions(pool, account).await).await
    }

    async fn claims_since(&self, account: &AccountName, since: DateTime<Utc>) -> Result<Vec<Claimed>, StoreError> {
        self.read(async |pool| reads::claims_since(pool, account, since).await).await
    }

    async fn portfolio(&self, account: &AccountName) -> Result<Portfolio, StoreError> {
        self.read(async |pool| reads::portfolio(pool, account).await).await
    }

    async fn capital(
        &self,
        account: &AccountName,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<CapitalEntry>, StoreError> {
        self.read(async |pool| reads::capital(pool, account, before, limit).await).await
    }

    async fn days(
        &self,
        account: &AccountName,
        until: Option<NaiveDate>,
        limit: u32,
    ) -> Result<Vec<DayResult>, StoreError> {
        self.read(async |pool| reads::days(pool, account, until, limit).await).await
    }

    async fn close(&self) {
        let Some(opened) = self.opened.write().await.take() else {
            return;
        };
        let closed = async {
            opened.readers.close().await;
            let errands = std::mem::take(&mut *opened.errands.lock().await);
            let mut idle = errands.into_values().collect::<Vec<_>>();
            for place in opened.writers.lock().await.values() {
                idle.extend(place.lock().await.idle.take());
            }
            for session in idle {
                session.connection.close().await.map_err(classify)?;
            }
            Ok(())
        };
        if let Err(error) = within(self.settings.patience.answer, closed).await {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

#[cfg(test)]
mod tests;
