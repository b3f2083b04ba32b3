//! While positions may only be reduced nothing is opened: in a quiet period, a lockout, or a restricted symbol.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use rust_decimal::Decimal;
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::limits::Control;
use tranche_actors::domain::names::OrderId;

use super::counting::{Counting, bounds, is_locked};
use super::{Invariant, Scene};
use crate::tape::Step;

/// By how much the clocks may disagree about the end of a quiet period.
const SET: Duration = Duration::from_secs(4);

#[derive(Default)]
pub(super) struct Entries {
    counting: Counting,
    /// Whether each order was a way out when it was last claimed, by our own count, and in which attempt that was.
    ways_out: BTreeMap<OrderId, (u32, bool)>,
    /// Since when it has been quiet.
    quiet: Option<Duration>,
}

impl Entries {
    /// By the stored breaker, and by the time that it has been so.
    fn is_quiet(&self, scene: &Scene<'_>) -> bool {
        let by_clock = scene.ledger.switches().breaker.is_some_and(|breaker| {
            let until = breaker.quiet_until.filter(|_| breaker.state == BreakerWord::Quiet);
            until.is_some_and(|until| scene.wall + TimeDelta::from_std(SET).unwrap_or_default() < until)
        });
        by_clock && self.quiet.is_some_and(|since| scene.boot + SET < since + scene.tuning.quiet_period)
    }

    fn note_breaker(&mut self, scene: &Scene<'_>) {
        let is_quiet = scene.ledger.switches().breaker.is_some_and(|breaker| breaker.state == BreakerWord::Quiet);
        self.quiet = is_quiet.then(|| self.quiet.unwrap_or(scene.boot));
    }
}

impl Invariant for Entries {
    fn rule(&self) -> &'static str {
        "nothing is opened while positions may only be reduced"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if matches!(step, Step::Committed(_, saved) if saved.switches) {
            self.note_breaker(scene);
        }
        if let Step::Sent(order) = step {
            let id = &order.client_order_id;
            // What was claimed while nothing was judged may be either.
            let attempt = scene.ledger.order(id).map(|row| row.attempt);
            let is_entry = self.ways_out.get(id).is_some_and(|(of, is_way_out)| Some(*of) == attempt && !is_way_out);
            if is_entry && self.is_quiet(scene) {
                return Err(format!("{id} opens a position in a quiet period"));
            }
            return Ok(());
        }
        let ways_out = &mut self.ways_out;
        self.counting.claims(step, scene, |order, open, at| {
            let is_way_out = open.is_way_out(order);
            ways_out.insert(order.id.clone(), (order.attempt, is_way_out));
            if is_way_out {
                return Ok(());
            }
            if is_locked(order, at, scene) {
                return Err(format!("{} opens a position in a lockout", order.id));
            }
            if bounds(Control::RestrictedSymbol, order, at, scene).iter().any(|(_, value)| *value > Decimal::ZERO) {
                return Err(format!("{} opens a position in a restricted symbol", order.id));
            }
            Ok(())
        })
    }
}
