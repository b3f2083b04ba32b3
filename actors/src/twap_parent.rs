//! One parent order: its schedule, its timer, and the market while it is worked.
//!
//! The ledger derives the parent's status from its children; this actor brings its slices to the broker when they are
//! due, and ends when the parent has.

use std::collections::VecDeque;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::broker::{CancelMarked, Dispatch, Due, dispatch};
use crate::clock_guard::ClockGuard;
use crate::domain::calendar::Hours;
use crate::domain::ledger::Write;
use crate::domain::names::{OrderId, Symbol};
use crate::domain::parent::{Benchmark, Parent, ParentStatus};
use crate::domain::policy::Completion;
use crate::line::Line;
use crate::persistence::{Persist, persist, persist_surely};
use crate::ports::World;
use crate::ports::store::{AnyOrder, DueSlice, StoreError};
use crate::tuning::Tuning;
use crate::watch::Sentinel;

/// Slices are loaded as their time comes near, so many at once.
const NEAR: u32 = 16;
/// How long before its start a parent loads its first slices.
const EARLY: Duration = Duration::from_secs(5);
/// No timer sleeps longer: due times are derived anew from the wall clock, which may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How long after a read that failed it is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The parent's status changed in the ledger.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Turned(pub(crate) ParentStatus);

/// Stops the actor, as before it is rebuilt.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rest;

/// The wall clock was set, and is right now: due times are derived anew.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rederive;

/// The lines that a parent speaks on.
#[derive(Clone, Default)]
pub(crate) struct ParentLines {
    pub(crate) persist: Line<Persist>,
    pub(crate) dispatch: Line<Dispatch>,
    pub(crate) cancel: Line<CancelMarked>,
}

/// How long after a time that can't be told the clock is looked at again.
const UNSURE: Duration = Duration::from_secs(1);

/// Owns a parent's timers. `near` holds the next slices in the order of (time, number); what lies behind them is still
/// in the store, unless `all_near`.
pub(crate) struct TwapParent {
    world: World,
    clock_guard: ClockGuard,
    lines: ParentLines,
    id: OrderId,
    symbol: Symbol,
    plan_version: u32,
    completion: Completion,
    hours: Hours,
    start_at: DateTime<Utc>,
    end_at: DateTime<Utc>,
    grace: Duration,
    sample_every: Duration,
    near: VecDeque<DueSlice>,
    all_near: bool,
    last_taken: Option<(DateTime<Utc>, u32)>,
    /// Held: nothing is due until it is resumed.
    paused: bool,
    /// The read of the next slices that is under way, or will be tried again.
    loading: Option<SpawnHandle>,
    /// The same of a look at the parent.
    looking: Option<SpawnHandle>,
    /// For the start, then for the next slice; for another look while it is held.
    timer: Option<SpawnHandle>,
    /// For the end of the schedule.
    ending: Option<SpawnHandle>,
    schedule_over: bool,
    benchmark: Benchmark,
    sampled_at: Option<Duration>,
    _sentinel: Sentinel,
}

impl TwapParent {
    pub(crate) fn new(
        parent: &Parent,
        (world, clock_guard): (World, ClockGuard),
        tuning: &Tuning,
        lines: ParentLines,
        sentinel: Sentinel,
    ) -> Self {
        Self {
            world,
            clock_guard,
            lines,
            id: parent.id.clone(),
            symbol: parent.instruction.symbol.clone(),
            plan_version: parent.plan_version,
            completion: parent.completion,
            hours: Hours::of(&parent.instruction),
            start_at: parent.start_at,
            end_at: parent.end_at,
            grace: tuning.grace,
            sample_every: tuning.benchmark,
            near: VecDeque::new(),
            all_near: false,
            last_taken: None,
            paused: parent.status == ParentStatus::Paused,
            loading: None,
            looking: None,
            timer: None,
            ending: None,
            schedule_over: false,
            benchmark: parent.benchmark,
            sampled_at: None,
            _sentinel: sentinel,
        }
    }
}

impl Actor for TwapParent {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.paused {
            self.await_resume(ctx);
        } else {
            self.begin(ctx);
        }
        self.sample(ctx);
    }
}

impl Handler<Turned> for TwapParent {
    type Result = ();

    fn handle(&mut self, Turned(status): Turned, ctx: &mut Self::Context) {
        match status {
            ParentStatus::Pending | ParentStatus::Working => {
                if std::mem::take(&mut self.paused) {
                    self.begin(ctx);
                }
            }
            ParentStatus::Paused => {
                self.paused = true;
                self.disarm(ctx);
                self.await_resume(ctx);
            }
            ParentStatus::Canceling => {
                self.near.clear();
                self.all_near = true;
                self.arm(ctx);
            }
            ParentStatus::Completed
            | ParentStatus::PartiallyCompleted
            | ParentStatus::Canceled
            | ParentStatus::Rejected
            | ParentStatus::Failed => ctx.stop(),
        }
    }
}

