//! The last check before the wire: the shared word and the in-flight set.
//!
//! A sender enters the in-flight set, *then* reads the gate; whoever stops trading shuts the gate, *then* reads the
//! set. Both are sequentially consistent, so one of the two always sees the other: `tests/gate_loom.rs` tries every
//! interleaving. The gate is read without a lock and without an await.

use std::time::Duration;

use crate::broker::Pass;
use crate::domain::flatten::Flattening;
use crate::domain::limits::Subject;
use crate::domain::names::{AccountName, OrderId};
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering};

pub use engaged::{Flattenings, StoppedParts};
pub use in_flight::{InFlight, Ticket, Whose};
pub use reasons::ShutReason;

mod engaged;
mod in_flight;
mod reasons;

/// What the gate says at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An order may leave now.
    Open,
    /// It may if it reduces a position; the weightiest reason.
    ReduceOnly(ShutReason),
    /// It may not; the weightiest reason.
    Shut(ShutReason),
}

impl Verdict {
    /// What the gate says by these reasons, the weightiest of which comes first.
    #[must_use]
    pub fn of(reasons: &[ShutReason]) -> Self {
        let shut = reasons.iter().find(|reason| !reason.lets_exits_pass());
        match (shut, reasons.first()) {
            (Some(shut), _) => Self::Shut(*shut),
            (None, Some(weightiest)) => Self::ReduceOnly(*weightiest),
            (None, None) => Self::Open,
        }
    }

    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::ReduceOnly(_) => "reduce_only",
            Self::Shut(_) => "shut",
        }
    }

    /// What holds an order back that reduces a position, or doesn't. `None`: it may leave.
    #[must_use]
    pub const fn objection(self, reduces: bool) -> Option<ShutReason> {
        match self {
            Self::Open => None,
            Self::ReduceOnly(_) if reduces => None,
            Self::ReduceOnly(reason) | Self::Shut(reason) => Some(reason),
        }
    }
}

#[derive(Debug)]
struct Word {
    /// One bit for each reason to be shut.
    causes: AtomicU32,
    /// Until when it may be read as open, in nanoseconds of the clock that counts suspended time.
    open_until: AtomicU64,
}

impl Word {
    fn new(causes: &[ShutReason], open_until: u64) -> Arc<Self> {
        let causes = causes.iter().fold(0, |bits, reason| bits | reason.bit());
        Arc::new(Self { causes: AtomicU32::new(causes), open_until: AtomicU64::new(open_until) })
    }

    /// The reasons that hold now as bits; `lapsed` is the one that holds once the time is over.
    fn causes(&self, boottime: Duration, lapsed: ShutReason) -> u32 {
        let causes = self.causes.load(Ordering::SeqCst);
        if nanos(boottime) < self.open_until.load(Ordering::SeqCst) { causes } else { causes | lapsed.bit() }
    }
}

/// What the whole process says, and every account's gate with it. It starts shut.
#[derive(Clone, Debug)]
pub struct ProcessGate {
    word: Arc<Word>,
    parts: StoppedParts,
    flattenings: Flattenings,
}

/// An account's gate as a sender reads it: the process's word and the account's own. It starts shut.
#[derive(Clone, Debug)]
pub struct Gate {
    process: Arc<Word>,
    parts: StoppedParts,
    flattenings: Flattenings,
    /// Its time is that of the lease on the account.
    account: Arc<Word>,
}

/// The pens of the process's word. Each writer can set and clear its own reasons alone, so none can make the gate laxer
/// than the others want it.
#[derive(Debug)]
pub struct ProcessWriters {
    /// For the kill switch: its reasons, and the lease on openness.
    pub kill_switch: GateWriter,
    /// For the breaker.
    pub breaker: GateWriter,
    /// For the supervisor: what else stops every account.
    pub supervisor: GateWriter,
}

/// The pens of a gate that stands alone.
#[derive(Debug)]
pub struct GateWriters {
    /// For the kill switch: its reasons, and the lease on openness.
    pub kill_switch: GateWriter,
    /// For the breaker.
    pub breaker: GateWriter,
    /// For the supervisor: what else stops every account.
    pub supervisor: GateWriter,
    /// For the account: all other reasons, and the lease on it.
    pub account: GateWriter,
}

/// A writer of the gate: it knows which reasons are its own.
#[derive(Clone, Debug)]
pub struct GateWriter {
    word: Arc<Word>,
    own: &'static [ShutReason],
}

