//! The matching engine: takes orders by a broker's rules, and fills them from the quotes of the time that it is given.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::book::{self, Book, BookOrder, BookState, Change};
use super::fills::{self, Fees, Offer, Wish};
use super::quotes::Quotes;
use super::sized_quote::SizedQuote;
use crate::domain::names::{BrokerOrderId, OrderId, Symbol};
use crate::domain::terms::{Instruction, Side, Terms, TimeInForce};
use crate::domain::venue::{NewOrder, Quote, VenueOrder, VenueStatus, VenueWords};
use crate::ports::{CancelError, SubmitError};

/// Most quotes of one symbol that are stepped through at once; beyond that the engine was away, and begins anew at the
/// present quote.
const MOST_STEPS: u64 = 10_000;

/// What is configured about the venue.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The worst that size does to a price, in hundredths of a percent of the quote.
    pub slippage_bps: Decimal,
    /// What trades cost.
    pub fees: Fees,
    /// Symbols that the venue doesn't trade.
    pub refused: BTreeSet<Symbol>,
}

/// An order that was taken.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The order at the moment when it was taken, before any trade.
    pub order: VenueOrder,
    /// Everything that changed, the acceptance and trades at once included.
    pub changes: Vec<Change>,
}

/// The quote that a symbol's orders were last matched with, and how much of its sizes they took.
#[derive(Clone, Debug)]
struct Present {
    index: u64,
    quote: SizedQuote,
    bought: Decimal,
    sold: Decimal,
}

impl Present {
    fn offer(&self, side: Side) -> Offer {
        let taken = match side {
            Side::Buy => self.bought,
            Side::Sell => self.sold,
        };
        let displayed = self.quote.displayed(side);
        Offer { touch: self.quote.touch(side), displayed, left: displayed.map(|size| size - taken) }
    }

    fn take(&mut self, side: Side, qty: Decimal) {
        match side {
            Side::Buy => self.bought += qty,
            Side::Sell => self.sold += qty,
        }
    }
}

/// One account's venue. The same calls with the same times give the same results, whatever the process around it does.
#[derive(Clone, Debug)]
pub struct Engine {
    rules: Rules,
    quotes: Quotes,
    book: Book,
    present: BTreeMap<Symbol, Present>,
}

impl Engine {
    /// The engine over the book that was kept (a new one holds only its cash). Quotes that passed before the first call
    /// fill nothing.
    #[must_use]
    pub fn new(rules: Rules, quotes: Quotes, state: BookState) -> Self {
        Self { rules, quotes, book: Book::restore(state), present: BTreeMap::new() }
    }

    /// Goes back to a book that was kept, as after a restart.
    pub fn restore(&mut self, state: BookState) {
        self.book = Book::restore(state);
        self.present.clear();
    }

    /// The book.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// The present quote.
    #[must_use]
    pub fn quote(&self, symbol: &Symbol, now: DateTime<Utc>) -> Quote {
        self.quotes.at(symbol, now)
    }

    /// Takes an order, and trades of it what the present quote has for it. A `day` order ends at `session_end`.
    ///
    /// # Errors
    /// [`SubmitError::DuplicateId`] for an id that was ever taken, and [`SubmitError::Rejected`] with a broker's code
    /// and words; then nothing has changed, and the id is still free.
    pub fn submit(
        &mut self,
        new: &NewOrder,
        now: DateTime<Utc>,
        session_end: DateTime<Utc>,
    ) -> Result<Accepted, SubmitError> {
        let reserve_price = self.admissible(new, now)?;
        let seq = self.book.next_seq();
        let broker_order_id =
            broker_order_id(seq, &new.client_order_id).ok_or_else(|| rejected("50010000", "no order id is left"))?;
        let Instruction { symbol, time_in_force, .. } = &new.instruction;
        let mut changes = Vec::new();
        self.catch_up(symbol, now, &mut changes);
        let order = VenueOrder {
            broker_order_id,
            client_order_id: new.client_order_id.clone(),
            instruction: new.instruction.clone(),
            qty: new.qty,
            status: VenueStatus::Accepted,
            filled_qty: Decimal::ZERO,
            filled_avg_price: None,
            reason: None,
            replaces: None,
            replaced_by: None,
            submitted_at: now,
        };
        changes.push(self.book.admit(BookOrder {
            seq,
            order: order.clone(),
            cost: Decimal::ZERO,
            reserve_price,
            triggered: false,
            expires_at: (*time_in_force == TimeInForce::Day).then_some(session_end),
            cancel_at: None,
            updated_at: now,
        }));
        self.match_order(seq, now, &mut changes);
        match time_in_force {
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Opg | TimeInForce::Cls => {}
            TimeInForce::Ioc | TimeInForce::Fok => {
                let reason = words("time_in_force", "the rest could not be filled at once");
                changes.extend(self.book.end(seq, VenueStatus::Canceled, Some(reason), now));
            }
        }
        Ok(Accepted { order, changes })
    }

