//! The store port in memory: it survives the crash of a house, and fails as it is told to.
//!
//! It keeps what the port promises, as the conformance suite of the stores demands; only what a disk can do to a ledger
//! is not in it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use parking_lot::Mutex;
use tokio::time::Instant;
use tranche_actors::domain::audit::Audited;
use tranche_actors::domain::keys::{ApiKey, KeyId};
use tranche_actors::domain::ledger::{CIRCUIT_BREAKER, HALTS, KILL_SWITCH, SwitchEntry, Write};
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::names::{AccountName, Caller, IdempotencyKey, OrderId};
use tranche_actors::domain::once::FirstAnswer;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::portfolio::{CapitalEntry, DayResult, Portfolio};
use tranche_actors::domain::reconciliation::Cause;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{
    Acquired, AnyOrder, Batch, Claimed, Commit, Confirmation, DueSlice, HeldPosition, InstanceCard, LedgerEvent,
    OrderFilter, Ownership, Page, ParentFilter, Stack, Store, StoreError, Switches, Writer,
};

use self::ledger::Ledger;
use crate::calls::Calls;
use crate::life::Life;
use crate::tape::{Step, Tape};

pub use ledger::Saved;

mod indices;
mod leases;
pub mod ledger;
mod lists;
mod load;
mod reads;

/// What goes wrong with one commit.
#[derive(Clone, Copy, Debug)]
pub enum CommitFault {
    /// It takes so much longer.
    Slow(Duration),
    /// The store is not there.
    Unavailable,
    /// The connection breaks before the commit, or after it.
    Unknown {
        /// Whether it was committed all the same.
        committed: bool,
    },
    /// The connection breaks before the commit, and what was sent becomes durable so much later, or when the next process
    /// opens the store, unless it was settled by then.
    Late(Duration),
    /// The store refuses the batch.
    Refuse,
    /// The store refuses the batch if it has more than one write.
    RefuseMany,
    /// The caller dies, before the commit or after it.
    Panic {
        /// Whether it was committed all the same.
        committed: bool,
    },
}

type Planned = (fn(&Write) -> bool, CommitFault);

/// The store. Commits go one after the other, as through one writer.
pub struct MemoryStore {
    ledger: Arc<Mutex<Ledger>>,
    open: AtomicBool,
    planned: Mutex<VecDeque<Planned>>,
    tape: Tape,
    shared: AtomicBool,
    garbled: AtomicBool,
    /// The history of the ledger under which its account was taken.
    taken_under: AtomicU64,
    /// Faults of the other methods; `commit` and `settle` too.
    pub calls: Calls,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(life: Life, tape: Tape) -> Self {
        Self::on(Arc::default(), life, tape)
    }

    /// A store on what this one holds, as a process finds it that starts after this one is gone: not open.
    #[must_use]
    pub fn again(&self, life: Life, tape: Tape) -> Self {
        self.open.store(false, Ordering::SeqCst);
        Self::on(Arc::clone(&self.ledger), life, tape)
    }

    /// Another process's store on the same ledger, at the same time.
    #[must_use]
    pub fn beside(&self, life: Life, tape: Tape) -> Self {
        Self::on(Arc::clone(&self.ledger), life, tape)
    }

    fn on(ledger: Arc<Mutex<Ledger>>, life: Life, tape: Tape) -> Self {
        let calls = Calls::of(life);
        calls.delay("commit", Duration::from_millis(3));
        calls.delay("settle", Duration::from_millis(3));
        Self {
            ledger,
            open: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            garbled: AtomicBool::new(false),
            taken_under: AtomicU64::new(0),
            planned: Mutex::default(),
            tape,
            calls,
        }
    }

    /// A copy of all that is stored, as a backup is.
    #[must_use]
    pub fn back_up(&self) -> Ledger {
        self.ledger.lock().clone()
    }

    /// Puts a copy in the place of all that is stored.
    pub fn restore(&self, mut copy: Ledger) {
        let mut ledger = self.ledger.lock();
        copy.history = ledger.history + 1;
        *ledger = copy;
    }

    /// Other instances write it too, from now on.
    pub fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// What is stored of the switches can't be read any more, or can be again.
    pub fn garble_switches(&self, garbled: bool) {
        self.garbled.store(garbled, Ordering::Relaxed);
    }

