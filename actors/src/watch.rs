//! How the death of an actor is noticed.
//!
//! An actor that panics is gone for good: actix restarts what stops, not what panics, and its `stopped` is called
//! after a clean end too. What tells the two apart is a field whose `Drop` looks whether the thread is panicking.

use tokio::sync::{mpsc, oneshot};

use crate::domain::names::OrderId;
use crate::gate::{GateWriter, ShutReason};

/// Who can die.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    KillSwitch,
    CircuitBreaker,
    Persistence,
    Broker,
    Reconciler,
    Parent(OrderId),
}

impl Role {
    /// Whether the account's recovery needs it.
    pub(crate) const fn serves_the_account(&self) -> bool {
        match self {
            Self::Persistence | Self::Broker | Self::Reconciler => true,
            Self::KillSwitch | Self::CircuitBreaker | Self::Parent(_) => false,
        }
    }
}

/// A field of every actor below the supervisor: it reports the actor's panic.
#[derive(Debug)]
pub(crate) struct Sentinel {
    role: Role,
    deaths: mpsc::UnboundedSender<Role>,
}

impl Sentinel {
    /// The channel is bounded by the number of actors: each can report one death.
    pub(crate) const fn new(role: Role, deaths: mpsc::UnboundedSender<Role>) -> Self {
        Self { role, deaths }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() && self.deaths.send(self.role.clone()).is_err() {
            tracing::error!(role = ?self.role, "an actor died, and the supervisor is gone too");
        }
    }
}

/// The supervisor's own sentinel: nobody could rebuild it, so the gate shuts and the process has to end.
#[derive(Debug)]
pub(crate) struct LastWord {
    gate: GateWriter,
    fatal: Option<oneshot::Sender<()>>,
}

impl LastWord {
    pub(crate) const fn new(gate: GateWriter, fatal: oneshot::Sender<()>) -> Self {
        Self { gate, fatal: Some(fatal) }
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.gate.shut(ShutReason::Starting);
        if self.fatal.take().is_some_and(|fatal| fatal.send(()).is_err()) {
            tracing::error!("the supervisor died, and nobody waits for it");
        }
    }
}
