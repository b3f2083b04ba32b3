//! A child's way to the venue: claimed, gone back, unknown, absent, ended.

use serde_json::json;

use super::books::{Books, GATEWAY};
use super::{Applied, Event, EventKind, Refusal, Resolution};
use crate::domain::fills::Filled;
use crate::domain::ids::is_flatten;
use crate::domain::names::{Caller, OrderId};
use crate::domain::order::Order;
use crate::domain::status::{OperatorEnd, OrderEvent, OrderStatus, OwnEnd};
use crate::domain::venue::VenueWords;

impl Books {
    /// The claim: what keeps a slice from being sent twice, or after somebody stopped it. In a quarantined symbol it ends
    /// the order instead, unless that reduces the position.
    pub(super) fn claim(
        &mut self,
        id: &OrderId,
        plan_version: Option<u32>,
        (reduces, limits): (bool, u64),
    ) -> Result<Applied, Refusal> {
        let order = self.order(id)?;
        if !order.is_claimable() {
            return Err(Refusal::GuardLost("it is not waiting to be sent"));
        }
        if is_flatten(id) {
            return Err(Refusal::GuardLost("the kill switch alone sends it"));
        }
        if let Some(slice) = &order.slice {
            let parent = self.parents.get(&slice.parent).ok_or(Refusal::NotFound)?;
            if !parent.status.may_claim() || parent.cancel_requested_at.is_some() {
                return Err(Refusal::GuardLost("its parent is not working"));
            }
            if plan_version != Some(parent.plan_version) || slice.plan_version != parent.plan_version {
                return Err(Refusal::GuardLost("the plan has changed"));
            }
        }
        if let Some(why) = self.out_of_place(order) {
            if order.status != OrderStatus::PendingNew {
                return Err(Refusal::GuardLost(why));
            }
            return self.end(id, OwnEnd::Canceled, "replaced_order_ended", why);
        }
        if self.is_quarantined(&order.instruction.symbol) && order.status == OrderStatus::PendingNew && !reduces {
            return self.end(
                id,
                OwnEnd::BlockedRisk,
                "symbol_quarantined",
                "an operator has to look at the symbol first",
            );
        }
        if limits != self.limits {
            return Err(Refusal::LimitsMoved);
        }
        let at = self.at;
        self.change(id, OrderEvent::Claim, EventKind::Claimed, |order| {
            order.attempt += 1;
            order.claimed_at = Some(at);
            order.reduces = reduces;
            order.reason_code = None;
            order.error_message = None;
            json!({"attempt": order.attempt, "reduces": reduces})
        })
    }

    pub(super) fn never_left(
        &mut self,
        id: &OrderId,
        attempt: u32,
        reason: &str,
        detail: &str,
        tries: Option<u32>,
    ) -> Result<Applied, Refusal> {
        let was_absent = may_have_come_before(self.sent(id, attempt)?);
        let mut applied = self.change(id, OrderEvent::NeverLeft { was_absent }, EventKind::NeverLeft, |order| {
            order.tries += u32::from(tries.is_some());
            order.because(reason, detail);
            json!({"attempt": attempt, "reason": reason, "detail": detail, "tries": order.tries})
        })?;
        let order = self.order(id)?;
        // What it was to replace may have ended meanwhile, and it with that.
        let end = if was_absent || order.status.is_terminal() {
            None
        } else if order.cancel_requested_at.is_some() {
            Some((OwnEnd::Canceled, "cancel_requested"))
        } else if tries.is_some_and(|most| order.tries >= most) {
            Some((OwnEnd::Failed, "out_of_tries"))
        } else {
            None
        };
        if let Some((end, reason)) = end {
            applied = self.end(id, end, reason, detail)?;
        }
        Ok(applied)
    }

    pub(super) fn outcome_unknown(
        &mut self,
        id: &OrderId,
        attempt: u32,
        detail: &str,
        at_venue: bool,
    ) -> Result<Applied, Refusal> {
        self.sent(id, attempt)?;
        let reason = if at_venue { "duplicate_client_order_id" } else { "outcome_unknown" };
        self.change(id, OrderEvent::OutcomeUnknown, EventKind::OutcomeUnknown, |order| {
            order.absent_at = None;
            order.at_venue |= at_venue;
            order.because(reason, detail);
            json!({"attempt": attempt, "detail": detail, "at_venue": at_venue})
        })
    }

    /// The venue's refusal ends an order. It is the answer to this send alone: where an earlier one may still arrive, the
    /// order stays unconfirmed, is not sent again, and ends once it is given up.
    pub(super) fn refused(&mut self, id: &OrderId, attempt: u32, words: &VenueWords) -> Result<Applied, Refusal> {
        let sent = self.sent(id, attempt)?;
        let (was_absent, came_before) = (sent.absent_at.is_some(), may_have_come_before(sent));
        let event = if came_before { OrderEvent::NeverLeft { was_absent: true } } else { OrderEvent::Refused };
        let at = self.at;
        self.change(id, event, EventKind::Refused, |order| {
            if was_absent {
                order.cancel_requested_at = order.cancel_requested_at.or(Some(at));
            }
            order.because(&words.code, &words.message);
            json!({"attempt": attempt, "code": words.code, "message": words.message})
        })
    }

