//! How the gateway is, as its actors see it: read by anybody at any time, also while the store is down.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::breaker::BreakerState;
use crate::domain::flatten::Progress;
use crate::domain::halts::Halt;
use crate::domain::kill::KillState;
use crate::domain::names::AccountName;
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
        SwitchWriter = "switch_writer",
        Redis = "redis",
        Persistence = "persistence",
        Reconciler = "reconciler",
        RiskDesk = "risk_desk",
        Portfolio = "portfolio",
        Parents = "parents",
        Clock = "clock",
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

/// Whose an account is, as far as this instance knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Not known yet: the store was not asked, or does not answer.
    #[default]
    Unknown,
    /// Ours, under this term.
    Owner {
        /// The term.
        term: u64,
    },
    /// Another instance's; this one waits for the end of its lease.
    Standby {
        /// The instance.
        owner: String,
    },
}

#[derive(Debug)]
struct State {
    phase: Phase,
    parts: BTreeMap<&'static str, PartHealth>,
    accounts: BTreeMap<AccountName, AccountState>,
    kill: Option<KillState>,
    halts: Vec<Halt>,
    breaker: Option<BreakerState>,
    /// Why a switch can't be trusted to be as it was last read.
    doubts: BTreeMap<&'static str, String>,
}

/// What is an account's own.
#[derive(Debug)]
struct AccountState {
    /// Its first try at recovery has not ended.
    starting: bool,
    parts: BTreeMap<&'static str, PartHealth>,
    comparison: Option<Comparison>,
    standing: Standing,
    flattening: Option<Progress>,
}

/// The shared view; the actors write their own part of it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

/// One account's part of it.
#[derive(Clone, Debug)]
pub struct AccountHealth {
    whole: Health,
    account: AccountName,
}

const ACCOUNTS_PARTS: [Part; 8] = [
    Part::Store,
    Part::Broker,
    Part::Persistence,
    Part::Reconciler,
    Part::RiskDesk,
    Part::Portfolio,
    Part::Parents,
    Part::Clock,
];

fn unasked() -> PartHealth {
    PartHealth { status: PartStatus::Unknown, detail: "not asked yet".to_owned() }
}

impl Default for Health {
    fn default() -> Self {
        let parts = Part::ALL.iter().map(|part| (part.as_str(), unasked())).collect();
        let (kill, breaker, accounts) = (None, None, BTreeMap::new());
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Starting,
            parts,
            accounts,
            kill,
            halts: Vec::new(),
            breaker,
            doubts: BTreeMap::new(),
        })))
    }
}

impl Health {
    /// Where the process is in its life: it serves once every account's first try at recovery has ended.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let state = lock(&self.0);
        match state.phase {
            Phase::Ready if state.accounts.values().any(|account| account.starting) => Phase::Starting,
            phase @ (Phase::Starting | Phase::Ready | Phase::Draining) => phase,
        }
    }

    /// How every part is: of what every account has, the worst.
    #[must_use]
    pub fn parts(&self) -> BTreeMap<&'static str, PartHealth> {
        let state = lock(&self.0);
        state.parts.keys().map(|name| (*name, state.part(name))).collect()
    }

    /// How one part is: of what every account has, the worst.
    #[must_use]
    pub fn part(&self, part: Part) -> Option<PartHealth> {
        Some(lock(&self.0).part(part.as_str()))
    }

    /// The kill switch; `None` while it is unknown.
    #[must_use]
    pub fn kill(&self) -> Option<KillState> {
        lock(&self.0).kill.clone()
    }

    /// The parts that are stopped.
    #[must_use]
    pub fn halts(&self) -> Vec<Halt> {
        lock(&self.0).halts.clone()
    }

    /// The breaker; `None` while it is unknown.
    #[must_use]
    pub fn breaker(&self) -> Option<BreakerState> {
        lock(&self.0).breaker.clone()
    }

    /// The process enters a phase of its life; the supervisor says which.
    pub fn enter(&self, phase: Phase) {
        lock(&self.0).phase = phase;
    }

    /// A part of the process says how it is.
    pub fn set(&self, part: Part, status: PartStatus, detail: impl Into<String>) {
        let health = PartHealth { status, detail: detail.into() };
        lock(&self.0).parts.insert(part.as_str(), health);
    }

    /// The kill switch as it was read; `None` when it can't be.
    pub fn set_kill(&self, state: Option<KillState>) {
        lock(&self.0).kill = state;
    }

    /// The parts that are stopped now.
    pub fn set_halts(&self, halts: Vec<Halt>) {
        lock(&self.0).halts = halts;
    }

    /// The breaker as it was read; `None` when it can't be.
    pub fn set_breaker(&self, state: Option<BreakerState>) {
        lock(&self.0).breaker = state;
    }

    /// Why a switch, by its name in the store, can't be trusted to be as it was last read; `None` where it can.
    #[must_use]
    pub fn doubt(&self, switch: &str) -> Option<String> {
        lock(&self.0).doubts.get(switch).cloned()
    }

    /// A switch is in doubt, or no longer.
    pub fn set_doubt(&self, switch: &'static str, doubt: Option<String>) {
        let mut state = lock(&self.0);
        match doubt {
            Some(why) => state.doubts.insert(switch, why),
            None => state.doubts.remove(switch),
        };
    }

    /// An account of this process: its part of this view, which begins with it.
    #[must_use]
    pub fn account(&self, account: &AccountName) -> AccountHealth {
        let parts = ACCOUNTS_PARTS.iter().map(|part| (part.as_str(), unasked())).collect();
        let fresh =
            AccountState { starting: true, parts, comparison: None, standing: Standing::Unknown, flattening: None };
        lock(&self.0).accounts.entry(account.clone()).or_insert(fresh);
        AccountHealth { whole: self.clone(), account: account.clone() }
    }
}

