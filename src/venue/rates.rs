//! The rate limit: so many requests of a key in a window, as the answers' headers say.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The windows of all keys. They begin at multiples of their length, so that all end at once.
pub(super) struct Rates {
    limit: u32,
    window_ms: i64,
    used: BTreeMap<String, (i64, u32)>,
}

/// What is left to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    pub(super) resets_at: DateTime<Utc>,
    /// Whether this request was one too many.
    pub(super) exceeded: bool,
}

impl Left {
    /// The second by which the window has ended.
    pub(super) fn reset_second(&self) -> i64 {
        (self.resets_at + TimeDelta::milliseconds(999)).timestamp()
    }
}

impl Rates {
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        let window_ms = i64::try_from(window.as_millis()).unwrap_or(60_000).max(1);
        Self { limit, window_ms, used: BTreeMap::new() }
    }

    pub(super) const fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Counts a request. What is refused takes nothing more.
    pub(super) fn count(&mut self, key: &str, now: DateTime<Utc>) -> Left {
        let window = now.timestamp_millis().div_euclid(self.window_ms);
        let used = self.used.entry(key.to_owned()).or_insert((window, 0));
        if used.0 != window {
            *used = (window, 0);
        }
        let exceeded = used.1 >= self.limit;
        if !exceeded {
            used.1 += 1;
        }
        let end = (window + 1).saturating_mul(self.window_ms);
        let resets_at = DateTime::from_timestamp_millis(end).unwrap_or(now);
        Left { limit: self.limit, remaining: self.limit.saturating_sub(used.1), resets_at, exceeded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_limit_in_each_window() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let mut rates = Rates::new(2, Duration::from_secs(60));
        let first = rates.count("a", at("2026-03-02T12:00:59.5Z"));
        assert_eq!((first.remaining, first.exceeded, first.resets_at), (1, false, at("2026-03-02T12:01:00Z")));
        assert_eq!(rates.count("a", at("2026-03-02T12:00:59.6Z")).remaining, 0);
        assert!(rates.count("a", at("2026-03-02T12:00:59.9Z")).exceeded);
        assert!(!rates.count("b", at("2026-03-02T12:00:59.9Z")).exceeded, "another key has its own");
        assert_eq!(rates.count("a", at("2026-03-02T12:01:00Z")).remaining, 1);
    }
}
