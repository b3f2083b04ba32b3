//! What may have arrived is never sent again blind: it has to be absent first.
//!
//! Absent is an id that its claim no longer protects, and that the venue denied twice, far enough apart, after the send.

use std::collections::BTreeMap;
use std::time::Duration;

use tranche_actors::domain::names::OrderId;

use super::{Invariant, Scene, is_certain};
use crate::tape::Step;

/// A send that may have arrived.
struct Doubt {
    sent: Duration,
    /// The first and the last time that the venue denied it since.
    denied: Option<(Duration, Duration)>,
}

#[derive(Default)]
pub(super) struct Resend {
    doubts: BTreeMap<OrderId, Doubt>,
    /// The same as it was before the last send, whose answer may be that it never counted.
    before: BTreeMap<OrderId, Doubt>,
}

impl Invariant for Resend {
    fn rule(&self) -> &'static str {
        "an order that may have arrived is sent again only once the venue denied it twice, its claim being over"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Sent(order) => {
                let id = &order.client_order_id;
                if let Some(doubt) = self.doubts.get(id) {
                    let (settle, claim) = (scene.tuning.unknown_settle, scene.tuning.claim);
                    let absent =
                        doubt.denied.is_some_and(|(first, last)| last >= first + settle && last >= doubt.sent + claim);
                    if !absent {
                        return Err(format!("{id} is sent again, and was sent before at {:?}", doubt.sent));
                    }
                }
                let doubt = Doubt { sent: scene.boot, denied: None };
                if let Some(before) = self.doubts.insert(id.clone(), doubt) {
                    self.before.insert(id.clone(), before);
                }
            }
            // A send before this one may still be in doubt; the ledger's mark says so.
            Step::Answered(id, Err(error)) if is_certain(error) => {
                let is_absent = scene.ledger.order(id).is_some_and(|row| row.absent_at.is_some());
                self.doubts.remove(*id);
                if let Some(before) = self.before.remove(*id).filter(|_| is_absent) {
                    self.doubts.insert((*id).clone(), before);
                }
            }
            Step::LookedUp(id, None) => {
                if let Some(doubt) = self.doubts.get_mut(*id) {
                    let first = doubt.denied.map_or(scene.boot, |(first, _)| first);
                    doubt.denied = Some((first, scene.boot));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
