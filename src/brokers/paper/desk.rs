//! The one task that owns the engine and its file. It drains what has arrived, applies it, makes all of it durable in
//! one transaction, and only then answers and tells.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tranche_actors::domain::names::BrokerOrderId;
use tranche_actors::domain::venue::{NewOrder, VenueEvent, VenueOrder};
use tranche_actors::market::book::Change;
use tranche_actors::market::engine::Engine;
use tranche_actors::market::faults::{Dice, EventFault, RequestFault};
use tranche_actors::market::session::end_of_utc_day;
use tranche_actors::ports::{CancelError, Clock, SubmitError, VenueError};

use super::book_file::BookFile;

/// Most requests that share one transaction.
const BATCH: usize = 1_024;
const BROKEN: &str = "503 service unavailable";

/// An answer on its way back.
pub(super) struct Answer<T> {
    /// What is answered; `None`: the answer is lost, and never arrives.
    pub(super) result: Option<T>,
    /// When it arrives.
    pub(super) arrives: Instant,
}

/// Where an answer goes. Dropped without one where the book could not be written.
pub(super) type Reply<T> = oneshot::Sender<Answer<T>>;

/// An event on its way out.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) event: Arc<VenueEvent>,
    pub(super) arrives: Instant,
}

/// Looks at the durable book, or learns that it may not.
pub(super) type Look = Box<dyn FnOnce(Result<&Engine, VenueError>, DateTime<Utc>, Instant) + Send>;

/// What the desk can be asked for.
pub(super) enum Request {
    Submit {
        order: NewOrder,
        reply: Reply<Result<VenueOrder, SubmitError>>,
    },
    Replace {
        replaced: BrokerOrderId,
        by: NewOrder,
        reply: Reply<Result<VenueOrder, SubmitError>>,
    },
    Cancel {
        order: BrokerOrderId,
        reply: Reply<Result<(), CancelError>>,
    },
    Look(Look),
    /// Finish what was asked before, and close the book.
    Close,
}

/// The times that a desk keeps.
pub(super) struct Pace {
    pub(super) latency: Duration,
    pub(super) quote_interval: Duration,
    pub(super) cancel_pending: TimeDelta,
    pub(super) replace_pending: TimeDelta,
}

pub(super) struct Desk {
    pub(super) engine: Engine,
    pub(super) file: BookFile,
    pub(super) dice: Dice,
    pub(super) pace: Pace,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: broadcast::Sender<Sent>,
    /// Events that wait for a later one to overtake them.
    pub(super) overtaken: Vec<VenueEvent>,
    /// Whether the engine is ahead of the file, because a commit failed.
    pub(super) stale: bool,
}

/// What a round has gathered, to be answered once it is durable.
#[derive(Default)]
struct Round {
    changes: Vec<Change>,
    answers: Vec<Box<dyn FnOnce(Instant) + Send>>,
    looks: Vec<Look>,
}

impl Round {
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, result: Option<T>, delay: Duration) {
        self.answers.push(Box::new(move |arrives| {
            // Who no longer waits has given up by itself.
            drop(reply.send(Answer { result, arrives: arrives + delay }));
        }));
    }
}

