//! What can go wrong between a client and a broker, as one description, drawn from a seed. A skin acts it out.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::spelling;
use crate::domain::names::Symbol;

/// A probability in thousandths: 0 is never, 1000 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct PerMille(u16);

/// A probability above 1000 ‰.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be at most 1000")]
pub struct TooLikely;

impl PerMille {
    /// Whether it strikes at this draw of 64 random bits.
    #[must_use]
    pub fn strikes(self, draw: u64) -> bool {
        draw % 1000 < u64::from(self.0)
    }
}

impl TryFrom<u16> for PerMille {
    type Error = TooLikely;
    fn try_from(value: u16) -> Result<Self, TooLikely> {
        if value <= 1000 { Ok(Self(value)) } else { Err(TooLikely) }
    }
}

/// The faults of a venue; the default has none.
///
/// Those of requests strike orders, replacements and cancels alike. Where several strike one request, the first in the order of
/// these fields wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// 429: the request is not taken.
    pub busy_per_mille: PerMille,
    /// What a 429 asks the client to wait, in milliseconds; 0: it doesn't say.
    pub busy_retry_after_ms: u64,
    /// The request is lost on its way: not taken, never answered.
    pub timeout_before_per_mille: PerMille,
    /// 5xx without the request having been taken.
    pub error_before_per_mille: PerMille,
    /// The request is taken, and its answer is lost.
    pub timeout_after_per_mille: PerMille,
    /// The request is taken, and answered by a 5xx.
    pub error_after_per_mille: PerMille,
    /// The answer is late by [`Self::delay_ms`]; besides the faults above.
    pub delay_per_mille: PerMille,
    /// By how much a delayed answer is late, in milliseconds.
    pub delay_ms: u64,
    /// A look-up is answered by a 5xx.
    pub lookup_error_per_mille: PerMille,
    /// An event never arrives.
    pub event_lost_per_mille: PerMille,
    /// An event arrives twice.
    pub event_duplicated_per_mille: PerMille,
    /// An event arrives after the one that follows it.
    pub event_reordered_per_mille: PerMille,
    /// How long a cancel is pending before it is confirmed, in milliseconds; a fill may win the race.
    pub cancel_pending_ms: u64,
    /// How long a replacement is pending before it takes place, in milliseconds; a fill may win the race.
    pub replace_pending_ms: u64,
    /// Symbols whose orders are refused; a list, or one text with commas.
    #[serde(deserialize_with = "spelling::list")]
    pub reject_symbols: Vec<Symbol>,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// Nothing.
    None,
    /// 429, not taken.
    Busy {
        /// What the client is asked to wait.
        retry_after: Option<Duration>,
    },
    /// Not taken, never answered.
    TimeoutBefore,
    /// Not taken, answered by a 5xx.
    ErrorBefore,
    /// Taken, never answered.
    TimeoutAfter,
    /// Taken, answered by a 5xx.
    ErrorAfter,
}

/// What happens to one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFault {
    /// Nothing.
    None,
    /// It never arrives.
    Lost,
    /// It arrives twice.
    Duplicated,
    /// It arrives after the one that follows it.
    Reordered,
}

/// The seeded dice. Every kind of draw has dice of its own and takes a fixed number of throws, so that a changed
/// probability moves no other outcome.
#[derive(Clone, Debug)]
pub struct Dice {
    faults: Faults,
    requests: ChaCha8Rng,
    lookups: ChaCha8Rng,
    events: ChaCha8Rng,
}

impl Dice {
    /// The dice of a seed. `from` is something that grows with the book, so that a restart doesn't throw what the start
    /// before it threw.
    #[must_use]
    pub fn new(faults: Faults, seed: u64, from: u64) -> Self {
        let dice = |kind: &str| ChaCha8Rng::from_seed(Sha256::digest(format!("{kind}|{seed}|{from}")).into());
        Self { faults, requests: dice("requests"), lookups: dice("lookups"), events: dice("events") }
    }

