//! When a session ends.

use chrono::{DateTime, NaiveTime, Utc};

/// The end of the UTC day that `at` lies in: where a venue that never closes ends its `day` orders.
#[must_use]
pub fn end_of_utc_day(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().succ_opt().map_or(DateTime::<Utc>::MAX_UTC, |next| next.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_and_midnight_belongs_to_the_next() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(end_of_utc_day(at("2024-02-28T23:59:59.999999Z")), at("2024-02-29T00:00:00Z"));
        assert_eq!(end_of_utc_day(at("2024-02-29T00:00:00Z")), at("2024-03-01T00:00:00Z"));
        assert_eq!(end_of_utc_day(DateTime::<Utc>::MAX_UTC), DateTime::<Utc>::MAX_UTC);
    }
}
