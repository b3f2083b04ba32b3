//! The sessions of the New York Stock Exchange, by its rules: Rule 7.2 for holidays, and the half days that it publishes
//! with its calendar each year.
//!
//! They hold from 2022 on, the first year in which Juneteenth is one of them. A closure that no rule foresees (a day of
//! mourning, a storm) is here only once somebody has added it.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::America::New_York;

use super::venue::VenueSession;

/// Days on which the exchange stayed shut against its rules.
const CLOSURES: [NaiveDate; 1] = [
    // National day of mourning for James Carter.
    date(2025, 1, 9),
];

const OPEN: NaiveTime = time(9, 30);
const CLOSE: NaiveTime = time(16, 0);
const EARLY_CLOSE: NaiveTime = time(13, 0);

/// The regular sessions of the days from `first` to `last`, oldest first.
#[must_use]
pub fn sessions(first: NaiveDate, last: NaiveDate) -> Vec<VenueSession> {
    first.iter_days().take_while(|day| *day <= last).filter_map(session).collect()
}

/// The session of a day; `None`: the exchange is shut.
#[must_use]
pub fn session(day: NaiveDate) -> Option<VenueSession> {
    if is_weekend(day) || is_holiday(day) || CLOSURES.contains(&day) {
        return None;
    }
    let close = if is_half_day(day) { EARLY_CLOSE } else { CLOSE };
    Some(VenueSession { date: day, opens: in_new_york(day, OPEN)?, closes: in_new_york(day, close)? })
}

/// Clocks change on Sundays at night, so that a time of a session is there once.
fn in_new_york(day: NaiveDate, at: NaiveTime) -> Option<DateTime<Utc>> {
    New_York.from_local_datetime(&day.and_time(at)).single().map(|at| at.with_timezone(&Utc))
}

fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

fn is_holiday(day: NaiveDate) -> bool {
    // New Year's Day on a Saturday is not made up for: the Friday before ends an accounting year.
    let new_year = day == date(day.year(), 1, 1) || is_monday_after(day, date(day.year(), 1, 1));
    let of_week = is_nth(day, 1, Weekday::Mon, 3) // Martin Luther King, Jr. Day
        || is_nth(day, 2, Weekday::Mon, 3) // Washington's Birthday
        || (day.month() == 5 && day.weekday() == Weekday::Mon && day.day() > 24) // Memorial Day
        || is_nth(day, 9, Weekday::Mon, 1) // Labor Day
        || is_thanksgiving(day);
    let of_date = [(6, 19), (7, 4), (12, 25)].into_iter().any(|(month, n)| {
        let on = date(day.year(), month, n);
        day == on || is_monday_after(day, on) || (on.weekday() == Weekday::Sat && day.succ_opt() == Some(on))
    });
    new_year || of_week || of_date || is_good_friday(day)
}

/// What falls on a Sunday is kept on the Monday.
fn is_monday_after(day: NaiveDate, on: NaiveDate) -> bool {
    on.weekday() == Weekday::Sun && on.succ_opt() == Some(day)
}

/// The eve of Independence Day and of Christmas, unless they are kept on it or it is no day of trading, and the day after
/// Thanksgiving.
fn is_half_day(day: NaiveDate) -> bool {
    let is_eve = matches!((day.month(), day.day()), (7, 3) | (12, 24));
    is_eve || day.pred_opt().is_some_and(is_thanksgiving)
}

fn is_thanksgiving(day: NaiveDate) -> bool {
    is_nth(day, 11, Weekday::Thu, 4)
}

fn is_nth(day: NaiveDate, month: u32, weekday: Weekday, n: u32) -> bool {
    day.month() == month && day.weekday() == weekday && (day.day() - 1) / 7 + 1 == n
}

fn is_good_friday(day: NaiveDate) -> bool {
    day.checked_add_days(Days::new(2)).is_some_and(|sunday| easter(day.year()) == Some(sunday))
}

/// Easter Sunday of the Gregorian calendar, by the anonymous rule of 1876 (Meeus, Astronomical Algorithms, chapter 8).
fn easter(year: i32) -> Option<NaiveDate> {
    let golden = year % 19;
    let (century, of_century) = (year / 100, year % 100);
    let moon = (19 * golden + century - century / 4 - (century - (century + 8) / 25 + 1) / 3 + 15) % 30;
    let week = (32 + 2 * (century % 4) + 2 * (of_century / 4) - moon - of_century % 4) % 7;
    let late = (golden + 11 * moon + 22 * week) / 451;
    let from_march = moon + week - 7 * late + 114;
    let (month, day) = (u32::try_from(from_march / 31).ok()?, u32::try_from(from_march % 31 + 1).ok()?);
    NaiveDate::from_ymd_opt(year, month, day)
}

const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => NaiveDate::MIN,
    }
}

const fn time(hour: u32, minute: u32) -> NaiveTime {
    match NaiveTime::from_hms_opt(hour, minute, 0) {
        Some(time) => time,
        None => NaiveTime::MIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with pandas_market_calendars 5.5.0: day, open and close in UTC.
    const KNOWN: &str = include_str!("../../tests/data/nyse.csv");

    #[test]
    fn the_sessions_are_those_that_others_know() {
        let spell = |session: &VenueSession| {
            format!("{},{},{}", session.date, session.opens.format("%H:%M"), session.closes.format("%H:%M"))
        };
        let ours = sessions(date(2022, 1, 1), date(2032, 12, 31)).iter().map(spell).collect::<Vec<_>>();
        let known = KNOWN.lines().skip(1).collect::<Vec<_>>();
        for (ours, known) in ours.iter().zip(&known) {
            assert_eq!(ours, known);
        }
        assert_eq!(ours.len(), known.len());
    }
}