    /// What happens to the next order or cancel, and how much later than usual its answer is.
    pub fn request(&mut self) -> (RequestFault, Duration) {
        let faults = &self.faults;
        let retry_after = (faults.busy_retry_after_ms > 0).then(|| Duration::from_millis(faults.busy_retry_after_ms));
        let struck = [
            (faults.busy_per_mille, RequestFault::Busy { retry_after }),
            (faults.timeout_before_per_mille, RequestFault::TimeoutBefore),
            (faults.error_before_per_mille, RequestFault::ErrorBefore),
            (faults.timeout_after_per_mille, RequestFault::TimeoutAfter),
            (faults.error_after_per_mille, RequestFault::ErrorAfter),
        ]
        .map(|(probability, fault)| (strikes(&mut self.requests, probability), fault));
        let late = strikes(&mut self.requests, faults.delay_per_mille);
        let fault = struck.into_iter().find_map(|(strikes, fault)| strikes.then_some(fault));
        let delay = if late { faults.delay_ms } else { 0 };
        (fault.unwrap_or(RequestFault::None), Duration::from_millis(delay))
    }

    /// Whether the next look-up fails.
    pub fn lookup_fails(&mut self) -> bool {
        strikes(&mut self.lookups, self.faults.lookup_error_per_mille)
    }

    /// What happens to the next event.
    pub fn event(&mut self) -> EventFault {
        let struck = [
            (self.faults.event_lost_per_mille, EventFault::Lost),
            (self.faults.event_duplicated_per_mille, EventFault::Duplicated),
            (self.faults.event_reordered_per_mille, EventFault::Reordered),
        ]
        .map(|(probability, fault)| (strikes(&mut self.events, probability), fault));
        let fault = struck.into_iter().find_map(|(strikes, fault)| strikes.then_some(fault));
        fault.unwrap_or(EventFault::None)
    }
}

fn strikes(rng: &mut ChaCha8Rng, probability: PerMille) -> bool {
    probability.strikes(rng.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(json: &str) -> Faults {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn nothing_goes_wrong_by_default() {
        assert_eq!(faults("{}"), Faults::default());
        let mut dice = Dice::new(Faults::default(), 1, 0);
        for _ in 0..1000 {
            assert_eq!(dice.request(), (RequestFault::None, Duration::ZERO));
            assert_eq!(dice.event(), EventFault::None);
            assert!(!dice.lookup_fails());
        }
    }

    #[test]
    fn what_is_certain_always_strikes() {
        let certain = faults(r#"{"timeout_after_per_mille":1000,"delay_per_mille":1000,"delay_ms":7}"#);
        let mut dice = Dice::new(certain, 1, 0);
        for _ in 0..100 {
            assert_eq!(dice.request(), (RequestFault::TimeoutAfter, Duration::from_millis(7)));
        }
    }

    #[test]
    fn the_seed_decides_and_one_probability_moves_no_other_outcome() {
        let draws = |json: &str, seed| {
            let mut dice = Dice::new(faults(json), seed, 0);
            (0..500).map(|_| dice.request().0).collect::<Vec<_>>()
        };
        let plain = draws(r#"{"error_before_per_mille":300}"#, 1);
        assert_eq!(plain, draws(r#"{"error_before_per_mille":300}"#, 1));
        assert_ne!(plain, draws(r#"{"error_before_per_mille":300}"#, 2));
        let hits = plain.iter().filter(|fault| **fault == RequestFault::ErrorBefore).count();
        assert!((100..200).contains(&hits), "{hits}");
        let both = draws(r#"{"error_before_per_mille":300,"error_after_per_mille":300}"#, 1);
        assert!(plain.iter().zip(&both).all(|(a, b)| a == b || *b == RequestFault::ErrorAfter));
    }

    #[test]
    fn what_is_misspelt_or_impossible_is_refused() {
        for bad in [r#"{"timeouts":1}"#, r#"{"busy_per_mille":1001}"#, r#"{"reject_symbols":"a b"}"#] {
            assert!(serde_json::from_str::<Faults>(bad).is_err(), "{bad}");
        }
        assert_eq!(faults(r#"{"reject_symbols":"AAPL,MSFT"}"#).reject_symbols.len(), 2);
    }
}
