//! Parents that are held until somebody resumes them, and orders that may have been sent although the books don't know it.

use serde_json::json;

use super::books::{Books, GATEWAY};
use super::{Applied, Event, EventKind, Outcome, Refusal};
use crate::domain::names::{Caller, OrderId};
use crate::domain::order::SliceOf;
use crate::domain::parent::{ParentStatus, PauseReason};
use crate::domain::status::{OrderEvent, OrderStatus};

impl Books {
    pub(super) fn pause(&mut self, id: &OrderId, reason: PauseReason) -> Result<Applied, Refusal> {
        let parent = self.parents.get_mut(id).ok_or(Refusal::NotFound)?;
        if parent.status.is_terminal() {
            return Err(Refusal::ParentTerminal);
        }
        let mut applied = Applied::unchanged();
        if parent.paused.is_none() && parent.cancel_requested_at.is_none() {
            let old_status = parent.status.as_str();
            parent.paused = Some(reason);
            parent.restate(self.at);
            let new_status = parent.status.as_str();
            self.changes.parents.insert(id.clone());
            self.note(Event {
                order: Some(id.clone()),
                kind: EventKind::Paused,
                old_status: Some(old_status),
                new_status: Some(new_status),
                data: json!({"reason": reason, "detail": reason.explain()}),
                actor: GATEWAY.to_owned(),
            });
            applied = Applied::done();
        }
        match reason {
            PauseReason::LedgerRewound => {
                let of_it = |slice: &SliceOf| slice.parent == *id;
                let slices = self.orders.values().filter(|order| order.slice.as_ref().is_some_and(of_it));
                for slice in slices.map(|order| order.id.clone()).collect::<Vec<_>>() {
                    let doubted = self.doubt(&slice)?;
                    if doubted.outcome == Outcome::Done {
                        applied.outcome = Outcome::Done;
                    }
                    applied.absorb(Ok(doubted));
                }
            }
        }
        applied.parents = self.parents.get(id).cloned().into_iter().collect();
        Ok(applied)
    }

    /// An order that waits, and whose time has passed: it may have been sent, and is looked up at the venue before
    /// anything else becomes of it. The venue's pages are read from when it was due: no sooner can it have left.
    pub(super) fn doubt(&mut self, id: &OrderId) -> Result<Applied, Refusal> {
        let order = self.order(id)?;
        if order.status != OrderStatus::PendingNew || order.scheduled_time > self.at {
            return Ok(Applied::unchanged());
        }
        let reason = PauseReason::LedgerRewound.as_str();
        self.change(id, OrderEvent::Doubted, EventKind::Doubted, |order| {
            order.attempt += 1;
            order.claimed_at = Some(order.scheduled_time);
            order.because(reason, "the ledger may not know that it was sent: it is looked up at the broker");
            json!({"attempt": order.attempt, "reason": reason})
        })
    }

    pub(super) fn resume_parent(&mut self, id: &OrderId, by: &Caller) -> Result<Applied, Refusal> {
        let parent = self.parents.get_mut(id).ok_or(Refusal::NotFound)?;
        if parent.status.is_terminal() {
            return Err(Refusal::ParentTerminal);
        }
        if parent.status != ParentStatus::Paused {
            return Err(Refusal::NotPaused(parent.status));
        }
        let old_status = parent.status.as_str();
        let reason = parent.paused.take();
        parent.restate(self.at);
        let parent = parent.clone();
        self.changes.parents.insert(id.clone());
        self.note(Event {
            order: Some(id.clone()),
            kind: EventKind::Resumed,
            old_status: Some(old_status),
            new_status: Some(parent.status.as_str()),
            data: json!({"was_paused_for": reason}),
            actor: by.to_string(),
        });
        Ok(Applied { outcome: Outcome::Resumed, parents: vec![parent], ..Applied::done() })
    }
}
