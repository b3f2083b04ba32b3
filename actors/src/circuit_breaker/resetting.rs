//! Resetting: an operator's word that trading may go on, on the board first, and then in the database.

use std::time::Duration;

use actix::{ActorFutureExt, Context, Handler, ResponseActFuture, WrapFuture};
use chrono::TimeDelta;
use serde_json::json;

use super::{CircuitBreaker, board};
use crate::commands::{CommandError, Reset};
use crate::domain::audit::{AuditAction, Request};
use crate::domain::breaker::{BreakerState, BreakerWord, Rebased};
use crate::domain::ledger::{CIRCUIT_BREAKER, Refusal, SwitchEntry, Write};
use crate::persistence::{Lane, Persist, PersistError, audit};
use crate::ports::switchboard::BoardError;

/// How often somebody else may be faster.
const TRIES: usize = 8;

/// How far a reset came.
enum Came {
    /// It is durable, as this.
    Durable(BreakerState),
    /// The breaker has moved meanwhile.
    Overtaken,
    /// The request's key named another one.
    KeyReused,
    /// The board can't be reached, and so nothing was reset.
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

impl Handler<Reset> for CircuitBreaker {
    type Result = ResponseActFuture<Self, Result<BreakerState, CommandError>>;

    fn handle(&mut self, reset: Reset, _: &mut Self::Context) -> Self::Result {
        let patience = self.world.clock.boottime() + self.tuning.commit_timeout;
        self.resetting += 1;
        Box::pin(self.reset(reset, self.epoch, patience).map(|reset, act, _| {
            act.resetting -= 1;
            if !act.is_watched() {
                // No look will come, and what was asked for has been decided.
                act.wish = None;
            }
            reset
        }))
    }
}

impl CircuitBreaker {
    /// Resets the trip that was in force when the reset was asked for; one that came since overtakes it. What is still
    /// being saved must not be written after it, so that comes first.
    fn reset(
        &mut self,
        reset: Reset,
        epoch: u64,
        patience: Duration,
    ) -> ResponseActFuture<Self, Result<BreakerState, CommandError>> {
        if self.saving > 0 {
            if self.world.clock.boottime() > patience {
                return Box::pin(async { Err(CommandError::StoreUnavailable) }.into_actor(self));
            }
            let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
            return Box::pin(waited.then(move |(), act, _| act.reset(reset, epoch, patience)));
        }
        if self.epoch != epoch {
            return Box::pin(async { Err(overtaken()) }.into_actor(self));
        }
        let now = self.world.clock.now();
        let quiet = TimeDelta::from_std(self.tuning.quiet_period).unwrap_or(TimeDelta::MAX);
        // An unknown breaker may be reset too: that is an operator's word that it is looked after.
        let tripped = |state: BreakerState| BreakerState { state: BreakerWord::Tripped, ..state };
        let is_known = self.state.as_ref().is_some_and(|state| state.state == BreakerWord::Tripped);
        let known = match self.state.clone() {
            Some(state) if self.doubtful => tripped(state),
            Some(state) => state,
            None => tripped(BreakerState::default()),
        };
        let state = match known.reset(&reset.operator, &reset.reason, now, quiet) {
            Ok(state) => state,
            Err(refused) => return Box::pin(async move { Err(CommandError::Reset(refused)) }.into_actor(self)),
        };
        // Whatever was asked for before, this word is later.
        self.wish = None;
        let request = Request {
            by: reset.by.clone(),
            operator: Some(reset.operator.clone()),
            action: Some(AuditAction::ResetBreaker),
            subject: CIRCUIT_BREAKER.to_owned(),
        };
        let entry = SwitchEntry {
            event: "RESET".to_owned(),
            timestamp: now,
            operator: reset.operator,
            reason: Some(reset.reason),
            details: Some(json!({"caller": reset.by.caller})),
        };
        let came = self.let_go(state, entry, request, is_known).into_actor(self);
        Box::pin(came.map(move |came, act, ctx| {
            act.touched = act.world.clock.boottime();
            act.conclude_reset(came, epoch, ctx)
        }))
    }

