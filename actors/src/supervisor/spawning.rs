//! Spawning actors, and what follows from the death of one.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::Supervisor;
use crate::broker::{Broker, StopWork};
use crate::circuit_breaker::CircuitBreaker;
use crate::domain::parent::Parent;
use crate::gate::ShutReason;
use crate::health::{Part, PartStatus, Phase};
use crate::kill_switch::KillSwitch;
use crate::persistence::{Own, Persistence};
use crate::reconciler::{Reconciler, StopComparing};
use crate::twap_parent::{Rest, TwapParent};
use crate::watch::{Role, Sentinel};

/// So many deaths of one part within [`WINDOW`] are enough: whatever kills it is still there.
const MOST_DEATHS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

impl Supervisor {
    fn sentinel(&self, role: Role) -> Sentinel {
        Sentinel::new(role, self.deaths.clone())
    }

    pub(super) fn spawn_kill_switch(&mut self) {
        let shared = (self.world.clone(), self.tuning.clone(), self.health.clone());
        let sets = (self.in_flight.clone(), self.doubtful.clone());
        let sentinel = self.sentinel(Role::KillSwitch);
        let addr = KillSwitch::new(shared, self.latch.clone(), self.lines.for_kill_switch(), sets, sentinel).start();
        self.lines.connect_kill_switch(&addr);
        self.kill_switch = Some(addr);
        self.health.set(Part::KillSwitch, PartStatus::Up, "");
    }

    pub(super) fn spawn_breaker(&mut self) {
        let shared = (self.world.clone(), self.tuning.clone(), self.health.clone());
        let lines = (self.lines.persist.clone(), self.lines.cancel_everything.clone());
        let sentinel = self.sentinel(Role::CircuitBreaker);
        let addr = CircuitBreaker::new(shared, self.pens.breaker.clone(), lines, sentinel).start();
        self.lines.connect_breaker(&addr);
        self.breaker = Some(addr);
        self.health.set(Part::CircuitBreaker, PartStatus::Up, "");
    }

    pub(super) fn spawn_persistence(&mut self) {
        let lines = (self.lines.committed.clone(), self.lines.store_turned.clone());
        let sentinel = self.sentinel(Role::Persistence);
        let (world, tuning) = (self.world.clone(), self.tuning.clone());
        let addr = Persistence::new(world, tuning, self.ownership.clone(), lines, sentinel).start();
        self.lines.connect_persistence(&addr);
        self.persistence = Some(addr);
        self.health.set(Part::Persistence, PartStatus::Up, "");
    }

    pub(super) fn spawn_account(&mut self) {
        let shared = (self.world.clone(), self.tuning.clone(), self.gate.clone(), self.market_hours.clone());
        let sets = (self.in_flight.clone(), self.doubtful.clone(), self.budget.clone());
        let sentinel = self.sentinel(Role::Broker);
        let broker = Broker::new(shared, sets, self.lines.for_broker(), sentinel).start();
        self.lines.connect_broker(&broker);
        self.broker = Some(broker);
        let shared = (self.world.clone(), self.tuning.clone(), self.health.clone());
        let sentinel = self.sentinel(Role::Reconciler);
        let reconciler = Reconciler::new(shared, self.lines.for_reconciler(), sentinel).start();
        self.lines.connect_reconciler(&reconciler);
        self.reconciler = Some(reconciler);
    }

    pub(super) fn spawn_parent(&mut self, parent: &Parent) {
        let sentinel = self.sentinel(Role::Parent(parent.id.clone()));
        let actor = TwapParent::new(parent, self.world.clone(), &self.tuning, self.lines.for_parent(), sentinel);
        self.parents.insert(parent.id.clone(), actor.start());
    }

    /// The new owner tells whoever writes.
    pub(super) fn hand_over_ownership(&self, ctx: &mut Context<Self>) {
        let (Some(addr), Some(ownership)) = (self.persistence.clone(), self.ownership.clone()) else {
            return;
        };
        ctx.wait(async move { addr.send(Own(ownership)).await }.into_actor(self).map(|told, _, _| {
            if told.is_err() {
                tracing::error!("the writer died before it was told of the account; it is rebuilt with it");
            }
        }));
    }

