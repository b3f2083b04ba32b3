//! Whose the account is: standby until the lease on it is ours, its owner while the lease goes on, then standby again.
//!
//! A lease counts from before it was asked for, on the clock that counts suspended time, and ends a part early: whoever
//! takes the account over by the store's clock finds nobody who still sends. The gate ends with it by itself; the timers
//! here only draw the consequences.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::oneshot;
use tokio::time::error::Elapsed;

use super::Account;
use crate::domain::limits::LimitScope;
use crate::gate::ShutReason;
use crate::health::{Part, PartStatus, Standing};
use crate::persistence::Own;
use crate::ports::store::{Acquired, Ownership, StoreError};
use crate::tuning::Lease;

/// How long after a failure the store is asked again, at the longest.
const RETRY: Duration = Duration::from_secs(1);

impl Account {
    /// Opens the store and takes the account, as often as it takes.
    pub(super) fn acquire(&mut self, ctx: &mut Context<Self>) {
        if self.is_draining() || self.ownership.is_some() || std::mem::replace(&mut self.acquiring, true) {
            return;
        }
        let (store, account, instance) =
            (self.world.store.clone(), self.tuning.account.clone(), self.tuning.card.id.clone());
        let (lease, world) = (self.tuning.lease, self.world.clone());
        let asked = async move {
            store.open().await?;
            let asked_at = world.clock.boottime();
            let acquired = store.acquire(&account, &instance, lease.map(|lease| lease.length)).await?;
            Ok::<_, StoreError>((acquired, asked_at))
        };
        let (settled, acquired) = oneshot::channel();
        self.acquired = Some(acquired);
        ctx.spawn(asked.into_actor(self).map(|asked, act, ctx| {
            act.acquiring = false;
            match asked {
                Ok((Acquired::Taken(ownership), _)) if act.is_draining() => act.give_back(ownership, settled, ctx),
                Ok((Acquired::Taken(ownership), asked_at)) => act.own(ownership, asked_at, ctx),
                Ok((Acquired::HeldBy { owner, left }, _)) => act.stand_by(owner, left, ctx),
                Err(error) => {
                    tracing::error!(account = %act.tuning.account, %error, "the account can't be taken yet");
                    // Whoever had it may have lost it since.
                    act.health.stand(Standing::Unknown);
                    act.pen.shut(ShutReason::StoreUnavailable);
                    act.health.set(Part::Store, PartStatus::Down, error.to_string());
                    act.acquire_in(RETRY, ctx);
                }
            }
        }));
    }

    fn acquire_in(&self, wait: Duration, ctx: &mut Context<Self>) {
        let wait = self.tuning.lease.map_or(wait, |lease| wait.min(lease.renew_every));
        ctx.run_later(wait.max(Duration::from_millis(5)), Self::acquire);
    }

    fn own(&mut self, ownership: Ownership, asked_at: Duration, ctx: &mut Context<Self>) {
        tracing::info!(account = %ownership.account, term = ownership.term, "the account is taken");
        self.health.set(Part::Store, PartStatus::Up, "");
        self.health.stand(Standing::Owner { term: ownership.term });
        metrics::gauge!("tranche_lease_term", "account" => ownership.account.to_string())
            .set(u32::try_from(ownership.term).unwrap_or(u32::MAX));
        if let Some(lease) = self.tuning.lease {
            self.pen.renew(asked_at + lease.held());
            let term = ownership.term;
            ctx.run_later(lease.renew_every, move |act, ctx| act.renew(term, lease, ctx));
        }
        self.ownership = Some(ownership);
        self.pen.clear(ShutReason::NotOwner);
        self.pen.clear(ShutReason::StoreUnavailable);
        self.hand_over_ownership(ctx);
        self.recover(ctx);
    }

    /// Another instance has the account: nothing is sent from here until its lease is over.
    fn stand_by(&mut self, owner: String, left: Duration, ctx: &mut Context<Self>) {
        let standing = Standing::Standby { owner };
        if self.health.standing() != standing {
            tracing::info!(account = %self.tuning.account, ?standing, "the account is another instance's");
            self.health.stand(standing);
        }
        // What was in doubt with us is the owner's to tell of.
        self.doubtful.retain(|_| false);
        self.pen.shut(ShutReason::NotOwner);
        self.pen.clear(ShutReason::StoreUnavailable);
        self.health.set(Part::Store, PartStatus::Up, "");
        self.health.set(Part::Broker, PartStatus::Unknown, "another instance owns the account");
        self.become_ready();
        self.acquire_in(left, ctx);
    }

