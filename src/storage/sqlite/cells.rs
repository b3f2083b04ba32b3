//! Rows as they are read: every value is checked on its way back into the domain's types.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tranche_actors::domain::ledger::SwitchEntry;
use tranche_actors::domain::money::{Percent, Price, Qty};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, StrategyId, Symbol};
use tranche_actors::domain::order::{Order, Origin, Replaces, SliceOf};
use tranche_actors::domain::parent::{Benchmark, Parent, ParentStatus, Progress};
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::position::Position;
use tranche_actors::domain::reconciliation::{Cause, CauseId, CauseKind, Clearance};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Instruction, OrderType, Prices, Side, Terms, TimeInForce};
use tranche_actors::domain::venue::{Execution, VenueStatus};
use tranche_actors::ports::store::{LedgerEvent, StoreError};

use super::faults::classify;

/// A value of a column that may be null.
pub(super) fn maybe<T>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = row.try_get(column).map_err(classify)?;
    let Some(text) = text else {
        return Ok(None);
    };
    parse(text).map(Some).ok_or_else(|| StoreError::Corrupt { detail: format!("{column} holds {text:?}") })
}

/// A value of a column that is never null.
pub(super) fn cell<T>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    maybe(row, column, parse)?.ok_or_else(|| missing(column))
}

/// A whole number of a column that may be null.
pub(super) fn maybe_number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let number: Option<i64> = row.try_get(column).map_err(classify)?;
    let Some(number) = number else {
        return Ok(None);
    };
    T::try_from(number).map(Some).map_err(|_| StoreError::Corrupt { detail: format!("{column} holds {number}") })
}

/// A whole number of a column that is never null.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    maybe_number(row, column)?.ok_or_else(|| missing(column))
}

fn missing(column: &'static str) -> StoreError {
    StoreError::Corrupt { detail: format!("{column} is missing") }
}

fn flag(row: &SqliteRow, column: &'static str) -> Result<bool, StoreError> {
    Ok(number::<u8>(row, column)? != 0)
}

pub(super) fn owned(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) fn order_id(text: &str) -> Option<OrderId> {
    OrderId::parse(text).ok()
}

pub(super) fn symbol(text: &str) -> Option<Symbol> {
    Symbol::parse(text).ok()
}

pub(super) fn account(text: &str) -> Option<AccountName> {
    AccountName::parse(text).ok()
}

pub(super) fn caller(text: &str) -> Option<Caller> {
    Caller::parse(text).ok()
}

pub(super) fn key(text: &str) -> Option<IdempotencyKey> {
    IdempotencyKey::parse(text).ok()
}

fn broker_order_id(text: &str) -> Option<BrokerOrderId> {
    BrokerOrderId::parse(text).ok()
}

pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

pub(super) fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).ok()
}

fn qty(text: &str) -> Option<Qty> {
    Qty::new(decimal(text)?).ok()
}

fn price(text: &str) -> Option<Price> {
    Price::new(decimal(text)?).ok()
}

fn percent(text: &str) -> Option<Percent> {
    Percent::new(decimal(text)?).ok()
}

pub(super) fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn instruction(row: &SqliteRow) -> Result<Instruction, StoreError> {
    let order_type = cell(row, "order_type", OrderType::from_word)?;
    let prices = Prices {
        limit: maybe(row, "limit_price", price)?,
        stop: maybe(row, "stop_price", price)?,
        trail_price: maybe(row, "trail_price", price)?,
        trail_percent: maybe(row, "trail_percent", percent)?,
    };
    let terms = Terms::new(order_type, prices)
        .ok_or_else(|| StoreError::Corrupt { detail: format!("a {order_type} order with {prices:?}") })?;
    Ok(Instruction {
        symbol: cell(row, "symbol", symbol)?,
        side: cell(row, "side", Side::from_word)?,
        terms,
        time_in_force: cell(row, "time_in_force", TimeInForce::from_word)?,
        extended_hours: flag(row, "extended_hours")?,
    })
}