    /// The next commits have these faults.
    pub fn plan(&self, faults: impl IntoIterator<Item = CommitFault>) {
        let any: fn(&Write) -> bool = |_| true;
        self.planned.lock().extend(faults.into_iter().map(|fault| (any, fault)));
    }

    /// The next commit with such a write has this fault.
    pub fn plan_for(&self, which: fn(&Write) -> bool, fault: CommitFault) {
        self.planned.lock().push_back((which, fault));
    }

    /// Commits in doubt whose time has come are durable now.
    fn ripen(&self, now: Instant) {
        let saved = self.ledger.lock().ripen(now);
        for (batch, saved) in saved {
            self.tape.note(&Step::Committed(&batch, &saved));
        }
    }

    /// Whether no method fails for a while; what strikes once is not looked at.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.calls.are_well()
    }

    /// Whether every fault that was planned has happened.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.planned.lock().is_empty()
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.planned.lock().clear();
        self.calls.heal();
    }

    /// Somebody writes who knows the owner's term, and not what has happened since. What is refused writes nothing.
    pub fn slip_in(&self, write: Write, at: DateTime<Utc>) {
        let saved = {
            let mut ledger = self.ledger.lock();
            let Some(ownership) = ledger.ownership() else { return };
            let (writer, day_end) = (Writer::Owner(ownership), DayEnd::new_york());
            let batch = Batch { writer, nonce: 0, at, day_end, writes: vec![write] };
            let taken = ledger.foresee(&batch).is_ok_and(|results| results.iter().any(Result::is_ok));
            if !taken {
                return;
            }
            ledger.commit(&batch).map(|(_, saved)| (batch, saved))
        };
        if let Ok((batch, saved)) = saved {
            self.tape.note(&Step::Committed(&batch, &saved));
        }
    }

    /// From now on nothing can be written, or it can be again.
    pub fn fail_commits(&self, fails: bool) {
        self.calls.fail("commit", fails);
        self.calls.fail("settle", fails);
    }

    /// Looks into what is stored.
    pub fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.ledger.lock())
    }

    fn fault_of(&self, batch: &Batch) -> Option<CommitFault> {
        let mut planned = self.planned.lock();
        let (which, fault) = planned.front()?;
        let any = |write: &Write| which(write) || matches!(write, Write::Requested { write, .. } if which(write));
        let applies = batch.writes.len() > 1 || !matches!(fault, CommitFault::RefuseMany);
        if applies && batch.writes.iter().any(any) { planned.pop_front().map(|(_, fault)| fault) } else { None }
    }

    /// Everything but a commit: asked of an open ledger, at one instant.
    async fn ask<T>(&self, method: &'static str, ask: impl FnOnce(&mut Ledger) -> T) -> Result<T, StoreError> {
        if self.calls.enter(method).await {
            return Err(unavailable("it was made to fail"));
        }
        self.ripen(Instant::now());
        self.must_be_open()?;
        let read = ask(&mut self.ledger.lock());
        self.calls.age(method).await;
        Ok(read)
    }

    /// Whether its process has opened it, and not closed it since.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    fn must_be_open(&self) -> Result<(), StoreError> {
        if self.is_open() { Ok(()) } else { Err(unavailable("it is not open")) }
    }
}

fn unavailable(detail: &str) -> StoreError {
    StoreError::Unavailable { detail: detail.to_owned() }
}

#[async_trait]
impl Store for MemoryStore {
    async fn open(&self) -> Result<(), StoreError> {
        if self.calls.enter("open").await {
            return Err(unavailable("it was made to fail"));
        }
        let left_behind = self.ledger.lock().open();
        self.open.store(true, Ordering::SeqCst);
        for (batch, saved) in left_behind {
            self.tape.note(&Step::Committed(&batch, &saved));
        }
        Ok(())
    }

    async fn acquire(
        &self,
        account: &AccountName,
        instance: &str,
        lease: Option<Duration>,
    ) -> Result<Acquired, StoreError> {
        self.ask("acquire", |ledger| {
            let acquired = ledger.acquire(account, instance, lease, Instant::now());
            if matches!(acquired, Acquired::Taken(_)) {
                self.taken_under.store(ledger.history, Ordering::SeqCst);
            }
            acquired
        })
        .await
    }

    async fn is_rewound(&self, ownership: &Ownership) -> Result<bool, StoreError> {
        self.ask("is_rewound", |ledger| ledger.is_rewound(ownership)).await?
    }

