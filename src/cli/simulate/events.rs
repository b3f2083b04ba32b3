//! `[[events]]` of a scenario's file: what happens at its time, besides what clients ask.

use std::time::Duration;

use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::kill::KillMode;
use tranche_simulation::faults::{Fault, FaultKind};

use super::file::LONGEST_S;
use crate::http::fields::{Choice, Fields};

/// How long a process is down that nobody says more about.
const RESTART: Duration = Duration::from_secs(1);
/// How far a wall clock can be set, in seconds.
const FARTHEST_S: u32 = 3_600;

/// What can happen.
#[derive(Clone, Copy)]
enum What {
    Crash,
    ActorDies,
    KillSwitch,
    Breaker,
    StreamEnds,
    StoreDown,
    VenueDown,
    VenueSilent,
    Suspended,
    ClockForward,
    ClockBack,
}

const WHATS: Choice<What> = Choice {
    all: &[
        What::Crash,
        What::ActorDies,
        What::KillSwitch,
        What::Breaker,
        What::StreamEnds,
        What::StoreDown,
        What::VenueDown,
        What::VenueSilent,
        What::Suspended,
        What::ClockForward,
        What::ClockBack,
    ],
    word: What::word,
    designed: &[],
};
const MODES: Choice<KillMode> = Choice { all: KillMode::ALL, word: KillMode::as_str, designed: &[] };

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::ActorDies => "actor_dies",
            Self::KillSwitch => "kill_switch",
            Self::Breaker => "breaker",
            Self::StreamEnds => "stream_ends",
            Self::StoreDown => "store_down",
            Self::VenueDown => "venue_down",
            Self::VenueSilent => "venue_silent",
            Self::Suspended => "suspended",
            Self::ClockForward => "clock_forward",
            Self::ClockBack => "clock_back",
        }
    }

    /// Whether it has to be said how long it lasts.
    const fn lasts(self) -> bool {
        match self {
            Self::KillSwitch
            | Self::Breaker
            | Self::StoreDown
            | Self::VenueDown
            | Self::VenueSilent
            | Self::Suspended
            | Self::ClockForward
            | Self::ClockBack => true,
            Self::Crash | Self::ActorDies | Self::StreamEnds => false,
        }
    }

    /// What goes wrong then: more than one thing, where something is down as a whole.
    fn kinds(self, lasts: Duration, mode: KillMode) -> Vec<FaultKind> {
        let millis = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        match self {
            Self::Crash => vec![FaultKind::Crash(0, lasts)],
            Self::ActorDies => vec![FaultKind::ActorDies(0)],
            Self::KillSwitch => vec![FaultKind::Engaged(mode, 0, lasts)],
            Self::Breaker => vec![FaultKind::Tripped(lasts)],
            Self::StreamEnds => vec![FaultKind::StreamEnds],
            Self::StoreDown => FaultKind::store_down(lasts).collect(),
            Self::VenueDown => FaultKind::venue_down(lasts).collect(),
            Self::VenueSilent => FaultKind::venue_silent(lasts).collect(),
            Self::Suspended => vec![FaultKind::Suspended(lasts)],
            Self::ClockForward => vec![FaultKind::ClockSet(millis)],
            Self::ClockBack => vec![FaultKind::ClockSet(-millis)],
        }
    }
}

/// What one event comes to.
pub(super) struct Event {
    /// What goes wrong.
    pub(super) faults: Vec<Fault>,
    /// How much later than planned work may be done because of it.
    pub(super) costs: Duration,
}

/// Reads one event.
pub(super) fn event(mut fields: Fields<'_>) -> Result<Event, Vec<FieldError>> {
    fields.require("what");
    let at = fields.seconds("at_s", LONGEST_S).unwrap_or_default();
    let what = fields.choice("what", &WHATS);
    let takes_no_time = matches!(what, Some(What::StreamEnds | What::ActorDies));
    if takes_no_time && fields.given("for_s") {
        fields.fault("for_s", "wrong_combination", "is not taken by this event, which happens at once");
    }
    if what.is_some_and(What::lasts) {
        fields.require("for_s");
    }
    let is_clock = matches!(what, Some(What::ClockForward | What::ClockBack));
    let lasts = fields.seconds("for_s", if is_clock { FARTHEST_S } else { LONGEST_S });
    if what.is_some() && !matches!(what, Some(What::KillSwitch)) && fields.given("mode") {
        fields.fault("mode", "wrong_combination", "is taken by kill_switch only");
    }
    let mode = fields.choice("mode", &MODES).unwrap_or(KillMode::Cancel);
    let lasts = lasts.unwrap_or(RESTART);
    let event = what.map(|what| {
        let faults = what.kinds(lasts, mode).into_iter().map(|kind| Fault { at, kind }).collect();
        Event { faults, costs: if is_clock { Duration::ZERO } else { lasts } }
    });
    fields.finish(event)
}
