//! Clients, an operator, and whatever makes things go wrong: what they do in the course of a scenario.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tranche_actors::commands::{CancelOrder, CancelParent, CommandError};
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::OrderId;
use tranche_actors::gate::Verdict;
use tranche_actors::ports::Clock;
use tranche_actors::supervisor::{self, House};
use tranche_actors::tuning::Tuning;

use super::Stage;
use crate::changes::Change;
use crate::controls::{Control, disengage, reset};
use crate::faults::{Fault, FaultKind};
use crate::life::{Death, Turn};
use crate::requests::{Reply, Request};
use crate::scenario::{Scenario, caller};
use crate::tape::Step;
use crate::watch::Watch;

mod striking;

/// How long somebody waits who was not answered, or refused for now.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a process is down whose supervisor died: whoever watches over it starts it again.
const RESTART: Duration = Duration::from_secs(1);
/// How soon after the last fault everything heals.
const MARGIN: Duration = Duration::from_secs(5);
/// How often it is looked whether all is over.
const LOOK: Duration = Duration::from_secs(1);
/// How long a house may take after everything healed until it trades, before an operator starts it anew.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an operator waits after that for everything to be closed that is to be: what may be on its way is found, or
/// given up, before.
const CLOSED: Duration = Duration::from_secs(360);
/// How long after everything healed clients cancel what is still open.
const CONTENT: Duration = Duration::from_secs(400);
/// What a part says that is not rebuilt any more.
const GAVE_UP: &str = "not rebuilt any more";
/// How long after that all has to be over.
const LONGEST: Duration = Duration::from_secs(900);

/// How a process ended.
pub(super) enum End {
    /// In the middle of what it did; it is started again after so long.
    Crashed { down: Duration },
    /// The scenario is over.
    Over,
}

/// A request of somebody who asks until there is an answer.
#[derive(Clone)]
struct Ask {
    number: u64,
    request: Request,
}

enum Act {
    Ask(Ask),
    Change(Change),
    Control(Box<Control>),
    Strike(usize),
    Mend(usize),
    Calm,
    Look,
}

/// Where a scenario is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Things go wrong.
    Busy,
    /// Nothing goes wrong any more, since then.
    Calm { since: Duration, restarted: bool, cancelled: bool },
    /// All is over since then; what is left are comparisons of the books.
    Rest { since: Duration },
}

type Asked = FuturesUnordered<Pin<Box<dyn Future<Output = (Ask, Reply)>>>>;

/// Everybody around the gateway.
pub(super) struct People {
    faults: Vec<Fault>,
    /// What comes next, in the order of its time, and within one time in the order of its making.
    agenda: BTreeMap<(Duration, u64), Act>,
    made: u64,
    /// Requests without an answer so far.
    open: BTreeMap<u64, Ask>,
    /// For how long the next process that dies is down.
    down: Duration,
    /// What an operator asks for at the points that were chosen for it, in this order.
    called: VecDeque<Request>,
    phase: Phase,
    /// When positions were last seen being closed, after everything had healed: what else is waited for comes after it.
    closing: Duration,
    refused: BTreeMap<String, u32>,
    /// Parents that were refused for good: nobody waits for them.
    unwanted: BTreeSet<OrderId>,
    tuning: Tuning,
    watch: Option<Watch>,
}

impl People {
    pub(super) fn new(scenario: &Scenario, watch: Option<Watch>) -> Self {
        let mut people = Self {
            faults: scenario.faults.clone(),
            agenda: BTreeMap::new(),
            made: 0,
            open: BTreeMap::new(),
            down: RESTART,
            called: VecDeque::new(),
            phase: Phase::Busy,
            closing: Duration::ZERO,
            refused: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            tuning: scenario.tuning.clone(),
            watch,
        };
        let mut last = scenario.busy;
        for (at, request) in &scenario.requests {
            last = last.max(*at);
            people.ask_at(*at, request.clone());
        }
        for (at, change) in &scenario.changes {
            last = last.max(*at);
            people.put(*at, Act::Change(change.clone()));
        }
        for control in &scenario.controls {
            last = last.max(control.at);
            people.put(control.at, Act::Control(Box::new(control.clone())));
        }
        for (which, fault) in scenario.faults.iter().enumerate() {
            last = last.max(fault.at + fault.kind.lasts().unwrap_or_default());
            people.put(fault.at, Act::Strike(which));
        }
        people.put(last + MARGIN, Act::Calm);
        people
    }