    async fn caught_up(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.ask("caught_up", |ledger| ledger.caught_up(ownership)).await?
    }

    async fn renew(&self, ownership: &Ownership, lease: Duration) -> Result<(), StoreError> {
        self.ask("renew", |ledger| ledger.renew(ownership, lease, Instant::now())).await?
    }

    async fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.ask("release", |ledger| ledger.release(ownership)).await?
    }

    async fn heartbeat(&self, instance: &InstanceCard) -> Result<(), StoreError> {
        self.ask("heartbeat", |ledger| ledger.heartbeat(instance, Instant::now())).await
    }

    async fn farewell(&self, instance: &str) -> Result<(), StoreError> {
        self.ask("farewell", |ledger| ledger.farewell(instance)).await
    }

    async fn stack(&self) -> Result<Stack, StoreError> {
        self.ask("stack", |ledger| ledger.stack(Instant::now())).await
    }

    #[expect(clippy::panic, reason = "a store that dies takes its caller with it")]
    async fn commit(&self, batch: &Batch) -> Result<Commit, StoreError> {
        let fails = self.calls.enter("commit").await;
        let fault = self.fault_of(batch);
        if let Some(fault) = fault {
            self.tape.strike(&format!("the commit: {fault:?}"));
        }
        match fault {
            Some(CommitFault::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(CommitFault::Panic { committed: false }) => panic!("the store was told to panic"),
            Some(CommitFault::Refuse | CommitFault::RefuseMany) => {
                let detail = "it was made to refuse the batch".to_owned();
                return Err(StoreError::Constraint { detail });
            }
            Some(CommitFault::Unavailable) => return Err(unavailable("this commit was made to fail")),
            Some(CommitFault::Unknown { .. } | CommitFault::Panic { .. } | CommitFault::Late(_)) | None => {}
        }
        self.ripen(Instant::now());
        if fails {
            return Err(unavailable("it was made to fail"));
        }
        self.must_be_open()?;
        let is_owner = matches!(batch.writer, Writer::Owner(_));
        if is_owner && self.look(|ledger| ledger.history) != self.taken_under.load(Ordering::SeqCst) {
            return Err(StoreError::Deposed);
        }
        let detail = "the connection was made to break".to_owned();
        if let Some(CommitFault::Unknown { committed: false }) = fault {
            let then = self.look(|ledger| ledger.foresee(batch))?;
            return Err(StoreError::OutcomeUnknown { detail, then });
        }
        if let Some(CommitFault::Late(after)) = fault {
            let then = self.look(|ledger| ledger.foresee(batch))?;
            self.ledger.lock().delay(batch.clone(), Instant::now() + after);
            return Err(StoreError::OutcomeUnknown { detail, then });
        }
        let (then, saved) = self.ledger.lock().commit(batch)?;
        self.tape.note(&Step::Committed(batch, &saved));
        self.calls.leave().await;
        match fault {
            Some(CommitFault::Unknown { committed: true }) => Err(StoreError::OutcomeUnknown { detail, then }),
            Some(CommitFault::Panic { committed: true }) => panic!("the store was told to panic"),
            Some(_) | None => Ok(then),
        }
    }

    async fn settle(&self, batch: &Batch) -> Result<bool, StoreError> {
        self.ask("settle", |ledger| {
            let committed = ledger.settle(batch)?;
            ledger.fence(batch);
            Ok(committed)
        })
        .await?
    }

    async fn order(&self, id: &OrderId) -> Result<Option<AnyOrder>, StoreError> {
        self.ask("order", |ledger| ledger.named(id)).await
    }

    async fn by_key(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<AnyOrder>, StoreError> {
        self.ask("by_key", |ledger| ledger.keyed(caller, key)).await
    }

    async fn slices(&self, parent: &OrderId) -> Result<Vec<Order>, StoreError> {
        self.ask("slices", |ledger| ledger.slices(parent)).await
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Page<Order>, StoreError> {
        self.ask("orders", |ledger| ledger.page_of_orders(filter)).await
    }

    async fn parents(&self, filter: &ParentFilter) -> Result<Page<Parent>, StoreError> {
        self.ask("parents", |ledger| ledger.page_of_parents(filter)).await
    }

    async fn events(&self, id: &OrderId) -> Result<Vec<LedgerEvent>, StoreError> {
        self.ask("events", |ledger| ledger.events_of(id)).await
    }

    async fn open_parents(&self, account: &AccountName) -> Result<Vec<Parent>, StoreError> {
        self.ask("open_parents", |ledger| ledger.open_parents(account)).await
    }

    async fn due_slices(
        &self,
        parent: &OrderId,
        after: Option<(DateTime<Utc>, u32)>,
        limit: u32,
    ) -> Result<Vec<DueSlice>, StoreError> {
        self.ask("due_slices", |ledger| ledger.due_slices(parent, after, limit)).await
    }

    async fn open_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError> {
        self.ask("open_orders", |ledger| ledger.open_orders(account)).await
    }

    async fn marked_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError> {
        self.ask("marked_orders", |ledger| ledger.marked_orders(account)).await
    }

    async fn unknown_orders(&self) -> Result<Vec<OrderId>, StoreError> {
        self.ask("unknown_orders", |ledger| ledger.unknown_orders()).await
    }

    async fn switches(&self) -> Result<Switches, StoreError> {
        let read = self.ask("switches", |ledger| ledger.switches()).await?;
        if self.garbled.load(Ordering::Relaxed) {
            let unreadable = vec![KILL_SWITCH, HALTS, CIRCUIT_BREAKER];
            return Ok(Switches { first_start: read.first_start, unreadable, ..Switches::default() });
        }
        Ok(read)
    }

    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    async fn confirm(&self, engagement: &str, instance: &str, cut: &[OrderId]) -> Result<(), StoreError> {
        self.ask("confirm", |ledger| ledger.confirm(engagement, instance, cut)).await
    }

    async fn confirmations(&self, engagement: &str) -> Result<Vec<Confirmation>, StoreError> {
        self.ask("confirmations", |ledger| ledger.confirmed(engagement)).await
    }

    async fn switch_history(&self, switch: &str, limit: u32) -> Result<Vec<SwitchEntry>, StoreError> {
        self.ask("switch_history", |ledger| ledger.last_entries(switch, limit)).await
    }

    async fn has_switch_entry(&self, switch: &str, event: &str, at: DateTime<Utc>) -> Result<bool, StoreError> {
        self.ask("has_switch_entry", |ledger| ledger.has_entry(switch, event, at)).await
    }

    async fn audit(&self, cursor: Option<u64>, limit: u32) -> Result<Page<Audited>, StoreError> {
        self.ask("audit", |ledger| ledger.page_of_audit(cursor, limit)).await
    }

    async fn first_answer(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<FirstAnswer>, StoreError> {
        self.ask("first_answer", |ledger| ledger.answers.get(&(caller.clone(), key.clone())).cloned()).await
    }

    async fn api_key(&self, _: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        self.ask("api_key", |_| None).await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.ask("api_keys", |_| Vec::new()).await
    }

    async fn causes(&self, account: &AccountName) -> Result<Vec<Cause>, StoreError> {
        self.ask("causes", |ledger| ledger.open_causes(account)).await
    }

    async fn positions(&self, account: &AccountName) -> Result<Vec<HeldPosition>, StoreError> {
        self.ask("positions", |ledger| ledger.positions(account)).await
    }

    async fn limits(&self, known: Option<u64>) -> Result<Option<LimitBook>, StoreError> {
        let limits = self.ask("limits", |ledger| ledger.limits.clone()).await?;
        Ok((known != Some(limits.revision)).then_some(limits))
    }

    async fn claims_since(&self, account: &AccountName, since: DateTime<Utc>) -> Result<Vec<Claimed>, StoreError> {
        self.ask("claims_since", |ledger| ledger.claims_since(account, since)).await
    }

    async fn portfolio(&self, account: &AccountName) -> Result<Portfolio, StoreError> {
        self.ask("portfolio", |ledger| ledger.portfolio(account)).await
    }

    async fn capital(
        &self,
        account: &AccountName,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<CapitalEntry>, StoreError> {
        self.ask("capital", |ledger| ledger.last_capital(account, before, limit)).await
    }

    async fn days(
        &self,
        account: &AccountName,
        until: Option<NaiveDate>,
        limit: u32,
    ) -> Result<Vec<DayResult>, StoreError> {
        self.ask("days", |ledger| ledger.last_days(account, until, limit)).await
    }

    async fn close(&self) {
        self.calls.enter("close").await;
        self.open.store(false, Ordering::SeqCst);
    }
}
