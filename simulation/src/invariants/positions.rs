//! A position is the sum of what traded, in quantity and in money.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::order::Order;

use super::{Invariant, Scene};
use crate::tape::Step;

/// What traded of a symbol: bought less sold, and what was paid less what was got.
#[derive(Clone, Copy, Debug, Default)]
struct Traded {
    qty: Decimal,
    paid: Decimal,
}

#[derive(Default)]
pub(super) struct Positions {
    traded: BTreeMap<Symbol, Traded>,
}

impl Invariant for Positions {
    fn rule(&self) -> &'static str {
        "a position is the sum of its trades, and its cost less its profit is what was paid"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        let mut moved = false;
        for (id, before) in &saved.orders {
            let Some(now) = scene.ledger.order(id) else { continue };
            let (qty, cost) = before.as_ref().map_or_else(Default::default, of);
            let (now_qty, now_cost) = of(now);
            if (qty, cost) != (now_qty, now_cost) {
                moved = true;
                let traded = self.traded.entry(now.instruction.symbol.clone()).or_default();
                let sign = now.instruction.side.sign();
                traded.qty += sign * (now_qty - qty);
                traded.paid += sign * (now_cost - cost);
            }
        }
        if moved { self.judge(scene) } else { Ok(()) }
    }
}

fn of(order: &Order) -> (Decimal, Decimal) {
    (order.filled_qty, order.filled_cost)
}

impl Positions {
    fn judge(&self, scene: &Scene<'_>) -> Result<(), String> {
        let held = scene.ledger.positions(&scene.tuning.account);
        for (symbol, traded) in &self.traded {
            let position = held.iter().find(|held| held.symbol == *symbol).map(|held| held.position.clone());
            let position = position.unwrap_or_default();
            if position.qty != traded.qty {
                return Err(format!("{symbol}: we hold {}, and traded {}", position.qty, traded.qty));
            }
            let paid = position.cost - position.realised_pnl;
            if (paid - traded.paid).abs() > Decimal::new(1, 6) {
                return Err(format!("{symbol}: cost less profit is {paid}, and {} was paid", traded.paid));
            }
        }
        Ok(())
    }
}
