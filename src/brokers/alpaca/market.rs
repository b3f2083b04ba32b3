//! Quotes and daily bars, from the host of data. It is a host of its own, with a limit of its own; what it refuses says
//! nothing about the account.

use chrono::{NaiveDate, SecondsFormat, TimeDelta, TimeZone};
use chrono_tz::America::New_York;
use reqwest::{Method, Url};
use rust_decimal::Decimal;
use serde::Deserialize;
use tranche_actors::domain::money::Price;
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::venue::{DailyBar, Quote};
use tranche_actors::ports::VenueError;

use super::answers::{self, Kind};
use super::client::{Answer, Failure};
use super::{AlpacaVenue, decimal, malformed, wire};

/// Calendar days that surely hold so many trading days: weekends, and up to three holidays in a fortnight.
const DAYS_PER_SESSION: i64 = 2;
const HOLIDAYS: i64 = 10;

#[derive(Debug, Deserialize)]
struct WireLatest {
    quote: Option<WireQuote>,
}

#[derive(Debug, Deserialize)]
struct WireQuote {
    t: String,
    #[serde(default, deserialize_with = "decimal::optional")]
    bp: Option<Decimal>,
    #[serde(default, deserialize_with = "decimal::optional")]
    ap: Option<Decimal>,
}

#[derive(Debug, Deserialize)]
struct WireBars {
    bars: Option<Vec<WireBar>>,
}

#[derive(Debug, Deserialize)]
struct WireBar {
    t: String,
    #[serde(deserialize_with = "decimal::required")]
    c: Decimal,
    #[serde(deserialize_with = "decimal::required")]
    v: Decimal,
}

impl AlpacaVenue {
    /// The best bid and offer. There is none outside the session, where one side is zero.
    pub(super) async fn read_quote(&self, symbol: &Symbol) -> Result<Quote, VenueError> {
        let mut url = self.of_symbol(symbol, &["quotes", "latest"]);
        url.query_pairs_mut().append_pair("feed", &self.data_feed);
        quote(&self.data_answer(url).await?, symbol)
    }

    /// Volumes are those of all exchanges (`sip`), also where quotes are of one alone: Alpaca shows them to everybody
    /// once they are some minutes old, and a day that is over is.
    pub(super) async fn read_daily_bars(&self, symbol: &Symbol, days: u32) -> Result<Vec<DailyBar>, VenueError> {
        let today = self.clock.now().with_timezone(&New_York).date_naive();
        let midnight = |day: NaiveDate| {
            let local = day.and_hms_opt(0, 0, 0).unwrap_or_default();
            let at = New_York.from_local_datetime(&local).earliest().map_or_else(|| local.and_utc(), |at| at.to_utc());
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        let before =
            TimeDelta::days(i64::from(days).saturating_mul(DAYS_PER_SESSION).saturating_add(HOLIDAYS).min(10_000));
        let mut url = self.of_symbol(symbol, &["bars"]);
        url.query_pairs_mut().extend_pairs([
            ("timeframe", "1Day"),
            ("start", &midnight(today - before)),
            ("end", &midnight(today)),
            ("limit", "10000"),
            ("adjustment", "split"),
            ("feed", "sip"),
        ]);
        self.data.pace.wait(self.data.lane, self.clock.boottime()).await;
        bars(&self.data_answer(url).await?, today, days)
    }

    fn of_symbol(&self, symbol: &Symbol, rest: &[&str]) -> Url {
        let mut segments = vec!["v2", "stocks", symbol.as_str()];
        segments.extend(rest);
        self.data.at(&segments)
    }

    /// An answer of the host of data. That it refuses our key may only mean that our plan doesn't have this feed.
    async fn data_answer(&self, url: Url) -> Result<Answer, VenueError> {
        let unavailable = |detail| VenueError::Unavailable { detail };
        let answer = self.wire.call((&self.data, Method::GET), url, None).await.map_err(|failure| match failure {
            Failure::NeverLeft(detail) | Failure::Lost(detail) => unavailable(detail),
            Failure::Refused(detail) => VenueError::Unauthorised { detail },
        })?;
        match answers::sort(&answer) {
            Kind::Done => Ok(answer),
            Kind::Busy => Err(VenueError::NotNow { retry_after: Some(self.data.pace.busy(answer.retry_after)) }),
            Kind::Refused(words) | Kind::NotFound(words) => Err(unavailable(answer.detail(&words.message))),
            Kind::Unauthorised(detail) | Kind::Unclear(detail) => Err(unavailable(detail)),
        }
    }
}

pub(super) fn quote(answer: &Answer, symbol: &Symbol) -> Result<Quote, VenueError> {
    let read = serde_json::from_str::<WireLatest>(&answer.body);
    let quote = read.map_err(|_| malformed(answer, &"the quote can't be read"))?.quote;
    let quote = quote.ok_or_else(|| malformed(answer, &"there is no quote"))?;
    let price = |side: Option<Decimal>| {
        side.and_then(|price| Price::new(price).ok()).ok_or_else(|| malformed(answer, &"the quote has one side only"))
    };
    let (bid, ask) = (price(quote.bp)?, price(quote.ap)?);
    let at = wire::time(&quote.t).ok_or_else(|| malformed(answer, &"the quote has no time"))?;
    Ok(Quote { symbol: symbol.clone(), bid, ask, last: ((bid.get() + ask.get()) / Decimal::TWO).normalize(), at })
}

/// The last so many days before today.
pub(super) fn bars(answer: &Answer, today: NaiveDate, days: u32) -> Result<Vec<DailyBar>, VenueError> {
    let read = serde_json::from_str::<WireBars>(&answer.body);
    let read = read.map_err(|_| malformed(answer, &"the bars can't be read"))?;
    let mut bars = read.bars.unwrap_or_default().into_iter().map(day).collect::<Option<Vec<_>>>();
    let bars = bars.as_mut().ok_or_else(|| malformed(answer, &"a bar has no time"))?;
    bars.retain(|bar| bar.date < today);
    bars.sort_by_key(|bar| bar.date);
    let surplus = bars.len().saturating_sub(usize::try_from(days).unwrap_or(usize::MAX));
    Ok(bars.split_off(surplus))
}

fn day(bar: WireBar) -> Option<DailyBar> {
    // Midnight in New York at Alpaca, in UTC elsewhere: noon of the same day is the same date in both.
    let noon = wire::time(&bar.t)? + TimeDelta::hours(12);
    let date = noon.with_timezone(&New_York).date_naive();
    Some(DailyBar { date, close: bar.c, volume: bar.v })
}
