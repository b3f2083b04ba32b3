//! The venue port over the matching engine: it outlives a house, remembers every request, and fails as a test tells it
//! to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::BoxStream;
use rust_decimal::Decimal;
use tranche_actors::domain::names::{BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::venue::{Execution, NewOrder, Quote, VenueEvent, VenueOrder, VenuePosition, VenueWords};
use tranche_actors::market::book::{BookOrder, BookState, Change};
use tranche_actors::market::engine::{Engine, Rules};
use tranche_actors::market::quotes::Quotes;
use tranche_actors::market::walk::Walk;
use tranche_actors::ports::{CancelError, Clock, SubmitError, Venue, VenueError};

use super::calls::Calls;
use super::clock::VirtualClock;
use streams::{EventFault, Streams};

pub(crate) mod streams;

/// What happens to one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    /// Taken, and never answered.
    AnswerLost,
    /// Taken, and answered after so long.
    AnsweredAfter(Duration),
    /// Never arrives, never answered.
    RequestLost,
    /// Never answered, and taken only after so long.
    ArrivesAfter(Duration),
    /// No byte of it left.
    NeverLeft,
    /// 429.
    Busy,
    /// 5xx, not taken.
    ErrorBefore,
    /// 5xx, taken.
    ErrorAfter,
    Rejected,
    /// The sender dies over it, taken or not.
    Panic {
        taken: bool,
    },
}

/// One submission as the venue saw it.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub(crate) at: DateTime<Utc>,
    pub(crate) id: OrderId,
    /// The book had an order of this id already.
    pub(crate) duplicate: bool,
}

type Decide = Box<dyn FnMut(&NewOrder) -> Fate + Send>;

struct Desk {
    engine: Engine,
    decide: Option<Decide>,
    planned: VecDeque<Fate>,
    submissions: Vec<Submission>,
    /// The instants of all submissions, cancels and look-ups.
    requests: Vec<DateTime<Utc>>,
    late: Vec<(DateTime<Utc>, NewOrder)>,
    cancel_pending: TimeDelta,
}

/// The venue.
pub(crate) struct EngineVenue {
    clock: Arc<VirtualClock>,
    desk: Arc<Mutex<Desk>>,
    streams: Streams,
    /// How long every request takes.
    latency: Mutex<Duration>,
    /// Faults of the methods other than `submit`.
    pub(crate) calls: Calls,
}

impl EngineVenue {
    pub(crate) fn new(clock: Arc<VirtualClock>) -> Self {
        let quotes = Quotes::new(Walk::new(7, 250), [].into());
        let cash = BookState { cash: Decimal::from(1_000_000_000), ..BookState::default() };
        let desk = Desk {
            engine: Engine::new(Rules::default(), quotes, cash),
            decide: None,
            planned: VecDeque::new(),
            submissions: Vec::new(),
            requests: Vec::new(),
            late: Vec::new(),
            cancel_pending: TimeDelta::zero(),
        };
        Self {
            clock,
            desk: Arc::new(Mutex::new(desk)),
            streams: Streams::default(),
            latency: Mutex::new(Duration::from_millis(5)),
            calls: Calls::default(),
        }
    }

    /// The next submissions have these fates.
    pub(crate) fn plan(&self, fates: impl IntoIterator<Item = Fate>) {
        self.desk.lock().unwrap().planned.extend(fates);
    }

    /// Decides the fate of every submission from now on that has none planned.
    pub(crate) fn decide(&self, decide: impl FnMut(&NewOrder) -> Fate + Send + 'static) {
        self.desk.lock().unwrap().decide = Some(Box::new(decide));
    }

    /// What happens to every event from now on.
    pub(crate) fn decide_events(&self, decide: impl FnMut(&VenueEvent) -> EventFault + Send + 'static) {
        self.streams.decide(decide);
    }

