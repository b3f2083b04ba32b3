//! A slice that ends unsent has a cause that somebody outside can see: a halt, a trip, a limit, or trouble in its time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::TimeDelta;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::{ShutReason, Verdict};

use super::{Invariant, Scene};
use crate::requests::Request;
use crate::tape::Step;

/// How long after the gate was read the end of a slice may become durable, while the machine is awake.
const SLACK: Duration = Duration::from_secs(15);
/// The limits that an order waits for, until it is too late for it.
const PASSING: [&str; 2] = ["max_open_orders", "max_message_rate"];
/// By how much the wall clock may have been set between the two.
const SET: TimeDelta = TimeDelta::seconds(4);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Excuses {
    /// When trading was last stopped by an operator, and by the breaker, on the clock that stands still in a suspend.
    halted: Option<Duration>,
    tripped: Option<Duration>,
    /// When something was last wrong, or the gate shut.
    trouble: Option<Duration>,
    /// When each limit was last in force, by its code, on the clock that stands still in a suspend, and on the other one.
    limited: BTreeMap<&'static str, (Duration, Duration)>,
    /// The requests of the last minute.
    requests: VecDeque<Duration>,
}

impl Excuses {
    fn note(&mut self, step: &Step<'_>, scene: &Scene<'_>) {
        let now = Some(scene.boot);
        let reasons = scene.house.map(|house| house.accounts.first().gate.reasons(scene.boot)).unwrap_or_default();
        let is_shut_by = |reason| reasons.contains(&reason);
        let is_part_stopped = scene.house.is_some_and(|house| !house.health.halts().is_empty());
        if is_part_stopped
            || is_shut_by(ShutReason::KillSwitchEngaged)
            || matches!(step, Step::Asked(_, Request::Engage(_)))
        {
            self.halted = Some(scene.awake);
        }
        let breaker = [ShutReason::CircuitBreakerTripped, ShutReason::CircuitBreakerQuiet];
        if breaker.into_iter().any(is_shut_by) || matches!(step, Step::Asked(_, Request::Trip(_))) {
            self.tripped = Some(scene.awake);
        }
        let is_open = scene.house.is_some_and(|house| house.accounts.first().gate.verdict(scene.boot) == Verdict::Open);
        let is_news = matches!(step, Step::Fault(_) | Step::Struck(_) | Step::Started(_) | Step::Crashed);
        if is_news || !is_open || !scene.well {
            self.trouble = now;
        }
        let book = scene.ledger.limits();
        let limits = book.limits.keys().chain(book.overrides.keys()).map(|key| key.control.as_str());
        for code in limits.chain((!book.lockouts.is_empty()).then_some("lockout")) {
            self.limited.insert(code, (scene.awake, scene.boot));
        }
        while self.requests.front().is_some_and(|at| *at + MINUTE < scene.boot) {
            self.requests.pop_front();
        }
        if matches!(step, Step::Sent(_) | Step::CancelSent(_) | Step::LookedUp(..)) {
            self.requests.push_back(scene.boot);
        }
    }

    fn judge(&self, order: &Order, scene: &Scene<'_>) -> Result<(), String> {
        let lately = |at: Option<Duration>, within: Duration| at.is_some_and(|at| at + within >= scene.boot);
        let just_now = |at: Option<Duration>| at.is_some_and(|at| at + SLACK >= scene.awake);
        let cause = match order.status {
            OrderStatus::BlockedKillSwitch => just_now(self.halted),
            OrderStatus::BlockedCircuitBreaker => just_now(self.tripped),
            OrderStatus::BlockedRisk => {
                let code = order.reason_code.as_deref().unwrap_or_default();
                just_now(self.limited.get(code).map(|(awake, _)| *awake))
            }
            OrderStatus::Expired => {
                // What somebody waits for is late sooner, and a replacement is that, of a slice too.
                let is_scheduled = order.slice.is_some() && order.replaces.is_none();
                let grace = if is_scheduled { scene.tuning.grace } else { scene.tuning.single_grace };
                let late = scene.wall - order.scheduled_time;
                if late + SET < TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX) {
                    return Err(format!("{} ends as too late {} s after its time", order.id, late.num_seconds()));
                }
                let late = late.to_std().unwrap_or_default();
                let limited = |code| self.limited.get(code).map(|(_, boot)| *boot);
                let waited = PASSING.into_iter().any(|code| lately(limited(code), late + SLACK));
                lately(self.trouble, late + SLACK) || waited || self.is_crowded(late, scene)
            }
            _ => return Ok(()),
        };
        let why = order.reason_code.as_deref().unwrap_or("no reason");
        if cause {
            Ok(())
        } else {
            Err(format!("{} ends as {} ({why}), and nothing was wrong", order.id, order.status))
        }
    }

    /// Whether the rate limit may have been the cause: half of what it allows was used while the order was late, or in
    /// the last minute of that.
    fn is_crowded(&self, late: Duration, scene: &Scene<'_>) -> bool {
        let Some(limit) = scene.tuning.requests_per_minute else { return false };
        let window = late.min(MINUTE);
        let made = self.requests.iter().filter(|at| **at + window >= scene.boot).count();
        let in_minutes = u128::try_from(made).unwrap_or(u128::MAX).saturating_mul(2 * MINUTE.as_millis());
        in_minutes >= u128::from(limit.get()) * window.as_millis()
    }
}

impl Invariant for Excuses {
    fn rule(&self) -> &'static str {
        "a slice that ends unsent has a cause: a halt, a trip, a limit, or trouble in its time"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        self.note(step, scene);
        let Step::Committed(_, saved) = step else { return Ok(()) };
        for (id, before) in &saved.orders {
            let was_waiting = before.as_ref().is_some_and(|order| order.status == OrderStatus::PendingNew);
            if let Some(now) = scene.ledger.order(id).filter(|_| was_waiting) {
                self.judge(now, scene)?;
            }
        }
        Ok(())
    }
}
