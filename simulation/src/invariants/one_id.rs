//! One id for a quantity: the venue never has more of a parent than was asked for, and nothing that is not ours.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tranche_actors::domain::names::OrderId;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct OneId {
    /// What the venue took for each parent; an id counts once, for ever.
    taken: BTreeMap<OrderId, Decimal>,
    /// What it took for each slice and all that were to take its place.
    slices: BTreeMap<OrderId, Decimal>,
}

impl Invariant for OneId {
    fn rule(&self) -> &'static str {
        "the venue has one id for a quantity, and never more of a parent than was asked for"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Taken(order) = step else { return Ok(()) };
        let id = &order.client_order_id;
        let row = scene.ledger.order(id).ok_or_else(|| format!("the venue takes {id}, which is in no book"))?;
        if order.qty != row.qty {
            return Err(format!("the venue takes {} with {id}, which is {}", order.qty.get(), row.qty.get()));
        }
        let Some(slice) = &row.slice else { return Ok(()) };
        let parent = scene.ledger.parent(&slice.parent).ok_or_else(|| format!("{id} has no parent"))?;
        let taken = self.taken.entry(parent.id.clone()).or_default();
        let before = self.slices.insert(row.chain().clone(), order.qty.get()).unwrap_or_default();
        *taken += order.qty.get() - before;
        if *taken > parent.qty.get() {
            return Err(format!("with {id} the venue has {taken} of {}, which is {}", parent.id, parent.qty.get()));
        }
        Ok(())
    }
}
