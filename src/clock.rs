//! The real clocks, and real chance.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use rustix::time::{ClockId, Timespec, clock_gettime};
use tranche_actors::ports::{Clock, Entropy};

/// The system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    fn monotonic(&self) -> Duration {
        since_boot(clock_gettime(ClockId::Monotonic))
    }

    fn boottime(&self) -> Duration {
        since_boot(clock_gettime(ClockId::Boottime))
    }
}

fn since_boot(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The operating system's random bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bits(&self) -> u64 {
        // The fixed bits of a UUID lie in different places of its halves.
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        high ^ low.rotate_left(32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_go_forward_and_the_wall_clock_has_no_more_than_microseconds() {
        let clock = SystemClock;
        let (monotonic, boottime) = (clock.monotonic(), clock.boottime());
        assert!(clock.monotonic() >= monotonic && clock.boottime() >= boottime);
        assert!(boottime >= monotonic);
        assert_eq!(clock.now().timestamp_subsec_nanos() % 1_000, 0);
        assert_ne!(SystemEntropy.bits(), SystemEntropy.bits());
    }
}
