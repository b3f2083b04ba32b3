//! The clean end: no new work, sends settled, writes flushed, store closed.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Handler, Message, ResponseActFuture, WrapFuture};

use super::Supervisor;
use crate::broker::{CancelEverything, Drain};
use crate::domain::ledger::Write;
use crate::gate::ShutReason;
use crate::health::Phase;
use crate::persistence::persist;
use crate::twap_parent::Rest;

/// Shuts the house down; the answer comes when nothing is in flight any more, or the time for that is over, and
/// everything is written.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct DrainAll;

impl Handler<DrainAll> for Supervisor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: DrainAll, ctx: &mut Self::Context) -> Self::Result {
        self.phase = Phase::Draining;
        self.health.enter(Phase::Draining);
        self.pens.supervisor.shut(ShutReason::Draining);
        tracing::info!("draining");
        for (_, parent) in std::mem::take(&mut self.parents) {
            ctx.spawn(
                async move { parent.send(Rest).await }
                    .into_actor(self)
                    .map(|_, _, _| ()),
            );
        }
        let (broker, in_flight, persisting) = (self.broker.clone(), self.in_flight.clone(), self.lines.persist.clone());
        let (store, cancel, within) = (
            self.world.store.clone(),
            self.lines.cancel_everything.clone(),
            self.tuning.drain,
        );
        let cancel_open = self.tuning.cancel_on_shutdown;
        let drained = async move {
            if let Some(broker) = broker
                && broker.send(Drain).await.is_err()
            {
                tracing::error!("the broker's actor was down when the shutdown began");
            }
            let deadline = tokio::time::Instant::now() + within;
            while !in_flight.is_empty() && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if cancel_open
                && cancel
                    .ask(CancelEverything {
                        within,
                        also: Vec::new(),
                    })
                    .await
                    .is_err()
            {
                tracing::error!("open orders could not be cancelled on shutdown");
            }
            // Whatever was sent to the writer before this is committed when this is.
            let flushed = tokio::time::timeout_at(deadline, persist(&persisting, Write::Probe)).await;
            if !matches!(flushed, Ok(Ok(_))) {
                tracing::error!("the last writes could not be confirmed; the next start recovers what they were about");
            }
            store.close().await;
        };
        Box::pin(drained.into_actor(self).map(|(), act, ctx| act.stop_all(ctx)))
    }
}
