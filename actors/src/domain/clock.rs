//! Whether the wall clock is to be believed: it moves with the clock that counts suspended time, or else somebody has set it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// By how much the wall clock may move against the other one, and differ from a broker's.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(1);

/// One look at both clocks. What is in between takes time, and a process may be frozen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The clock that counts suspended time, just before.
    pub before: Duration,
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// The clock that counts suspended time, just after.
    pub after: Duration,
}

impl Look {
    /// What the wall clock is ahead of the other one; the least and the most that it can be.
    fn lead(&self) -> (TimeDelta, TimeDelta) {
        let wall = self.wall - DateTime::UNIX_EPOCH;
        (wall - delta(self.after), wall - delta(self.before))
    }
}

/// How the wall clock stood to the other one when it was last believed, and how far it was found to have moved since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    lead: TimeDelta,
    moved: Option<TimeDelta>,
}

impl WallClock {
    /// It is believed as it is now.
    #[must_use]
    pub fn believed(look: &Look) -> Self {
        Self { lead: look.lead().1, moved: None }
    }

    /// Takes a look: by how much it moved, where that is more than the tolerance. Once it has moved it is in doubt, also when
    /// it goes back, until it is [`believed`](Self::believed) again.
    pub fn look(&mut self, look: &Look) -> Option<TimeDelta> {
        let (least, most) = look.lead();
        let moved = if least > self.lead {
            least - self.lead
        } else if most < self.lead {
            most - self.lead
        } else {
            TimeDelta::zero()
        };
        if moved.abs() > TOLERANCE {
            self.moved = Some(moved);
        }
        self.moved
    }
}

/// Whether our clock agrees with a broker's, which was read between these two times of ours.
#[must_use]
pub fn agrees(asked: DateTime<Utc>, theirs: DateTime<Utc>, answered: DateTime<Utc>) -> bool {
    asked - TOLERANCE <= theirs && theirs <= answered + TOLERANCE
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A look at a clock that was set by so many milliseconds, so long after the first one.
    fn look(at_ms: u64, set_ms: i64, took_ms: u64) -> Look {
        let start = "2026-11-21T14:30:00Z".parse::<DateTime<Utc>>().unwrap();
        let before = Duration::from_millis(5_000 + at_ms);
        let wall = start + delta(Duration::from_millis(at_ms + took_ms / 2)) + TimeDelta::milliseconds(set_ms);
        Look { before, wall, after: before + Duration::from_millis(took_ms) }
    }

    #[test]
    fn a_clock_that_is_set_by_more_than_a_second_is_in_doubt_until_it_is_believed_again() {
        let mut clock = WallClock::believed(&look(0, 0, 0));
        assert_eq!(clock.look(&look(86_400_000, 0, 0)), None, "a day of going on is no move");
        assert_eq!(clock.look(&look(86_400_100, 1_000, 0)), None, "a second is tolerated");
        assert_eq!(clock.look(&look(86_400_200, -1_000, 0)), None);
        assert_eq!(clock.look(&look(86_400_300, 1_001, 0)), Some(TimeDelta::milliseconds(1_001)));
        assert!(clock.look(&look(86_400_400, 0, 0)).is_some(), "it went back, and who knows where it is");
        let mut clock = WallClock::believed(&look(86_400_500, 1_001, 0));
        assert_eq!(clock.look(&look(86_400_600, 1_001, 0)), None);
        assert_eq!(clock.look(&look(86_400_700, -1, 0)), Some(TimeDelta::milliseconds(-1_002)));
    }

    #[test]
    fn small_steps_add_up() {
        let mut clock = WallClock::believed(&look(0, 0, 0));
        let found = (1..=20).find(|step| clock.look(&look(1_000, step * 100, 0)).is_some());
        assert_eq!(found, Some(11));
    }

    #[test]
    fn a_process_that_is_frozen_between_the_two_clocks_does_not_take_that_for_a_move() {
        let mut clock = WallClock::believed(&look(0, 0, 0));
        assert_eq!(clock.look(&look(1_000, 0, 60_000)), None);
        assert!(clock.look(&look(62_000, 40_000, 60_000)).is_some(), "beyond what that can be");
    }

    #[test]
    fn a_brokers_clock_may_differ_by_a_second_and_the_time_of_the_question() {
        let at = |seconds: i64| look(0, seconds * 1_000, 0).wall;
        assert!(agrees(at(10), at(9), at(12)) && agrees(at(10), at(11), at(12)) && agrees(at(10), at(13), at(12)));
        assert!(!agrees(at(10), at(8), at(12)) && !agrees(at(10), at(14), at(12)));
    }

    proptest! {
        #[test]
        fn only_what_is_set_moves_it(at_ms in 0_u64..1_000_000_000, set_ms in -5_000_i64..5_000, took_ms in 0_u64..100) {
            let mut clock = WallClock::believed(&look(0, 0, 0));
            let found = clock.look(&look(at_ms, set_ms, took_ms)).is_some();
            prop_assert!(found || set_ms.abs() <= 1_100);
            prop_assert!(!found || set_ms.abs() > 1_000);
        }
    }
}
