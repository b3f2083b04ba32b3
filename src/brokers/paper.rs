//! The paper broker: the matching engine in this process, behind the venue port, with a book that outlives it.
//!
//! An order is durable in the book before its answer sets out, so a process that is killed in between leaves an accepted
//! order without an acknowledgement, as a broker does. While the process is down nothing fills.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::names::{BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::venue::{
    Allowance, DailyBar, Execution, NewOrder, Quote, VenueAccount, VenueClock, VenueEvent, VenueHoldings, VenueOrder,
    VenuePosition, VenueSession,
};
use tranche_actors::market::book::BookOrder;
use tranche_actors::market::engine::{Engine, Rules};
use tranche_actors::market::faults::Dice;
use tranche_actors::market::quotes::Quotes;
use tranche_actors::market::replay::Replay;
use tranche_actors::market::walk::Walk;
use tranche_actors::ports::{CancelError, Clock, SubmitError, Venue, VenueError};

use book_file::{BookFile, BookFileError};
use desk::{Answer, Desk, Pace, Reply, Request, Sent, log};
use quote_files::QuoteFileError;
use settings::PaperSettings;

pub mod book_file;
mod desk;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
pub mod quote_files;
pub mod rows;
pub mod settings;
#[cfg(test)]
mod tests;

/// Requests that may wait for the desk; who comes later waits outside.
const QUEUE: usize = 4_096;
/// Orders on one page of [`Venue::orders_since`].
const PAGE: usize = 500;

