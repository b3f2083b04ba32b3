//! The port to the ledger.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use thiserror::Error;

use crate::domain::audit::Audited;
use crate::domain::breaker::BreakerState;
use crate::domain::halts::Halts;
use crate::domain::keys::{ApiKey, KeyId};
use crate::domain::kill::KillState;
use crate::domain::ledger::{Applied, CIRCUIT_BREAKER, FirstStart, HALTS, KILL_SWITCH, Refusal, SwitchEntry, Write};
use crate::domain::limits::LimitBook;
use crate::domain::money::Qty;
use crate::domain::names::{AccountName, Caller, IdempotencyKey, OrderId, StrategyId, Symbol};
use crate::domain::once::FirstAnswer;
use crate::domain::order::Order;
use crate::domain::parent::{Parent, ParentStatus};
use crate::domain::portfolio::{CapitalEntry, DayResult, Portfolio};
use crate::domain::position::Position;
use crate::domain::reconciliation::Cause;
use crate::domain::status::OrderStatus;
use crate::domain::trading_day::DayEnd;

/// The right to write an account's ledger: it ends when somebody takes a higher term. Where the store went back behind a
/// take-over, two owners may have the same term, so that only both together name one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The account.
    pub account: AccountName,
    /// The instance that took it.
    pub owner: String,
    /// Grows at every start and every take-over.
    pub term: u64,
}

/// What asking for an account came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours, under a term above every earlier one.
    Taken(Ownership),
    /// Another instance's lease on it is not over.
    HeldBy {
        /// That instance.
        owner: String,
        /// How long its lease goes on, by the store's clock, unless it is renewed.
        left: Duration,
    },
}

/// Who writes a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The account's owner: its term is checked, and the batch is named in the account's row.
    Owner(Ownership),
    /// Another instance, for the marks of a cancel alone. It takes the account's lock and its event numbers whatever the
    /// term is; nothing names the batch, so it can't be settled.
    Guest(AccountName),
    /// What belongs to no account: the switches.
    Nobody,
}

impl Writer {
    /// The account whose ledger is written.
    #[must_use]
    pub const fn account(&self) -> Option<&AccountName> {
        match self {
            Self::Owner(Ownership { account, .. }) | Self::Guest(account) => Some(account),
            Self::Nobody => None,
        }
    }
}

/// Writes that become durable together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Who writes, and so whose ledger is written.
    pub writer: Writer,
    /// Names this batch, so that a commit of unknown outcome can be settled.
    pub nonce: u64,
    /// The time of all that it changes.
    pub at: DateTime<Utc>,
    /// When the account's trading days end.
    pub day_end: DayEnd,
    /// What to write.
    pub writes: Vec<Write>,
}

/// What a commit came to, write by write.
pub type Commit = Vec<Result<Applied, Refusal>>;

/// Why a batch brought no answer.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// Certainly not committed: the store can't be reached, is locked or full.
    #[error("the store is unavailable: {detail}")]
    Unavailable {
        /// What failed.
        detail: String,
    },
    /// The store refused one of the writes, and so the batch; certainly not committed. Try them one by one.
    #[error("the store refused a write: {detail}")]
    Constraint {
        /// What it refused.
        detail: String,
    },
    /// Somebody else owns the account now; certainly not committed.
    #[error("another owner has taken the account")]
    Deposed,
    /// Whether it was committed is not known: settle it.
    #[error("the outcome of the commit is unknown: {detail}")]
    OutcomeUnknown {
        /// What failed.
        detail: String,
        /// What is true if it was committed.
        then: Commit,
    },
    /// The store must not be used as it is: it is newer than the program, has migrations pending that may not run
    /// unasked, or doesn't keep its durability. Trying again is of no use.
    #[error("the store can't be used: {detail}")]
    Unusable {
        /// What has to be mended.
        detail: String,
    },
    /// What is stored can't be read as what it should be.
    #[error("the store holds something unreadable: {detail}")]
    Corrupt {
        /// What and where.
        detail: String,
    },
}

/// An order of any kind, as an id names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyOrder {
    /// A parent.
    Parent(Box<Parent>),
    /// A single order or a slice.
    Order(Box<Order>),
}

