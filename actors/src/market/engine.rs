//! The matching engine: takes orders by a broker's rules, and fills them from the quotes of the time that it is given.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use sha2::{Digest, Sha256};

use super::book::{self, Book, BookOrder, BookState, Change};
use super::faults::PerMille;
use super::fills::{self, Fees, Offer, Taken, Wish};
use super::quotes::Quotes;
use super::sized_quote::SizedQuote;
use super::stops;
use crate::domain::money::{Price, Qty};
use crate::domain::names::{BrokerOrderId, OrderId, Symbol};
use crate::domain::terms::{Instruction, Side, Terms, TimeInForce};
use crate::domain::venue::{NewOrder, Quote, VenueOrder, VenueStatus, VenueWords};
use crate::ports::{CancelError, SubmitError};

mod replacing;

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
    /// How often an order gets only a part of what it could have, by chance, and the rest from later quotes.
    pub partial: Option<Partial>,
}

/// Fills in part by chance.
#[derive(Clone, Copy, Debug)]
pub struct Partial {
    /// How often.
    pub probability: PerMille,
    /// Decides when.
    pub seed: u64,
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
    halted: bool,
}

impl Engine {
    /// The engine over the book that was kept (a new one holds only its cash). Quotes that passed before the first call
    /// fill nothing.
    #[must_use]
    pub fn new(rules: Rules, quotes: Quotes, state: BookState) -> Self {
        Self { rules, quotes, book: Book::restore(state), present: BTreeMap::new(), halted: false }
    }

    /// Goes back to a book that was kept, as after a restart.
    pub fn restore(&mut self, state: BookState) {
        self.book = Book::restore(state);
        self.present.clear();
    }

    /// Whether nothing trades from now on but in an auction: the market is closed.
    pub const fn halt(&mut self, halted: bool) {
        self.halted = halted;
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

    /// Takes an order, and trades of it what the present quote has for it. A `day` order ends at `session_end`; an order
    /// for an auction waits until then, and takes what the quote of that moment has for it.
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
        let reserve_price = self.admissible(new, new.qty.get(), Decimal::ZERO, now)?;
        let held = self.drawn_up(new, reserve_price, now, session_end)?;
        let mut changes = Vec::new();
        self.catch_up(&new.instruction.symbol, now, &mut changes);
        let (seq, order) = (held.seq, held.order.clone());
        changes.push(self.book.admit(held));
        self.begin(seq, now, &mut changes);
        Ok(Accepted { order, changes })
    }

    /// An order as it enters the book.
    fn drawn_up(
        &self,
        new: &NewOrder,
        reserve_price: Decimal,
        now: DateTime<Utc>,
        session_end: DateTime<Utc>,
    ) -> Result<BookOrder, SubmitError> {
        let seq = self.book.next_seq();
        let broker_order_id = broker_order_id(seq, &new.client_order_id);
        let expires_at = match new.instruction.time_in_force {
            TimeInForce::Day | TimeInForce::Opg | TimeInForce::Cls => Some(session_end),
            TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => None,
        };
        Ok(BookOrder {
            seq,
            order: VenueOrder {
                broker_order_id: broker_order_id.ok_or_else(|| rejected("50010000", "no order id is left"))?,
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
            },
            cost: Decimal::ZERO,
            reserve_price,
            triggered: false,
            trail_mark: None,
            carried_qty: Decimal::ZERO,
            replacement: None,
            expires_at,
            cancel_at: None,
            updated_at: now,
        })
    }

    /// Lets an order that has its place in the market trade for the first time.
    fn begin(&mut self, seq: u64, now: DateTime<Utc>, changes: &mut Vec<Change>) {
        self.match_order(seq, now, changes);
        let Some(held) = self.book.by_seq(seq) else { return };
        match held.order.instruction.time_in_force {
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Opg | TimeInForce::Cls => {}
            TimeInForce::Ioc | TimeInForce::Fok => {
                let reason = words("time_in_force", "the rest could not be filled at once");
                changes.extend(self.book.end(seq, VenueStatus::Canceled, Some(reason), now));
            }
        }
    }

    /// Takes the request to cancel an order. It is confirmed at `confirm_at`: at once if that is not ahead of `now`,
    /// else the order is pending until then, and a fill may win the race. Asking again changes nothing.
    ///
    /// # Errors
    /// [`CancelError::NotCancelable`] if the order has ended, or was never taken, or while its replacement is on its way:
    /// then neither of the two can be cancelled until one of them is over.
    pub fn cancel(
        &mut self,
        id: &BrokerOrderId,
        now: DateTime<Utc>,
        confirm_at: DateTime<Utc>,
    ) -> Result<Vec<Change>, CancelError> {
        let held = self.book.get(id).ok_or(CancelError::NotCancelable)?;
        let seq = held.seq;
        if held.order.status.is_terminal() || held.replacement.is_some() || self.book.waits_for_its_place(held) {
            return Err(CancelError::NotCancelable);
        }
        let change = if confirm_at <= now {
            self.book.end(seq, VenueStatus::Canceled, None, now)
        } else {
            self.book.pend_cancel(seq, confirm_at, now)
        };
        Ok(change.into_iter().collect())
    }

