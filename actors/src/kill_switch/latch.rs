//! The part of the kill switch that outlives its actor: what was asked for, what was answered, and the way to it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::cancel_all::Everywhere;
use crate::commands::{CommandError, Engage, EngageAnswer};
use crate::domain::fault::FieldError;
use crate::domain::flatten::{Flattening, may_flatten};
use crate::domain::kill::KillMode;
use crate::domain::limits::LimitScope;
use crate::domain::names::{Caller, IdempotencyKey};
use crate::gate::{Flattenings, GateWriter, ShutReason, StoppedParts};
use crate::line::Line;
use crate::sync::{Arc, Mutex, lock};

/// How many engage requests are remembered by their idempotency keys.
const REMEMBERED: usize = 64;
/// How long a repetition waits for the answer to the first request.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

/// The way to the kill switch that waits for nothing: not for a mailbox, the store or the rate budget.
#[derive(Clone, Debug)]
pub struct KillSwitchHandle {
    latch: Latch,
    line: Line<Engage>,
    accounts: Everywhere,
}

/// What was asked for and has to hold, also if the actor dies before it could take note, and what was answered.
#[derive(Clone, Debug)]
pub(crate) struct Latch {
    pub(super) pen: GateWriter,
    /// Not taken note of yet: of several for the same scope the strictest, and beside it those that may be repetitions.
    asked: Arc<Mutex<Vec<Engage>>>,
    parts: StoppedParts,
    flattenings: Flattenings,
    answered: Arc<Mutex<VecDeque<Remembered>>>,
}

impl Latch {
    pub(crate) fn new(pen: GateWriter, (parts, flattenings): (StoppedParts, Flattenings)) -> Self {
        let (asked, answered) = Default::default();
        Self { pen, asked, parts, flattenings, answered }
    }

    /// These engagements in force want positions closed.
    pub(super) fn flatten(&self, wanted: Vec<Flattening>) {
        self.flattenings.are(wanted);
    }

    fn ask(&self, engage: &Engage) {
        match engage.scope {
            LimitScope::Global => self.pen.shut(ShutReason::KillSwitchEngaged),
            LimitScope::Account(_) | LimitScope::Strategy(_) | LimitScope::Symbol(_) => {}
        }
        let mut asked = lock(&self.asked);
        match engage.scope {
            // A release may have opened the gate since, before it could see this wish: see `open`.
            LimitScope::Global => self.pen.shut(ShutReason::KillSwitchEngaged),
            // The part's orders are held back from here on.
            LimitScope::Account(_) | LimitScope::Strategy(_) | LimitScope::Symbol(_) => self.parts.add(&engage.scope),
        }
        // What may be a repetition is no wish then, and takes the place of none.
        let is_sure = |one: &Engage| one.closes_once().is_none();
        let is_alike = |held: &Engage| held.scope == engage.scope && is_sure(held);
        if is_sure(engage) {
            asked.retain(|held| !is_alike(held) || held.mode > engage.mode);
        } else {
            asked.retain(|held| !is_same(held, engage));
        }
        if !asked.iter().any(|held| is_alike(held) && held.mode > engage.mode) {
            asked.push(engage.clone());
        }
    }

    /// What was asked for and not taken note of.
    pub(super) fn asked(&self) -> Vec<Engage> {
        lock(&self.asked).clone()
    }

    /// Whether stopping everything was asked for, and that was not taken note of.
    pub(super) fn is_asked(&self) -> bool {
        lock(&self.asked).iter().any(|held| held.scope == LimitScope::Global)
    }

    /// These parts are stopped, and what was asked for and not taken note of yet.
    pub(super) fn parts_are(&self, scopes: impl Iterator<Item = LimitScope>) {
        let asked = lock(&self.asked);
        let of_parts = asked.iter().map(|engage| &engage.scope).filter(|scope| **scope != LimitScope::Global);
        self.parts.are(scopes.chain(of_parts.cloned()));
    }

    /// An engagement is in force that is as strict as this: what was asked for up to here is taken note of.
    pub(super) fn take_note(&self, scope: &LimitScope, mode: Option<KillMode>) {
        lock(&self.asked).retain(|held| held.scope != *scope || Some(held.mode) > mode);
    }

    /// This request was decided.
    pub(super) fn withdraw(&self, engage: &Engage) {
        lock(&self.asked).retain(|held| !is_same(held, engage));
    }

    /// Opens the gate for a switch that is not engaged, unless an engagement was asked for: no wish to stop can come
    /// between the look and the opening.
    pub(super) fn open(&self) {
        let asked = lock(&self.asked);
        if !asked.iter().any(|held| held.scope == LimitScope::Global) {
            self.pen.clear(ShutReason::KillSwitchEngaged);
        }
    }

    /// What is known of this request, if it was made before.
    fn first(&self, engage: &Engage) -> Option<Remembered> {
        let (key, _) = engage.key.as_ref()?;
        let answered = lock(&self.answered);
        answered.iter().find(|first| first.by == engage.by.caller && first.key == *key).cloned()
    }

