//! When a venue trades, as a value: the regular sessions of a stretch of days, and what an order may do with them.
//!
//! A session holds its opening instant and not its close: at the close the market is shut.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};

use super::terms::{Instruction, TimeInForce};
use super::trading_day::DayEnd;
use super::venue::{VenueClock, VenueSession};

/// When the market is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketCalendar {
    /// The venue never closes.
    AlwaysOpen,
    /// It trades in sessions.
    Sessions(Sessions),
}

/// The regular sessions of the trading days from `first` to `last`, oldest first and apart from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    sessions: Vec<VenueSession>,
    first: NaiveDate,
    last: NaiveDate,
}

/// What an order needs of a session, by its time in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hours {
    /// Any session: it waits for the next open.
    Any,
    /// The session that it is due in, else that of its trading day: it waits for that open, and for no other.
    TradingDay,
    /// The session that it is due in: it waits for none.
    AtOnce,
    /// The venue takes it outside its session too, on a day that has one: extended hours, and the opening auction.
    Outside,
}

impl Hours {
    /// What an order needs.
    #[must_use]
    pub const fn of(instruction: &Instruction) -> Self {
        match instruction.time_in_force {
            TimeInForce::Gtc => Self::Any,
            TimeInForce::Day if instruction.extended_hours => Self::Outside,
            TimeInForce::Day | TimeInForce::Cls => Self::TradingDay,
            TimeInForce::Ioc | TimeInForce::Fok => Self::AtOnce,
            TimeInForce::Opg => Self::Outside,
        }
    }
}

/// What an order that is due may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Go.
    Go,
    /// Wait for this open.
    Wait(DateTime<Utc>),
    /// Its time and its grace have passed.
    Late,
    /// No session is left for it.
    Over,
    /// The calendar does not reach that far.
    Unknown,
}

/// A schedule that goes on when the market has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastClose {
    /// The close.
    pub closes: DateTime<Utc>,
    /// When the schedule ends.
    pub ends: DateTime<Utc>,
}

impl MarketCalendar {
    /// What an order may do now that is due since `due` and may be late by `grace`. A grace runs while the market is open.
    #[must_use]
    pub fn slot(&self, hours: Hours, due: DateTime<Utc>, grace: TimeDelta, now: DateTime<Utc>) -> Slot {
        match self {
            Self::AlwaysOpen => within(due, grace, now),
            Self::Sessions(sessions) => sessions.slot(hours, due, grace, now),
        }
    }

    /// Whether a schedule would go on past the close of the session that it begins in, or of the next one where it begins
    /// while the market is shut; `None` where it would not, or the calendar doesn't reach that far.
    #[must_use]
    pub fn past_close(&self, hours: Hours, starts: DateTime<Utc>, ends: DateTime<Utc>) -> Option<PastClose> {
        let (Self::Sessions(sessions), Hours::Any | Hours::TradingDay | Hours::AtOnce) = (self, hours) else {
            return None;
        };
        let closes = sessions.after(starts)?.closes;
        (ends > closes).then_some(PastClose { closes, ends })
    }
}

impl Sessions {
    /// The sessions that a venue listed for the days from `first` to `last`. Its clock knows better than its calendar
    /// what is so today: a market that it calls shut stays so until it says, one that it calls open is open.
    #[must_use]
    pub fn new(listed: Vec<VenueSession>, clock: &VenueClock, (first, last): (NaiveDate, NaiveDate)) -> Self {
        let mut sessions = listed.into_iter().filter(|one| one.opens < one.closes).collect::<Vec<_>>();
        sessions.sort_by_key(|one| one.opens);
        let holds_now = |one: &VenueSession| one.opens <= clock.at && clock.at < one.closes;
        let now = sessions.iter().position(holds_now);
        match (clock.is_open, now.and_then(|place| sessions.get_mut(place))) {
            (true, Some(session)) => session.closes = clock.next_close.max(clock.at),
            (true, None) => {
                let date = DayEnd::new_york().trading_day(clock.at);
                sessions.push(VenueSession { date, opens: clock.at, closes: clock.next_close.max(clock.at) });
            }
            (false, Some(session)) if clock.next_open < session.closes => session.opens = clock.next_open,
            (false, Some(_)) => sessions.retain(|one| !holds_now(one)),
            (false, None) => {}
        }
        Self::listed(sessions, (first, last))
    }

