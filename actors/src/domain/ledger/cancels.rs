//! Marks of a cancel: set in one transaction, before anything is asked of the venue, so that no claim can follow.

use serde_json::json;

use super::books::Books;
use super::{Applied, CancelCounts, Event, EventKind, Outcome, Refusal};
use crate::domain::chain::{self, Chain};
use crate::domain::names::{Caller, OrderId};
use crate::domain::order::Order;
use crate::domain::status::{OrderEvent, OrderStatus, OwnEnd, Share};
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
        for (child, share) in self.open_children(id) {
            match share {
                Share::Pending => {
                    counts.pending_canceled += 1;
                    orders.extend(self.end(&child.id, OwnEnd::Canceled, "parent_canceled", "")?.orders);
                }
                Share::Unknown => {
                    counts.in_flight += 1;
                    orders.extend(self.stop(&child));
                }
                Share::Working => {
                    counts.open_cancel_requested += 1;
                    orders.extend(self.stop(&child));
                }
                Share::Unexecuted => {}
            }
        }
        let open = counts.pending_canceled + counts.in_flight + counts.open_cancel_requested;
        counts.already_terminal = total.saturating_sub(open);
        let parents = self.parents.get(id).cloned().into_iter().collect();
        Ok(Applied { outcome: Outcome::Canceling(counts), orders, parents, ..Applied::done() })
    }

    pub(super) fn cancel_order(&mut self, id: &OrderId, by: &Caller) -> Result<Applied, Refusal> {
        let mut order = self.order(id)?;
        // Whoever took its place, or took the place of that one.
        while let (OrderStatus::Replaced, Some(next)) = (order.status, &order.replaced_by) {
            order = self.order(next)?;
        }
        let order = order.clone();
        if order.status.is_terminal() || order.cancel_requested_at.is_some() {
            let asked = self.order(id)?.clone();
            return Ok(Applied { orders: vec![asked], ..Applied::unchanged() });
        }
        let events = self.changes.events.len();
        let mut applied = if order.status.share() == Share::Pending && order.replaces.is_none() {
            self.end(&order.id, OwnEnd::Canceled, "cancel_requested", "")?
        } else {
            Applied { orders: self.stop(&order), ..Applied::done() }
        };
        self.caused_by(events, by.as_str());
        let asked = self.order(id)?.clone();
        applied.orders.retain(|order| order.id != asked.id);
        applied.orders.insert(0, asked);
        Ok(applied)
    }

    pub(super) fn mark_cancels(&mut self, ids: &[OrderId]) -> Applied {
        let mut orders = Vec::new();
        for id in ids {
            let named = self.orders.get(id).filter(|_| !self.is_foreign(id)).cloned();
            orders.extend(named.iter().flat_map(|order| self.stop(order)));
        }
        Applied { orders, ..Applied::done() }
    }

    /// Marks an order that may be live, and with it whatever of its chain may be; a replacement that was not sent ends.
    fn stop(&mut self, order: &Order) -> Vec<Order> {
        if !order.is_chained() {
            return self.mark(&order.id).into_iter().collect();
        }
        let chain = self.chain(order);
        let open = chain.iter().flat_map(Chain::orders).filter(|order| !order.status.is_terminal());
        let open = open.map(|order| (order.id.clone(), order.status.share())).collect::<Vec<_>>();
        let mut stopped = Applied::done();
        // The replacement first: what it leaves behind is then what the mark finds.
        for (id, share) in open.into_iter().rev() {
            if share == Share::Pending {
                stopped.absorb(self.end(&id, OwnEnd::Canceled, "cancel_requested", ""));
            } else if let Some(marked) = self.mark(&id) {
                stopped.absorb(Ok(Applied { orders: vec![marked], ..Applied::done() }));
            }
        }
        stopped.orders
    }

    /// Market slices are left alone: they trade at the next quotes, and what is cancelled would only be missed.
    pub(super) fn schedule_ended(&mut self, id: &OrderId) -> Result<Applied, Refusal> {
        self.parents.get(id).ok_or(Refusal::NotFound)?;
        let rests = |child: &Order| child.instruction.terms.order_type() != OrderType::Market;
        let resting = self.open_children(id).into_iter().filter(|(child, _)| rests(child));
        let mut orders = Vec::new();
        for (child, share) in resting.collect::<Vec<_>>() {
            if share != Share::Pending {
                orders.extend(self.stop(&child));
            }
        }
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

    /// The slices of a parent that have not ended, by number: of each chain one that is open, and what the chain counts as.
    fn open_children(&self, parent: &OrderId) -> Vec<(Order, Share)> {
        let open = self
            .orders
            .values()
            .filter(|order| order.slice.as_ref().is_some_and(|slice| slice.parent == *parent))
            .filter(|order| !order.status.is_terminal());
        let chains = chain::chains(open);
        let one_of = |chain: &Chain<'_>| Some((chain.orders().next()?.clone(), chain.share()));
        let mut children = chains.iter().filter_map(one_of).collect::<Vec<_>>();
        children.sort_by_key(|(order, _)| order.slice.as_ref().map(|slice| slice.slice_num));
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
