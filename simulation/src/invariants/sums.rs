//! A parent's numbers are those of its slices, and add up to what was asked for.

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
    fn add(&mut self, order: &Order, sign: Decimal) {
        let left = sign * (order.qty.get() - order.filled_qty).max(Decimal::ZERO);
        self.filled += sign * order.filled_qty;
        match order.status {
            OrderStatus::PendingNew => self.pending += left,
            OrderStatus::Submitting | OrderStatus::SubmittedUnconfirmed => self.unknown += left,
            OrderStatus::Submitted
            | OrderStatus::Accepted
            | OrderStatus::PartiallyFilled
            | OrderStatus::PendingCancel
            | OrderStatus::PendingReplace => self.working += left,
            OrderStatus::Filled
            | OrderStatus::Canceled
            | OrderStatus::Expired
            | OrderStatus::Rejected
            | OrderStatus::Replaced
            | OrderStatus::Failed
            | OrderStatus::BlockedKillSwitch
            | OrderStatus::BlockedCircuitBreaker
            | OrderStatus::BlockedRisk
            | OrderStatus::DryRun => self.unexecuted += left,
        }
    }
}

#[derive(Default)]
pub(super) struct SumsAddUp {
    parents: BTreeMap<OrderId, Sums>,
}

impl Invariant for SumsAddUp {
    fn rule(&self) -> &'static str {
        "a parent's numbers are the sums over its slices, and at its end what traded and what didn't is the whole"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        let parent_of = |order: &Order| order.slice.as_ref().map(|slice| slice.parent.clone());
        for (id, before) in &saved.orders {
            let Some(now) = scene.ledger.order(id) else { continue };
            let Some(parent) = parent_of(now) else { continue };
            let sums = self.parents.entry(parent).or_default();
            if let Some(before) = before {
                sums.add(before, Decimal::NEGATIVE_ONE);
            }
            sums.add(now, Decimal::ONE);
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
