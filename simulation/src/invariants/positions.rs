//! A position is the sum of what traded, in quantity and in money.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tranche_actors::domain::names::{OrderId, Symbol};
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
    /// What each order has traded with all that took its place, and what that cost.
    chains: BTreeMap<OrderId, (Decimal, Decimal)>,
}

impl Invariant for Positions {
    fn rule(&self) -> &'static str {
        "a position is the sum of its trades, and its cost less its profit is what was paid"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        let mut moved = false;
        for (id, _) in &saved.orders {
            let Some(now) = scene.ledger.order(id) else { continue };
            let (now_qty, now_cost) = of(scene.ledger.chain(now.chain()));
            let before = self.chains.insert(now.chain().clone(), (now_qty, now_cost));
            let (qty, cost) = before.unwrap_or_default();
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

/// The furthest order of a chain has traded for all of them.
fn of<'a>(chain: impl Iterator<Item = &'a Order>) -> (Decimal, Decimal) {
    let furthest = chain.max_by_key(|order| (order.filled_qty, order.place()));
    furthest.map(|order| (order.filled_qty, order.filled_cost)).unwrap_or_default()
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
