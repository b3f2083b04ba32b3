//! A chain counts once: what its orders traded at the venue, one after the other, and never more than was asked for.

use rust_decimal::Decimal;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::venue::VenueStatus;

use super::{Invariant, Scene, chains};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct ChainTotals;

impl Invariant for ChainTotals {
    fn rule(&self) -> &'static str {
        "a chain of replacements has filled what its orders traded at the venue, and no more than its quantity"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        for order in saved.orders.iter().filter_map(|(id, _)| scene.ledger.order(id)) {
            if order.is_chained() {
                let (ours, theirs) = (ours(order.chain(), scene), theirs(order.chain(), scene)?);
                if ours > theirs {
                    return Err(format!("{} has filled {ours} by our books, and traded {theirs}", order.chain()));
                }
            }
        }
        Ok(())
    }

    fn rest(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for first in scene.ledger.orders().filter(|order| order.is_chained() && order.replaces.is_none()) {
            let (ours, theirs) = (ours(&first.id, scene), theirs(&first.id, scene)?);
            if ours != theirs {
                return Err(format!("{} has filled {ours} by our books, and traded {theirs}", first.id));
            }
        }
        Ok(())
    }
}

/// What a chain has filled by our books: as much as the furthest of its orders.
fn ours(first: &OrderId, scene: &Scene<'_>) -> Decimal {
    scene.ledger.chain(first).map(|order| order.filled_qty).max().unwrap_or_default()
}

/// What it traded at the venue, where the last of its orders that ever had a place says how much it may be.
fn theirs(first: &OrderId, scene: &Scene<'_>) -> Result<Decimal, String> {
    let book = scene.venue.book();
    let (mut traded, mut asked) = (Decimal::ZERO, None);
    for held in scene.ledger.chain(first).filter_map(|order| book.find(&order.id)) {
        traded += held.order.filled_qty - held.carried_qty;
        if held.order.status != VenueStatus::Rejected && !chains::waits(&held.order, scene) {
            asked = Some(held.order.qty.get());
        }
    }
    match asked {
        Some(asked) if traded > asked => Err(format!("{first} has traded {traded}, and {asked} was asked for")),
        Some(_) | None => Ok(traded),
    }
}
