//! What the venue says of an order: adopted where it is what we sent, each fill counted once.

use rust_decimal::Decimal;
use serde_json::json;

use super::books::{Books, GATEWAY};
use super::replacing::live_word;
use super::{Applied, Event, EventKind, Refusal, Report};
use crate::domain::chain::Chain;
use crate::domain::fills::{Filled, ReportedTotal};
use crate::domain::names::{BrokerOrderId, OrderId};
use crate::domain::order::Order;
use crate::domain::status::{OrderEvent, OrderStatus};
use crate::domain::venue::{Execution, VenueOrder, VenueStatus};

impl Books {
    pub(super) fn report(&mut self, report: &Report) -> Result<Applied, Refusal> {
        let venue = &report.order;
        let order = self.order(&venue.client_order_id)?;
        if !order.is_what_we_sent(venue) {
            return Err(Refusal::NotOurs);
        }
        if order.broker_order_id.as_ref().is_some_and(|known| *known != venue.broker_order_id) {
            return Err(Refusal::NotOurs);
        }
        let order = order.clone();
        let news = self.news(report);
        let before = Filled { qty: order.filled_qty, cost: order.filled_cost };
        let after = self.filled_after(&order, report, &news);
        let said = said(&order, venue, after.qty);
        let rank = order.venue_status.map(VenueStatus::rank);
        let is_new_word = rank.is_none_or(|rank| said.rank() > rank) || report.corrects;
        let traded = after != before || !news.is_empty();
        if !is_new_word && !traded && order.status != OrderStatus::SubmittedUnconfirmed {
            return Ok(Applied { orders: vec![order], ..Applied::unchanged() });
        }
        let word = last_word(&order, said, after.qty, is_new_word);
        let event = OrderEvent::Venue { status: word, traded: !after.qty.is_zero() };
        let kind = if traded { EventKind::Filled } else { EventKind::Reported };
        order.status.apply(event)?;
        let later = self.later_totals(&order, &news);
        let (whole_before, whole_after) = self.whole(&order, after, &later);
        let realised = self.trade(&order, whole_before, whole_after, &news);
        let executions = news.iter().map(|e| e.execution_id.clone()).collect::<Vec<_>>();
        for execution in news {
            let key = (execution.broker_order_id.clone(), execution.cum_qty);
            self.executions.insert(key, execution.clone());
            self.changes.executions.push((order.id.clone(), execution));
        }
        let returned =
            order.status.is_terminal() && order.venue_status.is_none() && venue.status != VenueStatus::Rejected;
        let at = self.at;
        let mut applied = self.change(&order.id, event, kind, |order| {
            order.broker_order_id = Some(venue.broker_order_id.clone());
            if report.corrects || order.venue_status.is_none_or(|last| word.rank() >= last.rank()) {
                order.venue_status = Some(word);
            }
            order.filled_qty = after.qty;
            order.filled_cost = after.cost;
            order.realised_pnl += realised;
            order.absent_at = None;
            order.submitted_at = order.submitted_at.or(Some(venue.submitted_at));
            if returned {
                // Given up, and it turns up all the same: it counts, and it has to go.
                order.cancel_requested_at = order.cancel_requested_at.or(Some(at));
            }
            match &venue.reason {
                Some(words) => order.because(&words.code, &words.message),
                None if order.cancel_requested_at.is_none() => {
                    order.reason_code = None;
                    order.error_message = None;
                }
                None => {}
            }
            json!({
                "venue_status": word, "broker_order_id": venue.broker_order_id, "filled_qty": after.qty,
                "filled_cost": after.cost.normalize(), "executions": executions, "returned": returned,
                "overfill": after.qty > order.qty.get(),
            })
        })?;
        self.restate_costs(later, &mut applied);
        Ok(applied)
    }

    /// The executions of a report that are not in the books.
    fn news(&self, report: &Report) -> Vec<Execution> {
        let ours = &report.order.broker_order_id;
        let is_new = |execution: &&Execution| {
            execution.broker_order_id == *ours
                && !self.executions.contains_key(&(execution.broker_order_id.clone(), execution.cum_qty))
        };
        report.executions.iter().filter(is_new).cloned().collect()
    }

    fn filled_after(&self, order: &Order, report: &Report, news: &[Execution]) -> Filled {
        let venue = &report.order;
        let before = Filled { qty: order.filled_qty, cost: order.filled_cost };
        if report.corrects {
            let cost = venue.filled_avg_price.unwrap_or_default() * venue.filled_qty;
            return Filled { qty: venue.filled_qty, cost };
        }
        let total = ReportedTotal { qty: venue.filled_qty, avg_price: venue.filled_avg_price };
        let own = self.known(vec![&venue.broker_order_id]).chain(news).collect::<Vec<_>>();
        let furthest = own.iter().map(|execution| execution.cum_qty).max().unwrap_or_default();
        let qty = before.qty.max(total.qty).max(furthest);
        // What the orders before it traded is its own as far as it carries it on: one that never came to be does not.
        let carried = self.known(self.ids_before(order)).filter(|execution| execution.cum_qty <= qty);
        before.after(total, carried.chain(own))
    }