impl Handler<Rederive> for TwapParent {
    type Result = ();

    fn handle(&mut self, _: Rederive, ctx: &mut Self::Context) {
        if !self.paused {
            self.begin(ctx);
        }
    }
}

impl Handler<Rest> for TwapParent {
    type Result = ();

    fn handle(&mut self, _: Rest, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl TwapParent {
    /// Works from here on, with what the store says now: what is overdue goes to the broker at once, which knows what is too
    /// late.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.disarm(ctx);
        self.near.clear();
        (self.all_near, self.last_taken) = (false, None);
        self.await_start(ctx);
        if !self.schedule_over {
            self.await_end(ctx);
        }
    }

    /// Held, it may be ended by another instance, which tells nobody here; and it may have been resumed before there was
    /// anybody here to be told.
    fn await_resume(&mut self, ctx: &mut Context<Self>) {
        self.look_again(ctx);
        self.timer = Some(ctx.run_later(LONGEST_SLEEP, Self::await_resume));
    }

    fn disarm(&mut self, ctx: &mut Context<Self>) {
        let waits = [self.timer.take(), self.ending.take(), self.loading.take(), self.looking.take()];
        for wait in waits.into_iter().flatten() {
            ctx.cancel_future(wait);
        }
    }

    /// Waits until the start is near, in steps, since the wall clock may be set.
    fn await_start(&mut self, ctx: &mut Context<Self>) {
        self.timer = None;
        let left = (self.start_at - self.world.clock.now()).to_std().unwrap_or(Duration::ZERO);
        if left <= EARLY {
            self.load(ctx);
        } else {
            self.timer = Some(ctx.run_later((left - EARLY).min(LONGEST_SLEEP), Self::await_start));
        }
    }

    /// Loads the slices that come next.
    fn load(&mut self, ctx: &mut Context<Self>) {
        if self.paused {
            return;
        }
        let (store, id, after) = (self.world.store.clone(), self.id.clone(), self.last_taken);
        let read = async move { store.due_slices(&id, after, NEAR).await };
        let read = ctx.spawn(read.into_actor(self).map(|read, act, ctx| act.loaded(read, ctx)));
        if let Some(other) = self.loading.replace(read) {
            ctx.cancel_future(other);
        }
    }

    fn loaded(&mut self, read: Result<Vec<DueSlice>, StoreError>, ctx: &mut Context<Self>) {
        match read {
            // Whoever resumes it reads them anew.
            Ok(_) if self.paused => {}
            Ok(slices) => {
                // A page that isn't full is the last one: no read for nothing just when the last slice is due.
                self.all_near = u32::try_from(slices.len()).is_ok_and(|read| read < NEAR);
                if slices.is_empty() {
                    self.look_again(ctx);
                }
                if let Some(last) = slices.last() {
                    self.last_taken = Some((last.due, last.slice_num));
                }
                self.near.extend(slices);
                self.arm(ctx);
            }
            Err(error) => {
                tracing::error!(parent_order_id = %self.id, %error, "a parent's next slices could not be read");
                self.loading = Some(ctx.run_later(AGAIN, |act, ctx| {
                    act.loading = None;
                    act.load(ctx);
                }));
            }
        }
    }

    /// A parent that turned between the read that this actor was made from and its start is never told so.
    fn look_again(&mut self, ctx: &mut Context<Self>) {
        let (store, id) = (self.world.store.clone(), self.id.clone());
        let read = async move { store.order(&id).await };
        let look = ctx.spawn(read.into_actor(self).map(|read, act, ctx| match read {
            Ok(Some(AnyOrder::Parent(parent))) if parent.status.is_terminal() => ctx.stop(),
            Ok(Some(AnyOrder::Parent(parent)))
                if act.paused && matches!(parent.status, ParentStatus::Pending | ParentStatus::Working) =>
            {
                act.paused = false;
                act.begin(ctx);
            }
            Ok(_) => {}
            Err(_) => {
                act.looking = Some(ctx.run_later(AGAIN, |act, ctx| {
                    act.looking = None;
                    act.look_again(ctx);
                }));
            }
        }));
        if let Some(other) = self.looking.replace(look) {
            ctx.cancel_future(other);
        }
    }

    /// Arms the timer for the next slice. The due time is the plan's, whenever the last one fired.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let Some(next) = self.near.front() else {
            if !self.all_near {
                self.load(ctx);
            }
            return;
        };
        let wait = (next.due - self.world.clock.now()).to_std().unwrap_or(Duration::ZERO);
        self.timer = Some(ctx.run_later(wait.min(LONGEST_SLEEP), |act, ctx| {
            act.timer = None;
            act.fire(ctx);
        }));
    }

    /// Brings every slice that is due to the broker, and arms the timer for the next one.
    fn fire(&mut self, ctx: &mut Context<Self>) {
        let now = self.world.clock.now();
        let mut due = Vec::new();
        while self.near.front().is_some_and(|next| next.due <= now) {
            due.extend(self.near.pop_front().map(|slice| Due {
                id: slice.id,
                plan_version: Some(self.plan_version),
                due: slice.due,
                is_planned: true,
                latest: slice.due + self.grace,
                hours: self.hours,
                absent_since: None,
            }));
        }
        if !due.is_empty() {
            let (line, id) = (self.lines.dispatch.clone(), self.id.clone());
            let sent = async move { dispatch(&line, due).await };
            ctx.spawn(sent.into_actor(self).map(move |sent, _, _| {
                if sent.is_err() {
                    // Whoever rebuilds the broker rebuilds its parents too, from the store, where the slices wait.
                    tracing::error!(parent_order_id = %id, "due slices found no broker");
                }
            }));
            self.save_benchmark(ctx);
        }
        self.arm(ctx);
    }

    /// Waits for the end of the schedule, in steps, since the wall clock may be set.
    fn await_end(&mut self, ctx: &mut Context<Self>) {
        let left = (self.end_at - self.world.clock.now()).to_std().unwrap_or(Duration::ZERO);
        self.ending = Some(ctx.run_later(left.min(LONGEST_SLEEP), |act, ctx| {
            act.ending = None;
            match act.clock_guard.now(&*act.world.clock) {
                Some(now) if now < act.end_at => act.await_end(ctx),
                Some(_) => act.end_schedule(ctx),
                None => act.ending = Some(ctx.run_later(UNSURE, Self::await_end)),
            }
        }));
    }

    /// The schedule is over: what rests at the venue is left or cancelled, as the completion says.
    fn end_schedule(&mut self, ctx: &mut Context<Self>) {
        self.schedule_over = true;
        self.save_benchmark(ctx);
        match self.completion {
            Completion::Leave => {}
            Completion::Cancel => {
                let (lines, id) = (self.lines.clone(), self.id.clone());
                let grace = self.grace;
                let ended = async move {
                    // A slice within its grace may still be on its way out; it is marked in a second round.
                    for wait in [Duration::ZERO, grace] {
                        tokio::time::sleep(wait).await;
                        persist_surely(&lines.persist, vec![Write::ScheduleEnded { id: id.clone() }]).await;
                        if lines.cancel.ask(CancelMarked).await.is_err() {
                            tracing::info!(parent_order_id = %id, "the broker is being rebuilt and scans marks by itself");
                        }
                    }
                };
                ctx.spawn(ended.into_actor(self));
            }
        }
    }

    /// Takes the mid price once in a while, weighted with the time that it stood for.
    fn sample(&mut self, ctx: &mut Context<Self>) {
        if self.schedule_over {
            return;
        }
        if self.paused {
            ctx.run_later(self.sample_every, Self::sample);
            return;
        }
        let until_start = (self.start_at - self.world.clock.now()).to_std().unwrap_or(Duration::ZERO);
        if !until_start.is_zero() {
            ctx.run_later(until_start.min(LONGEST_SLEEP), Self::sample);
            return;
        }
        let (venue, symbol) = (self.world.venue.clone(), self.symbol.clone());
        let longest = self.sample_every;
        // A quote that takes longer than a period is none.
        let quoted = async move { tokio::time::timeout(longest, venue.quote(&symbol)).await };
        ctx.spawn(quoted.into_actor(self).map(|quote, act, ctx| {
            let now = act.world.clock.monotonic();
            let since = act.sampled_at.replace(now).map_or(act.sample_every, |last| now.saturating_sub(last));
            // Without a quote there is no sample; what stands for longer than two periods was missed, not measured.
            if let Ok(Ok(quote)) = quote {
                let millis = since.min(act.sample_every * 2).as_millis();
                let seconds = Decimal::new(i64::try_from(millis).unwrap_or(0), 3);
                act.benchmark.area += quote.mid() * seconds;
                act.benchmark.seconds += seconds;
            }
            ctx.run_later(act.sample_every, Self::sample);
        }));
    }

    fn save_benchmark(&self, ctx: &mut Context<Self>) {
        if self.benchmark.seconds.is_zero() {
            return;
        }
        let write = Write::Benchmark { id: self.id.clone(), benchmark: self.benchmark };
        let (line, id) = (self.lines.persist.clone(), self.id.clone());
        let saved = async move { persist(&line, write).await };
        ctx.spawn(saved.into_actor(self).map(move |saved, _, _| {
            if !matches!(saved, Ok(Ok(_))) {
                // The sums are absolute: the next time saves all of it.
                tracing::warn!(parent_order_id = %id, "the market's average was not saved");
            }
        }));
    }
}