    pub(super) fn absent(&mut self, id: &OrderId, attempt: u32) -> Result<Applied, Refusal> {
        let order = self.order(id)?;
        if order.status != OrderStatus::SubmittedUnconfirmed || order.attempt != attempt {
            return Err(Refusal::GuardLost("it is not the attempt that was looked up"));
        }
        if order.at_venue {
            return Err(Refusal::GuardLost("the venue refused its id as a duplicate, so it is there"));
        }
        let at = self.at;
        self.change(id, OrderEvent::OutcomeUnknown, EventKind::Absent, |order| {
            order.absent_at = Some(at);
            json!({"attempt": attempt})
        })
    }

    /// Ends what certainly won't be sent: never claimed, or absent and given up.
    pub(super) fn end(&mut self, id: &OrderId, end: OwnEnd, reason: &str, detail: &str) -> Result<Applied, Refusal> {
        let order = self.order(id)?;
        if order.status == OrderStatus::SubmittedUnconfirmed && order.absent_at.is_none() {
            return Err(Refusal::GuardLost("it may be live at the venue"));
        }
        self.change(id, OrderEvent::End(end), EventKind::Ended, |order| {
            order.because(reason, detail);
            json!({"reason": reason, "detail": detail})
        })
    }

    /// Says why an order that is due has not been sent yet. Its status stays as it is, and the next claim takes it back.
    pub(super) fn hold(&mut self, id: &OrderId, reason: &str, detail: &str) -> Result<Applied, Refusal> {
        let order = self.order(id)?;
        if order.status != OrderStatus::PendingNew {
            return Err(Refusal::GuardLost("it is not waiting to be sent"));
        }
        if order.reason_code.as_deref() == Some(reason) && order.error_message.as_deref() == Some(detail) {
            return Ok(Applied { orders: vec![order.clone()], ..Applied::unchanged() });
        }
        let mut order = order.clone();
        order.because(reason, detail);
        order.updated_at = self.at;
        let event = Event {
            order: Some(id.clone()),
            kind: EventKind::Held,
            old_status: Some(order.status.as_str()),
            new_status: Some(order.status.as_str()),
            data: json!({"reason": reason, "detail": detail}),
            actor: GATEWAY.to_owned(),
        };
        self.changes.orders.insert(id.clone());
        Ok(self.put(order, event))
    }

    pub(super) fn resolve(&mut self, id: &OrderId, resolution: &Resolution, by: &Caller) -> Result<Applied, Refusal> {
        let order = self.order(id)?;
        let event = OrderEvent::Resolved(resolution.end);
        if order.status.apply(event).is_err() {
            return Err(Refusal::NotResolvable(order.status));
        }
        let before = Filled { qty: order.filled_qty, cost: order.filled_cost };
        let after = match (resolution.end, resolution.filled_qty, resolution.filled_avg_price) {
            (OperatorEnd::Filled, Some(qty), _) if qty != order.qty.get() => {
                return Err(Refusal::Unfitting("must be the order's quantity: what traded in part is canceled"));
            }
            (OperatorEnd::Canceled, Some(qty), _) if qty < before.qty || qty >= order.qty.get() => {
                return Err(Refusal::Unfitting("must lie between what has traded and the order's quantity"));
            }
            (OperatorEnd::Filled | OperatorEnd::Canceled, Some(qty), Some(price)) => Filled { qty, cost: qty * price },
            (OperatorEnd::Canceled, Some(_), None) => return Err(Refusal::Unfitting("needs its average price")),
            (OperatorEnd::Filled, ..) => {
                return Err(Refusal::Unfitting("is required of a filled order, with its price"));
            }
            (OperatorEnd::Rejected, ..) if !before.qty.is_zero() => {
                return Err(Refusal::Unfitting("what has traded in part is canceled, not rejected"));
            }
            (OperatorEnd::Canceled | OperatorEnd::Rejected, ..) => before,
        };
        let order = order.clone();
        let (whole_before, whole_after) = self.whole(&order, after, &[]);
        let realised = self.trade(&order, whole_before, whole_after, &[]);
        let events = self.changes.events.len();
        let applied = self.change(id, event, EventKind::Resolved, |order| {
            order.filled_qty = after.qty;
            order.filled_cost = after.cost;
            order.realised_pnl += realised;
            order.because("resolved_by_operator", &resolution.reason);
            json!({"reason": resolution.reason, "filled_qty": after.qty, "by": by})
        })?;
        self.caused_by(events, by.as_str());
        Ok(applied)
    }

    /// The order, if this attempt of it is on its way.
    fn sent(&self, id: &OrderId, attempt: u32) -> Result<&Order, Refusal> {
        let order = self.order(id)?;
        if order.status == OrderStatus::Submitting && order.attempt == attempt {
            Ok(order)
        } else {
            Err(Refusal::GuardLost("this attempt is no longer on its way"))
        }
    }
}

impl Order {
    pub(super) fn because(&mut self, reason: &str, detail: &str) {
        self.reason_code = Some(reason.to_owned());
        self.error_message = (!detail.is_empty()).then(|| detail.to_owned());
    }
}

/// Whether a send before this one may have arrived, whatever came of this one: it was absent, or a replacement whose order
/// has given way to it meanwhile.
const fn may_have_come_before(sent: &Order) -> bool {
    sent.absent_at.is_some() || (sent.at_venue && sent.attempt > 1)
}
