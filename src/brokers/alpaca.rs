//! Alpaca behind the venue port: its REST interface for questions and orders, its stream for events.
//!
//! The types of its wire are this module's own. What each answer means is in `answers`, what is sent and how often in
//! `client`, what arrives by itself in `stream`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::stream::BoxStream;
use reqwest::{Method, Url};
use serde::Serialize;
use thiserror::Error;
use tranche_actors::budget::{Budget, Lane};
use tranche_actors::domain::names::{BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::venue::{
    Allowance, DailyBar, Execution, NewOrder, Quote, VenueAccount, VenueClock, VenueEvent, VenueHoldings, VenueOrder,
    VenueSession,
};
use tranche_actors::ports::{CancelError, Clock, Entropy, SubmitError, Venue, VenueError};

use client::{Answer, Failure, Host, Wire};
use pace::Pace;
use requests::{Replacement, Submission};
use settings::AlpacaSettings;
use stream::Opener;

mod account;
mod answers;
mod client;
mod decimal;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod market;
mod pace;
mod pages;
mod requests;
pub mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

/// A quote that is no older than this is good enough for whoever asks next.
const QUOTE_LIFE: Duration = Duration::from_millis(500);
/// The same where the budget has no room for another one.
const OLD_QUOTE_LIFE: Duration = Duration::from_secs(5);

/// Why the connector can't be made. Nothing was asked of the broker yet.
#[derive(Debug, Error)]
pub enum AlpacaError {
    /// The key can't be sent as a header.
    #[error("the key of Alpaca has characters that can't be sent")]
    Key,
    /// The HTTP client can't be made.
    #[error("there is no way to Alpaca: {0}")]
    Client(String),
}

/// One account at Alpaca.
pub struct AlpacaVenue {
    wire: Arc<Wire>,
    trading: Host,
    data: Host,
    data_feed: String,
    clock: Arc<dyn Clock>,
    opener: Opener,
    quotes: Mutex<BTreeMap<Symbol, (Duration, Quote)>>,
}

impl AlpacaVenue {
    /// Makes the connector. It asks nothing yet.
    ///
    /// # Errors
    /// [`AlpacaError`].
    pub fn new(
        settings: &AlpacaSettings,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, AlpacaError> {
        let wire = Arc::new(Wire::new(settings, clock)?);
        let (base, data) = (&settings.places.base, &settings.places.data);
        let pace = Arc::new(Pace::new(None, entropy));
        let data = if base.origin() == data.origin() {
            Host::new(data, &pace, Lane::Quotes)
        } else {
            let limit = std::num::NonZeroU32::new(settings.data_requests_per_minute);
            let own = Pace::new(Some(Budget::new(limit, clock)), entropy);
            Host::new(data, &Arc::new(own), Lane::Control)
        };
        Ok(Self {
            opener: Opener::new(settings, &wire, clock, entropy),
            trading: Host::new(base, &pace, Lane::Reads),
            data,
            data_feed: settings.data_feed.clone(),
            wire,
            clock: Arc::clone(clock),
            quotes: Mutex::default(),
        })
    }

    /// A request that its caller has taken a token for.
    async fn ask(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Answer, Failure> {
        let answer = self.wire.call((&self.trading, method), url, body).await;
        if let Ok(answer) = &answer
            && let answers::Kind::Unauthorised(detail) = answers::sort(answer)
        {
            self.wire.rest(&detail);
        }
        answer
    }

    /// A question of our own making: it waits for its token. `None` where the broker says that there is no such thing.
    async fn read(&self, url: Url) -> Result<Option<Answer>, VenueError> {
        self.trading.pace.wait(self.trading.lane, self.clock.boottime()).await;
        answers::read(self.ask(Method::GET, url, None).await, self.busy())
    }

    /// The same where there always is such a thing.
    async fn read_surely(&self, url: Url) -> Result<Answer, VenueError> {
        let missing = || VenueError::Unavailable { detail: "the broker doesn't know the path".to_owned() };
        self.read(url).await?.ok_or_else(missing)
    }

    fn busy(&self) -> impl Fn(&Answer) -> Duration {
        |answer| self.trading.pace.busy(answer.retry_after)
    }

    fn order_url(&self, order: &BrokerOrderId) -> Url {
        self.trading.at(&["v2", "orders", order.as_str()])
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        id: &OrderId,
        body: &(impl Serialize + Sync),
    ) -> Result<VenueOrder, SubmitError> {
        let body = serde_json::to_vec(body).map_err(|error| SubmitError::NeverLeft { detail: error.to_string() })?;
        answers::submitted(id, self.ask(method, url, Some(body)).await, self.busy())
    }
}

fn malformed(answer: &Answer, what: &impl std::fmt::Display) -> VenueError {
    VenueError::Unavailable { detail: answer.detail(&what.to_string()) }
}

#[async_trait]
impl Venue for AlpacaVenue {
    async fn submit(&self, order: &NewOrder) -> Result<VenueOrder, SubmitError> {
        let url = self.trading.at(&["v2", "orders"]);
        self.send(Method::POST, url, &order.client_order_id, &Submission::of(order)).await
    }

    async fn cancel(&self, order: &BrokerOrderId) -> Result<(), CancelError> {
        answers::canceled(self.ask(Method::DELETE, self.order_url(order), None).await, self.busy())
    }

    async fn replace(&self, replaced: &BrokerOrderId, by: &NewOrder) -> Result<VenueOrder, SubmitError> {
        self.send(Method::PATCH, self.order_url(replaced), &by.client_order_id, &Replacement::by(by)).await
    }

    async fn find(&self, id: &OrderId) -> Result<Option<VenueOrder>, VenueError> {
        let mut url = self.trading.at(&["v2", "orders:by_client_order_id"]);
        url.query_pairs_mut().append_pair("client_order_id", id.as_str());
        let Some(answer) = answers::read(self.ask(Method::GET, url, None).await, self.busy())? else {
            return Ok(None);
        };
        match wire::lenient(&answer.body) {
            Ok(order) if order.client_order_id == *id => Ok(Some(order)),
            Ok(_) => Err(malformed(&answer, &"the answer is about another order")),
            Err(why) => Err(malformed(&answer, &why)),
        }
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, VenueError> {
        self.all_open_orders().await
    }

    async fn orders_since(
        &self,
        since: DateTime<Utc>,
        after: Option<&BrokerOrderId>,
    ) -> Result<Vec<VenueOrder>, VenueError> {
        self.page_since(since, after).await
    }

    async fn executions_since(&self, since: DateTime<Utc>) -> Result<Vec<Execution>, VenueError> {
        self.fills_since(since).await
    }

    async fn positions(&self) -> Result<VenueHoldings, VenueError> {
        self.read_positions().await
    }

    async fn account(&self) -> Result<VenueAccount, VenueError> {
        self.read_account().await
    }

    async fn clock(&self) -> Result<Option<VenueClock>, VenueError> {
        self.read_clock().await.map(Some)
    }

    async fn calendar(&self, first: NaiveDate, last: NaiveDate) -> Result<Vec<VenueSession>, VenueError> {
        self.read_calendar(first, last).await
    }

    async fn daily_bars(&self, symbol: &Symbol, days: u32) -> Result<Vec<DailyBar>, VenueError> {
        self.read_daily_bars(symbol, days).await
    }

    fn allowance(&self) -> Option<Allowance> {
        self.trading.pace.allowance(self.clock.boottime())
    }

    fn paced_by(&self, budget: &Budget) {
        self.trading.pace.paced_by(budget);
    }

    async fn quote(&self, symbol: &Symbol) -> Result<Quote, VenueError> {
        let now = self.clock.boottime();
        let known = self.quotes.lock().unwrap_or_else(PoisonError::into_inner).get(symbol).cloned();
        if let Some((at, quote)) = &known
            && now < *at + QUOTE_LIFE
        {
            return Ok(quote.clone());
        }
        if let Err(wait) = self.data.pace.try_take(self.data.lane, now) {
            let known = known.filter(|(at, _)| now < *at + OLD_QUOTE_LIFE).map(|(_, quote)| quote);
            return known.ok_or(VenueError::NotNow { retry_after: Some(wait) });
        }
        let quote = self.read_quote(symbol).await?;
        self.quotes.lock().unwrap_or_else(PoisonError::into_inner).insert(symbol.clone(), (now, quote.clone()));
        Ok(quote)
    }

    async fn events(&self) -> Result<BoxStream<'static, VenueEvent>, VenueError> {
        self.opener.open().await
    }
}