const KILL_SWITCH: &[ShutReason] = &[ShutReason::KillSwitchEngaged, ShutReason::KillSwitchUnknown];
const BREAKER: &[ShutReason] =
    &[ShutReason::CircuitBreakerTripped, ShutReason::CircuitBreakerQuiet, ShutReason::CircuitBreakerUnknown];
const SUPERVISOR: &[ShutReason] = &[ShutReason::Starting, ShutReason::StoreUnavailable];
const ACCOUNT: &[ShutReason] = &[
    ShutReason::Starting,
    ShutReason::Draining,
    ShutReason::NotOwner,
    ShutReason::ClockUnsure,
    ShutReason::StoreUnavailable,
    ShutReason::BrokerUnavailable,
    ShutReason::BrokerUnauthorised,
];

impl ProcessGate {
    /// A word that shuts every account's gate, for want of everything, and the pens of its writers.
    #[must_use]
    pub fn new() -> (Self, ProcessWriters) {
        let word = Word::new(&[ShutReason::KillSwitchUnknown, ShutReason::CircuitBreakerUnknown], 0);
        let writer = |own| GateWriter { word: Arc::clone(&word), own };
        let writers = ProcessWriters {
            kill_switch: writer(KILL_SWITCH),
            breaker: writer(BREAKER),
            supervisor: writer(SUPERVISOR),
        };
        (Self { word, parts: StoppedParts::default(), flattenings: Flattenings::default() }, writers)
    }

    /// What the kill switch wants closed.
    pub(crate) fn flattenings(&self) -> Flattenings {
        self.flattenings.clone()
    }

    /// What the kill switch stops of parts.
    pub(crate) fn parts(&self) -> StoppedParts {
        self.parts.clone()
    }

    /// The gate of one account, and the pen of its own word.
    #[must_use]
    pub fn account(&self) -> (Gate, GateWriter) {
        let account = Word::new(&[ShutReason::Starting, ShutReason::BrokerUnavailable], u64::MAX);
        let writer = GateWriter { word: Arc::clone(&account), own: ACCOUNT };
        let (parts, flattenings) = (self.parts.clone(), self.flattenings.clone());
        (Gate { process: Arc::clone(&self.word), parts, flattenings, account }, writer)
    }

    /// Every reason of the whole process to be shut that holds now, the weightiest first.
    #[must_use]
    pub fn reasons(&self, boottime: Duration) -> Vec<ShutReason> {
        reasons(self.word.causes(boottime, ShutReason::KillSwitchUnknown))
    }
}

impl Gate {
    /// The gate of the only account, and the pens of both its words.
    #[must_use]
    pub fn new() -> (Self, GateWriters) {
        let (process, ProcessWriters { kill_switch, breaker, supervisor }) = ProcessGate::new();
        let (gate, account) = process.account();
        (gate, GateWriters { kill_switch, breaker, supervisor, account })
    }

    /// Whether an order may leave now, on the clock that counts suspended time.
    #[must_use]
    pub fn verdict(&self, boottime: Duration) -> Verdict {
        let causes = self.causes(boottime);
        if causes == 0 {
            return Verdict::Open;
        }
        let mut held = ShutReason::ALL.iter().copied().filter(|reason| causes & reason.bit() != 0);
        let weightiest = held.clone().next().unwrap_or(ShutReason::KillSwitchUnknown);
        match held.find(|reason| !reason.lets_exits_pass()) {
            Some(shut) => Verdict::Shut(shut),
            None => Verdict::ReduceOnly(weightiest),
        }
    }

    /// The same for an order of this one, whose part may be stopped.
    #[must_use]
    pub fn verdict_for(&self, subject: Subject<'_>, boottime: Duration) -> Verdict {
        if self.parts.cover(subject) {
            return Verdict::Shut(ShutReason::KillSwitchEngaged);
        }
        self.verdict(boottime)
    }

    /// The engagement in force that wants this account's positions closed.
    pub(crate) fn flattening(&self, account: &AccountName) -> Option<Flattening> {
        self.flattenings.of(account)
    }

