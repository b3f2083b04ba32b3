//! The last check before the wire: the shared word and the in-flight set.
//!
//! A sender enters the in-flight set, *then* reads the gate; whoever stops trading shuts the gate, *then* reads the
//! set. Both are sequentially consistent, so one of the two always sees the other: `tests/gate_loom.rs` tries every
//! interleaving. The gate is read without a lock and without an await.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::broker::Pass;
use crate::domain::flatten::Flattening;
use crate::domain::limits::{LimitScope, Subject};
use crate::domain::names::{AccountName, OrderId, StrategyId, Symbol};
use crate::domain::status::OwnEnd;
use crate::domain::text::words;
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, Snapshot, lock};

words!(
    /// Why the gate is shut; the codes of `reasons` and of 503 answers.
    ShutReason {
        /// An operator stopped trading.
        KillSwitchEngaged = "kill_switch_engaged",
        /// The breaker tripped.
        CircuitBreakerTripped = "circuit_breaker_tripped",
        /// The breaker was reset a moment ago.
        CircuitBreakerQuiet = "circuit_breaker_quiet",
        /// The kill switch could not be read lately.
        KillSwitchUnknown = "kill_switch_unknown",
        /// The breaker could not be read.
        CircuitBreakerUnknown = "circuit_breaker_unknown",
        /// Start-up or recovery has not ended.
        Starting = "starting",
        /// The process is shutting down.
        Draining = "draining",
        /// Another instance owns the account, or our lease on it is over.
        NotOwner = "not_owner",
        /// The wall clock was set, and is not known to be right.
        ClockUnsure = "clock_unsure",
        /// The store does not commit.
        StoreUnavailable = "store_unavailable",
        /// The broker can't be reached, or its books were not compared with ours yet.
        BrokerUnavailable = "broker_unavailable",
        /// The broker refuses our key.
        BrokerUnauthorised = "broker_unauthorised",
    }
);

impl ShutReason {
    const fn bit(self) -> u32 {
        match self {
            Self::KillSwitchEngaged => 1,
            Self::CircuitBreakerTripped => 1 << 1,
            Self::CircuitBreakerQuiet => 1 << 2,
            Self::KillSwitchUnknown => 1 << 3,
            Self::CircuitBreakerUnknown => 1 << 4,
            Self::Starting => 1 << 5,
            Self::Draining => 1 << 6,
            Self::StoreUnavailable => 1 << 7,
            Self::BrokerUnavailable => 1 << 8,
            Self::BrokerUnauthorised => 1 << 9,
            Self::NotOwner => 1 << 10,
            Self::ClockUnsure => 1 << 11,
        }
    }

    /// Whether orders pass all the same that reduce a position.
    #[must_use]
    pub const fn lets_exits_pass(self) -> bool {
        match self {
            Self::CircuitBreakerQuiet => true,
            Self::KillSwitchEngaged
            | Self::CircuitBreakerTripped
            | Self::KillSwitchUnknown
            | Self::CircuitBreakerUnknown
            | Self::Starting
            | Self::Draining
            | Self::NotOwner
            | Self::ClockUnsure
            | Self::StoreUnavailable
            | Self::BrokerUnavailable
            | Self::BrokerUnauthorised => false,
        }
    }

    /// Whether an order passes all the same that closes a position for the kill switch. A person has said that it should go,
    /// and nothing that stops trading stands against that; what makes it impossible or unsafe does.
    const fn lets_flatten_pass(self) -> bool {
        match self {
            Self::KillSwitchEngaged
            | Self::KillSwitchUnknown
            | Self::CircuitBreakerTripped
            | Self::CircuitBreakerQuiet
            | Self::CircuitBreakerUnknown => true,
            Self::Starting
            | Self::Draining
            | Self::NotOwner
            | Self::ClockUnsure
            | Self::StoreUnavailable
            | Self::BrokerUnavailable
            | Self::BrokerUnauthorised => false,
        }
    }

    /// How a due slice ends that meets this reason: somebody stopped trading. `None`: something is merely unknown, and
    /// the slice waits up to its grace.
    #[must_use]
    pub const fn ends_slice(self) -> Option<OwnEnd> {
        match self {
            Self::KillSwitchEngaged => Some(OwnEnd::BlockedKillSwitch),
            Self::CircuitBreakerTripped | Self::CircuitBreakerQuiet => Some(OwnEnd::BlockedCircuitBreaker),
            Self::KillSwitchUnknown
            | Self::CircuitBreakerUnknown
            | Self::Starting
            | Self::Draining
            | Self::NotOwner
            | Self::ClockUnsure
            | Self::StoreUnavailable
            | Self::BrokerUnavailable
            | Self::BrokerUnauthorised => None,
        }
    }
}

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

