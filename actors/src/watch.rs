//! How the death of an actor is noticed.
//!
//! An actor that panics is gone for good: actix restarts what stops, not what panics, and its `stopped` is called
//! after a clean end too. What tells the two apart is a field whose `Drop` looks whether the thread is panicking.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::domain::names::OrderId;
use crate::gate::{GateWriter, ShutReason};
use crate::sync::{Arc, Mutex, lock};

/// So many deaths of one part within [`WINDOW`] are enough: whatever kills it is still there.
pub(crate) const MOST_DEATHS: usize = 3;
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// Who can die of what serves all accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProcessRole {
    KillSwitch,
    CircuitBreaker,
    /// The writer of the switches.
    SwitchWriter,
}

/// Who can die of what serves one account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Persistence,
    Broker,
    Reconciler,
    RiskDesk,
    Portfolio,
    Parent(OrderId),
}

impl Role {
    /// Whether the account's recovery needs it.
    pub(crate) const fn serves_the_account(&self) -> bool {
        match self {
            Self::Persistence | Self::Broker | Self::Reconciler | Self::RiskDesk | Self::Portfolio => true,
            Self::Parent(_) => false,
        }
    }
}

/// A field of every actor below the supervisor and the accounts: it reports the actor's panic.
pub(crate) struct Sentinel(Option<Box<dyn FnOnce() + Send>>);

impl Sentinel {
    /// The channel is bounded by the number of actors: each can report one death.
    pub(crate) fn new<R: Debug + Clone + Send + 'static>(role: R, deaths: mpsc::UnboundedSender<R>) -> Self {
        Self(Some(Box::new(move || {
            if deaths.send(role.clone()).is_err() {
                tracing::error!(?role, "an actor died, and whoever would rebuild it is gone too");
            }
        })))
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if let (true, Some(report)) = (std::thread::panicking(), self.0.take()) {
            report();
        }
    }
}

/// Deaths of late, by role, on the monotonic clock.
pub(crate) struct Deaths<R>(BTreeMap<R, VecDeque<Duration>>);

impl<R> Default for Deaths<R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<R: Ord + Clone> Deaths<R> {
    /// Counts one more, and says whether it may be rebuilt.
    pub(crate) fn may_rebuild(&mut self, role: &R, now: Duration) -> bool {
        let recent = self.0.entry(role.clone()).or_default();
        recent.retain(|at| now.saturating_sub(*at) < WINDOW);
        recent.push_back(now);
        recent.len() < MOST_DEATHS
    }
}

/// The sentinel of those whom nobody could rebuild, the supervisor and the accounts: every gate shuts, and the process has
/// to end.
#[derive(Debug)]
pub(crate) struct LastWord {
    gate: GateWriter,
    fatal: Fatal,
}

/// Whoever dies first tells whoever runs the process.
pub(crate) type Fatal = Arc<Mutex<Option<oneshot::Sender<()>>>>;

impl LastWord {
    pub(crate) const fn new(gate: GateWriter, fatal: Fatal) -> Self {
        Self { gate, fatal }
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.gate.shut(ShutReason::Starting);
        if lock(&self.fatal).take().is_some_and(|fatal| fatal.send(()).is_err()) {
            tracing::error!("the supervisor died, and nobody waits for it");
        }
    }
}
