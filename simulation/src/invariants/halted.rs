//! A venue that refuses our key gets no order, until it has answered to our key again.

use std::time::Duration;

use tranche_actors::ports::SubmitError;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Halted {
    /// Since when our key is refused; what leaves at that very instant had passed the gate.
    since: Option<Duration>,
}

impl Invariant for Halted {
    fn rule(&self) -> &'static str {
        "once the venue refuses our key nothing is sent until it has answered to it"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Started(_) | Step::Listed => self.since = None,
            Step::Answered(_, Err(SubmitError::Unauthorised { .. })) => {
                self.since.get_or_insert(scene.boot);
            }
            Step::Sent(order) if self.since.is_some_and(|since| scene.boot > since) => {
                return Err(format!("{} is sent under a key that is refused", order.client_order_id));
            }
            _ => {}
        }
        Ok(())
    }
}
