//! The circuit breaker as a value: how it trips, how it is reset, and how broker errors add up.
//!
//! On the wire the states have the words of the stack's Redis protocol, where `OPEN` means that trading is allowed; in
//! code they are `Allowing`, `Tripped` and `Quiet`, so that nobody reads OPEN the electrician's way.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::text::words;

/// Fewest characters of the reason of a reset.
pub const MIN_RESET_REASON: usize = 20;
/// The reason of a trip by broker errors.
pub const BROKER_ERRORS: &str = "BROKER_ERRORS";
/// The reason of a trip by a position that differs from the broker's.
pub const POSITION_MISMATCH: &str = "POSITION_MISMATCH";

words!(
    /// The state of the breaker.
    BreakerWord {
        /// Trading is allowed.
        Allowing = "OPEN",
        /// Trading is stopped until an operator resets it.
        Tripped = "TRIPPED",
        /// Reset a moment ago: entries stay blocked until the period ends.
        Quiet = "QUIET_PERIOD",
    }
);

/// The breaker's state. Its fields but for the last five are those of the stack's Redis protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerState {
    /// Allowing, tripped or quiet.
    pub state: BreakerWord,
    /// When it last tripped.
    pub tripped_at: Option<DateTime<Utc>>,
    /// Why.
    pub trip_reason: Option<String>,
    /// Anything else that was said.
    pub trip_details: Option<Value>,
    /// When it was last reset.
    pub reset_at: Option<DateTime<Utc>>,
    /// By whom, as given.
    pub reset_by: Option<String>,
    /// How often it tripped in the trading day of `counted_on`.
    pub trip_count_today: u32,
    /// The trading day that the count is of.
    pub counted_on: Option<NaiveDate>,
    /// When the quiet period ends.
    pub quiet_until: Option<DateTime<Utc>>,
    /// Whether the shared switchboard was seen holding this trip: only then can another program's reset be a reset of it.
    #[serde(default)]
    pub seen_on_board: bool,
    /// The time of the last reset that was known when it tripped.
    #[serde(default)]
    pub reset_before: Option<DateTime<Utc>>,
    /// Grows by one with every change, so that of two writers who saw the same state one is told.
    #[serde(default)]
    pub revision: u64,
}

/// What becomes of a state that was to be written where the breaker has moved meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebased {
    /// A trip stands there already.
    Stands(BreakerState),
    /// It has to be written so.
    Write(BreakerState),
    /// What was found counts.
    Yields,
}

/// Why a reset was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResetRefused {
    /// There is nothing to reset.
    #[error("the circuit breaker is not tripped")]
    NotTripped,
    /// A reset needs words that explain it.
    #[error("a reset needs a reason of at least {MIN_RESET_REASON} characters")]
    ReasonTooShort,
}

impl Default for BreakerState {
    /// The state that a new database starts with.
    fn default() -> Self {
        Self {
            state: BreakerWord::Allowing,
            tripped_at: None,
            trip_reason: None,
            trip_details: None,
            reset_at: None,
            reset_by: None,
            trip_count_today: 0,
            counted_on: None,
            quiet_until: None,
            seen_on_board: false,
            reset_before: None,
            revision: 0,
        }
    }
}

impl BreakerState {
    /// The state after a trip; `None` if it is tripped already, for a trip is idempotent.
    #[must_use]
    pub fn trip(&self, reason: &str, details: Option<Value>, at: DateTime<Utc>, today: NaiveDate) -> Option<Self> {
        match self.state {
            BreakerWord::Tripped => None,
            BreakerWord::Allowing | BreakerWord::Quiet => Some(self.trip_anew(reason, details, at, today)),
        }
    }

    /// A new trip, whatever was in force before.
    #[must_use]
    pub fn trip_anew(&self, reason: &str, details: Option<Value>, at: DateTime<Utc>, today: NaiveDate) -> Self {
        let earlier_today = if self.counted_on == Some(today) { self.trip_count_today } else { 0 };
        Self {
            state: BreakerWord::Tripped,
            tripped_at: Some(at),
            trip_reason: Some(reason.to_owned()),
            trip_details: details,
            reset_at: None,
            reset_by: None,
            trip_count_today: earlier_today.saturating_add(1),
            counted_on: Some(today),
            quiet_until: None,
            seen_on_board: false,
            reset_before: self.reset_at.or(self.reset_before),
            revision: self.next_revision(),
        }
    }

