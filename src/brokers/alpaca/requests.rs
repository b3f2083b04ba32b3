//! What we send: orders and their replacements.

use serde::Serialize;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::terms::{OrderType, Side, TimeInForce, Trail};
use tranche_actors::domain::venue::NewOrder;

/// The body of `POST /v2/orders`. Prices and quantities are texts, exactly as they are.
#[derive(Debug, Serialize)]
pub(super) struct Submission<'a> {
    symbol: &'a str,
    side: Side,
    qty: String,
    #[serde(rename = "type")]
    kind: OrderType,
    time_in_force: TimeInForce,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trail_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trail_percent: Option<String>,
    extended_hours: bool,
    client_order_id: &'a str,
}

impl<'a> Submission<'a> {
    pub(super) fn of(order: &'a NewOrder) -> Self {
        let instruction = &order.instruction;
        let prices = instruction.terms.prices();
        Self {
            symbol: instruction.symbol.as_str(),
            side: instruction.side,
            qty: canonical(order.qty.get()),
            kind: instruction.terms.order_type(),
            time_in_force: instruction.time_in_force,
            limit_price: prices.limit.map(|price| canonical(price.get())),
            stop_price: prices.stop.map(|price| canonical(price.get())),
            trail_price: prices.trail_price.map(|price| canonical(price.get())),
            trail_percent: prices.trail_percent.map(|share| canonical(share.get())),
            extended_hours: instruction.extended_hours,
            client_order_id: order.client_order_id.as_str(),
        }
    }
}

/// The body of `PATCH /v2/orders/{id}`. Type, side and symbol stay as they are.
#[derive(Debug, Serialize)]
pub(super) struct Replacement<'a> {
    qty: String,
    time_in_force: TimeInForce,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trail: Option<String>,
    client_order_id: &'a str,
}

impl<'a> Replacement<'a> {
    pub(super) fn by(order: &'a NewOrder) -> Self {
        let instruction = &order.instruction;
        let prices = instruction.terms.prices();
        Self {
            qty: canonical(order.qty.get()),
            time_in_force: instruction.time_in_force,
            limit_price: prices.limit.map(|price| canonical(price.get())),
            stop_price: prices.stop.map(|price| canonical(price.get())),
            trail: instruction.terms.trail().map(|trail| match trail {
                Trail::Price { trail_price } => canonical(trail_price.get()),
                Trail::Percent { trail_percent } => canonical(trail_percent.get()),
            }),
            client_order_id: order.client_order_id.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tranche_actors::domain::money::{Price, Qty};
    use tranche_actors::domain::names::{OrderId, Symbol};
    use tranche_actors::domain::terms::{Instruction, Terms};

    use super::*;

    fn order(terms: Terms) -> NewOrder {
        NewOrder {
            client_order_id: OrderId::parse("p.r1").unwrap(),
            instruction: Instruction {
                symbol: Symbol::parse("BRK.B").unwrap(),
                side: Side::Sell,
                terms,
                time_in_force: TimeInForce::Gtc,
                extended_hours: false,
            },
            qty: Qty::new("10.50".parse().unwrap()).unwrap(),
        }
    }

    fn price(text: &str) -> Price {
        Price::new(text.parse().unwrap()).unwrap()
    }

    fn sent(body: &impl Serialize) -> Value {
        serde_json::to_value(body).unwrap()
    }

    #[test]
    fn an_order_is_sent_with_the_prices_of_its_type_as_texts() {
        let new = order(Terms::StopLimit { limit_price: price("401.10"), stop_price: price("402") });
        let expected = json!({
            "symbol": "BRK.B", "side": "sell", "qty": "10.5", "type": "stop_limit", "time_in_force": "gtc",
            "limit_price": "401.1", "stop_price": "402", "extended_hours": false, "client_order_id": "p.r1",
        });
        assert_eq!(sent(&Submission::of(&new)), expected);
    }

    #[test]
    fn a_trail_is_sent_under_its_name_at_first_and_as_trail_in_a_replacement() {
        let new = order(Terms::TrailingStop { trail: Trail::Price { trail_price: price("0.25") } });
        let submission = sent(&Submission::of(&new));
        assert_eq!((&submission["trail_price"], submission.get("trail_percent")), (&json!("0.25"), None));
        let expected = json!({"qty": "10.5", "time_in_force": "gtc", "trail": "0.25", "client_order_id": "p.r1"});
        assert_eq!(sent(&Replacement::by(&new)), expected);
    }
}
