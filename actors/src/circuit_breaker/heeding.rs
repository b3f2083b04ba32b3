//! What others did to the breaker: other instances in the database, other programs on the switchboard.

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use chrono::TimeDelta;

use super::{CircuitBreaker, board};
use crate::domain::breaker::{BreakerState, BreakerWord};
use crate::domain::ledger::{CIRCUIT_BREAKER, Write};
use crate::domain::switchboard::Told;
use crate::domain::switchboard::breaker::{self, BreakerVerdict};
use crate::gate::ShutReason;
use crate::kill_switch::SwitchesSeen;
use crate::persistence::{Lane, Persist};

/// How often somebody else may be faster.
const TRIES: usize = 8;

impl Handler<SwitchesSeen> for CircuitBreaker {
    type Result = bool;

    fn handle(&mut self, seen: SwitchesSeen, ctx: &mut Self::Context) -> bool {
        let is_settled = self.resetting == 0 && seen.began > self.touched;
        let mut doubt = None;
        if let Some(Ok(switches)) = &seen.stored {
            doubt = switches.breaker_doubt();
            match &switches.breaker {
                None => {}
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
        if is_settled && is_good && !self.doubtful {
            self.confirm(seen.began);
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
        self.take(read.clone(), ctx);
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
            BreakerVerdict::Agrees => {
                self.disagrees = false;
                self.remember_reset(&told, ctx);
            }
            // What only the board says is not written, and what is being written is seen there later.
            BreakerVerdict::Holds if self.borrowed || self.saving > 0 => {}
            BreakerVerdict::Holds => {
                let state = BreakerState { seen_on_board: true, revision: held.next_revision(), ..held };
                self.hold(state.clone(), ctx);
                drop(self.save(state, "SEEN_IN_REDIS", "gateway", None, None, ctx));
            }
            // The trip that ours takes the place of, and whose reset may come yet.
            BreakerVerdict::Trips(told) if self.over(&held).is_some_and(|over| told.tripped_at == Some(over)) => {
                self.assert(ctx);
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
                drop(self.save_entry(state, entry, false, None, ctx));
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
        self.resetting += 1;
        let taken = async move {
            if store.has_switch_entry(CIRCUIT_BREAKER, "RESET", told.reset_at?).await.ok()? {
                // Another instance may have written it after this look had read the trip: then that is what to follow.
                let stored = store.switches().await.ok()?.breaker?;
                return (stored.revision == held.revision).then_some(false);
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
                    act.take(state, ctx);
                }
                Some(true) => act.overtake(state, ctx),
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
        let (over, now) = (self.over(&held), self.world.clock.now());
        let told = async move { board::trip(&*shared, &held, over, now).await };
        ctx.spawn(told.into_actor(self).map(|told, act, ctx| {
            act.asserting = false;
            act.touched = act.world.clock.boottime();
            if let Ok(Some(overwritten)) = told {
                act.remember_reset(&overwritten, ctx);
            }
        }));
    }

    /// Keeps the time of a reset whose trip was never seen here: it is no reset of a later one, if it comes back.
    pub(super) fn remember_reset(&mut self, told: &BreakerState, ctx: &mut Context<Self>) {
        let Some(at) = told.reset_at.filter(|_| told.state != BreakerWord::Tripped) else { return };
        let is_held = self.state.as_ref().is_some_and(|held| held.reset_at == Some(at));
        if is_held || self.reset_seen == Some(at) || self.saving > 0 {
            return;
        }
        self.reset_seen = Some(at);
        let entry = breaker::entry_of(told, at);
        let (store, persist) = (self.world.store.clone(), self.persist.clone());
        let kept = async move {
            if store.has_switch_entry(CIRCUIT_BREAKER, "RESET", at).await.ok()? {
                return Some(None);
            }
            for _ in 0..TRIES {
                let found = store.switches().await.ok()?.breaker?;
                let state = BreakerState { revision: found.next_revision(), ..found };
                let write = Write::Breaker { state: Box::new(state.clone()), entry: entry.clone() };
                let saved = persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await.ok()?.ok()?;
                if !saved.iter().any(Result::is_err) {
                    return Some(Some(state));
                }
            }
            None
        };
        self.saving += 1;
        ctx.spawn(kept.into_actor(self).map(|kept, act, ctx| {
            act.saving -= 1;
            act.touched = act.world.clock.boottime();
            match kept {
                Some(Some(state)) if act.state.as_ref().is_some_and(|held| held.is_same(&state)) => {
                    act.hold(state, ctx)
                }
                Some(_) => {}
                // It is tried again at the next look.
                None => act.reset_seen = None,
            }
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
