//! Rows as they are written; their fields are the columns.
//!
//! Decimals and times are strings there, since a JSON number would become a float.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use tranche_actors::domain::ledger::{Event, SwitchEntry};
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::{AccountName, BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::order::{Order, Origin};
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::position::Position;
use tranche_actors::domain::reconciliation::Cause;
use tranche_actors::domain::terms::Instruction;
use tranche_actors::domain::venue::{Execution, VenueStatus};
use tranche_actors::ports::store::StoreError;

use super::columns::row;

/// The kind of a row of `orders`.
pub(super) mod kind {
    pub(in crate::storage) const PARENT: &str = "parent";
    pub(in crate::storage) const CHILD: &str = "child";
    pub(in crate::storage) const SINGLE: &str = "single";
}

row!(
    /// What never changes of a row of `orders`.
    PlacedRow<'a> {
        kind: &'static str,
        strategy_id: &'a str,
        account: &'a str,
        qty: String,
        parent_order_id: Option<&'a str>,
        slice_num: Option<u32>,
        total_slices: Option<u32>,
        replaces: Option<&'a str>,
        replaces_broker_id: Option<&'a str>,
        chain: Option<&'a str>,
        chain_place: Option<u32>,
        scheduled_time: String,
        created_at: String,
    }
);

row!(
    /// The same, as far as the venue is told.
    InstructionRow<'a> {
        symbol: &'a str,
        side: &'static str,
        order_type: &'static str,
        limit_price: Option<String>,
        stop_price: Option<String>,
        trail_price: Option<String>,
        trail_percent: Option<String>,
        time_in_force: &'static str,
        extended_hours: bool,
    }
);

row!(
    /// The same, of who asked for it.
    OriginRow<'a> {
        caller: Option<&'a str>,
        idempotency_key: Option<&'a str>,
        request_hash: Option<&'a str>,
    }
);

row!(
    /// What changes of a row of `orders`, behind its id.
    StateRow<'a> {
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
        replaced_by: Option<&'a str>,
        filled_qty: String,
        filled_cost: String,
        filled_avg_price: Option<String>,
        reason_code: Option<&'a str>,
        error_message: Option<&'a str>,
        updated_at: String,
        submitted_at: Option<String>,
        terminal_at: Option<String>,
    }
);

/// A whole row of `orders`.
pub(super) type OrderRow<'a> = ((PlacedRow<'a>, InstructionRow<'a>), (OriginRow<'a>, StateRow<'a>));

/// A single order or a slice.
pub(super) fn order(order: &Order) -> OrderRow<'_> {
    let placed = PlacedRow::of(order);
    let instruction = InstructionRow::of(&order.instruction);
    let origin = OriginRow::of(order.origin.as_ref());
    ((placed, instruction), (origin, StateRow::of(order)))
}

/// A parent's row among the orders.
pub(super) fn parent_order(parent: &Parent) -> OrderRow<'_> {
    let placed = PlacedRow::of_parent(parent);
    let instruction = InstructionRow::of(&parent.instruction);
    let origin = OriginRow::of(Some(&parent.origin));
    ((placed, instruction), (origin, StateRow::of_parent(parent)))
}

impl<'a> PlacedRow<'a> {
    fn of(order: &'a Order) -> Self {
        let (slice, replaces) = (order.slice.as_ref(), order.replaces.as_ref());
        Self {
            kind: if slice.is_some() { kind::CHILD } else { kind::SINGLE },
            strategy_id: order.strategy_id.as_str(),
            account: order.account.as_str(),
            qty: canonical(order.qty.get()),
            parent_order_id: slice.map(|slice| slice.parent.as_str()),
            slice_num: slice.map(|slice| slice.slice_num),
            total_slices: slice.map(|slice| slice.total_slices),
            replaces: replaces.map(|replaces| replaces.order.as_str()),
            replaces_broker_id: replaces.map(|replaces| replaces.broker_order_id.as_str()),
            chain: replaces.map(|replaces| replaces.first.as_str()),
            chain_place: replaces.map(|replaces| replaces.number),
            scheduled_time: time(order.scheduled_time),
            created_at: time(order.created_at),
        }
    }

    fn of_parent(parent: &'a Parent) -> Self {
        Self {
            kind: kind::PARENT,
            strategy_id: parent.strategy_id.as_str(),
            account: parent.account.as_str(),
            qty: canonical(parent.qty.get()),
            parent_order_id: None,
            slice_num: None,
            total_slices: Some(parent.total_slices),
            replaces: None,
            replaces_broker_id: None,
            chain: None,
            chain_place: None,
            scheduled_time: time(parent.start_at),
            created_at: time(parent.created_at),
        }
    }
}

