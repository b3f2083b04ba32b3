//! The root: what belongs to the whole process. It spawns the switches and the accounts, watches, and rebuilds what died.

use std::sync::Arc;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};

use crate::account::{self, Account, DrainAccount, FLUSH, Office, Opened};
use crate::cancel_all::Everywhere;
use crate::circuit_breaker::{BrokerAnswered, CircuitBreaker, LineCrossed, PositionDiffers};
use crate::commands::{CommandError, Disengage, Engage, Released, Reset, SwitchDesk, Trip, Tripped};
use crate::domain::breaker::BreakerState;
use crate::domain::ledger::Write;
use crate::domain::names::AccountName;
use crate::gate::{GateWriter, ProcessGate, ProcessWriters, ShutReason};
use crate::health::{Health, Part, PartStatus, Phase};
use crate::kill_switch::{KillLines, KillSwitch, KillSwitchHandle, Latch, ResumeCancels, SwitchesSeen};
use crate::line::{Line, Unanswered};
use crate::persistence::{Lane, Persist, Persistence, StoreTurned, WriterLines};
use crate::ports::World;
use crate::sync::Mutex;
use crate::tuning::Tuning;
use crate::watch::{Deaths, LastWord, MOST_DEATHS, ProcessRole, Sentinel};

mod limiting;

/// A running house of actors, as its edges see it.
#[derive(Clone)]
pub struct House {
    /// The accounts.
    pub accounts: Offices,
    /// Where to send the commands of the switches.
    pub switches: SwitchDesk,
    /// The way to the kill switch that waits for nothing.
    pub kill_switch: KillSwitchHandle,
    /// How the gateway is.
    pub health: Health,
    /// What shuts every account's gate.
    pub gate: ProcessGate,
    /// The root actor, to drain it.
    pub supervisor: Addr<Supervisor>,
}

/// The accounts of this process, one at least.
#[derive(Clone)]
pub struct Offices(Arc<(Office, Vec<Office>)>);

impl Offices {
    /// Accounts that are open somewhere.
    #[must_use]
    pub fn new(first: Office, others: Vec<Office>) -> Self {
        Self(Arc::new((first, others)))
    }

    /// The first account, which is the only one where no others are configured.
    #[must_use]
    pub fn first(&self) -> &Office {
        &self.0.0
    }

    /// Every account.
    pub fn iter(&self) -> impl Iterator<Item = &Office> {
        std::iter::once(&self.0.0).chain(&self.0.1)
    }

    /// The account of this name.
    #[must_use]
    pub fn of(&self, account: &AccountName) -> Option<&Office> {
        self.iter().find(|office| office.account == *account)
    }
}

/// The lines of what belongs to the whole process. They outlive the actors at their ends.
#[derive(Clone, Default)]
pub(crate) struct ProcessLines {
    /// To the writer of the switches.
    persist: Line<Persist>,
    store_turned: Line<StoreTurned>,
    engage: Line<Engage>,
    disengage: Line<Disengage>,
    trip: Line<Trip>,
    reset: Line<Reset>,
    seen: Line<SwitchesSeen>,
    pub(crate) resume_cancels: Line<ResumeCancels>,
    pub(crate) answered: Line<BrokerAnswered>,
    pub(crate) position_differs: Line<PositionDiffers>,
    pub(crate) line_crossed: Line<LineCrossed>,
}

impl ProcessLines {
    fn disconnect(&self) {
        self.persist.disconnect();
        self.store_turned.disconnect();
        self.engage.disconnect();
        self.disengage.disconnect();
        self.trip.disconnect();
        self.reset.disconnect();
        self.seen.disconnect();
        self.resume_cancels.disconnect();
        self.answered.disconnect();
        self.position_differs.disconnect();
        self.line_crossed.disconnect();
    }
}

/// Owns what belongs to the whole process. A part that is down keeps its reasons at every gate until it is rebuilt.
pub struct Supervisor {
    world: World,
    tuning: Tuning,
    health: Health,
    pens: Pens,
    latch: Latch,
    lines: ProcessLines,
    everywhere: Everywhere,
    accounts: Vec<Addr<Account>>,
    deaths: mpsc::UnboundedSender<ProcessRole>,
    reported: Option<mpsc::UnboundedReceiver<ProcessRole>>,
    kill_switch: Option<Addr<KillSwitch>>,
    breaker: Option<Addr<CircuitBreaker>>,
    writer: Option<Addr<Persistence>>,
    rebuilds: Deaths<ProcessRole>,
    draining: bool,
    _last_word: LastWord,
}