    /// The executions of these orders at the venue.
    fn known<'a>(&'a self, ids: Vec<&'a BrokerOrderId>) -> impl Iterator<Item = &'a Execution> {
        ids.into_iter().flat_map(|id| {
            let of_it = self.executions.range((id.clone(), Decimal::ZERO)..);
            of_it.take_while(move |((of, _), _)| of == id).map(|(_, execution)| execution)
        })
    }

    /// The venue's ids of the orders before one in its chain: it carries on what they had filled.
    fn ids_before(&self, order: &Order) -> Vec<&BrokerOrderId> {
        let chain = self.chain(order).filter(|_| order.replaces.is_some());
        let before = chain.iter().flat_map(Chain::orders).filter(|other| other.place() < order.place());
        before.filter_map(|other| other.broker_order_id.as_ref()).collect()
    }

    /// What the orders behind one in its chain have filled, now that more is known of its executions: they carry them on.
    fn later_totals(&self, order: &Order, news: &[Execution]) -> Vec<(OrderId, Filled)> {
        let chain = self.chain(order).filter(|_| order.replaced_by.is_some() && !news.is_empty());
        let later = chain.iter().flat_map(Chain::orders).filter(|other| other.place() > order.place());
        let of_one = |later: &Order| {
            let before = Filled { qty: later.filled_qty, cost: later.filled_cost };
            let mut ids = self.ids_before(later);
            ids.push(later.broker_order_id.as_ref()?);
            // How much they have filled is theirs to say.
            let known = self.known(ids).chain(news).filter(|execution| execution.cum_qty <= before.qty);
            let after = before.after(ReportedTotal { qty: before.qty, avg_price: None }, known);
            (after != before).then(|| (later.id.clone(), after))
        };
        later.filter_map(of_one).collect()
    }

    /// What the whole chain of an order has traded, before and after that order and those behind it have changed.
    pub(super) fn whole(&self, order: &Order, after: Filled, later: &[(OrderId, Filled)]) -> (Filled, Filled) {
        let Some(chain) = self.chain(order) else { return (Filled::default(), after) };
        let total = |member: &Order| match later.iter().find(|(id, _)| *id == member.id) {
            Some((_, filled)) => *filled,
            None if member.id == order.id => after,
            None => Filled { qty: member.filled_qty, cost: member.filled_cost },
        };
        let furthest = chain.orders().map(|member| (total(member), member.place()));
        let furthest = furthest.max_by_key(|(filled, place)| (filled.qty, *place));
        (chain.filled(), furthest.map_or(after, |(filled, _)| filled))
    }

    fn restate_costs(&mut self, later: Vec<(OrderId, Filled)>, applied: &mut Applied) {
        for (id, filled) in later {
            let Some(order) = self.orders.get(&id).cloned() else { continue };
            let data = json!({"filled_qty": filled.qty, "filled_cost": filled.cost.normalize()});
            let status = Some(order.status.as_str());
            let event = Event {
                order: Some(id.clone()),
                kind: EventKind::Filled,
                old_status: status,
                new_status: status,
                data,
                actor: GATEWAY.to_owned(),
            };
            self.changes.orders.insert(id);
            let order = Order { filled_cost: filled.cost, updated_at: self.at, ..order };
            applied.absorb(Ok(self.put(order, event)));
        }
    }
}

/// The venue's word. That it is about to replace an order which nothing of ours is to replace only means that it lives.
fn said(order: &Order, venue: &VenueOrder, filled: Decimal) -> VenueStatus {
    if venue.status == VenueStatus::PendingReplace && order.status != OrderStatus::PendingReplace {
        return live_word(!filled.is_zero());
    }
    venue.status
}

/// The venue's word that counts: the newer of the last one and this one, and `filled` once all has traded.
fn last_word(order: &Order, said: VenueStatus, filled: Decimal, is_new_word: bool) -> VenueStatus {
    if filled >= order.qty.get() {
        return VenueStatus::Filled;
    }
    match order.venue_status {
        Some(VenueStatus::PendingReplace) if !is_new_word && order.status != OrderStatus::PendingReplace => {
            live_word(!filled.is_zero())
        }
        Some(last) if !is_new_word => {
            if filled > Decimal::ZERO && last.rank() < VenueStatus::PartiallyFilled.rank() {
                VenueStatus::PartiallyFilled
            } else {
                last
            }
        }
        Some(_) | None => said,
    }
}
