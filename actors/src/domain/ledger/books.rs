//! What a batch has loaded and changed, and the one entrance to the rules.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{Applied, Event, EventKind, FirstStart, Outcome, Refusal, Submission, SwitchEntry, Write};
use crate::domain::audit::AuditEntry;
use crate::domain::breaker::BreakerState;
use crate::domain::halts::Halts;
use crate::domain::kill::KillState;
use crate::domain::limits::LimitBook;
use crate::domain::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, Symbol};
use crate::domain::once::FirstAnswer;
use crate::domain::order::Order;
use crate::domain::parent::{Parent, Progress};
use crate::domain::portfolio::{CapitalEntry, DayResult, Portfolio};
use crate::domain::position::Position;
use crate::domain::reconciliation::{Cause, CauseId};
use crate::domain::status::OrderEvent;
use crate::domain::trading_day::DayEnd;
use crate::domain::venue::Execution;

/// The part of the ledger that a batch works on.
#[derive(Clone, Debug)]
pub struct Books {
    /// Whose ledger is written; `None`: nobody's, and then no order is.
    account: Option<AccountName>,
    /// The time of the batch.
    pub at: DateTime<Utc>,
    /// When the account's trading days end.
    pub(super) day_end: DayEnd,
    /// Orders by id.
    pub orders: BTreeMap<OrderId, Order>,
    /// Parents by id.
    pub parents: BTreeMap<OrderId, Parent>,
    /// Positions by account and symbol.
    pub positions: BTreeMap<(AccountName, Symbol), Position>,
    /// What the account is worth.
    pub portfolio: Portfolio,
    /// The results of trading days.
    pub days: BTreeMap<NaiveDate, DayResult>,
    /// The position that the present write has changed.
    pub(super) traded: Option<(AccountName, Symbol)>,
    /// Executions by broker order id and cumulative quantity.
    pub executions: BTreeMap<(BrokerOrderId, Decimal), Execution>,
    /// The account's causes of quarantine: all that nobody has cleared, and those that a write is about.
    pub causes: BTreeMap<CauseId, Cause>,
    /// What the callers' keys name.
    pub keys: BTreeMap<(Caller, IdempotencyKey), OrderId>,
    /// What was answered to requests with a key, as long as that is kept.
    pub answers: BTreeMap<(Caller, IdempotencyKey), FirstAnswer>,
    /// The kill switch; `None` where its row is missing.
    pub kill: Option<KillState>,
    /// Which parts are stopped; no row of it is none.
    pub halts: Halts,
    /// Their row makes no sense: whoever knows them may replace it.
    pub halts_are_unreadable: bool,
    /// The breaker; `None` where its row is missing.
    pub breaker: Option<BreakerState>,
    /// What the first start left; `None` before it is over.
    pub first_start: Option<FirstStart>,
    /// The revision of the limits; 0 before any was set.
    pub limits: u64,
    /// What the writes have changed so far.
    pub changes: Changes,
}

/// What a batch has changed: the store saves just this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Orders to insert.
    pub new_orders: BTreeSet<OrderId>,
    /// Orders to update.
    pub orders: BTreeSet<OrderId>,
    /// Parents to insert.
    pub new_parents: BTreeSet<OrderId>,
    /// Parents to update.
    pub parents: BTreeSet<OrderId>,
    /// Positions to write: insert at version 1, else compare the version before and set.
    pub positions: BTreeSet<(AccountName, Symbol)>,
    /// Whether to write what the account is worth: insert at version 1, else compare the version before and set.
    pub portfolio: bool,
    /// What changed the account's capital, to insert.
    pub capital: Vec<CapitalEntry>,
    /// Trading days whose results are to be written.
    pub days: BTreeSet<NaiveDate>,
    /// Executions to insert, with the order that they belong to.
    pub executions: Vec<(OrderId, Execution)>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Causes of quarantine to write: new ones, and those that were cleared.
    pub causes: BTreeSet<CauseId>,
    /// Position differences: symbol, ours, theirs.
    pub differences: Vec<(Symbol, Decimal, Decimal)>,
    /// The kill switch's new state.
    pub kill: Option<KillState>,
    /// Which parts are stopped now.
    pub halts: Option<Halts>,
    /// The breaker's new state.
    pub breaker: Option<BreakerState>,
    /// The first start is over.
    pub first_start: Option<FirstStart>,
    /// All limits, in the place of those that are stored.
    pub limits: Option<LimitBook>,
    /// History of the switches: `kill_switch` or `circuit_breaker`, and the entry.
    pub switch_entries: Vec<(&'static str, SwitchEntry)>,
    /// What people did, in order.
    pub audit: Vec<AuditEntry>,
    /// Answers to insert.
    pub answers: BTreeSet<(Caller, IdempotencyKey)>,
}