/// Why the paper broker can't open.
#[derive(Debug, Error)]
pub enum PaperError {
    /// Its settings can't be used.
    #[error("the paper broker's settings can't be used: {}", list(.0))]
    Settings(Vec<FieldError>),
    /// A file of recorded quotes can't be replayed.
    #[error("the recorded quotes can't be replayed")]
    Quotes(#[from] QuoteFileError),
    /// Reading the recorded quotes was cut off, as by the end of the runtime.
    #[error("reading the recorded quotes was interrupted")]
    Interrupted(#[source] JoinError),
    /// Its book can't be used.
    #[error("the paper broker's book {} can't be used", path.display())]
    Book {
        /// Where the book is.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: BookFileError,
    },
}

fn list(errors: &[FieldError]) -> String {
    let each = errors.iter().map(|error| format!("{} {}", error.field, error.message));
    each.collect::<Vec<_>>().join(", ")
}

/// The paper broker. It serves until it is dropped.
pub struct PaperVenue {
    requests: mpsc::Sender<Request>,
    events: broadcast::WeakSender<Sent>,
    desk: Mutex<Option<JoinHandle<()>>>,
}

impl PaperVenue {
    /// Opens the book at a path (or begins one), and serves it on the present tokio runtime.
    ///
    /// # Errors
    /// [`PaperError`].
    pub async fn open(settings: &PaperSettings, book: &Path, clock: Arc<dyn Clock>) -> Result<Self, PaperError> {
        let errors = settings.check();
        if !errors.is_empty() {
            return Err(PaperError::Settings(errors));
        }
        let files = settings.quotes.clone();
        let read = tokio::task::spawn_blocking(move || quote_files::read(&files));
        let series = read.await.map_err(PaperError::Interrupted)??;

        let of_book = |source| PaperError::Book { path: book.to_owned(), source };
        let mut file = BookFile::open(book, settings.cash).await.map_err(of_book)?;
        let mut replays = BTreeMap::new();
        for (symbol, series) in series {
            let fingerprint = format!("{}@{}", series.fingerprint(), settings.speed.normalize());
            let origin = file.origin(&symbol, &fingerprint, clock.now()).await.map_err(of_book)?;
            replays.insert(symbol, Replay::new(series, origin, settings.speed));
        }
        let quotes = Quotes::new(Walk::new(settings.seed, settings.quote_interval_ms), replays);
        let rules = Rules {
            slippage_bps: settings.slippage_bps,
            fees: settings.fees,
            refused: settings.faults.reject_symbols.iter().cloned().collect::<BTreeSet<_>>(),
            partial: None,
        };
        let engine = Engine::new(rules, quotes, file.load().await.map_err(of_book)?);
        let (requests, queue) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(settings.event_buffer);
        let desk = Desk {
            dice: Dice::new(settings.faults.clone(), settings.seed, engine.book().next_seq()),
            engine,
            file,
            pace: Pace {
                latency: Duration::from_millis(settings.latency_ms),
                quote_interval: Duration::from_millis(settings.quote_interval_ms),
                cancel_pending: span(settings.faults.cancel_pending_ms),
                replace_pending: span(settings.faults.replace_pending_ms),
            },
            clock,
            events: events.clone(),
            overtaken: Vec::new(),
            stale: false,
        };
        Ok(Self { requests, events: events.downgrade(), desk: Mutex::new(Some(tokio::spawn(desk.run(queue)))) })
    }

    /// Finishes what has been asked, and closes the book.
    pub async fn close(&self) {
        if self.requests.send(Request::Close).await.is_err() {
            return;
        }
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(desk) = desk else { return };
        if let Err(err) = desk.await {
            tracing::error!(error = log(&err), "the paper broker ended badly");
        }
    }

    /// What was asked, once it has arrived; `None` where the desk could not say.
    async fn answer<T>(answer: oneshot::Receiver<Answer<T>>) -> Option<T> {
        let Answer { result, arrives } = answer.await.ok()?;
        if arrives > tokio::time::Instant::now() {
            tokio::time::sleep_until(arrives).await;
        }
        match result {
            Some(result) => Some(result),
            None => std::future::pending().await,
        }
    }

    /// What came of an order that was sent to the desk, or could not be.
    async fn order_answer(
        sent: bool,
        answer: oneshot::Receiver<Answer<Result<VenueOrder, SubmitError>>>,
    ) -> Result<VenueOrder, SubmitError> {
        if !sent {
            return Err(SubmitError::NeverLeft { detail: "the paper broker is closed".to_owned() });
        }
        let detail = "the paper broker could not write its book".to_owned();
        Self::answer(answer).await.unwrap_or(Err(SubmitError::Unknown { detail }))
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine, DateTime<Utc>) -> T + Send + 'static,
    ) -> Result<T, VenueError> {
        let (reply, answer): (Reply<Result<T, VenueError>>, _) = oneshot::channel();
        let request = Request::Look(Box::new(move |engine, now, arrives| {
            let result = Some(engine.map(|engine| look(engine, now)));
            // Who no longer waits has given up by itself.
            drop(reply.send(Answer { result, arrives }));
        }));
        self.requests.send(request).await.map_err(|_| closed())?;
        Self::answer(answer).await.unwrap_or_else(|| Err(closed()))
    }
}

#[async_trait]
impl Venue for PaperVenue {
    async fn submit(&self, order: &NewOrder) -> Result<VenueOrder, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let order = order.clone();
        let sent = self.requests.send(Request::Submit { order, reply }).await;
        Self::order_answer(sent.is_ok(), answer).await
    }

    async fn cancel(&self, order: &BrokerOrderId) -> Result<(), CancelError> {
        let (reply, answer) = oneshot::channel();
        let order = order.clone();
        let sent = self.requests.send(Request::Cancel { order, reply }).await;
        sent.map_err(|_| closed())?;
        Self::answer(answer).await.unwrap_or_else(|| Err(closed().into()))
    }

