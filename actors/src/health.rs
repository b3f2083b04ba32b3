//! How the gateway is, as its actors see it: read by anybody at any time, also while the store is down.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::breaker::BreakerState;
use crate::domain::kill::KillState;
use crate::domain::reconciliation::Comparison;
use crate::domain::text::words;
use crate::sync::{Arc, Mutex, lock};

words!(
    /// How a part is.
    PartStatus {
        /// It answers.
        Up = "up",
        /// It doesn't.
        Down = "down",
        /// It was not asked yet.
        Unknown = "unknown",
    }
);

words!(
    /// The parts that health speaks of.
    Part {
        Store = "store",
        Switches = "switches",
        Broker = "broker",
        Supervisor = "supervisor",
        KillSwitch = "kill_switch",
        CircuitBreaker = "circuit_breaker",
        Persistence = "persistence",
        Reconciler = "reconciler",
        Parents = "parents",
    }
);

/// How a part is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartHealth {
    /// How it is.
    pub status: PartStatus,
    /// Why, for a person; empty when up.
    pub detail: String,
}

words!(
    /// Where the process is in its life.
    Phase {
        /// The first try at recovery has not ended.
        Starting = "starting",
        /// It serves.
        Ready = "ready",
        /// It was asked to end, and takes no new work.
        Draining = "draining",
    }
);

#[derive(Debug)]
struct State {
    phase: Phase,
    parts: BTreeMap<&'static str, PartHealth>,
    kill: Option<KillState>,
    breaker: Option<BreakerState>,
    comparison: Option<Comparison>,
    term: Option<u64>,
}

/// The shared view; the actors write their own part of it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

impl Default for Health {
    fn default() -> Self {
        let unknown = PartHealth { status: PartStatus::Unknown, detail: "not asked yet".to_owned() };
        let parts = Part::ALL.iter().map(|part| (part.as_str(), unknown.clone())).collect();
        let (kill, breaker, comparison, term) = (None, None, None, None);
        Self(Arc::new(Mutex::new(State { phase: Phase::Starting, parts, kill, breaker, comparison, term })))
    }
}

impl Health {
    /// Where the process is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        lock(&self.0).phase
    }

    /// How every part is.
    #[must_use]
    pub fn parts(&self) -> BTreeMap<&'static str, PartHealth> {
        lock(&self.0).parts.clone()
    }

    /// How one part is.
    #[must_use]
    pub fn part(&self, part: Part) -> Option<PartHealth> {
        lock(&self.0).parts.get(part.as_str()).cloned()
    }

    /// The kill switch; `None` while it is unknown.
    #[must_use]
    pub fn kill(&self) -> Option<KillState> {
        lock(&self.0).kill.clone()
    }

    /// The breaker; `None` while it is unknown.
    #[must_use]
    pub fn breaker(&self) -> Option<BreakerState> {
        lock(&self.0).breaker.clone()
    }

    /// How the last comparison of our books with the broker's went; `None` before the first.
    #[must_use]
    pub fn comparison(&self) -> Option<Comparison> {
        lock(&self.0).comparison.clone()
    }

    /// Our books were compared with the broker's, well or not.
    pub fn set_comparison(&self, comparison: Comparison) {
        lock(&self.0).comparison = Some(comparison);
    }

    /// The term under which this process owns its account; `None` while it doesn't.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        lock(&self.0).term
    }

    pub(crate) fn set_term(&self, term: u64) {
        lock(&self.0).term = Some(term);
    }

    /// The process enters a phase of its life; the supervisor says which.
    pub fn enter(&self, phase: Phase) {
        lock(&self.0).phase = phase;
    }

    /// A part says how it is.
    pub fn set(&self, part: Part, status: PartStatus, detail: impl Into<String>) {
        let health = PartHealth { status, detail: detail.into() };
        lock(&self.0).parts.insert(part.as_str(), health);
    }

    /// The kill switch as it was read; `None` when it can't be.
    pub fn set_kill(&self, state: Option<KillState>) {
        lock(&self.0).kill = state;
    }

    /// The breaker as it was read; `None` when it can't be.
    pub fn set_breaker(&self, state: Option<BreakerState>) {
        lock(&self.0).breaker = state;
    }
}
