//! The market's calendar as it was last read: shared by whoever plans and whoever sends.

use std::time::Duration;

use crate::domain::calendar::MarketCalendar;
use crate::sync::{Arc, Mutex, lock};

/// A calendar that could not be read anew for so long is not trusted any more.
const LONGEST_TRUST: Duration = Duration::from_secs(86_400);

/// The calendar; unknown until it was read, and when that was too long ago.
#[derive(Clone, Debug, Default)]
pub struct MarketHours(Arc<Mutex<Option<Known>>>);

#[derive(Clone, Debug)]
struct Known {
    calendar: Arc<MarketCalendar>,
    trusted_until: Duration,
}

impl MarketHours {
    /// Of a market that never closes.
    #[must_use]
    pub fn always_open() -> Self {
        let calendar = Arc::new(MarketCalendar::AlwaysOpen);
        Self(Arc::new(Mutex::new(Some(Known { calendar, trusted_until: Duration::MAX }))))
    }

    /// The calendar; `now` is of the clock that counts suspended time.
    #[must_use]
    pub fn calendar(&self, now: Duration) -> Option<Arc<MarketCalendar>> {
        let known = lock(&self.0).clone();
        known.filter(|known| now <= known.trusted_until).map(|known| known.calendar)
    }

    /// It was read.
    pub fn set(&self, calendar: MarketCalendar, now: Duration) {
        let calendar = Arc::new(calendar);
        *lock(&self.0) = Some(Known { calendar, trusted_until: now.saturating_add(LONGEST_TRUST) });
    }
}