impl Desk {
    /// Serves until nobody can ask any more.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut ticks = tokio::time::interval(self.pace.quote_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut queue = Vec::new();
        loop {
            let is_tick = tokio::select! {
                _ = ticks.tick() => true,
                taken = requests.recv_many(&mut queue, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    false
                }
            };
            let closes = queue.iter().any(|request| matches!(request, Request::Close));
            self.round(queue.drain(..), is_tick).await;
            if closes {
                break;
            }
        }
        if let Err(err) = self.file.close().await {
            tracing::warn!(error = log(&err), "the paper broker's book was not closed cleanly");
        }
    }

    async fn round(&mut self, queue: impl Iterator<Item = Request>, is_tick: bool) {
        if self.stale && !self.reload().await {
            drop(queue);
            return;
        }
        let mut round = Round::default();
        for request in queue {
            self.take(request, &mut round);
        }
        if is_tick {
            round.changes.extend(self.engine.tick(self.clock.now()));
        }
        if !round.changes.is_empty()
            && let Err(err) = self.file.commit(&round.changes, self.engine.book()).await
        {
            tracing::error!(error = log(&err), "the paper broker's book could not be written");
            self.stale = true;
            return;
        }
        let arrives = Instant::now() + self.pace.latency;
        for answer in round.answers {
            answer(arrives);
        }
        for Change { order, execution } in round.changes {
            let order = Box::new(order.order);
            self.tell(VenueEvent::Order { order, execution }, arrives);
        }
        if is_tick {
            self.release(arrives);
        }
        for look in round.looks {
            if self.dice.lookup_fails() {
                let detail = BROKEN.to_owned();
                look(Err(VenueError::Unavailable { detail }), self.clock.now(), arrives);
            } else {
                look(Ok(&self.engine), self.clock.now(), arrives);
            }
        }
    }

    /// Goes back to what is durable. What was not has been answered by nobody, so nobody counts on it.
    async fn reload(&mut self) -> bool {
        match self.file.load().await {
            Ok(state) => {
                self.engine.restore(state);
                self.stale = false;
                self.send(VenueEvent::Gap, Instant::now());
                true
            }
            Err(err) => {
                tracing::error!(error = log(&err), "the paper broker's book could not be read");
                false
            }
        }
    }

    fn take(&mut self, request: Request, round: &mut Round) {
        let now = self.clock.now();
        match request {
            Request::Submit { order, reply } => {
                let (fault, delay) = self.dice.request();
                let submit = || {
                    let accepted = self.engine.submit(&order, now, end_of_utc_day(now))?;
                    round.changes.extend(accepted.changes);
                    Ok(accepted.order)
                };
                let result = act_out(fault, submit, order_busy, order_broken());
                round.answer(reply, result, delay);
            }
            Request::Replace { replaced, by, reply } => {
                let (fault, delay) = self.dice.request();
                let replace = || {
                    let takes_at = now + self.pace.replace_pending;
                    let accepted = self.engine.replace(&replaced, &by, now, end_of_utc_day(now), takes_at)?;
                    round.changes.extend(accepted.changes);
                    Ok(accepted.order)
                };
                let result = act_out(fault, replace, order_busy, order_broken());
                round.answer(reply, result, delay);
            }
            Request::Cancel { order, reply } => {
                let (fault, delay) = self.dice.request();
                let cancel = || {
                    let confirm_at = now + self.pace.cancel_pending;
                    round.changes.extend(self.engine.cancel(&order, now, confirm_at)?);
                    Ok(())
                };
                let busy = |retry_after| VenueError::NotNow { retry_after }.into();
                let detail = BROKEN.to_owned();
                let result = act_out(fault, cancel, busy, VenueError::Unavailable { detail }.into());
                round.answer(reply, result, delay);
            }
            Request::Close => {}
            Request::Look(look) => round.looks.push(look),
        }
    }

    fn tell(&mut self, event: VenueEvent, arrives: Instant) {
        match self.dice.event() {
            EventFault::None => self.send(event, arrives),
            EventFault::Lost => {}
            EventFault::Duplicated => {
                self.send(event.clone(), arrives);
                self.send(event, arrives);
            }
            EventFault::Reordered => {
                self.overtaken.push(event);
                return;
            }
        }
        self.release(arrives);
    }

    /// Sends what was held back; at the latest with the next tick, so that nothing is held for ever.
    fn release(&mut self, arrives: Instant) {
        for event in std::mem::take(&mut self.overtaken) {
            self.send(event, arrives);
        }
    }

    fn send(&self, event: VenueEvent, arrives: Instant) {
        let event = Arc::new(event);
        // An error says that nobody listens, which is nobody's loss.
        drop(self.events.send(Sent { event, arrives }));
    }
}

const fn order_busy(retry_after: Option<Duration>) -> SubmitError {
    SubmitError::NotNow { retry_after }
}

fn order_broken() -> SubmitError {
    SubmitError::Unknown { detail: BROKEN.to_owned() }
}

/// An error with everything that caused it, as a log takes it.
pub(super) fn log<'a>(err: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    err
}

/// Takes a request as its fault wants it; `None` is never answered.
fn act_out<T, E>(
    fault: RequestFault,
    take: impl FnOnce() -> Result<T, E>,
    busy: impl FnOnce(Option<Duration>) -> E,
    broken: E,
) -> Option<Result<T, E>> {
    match fault {
        RequestFault::None => Some(take()),
        RequestFault::Busy { retry_after } => Some(Err(busy(retry_after))),
        RequestFault::TimeoutBefore => None,
        RequestFault::ErrorBefore => Some(Err(broken)),
        RequestFault::TimeoutAfter => {
            drop(take());
            None
        }
        RequestFault::ErrorAfter => {
            drop(take());
            Some(Err(broken))
        }
    }
}