fn origin(row: &SqliteRow) -> Result<Option<Origin>, StoreError> {
    let Some(caller) = maybe(row, "caller", caller)? else {
        return Ok(None);
    };
    Ok(Some(Origin {
        caller,
        key: maybe(row, "idempotency_key", key)?,
        request_hash: cell(row, "request_hash", owned)?,
    }))
}

fn slice(row: &SqliteRow) -> Result<Option<SliceOf>, StoreError> {
    let Some(parent) = maybe(row, "parent_order_id", order_id)? else {
        return Ok(None);
    };
    Ok(Some(SliceOf {
        parent,
        plan_version: number(row, "plan_version")?,
        slice_num: number(row, "slice_num")?,
        total_slices: number(row, "total_slices")?,
    }))
}

fn replaces(row: &SqliteRow) -> Result<Option<Replaces>, StoreError> {
    let Some(order) = maybe(row, "replaces", order_id)? else {
        return Ok(None);
    };
    Ok(Some(Replaces {
        order,
        broker_order_id: cell(row, "replaces_broker_id", broker_order_id)?,
        first: cell(row, "chain", order_id)?,
        number: number(row, "chain_place")?,
    }))
}

/// A single order or a slice.
pub(super) fn order(row: &SqliteRow) -> Result<Order, StoreError> {
    Ok(Order {
        id: cell(row, "client_order_id", order_id)?,
        strategy_id: cell(row, "strategy_id", |text| StrategyId::parse(text).ok())?,
        account: cell(row, "account", account)?,
        instruction: instruction(row)?,
        qty: cell(row, "qty", qty)?,
        slice: slice(row)?,
        replaces: replaces(row)?,
        replaced_by: maybe(row, "replaced_by", order_id)?,
        scheduled_time: cell(row, "scheduled_time", time)?,
        status: cell(row, "status", OrderStatus::from_word)?,
        venue_status: maybe(row, "venue_status", VenueStatus::from_word)?,
        broker_order_id: maybe(row, "broker_order_id", broker_order_id)?,
        attempt: number(row, "attempt")?,
        tries: number(row, "tries")?,
        claimed_at: maybe(row, "claimed_at", time)?,
        absent_at: maybe(row, "absent_at", time)?,
        cancel_requested_at: maybe(row, "cancel_requested_at", time)?,
        at_venue: flag(row, "at_venue")?,
        filled_qty: cell(row, "filled_qty", decimal)?,
        filled_cost: cell(row, "filled_cost", decimal)?,
        reason_code: maybe(row, "reason_code", owned)?,
        error_message: maybe(row, "error_message", owned)?,
        origin: origin(row)?,
        created_at: cell(row, "created_at", time)?,
        updated_at: cell(row, "updated_at", time)?,
        submitted_at: maybe(row, "submitted_at", time)?,
        terminal_at: maybe(row, "terminal_at", time)?,
    })
}

/// A parent, of its rows in `orders` and `parents`.
pub(super) fn parent(row: &SqliteRow) -> Result<Parent, StoreError> {
    Ok(Parent {
        id: cell(row, "client_order_id", order_id)?,
        strategy_id: cell(row, "strategy_id", |text| StrategyId::parse(text).ok())?,
        account: cell(row, "account", account)?,
        instruction: instruction(row)?,
        qty: cell(row, "qty", qty)?,
        schedule: cell(row, "schedule", json)?,
        interval_seconds: number(row, "interval_seconds")?,
        total_slices: number(row, "total_slices")?,
        start_at: cell(row, "start_at", time)?,
        end_at: cell(row, "end_at", time)?,
        trade_date: cell(row, "trade_date", |text| NaiveDate::from_str(text).ok())?,
        catch_up: cell(row, "catch_up", CatchUp::from_word)?,
        completion: cell(row, "completion", Completion::from_word)?,
        plan_version: number(row, "plan_version")?,
        status: cell(row, "status", ParentStatus::from_word)?,
        cancel_requested_at: maybe(row, "cancel_requested_at", time)?,
        progress: progress(row)?,
        liquidity: maybe(row, "liquidity", json)?,
        arrival_price: maybe(row, "arrival_price", decimal)?,
        benchmark: Benchmark {
            area: cell(row, "benchmark_area", decimal)?,
            seconds: cell(row, "benchmark_seconds", decimal)?,
        },
        warnings: cell(row, "warnings", json)?,
        origin: origin(row)?.ok_or_else(|| missing("caller"))?,
        created_at: cell(row, "created_at", time)?,
        updated_at: cell(row, "updated_at", time)?,
        ended_at: maybe(row, "terminal_at", time)?,
    })
}

