//! Unknown is a state that ends by the venue's word, or by its long silence, and never by our impatience.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::Share;
use tranche_actors::domain::venue::VenueStatus;

use super::{Invariant, Scene, is_certain};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct GivenUp {
    /// The first time that the venue denied an order since it was sent last.
    denied: BTreeMap<OrderId, Duration>,
    /// The same as it was before the last send, whose answer may be that it never counted.
    before: BTreeMap<OrderId, Duration>,
    /// What was sent, and may be live.
    sent: BTreeSet<OrderId>,
}

impl GivenUp {
    fn judge(&self, before: &Order, now: &Order, scene: &Scene<'_>) -> Result<(), String> {
        let was_unknown = before.status.share() == Share::Unknown;
        if !was_unknown || !now.status.is_terminal() || now.venue_status.is_some() || !self.sent.contains(&now.id) {
            return Ok(());
        }
        let denied = self.denied.get(&now.id).map(|since| scene.boot.saturating_sub(*since));
        if denied.is_some_and(|long| long >= scene.tuning.absent_settle) {
            return Ok(());
        }
        if too_late(now, scene) {
            return Ok(());
        }
        Err(format!("{} ends as {} while it may be live: denied for {denied:?}", now.id, now.status))
    }
}

/// Whether its place was gone before it came: the venue said how the order ended that it was to replace.
fn too_late(order: &Order, scene: &Scene<'_>) -> bool {
    let replaced = order.replaces.as_ref().and_then(|replaces| scene.ledger.order(&replaces.order));
    let word = replaced.and_then(|replaced| replaced.venue_status);
    word.is_some_and(|word| word.is_terminal() && word != VenueStatus::Replaced)
}

impl Invariant for GivenUp {
    fn rule(&self) -> &'static str {
        "an order of unknown outcome ends by the venue's word, or once the venue denied it for long enough"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Sent(order) => {
                if let Some(since) = self.denied.remove(&order.client_order_id) {
                    self.before.insert(order.client_order_id.clone(), since);
                }
                self.sent.insert(order.client_order_id.clone());
            }
            Step::LookedUp(id, None) => {
                self.denied.entry((*id).clone()).or_insert(scene.boot);
            }
            // A send before this one may still be in doubt: then the order is absent, and stays so.
            Step::Answered(id, Err(error)) if is_certain(error) => {
                if let Some(since) = self.before.remove(*id) {
                    self.denied.insert((*id).clone(), since);
                }
                if scene.ledger.order(id).is_none_or(|row| row.absent_at.is_none()) {
                    self.sent.remove(*id);
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
