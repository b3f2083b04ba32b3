//! A fill counts once, whatever brings it, how often and in which order.

use rust_decimal::Decimal;
use tranche_actors::domain::venue::VenueStatus;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Fills;

impl Invariant for Fills {
    fn rule(&self) -> &'static str {
        "our books never say that more has traded than the venue's, nor ever less than before"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        for (id, before) in &saved.orders {
            let Some(now) = scene.ledger.order(id) else { continue };
            let before = before.as_ref().map(|order| order.filled_qty).unwrap_or_default();
            if now.filled_qty < before {
                return Err(format!("{id} had traded {before}, and now {}", now.filled_qty));
            }
            let truth = scene.venue.book().find(id).map(|held| held.order.filled_qty).unwrap_or_default();
            if now.filled_qty > truth {
                return Err(format!("{id} has traded {} by our books, and {truth} at the venue", now.filled_qty));
            }
        }
        Ok(())
    }

    fn rest(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for held in scene.venue.book().orders_after(0) {
            let theirs = &held.order;
            let id = &theirs.client_order_id;
            let ours = scene.ledger.order(id).ok_or_else(|| format!("{id} is at the venue, and in no book"))?;
            if theirs.status == VenueStatus::Rejected && theirs.replaces.is_some() {
                // It never came to be, and what it shows is what the other one had traded.
                continue;
            }
            if ours.filled_qty != theirs.filled_qty {
                return Err(format!(
                    "{id} has traded {} by our books, and {} at the venue",
                    ours.filled_qty, theirs.filled_qty
                ));
            }
            // A stretch whose trades were never told is known by the venue's average, which is rounded.
            if (ours.filled_cost - held.cost).abs() > Decimal::new(1, 2) {
                return Err(format!("{id} cost {} by our books, and {} at the venue", ours.filled_cost, held.cost));
            }
        }
        Ok(())
    }
}
