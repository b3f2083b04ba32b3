//! The circuit breaker on the board: `circuit_breaker:state`, `circuit_breaker:trip_history`.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::Told;
use super::object::{Object, maybe, stamp};
use crate::domain::breaker::{BreakerState, BreakerWord};
use crate::domain::ledger::SwitchEntry;

/// What to make of what the board says, beside what we hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreakerVerdict {
    /// Both say the same, or what is allowed to differ.
    Agrees,
    /// It holds our trip, and was not seen doing so before.
    Holds,
    /// Another program has tripped it, perhaps in the place of our trip.
    Trips(BreakerState),
    /// It says that a trip is in force which we know as reset: stopped for as long as it says so.
    Relapses(BreakerState),
    /// Another program has reset the trip that we hold, if the time of the reset is new.
    Resets(BreakerState),
    /// It says that trading may go on, and that is no reset of what we hold: it has to be told.
    Contradicts,
    /// Our quiet period is over, and it has not been told so yet.
    Lags,
}

/// Reads the value of the key.
#[must_use]
pub fn read(bytes: Option<&[u8]>) -> Told<BreakerState> {
    let Some(bytes) = bytes else { return Told::Missing };
    let Some(object) = Object::parse(bytes) else { return Told::Unreadable("its key holds no JSON object") };
    let Some(state) = object.text("state").as_deref().and_then(BreakerWord::from_word) else {
        return Told::Unreadable("its key holds none of OPEN, TRIPPED and QUIET_PERIOD");
    };
    Told::Is(BreakerState {
        state,
        tripped_at: object.time("tripped_at"),
        trip_reason: object.text("trip_reason"),
        trip_details: object.value("trip_details"),
        reset_at: object.time("reset_at"),
        reset_by: object.text("reset_by"),
        trip_count_today: object.count("trip_count_today").unwrap_or(0),
        ..BreakerState::default()
    })
}

/// The value that says this state, written over what stands there.
#[must_use]
pub fn write(over: Option<&[u8]>, state: &BreakerState) -> Vec<u8> {
    let mut object = over.and_then(Object::parse).unwrap_or_default();
    let fields = [
        ("state", json!(state.state)),
        ("tripped_at", maybe(state.tripped_at, stamp)),
        ("trip_reason", json!(state.trip_reason)),
        ("trip_details", json!(state.trip_details)),
        ("reset_at", maybe(state.reset_at, stamp)),
        ("reset_by", json!(state.reset_by)),
        ("trip_count_today", json!(state.trip_count_today)),
    ];
    for (name, value) in fields {
        object.set(name, &value);
    }
    object.bytes()
}

/// The entry of a trip, and its score.
#[must_use]
pub fn entry(state: &BreakerState, otherwise: DateTime<Utc>) -> (Vec<u8>, String) {
    let at = state.tripped_at.unwrap_or(otherwise);
    let value = json!({
        "tripped_at": stamp(at), "reason": state.trip_reason, "details": state.trip_details,
        "reset_at": null, "reset_by": null,
    });
    (value.to_string().into_bytes(), format!("{}.{:06}", at.timestamp(), at.timestamp_subsec_micros()))
}

/// The newest entry, completed by a reset; `None` where it is complete already, or can't be read.
#[must_use]
pub fn completed(newest: &[u8], state: &BreakerState) -> Option<Vec<u8>> {
    let mut object = Object::parse(newest)?;
    if object.value("reset_at").is_some() {
        return None;
    }
    object.set("reset_at", &maybe(state.reset_at, stamp));
    object.set("reset_by", &json!(state.reset_by));
    Some(object.bytes())
}

/// Judges what the board says at this time.
#[must_use]
pub fn judge(held: &BreakerState, told: &BreakerState) -> BreakerVerdict {
    let same = held.tripped_at.is_some() && held.tripped_at == told.tripped_at;
    match (held.state, told.state) {
        (BreakerWord::Tripped, BreakerWord::Tripped) if held.tripped_at != told.tripped_at => {
            BreakerVerdict::Trips(told.clone())
        }
        (BreakerWord::Tripped, BreakerWord::Tripped) if held.seen_on_board => BreakerVerdict::Agrees,
        (BreakerWord::Tripped, BreakerWord::Tripped) => BreakerVerdict::Holds,
        (BreakerWord::Allowing | BreakerWord::Quiet, BreakerWord::Tripped) if same => {
            BreakerVerdict::Relapses(told.clone())
        }
        (BreakerWord::Allowing | BreakerWord::Quiet, BreakerWord::Tripped) => BreakerVerdict::Trips(told.clone()),
        (BreakerWord::Tripped, BreakerWord::Allowing | BreakerWord::Quiet) => {
            let is_reset = held.seen_on_board
                && told.reset_by.is_some()
                && told.reset_at.is_some()
                && told.reset_at != held.reset_before;
            if is_reset { BreakerVerdict::Resets(told.clone()) } else { BreakerVerdict::Contradicts }
        }
        (BreakerWord::Allowing, BreakerWord::Quiet) if held.reset_at == told.reset_at => BreakerVerdict::Lags,
        // Others read a quiet period as open, and need not keep ours.
        (BreakerWord::Allowing | BreakerWord::Quiet, BreakerWord::Allowing | BreakerWord::Quiet) => {
            BreakerVerdict::Agrees
        }
    }
}