/// The name of the kill switch in the store.
pub const KILL_SWITCH: &str = "kill_switch";
/// The name of the row beside the switches that holds what is stopped of a part.
pub const HALTS: &str = "halts";
/// The name of the circuit breaker in the store.
pub const CIRCUIT_BREAKER: &str = "circuit_breaker";
/// The name of the row beside the switches that says that the first start is over.
pub const FIRST_START: &str = "first_start";
/// The name of the row beside the switches that says which revision the limits are of.
pub const LIMITS: &str = "limits";
/// Who causes what nobody asked for.
pub(super) const GATEWAY: &str = "gateway";

impl Books {
    /// Empty books of an account at the time of a batch.
    #[must_use]
    pub fn new(account: Option<AccountName>, at: DateTime<Utc>, day_end: DayEnd) -> Self {
        Self {
            account,
            at,
            day_end,
            orders: BTreeMap::new(),
            parents: BTreeMap::new(),
            positions: BTreeMap::new(),
            portfolio: Portfolio::default(),
            days: BTreeMap::new(),
            traded: None,
            executions: BTreeMap::new(),
            causes: BTreeMap::new(),
            keys: BTreeMap::new(),
            answers: BTreeMap::new(),
            kill: None,
            halts: Halts { revision: 0, in_force: Vec::new() },
            halts_are_unreadable: false,
            breaker: None,
            first_start: None,
            limits: 0,
            changes: Changes::default(),
        }
    }

    /// Applies one write. An order of another account is none here: its events have numbers of that account's, and its
    /// claims that account's term.
    ///
    /// # Errors
    /// Why it took no effect; the books are then as they were.
    pub fn apply(&mut self, write: &Write) -> Result<Applied, Refusal> {
        if write.subject().is_some_and(|id| self.is_foreign(id)) {
            return Err(Refusal::NotFound);
        }
        self.traded = None;
        let mut applied = self.apply_to_books(write)?;
        // One write is about one order, and so about one position at most.
        if let Some(key) = self.traded.take() {
            applied.positions.extend(self.positions.get(&key).map(|position| (key.1.clone(), position.clone())));
        }
        Ok(applied)
    }

