//! The mark of a cancel stays until its order has ended, and its order ends; so does one that comes back from the dead.

use tranche_actors::domain::order::Order;

use super::{Invariant, Scene};
use crate::requests::Reply;
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Cancels;

impl Invariant for Cancels {
    fn rule(&self) -> &'static str {
        "a cancel that was promised is never forgotten, and its order ends at the venue"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Committed(_, saved) => {
                for (id, before) in &saved.orders {
                    let marked = before.as_ref().is_some_and(|order| order.cancel_requested_at.is_some());
                    let forgotten = scene.ledger.order(id).is_some_and(|now| now.cancel_requested_at.is_none());
                    if marked && forgotten {
                        return Err(format!("the mark of a cancel is gone from {id}"));
                    }
                    let given_up = |order: &Order| order.status.is_terminal() && order.venue_status.is_none();
                    let unmarked = |now: &Order| !now.status.is_terminal() && now.cancel_requested_at.is_none();
                    if before.as_ref().is_some_and(given_up) && scene.ledger.order(id).is_some_and(unmarked) {
                        return Err(format!("{id} was given up, has turned up, and nobody cancels it"));
                    }
                }
                Ok(())
            }
            Step::Replied(_, _, Reply::CanceledParent(answer)) => {
                let kept = scene.ledger.parent(&answer.parent.id);
                let kept = kept.is_some_and(|parent| parent.cancel_requested_at.is_some());
                let open = scene.ledger.slices(&answer.parent.id).into_iter();
                let unmarked = open.filter(|slice| !slice.status.is_terminal() && slice.cancel_requested_at.is_none());
                match (kept, unmarked.count()) {
                    (true, 0) => Ok(()),
                    (true, n) => Err(format!("{} is cancelled, and {n} open slices have no mark", answer.parent.id)),
                    (false, _) => Err(format!("the cancel of {} was promised, and is not kept", answer.parent.id)),
                }
            }
            _ => Ok(()),
        }
    }

    fn rest(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for order in scene.ledger.orders().filter(|order| order.cancel_requested_at.is_some()) {
            let live = scene.venue.book().find(&order.id).is_some_and(|held| !held.order.status.is_terminal());
            if live {
                return Err(format!("{} was cancelled, and still lives at the venue", order.id));
            }
        }
        Ok(())
    }
}
