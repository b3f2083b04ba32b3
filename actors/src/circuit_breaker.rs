//! The circuit breaker: trips by itself on broker errors or by hand, and is reset by hand alone.

use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, SpawnHandle, WrapFuture,
};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::cancel_all::{CancelEverything, Everywhere};
use crate::commands::{CommandError, Reset, Trip, Tripped};
use crate::domain::breaker::{BROKER_ERRORS, BreakerState, BreakerWord, ErrorWindow, POSITION_MISMATCH, Rebased};
use crate::domain::ledger::{CIRCUIT_BREAKER, SwitchEntry, Write};
use crate::domain::reconciliation::Difference;
use crate::domain::trading_day::DayEnd;
use crate::gate::{GateWriter, ShutReason};
use crate::health::Health;
use crate::line::{Line, Unanswered};
use crate::persistence::{Lane, Persist, PersistError};
use crate::ports::World;
use crate::ports::store::Commit;
use crate::tuning::Tuning;
use crate::watch::Sentinel;

mod board;
mod heeding;

/// The broker answered a request, or failed to.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct BrokerAnswered {
    /// Whether it was an error: a time-out, a refused connection, an error of the broker's own. A rejection is none.
    pub(crate) is_error: bool,
}

/// Our position differs from the broker's by more than is borne.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct PositionDiffers(pub(crate) Difference);

/// Owns the breaker. `state` is `None` while it is unknown, and then the gate is shut.
pub(crate) struct CircuitBreaker {
    world: World,
    tuning: Tuning,
    health: Health,
    pen: GateWriter,
    persist: Line<Persist>,
    accounts: Everywhere,
    state: Option<BreakerState>,
    /// Grows with every trip, so that a reset in progress notices that it was overtaken.
    epoch: u64,
    /// How many states are not durable yet.
    saving: u32,
    /// How many resets are being carried out.
    resetting: u32,
    window: ErrorWindow,
    reading: bool,
    /// The board is being told of the trip, or of the end of a quiet period.
    asserting: bool,
    /// When the breaker was last changed from here: what a look that began before says of it is old.
    touched: Duration,
    /// The last look said that the breaker is missing or unreadable.
    doubtful: bool,
    /// It is tripped by the board's word alone: the database knows that trip as reset.
    borrowed: bool,
    /// The board and the database disagree, and that was said.
    disagrees: bool,
    quiet: Option<SpawnHandle>,
    _sentinel: Sentinel,
}

impl CircuitBreaker {
    pub(crate) fn new(
        (world, tuning, health): (World, Tuning, Health),
        pen: GateWriter,
        (persist, accounts): (Line<Persist>, Everywhere),
        sentinel: Sentinel,
    ) -> Self {
        Self {
            world,
            tuning,
            health,
            pen,
            persist,
            accounts,
            state: None,
            epoch: 0,
            saving: 0,
            resetting: 0,
            window: ErrorWindow::default(),
            reading: false,
            asserting: false,
            touched: Duration::ZERO,
            doubtful: false,
            borrowed: false,
            disagrees: false,
            quiet: None,
            _sentinel: sentinel,
        }
    }
}

impl Actor for CircuitBreaker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.read(ctx);
        ctx.run_interval(self.tuning.gate_poll, Self::read);
    }
}

impl Handler<BrokerAnswered> for CircuitBreaker {
    type Result = ();

    fn handle(&mut self, answered: BrokerAnswered, ctx: &mut Self::Context) {
        let now = self.world.clock.monotonic();
        if self.window.note(answered.is_error, now, &self.tuning.error_rule) {
            self.window.clear();
            let details = json!({"window_seconds": self.tuning.error_rule.window.as_secs()});
            drop(self.trip(BROKER_ERRORS, Some(details), "gateway", ctx));
        }
    }
}

impl Handler<PositionDiffers> for CircuitBreaker {
    type Result = ();

    fn handle(&mut self, PositionDiffers(difference): PositionDiffers, ctx: &mut Self::Context) {
        let Difference { symbol, ours, theirs, .. } = difference;
        let details = json!({"symbol": symbol, "ours": ours, "theirs": theirs});
        drop(self.trip(POSITION_MISMATCH, Some(details), "gateway", ctx));
    }
}

