//! The circuit breaker: trips by itself on broker errors or by hand, and is reset by hand alone.

use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, SpawnHandle, WrapFuture,
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::cancel_all::{CancelEverything, Everywhere};
use crate::commands::{CommandError, Reset, Trip};
use crate::domain::breaker::{BROKER_ERRORS, BreakerState, BreakerWord, ErrorWindow, POSITION_MISMATCH};
use crate::domain::ledger::{SwitchEntry, Write};
use crate::domain::reconciliation::Difference;
use crate::domain::trading_day::DayEnd;
use crate::gate::{GateWriter, ShutReason};
use crate::health::Health;
use crate::line::Line;
use crate::persistence::{Lane, Persist, PersistError};
use crate::ports::World;
use crate::tuning::Tuning;
use crate::watch::Sentinel;

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
    window: ErrorWindow,
    reading: bool,
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
            window: ErrorWindow::default(),
            reading: false,
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
    type Result = ResponseActFuture<Self, Result<BreakerState, CommandError>>;

    fn handle(&mut self, trip: Trip, ctx: &mut Self::Context) -> Self::Result {
        let durable = self.trip(&trip.reason, trip.details, &trip.operator, ctx);
        let state = self.state.clone().unwrap_or_default();
        let waited = async move {
            if let Some(durable) = durable {
                // The gate is shut whether or not the trip is durable in time; it is saved for as long as it is held.
                if tokio::time::timeout(Duration::from_secs(1), durable).await.is_err() {
                    tracing::error!("the trip of the breaker is not durable yet");
                }
            }
        };
        Box::pin(waited.into_actor(self).map(move |(), _, _| Ok(state)))
    }
}

impl Handler<Reset> for CircuitBreaker {
    type Result = ResponseActFuture<Self, Result<BreakerState, CommandError>>;

    fn handle(&mut self, reset: Reset, _: &mut Self::Context) -> Self::Result {
        let patience = self.world.clock.boottime() + self.tuning.commit_timeout;
        self.reset(reset, self.epoch, patience)
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
        let unknown = || BreakerState { state: BreakerWord::Tripped, ..BreakerState::default() };
        let state = match self.state.clone().unwrap_or_else(unknown).reset(&reset.operator, &reset.reason, now, quiet) {
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
        let persist = self.persist.clone();
        let saved = async move { persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await };
        Box::pin(saved.into_actor(self).map(move |saved, act, ctx| match saved {
            Ok(Ok(results)) if results.iter().any(Result::is_err) => Err(overtaken()),
            Ok(Ok(_)) if act.epoch == epoch => {
                act.hold(state.clone(), ctx);
                Ok(state)
            }
            Ok(Ok(_)) => {
                act.save_again(ctx);
                Err(overtaken())
            }
            Ok(Err(PersistError::Unavailable)) => Err(CommandError::StoreUnavailable),
            Ok(Err(PersistError::Unknown)) | Err(_) => {
                // It may be written, and what is in force must not end with this process.
                act.save_again(ctx);
                Err(CommandError::OutcomeUnknown)
            }
        }))
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
        let (reason, details) = (tripped.trip_reason.clone(), tripped.trip_details.clone());
        drop(self.save(tripped, "TRIPPED", "gateway", reason, details, ctx));
    }

    /// The one place where `state` changes: gate, health and the quiet period's timer follow together.
    fn hold(&mut self, state: BreakerState, ctx: &mut Context<Self>) {
        let reason = match state.state {
            BreakerWord::Allowing => None,
            BreakerWord::Tripped => Some(ShutReason::CircuitBreakerTripped),
            BreakerWord::Quiet => Some(ShutReason::CircuitBreakerQuiet),
        };
        // Shut for the new reason before the old one is taken back, so that no moment is open in between.
        if let Some(reason) = reason {
            self.pen.shut(reason);
        }
        for other in
            [ShutReason::CircuitBreakerTripped, ShutReason::CircuitBreakerQuiet, ShutReason::CircuitBreakerUnknown]
        {
            if Some(other) != reason {
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
    ) -> Option<tokio::sync::oneshot::Receiver<()>> {
        // Whether or not it is tripped already: this trip overtakes a reset that is on its way.
        self.epoch += 1;
        let now = self.world.clock.now();
        let known = self.state.clone().unwrap_or_default();
        let tripped = known.trip(reason, details.clone(), now, DayEnd::new_york().trading_day(now))?;
        self.hold(tripped.clone(), ctx);
        metrics::counter!("tranche_breaker_trips_total").increment(1);
        tracing::error!(%reason, %operator, "the circuit breaker tripped");
        if self.tuning.cancel_on_trip {
            let (accounts, within) = (self.accounts.clone(), self.tuning.kill_settle);
            let cancelled = async move { accounts.cancel(CancelEverything { within, also: Vec::new() }).await };
            ctx.spawn(cancelled.into_actor(self).map(|tally, _, _| {
                if tally.is_err() {
                    tracing::error!("the cancels of a trip could not be asked for");
                }
            }));
        }
        Some(self.save(tripped, "TRIPPED", operator, Some(reason.to_owned()), details, ctx))
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
    ) -> tokio::sync::oneshot::Receiver<()> {
        let entry = SwitchEntry {
            event: event.to_owned(),
            timestamp: self.world.clock.now(),
            operator: operator.to_owned(),
            reason,
            details,
        };
        let (persist, store, health) = (self.persist.clone(), self.world.store.clone(), self.health.clone());
        let (told, durable) = tokio::sync::oneshot::channel();
        let saving = async move {
            let mut state = state;
            while health.breaker().is_some_and(|held| held.is_same(&state)) {
                let write = Write::Breaker { state: Box::new(state.clone()), entry: entry.clone() };
                match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => break,
                    Ok(Ok(_)) => {
                        if let Ok(Some(found)) = store.switches().await.map(|switches| switches.breaker) {
                            state.revision = found.next_revision();
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
                }
            }
            if told.send(()).is_err() {
                tracing::info!("the breaker's state is durable now");
            }
            state
        };
        self.saving += 1;
        ctx.spawn(saving.into_actor(self).map(|saved, act, _| {
            act.saving -= 1;
            if let Some(held) = act.state.as_mut().filter(|held| held.is_same(&saved)) {
                held.revision = saved.revision;
                act.health.set_breaker(Some(saved));
            }
        }));
        durable
    }
}

fn overtaken() -> CommandError {
    CommandError::Conflict("the circuit breaker tripped again meanwhile".to_owned())
}
