//! The world of one test, and the houses that live in it one after the other.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};
use tranche_actors::commands::{
    CommandError, Disengage, Engage, EngageAnswer, Reset, SubmitOrder, SubmitParent, SubmittedParent, Trip,
};
use tranche_actors::domain::breaker::{BreakerState, ErrorRule};
use tranche_actors::domain::guards::GuardRules;
use tranche_actors::domain::kill::{KillMode, KillState};
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::request::PlanRules;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::health::Phase;
use tranche_actors::market::engine::Rules;
use tranche_actors::market::quotes::Quotes;
use tranche_actors::market::walk::Walk;
use tranche_actors::ports::store::InstanceCard;
use tranche_actors::ports::switchboard::SwitchBoard;
use tranche_actors::ports::{Clock, World};
use tranche_actors::supervisor::{House, start};
use tranche_actors::tuning::{CalendarSource, Tuning};

use super::orders::{account, caller};
use tranche_simulation::clock::{EPOCH, Seeded, VirtualClock};
use tranche_simulation::life::Life;
use tranche_simulation::store::MemoryStore;
use tranche_simulation::switchboard::MemoryBoard;
use tranche_simulation::tape::Tape;
use tranche_simulation::venue::EngineVenue;

/// Store, venue, clock and chance: what survives a house.
pub(crate) struct Rig {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) venue: Arc<EngineVenue>,
    /// Shared by the houses that are started once it is there.
    pub(crate) board: Option<Arc<MemoryBoard>>,
    pub(crate) entropy: Arc<Seeded>,
    pub(crate) tuning: Tuning,
}

/// A house that runs, and what it says when its supervisor dies.
pub(crate) struct Running {
    pub(crate) house: House,
    pub(crate) fatal: oneshot::Receiver<()>,
}

/// Runs a test on one arbiter whose time is paused: it jumps to the next timer when nothing else is left to do.
pub(crate) fn run<F: Future>(test: impl FnOnce(Rig) -> F) -> F::Output {
    run_seeded(1, test)
}

/// The same with other luck.
pub(crate) fn run_seeded<F: Future>(seed: u64, test: impl FnOnce(Rig) -> F) -> F::Output {
    let paused = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap()
    };
    actix::System::with_tokio_rt(paused).block_on(async { test(Rig::new(seed)).await })
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn tuning() -> Tuning {
    Tuning {
        account: account(),
        card: InstanceCard { id: "seam".to_owned(), address: None, version: "0".to_owned(), started_at: EPOCH },
        tell_every: seconds(10),
        lease: None,
        day_end: DayEnd::new_york(),
        plan_rules: PlanRules {
            instruments: [].into(),
            accounts: vec![account()],
            max_slices: 25_000,
            orders_per_minute: None,
            refuse_past_close: false,
            adv_pct: None,
        },
        max_open_parents: 1_000,
        claim: seconds(10),
        grace: seconds(60),
        single_grace: seconds(5),
        unknown_settle: seconds(2),
        absent_settle: seconds(120),
        reconcile: seconds(60),
        submit_wait: seconds(1),
        benchmark: seconds(10),
        max_tries: 3,
        send_timeout: seconds(5),
        max_in_flight: 64,
        max_queue: 20_000,
        requests_per_minute: None,
        gate_poll: millis(50),
        gate_open: millis(500),
        kill_settle: seconds(2),
        second_operator: false,
        foreign_mode: KillMode::Cancel,
        quiet_period: seconds(300),
        error_rule: ErrorRule { enabled: false, window: seconds(60), min_count: 10, share_percent: 50, consecutive: 5 },
        calendar: CalendarSource::AlwaysOpen,
        position_tolerance: None,
        guards: GuardRules::default(),
        mark_every: Duration::from_secs(5),
        cancel_on_trip: false,
        commit_timeout: seconds(1),
        probe: seconds(1),
        heartbeat: seconds(1),
        max_batch: 512,
        max_commits: 4_096,
        drain: seconds(10),
        cancel_on_shutdown: false,
    }
}

impl Rig {
    fn new(seed: u64) -> Self {
        let (clock, life, tape) = (Arc::new(VirtualClock::new(EPOCH)), Life::default(), Tape::default());
        let quotes = Quotes::new(Walk::new(7, 250), [].into());
        let venue = EngineVenue::new(Arc::clone(&clock), Rules::default(), quotes, life.clone(), tape.clone());
        Self {
            store: Arc::new(MemoryStore::new(life, tape)),
            venue: Arc::new(venue),
            board: None,
            entropy: Arc::new(Seeded::new(seed)),
            clock,
            tuning: tuning(),
        }
    }

    pub(crate) fn limit(&mut self, per_minute: u32) {
        self.tuning.requests_per_minute = NonZeroU32::new(per_minute);
    }

