//! The requests for an order and for a replacement, as they arrive, and what is made of them.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;
use tranche_actors::domain::money::{MAX_SCALE, Percent, Price, Qty, parse_decimal};
use tranche_actors::domain::names::{Symbol, symbol};
use tranche_actors::domain::terms::{Instruction, Instrument, OrderType, Prices, Side, Terms, TimeInForce};

use super::refusal::Refusal;

/// Longest client order id.
const LONGEST_ID: usize = 128;

/// A number that came as one or as a text, with all its digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(Decimal);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        parse_decimal(raw.get().trim_matches('"')).map(Self).map_err(|error| D::Error::custom(error.rule))
    }
}

/// The body of `POST /v2/orders`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Draft {
    pub(super) symbol: Option<String>,
    pub(super) qty: Option<Number>,
    pub(super) notional: Option<Number>,
    pub(super) side: Option<String>,
    #[serde(rename = "type", alias = "order_type")]
    pub(super) order_type: Option<String>,
    pub(super) time_in_force: Option<String>,
    pub(super) limit_price: Option<Number>,
    pub(super) stop_price: Option<Number>,
    pub(super) trail_price: Option<Number>,
    pub(super) trail_percent: Option<Number>,
    pub(super) extended_hours: Option<bool>,
    pub(super) client_order_id: Option<String>,
    pub(super) order_class: Option<String>,
}

/// The body of `PATCH /v2/orders/{id}`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Patch {
    pub(super) qty: Option<Number>,
    pub(super) time_in_force: Option<String>,
    pub(super) limit_price: Option<Number>,
    pub(super) stop_price: Option<Number>,
    pub(super) trail: Option<Number>,
    pub(super) client_order_id: Option<String>,
}

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    /// So many units.
    Qty(Qty),
    /// As many as so much money buys or brings.
    Notional(Decimal),
}

/// An order that makes sense by itself.
#[derive(Clone, Debug)]
pub(super) struct Sound {
    pub(super) instruction: Instruction,
    pub(super) size: Size,
    pub(super) client_order_id: Option<String>,
}

impl Draft {
    /// What the client calls it, as far as that can be said before it is checked.
    pub(super) fn client_order_id(&self) -> Option<String> {
        self.client_order_id.clone().filter(|id| !id.is_empty())
    }

    /// # Errors
    /// The first rule that it breaks, in the venue's words.
    pub(super) fn sound(self) -> Result<Sound, Refusal> {
        let symbol = asset(self.symbol.as_deref())?;
        let side = word(self.side.as_deref(), "side", Side::from_word)?;
        let order_type = word(self.order_type.as_deref(), "type", OrderType::from_word)?;
        let time_in_force = word(self.time_in_force.as_deref(), "time_in_force", TimeInForce::from_word)?;
        match self.order_class.as_deref() {
            None | Some("" | "simple") => {}
            Some(_) => return Err(Refusal::invalid("order class is not supported")),
        }
        let client_order_id = self.client_order_id();
        if client_order_id.as_ref().is_some_and(|id| id.len() > LONGEST_ID) {
            return Err(Refusal::invalid("client_order_id must be no more than 128 characters"));
        }
        let prices = Prices {
            limit: price(self.limit_price, "limit_price")?,
            stop: price(self.stop_price, "stop_price")?,
            trail_price: price(self.trail_price, "trail_price")?,
            trail_percent: percent(self.trail_percent)?,
        };
        let terms = terms(order_type, prices)?;
        let extended_hours = self.extended_hours.unwrap_or(false);
        let size = match (self.qty, self.notional) {
            (Some(qty), None) => Size::Qty(quantity(qty)?),
            (None, Some(Number(notional))) if notional > Decimal::ZERO => Size::Notional(notional),
            (None, Some(_)) => return Err(Refusal::invalid("notional must be > 0")),
            (None, None) => return Err(Refusal::invalid("qty or notional is required")),
            (Some(_), Some(_)) => return Err(Refusal::invalid("only one of qty or notional is accepted")),
        };
        let is_fraction = match size {
            Size::Qty(qty) => !qty.get().is_integer(),
            Size::Notional(_) => true,
        };
        if is_fraction && time_in_force != TimeInForce::Day {
            return Err(Refusal::invalid("fractional orders must be DAY orders"));
        }
        if matches!(size, Size::Notional(_)) && order_type != OrderType::Market {
            return Err(Refusal::invalid("notional orders must be market orders"));
        }
        let instruction = Instruction { symbol, side, terms, time_in_force, extended_hours };
        Ok(Sound { instruction, size, client_order_id })
    }
}

