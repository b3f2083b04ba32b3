//! Guards an account against a wall clock that was set: whoever decides by it asks here first. The account's actor alone
//! believes it again.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::clock::{Look, WallClock};
use crate::ports::Clock;
use crate::sync::{Arc, Mutex, lock};

/// What is known of the wall clock; nothing before the first look.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockGuard(Arc<Mutex<Option<WallClock>>>);

impl ClockGuard {
    /// The wall clock, if it is to be believed: one that moved is not, from the first look on that finds it so.
    pub(crate) fn now(&self, clock: &dyn Clock) -> Option<DateTime<Utc>> {
        let look = look(clock);
        match self.take(&look) {
            None => Some(look.wall),
            Some(_) => None,
        }
    }

    /// By how much it moved, where it is in doubt.
    pub(crate) fn moved(&self, clock: &dyn Clock) -> Option<TimeDelta> {
        self.take(&look(clock))
    }

    /// It is right as it is now.
    pub(crate) fn believe(&self, clock: &dyn Clock) {
        *lock(&self.0) = Some(WallClock::believed(&look(clock)));
    }

    fn take(&self, look: &Look) -> Option<TimeDelta> {
        lock(&self.0).get_or_insert_with(|| WallClock::believed(look)).look(look)
    }
}

fn look(clock: &dyn Clock) -> Look {
    Look { before: clock.boottime(), wall: clock.now(), after: clock.boottime() }
}
