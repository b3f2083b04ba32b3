//! Whoever cancels an order wants to be rid of it, and of whatever has taken its place or is about to.

use tranche_actors::domain::status::OrderStatus;

use super::{Invariant, Scene};
use crate::requests::Reply;
use crate::tape::Step;

#[derive(Default)]
pub(super) struct ChainCancels;

impl Invariant for ChainCancels {
    fn rule(&self) -> &'static str {
        "the cancel of an order that was replaced, or is to be, is kept by all that is open of its chain"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Replied(_, _, Reply::CanceledOrder(answer)) = step else { return Ok(()) };
        let mut asked = scene.ledger.order(&answer.id).ok_or_else(|| format!("{} is in no book", answer.id))?;
        while let Some(next) = asked.replaced_by.as_ref().filter(|_| asked.status == OrderStatus::Replaced) {
            asked = scene.ledger.order(next).ok_or_else(|| format!("{next} is in no book"))?;
        }
        // One that has ended without a successor takes nothing with it.
        if asked.status.is_terminal() {
            return Ok(());
        }
        let mut open = scene.ledger.chain(asked.chain()).filter(|order| !order.status.is_terminal());
        match open.find(|order| order.cancel_requested_at.is_none()) {
            Some(order) => Err(format!("{} was cancelled, and {} is {}", answer.id, order.id, order.status)),
            None => Ok(()),
        }
    }
}
