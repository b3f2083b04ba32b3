//! Whoever stops trading is told of every order that may be live: what was sent and has no durable answer is in the
//! in-flight set or among the doubtful, at every moment in which trading goes on.

use std::collections::BTreeSet;

use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::status::Share;
use tranche_actors::gate::Verdict;

use super::{Invariant, Scene, is_certain};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Doubt {
    /// Sent by this process or one before, without a certain answer.
    open: BTreeSet<OrderId>,
}

impl Invariant for Doubt {
    fn rule(&self) -> &'static str {
        "what was sent and may be live without an answer is known to whoever stops trading"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Sent(order) => {
                self.open.insert(order.client_order_id.clone());
            }
            Step::Answered(id, Ok(_)) => {
                self.open.remove(*id);
            }
            Step::Answered(id, Err(error)) if is_certain(error) => {
                self.open.remove(*id);
            }
            Step::Committed(_, saved) => {
                for (id, _) in &saved.orders {
                    let unknown = scene.ledger.order(id).is_some_and(|now| now.status.share() == Share::Unknown);
                    if !unknown {
                        self.open.remove(id);
                    }
                }
            }
            _ => {}
        }
        let Some(house) = scene.house else { return Ok(()) };
        if self.open.is_empty() || house.accounts.first().gate.verdict(scene.boot) != Verdict::Open {
            return Ok(());
        }
        let doubtful = house.accounts.first().doubtful.ids();
        match self.open.iter().find(|id| !house.accounts.first().in_flight.contains(id) && !doubtful.contains(id)) {
            Some(id) => Err(format!("{id} may be live, and is in neither set")),
            None => Ok(()),
        }
    }
}
