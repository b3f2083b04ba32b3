//! The store port in memory: it survives the crash of a house, and fails as a test tells it to.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tranche_actors::domain::ledger::{SwitchEntry, Write};
use tranche_actors::domain::names::{AccountName, Caller, IdempotencyKey, OrderId, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::ports::store::{
    AnyOrder, Batch, Commit, DueSlice, HeldPosition, LedgerEvent, OrderFilter, Ownership, Page, ParentFilter, Store,
    StoreError, Switches,
};

use crate::calls::Calls;
use crate::life::Life;
use crate::tape::{Step, Tape};
use ledger::Ledger;

pub use ledger::Saved;

pub mod ledger;

/// What goes wrong with one commit.
#[derive(Clone, Copy, Debug)]
pub enum CommitFault {
    /// It takes so much longer.
    Slow(Duration),
    /// The store is not there.
    Unavailable,
    /// The connection breaks before the commit, or after it.
    Unknown { committed: bool },
    /// The store refuses the batch if it has more than one write.
    RefuseMany,
    /// The caller dies, before the commit or after it.
    Panic { committed: bool },
}

type Planned = (fn(&Write) -> bool, CommitFault);

/// The store. Commits go one after the other, as through one writer.
pub struct MemoryStore {
    ledger: Mutex<Ledger>,
    planned: Mutex<VecDeque<Planned>>,
    tape: Tape,
    /// Faults of the other methods; `commit` and `settle` too.
    pub calls: Calls,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(life: Life, tape: Tape) -> Self {
        let calls = Calls::of(life);
        calls.delay("commit", Duration::from_millis(3));
        Self { ledger: Mutex::default(), planned: Mutex::default(), tape, calls }
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
        let applies = batch.writes.len() > 1 || !matches!(fault, CommitFault::RefuseMany);
        if applies && batch.writes.iter().any(which) { planned.pop_front().map(|(_, fault)| fault) } else { None }
    }

    async fn read<T>(&self, method: &'static str, look: impl FnOnce(&Ledger) -> T) -> Result<T, StoreError> {
        if self.calls.enter(method).await {
            return Err(unavailable("it was told to fail"));
        }
        let ledger = self.ledger.lock();
        if ledger.is_open() { Ok(look(&ledger)) } else { Err(unavailable("it is not open")) }
    }
}

fn unavailable(detail: &str) -> StoreError {
    StoreError::Unavailable { detail: detail.to_owned() }
}

#[async_trait]
impl Store for MemoryStore {
    async fn open(&self) -> Result<(), StoreError> {
        if self.calls.enter("open").await {
            return Err(unavailable("it was told to fail"));
        }
        self.ledger.lock().open();
        Ok(())
    }

    async fn acquire(&self, account: &AccountName, _owner: &str) -> Result<Ownership, StoreError> {
        self.read("acquire", |_| ()).await?;
        Ok(self.ledger.lock().acquire(account))
    }

    #[expect(clippy::panic, reason = "a store that dies takes its caller with it")]
    async fn commit(&self, batch: &Batch) -> Result<Commit, StoreError> {
        let fails = self.calls.enter("commit").await;
        let fault = self.fault_of(batch);
        match fault {
            Some(CommitFault::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(CommitFault::Panic { committed: false }) => panic!("the store was told to panic"),
            Some(CommitFault::RefuseMany) => {
                let detail = "it was told to refuse a batch of many".to_owned();
                return Err(StoreError::Constraint { detail });
            }
            Some(CommitFault::Unavailable) => return Err(unavailable("this commit was told to fail")),
            Some(CommitFault::Unknown { .. } | CommitFault::Panic { .. }) | None => {}
        }
        if fails {
            return Err(unavailable("it was told to fail"));
        }
        let detail = "the connection was told to break".to_owned();
        if let Some(CommitFault::Unknown { committed: false }) = fault {
            let (then, _) = self.look(Ledger::clone).commit(batch)?;
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
        self.read("settle", |ledger| ledger.settle(batch)).await?
    }

    async fn order(&self, id: &OrderId) -> Result<Option<AnyOrder>, StoreError> {
        self.read("order", |ledger| ledger.named(id)).await
    }

    async fn by_key(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<AnyOrder>, StoreError> {
        self.read("by_key", |ledger| ledger.keyed(caller, key)).await
    }

    async fn slices(&self, parent: &OrderId) -> Result<Vec<Order>, StoreError> {
        self.read("slices", |ledger| ledger.slices(parent)).await
    }

    async fn orders(&self, _: &OrderFilter) -> Result<Page<Order>, StoreError> {
        let items = self.read("orders", |ledger| ledger.orders().cloned().collect()).await?;
        Ok(Page { items, next: None })
    }

    async fn parents(&self, _: &ParentFilter) -> Result<Page<Parent>, StoreError> {
        let items = self.read("parents", |ledger| ledger.parents().cloned().collect()).await?;
        Ok(Page { items, next: None })
    }

    async fn events(&self, id: &OrderId) -> Result<Vec<LedgerEvent>, StoreError> {
        let of_it = |ledger: &Ledger| {
            let events = ledger.events().iter().filter(|event| event.order.as_ref() == Some(id));
            events.cloned().collect()
        };
        self.read("events", of_it).await
    }

    async fn open_parents(&self, account: &AccountName) -> Result<Vec<Parent>, StoreError> {
        let open = |parent: &&Parent| parent.account == *account && !parent.status.is_terminal();
        self.read("open_parents", |ledger| ledger.parents().filter(open).cloned().collect()).await
    }

    async fn due_slices(
        &self,
        parent: &OrderId,
        after: Option<(DateTime<Utc>, u32)>,
        limit: u32,
    ) -> Result<Vec<DueSlice>, StoreError> {
        self.read("due_slices", |ledger| ledger.due_slices(parent, after, limit)).await
    }

    async fn open_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError> {
        let open = |order: &&Order| {
            let is_ours = order.account == *account && !order.status.is_terminal();
            is_ours && (order.slice.is_none() || order.attempt > 0)
        };
        self.read("open_orders", |ledger| ledger.orders().filter(open).cloned().collect()).await
    }

    async fn marked_orders(&self, account: &AccountName) -> Result<Vec<Order>, StoreError> {
        let marked = |order: &&Order| {
            order.account == *account && order.cancel_requested_at.is_some() && !order.status.is_terminal()
        };
        self.read("marked_orders", |ledger| ledger.orders().filter(marked).cloned().collect()).await
    }

    async fn unknown_orders(&self) -> Result<Vec<OrderId>, StoreError> {
        self.read("unknown_orders", Ledger::unknown_orders).await
    }

    async fn switches(&self) -> Result<Switches, StoreError> {
        self.read("switches", Ledger::switches).await
    }

    async fn switch_history(&self, switch: &str, limit: u32) -> Result<Vec<SwitchEntry>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.read("switch_history", |ledger| ledger.history(switch).into_iter().rev().take(limit).collect()).await
    }

    async fn quarantined(&self, _: &AccountName) -> Result<Vec<Symbol>, StoreError> {
        self.read("quarantined", Ledger::quarantined).await
    }

    async fn positions(&self, account: &AccountName) -> Result<Vec<HeldPosition>, StoreError> {
        self.read("positions", |ledger| ledger.positions(account)).await
    }

    async fn close(&self) {
        self.calls.enter("close").await;
        self.ledger.lock().close();
    }
}
