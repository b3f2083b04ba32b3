//! Unknown is a state that ends by the venue's word, or by its long silence, and never by our impatience.

use std::collections::BTreeMap;
use std::time::Duration;

use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::Share;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct GivenUp {
    /// The first time that the venue denied an order since it was sent last.
    denied: BTreeMap<OrderId, Duration>,
    /// What the venue itself has refused.
    refused: BTreeMap<OrderId, ()>,
}

impl GivenUp {
    fn judge(&self, before: &Order, now: &Order, scene: &Scene<'_>) -> Result<(), String> {
        let was_unknown = before.status.share() == Share::Unknown;
        if !was_unknown || !now.status.is_terminal() || now.venue_status.is_some() || self.refused.contains_key(&now.id)
        {
            return Ok(());
        }
        let denied = self.denied.get(&now.id).map(|since| scene.boot.saturating_sub(*since));
        if denied.is_some_and(|long| long >= scene.tuning.absent_settle) {
            return Ok(());
        }
        Err(format!("{} ends as {} while it may be live: denied for {denied:?}", now.id, now.status))
    }
}

impl Invariant for GivenUp {
    fn rule(&self) -> &'static str {
        "an order of unknown outcome ends by the venue's word, or once the venue denied it for long enough"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Sent(order) => {
                self.denied.remove(&order.client_order_id);
            }
            Step::LookedUp(id, None) => {
                self.denied.entry((*id).clone()).or_insert(scene.boot);
            }
            Step::Answered(id, Err(error)) => {
                // Refused, or never left: then there is nothing in doubt.
                let certain = match error {
                    tranche_actors::ports::SubmitError::Unknown { .. }
                    | tranche_actors::ports::SubmitError::DuplicateId => false,
                    tranche_actors::ports::SubmitError::NeverLeft { .. }
                    | tranche_actors::ports::SubmitError::NotNow { .. }
                    | tranche_actors::ports::SubmitError::Rejected(_)
                    | tranche_actors::ports::SubmitError::Unauthorised { .. } => true,
                };
                if certain {
                    self.refused.insert((*id).clone(), ());
                }
            }
            Step::Committed(_, saved) => {
                for (id, before) in &saved.orders {
                    if let (Some(before), Some(now)) = (before, scene.ledger.order(id)) {
                        self.judge(before, now, scene)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
