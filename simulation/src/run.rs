//! One run of a scenario: a market, processes that live one after the other, clients and operators, and what goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;
use tranche_actors::ports::World;

use crate::clock::{Seeded, VirtualClock};
use crate::invariants;
use crate::life::Life;
use crate::log::{Log, Sink};
use crate::panics::Listening;
use crate::scenario::Scenario;
use crate::store::MemoryStore;
use crate::tape::{Step, Tape};
use crate::venue::EngineVenue;
use crate::watch::{Violation, Watch, Watched};

use people::{End, People};

mod people;

/// How many of the last steps are kept.
const LAST_STEPS: usize = 40;

/// How a run is looked at.
#[derive(Default)]
pub struct Options {
    /// Every step is held against every rule, and written down; else nothing is, which is faster.
    pub watched: bool,
    /// Where each line of the log goes.
    pub sink: Option<Sink>,
}

/// What a run came to.
pub struct Outcome {
    /// The rule that was broken, if one was.
    pub violation: Option<Violation>,
    /// How many steps were seen.
    pub steps: u64,
    /// The digest of all of them.
    pub digest: String,
    /// How much time went by in the scenario.
    pub simulated: Duration,
    /// How many processes there were.
    pub processes: u32,
    /// How many of the scenario's faults met anything.
    pub struck: u32,
    /// What clients were refused, by its reason.
    pub refused: BTreeMap<String, u32>,
    /// The store at the end.
    pub store: Arc<MemoryStore>,
    /// The venue at the end.
    pub venue: Arc<EngineVenue>,
}

/// Everything that outlives a process.
pub(crate) struct Stage {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) life: Life,
    pub(crate) tape: Tape,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) venue: Arc<EngineVenue>,
    entropy: Arc<Seeded>,
    origin: Instant,
}

impl Stage {
    fn new(scenario: &Scenario) -> Self {
        let (life, tape) = {
            let tape = Tape::default();
            (Life::on(tape.clone()), tape)
        };
        let clock = Arc::new(VirtualClock::new(scenario.start));
        let (rules, quotes) = (scenario.rules.clone(), scenario.quotes.clone());
        let venue = EngineVenue::new(Arc::clone(&clock), rules, quotes, life.clone(), tape.clone());
        venue.set_latency(scenario.latency);
        venue.set_spread(scenario.spread, scenario.seed);
        venue.set_cancel_pending(Duration::from_millis(scenario.background.cancel_pending_ms));
        venue.set_replace_pending(Duration::from_millis(scenario.background.replace_pending_ms));
        let dice = tranche_actors::market::faults::Dice::new(scenario.background.clone(), scenario.seed, 0);
        venue.throw(&dice);
        Self {
            store: Arc::new(MemoryStore::new(life.clone(), tape.clone())),
            venue: Arc::new(venue),
            entropy: Arc::new(Seeded::new(scenario.seed ^ 0x5EED)),
            origin: Instant::now(),
            clock,
            life,
            tape,
        }
    }

    pub(crate) fn world(&self) -> World {
        World {
            switchboard: None,
            store: self.store.clone(),
            venue: self.venue.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        }
    }

    /// How long the scenario runs, in the time that sleeps count.
    pub(crate) fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep_until(self.origin + at).await;
    }
}

/// Runs a scenario to its end, or to the first violation, on this thread.
#[must_use]
pub fn run(scenario: &Scenario, options: Options) -> Outcome {
    let listening = Listening::begin();
    #[expect(clippy::expect_used, reason = "a runtime without I/O needs nothing of the system")]
    let paused = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().expect("a runtime without I/O")
    };
    actix::System::with_tokio_rt(paused).block_on(live(scenario, options, &listening))
}

async fn live(scenario: &Scenario, options: Options, listening: &Listening) -> Outcome {
    let stage = Stage::new(scenario);
    let watch = options.watched.then(|| {
        let world = Watched {
            clock: stage.clock.clone(),
            store: stage.store.clone(),
            venue: stage.venue.clone(),
            tuning: Arc::new(scenario.tuning.clone()),
        };
        Watch::over(&stage.tape, world, Log::new(LAST_STEPS, options.sink), invariants::all())
    });
    let mut people = People::new(scenario, watch.clone());
    let mut processes = 0;
    loop {
        processes += 1;
        stage.life.begin();
        let process = LocalSet::new();
        let end = process.run_until(people.through_a_process(&stage, processes)).await;
        if let Some(watch) = &watch {
            watch.look_at(None);
        }
        drop(process);
        match end {
            End::Crashed { down } => {
                stage.tape.note(&Step::Crashed);
                people.without_a_process(&stage, down).await;
            }
            End::Over => break,
        }
    }
    if let Some(watch) = &watch {
        for stray in listening.stray() {
            watch.object("nothing panics but what a fault tells to", stray);
        }
    }
    let simulated = stage.clock.elapsed();
    let (violation, steps, digest) = watch.map_or((None, 0, String::new()), |watch| watch.verdict());
    stage.tape.unwatch();
    let (refused, struck) = (people.refused(), stage.tape.struck());
    Outcome { violation, steps, digest, simulated, processes, struck, refused, store: stage.store, venue: stage.venue }
}