/// Which orders a list is of; what is `None` doesn't filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// By status of a single order or a slice.
    pub status: Option<OrderStatus>,
    /// By symbol.
    pub symbol: Option<Symbol>,
    /// By strategy.
    pub strategy_id: Option<StrategyId>,
    /// Slices of one parent.
    pub parent: Option<OrderId>,
    /// Created at or after.
    pub since: Option<DateTime<Utc>>,
    /// Behind this place of an earlier page.
    pub cursor: Option<u64>,
    /// At most so many, 1 to 500.
    pub limit: u32,
}

/// Which parents a list is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParentFilter {
    /// By status.
    pub status: Option<ParentStatus>,
    /// By symbol.
    pub symbol: Option<Symbol>,
    /// By the client's strategy.
    pub strategy_id: Option<StrategyId>,
    /// Created at or after.
    pub since: Option<DateTime<Utc>>,
    /// Behind this place of an earlier page.
    pub cursor: Option<u64>,
    /// At most so many, 1 to 500.
    pub limit: u32,
}

/// One page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<u64>,
}

/// An event of the ledger as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEvent {
    /// Its number in the account's ledger, without gaps; events of the switches have numbers of their own.
    pub number: u64,
    /// The order or parent, if it is about one.
    pub order: Option<OrderId>,
    /// What happened.
    pub event: String,
    /// The status before.
    pub old_status: Option<String>,
    /// The status after.
    pub new_status: Option<String>,
    /// What else there is to know.
    pub data: Value,
    /// Who caused it.
    pub actor: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A slice that waits for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueSlice {
    /// Its id.
    pub id: OrderId,
    /// Its number.
    pub slice_num: u32,
    /// When it is due.
    pub due: DateTime<Utc>,
    /// How much of it.
    pub qty: Qty,
}

/// The switches as they are stored; `None` where the row is missing, or makes no sense, which means shut.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    /// The kill switch.
    pub kill: Option<KillState>,
    /// Which parts are stopped.
    pub halts: Halts,
    /// The circuit breaker.
    pub breaker: Option<BreakerState>,
    /// What the first start left; `None` before it is over.
    pub first_start: Option<FirstStart>,
    /// The rows that are there and make no sense.
    pub unreadable: Vec<&'static str>,
}

impl Switches {
    /// Whether a row says what it has to say, or is missing.
    #[must_use]
    pub fn can_be_read(&self, switch: &str) -> bool {
        !self.unreadable.contains(&switch)
    }

    /// Why the kill switch says nothing for certain; its parts are of it.
    #[must_use]
    pub fn kill_doubt(&self) -> Option<String> {
        if !self.can_be_read(KILL_SWITCH) {
            return Some("what the database holds of the kill switch makes no sense".to_owned());
        }
        if !self.can_be_read(HALTS) {
            return Some("what the database holds of the parts that are stopped makes no sense".to_owned());
        }
        self.kill.is_none().then(|| "the kill switch is missing from the database".to_owned())
    }

    /// Why the circuit breaker says nothing for certain.
    #[must_use]
    pub fn breaker_doubt(&self) -> Option<String> {
        if !self.can_be_read(CIRCUIT_BREAKER) {
            return Some("what the database holds of the circuit breaker makes no sense".to_owned());
        }
        self.breaker.is_none().then(|| "the circuit breaker is missing from the database".to_owned())
    }
}

/// An instance has stopped its sends for an engagement of the kill switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The instance.
    pub instance: String,
    /// The sends that it cut off: they may be live.
    pub cut: Vec<OrderId>,
}

/// How many of an account's last events are looked through for its claims.
pub const MOST_CLAIMS: u64 = 250_000;

/// An order that was claimed, and so may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// When.
    pub at: DateTime<Utc>,
    /// The client's strategy: of a slice its parent's.
    pub strategy_id: StrategyId,
    /// What it trades.
    pub symbol: Symbol,
}

/// A position with where it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPosition {
    /// The symbol.
    pub symbol: Symbol,
    /// What is held.
    pub position: Position,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// An instance, as it tells the others of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceCard {
    /// Its name, which no other process has or had.
    pub id: String,
    /// Where other instances reach its API, as a URL; `None` where it has no address that others could use.
    pub address: Option<String>,
    /// The program's version.
    pub version: String,
    /// When it was started, by its own clock.
    pub started_at: DateTime<Utc>,
}

