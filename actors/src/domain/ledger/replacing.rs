//! Replacements: a new order on its way to the place of a live one, and what each of the two means for the other.

use serde_json::json;

use super::books::Books;
use super::{Applied, Event, EventKind, MAX_REPLACEMENTS, NotReplaceable, Outcome, Refusal, Replacement};
use crate::domain::chain::Chain;
use crate::domain::names::OrderId;
use crate::domain::order::{Order, Replaces};
use crate::domain::status::{OrderEvent, OrderStatus, OwnEnd, Share};
use crate::domain::terms::Instruction;
use crate::domain::venue::VenueStatus;

/// Why a replacement ended whose order had ended before it.
const TOO_LATE: &str = "replaced_order_ended";

impl Books {
    /// The orders of an order's chain, as far as the books have them; `None` where they have none.
    pub(super) fn chain(&self, of: &Order) -> Option<Chain<'_>> {
        if !of.is_chained() {
            return Chain::of(self.orders.get(&of.id).into_iter().collect());
        }
        Chain::of(self.orders.values().filter(|order| order.chain() == of.chain()).collect())
    }

    /// Takes a replacement: the live order waits for it, and it goes its way to the venue like any other.
    pub(super) fn replace(&mut self, asked: &Replacement) -> Result<Applied, Refusal> {
        if let Some(first) = asked.origin.named().and_then(|key| self.keys.get(&key)) {
            let Some(order) = self.orders.get(first) else { return Err(Refusal::KeyReused) };
            let repeated = order.origin.as_ref().is_some_and(|origin| origin.is_repeated_by(&asked.origin));
            let replayed = Applied { outcome: Outcome::Replayed, orders: vec![order.clone()], ..Applied::done() };
            return if repeated { Ok(replayed) } else { Err(Refusal::KeyReused) };
        }
        let live = self.order(&asked.order)?;
        let broker_order_id = live.replaceable().map_err(Refusal::NotReplaceable)?;
        if self.is_quarantined(&live.instruction.symbol) && !asked.reduces {
            return Err(Refusal::Quarantined);
        }
        let chain = self.chain(live).ok_or(Refusal::NotFound)?;
        let number = chain.orders().next_back().map_or(0, Order::place) + 1;
        if number > MAX_REPLACEMENTS {
            return Err(Refusal::NotReplaceable(NotReplaceable::TooOften));
        }
        if asked.qty.get() <= chain.filled().qty {
            return Err(Refusal::UnfittingQty("must be greater than what has traded"));
        }
        if live.slice.is_some() && asked.qty != live.qty {
            return Err(Refusal::UnfittingQty("of a slice is its parent's to say"));
        }
        let first = live.chain().clone();
        let id = OrderId::parse(&format!("{first}.r{number}")).map_err(|_| Refusal::IdReused)?;
        let replaces = Replaces { order: live.id.clone(), broker_order_id, first, number };
        let next = successor(live, id, replaces, asked, self.at);
        let mut applied = Applied { orders: vec![next.clone()], ..Applied::done() };
        let asked_of = asked.order.clone();
        let events = self.changes.events.len();
        let waits = self.change(&asked_of, OrderEvent::ReplaceAsked, EventKind::ReplaceRequested, |order| {
            order.replaced_by = Some(next.id.clone());
            json!({"replaced_by": next.id})
        })?;
        applied.orders.extend(waits.orders);
        self.remember(&next.id, &asked.origin);
        self.changes.new_orders.insert(next.id.clone());
        let terms = next.instruction.terms;
        let data = json!({"replaces": asked_of, "qty": next.qty, "terms": terms});
        let event = Event {
            order: Some(next.id.clone()),
            kind: EventKind::Submitted,
            old_status: None,
            new_status: Some(next.status.as_str()),
            data,
            actor: String::new(),
        };
        applied.parents = self.put(next, event).parents;
        self.caused_by(events, asked.origin.caller.as_str());
        Ok(applied)
    }

    /// Why an order can't be claimed that is to take the place of another one.
    pub(super) fn out_of_place(&self, order: &Order) -> Option<&'static str> {
        let replaces = order.replaces.as_ref()?;
        let waits = self.orders.get(&replaces.order).is_some_and(|live| {
            live.status == OrderStatus::PendingReplace && live.replaced_by.as_ref() == Some(&order.id)
        });
        (!waits).then_some("the order to be replaced no longer waits for it")
    }

    /// What the status of an order means for those beside it in its chain, whichever is heard of first.
    pub(super) fn tell_chain(&mut self, id: &OrderId, applied: &mut Applied) {
        let Some(order) = self.orders.get(id).filter(|order| order.is_chained()).cloned() else { return };
        let before = order.replaces.as_ref().map(|replaces| replaces.order.clone());
        if order.status.is_terminal() {
            if let Some(before) = &before {
                self.release(before, &order, applied);
            }
            if let Some(next) = &order.replaced_by {
                self.overtaken(&order, next, applied);
            }
        } else if let Some(before) = before.and_then(|before| self.orders.get(&before)).cloned()
            && before.status.is_terminal()
        {
            self.overtaken(&before, id, applied);
        }
    }

    /// What was to take its place has ended: an order that still waits for that goes back to what it was. Where the other
    /// one traded or was replaced itself, it has been there, and the venue's word on this one is still to come.
    fn release(&mut self, id: &OrderId, by: &Order, applied: &mut Applied) {
        let Some(order) = self.orders.get(id) else { return };
        let waits = order.status == OrderStatus::PendingReplace && order.replaced_by.as_ref() == Some(&by.id);
        if !waits || matches!(by.status, OrderStatus::Filled | OrderStatus::Replaced) {
            return;
        }
        let traded = !order.filled_qty.is_zero();
        let released = self.change(
            id,
            OrderEvent::ChangeRefused { traded },
            EventKind::ReplaceEnded,
            |_| json!({"replaced_by": by.id, "status": by.status, "reason": by.reason_code}),
        );
        applied.absorb(released);
    }

    /// An order has ended while another one was to take its place. If it ended as replaced, the other one is at the venue,
    /// found or not. If it ended otherwise, the other one can't have come to be.
    fn overtaken(&mut self, ended: &Order, id: &OrderId, applied: &mut Applied) {
        let Some(next) = self.orders.get_mut(id) else { return };
        let is_found = next.at_venue || next.broker_order_id.is_some();
        let ends = match next.status.share() {
            Share::Unexecuted | Share::Working => false,
            Share::Pending => true,
            Share::Unknown if ended.status == OrderStatus::Replaced => {
                if !is_found {
                    next.at_venue = true;
                    next.absent_at = None;
                    let next = next.clone();
                    self.changes.orders.insert(id.clone());
                    applied.replace(next);
                }
                false
            }
            Share::Unknown => {
                next.status == OrderStatus::SubmittedUnconfirmed
                    && !is_found
                    && ended.venue_status.is_some_and(VenueStatus::is_terminal)
            }
        };
        if ends {
            let detail = format!("the order to be replaced is {}", ended.status);
            let ended = self.change(id, OrderEvent::End(OwnEnd::Canceled), EventKind::Ended, |order| {
                order.because(TOO_LATE, &detail);
                json!({"reason": TOO_LATE, "detail": detail})
            });
            applied.absorb(ended);
        }
    }

    /// Says who caused the events from there on.
    pub(super) fn caused_by(&mut self, from: usize, who: &str) {
        for event in self.changes.events.iter_mut().skip(from) {
            who.clone_into(&mut event.actor);
        }
    }
}

