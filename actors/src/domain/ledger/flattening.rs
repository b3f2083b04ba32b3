//! Claiming what closes a position: only for an engagement that is in force, one after the other.

use serde_json::json;

use super::books::Books;
use super::{Applied, Event, EventKind, Refusal};
use crate::domain::flatten::Flattening;
use crate::domain::names::{AccountName, OrderId};
use crate::domain::order::Order;
use crate::domain::status::OrderEvent;

impl Books {
    /// Takes the order, where it is new, and claims it. What was drawn up first stays: one id is one order.
    pub(super) fn flatten(
        &mut self,
        order: &Order,
        engagement: &str,
        before: Option<&OrderId>,
    ) -> Result<Applied, Refusal> {
        self.must_be_of(&order.account)?;
        if !self.wants_flat(&order.account, engagement) {
            return Err(Refusal::GuardLost("no engagement in force wants it closed"));
        }
        if let Some(before) = before
            && !self.order(before)?.status.is_terminal()
        {
            return Err(Refusal::GuardLost("the order before it has not ended"));
        }
        match self.orders.get(&order.id) {
            Some(known) if known.instruction != order.instruction || known.qty != order.qty => {
                return Err(Refusal::IdReused);
            }
            Some(known) if !known.is_claimable() => {
                return Err(Refusal::GuardLost("it is not waiting to be sent"));
            }
            Some(_) => {}
            None => self.take_flattening(order, engagement),
        }
        let at = self.at;
        self.change(&order.id, OrderEvent::Claim, EventKind::Claimed, |order| {
            order.attempt += 1;
            order.claimed_at = Some(at);
            order.reduces = true;
            order.reason_code = None;
            order.error_message = None;
            json!({"attempt": order.attempt, "reduces": true, "engagement_id": engagement})
        })
    }

    fn take_flattening(&mut self, order: &Order, engagement: &str) {
        self.note(Event {
            order: Some(order.id.clone()),
            kind: EventKind::Submitted,
            old_status: None,
            new_status: Some(order.status.as_str()),
            data: json!({"qty": order.qty, "engagement_id": engagement}),
            actor: super::books::GATEWAY.to_owned(),
        });
        self.changes.new_orders.insert(order.id.clone());
        self.orders.insert(order.id.clone(), order.clone());
    }

    /// Whether this engagement is in force as the switches stand now, and wants the account's positions closed.
    fn wants_flat(&self, account: &AccountName, engagement: &str) -> bool {
        let of_all = self.kill.as_ref().and_then(Flattening::of_kill);
        let of_parts = self.halts.in_force.iter().filter_map(Flattening::of_halt);
        of_all.into_iter().chain(of_parts).any(|one| one.engagement == engagement && one.is_of(account))
    }
}
