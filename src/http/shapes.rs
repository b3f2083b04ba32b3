//! What answers look like. Decimals are strings in their one canonical form, times RFC 3339 with `Z` and microseconds,
//! and what is absent is null.

use actix_web::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use tranche_actors::domain::money::{Percent, Price, canonical};
use tranche_actors::domain::order::Order;
use tranche_actors::ports::store::LedgerEvent;
use utoipa::ToSchema;

use super::words;

/// A time as every answer spells it.
pub(super) fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A decimal that may be absent.
pub(super) fn decimal(value: Option<Decimal>) -> Option<String> {
    value.map(canonical)
}

/// 201 for the first time, 200 for a repetition.
pub(super) const fn taken(replayed: bool) -> StatusCode {
    if replayed { StatusCode::OK } else { StatusCode::CREATED }
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
        Self { items, next_cursor: None }
    }

    /// A page, and where the next one begins.
    pub(super) fn page(items: Vec<T>, next: Option<u64>) -> Self {
        Self { items, next_cursor: next.map(|cursor| cursor.to_string()) }
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
    /// How far a trailing stop follows, as a distance.
    trail_price: Option<String>,
    /// The same as a share of the price, in hundredths.
    trail_percent: Option<String>,
    #[schema(schema_with = words::time_in_force)]
    time_in_force: &'static str,
    strategy_id: String,
    account: String,
    /// How much has traded, with what the orders before it in its chain of replacements had.
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
    /// The order whose place it is to take.
    replaces: Option<String>,
    /// The last order that was to take its place: it did, where this one is `replaced`.
    replaced_by: Option<String>,
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
        let (terms, prices) = (order.instruction.terms, order.instruction.terms.prices());
        let slice = order.slice.as_ref();
        Self {
            client_order_id: order.id.to_string(),
            kind: if slice.is_some() { "slice" } else { "single" },
            status: order.status.as_str(),
            symbol: order.instruction.symbol.to_string(),
            side: order.instruction.side.as_str(),
            qty: canonical(order.qty.get()),
            order_type: terms.order_type().as_str(),
            limit_price: decimal(prices.limit.map(Price::get)),
            stop_price: decimal(prices.stop.map(Price::get)),
            trail_price: decimal(prices.trail_price.map(Price::get)),
            trail_percent: decimal(prices.trail_percent.map(Percent::get)),
            time_in_force: order.instruction.time_in_force.as_str(),
            strategy_id: order.strategy_id.to_string(),
            account: order.account.to_string(),
            filled_qty: canonical(order.filled_qty),
            filled_avg_price: decimal(order.filled_avg_price()),
            broker_order_id: order.broker_order_id.as_ref().map(ToString::to_string),
            attempt: order.attempt,
            reason_code: order.reason_code.clone(),
            error_message: order.error_message.clone(),
            replaces: order.replaces.as_ref().map(|replaces| replaces.order.to_string()),
            replaced_by: order.replaced_by.as_ref().map(ToString::to_string),
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
