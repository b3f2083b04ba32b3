//! What is stored, and how a batch is saved: all of it or nothing.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tokio::time::Instant;
use tranche_actors::domain::audit::Audited;
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::halts::Halts;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::ledger::{Books, Event, FirstStart, SwitchEntry};
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, Symbol};
use tranche_actors::domain::once::FirstAnswer;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::portfolio::{CapitalEntry, DayResult, Portfolio};
use tranche_actors::domain::reconciliation::{Cause, CauseId};
use tranche_actors::domain::venue::Execution;
use tranche_actors::ports::store::{
    Batch, Commit, HeldPosition, InstanceCard, LedgerEvent, Ownership, StoreError, Writer,
};

use super::indices::{Indices, Place};
use super::load::key_of;

/// A caller's idempotency key.
pub(super) type Key = (Caller, IdempotencyKey);

/// What an id names, and where it stands in its table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// A single order or a slice.
    Order(Place),
    /// A parent.
    Parent(Place),
}

/// The row of an account.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) term: u64,
    pub(super) owner: Option<String>,
    /// When its lease is over; `None`: never.
    pub(super) until: Option<Instant>,
    /// Under which history of the ledger its books were last known to be whole.
    pub(super) history: u64,
    /// The number of its last event.
    last_event: u64,
    /// The nonce of its last batch.
    last_batch: Option<u64>,
    /// Every cause of quarantine, cleared or not.
    pub(super) causes: BTreeMap<CauseId, Cause>,
}

impl Account {
    /// Whether it is owned so: by that instance, under that term.
    pub(super) fn is_owned(&self, ownership: &Ownership) -> bool {
        self.term == ownership.term && self.owner.as_ref() == Some(&ownership.owner)
    }
}

/// What one batch changed: the rows by their ids, each as it was before; `None` is a new one.
#[derive(Debug, Default)]
pub struct Saved {
    /// Single orders and slices.
    pub orders: Vec<(OrderId, Option<Order>)>,
    /// Parents.
    pub parents: Vec<(OrderId, Option<Parent>)>,
    /// How many executions were added.
    pub executions: usize,
    /// How many events were added.
    pub events: usize,
    /// Whether a switch has a new state.
    pub switches: bool,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    created: bool,
    /// How often it was restored from a copy.
    pub(super) history: u64,
    /// What belongs to no account has a row of its own.
    pub(super) accounts: BTreeMap<Option<AccountName>, Account>,
    /// Every instance, and when it told last that it lives.
    pub(super) instances: BTreeMap<String, (InstanceCard, Instant)>,
    pub(super) orders: Vec<Order>,
    pub(super) parents: Vec<Parent>,
    /// Asked by id alone, and never gone through: its order is not the same in every process.
    pub(super) ids: HashMap<OrderId, Named>,
    pub(super) keys: BTreeMap<Key, OrderId>,
    pub(super) indices: Indices,
    pub(super) positions: BTreeMap<AccountName, BTreeMap<Symbol, HeldPosition>>,
    pub(super) portfolios: BTreeMap<AccountName, Portfolio>,
    pub(super) capital: BTreeMap<AccountName, Vec<CapitalEntry>>,
    pub(super) days: BTreeMap<AccountName, BTreeMap<NaiveDate, DayResult>>,
    pub(super) executions: BTreeMap<(BrokerOrderId, Decimal), (OrderId, Execution)>,
    pub(super) events: Vec<LedgerEvent>,
    pub(super) switch_events: Vec<LedgerEvent>,
    pub(super) kill: Option<KillState>,
    pub(super) halts: Halts,
    pub(super) breaker: Option<BreakerState>,
    pub(super) first_start: Option<FirstStart>,
    pub(super) limits: LimitBook,
    pub(super) confirmations: BTreeMap<String, BTreeMap<String, Vec<OrderId>>>,
    pub(super) histories: BTreeMap<&'static str, Vec<SwitchEntry>>,
    pub(super) differences: Vec<(Symbol, Decimal, Decimal)>,
    pub(super) audit: Vec<Audited>,
    pub(super) answers: BTreeMap<Key, FirstAnswer>,
    /// Batches whose commit is in doubt, and when each becomes durable.
    late: Vec<(Instant, Batch)>,
}

impl Ledger {
    /// The first start on an empty database creates the switches; later a missing one stays missing.
    ///
    /// What a process before left in doubt and never settled comes back, as from the log of a database.
    pub(super) fn open(&mut self) -> Vec<(Batch, Saved)> {
        if !std::mem::replace(&mut self.created, true) {
            self.kill = Some(KillState::default());
            self.breaker = Some(BreakerState::default());
        }
        let left_behind = std::mem::take(&mut self.late);
        left_behind.into_iter().filter_map(|(_, batch)| self.bring_back(batch)).collect()
    }

