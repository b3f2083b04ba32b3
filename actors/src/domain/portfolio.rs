//! What an account is worth: an append-only ledger of capital, the one row that sums it up, and the result of each trading
//! day.
//!
//! Money counts here in steps of nine decimal places. What a trade adds is the difference of two rounded totals, so that the
//! ledger never drifts away from the positions, however often an average leaves a remainder.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::{MAX_SCALE, Money};
use super::names::{Caller, OrderId, Symbol};
use super::position::Position;
use super::text::words;

/// What an account is worth by its ledger. It starts at nothing, and grows with deposits and with what trades bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portfolio {
    /// The first deposit.
    pub initial_capital: Decimal,
    /// Deposits less withdrawals.
    pub net_capital: Decimal,
    /// All that was ever booked: without what is open.
    pub closed_equity: Decimal,
    /// The most that `closed_equity` ever was; only ever up.
    pub high_water_mark: Decimal,
    /// The most that trading ever brought, so that a withdrawal is no loss and a deposit no gain.
    pub peak_result: Decimal,
    /// How many entries its ledger has; they are numbered from 1 on.
    pub entries: u64,
    /// Grows with every write; a write compares it first.
    pub version: u64,
}

words!(
    /// Why capital changed.
    CapitalKind {
        /// Somebody paid in.
        Deposit = "deposit",
        /// Somebody took out.
        Withdrawal = "withdrawal",
        /// Profit or loss of what was closed, before fees.
        TradingPnl = "trading_pnl",
        /// What the venue charged.
        Fee = "fee",
    }
);

/// One change of an account's capital, as it is kept for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapitalEntry {
    /// Its place in the account's ledger, from 1 on without gaps.
    pub number: u64,
    /// Why.
    pub kind: CapitalKind,
    /// By how much; what was lost, paid or taken out is below zero.
    pub amount: Decimal,
    /// Closed equity before.
    pub before: Decimal,
    /// Closed equity after.
    pub after: Decimal,
    /// The trading day that it counts to.
    pub day: NaiveDate,
    /// The order that traded, where one did.
    pub order: Option<OrderId>,
    /// What was traded.
    pub symbol: Option<Symbol>,
    /// Who: `gateway`, or whoever moved capital, as given.
    pub actor: String,
    /// Why capital was moved.
    pub reason: Option<String>,
    /// When it was booked.
    pub at: DateTime<Utc>,
}

/// Somebody pays in or takes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapitalMove {
    /// Which of the two.
    pub direction: Direction,
    /// How much.
    pub amount: Money,
    /// The version of the portfolio that it was decided on; `None`: any.
    pub expected: Option<u64>,
    /// Who, as given.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// The name of the key.
    pub by: Caller,
}

words!(
    /// Which way capital moves.
    Direction {
        /// Into the account.
        Deposit = "deposit",
        /// Out of it.
        Withdrawal = "withdrawal",
    }
);

/// The result of one trading day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayResult {
    /// The trading day.
    pub day: NaiveDate,
    /// Profit of what was closed, before fees.
    pub realised_pnl: Decimal,
    /// What the venue charged.
    pub fees: Decimal,
    /// Deposits less withdrawals.
    pub capital: Decimal,
    /// How many trades were reported one by one.
    pub executions: u32,
    /// How many single orders and parents traded for the first time.
    pub orders: u32,
    /// How the account stood when the day was opened; `None` before that.
    pub opening: Option<Opening>,
}

/// How an account stood at the beginning of a trading day, or when it was first looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Closed equity at the beginning of the day.
    pub equity: Decimal,
    /// The profit of what was open, at the prices known then.
    pub unrealised_pnl: Decimal,
    /// When that was looked at.
    pub at: DateTime<Utc>,
}

impl DayResult {
    /// A day on which nothing happened yet.
    #[must_use]
    pub const fn new(day: NaiveDate) -> Self {
        Self {
            day,
            realised_pnl: Decimal::ZERO,
            fees: Decimal::ZERO,
            capital: Decimal::ZERO,
            executions: 0,
            orders: 0,
            opening: None,
        }
    }

    /// What the day brought so far, without what is open.
    #[must_use]
    pub fn net(&self) -> Decimal {
        self.realised_pnl - self.fees
    }