fn progress(row: &SqliteRow) -> Result<Progress, StoreError> {
    Ok(Progress {
        filled_qty: cell(row, "filled_qty", decimal)?,
        filled_cost: cell(row, "filled_cost", decimal)?,
        working_qty: cell(row, "working_qty", decimal)?,
        unknown_qty: cell(row, "unknown_qty", decimal)?,
        pending_qty: cell(row, "pending_qty", decimal)?,
        unexecuted_qty: cell(row, "unexecuted_qty", decimal)?,
        open: number(row, "open_slices")?,
        rejected: number(row, "rejected_slices")?,
        failed: number(row, "failed_slices")?,
    })
}

/// An execution.
pub(super) fn execution(row: &SqliteRow) -> Result<Execution, StoreError> {
    Ok(Execution {
        execution_id: cell(row, "execution_id", owned)?,
        broker_order_id: cell(row, "broker_order_id", broker_order_id)?,
        qty: cell(row, "qty", qty)?,
        price: cell(row, "price", price)?,
        cum_qty: cell(row, "cum_qty", decimal)?,
        fee: cell(row, "fee", decimal)?,
        at: cell(row, "at", time)?,
    })
}

/// A position.
pub(super) fn position(row: &SqliteRow) -> Result<Position, StoreError> {
    Ok(Position {
        qty: cell(row, "qty", decimal)?,
        cost: cell(row, "cost", decimal)?,
        realised_pnl: cell(row, "realised_pnl", decimal)?,
        fees: cell(row, "fees", decimal)?,
        last: maybe(row, "last_price", decimal)?.zip(maybe(row, "last_at", time)?),
        version: number(row, "version")?,
    })
}

/// An event of the ledger.
pub(super) fn event(row: &SqliteRow) -> Result<LedgerEvent, StoreError> {
    Ok(LedgerEvent {
        number: number(row, "number")?,
        order: maybe(row, "client_order_id", order_id)?,
        event: cell(row, "event", owned)?,
        old_status: maybe(row, "old_status", owned)?,
        new_status: maybe(row, "new_status", owned)?,
        data: cell(row, "data", json)?,
        actor: cell(row, "actor", owned)?,
        at: cell(row, "at", time)?,
    })
}

/// A cause of quarantine.
pub(super) fn cause(row: &SqliteRow) -> Result<Cause, StoreError> {
    let cleared = match maybe(row, "cleared_at", time)? {
        Some(at) => Some(Clearance {
            at,
            operator: cell(row, "cleared_by", owned)?,
            reason: cell(row, "cleared_reason", owned)?,
            by: cell(row, "cleared_caller", caller)?,
        }),
        None => None,
    };
    Ok(Cause {
        id: cell(row, "cause", |text| CauseId::parse(text).ok())?,
        kind: cell(row, "kind", CauseKind::from_word)?,
        symbol: cell(row, "symbol", symbol)?,
        broker_order_id: maybe(row, "broker_order_id", broker_order_id)?,
        found: cell(row, "found", json)?,
        since: cell(row, "since", time)?,
        cleared,
    })
}

/// An entry of a switch's history.
pub(super) fn switch_entry(row: &SqliteRow) -> Result<SwitchEntry, StoreError> {
    Ok(SwitchEntry {
        event: cell(row, "event", owned)?,
        timestamp: cell(row, "timestamp", time)?,
        operator: cell(row, "operator", owned)?,
        reason: maybe(row, "reason", owned)?,
        details: maybe(row, "details", json)?,
    })
}
