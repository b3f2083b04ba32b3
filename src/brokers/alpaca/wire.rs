//! The JSON of Alpaca's answers, and what it means to us. Null and missing are the same everywhere; what an answer has
//! beyond this is passed over.

use chrono::{DateTime, SubsecRound, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use tranche_actors::domain::money::{Percent, Price, Qty};
use tranche_actors::domain::names::{BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::terms::{Instruction, OrderType, Prices, Side, Terms, TimeInForce};
use tranche_actors::domain::venue::{Execution, VenueOrder, VenueStatus, VenueWords};

use super::decimal;

/// An order. Only its id has to be there: an account may hold orders of kinds that we never send.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WireOrder {
    id: String,
    client_order_id: Option<String>,
    symbol: Option<String>,
    side: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    order_type: Option<String>,
    time_in_force: Option<String>,
    status: Option<String>,
    extended_hours: Option<bool>,
    replaces: Option<String>,
    replaced_by: Option<String>,
    submitted_at: Option<String>,
    created_at: Option<String>,
    #[serde(default, deserialize_with = "decimal::optional")]
    qty: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    filled_qty: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    filled_avg_price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    limit_price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    stop_price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    trail_price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    trail_percent: Option<Decimal>,
}

/// What is left of an order whose fields are not even of the types that we know.
#[derive(Debug, Deserialize)]
struct BareOrder {
    id: String,
}

/// An order that can't be read; the name of the first field that can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order can't be read: {0}")]
pub(super) struct Unreadable(pub(super) &'static str);

/// The order in a piece of JSON, if it is of a kind that we could have sent.
pub(super) fn strict(json: &str) -> Result<VenueOrder, Unreadable> {
    serde_json::from_str::<WireOrder>(json).map_err(|_| Unreadable("its form"))?.read()
}

/// The order in a piece of JSON, whatever its kind: one that we could not have sent is shown as a stranger.
///
/// A stranger keeps its ids, its status and its totals, so that it can be found, cancelled and alerted about. In place of
/// what it does it has an instruction that no order of ours can have (a market order outside the session), so that it is
/// never taken for one, not even under an id of ours.
pub(super) fn lenient(json: &str) -> Result<VenueOrder, Unreadable> {
    match serde_json::from_str::<WireOrder>(json) {
        Ok(order) => order.read().or_else(|_| order.stranger()),
        Err(_) => {
            let bare = serde_json::from_str::<BareOrder>(json).map_err(|_| Unreadable("id"))?;
            WireOrder { id: bare.id, ..WireOrder::empty() }.stranger()
        }
    }
}

impl WireOrder {
    const fn empty() -> Self {
        Self {
            id: String::new(),
            client_order_id: None,
            symbol: None,
            side: None,
            kind: None,
            order_type: None,
            time_in_force: None,
            status: None,
            extended_hours: None,
            replaces: None,
            replaced_by: None,
            submitted_at: None,
            created_at: None,
            qty: None,
            filled_qty: None,
            filled_avg_price: None,
            limit_price: None,
            stop_price: None,
            trail_price: None,
            trail_percent: None,
        }
    }

    fn read(&self) -> Result<VenueOrder, Unreadable> {
        let symbol = self.symbol.as_deref().and_then(|text| Symbol::parse(text).ok());
        let side = self.side.as_deref().and_then(Side::from_word);
        let time_in_force = self.time_in_force.as_deref().and_then(TimeInForce::from_word);
        Ok(VenueOrder {
            broker_order_id: broker_id(&self.id)?,
            client_order_id: self.client_id().ok_or(Unreadable("client_order_id"))?,
            instruction: Instruction {
                symbol: symbol.ok_or(Unreadable("symbol"))?,
                side: side.ok_or(Unreadable("side"))?,
                terms: self.terms()?,
                time_in_force: time_in_force.ok_or(Unreadable("time_in_force"))?,
                extended_hours: self.extended_hours.unwrap_or(false),
            },
            qty: self.qty().ok_or(Unreadable("qty"))?,
            status: self.status(),
            filled_qty: self.filled_qty()?,
            filled_avg_price: self.filled_avg_price,
            reason: self.reason(),
            replaces: optional_id(self.replaces.as_deref())?,
            replaced_by: optional_id(self.replaced_by.as_deref())?,
            submitted_at: self.submitted_at().ok_or(Unreadable("submitted_at"))?,
        })
    }

    fn stranger(&self) -> Result<VenueOrder, Unreadable> {
        let broker_order_id = broker_id(&self.id)?;
        let symbol = self.symbol.as_deref().and_then(|text| Symbol::parse(text).ok());
        let filled_qty = self.filled_qty.unwrap_or_default().max(Decimal::ZERO);
        let one = || Qty::new(Decimal::ONE).map_err(|_| Unreadable("qty"));
        Ok(VenueOrder {
            client_order_id: match self.client_id() {
                Some(id) => id,
                None => stranger_id(&broker_order_id)?,
            },
            instruction: Instruction {
                symbol: match symbol {
                    Some(symbol) => symbol,
                    None => Symbol::parse("UNKNOWN").map_err(|_| Unreadable("symbol"))?,
                },
                side: self.side.as_deref().and_then(Side::from_word).unwrap_or(Side::Buy),
                terms: Terms::Market,
                time_in_force: TimeInForce::Day,
                extended_hours: true,
            },
            qty: match self.qty().or_else(|| Qty::new(filled_qty).ok()) {
                Some(qty) => qty,
                None => one()?,
            },
            status: self.status(),
            filled_qty,
            filled_avg_price: self.filled_avg_price,
            reason: self.reason(),
            replaces: optional_id(self.replaces.as_deref()).unwrap_or(None),
            replaced_by: optional_id(self.replaced_by.as_deref()).unwrap_or(None),
            submitted_at: self.submitted_at().unwrap_or(DateTime::UNIX_EPOCH),
            broker_order_id,
        })
    }

    fn client_id(&self) -> Option<OrderId> {
        OrderId::parse(self.client_order_id.as_deref()?).ok()
    }

    fn qty(&self) -> Option<Qty> {
        Qty::new(self.qty?).ok()
    }

    fn filled_qty(&self) -> Result<Decimal, Unreadable> {
        let filled = self.filled_qty.unwrap_or_default();
        if filled < Decimal::ZERO { Err(Unreadable("filled_qty")) } else { Ok(filled) }
    }

    /// Only the prices that the type takes: a trailing stop also shows where its stop stands now.
    fn terms(&self) -> Result<Terms, Unreadable> {
        let word = self.kind.as_deref().or(self.order_type.as_deref());
        let kind = word.and_then(OrderType::from_word).ok_or(Unreadable("type"))?;
        let (limit, stop) = (self.limit_price.and_then(price), self.stop_price.and_then(price));
        let prices = match kind {
            OrderType::Market => Prices::default(),
            OrderType::Limit => Prices { limit, ..Prices::default() },
            OrderType::Stop => Prices { stop, ..Prices::default() },
            OrderType::StopLimit => Prices { limit, stop, ..Prices::default() },
            OrderType::TrailingStop => Prices {
                trail_price: self.trail_price.and_then(price),
                trail_percent: self.trail_percent.and_then(|share| Percent::new(share).ok()),
                ..Prices::default()
            },
        };
        Terms::new(kind, prices).ok_or(Unreadable("the prices of its type"))
    }

    fn status(&self) -> VenueStatus {
        match self.status.as_deref().unwrap_or_default() {
            "new" | "accepted" | "pending_new" | "accepted_for_bidding" => VenueStatus::Accepted,
            "partially_filled" => VenueStatus::PartiallyFilled,
            "pending_cancel" => VenueStatus::PendingCancel,
            "pending_replace" => VenueStatus::PendingReplace,
            "filled" => VenueStatus::Filled,
            "canceled" => VenueStatus::Canceled,
            "expired" => VenueStatus::Expired,
            "rejected" => VenueStatus::Rejected,
            "replaced" => VenueStatus::Replaced,
            // done_for_day, stopped, suspended, calculated, held, and what comes to be: not terminal, look again.
            _ => VenueStatus::Other,
        }
    }

    /// Alpaca says nothing of why it rejected what it had taken.
    fn reason(&self) -> Option<VenueWords> {
        (self.status() == VenueStatus::Rejected).then(|| VenueWords {
            code: "rejected".to_owned(),
            message: "the broker refused the order after it had taken it, and said no more".to_owned(),
        })
    }

    fn submitted_at(&self) -> Option<DateTime<Utc>> {
        self.submitted_at.as_deref().or(self.created_at.as_deref()).and_then(time)
    }
}

fn broker_id(text: &str) -> Result<BrokerOrderId, Unreadable> {
    BrokerOrderId::parse(text).map_err(|_| Unreadable("id"))
}

fn optional_id(text: Option<&str>) -> Result<Option<BrokerOrderId>, Unreadable> {
    text.filter(|text| !text.is_empty()).map(broker_id).transpose()
}

/// A client order id for one that has none or one that we can't spell: made of the broker's, so that it is nobody's.
fn stranger_id(broker: &BrokerOrderId) -> Result<OrderId, Unreadable> {
    let spelt = |c: char| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '-' };
    let text = format!("stranger:{}", broker.as_str().chars().map(spelt).take(100).collect::<String>());
    OrderId::parse(&text).map_err(|_| Unreadable("client_order_id"))
}

fn price(value: Decimal) -> Option<Price> {
    Price::new(value).ok()
}

/// An instant with any offset and up to nanoseconds, cut to microseconds.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text.trim()).ok().map(|at| at.with_timezone(&Utc).trunc_subsecs(6))
}

