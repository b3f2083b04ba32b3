//! What a trade means for its position, for the account's equity and for the trading day; and capital moved by people.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::json;

use super::books::{Books, GATEWAY};
use super::{Applied, Event, EventKind, Outcome, Refusal};
use crate::domain::chain::Chain;
use crate::domain::fills::Filled;
use crate::domain::money::average;
use crate::domain::order::Order;
use crate::domain::portfolio::{CapitalEntry, CapitalKind, CapitalMove, DayResult, Direction, Opening, gained};
use crate::domain::position::Position;
use crate::domain::venue::Execution;

/// A part of what became known of an order's trades.
struct Part {
    qty: Decimal,
    cost: Decimal,
    fee: Decimal,
    executions: u32,
    at: DateTime<Utc>,
}

/// What is to be booked, and why.
struct Booking<'a> {
    kind: CapitalKind,
    amount: Decimal,
    day: NaiveDate,
    order: Option<&'a Order>,
    actor: &'a str,
    reason: Option<&'a str>,
}

impl Books {
    /// The position that an order's trades go to, and what they realise: that is the answer.
    pub(super) fn trade(&mut self, order: &Order, before: Filled, after: Filled, news: &[Execution]) -> Decimal {
        let (qty, cost) = (after.qty - before.qty, after.cost - before.cost);
        if qty.is_zero() && cost.is_zero() && news.is_empty() {
            return Decimal::ZERO;
        }
        let key = (order.account.clone(), order.instruction.symbol.clone());
        let old = self.positions.get(&key).cloned().unwrap_or_default();
        let mut opens = before.qty.is_zero() && qty > Decimal::ZERO && !self.has_parent_traded(order);
        let mut position = old.clone();
        for part in parts(before, after, news, self.at) {
            let next = self.moved(&position, order, before, &part);
            self.account_for(order, &position, &next, &part, std::mem::take(&mut opens));
            position = next;
        }
        let realised = position.realised_pnl - old.realised_pnl;
        if position != old {
            if self.changes.positions.insert(key.clone()) {
                position.version += 1;
            }
            self.traded = Some(key.clone());
            self.positions.insert(key, position);
        }
        realised
    }

    fn moved(&self, position: &Position, order: &Order, before: Filled, part: &Part) -> Position {
        let side = order.instruction.side;
        let position = position.clone();
        let mut position = match part.qty.cmp(&Decimal::ZERO) {
            Ordering::Greater => position.traded(side, part.qty, part.cost),
            Ordering::Less => {
                position.untraded(side, -part.qty, -part.cost, self.realised_by(order, before.qty, -part.qty))
            }
            Ordering::Equal => position.repriced(side, part.cost),
        };
        position.fees += part.fee;
        let is_newest = position.last.is_none_or(|(_, at)| at <= part.at);
        if let (Ordering::Greater, true) = (part.qty.cmp(&Decimal::ZERO), is_newest)
            && let Some(price) = average(part.cost, part.qty)
        {
            position.last = Some((price, part.at));
        }
        position
    }

    /// What a part of an order's trades realised, as far as that can be told apart: their share of it.
    fn realised_by(&self, order: &Order, traded: Decimal, part: Decimal) -> Decimal {
        let chain = self.chain(order);
        let realised = chain.iter().flat_map(Chain::orders).map(|member| member.realised_pnl).sum::<Decimal>();
        if part == traded { realised } else { (realised * part).checked_div(traded).unwrap_or(realised) }
    }

    fn has_parent_traded(&self, order: &Order) -> bool {
        let parent = order.slice.as_ref().and_then(|slice| self.parents.get(&slice.parent));
        parent.is_some_and(|parent| !parent.progress.filled_qty.is_zero())
    }

    /// Books what a part of an order's trades brought and cost, on the trading day on which it traded.
    fn account_for(&mut self, order: &Order, before: &Position, after: &Position, part: &Part, opens: bool) {
        let day = self.day_end.trading_day(part.at);
        let (profit, fee) = gained(before, after);
        for (kind, amount) in [(CapitalKind::TradingPnl, profit), (CapitalKind::Fee, -fee)] {
            if !amount.is_zero() {
                self.book(&Booking { kind, amount, day, order: Some(order), actor: GATEWAY, reason: None });
            }
        }
        self.portfolio.mark();
        let result = self.day(day);
        result.realised_pnl += profit;
        result.fees += fee;
        result.executions = result.executions.saturating_add(part.executions);
        result.orders = result.orders.saturating_add(u32::from(opens));
    }

