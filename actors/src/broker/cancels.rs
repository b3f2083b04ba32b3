//! Cancels: every order that has the mark of one is cancelled at the venue, and asked about until it has ended.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};

use super::{Broker, find};
use crate::budget::{Budget, Lane};
use crate::cancel_all::{CancelEverything, CancelTally, Part, cancel_listed};
use crate::domain::ledger::{Refusal, Report, Write};
use crate::domain::order::Order;
use crate::domain::status::{OrderStatus, Share};
use crate::line::Line;
use crate::persistence::{Persist, persist_surely};
use crate::ports::{CancelError, VenueError, World};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Marks were just made durable: look now, not only at the next second.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct CancelMarked;

/// A cancel that is not confirmed yet.
pub(super) struct Trying {
    next: Duration,
    wait: Duration,
}

impl Handler<CancelMarked> for Broker {
    type Result = ();

    fn handle(&mut self, _: CancelMarked, ctx: &mut Self::Context) {
        self.scan_marks(ctx);
    }
}

impl Handler<CancelEverything> for Broker {
    type Result = ResponseActFuture<Self, CancelTally>;

    fn handle(&mut self, everything: CancelEverything, ctx: &mut Self::Context) -> Self::Result {
        let (world, line, account) = (self.world.clone(), self.lines.persist.clone(), self.tuning.account.clone());
        let CancelEverything { scope, within, .. } = everything.clone();
        let mark = async move {
            let ids = loop {
                match everything.to_mark(&*world.store, &account).await {
                    Some(ids) => break ids,
                    None => tokio::time::sleep(FIRST_WAIT).await,
                }
            };
            if !ids.is_empty() {
                persist_surely(&line, vec![Write::MarkCancels { ids }]).await;
            }
        };
        ctx.spawn(mark.into_actor(self).map(|(), act, ctx| act.scan_marks(ctx)));
        let (world, budget, account) = (self.world.clone(), self.budget.clone(), self.tuning.account.clone());
        let cancelled = async move {
            let unread = CancelTally { failed: 1, ..CancelTally::default() };
            let Some(part) = Part::of(&scope, &*world.store, &account).await else { return unread };
            cancel_listed(&*world.venue, &budget, (&part, within)).await.unwrap_or(unread)
        };
        Box::pin(cancelled.into_actor(self))
    }
}

impl Broker {
    /// Looks for marked orders, every second and when marks were made: whoever set a mark need not know us.
    pub(super) fn scan_marks(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.scanning, true) {
            return;
        }
        let (store, account) = (self.world.store.clone(), self.tuning.account.clone());
        let read = async move { store.marked_orders(&account).await };
        ctx.spawn(read.into_actor(self).map(|read, act, ctx| {
            act.scanning = false;
            // While the store can't be read the scan of the next second tries again.
            let Ok(orders) = read else { return };
            act.cancels.retain(|id, _| orders.iter().any(|order| order.id == *id));
            for order in orders {
                act.cancel_one(order, ctx);
            }
        }));
    }

    fn cancel_one(&mut self, order: Order, ctx: &mut Context<Self>) {
        // What is unknown is cancelled once it is found; the look-ups see to that.
        let (Share::Working, Some(broker_order_id)) = (order.status.share(), order.broker_order_id.clone()) else {
            return;
        };
        let now = self.world.clock.boottime();
        let trying = self.cancels.entry(order.id.clone()).or_insert(Trying { next: now, wait: FIRST_WAIT });
        if now < trying.next || self.budget.take(Lane::Control).is_err() {
            return;
        }
        trying.next = now + trying.wait;
        trying.wait = (trying.wait * 2).min(LONGEST_WAIT);
        let (world, line) = (self.world.clone(), self.lines.persist.clone());
        let (timeout, budget) = (self.tuning.send_timeout, self.budget.clone());
        let asked = async move {
            let late = || CancelError::Venue(VenueError::Unavailable { detail: "no answer in time".to_owned() });
            let cancel = world.venue.cancel(&broker_order_id);
            let answer = tokio::time::timeout(timeout, cancel).await.unwrap_or_else(|_| Err(late()));
            let refusal = match &answer {
                Err(CancelError::Venue(error)) => Some(error.clone()),
                Ok(()) | Err(CancelError::NotCancelable) => None,
            };
            (follow_cancel(&world, &line, (&budget, timeout), &order, answer).await, refusal)
        };
        ctx.spawn(asked.into_actor(self).map(|(orders, refusal), act, ctx| {
            act.settled(&orders);
            if let Some(error) = refusal {
                act.note_refusal(&error, ctx);
            }
        }));
    }
}

/// Writes down what came of a cancel; one that can't be cancelled is looked up, and the truth taken.
async fn follow_cancel(
    world: &World,
    line: &Line<Persist>,
    (budget, timeout): (&Budget, Duration),
    order: &Order,
    answer: Result<(), CancelError>,
) -> Vec<Order> {
    match answer {
        Ok(()) if order.status == OrderStatus::PendingCancel => Vec::new(),
        Ok(()) => write(line, Write::CancelTaken { id: order.id.clone() }).await,
        Err(CancelError::NotCancelable) => match find(world, (budget, timeout), &order.id).await {
            Some(venue) => {
                let is_live = !venue.status.is_terminal();
                let report = Report { order: venue, executions: Vec::new(), corrects: false };
                let mut changed = write(line, Write::Report(Box::new(report))).await;
                if is_live && order.status == OrderStatus::PendingCancel {
                    changed.extend(write(line, Write::CancelRefused { id: order.id.clone() }).await);
                }
                changed
            }
            None => {
                tracing::error!(client_order_id = %order.id, "an order is neither cancelable nor found; asking again");
                Vec::new()
            }
        },
        Err(CancelError::Venue(error)) => {
            tracing::warn!(client_order_id = %order.id, %error, "a cancel failed; it is tried again");
            Vec::new()
        }
    }
}

async fn write(line: &Line<Persist>, write: Write) -> Vec<Order> {
    match persist_surely(line, vec![write]).await.pop() {
        Some(Ok(applied)) => applied.orders,
        // The venue's own event was faster.
        Some(Err(Refusal::Illegal(_))) | None => Vec::new(),
        Some(Err(refusal)) => {
            tracing::warn!(%refusal, "what came of a cancel was not taken");
            Vec::new()
        }
    }
}