impl State {
    fn part(&self, name: &str) -> PartHealth {
        let several = self.accounts.len() > 1;
        let of_accounts = self.accounts.iter().filter_map(|(account, state)| Some((account, state.parts.get(name)?)));
        let worst = of_accounts.max_by_key(|(_, part)| match part.status {
            PartStatus::Up => 0,
            PartStatus::Unknown => 1,
            PartStatus::Down => 2,
        });
        match worst {
            Some((account, part)) if several && !part.detail.is_empty() => {
                PartHealth { status: part.status, detail: format!("{account}: {}", part.detail) }
            }
            Some((_, part)) => part.clone(),
            None => self.parts.get(name).cloned().unwrap_or_else(unasked),
        }
    }
}

impl AccountHealth {
    /// Which account this is.
    #[must_use]
    pub const fn name(&self) -> &AccountName {
        &self.account
    }

    /// The circuit breaker, as it was last held; it is the whole process's.
    #[must_use]
    pub fn breaker(&self) -> Option<BreakerState> {
        self.whole.breaker()
    }

    /// How one of its parts is.
    #[must_use]
    pub fn part(&self, part: Part) -> PartHealth {
        self.with(|state| state.parts.get(part.as_str()).cloned()).unwrap_or_else(unasked)
    }

    /// How the last comparison of our books with the broker's went; `None` before the first.
    #[must_use]
    pub fn comparison(&self) -> Option<Comparison> {
        self.with(|state| state.comparison.clone())
    }

    /// Our books were compared with the broker's, well or not.
    pub fn set_comparison(&self, comparison: Comparison) {
        self.with(|state| state.comparison = Some(comparison));
    }

    /// How far the closing of its positions has come; `None` where no engagement wants that, or it is not ours.
    #[must_use]
    pub fn flattening(&self) -> Option<Progress> {
        self.with(|state| state.flattening.clone())
    }

    /// The closing of its positions has gone on, or is over.
    pub fn set_flattening(&self, progress: Option<Progress>) {
        self.with(|state| state.flattening = progress);
    }

    /// Whose it is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.with(|state| state.standing.clone())
    }

    /// The term under which this process owns it; `None` while it doesn't.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        match self.standing() {
            Standing::Owner { term } => Some(term),
            Standing::Unknown | Standing::Standby { .. } => None,
        }
    }

    /// Whose it is has turned out.
    pub fn stand(&self, standing: Standing) {
        self.with(|state| state.standing = standing);
    }

    /// Its first try at recovery has ended, well or not.
    pub fn become_ready(&self) {
        self.with(|state| state.starting = false);
    }

    /// One of its parts says how it is.
    pub fn set(&self, part: Part, status: PartStatus, detail: impl Into<String>) {
        let health = PartHealth { status, detail: detail.into() };
        self.with(|state| state.parts.insert(part.as_str(), health).is_some());
    }

    fn with<T: Default>(&self, change: impl FnOnce(&mut AccountState) -> T) -> T {
        let mut state = lock(&self.whole.0);
        // It was entered when this view of it was made, and nobody takes it out.
        state.accounts.get_mut(&self.account).map(change).unwrap_or_default()
    }
}