struct Pens {
    breaker: GateWriter,
    supervisor: GateWriter,
}

/// Starts every actor on the current arbiter, for one account. `fatal` answers if the supervisor or an account's actor
/// dies: the process has to end then, with exit code 70, to be started again.
#[must_use]
pub fn start(world: World, tuning: Tuning, fatal: oneshot::Sender<()>) -> House {
    start_all((world, tuning), Vec::new(), fatal)
}

/// As [`start`] for several accounts, each with a venue and numbers of its own. What belongs to the process goes by those of
/// the first.
#[must_use]
pub fn start_all(first: (World, Tuning), others: Vec<(World, Tuning)>, fatal: oneshot::Sender<()>) -> House {
    let (gate, pens) = ProcessGate::new();
    let ProcessWriters { kill_switch, breaker, supervisor } = pens;
    let fatal = crate::sync::Arc::new(Mutex::new(Some(fatal)));
    let (health, lines, latch) =
        (Health::default(), ProcessLines::default(), Latch::new(kill_switch, (gate.parts(), gate.flattenings())));
    let (deaths, reported) = mpsc::unbounded_channel();
    let (world, tuning) = first.clone();
    let open = |plan| account::open(plan, (&gate, &health), &lines, fatal.clone());
    let (first, others) = (open(first), others.into_iter().map(open).collect::<Vec<_>>());
    let reaches = std::iter::once(&first).chain(&others).map(|opened: &Opened| opened.reach.clone());
    let everywhere = Everywhere::new(reaches);
    let handle = KillSwitchHandle::new(latch.clone(), lines.engage.clone(), everywhere.clone());
    let accounts = std::iter::once(&first).chain(&others).map(|opened| opened.addr.clone()).collect();
    let root = Supervisor {
        world,
        tuning,
        health: health.clone(),
        pens: Pens { breaker, supervisor: supervisor.clone() },
        latch,
        lines,
        everywhere,
        accounts,
        deaths,
        reported: Some(reported),
        kill_switch: None,
        breaker: None,
        writer: None,
        rebuilds: Deaths::default(),
        draining: false,
        _last_word: LastWord::new(supervisor, fatal),
    }
    .start();
    let accounts = Offices::new(first.office, others.into_iter().map(|opened| opened.office).collect());
    House { accounts, switches: SwitchDesk::of(&root), kill_switch: handle, health, gate, supervisor: root }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.tuning.max_commits.max(16));
        self.lines.store_turned.connect(&ctx.address());
        self.health.set(Part::Supervisor, PartStatus::Up, "");
        // What still starts says so itself.
        self.health.enter(Phase::Ready);
        if let Some(reported) = self.reported.take() {
            let deaths =
                stream::unfold(reported, |mut deaths| async { deaths.recv().await.map(|role| (role, deaths)) });
            ctx.add_message_stream(futures_util::StreamExt::map(deaths, Died));
        }
        self.spawn_kill_switch();
        self.spawn_breaker();
        self.spawn_writer(false);
        self.tell_of_life(ctx);
        ctx.run_interval(self.tuning.tell_every, Self::tell_of_life);
        ctx.run_interval(self.tuning.heartbeat, Self::beat);
    }
}

/// An actor panicked, or its mailbox was found closed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Died(ProcessRole);

impl Handler<Died> for Supervisor {
    type Result = ();

    fn handle(&mut self, Died(role): Died, _: &mut Self::Context) {
        // Where the heartbeat was faster, whoever has the role now was rebuilt since.
        if !self.is_alive(role) {
            self.bury(role);
        }
    }
}

impl Handler<StoreTurned> for Supervisor {
    type Result = ();

