//! What answers about reconciliation look like.

use serde::Serialize;
use serde_json::Value;
use tranche_actors::commands::ClearedCause;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::reconciliation::{Cause, Comparison, Difference};
use utoipa::ToSchema;

use super::shapes::stamp;
use super::words;

/// How the books compare.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reconciliation)]
pub(super) struct StatusView {
    pub(super) account: String,
    /// Null before the first one.
    pub(super) last_comparison: Option<ComparisonView>,
    /// What keeps symbols in quarantine until an operator clears it.
    pub(super) orphans: Vec<OrphanView>,
    /// Symbols that take no new orders.
    pub(super) quarantined: Vec<QuarantineView>,
    /// Positions that differ, by the last comparison that succeeded.
    pub(super) position_differences: Vec<DifferenceView>,
    /// Orders that may be live at the broker without an answer; they are looked up until that is known.
    pub(super) unknown_orders: Vec<String>,
}

/// How a comparison went.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Comparison)]
pub(super) struct ComparisonView {
    /// When it began.
    #[schema(format = DateTime)]
    at: String,
    took_ms: u64,
    #[schema(schema_with = words::comparison_outcome)]
    outcome: &'static str,
    /// Why it failed, if it did.
    detail: Option<String>,
}

impl ComparisonView {
    /// A comparison as it is shown.
    pub(super) fn of(comparison: &Comparison) -> Self {
        Self {
            at: stamp(comparison.at),
            took_ms: u64::try_from(comparison.took.as_millis()).unwrap_or(u64::MAX),
            outcome: if comparison.failed.is_some() { "failed" } else { "compared" },
            detail: comparison.failed.clone(),
        }
    }
}

/// An order at the broker that is not ours, or not what was sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Orphan)]
pub(super) struct OrphanView {
    /// What it is cleared by: the broker's id of an order that we don't know, our id of one that is not what was sent.
    id: String,
    symbol: String,
    #[schema(schema_with = words::cause_kind)]
    reason: &'static str,
    broker_order_id: Option<String>,
    /// What was found.
    #[schema(schema_with = words::any_json)]
    found: Value,
    #[schema(format = DateTime)]
    since: String,
}

impl OrphanView {
    /// An orphan as it is shown.
    pub(super) fn of(cause: &Cause) -> Self {
        Self {
            id: cause.id.to_string(),
            symbol: cause.symbol.to_string(),
            reason: cause.kind.as_str(),
            broker_order_id: cause.broker_order_id.as_ref().map(ToString::to_string),
            found: cause.found.clone(),
            since: stamp(cause.since),
        }
    }
}

/// A symbol that takes only orders that reduce its position.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quarantine)]
pub(super) struct QuarantineView {
    pub(super) symbol: String,
    /// Why.
    pub(super) reasons: Vec<&'static str>,
}

/// A position that differs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PositionDifference)]
pub(super) struct DifferenceView {
    symbol: String,
    /// What the account holds by our books.
    ours: String,
    /// What it holds by the broker's.
    theirs: String,
    /// It was seen twice with no fill between; before that it may be a race between two readings.
    confirmed: bool,
}

impl DifferenceView {
    /// A difference as it is shown.
    pub(super) fn of(difference: &Difference) -> Self {
        Self {
            symbol: difference.symbol.to_string(),
            ours: canonical(difference.ours),
            theirs: canonical(difference.theirs),
            confirmed: difference.confirmed,
        }
    }
}

/// An orphan that was cleared.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClearedOrphan)]
pub(super) struct ClearedView {
    id: String,
    symbol: String,
    #[schema(schema_with = words::cause_kind)]
    reason: &'static str,
    /// It was the symbol's last one: the symbol takes orders again.
    released: bool,
}

impl ClearedView {
    /// What a clearance came to.
    pub(super) fn of(cleared: &ClearedCause) -> Self {
        Self {
            id: cleared.cause.id.to_string(),
            symbol: cleared.cause.symbol.to_string(),
            reason: cleared.cause.kind.as_str(),
            released: cleared.released,
        }
    }
}
