//! Tripping what is tripped already: somebody else may have reset it a moment ago, so a look decides, not memory.

use std::time::Duration;

use actix::{ActorFutureExt, Context, Handler, ResponseActFuture, WrapFuture};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::oneshot;

use super::CircuitBreaker;
use crate::commands::{CommandError, Trip, Tripped};
use crate::domain::audit::{AuditAction, By, Request};
use crate::domain::breaker::{BreakerState, BreakerWord};
use crate::domain::ledger::{CIRCUIT_BREAKER, SwitchEntry};
use crate::domain::trading_day::DayEnd;

/// How long making a trip durable is waited for.
const DURABLE: Duration = Duration::from_secs(1);

/// A trip that was asked for while one was held.
pub(super) struct Wish {
    reason: String,
    details: Option<Value>,
    operator: String,
    /// Who asked for it, where somebody did.
    by: Option<By>,
    /// When, on the clock that counts suspended time.
    at: Duration,
}

impl Handler<Trip> for CircuitBreaker {
    type Result = ResponseActFuture<Self, Result<Tripped, CommandError>>;

    fn handle(&mut self, trip: Trip, ctx: &mut Self::Context) -> Self::Result {
        let durable = self.trip(&trip.reason, trip.details, &trip.operator, Some(trip.by), ctx);
        let has_board = self.world.switchboard.is_some();
        let Some(durable) = durable else {
            let sure = self.until_sure(self.world.clock.boottime() + DURABLE);
            return Box::pin(sure.map(move |is_sure, act, _| {
                let state = act.state.clone().unwrap_or_default();
                let missing = [("database", !is_sure), ("redis", has_board && !(is_sure && state.seen_on_board))];
                let not_durable = missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(place, _)| place);
                Ok(Tripped { not_durable: not_durable.collect(), state })
            }));
        };
        let waited = async move {
            // The gate is shut whether or not the trip is durable in time; it is saved for as long as it is held.
            let saved = tokio::time::timeout(DURABLE, durable).await.ok().and_then(Result::ok);
            let mut missing = Vec::new();
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

impl CircuitBreaker {
    /// Trips; nothing to wait for where a trip is held already.
    pub(super) fn trip(
        &mut self,
        reason: &str,
        details: Option<Value>,
        operator: &str,
        by: Option<By>,
        ctx: &mut Context<Self>,
    ) -> Option<oneshot::Receiver<bool>> {
        // Whether or not it is tripped already: this trip overtakes a reset that is on its way.
        self.epoch += 1;
        let (now, at) = (self.world.clock.now(), self.world.clock.boottime());
        let wish = Wish { reason: reason.to_owned(), details, operator: operator.to_owned(), by, at };
        let known = self.state.clone().unwrap_or_default();
        match known.state {
            BreakerWord::Allowing | BreakerWord::Quiet => Some(self.trip_anew(&known, wish, now, ctx)),
            // The board may reset this one yet: another one takes its place.
            BreakerWord::Tripped if self.unsettled.is_some() && self.unsettled == known.tripped_at => {
                Some(self.trip_anew(&known, wish, now, ctx))
            }
            BreakerWord::Tripped => {
                if self.is_watched() || self.resetting > 0 {
                    self.wish = Some(wish);
                }
                None
            }
        }
    }

    /// A new trip over what is known, whatever that says.
    fn trip_anew(
        &mut self,
        known: &BreakerState,
        wish: Wish,
        now: DateTime<Utc>,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<bool> {
        let today = DayEnd::new_york().trading_day(now);
        let tripped = known.trip_anew(&wish.reason, wish.details.clone(), now, today);
        self.hold(tripped.clone(), ctx);
        metrics::counter!("tranche_breaker_trips_total").increment(1);
        tracing::error!(reason = %wish.reason, operator = %wish.operator, "the circuit breaker tripped");
        self.borrowed = false;
        self.cancel_for_trip(ctx);
        let request = wish.by.map(|by| Request {
            by,
            operator: Some(wish.operator.clone()),
            action: Some(AuditAction::TripBreaker),
            subject: CIRCUIT_BREAKER.to_owned(),
        });
        let entry = SwitchEntry {
            event: "TRIPPED".to_owned(),
            timestamp: now,
            operator: wish.operator,
            reason: Some(wish.reason),
            details: wish.details,
        };
        self.save_entry(tripped, entry, false, request, ctx)
    }

    /// Takes over what others, or a reset of ours, made of the breaker: tripped anew where that was asked for meanwhile.
    pub(super) fn take(&mut self, state: BreakerState, ctx: &mut Context<Self>) {
        let is_reset = state.state != BreakerWord::Tripped;
        match self.wish.take_if(|_| is_reset) {
            Some(wish) => drop(self.trip_anew(&state, wish, self.world.clock.now(), ctx)),
            None => self.hold(state, ctx),
        }
    }

    /// A look that was good and heeded, and began at this time, has left the breaker tripped.
    pub(super) fn confirm(&mut self, began: Duration) {
        let is_tripped = self.state.as_ref().is_some_and(|state| state.state == BreakerWord::Tripped);
        if is_tripped && self.resetting == 0 && self.saving == 0 {
            drop(self.wish.take_if(|wish| wish.at < began));
        }
    }

    /// Whether others write the breaker too, so that looks say what it is.
    pub(super) fn is_watched(&self) -> bool {
        self.world.switchboard.is_some() || self.world.store.is_shared()
    }

    /// The trip on the board that this one takes the place of.
    pub(super) fn over(&self, state: &BreakerState) -> Option<DateTime<Utc>> {
        self.unsettled.filter(|at| state.tripped_at != Some(*at))
    }

    /// Until the trip that is held is known to be in force, and written: whether it is.
    fn until_sure(&self, patience: Duration) -> ResponseActFuture<Self, bool> {
        let is_sure = self.wish.is_none() && self.saving == 0;
        if is_sure || self.world.clock.boottime() > patience {
            return Box::pin(async move { is_sure }.into_actor(self));
        }
        let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
        Box::pin(waited.then(move |(), act, _| act.until_sure(patience)))
    }
}
