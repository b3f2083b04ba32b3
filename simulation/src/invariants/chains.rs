//! A replacement takes a place, it never stands beside it: what trades of a chain at the venue is one order.

use tranche_actors::domain::venue::VenueOrder;
use tranche_actors::market::book::BookOrder;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Chains;

impl Invariant for Chains {
    fn rule(&self) -> &'static str {
        "the venue takes a replacement as such, and of a chain one order at most can trade there"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Taken(taken) = step else { return Ok(()) };
        let id = &taken.client_order_id;
        let row = scene.ledger.order(id).ok_or_else(|| format!("the venue takes {id}, which is in no book"))?;
        let asked = row.replaces.as_ref().map(|replaces| &replaces.broker_order_id);
        if asked != taken.replaces.as_ref() {
            return Err(format!("{id} is to replace {asked:?}, and at the venue replaces {:?}", taken.replaces));
        }
        let chain = scene.ledger.chain(row.chain()).filter_map(|order| scene.venue.book().find(&order.id));
        let live = chain.filter(|held| trades(held, scene)).map(name).collect::<Vec<_>>();
        if live.len() > 1 { Err(format!("{live:?} can all trade")) } else { Ok(()) }
    }
}

/// Whether it can trade: it has not ended, nor does it wait for the place of another one.
fn trades(held: &BookOrder, scene: &Scene<'_>) -> bool {
    !held.order.status.is_terminal() && !waits(&held.order, scene)
}

/// Whether an order at the venue has yet to take its place.
pub(super) fn waits(order: &VenueOrder, scene: &Scene<'_>) -> bool {
    let replaced = order.replaces.as_ref().and_then(|id| scene.venue.book().get(id));
    let coming = replaced.and_then(|replaced| replaced.replacement.as_ref());
    coming.is_some_and(|coming| coming.by == order.broker_order_id)
}

fn name(held: &BookOrder) -> &str {
    held.order.client_order_id.as_str()
}
