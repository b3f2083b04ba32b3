//! What answers about parents look like: plans, previews, progress, cancels.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tranche_actors::domain::ids;
use tranche_actors::domain::ledger::CancelCounts;
use tranche_actors::domain::liquidity::Liquidity;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::{Parent, PauseReason};
use tranche_actors::domain::terms::Instrument;
use utoipa::ToSchema;

use super::shapes::{decimal, stamp};
use super::words;

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
    /// The limit by volume that the plan keeps to; null where there is none.
    liquidity: Option<LiquidityView>,
    /// What a person should know about the plan.
    warnings: Vec<String>,
}

/// A limit by volume.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Liquidity)]
pub(super) struct LiquidityView {
    /// The average daily volume, in units.
    adv: String,
    /// Which share of it a slice may be, in percent.
    pct: String,
    /// No slice is larger.
    max_slice_qty: String,
}

impl LiquidityView {
    fn of(limit: &Liquidity) -> Self {
        let [adv, pct, max_slice_qty] = [limit.adv, limit.pct, limit.max_slice_qty.get()].map(canonical);
        Self { adv, pct, max_slice_qty }
    }
}

impl PlanHead {
    fn of(parent: &Parent) -> Self {
        Self {
            parent_order_id: parent.id.to_string(),
            parent_strategy_id: ids::parent_strategy(&parent.schedule).to_string(),
            strategy_id: parent.strategy_id.to_string(),
            account: parent.account.to_string(),
            symbol: parent.instruction.symbol.to_string(),
            side: parent.instruction.side.as_str(),
            total_qty: canonical(parent.qty.get()),
            total_slices: parent.total_slices,
            duration_minutes: parent.schedule.span.whole_minutes(),
            duration_seconds: parent.schedule.span.seconds(),
            interval_seconds: parent.interval_seconds,
            status: parent.status.as_str(),
            liquidity: parent.liquidity.as_deref().map(LiquidityView::of),
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
            // A plan is what was planned: what took the place of a slice later is not in it.
            slices: slices
                .iter()
                .filter(|order| order.replaces.is_none())
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
    /// Why it is paused, as a stable code; null where it isn't.
    #[schema(example = "ledger_rewound")]
    reason_code: Option<&'static str>,
    /// The same for a person, with what to do.
    error_message: Option<&'static str>,
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
            reason_code: parent.held_for().map(PauseReason::as_str),
            error_message: parent.held_for().map(PauseReason::explain),
            next_slice_at: next_slice_at.map(stamp),
            created_at: stamp(parent.created_at),
            ended_at: parent.ended_at.map(stamp),
        }
    }
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
