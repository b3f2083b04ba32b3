//! What the answer to an operator who stops trading says is complete: after it only what it lists can still come to life.

use std::collections::BTreeSet;

use tranche_actors::domain::ids::is_flatten;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::venue::NewOrder;

use super::{Invariant, Scene};
use crate::requests::{Reply, Request};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Engaged {
    /// The list of the last answer, while its engagement holds.
    listed: Option<BTreeSet<OrderId>>,
    /// Releases that were asked for and not answered: each may be carried out at any time.
    releasing: u32,
}

impl Engaged {
    fn judge(&self, id: &OrderId, what: &str) -> Result<(), String> {
        match &self.listed {
            Some(listed) if !listed.contains(id) => {
                Err(format!("{id} {what} after an engagement that doesn't list it"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Invariant for Engaged {
    fn rule(&self) -> &'static str {
        "after an engage's answer nothing is sent, and nothing comes to life but what the answer lists as unknown, but for what closes positions"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            // What the answer said was not durable is lost with its process.
            Step::Started(_) => {
                self.releasing = 0;
                let kept = scene.ledger.switches().kill.is_some_and(|kill| KillState::is_engaged(&kill));
                self.listed = self.listed.take().filter(|_| kept);
                Ok(())
            }
            Step::Replied(_, _, Reply::Engaged(answer))
                if answer.scope == LimitScope::Global && self.releasing == 0 =>
            {
                self.listed = Some(answer.unknown.iter().cloned().collect());
                Ok(())
            }
            Step::Asked(_, Request::Disengage(release)) if release.scope == LimitScope::Global => {
                (self.listed, self.releasing) = (None, self.releasing + 1);
                Ok(())
            }
            Step::Replied(_, Request::Disengage(release), _) if release.scope == LimitScope::Global => {
                self.releasing = self.releasing.saturating_sub(1);
                Ok(())
            }
            Step::Sent(NewOrder { client_order_id, .. }) if self.listed.is_some() && !is_flatten(client_order_id) => {
                Err(format!("{client_order_id} is sent after an engagement was answered"))
            }
            Step::Taken(order) if is_flatten(&order.client_order_id) => Ok(()),
            Step::Taken(order) => self.judge(&order.client_order_id, "is taken"),
            _ => Ok(()),
        }
    }
}
