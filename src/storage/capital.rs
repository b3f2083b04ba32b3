//! An account's worth as rows: its ledger of capital, its sum, and the results of its trading days.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use tranche_actors::domain::names::{AccountName, OrderId, Symbol};
use tranche_actors::domain::portfolio::{CapitalEntry, CapitalKind, DayResult, Opening, Portfolio};
use tranche_actors::ports::store::{PortfolioConflict, StoreError};

use super::cells::{self, Cells, cell, date, decimal, maybe, number, owned, time};
use super::columns::row;

row!(
    /// The row of `portfolio_state`; the time is the batch's.
    PortfolioRow<'a> {
        account: &'a str,
        initial_capital: Decimal,
        net_capital: Decimal,
        closed_equity: Decimal,
        high_water_mark: Decimal,
        peak_result: Decimal,
        entries: u64,
        version: u64,
    }
);

impl<'a> PortfolioRow<'a> {
    pub(super) const fn of(account: &'a str, portfolio: &Portfolio) -> Self {
        Self {
            account,
            initial_capital: portfolio.initial_capital,
            net_capital: portfolio.net_capital,
            closed_equity: portfolio.closed_equity,
            high_water_mark: portfolio.high_water_mark,
            peak_result: portfolio.peak_result,
            entries: portfolio.entries,
            version: portfolio.version,
        }
    }
}

/// What an account is worth.
pub(super) fn portfolio(row: &impl Cells) -> Result<Portfolio, StoreError> {
    Ok(Portfolio {
        initial_capital: decimal(row, "initial_capital")?,
        net_capital: decimal(row, "net_capital")?,
        closed_equity: decimal(row, "closed_equity")?,
        high_water_mark: decimal(row, "high_water_mark")?,
        peak_result: decimal(row, "peak_result")?,
        entries: number(row, "entries")?,
        version: number(row, "version")?,
    })
}

/// Whether the row that is there is the one that was read; one that is missing is at version 0.
pub(super) fn unmoved(account: &str, portfolio: &Portfolio, found: u64) -> Result<(), StoreError> {
    let expected = portfolio.version.saturating_sub(1);
    if expected == found {
        return Ok(());
    }
    let account = AccountName::parse(account).map_err(|_| cells::unreadable("account", account))?;
    Err(StoreError::Constraint { detail: PortfolioConflict { account, expected, found }.to_string() })
}

row!(
    /// A row of `capital_transactions`; account and time are the batch's.
    CapitalRow<'a> {
        number: u64,
        kind: &'static str,
        amount: Decimal,
        equity_before: Decimal,
        equity_after: Decimal,
        trading_day: NaiveDate,
        client_order_id: Option<&'a str>,
        symbol: Option<&'a str>,
        actor: &'a str,
        reason: Option<&'a str>,
    }
);

impl<'a> CapitalRow<'a> {
    pub(super) fn of(entry: &'a CapitalEntry) -> Self {
        Self {
            number: entry.number,
            kind: entry.kind.as_str(),
            amount: entry.amount,
            equity_before: entry.before,
            equity_after: entry.after,
            trading_day: entry.day,
            client_order_id: entry.order.as_ref().map(OrderId::as_str),
            symbol: entry.symbol.as_ref().map(Symbol::as_str),
            actor: &entry.actor,
            reason: entry.reason.as_deref(),
        }
    }
}

/// An entry of the ledger of capital.
pub(super) fn entry(row: &impl Cells) -> Result<CapitalEntry, StoreError> {
    Ok(CapitalEntry {
        number: number(row, "number")?,
        kind: cell(row, "kind", CapitalKind::from_word)?,
        amount: decimal(row, "amount")?,
        before: decimal(row, "equity_before")?,
        after: decimal(row, "equity_after")?,
        day: date(row, "trading_day")?,
        order: maybe(row, "client_order_id", cells::order_id)?,
        symbol: maybe(row, "symbol", cells::symbol)?,
        actor: cell(row, "actor", owned)?,
        reason: maybe(row, "reason", owned)?,
        at: time(row, "at")?,
    })
}

row!(
    /// A row of `daily_pnl`; account and time are the batch's.
    DayRow<'a> {
        account: &'a str,
        day: NaiveDate,
        realised_pnl: Decimal,
        fees: Decimal,
        capital: Decimal,
        executions: u32,
        orders: u32,
        opening_equity: Option<Decimal>,
        opening_unrealised: Option<Decimal>,
        opened_at: Option<chrono::DateTime<chrono::Utc>>,
    }
);

impl<'a> DayRow<'a> {
    pub(super) fn of(account: &'a str, result: &DayResult) -> Self {
        let opening = result.opening;
        Self {
            account,
            day: result.day,
            realised_pnl: result.realised_pnl,
            fees: result.fees,
            capital: result.capital,
            executions: result.executions,
            orders: result.orders,
            opening_equity: opening.map(|opening| opening.equity),
            opening_unrealised: opening.map(|opening| opening.unrealised_pnl),
            opened_at: opening.map(|opening| opening.at),
        }
    }
}

/// The result of a trading day.
pub(super) fn day(row: &impl Cells) -> Result<DayResult, StoreError> {
    let opening = match row.time("opened_at")? {
        Some(at) => Some(Opening {
            equity: decimal(row, "opening_equity")?,
            unrealised_pnl: decimal(row, "opening_unrealised")?,
            at,
        }),
        None => None,
    };
    Ok(DayResult {
        day: date(row, "day")?,
        realised_pnl: decimal(row, "realised_pnl")?,
        fees: decimal(row, "fees")?,
        capital: decimal(row, "capital")?,
        executions: number(row, "executions")?,
        orders: number(row, "orders")?,
        opening,
    })
}