    /// A commit in doubt: it becomes durable at that time, unless it is fenced off before.
    pub(super) fn delay(&mut self, batch: Batch, until: Instant) {
        self.late.push((until, batch));
    }

    /// What was in doubt and has become durable by now.
    pub(super) fn ripen(&mut self, now: Instant) -> Vec<(Batch, Saved)> {
        if self.late.is_empty() {
            return Vec::new();
        }
        let (ripe, late): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = late;
        ripe.into_iter().filter_map(|(_, batch)| self.bring_back(batch)).collect()
    }

    fn bring_back(&mut self, batch: Batch) -> Option<(Batch, Saved)> {
        // Whoever took the account since has shut it out.
        let (_, saved) = self.commit(&batch).ok()?;
        Some((batch, saved))
    }

    /// What is settled can't become durable any more, if it has not by now.
    pub(super) fn fence(&mut self, batch: &Batch) {
        self.late.retain(|(_, late)| late.nonce != batch.nonce);
    }

    pub(super) fn account(&self, account: &AccountName) -> Option<&Account> {
        self.accounts.get(&Some(account.clone()))
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// Only an account's last batch is known. Once there is another owner, another last batch may be the owner's, and
    /// says nothing of an earlier one.
    pub(super) fn settle(&self, batch: &Batch) -> Result<bool, StoreError> {
        let (account, ownership) = match &batch.writer {
            Writer::Owner(ownership) => (Some(ownership.account.clone()), Some(ownership)),
            Writer::Guest(_) => return Err(never_known("a guest's batch has no name in the account's row")),
            Writer::Nobody => (None, None),
        };
        let Some(row) = self.accounts.get(&account) else {
            // Nothing was ever written for nobody's row; an account that nobody took is a mistake.
            return match account {
                None => Ok(false),
                Some(account) => Err(StoreError::Unavailable { detail: format!("{account} was never taken") }),
            };
        };
        if row.last_batch == Some(batch.nonce) {
            return Ok(true);
        }
        if ownership.is_none_or(|ownership| row.is_owned(ownership)) {
            return Ok(false);
        }
        Err(never_known("the account has another owner, and another last batch"))
    }

    /// Who owns the account that there is.
    pub(super) fn ownership(&self) -> Option<Ownership> {
        let (account, row) = self.accounts.iter().find_map(|(account, row)| Some((account.clone()?, row)))?;
        Some(Ownership { account, owner: row.owner.clone()?, term: row.term })
    }

    /// What a batch would come to if it were committed.
    pub(super) fn foresee(&self, batch: &Batch) -> Result<Commit, StoreError> {
        self.decide(batch).map(|(results, _)| results)
    }

    /// Loads what the batch speaks of, lets the rules decide, and saves what changed.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(Commit, Saved), StoreError> {
        let (results, books) = self.decide(batch)?;
        Ok((results, self.save(books, batch)))
    }