    /// Prolongs the lease, again and again for as long as the term is ours. Nothing here waits for a batch.
    fn renew(&mut self, term: u64, lease: Lease, ctx: &mut Context<Self>) {
        let Some(ownership) = self.ownership.clone().filter(|ownership| ownership.term == term) else { return };
        if self.gate.lease_left(self.world.clock.boottime()).is_zero() {
            self.lose("the lease is over", ctx);
            return;
        }
        self.renewal += 1;
        let (nth, store, world) = (self.renewal, self.world.store.clone(), self.world.clone());
        let renewed = async move {
            let asked_at = world.clock.boottime();
            (asked_at, tokio::time::timeout(lease.renew_every, store.renew(&ownership, lease.length)).await)
        };
        ctx.spawn(renewed.into_actor(self).map(move |(asked_at, asked), act, ctx| {
            if act.ownership.as_ref().is_some_and(|ownership| ownership.term == term) {
                act.renewed(nth, (term, lease), (asked_at, asked), ctx);
            }
        }));
        // A store that is slow is waited for, and one answer that never comes keeps no other from being asked for.
        ctx.run_later(lease.renew_every / 2, move |act, ctx| {
            if act.renewal == nth {
                act.renew(term, lease, ctx);
            }
        });
        self.watch_lease(term, ctx);
    }

    fn renewed(
        &mut self,
        nth: u64,
        (term, lease): (u64, Lease),
        (asked_at, asked): (Duration, Result<Result<(), StoreError>, Elapsed>),
        ctx: &mut Context<Self>,
    ) {
        let now = self.world.clock.boottime();
        let left = self.gate.lease_left(now);
        let next = match asked {
            Ok(Ok(())) => {
                // A lease that ended before the answer came stays ended: what was sent for it is cut off already. A renewal
                // that was asked for later may have been answered before.
                if !left.is_zero() && asked_at + lease.held() > now + left {
                    self.pen.renew(asked_at + lease.held());
                }
                lease.renew_every
            }
            Ok(Err(StoreError::Deposed)) => {
                self.lose("another instance has taken the account", ctx);
                return;
            }
            Ok(Err(error)) => {
                tracing::error!(account = %self.tuning.account, %error, "the lease could not be renewed");
                lease.renew_every / 4
            }
            Err(Elapsed { .. }) => Duration::ZERO,
        };
        // Where another one was asked for since, it goes on from there.
        if self.renewal == nth {
            self.renewal += 1;
            let left = self.gate.lease_left(now);
            ctx.run_later(next.min(left), move |act, ctx| act.renew(term, lease, ctx));
        }
    }

    /// The instant at which the lease ends may come while a renewal is on its way.
    fn watch_lease(&mut self, term: u64, ctx: &mut Context<Self>) {
        if let Some(watch) = self.lease_watch.take() {
            ctx.cancel_future(watch);
        }
        let left = self.gate.lease_left(self.world.clock.boottime());
        self.lease_watch = Some(ctx.run_later(left, move |act, ctx| {
            act.lease_watch = None;
            if act.ownership.as_ref().is_none_or(|ownership| ownership.term != term) {
                return;
            }
            if act.gate.lease_left(act.world.clock.boottime()).is_zero() {
                act.lose("the lease is over", ctx);
            } else {
                act.watch_lease(term, ctx);
            }
        }));
    }

    /// The account is not ours any more: shut, cut off, stopped; what is durable is the next owner's to recover. What is in
    /// doubt stays known until there is one: an engagement lists it meanwhile.
    pub(super) fn lose(&mut self, why: &str, ctx: &mut Context<Self>) {
        let Some(ownership) = self.ownership.take() else { return };
        self.pen.shut(ShutReason::NotOwner);
        self.in_flight.cut(&LimitScope::Global);
        tracing::error!(account = %ownership.account, term = ownership.term, why, "the account is lost");
        metrics::counter!("tranche_leases_lost_total").increment(1);
        metrics::gauge!("tranche_lease_term", "account" => ownership.account.to_string()).set(0);
        self.health.stand(Standing::Unknown);
        self.health.set(Part::Broker, PartStatus::Unknown, why);
        self.pen.shut(ShutReason::BrokerUnavailable);
        if let Some(watch) = self.lease_watch.take() {
            ctx.cancel_future(watch);
        }
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
        }
        self.stop_workers(ctx);
        self.hand_over_ownership(ctx);
        self.acquire_in(Duration::ZERO, ctx);
    }

    /// The account was taken when nobody wanted it any more.
    fn give_back(&self, ownership: Ownership, settled: oneshot::Sender<()>, ctx: &mut Context<Self>) {
        let store = self.world.store.clone();
        ctx.spawn(async move { store.release(&ownership).await }.into_actor(self).map(|released, _, _| {
            if let Err(error) = released {
                tracing::warn!(%error, "an account could not be given up; its lease ends by itself");
            }
            drop(settled);
        }));
    }

    /// Whoever writes is told whether the account is ours.
    pub(super) fn hand_over_ownership(&self, ctx: &mut Context<Self>) {
        let Some(addr) = self.persistence.clone() else { return };
        let own = Own(self.ownership.clone());
        ctx.wait(async move { addr.send(own).await }.into_actor(self).map(|told, _, _| {
            if told.is_err() {
                tracing::error!("the writer died before it was told of the account; it is rebuilt with it");
            }
        }));
    }
}
