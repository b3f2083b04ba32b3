//! Rows as they are read: every value is checked on its way back into the domain's types.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use tranche_actors::domain::audit::{AuditAction, AuditEntry, Audited};
use tranche_actors::domain::keys::{ApiKey, KeyId};
use tranche_actors::domain::ledger::SwitchEntry;
use tranche_actors::domain::limits::{
    Control, Limit, LimitKey, LimitOverride, LimitScope, LockKey, LockKind, LockRule, Lockout,
};
use tranche_actors::domain::money::{Percent, Price, Qty};
use tranche_actors::domain::names::{
    AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, Role, StrategyId, Symbol,
};
use tranche_actors::domain::once::FirstAnswer;
use tranche_actors::domain::order::{Order, Origin, Replaces, SliceOf};
use tranche_actors::domain::parent::{Benchmark, Parent, ParentStatus, PauseReason, Progress};
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::position::Position;
use tranche_actors::domain::reconciliation::{Cause, CauseId, CauseKind, Clearance};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Instruction, OrderType, Prices, Side, Terms, TimeInForce};
use tranche_actors::domain::venue::{Execution, VenueStatus};
use tranche_actors::ports::store::{Claimed, LedgerEvent, StoreError};

/// A row, by the names of its columns; each backend has types of its own for what is asked for here.
pub(super) trait Cells {
    /// A text.
    fn text(&self, column: &'static str) -> Result<Option<&str>, StoreError>;
    /// A whole number.
    fn integer(&self, column: &'static str) -> Result<Option<i64>, StoreError>;
    /// Yes or no.
    fn flag(&self, column: &'static str) -> Result<Option<bool>, StoreError>;
    /// An exact decimal.
    fn decimal(&self, column: &'static str) -> Result<Option<Decimal>, StoreError>;
    /// A time.
    fn time(&self, column: &'static str) -> Result<Option<DateTime<Utc>>, StoreError>;
    /// A day.
    fn date(&self, column: &'static str) -> Result<Option<NaiveDate>, StoreError>;
    /// A document as it was written.
    fn json(&self, column: &'static str) -> Result<Option<&str>, StoreError>;
}

fn parsed<T: ?Sized + std::fmt::Debug, U>(
    value: Option<&T>,
    column: &'static str,
    parse: impl FnOnce(&T) -> Option<U>,
) -> Result<Option<U>, StoreError> {
    let Some(value) = value else {
        return Ok(None);
    };
    parse(value).map(Some).ok_or_else(|| unreadable(column, value))
}

/// A value that is not what its column should hold.
pub(super) fn unreadable<T: ?Sized + std::fmt::Debug>(column: &'static str, value: &T) -> StoreError {
    StoreError::Corrupt { detail: format!("{column} holds {value:?}") }
}

fn needed<T>(value: Option<T>, column: &'static str) -> Result<T, StoreError> {
    value.ok_or_else(|| missing(column))
}

/// A value of a column that may be null.
pub(super) fn maybe<T>(
    row: &impl Cells,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    parsed(row.text(column)?, column, parse)
}

/// A value of a column that is never null.
pub(super) fn cell<T>(
    row: &impl Cells,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    needed(maybe(row, column, parse)?, column)
}

/// A whole number of a column that may be null.
pub(super) fn maybe_number<T: TryFrom<i64>>(row: &impl Cells, column: &'static str) -> Result<Option<T>, StoreError> {
    parsed(row.integer(column)?.as_ref(), column, |number| T::try_from(*number).ok())
}

/// A whole number of a column that is never null.
pub(super) fn number<T: TryFrom<i64>>(row: &impl Cells, column: &'static str) -> Result<T, StoreError> {
    needed(maybe_number(row, column)?, column)
}

/// A time of a column that is never null.
pub(super) fn time(row: &impl Cells, column: &'static str) -> Result<DateTime<Utc>, StoreError> {
    needed(row.time(column)?, column)
}

/// A document of a column that may be null.
pub(super) fn maybe_json<T: DeserializeOwned>(row: &impl Cells, column: &'static str) -> Result<Option<T>, StoreError> {
    parsed(row.json(column)?, column, |text| serde_json::from_str(text).ok())
}

/// A document of a column that is never null.
pub(super) fn json<T: DeserializeOwned>(row: &impl Cells, column: &'static str) -> Result<T, StoreError> {
    needed(maybe_json(row, column)?, column)
}

/// A decimal of a column that is never null.
pub(super) fn decimal(row: &impl Cells, column: &'static str) -> Result<Decimal, StoreError> {
    needed(row.decimal(column)?, column)
}

/// A day of a column that is never null.
pub(super) fn date(row: &impl Cells, column: &'static str) -> Result<NaiveDate, StoreError> {
    needed(row.date(column)?, column)
}

/// A decimal within bounds.
fn bounded<T>(
    row: &impl Cells,
    column: &'static str,
    within: impl FnOnce(Decimal) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    parsed(row.decimal(column)?.as_ref(), column, |value| within(*value))
}

fn missing(column: &'static str) -> StoreError {
    StoreError::Corrupt { detail: format!("{column} is missing") }
}

fn flag(row: &impl Cells, column: &'static str) -> Result<bool, StoreError> {
    needed(row.flag(column)?, column)
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

pub(super) fn qty(row: &impl Cells) -> Result<Qty, StoreError> {
    needed(bounded(row, "qty", |value| Qty::new(value).ok())?, "qty")
}

fn maybe_price(row: &impl Cells, column: &'static str) -> Result<Option<Price>, StoreError> {
    bounded(row, column, |value| Price::new(value).ok())
}

fn instruction(row: &impl Cells) -> Result<Instruction, StoreError> {
    let order_type = cell(row, "order_type", OrderType::from_word)?;
    let prices = Prices {
        limit: maybe_price(row, "limit_price")?,
        stop: maybe_price(row, "stop_price")?,
        trail_price: maybe_price(row, "trail_price")?,
        trail_percent: bounded(row, "trail_percent", |value| Percent::new(value).ok())?,
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

fn origin(row: &impl Cells) -> Result<Option<Origin>, StoreError> {
    let Some(caller) = maybe(row, "caller", caller)? else {
        return Ok(None);
    };
    Ok(Some(Origin {
        caller,
        key: maybe(row, "idempotency_key", key)?,
        request_hash: cell(row, "request_hash", owned)?,
    }))
}

fn slice(row: &impl Cells) -> Result<Option<SliceOf>, StoreError> {
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

fn replaces(row: &impl Cells) -> Result<Option<Replaces>, StoreError> {
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
pub(super) fn order(row: &impl Cells) -> Result<Order, StoreError> {
    Ok(Order {
        id: cell(row, "client_order_id", order_id)?,
        strategy_id: cell(row, "strategy_id", |text| StrategyId::parse(text).ok())?,
        account: cell(row, "account", account)?,
        instruction: instruction(row)?,
        qty: qty(row)?,
        slice: slice(row)?,
        replaces: replaces(row)?,
        replaced_by: maybe(row, "replaced_by", order_id)?,
        scheduled_time: time(row, "scheduled_time")?,
        status: cell(row, "status", OrderStatus::from_word)?,
        venue_status: maybe(row, "venue_status", VenueStatus::from_word)?,
        broker_order_id: maybe(row, "broker_order_id", broker_order_id)?,
        attempt: number(row, "attempt")?,
        tries: number(row, "tries")?,
        claimed_at: row.time("claimed_at")?,
        absent_at: row.time("absent_at")?,
        cancel_requested_at: row.time("cancel_requested_at")?,
        at_venue: flag(row, "at_venue")?,
        reduces: flag(row, "reduces")?,
        filled_qty: decimal(row, "filled_qty")?,
        filled_cost: decimal(row, "filled_cost")?,
        realised_pnl: row.decimal("realised_pnl")?.unwrap_or_default(),
        reason_code: maybe(row, "reason_code", owned)?,
        error_message: maybe(row, "error_message", owned)?,
        origin: origin(row)?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        submitted_at: row.time("submitted_at")?,
        terminal_at: row.time("terminal_at")?,
    })
}

/// A parent, of its rows in `orders` and `parents`.
pub(super) fn parent(row: &impl Cells) -> Result<Parent, StoreError> {
    Ok(Parent {
        id: cell(row, "client_order_id", order_id)?,
        strategy_id: cell(row, "strategy_id", |text| StrategyId::parse(text).ok())?,
        account: cell(row, "account", account)?,
        instruction: instruction(row)?,
        qty: qty(row)?,
        schedule: json(row, "schedule")?,
        interval_seconds: number(row, "interval_seconds")?,
        total_slices: number(row, "total_slices")?,
        start_at: time(row, "start_at")?,
        end_at: time(row, "end_at")?,
        trade_date: date(row, "trade_date")?,
        catch_up: cell(row, "catch_up", CatchUp::from_word)?,
        completion: cell(row, "completion", Completion::from_word)?,
        plan_version: number(row, "plan_version")?,
        status: cell(row, "status", ParentStatus::from_word)?,
        cancel_requested_at: row.time("cancel_requested_at")?,
        paused: maybe(row, "reason_code", PauseReason::from_word)?,
        progress: progress(row)?,
        liquidity: maybe_json(row, "liquidity")?,
        arrival_price: row.decimal("arrival_price")?,
        benchmark: Benchmark { area: decimal(row, "benchmark_area")?, seconds: decimal(row, "benchmark_seconds")? },
        warnings: json(row, "warnings")?,
        origin: origin(row)?.ok_or_else(|| missing("caller"))?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        ended_at: row.time("terminal_at")?,
    })
}

fn progress(row: &impl Cells) -> Result<Progress, StoreError> {
    Ok(Progress {
        filled_qty: decimal(row, "filled_qty")?,
        filled_cost: decimal(row, "filled_cost")?,
        working_qty: decimal(row, "working_qty")?,
        unknown_qty: decimal(row, "unknown_qty")?,
        pending_qty: decimal(row, "pending_qty")?,
        unexecuted_qty: decimal(row, "unexecuted_qty")?,
        open: number(row, "open_slices")?,
        rejected: number(row, "rejected_slices")?,
        failed: number(row, "failed_slices")?,
    })
}

/// An execution.
pub(super) fn execution(row: &impl Cells) -> Result<Execution, StoreError> {
    Ok(Execution {
        execution_id: cell(row, "execution_id", owned)?,
        broker_order_id: cell(row, "broker_order_id", broker_order_id)?,
        qty: qty(row)?,
        price: needed(maybe_price(row, "price")?, "price")?,
        cum_qty: decimal(row, "cum_qty")?,
        fee: decimal(row, "fee")?,
        at: time(row, "at")?,
    })
}

/// A position.
pub(super) fn claimed(row: &impl Cells) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        at: time(row, "at")?,
        strategy_id: cell(row, "strategy_id", |text| StrategyId::parse(text).ok())?,
        symbol: cell(row, "symbol", symbol)?,
    })
}

pub(super) fn position(row: &impl Cells) -> Result<Position, StoreError> {
    Ok(Position {
        qty: decimal(row, "qty")?,
        cost: decimal(row, "cost")?,
        realised_pnl: decimal(row, "realised_pnl")?,
        fees: decimal(row, "fees")?,
        last: row.decimal("last_price")?.zip(row.time("last_at")?),
        version: number(row, "version")?,
    })
}

/// An event of the ledger.
pub(super) fn event(row: &impl Cells) -> Result<LedgerEvent, StoreError> {
    Ok(LedgerEvent {
        number: number(row, "number")?,
        order: maybe(row, "client_order_id", order_id)?,
        event: cell(row, "event", owned)?,
        old_status: maybe(row, "old_status", owned)?,
        new_status: maybe(row, "new_status", owned)?,
        data: json(row, "data")?,
        actor: cell(row, "actor", owned)?,
        at: time(row, "at")?,
    })
}

/// A cause of quarantine.
pub(super) fn cause(row: &impl Cells) -> Result<Cause, StoreError> {
    let cleared = match row.time("cleared_at")? {
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
        found: json(row, "found")?,
        since: time(row, "since")?,
        cleared,
    })
}

/// A limit with what it is known by.
pub(super) fn limit(row: &impl Cells) -> Result<(LimitKey, Limit), StoreError> {
    let name = cell(row, "scope_name", owned)?;
    let key = LimitKey {
        scope: cell(row, "scope", |kind| LimitScope::parse(kind, &name))?,
        control: cell(row, "control", Control::from_word)?,
    };
    let limit = Limit {
        value: decimal(row, "value")?,
        operator: cell(row, "operator", owned)?,
        by: cell(row, "set_by", caller)?,
        at: time(row, "set_at")?,
    };
    Ok((key, limit))
}

/// What holds instead of a limit for a while.
pub(super) fn limit_override(row: &impl Cells) -> Result<(LimitKey, LimitOverride), StoreError> {
    let (key, limit) = limit(row)?;
    Ok((key, LimitOverride { limit, reason: cell(row, "reason", owned)?, until: time(row, "until")? }))
}

/// A lockout with what it is known by.
pub(super) fn lockout(row: &impl Cells) -> Result<(LockKey, Lockout), StoreError> {
    let whole = |text: &str| text.is_empty().then_some(None);
    let key = LockKey {
        account: cell(row, "account", account)?,
        symbol: cell(row, "symbol", |text| whole(text).or_else(|| Symbol::parse(text).ok().map(Some)))?,
        rule: cell(row, "rule", |text| LockRule::parse(text).ok())?,
    };
    let lockout = Lockout {
        kind: cell(row, "kind", LockKind::from_word)?,
        reason: cell(row, "reason", owned)?,
        operator: cell(row, "operator", owned)?,
        by: cell(row, "locked_by", caller)?,
        since: time(row, "since")?,
        until: row.time("until")?,
    };
    Ok((key, lockout))
}

/// An entry of a switch's history.
pub(super) fn first_answer(row: &impl Cells) -> Result<FirstAnswer, StoreError> {
    Ok(FirstAnswer { hash: cell(row, "request_hash", owned)?, answer: json(row, "answer")?, at: time(row, "at")? })
}

pub(super) fn api_key(row: &impl Cells) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: cell(row, "id", |text| KeyId::parse(text).ok())?,
        name: cell(row, "name", caller)?,
        role: cell(row, "role", Role::from_word)?,
        hash: cell(row, "hash", owned)?,
        created_at: time(row, "created_at")?,
        revoked_at: row.time("revoked_at")?,
    })
}

pub(super) fn audited(row: &impl Cells) -> Result<Audited, StoreError> {
    Ok(Audited {
        id: number(row, "id")?,
        at: time(row, "at")?,
        account: maybe(row, "account", account)?,
        entry: AuditEntry {
            by: cell(row, "caller", caller)?,
            operator: maybe(row, "operator", owned)?,
            action: cell(row, "action", AuditAction::from_word)?,
            subject: cell(row, "subject", owned)?,
            before: maybe_json(row, "state_before")?,
            after: maybe_json(row, "state_after")?,
            request_id: maybe(row, "request_id", owned)?,
        },
    })
}

pub(super) fn switch_entry(row: &impl Cells) -> Result<SwitchEntry, StoreError> {
    Ok(SwitchEntry {
        event: cell(row, "event", owned)?,
        timestamp: time(row, "timestamp")?,
        operator: cell(row, "operator", owned)?,
        reason: maybe(row, "reason", owned)?,
        details: maybe_json(row, "details")?,
    })
}