    /// What holds an order back now that closes a position for the kill switch. It passes on its pass, and only while the
    /// engagement is in force that the pass was made for.
    pub(crate) fn objection_to(
        &self,
        pass: &Pass,
        (account, order): (&AccountName, &OrderId),
        boottime: Duration,
    ) -> Option<ShutReason> {
        if !pass.is_of(order) || !self.flattenings.want(account, pass) {
            return Some(ShutReason::KillSwitchEngaged);
        }
        self.objection_to_flattening(boottime)
    }

    /// What holds all such orders back.
    pub(crate) fn objection_to_flattening(&self, boottime: Duration) -> Option<ShutReason> {
        self.reasons(boottime).into_iter().find(|reason| !reason.lets_flatten_pass())
    }

    /// Every reason to be shut that holds now, the weightiest first.
    #[must_use]
    pub fn reasons(&self, boottime: Duration) -> Vec<ShutReason> {
        reasons(self.causes(boottime))
    }

    /// How long the lease on the account goes on; nothing if it is over.
    #[must_use]
    pub fn lease_left(&self, boottime: Duration) -> Duration {
        Duration::from_nanos(self.account.open_until.load(Ordering::SeqCst)).saturating_sub(boottime)
    }

    fn causes(&self, boottime: Duration) -> u32 {
        self.process.causes(boottime, ShutReason::KillSwitchUnknown)
            | self.account.causes(boottime, ShutReason::NotOwner)
    }
}

fn reasons(causes: u32) -> Vec<ShutReason> {
    ShutReason::ALL.iter().copied().filter(|reason| causes & reason.bit() != 0).collect()
}

impl GateWriter {
    /// Shuts the gate for one of this writer's reasons.
    pub fn shut(&self, reason: ShutReason) {
        if self.owns(reason) {
            self.word.causes.fetch_or(reason.bit(), Ordering::SeqCst);
        }
    }

    /// Takes one of this writer's reasons back. The gate opens only once no writer has one.
    pub fn clear(&self, reason: ShutReason) {
        if self.owns(reason) {
            self.word.causes.fetch_and(!reason.bit(), Ordering::SeqCst);
        }
    }

    /// The switches were read well, or the account's lease was prolonged: openness is leased until this instant of the
    /// clock that counts suspended time.
    pub fn renew(&self, until: Duration) {
        self.word.open_until.store(nanos(until), Ordering::SeqCst);
    }

