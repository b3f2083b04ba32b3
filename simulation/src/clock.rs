//! Time and chance that a scenario decides.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tranche_actors::ports::{Clock, Entropy};

/// Saturday 2026-11-21, noon; the trading day ends at 22:00 UTC.
pub const EPOCH: DateTime<Utc> = match DateTime::from_timestamp(1_795_262_400, 0) {
    Some(epoch) => epoch,
    None => DateTime::UNIX_EPOCH,
};

/// How long the machine was up before its first process.
const UPTIME: Duration = Duration::from_secs(1_000);

/// The clocks of a machine whose time is tokio's, which is paused: it jumps to the next timer when nothing else is left
/// to do.
pub struct VirtualClock {
    origin: Instant,
    epoch: DateTime<Utc>,
    /// By how much the wall clock was set, in microseconds.
    set: AtomicI64,
    /// For how long the machine was suspended, in microseconds.
    suspended: AtomicU64,
    panics: AtomicBool,
}

impl VirtualClock {
    /// The clocks of a machine that is born now, at this wall time.
    #[must_use]
    pub fn new(epoch: DateTime<Utc>) -> Self {
        Self {
            origin: Instant::now(),
            epoch,
            set: AtomicI64::new(0),
            suspended: AtomicU64::new(0),
            panics: AtomicBool::new(false),
        }
    }

    /// The machine was suspended for so long: the wall clock and the clock that counts suspended time go on, what
    /// sleeps does not notice.
    pub fn freeze(&self, slept: Duration) {
        self.suspended.fetch_add(micros(slept).unsigned_abs(), Ordering::SeqCst);
    }

    /// The wall clock is set forward by so many milliseconds, or back.
    pub fn set(&self, by_millis: i64) {
        self.set.fetch_add(by_millis.saturating_mul(1_000), Ordering::SeqCst);
    }

    /// Whoever asks for the wall time next dies of it.
    pub fn panic_next(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// How long ago the machine was born.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.monotonic() + Duration::from_micros(self.suspended.load(Ordering::SeqCst))
    }

    /// The wall time, as whoever only watches reads it.
    #[must_use]
    pub fn wall(&self) -> DateTime<Utc> {
        self.epoch + TimeDelta::microseconds(micros(self.elapsed()) + self.set.load(Ordering::SeqCst))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the clock was told to break");
        self.wall()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn boottime(&self) -> Duration {
        UPTIME + self.elapsed()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Random bits that are the same for the same seed (Vigna's splitmix64).
pub struct Seeded(AtomicU64);

impl Seeded {
    /// The bits of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `end`, which is not zero.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        self.bits() % end.max(1)
    }
}

impl Entropy for Seeded {
    fn bits(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let state = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
