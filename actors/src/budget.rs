//! The rate budget: how many requests the broker takes in a minute, with a share that new orders can't use up.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::domain::venue::Allowance;
use crate::ports::Clock;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// New orders: nine tenths of the budget.
    Orders,
    /// Cancels and look-ups: all of it.
    Control,
    /// Pages of orders and trades, positions: half of it, and together with new orders nine tenths.
    Reads,
    /// Quotes, where they come from the same host: a tenth of it, out of what reads have. Orders don't wait for them.
    Quotes,
}

/// Refill is spread over this many seconds, so that burst and refill of any minute together stay within the limit.
const REFILL_SECONDS: u32 = 65;
/// The budget can't be cut finer than this many requests a minute.
const SMALLEST: u32 = 10;
/// Two ends of the broker's window that are no further apart than this are the same one: it tells them in whole seconds.
const SAME_WINDOW: Duration = Duration::from_millis(1_500);
/// However long the broker says that its window lasts, we ask again after this: its clock may be wrong.
const LONGEST_WINDOW: Duration = Duration::from_secs(65);
/// Who waits for a token looks at least this often: the one that it waits for may have gone to somebody else.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Limiter = RateLimiter<NotKeyed, InMemoryState, OurClock, NoOpMiddleware<Nanos>>;

/// The budget of one account, shared by all who send requests for it. It begins empty, since the process before may just
/// have spent it. It outlives the actors that use it: whoever is rebuilt must not forget what the broker asked for.
#[derive(Clone)]
pub struct Budget {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

struct State {
    limits: Option<Limits>,
    /// The broker asked for patience until then, on the clock that counts suspended time.
    not_before: Duration,
    /// What the broker itself says that it still takes.
    window: Option<Window>,
}

struct Window {
    left: u32,
    until: Duration,
}

struct Limits {
    whole: Share,
    /// All but what is kept for cancels and look-ups.
    work: Share,
    reads: Share,
    quotes: Share,
    /// What new orders and reads leave of the broker's own window to cancels and look-ups.
    reserve: u32,
}

/// A limiter with the token that was taken from it and still waits for one of a wider limiter.
struct Share {
    limiter: Limiter,
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
    /// So many requests in any minute; `None`: as many as anybody likes.
    #[must_use]
    pub fn new(per_minute: Option<NonZeroU32>, clock: &Arc<dyn Clock>) -> Self {
        let limits = per_minute.map(|limit| {
            let limit = limit.get().max(SMALLEST);
            let share = |limit: u32| Share { limiter: limiter(limit.max(1), clock), held: false };
            let reserve = limit / 10;
            Limits {
                whole: share(limit),
                work: share(limit - reserve),
                reads: share(limit / 2),
                quotes: share(limit / 10),
                reserve,
            }
        });
        let state = State { limits, not_before: Duration::ZERO, window: None };
        Self { clock: Arc::clone(clock), state: Arc::new(Mutex::new(state)) }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long to wait before there may be one.
    pub fn take(&self, lane: Lane) -> Result<(), Duration> {
        let now = self.clock.boottime();
        let mut state = self.state();
        state.may(lane, now)?;
        if let Some(limits) = &mut state.limits {
            limits.take(lane)?;
        }
        if let Some(window) = &mut state.window {
            window.left = window.left.saturating_sub(1);
        }
        Ok(())
    }

    /// Takes a token as soon as there is one.
    pub async fn wait(&self, lane: Lane) {
        while let Err(wait) = self.take(lane) {
            tokio::time::sleep(wait.clamp(Duration::from_millis(1), LOOK_EVERY)).await;
        }
    }

    /// No new orders and no reads for so long: the broker said so.
    pub fn pause(&self, wait: Duration) {
        let until = self.clock.boottime() + wait;
        let mut state = self.state();
        state.not_before = state.not_before.max(until);
    }

    /// How long the broker still wants to be left in peace. What is claimed already asks for this once more at the wire.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        let now = self.clock.boottime();
        self.state().not_before.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Takes over what the broker's last answer said, if it said anything. What we have taken since counts against it.
    pub fn correct(&self, allowance: Option<Allowance>) {
        let Some(Allowance { remaining, resets_in }) = allowance else { return };
        let now = self.clock.boottime();
        let until = now + resets_in.min(LONGEST_WINDOW);
        let mut state = self.state();
        match &mut state.window {
            Some(window) if now < window.until && until <= window.until + SAME_WINDOW => {
                window.left = window.left.min(remaining);
                window.until = window.until.max(until);
            }
            Some(_) | None => state.window = Some(Window { left: remaining, until }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the broker's own word lets this lane ask now.
    fn may(&mut self, lane: Lane, now: Duration) -> Result<(), Duration> {
        let reserve = match lane {
            Lane::Control => 0,
            Lane::Orders | Lane::Reads | Lane::Quotes if now < self.not_before => return Err(self.not_before - now),
            Lane::Orders | Lane::Reads | Lane::Quotes => self.limits.as_ref().map_or(0, |limits| limits.reserve),
        };
        match &self.window {
            Some(window) if now >= window.until => self.window = None,
            Some(window) if window.left <= reserve => return Err(window.until - now),
            Some(_) | None => {}
        }
        Ok(())
    }
}

impl Limits {
    fn take(&mut self, lane: Lane) -> Result<(), Duration> {
        let shares: &mut [&mut Share] = match lane {
            Lane::Control => &mut [&mut self.whole],
            Lane::Orders => &mut [&mut self.work, &mut self.whole],
            Lane::Reads => &mut [&mut self.reads, &mut self.work, &mut self.whole],
            Lane::Quotes => &mut [&mut self.quotes, &mut self.reads, &mut self.work, &mut self.whole],
        };
        for share in shares.iter_mut() {
            share.hold()?;
        }
        for share in shares {
            share.held = false;
        }
        Ok(())
    }
}

impl Share {
    fn hold(&mut self) -> Result<(), Duration> {
        if !self.held {
            check(&self.limiter)?;
            self.held = true;
        }
        Ok(())
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

    impl Hand {
        fn pass(&self, ms: u64) {
            self.0.fetch_add(ms, Ordering::Relaxed);
        }

        fn ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Clock for Hand {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            self.boottime()
        }
        fn boottime(&self) -> Duration {
            Duration::from_millis(self.ms())
        }
    }

    fn budget(limit: u32) -> (Arc<Hand>, Budget) {
        let hand = Arc::new(Hand::default());
        let clock: Arc<dyn Clock> = hand.clone();
        (hand, Budget::new(NonZeroU32::new(limit), &clock))
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask(Lane),
        Told { remaining: u32, resets_ms: u64 },
        Busy { wait_ms: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
        let lane = prop_oneof![Just(Lane::Orders), Just(Lane::Control), Just(Lane::Reads), Just(Lane::Quotes)];
        let step = prop_oneof![
            40 => lane.prop_map(Step::Ask),
            2 => (0_u32..300, 0_u64..60_000).prop_map(|(remaining, resets_ms)| Step::Told { remaining, resets_ms }),
            1 => (0_u64..20_000).prop_map(|wait_ms| Step::Busy { wait_ms }),
        ];
        proptest::collection::vec((0_u64..400, step), 0..2_000)
    }

    /// When tokens were taken and for whom, after all that the broker says has been checked.
    fn run(limit: u32, steps: &[(u64, Step)]) -> Vec<(Lane, u64)> {
        let (hand, budget) = budget(limit);
        let (mut taken, mut told, mut busy_until) = (Vec::new(), Vec::<(u64, u32, u64)>::new(), 0);
        for (ms, step) in steps {
            hand.pass(*ms);
            let now = hand.ms();
            match *step {
                Step::Ask(lane) => {
                    if budget.take(lane).is_err() {
                        continue;
                    }
                    assert!(lane == Lane::Control || now >= busy_until, "the broker asked for patience");
                    told.retain(|(until, ..)| now < *until);
                    for (_, remaining, since) in &mut told {
                        assert!(*remaining > 0, "the broker had no more to give since {since}");
                        *remaining -= 1;
                    }
                    taken.push((lane, now));
                }
                Step::Told { remaining, resets_ms } => {
                    budget.correct(Some(Allowance { remaining, resets_in: Duration::from_millis(resets_ms) }));
                    // Another window than the last one's begins where it ends later: then the last word is void.
                    told.retain(|(until, ..)| now + resets_ms <= until + 1_500);
                    told.push((now + resets_ms, remaining, now));
                }
                Step::Busy { wait_ms } => {
                    budget.pause(Duration::from_millis(wait_ms));
                    busy_until = busy_until.max(now + wait_ms);
                }
            }
        }
        taken
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_than_the_limit_nor_than_the_broker_says(limit in 10_u32..700, steps in steps()) {
            let taken = run(limit, &steps);
            for (first, (_, at)) in taken.iter().enumerate() {
                let within = taken[first..].iter().take_while(|(_, later)| later - at < 60_000);
                prop_assert!(within.count() <= usize::try_from(limit).unwrap());
            }
        }
    }

    #[test]
    fn the_budget_begins_empty_and_says_how_long_to_wait() {
        let (hand, budget) = budget(600);
        let wait = budget.take(Lane::Orders).unwrap_err();
        assert!(wait < Duration::from_millis(200), "{wait:?}");
        hand.pass(u64::try_from(wait.as_millis()).unwrap() + 1);
        assert_eq!(budget.take(Lane::Orders), Ok(()));
    }

    #[test]
    fn new_orders_and_reads_leave_a_share_for_cancels_and_reads_one_for_orders() {
        let asks = |lane| vec![(50, Step::Ask(lane)); 3_000];
        let mut all = [asks(Lane::Reads), asks(Lane::Orders)].concat();
        all.push((0, Step::Ask(Lane::Control)));
        let taken = run(600, &all);
        assert_eq!(taken.last().map(|(lane, _)| *lane), Some(Lane::Control));
        let reads = taken.iter().filter(|(lane, _)| *lane == Lane::Reads).count();
        assert!((600..=780).contains(&reads), "{reads} reads in two and a half minutes");
        let quotes = run(600, &asks(Lane::Quotes)).len();
        assert!((120..=160).contains(&quotes), "{quotes} quotes in two and a half minutes");
    }

    #[test]
    fn a_broker_that_asks_for_patience_gets_it_but_for_cancels_and_look_ups() {
        let hand = Arc::new(Hand::default());
        let clock: Arc<dyn Clock> = hand.clone();
        let budget = Budget::new(None, &clock);
        budget.pause(Duration::from_secs(3));
        hand.pass(1_000);
        assert_eq!(budget.take(Lane::Orders), Err(Duration::from_secs(2)));
        assert_eq!(budget.take(Lane::Reads), Err(Duration::from_secs(2)));
        assert_eq!(budget.take(Lane::Control), Ok(()));
        hand.pass(2_000);
        assert_eq!(budget.take(Lane::Orders), Ok(()));
    }

    #[test]
    fn what_the_broker_says_is_left_bounds_what_is_taken_until_its_window_ends() {
        let (hand, budget) = budget(100);
        hand.pass(120_000);
        let told = |remaining, secs| Some(Allowance { remaining, resets_in: Duration::from_secs(secs) });
        budget.correct(told(12, 30));
        assert_eq!(budget.take(Lane::Orders), Ok(()));
        // The same answer, seen again: what was taken since stays taken.
        budget.correct(told(12, 30));
        assert_eq!(budget.take(Lane::Orders), Ok(()));
        assert_eq!(budget.take(Lane::Orders), Err(Duration::from_secs(30)), "the last ten are for cancels");
        assert_eq!(budget.take(Lane::Control), Ok(()));
        budget.correct(told(0, 30));
        assert_eq!(budget.take(Lane::Control), Err(Duration::from_secs(30)));
        hand.pass(30_000);
        assert_eq!(budget.take(Lane::Orders), Ok(()));
    }

    #[test]
    fn a_window_that_never_ends_is_not_believed() {
        let (hand, budget) = budget(100);
        hand.pass(120_000);
        budget.correct(Some(Allowance { remaining: 0, resets_in: Duration::from_secs(1_000_000) }));
        assert_eq!(budget.take(Lane::Control), Err(LONGEST_WINDOW));
    }
}
