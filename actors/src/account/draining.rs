//! The account's clean end: no new work, sends settled, writes flushed.

use std::time::Duration;

use actix::{ActorFutureExt, Addr, AsyncContext, Handler, Message, ResponseActFuture, WrapFuture};

use super::Account;
use crate::broker::{Broker, Drain};
use crate::cancel_all::CancelEverything;
use crate::domain::ledger::Write;
use crate::domain::limits::LimitScope;
use crate::gate::ShutReason;
use crate::health::Phase;
use crate::persistence::persist;
use crate::twap_parent::Rest;

/// How long the last writes may take.
pub(crate) const FLUSH: Duration = Duration::from_secs(1);

/// Ends the account's work; the answer comes when nothing is in flight any more, or the time for that is over, and
/// everything is written.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct DrainAccount;

impl Handler<DrainAccount> for Account {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: DrainAccount, ctx: &mut Self::Context) -> Self::Result {
        self.phase = Phase::Draining;
        self.pen.shut(ShutReason::Draining);
        for (_, parent) in std::mem::take(&mut self.parents) {
            ctx.spawn(async move { parent.send(Rest).await }.into_actor(self).map(|_, _, _| ()));
        }
        let (broker, in_flight, persisting) = (self.broker.clone(), self.in_flight.clone(), self.lines.persist.clone());
        let (cancel, within) = (self.lines.cancel_everything.clone(), self.tuning.drain);
        let (store, ownership) = (self.world.store.clone(), self.ownership.clone());
        let (clock, cancel_open) = (self.world.clock.clone(), self.tuning.cancel_on_shutdown);
        let acquired = self.acquired.take();
        let drained = async move {
            let deadline = tokio::time::Instant::now() + within;
            if let Some(broker) = &broker {
                settle(broker, deadline).await;
            }
            if !in_flight.is_empty() {
                in_flight.cut(&LimitScope::Global);
                if let Some(broker) = broker {
                    settle(&broker, deadline + FLUSH).await;
                }
            }
            let everything = CancelEverything { scope: LimitScope::Global, within, also: Vec::new(), at: clock.now() };
            if cancel_open && cancel.ask(everything).await.is_err() {
                tracing::error!("open orders could not be cancelled on shutdown");
            }
            // Whatever was sent to the writer before this is committed when this is.
            let flushed = tokio::time::timeout(FLUSH, persist(&persisting, Write::Probe)).await;
            if !matches!(flushed, Ok(Ok(_))) {
                tracing::error!("the last writes could not be confirmed; the next start recovers what they were about");
            }
            // The store may be about to give us the account: whoever has asked for it gives it back.
            if let Some(acquired) = acquired
                && tokio::time::timeout(FLUSH, acquired).await.is_err()
            {
                tracing::warn!("the store did not say whether the account is ours; a lease on it ends by itself");
            }
            let Some(ownership) = ownership else { return };
            match tokio::time::timeout(FLUSH, store.release(&ownership)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => tracing::warn!("the account could not be given up; its lease ends by itself"),
            }
        };
        Box::pin(drained.into_actor(self).map(|(), act, ctx| act.stop_all(ctx)))
    }
}

/// Waits until all that was sent has come to its end, or the time for that is over.
async fn settle(broker: &Addr<Broker>, deadline: tokio::time::Instant) {
    while tokio::time::Instant::now() < deadline {
        match broker.send(Drain).await {
            Ok(true) => return,
            Ok(false) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(_) => {
                tracing::error!("the broker's actor died during the shutdown; the next start recovers what it sent");
                return;
            }
        }
    }
}
