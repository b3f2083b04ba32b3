//! No slice is forgotten: while trading goes on each is sent in its time, or ends and says why.

use std::time::Duration;

use chrono::TimeDelta;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::Verdict;

use super::{Invariant, Scene};
use crate::tape::Step;

/// How long trading has to have gone on without a break.
const SETTLED: Duration = Duration::from_secs(90);
/// How much later than its grace a slice may be found: a parent that keeps dying is left alone for a minute.
const MARGIN: TimeDelta = TimeDelta::seconds(90);
/// How often the books are looked through.
const PERIOD: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Overdue {
    open_since: Option<Duration>,
    looked: Duration,
}

impl Invariant for Overdue {
    fn rule(&self) -> &'static str {
        "while trading goes on no slice waits for longer than its grace"
    }

    fn see(&mut self, _: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if scene.house.is_none_or(|house| house.accounts.first().gate.verdict(scene.boot) != Verdict::Open) {
            self.open_since = None;
            return Ok(());
        }
        let since = *self.open_since.get_or_insert(scene.boot);
        if scene.boot < since + SETTLED || scene.boot < self.looked + PERIOD {
            return Ok(());
        }
        self.looked = scene.boot;
        let grace = TimeDelta::from_std(scene.tuning.grace).unwrap_or(TimeDelta::MAX);
        let latest = scene.wall - grace - MARGIN;
        let mut waiting = scene.ledger.orders().filter(|order| order.status == OrderStatus::PendingNew);
        match waiting.find(|order| order.scheduled_time < latest) {
            Some(order) => Err(format!("{} was due at {}, and waits", order.id, order.scheduled_time)),
            None => Ok(()),
        }
    }
}
