//! What answers look like. Decimals are strings in their one canonical form, times RFC 3339 with `Z` and microseconds,
//! and what is absent is null.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use tranche_actors::domain::ids;
use tranche_actors::domain::ledger::CancelCounts;
use tranche_actors::domain::money::{Price, canonical};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::terms::{Instrument, Side};
use tranche_actors::ports::store::LedgerEvent;
use utoipa::ToSchema;

use super::words;

/// A time as every answer spells it.
pub(super) fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn decimal(value: Option<Decimal>) -> Option<String> {
    value.map(canonical)
}

/// A list, newest first but where it says otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items<T> {
    /// One page of it.
    pub(super) items: Vec<T>,
    /// Where the next page begins: send it as `cursor`. Null on the last page.
    pub(super) next_cursor: Option<String>,
}

impl<T> Items<T> {
    /// A list of a single page.
    pub(super) const fn all(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }
}

/// A single order, or a slice of a parent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub(super) struct OrderView {
    /// The id under which the broker takes it once.
    client_order_id: String,
    /// Whether it stands alone or belongs to a parent.
    #[schema(schema_with = words::order_kind)]
    kind: &'static str,
    /// Where it stands.
    #[schema(schema_with = words::order_status)]
    status: &'static str,
    symbol: String,
    #[schema(schema_with = words::side)]
    side: &'static str,
    #[schema(example = "21")]
    qty: String,
    #[schema(schema_with = words::order_type)]
    order_type: &'static str,
    limit_price: Option<String>,
    stop_price: Option<String>,
    #[schema(schema_with = words::time_in_force)]
    time_in_force: &'static str,
    strategy_id: String,
    account: String,
    /// How much has traded.
    filled_qty: String,
    /// At which average price.
    filled_avg_price: Option<String>,
    /// The broker's own id, once known.
    broker_order_id: Option<String>,
    /// How often it was claimed to be sent.
    attempt: u32,
    /// Why it is where it is: a stable code of the gateway's or the broker's.
    reason_code: Option<String>,
    /// The same for a person.
    error_message: Option<String>,
    parent_order_id: Option<String>,
    /// The first is 0.
    slice_num: Option<u32>,
    total_slices: Option<u32>,
    #[schema(format = DateTime)]
    scheduled_time: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// When the broker took it.
    #[schema(format = DateTime)]
    submitted_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    terminal_at: Option<String>,
}

impl OrderView {
    /// An order as it is shown.
    pub(super) fn of(order: &Order) -> Self {
        let terms = order.instruction.terms;
        let slice = order.slice.as_ref();
        Self {
            client_order_id: order.id.to_string(),
            kind: if slice.is_some() { "slice" } else { "single" },
            status: order.status.as_str(),
            symbol: order.instruction.symbol.to_string(),
            side: order.instruction.side.as_str(),
            qty: canonical(order.qty.get()),
            order_type: terms.order_type().as_str(),
            limit_price: decimal(terms.limit_price().map(Price::get)),
            stop_price: decimal(terms.stop_price().map(Price::get)),
            time_in_force: order.instruction.time_in_force.as_str(),
            strategy_id: order.strategy_id.to_string(),
            account: order.account.to_string(),
            filled_qty: canonical(order.filled_qty),
            filled_avg_price: decimal(order.filled_avg_price()),
            broker_order_id: order.broker_order_id.as_ref().map(ToString::to_string),
            attempt: order.attempt,
            reason_code: order.reason_code.clone(),
            error_message: order.error_message.clone(),
            parent_order_id: slice.map(|slice| slice.parent.to_string()),
            slice_num: slice.map(|slice| slice.slice_num),
            total_slices: slice.map(|slice| slice.total_slices),
            scheduled_time: stamp(order.scheduled_time),
            created_at: stamp(order.created_at),
            updated_at: stamp(order.updated_at),
            submitted_at: order.submitted_at.map(stamp),
            terminal_at: order.terminal_at.map(stamp),
        }
    }
}

