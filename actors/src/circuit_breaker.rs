//! The circuit breaker: trips by itself on broker errors or by hand, and is reset by hand alone.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::cancel_all::{CancelEverything, Everywhere};
use crate::domain::audit::Request;
use crate::domain::breaker::{BROKER_ERRORS, BreakerState, BreakerWord, ErrorWindow, POSITION_MISMATCH, Rebased};
use crate::domain::ledger::{Refusal, SwitchEntry, Write};
use crate::domain::limits::LimitScope;
use crate::domain::reconciliation::Difference;
use crate::gate::{GateWriter, ShutReason};
use crate::health::Health;
use crate::line::Line;
use crate::persistence::{Lane, Persist};
use crate::ports::World;
use crate::tuning::Tuning;
use crate::watch::Sentinel;

use tripping::Wish;

mod board;
mod heeding;
mod resetting;
mod tripping;

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

/// A line was crossed that an account's portfolio is watched for.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LineCrossed {
    /// The reason of the trip.
    pub(crate) reason: &'static str,
    /// What was found.
    pub(crate) details: Value,
}

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
    /// A trip was asked for while one was held: until a look that begins after it shows that it is held still.
    wish: Option<Wish>,
    /// The time of a trip whose reset the board was asked for and did not answer: it may take it yet.
    unsettled: Option<DateTime<Utc>>,
    /// The last reset that the board told of beside no trip, once the history knows it.
    reset_seen: Option<DateTime<Utc>>,
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
            wish: None,
            unsettled: None,
            reset_seen: None,
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
            drop(self.trip(BROKER_ERRORS, Some(details), "gateway", None, ctx));
        }
    }
}

impl Handler<PositionDiffers> for CircuitBreaker {
    type Result = ();

    fn handle(&mut self, PositionDiffers(difference): PositionDiffers, ctx: &mut Self::Context) {
        let Difference { symbol, ours, theirs, .. } = difference;
        let details = json!({"symbol": symbol, "ours": ours, "theirs": theirs});
        drop(self.trip(POSITION_MISMATCH, Some(details), "gateway", None, ctx));
    }
}

impl Handler<LineCrossed> for CircuitBreaker {
    type Result = ();

    fn handle(&mut self, LineCrossed { reason, details }: LineCrossed, ctx: &mut Self::Context) {
        // It is looked at again and again: only what is new is worth a trip.
        if self.state.as_ref().is_none_or(|state| state.state != BreakerWord::Tripped) {
            drop(self.trip(reason, Some(details), "gateway", None, ctx));
        }
    }
}

impl CircuitBreaker {
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
        drop(self.save_entry(tripped, entry, true, None, ctx));
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
        if state.state != BreakerWord::Tripped {
            self.unsettled = None;
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

    /// What a trip does to open orders, as configured.
    fn cancel_for_trip(&self, ctx: &mut Context<Self>) {
        if self.tuning.cancel_on_trip {
            let accounts = self.accounts.clone();
            let (within, at) = (self.tuning.kill_settle, self.world.clock.now());
            let everything = CancelEverything { scope: LimitScope::Global, within, also: Vec::new(), at };
            let cancelled = async move { accounts.cancel(everything).await };
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
        self.save_entry(state, entry, false, None, ctx)
    }

    /// A trip goes to the board first, so that the database remembers whether it was there; it tries that once.
    fn save_entry(
        &mut self,
        state: BreakerState,
        entry: SwitchEntry,
        insists: bool,
        mut request: Option<Request>,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<bool> {
        let (persist, store, health) = (self.persist.clone(), self.world.store.clone(), self.health.clone());
        let (shared, now) = (self.world.switchboard.clone(), self.world.clock.now());
        let (told, durable) = oneshot::channel();
        let over = self.over(&state);
        let held = state.clone();
        let saving = async move {
            let mut next = state.clone();
            let (mut on_board, mut overwritten) = (false, None);
            if let (Some(shared), BreakerWord::Tripped) = (&shared, state.state)
                && let Ok(there) = board::trip(&**shared, &state, over, now).await
            {
                (on_board, overwritten) = (true, there);
                next.seen_on_board = true;
            }
            while health.breaker().is_some_and(|held| held.is_same(&state)) {
                let write = Write::Breaker { state: Box::new(next.clone()), entry: entry.clone() };
                let write = write.requested(request.clone());
                let pause = match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => {
                        return (told, Some(next), on_board, overwritten);
                    }
                    Ok(Ok(results)) => {
                        // Whatever the store has against it, neither the audit nor a key keeps the trip from being stored.
                        let is_refused = |result: &Result<_, _>| {
                            matches!(result, Err(Refusal::Constraint(_) | Refusal::KeyReused | Refusal::Answered))
                        };
                        request = request.filter(|_| !results.iter().any(is_refused));
                        20
                    }
                    Ok(Err(_)) | Err(_) => 500,
                };
                if pause == 20
                    && let Ok(Some(found)) = store.switches().await.map(|switches| switches.breaker)
                {
                    match next.rebased_on(&found, insists) {
                        Rebased::Stands(found) => return (told, Some(found), on_board, overwritten),
                        Rebased::Write(rebased) => next = rebased,
                        // The next look at the database takes it.
                        Rebased::Yields => return (told, None, on_board, overwritten),
                    }
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            (told, None, on_board, overwritten)
        };
        self.saving += 1;
        ctx.spawn(saving.into_actor(self).map(move |(told, saved, on_board, overwritten), act, ctx| {
            act.saving -= 1;
            act.touched = act.world.clock.boottime();
            if let Some(saved) = saved
                && act.state.as_ref().is_some_and(|now| now.is_same(&held))
            {
                act.hold(saved, ctx);
            }
            if let Some(there) = overwritten {
                act.remember_reset(&there, ctx);
            }
            if told.send(on_board).is_err() {
                tracing::info!("the breaker's state is saved now");
            }
        }));
        durable
    }
}
