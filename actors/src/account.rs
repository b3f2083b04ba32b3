//! One broker account: recovers it, spawns what works for it, carries out what is asked of it, watches, and rebuilds what
//! died from the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture,
};
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};

use crate::broker::{Broker, BrokerTurned};
use crate::budget::Budget;
use crate::cancel_all::Reach;
use crate::clock_guard::ClockGuard;
use crate::commands::Desk;
use crate::domain::names::{AccountName, OrderId};
use crate::domain::order::Order;
use crate::domain::request::PlanRules;
use crate::doubt::Doubtful;
use crate::gate::{Gate, GateWriter, InFlight, ProcessGate, ShutReason};
use crate::health::{AccountHealth, Health, Part, PartStatus, Phase};
use crate::market_hours::MarketHours;
use crate::persistence::{Committed, Persistence, StoreTurned};
use crate::portfolio::{Heed, Portfolio};
use crate::ports::World;
use crate::ports::store::Ownership;
use crate::prices::Prices;
use crate::reconciler::Reconciler;
use crate::risk_desk::RiskDesk;
use crate::supervisor::ProcessLines;
use crate::tuning::{CalendarSource, Tuning};
use crate::twap_parent::{Turned, TwapParent};
use crate::watch::{Deaths, Fatal, LastWord, Role};

use lines::Lines;
use volumes::Volumes;

pub(crate) use draining::{DrainAccount, FLUSH};
pub(crate) use guests::mark;

mod calendar;
mod clock;
mod commands;
mod draining;
mod guests;
mod leasing;
mod lines;
mod recovery;
mod rewound;
mod spawning;
mod volumes;

/// An account of this process, as its edges see it.
#[derive(Clone)]
pub struct Office {
    /// The account.
    pub account: AccountName,
    /// Where to send its commands.
    pub desk: Desk,
    /// What its plans are held to.
    pub plan_rules: Arc<PlanRules>,
    /// How it is.
    pub health: AccountHealth,
    /// The last check before the wire.
    pub gate: Gate,
    /// The market's calendar.
    pub market_hours: MarketHours,
    /// The sends in flight.
    pub in_flight: InFlight,
    /// The orders of unknown outcome.
    pub doubtful: Doubtful,
}

/// Owns the actors that work for one account. A part that is down keeps its reasons at the gate until it is rebuilt.
pub(crate) struct Account {
    world: World,
    tuning: Tuning,
    health: AccountHealth,
    gate: Gate,
    pen: GateWriter,
    market_hours: MarketHours,
    clock_guard: ClockGuard,
    /// The wall clock was found to have moved, and the venue is asked about it.
    asks_the_time: bool,
    volumes: Volumes,
    lines: Lines,
    in_flight: InFlight,
    doubtful: Doubtful,
    budget: Budget,
    deaths: mpsc::UnboundedSender<Role>,
    reported: Option<mpsc::UnboundedReceiver<Role>>,
    ownership: Option<Ownership>,
    /// The store is being asked for the account.
    acquiring: bool,
    /// Ends when it has answered, and what it gave to one that ends was given back.
    acquired: Option<oneshot::Receiver<()>>,
    lease_watch: Option<SpawnHandle>,
    /// Which renewal of a lease was asked for last; it grows once more when that one is answered.
    renewal: u64,
    persistence: Option<Addr<Persistence>>,
    broker: Option<Addr<Broker>>,
    reconciler: Option<Addr<Reconciler>>,
    risk_desk: Option<Addr<RiskDesk>>,
    prices: Prices,
    portfolio: Option<Addr<Portfolio>>,
    parents: BTreeMap<OrderId, Addr<TwapParent>>,
    /// Submissions of parents on their way.
    accepting: usize,
    /// Parents that ended while submissions were being answered, perhaps before their actors were spawned.
    ended_early: BTreeSet<OrderId>,
    rebuilds: Deaths<Role>,
    /// Parts that died too often to be rebuilt.
    given_up: BTreeSet<Role>,
    /// Requests that wait for a single order's venue.
    waiting: BTreeMap<OrderId, Vec<oneshot::Sender<Order>>>,
    /// A recovery is under way; another one is wanted after it.
    recovering: bool,
    recover_again: bool,
    retry: Option<SpawnHandle>,
    phase: Phase,
    _last_word: LastWord,
}

/// An account's actor, and the ways to it.
pub(crate) struct Opened {
    pub(crate) addr: Addr<Account>,
    pub(crate) office: Office,
    pub(crate) reach: Reach,
}

