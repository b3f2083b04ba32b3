//! The kill switch on the board: `kill_switch:state`, `kill_switch:history`.

use serde_json::{Value, json};

use super::Told;
use super::object::{Object, maybe, stamp};
use crate::domain::kill::{KillMode, KillState, KillWord};
use crate::domain::ledger::SwitchEntry;

/// What to make of what the board says, beside what we hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KillVerdict {
    /// Both say the same.
    Agrees,
    /// Another program has engaged it: that becomes the engagement that we hold.
    Engages(KillState),
    /// It says that an engagement is in force which we know as released: stopped for as long as it says so.
    Relapses(KillState),
    /// Another program has released the engagement that we hold.
    Releases(KillState),
    /// It says that trading may go on, and that is no release of what we hold: it has to be told.
    Contradicts,
}

/// Reads the value of the key.
#[must_use]
pub fn read(bytes: Option<&[u8]>) -> Told<KillState> {
    let Some(bytes) = bytes else { return Told::Missing };
    let Some(object) = Object::parse(bytes) else { return Told::Unreadable("its key holds no JSON object") };
    let Some(state) = object.text("state").as_deref().and_then(KillWord::from_word) else {
        return Told::Unreadable("its key holds neither ACTIVE nor ENGAGED");
    };
    Told::Is(KillState {
        state,
        engaged_at: object.time("engaged_at"),
        engaged_by: object.text("engaged_by"),
        engagement_reason: object.text("engagement_reason"),
        engagement_details: object.value("engagement_details"),
        disengaged_at: object.time("disengaged_at"),
        disengaged_by: object.text("disengaged_by"),
        disengagement_notes: object.text("disengagement_notes"),
        engagement_count_today: object.count("engagement_count_today").unwrap_or(0),
        ..KillState::default()
    })
}

/// The value that says this state, written over what stands there.
#[must_use]
pub fn write(over: Option<&[u8]>, state: &KillState) -> Vec<u8> {
    let mut object = over.and_then(Object::parse).unwrap_or_default();
    let fields = [
        ("state", json!(state.state)),
        ("engaged_at", maybe(state.engaged_at, stamp)),
        ("engaged_by", json!(state.engaged_by)),
        ("engagement_reason", json!(state.engagement_reason)),
        ("engagement_details", json!(state.engagement_details)),
        ("disengaged_at", maybe(state.disengaged_at, stamp)),
        ("disengaged_by", json!(state.disengaged_by)),
        ("disengagement_notes", json!(state.disengagement_notes)),
        ("engagement_count_today", json!(state.engagement_count_today)),
    ];
    for (name, value) in fields {
        object.set(name, &value);
    }
    object.bytes()
}

/// An entry of the history.
#[must_use]
pub fn entry(state: KillWord, entry: &SwitchEntry) -> Vec<u8> {
    let SwitchEntry { timestamp, operator, reason, details, .. } = entry;
    let value = match state {
        KillWord::Engaged => json!({
            "event": "ENGAGED", "timestamp": stamp(*timestamp), "operator": operator, "reason": reason, "details": details,
        }),
        KillWord::Active => json!({
            "event": "DISENGAGED", "timestamp": stamp(*timestamp), "operator": operator, "notes": reason,
        }),
    };
    value.to_string().into_bytes()
}

/// Judges what the board says.
#[must_use]
pub fn judge(held: &KillState, told: &KillState) -> KillVerdict {
    let same = held.engaged_at == told.engaged_at;
    match (held.state, told.state) {
        (KillWord::Active, KillWord::Active) => KillVerdict::Agrees,
        (KillWord::Active, KillWord::Engaged) if same && held.engaged_at.is_some() => {
            KillVerdict::Relapses(told.clone())
        }
        (KillWord::Engaged, KillWord::Engaged) if same => KillVerdict::Agrees,
        (KillWord::Active | KillWord::Engaged, KillWord::Engaged) => KillVerdict::Engages(told.clone()),
        (KillWord::Engaged, KillWord::Active) => {
            let is_release =
                same && told.engaged_at.is_some() && told.disengaged_at.is_some() && told.disengaged_by.is_some();
            if is_release { KillVerdict::Releases(told.clone()) } else { KillVerdict::Contradicts }
        }
    }
}

/// The state after another program engaged the switch. What the format has no field for is ours to say; an engagement
/// that was in force becomes no milder by it.
#[must_use]
pub fn adopt(held: &KillState, told: &KillState, mode: KillMode) -> KillState {
    let mode = if held.is_engaged() { held.mode.max(Some(mode)) } else { Some(mode) };
    let engagement_id = Some(told.id_of_engagement());
    KillState { mode, engagement_id, revision: held.next_revision(), counted_on: held.counted_on, ..told.clone() }
}