/// A row of `/v2/account/activities/FILL`.
#[derive(Debug, Deserialize)]
pub(super) struct WireFill {
    pub(super) id: String,
    order_id: Option<String>,
    transaction_time: Option<String>,
    #[serde(default, deserialize_with = "decimal::optional")]
    qty: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    cum_qty: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    price: Option<Decimal>,
}

impl WireFill {
    /// The trade; none where the row lacks what makes one.
    pub(super) fn read(self) -> Option<Execution> {
        Some(Execution {
            broker_order_id: BrokerOrderId::parse(self.order_id.as_deref()?).ok()?,
            qty: Qty::new(self.qty?).ok()?,
            price: price(self.price?)?,
            cum_qty: self.cum_qty?.normalize(),
            fee: Decimal::ZERO,
            at: time(self.transaction_time.as_deref()?)?,
            execution_id: self.id,
        })
    }
}

/// What a message of the stream `trade_updates` holds.
#[derive(Debug, Deserialize)]
pub(super) struct WireUpdate<'a> {
    pub(super) event: Option<String>,
    #[serde(borrow)]
    pub(super) order: Option<&'a RawValue>,
    execution_id: Option<String>,
    timestamp: Option<String>,
    at: Option<String>,
    #[serde(default, deserialize_with = "decimal::optional")]
    price: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    qty: Option<Decimal>,
}

impl WireUpdate<'_> {
    /// The trade that an event tells of; none where it lacks what makes one, and then the order's totals say it.
    pub(super) fn trade(&self, order: &VenueOrder) -> Option<Execution> {
        let cum_qty = order.filled_qty.normalize();
        let id = self.execution_id.as_deref().filter(|id| !id.is_empty());
        let at = self.timestamp.as_deref().or(self.at.as_deref()).and_then(time);
        Some(Execution {
            execution_id: id.map_or_else(|| format!("{}:{cum_qty}", order.broker_order_id), str::to_owned),
            broker_order_id: order.broker_order_id.clone(),
            qty: Qty::new(self.qty?).ok().filter(|qty| qty.get() <= cum_qty)?,
            price: price(self.price?)?,
            cum_qty,
            fee: Decimal::ZERO,
            at: at.unwrap_or(order.submitted_at),
        })
    }
}

#[cfg(test)]
mod tests;