/// Starts an account's actor on the current arbiter.
pub(crate) fn open(
    (world, tuning): (World, Tuning),
    (process, whole): (&ProcessGate, &Health),
    lines: &ProcessLines,
    fatal: Fatal,
) -> Opened {
    let (gate, pen) = process.account();
    let (in_flight, doubtful) = (InFlight::default(), Doubtful::default());
    let (deaths, reported) = mpsc::unbounded_channel();
    let market_hours =
        if tuning.calendar == CalendarSource::AlwaysOpen { MarketHours::always_open() } else { MarketHours::default() };
    let plan_rules = Arc::new(tuning.plan_rules.clone());
    let (account, health, lines) = (tuning.account.clone(), whole.account(&tuning.account), Lines::of(lines));
    let budget = Budget::new(tuning.requests_per_minute, &world.clock);
    let reach = Reach {
        account: account.clone(),
        in_flight: in_flight.clone(),
        doubtful: doubtful.clone(),
        cancel: lines.cancel_everything.clone(),
        health: health.clone(),
        world: world.clone(),
        budget: budget.clone(),
    };
    let prices = Prices::new(world.clone());
    let addr = Account {
        budget,
        world,
        tuning,
        health: health.clone(),
        gate: gate.clone(),
        pen: pen.clone(),
        market_hours: market_hours.clone(),
        clock_guard: ClockGuard::default(),
        asks_the_time: false,
        prices,
        volumes: Volumes::default(),
        lines,
        in_flight: in_flight.clone(),
        doubtful: doubtful.clone(),
        deaths,
        reported: Some(reported),
        ownership: None,
        acquiring: false,
        acquired: None,
        lease_watch: None,
        renewal: 0,
        persistence: None,
        broker: None,
        reconciler: None,
        risk_desk: None,
        portfolio: None,
        parents: BTreeMap::new(),
        accepting: 0,
        ended_early: BTreeSet::new(),
        rebuilds: Deaths::default(),
        given_up: BTreeSet::new(),
        waiting: BTreeMap::new(),
        recovering: false,
        recover_again: false,
        retry: None,
        phase: Phase::Starting,
        _last_word: LastWord::new(pen, fatal),
    }
    .start();
    let office = Office { account, desk: Desk::of(&addr), plan_rules, health, gate, market_hours, in_flight, doubtful };
    Opened { addr, office, reach }
}

impl Actor for Account {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.tuning.max_commits.max(16));
        self.lines.connect_account(&ctx.address());
        if let Some(reported) = self.reported.take() {
            let deaths =
                stream::unfold(reported, |mut deaths| async { deaths.recv().await.map(|role| (role, deaths)) });
            ctx.add_message_stream(futures_util::StreamExt::map(deaths, Died));
        }
        self.spawn_persistence();
        self.acquire(ctx);
        self.keep_calendar(ctx);
        self.watch_clock(ctx);
        ctx.run_interval(self.tuning.heartbeat, Self::beat);
        if self.tuning.lease.is_some() {
            ctx.run_interval(guests::LOOK, Self::look_for_guests);
        }
    }
}

/// An actor panicked, or its mailbox was found closed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Died(Role);

impl Handler<Died> for Account {
    type Result = ();

    fn handle(&mut self, Died(role): Died, ctx: &mut Self::Context) {
        // Where the heartbeat was faster, whoever has the role now was rebuilt since.
        if !self.is_alive(&role) {
            self.bury(role, ctx);
        }
    }
}

impl Handler<Committed> for Account {
    type Result = ();

    fn handle(&mut self, committed: Committed, ctx: &mut Self::Context) {
        for (id, status) in committed.parents {
            let addr = if status.is_terminal() {
                if self.accepting > 0 {
                    self.ended_early.insert(id.clone());
                }
                self.parents.remove(&id)
            } else {
                self.parents.get(&id).cloned()
            };
            if let Some(addr) = addr {
                let told = async move { addr.send(Turned(status)).await };
                ctx.spawn(told.into_actor(self).map(move |told, _, _| {
                    if told.is_err() {
                        tracing::debug!(parent_order_id = %id, "a parent had ended before it was told so");
                    }
                }));
            }
        }
        metrics::gauge!("tranche_open_parents", "account" => self.tuning.account.to_string())
            .set(u32::try_from(self.parents.len()).unwrap_or(u32::MAX));
        for order in committed.singles {
            self.wake(&order);
        }
        if let Some(heed) = committed.watched {
            self.heed(heed, ctx);
        }
    }
}

/// Nobody waits for this order any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Forget(OrderId);

impl Handler<Forget> for Account {
    type Result = ();

    fn handle(&mut self, Forget(id): Forget, _: &mut Self::Context) {
        self.waiting.remove(&id);
    }
}

impl Handler<StoreTurned> for Account {
    type Result = ();

