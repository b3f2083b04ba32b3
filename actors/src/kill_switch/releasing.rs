//! Letting go: by an operator of ours, or as another program did it.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, ResponseActFuture, WrapFuture};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::parts::Seen;
use super::{KillSwitch, TRIES, board};
use crate::commands::{CommandError, Disengage, Released as Answer};
use crate::domain::audit::{AuditAction, Request};
use crate::domain::kill::{KillState, KillWord, Rebased};
use crate::domain::ledger::{KILL_SWITCH, Refusal, SwitchEntry, Write};
use crate::domain::limits::{LimitScope, Subject};
use crate::domain::resuming::Resumes;
use crate::domain::switchboard::kill;
use crate::persistence::{Lane, Persist, PersistError, audit};
use crate::ports::switchboard::BoardError;

/// How long our books are asked what goes on.
const READ: Duration = Duration::from_millis(500);

/// How far a release came.
enum Released {
    /// It is durable, as this.
    Durable(KillState),
    /// The switch has moved meanwhile.
    Overtaken,
    /// The request's key named another one.
    KeyReused,
    /// The board can't be reached, and so nothing was released.
    NoBoard,
    /// The board did not answer, and may take it yet: a look will show that, and finish it.
    BoardUnknown,
    /// The board took it, and the database does not answer: it follows as soon as it does.
    Halfway,
    /// The database does not answer.
    NoStore,
    /// It may be in the database.
    Unknown,
}

impl KillSwitch {
    /// Until a release that an engagement overtook on its way to the store is followed there by the engagement: else a
    /// crash would let it through after all. It waits no longer than an engagement does for its own commit.
    pub(super) fn until_written(&self, patience: Duration) -> ResponseActFuture<Self, ()> {
        let is_written = self.releasing == 0 && self.saving == 0;
        if is_written || self.world.clock.boottime() > patience {
            return Box::pin(async {}.into_actor(self));
        }
        let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
        Box::pin(waited.then(move |(), act, _| act.until_written(patience)))
    }

    /// Releases the engagement that was in force when the release was asked for; one that came since overtakes it, also
    /// while it waits.
    pub(super) fn release_of(
        &self,
        release: Disengage,
        epoch: u64,
        patience: Duration,
    ) -> ResponseActFuture<Self, Result<Answer, CommandError>> {
        // What still cuts off and cancels must not meet orders that are sent after the release, and what is still being
        // saved must not be written after it, nor the marks of its cancels. And what stays stopped has to be read once.
        let is_written = self.saving == 0 && !self.lines.accounts.owes();
        if self.is_carrying_out() || !is_written || self.parts == Seen::NotYet {
            if !self.is_carrying_out() && self.world.clock.boottime() > patience {
                return Box::pin(async { Err(CommandError::StoreUnavailable) }.into_actor(self));
            }
            let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
            return Box::pin(waited.then(move |(), act, _| act.release_of(release, epoch, patience)));
        }
        if self.epoch != epoch {
            return Box::pin(async { Err(overtaken()) }.into_actor(self));
        }
        let now = self.world.clock.now();
        // An unknown switch may be released too: that is an operator's word that trading may go on.
        let is_known = self.state.as_ref().is_some_and(KillState::is_engaged) || !self.doubtful;
        let held = self.state.clone().filter(|_| is_known);
        let unknown = || KillState {
            state: KillWord::Engaged,
            revision: self.state.as_ref().map_or(0, |state| state.revision),
            ..KillState::default()
        };
        let known = held.clone().unwrap_or_else(unknown);
        let Some(state) = known.disengage(&release.operator, release.notes.as_deref(), now) else {
            return Box::pin(async { Err(CommandError::NotEngaged) }.into_actor(self));
        };
        let request = Request {
            by: release.by.clone(),
            operator: Some(release.operator.clone()),
            action: Some(AuditAction::DisengageKillSwitch),
            subject: KILL_SWITCH.to_owned(),
        };
        let entry = SwitchEntry {
            event: "DISENGAGED".to_owned(),
            timestamp: now,
            operator: release.operator,
            reason: release.notes,
            details: None,
        };
        let parts = self.halts.clone();
        let goes_on = move |one: Subject<'_>| parts.stopping(one).is_none();
        let read = self.what_resumes(&LimitScope::Global, goes_on).into_actor(self);
        let caller = release.by.caller;
        let cancelled = read.then(move |resumes, act, _| {
            let entry = SwitchEntry { details: Some(json!({"caller": caller, "resumes": resumes})), ..entry };
            act.let_go(held, state, entry, request).into_actor(act).then(move |saved, act, _| {
                // A recovery may have begun to cancel again meanwhile.
                act.once_carried_out(epoch).map(move |(), _, _| (saved, resumes))
            })
        });
        Box::pin(cancelled.map(move |(released, resumes), act, ctx| {
            let state = act.conclude_release(released, epoch, known.engaged_at, ctx)?;
            Ok(Answer { state, resumes })
        }))
    }