    fn save(&mut self, books: Books, batch: &Batch) -> Saved {
        let Books {
            mut orders, mut parents, mut positions, mut causes, mut answers, mut days, portfolio, changes, ..
        } = books;
        let mut saved = Saved {
            executions: changes.executions.len(),
            events: changes.events.len(),
            switches: changes.kill.is_some() || changes.halts.is_some() || changes.breaker.is_some(),
            ..Saved::default()
        };
        let mut new = changes.new_orders.iter().filter_map(|id| orders.remove(id)).collect::<Vec<_>>();
        // Lists go by the order of arrival, so the slices of a plan arrive in theirs.
        new.sort_by_key(|order| (order.scheduled_time, order.slice.as_ref().map(|of| of.slice_num)));
        saved.orders.extend(new.into_iter().map(|order| (self.insert(order), None)));
        // What is new has been taken out: it was inserted as it is at the end of the batch.
        for order in changes.orders.iter().filter_map(|id| orders.remove(id)) {
            saved.orders.push((order.id.clone(), self.replace(order)));
        }
        let new = changes.new_parents.iter().filter_map(|id| parents.remove(id));
        saved.parents.extend(new.map(|parent| (self.insert_parent(parent), None)));
        for parent in changes.parents.iter().filter_map(|id| parents.remove(id)) {
            saved.parents.push((parent.id.clone(), self.replace_parent(parent)));
        }
        for key in changes.positions {
            if let Some(position) = positions.remove(&key) {
                let (account, symbol) = key;
                let held = HeldPosition { symbol: symbol.clone(), position, updated_at: batch.at };
                self.positions.entry(account).or_default().insert(symbol, held);
            }
        }
        if let Some(account) = batch.writer.account() {
            if changes.portfolio {
                self.portfolios.insert(account.clone(), portfolio);
            }
            self.capital.entry(account.clone()).or_default().extend(changes.capital);
            let days = changes.days.iter().filter_map(|day| days.remove_entry(day));
            self.days.entry(account.clone()).or_default().extend(days);
        }
        for (order, execution) in changes.executions {
            let key = (execution.broker_order_id.clone(), execution.cum_qty);
            self.executions.insert(key, (order, execution));
        }
        self.differences.extend(changes.differences);
        self.kill = changes.kill.or(self.kill.take());
        if let Some(halts) = changes.halts {
            self.halts = halts;
        }
        self.breaker = changes.breaker.or(self.breaker.take());
        self.first_start = changes.first_start.or(self.first_start.take());
        if let Some(limits) = changes.limits {
            self.limits = limits;
        }
        self.answers.extend(changes.answers.into_iter().filter_map(|key| answers.remove_entry(&key)));
        for entry in changes.audit {
            let id = u64::try_from(self.audit.len()).unwrap_or(u64::MAX).saturating_add(1);
            self.audit.push(Audited { id, at: batch.at, account: batch.writer.account().cloned(), entry });
        }
        for (switch, entry) in changes.switch_entries {
            self.histories.entry(switch).or_default().push(entry);
        }
        let causes = changes.causes.iter().filter_map(|id| causes.remove(id));
        self.enter(batch, changes.events, causes);
        saved
    }

    /// What stands in or beside the account's row: its last batch, its events, its causes of quarantine.
    fn enter(&mut self, batch: &Batch, events: Vec<Event>, causes: impl Iterator<Item = Cause>) {
        let account = batch.writer.account().cloned();
        let log = if account.is_some() { &mut self.events } else { &mut self.switch_events };
        let row = self.accounts.entry(account).or_default();
        match batch.writer {
            Writer::Owner(_) | Writer::Nobody => row.last_batch = Some(batch.nonce),
            Writer::Guest(_) => {}
        }
        row.causes.extend(causes.map(|cause| (cause.id.clone(), cause)));
        for event in events {
            row.last_event += 1;
            if let (Some(id), Some(_)) = (&event.order, batch.writer.account()) {
                self.indices.follow_event(id, log.len());
            }
            log.push(numbered(event, row.last_event, batch.at));
        }
    }

    fn insert(&mut self, order: Order) -> OrderId {
        let (id, place) = (order.id.clone(), self.orders.len());
        self.ids.insert(id.clone(), Named::Order(place));
        self.keys.extend(order.origin.as_ref().and_then(key_of).map(|key| (key, id.clone())));
        self.indices.follow(place, None, &order);
        self.orders.push(order);
        id
    }

    fn replace(&mut self, order: Order) -> Option<Order> {
        let Some(Named::Order(place)) = self.ids.get(&order.id) else { return None };
        let row = self.orders.get_mut(*place)?;
        let before = std::mem::replace(row, order);
        self.indices.follow(*place, Some(&before), row);
        Some(before)
    }

    fn insert_parent(&mut self, parent: Parent) -> OrderId {
        let (id, place) = (parent.id.clone(), self.parents.len());
        self.ids.insert(id.clone(), Named::Parent(place));
        self.keys.extend(key_of(&parent.origin).map(|key| (key, id.clone())));
        self.indices.follow_parent(place, None, &parent);
        self.parents.push(parent);
        id
    }

    fn replace_parent(&mut self, parent: Parent) -> Option<Parent> {
        let Some(Named::Parent(place)) = self.ids.get(&parent.id) else { return None };
        let row = self.parents.get_mut(*place)?;
        let before = std::mem::replace(row, parent);
        self.indices.follow_parent(*place, Some(&before), row);
        Some(before)
    }
}

fn never_known(detail: &str) -> StoreError {
    StoreError::OutcomeUnknown { detail: detail.to_owned(), then: Commit::new() }
}

fn numbered(event: Event, number: u64, at: DateTime<Utc>) -> LedgerEvent {
    LedgerEvent {
        number,
        order: event.order,
        event: event.kind.as_str().to_owned(),
        old_status: event.old_status.map(str::to_owned),
        new_status: event.new_status.map(str::to_owned),
        data: event.data,
        actor: event.actor,
        at,
    }
}
