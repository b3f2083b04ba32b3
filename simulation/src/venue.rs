//! The venue port over the matching engine: it outlives a process, remembers every request, and fails as a scenario says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use rust_decimal::Decimal;
use tranche_actors::domain::names::{BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::venue::{
    Allowance, DailyBar, Execution, NewOrder, Quote, Unclosable, VenueAccount, VenueClock, VenueEvent, VenueHoldings,
    VenueOrder, VenuePosition, VenueSession,
};
use tranche_actors::market::book::{BookOrder, BookState, Change};
use tranche_actors::market::engine::{Accepted, Engine, Rules};
use tranche_actors::market::faults::{Dice, EventFault, RequestFault};
use tranche_actors::market::quotes::Quotes;
use tranche_actors::ports::{CancelError, SubmitError, Venue, VenueError};

use crate::calls::Calls;
use crate::clock::{Seeded, VirtualClock};
use crate::life::Life;
use crate::tape::{Step, Tape};
use moods::Moods;
use streams::Streams;

pub use days::Days;
pub use fates::Fate;

mod days;
mod fates;
mod moods;
mod streams;

/// How long a `day` order lives.
const SESSION: TimeDelta = TimeDelta::hours(8);
/// A connector bounds each of its requests by itself: what waits for a rate budget too can't be bounded from outside. It
/// is longer than whoever asks waits without one.
const LONGEST: Duration = Duration::from_secs(15);
/// Most orders on a page.
const PAGE: usize = 50;
/// What the account begins with.
const CASH: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// One submission as the venue saw it.
#[derive(Clone, Debug)]
pub struct Submission {
    /// When, on the wall clock.
    pub at: DateTime<Utc>,
    /// The order.
    pub id: OrderId,
    /// The book had an order of this id already.
    pub duplicate: bool,
}

type Decide = Box<dyn FnMut(&NewOrder) -> Fate + Send>;

/// An order on its way, and the one whose place it is to take.
#[derive(Clone)]
struct Letter {
    order: NewOrder,
    replaces: Option<BrokerOrderId>,
}

struct Desk {
    engine: Engine,
    decide: Option<Decide>,
    dice: Option<Dice>,
    planned: VecDeque<Fate>,
    planned_replacements: VecDeque<Fate>,
    planned_cancels: VecDeque<RequestFault>,
    moods: Moods,
    submissions: Vec<Submission>,
    unclosable: Vec<Unclosable>,
    /// The instants of all submissions, cancels and look-ups.
    requests: Vec<DateTime<Utc>>,
    late: Vec<(DateTime<Utc>, Letter)>,
    /// What waits somewhere on its way until the same order is sent again.
    stuck: Vec<Letter>,
    cancel_pending: TimeDelta,
    replace_pending: TimeDelta,
    latency: Duration,
    /// By how much a request may take longer, by chance.
    spread: Option<(Duration, Seeded)>,
}

impl Desk {
    fn open(&mut self, Letter { order, replaces }: &Letter, now: DateTime<Utc>) -> Result<Accepted, SubmitError> {
        let session_end = now + SESSION;
        match replaces {
            None => self.engine.submit(order, now, session_end),
            Some(id) => self.engine.replace(id, order, now, session_end, now + self.replace_pending),
        }
    }
}

/// The venue of one account.
pub struct EngineVenue {
    clock: Arc<VirtualClock>,
    desk: Arc<Mutex<Desk>>,
    streams: Streams,
    /// When it trades, and what traded there before.
    pub days: Days,
    tape: Tape,
    life: Life,
    /// Faults of the methods; what is planned of a submission counts only while `submit` works.
    pub calls: Calls,
}

impl EngineVenue {
    /// A venue with an empty book, at these prices.
    #[must_use]
    pub fn new(clock: Arc<VirtualClock>, rules: Rules, quotes: Quotes, life: Life, tape: Tape) -> Self {
        let book = BookState { cash: CASH, ..BookState::default() };
        let desk = Desk {
            engine: Engine::new(rules, quotes, book),
            decide: None,
            dice: None,
            planned: VecDeque::new(),
            planned_replacements: VecDeque::new(),
            planned_cancels: VecDeque::new(),
            moods: Moods::default(),
            unclosable: Vec::new(),
            submissions: Vec::new(),
            requests: Vec::new(),
            late: Vec::new(),
            stuck: Vec::new(),
            cancel_pending: TimeDelta::zero(),
            replace_pending: TimeDelta::zero(),
            latency: Duration::from_millis(5),
            spread: None,
        };
        Self {
            clock,
            desk: Arc::new(Mutex::new(desk)),
            streams: Streams::default(),
            days: Days::default(),
            calls: Calls::of(life.clone()),
            tape,
            life,
        }
    }

    /// The next submissions have these fates.
    pub fn plan(&self, fates: impl IntoIterator<Item = Fate>) {
        self.desk.lock().planned.extend(fates);
    }

    /// The next submissions that are to replace an order have these fates, before any other that is planned.
    pub fn plan_replacements(&self, fates: impl IntoIterator<Item = Fate>) {
        self.desk.lock().planned_replacements.extend(fates);
    }

    /// The next cancels have these faults.
    pub fn plan_cancels(&self, faults: impl IntoIterator<Item = RequestFault>) {
        self.desk.lock().planned_cancels.extend(faults);
    }

    /// The next events have these faults.
    pub fn plan_events(&self, faults: impl IntoIterator<Item = EventFault>) {
        self.streams.plan(faults);
    }

    /// Decides the fate of every submission from now on that has none planned.
    pub fn decide(&self, decide: impl FnMut(&NewOrder) -> Fate + Send + 'static) {
        self.desk.lock().decide = Some(Box::new(decide));
    }

    /// What happens to every event from now on that has no fault planned.
    pub fn decide_events(&self, decide: impl FnMut(&VenueEvent) -> EventFault + Send + 'static) {
        self.streams.decide(decide);
    }

    /// What is not planned or decided is left to chance from now on.
    pub fn throw(&self, dice: &Dice) {
        let mut events = dice.clone();
        self.streams.decide(move |_| events.event());
        self.desk.lock().dice = Some(dice.clone());
    }

    /// Nothing goes wrong any more; what is late still arrives.
    pub fn heal(&self) {
        let mut desk = self.desk.lock();
        (desk.decide, desk.dice, desk.moods) = (None, None, Moods::default());
        desk.planned.clear();
        desk.planned_replacements.clear();
        desk.planned_cancels.clear();
        drop(desk);
        self.mute(false);
        self.streams.heal();
        self.calls.heal();
    }

    /// Every stream of events ends.
    pub fn end_streams(&self) {
        self.streams.end();
    }

    /// How long every request takes.
    pub fn set_latency(&self, latency: Duration) {
        self.desk.lock().latency = latency;
    }

    /// By how much a request may take longer, and an event, by the chance of this seed.
    pub fn set_spread(&self, spread: Duration, seed: u64) {
        self.desk.lock().spread = Some((spread, Seeded::new(seed)));
        self.streams.lag(spread, !seed);
    }

    /// A cancel is pending for so long before it is confirmed.
    pub fn set_cancel_pending(&self, pending: Duration) {
        self.desk.lock().cancel_pending = delta(pending);
    }

    /// A replacement is pending for so long before it takes place.
    pub fn set_replace_pending(&self, pending: Duration) {
        self.desk.lock().replace_pending = delta(pending);
    }

    /// Every submission so far, those that never arrived included.
    #[must_use]
    pub fn submissions(&self) -> Vec<Submission> {
        self.desk.lock().submissions.clone()
    }

    /// Takes an order that somebody else sent.
    ///
    /// # Errors
    /// The venue's refusal.
    pub fn slip_in(&self, order: &NewOrder) -> Result<VenueOrder, SubmitError> {
        self.take(&Letter { order: order.clone(), replaces: None })
    }

    /// The instants of all requests that a rate limit counts.
    #[must_use]
    pub fn requests(&self) -> Vec<DateTime<Utc>> {
        self.desk.lock().requests.clone()
    }

    /// Looks into the engine as it is, without letting it come to the present.
    pub fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        look(&self.desk.lock().engine)
    }

    /// Every order in the book, oldest first.
    #[must_use]
    pub fn book(&self) -> Vec<VenueOrder> {
        self.settle();
        self.look(|engine| engine.book().orders_after(0).map(shown).collect())
    }

    /// The order of that id.
    #[must_use]
    pub fn in_book(&self, id: &OrderId) -> Option<VenueOrder> {
        self.settle();
        self.look(|engine| engine.book().find(id).map(shown))
    }

    /// What the account holds besides, in the venue's own words, from here on.
    pub fn hold_unclosable(&self, unclosable: Vec<Unclosable>) {
        self.desk.lock().unclosable = unclosable;
    }

    /// What the account holds.
    #[must_use]
    pub fn holds(&self, symbol: &Symbol) -> Decimal {
        self.look(|engine| engine.book().positions().get(symbol).copied().unwrap_or_default())
    }

    /// Lets the engine come to the present, and sends out what changed.
    pub fn settle(&self) {
        settle(&self.desk, &self.clock, &self.streams, &self.tape);
    }

    fn take(&self, letter: &Letter) -> Result<VenueOrder, SubmitError> {
        self.settle();
        let taken = self.desk.lock().open(letter, self.clock.wall())?;
        self.tape.note(&Step::Taken(&taken.order));
        send_out(&self.streams, &self.tape, taken.changes);
        Ok(taken.order)
    }

    async fn travel(&self) {
        let latency = {
            let desk = self.desk.lock();
            desk.latency + desk.spread.as_ref().map_or(Duration::ZERO, |(most, chance)| part_of(*most, chance))
        };
        tokio::time::sleep(latency).await;
        self.calls.leave().await;
    }

    async fn ask<T>(&self, method: &'static str, look: impl FnOnce(&Engine) -> T) -> Result<T, VenueError> {
        if matches!(method, "find" | "cancel") {
            self.desk.lock().requests.push(self.clock.wall());
        }
        match tokio::time::timeout(LONGEST, self.calls.enter(method)).await {
            Ok(false) => {}
            Ok(true) => return Err(unavailable(&format!("{method} was made to fail"))),
            Err(_) => return Err(unavailable("no answer")),
        }
        if let Some(mood) = self.mood() {
            self.travel().await;
            return Err(mood);
        }
        self.travel().await;
        self.settle();
        Ok(self.look(look))
    }

    fn cancel_now(&self, order: &BrokerOrderId) -> Result<(), CancelError> {
        let now = self.clock.wall();
        let changes = {
            let mut desk = self.desk.lock();
            let confirm_at = now + desk.cancel_pending;
            desk.engine.cancel(order, now, confirm_at)?
        };
        send_out(&self.streams, &self.tape, changes);
        Ok(())
    }
}