    /// Takes the request to cancel an order. It is confirmed at `confirm_at`: at once if that is not ahead of `now`,
    /// else the order is pending until then, and a fill may win the race. Asking again changes nothing.
    ///
    /// # Errors
    /// [`CancelError::NotCancelable`] if the order has ended, or was never taken.
    pub fn cancel(
        &mut self,
        id: &BrokerOrderId,
        now: DateTime<Utc>,
        confirm_at: DateTime<Utc>,
    ) -> Result<Vec<Change>, CancelError> {
        let held = self.book.get(id).ok_or(CancelError::NotCancelable)?;
        let seq = held.seq;
        if held.order.status.is_terminal() {
            return Err(CancelError::NotCancelable);
        }
        let change = if confirm_at <= now {
            self.book.end(seq, VenueStatus::Canceled, None, now)
        } else {
            self.book.pend_cancel(seq, confirm_at, now)
        };
        Ok(change.into_iter().collect())
    }

    /// Lets the time pass: ends what is due, and matches the live orders with every quote since the last call.
    pub fn tick(&mut self, now: DateTime<Utc>) -> Vec<Change> {
        let mut changes = Vec::new();
        for symbol in self.book.live_symbols() {
            for seq in self.book.live_in(&symbol) {
                changes.extend(self.end_if_due(seq, now));
            }
            self.catch_up(&symbol, now, &mut changes);
        }
        changes
    }

