//! Rows as they are written; their fields are the columns, and each backend writes their types in its own way.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tranche_actors::domain::audit::AuditEntry;
use tranche_actors::domain::ledger::{Event, SwitchEntry};
use tranche_actors::domain::limits::{Limit, LimitKey, LimitOverride, LockKey, Lockout};
use tranche_actors::domain::money::{Percent, Price};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, Symbol};
use tranche_actors::domain::once::FirstAnswer;
use tranche_actors::domain::order::{Order, Origin};
use tranche_actors::domain::parent::{Parent, PauseReason};
use tranche_actors::domain::position::Position;
use tranche_actors::domain::reconciliation::Cause;
use tranche_actors::domain::terms::Instruction;
use tranche_actors::domain::venue::{Execution, VenueStatus};
use tranche_actors::ports::store::StoreError;

use super::columns::{Json, row};

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
        qty: Decimal,
        parent_order_id: Option<&'a str>,
        slice_num: Option<u32>,
        total_slices: Option<u32>,
        replaces: Option<&'a str>,
        replaces_broker_id: Option<&'a str>,
        chain: Option<&'a str>,
        chain_place: Option<u32>,
        scheduled_time: DateTime<Utc>,
        created_at: DateTime<Utc>,
    }
);

row!(
    /// The same, as far as the venue is told.
    InstructionRow<'a> {
        symbol: &'a str,
        side: &'static str,
        order_type: &'static str,
        limit_price: Option<Decimal>,
        stop_price: Option<Decimal>,
        trail_price: Option<Decimal>,
        trail_percent: Option<Decimal>,
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
        claimed_at: Option<DateTime<Utc>>,
        absent_at: Option<DateTime<Utc>>,
        cancel_requested_at: Option<DateTime<Utc>>,
        at_venue: bool,
        reduces: bool,
        replaced_by: Option<&'a str>,
        filled_qty: Decimal,
        filled_cost: Decimal,
        filled_avg_price: Option<Decimal>,
        realised_pnl: Option<Decimal>,
        reason_code: Option<&'a str>,
        error_message: Option<&'a str>,
        updated_at: DateTime<Utc>,
        submitted_at: Option<DateTime<Utc>>,
        terminal_at: Option<DateTime<Utc>>,
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
            qty: order.qty.get(),
            parent_order_id: slice.map(|slice| slice.parent.as_str()),
            slice_num: slice.map(|slice| slice.slice_num),
            total_slices: slice.map(|slice| slice.total_slices),
            replaces: replaces.map(|replaces| replaces.order.as_str()),
            replaces_broker_id: replaces.map(|replaces| replaces.broker_order_id.as_str()),
            chain: replaces.map(|replaces| replaces.first.as_str()),
            chain_place: replaces.map(|replaces| replaces.number),
            scheduled_time: order.scheduled_time,
            created_at: order.created_at,
        }
    }

    fn of_parent(parent: &'a Parent) -> Self {
        Self {
            kind: kind::PARENT,
            strategy_id: parent.strategy_id.as_str(),
            account: parent.account.as_str(),
            qty: parent.qty.get(),
            parent_order_id: None,
            slice_num: None,
            total_slices: Some(parent.total_slices),
            replaces: None,
            replaces_broker_id: None,
            chain: None,
            chain_place: None,
            scheduled_time: parent.start_at,
            created_at: parent.created_at,
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
            limit_price: prices.limit.map(Price::get),
            stop_price: prices.stop.map(Price::get),
            trail_price: prices.trail_price.map(Price::get),
            trail_percent: prices.trail_percent.map(Percent::get),
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
            claimed_at: order.claimed_at,
            absent_at: order.absent_at,
            cancel_requested_at: order.cancel_requested_at,
            at_venue: order.at_venue,
            reduces: order.reduces,
            replaced_by: order.replaced_by.as_ref().map(OrderId::as_str),
            filled_qty: order.filled_qty,
            filled_cost: order.filled_cost,
            filled_avg_price: order.filled_avg_price(),
            realised_pnl: Some(order.realised_pnl),
            reason_code: order.reason_code.as_deref(),
            error_message: order.error_message.as_deref(),
            updated_at: order.updated_at,
            submitted_at: order.submitted_at,
            terminal_at: order.terminal_at,
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
            cancel_requested_at: parent.cancel_requested_at,
            at_venue: false,
            reduces: false,
            replaced_by: None,
            filled_qty: parent.progress.filled_qty,
            filled_cost: parent.progress.filled_cost,
            filled_avg_price: parent.progress.filled_avg_price(),
            realised_pnl: None,
            reason_code: parent.paused.map(PauseReason::as_str),
            error_message: parent.paused.map(PauseReason::explain),
            updated_at: parent.updated_at,
            submitted_at: None,
            terminal_at: parent.ended_at,
        }
    }
}

