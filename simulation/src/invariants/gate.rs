//! Nothing leaves while trading is stopped or anything is unsure: the gate at the wire, and the switches by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::ids::is_flatten;
use tranche_actors::domain::limits::LimitScope;

use super::{Invariant, Scene};
use crate::requests::{Reply, Request};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Gate {
    /// When somebody asked this process to stop, and no release was asked for since: that holds from the call on.
    stopped: Option<Duration>,
    /// When releases were asked for that are not answered yet.
    releasing: BTreeMap<u64, Duration>,
    /// A trip was answered, and no reset was asked for since it was asked for.
    tripped: bool,
    tripping: BTreeSet<u64>,
}

impl Invariant for Gate {
    fn rule(&self) -> &'static str {
        "nothing leaves while the gate is shut, or a switch stops trading"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            // What a process was only asked is lost with it; what is durable is not.
            Step::Started(_) => {
                (self.stopped, self.tripped) = (None, false);
                self.releasing.clear();
            }
            Step::Asked(_, Request::Engage(engage)) if engage.scope == LimitScope::Global => {
                self.stopped = Some(scene.at)
            }
            Step::Asked(number, Request::Disengage(release)) if release.scope == LimitScope::Global => {
                self.releasing.insert(*number, scene.at);
                self.stopped = None;
            }
            Step::Replied(number, Request::Disengage(release), reply) if release.scope == LimitScope::Global => {
                let asked = self.releasing.remove(number);
                // Of one instant each may come before the other; a release from before an engagement never holds.
                if matches!(reply, Reply::Disengaged(_)) && self.stopped <= asked {
                    self.stopped = None;
                }
            }
            Step::Asked(number, Request::Trip(_)) => {
                self.tripping.insert(*number);
            }
            Step::Replied(number, _, Reply::Breaker(_)) => self.tripped |= self.tripping.remove(number),
            Step::Asked(_, Request::Reset(_)) => {
                self.tripped = false;
                self.tripping.clear();
            }
            // What closes positions passes where nothing else does; another rule says when.
            Step::Sent(order) if is_flatten(&order.client_order_id) => {}
            Step::Sent(order) => {
                let id = &order.client_order_id;
                let reduces = scene.ledger.order(id).is_some_and(|row| row.reduces);
                let verdict = scene.house.map(|house| house.accounts.first().gate.verdict(scene.boot));
                if let Some(reason) = verdict.and_then(|verdict| verdict.objection(reduces)) {
                    return Err(format!("{id} leaves while the gate is shut: {reason}"));
                }
                if self.stopped.is_some() || self.tripped {
                    return Err(format!("{id} leaves though an operator stopped trading"));
                }
                let switches = scene.ledger.switches();
                let released = switches.kill.is_some_and(|kill| !kill.is_engaged());
                // The end of a quiet period needs no durability: a start would find it ended.
                let tripped = switches.breaker.is_none_or(|breaker| breaker.state == BreakerWord::Tripped);
                if !released || tripped {
                    return Err(format!("{id} leaves while the stored switches say stop"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