    fn day(&mut self, day: NaiveDate) -> &mut DayResult {
        self.changes.days.insert(day);
        self.days.entry(day).or_insert_with(|| DayResult::new(day))
    }

    fn book(&mut self, booking: &Booking<'_>) {
        let (before, after) = self.portfolio.book(booking.amount);
        if !std::mem::replace(&mut self.changes.portfolio, true) {
            self.portfolio.version += 1;
        }
        self.changes.capital.push(CapitalEntry {
            number: self.portfolio.entries,
            kind: booking.kind,
            amount: booking.amount,
            before,
            after,
            day: booking.day,
            order: booking.order.map(|order| order.id.clone()),
            symbol: booking.order.map(|order| order.instruction.symbol.clone()),
            actor: booking.actor.to_owned(),
            reason: booking.reason.map(str::to_owned),
            at: self.at,
        });
    }

    /// Somebody pays in or takes out. What is taken out was there.
    pub(super) fn move_capital(&mut self, asked: &CapitalMove) -> Result<Applied, Refusal> {
        if let Some(expected) = asked.expected.filter(|expected| *expected != self.portfolio.version) {
            return Err(Refusal::PortfolioMoved { expected, found: self.portfolio.version });
        }
        let (kind, amount) = match asked.direction {
            Direction::Deposit => (CapitalKind::Deposit, asked.amount.get()),
            Direction::Withdrawal => (CapitalKind::Withdrawal, -asked.amount.get()),
        };
        if self.portfolio.closed_equity + amount < Decimal::ZERO && amount < Decimal::ZERO {
            return Err(Refusal::BelowZero { equity: self.portfolio.closed_equity });
        }
        let day = self.day_end.trading_day(self.at);
        let reason = Some(asked.reason.as_str());
        self.book(&Booking { kind, amount, day, order: None, actor: &asked.operator, reason });
        self.portfolio.move_capital(amount);
        self.portfolio.mark();
        let result = self.day(day);
        result.capital += amount;
        let data = json!({
            "kind": kind, "amount": amount, "equity": self.portfolio.closed_equity, "operator": asked.operator,
            "reason": asked.reason, "version": self.portfolio.version,
        });
        self.note(Event { actor: asked.by.to_string(), ..Event::global(EventKind::Capital, data) });
        Ok(Applied { outcome: Outcome::Booked(self.portfolio), ..Applied::done() })
    }

    /// A trading day begins, or is looked at for the first time: what is open counts from here on. Once is enough.
    pub(super) fn open_day(&mut self, day: NaiveDate, unrealised: Decimal) -> Applied {
        if self.days.get(&day).is_some_and(|known| known.opening.is_some()) {
            return Applied::unchanged();
        }
        let (closed, at) = (self.portfolio.closed_equity, self.at);
        let result = self.day(day);
        let equity = closed - result.net() - result.capital;
        result.opening = Some(Opening { equity, unrealised_pnl: unrealised, at });
        Applied::done()
    }
}

/// The trades one by one, each at its time, where they explain all that became known; else that as one.
fn parts(before: Filled, after: Filled, news: &[Execution], now: DateTime<Utc>) -> Vec<Part> {
    let one = |execution: &Execution| Part {
        qty: execution.qty.get(),
        cost: execution.qty.get() * execution.price.get(),
        fee: execution.fee,
        executions: 1,
        at: execution.at.min(now),
    };
    let (qty, cost) = (after.qty - before.qty, after.cost - before.cost);
    let mut parts = news.iter().map(one).collect::<Vec<_>>();
    let told = |of: fn(&Part) -> Decimal| parts.iter().map(of).sum::<Decimal>();
    if told(|part| part.qty) == qty && told(|part| part.cost) == cost && !parts.is_empty() {
        parts.sort_by_key(|part| part.at);
        return parts;
    }
    vec![Part {
        qty,
        cost,
        fee: told(|part| part.fee),
        executions: u32::try_from(parts.len()).unwrap_or(u32::MAX),
        at: parts.iter().map(|part| part.at).max().unwrap_or(now),
    }]
}