/// Which parts are stopped; those that write it have to take turns. Whoever stops a part does it *before* reading the in-flight
/// set, and a sender looks here *after* entering it: the set's lock orders the two.
#[derive(Clone, Debug, Default)]
pub struct StoppedParts(Arc<Snapshot<Vec<LimitScope>>>);

impl StoppedParts {
    /// These are stopped, and no others.
    pub(crate) fn are(&self, scopes: impl IntoIterator<Item = LimitScope>) {
        self.0.replace(scopes.into_iter().collect());
    }

    /// This one is stopped too.
    pub(crate) fn add(&self, scope: &LimitScope) {
        let mut scopes = self.0.read().to_vec();
        scopes.push(scope.clone());
        self.are(scopes);
    }

    fn cover(&self, subject: Subject<'_>) -> bool {
        self.0.read().iter().any(|scope| subject.is_of(scope))
    }
}

/// Which engagements in force want positions closed; the kill switch writes it, those that want most first.
#[derive(Clone, Debug, Default)]
pub struct Flattenings(Arc<Snapshot<Vec<Flattening>>>);

impl Flattenings {
    /// These want it, and no others.
    pub(crate) fn are(&self, wanted: Vec<Flattening>) {
        self.0.replace(wanted);
    }

    /// What wants an account's positions closed.
    fn of(&self, account: &AccountName) -> Option<Flattening> {
        self.0.read().iter().find(|one| one.is_of(account)).cloned()
    }

    fn want(&self, account: &AccountName, pass: &Pass) -> bool {
        self.0.read().iter().any(|one| one.is_of(account) && pass.is_for(&one.engagement))
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

/// The sends whose outcome is not known yet.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Mutex<BTreeMap<OrderId, Flight>>>);

/// A send whose outcome is not known yet.
#[derive(Debug)]
struct Flight {
    of: Whose,
    cut: Option<oneshot::Sender<()>>,
}

/// Whose order it is, within an account.
#[derive(Clone, Debug)]
pub struct Whose {
    /// The client's strategy.
    pub strategy: StrategyId,
    /// What is traded.
    pub symbol: Symbol,
}

impl Whose {
    fn is_of(&self, scope: &LimitScope) -> bool {
        match scope {
            // Of another account this is not asked.
            LimitScope::Global | LimitScope::Account(_) => true,
            LimitScope::Strategy(strategy) => *strategy == self.strategy,
            LimitScope::Symbol(symbol) => *symbol == self.symbol,
        }
    }
}

/// A place in the in-flight set; dropping it leaves the set, panics included.
#[derive(Debug)]
pub struct Ticket {
    set: InFlight,
    id: OrderId,
}

impl InFlight {
    /// Enters a send. Read the gate only *after* this. The receiver answers when the send is cut off.
    #[must_use]
    pub fn enter(&self, id: &OrderId, of: Whose) -> (Ticket, oneshot::Receiver<()>) {
        let (cut, is_cut) = oneshot::channel();
        lock(&self.0).insert(id.clone(), Flight { of, cut: Some(cut) });
        (Ticket { set: self.clone(), id: id.clone() }, is_cut)
    }

    /// The orders in the set that are of a part of the account, or of all of it. Shut the gate *before* this.
    #[must_use]
    pub fn ids(&self, scope: &LimitScope) -> Vec<OrderId> {
        lock(&self.0).iter().filter(|(_, flight)| flight.of.is_of(scope)).map(|(id, _)| id.clone()).collect()
    }

    /// How many sends are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether no send is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this order is in flight.
    #[must_use]
    pub fn contains(&self, id: &OrderId) -> bool {
        lock(&self.0).contains_key(id)
    }

    /// Cuts off every send of a part: its connection is closed, and its outcome is unknown.
    pub fn cut(&self, scope: &LimitScope) {
        for flight in lock(&self.0).values_mut().filter(|flight| flight.of.is_of(scope)) {
            // Dropping the sender wakes the receiver, which is all that it waits for.
            drop(flight.cut.take());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.set.0).remove(&self.id);
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

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
