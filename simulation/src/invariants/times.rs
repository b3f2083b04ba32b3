//! A slice is sent in its time or not at all.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use tranche_actors::domain::ids::is_flatten;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Times {
    /// How the wall clock stood to the clock that counts suspended time, and since when.
    drift: Option<(TimeDelta, Duration)>,
}

impl Invariant for Times {
    fn rule(&self) -> &'static str {
        "a slice is sent no sooner than it is due, and no later than its grace and the life of a claim"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        // The clock may have been set before anything was sent.
        let is_steady = self.is_steady(scene);
        let Step::Sent(order) = step else { return Ok(()) };
        let Some(row) = scene.ledger.order(&order.client_order_id).filter(|_| is_steady) else { return Ok(()) };
        let grace = if row.slice.is_some() { scene.tuning.grace } else { scene.tuning.single_grace };
        let latest = row.scheduled_time + delta(grace) + delta(scene.tuning.claim);
        // What closes a position leaves whenever its turn has come.
        if !is_flatten(&row.id) && (scene.wall < row.scheduled_time || scene.wall > latest) {
            let late = scene.wall - row.scheduled_time;
            return Err(format!("{} is sent {} ms after its time", row.id, late.num_milliseconds()));
        }
        if row.claimed_at.is_some_and(|claimed| scene.wall > claimed + delta(scene.tuning.claim)) {
            return Err(format!("{} is sent under a claim that ran out", row.id));
        }
        Ok(())
    }
}

impl Times {
    /// Whether the wall clock has not been set for longer than anything waits.
    fn is_steady(&mut self, scene: &Scene<'_>) -> bool {
        let drift = (scene.wall - DateTime::<Utc>::UNIX_EPOCH) - delta(scene.boot);
        match self.drift {
            Some((known, since)) if known == drift => {
                since.is_zero() || scene.boot > since + scene.tuning.grace + scene.tuning.claim
            }
            Some(_) => {
                self.drift = Some((drift, scene.boot));
                false
            }
            None => {
                self.drift = Some((drift, Duration::ZERO));
                true
            }
        }
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
