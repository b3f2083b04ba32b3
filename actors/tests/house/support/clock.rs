//! Time and chance that a test decides.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tranche_actors::ports::{Clock, Entropy};

/// The clocks of a machine whose time is tokio's, which is paused.
pub(crate) struct VirtualClock {
    origin: Instant,
    /// By how much the wall clock was set, in microseconds.
    set: AtomicI64,
    /// For how long the machine was suspended, in microseconds.
    suspended: AtomicU64,
    panics: AtomicBool,
}

impl VirtualClock {
    /// Saturday noon; the trading day ends at 22:00 UTC.
    pub(crate) fn epoch() -> DateTime<Utc> {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            set: AtomicI64::new(0),
            suspended: AtomicU64::new(0),
            panics: AtomicBool::new(false),
        }
    }

    /// The machine was suspended for so long: the wall clock and the clock that counts suspended time go on, what
    /// sleeps does not notice.
    pub(crate) fn freeze(&self, slept: Duration) {
        let micros = u64::try_from(slept.as_micros()).unwrap();
        self.suspended.fetch_add(micros, Ordering::SeqCst);
    }

    /// Whoever asks for the wall time next dies of it.
    pub(crate) fn panic_next(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// How long ago the test began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.monotonic() + Duration::from_micros(self.suspended.load(Ordering::SeqCst))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the clock was told to break");
        let micros = i64::try_from(self.elapsed().as_micros()).unwrap();
        Self::epoch() + TimeDelta::microseconds(micros + self.set.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn boottime(&self) -> Duration {
        // A machine that was up for a while before its first process.
        Duration::from_secs(1_000) + self.elapsed()
    }
}

/// Random bits that are the same for the same seed (Vigna's splitmix64).
pub(crate) struct Seeded(AtomicU64);

impl Seeded {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.bits() % end
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