    /// Every stream of events ends.
    pub(crate) fn end_streams(&self) {
        self.streams.end();
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    /// A cancel is pending for so long before it is confirmed.
    pub(crate) fn set_cancel_pending(&self, pending: Duration) {
        self.desk.lock().unwrap().cancel_pending = TimeDelta::from_std(pending).unwrap();
    }

    /// Every submission so far, those that never arrived included.
    pub(crate) fn submissions(&self) -> Vec<Submission> {
        self.desk.lock().unwrap().submissions.clone()
    }

    /// Takes an order that somebody else sent.
    pub(crate) fn slip_in(&self, order: &NewOrder) {
        self.take(order).unwrap();
    }

    /// The instants of all requests that a rate limit counts.
    pub(crate) fn requests(&self) -> Vec<DateTime<Utc>> {
        self.desk.lock().unwrap().requests.clone()
    }

    /// Every order in the book, oldest first.
    pub(crate) fn book(&self) -> Vec<VenueOrder> {
        self.settle();
        let desk = self.desk.lock().unwrap();
        desk.engine.book().orders_after(0).map(|held| held.order.clone()).collect()
    }

    pub(crate) fn in_book(&self, id: &OrderId) -> Option<VenueOrder> {
        self.settle();
        self.desk.lock().unwrap().engine.book().find(id).map(shown)
    }

    pub(crate) fn holds(&self, symbol: &Symbol) -> Decimal {
        let desk = self.desk.lock().unwrap();
        desk.engine.book().positions().get(symbol).copied().unwrap_or_default()
    }

    /// Lets the engine come to the present, and sends out what changed.
    fn settle(&self) {
        settle(&self.desk, &self.clock, &self.streams);
    }

    fn take(&self, order: &NewOrder) -> Result<VenueOrder, SubmitError> {
        self.settle();
        let now = self.clock.now();
        let taken = self.desk.lock().unwrap().engine.submit(order, now, day_end(now))?;
        send_out(&self.streams, taken.changes);
        Ok(taken.order)
    }

    async fn travel(&self) {
        let latency = *self.latency.lock().unwrap();
        tokio::time::sleep(latency).await;
    }

    async fn ask<T>(&self, method: &'static str, look: impl FnOnce(&Engine) -> T) -> Result<T, VenueError> {
        if matches!(method, "find" | "cancel") {
            self.desk.lock().unwrap().requests.push(self.clock.now());
        }
        if self.calls.enter(method).await {
            let detail = format!("{method} was told to fail");
            return Err(VenueError::Unavailable { detail });
        }
        self.travel().await;
        self.settle();
        Ok(look(&self.desk.lock().unwrap().engine))
    }
}

fn day_end(now: DateTime<Utc>) -> DateTime<Utc> {
    now + TimeDelta::hours(8)
}

fn settle(desk: &Mutex<Desk>, clock: &VirtualClock, streams: &Streams) {
    let now = clock.now();
    let mut changes = Vec::new();
    {
        let mut desk = desk.lock().unwrap();
        changes.extend(desk.engine.tick(now));
        let (arrived, late) = std::mem::take(&mut desk.late).into_iter().partition(|(at, _)| *at <= now);
        desk.late = late;
        let arrived: Vec<(DateTime<Utc>, NewOrder)> = arrived;
        for (_, order) in arrived {
            if let Ok(taken) = desk.engine.submit(&order, now, day_end(now)) {
                changes.extend(taken.changes);
            }
        }
    }
    send_out(streams, changes);
}

fn send_out(streams: &Streams, changes: Vec<Change>) {
    for Change { order, execution } in changes {
        let order = Box::new(order.order);
        streams.send(VenueEvent::Order { order, execution });
    }
}

fn unknown(detail: &str) -> SubmitError {
    SubmitError::Unknown { detail: detail.to_owned() }
}

#[async_trait]
impl Venue for EngineVenue {
    async fn submit(&self, order: &NewOrder) -> Result<VenueOrder, SubmitError> {
        let now = self.clock.now();
        let fate = {
            let mut desk = self.desk.lock().unwrap();
            let decided = desk.planned.pop_front();
            let fate = decided.or_else(|| desk.decide.as_mut().map(|decide| decide(order)));
            let fate = fate.unwrap_or(Fate::Taken);
            let submission = Submission {
                at: now,
                id: order.client_order_id.clone(),
                duplicate: desk.engine.book().find(&order.client_order_id).is_some(),
            };
            if fate != Fate::NeverLeft {
                desk.requests.push(now);
            }
            desk.submissions.push(submission);
            fate
        };
        let (take, wait) = match fate {
            Fate::Taken | Fate::ErrorAfter | Fate::Panic { taken: true } => (true, Some(Duration::ZERO)),
            Fate::AnswerLost => (true, None),
            Fate::AnsweredAfter(wait) => (true, Some(wait)),
            Fate::RequestLost | Fate::ArrivesAfter(_) => (false, None),
            Fate::NeverLeft | Fate::Busy | Fate::ErrorBefore | Fate::Rejected | Fate::Panic { taken: false } => {
                (false, Some(Duration::ZERO))
            }
        };
        let taken = take.then(|| self.take(order));
        if let Fate::ArrivesAfter(wait) = fate {
            let at = now + TimeDelta::from_std(wait).unwrap();
            self.desk.lock().unwrap().late.push((at, order.clone()));
        }
        let Some(wait) = wait else {
            return std::future::pending().await;
        };
        self.travel().await;
        tokio::time::sleep(wait).await;
        match fate {
            Fate::Panic { .. } => panic!("the venue was told to panic"),
            Fate::NeverLeft => Err(SubmitError::NeverLeft { detail: "connection refused".to_owned() }),
            Fate::Busy => Err(SubmitError::NotNow { retry_after: None }),
            Fate::ErrorBefore | Fate::ErrorAfter => Err(unknown("503")),
            Fate::Rejected => Err(SubmitError::Rejected(VenueWords {
                code: "40310000".to_owned(),
                message: "insufficient buying power".to_owned(),
            })),
            Fate::Taken | Fate::AnswerLost | Fate::AnsweredAfter(_) | Fate::RequestLost | Fate::ArrivesAfter(_) => {
                taken.unwrap_or_else(|| Err(unknown("not taken")))
            }
        }
    }

