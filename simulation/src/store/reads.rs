//! What a test or the port reads.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tranche_actors::domain::audit::Audited;
use tranche_actors::domain::ledger::{EventKind, SwitchEntry};
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::names::{AccountName, Caller, IdempotencyKey, OrderId, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::portfolio::{CapitalEntry, DayResult, Portfolio};
use tranche_actors::domain::reconciliation::{Cause, CauseId};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::venue::Execution;
use tranche_actors::ports::store::{AnyOrder, Claimed, Confirmation, DueSlice, HeldPosition, LedgerEvent, Switches};

use super::indices::Place;
use super::ledger::{Ledger, Named};

/// What a test looks at.
impl Ledger {
    /// What people did, oldest first.
    #[must_use]
    pub fn audited(&self) -> &[Audited] {
        &self.audit
    }

    /// Every single order and slice, in the order of their arrival.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter()
    }

    /// Every parent, in the order of their arrival.
    pub fn parents(&self) -> impl Iterator<Item = &Parent> {
        self.parents.iter()
    }

    /// A single order or a slice.
    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<&Order> {
        match self.ids.get(id)? {
            Named::Order(place) => self.orders.get(*place),
            Named::Parent(_) => None,
        }
    }

    /// A parent.
    #[must_use]
    pub fn parent(&self, id: &OrderId) -> Option<&Parent> {
        match self.ids.get(id)? {
            Named::Parent(place) => self.parents.get(*place),
            Named::Order(_) => None,
        }
    }

    /// An order's whole chain, by the first of it.
    pub fn chain(&self, first: &OrderId) -> impl Iterator<Item = &Order> {
        self.order(first).into_iter().chain(self.indices.replacements(first).filter_map(|place| self.orders.get(place)))
    }

    /// The events of the accounts in the order of their commits; each account numbers its own.
    #[must_use]
    pub fn events(&self) -> &[LedgerEvent] {
        &self.events
    }

    /// The events of what belongs to no account, with numbers of their own.
    #[must_use]
    pub fn switch_events(&self) -> &[LedgerEvent] {
        &self.switch_events
    }

    /// Every execution, with the order that it belongs to.
    pub fn executions(&self) -> impl Iterator<Item = &(OrderId, Execution)> {
        self.executions.values()
    }

    /// Every slice of a parent, by number.
    #[must_use]
    pub fn slices(&self, parent: &OrderId) -> Vec<Order> {
        self.rows(self.indices.slices(parent))
    }

    /// The switches.
    #[must_use]
    pub fn switches(&self) -> Switches {
        Switches {
            kill: self.kill.clone(),
            halts: self.halts.clone(),
            breaker: self.breaker.clone(),
            first_start: self.first_start.clone(),
            unreadable: Vec::new(),
        }
    }

    /// The limits and lockouts.
    #[must_use]
    pub const fn limits(&self) -> &LimitBook {
        &self.limits
    }

    /// What an instance said first stays.
    pub(super) fn confirm(&mut self, engagement: &str, instance: &str, cut: &[OrderId]) {
        let said = self.confirmations.entry(engagement.to_owned()).or_default();
        said.entry(instance.to_owned()).or_insert_with(|| cut.to_vec());
    }

    /// Who has stopped for an engagement.
    #[must_use]
    pub fn confirmed(&self, engagement: &str) -> Vec<Confirmation> {
        let said = self.confirmations.get(engagement).into_iter().flatten();
        said.map(|(instance, cut)| Confirmation { instance: instance.clone(), cut: cut.clone() }).collect()
    }

    /// A switch's whole history, oldest first.
    #[must_use]
    pub fn history(&self, switch: &str) -> Vec<SwitchEntry> {
        self.histories.get(switch).cloned().unwrap_or_default()
    }

    /// Symbols of any account that take no new entries.
    #[must_use]
    pub fn quarantined(&self) -> Vec<Symbol> {
        let open = self.accounts().flat_map(|row| row.causes.values()).filter(|cause| cause.cleared.is_none());
        open.map(|cause| cause.symbol.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A cause of quarantine, cleared or not.
    #[must_use]
    pub fn cause(&self, account: &AccountName, id: &CauseId) -> Option<&Cause> {
        self.account(account)?.causes.get(id)
    }

    /// The differences that were found between our positions and the broker's: symbol, ours, theirs.
    #[must_use]
    pub fn differences(&self) -> &[(Symbol, Decimal, Decimal)] {
        &self.differences
    }

    /// What an account holds by our books, by symbol.
    #[must_use]
    pub fn positions(&self, account: &AccountName) -> Vec<HeldPosition> {
        self.positions.get(account).into_iter().flat_map(|held| held.values().cloned()).collect()
    }
}

/// What an account is worth.
impl Ledger {
    /// By our books.
    #[must_use]
    pub fn portfolio(&self, account: &AccountName) -> Portfolio {
        self.portfolios.get(account).copied().unwrap_or_default()
    }

    /// Everything that changed its capital, oldest first.
    #[must_use]
    pub fn capital(&self, account: &AccountName) -> &[CapitalEntry] {
        self.capital.get(account).map(Vec::as_slice).unwrap_or_default()
    }

    /// The results of its trading days, oldest first.
    pub fn days(&self, account: &AccountName) -> impl Iterator<Item = &DayResult> {
        self.days.get(account).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn last_capital(&self, account: &AccountName, before: Option<u64>, limit: u32) -> Vec<CapitalEntry> {
        let wanted = |entry: &&CapitalEntry| before.is_none_or(|before| entry.number < before);
        self.capital(account).iter().rev().filter(wanted).take(at_most(limit)).cloned().collect()
    }

    pub(super) fn last_days(&self, account: &AccountName, until: Option<NaiveDate>, limit: u32) -> Vec<DayResult> {
        let mut days = self.days(account).filter(|day| until.is_none_or(|until| day.day <= until)).collect::<Vec<_>>();
        days.reverse();
        days.into_iter().take(at_most(limit)).cloned().collect()
    }
}

/// What only the port asks.
impl Ledger {
    pub(super) fn held(&self, account: &AccountName, symbol: &Symbol) -> Option<&HeldPosition> {
        self.positions.get(account)?.get(symbol)
    }

    pub(super) fn named(&self, id: &OrderId) -> Option<AnyOrder> {
        let order = || self.order(id).map(|order| AnyOrder::Order(Box::new(order.clone())));
        self.parent(id).map(|parent| AnyOrder::Parent(Box::new(parent.clone()))).or_else(order)
    }

    pub(super) fn keyed(&self, caller: &Caller, key: &IdempotencyKey) -> Option<AnyOrder> {
        self.named(self.keys.get(&(caller.clone(), key.clone()))?)
    }

    pub(super) fn events_of(&self, id: &OrderId) -> Vec<LedgerEvent> {
        self.indices.events(id).iter().filter_map(|place| self.events.get(*place)).cloned().collect()
    }

    pub(super) fn open_parents(&self, account: &AccountName) -> Vec<Parent> {
        self.indices.open_parents(account).filter_map(|place| self.parents.get(place)).cloned().collect()
    }

    pub(super) fn due_slices(
        &self,
        parent: &OrderId,
        after: Option<(DateTime<Utc>, u32)>,
        limit: u32,
    ) -> Vec<DueSlice> {
        let due = self.indices.due(parent, after).filter_map(|place| {
            let order = self.orders.get(place)?;
            let slice_num = order.slice.as_ref()?.slice_num;
            Some(DueSlice { id: order.id.clone(), slice_num, due: order.scheduled_time, qty: order.qty })
        });
        due.take(at_most(limit)).collect()
    }

    pub(super) fn open_orders(&self, account: &AccountName) -> Vec<Order> {
        self.rows(self.indices.open(account))
    }

    pub(super) fn marked_orders(&self, account: &AccountName) -> Vec<Order> {
        self.rows(self.indices.marked(account))
    }

    /// In the order of their arrival.
    pub(super) fn unknown_orders(&self) -> Vec<OrderId> {
        let in_status = |status| self.indices.live(status, self.orders.len());
        let unknown = [OrderStatus::Submitting, OrderStatus::SubmittedUnconfirmed].into_iter().flat_map(in_status);
        let mut places = unknown.collect::<Vec<_>>();
        places.sort_unstable();
        places.into_iter().filter_map(|place| self.orders.get(place)).map(|order| order.id.clone()).collect()
    }

    pub(super) fn last_entries(&self, switch: &str, limit: u32) -> Vec<SwitchEntry> {
        let history = self.histories.get(switch).into_iter().flatten().rev();
        history.take(at_most(limit)).cloned().collect()
    }

    pub(super) fn has_entry(&self, switch: &str, event: &str, at: DateTime<Utc>) -> bool {
        let mut history = self.histories.get(switch).into_iter().flatten();
        history.any(|entry| entry.event == event && entry.timestamp == at)
    }

    pub(super) fn claims_since(&self, account: &AccountName, since: DateTime<Utc>) -> Vec<Claimed> {
        let late = self.events.iter().rev().take_while(|event| event.at >= since);
        let claims = late.filter(|event| event.event == EventKind::Claimed.as_str());
        let of = |event: &LedgerEvent| {
            let order = self.order(event.order.as_ref()?).filter(|order| order.account == *account)?;
            let parent = order.slice.as_ref().and_then(|slice| self.parent(&slice.parent));
            let strategy_id = parent.map_or(&order.strategy_id, |parent| &parent.strategy_id).clone();
            Some(Claimed { at: event.at, strategy_id, symbol: order.instruction.symbol.clone() })
        };
        let mut claims = claims.filter_map(of).collect::<Vec<_>>();
        claims.reverse();
        claims
    }

    pub(super) fn open_causes(&self, account: &AccountName) -> Vec<Cause> {
        let all = self.account(account).into_iter().flat_map(|row| row.causes.values());
        let mut open = all.filter(|cause| cause.cleared.is_none()).cloned().collect::<Vec<_>>();
        open.sort_by(|one, other| (&one.symbol, one.since, &one.id).cmp(&(&other.symbol, other.since, &other.id)));
        open
    }

    fn rows(&self, places: impl Iterator<Item = Place>) -> Vec<Order> {
        places.filter_map(|place| self.orders.get(place)).cloned().collect()
    }
}

fn at_most(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