    fn owns(&self, reason: ShutReason) -> bool {
        let owns = self.own.contains(&reason);
        debug_assert!(owns, "{reason} belongs to another writer of the gate");
        owns
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::domain::limits::LimitScope;
    use crate::domain::names::{StrategyId, Symbol};

    #[expect(clippy::unwrap_used, reason = "a test that meets the unexpected has to fail")]
    fn of(strategy: &str) -> Whose {
        Whose { strategy: StrategyId::parse(strategy).unwrap(), symbol: Symbol::parse("AAPL").unwrap() }
    }

    const NOW: Duration = Duration::from_secs(100);

    fn open(writers: &GateWriters) {
        for writer in [&writers.kill_switch, &writers.breaker, &writers.supervisor, &writers.account] {
            for reason in writer.own {
                writer.clear(*reason);
            }
        }
        writers.kill_switch.renew(NOW + Duration::from_millis(500));
    }

    #[test]
    fn the_gate_starts_shut_and_opens_only_when_no_writer_objects() {
        let (gate, writers) = Gate::new();
        assert_eq!(gate.verdict(NOW), Verdict::Shut(ShutReason::KillSwitchUnknown));
        open(&writers);
        assert_eq!(gate.verdict(NOW), Verdict::Open);
        for writer in [&writers.kill_switch, &writers.breaker, &writers.supervisor, &writers.account] {
            for reason in writer.own {
                writer.shut(*reason);
                let lets_exits_pass = *reason == ShutReason::CircuitBreakerQuiet;
                let verdict = if lets_exits_pass { Verdict::ReduceOnly(*reason) } else { Verdict::Shut(*reason) };
                assert_eq!(gate.verdict(NOW), verdict);
                assert_eq!(gate.reasons(NOW), [*reason]);
                writer.clear(*reason);
                assert_eq!(gate.verdict(NOW), Verdict::Open);
            }
        }
    }

    #[test]
    fn an_exit_passes_a_quiet_breaker_and_nothing_that_weighs_less_or_more() {
        let (gate, writers) = Gate::new();
        open(&writers);
        let quiet = ShutReason::CircuitBreakerQuiet;
        writers.breaker.shut(quiet);
        let verdict = gate.verdict(NOW);
        assert_eq!((verdict.objection(true), verdict.objection(false)), (None, Some(quiet)));
        for (writer, reason) in [
            (&writers.kill_switch, ShutReason::KillSwitchEngaged),
            (&writers.account, ShutReason::BrokerUnavailable),
            (&writers.account, ShutReason::ClockUnsure),
        ] {
            writer.shut(reason);
            assert_eq!(gate.verdict(NOW), Verdict::Shut(reason));
            assert_eq!(gate.verdict(NOW).objection(true), Some(reason));
            writer.clear(reason);
        }
        let lapsed = NOW + Duration::from_millis(500);
        assert_eq!(gate.verdict(lapsed).objection(true), Some(ShutReason::KillSwitchUnknown));
    }

    #[test]
    fn openness_lapses_and_a_process_that_was_frozen_wakes_up_shut() {
        let (gate, writers) = Gate::new();
        open(&writers);
        assert_eq!(gate.verdict(NOW + Duration::from_millis(499)), Verdict::Open);
        let after_five_seconds = NOW + Duration::from_secs(5);
        assert_eq!(gate.verdict(after_five_seconds), Verdict::Shut(ShutReason::KillSwitchUnknown));
        writers.kill_switch.renew(after_five_seconds + Duration::from_millis(500));
        assert_eq!(gate.verdict(after_five_seconds), Verdict::Open);
    }

    #[test]
    fn an_accounts_lease_ends_by_itself_and_shuts_no_other_account() {
        let (process, writers) = ProcessGate::new();
        let ((first, mine), (second, theirs)) = (process.account(), process.account());
        for (writer, own) in
            [(&writers.kill_switch, KILL_SWITCH), (&writers.breaker, BREAKER), (&mine, ACCOUNT), (&theirs, ACCOUNT)]
        {
            own.iter().for_each(|reason| writer.clear(*reason));
        }
        writers.kill_switch.renew(NOW + Duration::from_secs(60));
        mine.renew(NOW + Duration::from_secs(8));
        assert_eq!(first.lease_left(NOW), Duration::from_secs(8));
        let later = NOW + Duration::from_secs(8);
        assert_eq!((first.verdict(NOW), second.verdict(NOW)), (Verdict::Open, Verdict::Open));
        assert_eq!(first.reasons(later), [ShutReason::NotOwner]);
        assert_eq!(second.verdict(later), Verdict::Open, "nothing limits it");
        writers.supervisor.shut(ShutReason::StoreUnavailable);
        assert_eq!(second.verdict(later), Verdict::Shut(ShutReason::StoreUnavailable));
        assert_eq!(process.reasons(later), [ShutReason::StoreUnavailable]);
    }

    #[test]
    fn what_is_stopped_weighs_more_than_what_is_unknown() {
        let (gate, writers) = Gate::new();
        writers.kill_switch.shut(ShutReason::KillSwitchEngaged);
        assert_eq!(gate.verdict(NOW), Verdict::Shut(ShutReason::KillSwitchEngaged));
        assert!(ShutReason::ALL.is_sorted_by_key(|reason| reason.ends_slice().is_none()));
    }

    #[test]
    fn a_ticket_leaves_the_set_when_it_is_dropped_also_by_a_panic() {
        let set = InFlight::default();
        let id = OrderId::parse("a").unwrap();
        let (ticket, _) = set.enter(&id, of("alpha"));
        assert!(set.contains(&id));
        drop(ticket);
        assert!(set.is_empty());
        let panicking = set.clone();
        std::panic::catch_unwind(move || {
            let _ticket = panicking.enter(&OrderId::parse("b").unwrap(), of("alpha"));
            panic!("a sender dies");
        })
        .unwrap_err();
        assert!(set.is_empty());
    }

    #[tokio::test]
    async fn cutting_off_a_part_wakes_its_senders_alone() {
        let set = InFlight::default();
        let (_ticket, is_cut) = set.enter(&OrderId::parse("a").unwrap(), of("alpha"));
        let (_other, mut is_other_cut) = set.enter(&OrderId::parse("b").unwrap(), of("beta"));
        set.cut(&LimitScope::Strategy(StrategyId::parse("alpha").unwrap()));
        assert_eq!(is_other_cut.try_recv(), Err(oneshot::error::TryRecvError::Empty), "it is of another strategy");
        assert!(is_cut.await.is_err());
    }
}
