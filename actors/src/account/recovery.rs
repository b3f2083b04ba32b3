//! Start-up and recovery: the same path, whether the process or an actor died.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::Account;
use super::rewound::{NotHeld, hold_if_rewound};
use crate::broker::Listen;
use crate::domain::names::OrderId;
use crate::domain::parent::Parent;
use crate::gate::ShutReason;
use crate::health::{Part, PartStatus, Phase};
use crate::kill_switch::ResumeCancels;
use crate::ports::VenueError;
use crate::ports::store::{AnyOrder, StoreError};
use crate::reconciler::{Compare, CompareError, CompareSoon};
use crate::risk_desk::Load;
use crate::watch::Role;

const RETRY: Duration = Duration::from_secs(1);
/// How long a broker is left alone that refused our key: asking more often would change nothing, and may lock the key.
const RETRY_KEY: Duration = Duration::from_secs(30);

/// Why an account is not recovered yet.
enum Setback {
    /// The broker refuses our key.
    Unauthorised(String),
    /// Anything else.
    Other(String),
}

impl From<VenueError> for Setback {
    fn from(error: VenueError) -> Self {
        match error {
            VenueError::Unauthorised { detail } => Self::Unauthorised(detail),
            VenueError::Unavailable { .. } | VenueError::NotNow { .. } => Self::Other(error.to_string()),
        }
    }
}

impl From<NotHeld> for Setback {
    fn from(error: NotHeld) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<CompareError> for Setback {
    fn from(error: CompareError) -> Self {
        match error {
            CompareError::Venue(error) => error.into(),
            CompareError::Store(error) => Self::Other(error.to_string()),
        }
    }
}

impl Account {
    /// Recovers the account: events subscribed, books compared, parents armed; only then may it send. What fails is
    /// tried again, while reads and switches work.
    pub(super) fn recover(&mut self, ctx: &mut Context<Self>) {
        if self.is_draining() {
            return;
        }
        let Some(ownership) = self.ownership.clone() else { return };
        let term = ownership.term;
        if self.is_given_up() {
            self.become_ready();
            return;
        }
        if std::mem::replace(&mut self.recovering, true) {
            self.recover_again = true;
            return;
        }
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
        }
        self.pen.shut(ShutReason::BrokerUnavailable);
        if self.broker.is_none() || self.reconciler.is_none() || self.risk_desk.is_none() || self.portfolio.is_none() {
            self.stop_workers(ctx);
            self.spawn_workers();
        }
        let Some(broker) = self.broker.clone() else { return };
        let (compare, store, account) =
            (self.lines.compare.clone(), self.world.store.clone(), self.tuning.account.clone());
        let (persist, most) = (self.lines.persist.clone(), self.tuning.max_batch);
        let load = self.lines.load_limits.clone();
        let recovered = async move {
            let rewound = hold_if_rewound(&store, &ownership, (&persist, most)).await?;
            broker.send(Listen).await.map_err(|_| Setback::Other(gone()))??;
            let compared = compare.ask(Compare { recovering: true, behind: rewound }).await;
            compared.map_err(|_| Setback::Other(gone()))??;
            if rewound.is_some() {
                store.caught_up(&ownership).await.map_err(|error| Setback::Other(error.to_string()))?;
            }
            load.ask(Load).await.map_err(|_| Setback::Other(gone()))?.map_err(CompareError::Store)?;
            store.open_parents(&account).await.map_err(|error| Setback::Other(error.to_string()))
        };
        ctx.spawn(recovered.into_actor(self).map(move |recovered, act, ctx| {
            act.recovering = false;
            if act.ownership.as_ref().is_none_or(|ownership| ownership.term != term) {
                // The account was lost meanwhile; if it is ours again, that is another story.
                act.recover_again = false;
                act.recover(ctx);
                return;
            }
            match recovered {
                // Of what was given up meanwhile nothing is resumed, and health goes on saying why.
                Ok(_) | Err(_) if act.is_given_up() => act.become_ready(),
                Ok(parents)
                    if act.broker.is_some()
                        && act.reconciler.is_some()
                        && act.risk_desk.is_some()
                        && act.portfolio.is_some() =>
                {
                    act.resume(&parents, ctx)
                }
                Ok(_) => act.stay_degraded(gone(), ctx),
                Err(Setback::Unauthorised(why)) => {
                    act.halt_for_the_key(why, ctx);
                    act.become_ready();
                }
                Err(Setback::Other(why)) => act.stay_degraded(why, ctx),
            }
            if std::mem::take(&mut act.recover_again) {
                act.recover(ctx);
            }
        }));
    }