    /// What goes on of every account once this is let go. Whether that can be read doesn't decide whether it is let go.
    pub(super) fn what_resumes<F: Fn(Subject<'_>) -> bool>(
        &self,
        scope: &LimitScope,
        goes_on: F,
    ) -> impl Future<Output = Option<Vec<Resumes>>> + use<F> {
        let (store, accounts) = (self.world.store.clone(), self.lines.accounts.names(scope));
        async move {
            let mut resumes = Vec::new();
            for account in accounts {
                let parents = tokio::time::timeout(READ, store.open_parents(&account)).await.ok()?.ok()?;
                resumes.extend(Resumes::of(&account, &parents, &goes_on));
            }
            Some(resumes)
        }
    }

    /// Until a look that began after a release has leased openness again, or shown that somebody else engaged since.
    pub(super) fn until_seen(
        &self,
        is_released: bool,
        since: Duration,
        patience: Duration,
    ) -> ResponseActFuture<Self, ()> {
        let is_engaged = self.state.as_ref().is_some_and(KillState::is_engaged);
        let is_seen = !is_released || !self.is_watched() || is_engaged || self.confirmed > since;
        if is_seen || self.world.clock.boottime() > patience {
            return Box::pin(async {}.into_actor(self));
        }
        let waited = tokio::time::sleep(Duration::from_millis(10)).into_actor(self);
        Box::pin(waited.then(move |(), act, _| act.until_seen(is_released, since, patience)))
    }

    fn conclude_release(
        &mut self,
        released: Released,
        epoch: u64,
        engaged_at: Option<DateTime<Utc>>,
        ctx: &mut Context<Self>,
    ) -> Result<KillState, CommandError> {
        self.touched = self.world.clock.boottime();
        match released {
            // Released only once that is durable; until then everything stays as it is.
            Released::Durable(state) if self.epoch == epoch && !self.latch.is_asked() => {
                self.parts_are_written();
                self.release(state.clone());
                Ok(state)
            }
            Released::Durable(_) => {
                self.save_again(ctx);
                Err(overtaken())
            }
            Released::Overtaken => Err(overtaken()),
            Released::KeyReused => Err(CommandError::KeyReused),
            Released::NoBoard => Err(CommandError::SwitchboardUnavailable),
            Released::NoStore => Err(CommandError::StoreUnavailable),
            Released::Halfway => Err(CommandError::OutcomeUnknown),
            Released::BoardUnknown => {
                self.unsettled = engaged_at;
                Err(CommandError::OutcomeUnknown)
            }
            Released::Unknown => {
                // It may be written, and what is in force must not end with this process.
                self.save_again(ctx);
                Err(CommandError::OutcomeUnknown)
            }
        }
    }

