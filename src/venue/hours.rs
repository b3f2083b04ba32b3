//! When the market is open: always, or from Monday to Friday at the same Eastern hours. There are no holidays.

use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::{America::New_York, Tz};

/// The hours of every day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hours {
    /// Never closed. A trading day is a day in New York.
    Always,
    /// From one time of the day to another in New York, on weekdays.
    Weekdays {
        /// When a session opens.
        open: NaiveTime,
        /// When it closes.
        close: NaiveTime,
    },
}

/// One session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) date: NaiveDate,
    pub(super) opens: DateTime<Utc>,
    pub(super) closes: DateTime<Utc>,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be `always` or hours in New York, such as 09:30-16:00";
        if text == "always" {
            return Ok(Self::Always);
        }
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").map_err(|_| FORM.to_owned());
        let (open, close) = text.split_once('-').ok_or(FORM)?;
        let (open, close) = (time(open)?, time(close)?);
        if open < close { Ok(Self::Weekdays { open, close }) } else { Err(FORM.to_owned()) }
    }
}

/// A time as the clocks in New York show it.
pub(super) fn eastern(at: DateTime<Utc>) -> DateTime<Tz> {
    at.with_timezone(&New_York)
}

fn at(date: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    // An hour that a change of the clocks leaves out has no place in a session, and of one that comes twice the first counts.
    New_York.from_local_datetime(&date.and_time(time)).earliest().map(|at| at.to_utc())
}

impl Hours {
    /// When a day begins in New York.
    pub(super) fn midnight(date: NaiveDate) -> DateTime<Utc> {
        at(date, NaiveTime::MIN).unwrap_or_else(|| date.and_time(NaiveTime::MIN).and_utc())
    }

    /// The session of a day, if it has one.
    pub(super) fn session(self, date: NaiveDate) -> Option<Session> {
        let (opens, closes) = match self {
            Self::Always => (at(date, NaiveTime::MIN)?, at(date.checked_add_days(Days::new(1))?, NaiveTime::MIN)?),
            Self::Weekdays { .. } if matches!(date.weekday(), Weekday::Sat | Weekday::Sun) => return None,
            Self::Weekdays { open, close } => (at(date, open)?, at(date, close)?),
        };
        Some(Session { date, opens, closes })
    }

    /// The sessions that have not ended at a time, in order.
    fn ahead(self, now: DateTime<Utc>) -> impl Iterator<Item = Session> {
        let days = eastern(now).date_naive().iter_days();
        days.filter_map(move |date| self.session(date)).filter(move |session| session.closes > now)
    }

    /// The session of a time, if the market is open then.
    pub(super) fn open_at(self, now: DateTime<Utc>) -> Option<Session> {
        self.ahead(now).next().filter(|session| session.opens <= now)
    }

    /// When the market opens next. One that never closes opens anew every day.
    pub(super) fn next_open(self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.ahead(now).map(|session| session.opens).find(|opens| *opens > now).unwrap_or(now)
    }

    /// When the present session ends, or the next one.
    pub(super) fn next_close(self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.ahead(now).next().map_or(now, |session| session.closes)
    }

    /// The sessions of some days, both included.
    pub(super) fn calendar(self, first: NaiveDate, last: NaiveDate) -> impl Iterator<Item = Session> {
        first.iter_days().take_while(move |date| *date <= last).filter_map(move |date| self.session(date))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_session_keeps_eastern_hours_over_the_change_of_the_clocks() {
        let hours = "09:30-16:00".parse::<Hours>().unwrap();
        assert_eq!(hours.next_open(time("2026-03-06T12:00:00Z")), time("2026-03-06T14:30:00Z"));
        assert_eq!(hours.next_open(time("2026-03-06T15:00:00Z")), time("2026-03-09T13:30:00Z"));
        assert_eq!(hours.next_close(time("2026-03-06T15:00:00Z")), time("2026-03-06T21:00:00Z"));
        assert_eq!(hours.open_at(time("2026-03-06T21:00:00Z")), None);
        assert_eq!(hours.open_at(time("2026-03-07T15:00:00Z")), None);
        let week = hours.calendar(time("2026-03-06T00:00:00Z").date_naive(), time("2026-03-12T00:00:00Z").date_naive());
        assert_eq!(week.count(), 5);
    }

    #[test]
    fn a_market_that_never_closes_has_a_session_of_every_day() {
        let now = time("2026-03-08T04:59:59Z");
        let session = Hours::Always.open_at(now).unwrap();
        assert_eq!((session.closes, Hours::Always.next_open(now)), (time("2026-03-08T05:00:00Z"), session.closes));
        let next = Hours::Always.open_at(session.closes).unwrap();
        assert_eq!(next.closes, time("2026-03-09T04:00:00Z"), "a day of 23 hours");
    }

    #[test]
    fn hours_are_spelt_so() {
        assert_eq!("always".parse(), Ok(Hours::Always));
        for bad in ["", "9-16", "16:00-09:30", "09:30", "09:30-24:00"] {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
    }
}