    async fn cancel(&self, order: &BrokerOrderId) -> Result<(), CancelError> {
        self.ask("cancel", |_| ()).await?;
        let now = self.clock.now();
        let changes = {
            let mut desk = self.desk.lock().unwrap();
            let confirm_at = now + desk.cancel_pending;
            desk.engine.cancel(order, now, confirm_at)?
        };
        send_out(&self.streams, changes);
        Ok(())
    }

    async fn find(&self, id: &OrderId) -> Result<Option<VenueOrder>, VenueError> {
        self.ask("find", |engine| engine.book().find(id).map(shown)).await
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, VenueError> {
        self.ask("open_orders", |engine| engine.book().live().map(shown).collect()).await
    }

    async fn orders_since(
        &self,
        since: DateTime<Utc>,
        after: Option<&BrokerOrderId>,
    ) -> Result<Vec<VenueOrder>, VenueError> {
        self.ask("orders_since", |engine| {
            let seq = after.and_then(|id| engine.book().get(id)).map_or(0, |held| held.seq);
            let page = engine.book().orders_after(seq);
            page.filter(|held| held.order.submitted_at >= since).take(50).map(shown).collect()
        })
        .await
    }

    async fn executions_since(&self, since: DateTime<Utc>) -> Result<Vec<Execution>, VenueError> {
        self.ask("executions_since", |engine| {
            let trades = engine.book().executions().iter();
            trades.filter(|trade| trade.at >= since).cloned().collect()
        })
        .await
    }

    async fn positions(&self) -> Result<Vec<VenuePosition>, VenueError> {
        self.ask("positions", |engine| {
            let held = engine.book().positions().iter().filter(|(_, qty)| !qty.is_zero());
            let shown = held.map(|(symbol, qty)| VenuePosition { symbol: symbol.clone(), qty: *qty });
            shown.collect()
        })
        .await
    }

    async fn quote(&self, symbol: &Symbol) -> Result<Quote, VenueError> {
        let now = self.clock.now();
        self.ask("quote", |engine| engine.quote(symbol, now)).await
    }

    async fn events(&self) -> Result<BoxStream<'static, VenueEvent>, VenueError> {
        self.ask("events", |_| ()).await?;
        let (desk, clock, streams) = (Arc::clone(&self.desk), Arc::clone(&self.clock), self.streams.clone());
        Ok(self.streams.subscribe(move || settle(&desk, &clock, &streams)))
    }
}

fn shown(held: &BookOrder) -> VenueOrder {
    held.order.clone()
}
