//! The server's answers, as far as people are shown them. Fields that this client doesn't know are let pass.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Side;

/// One order: a single one or a slice.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Order {
    pub(super) client_order_id: String,
    pub(super) status: String,
    pub(super) symbol: String,
    pub(super) side: Side,
    pub(super) qty: Decimal,
    #[serde(default)]
    pub(super) filled_qty: Decimal,
    pub(super) filled_avg_price: Option<Decimal>,
    pub(super) reason_code: Option<String>,
    pub(super) error_message: Option<String>,
    pub(super) parent_order_id: Option<String>,
    pub(super) slice_num: Option<u64>,
    pub(super) total_slices: Option<u64>,
    pub(super) scheduled_time: Option<DateTime<Utc>>,
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) updated_at: Option<DateTime<Utc>>,
}

impl Order {
    /// Whether it waits for its time.
    pub(super) fn is_pending(&self) -> bool {
        self.status == OrderStatus::PendingNew.as_str()
    }
}

/// How far a parent is.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Parent {
    pub(super) parent_order_id: String,
    pub(super) symbol: String,
    pub(super) side: Side,
    pub(super) total_qty: Decimal,
    pub(super) total_slices: u64,
    pub(super) status: String,
    #[serde(default)]
    pub(super) filled_qty: Decimal,
    #[serde(default)]
    pub(super) working_qty: Decimal,
    #[serde(default)]
    pub(super) unknown_qty: Decimal,
    #[serde(default)]
    pub(super) pending_qty: Decimal,
    #[serde(default)]
    pub(super) unexecuted_qty: Decimal,
    pub(super) filled_avg_price: Option<Decimal>,
    pub(super) arrival_price: Option<Decimal>,
    pub(super) interval_twap: Option<Decimal>,
    /// Why it is paused.
    pub(super) error_message: Option<String>,
    pub(super) next_slice_at: Option<DateTime<Utc>>,
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) ended_at: Option<DateTime<Utc>>,
}

impl Parent {
    /// Whether nothing more is expected of it. A status that we don't know is not an end.
    pub(super) fn is_terminal(&self) -> bool {
        ParentStatus::from_word(&self.status).is_some_and(ParentStatus::is_terminal)
    }
}

/// The plan of a parent, as it was answered.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Plan {
    pub(super) parent_order_id: String,
    pub(super) symbol: String,
    pub(super) side: Side,
    pub(super) total_qty: Decimal,
    pub(super) total_slices: u64,
    pub(super) status: String,
    #[serde(default)]
    pub(super) warnings: Vec<serde_json::Value>,
    #[serde(default)]
    pub(super) slices: Vec<PlannedSlice>,
}

/// One slice of a plan.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PlannedSlice {
    pub(super) slice_num: u64,
    pub(super) qty: Decimal,
    pub(super) scheduled_time: DateTime<Utc>,
    pub(super) client_order_id: String,
    pub(super) status: String,
}

/// A time of day, in UTC; a dash where there is none.
pub(super) fn clock(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.format("%H:%M:%S").to_string())
}

/// A number without trailing zeros; a dash where there is none.
pub(super) fn number(value: Option<Decimal>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.normalize().to_string())
}
