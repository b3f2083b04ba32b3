//! What the paper broker's book says, row by row: for its file, and for whoever reads it.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tranche_actors::domain::money::{Percent, Price, Qty};
use tranche_actors::domain::names::{BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::terms::{Instruction, OrderType, Prices, Side, Terms, TimeInForce};
use tranche_actors::domain::venue::{Execution, VenueOrder, VenueStatus, VenueWords};
use tranche_actors::market::book::{BookOrder, Replacement};

/// A whole book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperBook {
    /// The account's cash; negative is owed.
    pub cash: Decimal,
    /// What is held, by symbol; flat ones are zero.
    pub positions: Vec<PositionRow>,
    /// Every order ever taken, oldest first.
    pub orders: Vec<OrderRow>,
    /// Every trade, oldest first.
    pub executions: Vec<ExecutionRow>,
}

/// What is held of a symbol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionRow {
    /// What is held.
    pub symbol: Symbol,
    /// How much; short is negative.
    pub qty: Decimal,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRow {
    /// Its place in the sequence of all orders, from 1.
    pub seq: u64,
    /// The broker's id.
    pub broker_order_id: BrokerOrderId,
    /// The id that it was sent under.
    pub client_order_id: OrderId,
    /// What is traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// Of what type.
    pub order_type: OrderType,
    /// The worst price, where the type has one.
    pub limit_price: Option<Price>,
    /// The price that triggers, where the type has one.
    pub stop_price: Option<Price>,
    /// How far a trailing stop follows behind, as a distance.
    #[serde(default)]
    pub trail_price: Option<Price>,
    /// How far a trailing stop follows behind, as a share.
    #[serde(default)]
    pub trail_percent: Option<Percent>,
    /// The best last price that a trailing stop has followed.
    #[serde(default)]
    pub trail_mark: Option<Decimal>,
    /// How long it may live.
    pub time_in_force: TimeInForce,
    /// Whether it may trade outside the regular session.
    pub extended_hours: bool,
    /// Where it stands.
    pub status: VenueStatus,
    /// How much has traded.
    pub filled_qty: Decimal,
    /// At which price on average.
    pub filled_avg_price: Option<Decimal>,
    /// Why it ended, in the broker's code.
    pub reason_code: Option<String>,
    /// Why it ended, in the broker's words.
    pub reason_message: Option<String>,
    /// When it was taken.
    pub submitted_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When its time in force ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When a pending cancel is confirmed.
    pub cancel_at: Option<DateTime<Utc>>,
    /// Whether its stop price has traded.
    pub triggered: bool,
    /// What has been paid or got for it, without fees.
    pub cost: Decimal,
    /// What a unit of an open buy holds back from the cash.
    pub reserve_price: Decimal,
    /// The order whose place it took, or is to take.
    #[serde(default)]
    pub replaces: Option<BrokerOrderId>,
    /// The order that took its place.
    #[serde(default)]
    pub replaced_by: Option<BrokerOrderId>,
    /// The order that is to take its place.
    #[serde(default)]
    pub replacement: Option<BrokerOrderId>,
    /// When it does.
    #[serde(default)]
    pub replacement_at: Option<DateTime<Utc>>,
    /// How much of what it shows as filled the orders before it in its chain have traded.
    #[serde(default)]
    pub carried_qty: Decimal,
}

impl From<&BookOrder> for OrderRow {
    fn from(held: &BookOrder) -> Self {
        let order = &held.order;
        let Instruction { symbol, side, terms, time_in_force, extended_hours } = &order.instruction;
        let prices = terms.prices();
        let replacement = held.replacement.as_ref();
        Self {
            seq: held.seq,
            broker_order_id: order.broker_order_id.clone(),
            client_order_id: order.client_order_id.clone(),
            symbol: symbol.clone(),
            side: *side,
            qty: order.qty,
            order_type: terms.order_type(),
            limit_price: prices.limit,
            stop_price: prices.stop,
            trail_price: prices.trail_price,
            trail_percent: prices.trail_percent,
            trail_mark: held.trail_mark,
            time_in_force: *time_in_force,
            extended_hours: *extended_hours,
            status: order.status,
            filled_qty: order.filled_qty,
            filled_avg_price: order.filled_avg_price,
            reason_code: order.reason.as_ref().map(|reason| reason.code.clone()),
            reason_message: order.reason.as_ref().map(|reason| reason.message.clone()),
            submitted_at: order.submitted_at,
            updated_at: held.updated_at,
            expires_at: held.expires_at,
            cancel_at: held.cancel_at,
            triggered: held.triggered,
            cost: held.cost.normalize(),
            reserve_price: held.reserve_price.normalize(),
            replaces: order.replaces.clone(),
            replaced_by: order.replaced_by.clone(),
            replacement: replacement.map(|coming| coming.by.clone()),
            replacement_at: replacement.map(|coming| coming.at),
            carried_qty: held.carried_qty.normalize(),
        }
    }
}

impl TryFrom<OrderRow> for BookOrder {
    type Error = String;

    fn try_from(row: OrderRow) -> Result<Self, String> {
        let prices = Prices {
            limit: row.limit_price,
            stop: row.stop_price,
            trail_price: row.trail_price,
            trail_percent: row.trail_percent,
        };
        let terms = Terms::new(row.order_type, prices);
        let terms = terms.ok_or_else(|| format!("{} has prices that its type doesn't take", row.broker_order_id))?;
        let reason = row.reason_code.zip(row.reason_message);
        Ok(Self {
            seq: row.seq,
            order: VenueOrder {
                broker_order_id: row.broker_order_id,
                client_order_id: row.client_order_id,
                instruction: Instruction {
                    symbol: row.symbol,
                    side: row.side,
                    terms,
                    time_in_force: row.time_in_force,
                    extended_hours: row.extended_hours,
                },
                qty: row.qty,
                status: row.status,
                filled_qty: row.filled_qty,
                filled_avg_price: row.filled_avg_price,
                reason: reason.map(|(code, message)| VenueWords { code, message }),
                replaces: row.replaces,
                replaced_by: row.replaced_by,
                submitted_at: row.submitted_at,
            },
            cost: row.cost,
            reserve_price: row.reserve_price,
            triggered: row.triggered,
            trail_mark: row.trail_mark,
            carried_qty: row.carried_qty,
            replacement: row.replacement.zip(row.replacement_at).map(|(by, at)| Replacement { by, at }),
            expires_at: row.expires_at,
            cancel_at: row.cancel_at,
            updated_at: row.updated_at,
        })
    }
}

/// A trade, with what its order says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionRow {
    /// The broker's id of the trade.
    pub execution_id: String,
    /// The order that traded.
    pub broker_order_id: BrokerOrderId,
    /// The id that the order was sent under.
    pub client_order_id: OrderId,
    /// What traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much.
    pub qty: Qty,
    /// At which price.
    pub price: Price,
    /// How much of the order had traded after this.
    pub cum_qty: Decimal,
    /// What the broker charged.
    pub fee: Decimal,
    /// When.
    pub at: DateTime<Utc>,
}

impl From<ExecutionRow> for Execution {
    fn from(row: ExecutionRow) -> Self {
        Self {
            execution_id: row.execution_id,
            broker_order_id: row.broker_order_id,
            qty: row.qty,
            price: row.price,
            cum_qty: row.cum_qty,
            fee: row.fee,
            at: row.at,
        }
    }
}
