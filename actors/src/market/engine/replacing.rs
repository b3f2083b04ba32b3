//! Replacement: a new order takes the place of one that is live, at once or after a while in which a trade may come first.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::{Accepted, Engine, rejected, words};
use crate::domain::names::BrokerOrderId;
use crate::domain::terms::TimeInForce;
use crate::domain::venue::{NewOrder, VenueStatus, VenueWords};
use crate::market::book::{Book, BookOrder, Change, Replacement};
use crate::ports::SubmitError;

impl Engine {
    /// Puts a new order in the place of a live one, at `takes_at`: at once if that is not ahead of `now`. Until then the old
    /// one is `pending_replace` and the new one waits; if the old one trades or ends meanwhile, the new one ends `rejected`.
    ///
    /// The new order's quantity is the whole: what the old one has filled counts for it, from its first appearance on. The
    /// rest follows [`Engine::submit`].
    ///
    /// # Errors
    /// As of [`Engine::submit`]; [`SubmitError::Rejected`] also where the old order can't be replaced, or has traded as much
    /// as is asked for.
    pub fn replace(
        &mut self,
        id: &BrokerOrderId,
        new: &NewOrder,
        now: DateTime<Utc>,
        session_end: DateTime<Utc>,
        takes_at: DateTime<Utc>,
    ) -> Result<Accepted, SubmitError> {
        let old = self.book.get(id).ok_or_else(|| rejected("40410000", &format!("order not found for {id}")))?;
        self.replaceable(old, new)?;
        let freed = old.remaining() * old.reserve_price;
        let open_qty = new.qty.get() - old.order.filled_qty;
        let seq = old.seq;
        let reserve_price = self.admissible(new, open_qty, freed, now)?;
        let mut changes = Vec::new();
        self.catch_up(&new.instruction.symbol, now, &mut changes);
        let mut held = self.drawn_up(new, reserve_price, now, session_end)?;
        held.order.replaces = Some(id.clone());
        // What has just passed in the market may have come first. Nobody can tell the caller any more but the events.
        let old = self.book.by_seq(seq).filter(|old| self.replaceable(old, new).is_ok());
        if let Some(old) = old {
            inherit(&mut held, old);
        }
        let still = old.is_some();
        let (by, order, new_seq) = (held.order.broker_order_id.clone(), held.order.clone(), held.seq);
        if still && takes_at > now {
            changes.extend(self.book.pend_replace(seq, Replacement { by, at: takes_at }, now));
            changes.push(self.book.admit(held));
        } else if still {
            changes.extend(self.book.give_way(seq, by, now));
            changes.push(self.book.admit(held));
            self.begin(new_seq, now, &mut changes);
        } else {
            changes.push(self.book.admit(held));
            changes.extend(self.book.end(new_seq, VenueStatus::Rejected, Some(too_late()), now));
        }
        Ok(Accepted { order, changes })
    }

    fn replaceable(&self, old: &BookOrder, new: &NewOrder) -> Result<(), SubmitError> {
        let refused = |message: &str| Err(rejected("42210000", message));
        match old.order.status {
            VenueStatus::Accepted | VenueStatus::PartiallyFilled if !self.book.waits_for_its_place(old) => {}
            VenueStatus::Accepted | VenueStatus::PartiallyFilled => {
                return refused("unable to replace order, order isn't sent to exchange yet");
            }
            status @ (VenueStatus::PendingCancel | VenueStatus::PendingReplace | VenueStatus::Other) => {
                return refused(&format!("cannot replace order in {status} status"));
            }
            status @ (VenueStatus::Filled
            | VenueStatus::Canceled
            | VenueStatus::Expired
            | VenueStatus::Rejected
            | VenueStatus::Replaced) => return refused(&format!("order is not open: it is already {status}")),
        }
        let (before, after) = (&old.order.instruction, &new.instruction);
        if before.symbol != after.symbol || before.side != after.side {
            return refused("symbol and side cannot be replaced");
        }
        if before.terms.order_type() != after.terms.order_type() {
            return refused("order type cannot be replaced");
        }
        if matches!(after.time_in_force, TimeInForce::Ioc | TimeInForce::Fok) {
            return refused("time_in_force cannot be replaced by ioc or fok");
        }
        if new.qty.get() <= old.order.filled_qty {
            return refused("qty must be greater than the filled quantity");
        }
        Ok(())
    }

    /// Does what trades or ends an order. A replacement of it that is on its way has then come too late.
    pub(super) fn overtake(
        &mut self,
        seq: u64,
        now: DateTime<Utc>,
        changes: &mut Vec<Change>,
        happens: impl FnOnce(&mut Book) -> Option<Change>,
    ) {
        let coming = self.book.by_seq(seq).and_then(|held| held.replacement.clone());
        let Some(change) = happens(&mut self.book) else { return };
        changes.push(change);
        if let Some(late) = coming.and_then(|coming| self.book.get(&coming.by)).map(|held| held.seq) {
            changes.extend(self.book.end(late, VenueStatus::Rejected, Some(too_late()), now));
        }
    }
}

/// Gives an order what the one before it has done so far, and how far its stop had come where that is the same.
fn inherit(held: &mut BookOrder, old: &BookOrder) {
    held.order.filled_qty = old.order.filled_qty;
    held.order.filled_avg_price = old.order.filled_avg_price;
    held.carried_qty = old.order.filled_qty;
    held.cost = old.cost;
    let prices = |held: &BookOrder| held.order.instruction.terms.prices();
    let (before, after) = (prices(old), prices(held));
    held.trail_mark = old.trail_mark.filter(|_| held.order.instruction.terms.trail().is_some());
    held.triggered = old.triggered
        && (before.stop, before.trail_price, before.trail_percent)
            == (after.stop, after.trail_price, after.trail_percent);
    debug_assert!(held.order.filled_qty < held.order.qty.get() && held.order.filled_qty >= Decimal::ZERO);
}

fn too_late() -> VenueWords {
    words("42210000", "replace rejected: the order has traded or ended meanwhile")
}
