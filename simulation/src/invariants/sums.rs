//! A parent's numbers are those of its slices, each counted once with all that took its place, and add up to what was
//! asked for.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;

use super::{Invariant, Scene};
use crate::tape::Step;

/// Quantities by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    filled: Decimal,
    working: Decimal,
    unknown: Decimal,
    pending: Decimal,
    unexecuted: Decimal,
}

impl Sums {
    /// Of one slice and all that were ever to take its place: the furthest has filled for all of them, and the rest is where
    /// the most alive of them is.
    fn of<'a>(slice: impl Iterator<Item = &'a Order>) -> Self {
        let (mut filled, mut whole, mut place) = (Decimal::ZERO, Decimal::ZERO, Place::Nowhere);
        for order in slice {
            filled = filled.max(order.filled_qty);
            (whole, place) = (order.qty.get(), place.max(Place::of(order)));
        }
        let (left, sums) = ((whole - filled).max(Decimal::ZERO), Self { filled, ..Self::default() });
        match place {
            Place::Nowhere => Self { unexecuted: left, ..sums },
            Place::Waiting => Self { pending: left, ..sums },
            Place::InDoubt => Self { unknown: left, ..sums },
            Place::AtTheVenue => Self { working: left, ..sums },
        }
    }

    fn add(&mut self, other: Self, sign: Decimal) {
        self.filled += sign * other.filled;
        self.working += sign * other.working;
        self.unknown += sign * other.unknown;
        self.pending += sign * other.pending;
        self.unexecuted += sign * other.unexecuted;
    }
}

/// Where an order is, the more alive the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Nowhere,
    Waiting,
    InDoubt,
    AtTheVenue,
}

impl Place {
    const fn of(order: &Order) -> Self {
        match order.status {
            OrderStatus::PendingNew => Self::Waiting,
            OrderStatus::Submitting | OrderStatus::SubmittedUnconfirmed => Self::InDoubt,
            OrderStatus::Submitted
            | OrderStatus::Accepted
            | OrderStatus::PartiallyFilled
            | OrderStatus::PendingCancel
            | OrderStatus::PendingReplace => Self::AtTheVenue,
            OrderStatus::Filled
            | OrderStatus::Canceled
            | OrderStatus::Expired
            | OrderStatus::Rejected
            | OrderStatus::Replaced
            | OrderStatus::Failed
            | OrderStatus::BlockedKillSwitch
            | OrderStatus::BlockedCircuitBreaker
            | OrderStatus::BlockedRisk
            | OrderStatus::DryRun => Self::Nowhere,
        }
    }
}

#[derive(Default)]
pub(super) struct SumsAddUp {
    parents: BTreeMap<OrderId, Sums>,
    /// What each slice adds, by its own id.
    slices: BTreeMap<OrderId, Sums>,
}

impl Invariant for SumsAddUp {
    fn rule(&self) -> &'static str {
        "a parent's numbers are the sums over its slices, and at its end what traded and what didn't is the whole"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        let parent_of = |order: &Order| order.slice.as_ref().map(|slice| slice.parent.clone());
        for (id, _) in &saved.orders {
            let Some(now) = scene.ledger.order(id) else { continue };
            let Some(parent) = parent_of(now) else { continue };
            let sums = self.parents.entry(parent).or_default();
            let adds = Sums::of(scene.ledger.chain(now.chain()));
            if let Some(before) = self.slices.insert(now.chain().clone(), adds) {
                sums.add(before, Decimal::NEGATIVE_ONE);
            }
            sums.add(adds, Decimal::ONE);
        }
        let changed = saved.orders.iter().filter_map(|(id, _)| parent_of(scene.ledger.order(id)?));
        let changed = changed.chain(saved.parents.iter().map(|(id, _)| id.clone()));
        for id in changed.collect::<BTreeSet<_>>() {
            self.judge(&id, scene)?;
        }
        Ok(())
    }
}

impl SumsAddUp {
    fn judge(&self, id: &OrderId, scene: &Scene<'_>) -> Result<(), String> {
        let sums = self.parents.get(id).copied().unwrap_or_default();
        let parent = scene.ledger.parent(id).ok_or_else(|| format!("{id} has slices, and is in no book"))?;
        let told = &parent.progress;
        let theirs = Sums {
            filled: told.filled_qty,
            working: told.working_qty,
            unknown: told.unknown_qty,
            pending: told.pending_qty,
            unexecuted: told.unexecuted_qty,
        };
        if sums != theirs {
            return Err(format!("{id} says {theirs:?}, its slices {sums:?}"));
        }
        let whole = sums.filled + sums.working + sums.unknown + sums.pending + sums.unexecuted;
        if whole != parent.qty.get() {
            return Err(format!("{id} of {} comes to {whole}", parent.qty.get()));
        }
        if parent.status.is_terminal() && sums.filled + sums.unexecuted != whole {
            return Err(format!("{id} is {} while {sums:?}", parent.status));
        }
        Ok(())
    }
}