    /// Trades of a live order so much, or all the rest, whatever the market says: at this price, or at its limit or the
    /// touch. For whoever stages what a market seldom does.
    pub fn fill(
        &mut self,
        id: &BrokerOrderId,
        qty: Option<Qty>,
        price: Option<Price>,
        now: DateTime<Utc>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let Some(held) = self.book.get(id) else { return changes };
        let Instruction { symbol, side, terms, .. } = &held.order.instruction;
        let price = price.or_else(|| terms.limit_price());
        let price = price.unwrap_or_else(|| self.present_quote(symbol, now).touch(*side));
        if let Some(qty) = qty.or_else(|| book::remaining(held)) {
            let fee = self.rules.fees.of(qty.get(), price.get());
            let seq = held.seq;
            self.overtake(seq, now, &mut changes, |book| book.fill(seq, Taken { qty, price }, fee, now));
        }
        changes
    }

    /// Lets the time pass: ends what is due, and matches the live orders with every quote since the last call.
    pub fn tick(&mut self, now: DateTime<Utc>) -> Vec<Change> {
        let mut changes = Vec::new();
        for symbol in self.book.live_symbols() {
            for seq in self.book.live_in(&symbol) {
                self.come_due(seq, now, &mut changes);
            }
            let placed = changes.iter().filter_map(|change| change.order.order.replaced_by.clone()).collect::<Vec<_>>();
            self.catch_up(&symbol, now, &mut changes);
            for seq in placed.iter().filter_map(|id| self.book.get(id)).map(|held| held.seq).collect::<Vec<_>>() {
                self.match_order(seq, now, &mut changes);
            }
        }
        changes
    }

    /// Whether an order may enter the book with so much of it to be traded, where so much of the cash becomes free by it,
    /// and what a unit of it holds back.
    fn admissible(
        &self,
        new: &NewOrder,
        open_qty: Decimal,
        freed: Decimal,
        now: DateTime<Utc>,
    ) -> Result<Decimal, SubmitError> {
        if self.book.find(&new.client_order_id).is_some() {
            return Err(SubmitError::DuplicateId);
        }
        let order = &new.instruction;
        if self.rules.refused.contains(&order.symbol) {
            return Err(rejected("42210000", &format!("asset {} is not tradable", order.symbol)));
        }
        let has_stop = order.terms.stop_price().is_some() || order.terms.trail().is_some();
        if has_stop && !matches!(order.time_in_force, TimeInForce::Day | TimeInForce::Gtc) {
            return Err(rejected("42210000", "stop orders must be day or gtc"));
        }
        let limit_day = matches!(order.terms, Terms::Limit { .. }) && order.time_in_force == TimeInForce::Day;
        if order.extended_hours && !limit_day {
            return Err(rejected("42210000", "extended hours orders must be day limit orders"));
        }
        let Instruction { symbol, side, terms, .. } = order;
        let price = match terms {
            Terms::Limit { limit_price } | Terms::StopLimit { limit_price, .. } => *limit_price,
            Terms::Stop { stop_price } => fills::worsened(*side, *stop_price, self.rules.slippage_bps),
            Terms::Market | Terms::TrailingStop { .. } => {
                let quote = self.present_quote(symbol, now);
                let stop = stops::stop_price(*side, *terms, Some(quote.last));
                fills::worsened(*side, stop.unwrap_or_else(|| quote.touch(*side)), self.rules.slippage_bps)
            }
        };
        self.affordable(*side, open_qty, price.get(), freed)
    }

    fn present_quote(&self, symbol: &Symbol, now: DateTime<Utc>) -> SizedQuote {
        let index = self.quotes.index_at(symbol, now);
        let present = self.present.get(symbol).filter(|present| present.index == index);
        present.map_or_else(|| self.quotes.quote(symbol, index), |present| present.quote.clone())
    }

