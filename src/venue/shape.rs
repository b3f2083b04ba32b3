//! What the venue says, as JSON in the form of the real one: decimals as texts, null for what is absent.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::names::{BrokerOrderId, Symbol};
use tranche_actors::domain::position::Position;
use tranche_actors::domain::terms::{Instruction, Side, TimeInForce};
use tranche_actors::domain::venue::{Execution, VenueStatus};
use tranche_actors::market::book::BookOrder;
use uuid::Uuid;

use super::account::{Account, Card};

/// How times are spelt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spelling {
    /// By how many minutes they are off UTC; 0: with a `Z`.
    pub(super) offset_minutes: i32,
}

impl Spelling {
    pub(super) fn time(self, at: DateTime<Utc>) -> String {
        let offset = FixedOffset::east_opt(self.offset_minutes.saturating_mul(60)).filter(|_| self.offset_minutes != 0);
        match offset {
            Some(offset) => at.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Nanos, false),
            None => at.to_rfc3339_opts(SecondsFormat::Nanos, true),
        }
    }
}

/// The venue's word for where an order stands.
pub(super) fn status_word(held: &BookOrder) -> &'static str {
    match held.order.status {
        VenueStatus::Accepted => match held.order.instruction.time_in_force {
            TimeInForce::Opg | TimeInForce::Cls => "accepted",
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => "new",
        },
        status @ (VenueStatus::PartiallyFilled
        | VenueStatus::PendingCancel
        | VenueStatus::PendingReplace
        | VenueStatus::Filled
        | VenueStatus::Canceled
        | VenueStatus::Expired
        | VenueStatus::Rejected
        | VenueStatus::Replaced
        | VenueStatus::Other) => status.as_str(),
    }
}

/// An order, shown with a status.
pub(super) fn order(account: &Account, held: &BookOrder, card: &Card, status: &str, spelling: Spelling) -> Value {
    let Instruction { symbol, side, terms, time_in_force, extended_hours } = &held.order.instruction;
    let prices = terms.prices();
    let order_type = terms.order_type();
    let time = |at: DateTime<Utc>| spelling.time(at);
    let ended = |as_what: VenueStatus| (held.order.status == as_what).then(|| time(held.updated_at));
    let uuid = |id: &Option<BrokerOrderId>| id.as_ref().map(|id| account.order_uuid(id));
    let stop = held.stop_price().map(|price| canonical(price.get()));
    let hwm = prices.trail_price.is_some() || prices.trail_percent.is_some();
    json!({
        "id": card.id,
        "client_order_id": card.client_order_id,
        "created_at": time(held.order.submitted_at),
        "updated_at": time(held.updated_at),
        "submitted_at": time(held.order.submitted_at),
        "filled_at": ended(VenueStatus::Filled),
        "expired_at": ended(VenueStatus::Expired),
        "expires_at": held.expires_at.map(time),
        "canceled_at": ended(VenueStatus::Canceled),
        "failed_at": ended(VenueStatus::Rejected),
        "replaced_at": ended(VenueStatus::Replaced),
        "replaced_by": uuid(&held.order.replaced_by),
        "replaces": uuid(&held.order.replaces),
        "asset_id": account.asset_uuid(symbol),
        "symbol": symbol,
        "asset_class": "us_equity",
        "notional": card.notional.map(canonical),
        "qty": card.notional.is_none().then(|| canonical(held.order.qty.get())),
        "filled_qty": canonical(held.order.filled_qty),
        "filled_avg_price": held.order.filled_avg_price.map(canonical),
        "order_class": "simple",
        "order_type": order_type,
        "type": order_type,
        "side": side,
        "time_in_force": time_in_force,
        "limit_price": prices.limit.map(|price| canonical(price.get())),
        "stop_price": stop,
        "status": status,
        "extended_hours": extended_hours,
        "legs": null,
        "trail_percent": prices.trail_percent.map(|percent| canonical(percent.get())),
        "trail_price": prices.trail_price.map(|price| canonical(price.get())),
        "hwm": held.trail_mark.filter(|_| hwm).map(canonical),
        "position_intent": null,
        "subtag": null,
        "source": null,
    })
}

/// What is held of a symbol, at a price.
pub(super) fn position(
    account: &Account,
    symbol: &Symbol,
    held: &Position,
    price: Decimal,
    open_sells: Decimal,
) -> Value {
    let value = held.qty * price;
    let profit = held.unrealised_pnl(price).round_dp(9);
    let share = profit.checked_div(held.cost.abs()).unwrap_or_default().round_dp(9);
    json!({
        "asset_id": account.asset_uuid(symbol),
        "symbol": symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": true,
        "qty": canonical(held.qty),
        "avg_entry_price": canonical(held.avg_price().unwrap_or_default()),
        "side": if held.qty.is_sign_positive() { "long" } else { "short" },
        "market_value": canonical(value),
        "cost_basis": canonical(held.cost),
        "unrealized_pl": canonical(profit),
        "unrealized_plpc": canonical(share),
        "unrealized_intraday_pl": canonical(profit),
        "unrealized_intraday_plpc": canonical(share),
        "current_price": canonical(price),
        "lastday_price": canonical(price),
        "change_today": "0",
        "qty_available": canonical(held.qty - open_sells),
    })
}

/// A trade as a list of activities has it.
pub(super) fn fill(account: &Account, held: &BookOrder, trade: &Execution, spelling: Spelling) -> Value {
    let Instruction { symbol, side, .. } = &held.order.instruction;
    let whole = trade.cum_qty == held.order.qty.get();
    json!({
        "id": activity_id(account, trade),
        "account_id": account.id,
        "activity_type": "FILL",
        "transaction_time": spelling.time(trade.at),
        "type": if whole { "fill" } else { "partial_fill" },
        "price": canonical(trade.price.get()),
        "qty": canonical(trade.qty.get()),
        "side": match side { Side::Buy => "buy", Side::Sell => "sell" },
        "symbol": symbol,
        "leaves_qty": canonical(held.order.qty.get() - trade.cum_qty),
        "order_id": account.order_uuid(&trade.broker_order_id),
        "cum_qty": canonical(trade.cum_qty),
        "order_status": if whole { "filled" } else { "partially_filled" },
    })
}

/// The id of a trade in the list of activities: another one than on the stream. It sorts by time.
pub(super) fn activity_id(account: &Account, trade: &Execution) -> String {
    format!("{}::{}", trade.at.format("%Y%m%d%H%M%S%9f"), account.named("activity", &trade.execution_id))
}

/// An asset: any symbol is one.
pub(super) fn asset(id: Uuid, symbol: &Symbol, tradable: bool) -> Value {
    json!({
        "id": id,
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": format!("{symbol} at the double"),
        "status": "active",
        "tradable": tradable,
        "marginable": true,
        "maintenance_margin_requirement": 30,
        "shortable": true,
        "easy_to_borrow": true,
        "fractionable": true,
        "attributes": [],
    })
}