impl Handler<Trip> for CircuitBreaker {
    type Result = ResponseActFuture<Self, Result<Tripped, CommandError>>;

    fn handle(&mut self, trip: Trip, ctx: &mut Self::Context) -> Self::Result {
        let durable = self.trip(&trip.reason, trip.details, &trip.operator, ctx);
        let has_board = self.world.switchboard.is_some();
        let waited = async move {
            let Some(durable) = durable else { return Vec::new() };
            // The gate is shut whether or not the trip is durable in time; it is saved for as long as it is held.
            let timed = tokio::time::timeout(Duration::from_secs(1), durable).await;
            let mut missing = Vec::new();
            let saved = timed.ok().and_then(Result::ok);
            if saved.is_none() {
                missing.push("database");
            }
            if has_board && !saved.is_some_and(|on_board| on_board) {
                missing.push("redis");
            }
            missing
        };
        Box::pin(
            waited.into_actor(self).map(move |not_durable, act, _| {
                Ok(Tripped { state: act.state.clone().unwrap_or_default(), not_durable })
            }),
        )
    }
}

impl Handler<Reset> for CircuitBreaker {
    type Result = ResponseActFuture<Self, Result<BreakerState, CommandError>>;

    fn handle(&mut self, reset: Reset, _: &mut Self::Context) -> Self::Result {
        let patience = self.world.clock.boottime() + self.tuning.commit_timeout;
        self.resetting += 1;
        Box::pin(self.reset(reset, self.epoch, patience).map(|reset, act, _| {
            act.resetting -= 1;
            reset
        }))
    }
}

impl CircuitBreaker {
    /// Resets the trip that was in force when the reset was asked for; one that came since overtakes it. What is still
    /// being saved must not be written after it, so that comes first.
    fn reset(
        &self,
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
        let known = match self.state.clone() {
            Some(state) if self.doubtful => tripped(state),
            Some(state) => state,
            None => tripped(BreakerState::default()),
        };
        let state = match known.reset(&reset.operator, &reset.reason, now, quiet) {
            Ok(state) => state,
            Err(refused) => return Box::pin(async move { Err(CommandError::Reset(refused)) }.into_actor(self)),
        };
        let entry = SwitchEntry {
            event: "RESET".to_owned(),
            timestamp: now,
            operator: reset.operator,
            reason: Some(reset.reason),
            details: Some(json!({"caller": reset.by})),
        };
        let write = Write::Breaker { state: Box::new(state.clone()), entry };
        let (persist, shared, wanted) = (self.persist.clone(), self.world.switchboard.clone(), state.clone());
        let has_board = shared.is_some();
        let saved = async move {
            // The board first: where it fails nothing is reset.
            if let Some(shared) = shared {
                board::reset(&*shared, &wanted).await.ok()?;
            }
            Some(persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await)
        };
        Box::pin(saved.into_actor(self).map(move |saved, act, ctx| {
            act.touched = act.world.clock.boottime();
            let Some(saved) = saved else { return Err(CommandError::SwitchboardUnavailable) };
            act.conclude_reset(saved, epoch, has_board, state, ctx)
        }))
    }

    fn conclude_reset(
        &mut self,
        saved: Result<Result<Commit, PersistError>, Unanswered>,
        epoch: u64,
        has_board: bool,
        state: BreakerState,
        ctx: &mut Context<Self>,
    ) -> Result<BreakerState, CommandError> {
        match saved {
            Ok(Ok(results)) if results.iter().any(Result::is_err) => Err(overtaken()),
            Ok(Ok(_)) if self.epoch == epoch => {
                self.doubtful = false;
                self.borrowed = false;
                self.health.set_doubt(CIRCUIT_BREAKER, None);
                self.hold(state.clone(), ctx);
                Ok(state)
            }
            Ok(Ok(_)) => {
                self.save_again(ctx);
                Err(overtaken())
            }
            // The board has it, and the database follows as soon as it answers: as after another program's reset.
            Ok(Err(_)) | Err(_) if has_board => Err(CommandError::OutcomeUnknown),
            Ok(Err(PersistError::Unavailable)) => Err(CommandError::StoreUnavailable),
            Ok(Err(PersistError::Unknown)) | Err(_) => {
                // It may be written, and what is in force must not end with this process.
                self.save_again(ctx);
                Err(CommandError::OutcomeUnknown)
            }
        }
    }

