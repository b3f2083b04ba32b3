//! What leaves has been claimed, durably, by whoever holds the plan; one send for each claim.

use std::collections::BTreeMap;

use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;

use super::{Invariant, Scene};
use crate::store::Saved;
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Claims {
    /// The attempt under which each order was sent last.
    sent: BTreeMap<OrderId, u32>,
}

impl Invariant for Claims {
    fn rule(&self) -> &'static str {
        "no order leaves but under a durable claim of its own, made under the plan in force"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Committed(batch, saved) => {
                let claimed = |id: &OrderId| scene.ledger.order(id).filter(|now| now.status == OrderStatus::Submitting);
                for (id, before) in &saved.orders {
                    if let (Some(before), Some(now)) = (before, claimed(id))
                        && now.attempt > before.attempt
                    {
                        was_claimable(before, now)?;
                        let versions = batch.writes.iter().filter_map(|write| match write {
                            Write::Claim { id: of, plan_version, .. } if of == id => Some(*plan_version),
                            _ => None,
                        });
                        under_the_plan(now, &versions.collect::<Vec<_>>(), saved, scene)?;
                    }
                }
                Ok(())
            }
            Step::Sent(order) => {
                let id = &order.client_order_id;
                let row = scene.ledger.order(id).ok_or_else(|| format!("{id} is sent, and in no book"))?;
                if row.status != OrderStatus::Submitting || row.to_send() != **order {
                    return Err(format!("{id} is sent while the books say {}", row.status));
                }
                match self.sent.insert(id.clone(), row.attempt) {
                    Some(last) if last >= row.attempt => Err(format!("{id} is sent twice under claim {last}")),
                    Some(_) | None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// A claim takes what was never sent, or what is absent; and never what somebody wants to end.
fn was_claimable(before: &Order, now: &Order) -> Result<(), String> {
    let absent = before.status == OrderStatus::SubmittedUnconfirmed && before.absent_at.is_some();
    if before.status != OrderStatus::PendingNew && !absent {
        return Err(format!("{} was claimed out of {}", now.id, before.status));
    }
    if before.cancel_requested_at.is_some() {
        return Err(format!("{} was claimed though its cancel was asked for", now.id));
    }
    if now.attempt != before.attempt + 1 {
        return Err(format!("{} was claimed, and its attempt is {}", now.id, now.attempt));
    }
    Ok(())
}

/// The parent counts as it was before the batch: what was cancelled in it before the claim could not be claimed.
fn under_the_plan(now: &Order, versions: &[Option<u32>], saved: &Saved, scene: &Scene<'_>) -> Result<(), String> {
    let Some(slice) = &now.slice else { return Ok(()) };
    let before = saved.parents.iter().find(|(id, _)| *id == slice.parent).and_then(|(_, before)| before.as_ref());
    let parent = before.or_else(|| scene.ledger.parent(&slice.parent));
    let parent = parent.ok_or_else(|| format!("{} has no parent", now.id))?;
    if !versions.contains(&Some(parent.plan_version)) {
        return Err(format!("{} was claimed under {versions:?}, the plan is {}", now.id, parent.plan_version));
    }
    if parent.cancel_requested_at.is_some() {
        return Err(format!("{} was claimed though its parent is cancelled", now.id));
    }
    Ok(())
}
