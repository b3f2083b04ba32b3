//! Orders whose replacement was answered or found: asked about until the venue has said what became of them.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::Broker;
use crate::budget::Lane;
use crate::domain::ledger::{Report, Write};
use crate::domain::names::OrderId;
use crate::domain::order::Order;
use crate::domain::status::OrderStatus;
use crate::persistence::persist_surely;
use crate::ports::store::AnyOrder;

/// The venue's own event is mostly faster than this.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Broker {
    /// The venue has spoken of a replacement, and an answer is no promise: the order that it replaces says how it went.
    pub(super) fn watch_replaced(&self, replacement: &Order, ctx: &mut Context<Self>) {
        if let Some(replaces) = &replacement.replaces {
            Self::look_later(replaces.order.clone(), FIRST_WAIT, ctx);
        }
    }

    fn look_later(id: OrderId, wait: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(wait, move |act, ctx| act.look_at_replaced(id, wait, ctx));
    }

    /// Looks an order up that still waits to be replaced by our books.
    fn look_at_replaced(&self, id: OrderId, waited: Duration, ctx: &mut Context<Self>) {
        let (store, asked) = (self.world.store.clone(), id.clone());
        let read = async move { store.order(&asked).await };
        ctx.spawn(read.into_actor(self).map(move |read, act, ctx| {
            if let Ok(Some(AnyOrder::Order(order))) = &read
                && order.status != OrderStatus::PendingReplace
            {
                return;
            }
            if act.budget.take(Lane::Control).is_ok() {
                act.report_replaced(id.clone(), ctx);
            }
            Self::look_later(id, (waited * 2).min(LONGEST_WAIT), ctx);
        }));
    }

    fn report_replaced(&self, id: OrderId, ctx: &mut Context<Self>) {
        let (world, line, timeout) = (self.world.clone(), self.lines.persist.clone(), self.tuning.send_timeout);
        let looked_up = async move {
            let Ok(Ok(Some(order))) = tokio::time::timeout(timeout, world.venue.find(&id)).await else {
                return None;
            };
            let report = Report { order, executions: Vec::new(), corrects: false };
            persist_surely(&line, vec![Write::Report(Box::new(report))]).await.pop()?.ok()
        };
        ctx.spawn(looked_up.into_actor(self).map(|applied, act, _| {
            act.settled(&applied.map(|applied| applied.orders).unwrap_or_default());
        }));
    }
}
