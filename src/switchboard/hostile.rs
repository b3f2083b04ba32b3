//! The reader of what other programs write into Redis, for values that none of them would.

use chrono::{DateTime, TimeDelta};
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::kill::{KillMode, KillState};
use tranche_actors::domain::switchboard::{Object, Told, breaker, kill};

use crate::hostile::done;

/// Both switches and an entry of the breaker's history, each from the same bytes.
///
/// # Panics
/// When what is written over such a value doesn't read back as what was meant.
pub fn values(bytes: &[u8]) {
    let now = DateTime::UNIX_EPOCH;
    if let Told::Is(told) = kill::read(Some(bytes)) {
        let held = KillState::default();
        done(kill::judge(&held, &told));
        let adopted = kill::adopt(&held, &told, KillMode::Cancel);
        done(kill::entry_of(&adopted, now));
        for state in [&adopted, &kill::release(&adopted, &told)] {
            let read = kill::read(Some(&kill::write(Some(bytes), state)));
            let is_meant = |read: &KillState| {
                (read.state, read.engaged_at, &read.engaged_by) == (state.state, state.engaged_at, &state.engaged_by)
            };
            assert!(read.known().is_some_and(is_meant), "{read:?} is not {state:?}");
        }
    }
    if let Told::Is(told) = breaker::read(Some(bytes)) {
        let held = BreakerState::default();
        done(breaker::judge(&held, &told));
        let adopted = breaker::adopt(&held, &told);
        done(breaker::entry(&adopted, now));
        done(breaker::entry_of(&adopted, now));
        for state in [&adopted, &breaker::release(&adopted, &told, now, TimeDelta::seconds(300))] {
            let read = breaker::read(Some(&breaker::write(Some(bytes), state)));
            let is_meant = |read: &BreakerState| {
                (read.state, read.tripped_at, &read.reset_by) == (state.state, state.tripped_at, &state.reset_by)
            };
            assert!(read.known().is_some_and(is_meant), "{read:?} is not {state:?}");
        }
    }
    // What we don't know stays as it was written.
    if breaker::completed(bytes, &BreakerState::default()).is_some() {
        assert!(Object::parse(bytes).is_some(), "what was completed can't be read");
    }
}