    fn apply_to_books(&mut self, write: &Write) -> Result<Applied, Refusal> {
        match write {
            Write::Submit(submission) => match &**submission {
                Submission::Parent { parent, slices } => self.submit_parent(parent, slices),
                Submission::Single(order) => self.submit_single(order),
            },
            Write::Replace(replacement) => self.replace(replacement),
            Write::Claim { id, plan_version, reduces, limits } => self.claim(id, *plan_version, (*reduces, *limits)),
            Write::Flatten { order, engagement, before } => self.flatten(order, engagement, before.as_ref()),
            Write::NeverLeft { id, attempt, reason, detail, tries } => {
                self.never_left(id, *attempt, reason, detail, *tries)
            }
            Write::OutcomeUnknown { id, attempt, detail, at_venue } => {
                self.outcome_unknown(id, *attempt, detail, *at_venue)
            }
            Write::Refused { id, attempt, words } => self.refused(id, *attempt, words),
            Write::Report(report) => self.report(report),
            Write::Absent { id, attempt } => self.absent(id, *attempt),
            Write::End { id, end, reason, detail } => self.end(id, *end, reason, detail),
            Write::Hold { id, reason, detail } => self.hold(id, reason, detail),
            Write::CancelParent { id, by } => self.cancel_parent(id, by),
            Write::Pause { id, reason } => self.pause(id, *reason),
            Write::Doubt { id } => self.doubt(id),
            Write::ResumeParent { id, by } => self.resume_parent(id, by),
            Write::CancelOrder { id, by } => self.cancel_order(id, by),
            Write::MarkCancels { ids } => Ok(self.mark_cancels(ids)),
            Write::ScheduleEnded { id } => self.schedule_ended(id),
            Write::CancelTaken { id } => self.cancel_taken(id),
            Write::CancelRefused { id } => self.cancel_refused(id),
            Write::Resolve { id, resolution, by } => self.resolve(id, resolution, by),
            Write::Benchmark { id, benchmark } => {
                let parent = self.parents.get_mut(id).ok_or(Refusal::NotFound)?;
                parent.benchmark = *benchmark;
                self.changes.parents.insert(id.clone());
                Ok(Applied::done())
            }
            Write::Quarantine { cause, kind, symbol, broker_order_id, found } => {
                Ok(self.quarantine(cause, *kind, symbol, broker_order_id.as_ref(), found))
            }
            Write::ClearCause { cause, operator, reason, by } => self.clear_cause(cause, operator, reason, by),
            Write::PositionDiffers { symbol, ours, theirs } => Ok(self.position_differs(symbol, *ours, *theirs)),
            Write::Capital(asked) => self.move_capital(asked),
            Write::OpenDay { day, unrealised } => Ok(self.open_day(*day, *unrealised)),
            Write::Kill { state, entry } => self.turn_kill(state, entry),
            Write::Halts { halts, entry } => self.turn_halts(halts, entry),
            Write::Breaker { state, entry } => self.turn_breaker(state, entry),
            Write::Limits { book, audit } => self.turn_limits(book, audit),
            Write::FirstStart(first) => Ok(self.first_start(first)),
            Write::Requested { request, write } => self.requested(request, write),
            Write::Noted(entry) => {
                self.switch(KILL_SWITCH, EventKind::KillSwitch, entry);
                Ok(Applied::done())
            }
            Write::Audit(entry) => Ok(self.audit(entry)),
            Write::Probe => Ok(Applied::unchanged()),
        }
    }

    fn turn_kill(&mut self, state: &KillState, entry: &SwitchEntry) -> Result<Applied, Refusal> {
        if self.kill.as_ref() == Some(state) {
            return Ok(Applied::unchanged());
        }
        if self.kill.as_ref().is_some_and(|stored| stored.next_revision() != state.revision) {
            return Err(Refusal::SwitchMoved);
        }
        self.kill = Some(state.clone());
        self.changes.kill.clone_from(&self.kill);
        self.switch(KILL_SWITCH, EventKind::KillSwitch, entry);
        Ok(Applied::done())
    }

    fn turn_halts(&mut self, halts: &Halts, entry: &SwitchEntry) -> Result<Applied, Refusal> {
        if !std::mem::take(&mut self.halts_are_unreadable) {
            if self.halts == *halts {
                return Ok(Applied::unchanged());
            }
            if self.halts.revision.checked_add(1) != Some(halts.revision) {
                return Err(Refusal::SwitchMoved);
            }
        }
        self.halts = halts.clone();
        self.changes.halts = Some(halts.clone());
        self.switch(KILL_SWITCH, EventKind::KillSwitch, entry);
        Ok(Applied::done())
    }

    fn turn_breaker(&mut self, state: &BreakerState, entry: &SwitchEntry) -> Result<Applied, Refusal> {
        if self.breaker.as_ref() == Some(state) {
            return Ok(Applied::unchanged());
        }
        if self.breaker.as_ref().is_some_and(|stored| stored.next_revision() != state.revision) {
            return Err(Refusal::SwitchMoved);
        }
        self.breaker = Some(state.clone());
        self.changes.breaker.clone_from(&self.breaker);
        self.switch(CIRCUIT_BREAKER, EventKind::CircuitBreaker, entry);
        Ok(Applied::done())
    }

    fn turn_limits(&mut self, book: &LimitBook, audit: &[AuditEntry]) -> Result<Applied, Refusal> {
        if self.limits.checked_add(1) != Some(book.revision) {
            return Err(Refusal::LimitsMoved);
        }
        self.limits = book.revision;
        self.changes.limits = Some(book.clone());
        self.changes.audit.extend(audit.iter().cloned());
        Ok(Applied::done())
    }

    fn first_start(&mut self, first: &FirstStart) -> Applied {
        if self.first_start.is_some() {
            return Applied::unchanged();
        }
        self.first_start = Some(first.clone());
        self.changes.first_start.clone_from(&self.first_start);
        Applied::done()
    }

