//! Trading days: the day that ends at the account's reset time in its own time zone.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::text::BadText;

/// When an account's trading day ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayEnd {
    /// The reset time on the wall clock of the zone.
    pub reset: NaiveTime,
    /// The zone.
    pub zone: Tz,
}

impl DayEnd {
    /// 17:00 in New York, when currency markets roll over and after equity markets have closed.
    #[must_use]
    pub const fn new_york() -> Self {
        let reset = match NaiveTime::from_hms_opt(17, 0, 0) {
            Some(time) => time,
            None => NaiveTime::MIN,
        };
        Self { reset, zone: chrono_tz::America::New_York }
    }

    /// From the reset time as `HH:MM`, and the name of a zone.
    ///
    /// # Errors
    /// The rule that one of the two breaks.
    pub fn parse(reset: &str, zone: &str) -> Result<Self, BadText> {
        let reset =
            NaiveTime::parse_from_str(reset, "%H:%M").ok().filter(|time| time.format("%H:%M").to_string() == reset);
        let reset = reset.ok_or(BadText { rule: "must be a time as HH:MM" })?;
        let zone = zone.parse().map_err(|_| BadText { rule: "must be a zone's name, such as America/New_York" })?;
        Ok(Self { reset, zone })
    }

    /// The trading day of an instant: the date on which the day that holds it ends. The reset itself begins the next.
    #[must_use]
    pub fn trading_day(&self, at: DateTime<Utc>) -> NaiveDate {
        let date = at.with_timezone(&self.zone).date_naive();
        if at < self.end_of(date) { date } else { date + TimeDelta::days(1) }
    }

    /// The instant at which the trading day of a date ends: where clocks go back over the reset time, the first time
    /// that it shows; where they skip it, an hour after it would have been an hour before.
    #[must_use]
    pub fn end_of(&self, date: NaiveDate) -> DateTime<Utc> {
        let local = date.and_time(self.reset);
        let hour = TimeDelta::hours(1);
        let end = self.zone.from_local_datetime(&local).earliest();
        let skipped = || self.zone.from_local_datetime(&(local - hour)).earliest().map(|before| before + hour);
        end.or_else(skipped).map_or_else(|| local.and_utc(), |end| end.with_timezone(&Utc))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(at: &str) -> String {
        DayEnd::new_york().trading_day(at.parse().unwrap()).to_string()
    }

    #[test]
    fn the_reset_begins_the_next_day_across_daylight_saving() {
        assert_eq!(day("2026-03-06T21:59:59.999999Z"), "2026-03-06");
        assert_eq!(day("2026-03-06T22:00:00Z"), "2026-03-07");
        assert_eq!(day("2026-03-08T20:59:59Z"), "2026-03-08");
        assert_eq!(day("2026-03-08T21:00:00Z"), "2026-03-09");
        assert_eq!(day("2026-11-01T20:59:59Z"), "2026-11-01");
        assert_eq!(day("2026-11-01T21:59:59Z"), "2026-11-01");
        assert_eq!(day("2026-11-01T22:00:00Z"), "2026-11-02");
    }

    #[test]
    fn a_reset_is_read_exactly_or_refused() {
        assert_eq!(DayEnd::parse("17:00", "America/New_York").unwrap(), DayEnd::new_york());
        let tokyo = DayEnd::parse("00:00", "Asia/Tokyo").unwrap();
        assert_eq!(tokyo.trading_day("2026-11-23T14:59:59Z".parse().unwrap()).to_string(), "2026-11-24");
        assert_eq!(tokyo.trading_day("2026-11-23T15:00:00Z".parse().unwrap()).to_string(), "2026-11-25");
        for (reset, zone) in [("5:00", "UTC"), ("24:00", "UTC"), ("17:00:00", "UTC"), ("", "UTC"), ("17:00", "EDT5")] {
            assert!(DayEnd::parse(reset, zone).is_err(), "{reset} {zone}");
        }
    }

    #[test]
    fn a_reset_inside_a_repeated_or_skipped_hour_still_ends_each_day_once() {
        let end = DayEnd { reset: NaiveTime::from_hms_opt(1, 30, 0).unwrap(), zone: chrono_tz::America::New_York };
        let day = |at: &str| end.trading_day(at.parse().unwrap()).to_string();
        assert_eq!(day("2026-11-01T05:29:59Z"), "2026-11-01");
        assert_eq!(day("2026-11-01T05:30:00Z"), "2026-11-02");
        assert_eq!(day("2026-11-01T06:15:00Z"), "2026-11-02");
        let end = DayEnd { reset: NaiveTime::from_hms_opt(2, 30, 0).unwrap(), ..end };
        assert_eq!(end.end_of("2026-03-08".parse().unwrap()), "2026-03-08T07:30:00Z".parse::<DateTime<Utc>>().unwrap());
    }

    proptest! {
        #[test]
        fn days_follow_each_other_without_going_back(seconds in 1_700_000_000_i64..1_900_000_000, step in 0_i64..90_000) {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            let later = at + TimeDelta::seconds(step);
            let (first, second) = (DayEnd::new_york().trading_day(at), DayEnd::new_york().trading_day(later));
            prop_assert!(first <= second);
            prop_assert!(second - first <= TimeDelta::days(2));
        }
    }
}
