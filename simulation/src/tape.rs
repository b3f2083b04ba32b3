//! What happens between a process, its store, its venue and its clients, step by step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tranche_actors::domain::names::{BrokerOrderId, OrderId};
use tranche_actors::domain::venue::{NewOrder, VenueEvent, VenueOrder};
use tranche_actors::ports::SubmitError;
use tranche_actors::ports::store::Batch;

use crate::requests::{Reply, Request};
use crate::store::Saved;

/// One thing that happens, as somebody outside the process sees it.
#[derive(Debug)]
pub enum Step<'a> {
    /// A process starts, the n-th one.
    Started(u32),
    /// It is gone, in the middle of what it did.
    Crashed,
    /// Something goes wrong, or is about to.
    Fault(&'a str),
    /// A fault that lay in wait has met somebody.
    Struck(&'a str),
    /// A client or an operator asks for something.
    Asked(u64, &'a Request),
    /// And is answered.
    Replied(u64, &'a Request, &'a Reply),
    /// The store made a batch durable; whoever wrote it may never learn so.
    Committed(&'a Batch, &'a Saved),
    /// An order is at the wire: its next byte leaves.
    Sent(&'a NewOrder),
    /// The venue took an order, perhaps long after it was sent.
    Taken(&'a VenueOrder),
    /// Whoever sent an order is told what came of it.
    Answered(&'a OrderId, &'a Result<VenueOrder, SubmitError>),
    /// A cancel is at the wire.
    CancelSent(&'a BrokerOrderId),
    /// The venue answers whether it has an order.
    LookedUp(&'a OrderId, Option<&'a VenueOrder>),
    /// The venue shows all its open orders.
    Listed,
    /// The venue sends out an event.
    Event(&'a VenueEvent),
}

type Watcher = Box<dyn FnMut(&Step<'_>) + Send>;

/// Where steps are noted, for whoever watches.
#[derive(Clone, Default)]
pub struct Tape(Arc<(Mutex<Option<Watcher>>, AtomicU32)>);

impl Tape {
    /// Everything is shown to this watcher from now on. The world may be looked at from inside it, not changed.
    pub fn watch(&self, watcher: impl FnMut(&Step<'_>) + Send + 'static) {
        *self.0.0.lock() = Some(Box::new(watcher));
    }

    /// Takes the watcher off, with what it holds.
    pub fn unwatch(&self) {
        drop(self.0.0.lock().take());
    }

    /// Whether anybody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.0.lock().is_some()
    }

    /// Something happens. No lock of store or venue may be held.
    pub fn note(&self, step: &Step<'_>) {
        if let Some(watcher) = self.0.0.lock().as_mut() {
            watcher(step);
        }
    }

    /// A fault has met somebody. As for [`Self::note`], no lock may be held.
    pub fn strike(&self, what: &str) {
        self.0.1.fetch_add(1, Ordering::Relaxed);
        self.note(&Step::Struck(what));
    }

    /// How many faults have met somebody.
    #[must_use]
    pub fn struck(&self) -> u32 {
        self.0.1.load(Ordering::Relaxed)
    }
}