    pub(super) fn remember(&self, engage: &Engage, answer: Option<EngageAnswer>) {
        let Some((key, hash)) = engage.key.clone() else { return };
        let mut answered = lock(&self.answered);
        answered.retain(|first| first.by != engage.by.caller || first.key != key);
        if answered.len() >= REMEMBERED {
            answered.pop_front();
        }
        answered.push_back(Remembered { by: engage.by.caller.clone(), key, hash, answer });
    }

    /// The request brought no engagement of its own: asked again it is looked at anew.
    pub(super) fn forget(&self, engage: &Engage) {
        let Some((key, _)) = &engage.key else { return };
        lock(&self.answered).retain(|first| first.by != engage.by.caller || first.key != *key);
    }

    /// The actor died: until it is rebuilt and has read the switch again, the switch is unknown.
    pub(crate) fn lose(&self) {
        self.pen.shut(ShutReason::KillSwitchUnknown);
    }
}

impl KillSwitchHandle {
    pub(crate) const fn new(latch: Latch, line: Line<Engage>, accounts: Everywhere) -> Self {
        Self { latch, line, accounts }
    }

    /// Shuts the gate at once, then has the engagement carried out and answers what it met.
    ///
    /// Idempotent on (caller, key): a repetition returns the first answer. What closes positions is known by its key for a day
    /// to every instance: where the first answer is not known, the answer shows the switch as it is now.
    ///
    /// # Errors
    /// [`CommandError::Invalid`] where it would stop nothing, or can't do what was asked;
    /// [`CommandError::AlreadyEngaged`] where it is so already, once nothing of ours is in flight any more;
    /// [`CommandError::OutcomeUnknown`] when the actor is down: the gate is shut all the same, and the engagement is
    /// carried out as soon as it is back.
    pub async fn engage(&self, engage: Engage) -> Result<EngageAnswer, CommandError> {
        self.check(&engage).await?;
        // A repetition is no new wish to stop: it must not shut what was released since.
        if let Some(first) = self.latch.first(&engage) {
            if first.differs_from(&engage) {
                return Err(CommandError::KeyReused);
            }
            if let Some(answer) = self.first_answer(&engage).await {
                return Ok(answer);
            }
        }
        self.latch.ask(&engage);
        self.line.ask(engage).await.unwrap_or(Err(CommandError::OutcomeUnknown))
    }

    /// What is asked for has to be possible: an account that is there, and positions that are somebody's.
    async fn check(&self, engage: &Engage) -> Result<(), CommandError> {
        let mut faults = Vec::new();
        if let LimitScope::Account(account) = &engage.scope
            && !self.accounts.is_known(account).await
        {
            faults.push(FieldError::new("scope", "unknown_account", "names no account of this gateway"));
        }
        if engage.mode.flattens() && !may_flatten(&engage.scope) {
            let rule = "flatten closes positions, which are an account's: its scope is global or an account";
            faults.push(FieldError::new("mode", "needs_other_scope", rule));
        }
        if faults.is_empty() { Ok(()) } else { Err(CommandError::Invalid(faults)) }
    }

    /// The first answer, which may still be on its way. Without one, whoever was to give it is gone.
    async fn first_answer(&self, engage: &Engage) -> Option<EngageAnswer> {
        let deadline = tokio::time::Instant::now() + LONGEST_ANSWER;
        while tokio::time::Instant::now() < deadline {
            if let Some(answer) = self.latch.first(engage)?.answer {
                return Some(answer);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

/// Whether both are the same request.
fn is_same(one: &Engage, other: &Engage) -> bool {
    one.by.caller == other.by.caller && one.key.is_some() && one.key == other.key && one.scope == other.scope
}

/// A request with a key; without an answer while it is carried out.
#[derive(Clone, Debug)]
struct Remembered {
    by: Caller,
    key: IdempotencyKey,
    hash: String,
    answer: Option<EngageAnswer>,
}

impl Remembered {
    fn differs_from(&self, engage: &Engage) -> bool {
        engage.key.as_ref().is_none_or(|(_, hash)| *hash != self.hash)
    }
}

#[cfg(feature = "loom")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Gate, GateWriters, Verdict};

    fn halt() -> Engage {
        Engage {
            operator: "ops".to_owned(),
            reason: "a test".to_owned(),
            details: None,
            scope: LimitScope::Global,
            mode: KillMode::Halt,
            settle: None,
            by: Caller::parse("desk").unwrap().into(),
            key: None,
        }
    }

    #[test]
    fn a_wish_to_stop_that_was_not_taken_note_of_keeps_the_gate_shut_whatever_is_released_meanwhile() {
        loom::model(|| {
            let (gate, GateWriters { kill_switch, breaker, account, .. }) = Gate::new();
            kill_switch.clear(ShutReason::KillSwitchUnknown);
            breaker.clear(ShutReason::CircuitBreakerUnknown);
            account.clear(ShutReason::Starting);
            account.clear(ShutReason::BrokerUnavailable);
            kill_switch.renew(Duration::from_secs(10));
            let latch = Latch::new(kill_switch, Default::default());
            let operator = {
                let latch = latch.clone();
                loom::thread::spawn(move || latch.ask(&halt()))
            };
            latch.open();
            operator.join().unwrap();
            let verdict = gate.verdict(Duration::from_secs(1));
            assert_eq!(verdict, Verdict::Shut(ShutReason::KillSwitchEngaged));
        });
    }
}