impl<'a> InstructionRow<'a> {
    fn of(instruction: &'a Instruction) -> Self {
        let (terms, prices) = (instruction.terms, instruction.terms.prices());
        Self {
            symbol: instruction.symbol.as_str(),
            side: instruction.side.as_str(),
            order_type: terms.order_type().as_str(),
            limit_price: prices.limit.map(|price| canonical(price.get())),
            stop_price: prices.stop.map(|price| canonical(price.get())),
            trail_price: prices.trail_price.map(|price| canonical(price.get())),
            trail_percent: prices.trail_percent.map(|percent| canonical(percent.get())),
            time_in_force: instruction.time_in_force.as_str(),
            extended_hours: instruction.extended_hours,
        }
    }
}

impl<'a> OriginRow<'a> {
    fn of(origin: Option<&'a Origin>) -> Self {
        Self {
            caller: origin.map(|origin| origin.caller.as_str()),
            idempotency_key: origin.and_then(|origin| Some(origin.key.as_ref()?.as_str())),
            request_hash: origin.map(|origin| origin.request_hash.as_str()),
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
            replaced_by: order.replaced_by.as_ref().map(OrderId::as_str),
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
            replaced_by: None,
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

row!(
    /// What never changes of a row of `parents`.
    PlanRow<'a> {
        schedule: String,
        interval_seconds: u32,
        start_at: String,
        end_at: String,
        trade_date: String,
        catch_up: &'a str,
        completion: &'a str,
        liquidity: Option<String>,
        arrival_price: Option<String>,
        warnings: String,
    }
);

row!(
    /// What changes of a row of `parents`, behind its id.
    ProgressRow<'a> {
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
);

/// A whole row of `parents`.
pub(super) type ParentRow<'a> = (PlanRow<'a>, ProgressRow<'a>);

/// What only a parent has.
pub(super) fn parent(parent: &Parent) -> Result<ParentRow<'_>, StoreError> {
    let plan = PlanRow {
        schedule: json(&parent.schedule)?,
        interval_seconds: parent.interval_seconds,
        start_at: time(parent.start_at),
        end_at: time(parent.end_at),
        trade_date: parent.trade_date.to_string(),
        catch_up: parent.catch_up.as_str(),
        completion: parent.completion.as_str(),
        liquidity: parent.liquidity.as_ref().map(json).transpose()?,
        arrival_price: parent.arrival_price.map(canonical),
        warnings: json(&parent.warnings)?,
    };
    Ok((plan, ProgressRow::of(parent)))
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

row!(
    /// A row of `order_events`; account, number and time are the batch's.
    EventRow<'a> {
        client_order_id: Option<&'a str>,
        event: &'static str,
        old_status: Option<&'static str>,
        new_status: Option<&'static str>,
        data: String,
        actor: &'a str,
    }
);

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

row!(
    /// A row of `executions`.
    ExecutionRow<'a> {
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
);

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

row!(
    /// A row of `portfolio_positions`.
    PositionRow<'a> {
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
);

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

row!(
    /// A row of `switch_history`.
    SwitchEntryRow<'a> {
        switch: &'static str,
        event: &'a str,
        timestamp: String,
        operator: &'a str,
        reason: Option<&'a str>,
        details: Option<String>,
    }
);

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

row!(
    /// A row of `quarantine_causes`; the account is the batch's.
    CauseRow<'a> {
        cause: &'a str,
        kind: &'static str,
        symbol: &'a str,
        broker_order_id: Option<&'a str>,
        found: String,
        since: String,
        cleared_at: Option<String>,
        cleared_by: Option<&'a str>,
        cleared_reason: Option<&'a str>,
        cleared_caller: Option<&'a str>,
    }
);

impl<'a> CauseRow<'a> {
    pub(super) fn of(cause: &'a Cause) -> Self {
        let cleared = cause.cleared.as_ref();
        Self {
            cause: cause.id.as_str(),
            kind: cause.kind.as_str(),
            symbol: cause.symbol.as_str(),
            broker_order_id: cause.broker_order_id.as_ref().map(BrokerOrderId::as_str),
            found: cause.found.to_string(),
            since: time(cause.since),
            cleared_at: cleared.map(|cleared| time(cleared.at)),
            cleared_by: cleared.map(|cleared| cleared.operator.as_str()),
            cleared_reason: cleared.map(|cleared| cleared.reason.as_str()),
            cleared_caller: cleared.map(|cleared| cleared.by.as_str()),
        }
    }
}

row!(
    /// A row of `position_differences`; account and time are the batch's.
    DifferenceRow<'a> {
        symbol: &'a str,
        ours: String,
        theirs: String,
    }
);

impl<'a> DifferenceRow<'a> {
    pub(super) fn of(symbol: &'a Symbol, ours: Decimal, theirs: Decimal) -> Self {
        Self { symbol: symbol.as_str(), ours: canonical(ours), theirs: canonical(theirs) }
    }
}

/// The one way to write a time: six digits and `Z`, so that text sorts like time.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A value as JSON text.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Constraint { detail: error.to_string() })
}
