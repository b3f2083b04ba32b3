//! The streams of a venue's events, on which events are lost, repeated and overtaken.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tranche_actors::domain::venue::VenueEvent;
use tranche_actors::market::faults::EventFault;

use super::part_of;
use crate::clock::Seeded;
use crate::life::Life;

/// How often a stream looks what the market did.
const TICK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Queue {
    /// What waits and until when, and whether the stream has ended.
    waiting: Mutex<(VecDeque<(Instant, VenueEvent)>, bool)>,
    news: Notify,
}

type Decide = Box<dyn FnMut(&VenueEvent) -> EventFault + Send>;

#[derive(Default)]
struct Shared {
    queues: Vec<Weak<Queue>>,
    planned: VecDeque<EventFault>,
    decide: Option<Decide>,
    held_back: Option<VenueEvent>,
    /// No event gets through, and whether one was lost so.
    muted: Option<bool>,
    /// By how much events may lag behind, by chance, and until when the last one does.
    lag: Option<(Duration, Seeded, Instant)>,
}

impl Shared {
    fn deliver(&mut self, at: Instant, events: &[VenueEvent]) {
        self.queues.retain(|queue| queue.strong_count() > 0);
        for queue in self.queues.iter().filter_map(Weak::upgrade) {
            queue.waiting.lock().0.extend(events.iter().map(|event| (at, event.clone())));
            queue.news.notify_one();
        }
    }
}

/// Everybody who listens.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<Shared>>);

impl Streams {
    pub(super) fn plan(&self, faults: impl IntoIterator<Item = EventFault>) {
        self.0.lock().planned.extend(faults);
    }

    pub(super) fn decide(&self, decide: impl FnMut(&VenueEvent) -> EventFault + Send + 'static) {
        self.0.lock().decide = Some(Box::new(decide));
    }

    /// Events take up to so long, as answers do: sometimes the one is faster, sometimes the other. None overtakes another.
    pub(super) fn lag(&self, most: Duration, seed: u64) {
        self.0.lock().lag = Some((most, Seeded::new(seed), Instant::now()));
    }

    /// No event gets through from now on.
    pub(super) fn mute(&self) {
        self.0.lock().muted = Some(false);
    }

    /// Events get through again, and whoever listens is told that some may be missing; the answer is whether it was so.
    pub(super) fn unmute(&self) -> bool {
        let mut shared = self.0.lock();
        let was_muted = shared.muted.take().is_some();
        if was_muted {
            let now = Instant::now();
            shared.deliver(now, &[VenueEvent::Gap]);
        }
        was_muted
    }

    pub(super) fn is_muted(&self) -> bool {
        self.0.lock().muted.is_some()
    }

    pub(super) fn heal(&self) {
        let mut shared = self.0.lock();
        shared.planned.clear();
        shared.decide = None;
    }

    /// Sends an event to everybody; the answer is the fault that met it, if one had been laid for it.
    pub(super) fn send(&self, event: VenueEvent) -> Option<&'static str> {
        let mut shared = self.0.lock();
        if let Some(lost) = &mut shared.muted {
            return (!std::mem::replace(lost, true)).then_some("events are lost");
        }
        let planned = shared.planned.pop_front();
        let fault = planned.or_else(|| shared.decide.as_mut().map(|decide| decide(&event)));
        let events = match fault.unwrap_or(EventFault::None) {
            EventFault::None => vec![event],
            EventFault::Lost => Vec::new(),
            EventFault::Duplicated => vec![event.clone(), event],
            EventFault::Reordered => shared.held_back.replace(event).into_iter().collect(),
        };
        let overtaken = if events.is_empty() { None } else { shared.held_back.take() };
        let now = Instant::now();
        let at = shared.lag.as_mut().map_or(now, |(most, chance, last)| {
            *last = (now + part_of(*most, chance)).max(*last);
            *last
        });
        let events = events.into_iter().chain(overtaken).collect::<Vec<_>>();
        shared.deliver(at, &events);
        planned.map(|_| "an event goes astray")
    }

    pub(super) fn end(&self) {
        for queue in std::mem::take(&mut self.0.lock().queues).iter().filter_map(Weak::upgrade) {
            queue.waiting.lock().1 = true;
            queue.news.notify_one();
        }
    }

    /// A stream of what is sent from now on. It keeps the market going while somebody listens.
    pub(super) fn subscribe(
        &self,
        life: Life,
        settle: impl Fn() + Send + Sync + 'static,
    ) -> BoxStream<'static, VenueEvent> {
        let queue = Arc::new(Queue::default());
        self.0.lock().queues.push(Arc::downgrade(&queue));
        let settle = Arc::new(settle);
        stream::unfold((queue, settle, life), |(queue, settle, life)| async move {
            loop {
                let (next, ended) = {
                    let mut waiting = queue.waiting.lock();
                    (waiting.0.pop_front(), waiting.1)
                };
                match next {
                    Some((at, event)) => {
                        if at > Instant::now() {
                            tokio::time::sleep_until(at).await;
                        }
                        life.pass().await;
                        return Some((event, (queue, settle, life)));
                    }
                    None if ended => return None,
                    None => {}
                }
                if tokio::time::timeout(TICK, queue.news.notified()).await.is_err() && !life.is_dead() {
                    settle();
                }
            }
        })
        .boxed()
    }
}
