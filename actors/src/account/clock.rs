//! Watching the wall clock. One that moves against the clock that counts suspended time was set by somebody: nothing is sent
//! and nothing expires until the venue's own clock says the same. A venue that has none, like the paper broker, goes by ours.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use chrono::TimeDelta;

use super::Account;
use crate::clock_guard::ClockGuard;
use crate::domain::clock::agrees;
use crate::domain::venue::VenueClock;
use crate::gate::ShutReason;
use crate::health::{Part, PartStatus};
use crate::ports::VenueError;
use crate::twap_parent::Rederive;

/// How often the clocks are looked at. Whoever decides by the wall clock looks for itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long after an answer that didn't help the venue is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Account {
    pub(super) fn watch_clock(&mut self, ctx: &mut Context<Self>) {
        self.clock_guard.believe(&*self.world.clock);
        self.health.set(Part::Clock, PartStatus::Up, "");
        ctx.run_interval(LOOK_EVERY, Self::look_at_clock);
    }

    fn look_at_clock(&mut self, ctx: &mut Context<Self>) {
        let Some(moved) = self.clock_guard.moved(&*self.world.clock) else { return };
        if std::mem::replace(&mut self.asks_the_time, true) {
            return;
        }
        self.pen.shut(ShutReason::ClockUnsure);
        let moved = seconds(moved);
        tracing::error!(
            account = %self.tuning.account, moved_seconds = %moved,
            "the wall clock was set: nothing is sent and nothing expires until it agrees with the broker's; see to the \
             machine's time"
        );
        metrics::counter!("tranche_clock_jumps_total").increment(1);
        self.health.set(Part::Clock, PartStatus::Down, format!("the wall clock moved by {moved} s by itself"));
        self.ask_the_time(ctx);
    }

    fn ask_the_time(&mut self, ctx: &mut Context<Self>) {
        let (world, timeout) = (self.world.clone(), self.tuning.send_timeout);
        let meanwhile = ClockGuard::default();
        meanwhile.believe(&*world.clock);
        let asked_at = world.clock.now();
        let asked = async move {
            let late = || VenueError::Unavailable { detail: "no answer in time".to_owned() };
            tokio::time::timeout(timeout, world.venue.clock()).await.unwrap_or_else(|_| Err(late()))
        };
        ctx.spawn(asked.into_actor(self).map(move |answer, act, ctx| {
            let why = match answer {
                Ok(theirs) => {
                    let now = act.world.clock.now();
                    let is_right = theirs.as_ref().is_none_or(|theirs| agrees(asked_at, theirs.at, now));
                    // Set once more while it was asked, it may be what it was not.
                    if is_right && meanwhile.moved(&*act.world.clock).is_none() {
                        act.believe_clock(ctx);
                        return;
                    }
                    theirs.map_or_else(
                        || "it was set once more".to_owned(),
                        |VenueClock { at, .. }| format!("our clock is {} s ahead of the broker's", seconds(now - at)),
                    )
                }
                Err(error) => format!("the broker's clock can't be read: {error}"),
            };
            tracing::warn!(account = %act.tuning.account, %why, "our clock is not known to be right");
            act.health.set(Part::Clock, PartStatus::Down, why);
            ctx.run_later(ASK_AGAIN, Self::ask_the_time);
        }));
    }

    /// The clock is right: what is due is found out anew by it.
    fn believe_clock(&mut self, ctx: &mut Context<Self>) {
        self.clock_guard.believe(&*self.world.clock);
        self.asks_the_time = false;
        self.health.set(Part::Clock, PartStatus::Up, "");
        tracing::info!(account = %self.tuning.account, "the wall clock is believed again; due times are derived anew");
        for parent in self.parents.values() {
            ctx.spawn(parent.send(Rederive).into_actor(self).map(|told, _, _| {
                if told.is_err() {
                    tracing::debug!("a parent had ended before it was told of the clock");
                }
            }));
        }
        self.pen.clear(ShutReason::ClockUnsure);
    }
}

fn seconds(moved: TimeDelta) -> rust_decimal::Decimal {
    rust_decimal::Decimal::new(moved.num_milliseconds(), 3).normalize()
}