    /// Reads the breaker until it is known.
    fn read(&mut self, ctx: &mut Context<Self>) {
        if self.state.is_some() || std::mem::replace(&mut self.reading, true) {
            return;
        }
        let store = self.world.store.clone();
        ctx.spawn(async move { store.switches().await }.into_actor(self).map(|read, act, ctx| {
            act.reading = false;
            // While it can't be read, or is missing, the gate stays shut; the kill switch reports on the store.
            if let Ok(Some(state)) = read.map(|switches| switches.breaker) {
                act.learn(state, ctx);
            }
        }));
    }

    /// The first good read. A trip that could not be made durable before the actor died stays one.
    fn learn(&mut self, read: BreakerState, ctx: &mut Context<Self>) {
        if self.state.is_some() {
            return;
        }
        let remembered = self.health.breaker().filter(|last| last.state == BreakerWord::Tripped);
        match remembered {
            Some(tripped) => {
                self.hold(if read.state == BreakerWord::Tripped { read } else { tripped }, ctx);
                // A reset that the dead actor had sent to the store may be written only now.
                self.save_again(ctx);
            }
            None => self.hold(read, ctx),
        }
    }

    /// Makes a trip in force durable anew, where the store may say something milder. It overtakes a reset that is on its
    /// way, which would be written before it.
    fn save_again(&mut self, ctx: &mut Context<Self>) {
        let Some(tripped) = self.state.clone().filter(|state| state.state == BreakerWord::Tripped) else {
            return;
        };
        self.epoch += 1;
        let entry = SwitchEntry {
            event: "TRIPPED".to_owned(),
            timestamp: self.world.clock.now(),
            operator: "gateway".to_owned(),
            reason: tripped.trip_reason.clone(),
            details: tripped.trip_details.clone(),
        };
        drop(self.save_entry(tripped, entry, true, ctx));
    }

    /// The one place where `state` changes: gate, health and the quiet period's timer follow together.
    fn hold(&mut self, state: BreakerState, ctx: &mut Context<Self>) {
        let reason = match state.state {
            BreakerWord::Allowing => None,
            BreakerWord::Tripped => Some(ShutReason::CircuitBreakerTripped),
            BreakerWord::Quiet => Some(ShutReason::CircuitBreakerQuiet),
        };
        self.touched = self.world.clock.boottime();
        // Shut for the new reason before the old one is taken back, so that no moment is open in between.
        if let Some(reason) = reason {
            self.pen.shut(reason);
        }
        for other in
            [ShutReason::CircuitBreakerTripped, ShutReason::CircuitBreakerQuiet, ShutReason::CircuitBreakerUnknown]
        {
            let is_in_doubt = self.doubtful && other == ShutReason::CircuitBreakerUnknown;
            if Some(other) != reason && !is_in_doubt {
                self.pen.clear(other);
            }
        }
        if let Some(quiet) = self.quiet.take() {
            ctx.cancel_future(quiet);
        }
        if let Some(until) = state.quiet_until {
            let left = (until - self.world.clock.now()).to_std().unwrap_or(Duration::ZERO);
            self.quiet = Some(ctx.run_later(left, Self::end_quiet));
        }
        self.health.set_breaker(Some(state.clone()));
        self.state = Some(state);
    }

    fn end_quiet(&mut self, ctx: &mut Context<Self>) {
        self.quiet = None;
        let now = self.world.clock.now();
        let Some(known) = self.state.clone() else { return };
        let Some(state) = known.settled(now) else {
            // The wall clock has not come as far as the timer: look again.
            self.hold(known, ctx);
            return;
        };
        self.hold(state.clone(), ctx);
        drop(self.save(state, "QUIET_PERIOD_ENDED", "gateway", None, None, ctx));
    }

