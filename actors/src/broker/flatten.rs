//! Closing what the account holds, while an engagement of the kill switch in mode `flatten` is in force.
//!
//! A symbol's turn comes once nothing of ours in it is open or unknown. Then one order closes what the broker says is held,
//! less what other orders may take of it; the next one follows only when its outcome is known. Such an order travels
//! **token → claim → gate → wire**. The claim is taken only while the engagement is in force in the ledger, and at the gate it
//! passes on a [`Pass`], which is made here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use serde_json::{Value, json};

use super::Broker;
use crate::budget::Lane;
use crate::domain::flatten::{Awaits, Flattening, Left, Progress};
use crate::domain::ids::is_flatten;
use crate::domain::ledger::{KILL_SWITCH, SwitchEntry, Write};
use crate::domain::names::{BrokerOrderId, OrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::status::{OrderStatus, OwnEnd, Share};
use crate::domain::venue::{Unclosable, VenueOrder};
use crate::gate::{InFlight, ShutReason};
use crate::health::AccountHealth;
use crate::persistence::{Lane as Writes, Persist, persist_surely};
use crate::ports::CancelError;

use looking::{Next, Seen, Step, look};

mod looking;

/// How often it is seen to.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How often the broker is asked while something is left, and where its rate is limited.
const LOOK: Duration = Duration::from_millis(500);
/// How old the broker's word on a position may be that an order is sent by.
const FRESH: Duration = Duration::from_secs(5);
const LIMITED_LOOK: Duration = Duration::from_secs(2);
/// How often once nothing is: what turned up late is closed too.
const FLAT_LOOK: Duration = Duration::from_secs(5);
/// How long the cancel of an order waits for its next try that our books don't know, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How far the history is looked through for an earlier word.
const LOOK_BACK: u32 = 100;
/// What the history calls it.
const FLAT: &str = "FLAT";

/// Leave for one order to pass the shut gate, for as long as one engagement is in force. Only this module can make one, and
/// it does so for what it has claimed itself.
#[derive(Debug)]
pub(crate) struct Pass {
    engagement: String,
    order: OrderId,
}

impl Pass {
    /// Whether it was made for this engagement.
    pub(crate) fn is_for(&self, engagement: &str) -> bool {
        self.engagement == engagement
    }

    /// Whether it was made for this order.
    pub(crate) fn is_of(&self, order: &OrderId) -> bool {
        self.order == *order
    }
}

/// What closing positions has come to. Its sends are in a set of their own: whoever stops trading neither waits for them nor
/// cuts them off.
pub(super) struct Closing {
    health: AccountHealth,
    in_flight: InFlight,
    engagement: Option<String>,
    /// A look, or what follows from one, is under way.
    busy: bool,
    /// When the next look may begin.
    next: Duration,
    /// No order of an engagement that is over is left.
    tidy: bool,
    /// The number of each symbol's last order, where it is known.
    numbers: BTreeMap<Symbol, u32>,
    /// What the broker said was held, unlike our books, with nothing open; and since when it says so.
    unlike: BTreeMap<Symbol, (rust_decimal::Decimal, Duration)>,
    /// Cancels of orders that our books don't know.
    cancels: BTreeMap<BrokerOrderId, (Duration, Duration)>,
    told: bool,
    /// What was said to be held that can't be closed from here.
    unclosable: BTreeSet<String>,
}

impl Closing {
    pub(super) fn new(health: AccountHealth) -> Self {
        Self {
            health,
            in_flight: InFlight::default(),
            engagement: None,
            busy: false,
            next: Duration::ZERO,
            tidy: false,
            numbers: BTreeMap::new(),
            unlike: BTreeMap::new(),
            cancels: BTreeMap::new(),
            told: false,
            unclosable: BTreeSet::new(),
        }
    }

    /// Works for this engagement from here on.
    fn begin(&mut self, engagement: &str) {
        tracing::warn!(account = %self.health.name(), engagement, "the account's positions are being closed");
        self.engagement = Some(engagement.to_owned());
        self.numbers.clear();
        self.unlike.clear();
        self.cancels.clear();
        self.told = false;
        self.unclosable.clear();
        self.next = Duration::ZERO;
        self.health.set_flattening(Some(Progress::unseen(engagement)));
    }

    /// Works for none any more, or is about to be rebuilt.
    pub(super) fn forget(&mut self) {
        if self.engagement.take().is_some() {
            self.health.set_flattening(None);
            self.tidy = false;
        }
    }

    fn explain(&self, because: &str) {
        if let Some(known) = self.health.flattening() {
            // What was flat a moment ago is not known to be so now.
            let because = Some(because.to_owned());
            self.health.set_flattening(Some(Progress { flat: false, because, ..known }));
        }
    }
}

impl Broker {
    pub(super) fn flatten(&mut self, ctx: &mut Context<Self>) {
        let (now, wanted) = (self.world.clock.boottime(), self.gate.flattening(&self.tuning.account));
        match &wanted {
            None => self.closing.forget(),
            Some(wanted) if self.closing.engagement.as_ref() != Some(&wanted.engagement) => {
                self.closing.begin(&wanted.engagement);
            }
            Some(_) => {}
        }
        if self.closing.busy || self.draining || now < self.closing.next {
            return;
        }
        match wanted {
            Some(wanted) => self.look(wanted, now, ctx),
            None if !self.closing.tidy => self.tidy_up(now, ctx),
            None => {}
        }
    }

    fn look(&mut self, wanted: Flattening, now: Duration, ctx: &mut Context<Self>) {
        self.closing.next = now + self.look_every();
        if let Some(reason) = self.gate.objection_to_flattening(now) {
            return self.closing.explain(reason.as_str());
        }
        self.closing.busy = true;
        let looked = look(self.world.clone(), self.tuning.clone(), wanted.clone(), self.closing.numbers.clone());
        ctx.spawn(looked.into_actor(self).map(move |looked, act, ctx| {
            act.closing.busy = false;
            if act.closing.engagement.as_ref() != Some(&wanted.engagement) {
                return;
            }
            match looked {
                Ok(seen) => act.close(&wanted, seen, ctx),
                Err(why) => act.closing.explain(&why),
            }
        }));
    }

    const fn look_every(&self) -> Duration {
        if self.tuning.requests_per_minute.is_some() { LIMITED_LOOK } else { LOOK }
    }

    /// Draws the consequences of a look: says how far it is, and sends what may go.
    fn close(&mut self, wanted: &Flattening, seen: Seen, ctx: &mut Context<Self>) {
        let now = self.world.clock.boottime();
        self.cancel_unknown_to_us(wanted, &seen, ctx);
        let (flat, done) = (seen.is_flat(), seen.is_done());
        let seen_at = Some(seen.at);
        let is_fresh = now <= seen.asked + FRESH;
        let (mut left, mut sends) = (Vec::new(), Vec::new());
        for (symbol, next) in seen.symbols {
            self.closing.numbers.insert(symbol.clone(), next.number);
            let awaits = match self.decide(&symbol, &next, now) {
                // Somebody else may have closed it since.
                Step::Send(..) if !is_fresh => Awaits::Retry,
                Step::Awaits(awaits) => awaits,
                Step::End(order) => {
                    sends.push(Write::End {
                        id: order,
                        end: OwnEnd::Canceled,
                        reason: "position_changed",
                        detail: "it would close more than is held".to_owned(),
                    });
                    Awaits::Retry
                }
                Step::Send(order, before) => {
                    let engagement = wanted.engagement.clone();
                    sends.push(Write::Flatten { order, engagement, before });
                    Awaits::Sending
                }
            };
            left.push(Left { symbol, qty: next.held, order: next.order.clone(), awaits });
        }
        if done {
            self.closing.next = now + FLAT_LOOK;
        }
        if flat {
            self.tell_flat(wanted, ctx);
        }
        self.tell_unclosable(&seen.unclosable);
        let (engagement, unclosable) = (wanted.engagement.clone(), seen.unclosable);
        self.closing.health.set_flattening(Some(Progress {
            engagement,
            left,
            unclosable,
            flat,
            seen_at,
            because: None,
        }));
        self.claim_closing(wanted.engagement.clone(), sends, seen.asked, ctx);
    }

    /// What becomes of a symbol now, with what only this actor knows.
    fn decide(&mut self, symbol: &Symbol, next: &Next, now: Duration) -> Step {
        if next.is_unlike() {
            let (held, since) = *self.closing.unlike.entry(symbol.clone()).or_insert((next.held, now));
            if held != next.held {
                self.closing.unlike.insert(symbol.clone(), (next.held, now));
            }
            if held != next.held || now < since + self.tuning.unknown_settle {
                return Step::Awaits(Awaits::Position);
            }
        } else {
            self.closing.unlike.remove(symbol);
        }
        let is_ours = |id: &OrderId| self.sending.contains(id);
        match &next.step {
            Step::Send(order, _) if is_ours(&order.id) => Step::Awaits(Awaits::Outcome),
            Step::Send(order, _) => {
                let (calendar, at) = (self.market_hours.calendar(now), self.clock_guard.now(&*self.world.clock));
                let Some(at) = at else { return Step::Awaits(Awaits::Gate) };
                if !looking::may_go(calendar.as_deref(), order, at) {
                    return Step::Awaits(Awaits::Session);
                }
                self.budget.correct(self.world.venue.allowance());
                if self.budget.patience().is_some() || self.budget.take(Lane::Control).is_err() {
                    return Step::Awaits(Awaits::Gate);
                }
                next.step.clone()
            }
            Step::Awaits(_) | Step::End(_) => next.step.clone(),
        }
    }

    /// Makes the claims durable, and puts on its way what was claimed.
    fn claim_closing(&mut self, engagement: String, writes: Vec<Write>, began: Duration, ctx: &mut Context<Self>) {
        if writes.is_empty() {
            return;
        }
        self.closing.busy = true;
        let claimed = |write: &Write| {
            if let Write::Flatten { order, .. } = write { Some(order.id.clone()) } else { None }
        };
        // They are in our hands from here on: a comparison of the books must not take them for forgotten.
        let ids = writes.iter().filter_map(claimed).collect::<Vec<_>>();
        self.sending.extend(ids.iter().cloned());
        let line = self.lines.persist.clone();
        let asked = async move { line.ask(Persist { writes, lane: Writes::Claims }).await };
        ctx.spawn(asked.into_actor(self).map(move |asked, act, _| {
            act.closing.busy = false;
            act.sending.retain(|id| !ids.contains(id));
            // What is not written for certain is found at the next look, as everything else.
            let results = asked.into_iter().flatten().flatten();
            for result in results {
                match result.map(|applied| applied.orders.into_iter().next()) {
                    Ok(Some(order)) if order.status == OrderStatus::Submitting => {
                        act.send_closing(&engagement, order, began);
                    }
                    Ok(Some(_) | None) => {}
                    Err(refusal) => tracing::warn!(%refusal, "an order that closes a position was not claimed"),
                }
            }
        }));
    }

    fn send_closing(&mut self, engagement: &str, order: Order, began: Duration) {
        let (id, symbol, qty) = (&order.id, &order.instruction.symbol, order.qty);
        tracing::warn!(client_order_id = %id, %symbol, side = %order.instruction.side, qty = %qty.get(), "a position is being closed");
        self.unknowns.remove(&order.id);
        let pass = Pass { engagement: engagement.to_owned(), order: order.id.clone() };
        let limits = self.limits(began).passing_on(pass);
        let in_flight = self.closing.in_flight.clone();
        self.put_on_its_way(looking::due(&order), order, in_flight, limits);
    }

    /// Cancels what the broker lists, was open when trading was stopped, and our books don't know: nothing else asks for it
    /// again. What our books know has its mark.
    fn cancel_unknown_to_us(&mut self, wanted: &Flattening, seen: &Seen, ctx: &mut Context<Self>) {
        let now = self.world.clock.boottime();
        let is_listed = |id: &BrokerOrderId| seen.open.iter().any(|order| order.broker_order_id == *id);
        self.closing.cancels.retain(|id, _| is_listed(id));
        let is_old = |order: &&VenueOrder| order.submitted_at <= wanted.since && !seen.knows(&order.client_order_id);
        for order in seen.open.iter().filter(is_old) {
            let id = order.broker_order_id.clone();
            let (next, wait) = self.closing.cancels.entry(id.clone()).or_insert((now, FIRST_WAIT));
            if now < *next || self.budget.take(Lane::Control).is_err() {
                continue;
            }
            (*next, *wait) = (now + *wait, (*wait * 2).min(LONGEST_WAIT));
            let (venue, timeout) = (self.world.venue.clone(), self.tuning.send_timeout);
            let asked = async move { (tokio::time::timeout(timeout, venue.cancel(&id)).await, id) };
            ctx.spawn(asked.into_actor(self).map(|(answer, id), _, _| match answer {
                Ok(Ok(()) | Err(CancelError::NotCancelable)) => {}
                Ok(Err(CancelError::Venue(_))) | Err(_) => {
                    tracing::warn!(broker_order_id = %id, "a cancel failed; it is tried again");
                }
            }));
        }
    }

    /// Says once of an engagement what is held that can't be closed from here.
    fn tell_unclosable(&mut self, unclosable: &[Unclosable]) {
        for Unclosable { name, qty } in unclosable {
            if self.closing.unclosable.insert(name.clone()) {
                tracing::error!(account = %self.tuning.account, name, %qty, "a position can't be closed from here: it has to be closed at the broker");
            }
        }
    }

    /// Says once of an engagement that the account is flat: in the log, and in the history of the kill switch.
    fn tell_flat(&mut self, wanted: &Flattening, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.closing.told, true) {
            return;
        }
        let (account, engagement) = (self.tuning.account.clone(), wanted.engagement.clone());
        tracing::warn!(%account, %engagement, "the account is flat: the broker holds nothing, and nothing is open");
        let (store, line, at) = (self.world.store.clone(), self.lines.persist.clone(), self.world.clock.now());
        let told = async move {
            let said = |entry: &SwitchEntry, name: &str, what: &str| {
                entry.details.as_ref().and_then(|details| details.get(name)).and_then(Value::as_str) == Some(what)
            };
            let is_told = |entry: &SwitchEntry| {
                entry.event == FLAT
                    && said(entry, "account", account.as_str())
                    && said(entry, "engagement_id", &engagement)
            };
            // Said before a restart, or by whoever owned the account then.
            if store.switch_history(KILL_SWITCH, LOOK_BACK).await.is_ok_and(|history| history.iter().any(is_told)) {
                return;
            }
            let entry = SwitchEntry {
                event: FLAT.to_owned(),
                timestamp: at,
                operator: "gateway".to_owned(),
                reason: Some("the broker holds nothing, and nothing is open".to_owned()),
                details: Some(json!({"account": account, "engagement_id": engagement})),
            };
            persist_surely(&line, vec![Write::Noted(entry)]).await;
        };
        ctx.spawn(told.into_actor(self));
    }

    /// After the engagement: an order that waits ends, and one that may be live is cancelled, since what trades from now on
    /// may make an opening of it. Nothing is known to be over before the kill switch was read.
    fn tidy_up(&mut self, now: Duration, ctx: &mut Context<Self>) {
        if self.gate.reasons(now).contains(&ShutReason::KillSwitchUnknown) {
            return;
        }
        self.closing.busy = true;
        self.closing.next = now + LOOK;
        let (store, line, account) =
            (self.world.store.clone(), self.lines.persist.clone(), self.tuning.account.clone());
        let tidied = async move {
            let Ok(open) = store.open_orders(&account).await else { return false };
            let (mut writes, mut ids) = (Vec::new(), Vec::new());
            for order in open.into_iter().filter(|order| is_flatten(&order.id)) {
                match order.status.share() {
                    Share::Pending => writes.push(Write::End {
                        id: order.id,
                        end: OwnEnd::Canceled,
                        reason: "disengaged",
                        detail: "the engagement that wanted it is over".to_owned(),
                    }),
                    Share::Working | Share::Unknown => ids.push(order.id),
                    Share::Unexecuted => {}
                }
            }
            if !ids.is_empty() {
                writes.push(Write::MarkCancels { ids });
            }
            if writes.is_empty() {
                return true;
            }
            matches!(line.ask(Persist { writes, lane: Writes::Rest }).await, Ok(Ok(_)))
        };
        ctx.spawn(tidied.into_actor(self).map(|is_done, act, ctx| {
            act.closing.busy = false;
            act.closing.tidy = is_done;
            act.scan_marks(ctx);
        }));
    }
}
