//! Orders that are due while the market is shut: they wait for an open, beside the queue, and hold nobody up.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{Broker, Due};
use crate::domain::calendar::{MarketCalendar, Slot};
use crate::domain::ledger::Write;
use crate::persistence::persist_surely;

/// Why an order waits.
pub(super) const SESSION_CLOSED: &str = "session_closed";
/// No timer sleeps longer: the calendar may change, and the wall clock be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

impl Due {
    /// What the order may do now. Nobody knows without a calendar.
    pub(super) fn slot(&self, calendar: Option<&MarketCalendar>, now: DateTime<Utc>) -> Slot {
        calendar.map_or(Slot::Unknown, |calendar| calendar.slot(self.hours, self.due, self.latest - self.due, now))
    }
}

impl Broker {
    /// Lets orders wait beside the queue, and says so in our books.
    pub(super) fn hold_back(&mut self, shut_out: Vec<(Due, Slot)>, ctx: &mut Context<Self>) {
        if shut_out.is_empty() {
            return;
        }
        let mut writes = Vec::with_capacity(shut_out.len());
        for (due, slot) in shut_out {
            if due.absent_since.is_none() {
                writes.push(Write::Hold { id: due.id.clone(), reason: SESSION_CLOSED, detail: explain(slot) });
            }
            self.shut_out.push(due);
        }
        let line = self.lines.persist.clone();
        ctx.spawn(async move { persist_surely(&line, writes).await }.into_actor(self).map(|_, _, _| ()));
        self.await_open(ctx);
    }

    fn await_open(&mut self, ctx: &mut Context<Self>) {
        if self.reopening.is_some() || self.shut_out.is_empty() {
            return;
        }
        let (now, calendar) = (self.world.clock.now(), self.market_hours.calendar(self.world.clock.boottime()));
        let opens = self.shut_out.iter().filter_map(|due| match due.slot(calendar.as_deref(), now) {
            Slot::Wait(open) => (open - now).to_std().ok(),
            Slot::Unknown => Some(LONGEST_SLEEP),
            Slot::Go | Slot::Late | Slot::Over => Some(Duration::ZERO),
        });
        let sleep = opens.min().unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
        self.reopening = Some(ctx.run_later(sleep, |act, ctx| {
            act.reopening = None;
            act.readmit(ctx);
        }));
    }

    /// What need not wait any more goes back into the queue, where its fate is decided.
    fn readmit(&mut self, ctx: &mut Context<Self>) {
        let (now, calendar) = (self.world.clock.now(), self.market_hours.calendar(self.world.clock.boottime()));
        let waits = |due: &Due| matches!(due.slot(calendar.as_deref(), now), Slot::Wait(_) | Slot::Unknown);
        let (waiting, free): (Vec<_>, Vec<_>) = std::mem::take(&mut self.shut_out).into_iter().partition(waits);
        self.shut_out = waiting;
        let is_open = !free.is_empty();
        for due in free {
            self.requeue(due);
        }
        if is_open {
            self.pump(ctx);
        }
        self.await_open(ctx);
    }
}

fn explain(slot: Slot) -> String {
    match slot {
        Slot::Wait(open) => {
            format!("the market is shut: it waits for the open at {}", open.to_rfc3339_opts(SecondsFormat::Secs, true))
        }
        Slot::Unknown => "the market's calendar is not known: it waits until it is".to_owned(),
        Slot::Go | Slot::Late | Slot::Over => String::new(),
    }
}
