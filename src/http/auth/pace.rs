//! How many requests a key may send in a second.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tranche_actors::domain::names::Caller;

/// Counts by the name of the key: names are known, and few.
pub(in crate::http) struct Pace {
    limiter: Option<RateLimiter<Caller, HashMapStateStore<Caller>, DefaultClock>>,
    clock: DefaultClock,
}

impl Pace {
    /// At most so many requests in a second, and so many at once; `None`: any number.
    pub(in crate::http) fn new(per_second: Option<NonZeroU32>) -> Self {
        let limiter = per_second.map(|most| RateLimiter::hashmap(Quota::per_second(most)));
        Self { limiter, clock: DefaultClock::default() }
    }

    /// How long a caller has to wait, who has sent too many.
    pub(super) fn wait(&self, caller: &Caller) -> Option<Duration> {
        let limiter = self.limiter.as_ref()?;
        limiter.check_key(caller).err().map(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}