    fn world(&self) -> World {
        World {
            store: self.store.clone(),
            switchboard: self.board.clone().map(|board| -> Arc<dyn SwitchBoard> { board }),
            venue: self.venue.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        }
    }

    /// Starts a house, and doesn't wait for it.
    pub(crate) fn start(&self) -> Running {
        let (fatal, died) = oneshot::channel();
        Running { house: start(self.world(), self.tuning.clone(), fatal), fatal: died }
    }

    /// Starts a house of another process, beside those that run on the same store.
    pub(crate) fn beside(&self, name: &str) -> (Running, Arc<MemoryStore>) {
        let store = Arc::new(self.store.beside(Life::default(), Tape::default()));
        let mut tuning = self.tuning.clone();
        name.clone_into(&mut tuning.card.id);
        let (fatal, died) = oneshot::channel();
        let world = World { store: store.clone(), ..self.world() };
        (Running { house: start(world, tuning, fatal), fatal: died }, store)
    }

    /// Starts a house, and waits until it trades.
    pub(crate) async fn open(&self) -> Running {
        let running = self.start();
        self.until("the gate opens", || self.verdict(&running) == Verdict::Open).await;
        assert_eq!(running.house.health.phase(), Phase::Ready);
        running
    }

    /// Runs a house until its story ends, and then crashes it: every actor is gone in the middle of what it did.
    pub(crate) async fn live<T>(&self, story: impl AsyncFnOnce(&Self) -> T) -> T {
        let life = LocalSet::new();
        let told = life.run_until(story(self)).await;
        drop(life);
        told
    }

    pub(crate) fn verdict(&self, running: &Running) -> Verdict {
        running.house.accounts.first().gate.verdict(self.clock.boottime())
    }

    pub(crate) fn reasons(&self, running: &Running) -> Vec<ShutReason> {
        running.house.accounts.first().gate.reasons(self.clock.boottime())
    }

    /// Waits until something is so, ten minutes at the longest.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let waited = began.elapsed();
            assert!(waited < seconds(600), "it took too long until {what}");
            sleep(if waited < seconds(5) { millis(1) } else { millis(20) }).await;
        }
    }

    pub(crate) fn parent(&self, id: &OrderId) -> Parent {
        self.store.look(|ledger| ledger.parent(id).unwrap().clone())
    }

    pub(crate) fn order(&self, id: &OrderId) -> Order {
        self.store.look(|ledger| ledger.order(id).unwrap().clone())
    }

    pub(crate) fn slices(&self, parent: &OrderId) -> Vec<Order> {
        self.store.look(|ledger| ledger.slices(parent))
    }

    pub(crate) fn statuses(&self, parent: &OrderId) -> Vec<OrderStatus> {
        self.slices(parent).iter().map(|slice| slice.status).collect()
    }

    /// Waits until every parent has ended.
    pub(crate) async fn until_all_ended(&self) {
        self.until("every parent has ended", || {
            self.store.look(|ledger| ledger.parents().all(|parent| parent.status.is_terminal()))
        })
        .await;
    }
}

impl Running {
    pub(crate) async fn submit(&self, submit: SubmitParent) -> SubmittedParent {
        self.house.accounts.first().desk.submit_parent.send(submit).await.unwrap().unwrap()
    }

    pub(crate) async fn send(&self, submit: SubmitOrder) -> Order {
        self.house.accounts.first().desk.submit_order.send(submit).await.unwrap().unwrap().order
    }

    pub(crate) async fn engage(&self, mode: KillMode) -> Result<EngageAnswer, CommandError> {
        self.house.kill_switch.engage(engage(mode)).await
    }

    pub(crate) async fn disengage(&self) -> Result<KillState, CommandError> {
        let release = Disengage {
            operator: "ops".to_owned(),
            notes: Some("over".to_owned()),
            scope: LimitScope::Global,
            by: caller().into(),
        };
        self.house.switches.disengage.send(release).await.unwrap().map(|released| released.state)
    }

    pub(crate) async fn trip(&self) -> BreakerState {
        let trip = Trip { operator: "ops".to_owned(), reason: "MANUAL".to_owned(), details: None, by: caller().into() };
        self.house.switches.trip.send(trip).await.unwrap().unwrap().state
    }

    pub(crate) async fn reset(&self, reason: &str) -> Result<BreakerState, CommandError> {
        let reset = Reset { operator: "ops".to_owned(), reason: reason.to_owned(), by: caller().into() };
        self.house.switches.reset.send(reset).await.unwrap()
    }
}

/// What an operator says to stop trading.
pub(crate) fn engage(mode: KillMode) -> Engage {
    Engage {
        operator: "ops".to_owned(),
        reason: "a test".to_owned(),
        details: None,
        scope: LimitScope::Global,
        mode,
        settle: None,
        by: caller().into(),
        key: None,
    }
}
