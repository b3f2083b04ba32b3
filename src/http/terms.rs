//! The type of an order with the prices that it takes, and how long it may live.

use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::names::{IdempotencyKey, OrderId};
use tranche_actors::domain::request::ReplaceRequest;
use tranche_actors::domain::terms::{OrderType, Prices, Terms, TimeInForce};

use super::canonical::Canonical;
use super::fields::{Choice, Fields};

/// What an order may ask for.
#[derive(Clone, Copy)]
pub(super) struct Menu {
    types: Choice<OrderType>,
    times: Choice<TimeInForce>,
    trails: bool,
}

const fn types(all: &'static [OrderType]) -> Choice<OrderType> {
    Choice { all, word: OrderType::as_str, designed: &[] }
}

const fn times(all: &'static [TimeInForce]) -> Choice<TimeInForce> {
    Choice { all, word: TimeInForce::as_str, designed: &[] }
}

/// A single order takes whatever there is.
pub(super) const OF_SINGLES: Menu = Menu { types: types(OrderType::ALL), times: times(TimeInForce::ALL), trails: true };

/// The slices of a parent spread over time: no trail, which would begin anew with each, and no auction, of which there is
/// one.
pub(super) const OF_PARENTS: Menu = Menu {
    types: types(&[OrderType::Market, OrderType::Limit, OrderType::Stop, OrderType::StopLimit]),
    times: times(&[TimeInForce::Day, TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok]),
    trails: false,
};

impl Menu {
    /// The words of the types.
    pub(super) fn order_types(&self) -> impl Iterator<Item = &'static str> {
        self.types.all.iter().map(|word| word.as_str())
    }

    /// The words of the times in force.
    pub(super) fn times_in_force(&self) -> impl Iterator<Item = &'static str> {
        self.times.all.iter().map(|word| word.as_str())
    }
}

/// What was read.
pub(super) struct OrderTerms {
    pub(super) terms: Terms,
    pub(super) time_in_force: TimeInForce,
    pub(super) extended_hours: bool,
}

/// The type with the prices that it takes, and how long the order may live.
pub(super) fn terms(fields: &mut Fields<'_>, menu: &Menu) -> Option<OrderTerms> {
    let order_type = fields.choice("order_type", &menu.types);
    let names_a_time = fields.given("time_in_force");
    let time_in_force = fields.choice("time_in_force", &menu.times);
    let time_in_force = if names_a_time { time_in_force } else { Some(TimeInForce::Day) };
    if let Some(order_type) = order_type {
        fitting(fields, order_type, menu.trails);
    }
    let prices = prices(fields, menu.trails);
    let extended_hours = fields.boolean("extended_hours").unwrap_or(false);
    if let (true, Some(order_type), Some(time_in_force)) = (extended_hours, order_type, time_in_force)
        && (order_type != OrderType::Limit || time_in_force != TimeInForce::Day)
    {
        let rule = "is for limit orders with time_in_force day only";
        fields.fault("extended_hours", "wrong_combination", rule);
    }
    Some(OrderTerms { terms: Terms::new(order_type?, prices)?, time_in_force: time_in_force?, extended_hours })
}

/// Holds the prices that were given to those that the type takes. What it doesn't take is not looked at any further.
fn fitting(fields: &mut Fields<'_>, order_type: OrderType, trails: bool) {
    let (limit, stop, trail) = match order_type {
        OrderType::Market => (false, false, false),
        OrderType::Limit => (true, false, false),
        OrderType::Stop => (false, true, false),
        OrderType::StopLimit => (true, true, false),
        OrderType::TrailingStop => (false, false, true),
    };
    for (name, takes) in [("limit_price", limit), ("stop_price", stop)] {
        if takes && !fields.given(name) {
            fields.fault(name, "missing", format!("is required of a {order_type} order"));
        }
    }
    let not_taken = [("limit_price", limit), ("stop_price", stop), ("trail_price", trail), ("trail_percent", trail)];
    let known = if trails { 4 } else { 2 };
    for (name, takes) in not_taken.into_iter().take(known) {
        if !takes && fields.given(name) {
            fields.take(name);
            fields.fault(name, "wrong_combination", format!("is not taken by a {order_type} order"));
        }
    }
    match (trail, fields.given("trail_price"), fields.given("trail_percent")) {
        (true, false, false) => {
            fields.fault("trail_price", "missing", "or trail_percent is required of a trailing_stop order");
        }
        (true, true, true) => {
            fields.take("trail_percent");
            fields.fault("trail_percent", "wrong_combination", "goes without trail_price: give one of the two");
        }
        (true, true, false) | (true, false, true) | (false, ..) => {}
    }
}

fn prices(fields: &mut Fields<'_>, trails: bool) -> Prices {
    Prices {
        limit: fields.price("limit_price"),
        stop: fields.price("stop_price"),
        trail_price: if trails { fields.price("trail_price") } else { None },
        trail_percent: if trails { fields.share("trail_percent") } else { None },
    }
}

/// Adds type and prices to what a request's hash is over.
pub(super) fn spell(form: &mut Canonical, terms: Terms) {
    form.put("order_type", terms.order_type().as_str());
    spell_prices(form, &terms.prices());
}

fn spell_prices(form: &mut Canonical, prices: &Prices) {
    form.decimal("limit_price", prices.limit.map(|price| price.get()));
    form.decimal("stop_price", prices.stop.map(|price| price.get()));
    form.decimal("trail_price", prices.trail_price.map(|price| price.get()));
    form.decimal("trail_percent", prices.trail_percent.map(|percent| percent.get()));
}

/// The body of `PATCH /orders/{id}`, with the idempotency key that it may name.
pub(super) fn replacement(
    mut fields: Fields<'_>,
    id: &OrderId,
) -> Result<(ReplaceRequest, Option<IdempotencyKey>), Vec<FieldError>> {
    const CHANGES: [&str; 5] = ["qty", "limit_price", "stop_price", "trail_price", "trail_percent"];
    if !CHANGES.iter().any(|name| fields.given(name)) {
        let rule = format!("changes nothing: give at least one of {}", CHANGES.join(", "));
        fields.fault("body", "missing", rule);
    }
    let key = fields.name("idempotency_key", IdempotencyKey::parse);
    let (qty, prices) = (fields.qty("qty"), prices(&mut fields, true));
    let mut form = Canonical::default();
    form.put("kind", "replace");
    form.put("order", id.as_str());
    form.decimal("qty", qty.map(|qty| qty.get()));
    spell_prices(&mut form, &prices);
    let request = ReplaceRequest { qty, prices, request_hash: form.hash() };
    fields.finish(Some((request, key)))
}
