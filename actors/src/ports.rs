//! What the actors need from the world: time, chance, a store, a venue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::stream::BoxStream;
use thiserror::Error;

use crate::budget::Budget;
use crate::domain::names::{BrokerOrderId, OrderId, Symbol};
use crate::domain::venue::{
    Allowance, DailyBar, Execution, NewOrder, Quote, VenueAccount, VenueClock, VenueEvent, VenueHoldings, VenueOrder,
    VenueSession, VenueWords,
};

pub mod store;
pub mod switchboard;

use store::Store;
use switchboard::SwitchBoard;

/// All of it, as every actor holds it.
#[derive(Clone)]
pub struct World {
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// The switchboard that other programs of the stack share; without one the store is the switchboard.
    pub switchboard: Option<Arc<dyn SwitchBoard>>,
    /// The broker.
    pub venue: Arc<dyn Venue>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

/// The three clocks.
pub trait Clock: Send + Sync {
    /// The wall clock in UTC, cut to microseconds.
    fn now(&self) -> DateTime<Utc>;

    /// A clock that never goes back, and stands still while the system is suspended.
    fn monotonic(&self) -> Duration;

    /// A clock that never goes back, and counts the time in which the system was suspended.
    fn boottime(&self) -> Duration;
}

/// Chance, so that a simulation can decide it.
pub trait Entropy: Send + Sync {
    /// 64 random bits.
    fn bits(&self) -> u64;
}

/// A broker. Every result says what the caller should do.
#[async_trait]
pub trait Venue: Send + Sync {
    /// Sends one order, once: an implementation never resends by itself.
    async fn submit(&self, order: &NewOrder) -> Result<VenueOrder, SubmitError>;

    /// Asks for an order's end. `Ok` means that the request was taken, not that the order has ended.
    async fn cancel(&self, order: &BrokerOrderId) -> Result<(), CancelError>;

    /// Asks to put a new order in a live one's place, once. What it answers is the new order; the old one may trade before
    /// the change takes place, and then the new one never comes to be.
    ///
    /// `Rejected` says that the old order lives on, or has ended: look it up.
    async fn replace(&self, replaced: &BrokerOrderId, by: &NewOrder) -> Result<VenueOrder, SubmitError>;

    /// The order of that client order id, if the venue knows one.
    async fn find(&self, id: &OrderId) -> Result<Option<VenueOrder>, VenueError>;

    /// Every order that is live.
    async fn open_orders(&self) -> Result<Vec<VenueOrder>, VenueError>;

    /// Orders of every status that the venue took at or after `since`, oldest first, as one page; `after` continues
    /// behind the last order of the page before. An empty page is the end.
    async fn orders_since(
        &self,
        since: DateTime<Utc>,
        after: Option<&BrokerOrderId>,
    ) -> Result<Vec<VenueOrder>, VenueError>;

    /// The trades at or after `since`, oldest first, all of them.
    async fn executions_since(&self, since: DateTime<Utc>) -> Result<Vec<Execution>, VenueError>;

    /// What the account holds; a symbol that is flat may be missing.
    async fn positions(&self) -> Result<VenueHoldings, VenueError>;

    /// The account.
    async fn account(&self) -> Result<VenueAccount, VenueError>;

    /// The venue's clock; `None` where it never closes.
    async fn clock(&self) -> Result<Option<VenueClock>, VenueError>;

    /// The regular sessions of the days from `first` to `last`, oldest first; days without one are left out. A venue that
    /// never closes has none.
    async fn calendar(&self, first: NaiveDate, last: NaiveDate) -> Result<Vec<VenueSession>, VenueError>;

    /// The last complete trading days of a symbol, at most so many, oldest first; none where the venue has no such data.
    async fn daily_bars(&self, symbol: &Symbol, days: u32) -> Result<Vec<DailyBar>, VenueError>;

    /// What the venue's last answer said of its rate limit, where it says that and the window has not passed.
    fn allowance(&self) -> Option<Allowance>;

    /// Hands over the rate budget. For submissions, replacements, cancels and look-ups the caller has taken a token before
    /// it asks; for every other request of its own making a venue with a rate limit takes one itself, of
    /// [`Lane::Reads`](crate::budget::Lane::Reads), since only it knows how many requests a question costs.
    fn paced_by(&self, _budget: &Budget) {}

    /// The best prices now.
    async fn quote(&self, symbol: &Symbol) -> Result<Quote, VenueError>;

    /// The stream of events from now on. It ends, or says [`VenueEvent::Gap`], where events may be missing.
    async fn events(&self) -> Result<BoxStream<'static, VenueEvent>, VenueError>;
}

/// Why a submission brought no order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// No byte of it reached the venue. It may be tried again.
    #[error("the order never left: {detail}")]
    NeverLeft {
        /// What failed.
        detail: String,
    },
    /// The venue asks for patience, and has not taken it. It may be tried again, without loss of a try.
    #[error("the venue is busy")]
    NotNow {
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The venue refused it. Final.
    #[error("the venue rejected the order: {} ({})", .0.message, .0.code)]
    Rejected(VenueWords),
    /// The venue has an order of this id already.
    #[error("the venue has an order of this id")]
    DuplicateId,
    /// It left, and what became of it is not known. Look it up, never resend blind.
    #[error("the outcome is unknown: {detail}")]
    Unknown {
        /// What failed.
        detail: String,
    },
    /// The key or the account is not allowed to trade.
    #[error("not authorised: {detail}")]
    Unauthorised {
        /// The venue's words.
        detail: String,
    },
}

/// Why a cancel was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CancelError {
    /// The order has ended, or the venue doesn't know it: look it up.
    #[error("not cancelable")]
    NotCancelable,
    /// It could not be asked, or the answer was lost: ask again.
    #[error(transparent)]
    Venue(#[from] VenueError),
}

/// Why a question to a venue has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VenueError {
    /// The venue can't be reached, or answered with an error of its own.
    #[error("the venue is unavailable: {detail}")]
    Unavailable {
        /// What failed.
        detail: String,
    },
    /// The venue asks for patience.
    #[error("the venue is busy")]
    NotNow {
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The key or the account is not allowed to ask.
    #[error("not authorised: {detail}")]
    Unauthorised {
        /// The venue's words.
        detail: String,
    },
}