    fn handle(&mut self, turned: StoreTurned, _: &mut Self::Context) {
        match turned {
            StoreTurned::Down(why) => {
                self.pens.supervisor.shut(ShutReason::StoreUnavailable);
                self.health.set(Part::SwitchWriter, PartStatus::Down, why);
            }
            StoreTurned::Up => {
                self.health.set(Part::SwitchWriter, PartStatus::Up, "");
                self.pens.supervisor.clear(ShutReason::StoreUnavailable);
            }
            // Nobody owns the switches, so nobody can be deposed.
            StoreTurned::Deposed { .. } => {}
        }
    }
}

impl Handler<Disengage> for Supervisor {
    type Result = ResponseFuture<Result<Released, CommandError>>;

    fn handle(&mut self, release: Disengage, _: &mut Self::Context) -> Self::Result {
        forward(self.lines.disengage.clone(), release)
    }
}

impl Handler<Trip> for Supervisor {
    type Result = ResponseFuture<Result<Tripped, CommandError>>;

    fn handle(&mut self, trip: Trip, _: &mut Self::Context) -> Self::Result {
        forward(self.lines.trip.clone(), trip)
    }
}

impl Handler<Reset> for Supervisor {
    type Result = ResponseFuture<Result<BreakerState, CommandError>>;

    fn handle(&mut self, reset: Reset, _: &mut Self::Context) -> Self::Result {
        forward(self.lines.reset.clone(), reset)
    }
}

/// Hands a command to the actor that it is for.
fn forward<M, T>(line: Line<M>, message: M) -> ResponseFuture<Result<T, CommandError>>
where
    M: Message<Result = Result<T, CommandError>> + Send + 'static,
    T: Send + 'static,
{
    Box::pin(async move { line.ask(message).await.unwrap_or_else(|Unanswered| Err(CommandError::OutcomeUnknown)) })
}

/// Shuts the house down; the answer comes when nothing is in flight any more, or the time for that is over, and
/// everything is written.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct DrainAll;

impl Handler<DrainAll> for Supervisor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: DrainAll, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        self.health.enter(Phase::Draining);
        tracing::info!("draining");
        let (accounts, store) = (self.accounts.clone(), self.world.store.clone());
        let (persist, instance) = (self.lines.persist.clone(), self.tuning.card.id.clone());
        let drained = async move {
            let ends = futures_util::future::join_all(accounts.iter().map(|account| account.send(DrainAccount))).await;
            if ends.iter().any(Result::is_err) {
                tracing::error!("an account's actor died during the shutdown; the next start recovers");
            }
            let probe = Persist { writes: vec![Write::Probe], lane: Lane::Switches };
            if !matches!(tokio::time::timeout(FLUSH, persist.ask(probe)).await, Ok(Ok(Ok(_)))) {
                tracing::error!("the last writes of the switches could not be confirmed");
            }
            if !matches!(tokio::time::timeout(FLUSH, store.farewell(&instance)).await, Ok(Ok(()))) {
                tracing::warn!("the other instances could not be told of the end: they see it by the silence");
            }
            store.close().await;
        };
        Box::pin(drained.into_actor(self).map(|(), act, ctx| {
            act.lines.disconnect();
            ctx.stop();
        }))
    }
}

impl Supervisor {
    /// Looks at every mailbox once a second. A closed one means a death that nobody reported.
    fn beat(&mut self, _: &mut Context<Self>) {
        for role in [ProcessRole::KillSwitch, ProcessRole::CircuitBreaker, ProcessRole::SwitchWriter] {
            if !self.is_alive(role) && !self.is_gone(role) {
                self.bury(role);
            }
        }
    }

    /// Tells the other instances that this one lives, and where. The store need not be open yet.
    fn tell_of_life(&mut self, ctx: &mut Context<Self>) {
        if self.draining {
            return;
        }
        let (store, card) = (self.world.store.clone(), self.tuning.card.clone());
        ctx.spawn(async move { store.heartbeat(&card).await }.into_actor(self).map(|told, _, _| {
            if let Err(error) = told {
                tracing::debug!(%error, "the other instances could not be told that this one lives");
            }
        }));
    }

    fn is_alive(&self, role: ProcessRole) -> bool {
        match role {
            ProcessRole::KillSwitch => self.kill_switch.as_ref().is_some_and(Addr::connected),
            ProcessRole::CircuitBreaker => self.breaker.as_ref().is_some_and(Addr::connected),
            ProcessRole::SwitchWriter => self.writer.as_ref().is_some_and(Addr::connected),
        }
    }

