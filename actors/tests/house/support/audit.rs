//! What must be true of store and venue at any moment, whatever went wrong.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::parent::Progress;
use tranche_actors::domain::status::{OrderStatus, Share};
use tranche_actors::domain::venue::VenueStatus;

use super::orders::{account, symbol};
use super::rig::Rig;

impl Rig {
    /// The books add up, and no id was sent again while it could be at the venue.
    pub(crate) fn audit(&self) {
        self.store.look(|ledger| {
            for parent in ledger.parents() {
                let sum = Progress::of_all(&ledger.slices(&parent.id));
                assert_eq!(sum, parent.progress, "the sums of {}", parent.id);
                assert!(parent.adds_up(), "{parent:?}");
                if parent.status.is_terminal() {
                    let done = parent.progress.filled_qty + parent.progress.unexecuted_qty;
                    assert_eq!(done, parent.qty.get(), "{} at its end", parent.id);
                }
            }
            for (place, event) in ledger.events().iter().enumerate() {
                assert_eq!(event.number, u64::try_from(place).unwrap() + 1, "events without gaps");
            }
            let mut traded: BTreeMap<&OrderId, Decimal> = BTreeMap::new();
            for (order, execution) in ledger.executions() {
                *traded.entry(order).or_default() += execution.qty.get();
            }
            for (order, qty) in traded {
                assert!(qty <= ledger.order(order).unwrap().filled_qty, "{order} traded more than it filled");
            }
        });
        for submission in self.venue.submissions() {
            assert!(!submission.duplicate, "{} was sent twice", submission.id);
        }
    }

    /// Besides, everything has come to rest: our books say of each order what the venue says.
    pub(crate) fn audit_at_rest(&self) {
        self.audit();
        let book = self.venue.book();
        self.store.look(|ledger| {
            for theirs in &book {
                let ours = ledger.order(&theirs.client_order_id).unwrap();
                if theirs.status == VenueStatus::Rejected && theirs.replaces.is_some() {
                    // It never came to be, and what it shows as filled is the other one's.
                    assert!(ours.status.is_terminal(), "{}: {ours:?}", ours.id);
                    continue;
                }
                assert_eq!(ours.filled_qty, theirs.filled_qty, "{}: {ours:?} {theirs:?}", ours.id);
                assert_eq!(ours.status.is_terminal(), theirs.status.is_terminal(), "{}: {ours:?}", ours.id);
                assert_eq!(ours.filled_avg_price(), theirs.filled_avg_price, "{}", ours.id);
            }
            let is_sent = |order: &OrderId| book.iter().any(|theirs| theirs.client_order_id == *order);
            for ours in ledger.orders() {
                assert_ne!(ours.status.share(), Share::Unknown, "{}", ours.id);
                let certainly_sent = ours.status == OrderStatus::Filled || ours.status.share() == Share::Working;
                assert!(!certainly_sent || is_sent(&ours.id), "{} is not at the venue", ours.id);
            }
            let held = ledger.positions(&account()).iter().map(|held| held.position.qty).sum::<Decimal>();
            assert_eq!(held, self.venue.holds(&symbol()), "positions");
        });
    }
}
