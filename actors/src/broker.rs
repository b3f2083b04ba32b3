//! One broker account: the queue of due orders, the rate budget, the sends in flight, unknown outcomes, cancels, and
//! the venue's events.
//!
//! A due order travels **gate → rate token → limits → claim → in flight → gate → wire**. Orders wait unclaimed, oldest due time
//! first; those that may go are claimed together in one transaction and sent in the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};
use chrono::{DateTime, Utc};

use crate::budget::{Budget, Lane};
use crate::circuit_breaker::BrokerAnswered;
use crate::clock_guard::ClockGuard;
use crate::crowd::{Attend, Crowd, Crowded};
use crate::domain::calendar::{Hours, MarketCalendar, Slot};
use crate::domain::clock::TOLERANCE;
use crate::domain::limits::Wish;
use crate::domain::names::{AccountName, OrderId};
use crate::domain::status::OwnEnd;
use crate::domain::venue::VenueOrder;
use crate::doubt::Doubtful;
use crate::gate::{Gate, InFlight};
use crate::health::AccountHealth;
use crate::line::{Line, Unanswered};
use crate::market_hours::MarketHours;
use crate::persistence::{Persist, gather};
use crate::ports::{VenueError, World};
use crate::risk_desk::{Release, Reserve, Weigh};
use crate::tuning::Tuning;
use crate::watch::Sentinel;

use unknowns::Unknown;

pub(crate) use cancels::CancelMarked;
pub(crate) use flatten::Pass;
pub(crate) use stream::Listen;
pub(crate) use unknowns::Adopt;

mod cancels;
mod flatten;
mod limits;
mod replaced;
mod sends;
mod sessions;
mod stream;
mod unknowns;

/// How often a queue that waits for the gate looks again.
const GATE_RETRY: Duration = Duration::from_millis(20);

/// An order whose time has come.
///
/// Idempotent: an order that waits already, or that was claimed since, is not sent twice. All of it is taken, or nothing.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), QueueFull>")]
pub(crate) struct Dispatch(pub(crate) Vec<Due>);

/// As many orders wait as may. They wait in the store as well: bring them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// Brings orders to the broker, again and again while its queue is full.
///
/// # Errors
/// When nobody answers: whoever rebuilds the broker brings what waits in the store.
pub(crate) async fn dispatch(line: &Line<Dispatch>, due: Vec<Due>) -> Result<(), Unanswered> {
    while let Err(QueueFull) = line.ask(Dispatch(due.clone())).await? {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// What the queue knows of an order; everything else is read when it is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) id: OrderId,
    /// The plan version that the sender holds; `None` for a single order.
    pub(crate) plan_version: Option<u32>,
    pub(crate) due: DateTime<Utc>,
    /// Its time is the plan's, and its parent brings it then. A replacement's is when it was asked for, and means at once.
    pub(crate) is_planned: bool,
    /// After this it is too late to send.
    pub(crate) latest: DateTime<Utc>,
    /// What it needs of the market's sessions.
    pub(crate) hours: Hours,
    /// It is absent at the venue since then, on the clock that counts suspended time, and is sent again.
    pub(crate) absent_since: Option<Duration>,
    /// What the limits go by.
    pub(crate) wish: Wish,
    /// The limit that it waits for, as our books say.
    pub(crate) waits_for: Option<&'static str>,
}

/// The broker's state turned: the supervisor shuts or opens the gate.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum BrokerTurned {
    /// The stream of events ended; nothing leaves until our books were compared again.
    Disconnected(String),
    /// Events may be missing: compare the books, without shutting the gate.
    Gap,
    /// Our key is refused.
    Unauthorised(String),
}

/// Stops the actor, as before it is rebuilt.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopWork;

/// No new sends from now on; the answer is whether everything that was sent before has come to its end.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct Drain;

/// The lines that the broker's actor speaks on.
#[derive(Clone, Default)]
pub(crate) struct BrokerLines {
    pub(crate) persist: Line<Persist>,
    pub(crate) answered: Line<BrokerAnswered>,
    pub(crate) turned: Line<BrokerTurned>,
    pub(crate) reserve: Line<Reserve>,
    pub(crate) release: Line<Release>,
    pub(crate) weigh: Line<Weigh>,
}

