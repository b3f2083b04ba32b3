//! What others did to the breaker: other instances in the database, other programs on the switchboard.

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use chrono::{DateTime, TimeDelta, Utc};

use super::{CircuitBreaker, board};
use crate::domain::breaker::{BreakerState, BreakerWord};
use crate::domain::ledger::{CIRCUIT_BREAKER, Write};
use crate::domain::switchboard::Told;
use crate::domain::switchboard::breaker::{self, BreakerVerdict};
use crate::gate::ShutReason;
use crate::kill_switch::SwitchesSeen;
use crate::persistence::{Lane, Persist};

/// How many entries of the history are looked through for a reset that is told of.
const HISTORY: u32 = 1_000;

impl Handler<SwitchesSeen> for CircuitBreaker {
    type Result = bool;

    fn handle(&mut self, seen: SwitchesSeen, ctx: &mut Self::Context) -> bool {
        let is_settled = self.resetting == 0 && seen.began > self.touched;
        let mut doubt = None;
        if let Some(Ok(switches)) = &seen.stored {
            match &switches.breaker {
                None => doubt = Some("the circuit breaker is missing from the database".to_owned()),
                Some(read) if self.state.is_none() => self.learn(read.clone(), ctx),
                Some(read) if is_settled && self.saving == 0 => self.follow(read, ctx),
                Some(_) => {}
            }
        }
        if let Some(Ok(reading)) = &seen.board {
            let told = breaker::read(reading.breaker.as_deref());
            doubt = doubt.or(told.doubt().map(|why| format!("circuit breaker: {why}")));
            if is_settled {
                self.heed(told, ctx);
            }
        }
        // A look that failed is the kill switch's to judge: the lease on openness runs out.
        let is_good = !matches!(seen.stored, Some(Err(_))) && !matches!(seen.board, Some(Err(_)));
        match doubt {
            Some(why) => {
                self.doubtful = true;
                self.pen.shut(ShutReason::CircuitBreakerUnknown);
                self.health.set_doubt(CIRCUIT_BREAKER, Some(why));
            }
            None if is_good && self.state.is_some() => {
                self.doubtful = false;
                self.pen.clear(ShutReason::CircuitBreakerUnknown);
                self.health.set_doubt(CIRCUIT_BREAKER, None);
            }
            None => {}
        }
        is_settled
    }
}

impl CircuitBreaker {
    /// What another instance wrote into the database, which all trust.
    fn follow(&mut self, read: &BreakerState, ctx: &mut Context<Self>) {
        let Some(held) = self.state.clone() else { return };
        if *read == held || (self.borrowed && read.revision == held.revision) {
            return;
        }
        let is_tripped = |state: &BreakerState| state.state == BreakerWord::Tripped;
        if read.revision < held.revision && is_tripped(&held) && !is_tripped(read) {
            self.alert("the database has forgotten the trip in force");
            self.save_again(ctx);
            return;
        }
        if is_tripped(read) && !is_tripped(&held) {
            self.epoch += 1;
            self.cancel_for_trip(ctx);
        }
        self.hold(read.clone(), ctx);
    }

    /// What the board says.
    fn heed(&mut self, told: Told<BreakerState>, ctx: &mut Context<Self>) {
        let Some(held) = self.state.clone() else { return };
        let told = match told {
            Told::Is(told) => told,
            Told::Missing | Told::Unreadable(_) => {
                if held.state == BreakerWord::Tripped {
                    self.assert(ctx);
                }
                return;
            }
        };
        match breaker::judge(&held, &told) {
            BreakerVerdict::Agrees => self.disagrees = false,
            BreakerVerdict::Holds => {
                let state = BreakerState { seen_on_board: true, revision: held.next_revision(), ..held };
                self.hold(state.clone(), ctx);
                drop(self.save(state, "SEEN_IN_REDIS", "gateway", None, None, ctx));
            }
            BreakerVerdict::Trips(told) => {
                tracing::error!(reason = ?told.trip_reason, "the circuit breaker was tripped by another program");
                metrics::counter!("tranche_breaker_trips_total").increment(1);
                self.epoch += 1;
                self.borrowed = false;
                let state = breaker::adopt(&held, &told);
                self.hold(state.clone(), ctx);
                self.cancel_for_trip(ctx);
                let entry = breaker::entry_of(&state, self.world.clock.now());
                drop(self.save_entry(state, entry, false, ctx));
            }
            BreakerVerdict::Relapses(told) => {
                self.alert("Redis says that a trip is in force which was reset");
                self.borrowed = true;
                self.hold(BreakerState { revision: held.revision, ..told }, ctx);
            }
            BreakerVerdict::Contradicts if self.borrowed => {
                // What only the board said is over: the database says what is so.
                self.borrowed = false;
                self.pen.shut(ShutReason::CircuitBreakerUnknown);
                self.health.set_breaker(None);
                self.state = None;
            }
            BreakerVerdict::Contradicts => self.contradict(ctx),
            BreakerVerdict::Resets(told) if self.saving == 0 => self.reset_as_told(held, told, ctx),
            BreakerVerdict::Resets(_) => {}
            BreakerVerdict::Lags => self.tell_of_the_end(held, ctx),
        }
    }