/// What a plan and a parent have in common.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlanHead)]
pub(super) struct PlanHead {
    parent_order_id: String,
    /// The scheme's name, which is part of the id.
    #[schema(example = "twap_parent_5m_60s")]
    parent_strategy_id: String,
    /// The client's name.
    strategy_id: String,
    account: String,
    symbol: String,
    #[schema(schema_with = words::side)]
    side: &'static str,
    #[schema(example = "103")]
    total_qty: String,
    total_slices: u32,
    /// Null where the duration is no whole number of minutes.
    duration_minutes: Option<u64>,
    duration_seconds: u64,
    /// The interval that the plan came to.
    interval_seconds: u32,
    #[schema(schema_with = words::parent_status)]
    status: &'static str,
    /// What a person should know about the plan.
    warnings: Vec<String>,
}

impl PlanHead {
    fn of(parent: &Parent) -> Self {
        Self {
            parent_order_id: parent.id.to_string(),
            parent_strategy_id: ids::parent_strategy(&parent.schedule).to_string(),
            strategy_id: parent.strategy_id.to_string(),
            account: parent.account.to_string(),
            symbol: parent.instruction.symbol.to_string(),
            side: Side::as_str(parent.instruction.side),
            total_qty: canonical(parent.qty.get()),
            total_slices: parent.total_slices,
            duration_minutes: parent.schedule.span.whole_minutes(),
            duration_seconds: parent.schedule.span.seconds(),
            interval_seconds: parent.interval_seconds,
            status: parent.status.as_str(),
            warnings: parent.warnings.clone(),
        }
    }
}

/// One slice of a plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlannedSlice)]
pub(super) struct SliceView {
    /// The first is 0.
    slice_num: u32,
    #[schema(example = "21")]
    qty: String,
    #[schema(format = DateTime)]
    scheduled_time: String,
    client_order_id: String,
    /// The scheme's name, which is part of the id.
    strategy_id: String,
    #[schema(schema_with = words::order_status)]
    status: &'static str,
}

/// A plan: the answer to a new parent, to its repetition, and to a preview.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
pub(super) struct PlanView {
    #[serde(flatten)]
    head: PlanHead,
    /// In the order of their times.
    slices: Vec<SliceView>,
}

impl PlanView {
    /// A parent with its slices as they now are.
    pub(super) fn of(parent: &Parent, slices: &[Order]) -> Self {
        let number = |order: &Order| order.slice.as_ref().map_or(0, |slice| slice.slice_num);
        Self {
            head: PlanHead::of(parent),
            slices: slices
                .iter()
                .map(|order| SliceView {
                    slice_num: number(order),
                    qty: canonical(order.qty.get()),
                    scheduled_time: stamp(order.scheduled_time),
                    client_order_id: order.id.to_string(),
                    strategy_id: order.strategy_id.to_string(),
                    status: order.status.as_str(),
                })
                .collect(),
        }
    }
}

/// The limits that a plan is held to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlanLimits)]
pub(super) struct LimitsView {
    /// Quantities are multiples of this.
    lot: String,
    /// No slice is larger, as requested.
    max_slice_qty: Option<String>,
    /// Most slices of a plan.
    max_slices: u32,
    /// New orders that the broker takes in a minute; null: no limit.
    orders_per_minute: Option<u32>,
}

/// A plan that was not stored, with the limits that it is held to and its end.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preview)]
pub(super) struct PreviewView {
    #[serde(flatten)]
    plan: PlanView,
    /// When the schedule ends.
    #[schema(format = DateTime)]
    ends_at: String,
    limits: LimitsView,
}

impl PreviewView {
    /// A parent that was planned under these limits.
    pub(super) fn of(
        (parent, slices): &(Parent, Vec<Order>),
        instrument: Instrument,
        max_slices: u32,
        orders_per_minute: Option<u32>,
    ) -> Self {
        Self {
            plan: PlanView::of(parent, slices),
            ends_at: stamp(parent.end_at),
            limits: LimitsView {
                lot: canonical(instrument.lot.get()),
                max_slice_qty: parent.schedule.max_slice_qty.map(|qty| canonical(qty.get())),
                max_slices,
                orders_per_minute,
            },
        }
    }
}

