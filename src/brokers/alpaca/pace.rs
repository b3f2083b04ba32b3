//! What the broker's headers say of its rate limit, and the budget that requests of our own making are taken from.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use tranche_actors::budget::{Budget, Lane};
use tranche_actors::domain::venue::Allowance;
use tranche_actors::ports::{Clock, Entropy};

/// Beyond the end of a window, so that the broker's clock has surely come there too.
const MARGIN: Duration = Duration::from_secs(1);
/// A wait that is longer than this is not believed.
const LONGEST: Duration = Duration::from_secs(65);
/// How long to wait after a 429 that doesn't say.
const PATIENCE: Duration = Duration::from_secs(2);

/// The headers of an answer that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// The broker's id of the request; a dash where it gave none.
    pub(super) request_id: String,
    /// How long it asks to wait: `Retry-After`, else until its window ends and a second.
    pub(super) retry_after: Option<Duration>,
    remaining: Option<u32>,
    resets_in: Option<Duration>,
}

impl Headers {
    /// Reads them. Instants of the broker are compared with its own clock, where it shows one.
    pub(super) fn read(headers: &HeaderMap, clock: &dyn Clock) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let id = text("x-request-id").filter(|id| !id.is_empty() && id.len() <= 128);
        let now = text(DATE.as_str()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let now = now.map_or_else(|| clock.now(), |date| date.with_timezone(&Utc));
        let reset = text("x-ratelimit-reset").and_then(|text| text.parse::<i64>().ok());
        let resets_in = reset.map(|reset| {
            let seconds = u64::try_from(reset.saturating_sub(now.timestamp())).unwrap_or(0);
            Duration::from_secs(seconds).min(LONGEST)
        });
        let asked = text(RETRY_AFTER.as_str()).and_then(|text| wait(text, now));
        Self {
            request_id: id.unwrap_or("-").to_owned(),
            retry_after: asked.or_else(|| resets_in.map(|wait| wait + MARGIN)),
            remaining: text("x-ratelimit-remaining").and_then(|text| text.parse::<u32>().ok()),
            resets_in,
        }
    }
}

/// `Retry-After`: seconds, or an instant.
fn wait(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
    Some((at - now).to_std().unwrap_or_default().min(LONGEST))
}

/// The pace that one host bears.
pub(super) struct Pace {
    budget: Mutex<Option<Budget>>,
    /// What the last answer said is left, and until when that holds, on the clock that counts suspended time.
    left: Mutex<Option<(u32, Duration)>>,
    /// Requests on their way, which the broker may not have counted yet.
    in_flight: Arc<AtomicU32>,
    entropy: Arc<dyn Entropy>,
}

/// A request on its way; it is none any more when this goes.
pub(super) struct OnItsWay(Arc<AtomicU32>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    pub(super) fn new(budget: Option<Budget>, entropy: &Arc<dyn Entropy>) -> Self {
        Self {
            budget: Mutex::new(budget),
            left: Mutex::new(None),
            in_flight: Arc::new(AtomicU32::new(0)),
            entropy: Arc::clone(entropy),
        }
    }

    pub(super) fn paced_by(&self, budget: &Budget) {
        *lock(&self.budget) = Some(budget.clone());
    }

    /// Waits for room for a request of our own making.
    pub(super) async fn wait(&self, lane: Lane, now: Duration) {
        let budget = lock(&self.budget).clone();
        if let Some(budget) = budget {
            budget.correct(self.allowance(now));
            budget.wait(lane).await;
        }
    }

    /// Whether there is room for one at once.
    pub(super) fn try_take(&self, lane: Lane, now: Duration) -> Result<(), Duration> {
        let Some(budget) = lock(&self.budget).clone() else { return Ok(()) };
        budget.correct(self.allowance(now));
        budget.take(lane)
    }

    pub(super) fn begin(&self) -> OnItsWay {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        OnItsWay(Arc::clone(&self.in_flight))
    }

    pub(super) fn answered(&self, headers: &Headers, now: Duration, counted: OnItsWay) {
        drop(counted);
        if let (Some(remaining), Some(resets_in)) = (headers.remaining, headers.resets_in) {
            let left = remaining.saturating_sub(self.in_flight.load(Ordering::Relaxed));
            *lock(&self.left) = Some((left, now + resets_in + MARGIN));
        }
    }

    pub(super) fn allowance(&self, now: Duration) -> Option<Allowance> {
        let (remaining, until) = (*lock(&self.left))?;
        let resets_in = until.checked_sub(now).filter(|left| !left.is_zero())?;
        Some(Allowance { remaining, resets_in })
    }

    /// A 429: new orders and reads stop for as long as the broker says, and a little longer by chance, so that not all
    /// who were told the same come back at the same instant.
    pub(super) fn busy(&self, asked: Option<Duration>) -> Duration {
        let wait = asked.unwrap_or(PATIENCE) + Duration::from_millis(self.entropy.bits() % 500);
        if let Some(budget) = &*lock(&self.budget) {
            budget.pause(wait);
        }
        wait
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::clock::{SystemClock, SystemEntropy};

    fn read(pairs: &[(&'static str, &str)]) -> Headers {
        let pairs =
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        Headers::read(&pairs.collect(), &SystemClock)
    }

    const DATED: (&str, &str) = ("date", "Tue, 15 Nov 1994 08:12:31 GMT");

    #[test]
    fn the_end_of_the_window_is_measured_by_the_brokers_own_clock() {
        let headers = read(&[DATED, ("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "784887191")]);
        assert_eq!((headers.remaining, headers.resets_in), (Some(7), Some(Duration::from_secs(40))));
        assert_eq!(headers.retry_after, Some(Duration::from_secs(41)));
    }

    #[test]
    fn retry_after_goes_before_the_window() {
        let reset = ("x-ratelimit-reset", "784887191");
        assert_eq!(read(&[DATED, reset, ("retry-after", "3")]).retry_after, Some(Duration::from_secs(3)));
        let until = ("retry-after", "Tue, 15 Nov 1994 08:12:41 GMT");
        assert_eq!(read(&[DATED, reset, until]).retry_after, Some(Duration::from_secs(10)));
        assert_eq!(read(&[DATED, reset, ("retry-after", "soon")]).retry_after, Some(Duration::from_secs(41)));
        assert_eq!(read(&[DATED, ("retry-after", "99999999999")]).retry_after, Some(LONGEST));
    }

    #[test]
    fn headers_that_are_missing_or_nonsense_say_nothing() {
        assert_eq!(read(&[]), Headers { request_id: "-".to_owned(), ..Headers::default() });
        let nonsense = read(&[DATED, ("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "never")]);
        assert_eq!((nonsense.remaining, nonsense.resets_in, nonsense.retry_after), (None, None, None));
        assert_eq!(read(&[DATED, ("x-ratelimit-reset", "1")]).resets_in, Some(Duration::ZERO));
    }

    #[test]
    fn what_is_left_counts_requests_on_their_way_as_spent_and_ends_with_its_window() {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let pace = Pace::new(None, &entropy);
        let headers = Headers { remaining: Some(5), resets_in: Some(Duration::from_secs(9)), ..Headers::default() };
        let (first, second) = (pace.begin(), pace.begin());
        pace.answered(&headers, Duration::from_secs(100), first);
        let allowance = pace.allowance(Duration::from_secs(104)).unwrap();
        assert_eq!((allowance.remaining, allowance.resets_in), (4, Duration::from_secs(6)));
        drop(second);
        assert_eq!(pace.allowance(Duration::from_secs(110)), None);
    }
}