/// An instance that has told of itself, and has not said good-bye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenInstance {
    /// What it told.
    pub card: InstanceCard,
    /// How long ago it did so last, by the store's clock.
    pub age: Duration,
}

/// An account that some instance has taken at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenAccount {
    /// The account.
    pub account: AccountName,
    /// The last instance that took it; `None` where it was given up.
    pub owner: Option<String>,
    /// The term under which it was taken.
    pub term: u64,
    /// How long the lease goes on, by the store's clock: zero where it is over, `None` where nothing limits it.
    pub left: Option<Duration>,
}

/// Everybody who works on this store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// The instances, by id.
    pub instances: Vec<SeenInstance>,
    /// The accounts, by name.
    pub accounts: Vec<SeenAccount>,
}

/// The ledger. Commits go through one writer; reads see what was committed.
#[async_trait]
pub trait Store: Send + Sync {
    /// Connects, migrates and checks; may be called again after a failure, and does nothing once it is open.
    async fn open(&self) -> Result<(), StoreError>;

    /// Takes an account for an instance, where no other one holds it: under a term above every earlier one, and for as long
    /// as the lease says. Without a lease it is taken whoever has it, for good: where a lock keeps all others out.
    ///
    /// An instance takes anew what it holds itself. The store's own clock decides what is over.
    async fn acquire(
        &self,
        account: &AccountName,
        instance: &str,
        lease: Option<Duration>,
    ) -> Result<Acquired, StoreError>;

    /// Makes a lease last so long from now; [`StoreError::Deposed`] if the term has changed. It never waits for a batch.
    async fn renew(&self, ownership: &Ownership, lease: Duration) -> Result<(), StoreError>;

    /// Gives an account up: anybody may take it at once, and whoever had it writes nothing any more.
    /// [`StoreError::Deposed`] if the term has changed.
    async fn release(&self, ownership: &Ownership) -> Result<(), StoreError>;

    /// Whether the ledger went back behind what this account has seen of it: it was restored from a copy, or a standby
    /// took over that may lack its last commits. It stays so until [`Store::caught_up`]. A store that finds it out while
    /// it is in use answers [`StoreError::Deposed`] to the account's owner, who acquires and recovers anew.
    ///
    /// The books may be behind the truth then: parents start paused, and every order whose time has passed is looked up.
    async fn is_rewound(&self, _: &Ownership) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// What [`Store::is_rewound`] speaks of has been seen to: parents are paused, durably.
    async fn caught_up(&self, _: &Ownership) -> Result<(), StoreError> {
        Ok(())
    }

    /// An instance lives. It never waits for a batch. Instances that were silent for a day are forgotten.
    async fn heartbeat(&self, instance: &InstanceCard) -> Result<(), StoreError>;

    /// An instance has come to a clean end: nobody need wait for it.
    async fn farewell(&self, instance: &str) -> Result<(), StoreError>;

    /// Every instance and every account.
    async fn stack(&self) -> Result<Stack, StoreError>;

    /// Makes a batch durable: loads what the writes speak of, lets [`crate::domain::ledger::Books`] decide, saves.
    ///
    /// `Ok` means committed and synced. Writes that are refused are answered each, and don't hold up the others.
    async fn commit(&self, batch: &Batch) -> Result<Commit, StoreError>;

    /// Whether a batch whose commit had an unknown outcome was committed. [`StoreError::OutcomeUnknown`] where that will
    /// never be known: the account has another owner since, or a guest wrote it.
    async fn settle(&self, batch: &Batch) -> Result<bool, StoreError>;

    /// What an id names.
    async fn order(&self, id: &OrderId) -> Result<Option<AnyOrder>, StoreError>;