fn part_of(most: Duration, chance: &Seeded) -> Duration {
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(chance.below(micros.saturating_add(1)))
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn settle(desk: &Mutex<Desk>, clock: &VirtualClock, streams: &Streams, tape: &Tape) {
    let now = clock.wall();
    let (mut changes, mut taken) = (Vec::new(), Vec::new());
    {
        let mut desk = desk.lock();
        changes.extend(desk.engine.tick(now));
        if desk.late.iter().any(|(at, _)| *at <= now) {
            let (arrived, late): (Vec<_>, _) =
                std::mem::take(&mut desk.late).into_iter().partition(|(at, _)| *at <= now);
            desk.late = late;
            for (_, letter) in arrived {
                if let Ok(accepted) = desk.open(&letter, now) {
                    changes.extend(accepted.changes);
                    taken.push(accepted.order);
                }
            }
        }
    }
    for order in &taken {
        tape.note(&Step::Taken(order));
    }
    send_out(streams, tape, changes);
}

fn send_out(streams: &Streams, tape: &Tape, changes: Vec<Change>) {
    for Change { order, execution } in changes {
        let event = VenueEvent::Order { order: Box::new(order.order), execution };
        tape.note(&Step::Event(&event));
        if let Some(struck) = streams.send(event) {
            tape.strike(struck);
        }
    }
}

fn unavailable(detail: &str) -> VenueError {
    VenueError::Unavailable { detail: detail.to_owned() }
}

#[async_trait]
impl Venue for EngineVenue {
    async fn submit(&self, order: &NewOrder) -> Result<VenueOrder, SubmitError> {
        self.deliver(Letter { order: order.clone(), replaces: None }).await
    }

    async fn cancel(&self, order: &BrokerOrderId) -> Result<(), CancelError> {
        self.tape.note(&Step::CancelSent(order));
        let (planned, thrown) = {
            let mut desk = self.desk.lock();
            let planned = desk.planned_cancels.pop_front();
            let thrown = if planned.is_none() { desk.dice.as_mut().map(|dice| dice.request().0) } else { None };
            (planned, thrown)
        };
        if let Some(planned) = planned {
            self.tape.strike(&format!("the cancel: {planned:?}"));
        }
        let fault = planned.or(thrown).unwrap_or(RequestFault::None);
        match fault {
            RequestFault::None => {}
            RequestFault::Busy { retry_after } => return Err(VenueError::NotNow { retry_after }.into()),
            RequestFault::TimeoutBefore => return std::future::pending().await,
            RequestFault::ErrorBefore => return Err(unavailable("503").into()),
            RequestFault::TimeoutAfter | RequestFault::ErrorAfter => {
                self.settle();
                self.cancel_now(order)?;
                if fault == RequestFault::TimeoutAfter {
                    return std::future::pending().await;
                }
                return Err(unavailable("503").into());
            }
        }
        self.ask("cancel", |_| ()).await?;
        self.cancel_now(order)
    }

    async fn replace(&self, replaced: &BrokerOrderId, by: &NewOrder) -> Result<VenueOrder, SubmitError> {
        self.deliver(Letter { order: by.clone(), replaces: Some(replaced.clone()) }).await
    }

    async fn find(&self, id: &OrderId) -> Result<Option<VenueOrder>, VenueError> {
        let found = self.ask("find", |engine| engine.book().find(id).map(shown)).await?;
        if self.desk.lock().dice.as_mut().is_some_and(Dice::lookup_fails) {
            return Err(unavailable("503"));
        }
        self.tape.note(&Step::LookedUp(id, found.as_ref()));
        Ok(found)
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, VenueError> {
        let open = self.ask("open_orders", |engine| engine.book().live().map(shown).collect()).await?;
        self.tape.note(&Step::Listed);
        Ok(open)
    }

    async fn orders_since(
        &self,
        since: DateTime<Utc>,
        after: Option<&BrokerOrderId>,
    ) -> Result<Vec<VenueOrder>, VenueError> {
        self.ask("orders_since", |engine| {
            let seq = after.and_then(|id| engine.book().get(id)).map_or(0, |held| held.seq);
            let page = engine.book().orders_after(seq);
            page.filter(|held| held.order.submitted_at >= since).take(PAGE).map(shown).collect()
        })
        .await
    }

    /// A trade has another id here than on the stream, as at brokers that list activities.
    async fn executions_since(&self, since: DateTime<Utc>) -> Result<Vec<Execution>, VenueError> {
        self.ask("executions_since", |engine| {
            let trades = engine.book().executions().iter().filter(|trade| trade.at >= since);
            let listed = |trade: &Execution| Execution {
                execution_id: format!("activity-{}", trade.execution_id),
                ..trade.clone()
            };
            trades.map(listed).collect()
        })
        .await
    }

    async fn positions(&self) -> Result<VenueHoldings, VenueError> {
        let unclosable = self.desk.lock().unclosable.clone();
        self.ask("positions", |engine| {
            let held = engine.book().positions().iter().filter(|(_, qty)| !qty.is_zero());
            let shown = held.map(|(symbol, qty)| VenuePosition { symbol: symbol.clone(), qty: *qty });
            VenueHoldings { positions: shown.collect(), unclosable }
        })
        .await
    }

    async fn account(&self) -> Result<VenueAccount, VenueError> {
        self.ask("account", account).await
    }

    async fn clock(&self) -> Result<Option<VenueClock>, VenueError> {
        self.ask("clock", |_| self.days.clock(self.clock.wall())).await
    }

    async fn calendar(&self, first: NaiveDate, last: NaiveDate) -> Result<Vec<VenueSession>, VenueError> {
        self.ask("calendar", |_| self.days.sessions(first, last)).await
    }

    async fn daily_bars(&self, symbol: &Symbol, days: u32) -> Result<Vec<DailyBar>, VenueError> {
        self.ask("daily_bars", |_| self.days.bars(symbol, days)).await
    }

    fn allowance(&self) -> Option<Allowance> {
        None
    }

    async fn quote(&self, symbol: &Symbol) -> Result<Quote, VenueError> {
        let now = self.clock.wall();
        self.ask("quote", |engine| engine.quote(symbol, now)).await
    }

    async fn events(&self) -> Result<BoxStream<'static, VenueEvent>, VenueError> {
        self.ask("events", |_| ()).await?;
        let (desk, clock, streams, tape) =
            (Arc::clone(&self.desk), Arc::clone(&self.clock), self.streams.clone(), self.tape.clone());
        Ok(self.streams.subscribe(self.life.clone(), move || settle(&desk, &clock, &streams, &tape)))
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

fn shown(held: &BookOrder) -> VenueOrder {
    held.order.clone()
}