row!(
    /// What never changes of a row of `parents`.
    PlanRow<'a> {
        schedule: Json,
        interval_seconds: u32,
        start_at: DateTime<Utc>,
        end_at: DateTime<Utc>,
        trade_date: NaiveDate,
        catch_up: &'a str,
        completion: &'a str,
        liquidity: Option<Json>,
        arrival_price: Option<Decimal>,
        warnings: Json,
    }
);

row!(
    /// What changes of a row of `parents`, behind its id.
    ProgressRow<'a> {
        client_order_id: &'a str,
        working_qty: Decimal,
        unknown_qty: Decimal,
        pending_qty: Decimal,
        unexecuted_qty: Decimal,
        open_slices: u32,
        rejected_slices: u32,
        failed_slices: u32,
        benchmark_area: Decimal,
        benchmark_seconds: Decimal,
    }
);

/// A whole row of `parents`.
pub(super) type ParentRow<'a> = (PlanRow<'a>, ProgressRow<'a>);

/// What only a parent has.
pub(super) fn parent(parent: &Parent) -> Result<ParentRow<'_>, StoreError> {
    let plan = PlanRow {
        schedule: Json(json(&parent.schedule)?),
        interval_seconds: parent.interval_seconds,
        start_at: parent.start_at,
        end_at: parent.end_at,
        trade_date: parent.trade_date,
        catch_up: parent.catch_up.as_str(),
        completion: parent.completion.as_str(),
        liquidity: parent.liquidity.as_ref().map(json).transpose()?.map(Json),
        arrival_price: parent.arrival_price,
        warnings: Json(json(&parent.warnings)?),
    };
    Ok((plan, ProgressRow::of(parent)))
}

impl<'a> ProgressRow<'a> {
    pub(super) fn of(parent: &'a Parent) -> Self {
        let progress = &parent.progress;
        Self {
            client_order_id: parent.id.as_str(),
            working_qty: progress.working_qty,
            unknown_qty: progress.unknown_qty,
            pending_qty: progress.pending_qty,
            unexecuted_qty: progress.unexecuted_qty,
            open_slices: progress.open,
            rejected_slices: progress.rejected,
            failed_slices: progress.failed,
            benchmark_area: parent.benchmark.area,
            benchmark_seconds: parent.benchmark.seconds,
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
        data: Json,
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
            data: Json(event.data.to_string()),
            actor: &event.actor,
        }
    }
}

row!(
    /// A row of `executions`.
    ExecutionRow<'a> {
        broker_order_id: &'a str,
        cum_qty: Decimal,
        client_order_id: &'a str,
        execution_id: &'a str,
        account: &'a str,
        symbol: &'a str,
        side: &'static str,
        qty: Decimal,
        price: Decimal,
        fee: Decimal,
        at: DateTime<Utc>,
    }
);

impl<'a> ExecutionRow<'a> {
    pub(super) fn of(order: &'a Order, execution: &'a Execution) -> Self {
        Self {
            broker_order_id: execution.broker_order_id.as_str(),
            cum_qty: execution.cum_qty,
            client_order_id: order.id.as_str(),
            execution_id: &execution.execution_id,
            account: order.account.as_str(),
            symbol: order.instruction.symbol.as_str(),
            side: order.instruction.side.as_str(),
            qty: execution.qty.get(),
            price: execution.price.get(),
            fee: execution.fee,
            at: execution.at,
        }
    }
}

row!(
    /// A row of `portfolio_positions`.
    PositionRow<'a> {
        account: &'a str,
        symbol: &'a str,
        qty: Decimal,
        cost: Decimal,
        avg_price: Option<Decimal>,
        realised_pnl: Decimal,
        fees: Decimal,
        last_price: Option<Decimal>,
        last_at: Option<DateTime<Utc>>,
        version: u64,
    }
);

impl<'a> PositionRow<'a> {
    pub(super) fn of(account: &'a AccountName, symbol: &'a Symbol, position: &Position) -> Self {
        Self {
            account: account.as_str(),
            symbol: symbol.as_str(),
            qty: position.qty,
            cost: position.cost,
            avg_price: position.avg_price(),
            realised_pnl: position.realised_pnl,
            fees: position.fees,
            last_price: position.last.map(|(price, _)| price),
            last_at: position.last.map(|(_, at)| at),
            version: position.version,
        }
    }
}

row!(
    /// A row of `switch_history`.
    SwitchEntryRow<'a> {
        switch: &'static str,
        event: &'a str,
        timestamp: DateTime<Utc>,
        operator: &'a str,
        reason: Option<&'a str>,
        details: Option<Json>,
    }
);