/// The state after another program tripped it.
#[must_use]
pub fn adopt(held: &BreakerState, told: &BreakerState) -> BreakerState {
    BreakerState {
        seen_on_board: true,
        reset_before: held.reset_at.or(held.reset_before),
        revision: held.next_revision(),
        counted_on: held.counted_on,
        quiet_until: None,
        ..told.clone()
    }
}

/// The state after another program reset what we hold: quiet only if that program says so, and for as long as ours are.
#[must_use]
pub fn release(held: &BreakerState, told: &BreakerState, now: DateTime<Utc>, quiet: TimeDelta) -> BreakerState {
    let is_quiet = told.state == BreakerWord::Quiet && quiet > TimeDelta::zero();
    BreakerState {
        state: if is_quiet { BreakerWord::Quiet } else { BreakerWord::Allowing },
        reset_at: told.reset_at,
        reset_by: told.reset_by.clone(),
        quiet_until: is_quiet.then(|| now + quiet),
        revision: held.next_revision(),
        ..held.clone()
    }
}

/// What the database's history says of a state that came from the board.
#[must_use]
pub fn entry_of(state: &BreakerState, otherwise: DateTime<Utc>) -> SwitchEntry {
    let details = Some(json!({"source": "redis"}));
    match state.state {
        BreakerWord::Tripped => SwitchEntry {
            event: "TRIPPED".to_owned(),
            timestamp: state.tripped_at.unwrap_or(otherwise),
            operator: "redis".to_owned(),
            reason: state.trip_reason.clone(),
            details: state.trip_details.clone().or(details),
        },
        BreakerWord::Allowing | BreakerWord::Quiet => SwitchEntry {
            event: "RESET".to_owned(),
            timestamp: state.reset_at.unwrap_or(otherwise),
            operator: state.reset_by.clone().unwrap_or_default(),
            reason: None,
            details,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn states()(
            word in proptest::sample::select(BreakerWord::ALL),
            times in proptest::array::uniform3(proptest::option::of(1_i64..4)),
            texts in proptest::array::uniform2(proptest::option::of("[a-zä ]{0,5}")),
            seen_on_board in any::<bool>(),
        ) -> BreakerState {
            let [tripped_at, reset_at, reset_before] =
                times.map(|time| time.and_then(|n| DateTime::from_timestamp_micros(1_700_000_000_000_001 * n)));
            let [trip_reason, reset_by] = texts;
            BreakerState {
                state: word, tripped_at, reset_at, reset_before, trip_reason, reset_by, seen_on_board, ..BreakerState::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_whatever_stood_there(state in states(), before in states()) {
            let bytes = write(Some(&write(Some(b"{\"own\":[ ]}"), &before)), &state);
            let expected = BreakerState { seen_on_board: false, reset_before: None, ..state };
            prop_assert_eq!(read(Some(&bytes)), Told::Is(expected));
            prop_assert!(bytes.starts_with(b"{\"own\":[ ],"), "theirs stays");
        }

        #[test]
        fn only_a_reset_of_a_trip_that_was_there_resets(held in states(), told in states()) {
            let is_tripped = |state: &BreakerState| state.state == BreakerWord::Tripped;
            let resets = is_tripped(&held) && !is_tripped(&told) && held.seen_on_board && told.reset_by.is_some()
                && told.reset_at.is_some() && told.reset_at != held.reset_before;
            let verdict = judge(&held, &told);
            prop_assert_eq!(resets, matches!(&verdict, BreakerVerdict::Resets(_)));
            if is_tripped(&told) && !is_tripped(&held) {
                let stops = matches!(&verdict, BreakerVerdict::Trips(_) | BreakerVerdict::Relapses(_));
                prop_assert!(stops, "{:?}", verdict);
            }
        }

        #[test]
        fn a_reset_completes_an_entry_once(state in states(), at in 1_i64..9) {
            let reset_at = DateTime::from_timestamp(at, 0);
            let by = BreakerState { reset_at, reset_by: Some("Bob".to_owned()), ..state.clone() };
            let (entry, score) = entry(&state, DateTime::UNIX_EPOCH);
            prop_assert!(score.contains('.'));
            let done = completed(&entry, &by).unwrap();
            prop_assert_eq!(Object::parse(&done).unwrap().text("reset_by"), Some("Bob".to_owned()));
            prop_assert_eq!(completed(&done, &by), None);
        }
    }
}