impl Applied {
    /// Takes over what a change beside this one came to; it can't be refused where the statuses allow it.
    pub(super) fn absorb(&mut self, other: Result<Self, Refusal>) {
        let Ok(other) = other else { return };
        for order in other.orders {
            self.replace(order);
        }
        for parent in other.parents {
            self.parents.retain(|known| known.id != parent.id);
            self.parents.push(parent);
        }
    }

    fn replace(&mut self, order: Order) {
        match self.orders.iter_mut().find(|known| known.id == order.id) {
            Some(known) => *known = order,
            None => self.orders.push(order),
        }
    }
}

/// The venue's word for an order that lives on.
pub(super) const fn live_word(traded: bool) -> VenueStatus {
    if traded { VenueStatus::PartiallyFilled } else { VenueStatus::Accepted }
}

/// The order that is to take a live one's place.
fn successor(
    live: &Order,
    id: OrderId,
    replaces: Replaces,
    asked: &Replacement,
    at: chrono::DateTime<chrono::Utc>,
) -> Order {
    let instruction = Instruction { terms: asked.terms, ..live.instruction.clone() };
    Order {
        slice: live.slice.clone(),
        replaces: Some(replaces),
        origin: Some(asked.origin.clone()),
        ..Order::new(id, &instruction, asked.qty, &live.account, &live.strategy_id, at)
    }
}

impl Order {
    /// The venue's id of it, where another order may take its place.
    fn replaceable(&self) -> Result<crate::domain::names::BrokerOrderId, NotReplaceable> {
        match self.status {
            OrderStatus::Submitted | OrderStatus::Accepted | OrderStatus::PartiallyFilled
                if self.cancel_requested_at.is_none() =>
            {
                self.broker_order_id.clone().ok_or(NotReplaceable::NotLive(self.status))
            }
            OrderStatus::Submitted
            | OrderStatus::Accepted
            | OrderStatus::PartiallyFilled
            | OrderStatus::PendingCancel
            | OrderStatus::PendingReplace => Err(NotReplaceable::Changing(self.status)),
            OrderStatus::PendingNew | OrderStatus::Submitting | OrderStatus::SubmittedUnconfirmed => {
                Err(NotReplaceable::NotLive(self.status))
            }
            OrderStatus::Filled
            | OrderStatus::Canceled
            | OrderStatus::Expired
            | OrderStatus::Rejected
            | OrderStatus::Replaced
            | OrderStatus::Failed
            | OrderStatus::BlockedKillSwitch
            | OrderStatus::BlockedCircuitBreaker
            | OrderStatus::BlockedRisk
            | OrderStatus::DryRun => Err(NotReplaceable::Ended(self.status)),
        }
    }
}
