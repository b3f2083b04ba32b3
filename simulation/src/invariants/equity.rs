//! What an account is worth is the sum of its ledger of capital, and that follows the positions.

use rust_decimal::Decimal;
use tranche_actors::domain::portfolio::counted;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Equity {
    /// How much of the ledger was looked at before.
    entries: u64,
}

impl Invariant for Equity {
    fn rule(&self) -> &'static str {
        "equity is what was paid in, and what the positions realised less fees; each is a row of its ledger"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        if saved.orders.is_empty() && scene.ledger.portfolio(&scene.tuning.account).entries == self.entries {
            return Ok(());
        }
        self.judge(scene)
    }

    fn rest(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let account = &scene.tuning.account;
        let days = scene.ledger.days(account).cloned().collect::<Vec<_>>();
        match scene.ledger.portfolio(account).faults(scene.ledger.capital(account), &days).first() {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }
}

impl Equity {
    fn judge(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let account = &scene.tuning.account;
        let portfolio = scene.ledger.portfolio(account);
        self.entries = portfolio.entries;
        let last = scene.ledger.capital(account).last();
        if last.map(|entry| (entry.number, entry.after)).unwrap_or_default()
            != (portfolio.entries, portfolio.closed_equity)
        {
            return Err(format!("{portfolio:?} is not what its last row says: {last:?}"));
        }
        let positions = scene.ledger.positions(account);
        let net = |held: &tranche_actors::ports::store::HeldPosition| {
            counted(held.position.realised_pnl) - counted(held.position.fees)
        };
        let result = positions.iter().map(net).sum::<Decimal>();
        if portfolio.result() != result {
            return Err(format!("trading brought {}, and the positions say {result}", portfolio.result()));
        }
        Ok(())
    }
}