    fn affordable(&self, side: Side, qty: Decimal, price: Decimal, freed: Decimal) -> Result<Decimal, SubmitError> {
        let free = self.book.cash() - self.book.reserved() + freed - self.rules.fees.of(qty, price);
        let reserve_price = book::reserve_price(side, price);
        if side == Side::Buy && qty * reserve_price > free {
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

    /// Does what is due with an order: its replacement takes its place, its cancel is confirmed, its time in force ends.
    /// Answers whether it is over.
    fn come_due(&mut self, seq: u64, now: DateTime<Utc>, changes: &mut Vec<Change>) -> bool {
        let Some(held) = self.book.by_seq(seq) else { return true };
        let is_due = |at: DateTime<Utc>| at <= now;
        let outlived = |at| held.expires_at.is_some_and(|end| end <= at);
        if let Some(coming) = held.replacement.clone().filter(|coming| is_due(coming.at) && !outlived(coming.at)) {
            changes.extend(self.book.give_way(seq, coming.by, now));
        } else if held.cancel_at.is_some_and(is_due) {
            changes.extend(self.book.end(seq, VenueStatus::Canceled, None, now));
        } else if held.expires_at.is_some_and(is_due) {
            if is_for_an_auction(held) {
                self.auction(seq, now, changes);
            }
            let reason = words("time_in_force", "the session has ended");
            self.overtake(seq, now, changes, |book| book.end(seq, VenueStatus::Expired, Some(reason), now));
        } else {
            return held.order.status.is_terminal();
        }
        true
    }

    /// Trades of an order what the symbol's present quote has for it, if it may trade now.
    fn match_order(&mut self, seq: u64, now: DateTime<Utc>, changes: &mut Vec<Change>) {
        if self.come_due(seq, now, changes) {
            return;
        }
        let waits = |held: &&BookOrder| is_for_an_auction(held) || self.book.waits_for_its_place(held);
        let Some(held) = self.book.by_seq(seq).filter(|held| !waits(held)) else { return };
        if self.halted {
            return;
        }
        let symbol = held.order.instruction.symbol.clone();
        if let Some(mut present) = self.present.remove(&symbol) {
            self.trade(seq, &mut present, now, changes);
            self.present.insert(symbol, present);
        }
    }

    /// Trades of an order what the quote at its session's end has for it, unless the engine was away too long.
    fn auction(&mut self, seq: u64, now: DateTime<Utc>, changes: &mut Vec<Change>) {
        let Some(held) = self.book.by_seq(seq) else { return };
        let (Some(at), Instruction { symbol, .. }) = (held.expires_at, &held.order.instruction) else { return };
        let index = self.quotes.index_at(symbol, at);
        if self.quotes.index_at(symbol, now).saturating_sub(index) > MOST_STEPS {
            return;
        }
        let quote = self.quotes.quote(symbol, index);
        self.trade(seq, &mut Present { index, quote, bought: Decimal::ZERO, sold: Decimal::ZERO }, now, changes);
    }

    /// Trades of an order what a quote has for it.
    fn trade(&mut self, seq: u64, present: &mut Present, now: DateTime<Utc>, changes: &mut Vec<Change>) {
        let Some(held) = self.book.by_seq(seq) else { return };
        let last = present.quote.last;
        if let Some(mark) = stops::moved_mark(held, last) {
            changes.extend(self.book.mark(seq, mark, now));
        }
        let Some(held) = self.book.by_seq(seq).filter(|held| !stops::waits(held, last)) else { return };
        let Instruction { side, terms, time_in_force, .. } = held.order.instruction;
        let partial = self.rules.partial.filter(|_| time_in_force != TimeInForce::Fok);
        let wish = book::remaining(held).map(|qty| Wish {
            side,
            qty: partial.and_then(|partial| partial.of(seq, present.index, qty)).unwrap_or(qty),
            limit: terms.limit_price(),
            whole: time_in_force == TimeInForce::Fok,
        });
        let taken = wish.and_then(|wish| fills::take(&wish, &present.offer(side), self.rules.slippage_bps));
        if let Some(taken) = taken {
            present.take(side, taken.qty.get());
        }
        if terms.stop_price().is_some() || terms.trail().is_some() {
            changes.extend(self.book.trigger(seq, now));
        }
        if let Some(taken) = taken {
            let fee = self.rules.fees.of(taken.qty.get(), taken.price.get());
            self.overtake(seq, now, changes, |book| book.fill(seq, taken, fee, now));
        }
    }
}

impl Partial {
    /// The part that an order gets at a quote, if it gets one and that can be traded.
    fn of(self, seq: u64, index: u64, qty: Qty) -> Option<Qty> {
        let bits = Sha256::digest(format!("partial|{}|{seq}|{index}", self.seed));
        let (draw, share) =
            bits.split_first_chunk::<8>().map(|(draw, rest)| (u64::from_be_bytes(*draw), rest.first()))?;
        let part = qty.get() * Decimal::from(*share?) / Decimal::from(256);
        let part = part.round_dp_with_strategy(qty.get().scale(), RoundingStrategy::ToZero);
        Qty::new(part).ok().filter(|_| self.probability.strikes(draw))
    }
}

/// Orders for an auction trade once, when the session ends.
fn is_for_an_auction(held: &BookOrder) -> bool {
    matches!(held.order.instruction.time_in_force, TimeInForce::Opg | TimeInForce::Cls)
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