    /// What was refused for good or for now, by its reason.
    pub(super) fn refused(self) -> BTreeMap<String, u32> {
        self.refused
    }

    fn put(&mut self, at: Duration, act: Act) {
        self.made += 1;
        self.agenda.insert((at, self.made), act);
    }

    fn ask(&mut self, request: Request) -> Ask {
        self.made += 1;
        Ask { number: self.made, request }
    }

    fn ask_at(&mut self, at: Duration, request: Request) {
        let ask = self.ask(request);
        self.put(at, Act::Ask(ask));
    }

    /// Starts a process, and lives through it.
    pub(super) async fn through_a_process(&mut self, stage: &Stage, number: u32) -> End {
        let (fatal, died) = oneshot::channel();
        stage.tape.note(&Step::Started(number));
        let house = supervisor::start(stage.world(), self.tuning.clone(), fatal);
        if let Some(watch) = &self.watch {
            watch.look_at(Some(house.clone()));
        }
        let end = self.with(stage, &house, died).await;
        for ask in std::mem::take(&mut self.open).into_values() {
            // Whoever was not answered before the end asks again.
            self.replied(stage, ask, Reply::Silence);
        }
        end
    }

    async fn with(&mut self, stage: &Stage, house: &House, died: oneshot::Receiver<()>) -> End {
        let watch = self.watch.clone();
        let broken = async {
            match watch {
                Some(watch) => watch.broken().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(broken, died);
        let mut asked = Asked::new();
        loop {
            let next = self.agenda.keys().next().map_or(Duration::MAX, |(at, _)| *at);
            tokio::select! {
                biased;
                turn = stage.life.turn() => match turn {
                    Turn::Ended => return End::Crashed { down: self.down },
                    Turn::Called => {
                        if let Some(request) = self.called.pop_front() {
                            let ask = self.ask(request);
                            self.act(stage, Some((house, &mut asked)), Act::Ask(ask));
                        }
                    }
                },
                Ok(()) = &mut died => return End::Crashed { down: RESTART },
                () = &mut broken => return End::Over,
                Some((ask, reply)) = asked.next() => {
                    self.open.remove(&ask.number);
                    self.replied(stage, ask, reply);
                }
                () = stage.sleep_until(next) => {
                    let Some((_, act)) = self.agenda.pop_first() else { return End::Over };
                    if let Some(end) = self.act(stage, Some((house, &mut asked)), act) {
                        return end;
                    }
                }
            }
        }
    }

    /// The time goes on while nothing runs.
    pub(super) async fn without_a_process(&mut self, stage: &Stage, down: Duration) {
        let until = stage.elapsed() + down;
        while let Some((at, _)) = self.agenda.keys().next().copied().filter(|(at, _)| *at < until) {
            stage.sleep_until(at).await;
            if let Some((_, act)) = self.agenda.pop_first() {
                self.act(stage, None, act);
            }
        }
        stage.sleep_until(until).await;
    }

    fn act(&mut self, stage: &Stage, process: Option<(&House, &mut Asked)>, act: Act) -> Option<End> {
        let now = stage.elapsed();
        match (act, process) {
            (Act::Ask(ask), Some((house, asked))) => {
                stage.tape.note(&Step::Asked(ask.number, &ask.request));
                self.open.insert(ask.number, ask.clone());
                let house = house.clone();
                asked.push(Box::pin(async move {
                    let reply = ask.request.clone().send(&house).await;
                    (ask, reply)
                }));
                None
            }
            (ask @ Act::Ask(_), None) => {
                self.put(now + AGAIN, ask);
                None
            }
            (Act::Change(change), _) => {
                self.change(stage, &change);
                None
            }
            (Act::Control(control), _) => {
                if control.points == 0 {
                    self.ask_at(now, control.request);
                } else {
                    self.called.push_back(control.request);
                    stage.life.doom(Death::Nobody, control.points);
                }
                None
            }
            (Act::Strike(which), _) => {
                self.strike(stage, which);
                None
            }
            (Act::Mend(which), process) => {
                self.mend(stage, which);
                // With a good key in its settings the process is started anew.
                let is_new_key = matches!(self.faults.get(which)?.kind, FaultKind::KeyRefused(_));
                (is_new_key && process.is_some()).then_some(End::Crashed { down: RESTART })
            }
            (Act::Calm, _) => {
                stage.store.heal();
                stage.venue.heal();
                stage.life.spare();
                stage.tape.note(&Step::Fault("nothing goes wrong any more"));
                self.phase = Phase::Calm { since: now, restarted: false, cancelled: false };
                self.put(now + LOOK, Act::Look);
                None
            }
            (Act::Look, process) => {
                self.put(now + LOOK, Act::Look);
                self.look(stage, process.map(|(house, _)| house))
            }
        }
    }

    /// An operator looks whether all is well, and whether all is over.
    fn look(&mut self, stage: &Stage, house: Option<&House>) -> Option<End> {
        let now = stage.elapsed();
        match self.phase {
            Phase::Busy => None,
            Phase::Calm { since, restarted, cancelled } => {
                let house = house?;
                if is_closing(house) {
                    self.closing = now;
                    if now < since + CLOSED {
                        return None;
                    }
                    let left = format!("{:?}", house.accounts.first().health.flattening());
                    return self.complain("once nothing goes wrong, what is to be closed is closed", left);
                }
                self.release_parts(stage, house);
                if house.accounts.first().gate.verdict(stage.clock.boottime()) != Verdict::Open {
                    self.release(stage, house);
                    if now < since.max(self.closing) + PATIENCE {
                        return None;
                    }
                    // A part that died too often is not rebuilt, and says so: only then an operator starts it all anew.
                    let gave_up = house.health.parts().values().any(|part| part.detail.contains(GAVE_UP));
                    if restarted || !gave_up {
                        let reasons = house.accounts.first().gate.reasons(stage.clock.boottime());
                        return self.complain("once nothing goes wrong, trading goes on", format!("{reasons:?}"));
                    }
                    self.phase = Phase::Calm { since: now, restarted: true, cancelled };
                    return Some(End::Crashed { down: RESTART });
                }
                if self.is_over(stage) && self.open.is_empty() {
                    self.phase = Phase::Rest { since: now };
                } else if now >= since.max(self.closing) + CONTENT && !cancelled {
                    self.phase = Phase::Calm { since, restarted, cancelled: true };
                    self.cancel_what_is_open(stage);
                } else if now >= since.max(self.closing) + LONGEST {
                    let open = stage.store.look(|ledger| {
                        let orders = ledger.orders().filter(|order| !order.status.is_terminal());
                        orders.map(|order| format!("{} {}", order.id, order.status)).collect::<Vec<_>>()
                    });
                    return self.complain("once nothing goes wrong, every order ends", open.join(", "));
                }
                None
            }
            Phase::Rest { since } if now < since + self.tuning.reconcile + MARGIN => None,
            // What was given up has turned up all the same.
            Phase::Rest { .. } if !self.is_over(stage) => {
                self.phase = Phase::Calm { since: now, restarted: false, cancelled: false };
                None
            }
            Phase::Rest { .. } => {
                if let Some(watch) = &self.watch {
                    watch.rest();
                }
                Some(End::Over)
            }
        }
    }

    fn complain(&self, rule: &'static str, what: String) -> Option<End> {
        if let Some(watch) = &self.watch {
            watch.object(rule, what);
        }
        Some(End::Over)
    }

    /// Releases what is still engaged or tripped, where nobody is at it.
    fn release(&mut self, stage: &Stage, house: &House) {
        let asks = |request: &Request, act: &Act| match act {
            Act::Ask(ask) => std::mem::discriminant(&ask.request) == std::mem::discriminant(request),
            Act::Change(_) | Act::Control(_) | Act::Strike(_) | Act::Mend(_) | Act::Calm | Act::Look => false,
        };
        let mut wanted = Vec::new();
        if house.health.kill().as_ref().is_some_and(KillState::is_engaged) {
            wanted.push(disengage(LimitScope::Global));
        }
        if house.health.breaker().is_some_and(|breaker| breaker.state == BreakerWord::Tripped) {
            wanted.push(reset());
        }
        for request in wanted {
            if !self.agenda.values().any(|act| asks(&request, act)) {
                self.ask_at(stage.elapsed(), request);
            }
        }
    }

    /// The same for parts.
    fn release_parts(&mut self, stage: &Stage, house: &House) {
        for halt in house.health.halts() {
            let is_asked =
                |request: &Request| matches!(request, Request::Disengage(asked) if asked.scope == halt.scope);
            let waits = self.agenda.values().any(|act| matches!(act, Act::Ask(ask) if is_asked(&ask.request)));
            if !waits && !self.open.values().any(|ask| is_asked(&ask.request)) {
                self.ask_at(stage.elapsed(), disengage(halt.scope.clone()));
            }
        }
    }

    /// A client looks what is open, and wants it otherwise.
    fn change(&mut self, stage: &Stage, change: &Change) {
        let Some(request) = stage.store.look(|ledger| change.request(ledger.orders())) else { return };
        let (now, known) = (stage.elapsed(), request.id.clone());
        self.ask_at(now, Request::Replace(Box::new(request)));
        if let Some(after) = change.cancelled_after {
            self.ask_at(now + after, Request::CancelOrder(CancelOrder { id: known, by: caller().into() }));
        }
    }

    fn is_over(&self, stage: &Stage) -> bool {
        let waits = self.agenda.values().any(|act| matches!(act, Act::Ask(_)));
        !waits
            && stage.store.look(|ledger| {
                ledger.parents().all(|parent| parent.status.is_terminal())
                    && ledger.orders().all(|order| order.status.is_terminal())
            })
    }

    fn cancel_what_is_open(&mut self, stage: &Stage) {
        let requests = stage.store.look(|ledger| {
            let parents = ledger.parents().filter(|parent| !parent.status.is_terminal());
            let parents =
                parents.map(|parent| Request::CancelParent(CancelParent { id: parent.id.clone(), by: caller() }));
            let singles = ledger.orders().filter(|order| order.slice.is_none() && !order.status.is_terminal());
            let singles =
                singles.map(|order| Request::CancelOrder(CancelOrder { id: order.id.clone(), by: caller().into() }));
            parents.chain(singles).collect::<Vec<_>>()
        });
        for request in requests {
            self.ask_at(stage.elapsed(), request);
        }
    }

    /// Whoever got no answer, or one that is about now, asks again with the same words.
    fn replied(&mut self, stage: &Stage, ask: Ask, reply: Reply) {
        stage.tape.note(&Step::Replied(ask.number, &ask.request, &reply));
        let again = match &reply {
            Reply::Silence => true,
            Reply::Refused(error) => {
                *self.refused.entry(error.to_string()).or_default() += 1;
                is_for_now(error, &ask.request) && !self.is_of_no_use(&ask.request)
            }
            Reply::Parent(_)
            | Reply::Single(_)
            | Reply::Replaced(_)
            | Reply::CanceledParent(_)
            | Reply::CanceledOrder(_)
            | Reply::Engaged(_)
            | Reply::Disengaged(_)
            | Reply::Breaker(_)
            | Reply::Limits(_) => false,
        };
        if again {
            self.put(stage.elapsed() + AGAIN, Act::Ask(ask));
        } else if let (Request::Parent(submit), Reply::Refused(_)) = (&ask.request, &reply) {
            self.unwanted.extend(submit.request.client_order_id.clone());
        }
    }

    /// Whether it is about a parent that will never be.
    fn is_of_no_use(&self, request: &Request) -> bool {
        matches!(request, Request::CancelParent(cancel) if self.unwanted.contains(&cancel.id))
    }
}

/// Whether positions are to be closed, and are not. What is not rebuilt any more closes nothing.
fn is_closing(house: &House) -> bool {
    let gave_up = house.health.parts().values().any(|part| part.detail.contains(GAVE_UP));
    !gave_up && house.accounts.first().health.flattening().is_some_and(|progress| !progress.flat)
}

/// Whether the same request may succeed later.
fn is_for_now(error: &CommandError, request: &Request) -> bool {
    match error {
        CommandError::Gate(_)
        | CommandError::Busy { .. }
        | CommandError::SwitchboardUnavailable
        | CommandError::StoreUnavailable
        | CommandError::OutcomeUnknown => true,
        // Its submission is still being asked for.
        CommandError::NotFound => matches!(request, Request::CancelParent(_)),
        CommandError::Conflict(_) => matches!(request, Request::Disengage(_) | Request::Reset(_)),
        CommandError::Invalid(_)
        | CommandError::KeyReused
        | CommandError::IdReused
        | CommandError::ParentTerminal
        | CommandError::NotPaused(_)
        | CommandError::NotResolvable(_)
        | CommandError::NotReplaceable(_)
        | CommandError::PortfolioMoved { .. }
        | CommandError::BelowZero { .. }
        | CommandError::AlreadyEngaged(_)
        | CommandError::NotEngaged
        | CommandError::Reset(_)
        | CommandError::AlreadyCleared
        | CommandError::Quarantined
        | CommandError::Limited { .. }
        | CommandError::Answered
        | CommandError::SecondOperator => false,
    }
}
