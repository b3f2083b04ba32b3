//! A venue that names the time for which it wants to be left in peace is left in peace.

use std::time::Duration;

use tranche_actors::ports::SubmitError;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Patience {
    /// Until when this process was asked to wait. The next one can't know, and begins with an empty budget instead.
    until: Duration,
}

impl Invariant for Patience {
    fn rule(&self) -> &'static str {
        "no order is sent within the time for which the venue asked for patience"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Started(_) => self.until = Duration::ZERO,
            Step::Answered(_, Err(SubmitError::NotNow { retry_after: Some(wait) })) => {
                self.until = self.until.max(scene.boot + *wait);
            }
            Step::Sent(order) if scene.boot < self.until => {
                let early = self.until - scene.boot;
                return Err(format!(
                    "{} is sent {early:?} before the venue wants to hear of us",
                    order.client_order_id
                ));
            }
            _ => {}
        }
        Ok(())
    }
}
