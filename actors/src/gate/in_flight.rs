//! The in-flight set.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::domain::limits::LimitScope;
use crate::domain::names::{OrderId, StrategyId, Symbol};
use crate::sync::{Arc, Mutex, lock};

/// The sends whose outcome is not known yet.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Mutex<BTreeMap<OrderId, Flight>>>);

/// A send whose outcome is not known yet.
#[derive(Debug)]
struct Flight {
    of: Whose,
    cut: Option<oneshot::Sender<()>>,
}

/// Whose order it is, within an account.
#[derive(Clone, Debug)]
pub struct Whose {
    /// The client's strategy.
    pub strategy: StrategyId,
    /// What is traded.
    pub symbol: Symbol,
}

impl Whose {
    fn is_of(&self, scope: &LimitScope) -> bool {
        match scope {
            // Of another account this is not asked.
            LimitScope::Global | LimitScope::Account(_) => true,
            LimitScope::Strategy(strategy) => *strategy == self.strategy,
            LimitScope::Symbol(symbol) => *symbol == self.symbol,
        }
    }
}

/// A place in the in-flight set; dropping it leaves the set, panics included.
#[derive(Debug)]
pub struct Ticket {
    set: InFlight,
    id: OrderId,
}

impl InFlight {
    /// Enters a send. Read the gate only *after* this. The receiver answers when the send is cut off.
    #[must_use]
    pub fn enter(&self, id: &OrderId, of: Whose) -> (Ticket, oneshot::Receiver<()>) {
        let (cut, is_cut) = oneshot::channel();
        lock(&self.0).insert(id.clone(), Flight { of, cut: Some(cut) });
        (Ticket { set: self.clone(), id: id.clone() }, is_cut)
    }

    /// The orders in the set that are of a part of the account, or of all of it. Shut the gate *before* this.
    #[must_use]
    pub fn ids(&self, scope: &LimitScope) -> Vec<OrderId> {
        lock(&self.0).iter().filter(|(_, flight)| flight.of.is_of(scope)).map(|(id, _)| id.clone()).collect()
    }

    /// How many sends are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether no send is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this order is in flight.
    #[must_use]
    pub fn contains(&self, id: &OrderId) -> bool {
        lock(&self.0).contains_key(id)
    }

    /// Cuts off every send of a part: its connection is closed, and its outcome is unknown.
    pub fn cut(&self, scope: &LimitScope) {
        for flight in lock(&self.0).values_mut().filter(|flight| flight.of.is_of(scope)) {
            // Dropping the sender wakes the receiver, which is all that it waits for.
            drop(flight.cut.take());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.set.0).remove(&self.id);
    }
}