    fn switch(&mut self, name: &'static str, kind: EventKind, entry: &SwitchEntry) {
        self.changes.switch_entries.push((name, entry.clone()));
        self.note(Event { actor: entry.operator.clone(), ..Event::global(kind, json!(entry)) });
    }

    pub(super) fn note(&mut self, event: Event) {
        self.changes.events.push(event);
    }

    /// Whose ledger is written, if anybody's.
    #[must_use]
    pub const fn account(&self) -> Option<&AccountName> {
        self.account.as_ref()
    }

    /// Whether these books are those of that account.
    pub(super) fn are_of(&self, account: &AccountName) -> bool {
        self.account.as_ref() == Some(account)
    }

    /// Whether an id names something of another account.
    pub(super) fn is_foreign(&self, id: &OrderId) -> bool {
        let order = self.orders.get(id).map(|order| &order.account);
        let parent = || self.parents.get(id).map(|parent| &parent.account);
        order.or_else(parent).is_some_and(|account| !self.are_of(account))
    }

    /// An order that a write is about.
    pub(super) fn order(&self, id: &OrderId) -> Result<&Order, Refusal> {
        self.orders.get(id).ok_or(Refusal::NotFound)
    }

    /// The one place where an order changes: status, parent's sums, parent's status and event follow together.
    pub(super) fn change(
        &mut self,
        id: &OrderId,
        event: OrderEvent,
        kind: EventKind,
        edit: impl FnOnce(&mut Order) -> Value,
    ) -> Result<Applied, Refusal> {
        let before = self.order(id)?;
        let status = before.status.apply(event)?;
        let mut order = before.clone();
        let old_status = before.status;
        order.status = status;
        order.updated_at = self.at;
        order.terminal_at = if status.is_terminal() { order.terminal_at.or(Some(self.at)) } else { None };
        let data = edit(&mut order);
        let event = Event {
            order: Some(id.clone()),
            kind,
            old_status: Some(old_status.as_str()),
            new_status: Some(status.as_str()),
            data,
            actor: GATEWAY.to_owned(),
        };
        self.changes.orders.insert(id.clone());
        let mut applied = self.put(order, event);
        self.tell_chain(id, &mut applied);
        Ok(applied)
    }

    /// Puts a new or changed order into the books and carries the difference to its parent.
    pub(super) fn put(&mut self, order: Order, event: Event) -> Applied {
        let mut applied = Applied::done();
        let old_share = self.share_of(&order);
        self.orders.insert(order.id.clone(), order.clone());
        let new_share = self.share_of(&order);
        if let Some(parent) = order.slice.as_ref().and_then(|slice| self.parents.get_mut(&slice.parent)) {
            parent.progress = parent.progress.moved(old_share, new_share);
            parent.restate(self.at);
            debug_assert!(parent.adds_up(), "the sums of {} don't add up: {:?}", parent.id, parent.progress);
            self.changes.parents.insert(parent.id.clone());
            applied.parents.push(parent.clone());
        }
        self.note(event);
        applied.orders.push(order);
        applied
    }

    /// What an order adds to its parent by what the books say of it now, with its chain.
    fn share_of(&self, order: &Order) -> Progress {
        if order.slice.is_none() {
            return Progress::default();
        }
        if order.is_chained() {
            return self.chain(order).as_ref().map(Progress::of_chain).unwrap_or_default();
        }
        self.orders.get(&order.id).map(Progress::of).unwrap_or_default()
    }
}

impl Parent {
    /// Lets the status follow from what is known.
    pub(super) fn restate(&mut self, at: DateTime<Utc>) {
        let status = self.derive_status(at);
        if status != self.status {
            self.ended_at = status.is_terminal().then_some(at);
            self.status = status;
        }
        self.updated_at = at;
    }
}

impl Event {
    /// Something that happened to no order of ours.
    pub(super) fn global(kind: EventKind, data: Value) -> Self {
        Self { order: None, kind, old_status: None, new_status: None, data, actor: GATEWAY.to_owned() }
    }
}

impl Applied {
    pub(super) const fn done() -> Self {
        Self { outcome: Outcome::Done, orders: Vec::new(), parents: Vec::new(), positions: Vec::new() }
    }

    pub(super) const fn unchanged() -> Self {
        Self { outcome: Outcome::Unchanged, orders: Vec::new(), parents: Vec::new(), positions: Vec::new() }
    }
}