    /// The board first: where it fails nothing is reset.
    fn let_go(
        &self,
        state: BreakerState,
        entry: SwitchEntry,
        request: Request,
        is_known: bool,
    ) -> impl Future<Output = Came> + use<> {
        let (persist, store, shared) = (self.persist.clone(), self.world.store.clone(), self.world.switchboard.clone());
        async move {
            if let Some(shared) = &shared {
                match board::reset(&**shared, &state, is_known).await {
                    Ok(()) => {}
                    Err(BoardError::LostRace) => return Came::Overtaken,
                    Err(BoardError::Unreachable { .. }) => return Came::NoBoard,
                    Err(BoardError::OutcomeUnknown { .. }) => return Came::BoardUnknown,
                }
            }
            let unread = if shared.is_some() { Came::Halfway } else { Came::NoStore };
            let mut next = state;
            for _ in 0..TRIES {
                let write = Write::Breaker { state: Box::new(next.clone()), entry: entry.clone() };
                let write = write.requested(Some(request.clone()));
                match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => return Came::Durable(next),
                    // Another instance has written: perhaps this very reset, which it saw on the board.
                    Ok(Ok(results)) => {
                        if results.contains(&Err(Refusal::KeyReused)) {
                            return Came::KeyReused;
                        }
                        let Ok(read) = store.switches().await else { return unread };
                        match next.reset_on(&read.breaker.unwrap_or_default(), is_known) {
                            Rebased::Stands(found) => {
                                // What this very request wrote has its entry.
                                if !results.iter().any(|result| matches!(result, Err(Refusal::Answered))) {
                                    audit(&persist, &request, Some(json!(found))).await;
                                }
                                return Came::Durable(found);
                            }
                            Rebased::Write(rebased) => next = rebased,
                            Rebased::Yields => return Came::Overtaken,
                        }
                    }
                    Ok(Err(_)) | Err(_) if shared.is_some() => return Came::Halfway,
                    Ok(Err(PersistError::Unavailable)) => return Came::NoStore,
                    Ok(Err(PersistError::Unknown)) | Err(_) => return Came::Unknown,
                }
            }
            Came::Overtaken
        }
    }

    fn conclude_reset(
        &mut self,
        came: Came,
        epoch: u64,
        ctx: &mut Context<Self>,
    ) -> Result<BreakerState, CommandError> {
        match came {
            Came::Durable(state) if self.epoch == epoch => {
                self.doubtful = false;
                self.borrowed = false;
                self.health.set_doubt(CIRCUIT_BREAKER, None);
                self.hold(state.clone(), ctx);
                Ok(state)
            }
            Came::Durable(state) => {
                self.overtake(state, ctx);
                Err(overtaken())
            }
            Came::Overtaken => Err(overtaken()),
            Came::KeyReused => Err(CommandError::KeyReused),
            Came::NoBoard => Err(CommandError::SwitchboardUnavailable),
            Came::NoStore => Err(CommandError::StoreUnavailable),
            Came::Halfway => Err(CommandError::OutcomeUnknown),
            Came::BoardUnknown => {
                self.unsettled = self.state.as_ref().and_then(|state| state.tripped_at);
                Err(CommandError::OutcomeUnknown)
            }
            Came::Unknown => {
                // It may be written, and what is in force must not end with this process.
                self.save_again(ctx);
                Err(CommandError::OutcomeUnknown)
            }
        }
    }

    /// A reset is written that a trip has overtaken: it is tripped anew, where that was asked for, or what is held is
    /// written again.
    pub(super) fn overtake(&mut self, state: BreakerState, ctx: &mut Context<Self>) {
        if self.wish.is_some() {
            self.take(state, ctx);
        } else {
            self.save_again(ctx);
        }
    }
}

fn overtaken() -> CommandError {
    CommandError::Conflict("the circuit breaker tripped again meanwhile".to_owned())
}