    fn handle(&mut self, turned: StoreTurned, ctx: &mut Self::Context) {
        match turned {
            StoreTurned::Down(why) => {
                self.pen.shut(ShutReason::StoreUnavailable);
                self.health.set(Part::Store, PartStatus::Down, why);
            }
            StoreTurned::Up => {
                self.health.set(Part::Store, PartStatus::Up, "");
                self.pen.clear(ShutReason::StoreUnavailable);
                if self.phase == Phase::Ready && self.broker.is_none() && self.ownership.is_some() {
                    self.recover(ctx);
                }
            }
            StoreTurned::Deposed { term } => {
                // The word of an earlier term, which came late, says nothing of this one.
                if self.ownership.as_ref().is_some_and(|ownership| ownership.term == term) {
                    self.lose("another instance has taken the account", ctx);
                }
            }
        }
    }
}

impl Handler<BrokerTurned> for Account {
    type Result = ();

    fn handle(&mut self, turned: BrokerTurned, ctx: &mut Self::Context) {
        if self.is_given_up() {
            // The last word of one that is gone: it must not hide why nothing is rebuilt.
            return;
        }
        match turned {
            BrokerTurned::Disconnected(why) => {
                self.pen.shut(ShutReason::BrokerUnavailable);
                tracing::error!(reason = %why, "the broker is disconnected");
                self.health.set(Part::Broker, PartStatus::Down, why);
                self.recover(ctx);
            }
            BrokerTurned::Gap => self.compare_books(ctx),
            BrokerTurned::Unauthorised(why) => self.halt_for_the_key(why, ctx),
        }
    }
}

impl Account {
    /// Looks at every mailbox once a second. A closed one means a death that nobody reported.
    fn beat(&mut self, ctx: &mut Context<Self>) {
        let mut dead = Vec::new();
        let mut check = |is_open: Option<bool>, role: Role| {
            if is_open == Some(false) {
                dead.push(role);
            }
        };
        check(self.persistence.as_ref().map(Addr::connected), Role::Persistence);
        check(self.broker.as_ref().map(Addr::connected), Role::Broker);
        check(self.reconciler.as_ref().map(Addr::connected), Role::Reconciler);
        check(self.risk_desk.as_ref().map(Addr::connected), Role::RiskDesk);
        check(self.portfolio.as_ref().map(Addr::connected), Role::Portfolio);
        for role in dead {
            self.bury(role, ctx);
        }
        // What panicked is reported; what is left closed here has ended with its parent.
        self.parents.retain(|_, parent| parent.connected());
        let reasons = self.gate.reasons(self.world.clock.boottime());
        let labels = [("account", self.tuning.account.to_string())];
        metrics::gauge!("tranche_gate_open", &labels).set(u32::from(reasons.is_empty()));
        metrics::gauge!("tranche_unknown_orders", &labels).set(u32::try_from(self.doubtful.len()).unwrap_or(u32::MAX));
        metrics::gauge!("tranche_orders_in_flight", &labels)
            .set(u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX));
    }

    fn is_alive(&self, role: &Role) -> bool {
        match role {
            Role::Persistence => self.persistence.as_ref().is_some_and(Addr::connected),
            Role::Broker => self.broker.as_ref().is_some_and(Addr::connected),
            Role::Reconciler => self.reconciler.as_ref().is_some_and(Addr::connected),
            Role::RiskDesk => self.risk_desk.as_ref().is_some_and(Addr::connected),
            Role::Portfolio => self.portfolio.as_ref().is_some_and(Addr::connected),
            Role::Parent(id) => self.parents.get(id).is_some_and(Addr::connected),
        }
    }

    /// Hands a single order's state to the requests that wait for it, once the venue has it or it has ended.
    fn wake(&mut self, order: &Order) {
        use crate::domain::status::Share;
        match order.status.share() {
            Share::Pending | Share::Unknown => {}
            Share::Working | Share::Unexecuted => {
                for waiting in self.waiting.remove(&order.id).unwrap_or_default() {
                    if waiting.send(order.clone()).is_err() {
                        tracing::debug!(client_order_id = %order.id, "an answer came after the wait for it was over");
                    }
                }
            }
        }
    }

    /// The portfolio's guards hear of what was committed. While they are being rebuilt, the next look finds it.
    fn heed(&self, heed: Heed, ctx: &mut Context<Self>) {
        let line = self.lines.heed.clone();
        ctx.spawn(async move { line.ask(heed).await }.into_actor(self).map(|told, _, _| {
            if told.is_err() {
                tracing::debug!("the account's portfolio is not watched yet");
            }
        }));
    }

    fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    fn stop_all(&mut self, ctx: &mut Context<Self>) {
        self.lines.disconnect();
        ctx.stop();
    }
}
