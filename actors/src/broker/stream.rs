//! The venue's events: each written down once, in any order, before anybody hears of it.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, ResponseActFuture, WrapFuture};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::{Broker, BrokerTurned, find};
use crate::budget::Budget;
use crate::domain::ledger::{Applied, Refusal, Report, Write};
use crate::domain::names::OrderId;
use crate::domain::venue::VenueEvent;
use crate::line::Line;
use crate::persistence::{Persist, persist_surely};
use crate::ports::{VenueError, World};

/// Most events that are written down in one go.
const MOST_EVENTS: usize = 256;

/// Subscribes to the venue's events; the answer is whether that worked.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), VenueError>")]
pub(crate) struct Listen;

/// What the stream brought, written down.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Heard(Vec<(OrderId, Result<Applied, Refusal>)>);

impl Handler<Listen> for Broker {
    type Result = ResponseActFuture<Self, Result<(), VenueError>>;

    fn handle(&mut self, _: Listen, _: &mut Self::Context) -> Self::Result {
        let (venue, timeout) = (self.world.venue.clone(), self.tuning.send_timeout);
        let subscribed = async move {
            let late = || VenueError::Unavailable { detail: "no answer in time".to_owned() };
            tokio::time::timeout(timeout, venue.events()).await.unwrap_or_else(|_| Err(late()))
        };
        Box::pin(subscribed.into_actor(self).map(move |events, act, ctx| {
            let events = events?;
            let hear = hear(
                (act.world.clone(), act.budget.clone(), timeout),
                events,
                act.lines.persist.clone(),
                act.lines.turned.clone(),
                ctx.address().recipient(),
            );
            if let Some(old) = act.hearing.replace(ctx.spawn(hear.into_actor(act).map(|(), act, ctx| {
                act.hearing = None;
                act.tell(BrokerTurned::Disconnected("the venue's stream of events ended".to_owned()), ctx);
            }))) {
                ctx.cancel_future(old);
            }
            Ok(())
        }))
    }
}

impl Handler<Heard> for Broker {
    type Result = ();

    fn handle(&mut self, Heard(results): Heard, ctx: &mut Context<Self>) {
        for (id, result) in results {
            match result {
                Ok(applied) => self.settled(&applied.orders),
                Err(Refusal::NotOurs) => self.quarantine_id(&id, ctx),
                // An orphan: the comparison of the books records it once it was seen twice.
                Err(Refusal::NotFound) => self.tell(BrokerTurned::Gap, ctx),
                Err(refusal) => tracing::warn!(client_order_id = %id, %refusal, "an event of the venue was not taken"),
            }
        }
    }
}

/// Writes events down one handful after the other; what the store can't take yet waits here, and the venue's stream
/// says when it had to drop what we left waiting.
async fn hear(
    (world, budget, timeout): (World, Budget, Duration),
    events: BoxStream<'static, VenueEvent>,
    persist: Line<Persist>,
    turned: Line<BrokerTurned>,
    heard: Recipient<Heard>,
) {
    let mut handfuls = events.ready_chunks(MOST_EVENTS);
    while let Some(handful) = handfuls.next().await {
        let (mut ids, mut writes, mut gap) = (Vec::new(), Vec::new(), false);
        for event in handful {
            let report = match event {
                VenueEvent::Order { order, execution } => {
                    Report { order: *order, executions: execution.into_iter().collect(), corrects: false }
                }
                VenueEvent::Corrected { client_order_id } => {
                    match find(&world, (&budget, timeout), &client_order_id).await {
                        Some(order) => Report { order, executions: Vec::new(), corrects: true },
                        None => {
                            gap = true;
                            continue;
                        }
                    }
                }
                VenueEvent::Gap => {
                    gap = true;
                    continue;
                }
            };
            ids.push(report.order.client_order_id.clone());
            writes.push(Write::Report(Box::new(report)));
        }
        if !writes.is_empty() {
            let results = persist_surely(&persist, writes).await;
            if heard.send(Heard(ids.into_iter().zip(results).collect())).await.is_err() {
                return;
            }
        }
        if gap && turned.ask(BrokerTurned::Gap).await.is_err() {
            tracing::error!("the supervisor did not hear of a gap in the venue's events");
        }
    }
}
