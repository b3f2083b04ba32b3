//! The venue's clock: the system's, sped up and moved as a test wants it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tranche_actors::ports::Clock;

use crate::clock::SystemClock;

/// Most that a clock may be sped up.
pub(super) const FASTEST: u32 = 86_400;

/// A clock that runs `scale` times as fast as the system's, from an instant of its own.
pub(super) struct ScaledClock(Mutex<Origin>);

struct Origin {
    venue: DateTime<Utc>,
    system: Duration,
    scale: u32,
}

impl Origin {
    fn now(&self) -> DateTime<Utc> {
        let passed = SystemClock.monotonic().saturating_sub(self.system).saturating_mul(self.scale);
        TimeDelta::from_std(passed).ok().and_then(|passed| self.venue.checked_add_signed(passed)).unwrap_or(self.venue)
    }
}

impl ScaledClock {
    /// A clock that begins now, or behind what was the present before, so that it never goes back over a restart.
    pub(super) fn new(scale: u32, before: Option<DateTime<Utc>>) -> Self {
        let now = SystemClock.now();
        let venue = before.map_or(now, |before| now.max(before + TimeDelta::microseconds(1)));
        Self(Mutex::new(Origin { venue, system: SystemClock.monotonic(), scale: scale.clamp(1, FASTEST) }))
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.lock().now()
    }

    pub(super) fn scale(&self) -> u32 {
        self.lock().scale
    }

    /// How long so much of the venue's time takes.
    pub(super) fn real(&self, time: Duration) -> Duration {
        time / self.scale()
    }

    /// Runs at another speed from now on.
    pub(super) fn set_scale(&self, scale: u32) {
        let mut origin = self.lock();
        let now = origin.now();
        *origin = Origin { venue: now, system: SystemClock.monotonic(), scale: scale.clamp(1, FASTEST) };
    }

    /// Jumps ahead.
    pub(super) fn advance(&self, by: Duration) {
        let mut origin = self.lock();
        let ahead = TimeDelta::from_std(by).ok().and_then(|by| origin.venue.checked_add_signed(by));
        origin.venue = ahead.unwrap_or(origin.venue);
    }

    fn lock(&self) -> MutexGuard<'_, Origin> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_over_a_restart_and_can_jump_ahead() {
        let future = SystemClock.now() + TimeDelta::hours(1);
        let clock = ScaledClock::new(60, Some(future));
        assert!(clock.now() > future);
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now() > future + TimeDelta::hours(1));
        let before = clock.now();
        clock.set_scale(1);
        assert!(clock.now() >= before);
        assert_eq!(
            (clock.scale(), ScaledClock::new(60, None).real(Duration::from_secs(60))),
            (1, Duration::from_secs(1))
        );
    }
}