    async fn replace(&self, replaced: &BrokerOrderId, by: &NewOrder) -> Result<VenueOrder, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let (replaced, by) = (replaced.clone(), by.clone());
        let sent = self.requests.send(Request::Replace { replaced, by, reply }).await;
        Self::order_answer(sent.is_ok(), answer).await
    }

    async fn find(&self, id: &OrderId) -> Result<Option<VenueOrder>, VenueError> {
        let id = id.clone();
        self.look(move |engine, _| engine.book().find(&id).map(shown)).await
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, VenueError> {
        self.look(|engine, _| engine.book().live().map(shown).collect()).await
    }

    async fn orders_since(
        &self,
        since: DateTime<Utc>,
        after: Option<&BrokerOrderId>,
    ) -> Result<Vec<VenueOrder>, VenueError> {
        let after = after.cloned();
        let page = move |engine: &Engine, _| {
            let seq = match after {
                None => 0,
                Some(id) => engine.book().get(&id)?.seq,
            };
            let orders = engine.book().orders_after(seq);
            let orders = orders.filter(|held| held.order.submitted_at >= since).take(PAGE);
            Some(orders.map(shown).collect())
        };
        self.look(page).await?.ok_or_else(|| VenueError::Unavailable {
            detail: "the page begins behind an order that the paper broker doesn't have".to_owned(),
        })
    }

    async fn executions_since(&self, since: DateTime<Utc>) -> Result<Vec<Execution>, VenueError> {
        let trades = move |engine: &Engine, _| {
            let trades = engine.book().executions().iter();
            trades.filter(|trade| trade.at >= since).cloned().collect()
        };
        self.look(trades).await
    }

    async fn positions(&self) -> Result<VenueHoldings, VenueError> {
        let positions = |engine: &Engine, _| {
            let held = engine.book().positions().iter().filter(|(_, qty)| !qty.is_zero());
            let position = |(symbol, qty): (&Symbol, &_)| VenuePosition { symbol: symbol.clone(), qty: *qty };
            VenueHoldings { positions: held.map(position).collect(), unclosable: Vec::new() }
        };
        self.look(positions).await
    }

    async fn account(&self) -> Result<VenueAccount, VenueError> {
        self.look(|engine, _| account(engine)).await
    }

    async fn clock(&self) -> Result<Option<VenueClock>, VenueError> {
        Ok(None)
    }

    async fn calendar(&self, _: NaiveDate, _: NaiveDate) -> Result<Vec<VenueSession>, VenueError> {
        Ok(Vec::new())
    }

    async fn daily_bars(&self, _: &Symbol, _: u32) -> Result<Vec<DailyBar>, VenueError> {
        Ok(Vec::new())
    }

    fn allowance(&self) -> Option<Allowance> {
        None
    }

    async fn quote(&self, symbol: &Symbol) -> Result<Quote, VenueError> {
        let symbol = symbol.clone();
        self.look(move |engine, now| engine.quote(&symbol, now)).await
    }

    async fn events(&self) -> Result<BoxStream<'static, VenueEvent>, VenueError> {
        let events = self.events.upgrade().ok_or_else(closed)?.subscribe();
        let next = |mut events: broadcast::Receiver<Sent>| async move {
            let event = match events.recv().await {
                Ok(Sent { event, arrives }) => {
                    tokio::time::sleep_until(arrives).await;
                    Arc::unwrap_or_clone(event)
                }
                Err(broadcast::error::RecvError::Lagged(_)) => VenueEvent::Gap,
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((event, events))
        };
        Ok(stream::unfold(events, next).boxed())
    }
}

fn account(engine: &Engine) -> VenueAccount {
    let cash = engine.book().cash();
    VenueAccount {
        status: "ACTIVE".to_owned(),
        trading_blocked: false,
        equity: cash,
        cash,
        buying_power: cash - engine.book().reserved(),
    }
}

fn span(ms: u64) -> TimeDelta {
    TimeDelta::from_std(Duration::from_millis(ms)).unwrap_or(TimeDelta::MAX)
}

fn shown(held: &BookOrder) -> VenueOrder {
    held.order.clone()
}

fn closed() -> VenueError {
    VenueError::Unavailable { detail: "the paper broker is closed".to_owned() }
}
