//! The broker's limit of requests: no minute sees more new orders than its share, and no claim is made without a token.

use std::collections::VecDeque;
use std::time::Duration;

use tranche_actors::domain::status::OrderStatus;

use super::{Invariant, Scene};
use crate::tape::Step;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Budget {
    sent: VecDeque<Duration>,
    claimed: VecDeque<Duration>,
}

impl Invariant for Budget {
    fn rule(&self) -> &'static str {
        "in no minute more orders are claimed or sent than the broker's limit leaves to new orders"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Some(limit) = scene.tuning.requests_per_minute else { return Ok(()) };
        let share = usize::try_from(limit.get() - limit.get() / 10).unwrap_or(usize::MAX);
        match step {
            Step::Sent(_) => count(&mut self.sent, scene.boot, share, "sent"),
            Step::Committed(_, saved) => {
                for (id, before) in &saved.orders {
                    let attempt = before.as_ref().map_or(0, |order| order.attempt);
                    let is_claim = scene
                        .ledger
                        .order(id)
                        .is_some_and(|now| now.status == OrderStatus::Submitting && now.attempt > attempt);
                    if is_claim {
                        count(&mut self.claimed, scene.boot, share, "claimed")?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn count(seen: &mut VecDeque<Duration>, now: Duration, share: usize, what: &str) -> Result<(), String> {
    while seen.front().is_some_and(|at| *at + MINUTE <= now) {
        seen.pop_front();
    }
    seen.push_back(now);
    if seen.len() > share { Err(format!("{} orders were {what} within a minute", seen.len())) } else { Ok(()) }
}
