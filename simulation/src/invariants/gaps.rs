//! Where the venue says that events may be missing the books are compared at once, and not only when it is time for it.

use std::time::Duration;

use tranche_actors::domain::venue::VenueEvent;
use tranche_actors::gate::Verdict;

use super::{Invariant, Scene};
use crate::tape::Step;

/// How long that may take while nothing is wrong: a question from before may still wait for its answer.
const LONGEST: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(super) struct Gaps {
    /// When the venue said so, and nobody has asked for its orders since.
    since: Option<Duration>,
}

impl Invariant for Gaps {
    fn rule(&self) -> &'static str {
        "once the venue says that events may be missing, the books are compared soon"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let is_open = scene.house.is_some_and(|house| house.accounts.first().gate.verdict(scene.boot) == Verdict::Open);
        match step {
            Step::Event(VenueEvent::Gap) if is_open => self.since = Some(scene.boot),
            Step::Listed | Step::Started(_) => self.since = None,
            _ => {}
        }
        // A recovery compares the books too, and what is wrong with store or venue holds up either.
        if !is_open || !scene.well {
            self.since = None;
        }
        match self.since {
            Some(since) if scene.boot > since + LONGEST => {
                Err(format!("events may be missing since {:?} ago", scene.boot.saturating_sub(since)))
            }
            Some(_) | None => Ok(()),
        }
    }
}