    /// Takes note of a death: shuts what has to be shut, and rebuilds the part as a start would build it.
    pub(super) fn bury(&mut self, role: Role, ctx: &mut Context<Self>) {
        tracing::error!(?role, "an actor died");
        metrics::counter!("tranche_actor_deaths_total").increment(1);
        if self.is_draining() {
            return;
        }
        match &role {
            Role::KillSwitch => {
                self.kill_switch = None;
                self.latch.lose();
                self.health.set(Part::KillSwitch, PartStatus::Down, "it died");
            }
            Role::CircuitBreaker => {
                self.breaker = None;
                self.pens.breaker.shut(ShutReason::CircuitBreakerUnknown);
                self.health.set(Part::CircuitBreaker, PartStatus::Down, "it died");
            }
            Role::Persistence => {
                self.persistence = None;
                self.pens.supervisor.shut(ShutReason::StoreUnavailable);
                self.health.set(Part::Persistence, PartStatus::Down, "it died");
                self.stop_account(ctx);
            }
            Role::Broker | Role::Reconciler => {
                self.pens.supervisor.shut(ShutReason::BrokerUnavailable);
                self.health.set(part_of(&role), PartStatus::Down, "it died");
                self.stop_account(ctx);
            }
            Role::Parent(id) => {
                self.parents.remove(id);
            }
        }
        if self.may_rebuild(&role) {
            self.rebuild(role, ctx);
        } else {
            self.give_up(role, ctx);
        }
    }

    /// A part that keeps dying leaves the gate shut for good. A parent leaves it alone, since it would stop all others:
    /// it rests for a while and is tried again.
    fn give_up(&mut self, role: Role, ctx: &mut Context<Self>) {
        let often = format!("{role:?} died {MOST_DEATHS} times within a minute");
        if let Role::Parent(id) = role {
            tracing::error!(parent_order_id = %id, "{often} and is left alone for a minute");
            self.health.set(Part::Parents, PartStatus::Down, format!("{often} and is left alone for a minute"));
            ctx.run_later(WINDOW, move |act, ctx| {
                act.health.set(Part::Parents, PartStatus::Up, "");
                act.recover_parent(id, ctx);
            });
            return;
        }
        tracing::error!("{often} and is not rebuilt any more: the gate stays shut");
        self.health.set(part_of(&role), PartStatus::Down, format!("{often} and is not rebuilt any more"));
        self.given_up.insert(role);
    }

    fn may_rebuild(&mut self, role: &Role) -> bool {
        let now = self.world.clock.monotonic();
        let recent = self.rebuilds.entry(role.clone()).or_default();
        recent.retain(|at| now.saturating_sub(*at) < WINDOW);
        recent.push_back(now);
        recent.len() < MOST_DEATHS
    }

    fn rebuild(&mut self, role: Role, ctx: &mut Context<Self>) {
        match role {
            Role::KillSwitch => self.spawn_kill_switch(),
            Role::CircuitBreaker => self.spawn_breaker(),
            Role::Persistence => {
                // The new writer commits a probe, and says when that worked.
                self.spawn_persistence();
                if self.phase == Phase::Ready {
                    self.recover(ctx);
                }
            }
            Role::Broker | Role::Reconciler => self.recover(ctx),
            Role::Parent(id) => self.recover_parent(id, ctx),
        }
    }

    /// Stops what works for the account: its broker, its reconciler and its parents. Sends in flight are cut off by it,
    /// and are of unknown outcome in the store.
    pub(super) fn stop_account(&mut self, ctx: &mut Context<Self>) {
        self.lines.disconnect_account();
        if let Some(broker) = self.broker.take() {
            ctx.spawn(async move { broker.send(StopWork).await }.into_actor(self).map(|_, _, _| ()));
        }
        if let Some(reconciler) = self.reconciler.take() {
            ctx.spawn(async move { reconciler.send(StopComparing).await }.into_actor(self).map(|_, _, _| ()));
        }
        for (_, parent) in std::mem::take(&mut self.parents) {
            ctx.spawn(async move { parent.send(Rest).await }.into_actor(self).map(|_, _, _| ()));
        }
    }
}

const fn part_of(role: &Role) -> Part {
    match role {
        Role::KillSwitch => Part::KillSwitch,
        Role::CircuitBreaker => Part::CircuitBreaker,
        Role::Persistence => Part::Persistence,
        Role::Broker => Part::Broker,
        Role::Reconciler => Part::Reconciler,
        Role::Parent(_) => Part::Parents,
    }
}
