//! An engagement or a trip that was answered as durable holds until somebody releases it, over every crash.

use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::kill::KillState;

use super::{Invariant, Scene};
use crate::requests::{Reply, Request};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct PromisedStop {
    engaged: bool,
    /// Releases that were asked for and not answered: each may be carried out at any time.
    releasing: u32,
}

impl Invariant for PromisedStop {
    fn rule(&self) -> &'static str {
        "an engagement that was answered as durable stays durable until it is released"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Asked(_, Request::Disengage(_)) => (self.engaged, self.releasing) = (false, self.releasing + 1),
            Step::Replied(_, Request::Disengage(_), _) => self.releasing = self.releasing.saturating_sub(1),
            Step::Replied(_, _, Reply::Engaged(answer)) if self.releasing == 0 => {
                self.engaged |= answer.not_durable.is_empty();
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
