//! What the venue says of an order: adopted where it is what we sent, each fill counted once.

use rust_decimal::Decimal;
use serde_json::json;

use super::books::Books;
use super::{Applied, EventKind, Refusal, Report};
use crate::domain::fills::{Filled, ReportedTotal};
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
        let after = self.filled_after(before, report, &news);
        let rank = order.venue_status.map(VenueStatus::rank);
        let is_new_word = rank.is_none_or(|rank| venue.status.rank() > rank) || report.corrects;
        let traded = after != before || !news.is_empty();
        if !is_new_word && !traded && order.status != OrderStatus::SubmittedUnconfirmed {
            return Ok(Applied { orders: vec![order], ..Applied::unchanged() });
        }
        let word = last_word(&order, venue, after.qty, is_new_word);
        let fees = news.iter().map(|execution| execution.fee).sum::<Decimal>();
        let event = OrderEvent::Venue { status: word, traded: !after.qty.is_zero() };
        let kind = if traded { EventKind::Filled } else { EventKind::Reported };
        order.status.apply(event)?;
        self.trade(&order, before, after, fees);
        let executions = news.iter().map(|e| e.execution_id.clone()).collect::<Vec<_>>();
        for execution in news {
            let key = (execution.broker_order_id.clone(), execution.cum_qty);
            self.executions.insert(key, execution.clone());
            self.changes.executions.push((order.id.clone(), execution));
        }
        let returned = order.status.is_terminal() && order.venue_status.is_none();
        let at = self.at;
        self.change(&order.id, event, kind, |order| {
            order.broker_order_id = Some(venue.broker_order_id.clone());
            order.venue_status = Some(word);
            order.filled_qty = after.qty;
            order.filled_cost = after.cost;
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
        })
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

    fn filled_after(&self, before: Filled, report: &Report, news: &[Execution]) -> Filled {
        let venue = &report.order;
        if report.corrects {
            let cost = venue.filled_avg_price.unwrap_or_default() * venue.filled_qty;
            return Filled { qty: venue.filled_qty, cost };
        }
        let total = ReportedTotal { qty: venue.filled_qty, avg_price: venue.filled_avg_price };
        let from = (venue.broker_order_id.clone(), Decimal::ZERO);
        let known = self
            .executions
            .range(from..)
            .take_while(|((id, _), _)| *id == venue.broker_order_id)
            .map(|(_, execution)| execution);
        before.after(total, known.chain(news))
    }
}

/// The venue's word that counts: the newer of the last one and this one, and `filled` once all has traded.
fn last_word(order: &Order, venue: &VenueOrder, filled: Decimal, is_new_word: bool) -> VenueStatus {
    if filled >= order.qty.get() {
        return VenueStatus::Filled;
    }
    match order.venue_status {
        Some(last) if !is_new_word => {
            if filled > Decimal::ZERO && last.rank() < VenueStatus::PartiallyFilled.rank() {
                VenueStatus::PartiallyFilled
            } else {
                last
            }
        }
        Some(_) | None => venue.status,
    }
}
