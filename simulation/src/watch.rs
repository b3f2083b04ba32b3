//! Whoever watches a run: writes the log, and holds every step against the rules.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tranche_actors::ports::Clock;
use tranche_actors::supervisor::House;
use tranche_actors::tuning::Tuning;

use crate::clock::VirtualClock;
use crate::invariants::{Invariant, Scene};
use crate::log::Log;
use crate::store::MemoryStore;
use crate::tape::{Step, Tape};
use crate::venue::EngineVenue;

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule, as a sentence.
    pub rule: &'static str,
    /// What broke it.
    pub what: String,
    /// The step at which that was seen.
    pub step: u64,
    /// When that was, from the start of the scenario.
    pub at: Duration,
    /// The last steps before it.
    pub last: Vec<String>,
}

/// The world that is watched.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) venue: Arc<EngineVenue>,
    pub(crate) tuning: Arc<Tuning>,
}

struct State {
    log: Log,
    rules: Vec<Box<dyn Invariant>>,
    house: Option<House>,
    violation: Option<Violation>,
}

/// A watcher; it looks at the world, and changes nothing in it.
#[derive(Clone)]
pub(crate) struct Watch {
    state: Arc<Mutex<State>>,
    world: Watched,
    found: Arc<Notify>,
}

impl Watch {
    /// Watches what is noted on this tape.
    pub(crate) fn over(tape: &Tape, world: Watched, log: Log, rules: Vec<Box<dyn Invariant>>) -> Self {
        let state = State { log, rules, house: None, violation: None };
        let watch = Self { state: Arc::new(Mutex::new(state)), world, found: Arc::default() };
        let seeing = watch.clone();
        tape.watch(move |step| seeing.see(step));
        watch
    }

    /// Which process is looked at from now on.
    pub(crate) fn look_at(&self, house: Option<House>) {
        self.state.lock().house = house;
    }

    fn see(&self, step: &Step<'_>) {
        self.hold(|state, scene| {
            state.log.add(scene.at, step, scene.ledger);
            state.rules.iter_mut().find_map(|rule| rule.see(step, scene).err().map(|what| (rule.rule(), what)))
        });
    }

    /// Everything has come to rest.
    pub(crate) fn rest(&self) {
        self.hold(|state, scene| {
            state.rules.iter_mut().find_map(|rule| rule.rest(scene).err().map(|what| (rule.rule(), what)))
        });
    }

    /// Something is found that no rule sees by a step.
    pub(crate) fn object(&self, rule: &'static str, what: String) {
        self.hold(|_, _| Some((rule, what)));
    }

    fn hold(&self, judge: impl FnOnce(&mut State, &Scene<'_>) -> Option<(&'static str, String)>) {
        let mut state = self.state.lock();
        if state.violation.is_some() {
            return;
        }
        let house = state.house.clone();
        let Watched { clock, store, venue, tuning } = &self.world;
        let well = store.is_well() && venue.is_well();
        let broken = store.look(|ledger| {
            venue.look(|engine| {
                let at = clock.elapsed();
                let (wall, boot, awake) = (clock.wall(), clock.boottime(), clock.monotonic());
                let house = house.as_ref();
                let scene = Scene { at, wall, boot, awake, ledger, venue: engine, house, tuning, well };
                judge(&mut state, &scene)
            })
        });
        if let Some((rule, what)) = broken {
            let (step, at) = (state.log.steps(), clock.elapsed());
            state.violation = Some(Violation { rule, what, step, at, last: state.log.last() });
            self.found.notify_one();
        }
    }

    /// Waits until a rule is broken.
    pub(crate) async fn broken(&self) {
        while self.state.lock().violation.is_none() {
            self.found.notified().await;
        }
    }

    /// What was found: the violation, how many steps there were, and their digest.
    pub(crate) fn verdict(&self) -> (Option<Violation>, u64, String) {
        let state = self.state.lock();
        (state.violation.clone(), state.log.steps(), state.log.digest())
    }
}