impl Patch {
    /// What the new order is to be, from what the old one is.
    ///
    /// # Errors
    /// The first rule that it breaks, in the venue's words.
    pub(super) fn applied_to(&self, old: &Instruction, old_qty: Qty) -> Result<(Instruction, Qty), Refusal> {
        let before = old.terms.prices();
        let refused = |given: bool, name: &str| match given {
            true => Err(Refusal::invalid(format!("{name} is not valid for the order type"))),
            false => Ok(()),
        };
        refused(self.limit_price.is_some() && before.limit.is_none(), "limit_price")?;
        refused(self.stop_price.is_some() && before.stop.is_none(), "stop_price")?;
        refused(self.trail.is_some() && old.terms.trail().is_none(), "trail")?;
        let by_price = before.trail_price.is_some();
        let prices = Prices {
            limit: price(self.limit_price, "limit_price")?.or(before.limit),
            stop: price(self.stop_price, "stop_price")?.or(before.stop),
            trail_price: price(self.trail.filter(|_| by_price), "trail")?.or(before.trail_price),
            trail_percent: percent(self.trail.filter(|_| !by_price))?.or(before.trail_percent),
        };
        let time_in_force = match self.time_in_force.as_deref() {
            None => old.time_in_force,
            given @ Some(_) => word(given, "time_in_force", TimeInForce::from_word)?,
        };
        let qty = self.qty.map_or(Ok(old_qty), quantity)?;
        if self.client_order_id.as_ref().is_some_and(|id| id.len() > LONGEST_ID) {
            return Err(Refusal::invalid("client_order_id must be no more than 128 characters"));
        }
        let terms = terms(old.terms.order_type(), prices)?;
        Ok((Instruction { terms, time_in_force, ..old.clone() }, qty))
    }
}

/// How many units so much money buys at a price, at most.
pub(super) fn bought(notional: Decimal, price: Price) -> Result<Qty, Refusal> {
    let units = notional.checked_div(price.get()).unwrap_or_default();
    let units = units.round_dp_with_strategy(MAX_SCALE, RoundingStrategy::ToZero);
    Qty::new(units).map_err(|_| Refusal::invalid("notional is too small"))
}

fn asset(text: Option<&str>) -> Result<Symbol, Refusal> {
    let text = text.ok_or_else(|| Refusal::invalid("symbol is required"))?;
    symbol(text).map_err(|_| Refusal::invalid(format!("asset \"{text}\" not found")))
}

fn word<T>(text: Option<&str>, name: &str, read: fn(&str) -> Option<T>) -> Result<T, Refusal> {
    let text = text.ok_or_else(|| Refusal::invalid(format!("{name} is required")))?;
    read(text).ok_or_else(|| Refusal::invalid(format!("invalid {name}")))
}

fn quantity(Number(number): Number) -> Result<Qty, Refusal> {
    Qty::new(number).map_err(|error| Refusal::invalid(format!("qty {}", error.rule)))
}

fn price(number: Option<Number>, name: &str) -> Result<Option<Price>, Refusal> {
    let Some(Number(number)) = number else { return Ok(None) };
    let price = Price::new(number).map_err(|error| Refusal::invalid(format!("{name} {}", error.rule)))?;
    if Instrument::usual().on_tick(price) {
        Ok(Some(price))
    } else {
        let message = format!("invalid {name} {number}. sub-penny increment does not fulfill minimum pricing criteria");
        Err(Refusal::invalid(message))
    }
}

fn percent(number: Option<Number>) -> Result<Option<Percent>, Refusal> {
    let Some(Number(number)) = number else { return Ok(None) };
    Percent::new(number).map(Some).map_err(|error| Refusal::invalid(format!("trail_percent {}", error.rule)))
}

fn terms(order_type: OrderType, prices: Prices) -> Result<Terms, Refusal> {
    Terms::new(order_type, prices).ok_or_else(|| {
        let message = match order_type {
            OrderType::Market => "market orders must not have limit, stop or trail prices",
            OrderType::Limit => "limit orders require only limit_price",
            OrderType::Stop => "stop orders require only stop_price",
            OrderType::StopLimit => "stop limit orders require both stop and limit price",
            OrderType::TrailingStop => "trailing stop orders must specify one of trail_price or trail_percent",
        };
        Refusal::invalid(message)
    })
}
