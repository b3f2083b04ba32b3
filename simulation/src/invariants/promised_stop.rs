//! An engagement or a trip that was answered as durable holds until somebody releases it, over every crash.

use std::collections::BTreeMap;
use std::time::Duration;

use tranche_actors::commands::CommandError;
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::limits::LimitScope;

use super::{Invariant, Scene};
use crate::requests::{Reply, Request};
use crate::tape::Step;

/// Whoever engages what is engaged already is told so within this time, or later without a promise.
const PROMPT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct PromisedStop {
    engaged: bool,
    /// When each engagement was asked for that is not answered yet.
    engaging: BTreeMap<u64, Duration>,
    /// When a release was last asked for: what was asked for later overtakes it.
    released: Option<Duration>,
}

impl PromisedStop {
    fn is_promised(&self, number: u64, reply: &Reply, now: Duration) -> bool {
        let Some(asked) = self.engaging.get(&number).filter(|asked| Some(**asked) > self.released) else {
            return false;
        };
        match reply {
            Reply::Engaged(answer) => answer.not_durable.is_empty(),
            Reply::Refused(CommandError::AlreadyEngaged(_)) => now < *asked + PROMPT,
            Reply::Refused(_)
            | Reply::Silence
            | Reply::Parent(_)
            | Reply::Single(_)
            | Reply::Replaced(_)
            | Reply::CanceledParent(_)
            | Reply::CanceledOrder(_)
            | Reply::Disengaged(_)
            | Reply::Breaker(_)
            | Reply::Limits(_) => false,
        }
    }
}

impl Invariant for PromisedStop {
    fn rule(&self) -> &'static str {
        "an engagement that was answered as durable stays durable until it is released"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Asked(_, Request::Disengage(release)) if release.scope == LimitScope::Global => {
                (self.engaged, self.released) = (false, Some(scene.at))
            }
            Step::Asked(number, Request::Engage(engage)) if engage.scope == LimitScope::Global => {
                self.engaging.insert(*number, scene.at);
            }
            Step::Replied(number, Request::Engage(_), reply) => {
                self.engaged |= self.is_promised(*number, reply, scene.at);
                self.engaging.remove(number);
            }
            _ => {}
        }
        if !self.engaged || !matches!(step, Step::Committed(..) | Step::Started(_) | Step::Replied(..)) {
            return Ok(());
        }
        let kept = scene.ledger.switches().kill.is_some_and(|kill| KillState::is_engaged(&kill));
        if kept { Ok(()) } else { Err("the stored kill switch says that trading may go on".to_owned()) }
    }

    fn rest(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let breaker = scene.ledger.switches().breaker.map(|breaker| breaker.state);
        if breaker == Some(BreakerWord::Tripped) { Err("the breaker is still tripped".to_owned()) } else { Ok(()) }
    }
}