    /// Whether an order may enter the book, and what a unit of it holds back from the cash.
    fn admissible(&self, new: &NewOrder, now: DateTime<Utc>) -> Result<Decimal, SubmitError> {
        if self.book.find(&new.client_order_id).is_some() {
            return Err(SubmitError::DuplicateId);
        }
        let order = &new.instruction;
        if self.rules.refused.contains(&order.symbol) {
            return Err(rejected("42210000", &format!("asset {} is not tradable", order.symbol)));
        }
        if order.terms.trail().is_some() || matches!(order.time_in_force, TimeInForce::Opg | TimeInForce::Cls) {
            return Err(rejected("42210000", "order type or time in force is not supported"));
        }
        let at_once = matches!(order.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
        if at_once && order.terms.stop_price().is_some() {
            return Err(rejected("42210000", "stop orders must be day or gtc"));
        }
        let limit_day = matches!(order.terms, Terms::Limit { .. }) && order.time_in_force == TimeInForce::Day;
        if order.extended_hours && !limit_day {
            return Err(rejected("42210000", "extended hours orders must be day limit orders"));
        }
        self.affordable(new, now)
    }

    fn affordable(&self, new: &NewOrder, now: DateTime<Utc>) -> Result<Decimal, SubmitError> {
        let Instruction { symbol, side, terms, .. } = &new.instruction;
        let price = match terms {
            Terms::Limit { limit_price } | Terms::StopLimit { limit_price, .. } => *limit_price,
            Terms::Stop { stop_price } => fills::worsened(*side, *stop_price, self.rules.slippage_bps),
            Terms::Market | Terms::TrailingStop { .. } => {
                let index = self.quotes.index_at(symbol, now);
                let present = self.present.get(symbol).filter(|present| present.index == index);
                let touch = match present {
                    Some(present) => present.quote.touch(*side),
                    None => self.quotes.quote(symbol, index).touch(*side),
                };
                fills::worsened(*side, touch, self.rules.slippage_bps)
            }
        };
        let (qty, price) = (new.qty.get(), price.get());
        let free = self.book.cash() - self.book.reserved() - self.rules.fees.of(qty, price);
        let reserve_price = book::reserve_price(*side, price);
        if *side == Side::Buy && qty * reserve_price > free {
            return Err(rejected("40310000", "insufficient buying power"));
        }
        Ok(reserve_price)
    }

    /// Brings a symbol to its present quote, and on the way matches its live orders with each quote that passed.
    fn catch_up(&mut self, symbol: &Symbol, now: DateTime<Utc>, changes: &mut Vec<Change>) {
        let current = self.quotes.index_at(symbol, now);
        let live = self.book.is_live(symbol);
        let first = match self.present.get(symbol) {
            Some(present) if present.index == current => return,
            Some(present) if live && present.index < current && current - present.index <= MOST_STEPS => {
                present.index + 1
            }
            Some(_) | None => current,
        };
        for index in first..=current {
            let present =
                Present { index, quote: self.quotes.quote(symbol, index), bought: Decimal::ZERO, sold: Decimal::ZERO };
            self.present.insert(symbol.clone(), present);
            for seq in self.book.live_in(symbol) {
                self.match_order(seq, now, changes);
            }
        }
    }

    /// Ends an order whose cancel is confirmed or whose time in force is over.
    fn end_if_due(&mut self, seq: u64, now: DateTime<Utc>) -> Option<Change> {
        let order = self.book.by_seq(seq)?;
        if order.cancel_at.is_some_and(|at| at <= now) {
            self.book.end(seq, VenueStatus::Canceled, None, now)
        } else if order.expires_at.is_some_and(|at| at <= now) {
            let reason = words("time_in_force", "the session has ended");
            self.book.end(seq, VenueStatus::Expired, Some(reason), now)
        } else {
            None
        }
    }

    /// Trades of an order what the symbol's present quote has for it.
    fn match_order(&mut self, seq: u64, now: DateTime<Utc>, changes: &mut Vec<Change>) {
        if let Some(ended) = self.end_if_due(seq, now) {
            changes.push(ended);
            return;
        }
        let Some(held) = self.book.by_seq(seq) else { return };
        let Instruction { symbol, side, terms, time_in_force, .. } = &held.order.instruction;
        let side = *side;
        let Some(present) = self.present.get_mut(symbol) else {
            return;
        };
        if let (Some(stop), false) = (terms.stop_price(), held.triggered)
            && !fills::triggers(side, present.quote.last, stop)
        {
            return;
        }
        let wish = book::remaining(held).map(|qty| Wish {
            side,
            qty,
            limit: terms.limit_price(),
            whole: *time_in_force == TimeInForce::Fok,
        });
        let taken = wish.and_then(|wish| fills::take(&wish, &present.offer(side), self.rules.slippage_bps));
        if let Some(taken) = taken {
            present.take(side, taken.qty.get());
        }
        if terms.stop_price().is_some() {
            changes.extend(self.book.trigger(seq, now));
        }
        if let Some(taken) = taken {
            let fee = self.rules.fees.of(taken.qty.get(), taken.price.get());
            changes.extend(self.book.fill(seq, taken, fee, now));
        }
    }
}

/// A broker's ids are unique over all its lives: a book that begins anew counts from one again, so a part of the client's
/// id goes in.
fn broker_order_id(seq: u64, client: &OrderId) -> Option<BrokerOrderId> {
    let part = client.as_str().chars().take(8).collect::<String>();
    BrokerOrderId::parse(&format!("paper-{seq:06}-{part}")).ok()
}

fn words(code: &str, message: &str) -> VenueWords {
    VenueWords { code: code.to_owned(), message: message.to_owned() }
}

fn rejected(code: &str, message: &str) -> SubmitError {
    SubmitError::Rejected(words(code, message))
}

#[cfg(test)]
mod tests;
