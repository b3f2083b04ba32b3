//! Limits hold at every claim, all that is open or unknown counted.

use rust_decimal::Decimal;
use tranche_actors::domain::limits::{Control, LimitScope};
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::terms::{Side, Terms};

use super::counting::{Counting, Open, bounds};
use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Limits(Counting);

impl Invariant for Limits {
    fn rule(&self) -> &'static str {
        "no order is claimed beyond a limit, counting all that is held, open and unknown"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        self.0.claims(step, scene, |order, open, at| {
            let bounds = |control| bounds(control, order, at, scene);
            for (scope, most) in bounds(Control::MaxOrderQty) {
                within(order, open.leaves(order), most, &format!("units, {scope}"))?;
            }
            for (scope, most) in bounds(Control::MaxOrderNotional) {
                if let (Side::Buy, Terms::Limit { limit_price }) = (order.instruction.side, order.instruction.terms) {
                    within(order, open.leaves(order) * limit_price.get(), most, &format!("in money, {scope}"))?;
                }
            }
            // What only takes a position back is bounded by the position.
            if open.is_way_out(order) {
                return Ok(());
            }
            for (scope, most) in bounds(Control::MaxPosition) {
                let reach = open.towards(&order.instruction.symbol, order.instruction.side);
                within(order, reach, most, &format!("units of position, {scope}"))?;
            }
            for (scope, most) in bounds(Control::MaxGrossExposure) {
                within(order, gross(order, open, &scope, scene), most, &format!("of exposure, {scope}"))?;
            }
            for (scope, most) in bounds(Control::MaxOpenOrders) {
                within(order, Decimal::from(open.count(&scope)), most, &format!("open orders, {scope}"))?;
            }
            Ok(())
        })
    }
}

/// What all positions may come to be worth, at prices a little lower than they are: they move between check and claim.
fn gross(order: &Order, open: &Open<'_>, scope: &LimitScope, scene: &Scene<'_>) -> Decimal {
    let is_of = |symbol: &Symbol| match scope {
        LimitScope::Symbol(_) => *symbol == order.instruction.symbol,
        LimitScope::Global | LimitScope::Account(_) | LimitScope::Strategy(_) => true,
    };
    let worth = |(symbol, units)| units * scene.venue.quote(symbol, scene.wall).mid();
    let gross = open.furthest().into_iter().filter(|(symbol, _)| is_of(symbol)).map(worth).sum::<Decimal>();
    gross * Decimal::new(97, 2)
}

fn within(order: &Order, value: Decimal, most: Decimal, what: &str) -> Result<(), String> {
    if value <= most {
        return Ok(());
    }
    Err(format!("{} is claimed with {} {what}, and at most {most} may be", order.id, value.round_dp(2)))
}
