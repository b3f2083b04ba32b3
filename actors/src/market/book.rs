//! The book of one account: its orders, trades, positions and cash. Every change of an order goes through one of the
//! methods here, which keep the sums in step and answer what has changed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::fills::Taken;
use super::stops;
use crate::domain::money::{self, Price, Qty};
use crate::domain::names::{BrokerOrderId, OrderId, Symbol};
use crate::domain::terms::Side;
use crate::domain::venue::{Execution, VenueOrder, VenueStatus, VenueWords};

/// An order with what only the venue knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookOrder {
    /// The order's place in the sequence of all orders, from 1.
    pub seq: u64,
    /// The order as the venue shows it.
    pub order: VenueOrder,
    /// What has been paid or got for it, without fees.
    pub cost: Decimal,
    /// What a unit of a buy holds back from the cash while it is open; zero for a sell.
    pub reserve_price: Decimal,
    /// Whether its stop price has traded; false where there is none.
    pub triggered: bool,
    /// The best last price that a trailing stop has followed.
    pub trail_mark: Option<Decimal>,
    /// How much of what it shows as filled was traded by the orders before it in its chain of replacements.
    pub carried_qty: Decimal,
    /// The order that is to take its place, while that is on its way.
    pub replacement: Option<Replacement>,
    /// When its time in force ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When a pending cancel is confirmed.
    pub cancel_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A change of place on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The order that takes the place. It waits until then.
    pub by: BrokerOrderId,
    /// When it does.
    pub at: DateTime<Utc>,
}

impl BookOrder {
    /// The price that triggers it, as far as a trailing stop has followed.
    #[must_use]
    pub fn stop_price(&self) -> Option<Price> {
        let instruction = &self.order.instruction;
        stops::stop_price(instruction.side, instruction.terms, self.trail_mark)
    }

    /// What has not traded.
    #[must_use]
    pub fn remaining(&self) -> Decimal {
        self.order.qty.get() - self.order.filled_qty
    }

    fn reserved(&self) -> Decimal {
        if self.order.status.is_terminal() { Decimal::ZERO } else { self.remaining() * self.reserve_price }
    }
}

/// One change: what a skin makes durable and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The order after the change.
    pub order: BookOrder,
    /// The trade, where there was one.
    pub execution: Option<Execution>,
}

/// Everything that a book consists of, for keeping it somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookState {
    /// The account's cash; negative is owed.
    pub cash: Decimal,
    /// What is held; short is negative, flat is zero or missing.
    pub positions: BTreeMap<Symbol, Decimal>,
    /// Every order ever taken, by sequence.
    pub orders: Vec<BookOrder>,
    /// Every trade, in the order of its time.
    pub executions: Vec<Execution>,
}

/// The book. What it sums up always equals the sum over its orders and trades.
#[derive(Clone, Debug, Default)]
pub struct Book {
    cash: Decimal,
    reserved: Decimal,
    positions: BTreeMap<Symbol, Decimal>,
    orders: BTreeMap<u64, BookOrder>,
    executions: Vec<Execution>,
    by_client: BTreeMap<OrderId, u64>,
    by_broker: BTreeMap<BrokerOrderId, u64>,
    live: BTreeMap<Symbol, BTreeSet<u64>>,
}

impl Book {
    /// The book that was kept.
    #[must_use]
    pub fn restore(state: BookState) -> Self {
        let mut book =
            Self { cash: state.cash, positions: state.positions, executions: state.executions, ..Self::default() };
        for order in state.orders {
            book.enter(order);
        }
        book
    }

    /// Takes a new order into the book.
    pub(super) fn admit(&mut self, order: BookOrder) -> Change {
        self.enter(order.clone());
        Change { order, execution: None }
    }

    fn enter(&mut self, order: BookOrder) {
        self.reserved += order.reserved();
        self.by_client.insert(order.order.client_order_id.clone(), order.seq);
        self.by_broker.insert(order.order.broker_order_id.clone(), order.seq);
        if !order.order.status.is_terminal() {
            let symbol = order.order.instruction.symbol.clone();
            self.live.entry(symbol).or_default().insert(order.seq);
        }
        self.orders.insert(order.seq, order);
    }

    /// Trades a part of an order. `None` if no such order is live, or it has not that much left.
    pub(super) fn fill(&mut self, seq: u64, taken: Taken, fee: Decimal, at: DateTime<Utc>) -> Option<Change> {
        let (qty, price) = (taken.qty.get(), taken.price.get());
        let number = self.executions.len() + 1;
        let mut execution = None;
        let change = self.change(seq, at, |held| {
            if held.remaining() < qty {
                return false;
            }
            held.cost += qty * price;
            held.replacement = None;
            let order = &mut held.order;
            order.filled_qty = (order.filled_qty + qty).normalize();
            order.filled_avg_price = money::average(held.cost, order.filled_qty);
            if order.filled_qty == order.qty.get() {
                order.status = VenueStatus::Filled;
            } else if order.status != VenueStatus::PendingCancel {
                order.status = VenueStatus::PartiallyFilled;
            }
            execution = Some(Execution {
                execution_id: format!("{}.{number:06}", order.broker_order_id),
                broker_order_id: order.broker_order_id.clone(),
                qty: taken.qty,
                price: taken.price,
                cum_qty: order.filled_qty,
                fee,
                at,
            });
            true
        })?;
        let instruction = &change.order.order.instruction;
        let signed = instruction.side.sign() * qty;
        *self.positions.entry(instruction.symbol.clone()).or_default() += signed;
        self.cash -= signed * price + fee;
        self.executions.extend(execution.clone());
        Some(Change { execution, ..change })
    }

