//! The streams of a venue's events, on which events are lost, repeated and overtaken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::Notify;
use tranche_actors::domain::venue::VenueEvent;

/// How often a stream looks what the market did.
const TICK: Duration = Duration::from_millis(100);

/// What happens to one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFault {
    Arrives,
    Lost,
    Twice,
    /// It arrives after the one that follows it.
    Overtaken,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<(VecDeque<VenueEvent>, bool)>,
    news: Notify,
}

type Decide = Box<dyn FnMut(&VenueEvent) -> EventFault + Send>;

#[derive(Default)]
struct Shared {
    queues: Vec<Weak<Queue>>,
    decide: Option<Decide>,
    held_back: Option<VenueEvent>,
}

/// Everybody who listens.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<Shared>>);

impl Streams {
    pub(super) fn decide(&self, decide: impl FnMut(&VenueEvent) -> EventFault + Send + 'static) {
        self.0.lock().unwrap().decide = Some(Box::new(decide));
    }

    pub(super) fn send(&self, event: VenueEvent) {
        let mut shared = self.0.lock().unwrap();
        let fault = shared.decide.as_mut().map_or(EventFault::Arrives, |decide| decide(&event));
        let events = match fault {
            EventFault::Arrives => vec![event],
            EventFault::Lost => Vec::new(),
            EventFault::Twice => vec![event.clone(), event],
            EventFault::Overtaken => shared.held_back.replace(event).into_iter().collect(),
        };
        let overtaken = if events.is_empty() { None } else { shared.held_back.take() };
        shared.queues.retain(|queue| queue.strong_count() > 0);
        for queue in shared.queues.iter().filter_map(Weak::upgrade) {
            queue.waiting.lock().unwrap().0.extend(events.iter().cloned().chain(overtaken.clone()));
            queue.news.notify_one();
        }
    }

    pub(super) fn end(&self) {
        for queue in std::mem::take(&mut self.0.lock().unwrap().queues).iter().filter_map(Weak::upgrade) {
            queue.waiting.lock().unwrap().1 = true;
            queue.news.notify_one();
        }
    }

    /// A stream of what is sent from now on. It keeps the market going while somebody listens.
    pub(super) fn subscribe(&self, settle: impl Fn() + Send + Sync + 'static) -> BoxStream<'static, VenueEvent> {
        let queue = Arc::new(Queue::default());
        self.0.lock().unwrap().queues.push(Arc::downgrade(&queue));
        let settle = Arc::new(settle);
        stream::unfold((queue, settle), |(queue, settle)| async move {
            loop {
                let (next, ended) = {
                    let mut waiting = queue.waiting.lock().unwrap();
                    (waiting.0.pop_front(), waiting.1)
                };
                match next {
                    Some(event) => return Some((event, (queue, settle))),
                    None if ended => return None,
                    None => {}
                }
                if tokio::time::timeout(TICK, queue.news.notified()).await.is_err() {
                    settle();
                }
            }
        })
        .boxed()
    }
}