    /// The sessions of the days from `first` to `last`; one that begins before another has ended is left out.
    #[must_use]
    pub fn listed(mut sessions: Vec<VenueSession>, (first, last): (NaiveDate, NaiveDate)) -> Self {
        sessions.sort_by_key(|one| one.opens);
        let mut apart: Vec<VenueSession> = Vec::with_capacity(sessions.len());
        for session in sessions {
            if apart.last().is_none_or(|before| before.closes <= session.opens) {
                apart.push(session);
            }
        }
        Self { sessions: apart, first, last }
    }

    /// The session that holds an instant.
    fn at(&self, at: DateTime<Utc>) -> Option<&VenueSession> {
        self.sessions.iter().find(|session| session.opens <= at && at < session.closes)
    }

    /// The session that holds an instant, or else the next one.
    fn after(&self, at: DateTime<Utc>) -> Option<&VenueSession> {
        self.sessions.iter().find(|session| session.closes > at)
    }

    fn slot(&self, hours: Hours, due: DateTime<Utc>, grace: TimeDelta, now: DateTime<Utc>) -> Slot {
        let day = match hours {
            // A session that goes on past the end of our trading day still is the venue's own day.
            Hours::Any | Hours::TradingDay | Hours::AtOnce => {
                self.at(due).map_or_else(|| DayEnd::new_york().trading_day(due), |session| session.date)
            }
            // After the close, until midnight there, some venues trade on.
            Hours::Outside => due.with_timezone(&DayEnd::new_york().zone).date_naive(),
        };
        if day < self.first {
            return Slot::Late;
        }
        if hours == Hours::Outside && self.sessions.iter().any(|session| session.date == day) {
            return within(due, grace, now);
        }
        let mut left = grace;
        for session in self.sessions.iter().filter(|session| session.closes > due) {
            let admits = match hours {
                Hours::Any => true,
                Hours::TradingDay => session.date == day,
                Hours::AtOnce => session.opens <= due,
                Hours::Outside => false,
            };
            if !admits {
                continue;
            }
            let from = session.opens.max(due);
            if now < from {
                return Slot::Wait(from);
            }
            if now < session.closes {
                return within(from, left, now);
            }
            left -= session.closes - from;
            if left < TimeDelta::zero() {
                return Slot::Late;
            }
        }
        match hours {
            Hours::Any => Slot::Unknown,
            Hours::TradingDay | Hours::AtOnce | Hours::Outside if day > self.last => Slot::Unknown,
            Hours::TradingDay | Hours::AtOnce | Hours::Outside => Slot::Over,
        }
    }
}

fn within(from: DateTime<Utc>, grace: TimeDelta, now: DateTime<Utc>) -> Slot {
    if now > from + grace { Slot::Late } else { Slot::Go }
}

impl PastClose {
    /// The same for a person.
    #[must_use]
    pub fn explain(&self, hours: Hours) -> String {
        let stamp = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let then = match hours {
            Hours::Any => "wait for the next open",
            Hours::TradingDay | Hours::AtOnce | Hours::Outside => "expire",
        };
        format!(
            "ends at {}, past the market's close at {}: slices due after it {then}",
            stamp(self.ends),
            stamp(self.closes)
        )
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveTime, TimeZone, Weekday};
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn in_new_york(date: NaiveDate, hour: u32, minute: u32) -> DateTime<Utc> {
        let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
        DayEnd::new_york().zone.from_local_datetime(&date.and_time(time)).unwrap().with_timezone(&Utc)
    }

    /// Weekdays from 9:30 to 16:00 in New York; some of them closed, some until 13:00.
    fn sessions(first: &str, days: i64, closed: &[i64], half: &[i64]) -> Sessions {
        let first = first.parse::<NaiveDate>().unwrap();
        let last = first + TimeDelta::days(days - 1);
        let listed = (0..days).filter(|day| !closed.contains(day)).filter_map(|day| {
            let date = first + TimeDelta::days(day);
            let closes = in_new_york(date, if half.contains(&day) { 13 } else { 16 }, 0);
            let is_weekday = !matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
            is_weekday.then(|| VenueSession { date, opens: in_new_york(date, 9, 30), closes })
        });
        Sessions::new(listed.collect(), &shut_long_ago(), (first, last))
    }

    fn shut_long_ago() -> VenueClock {
        let long_ago = at("2020-01-01T00:00:00Z");
        VenueClock { at: long_ago, is_open: false, next_open: long_ago, next_close: long_ago }
    }

    fn minutes(minutes: i64) -> TimeDelta {
        TimeDelta::minutes(minutes)
    }

    /// Around both changes of the clocks, with a holiday and a half day.
    fn spring() -> MarketCalendar {
        MarketCalendar::Sessions(sessions("2026-03-02", 21, &[10], &[3, 11]))
    }

