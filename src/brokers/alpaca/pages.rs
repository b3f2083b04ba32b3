//! Lists that come in pages: orders and fills. An order whose place in the list may change while it is read would be seen
//! twice or not at all, so each page continues behind the last order of the one before, never at a time.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::Url;
use serde_json::value::RawValue;
use tranche_actors::domain::names::BrokerOrderId;
use tranche_actors::domain::venue::{Execution, VenueOrder};
use tranche_actors::ports::VenueError;

use super::client::Answer;
use super::wire::{self, WireFill};
use super::{AlpacaVenue, malformed};

/// The most orders that Alpaca puts on a page.
const ORDERS: usize = 500;
/// The most fills.
const FILLS: usize = 100;
/// More pages than this are taken for a list that doesn't end.
const MOST_PAGES: usize = 1_000;

impl AlpacaVenue {
    pub(super) async fn all_open_orders(&self) -> Result<Vec<VenueOrder>, VenueError> {
        let mut all: Vec<VenueOrder> = Vec::new();
        for _ in 0..MOST_PAGES {
            let mut url = self.orders("open");
            let last = all.last().map(|order| order.broker_order_id.clone());
            if let Some(last) = &last {
                url.query_pairs_mut().append_pair("after_order_id", last.as_str());
            }
            let page = self.page(url).await?;
            let is_last = page.len() < ORDERS;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
            if all.last().map(|order| &order.broker_order_id) == last.as_ref() {
                break;
            }
        }
        Err(endless("open orders"))
    }

    /// `after` is exclusive at Alpaca, and `since` is not.
    pub(super) async fn page_since(
        &self,
        since: DateTime<Utc>,
        after: Option<&BrokerOrderId>,
    ) -> Result<Vec<VenueOrder>, VenueError> {
        let mut url = self.orders("all");
        match after {
            Some(order) => url.query_pairs_mut().append_pair("after_order_id", order.as_str()),
            None => url.query_pairs_mut().append_pair("after", &just_before(since)),
        };
        self.page(url).await
    }

    fn orders(&self, status: &str) -> Url {
        let mut url = self.trading.at(&["v2", "orders"]);
        let limit = ORDERS.to_string();
        let pairs = [("status", status), ("limit", &limit), ("direction", "asc"), ("nested", "false")];
        url.query_pairs_mut().extend_pairs(pairs);
        url
    }

    /// One page. An order that isn't ours may be of any kind, and doesn't make its page unreadable.
    async fn page(&self, url: Url) -> Result<Vec<VenueOrder>, VenueError> {
        orders(&self.read_surely(url).await?)
    }

    /// A fill that lacks what makes one is passed over: its order's own totals tell it.
    pub(super) async fn fills_since(&self, since: DateTime<Utc>) -> Result<Vec<Execution>, VenueError> {
        let mut all = Vec::new();
        let mut last = None::<String>;
        for _ in 0..MOST_PAGES {
            let mut url = self.trading.at(&["v2", "account", "activities", "FILL"]);
            let size = FILLS.to_string();
            let after = just_before(since);
            let pairs = [("after", after.as_str()), ("direction", "asc"), ("page_size", &size)];
            url.query_pairs_mut().extend_pairs(pairs);
            if let Some(last) = &last {
                url.query_pairs_mut().append_pair("page_token", last);
            }
            let answer = self.read_surely(url).await?;
            let Fills { fills, count, end } = fills(&answer)?;
            all.extend(fills);
            if count < FILLS {
                return Ok(all);
            }
            if end == last {
                break;
            }
            last = end;
        }
        Err(endless("fills"))
    }
}

/// The orders of a page.
pub(super) fn orders(page: &Answer) -> Result<Vec<VenueOrder>, VenueError> {
    let rows = serde_json::from_str::<Vec<&RawValue>>(&page.body);
    let rows = rows.map_err(|_| malformed(page, &"a page of orders is no list"))?;
    let orders = rows.into_iter().map(|row| wire::lenient(row.get()));
    orders.collect::<Result<Vec<_>, _>>().map_err(|why| malformed(page, &why))
}

/// A page of fills: those that can be read, how many it has, and the token that the next one begins behind.
pub(super) struct Fills {
    fills: Vec<Execution>,
    count: usize,
    end: Option<String>,
}

pub(super) fn fills(page: &Answer) -> Result<Fills, VenueError> {
    let rows = serde_json::from_str::<Vec<WireFill>>(&page.body);
    let rows = rows.map_err(|_| malformed(page, &"a page of fills can't be read"))?;
    let (count, end) = (rows.len(), rows.last().map(|row| row.id.clone()));
    let mut fills = Vec::new();
    for row in rows {
        let id = row.id.clone();
        match row.read() {
            Some(fill) => fills.push(fill),
            None => tracing::warn!(activity = id, "a fill of the broker's lacks what makes one"),
        }
    }
    Ok(Fills { fills, count, end })
}

fn just_before(since: DateTime<Utc>) -> String {
    (since - TimeDelta::milliseconds(1)).to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn endless(what: &str) -> VenueError {
    VenueError::Unavailable { detail: format!("the broker's list of {what} doesn't end") }
}
