//! Marks of a cancel: set in one transaction, before anything is asked of the venue, so that no claim can follow.

use serde_json::json;

use super::books::Books;
use super::{Applied, CancelCounts, Event, EventKind, Outcome, Refusal};
use crate::domain::names::{Caller, OrderId};
use crate::domain::order::Order;
use crate::domain::status::{OrderEvent, OwnEnd, Share};
use crate::domain::terms::OrderType;

impl Books {
    pub(super) fn cancel_parent(&mut self, id: &OrderId, by: &Caller) -> Result<Applied, Refusal> {
        let parent = self.parents.get_mut(id).ok_or(Refusal::NotFound)?;
        if parent.status.is_terminal() {
            return Err(Refusal::ParentTerminal);
        }
        let total = parent.total_slices;
        let first_time = parent.cancel_requested_at.is_none();
        if first_time {
            let old_status = parent.status.as_str();
            parent.cancel_requested_at = Some(self.at);
            parent.plan_version += 1;
            parent.restate(self.at);
            let (version, new_status) = (parent.plan_version, parent.status.as_str());
            self.changes.parents.insert(id.clone());
            self.note(Event {
                order: Some(id.clone()),
                kind: EventKind::CancelRequested,
                old_status: Some(old_status),
                new_status: Some(new_status),
                data: json!({"plan_version": version}),
                actor: by.to_string(),
            });
        }
        let (mut counts, mut orders) = (CancelCounts::default(), Vec::new());
        for child in self.open_children(id) {
            match child.status.share() {
                Share::Pending => {
                    counts.pending_canceled += 1;
                    orders.extend(self.end(&child.id, OwnEnd::Canceled, "parent_canceled", "")?.orders);
                }
                Share::Unknown => {
                    counts.in_flight += 1;
                    orders.extend(self.mark(&child.id));
                }
                Share::Working => {
                    counts.open_cancel_requested += 1;
                    orders.extend(self.mark(&child.id));
                }
                Share::Unexecuted => {}
            }
        }
        let open = counts.pending_canceled + counts.in_flight + counts.open_cancel_requested;
        counts.already_terminal = total.saturating_sub(open);
        let parents = self.parents.get(id).cloned().into_iter().collect();
        Ok(Applied { outcome: Outcome::Canceling(counts), orders, parents })
    }

    pub(super) fn cancel_order(&mut self, id: &OrderId, by: &Caller) -> Result<Applied, Refusal> {
        let order = self.order(id)?.clone();
        if order.status.is_terminal() || order.cancel_requested_at.is_some() {
            return Ok(Applied { orders: vec![order], ..Applied::unchanged() });
        }
        let events = self.changes.events.len();
        let applied = if order.status.share() == Share::Pending {
            self.end(id, OwnEnd::Canceled, "cancel_requested", "")?
        } else {
            Applied { orders: self.mark(id).into_iter().collect(), ..Applied::done() }
        };
        for event in self.changes.events.iter_mut().skip(events) {
            event.actor = by.to_string();
        }
        Ok(applied)
    }

    pub(super) fn mark_cancels(&mut self, ids: &[OrderId]) -> Applied {
        let orders = ids.iter().filter_map(|id| self.mark(id)).collect();
        Applied { orders, ..Applied::done() }
    }

    /// Market slices are left alone: they trade at the next quotes, and what is cancelled would only be missed.
    pub(super) fn schedule_ended(&mut self, id: &OrderId) -> Result<Applied, Refusal> {
        self.parents.get(id).ok_or(Refusal::NotFound)?;
        let rests = |child: &Order| child.instruction.terms.order_type() != OrderType::Market;
        let resting = self.open_children(id).into_iter().filter(rests).collect::<Vec<_>>();
        let orders = resting.iter().filter_map(|child| self.mark(&child.id)).collect();
        Ok(Applied { orders, ..Applied::done() })
    }

    pub(super) fn cancel_taken(&mut self, id: &OrderId) -> Result<Applied, Refusal> {
        let order = self.order(id)?;
        if order.status.apply(OrderEvent::CancelTaken) == Ok(order.status) {
            return Ok(Applied { orders: vec![order.clone()], ..Applied::unchanged() });
        }
        self.change(id, OrderEvent::CancelTaken, EventKind::CancelTaken, |_| json!({}))
    }

    pub(super) fn cancel_refused(&mut self, id: &OrderId) -> Result<Applied, Refusal> {
        let traded = !self.order(id)?.filled_qty.is_zero();
        self.change(id, OrderEvent::ChangeRefused { traded }, EventKind::CancelRefused, |_| json!({}))
    }

    fn open_children(&self, parent: &OrderId) -> Vec<Order> {
        let mut children = self
            .orders
            .values()
            .filter(|order| order.slice.as_ref().is_some_and(|slice| slice.parent == *parent))
            .filter(|order| !order.status.is_terminal())
            .cloned()
            .collect::<Vec<_>>();
        children.sort_by_key(|order| order.slice.as_ref().map(|slice| slice.slice_num));
        children
    }

    /// Marks an order that may be live; `None` where there is nothing to mark.
    fn mark(&mut self, id: &OrderId) -> Option<Order> {
        let order = self.orders.get_mut(id)?;
        match order.status.share() {
            Share::Pending | Share::Unexecuted => return None,
            Share::Unknown | Share::Working => {}
        }
        if order.cancel_requested_at.is_none() {
            order.cancel_requested_at = Some(self.at);
            order.updated_at = self.at;
            let (order, status) = (order.clone(), order.status.as_str());
            self.changes.orders.insert(id.clone());
            self.note(Event {
                order: Some(id.clone()),
                kind: EventKind::CancelRequested,
                old_status: Some(status),
                new_status: Some(status),
                data: json!({}),
                actor: super::books::GATEWAY.to_owned(),
            });
            return Some(order);
        }
        Some(order.clone())
    }
}