    /// What a caller's idempotency key names.
    async fn by_key(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<AnyOrder>, StoreError>;

    /// Every slice of a parent, by number.
    async fn slices(&self, parent: &OrderId) -> Result<Vec<Order>, StoreError>;

    /// Single orders and slices, newest first.
    async fn orders(&self, filter: &OrderFilter) -> Result<Page<Order>, StoreError>;

    /// Parents, newest first.
    async fn parents(&self, filter: &ParentFilter) -> Result<Page<Parent>, StoreError>;

    /// The events of an order or a parent, oldest first.
    async fn events(&self, id: &OrderId) -> Result<Vec<LedgerEvent>, StoreError>;

    /// Every parent of an account that has not ended.
    async fn open_parents(&self, account: &AccountName) -> Result<Vec<Parent>, StoreError>;

    /// Slices of a parent in `pending_new`, in the order of (time, number), behind the given place.
    async fn due_slices(
        &self,
        parent: &OrderId,
        after: Option<(DateTime<Utc>, u32)>,
        limit: u32,
    ) -> Result<Vec<DueSlice>, StoreError>;

    /// Every order of an account that was claimed and has not ended, and every single order that has not ended.
    async fn open_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError>;

    /// Every order of an account that has the mark of a cancel and has not ended.
    async fn marked_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError>;

    /// The ids of all orders that may be live without an answer: submitting, or unconfirmed.
    async fn unknown_orders(&self) -> Result<Vec<OrderId>, StoreError>;

    /// The switches.
    async fn switches(&self) -> Result<Switches, StoreError>;

    /// Whether other instances may write this store too; then the switches have to be read again and again.
    fn is_shared(&self) -> bool;

    /// An instance has stopped its sends for an engagement, and these it cut off. What it said first stays.
    async fn confirm(&self, engagement: &str, instance: &str, cut: &[OrderId]) -> Result<(), StoreError>;

    /// Who has stopped for an engagement, by instance.
    async fn confirmations(&self, engagement: &str) -> Result<Vec<Confirmation>, StoreError>;

    /// The last entries of a switch's history (`kill_switch`, `circuit_breaker`), newest first.
    async fn switch_history(&self, switch: &str, limit: u32) -> Result<Vec<SwitchEntry>, StoreError>;

    /// Whether a switch's whole history has such an event of this time.
    async fn has_switch_entry(&self, switch: &str, event: &str, at: DateTime<Utc>) -> Result<bool, StoreError>;

    /// What people did, newest first: at most so many entries, 1 to 500, behind that place of an earlier page.
    async fn audit(&self, cursor: Option<u64>, limit: u32) -> Result<Page<Audited>, StoreError>;

    /// What a request with this key was answered. It may be older than is kept.
    async fn first_answer(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<FirstAnswer>, StoreError>;

    /// The key of the API with this public id, taken back or not.
    async fn api_key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Every key of the API, taken back or not.
    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// The causes of quarantine that nobody has cleared, by symbol and age: these symbols take no new entries.
    async fn causes(&self, account: &AccountName) -> Result<Vec<Cause>, StoreError>;

    /// What an account holds by our books.
    async fn positions(&self, account: &AccountName) -> Result<Vec<HeldPosition>, StoreError>;

    /// Every limit and every lockout, unless they are of the revision that is known already.
    async fn limits(&self, known: Option<u64>) -> Result<Option<LimitBook>, StoreError>;

    /// Every claim of an account's orders at or after an instant, oldest first, as often as each was claimed. Of more than
    /// [`MOST_CLAIMS`] events of the account the oldest are left out.
    async fn claims_since(&self, account: &AccountName, since: DateTime<Utc>) -> Result<Vec<Claimed>, StoreError>;

    /// What an account is worth by our books; one that never traded nor was paid in to is worth nothing.
    async fn portfolio(&self, account: &AccountName) -> Result<Portfolio, StoreError>;

    /// What changed an account's capital, newest first, below a number where one is given.
    async fn capital(
        &self,
        account: &AccountName,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<CapitalEntry>, StoreError>;

    /// The results of an account's trading days up to one, newest first; days on which nothing happened are left out.
    async fn days(
        &self,
        account: &AccountName,
        until: Option<NaiveDate>,
        limit: u32,
    ) -> Result<Vec<DayResult>, StoreError>;

    /// Flushes and closes; nothing is written after it.
    async fn close(&self);
}

/// A position that two writers wrote at once: the loser's version and the one found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the position of {symbol} is at version {found}, not {expected}")]
pub struct PositionConflict {
    /// The symbol.
    pub symbol: Symbol,
    /// The version that was read.
    pub expected: u64,
    /// The version that was found.
    pub found: u64,
}

/// A portfolio that two writers wrote at once: the loser's version and the one found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the portfolio of {account} is at version {found}, not {expected}")]
pub struct PortfolioConflict {
    /// The account.
    pub account: AccountName,
    /// The version that was read.
    pub expected: u64,
    /// The version that was found.
    pub found: u64,
}
