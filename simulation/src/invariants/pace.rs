//! The limit of orders within a minute holds in every minute.

use std::collections::VecDeque;
use std::time::Duration;

use rust_decimal::Decimal;
use tranche_actors::domain::limits::Control;
use tranche_actors::domain::names::{StrategyId, Symbol};

use super::counting::{Counting, bounds, counts, strategy};
use super::{Invariant, Scene};
use crate::tape::Step;

/// A minute, less what a claim may take that was counted before it was written.
const WINDOW: Duration = Duration::from_secs(50);
/// The count begins anew with whoever counts: for so long after a death it may be another one.
const REBUILT: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Pace {
    counting: Counting,
    claimed: VecDeque<(Duration, StrategyId, Symbol)>,
    died: Option<Duration>,
}

impl Invariant for Pace {
    fn rule(&self) -> &'static str {
        "in no minute more orders are claimed than a limit allows"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let dies = |what: &str| what.contains("Panic") || what.contains("dies");
        if matches!(step, Step::Started(_)) || matches!(step, Step::Struck(what) | Step::Fault(what) if dies(what)) {
            self.died = Some(scene.boot);
        }
        if self.died.is_some_and(|at| scene.boot < at + REBUILT) {
            self.claimed.clear();
        }
        while self.claimed.front().is_some_and(|(at, ..)| *at + WINDOW <= scene.boot) {
            self.claimed.pop_front();
        }
        let claimed = &mut self.claimed;
        self.counting.claims(step, scene, |order, open, at| {
            let symbol = &order.instruction.symbol;
            claimed.push_back((scene.boot, strategy(order, scene.ledger).clone(), symbol.clone()));
            if open.is_way_out(order) {
                return Ok(());
            }
            for (scope, most) in bounds(Control::MaxMessageRate, order, at, scene) {
                let made = claimed.iter().filter(|(_, strategy, symbol)| counts(&scope, strategy, symbol)).count();
                if Decimal::from(made) > most {
                    return Err(format!("{} is the {made}th order within a minute, {scope}, of {most}", order.id));
                }
            }
            Ok(())
        })
    }
}
