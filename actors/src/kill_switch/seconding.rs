//! Letting go by the words of two: where that is configured, the second within five minutes of the first, and with another key.

use actix::{ActorFutureExt, ResponseActFuture, WrapFuture};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::KillSwitch;
use crate::commands::{CommandError, Disengage};
use crate::domain::audit::{AuditAction, Request};
use crate::domain::kill::{KillMode, KillState};
use crate::domain::ledger::{KILL_SWITCH, SwitchEntry, Write};
use crate::domain::names::Caller;
use crate::persistence::{Lane, Persist, PersistError};

/// How long the first word counts.
const COUNTS: TimeDelta = TimeDelta::minutes(5);
/// What the history calls it.
const ASKED: &str = "DISENGAGE_ASKED";
/// How far the history is looked through for it.
const LOOK: u32 = 100;

impl KillSwitch {
    /// Whether a release may be carried out, as far as the number of those who want it goes. A first word is kept in the
    /// history, where every instance finds it; where that can't be read or written, nothing is released.
    pub(super) fn seconded(&self, release: &Disengage) -> ResponseActFuture<Self, Result<(), CommandError>> {
        let is_held = self.doubtful || self.state.as_ref().is_none_or(KillState::is_engaged);
        if !self.tuning.second_operator || !is_held {
            return Box::pin(async { Ok(()) }.into_actor(self));
        }
        let engagement = self.state.as_ref().and_then(|state| state.engagement_id.clone());
        // What was said of a milder one is not said of this.
        let mode = self.state.as_ref().and_then(|state| state.mode).map(KillMode::as_str);
        let (store, persist, now) = (self.world.store.clone(), self.lines.persist.clone(), self.world.clock.now());
        let (by, operator, notes) = (release.by.clone(), release.operator.clone(), release.notes.clone());
        let asked = async move {
            let history = store.switch_history(KILL_SWITCH, LOOK).await;
            let history = history.map_err(|_| CommandError::StoreUnavailable)?;
            if history.iter().any(|entry| is_first_word(entry, (engagement.as_deref(), mode), &by.caller, now)) {
                return Ok(());
            }
            let entry = SwitchEntry {
                event: ASKED.to_owned(),
                timestamp: now,
                operator: operator.clone(),
                reason: notes,
                details: Some(json!({"caller": by.caller, "engagement_id": engagement, "mode": mode})),
            };
            let action = Some(AuditAction::AskToDisengage);
            let (operator, subject) = (Some(operator), KILL_SWITCH.to_owned());
            // A repetition is another word: it is not answered from what was kept.
            let request = Request { by: crate::domain::audit::By { once: None, ..by }, operator, action, subject };
            let write = Write::Noted(entry).requested(Some(request));
            match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                Ok(Ok(results)) if results.iter().all(Result::is_ok) => Err(CommandError::SecondOperator),
                Ok(Ok(_) | Err(PersistError::Unavailable)) => Err(CommandError::StoreUnavailable),
                Ok(Err(PersistError::Unknown)) | Err(_) => Err(CommandError::OutcomeUnknown),
            }
        };
        Box::pin(asked.into_actor(self).map(|asked, _, _| asked))
    }
}

/// Whether somebody else wanted this engagement to end, a little earlier.
fn is_first_word(
    entry: &SwitchEntry,
    (engagement, mode): (Option<&str>, Option<&str>),
    by: &Caller,
    now: DateTime<Utc>,
) -> bool {
    let said = |name: &str| entry.details.as_ref().and_then(|details| details.get(name)).and_then(Value::as_str);
    entry.event == ASKED
        && said("engagement_id") == engagement
        && said("mode") == mode
        && said("caller").is_some_and(|caller| caller != by.as_str())
        && (now - COUNTS..=now).contains(&entry.timestamp)
}