    /// Ends an order without a trade. `None` if no such order is live.
    pub(super) fn end(
        &mut self,
        seq: u64,
        status: VenueStatus,
        reason: Option<VenueWords>,
        at: DateTime<Utc>,
    ) -> Option<Change> {
        debug_assert!(status.is_terminal());
        self.change(seq, at, |held| {
            held.order.status = status;
            held.order.reason = reason;
            held.replacement = None;
            true
        })
    }

    /// Notes that another order is to take this one's place.
    pub(super) fn pend_replace(&mut self, seq: u64, replacement: Replacement, at: DateTime<Utc>) -> Option<Change> {
        self.change(seq, at, |held| {
            held.order.status = VenueStatus::PendingReplace;
            held.replacement = Some(replacement);
            true
        })
    }

    /// Ends an order whose place another one takes.
    pub(super) fn give_way(&mut self, seq: u64, by: BrokerOrderId, at: DateTime<Utc>) -> Option<Change> {
        self.change(seq, at, |held| {
            held.order.status = VenueStatus::Replaced;
            held.order.replaced_by = Some(by);
            held.replacement = None;
            true
        })
    }

    /// Whether an order has yet to take the place of the one that it replaces.
    pub(super) fn waits_for_its_place(&self, held: &BookOrder) -> bool {
        let before = held.order.replaces.as_ref().and_then(|id| self.get(id));
        let coming = before.and_then(|before| before.replacement.as_ref());
        coming.is_some_and(|coming| coming.by == held.order.broker_order_id)
    }

    /// Notes how far a trailing stop has followed.
    pub(super) fn mark(&mut self, seq: u64, mark: Decimal, at: DateTime<Utc>) -> Option<Change> {
        self.change(seq, at, |held| held.trail_mark.replace(mark) != Some(mark))
    }

    /// Notes that a cancel is on its way, to be confirmed at `cancel_at`. `None` if one already is.
    pub(super) fn pend_cancel(&mut self, seq: u64, cancel_at: DateTime<Utc>, at: DateTime<Utc>) -> Option<Change> {
        self.change(seq, at, |held| {
            let is_new = held.cancel_at.is_none();
            held.order.status = VenueStatus::PendingCancel;
            held.cancel_at.get_or_insert(cancel_at);
            is_new
        })
    }

    /// Notes that an order's stop price has traded.
    pub(super) fn trigger(&mut self, seq: u64, at: DateTime<Utc>) -> Option<Change> {
        self.change(seq, at, |held| !std::mem::replace(&mut held.triggered, true))
    }

    /// The one place where an order that is in the book changes. `apply` answers whether it changed anything.
    fn change(&mut self, seq: u64, at: DateTime<Utc>, apply: impl FnOnce(&mut BookOrder) -> bool) -> Option<Change> {
        let held = self.orders.get_mut(&seq)?;
        if held.order.status.is_terminal() {
            return None;
        }
        let before = held.reserved();
        if !apply(held) {
            return None;
        }
        held.updated_at = at;
        self.reserved += held.reserved() - before;
        let order = held.clone();
        if order.order.status.is_terminal() {
            let symbol = &order.order.instruction.symbol;
            if let Some(live) = self.live.get_mut(symbol) {
                live.remove(&seq);
                if live.is_empty() {
                    self.live.remove(symbol);
                }
            }
        }
        Some(Change { order, execution: None })
    }

    /// The number that the next order gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.orders.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    /// The order of a client order id.
    #[must_use]
    pub fn find(&self, id: &OrderId) -> Option<&BookOrder> {
        self.orders.get(self.by_client.get(id)?)
    }

    /// The order of a broker order id.
    #[must_use]
    pub fn get(&self, id: &BrokerOrderId) -> Option<&BookOrder> {
        self.orders.get(self.by_broker.get(id)?)
    }

    pub(super) fn by_seq(&self, seq: u64) -> Option<&BookOrder> {
        self.orders.get(&seq)
    }

    /// Every order behind a place in the sequence (0: all), oldest first.
    pub fn orders_after(&self, seq: u64) -> impl Iterator<Item = &BookOrder> {
        self.orders.range(seq.saturating_add(1)..).map(|(_, order)| order)
    }

    /// The orders that are live, by symbol and age.
    pub fn live(&self) -> impl Iterator<Item = &BookOrder> {
        self.live.values().flatten().filter_map(|seq| self.orders.get(seq))
    }

    pub(super) fn live_symbols(&self) -> Vec<Symbol> {
        self.live.keys().cloned().collect()
    }

    pub(super) fn is_live(&self, symbol: &Symbol) -> bool {
        self.live.contains_key(symbol)
    }

    pub(super) fn live_in(&self, symbol: &Symbol) -> Vec<u64> {
        self.live.get(symbol).into_iter().flatten().copied().collect()
    }

    /// Every trade, in the order of its time.
    #[must_use]
    pub fn executions(&self) -> &[Execution] {
        &self.executions
    }

    /// What is held of every symbol that was ever traded; flat is zero, short negative.
    #[must_use]
    pub const fn positions(&self) -> &BTreeMap<Symbol, Decimal> {
        &self.positions
    }

    /// The account's cash.
    #[must_use]
    pub const fn cash(&self) -> Decimal {
        self.cash
    }

    /// The cash that open buys hold back.
    #[must_use]
    pub const fn reserved(&self) -> Decimal {
        self.reserved
    }
}

/// What is left of an order as a quantity.
pub(super) fn remaining(order: &BookOrder) -> Option<Qty> {
    Qty::new(order.remaining()).ok()
}

/// What a buy holds back per unit, and a sell doesn't.
pub(super) const fn reserve_price(side: Side, price: Decimal) -> Decimal {
    match side {
        Side::Buy => price,
        Side::Sell => Decimal::ZERO,
    }
}
