//! What is stored, and how a batch is loaded, applied and saved: all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::ledger::{Books, Event, Keys, SwitchEntry};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::position::Position;
use tranche_actors::domain::status::{OrderStatus, Share};
use tranche_actors::domain::venue::Execution;
use tranche_actors::ports::store::{
    AnyOrder, Batch, Commit, DueSlice, HeldPosition, LedgerEvent, Ownership, StoreError, Switches,
};

/// The row of an account.
#[derive(Clone, Debug, Default)]
struct Account {
    term: u64,
    next_event: u64,
    /// The nonce of the last batch.
    batch: u64,
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
    open: bool,
    created: bool,
    accounts: BTreeMap<AccountName, Account>,
    orders: BTreeMap<OrderId, Order>,
    /// An index: the slices of each parent.
    children: BTreeMap<OrderId, BTreeSet<OrderId>>,
    parents: BTreeMap<OrderId, Parent>,
    positions: BTreeMap<(AccountName, Symbol), Position>,
    executions: BTreeMap<(BrokerOrderId, Decimal), (OrderId, Execution)>,
    keys: BTreeMap<(Caller, IdempotencyKey), OrderId>,
    events: Vec<LedgerEvent>,
    kill: Option<KillState>,
    breaker: Option<BreakerState>,
    histories: BTreeMap<&'static str, Vec<SwitchEntry>>,
    /// Batches that belong to no account are settled by their own nonce.
    unowned: BTreeSet<u64>,
    quarantines: Vec<(Symbol, &'static str)>,
    differences: Vec<(Symbol, Decimal, Decimal)>,
}

impl Ledger {
    /// The first start on an empty database creates the switches; later a missing one stays missing.
    pub(super) fn open(&mut self) {
        self.open = true;
        if !std::mem::replace(&mut self.created, true) {
            self.kill = Some(KillState::default());
            self.breaker = Some(BreakerState::default());
        }
    }

    pub(super) const fn close(&mut self) {
        self.open = false;
    }

    pub const fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn acquire(&mut self, account: &AccountName) -> Ownership {
        let row = self.accounts.entry(account.clone()).or_default();
        row.term += 1;
        Ownership { account: account.clone(), term: row.term }
    }

    pub(super) fn settle(&self, batch: &Batch) -> Result<bool, StoreError> {
        let Some(ownership) = &batch.ownership else {
            return Ok(self.unowned.contains(&batch.nonce));
        };
        let row = self.accounts.get(&ownership.account).ok_or(StoreError::Deposed)?;
        if row.term == ownership.term { Ok(row.batch == batch.nonce) } else { Err(StoreError::Deposed) }
    }

    /// Loads what the batch speaks of, lets the rules decide, and saves what changed.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(Commit, Saved), StoreError> {
        if !self.open {
            let detail = "it is closed".to_owned();
            return Err(StoreError::Unavailable { detail });
        }
        if let Some(ownership) = &batch.ownership
            && self.accounts.get(&ownership.account).map(|row| row.term) != Some(ownership.term)
        {
            return Err(StoreError::Deposed);
        }
        let mut keys = Keys::default();
        for write in &batch.writes {
            write.add_keys(&mut keys);
        }
        let mut books = self.load(&keys, batch.at);
        let results = batch.writes.iter().map(|write| books.apply(write)).collect();
        self.check(&books)?;
        let saved = match &batch.ownership {
            Some(ownership) => self.save(books, &ownership.account, batch),
            None => self.save_switches(books, batch),
        };
        Ok((results, saved))
    }