impl<'a> SwitchEntryRow<'a> {
    pub(super) fn of(switch: &'static str, entry: &'a SwitchEntry) -> Self {
        Self {
            switch,
            event: &entry.event,
            timestamp: entry.timestamp,
            operator: &entry.operator,
            reason: entry.reason.as_deref(),
            details: entry.details.as_ref().map(|details| Json(details.to_string())),
        }
    }
}

row!(
    /// A row of `audit`; account and time are the batch's.
    AuditRow<'a> {
        caller: &'a str,
        operator: Option<&'a str>,
        action: &'static str,
        subject: &'a str,
        state_before: Option<Json>,
        state_after: Option<Json>,
        request_id: Option<&'a str>,
    }
);

impl<'a> AuditRow<'a> {
    pub(super) fn of(entry: &'a AuditEntry) -> Self {
        let json = |state: &Option<Value>| state.as_ref().map(|state| Json(state.to_string()));
        Self {
            caller: entry.by.as_str(),
            operator: entry.operator.as_deref(),
            action: entry.action.as_str(),
            subject: &entry.subject,
            state_before: json(&entry.before),
            state_after: json(&entry.after),
            request_id: entry.request_id.as_deref(),
        }
    }
}

row!(
    /// A row of `idempotency_keys`.
    AnswerRow<'a> {
        caller: &'a str,
        idempotency_key: &'a str,
        request_hash: &'a str,
        answer: Json,
        at: DateTime<Utc>,
    }
);

impl<'a> AnswerRow<'a> {
    pub(super) fn of((caller, key): &'a (Caller, IdempotencyKey), first: &'a FirstAnswer) -> Self {
        Self {
            caller: caller.as_str(),
            idempotency_key: key.as_str(),
            request_hash: &first.hash,
            answer: Json(first.answer.to_string()),
            at: first.at,
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
        found: Json,
        since: DateTime<Utc>,
        cleared_at: Option<DateTime<Utc>>,
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
            found: Json(cause.found.to_string()),
            since: cause.since,
            cleared_at: cleared.map(|cleared| cleared.at),
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
        ours: Decimal,
        theirs: Decimal,
    }
);

impl<'a> DifferenceRow<'a> {
    pub(super) fn of(symbol: &'a Symbol, ours: Decimal, theirs: Decimal) -> Self {
        Self { symbol: symbol.as_str(), ours, theirs }
    }
}

/// Which revision the limits are of, as it stands beside the switches.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LimitsRevision {
    pub(super) revision: u64,
}

row!(
    /// A row of `limits`.
    LimitRow<'a> {
        scope: &'a str,
        scope_name: &'a str,
        control: &'a str,
        value: Decimal,
        operator: &'a str,
        set_by: &'a str,
        set_at: DateTime<Utc>,
    }
);

row!(
    /// What an override has besides.
    InsteadRow<'a> {
        reason: &'a str,
        until: DateTime<Utc>,
    }
);

row!(
    /// A row of `lockouts`.
    LockoutRow<'a> {
        account: &'a str,
        symbol: &'a str,
        rule: &'a str,
        kind: &'a str,
        reason: &'a str,
        operator: &'a str,
        locked_by: &'a str,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
    }
);

/// A row of `limit_overrides`.
pub(super) type OverrideRow<'a> = (LimitRow<'a>, InsteadRow<'a>);

impl<'a> LimitRow<'a> {
    pub(super) fn of((key, limit): (&'a LimitKey, &'a Limit)) -> Self {
        Self {
            scope: key.scope.kind(),
            scope_name: key.scope.name(),
            control: key.control.as_str(),
            value: limit.value,
            operator: &limit.operator,
            set_by: limit.by.as_str(),
            set_at: limit.at,
        }
    }
}

/// A limit that holds instead of another one for a while.
pub(super) fn instead<'a>((key, instead): (&'a LimitKey, &'a LimitOverride)) -> OverrideRow<'a> {
    (LimitRow::of((key, &instead.limit)), InsteadRow { reason: &instead.reason, until: instead.until })
}

impl<'a> LockoutRow<'a> {
    pub(super) fn of((key, lockout): (&'a LockKey, &'a Lockout)) -> Self {
        Self {
            account: key.account.as_str(),
            symbol: key.symbol.as_ref().map_or("", Symbol::as_str),
            rule: key.rule.as_str(),
            kind: lockout.kind.as_str(),
            reason: &lockout.reason,
            operator: &lockout.operator,
            locked_by: lockout.by.as_str(),
            since: lockout.since,
            until: lockout.until,
        }
    }
}

/// A value as JSON text.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Constraint { detail: error.to_string() })
}