    /// What the day brought so far with what is open, as far as that gained or lost since the day was opened.
    #[must_use]
    pub fn result(&self, unrealised: Decimal) -> Decimal {
        self.net() + unrealised - self.opening.map_or(Decimal::ZERO, |opening| opening.unrealised_pnl)
    }
}

impl Portfolio {
    /// What trading brought, fees taken off.
    #[must_use]
    pub fn result(&self) -> Decimal {
        self.closed_equity - self.net_capital
    }

    /// How far the account is below the best that trading ever brought it, with what is open; never below zero.
    #[must_use]
    pub fn drawdown(&self, unrealised: Decimal) -> Decimal {
        (self.peak_result - self.result() - unrealised).max(Decimal::ZERO)
    }

    /// What does not add up of it, with its whole ledger and the results of all its trading days, oldest first.
    #[must_use]
    pub fn faults(&self, ledger: &[CapitalEntry], days: &[DayResult]) -> Vec<String> {
        let mut faults = Vec::new();
        let (mut equity, mut sums) = (Decimal::ZERO, BTreeMap::<NaiveDate, DayResult>::new());
        for (number, entry) in (1..).zip(ledger) {
            if entry.number != number {
                faults.push(format!("capital transaction {number} is missing"));
                break;
            }
            if entry.before != equity || entry.before + entry.amount != entry.after {
                faults.push(format!("capital transaction {number} does not carry equity on"));
            }
            equity = entry.after;
            let day = sums.entry(entry.day).or_insert_with(|| DayResult::new(entry.day));
            match entry.kind {
                CapitalKind::Deposit | CapitalKind::Withdrawal => day.capital += entry.amount,
                CapitalKind::TradingPnl => day.realised_pnl += entry.amount,
                CapitalKind::Fee => day.fees -= entry.amount,
            }
        }
        let paid_in = sums.values().map(|day| day.capital).sum::<Decimal>();
        for (what, said, summed) in
            [("closed equity", self.closed_equity, equity), ("net capital", self.net_capital, paid_in)]
        {
            if said != summed {
                faults.push(format!("{what} is {said}, and its ledger sums up to {summed}"));
            }
        }
        if self.high_water_mark < self.closed_equity || self.peak_result < self.result() {
            faults.push("its marks are below what it is worth".to_owned());
        }
        let booked = |day: &DayResult| (day.realised_pnl, day.fees, day.capital);
        let nothing = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
        let told = days.iter().map(|day| (day.day, booked(day))).collect::<BTreeMap<_, _>>();
        let summed = sums.values().map(|day| (day.day, booked(day))).collect::<BTreeMap<_, _>>();
        for day in told.keys().chain(summed.keys()).collect::<BTreeSet<_>>() {
            if told.get(day).unwrap_or(&nothing) != summed.get(day).unwrap_or(&nothing) {
                faults.push(format!("the result of {day} is not the sum of its capital transactions"));
            }
        }
        faults
    }

    /// Books an amount: equity before and after.
    pub(super) fn book(&mut self, amount: Decimal) -> (Decimal, Decimal) {
        let before = self.closed_equity;
        self.closed_equity = (before + amount).normalize();
        self.entries += 1;
        (before, self.closed_equity)
    }

    /// Takes over what was moved in or out.
    pub(super) fn move_capital(&mut self, amount: Decimal) {
        self.net_capital = (self.net_capital + amount).normalize();
        if self.initial_capital.is_zero() && amount > Decimal::ZERO {
            self.initial_capital = amount;
        }
    }

    /// The marks follow what was booked.
    pub(super) fn mark(&mut self) {
        self.high_water_mark = self.high_water_mark.max(self.closed_equity);
        self.peak_result = self.peak_result.max(self.result());
    }
}

/// An amount in the steps that capital is counted in.
#[must_use]
pub fn counted(amount: Decimal) -> Decimal {
    amount.round_dp(MAX_SCALE).normalize()
}

/// What a trade brought and what it cost, by the position before and after it.
#[must_use]
pub fn gained(before: &Position, after: &Position) -> (Decimal, Decimal) {
    let profit = counted(after.realised_pnl) - counted(before.realised_pnl);
    (profit, counted(after.fees) - counted(before.fees))
}