    fn load(&self, keys: &Keys, at: DateTime<Utc>) -> Books {
        let mut books = Books::new(at);
        let mut orders = keys.orders.clone();
        let mut parents = keys.parents.clone();
        for key in &keys.callers_keys {
            if let Some(id) = self.keys.get(key) {
                books.keys.insert(key.clone(), id.clone());
                orders.insert(id.clone());
                parents.insert(id.clone());
            }
        }
        for parent in &keys.open_children_of {
            let open = self.slices(parent).into_iter().filter(|slice| !slice.status.is_terminal());
            orders.extend(open.map(|slice| slice.id));
        }
        for order in orders.iter().filter_map(|id| self.orders.get(id)) {
            parents.extend(order.slice.as_ref().map(|slice| slice.parent.clone()));
            if keys.positions_of.contains(&order.id) {
                let place = (order.account.clone(), order.instruction.symbol.clone());
                if let Some(position) = self.positions.get(&place) {
                    books.positions.insert(place, position.clone());
                }
            }
            books.orders.insert(order.id.clone(), order.clone());
        }
        for parent in parents.iter().filter_map(|id| self.parents.get(id)) {
            books.parents.insert(parent.id.clone(), parent.clone());
        }
        for id in &keys.executions_of {
            let of_it = self.executions.range((id.clone(), Decimal::ZERO)..);
            for (key, (_, execution)) in of_it.take_while(|((order, _), _)| order == id) {
                books.executions.insert(key.clone(), execution.clone());
            }
        }
        if keys.quarantine {
            books.quarantined.extend(self.quarantined());
        }
        books
    }

    /// What the tables of a database would refuse.
    fn check(&self, books: &Books) -> Result<(), StoreError> {
        let changes = &books.changes;
        let taken = |id: &&OrderId| self.orders.contains_key(*id) || self.parents.contains_key(*id);
        if let Some(id) = changes.new_orders.iter().chain(&changes.new_parents).find(taken) {
            let detail = format!("{id} exists already");
            return Err(StoreError::Constraint { detail });
        }
        for (order, execution) in &changes.executions {
            if self.executions.contains_key(&(execution.broker_order_id.clone(), execution.cum_qty)) {
                let detail = format!("an execution of {order} exists already");
                return Err(StoreError::Constraint { detail });
            }
        }
        for key in &changes.positions {
            let before = self.positions.get(key).map_or(0, |position| position.version);
            let after = books.positions.get(key).map_or(0, |position| position.version);
            if after != before + 1 {
                let detail = format!("{} is at version {before}", key.1);
                return Err(StoreError::Constraint { detail });
            }
        }
        Ok(())
    }

    fn save(&mut self, books: Books, account: &AccountName, batch: &Batch) -> Saved {
        let Books { orders, parents, positions, keys, changes, .. } = books;
        for (id, of) in orders.iter().filter_map(|(id, order)| Some((id, order.slice.as_ref()?))) {
            self.children.entry(of.parent.clone()).or_default().insert(id.clone());
        }
        let changed = |id: &OrderId| changes.new_orders.contains(id) || changes.orders.contains(id);
        let mut saved =
            Saved { executions: changes.executions.len(), events: changes.events.len(), ..Saved::default() };
        for (id, order) in orders.into_iter().filter(|(id, _)| changed(id)) {
            let before = self.orders.insert(id.clone(), order);
            saved.orders.push((id, before));
        }
        let changed = |id: &OrderId| changes.new_parents.contains(id) || changes.parents.contains(id);
        for (id, parent) in parents.into_iter().filter(|(id, _)| changed(id)) {
            let before = self.parents.insert(id.clone(), parent);
            saved.parents.push((id, before));
        }
        let changed = positions.into_iter().filter(|(key, _)| changes.positions.contains(key));
        self.positions.extend(changed);
        self.keys.extend(keys);
        for (order, execution) in changes.executions {
            let key = (execution.broker_order_id.clone(), execution.cum_qty);
            self.executions.insert(key, (order, execution));
        }
        self.quarantines.extend(changes.quarantines.into_iter().map(|(symbol, reason, ..)| (symbol, reason)));
        self.differences.extend(changes.differences);
        let row = self.accounts.entry(account.clone()).or_default();
        row.batch = batch.nonce;
        for event in changes.events {
            row.next_event += 1;
            self.events.push(numbered(event, row.next_event, batch.at));
        }
        saved
    }

