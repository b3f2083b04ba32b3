//! Rows as they are written: each one object of a JSON array, its fields named like the columns.
//!
//! Decimals and times are strings there, since a JSON number would become a float.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tranche_actors::domain::ledger::{Event, SwitchEntry};
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::{AccountName, BrokerOrderId, IdempotencyKey, OrderId, Symbol};
use tranche_actors::domain::order::{Order, Origin};
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::position::Position;
use tranche_actors::domain::terms::Instruction;
use tranche_actors::domain::venue::{Execution, VenueStatus};
use tranche_actors::ports::store::StoreError;

/// The kind of a row of `orders`.
pub(super) mod kind {
    pub(in crate::storage) const PARENT: &str = "parent";
    pub(in crate::storage) const CHILD: &str = "child";
    pub(in crate::storage) const SINGLE: &str = "single";
}

/// What never changes of a row of `orders`, and what does.
#[derive(Serialize)]
pub(super) struct OrderRow<'a> {
    kind: &'static str,
    strategy_id: &'a str,
    account: &'a str,
    qty: String,
    parent_order_id: Option<&'a str>,
    slice_num: Option<u32>,
    total_slices: Option<u32>,
    scheduled_time: String,
    created_at: String,
    #[serde(flatten)]
    instruction: InstructionRow<'a>,
    #[serde(flatten)]
    origin: Option<OriginRow<'a>>,
    #[serde(flatten)]
    state: StateRow<'a>,
}

#[derive(Serialize)]
struct InstructionRow<'a> {
    symbol: &'a str,
    side: &'static str,
    order_type: &'static str,
    limit_price: Option<String>,
    stop_price: Option<String>,
    time_in_force: &'static str,
    extended_hours: bool,
}

#[derive(Serialize)]
struct OriginRow<'a> {
    caller: &'a str,
    idempotency_key: Option<&'a str>,
    request_hash: &'a str,
}

/// What changes of a row of `orders`, with its id.
#[derive(Serialize)]
pub(super) struct StateRow<'a> {
    client_order_id: &'a str,
    status: &'static str,
    venue_status: Option<&'static str>,
    broker_order_id: Option<&'a str>,
    plan_version: Option<u32>,
    attempt: u32,
    tries: u32,
    claimed_at: Option<String>,
    absent_at: Option<String>,
    cancel_requested_at: Option<String>,
    at_venue: bool,
    filled_qty: String,
    filled_cost: String,
    filled_avg_price: Option<String>,
    reason_code: Option<&'a str>,
    error_message: Option<&'a str>,
    updated_at: String,
    submitted_at: Option<String>,
    terminal_at: Option<String>,
}

impl<'a> OrderRow<'a> {
    pub(super) fn of(order: &'a Order) -> Self {
        let slice = order.slice.as_ref();
        Self {
            kind: if slice.is_some() { kind::CHILD } else { kind::SINGLE },
            strategy_id: order.strategy_id.as_str(),
            account: order.account.as_str(),
            qty: canonical(order.qty.get()),
            parent_order_id: slice.map(|slice| slice.parent.as_str()),
            slice_num: slice.map(|slice| slice.slice_num),
            total_slices: slice.map(|slice| slice.total_slices),
            scheduled_time: time(order.scheduled_time),
            created_at: time(order.created_at),
            instruction: InstructionRow::of(&order.instruction),
            origin: order.origin.as_ref().map(OriginRow::of),
            state: StateRow::of(order),
        }
    }

    pub(super) fn of_parent(parent: &'a Parent) -> Self {
        Self {
            kind: kind::PARENT,
            strategy_id: parent.strategy_id.as_str(),
            account: parent.account.as_str(),
            qty: canonical(parent.qty.get()),
            parent_order_id: None,
            slice_num: None,
            total_slices: Some(parent.total_slices),
            scheduled_time: time(parent.start_at),
            created_at: time(parent.created_at),
            instruction: InstructionRow::of(&parent.instruction),
            origin: Some(OriginRow::of(&parent.origin)),
            state: StateRow::of_parent(parent),
        }
    }
}