    #[test]
    fn each_time_in_force_waits_for_as_much_as_it_may() {
        let calendar = spring();
        // Friday the 6th closes at 16:00 EST, Monday the 9th opens at 9:30 EDT.
        let (due, monday) = (at("2026-03-06T21:00:00Z"), at("2026-03-09T13:30:00Z"));
        let slot = |hours, due, now| calendar.slot(hours, due, minutes(1), now);
        assert_eq!(slot(Hours::Any, due, due), Slot::Wait(monday));
        assert_eq!(slot(Hours::Any, due, monday), Slot::Go);
        assert_eq!(slot(Hours::Any, due, monday + minutes(2)), Slot::Late);
        assert_eq!(slot(Hours::TradingDay, due, due), Slot::Over);
        assert_eq!(slot(Hours::AtOnce, due, due), Slot::Over);
        assert_eq!(slot(Hours::Outside, due, due), Slot::Go, "the venue says how long it trades after the close");
        let early = at("2026-03-09T11:00:00Z");
        assert_eq!(slot(Hours::TradingDay, early, early), Slot::Wait(monday));
        assert_eq!(slot(Hours::AtOnce, early, early), Slot::Over);
        let evening_before = at("2026-03-09T22:00:00Z");
        assert_eq!(slot(Hours::TradingDay, evening_before, evening_before), Slot::Wait(at("2026-03-10T13:30:00Z")));
        let saturday = at("2026-03-07T15:00:00Z");
        assert_eq!(slot(Hours::Outside, saturday, saturday), Slot::Over);
        // Thursday the 5th is a half day: 13:00 EST.
        assert_eq!(slot(Hours::AtOnce, at("2026-03-05T17:59:59Z"), at("2026-03-05T17:59:59Z")), Slot::Go);
        assert_eq!(slot(Hours::AtOnce, at("2026-03-05T18:00:00Z"), at("2026-03-05T18:00:00Z")), Slot::Over);
        // Beyond what the calendar covers nobody knows; before it, it is too late.
        let far = at("2026-04-01T15:00:00Z");
        for hours in [Hours::Any, Hours::TradingDay, Hours::AtOnce, Hours::Outside] {
            assert_eq!(slot(hours, far, far), Slot::Unknown, "{hours:?}");
            assert_eq!(slot(hours, at("2026-02-20T15:00:00Z"), far), Slot::Late, "{hours:?}");
            assert_eq!(MarketCalendar::AlwaysOpen.slot(hours, far, minutes(1), far + minutes(1)), Slot::Go);
            assert_eq!(MarketCalendar::AlwaysOpen.slot(hours, far, minutes(1), far + minutes(2)), Slot::Late);
        }
    }

    #[test]
    fn in_a_market_that_closes_for_nobody_every_hour_of_every_day_goes() {
        let first = "2026-03-06".parse::<NaiveDate>().unwrap();
        let (opens, days) = (|day: i64| in_new_york(first + TimeDelta::days(day), 0, 0), 5);
        let listed = (0..days).map(|day| VenueSession {
            date: first + TimeDelta::days(day),
            opens: opens(day),
            closes: opens(day + 1),
        });
        let sessions = Sessions::listed(listed.collect(), (first, first + TimeDelta::days(days - 1)));
        let (from, until) = (opens(0), opens(days));
        for due in std::iter::successors(Some(from), |due| Some(*due + minutes(30))).take_while(|due| *due < until) {
            for hours in [Hours::Any, Hours::TradingDay, Hours::AtOnce, Hours::Outside] {
                assert_eq!(sessions.slot(hours, due, minutes(1), due), Slot::Go, "{hours:?} at {due}");
            }
        }
    }

    #[test]
    fn a_grace_runs_while_the_market_is_open() {
        let calendar = spring();
        let (due, monday) = (at("2026-03-06T20:59:30Z"), at("2026-03-09T13:30:00Z"));
        let slot = |now| calendar.slot(Hours::Any, due, minutes(1), now);
        assert_eq!(slot(at("2026-03-06T20:59:59Z")), Slot::Go);
        assert_eq!(slot(at("2026-03-06T21:00:00Z")), Slot::Wait(monday));
        assert_eq!(slot(monday + TimeDelta::seconds(30)), Slot::Go);
        assert_eq!(slot(monday + TimeDelta::seconds(31)), Slot::Late);
    }

