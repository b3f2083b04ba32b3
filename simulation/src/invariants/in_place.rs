//! An order is not kept waiting for a successor that won't come, nor left open beside one that has come.

use std::time::Duration;

use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::gate::Verdict;

use super::{Invariant, Scene, chains};
use crate::tape::Step;

/// How much longer than the time between two comparisons of the books an order may stand beside its successor.
const MARGIN: Duration = Duration::from_secs(60);
/// How often the books are looked through.
const PERIOD: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct InPlace {
    well_since: Option<Duration>,
    looked: Duration,
}

impl Invariant for InPlace {
    fn rule(&self) -> &'static str {
        "no order waits for a successor that has ended, and none stays open for long beside one that took its place"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Step::Committed(_, saved) = step {
            for order in saved.orders.iter().filter_map(|(id, _)| scene.ledger.order(id)) {
                let replaced = order.replaces.as_ref().and_then(|replaces| scene.ledger.order(&replaces.order));
                [Some(order), replaced].into_iter().flatten().try_for_each(|order| not_in_vain(order, scene))?;
            }
        }
        let is_open = scene.house.is_some_and(|house| house.accounts.first().gate.verdict(scene.boot) == Verdict::Open);
        let is_news = matches!(step, Step::Fault(_) | Step::Struck(_) | Step::Started(_) | Step::Crashed);
        if !is_open || !scene.well || is_news {
            self.well_since = None;
            return Ok(());
        }
        let since = *self.well_since.get_or_insert(scene.boot);
        if scene.boot < since + scene.tuning.reconcile + MARGIN || scene.boot < self.looked + PERIOD {
            return Ok(());
        }
        self.looked = scene.boot;
        scene.ledger.orders().try_for_each(|order| not_beside(order, scene))
    }
}

/// A successor that has ended leaves the order as it was; where it traded or was replaced itself, it had come.
fn not_in_vain(order: &Order, scene: &Scene<'_>) -> Result<(), String> {
    let Some(next) = order.replaced_by.as_ref().filter(|_| order.status == OrderStatus::PendingReplace) else {
        return Ok(());
    };
    let next = scene.ledger.order(next).ok_or_else(|| format!("{} waits for {next}, which is in no book", order.id))?;
    if next.status.is_terminal() && !matches!(next.status, OrderStatus::Filled | OrderStatus::Replaced) {
        return Err(format!("{} waits for {}, which is {}", order.id, next.id, next.status));
    }
    Ok(())
}

fn not_beside(order: &Order, scene: &Scene<'_>) -> Result<(), String> {
    let Some(next) = order.replaced_by.as_ref().filter(|_| !order.status.is_terminal()) else { return Ok(()) };
    let Some(held) = scene.venue.book().find(next).map(|held| &held.order) else { return Ok(()) };
    let age = scene.wall - held.submitted_at;
    let is_old = age.to_std().is_ok_and(|age| age > scene.tuning.reconcile + MARGIN);
    if is_old && held.status != VenueStatus::Rejected && !chains::waits(held, scene) {
        return Err(format!("{} is {} beside {next}, which took its place", order.id, order.status));
    }
    Ok(())
}
