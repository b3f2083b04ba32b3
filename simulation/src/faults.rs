//! What goes wrong in a scenario, each thing at its time, so that it can be switched off by itself.

use std::fmt;
use std::time::Duration;

use tranche_actors::domain::kill::KillMode;
use tranche_actors::market::faults::{EventFault, RequestFault};
use tranche_actors::ports::Entropy;

use crate::clock::Seeded;
use crate::life::Death;
use crate::store::CommitFault;
use crate::venue::Fate;

/// One fault.
#[derive(Clone, Debug)]
pub struct Fault {
    /// When, from the start of the scenario.
    pub at: Duration,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum FaultKind {
    /// The next submission has this fate.
    Submission(Fate),
    /// The next submission that is to replace an order has this fate.
    Replacement(Fate),
    /// The next cancel has this fault.
    Cancel(RequestFault),
    /// The next event of the venue has this fault.
    Event(EventFault),
    /// The next commit has this fault.
    Commit(CommitFault),
    /// A method of the store fails for so long.
    StoreFails(&'static str, Duration),
    /// A method of the venue answers with errors for so long.
    VenueFails(&'static str, Duration),
    /// A method of the venue doesn't answer for so long.
    VenueSilent(&'static str, Duration),
    /// The venue's stream of events ends.
    StreamEnds,
    /// The venue's stream of events ends, and there is no other for so long.
    StreamDown(Duration),
    /// No event gets through for so long; then the stream says that some may be missing.
    StreamGap(Duration),
    /// The venue answers everything with 429 for so long, and says for how long or doesn't.
    Busy(Duration, bool),
    /// The venue refuses our key for so long; then an operator starts the process with a good one.
    KeyRefused(Duration),
    /// An actor dies, so many points of meeting the world from now.
    ActorDies(u32),
    /// The process dies, so many points from now, and is started again after so long.
    Crash(u32, Duration),
    /// The machine is suspended for so long.
    Suspended(Duration),
    /// The wall clock is set by so many milliseconds.
    ClockSet(i64),
    /// A message from before comes late: somebody claims, once more or under an outdated plan, the order of this number.
    StaleClaim(u64),
    /// The kill switch is engaged, so many points of meeting the world from now, and released after so long.
    Engaged(KillMode, u32, Duration),
    /// The kill switch is engaged and released after so long, and engaged again so many points after the release was
    /// asked for, for as long again.
    Overtaken(KillMode, u32, Duration),
    /// The breaker trips, and is reset after so long.
    Tripped(Duration),
}

/// The reads of the store, as the port names them.
const STORE_READS: [&str; 7] =
    ["order", "due_slices", "open_orders", "marked_orders", "open_parents", "switches", "positions"];
/// The questions to a venue.
const VENUE_READS: [&str; 7] =
    ["find", "open_orders", "orders_since", "executions_since", "positions", "quote", "events"];

/// What else a start and a writer ask of the store.
const STORE_REST: [&str; 8] = ["commit", "settle", "open", "acquire", "by_key", "slices", "unknown_orders", "causes"];
/// The commands to a venue.
const VENUE_COMMANDS: [&str; 2] = ["submit", "cancel"];

impl FaultKind {
    /// The store is not there for so long: everything that is asked of it fails.
    pub fn store_down(lasts: Duration) -> impl Iterator<Item = Self> {
        STORE_REST.into_iter().chain(STORE_READS).map(move |method| Self::StoreFails(method, lasts))
    }

    /// The venue answers everything with errors for so long.
    pub fn venue_down(lasts: Duration) -> impl Iterator<Item = Self> {
        VENUE_COMMANDS.into_iter().chain(VENUE_READS).map(move |method| Self::VenueFails(method, lasts))
    }

    /// The venue answers nothing for so long.
    pub fn venue_silent(lasts: Duration) -> impl Iterator<Item = Self> {
        VENUE_COMMANDS.into_iter().chain(VENUE_READS).map(move |method| Self::VenueSilent(method, lasts))
    }

    /// For how long it lasts; what strikes once doesn't.
    #[must_use]
    pub const fn lasts(&self) -> Option<Duration> {
        match self {
            Self::StoreFails(_, lasts)
            | Self::VenueFails(_, lasts)
            | Self::VenueSilent(_, lasts)
            | Self::StreamDown(lasts)
            | Self::StreamGap(lasts)
            | Self::Busy(lasts, _)
            | Self::KeyRefused(lasts)
            | Self::Engaged(_, _, lasts)
            | Self::Overtaken(_, _, lasts)
            | Self::Tripped(lasts) => Some(*lasts),
            Self::Submission(_)
            | Self::Replacement(_)
            | Self::Cancel(_)
            | Self::Event(_)
            | Self::Commit(_)
            | Self::StreamEnds
            | Self::ActorDies(_)
            | Self::Crash(..)
            | Self::Suspended(_)
            | Self::StaleClaim(_)
            | Self::ClockSet(_) => None,
        }
    }

    /// Whether it meets somebody as soon as its time has come; the others lie in wait.
    #[must_use]
    pub const fn strikes_at_once(&self) -> bool {
        match self {
            Self::StreamEnds | Self::Suspended(_) | Self::StaleClaim(_) | Self::ClockSet(_) | Self::Tripped(_) => true,
            Self::Submission(_)
            | Self::Replacement(_)
            | Self::Cancel(_)
            | Self::Event(_)
            | Self::Commit(_)
            | Self::StoreFails(..)
            | Self::VenueFails(..)
            | Self::VenueSilent(..)
            | Self::StreamDown(_)
            | Self::StreamGap(_)
            | Self::Busy(..)
            | Self::KeyRefused(_)
            | Self::ActorDies(_)
            | Self::Crash(..)
            | Self::Engaged(..)
            | Self::Overtaken(..) => false,
        }
    }

    /// Something that may go wrong, drawn: mostly one thing, sometimes all of a store or a venue at once.
    #[must_use]
    pub fn drawn(chance: &Seeded) -> Vec<Self> {
        match chance.below(60) {
            0 => Self::store_down(spell(chance, 8_000)).collect(),
            1 => Self::venue_down(spell(chance, 15_000)).collect(),
            2 => Self::venue_silent(spell(chance, 15_000)).collect(),
            3 => vec![Self::StreamDown(spell(chance, 20_000))],
            4 => vec![Self::StreamGap(spell(chance, 20_000))],
            5 => vec![Self::Busy(spell(chance, 15_000), chance.below(2) == 0)],
            6 if chance.below(3) == 0 => vec![Self::KeyRefused(spell(chance, 10_000))],
            _ => vec![Self::one_drawn(chance)],
        }
    }

    fn one_drawn(chance: &Seeded) -> Self {
        match chance.below(100) {
            0..=19 => Self::Submission(fate(chance)),
            20..=25 => Self::Replacement(fate(chance)),
            26 | 27 => Self::StaleClaim(chance.bits()),
            28..=33 => Self::Cancel(request_fault(chance)),
            34..=47 => Self::Event(event_fault(chance)),
            48..=59 => Self::Commit(commit_fault(chance)),
            60..=63 => Self::StoreFails("commit", spell(chance, 8_000)),
            64 | 65 => Self::StoreFails(one_of(chance, STORE_READS), spell(chance, 5_000)),
            66 | 67 => Self::StoreFails(one_of(chance, STORE_REST), spell(chance, 5_000)),
            68..=72 => Self::VenueFails(one_of(chance, VENUE_READS), spell(chance, 15_000)),
            73..=75 => Self::VenueSilent(one_of(chance, VENUE_READS), spell(chance, 15_000)),
            76..=78 => Self::StreamEnds,
            79..=84 => Self::ActorDies(points(chance)),
            // Half of them are started again at once, as a supervisor does it.
            85..=91 => Self::Crash(points(chance), spell(chance, if chance.below(2) == 0 { 1_000 } else { 40_000 })),
            92 => Self::Suspended(spell(chance, 30_000)),
            93 => Self::ClockSet(i64::try_from(chance.below(6_000)).unwrap_or(0) - 3_000),
            94..=97 => {
                let mode = if chance.below(2) == 0 { KillMode::Halt } else { KillMode::Cancel };
                let (points, held) = (points(chance), spell(chance, 8_000));
                if points % 2 == 0 {
                    Self::Engaged(mode, points, held)
                } else {
                    Self::Overtaken(mode, points / 8, held)
                }
            }
            _ => Self::Tripped(spell(chance, 8_000)),
        }
    }
}

fn fate(chance: &Seeded) -> Fate {
    match chance.below(14) {
        0..=2 => Fate::AnswerLost,
        3 | 4 => Fate::RequestLost,
        5 => Fate::AnsweredAfter(spell(chance, 12_000)),
        6 if chance.below(2) == 0 => Fate::ArrivesWithTheNext,
        6 => Fate::ArrivesAfter(spell(chance, 9_000)),
        // Within the claim, past it, and past the time after which an absent order is given up.
        7 if chance.below(2) == 0 => {
            let after = [5_000, 30_000, 200_000];
            let place = usize::try_from(chance.below(3)).unwrap_or(0);
            Fate::ArrivesAfter(Duration::from_millis(after.get(place).copied().unwrap_or(5_000)))
        }
        7 => Fate::ArrivesAfter(spell(chance, 300_000)),
        8 => Fate::NeverLeft,
        9 => Fate::Busy((chance.below(2) == 0).then(|| spell(chance, 5_000))),
        10 => Fate::ErrorBefore,
        11 => Fate::ErrorAfter,
        12 => Fate::Panic { taken: chance.below(2) == 0 },
        _ => Fate::Rejected,
    }
}

fn request_fault(chance: &Seeded) -> RequestFault {
    match chance.below(5) {
        0 => RequestFault::Busy { retry_after: None },
        1 => RequestFault::TimeoutBefore,
        2 => RequestFault::ErrorBefore,
        3 => RequestFault::TimeoutAfter,
        _ => RequestFault::ErrorAfter,
    }
}

fn event_fault(chance: &Seeded) -> EventFault {
    match chance.below(3) {
        0 => EventFault::Lost,
        1 => EventFault::Duplicated,
        _ => EventFault::Reordered,
    }
}

fn commit_fault(chance: &Seeded) -> CommitFault {
    match chance.below(10) {
        8 => CommitFault::Late(spell(chance, 6)),
        9 => CommitFault::Late(spell(chance, 20_000)),
        0 | 1 => CommitFault::Slow(spell(chance, 4_000)),
        2 => CommitFault::Unavailable,
        3 => CommitFault::Unknown { committed: true },
        4 => CommitFault::Unknown { committed: false },
        5 => CommitFault::RefuseMany,
        6 => CommitFault::Panic { committed: true },
        _ => CommitFault::Panic { committed: false },
    }
}

fn spell(chance: &Seeded, most_ms: u64) -> Duration {
    Duration::from_micros(1 + chance.below(most_ms * 1_000))
}

/// Most deaths strike soon, in the middle of what the fault met.
fn points(chance: &Seeded) -> u32 {
    u32::try_from(chance.bits() % 40).unwrap_or(0)
}

fn one_of<const N: usize>(chance: &Seeded, names: [&'static str; N]) -> &'static str {
    let which = usize::try_from(chance.below(u64::try_from(N).unwrap_or(1))).unwrap_or(0);
    names.get(which).copied().unwrap_or("order")
}

impl Fault {
    /// What happens at a point of meeting the world, and at which from now.
    #[must_use]
    pub const fn at_point(&self) -> Option<(Death, u32)> {
        match self.kind {
            FaultKind::ActorDies(points) => Some((Death::Actor, points)),
            FaultKind::Crash(points, _) => Some((Death::Process, points)),
            FaultKind::Engaged(_, points, _) => Some((Death::Nobody, points)),
            FaultKind::Submission(_)
            | FaultKind::Replacement(_)
            | FaultKind::Cancel(_)
            | FaultKind::Event(_)
            | FaultKind::Commit(_)
            | FaultKind::StoreFails(..)
            | FaultKind::VenueFails(..)
            | FaultKind::VenueSilent(..)
            | FaultKind::StreamEnds
            | FaultKind::StreamDown(_)
            | FaultKind::StreamGap(_)
            | FaultKind::Busy(..)
            | FaultKind::KeyRefused(_)
            | FaultKind::Suspended(_)
            | FaultKind::ClockSet(_)
            | FaultKind::StaleClaim(_)
            | FaultKind::Overtaken(..)
            | FaultKind::Tripped(_) => None,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submission(fate) => write!(f, "the next submission: {fate:?}"),
            Self::Replacement(fate) => write!(f, "the next replacement: {fate:?}"),
            Self::Cancel(fault) => write!(f, "the next cancel: {fault:?}"),
            Self::Event(fault) => write!(f, "the next event: {fault:?}"),
            Self::Commit(fault) => write!(f, "the next commit: {fault:?}"),
            Self::StoreFails(method, lasts) => write!(f, "the store's {method} fails for {lasts:?}"),
            Self::VenueFails(method, lasts) => write!(f, "the venue's {method} fails for {lasts:?}"),
            Self::VenueSilent(method, lasts) => write!(f, "the venue's {method} is silent for {lasts:?}"),
            Self::StreamEnds => write!(f, "the venue's stream of events ends"),
            Self::StreamDown(lasts) => write!(f, "the venue's stream of events ends, and is down for {lasts:?}"),
            Self::StreamGap(lasts) => write!(f, "the venue's events are lost for {lasts:?}"),
            Self::Busy(lasts, true) => write!(f, "the venue is busy for {lasts:?}, and says for how long"),
            Self::Busy(lasts, false) => write!(f, "the venue is busy for {lasts:?}"),
            Self::KeyRefused(lasts) => write!(f, "the venue refuses our key for {lasts:?}"),
            Self::ActorDies(points) => write!(f, "an actor dies {points} points from now"),
            Self::Crash(points, down) => write!(f, "the process dies {points} points from now, for {down:?}"),
            Self::Suspended(slept) => write!(f, "the machine is suspended for {slept:?}"),
            Self::ClockSet(millis) => write!(f, "the wall clock is set by {millis} ms"),
            Self::StaleClaim(_) => write!(f, "somebody claims what is not theirs to claim"),
            Self::Engaged(mode, 0, held) => write!(f, "the kill switch is engaged in mode {mode} for {held:?}"),
            Self::Engaged(mode, points, held) => {
                write!(f, "the kill switch is engaged in mode {mode} for {held:?}, {points} points from now")
            }
            Self::Overtaken(mode, points, held) => write!(
                f,
                "the kill switch is engaged in mode {mode} for {held:?}, and again {points} points after its release"
            ),
            Self::Tripped(held) => write!(f, "the breaker is tripped for {held:?}"),
        }
    }
}