    #[test]
    fn a_schedule_past_the_close_says_so() {
        let calendar = spring();
        let past = |starts, ends| calendar.past_close(Hours::TradingDay, at(starts), at(ends)).map(|past| past.closes);
        let close = at("2026-03-06T21:00:00Z");
        assert_eq!(past("2026-03-06T20:00:00Z", "2026-03-06T21:00:00Z"), None);
        assert_eq!(past("2026-03-06T20:00:00Z", "2026-03-06T21:00:01Z"), Some(close));
        assert_eq!(
            past("2026-03-06T02:00:00Z", "2026-03-06T21:00:01Z"),
            Some(close),
            "before the open it is the same close"
        );
        assert_eq!(past("2026-03-06T22:00:00Z", "2026-03-06T23:00:00Z"), None);
        assert_eq!(past("2026-05-06T22:00:00Z", "2026-05-08T23:00:00Z"), None, "nobody knows");
        let told = calendar.past_close(Hours::Any, close - minutes(1), close + minutes(1)).unwrap();
        assert!(told.explain(Hours::Any).contains("2026-03-06T21:00:00Z: slices due after it wait"));
        assert!(told.explain(Hours::TradingDay).ends_with("expire"));
        let starts = at("2026-03-06T20:00:00Z");
        assert_eq!(calendar.past_close(Hours::Outside, starts, starts + minutes(600)), None);
        assert_eq!(MarketCalendar::AlwaysOpen.past_close(Hours::Any, starts, starts + minutes(60_000)), None);
    }

    #[test]
    fn the_venues_clock_overrules_its_calendar() {
        let listed = || {
            let Sessions { sessions, .. } = sessions("2026-03-02", 5, &[], &[]);
            sessions
        };
        let noon = at("2026-03-03T17:00:00Z");
        let days = ("2026-03-02".parse().unwrap(), "2026-03-06".parse().unwrap());
        let clock = |is_open, next_open, next_close| VenueClock {
            at: noon,
            is_open,
            next_open: at(next_open),
            next_close: at(next_close),
        };
        let slot =
            |clock: &VenueClock, listed| Sessions::new(listed, clock, days).slot(Hours::Any, noon, minutes(1), noon);
        let tomorrow = "2026-03-04T14:30:00Z";
        let halted = clock(false, tomorrow, "2026-03-04T21:00:00Z");
        assert_eq!(slot(&halted, listed()), Slot::Wait(at(tomorrow)));
        let late = clock(false, "2026-03-03T18:00:00Z", "2026-03-03T21:00:00Z");
        assert_eq!(slot(&late, listed()), Slot::Wait(at("2026-03-03T18:00:00Z")));
        let unlisted = clock(true, tomorrow, "2026-03-03T19:00:00Z");
        assert_eq!(slot(&unlisted, Vec::new()), Slot::Go);
        let shorter = Sessions::new(listed(), &unlisted, days);
        assert_eq!(shorter.after(noon).unwrap().closes, at("2026-03-03T19:00:00Z"));
    }

    proptest! {
        #[test]
        fn a_slot_is_what_counting_minute_by_minute_comes_to(
            is_spring in any::<bool>(), closed in 0_i64..21, half in 0_i64..21,
            due in 0_i64..25_000, later in 0_i64..9_000, grace in 0_i64..600, hours in 0_usize..3,
        ) {
            let first = if is_spring { "2026-03-02" } else { "2026-10-26" };
            let sessions = sessions(first, 21, &[closed], &[half]);
            let hours = [Hours::Any, Hours::TradingDay, Hours::AtOnce][hours];
            let start = in_new_york(first.parse().unwrap(), 0, 0);
            let (due, now) = (start + minutes(due), start + minutes(due + later));
            let day = DayEnd::new_york().trading_day(due);
            let meets = |minute: DateTime<Utc>| sessions.sessions.iter().any(|session| {
                session.opens <= minute && minute < session.closes && match hours {
                    Hours::Any | Hours::Outside => true,
                    Hours::TradingDay => session.date == day,
                    Hours::AtOnce => session.opens <= due,
                }
            });
            let passed = (0..later).filter(|minute| meets(due + minutes(*minute))).count();
            let found = sessions.slot(hours, due, minutes(grace), now);
            let next = (0..9_000).map(|minute| now + minutes(minute)).find(|minute| meets(*minute));
            let is_late = i64::try_from(passed).unwrap() > grace;
            match found {
                Slot::Go => prop_assert!(meets(now) && !is_late),
                Slot::Wait(open) => prop_assert!(!meets(now) && !is_late && next == Some(open)),
                Slot::Late => prop_assert!(is_late),
                Slot::Over => prop_assert!(next.is_none() && hours != Hours::Any),
                Slot::Unknown => prop_assert!(next.is_none() || day > sessions.last),
            }
        }
    }
}