    /// The board first, and the database only once the board has taken it.
    fn let_go(
        &self,
        held: Option<KillState>,
        state: KillState,
        entry: SwitchEntry,
        request: Request,
    ) -> impl Future<Output = Released> + use<> {
        let (shared, persist) = (self.world.switchboard.clone(), self.lines.persist.clone());
        let store = self.world.store.clone();
        let parts = self.parts_anew(&entry);
        async move {
            if let Some(shared) = &shared {
                match board::release(&**shared, held.as_ref(), &state, &entry).await {
                    Ok(()) => {}
                    Err(BoardError::LostRace) => return Released::Overtaken,
                    Err(BoardError::Unreachable { .. }) => return Released::NoBoard,
                    Err(BoardError::OutcomeUnknown { .. }) => return Released::BoardUnknown,
                }
            }
            let unread = if shared.is_some() { Released::Halfway } else { Released::NoStore };
            let mut next = state;
            for _ in 0..TRIES {
                let write = Write::Kill { state: Box::new(next.clone()), entry: entry.clone() };
                let mut writes = vec![write.requested(Some(request.clone()))];
                writes.extend(parts.clone());
                match persist.ask(Persist { writes, lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => {
                        return Released::Durable(next);
                    }
                    // Another instance has written: perhaps this very release, which it saw on the board.
                    Ok(Ok(results)) => {
                        if results.contains(&Err(Refusal::KeyReused)) {
                            return Released::KeyReused;
                        }
                        let Ok(read) = store.switches().await else { return unread };
                        match next.release_on(&read.kill.unwrap_or_default(), held.is_some()) {
                            Rebased::Stands(found) => {
                                // What this very request wrote has its entry.
                                if !results.iter().any(|result| matches!(result, Err(Refusal::Answered))) {
                                    audit(&persist, &request, Some(json!(found))).await;
                                }
                                return Released::Durable(found);
                            }
                            Rebased::Write(rebased) => next = rebased,
                            Rebased::Yields(_) => return Released::Overtaken,
                        }
                    }
                    Ok(Err(_)) | Err(_) if shared.is_some() => return Released::Halfway,
                    Ok(Err(PersistError::Unavailable)) => return Released::NoStore,
                    Ok(Err(PersistError::Unknown)) | Err(_) => return Released::Unknown,
                }
            }
            Released::Overtaken
        }
    }

    /// Takes over what another program did: durable first, then the gate may open.
    pub(super) fn release_as_told(&mut self, held: &KillState, told: &KillState, ctx: &mut Context<Self>) {
        let state = kill::release(held, told);
        let entry = kill::entry_of(&state, self.world.clock.now());
        let write = Write::Kill { state: Box::new(state.clone()), entry };
        let (persist, epoch) = (self.lines.persist.clone(), self.epoch);
        self.releasing += 1;
        let saved = async move { persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await };
        ctx.spawn(saved.into_actor(self).map(move |saved, act, ctx| {
            act.releasing -= 1;
            act.touched = act.world.clock.boottime();
            // What fails is tried again at the next look; what another instance wrote is seen there.
            let is_written = matches!(saved, Ok(Ok(results)) if !results.iter().any(Result::is_err));
            match (is_written, act.epoch == epoch && !act.latch.is_asked()) {
                (true, true) => {
                    tracing::warn!(operator = ?state.disengaged_by, "another program disengages the kill switch");
                    act.borrowed = false;
                    act.release(state);
                }
                (true, false) => act.save_again(ctx),
                (false, _) => {}
            }
        }));
    }

    /// Ends once no engagement stops sends or cancels any more, or another one came.
    fn once_carried_out(&self, epoch: u64) -> ResponseActFuture<Self, ()> {
        if !self.is_carrying_out() || self.epoch != epoch {
            return Box::pin(async {}.into_actor(self));
        }
        let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
        Box::pin(waited.then(move |(), act, _| act.once_carried_out(epoch)))
    }
}

fn overtaken() -> CommandError {
    CommandError::Conflict("the kill switch was engaged again meanwhile".to_owned())
}
