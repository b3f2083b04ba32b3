//! The account, what it holds, and the broker's clock and calendar.

use chrono::{NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::America::New_York;
use rust_decimal::Decimal;
use serde::Deserialize;
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::venue::{Unclosable, VenueAccount, VenueClock, VenueHoldings, VenuePosition, VenueSession};
use tranche_actors::ports::VenueError;

use super::client::Answer;
use super::{AlpacaVenue, decimal, malformed, wire};

#[derive(Debug, Deserialize)]
struct WirePosition {
    symbol: String,
    asset_class: Option<String>,
    side: Option<String>,
    #[serde(deserialize_with = "decimal::required")]
    qty: Decimal,
}

#[derive(Debug, Deserialize)]
struct WireAccount {
    status: String,
    trading_blocked: Option<bool>,
    account_blocked: Option<bool>,
    trade_suspended_by_user: Option<bool>,
    #[serde(deserialize_with = "decimal::required")]
    equity: Decimal,
    #[serde(deserialize_with = "decimal::required")]
    cash: Decimal,
    #[serde(deserialize_with = "decimal::required")]
    buying_power: Decimal,
}

#[derive(Debug, Deserialize)]
struct WireClock {
    timestamp: String,
    is_open: bool,
    next_open: String,
    next_close: String,
}

#[derive(Debug, Deserialize)]
struct WireDay {
    date: NaiveDate,
    open: String,
    close: String,
}

impl WirePosition {
    /// Crypto and options are sent by rules of their own, which are not spoken here: crypto takes no `day` orders, and calls a
    /// pair otherwise where it is held.
    fn is_stock(&self) -> bool {
        self.asset_class.as_deref().is_none_or(|class| class == "us_equity")
    }

    /// Some answers give a short position without its sign.
    fn signed(&self) -> Decimal {
        if self.side.as_deref() == Some("short") { -self.qty.abs() } else { self.qty }
    }
}

impl WireDay {
    /// Its times are those of a clock on a wall in New York.
    fn read(&self) -> Option<VenueSession> {
        let instant = |text: &str| {
            let time = NaiveTime::parse_from_str(text, "%H:%M").ok()?;
            Some(New_York.from_local_datetime(&self.date.and_time(time)).earliest()?.with_timezone(&Utc))
        };
        Some(VenueSession { date: self.date, opens: instant(&self.open)?, closes: instant(&self.close)? })
    }
}

impl AlpacaVenue {
    pub(super) async fn read_positions(&self) -> Result<VenueHoldings, VenueError> {
        positions(&self.read_surely(self.trading.at(&["v2", "positions"])).await?)
    }

    pub(super) async fn read_account(&self) -> Result<VenueAccount, VenueError> {
        account(&self.read_surely(self.trading.at(&["v2", "account"])).await?)
    }

    pub(super) async fn read_clock(&self) -> Result<VenueClock, VenueError> {
        clock(&self.read_surely(self.trading.at(&["v2", "clock"])).await?)
    }

    pub(super) async fn read_calendar(
        &self,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Vec<VenueSession>, VenueError> {
        let mut url = self.trading.at(&["v2", "calendar"]);
        url.query_pairs_mut().append_pair("start", &first.to_string()).append_pair("end", &last.to_string());
        calendar(&self.read_surely(url).await?, first, last)
    }
}

/// What can't be a symbol of ours, and what is no stock, we never trade: no order of ours can close it.
pub(super) fn positions(answer: &Answer) -> Result<VenueHoldings, VenueError> {
    let rows = serde_json::from_str::<Vec<WirePosition>>(&answer.body);
    let rows = rows.map_err(|_| malformed(answer, &"the positions can't be read"))?;
    let mut held = VenueHoldings::default();
    for row in rows {
        let qty = row.signed();
        match Symbol::parse(&row.symbol) {
            Ok(symbol) if row.is_stock() => held.positions.push(VenuePosition { symbol, qty }),
            Ok(_) | Err(_) if qty.is_zero() => {}
            Ok(_) | Err(_) => held.unclosable.push(Unclosable { name: row.symbol, qty }),
        }
    }
    Ok(held)
}

pub(super) fn account(answer: &Answer) -> Result<VenueAccount, VenueError> {
    let read = serde_json::from_str::<WireAccount>(&answer.body);
    let account = read.map_err(|_| malformed(answer, &"the account can't be read"))?;
    let blocks = [account.trading_blocked, account.account_blocked, account.trade_suspended_by_user];
    Ok(VenueAccount {
        status: account.status,
        trading_blocked: blocks.contains(&Some(true)),
        equity: account.equity,
        cash: account.cash,
        buying_power: account.buying_power,
    })
}

pub(super) fn clock(answer: &Answer) -> Result<VenueClock, VenueError> {
    let unreadable = || malformed(answer, &"the clock can't be read");
    let read = serde_json::from_str::<WireClock>(&answer.body).map_err(|_| unreadable())?;
    let time = |text: &str| wire::time(text).ok_or_else(unreadable);
    Ok(VenueClock {
        at: time(&read.timestamp)?,
        is_open: read.is_open,
        next_open: time(&read.next_open)?,
        next_close: time(&read.next_close)?,
    })
}

/// The sessions from one day to another.
pub(super) fn calendar(answer: &Answer, first: NaiveDate, last: NaiveDate) -> Result<Vec<VenueSession>, VenueError> {
    let unreadable = || malformed(answer, &"the calendar can't be read");
    let days = serde_json::from_str::<Vec<WireDay>>(&answer.body).map_err(|_| unreadable())?;
    let mut sessions = days.iter().map(WireDay::read).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
    sessions.retain(|session| (first..=last).contains(&session.date));
    sessions.sort_by_key(|session| session.date);
    Ok(sessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_by_new_yorks_wall_clock_across_daylight_saving() {
        let day = |date: &str, close: &str| WireDay {
            date: date.parse().unwrap(),
            open: "09:30".to_owned(),
            close: close.to_owned(),
        };
        let winter = day("2026-03-06", "16:00").read().unwrap();
        assert_eq!(winter.opens.to_rfc3339(), "2026-03-06T14:30:00+00:00");
        let summer = day("2026-03-09", "13:00").read().unwrap();
        assert_eq!(
            (summer.opens.to_rfc3339(), summer.closes.to_rfc3339()),
            ("2026-03-09T13:30:00+00:00".to_owned(), "2026-03-09T17:00:00+00:00".to_owned())
        );
        assert_eq!(day("2026-03-09", "4pm").read(), None);
    }

    #[test]
    fn a_short_position_is_negative_with_or_without_its_sign() {
        for (qty, side, signed) in [("\"-5\"", "short", -5), ("5", "short", -5), ("\"5\"", "long", 5)] {
            let json = format!(r#"{{"symbol":"AAPL","qty":{qty},"side":"{side}"}}"#);
            let held = serde_json::from_str::<WirePosition>(&json).unwrap();
            assert_eq!(held.signed(), Decimal::from(signed), "{json}");
        }
    }
}