/// A parent with its progress.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Parent)]
pub(super) struct ParentView {
    #[serde(flatten)]
    head: PlanHead,
    #[schema(schema_with = words::parent_kind)]
    kind: &'static str,
    /// Traded.
    filled_qty: String,
    /// Live at the broker.
    working_qty: String,
    /// Perhaps live: sent, and not answered.
    unknown_qty: String,
    /// Not sent yet.
    pending_qty: String,
    /// Won't be executed.
    unexecuted_qty: String,
    filled_avg_price: Option<String>,
    /// The mid price when it was accepted.
    arrival_price: Option<String>,
    /// The mid price over the time in which it was worked.
    interval_twap: Option<String>,
    /// When the next slice is due.
    #[schema(format = DateTime)]
    next_slice_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

impl ParentView {
    /// A parent, and when its next slice is due.
    pub(super) fn of(parent: &Parent, next_slice_at: Option<DateTime<Utc>>) -> Self {
        let progress = &parent.progress;
        Self {
            head: PlanHead::of(parent),
            kind: "parent",
            filled_qty: canonical(progress.filled_qty),
            working_qty: canonical(progress.working_qty),
            unknown_qty: canonical(progress.unknown_qty),
            pending_qty: canonical(progress.pending_qty),
            unexecuted_qty: canonical(progress.unexecuted_qty),
            filled_avg_price: decimal(progress.filled_avg_price()),
            arrival_price: decimal(parent.arrival_price),
            interval_twap: decimal(parent.benchmark.interval_twap()),
            next_slice_at: next_slice_at.map(stamp),
            created_at: stamp(parent.created_at),
            ended_at: parent.ended_at.map(stamp),
        }
    }
}

/// What an id names.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnyOrder)]
#[serde(untagged)]
pub(super) enum AnyView {
    /// A parent with its progress.
    Parent(Box<ParentView>),
    /// A single order or a slice.
    Order(Box<OrderView>),
}

/// What the cancel of a parent met.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CanceledParent)]
pub(super) struct CancelView {
    parent_order_id: String,
    #[schema(schema_with = words::parent_status)]
    status: &'static str,
    /// Slices that ended at once.
    pending_canceled: u32,
    /// Slices whose cancel was asked of the broker.
    open_cancel_requested: u32,
    /// Slices that had ended before.
    already_terminal: u32,
    /// Slices on their way or of unknown outcome: cancelled as soon as they are found.
    in_flight: u32,
}

impl CancelView {
    /// A parent whose cancel was taken.
    pub(super) fn of(parent: &Parent, counts: CancelCounts) -> Self {
        Self {
            parent_order_id: parent.id.to_string(),
            status: parent.status.as_str(),
            pending_canceled: counts.pending_canceled,
            open_cancel_requested: counts.open_cancel_requested,
            already_terminal: counts.already_terminal,
            in_flight: counts.in_flight,
        }
    }
}

/// An event of the ledger.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerEvent)]
pub(super) struct EventView {
    /// Its number in the account's ledger, without gaps.
    number: u64,
    client_order_id: Option<String>,
    event: String,
    old_status: Option<String>,
    new_status: Option<String>,
    /// What else there is to know.
    #[schema(schema_with = words::any_json)]
    data: Value,
    /// Who caused it: a caller, or `gateway`.
    actor: String,
    #[schema(format = DateTime)]
    at: String,
}

impl EventView {
    /// An event as it is shown.
    pub(super) fn of(event: LedgerEvent) -> Self {
        Self {
            number: event.number,
            client_order_id: event.order.map(|id| id.to_string()),
            event: event.event,
            old_status: event.old_status,
            new_status: event.new_status,
            data: event.data,
            actor: event.actor,
            at: stamp(event.at),
        }
    }
}