    /// Whether its death was taken note of, and it is not rebuilt.
    const fn is_gone(&self, role: ProcessRole) -> bool {
        match role {
            ProcessRole::KillSwitch => self.kill_switch.is_none(),
            ProcessRole::CircuitBreaker => self.breaker.is_none(),
            ProcessRole::SwitchWriter => self.writer.is_none(),
        }
    }

    fn sentinel(&self, role: ProcessRole) -> Sentinel {
        Sentinel::new(role, self.deaths.clone())
    }

    fn spawn_kill_switch(&mut self) {
        let shared = (self.world.clone(), self.tuning.clone(), self.health.clone());
        let lines = KillLines {
            persist: self.lines.persist.clone(),
            accounts: self.everywhere.clone(),
            seen: self.lines.seen.clone(),
        };
        let sentinel = self.sentinel(ProcessRole::KillSwitch);
        let addr = KillSwitch::new(shared, self.latch.clone(), lines, sentinel).start();
        self.lines.engage.connect(&addr);
        self.lines.disengage.connect(&addr);
        self.lines.resume_cancels.connect(&addr);
        self.kill_switch = Some(addr);
        self.health.set(Part::KillSwitch, PartStatus::Up, "");
    }

    fn spawn_breaker(&mut self) {
        let shared = (self.world.clone(), self.tuning.clone(), self.health.clone());
        let lines = (self.lines.persist.clone(), self.everywhere.clone());
        let sentinel = self.sentinel(ProcessRole::CircuitBreaker);
        let addr = CircuitBreaker::new(shared, self.pens.breaker.clone(), lines, sentinel).start();
        self.lines.trip.connect(&addr);
        self.lines.reset.connect(&addr);
        self.lines.seen.connect(&addr);
        self.lines.answered.connect(&addr);
        self.lines.position_differs.connect(&addr);
        self.lines.line_crossed.connect(&addr);
        self.breaker = Some(addr);
        self.health.set(Part::CircuitBreaker, PartStatus::Up, "");
    }

    fn spawn_writer(&mut self, is_rebuilt: bool) {
        let lines = WriterLines { turned: self.lines.store_turned.clone(), ..WriterLines::default() };
        let sentinel = self.sentinel(ProcessRole::SwitchWriter);
        let (world, tuning) = (self.world.clone(), self.tuning.clone());
        let addr = Persistence::new(world, tuning, (None, is_rebuilt), lines, sentinel).start();
        self.lines.persist.connect(&addr);
        self.writer = Some(addr);
        self.health.set(Part::SwitchWriter, PartStatus::Up, "");
    }

    /// Takes note of a death: shuts what has to be shut, and rebuilds the part as a start would build it. One that keeps
    /// dying leaves every gate shut for good.
    fn bury(&mut self, role: ProcessRole) {
        tracing::error!(?role, "an actor died");
        metrics::counter!("tranche_actor_deaths_total").increment(1);
        if self.draining {
            return;
        }
        let part = match role {
            ProcessRole::KillSwitch => {
                self.kill_switch = None;
                self.latch.lose();
                Part::KillSwitch
            }
            ProcessRole::CircuitBreaker => {
                self.breaker = None;
                self.pens.breaker.shut(ShutReason::CircuitBreakerUnknown);
                Part::CircuitBreaker
            }
            ProcessRole::SwitchWriter => {
                self.writer = None;
                self.pens.supervisor.shut(ShutReason::StoreUnavailable);
                Part::SwitchWriter
            }
        };
        self.health.set(part, PartStatus::Down, "it died");
        if !self.rebuilds.may_rebuild(&role, self.world.clock.monotonic()) {
            let often = format!("{role:?} died {MOST_DEATHS} times within a minute");
            tracing::error!("{often} and is not rebuilt any more: every gate stays shut");
            self.health.set(part, PartStatus::Down, format!("{often} and is not rebuilt any more"));
            return;
        }
        match role {
            ProcessRole::KillSwitch => self.spawn_kill_switch(),
            ProcessRole::CircuitBreaker => self.spawn_breaker(),
            // It commits a probe, and says when that worked.
            ProcessRole::SwitchWriter => self.spawn_writer(true),
        }
    }
}