    /// Whether a part that the account needs died too often: then nothing is recovered, and the gate stays shut.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.iter().any(Role::serves_the_account)
    }

    fn resume(&mut self, parents: &[Parent], ctx: &mut Context<Self>) {
        if self.is_draining() {
            return;
        }
        for parent in parents {
            if !self.parents.contains_key(&parent.id) {
                self.spawn_parent(parent);
            }
        }
        tracing::info!(parents = parents.len(), unknown = self.doubtful.len(), "the account is recovered");
        self.health.set(Part::Broker, PartStatus::Up, "");
        self.pen.clear(ShutReason::BrokerUnavailable);
        // The broker has just answered to our key.
        self.pen.clear(ShutReason::BrokerUnauthorised);
        self.become_ready();
        let line = self.lines.resume_cancels.clone();
        ctx.spawn(async move { line.ask(ResumeCancels).await }.into_actor(self).map(|asked, _, _| {
            if asked.is_err() {
                tracing::error!("the kill switch is being rebuilt; marked orders are cancelled all the same");
            }
        }));
    }

    fn stay_degraded(&mut self, why: String, ctx: &mut Context<Self>) {
        tracing::error!(reason = %why, "the account can't be recovered yet: nothing is sent");
        self.health.set(Part::Broker, PartStatus::Down, why);
        self.become_ready();
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
        }
        self.retry = Some(ctx.run_later(RETRY, Self::recover));
    }

    /// The broker refuses our key, or the account: nothing is sent until it takes it again. It is asked now and then, since
    /// an account may be unblocked; another key needs another start.
    pub(super) fn halt_for_the_key(&mut self, why: String, ctx: &mut Context<Self>) {
        tracing::error!(reason = %why, "the broker refuses our key: the account is halted");
        self.pen.shut(ShutReason::BrokerUnauthorised);
        // That says it all, and no one but a recovery opens the gate again.
        self.pen.clear(ShutReason::BrokerUnavailable);
        self.health.set(Part::Broker, PartStatus::Down, why);
        if self.retry.is_none() && !self.recovering && !self.is_draining() {
            self.retry = Some(ctx.run_later(RETRY_KEY, Self::recover));
        }
    }

    /// Ready once the first try at recovery has ended, well or not: an operator always reaches a stopped system.
    pub(super) fn become_ready(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Ready;
            self.health.become_ready();
            self.health.set(Part::Parents, PartStatus::Up, "");
            self.pen.clear(ShutReason::Starting);
        }
    }

    /// Rebuilds one parent from the store; no other parent notices.
    pub(super) fn recover_parent(&mut self, id: OrderId, ctx: &mut Context<Self>) {
        let (store, asked) = (self.world.store.clone(), id.clone());
        let read = async move { store.order(&asked).await };
        ctx.spawn(read.into_actor(self).map(move |read, act, ctx| match read {
            Ok(Some(AnyOrder::Parent(parent))) if !parent.status.is_terminal() => act.adopt_parent(&parent),
            Ok(_) => {}
            Err(error) => act.retry_parent(id, &error, ctx),
        }));
    }

    fn retry_parent(&self, id: OrderId, error: &StoreError, ctx: &mut Context<Self>) {
        tracing::error!(parent_order_id = %id, %error, "a parent that died could not be read; trying again");
        ctx.run_later(RETRY, move |act, ctx| act.recover_parent(id, ctx));
    }

    /// Events may be missing: compare the books, with the gate as it is.
    pub(super) fn compare_books(&mut self, ctx: &mut Context<Self>) {
        let line = self.lines.compare_soon.clone();
        ctx.spawn(async move { line.ask(CompareSoon).await }.into_actor(self).map(|asked, _, _| {
            if asked.is_err() {
                tracing::debug!("the reconciler is being rebuilt; the recovery compares the books");
            }
        }));
    }
}

fn gone() -> String {
    "the account's actors died meanwhile".to_owned()
}