impl<'a> InstructionRow<'a> {
    fn of(instruction: &'a Instruction) -> Self {
        let terms = instruction.terms;
        Self {
            symbol: instruction.symbol.as_str(),
            side: instruction.side.as_str(),
            order_type: terms.order_type().as_str(),
            limit_price: terms.limit_price().map(|price| canonical(price.get())),
            stop_price: terms.stop_price().map(|price| canonical(price.get())),
            time_in_force: instruction.time_in_force.as_str(),
            extended_hours: instruction.extended_hours,
        }
    }
}

impl<'a> OriginRow<'a> {
    fn of(origin: &'a Origin) -> Self {
        Self {
            caller: origin.caller.as_str(),
            idempotency_key: origin.key.as_ref().map(IdempotencyKey::as_str),
            request_hash: &origin.request_hash,
        }
    }
}

impl<'a> StateRow<'a> {
    pub(super) fn of(order: &'a Order) -> Self {
        Self {
            client_order_id: order.id.as_str(),
            status: order.status.as_str(),
            venue_status: order.venue_status.map(VenueStatus::as_str),
            broker_order_id: order.broker_order_id.as_ref().map(BrokerOrderId::as_str),
            plan_version: order.slice.as_ref().map(|slice| slice.plan_version),
            attempt: order.attempt,
            tries: order.tries,
            claimed_at: order.claimed_at.map(time),
            absent_at: order.absent_at.map(time),
            cancel_requested_at: order.cancel_requested_at.map(time),
            at_venue: order.at_venue,
            filled_qty: canonical(order.filled_qty),
            filled_cost: canonical(order.filled_cost),
            filled_avg_price: order.filled_avg_price().map(canonical),
            reason_code: order.reason_code.as_deref(),
            error_message: order.error_message.as_deref(),
            updated_at: time(order.updated_at),
            submitted_at: order.submitted_at.map(time),
            terminal_at: order.terminal_at.map(time),
        }
    }

    pub(super) fn of_parent(parent: &'a Parent) -> Self {
        Self {
            client_order_id: parent.id.as_str(),
            status: parent.status.as_str(),
            venue_status: None,
            broker_order_id: None,
            plan_version: Some(parent.plan_version),
            attempt: 0,
            tries: 0,
            claimed_at: None,
            absent_at: None,
            cancel_requested_at: parent.cancel_requested_at.map(time),
            at_venue: false,
            filled_qty: canonical(parent.progress.filled_qty),
            filled_cost: canonical(parent.progress.filled_cost),
            filled_avg_price: parent.progress.filled_avg_price().map(canonical),
            reason_code: None,
            error_message: None,
            updated_at: time(parent.updated_at),
            submitted_at: None,
            terminal_at: parent.ended_at.map(time),
        }
    }
}

/// What never changes of a row of `parents`, and what does.
#[derive(Serialize)]
pub(super) struct ParentRow<'a> {
    schedule: String,
    interval_seconds: u32,
    start_at: String,
    end_at: String,
    trade_date: String,
    catch_up: &'static str,
    completion: &'static str,
    arrival_price: Option<String>,
    warnings: String,
    #[serde(flatten)]
    progress: ProgressRow<'a>,
}

/// What changes of a row of `parents`, with its id.
#[derive(Serialize)]
pub(super) struct ProgressRow<'a> {
    client_order_id: &'a str,
    working_qty: String,
    unknown_qty: String,
    pending_qty: String,
    unexecuted_qty: String,
    open_slices: u32,
    rejected_slices: u32,
    failed_slices: u32,
    benchmark_area: String,
    benchmark_seconds: String,
}

impl<'a> ParentRow<'a> {
    pub(super) fn of(parent: &'a Parent) -> Result<Self, StoreError> {
        Ok(Self {
            schedule: json(&parent.schedule)?,
            interval_seconds: parent.interval_seconds,
            start_at: time(parent.start_at),
            end_at: time(parent.end_at),
            trade_date: parent.trade_date.to_string(),
            catch_up: parent.catch_up.as_str(),
            completion: parent.completion.as_str(),
            arrival_price: parent.arrival_price.map(canonical),
            warnings: json(&parent.warnings)?,
            progress: ProgressRow::of(parent),
        })
    }
}