    fn contradict(&mut self, ctx: &mut Context<Self>) {
        self.alert("Redis says that trading may go on, and that is no reset of what is held");
        self.assert(ctx);
    }

    /// Takes over another program's reset, unless its time was seen before: durable first, then the gate may open.
    fn reset_as_told(&mut self, held: BreakerState, told: BreakerState, ctx: &mut Context<Self>) {
        let now = self.world.clock.now();
        let quiet = TimeDelta::from_std(self.tuning.quiet_period).unwrap_or(TimeDelta::MAX);
        let state = breaker::release(&held, &told, now, quiet);
        let write = Write::Breaker { state: Box::new(state.clone()), entry: breaker::entry_of(&state, now) };
        let (store, persist, epoch) = (self.world.store.clone(), self.persist.clone(), self.epoch);
        let micros = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_micros());
        self.resetting += 1;
        let taken = async move {
            let history = store.switch_history(CIRCUIT_BREAKER, HISTORY).await.ok()?;
            let is_known = |at| history.iter().any(|one| one.event == "RESET" && micros(Some(one.timestamp)) == at);
            if is_known(micros(told.reset_at)) {
                return Some(false);
            }
            let saved = persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await;
            matches!(saved, Ok(Ok(results)) if !results.iter().any(Result::is_err)).then_some(true)
        };
        ctx.spawn(taken.into_actor(self).map(move |taken, act, ctx| {
            act.resetting -= 1;
            act.touched = act.world.clock.boottime();
            match taken {
                Some(true) if act.epoch == epoch => {
                    tracing::warn!(operator = ?state.reset_by, "another program resets the circuit breaker");
                    act.borrowed = false;
                    act.hold(state, ctx);
                }
                Some(true) => act.save_again(ctx),
                Some(false) => act.contradict(ctx),
                // What fails is tried again at the next look.
                None => {}
            }
        }));
    }

    /// Tells the board of the trip in force, which it lacks. The next look at it shows whether that worked.
    fn assert(&mut self, ctx: &mut Context<Self>) {
        let (Some(shared), Some(held)) = (self.world.switchboard.clone(), self.state.clone()) else { return };
        if self.borrowed || std::mem::replace(&mut self.asserting, true) {
            return;
        }
        let now = self.world.clock.now();
        let told = async move { board::trip(&*shared, &held, now).await };
        ctx.spawn(told.into_actor(self).map(|_, act, _| {
            act.asserting = false;
            act.touched = act.world.clock.boottime();
        }));
    }

    fn tell_of_the_end(&mut self, held: BreakerState, ctx: &mut Context<Self>) {
        let Some(shared) = self.world.switchboard.clone() else { return };
        if std::mem::replace(&mut self.asserting, true) {
            return;
        }
        let told = async move { board::settle(&*shared, &held).await };
        ctx.spawn(told.into_actor(self).map(|_, act, _| {
            act.asserting = false;
            act.touched = act.world.clock.boottime();
        }));
    }

    /// The board and the database disagree; the stricter wins. Said once, until they agree again.
    fn alert(&mut self, what: &str) {
        if !std::mem::replace(&mut self.disagrees, true) {
            metrics::counter!("tranche_switch_disagreements_total").increment(1);
            tracing::error!("{what}: the stricter counts");
        }
    }
}