/// Owns an account's way to the venue. An order that may be live without an answer is in `sending` or in `unknowns`, and
/// an absent one that is to be sent again in `queue` too.
pub(crate) struct Broker {
    world: World,
    tuning: Tuning,
    gate: Gate,
    market_hours: MarketHours,
    clock_guard: ClockGuard,
    in_flight: InFlight,
    doubtful: Doubtful,
    lines: BrokerLines,
    budget: Budget,
    queue: BTreeMap<(DateTime<Utc>, u64), Due>,
    /// In the queue, being claimed, or back from a send that never left and soon in the queue again.
    queued: BTreeSet<OrderId>,
    /// Orders that wait for the market to open; they stay in `queued`.
    shut_out: Vec<Due>,
    reopening: Option<SpawnHandle>,
    /// Orders that wait for a limit; they stay in `queued`.
    parked: Vec<Due>,
    asking_again: Option<SpawnHandle>,
    /// The limits have changed since the desk read them.
    limits_moved: bool,
    sequence: u64,
    /// Orders that came are waiting for others to come.
    gathering: bool,
    /// Claims are on their way to the store.
    claiming: bool,
    /// Claimed, and what came of it is not durable yet.
    sending: BTreeSet<OrderId>,
    /// The sends, and what is told and written of each.
    crowd: Crowd<Self>,
    draining: bool,
    retry: Option<SpawnHandle>,
    unknowns: BTreeMap<OrderId, Unknown>,
    cancels: BTreeMap<OrderId, cancels::Trying>,
    scanning: bool,
    hearing: Option<SpawnHandle>,
    closing: flatten::Closing,
    _sentinel: Sentinel,
}

impl Broker {
    pub(crate) fn new(
        (world, tuning, gate, (market_hours, clock_guard)): (World, Tuning, Gate, (MarketHours, ClockGuard)),
        health: AccountHealth,
        (in_flight, doubtful, budget): (InFlight, Doubtful, Budget),
        lines: BrokerLines,
        sentinel: Sentinel,
    ) -> Self {
        world.venue.paced_by(&budget);
        Self {
            world,
            tuning,
            gate,
            market_hours,
            clock_guard,
            in_flight,
            doubtful,
            lines,
            budget,
            queue: BTreeMap::new(),
            queued: BTreeSet::new(),
            shut_out: Vec::new(),
            reopening: None,
            parked: Vec::new(),
            asking_again: None,
            limits_moved: false,
            sequence: 0,
            gathering: false,
            claiming: false,
            sending: BTreeSet::new(),
            crowd: Crowd::new(),
            draining: false,
            retry: None,
            unknowns: BTreeMap::new(),
            cancels: BTreeMap::new(),
            scanning: false,
            hearing: None,
            closing: flatten::Closing::new(health),
            _sentinel: sentinel,
        }
    }
}

impl Actor for Broker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.tuning.max_queue.max(16));
        ctx.spawn(Attend);
        ctx.run_interval(Duration::from_secs(1), Self::scan_marks);
        ctx.run_interval(unknowns::TICK, |act, _| act.look_up_due());
        ctx.run_interval(flatten::TICK, Self::flatten);
    }
}

impl Crowded for Broker {
    fn crowd(&mut self) -> &mut Crowd<Self> {
        &mut self.crowd
    }
}

impl Handler<Dispatch> for Broker {
    type Result = Result<(), QueueFull>;

    fn handle(&mut self, Dispatch(due): Dispatch, ctx: &mut Self::Context) -> Self::Result {
        let waiting = self.queue.len() + self.shut_out.len() + self.parked.len();
        if waiting > 0 && waiting + due.len() > self.tuning.max_queue {
            return Err(QueueFull);
        }
        for one in due {
            self.enqueue(one);
        }
        self.pump_soon(ctx);
        Ok(())
    }
}

impl Handler<StopWork> for Broker {
    type Result = ();

    fn handle(&mut self, _: StopWork, ctx: &mut Self::Context) {
        self.closing.forget();
        ctx.stop();
    }
}

impl Handler<Drain> for Broker {
    type Result = bool;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> bool {
        self.draining = true;
        !self.claiming && self.sending.is_empty()
    }
}

