//! Spawning actors, and what follows from the death of one.

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::Account;
use crate::broker::{Broker, StopWork};
use crate::domain::parent::Parent;
use crate::gate::ShutReason;
use crate::health::{Part, PartStatus, Phase};
use crate::persistence::Persistence;
use crate::portfolio::{Portfolio, StopWatching};
use crate::reconciler::{Reconciler, StopComparing};
use crate::risk_desk::{RiskDesk, StopGuarding};
use crate::twap_parent::{Rest, TwapParent};
use crate::watch::{MOST_DEATHS, Role, Sentinel, WINDOW};

impl Account {
    fn sentinel(&self, role: Role) -> Sentinel {
        Sentinel::new(role, self.deaths.clone())
    }

    pub(super) fn spawn_persistence(&mut self) {
        let lines = self.lines.for_persistence();
        let sentinel = self.sentinel(Role::Persistence);
        let (world, tuning) = (self.world.clone(), self.tuning.clone());
        let ownership = (self.ownership.clone(), self.ownership.is_some());
        let addr = Persistence::new(world, tuning, ownership, lines, sentinel).start();
        self.lines.connect_persistence(&addr);
        self.persistence = Some(addr);
        self.health.set(Part::Persistence, PartStatus::Up, "");
    }

    pub(super) fn spawn_workers(&mut self) {
        let clocks = (self.market_hours.clone(), self.clock_guard.clone());
        let shared = (self.world.clone(), self.tuning.clone(), self.gate.clone(), clocks);
        let sets = (self.in_flight.clone(), self.doubtful.clone(), self.budget.clone());
        let sentinel = self.sentinel(Role::Broker);
        let broker = Broker::new(shared, self.health.clone(), sets, self.lines.for_broker(), sentinel).start();
        self.lines.connect_broker(&broker);
        self.broker = Some(broker);
        let (world, account, prices) = (self.world.clone(), self.tuning.account.clone(), self.prices.clone());
        let desk = RiskDesk::new(world, account, prices, self.sentinel(Role::RiskDesk)).start();
        self.lines.connect_risk_desk(&desk);
        self.risk_desk = Some(desk);
        let shared = (self.world.clone(), self.tuning.clone(), self.health.clone());
        let sentinel = self.sentinel(Role::Reconciler);
        let reconciler = Reconciler::new(shared, self.lines.for_reconciler(), sentinel).start();
        self.lines.connect_reconciler(&reconciler);
        self.reconciler = Some(reconciler);
        let seen = (self.health.clone(), self.market_hours.clone());
        let shared = (self.world.clone(), self.tuning.clone());
        let sentinel = self.sentinel(Role::Portfolio);
        let portfolio = Portfolio::new(shared, seen, self.lines.for_portfolio(), sentinel).start();
        self.lines.connect_portfolio(&portfolio);
        self.portfolio = Some(portfolio);
        self.health.set(Part::Portfolio, PartStatus::Up, "");
    }

    pub(super) fn spawn_parent(&mut self, parent: &Parent) {
        let sentinel = self.sentinel(Role::Parent(parent.id.clone()));
        let world = (self.world.clone(), self.clock_guard.clone());
        let actor = TwapParent::new(parent, world, &self.tuning, self.lines.for_parent(), sentinel);
        self.parents.insert(parent.id.clone(), actor.start());
    }

    /// Takes note of a death: shuts what has to be shut, and rebuilds the part as a start would build it.
    pub(super) fn bury(&mut self, role: Role, ctx: &mut Context<Self>) {
        tracing::error!(?role, "an actor died");
        metrics::counter!("tranche_actor_deaths_total").increment(1);
        if self.is_draining() {
            return;
        }
        match &role {
            Role::Persistence => {
                self.persistence = None;
                self.pen.shut(ShutReason::StoreUnavailable);
                self.health.set(Part::Persistence, PartStatus::Down, "it died");
                self.stop_workers(ctx);
            }
            Role::Broker | Role::Reconciler | Role::RiskDesk | Role::Portfolio => {
                self.pen.shut(ShutReason::BrokerUnavailable);
                self.health.set(part_of(&role), PartStatus::Down, "it died");
                self.stop_workers(ctx);
            }
            Role::Parent(id) => {
                self.parents.remove(id);
            }
        }
        if self.rebuilds.may_rebuild(&role, self.world.clock.monotonic()) {
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

    fn rebuild(&mut self, role: Role, ctx: &mut Context<Self>) {
        match role {
            Role::Persistence => {
                // The new writer commits a probe, and says when that worked.
                self.spawn_persistence();
                if self.phase == Phase::Ready {
                    self.recover(ctx);
                }
            }
            Role::Broker | Role::Reconciler | Role::RiskDesk | Role::Portfolio => self.recover(ctx),
            Role::Parent(id) => self.recover_parent(id, ctx),
        }
    }

    /// Stops what works for the account: its broker, its reconciler and its parents. Sends in flight are cut off by it,
    /// and are of unknown outcome in the store.
    pub(super) fn stop_workers(&mut self, ctx: &mut Context<Self>) {
        self.lines.disconnect_workers();
        if let Some(broker) = self.broker.take() {
            ctx.spawn(async move { broker.send(StopWork).await }.into_actor(self).map(|_, _, _| ()));
        }
        if let Some(reconciler) = self.reconciler.take() {
            ctx.spawn(async move { reconciler.send(StopComparing).await }.into_actor(self).map(|_, _, _| ()));
        }
        if let Some(desk) = self.risk_desk.take() {
            ctx.spawn(async move { desk.send(StopGuarding).await }.into_actor(self).map(|_, _, _| ()));
        }
        if let Some(portfolio) = self.portfolio.take() {
            ctx.spawn(async move { portfolio.send(StopWatching).await }.into_actor(self).map(|_, _, _| ()));
        }
        for (_, parent) in std::mem::take(&mut self.parents) {
            ctx.spawn(async move { parent.send(Rest).await }.into_actor(self).map(|_, _, _| ()));
        }
    }
}

const fn part_of(role: &Role) -> Part {
    match role {
        Role::Persistence => Part::Persistence,
        Role::Broker => Part::Broker,
        Role::Reconciler => Part::Reconciler,
        Role::RiskDesk => Part::RiskDesk,
        Role::Portfolio => Part::Portfolio,
        Role::Parent(_) => Part::Parents,
    }
}