    /// The state after an operator's reset: quiet for a while, or allowing at once where the period is zero.
    ///
    /// # Errors
    /// When it isn't tripped, or the reason says too little.
    pub fn reset(&self, by: &str, reason: &str, at: DateTime<Utc>, quiet: TimeDelta) -> Result<Self, ResetRefused> {
        if reason.trim().chars().count() < MIN_RESET_REASON {
            return Err(ResetRefused::ReasonTooShort);
        }
        match self.state {
            BreakerWord::Allowing | BreakerWord::Quiet => Err(ResetRefused::NotTripped),
            BreakerWord::Tripped => {
                let is_quiet = quiet > TimeDelta::zero();
                Ok(Self {
                    state: if is_quiet { BreakerWord::Quiet } else { BreakerWord::Allowing },
                    reset_at: Some(at),
                    reset_by: Some(by.to_owned()),
                    quiet_until: is_quiet.then(|| at + quiet),
                    revision: self.next_revision(),
                    ..self.clone()
                })
            }
        }
    }

    /// The state once the quiet period has ended; `None` while nothing changes.
    #[must_use]
    pub fn settled(&self, at: DateTime<Utc>) -> Option<Self> {
        let over = self.state == BreakerWord::Quiet && self.quiet_until.is_none_or(|until| until <= at);
        over.then(|| Self {
            state: BreakerWord::Allowing,
            quiet_until: None,
            revision: self.next_revision(),
            ..self.clone()
        })
    }

    /// Whether they differ in nothing but how often they were written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        *self == Self { revision: self.revision, ..other.clone() }
    }

    /// What becomes of this state, with what was found in its place. A trip that insists was in force before, and came
    /// again while its reset was on its way.
    #[must_use]
    pub fn rebased_on(&self, found: &Self, insists: bool) -> Rebased {
        match (self.state, found.state) {
            (BreakerWord::Tripped, BreakerWord::Tripped) if self.seen_on_board <= found.seen_on_board => {
                Rebased::Stands(found.clone())
            }
            (BreakerWord::Tripped, BreakerWord::Tripped) => {
                Rebased::Write(Self { seen_on_board: true, revision: found.next_revision(), ..found.clone() })
            }
            (BreakerWord::Tripped, BreakerWord::Allowing | BreakerWord::Quiet) => {
                if self.tripped_at == found.tripped_at && !insists {
                    Rebased::Yields
                } else {
                    Rebased::Write(Self { revision: found.next_revision(), ..self.clone() })
                }
            }
            // A quiet period ends once, whoever says so first.
            (
                BreakerWord::Allowing | BreakerWord::Quiet,
                BreakerWord::Allowing | BreakerWord::Quiet | BreakerWord::Tripped,
            ) => Rebased::Yields,
        }
    }

    /// What becomes of this reset, with what was found in its place. Where the breaker was unknown, no trip may be reset.
    #[must_use]
    pub fn reset_on(&self, found: &Self, is_known: bool) -> Rebased {
        let same = is_known && self.tripped_at == found.tripped_at;
        let moved =
            |seen_on_board| Rebased::Write(Self { seen_on_board, revision: found.next_revision(), ..self.clone() });
        match found.state {
            // Somebody else wrote it first.
            BreakerWord::Allowing | BreakerWord::Quiet if same => Rebased::Stands(found.clone()),
            BreakerWord::Allowing | BreakerWord::Quiet if !is_known => moved(self.seen_on_board),
            BreakerWord::Tripped if same => moved(found.seen_on_board),
            BreakerWord::Allowing | BreakerWord::Quiet | BreakerWord::Tripped => Rebased::Yields,
        }
    }

    /// The revision of what follows this state.
    #[must_use]
    pub const fn next_revision(&self) -> u64 {
        self.revision.saturating_add(1)
    }
}

/// When broker errors trip the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRule {
    /// Whether they do at all.
    pub enabled: bool,
    /// Over which time the share is taken.
    pub window: Duration,
    /// Fewest answers in the window before the share counts.
    pub min_count: usize,
    /// The share of errors, in percent, that trips.
    pub share_percent: usize,
    /// This many errors one after the other trip whatever the share.
    pub consecutive: usize,
}