/// An order that ends unsent: how, why, and the same for a person.
type Ending = (Due, OwnEnd, &'static str, String);

/// What becomes of the order at the head of the queue.
enum Fate {
    Goes,
    Ends(OwnEnd, &'static str, String),
    /// Nothing can be sent for so long.
    Waits(Duration),
    /// The market is shut for it; others may go.
    ShutOut(Slot),
    /// The clock was set back, and its time is still to come: its parent brings it then.
    Early,
}

impl Broker {
    fn enqueue(&mut self, due: Due) {
        if self.sending.contains(&due.id) || !self.queued.insert(due.id.clone()) {
            return;
        }
        self.sequence += 1;
        self.queue.insert((due.due, self.sequence), due);
    }

    /// Sends what may go: ends what is too late or stopped, takes tokens, and claims the rest together.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        if self.claiming || self.draining {
            return;
        }
        let began = self.world.clock.boottime();
        let calendar = self.market_hours.calendar(began);
        let (mut train, mut ends, mut shut_out) = (Vec::new(), Vec::new(), Vec::new());
        self.budget.correct(self.world.venue.allowance());
        while let Some(mut head) = self.queue.first_entry() {
            if train.len() + ends.len() >= self.tuning.max_batch {
                break;
            }
            let room = self.sending.len() + train.len() < self.tuning.max_in_flight;
            let guards = (&self.gate, &self.clock_guard, &self.tuning.account);
            let fate = fate(head.get_mut(), &self.world, guards, calendar.as_deref(), &self.budget, room);
            match fate {
                Fate::Goes => train.push(head.remove()),
                Fate::Ends(end, reason, detail) => ends.push((head.remove(), end, reason, detail)),
                Fate::ShutOut(slot) => shut_out.push((head.remove(), slot)),
                Fate::Early => {
                    self.queued.remove(&head.remove().id);
                }
                Fate::Waits(wait) => {
                    self.look_again(wait, ctx);
                    break;
                }
            }
        }
        metrics::gauge!("tranche_dispatch_queue").set(u32::try_from(self.queue.len()).unwrap_or(u32::MAX));
        self.hold_back(shut_out, ctx);
        if !train.is_empty() || !ends.is_empty() {
            self.reserve(train, ends, began, ctx);
        }
    }

    /// Lets others whose time has come as well bring their orders first: a longer train costs one commit too.
    fn pump_soon(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.gathering, true) {
            return;
        }
        ctx.spawn(gather().into_actor(self).map(|(), act, ctx| {
            act.gathering = false;
            act.pump(ctx);
        }));
    }

    fn look_again(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
        }
        self.retry = Some(ctx.run_later(wait.max(Duration::from_millis(1)), |act, ctx| {
            act.retry = None;
            act.pump(ctx);
        }));
    }

    /// Whether this actor has an order in its hands: on its way, or looked up.
    fn has(&self, id: &OrderId) -> bool {
        self.queued.contains(id) || self.sending.contains(id) || self.unknowns.contains_key(id)
    }

    /// Puts an order back that certainly never left.
    fn requeue(&mut self, due: Due) {
        self.sequence += 1;
        self.queued.insert(due.id.clone());
        self.queue.insert((due.due, self.sequence), due);
    }

    /// Whatever it was that the key was refused for: the account is halted.
    fn note_refusal(&self, error: &VenueError, ctx: &mut Context<Self>) {
        match error {
            VenueError::Unauthorised { detail } => self.tell(BrokerTurned::Unauthorised(detail.clone()), ctx),
            VenueError::Unavailable { .. } | VenueError::NotNow { .. } => {}
        }
    }

    fn tell(&self, turned: BrokerTurned, ctx: &mut Context<Self>) {
        let line = self.lines.turned.clone();
        ctx.spawn(async move { line.ask(turned).await }.into_actor(self).map(|told, _, _| {
            if told.is_err() {
                tracing::error!("the supervisor did not take note of the broker's state");
            }
        }));
    }
}

/// Looks an order up within the rate budget; nothing where no answer comes in time, so that it holds nobody up.
async fn find(world: &World, (budget, timeout): (&Budget, Duration), id: &OrderId) -> Option<VenueOrder> {
    let asked = async {
        budget.wait(Lane::Control).await;
        world.venue.find(id).await
    };
    tokio::time::timeout(timeout, asked).await.ok()?.ok()?
}

fn fate(
    due: &mut Due,
    world: &World,
    (gate, clock_guard, account): (&Gate, &ClockGuard, &AccountName),
    calendar: Option<&MarketCalendar>,
    budget: &Budget,
    room: bool,
) -> Fate {
    // Nothing is sent and nothing ends by a clock that is not known to be right.
    let Some(now) = clock_guard.now(&*world.clock) else { return Fate::Waits(GATE_RETRY) };
    if due.is_planned && due.due > now + TOLERANCE {
        return Fate::Early;
    }
    match due.slot(calendar, now) {
        Slot::Go => {}
        slot @ (Slot::Wait(_) | Slot::Unknown) => return Fate::ShutOut(slot),
        Slot::Late => {
            let late = (now - due.due).num_milliseconds();
            return Fate::Ends(OwnEnd::Expired, "late", format!("{late} ms after its time, more than its grace"));
        }
        Slot::Over => {
            let detail = "the market is shut, and its time in force waits for no other session";
            return Fate::Ends(OwnEnd::Expired, sessions::SESSION_CLOSED, detail.to_owned());
        }
    }
    let boottime = world.clock.boottime();
    if let Some(reason) = gate.verdict_for(due.wish.subject(account), boottime).objection(true) {
        return match reason.ends_slice() {
            Some(end) => Fate::Ends(end, reason.as_str(), String::new()),
            None => Fate::Waits(GATE_RETRY),
        };
    }
    if !room {
        return Fate::Waits(GATE_RETRY);
    }
    match budget.take(Lane::Orders) {
        Ok(()) => Fate::Goes,
        Err(wait) => Fate::Waits(wait.min((due.latest - now).to_std().unwrap_or_default() + GATE_RETRY)),
    }
}