impl<'a> ProgressRow<'a> {
    pub(super) fn of(parent: &'a Parent) -> Self {
        let progress = &parent.progress;
        Self {
            client_order_id: parent.id.as_str(),
            working_qty: canonical(progress.working_qty),
            unknown_qty: canonical(progress.unknown_qty),
            pending_qty: canonical(progress.pending_qty),
            unexecuted_qty: canonical(progress.unexecuted_qty),
            open_slices: progress.open,
            rejected_slices: progress.rejected,
            failed_slices: progress.failed,
            benchmark_area: canonical(parent.benchmark.area),
            benchmark_seconds: canonical(parent.benchmark.seconds),
        }
    }
}

/// A row of `order_events`; account, number and time are the batch's.
#[derive(Serialize)]
pub(super) struct EventRow<'a> {
    client_order_id: Option<&'a str>,
    event: &'static str,
    old_status: Option<&'static str>,
    new_status: Option<&'static str>,
    data: String,
    actor: &'a str,
}

impl<'a> EventRow<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        Self {
            client_order_id: event.order.as_ref().map(OrderId::as_str),
            event: event.kind.as_str(),
            old_status: event.old_status,
            new_status: event.new_status,
            data: event.data.to_string(),
            actor: &event.actor,
        }
    }
}

/// A row of `executions`.
#[derive(Serialize)]
pub(super) struct ExecutionRow<'a> {
    broker_order_id: &'a str,
    cum_qty: String,
    client_order_id: &'a str,
    execution_id: &'a str,
    account: &'a str,
    symbol: &'a str,
    side: &'static str,
    qty: String,
    price: String,
    fee: String,
    at: String,
}

impl<'a> ExecutionRow<'a> {
    pub(super) fn of(order: &'a Order, execution: &'a Execution) -> Self {
        Self {
            broker_order_id: execution.broker_order_id.as_str(),
            cum_qty: canonical(execution.cum_qty),
            client_order_id: order.id.as_str(),
            execution_id: &execution.execution_id,
            account: order.account.as_str(),
            symbol: order.instruction.symbol.as_str(),
            side: order.instruction.side.as_str(),
            qty: canonical(execution.qty.get()),
            price: canonical(execution.price.get()),
            fee: canonical(execution.fee),
            at: time(execution.at),
        }
    }
}

/// A row of `portfolio_positions`.
#[derive(Serialize)]
pub(super) struct PositionRow<'a> {
    account: &'a str,
    symbol: &'a str,
    qty: String,
    cost: String,
    avg_price: Option<String>,
    realised_pnl: String,
    fees: String,
    last_price: Option<String>,
    last_at: Option<String>,
    version: u64,
}

impl<'a> PositionRow<'a> {
    pub(super) fn of(account: &'a AccountName, symbol: &'a Symbol, position: &Position) -> Self {
        Self {
            account: account.as_str(),
            symbol: symbol.as_str(),
            qty: canonical(position.qty),
            cost: canonical(position.cost),
            avg_price: position.avg_price().map(canonical),
            realised_pnl: canonical(position.realised_pnl),
            fees: canonical(position.fees),
            last_price: position.last.map(|(price, _)| canonical(price)),
            last_at: position.last.map(|(_, at)| time(at)),
            version: position.version,
        }
    }
}

/// A row of `switch_history`.
#[derive(Serialize)]
pub(super) struct SwitchEntryRow<'a> {
    switch: &'static str,
    event: &'a str,
    timestamp: String,
    operator: &'a str,
    reason: Option<&'a str>,
    details: Option<String>,
}

impl<'a> SwitchEntryRow<'a> {
    pub(super) fn of(switch: &'static str, entry: &'a SwitchEntry) -> Self {
        Self {
            switch,
            event: &entry.event,
            timestamp: time(entry.timestamp),
            operator: &entry.operator,
            reason: entry.reason.as_deref(),
            details: entry.details.as_ref().map(ToString::to_string),
        }
    }
}

/// The one way to write a time: six digits and `Z`, so that text sorts like time.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A value as JSON text.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Constraint {
        detail: error.to_string(),
    })
}
