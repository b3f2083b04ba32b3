//! The rate budget: how many requests the broker takes in a minute, with a share that new orders can't use up.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::ports::Clock;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// New orders: nine tenths of the budget.
    Orders,
    /// Cancels and look-ups: all of it.
    Control,
}

/// Refill is spread over this many seconds, so that burst and refill of any minute together stay within the limit.
const REFILL_SECONDS: u32 = 65;
/// The budget can't be cut finer than this many requests a minute.
const SMALLEST: u32 = 10;

type Limiter = RateLimiter<NotKeyed, InMemoryState, OurClock, NoOpMiddleware<Nanos>>;

/// The budget of one account. It begins empty, since the process before may just have spent it.
pub(super) struct Budget {
    limits: Option<Limits>,
    patience: Patience,
}

/// Until when the broker asked for patience, in nanoseconds of the clock that counts suspended time. What is claimed
/// already asks it once more at the wire.
///
/// It outlives the broker's actor: whoever is rebuilt must not forget what was asked of the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience(Arc<AtomicU64>);

impl Patience {
    /// How long new orders still have to wait.
    pub(super) fn left(&self, now: Duration) -> Option<Duration> {
        let until = Duration::from_nanos(self.0.load(Ordering::SeqCst));
        until.checked_sub(now).filter(|left| !left.is_zero())
    }
}

struct Limits {
    whole: Limiter,
    orders: Limiter,
    /// A token of the order lane that still waits for its token of the whole.
    held: bool,
}

#[derive(Clone)]
struct OurClock(Arc<dyn Clock>);

impl GovernorClock for OurClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.boottime())
    }
}

impl Budget {
    pub(super) fn new(per_minute: Option<NonZeroU32>, clock: &Arc<dyn Clock>, patience: Patience) -> Self {
        let limits = per_minute.map(|limit| {
            let limit = limit.get().max(SMALLEST);
            Limits { whole: limiter(limit, clock), orders: limiter((limit - limit / 10).max(1), clock), held: false }
        });
        Self { limits, patience }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long to wait before there is one.
    pub(super) fn take(&mut self, lane: Lane, now: Duration) -> Result<(), Duration> {
        if lane == Lane::Orders
            && let Some(left) = self.patience.left(now)
        {
            return Err(left);
        }
        let Some(limits) = &mut self.limits else { return Ok(()) };
        if lane == Lane::Orders && !limits.held {
            check(&limits.orders)?;
            limits.held = true;
        }
        check(&limits.whole)?;
        if lane == Lane::Orders {
            limits.held = false;
        }
        Ok(())
    }

    /// No new orders for so long: the broker said so.
    pub(super) fn pause(&mut self, now: Duration, wait: Duration) {
        let until = u64::try_from((now + wait).as_nanos()).unwrap_or(u64::MAX);
        self.patience.0.fetch_max(until, Ordering::SeqCst);
    }

    /// What the broker asked for, as the wire reads it.
    pub(super) fn patience(&self) -> Patience {
        self.patience.clone()
    }
}

fn check(limiter: &Limiter) -> Result<(), Duration> {
    limiter.check().map_err(|not_until| {
        let now = limiter.clock().now();
        Duration::from(not_until.earliest_possible().duration_since(now)).max(Duration::from_millis(1))
    })
}

/// A tenth of the limit as burst, the rest as refill over 65 s; the burst is spent at once.
fn limiter(limit: u32, clock: &Arc<dyn Clock>) -> Limiter {
    let burst = NonZeroU32::new(limit / 10).unwrap_or(NonZeroU32::MIN);
    let refill = limit.saturating_sub(burst.get()).max(1);
    let period = Duration::from_secs(u64::from(REFILL_SECONDS)) / refill;
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
    let limiter = RateLimiter::direct_with_clock(quota, OurClock(Arc::clone(clock)));
    // Spending a burst of a fresh limiter can't be refused; were it, the limiter would only be laxer by one burst.
    if limiter.check_n(burst).is_err() {
        tracing::error!("the rate budget did not begin empty");
    }
    limiter
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            self.boottime()
        }
        fn boottime(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    fn run(limit: u32, asks: &[(bool, u64)]) -> Vec<(bool, u64)> {
        let hand = Arc::new(Hand::default());
        let clock: Arc<dyn Clock> = hand.clone();
        let mut budget = Budget::new(NonZeroU32::new(limit), &clock, Patience::default());
        let mut taken = Vec::new();
        for (is_order, step) in asks {
            hand.0.fetch_add(*step, Ordering::Relaxed);
            let lane = if *is_order { Lane::Orders } else { Lane::Control };
            if budget.take(lane, hand.boottime()).is_ok() {
                taken.push((*is_order, hand.0.load(Ordering::Relaxed)));
            }
        }
        taken
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_than_the_limit(
            limit in 10_u32..700, asks in proptest::collection::vec((any::<bool>(), 0_u64..400), 0..2_000),
        ) {
            let taken = run(limit, &asks);
            for (first, (_, at)) in taken.iter().enumerate() {
                let within = taken[first..].iter().take_while(|(_, later)| later - at < 60_000);
                prop_assert!(within.count() <= usize::try_from(limit).unwrap());
            }
        }
    }

    #[test]
    fn the_budget_begins_empty_and_says_how_long_to_wait() {
        let hand = Arc::new(Hand::default());
        let clock: Arc<dyn Clock> = hand.clone();
        let mut budget = Budget::new(NonZeroU32::new(600), &clock, Patience::default());
        let wait = budget.take(Lane::Orders, hand.boottime()).unwrap_err();
        assert!(wait < Duration::from_millis(200), "{wait:?}");
        hand.0.fetch_add(u64::try_from(wait.as_millis()).unwrap() + 1, Ordering::Relaxed);
        assert_eq!(budget.take(Lane::Orders, hand.boottime()), Ok(()));
    }

    #[test]
    fn new_orders_leave_a_share_for_cancels() {
        let mut asks = vec![(true, 100); 6_000];
        asks.push((false, 0));
        let taken = run(600, &asks);
        assert_eq!(taken.last().map(|(is_order, _)| *is_order), Some(false));
    }

    #[test]
    fn a_broker_that_asks_for_patience_gets_it_for_new_orders_alone() {
        let clock: Arc<dyn Clock> = Arc::new(Hand::default());
        let mut budget = Budget::new(None, &clock, Patience::default());
        budget.pause(Duration::ZERO, Duration::from_secs(3));
        assert_eq!(budget.take(Lane::Orders, Duration::from_secs(1)), Err(Duration::from_secs(2)));
        assert_eq!(budget.take(Lane::Control, Duration::from_secs(1)), Ok(()));
        assert_eq!(budget.take(Lane::Orders, Duration::from_secs(3)), Ok(()));
    }
}