/// The broker's answers of late: errors are time-outs, refused connections and errors of the broker's own; a rejection
/// is an answer like any other.
#[derive(Clone, Debug, Default)]
pub struct ErrorWindow {
    answers: VecDeque<(Duration, bool)>,
    errors: usize,
    run: usize,
}

impl ErrorWindow {
    /// Takes note of an answer at `now` on the monotonic clock, and says whether the rule is broken now.
    pub fn note(&mut self, is_error: bool, now: Duration, rule: &ErrorRule) -> bool {
        if !rule.enabled {
            return false;
        }
        while self.answers.front().is_some_and(|(at, _)| now.saturating_sub(*at) > rule.window) {
            if let Some((_, true)) = self.answers.pop_front() {
                self.errors -= 1;
            }
        }
        self.answers.push_back((now, is_error));
        self.errors += usize::from(is_error);
        self.run = if is_error { self.run + 1 } else { 0 };
        let share_broken =
            self.answers.len() >= rule.min_count && self.errors * 100 >= rule.share_percent * self.answers.len();
        is_error && (share_broken || self.run >= rule.consecutive)
    }

    /// Forgets everything, as after a trip.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn rule() -> ErrorRule {
        ErrorRule { enabled: true, window: Duration::from_secs(60), min_count: 10, share_percent: 50, consecutive: 5 }
    }

    const REASON: &str = "the venue is back and was checked";

    #[test]
    fn the_states_follow_each_other() {
        let allowing = BreakerState::default();
        let quiet = TimeDelta::seconds(300);
        let today = at(0).date_naive();
        assert_eq!(allowing.reset("ops", REASON, at(0), quiet), Err(ResetRefused::NotTripped));
        let tripped = allowing.trip("MANUAL", None, at(1), today).unwrap();
        assert_eq!(tripped.trip("MANUAL", None, at(2), today), None);
        assert_eq!(tripped.reset("ops", "too short", at(3), quiet), Err(ResetRefused::ReasonTooShort));
        let resting = tripped.reset("ops", REASON, at(10), quiet).unwrap();
        assert_eq!(resting.state, BreakerWord::Quiet);
        assert_eq!(resting.settled(at(309)), None);
        assert_eq!(resting.settled(at(310)).unwrap().state, BreakerWord::Allowing);
        let again = resting.trip("DATA_STALE", None, at(20), today).unwrap();
        assert_eq!((again.state, again.trip_count_today), (BreakerWord::Tripped, 2));
        assert_eq!(again.reset("ops", REASON, at(30), TimeDelta::zero()).unwrap().state, BreakerWord::Allowing);
        assert_eq!(resting.trip("MANUAL", None, at(20), today.succ_opt().unwrap()).unwrap().trip_count_today, 1);
    }

    #[test]
    fn errors_in_a_row_trip_and_a_good_answer_ends_the_row() {
        let mut window = ErrorWindow::default();
        let second = Duration::from_secs(1);
        for _ in 0..4 {
            assert!(!window.note(true, second, &rule()));
        }
        assert!(!window.note(false, second, &rule()));
        for _ in 0..4 {
            assert!(!window.note(true, second, &rule()));
        }
        assert!(window.note(true, second, &rule()));
    }

    proptest! {
        #[test]
        fn the_window_counts_what_it_holds(answers in proptest::collection::vec((any::<bool>(), 0_u64..20), 1..80)) {
            let mut window = ErrorWindow::default();
            let mut now = 0;
            let mut all: Vec<(u64, bool)> = Vec::new();
            for (is_error, step) in answers {
                now += step;
                all.push((now, is_error));
                let tripped = window.note(is_error, Duration::from_secs(now), &rule());
                let recent = all.iter().filter(|(at, _)| now - at <= 60).collect::<Vec<_>>();
                let errors = recent.iter().filter(|(_, error)| *error).count();
                let run = all.iter().rev().take_while(|(_, error)| *error).count();
                let share = recent.len() >= 10 && errors * 2 >= recent.len();
                prop_assert_eq!(tripped, is_error && (share || run >= 5));
            }
        }
    }
}