    fn save_switches(&mut self, books: Books, batch: &Batch) -> Saved {
        let changes = books.changes;
        let saved = Saved { switches: changes.kill.is_some() || changes.breaker.is_some(), ..Saved::default() };
        self.kill = changes.kill.or(self.kill.take());
        self.breaker = changes.breaker.or(self.breaker.take());
        for (switch, entry) in changes.switch_entries {
            self.histories.entry(switch).or_default().push(entry);
        }
        self.unowned.insert(batch.nonce);
        saved
    }
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

/// What a test or the port reads.
impl Ledger {
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    pub fn parents(&self) -> impl Iterator<Item = &Parent> {
        self.parents.values()
    }

    pub fn order(&self, id: &OrderId) -> Option<&Order> {
        self.orders.get(id)
    }

    pub fn parent(&self, id: &OrderId) -> Option<&Parent> {
        self.parents.get(id)
    }

    pub fn events(&self) -> &[LedgerEvent] {
        &self.events
    }

    pub fn events_of(&self, id: &OrderId) -> Vec<&LedgerEvent> {
        self.events.iter().filter(|event| event.order.as_ref() == Some(id)).collect()
    }

    pub fn executions(&self) -> impl Iterator<Item = &(OrderId, Execution)> {
        self.executions.values()
    }

    pub fn slices(&self, parent: &OrderId) -> Vec<Order> {
        let number = |order: &Order| order.slice.as_ref().map(|slice| slice.slice_num);
        let children = self.children.get(parent).into_iter().flatten();
        let mut slices = children.filter_map(|id| self.order(id)).cloned().collect::<Vec<_>>();
        slices.sort_by_key(number);
        slices
    }

    pub(super) fn named(&self, id: &OrderId) -> Option<AnyOrder> {
        let parent = self.parents.get(id).map(|parent| AnyOrder::Parent(Box::new(parent.clone())));
        parent.or_else(|| self.orders.get(id).map(|order| AnyOrder::Order(Box::new(order.clone()))))
    }

    pub(super) fn keyed(&self, caller: &Caller, key: &IdempotencyKey) -> Option<AnyOrder> {
        self.named(self.keys.get(&(caller.clone(), key.clone()))?)
    }

    pub(super) fn due_slices(
        &self,
        parent: &OrderId,
        after: Option<(DateTime<Utc>, u32)>,
        limit: u32,
    ) -> Vec<DueSlice> {
        let place = |order: &Order| (order.scheduled_time, order.slice.as_ref().map_or(0, |of| of.slice_num));
        let waits = |order: &Order| order.status == OrderStatus::PendingNew && Some(place(order)) > after;
        let mut due = self.slices(parent);
        due.retain(waits);
        due.sort_by_key(place);
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        due.into_iter()
            .map(|order| DueSlice { slice_num: place(&order).1, due: order.scheduled_time, id: order.id })
            .collect()
    }

    pub(super) fn unknown_orders(&self) -> Vec<OrderId> {
        let unknown = |order: &&Order| order.status.share() == Share::Unknown;
        self.orders.values().filter(unknown).map(|order| order.id.clone()).collect()
    }

    pub fn switches(&self) -> Switches {
        Switches { kill: self.kill.clone(), breaker: self.breaker.clone() }
    }

    pub fn history(&self, switch: &str) -> Vec<SwitchEntry> {
        self.histories.get(switch).cloned().unwrap_or_default()
    }

    pub fn quarantined(&self) -> Vec<Symbol> {
        self.quarantines.iter().map(|(symbol, _)| symbol.clone()).collect()
    }

    pub fn differences(&self) -> &[(Symbol, Decimal, Decimal)] {
        &self.differences
    }

    pub fn positions(&self, account: &AccountName) -> Vec<HeldPosition> {
        let ours = self.positions.iter().filter(|((owner, _), _)| owner == account);
        ours.map(|((_, symbol), position)| HeldPosition {
            symbol: symbol.clone(),
            position: position.clone(),
            updated_at: DateTime::UNIX_EPOCH,
        })
        .collect()
    }
}