    fn trip(
        &mut self,
        reason: &str,
        details: Option<Value>,
        operator: &str,
        ctx: &mut Context<Self>,
    ) -> Option<oneshot::Receiver<bool>> {
        // Whether or not it is tripped already: this trip overtakes a reset that is on its way.
        self.epoch += 1;
        let now = self.world.clock.now();
        let known = self.state.clone().unwrap_or_default();
        let tripped = known.trip(reason, details.clone(), now, DayEnd::new_york().trading_day(now))?;
        self.hold(tripped.clone(), ctx);
        metrics::counter!("tranche_breaker_trips_total").increment(1);
        tracing::error!(%reason, %operator, "the circuit breaker tripped");
        self.borrowed = false;
        self.cancel_for_trip(ctx);
        Some(self.save(tripped, "TRIPPED", operator, Some(reason.to_owned()), details, ctx))
    }

    /// What a trip does to open orders, as configured.
    fn cancel_for_trip(&self, ctx: &mut Context<Self>) {
        if self.tuning.cancel_on_trip {
            let (accounts, within) = (self.accounts.clone(), self.tuning.kill_settle);
            let cancelled = async move { accounts.cancel(CancelEverything { within, also: Vec::new() }).await };
            ctx.spawn(cancelled.into_actor(self).map(|tally, _, _| {
                if tally.is_err() {
                    tracing::error!("the cancels of a trip could not be asked for");
                }
            }));
        }
    }

    /// Makes a state durable; what fails is tried again for as long as it is the state.
    fn save(
        &mut self,
        state: BreakerState,
        event: &str,
        operator: &str,
        reason: Option<String>,
        details: Option<Value>,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<bool> {
        let entry = SwitchEntry {
            event: event.to_owned(),
            timestamp: self.world.clock.now(),
            operator: operator.to_owned(),
            reason,
            details,
        };
        self.save_entry(state, entry, false, ctx)
    }

    /// A trip goes to the board first, so that the database remembers whether it was there; it tries that once.
    fn save_entry(
        &mut self,
        state: BreakerState,
        entry: SwitchEntry,
        insists: bool,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<bool> {
        let (persist, store, health) = (self.persist.clone(), self.world.store.clone(), self.health.clone());
        let (shared, now) = (self.world.switchboard.clone(), self.world.clock.now());
        let (told, durable) = oneshot::channel();
        let held = state.clone();
        let saving = async move {
            let mut next = state.clone();
            let mut on_board = false;
            if let (Some(shared), BreakerWord::Tripped) = (&shared, state.state) {
                on_board = board::trip(&**shared, &state, now).await.is_ok();
                next.seen_on_board |= on_board;
            }
            while health.breaker().is_some_and(|held| held.is_same(&state)) {
                let write = Write::Breaker { state: Box::new(next.clone()), entry: entry.clone() };
                let pause = match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => {
                        return (told, Some(next), on_board);
                    }
                    Ok(Ok(_)) => 20,
                    Ok(Err(_)) | Err(_) => 500,
                };
                if pause == 20
                    && let Ok(Some(found)) = store.switches().await.map(|switches| switches.breaker)
                {
                    match next.rebased_on(&found, insists) {
                        Rebased::Stands(found) => return (told, Some(found), on_board),
                        Rebased::Write(rebased) => next = rebased,
                        // The next look at the database takes it.
                        Rebased::Yields => return (told, None, on_board),
                    }
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            (told, None, on_board)
        };
        self.saving += 1;
        ctx.spawn(saving.into_actor(self).map(move |(told, saved, on_board), act, ctx| {
            act.saving -= 1;
            act.touched = act.world.clock.boottime();
            if let Some(saved) = saved
                && act.state.as_ref().is_some_and(|now| now.is_same(&held))
            {
                act.hold(saved, ctx);
            }
            if told.send(on_board).is_err() {
                tracing::info!("the breaker's state is saved now");
            }
        }));
        durable
    }
}

fn overtaken() -> CommandError {
    CommandError::Conflict("the circuit breaker tripped again meanwhile".to_owned())
}