/// The state after another program released what we hold.
#[must_use]
pub fn release(held: &KillState, told: &KillState) -> KillState {
    KillState {
        state: KillWord::Active,
        disengaged_at: told.disengaged_at,
        disengaged_by: told.disengaged_by.clone(),
        disengagement_notes: told.disengagement_notes.clone(),
        revision: held.next_revision(),
        ..held.clone()
    }
}

/// What the database's history says of a state that came from the board.
#[must_use]
pub fn entry_of(state: &KillState, otherwise: chrono::DateTime<chrono::Utc>) -> SwitchEntry {
    let shared = Some(json!({"source": "redis"}));
    match state.state {
        KillWord::Engaged => SwitchEntry {
            event: "ENGAGED".to_owned(),
            timestamp: state.engaged_at.unwrap_or(otherwise),
            operator: state.engaged_by.clone().unwrap_or_default(),
            reason: state.engagement_reason.clone(),
            details: state.engagement_details.clone().map_or(shared, |details: Value| Some(details)),
        },
        KillWord::Active => SwitchEntry {
            event: "DISENGAGED".to_owned(),
            timestamp: state.disengaged_at.unwrap_or(otherwise),
            operator: state.disengaged_by.clone().unwrap_or_default(),
            reason: state.disengagement_notes.clone(),
            details: shared,
        },
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Option<DateTime<chrono::Utc>> {
        DateTime::from_timestamp_micros(micros)
    }

    prop_compose! {
        fn states()(
            engaged in any::<bool>(),
            times in proptest::array::uniform2(proptest::option::of(0_i64..4)),
            texts in proptest::array::uniform3(proptest::option::of("[a-zäü\"\\\\ ]{0,6}")),
            count in 0_u32..9,
        ) -> KillState {
            let [engaged_at, disengaged_at] = times.map(|time| time.and_then(|n| at(1_700_000_000_000_001 * n)));
            let [engaged_by, disengaged_by, reason] = texts;
            KillState {
                state: if engaged { KillWord::Engaged } else { KillWord::Active },
                engaged_at, disengaged_at, engaged_by, disengaged_by,
                engagement_reason: reason.clone(), disengagement_notes: reason,
                engagement_details: engaged.then(|| json!({"a": [1, "ü"]})),
                engagement_count_today: count,
                ..KillState::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_whatever_stood_there(state in states(), before in states()) {
            let over = write(Some(br#"{"own":1e400,"state":"AJAR","engaged_at":7}"#), &before);
            let bytes = write(Some(&over), &state);
            prop_assert_eq!(read(Some(&bytes)), Told::Is(state.clone()));
            prop_assert!(bytes.starts_with(b"{\"own\":1e400,"), "theirs stays");
            prop_assert_eq!(read(Some(&write(None, &state))), Told::Is(state.clone()));
        }

        #[test]
        fn the_stricter_counts_and_only_a_release_of_what_is_held_releases(held in states(), told in states()) {
            let is_release = held.is_engaged() && !told.is_engaged() && held.engaged_at.is_some()
                && held.engaged_at == told.engaged_at && told.disengaged_at.is_some() && told.disengaged_by.is_some();
            let verdict = judge(&held, &told);
            prop_assert_eq!(is_release, matches!(&verdict, KillVerdict::Releases(_)));
            if told.is_engaged() && !held.is_engaged() {
                let stops = matches!(&verdict, KillVerdict::Engages(_) | KillVerdict::Relapses(_));
                prop_assert!(stops, "{:?}", verdict);
                prop_assert!(adopt(&held, &told, KillMode::Halt).is_engaged());
            }
            if held.is_engaged() && !told.is_engaged() && !is_release {
                prop_assert_eq!(verdict, KillVerdict::Contradicts);
            }
        }
    }

    #[test]
    fn what_is_no_state_is_unreadable() {
        assert_eq!(read(None), Told::Missing);
        for bytes in [
            &b""[..],
            b"null",
            b"[]",
            b"{}",
            b"{\"state\":null}",
            b"{\"state\":\"engaged\"}",
            b"\xff",
            b"{\"state\":\"ACTIVE\"",
        ] {
            assert!(matches!(read(Some(bytes)), Told::Unreadable(_)), "{bytes:?}");
        }
        let odd =
            read(Some(br#"{"state":"ENGAGED","engaged_at":"yesterday","engaged_by":5,"engagement_count_today":-1}"#));
        assert!(odd.known().is_some_and(KillState::is_engaged), "what stops is obeyed, however oddly it is said");
    }
}
