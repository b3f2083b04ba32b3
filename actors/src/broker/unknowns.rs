//! Sends of unknown outcome: looked up by client order id until found or absent, and never resent blind.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use serde_json::json;

use super::{Broker, Due};
use crate::budget::Lane;
use crate::domain::ids::is_flatten;
use crate::domain::ledger::{EventKind, Report, Write};
use crate::domain::names::OrderId;
use crate::domain::order::Order;
use crate::domain::reconciliation::{CauseId, CauseKind};
use crate::domain::status::{OrderStatus, OwnEnd, Share};
use crate::domain::venue::VenueOrder;
use crate::persistence::persist_surely;
use crate::ports::VenueError;
use crate::ports::store::{AnyOrder, LedgerEvent};

/// How often the look-ups that are due are started.
pub(super) const TICK: Duration = Duration::from_millis(50);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often an order is looked up that the venue must have but is not what we sent: an operator has to settle it.
const HOPELESS_WAIT: Duration = Duration::from_secs(60);

/// Orders that our books leave open without an answer, or as live where the venue's pages lacked them. Those that this
/// actor has in its hands already stay there; of all others the claims were not made by it, and their clock starts now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Adopt {
    pub(crate) orders: Vec<(Order, Due)>,
    /// Nothing is sent while this is found out, so what is not among these orders is not in doubt.
    pub(crate) complete: bool,
}

/// What is known of an order of unknown outcome. All instants are of the clock that counts suspended time.
pub(super) struct Unknown {
    attempt: u32,
    at_venue: bool,
    /// Says since when it is absent: whoever ends what waits too long has to know that it may be live.
    due: Due,
    /// Until then somebody may still be sending it.
    claim_over: Duration,
    first_miss: Option<Duration>,
    next: Duration,
    wait: Duration,
    asking: bool,
    /// It is not what was sent, and its symbol is quarantined for it.
    quarantined: bool,
}

impl Handler<Adopt> for Broker {
    type Result = ();

    fn handle(&mut self, adopt: Adopt, ctx: &mut Self::Context) {
        if adopt.complete {
            let open = adopt.orders.iter().map(|(order, _)| &order.id).collect::<BTreeSet<_>>();
            self.doubtful.retain(|id| open.contains(id) || self.has(id));
        }
        for (order, due) in adopt.orders {
            if self.has(&order.id) {
                continue;
            }
            if order.status == OrderStatus::Submitting {
                self.declare_unknown(&order, due, ctx);
            } else {
                self.doubt(&order, due.clone());
                if order.status.share() == Share::Unknown {
                    // It may have ended since our books were read. A live one is looked up whatever they say now.
                    self.read_again(due, ctx);
                }
            }
        }
        self.look_up_due();
    }
}

impl Broker {
    /// Begins to look an order up. Its claim ends a full claim's time from now: that is never too early.
    pub(super) fn doubt(&mut self, order: &Order, due: Due) {
        let now = self.world.clock.boottime();
        self.doubtful.insert(&order.id);
        let absent_since = due.absent_since.filter(|_| order.absent_at.is_some());
        let absent_since = absent_since.or_else(|| order.absent_at.map(|_| now));
        let unknown = Unknown {
            attempt: order.attempt,
            at_venue: order.at_venue || order.broker_order_id.is_some(),
            due: Due { absent_since, ..due },
            claim_over: now + self.tuning.claim,
            first_miss: None,
            next: now,
            wait: FIRST_WAIT,
            asking: false,
            quarantined: false,
        };
        self.unknowns.insert(order.id.clone(), unknown);
    }

    /// Whoever claimed it is gone, and left no word of what came of it: the order may be live.
    fn declare_unknown(&mut self, order: &Order, due: Due, ctx: &mut Context<Self>) {
        self.doubtful.insert(&order.id);
        self.sending.insert(order.id.clone());
        let write = Write::OutcomeUnknown {
            id: order.id.clone(),
            attempt: order.attempt,
            detail: "whoever sent it was gone before the answer".to_owned(),
            at_venue: false,
        };
        let line = self.lines.persist.clone();
        let declared = async move { persist_surely(&line, vec![write]).await.pop() };
        ctx.spawn(declared.into_actor(self).map(move |result, act, ctx| {
            act.sending.remove(&due.id);
            match result.map(|result| result.map(|applied| applied.order(&due.id).cloned())) {
                Some(Ok(Some(order))) if order.status == OrderStatus::SubmittedUnconfirmed => act.doubt(&order, due),
                // What it was to replace had ended, and it with that.
                Some(Ok(Some(order))) => act.settled(&[order]),
                Some(Ok(None) | Err(_)) | None => act.read_again(due, ctx),
            }
        }));
    }

    /// Our books moved on while an order was in our hands: goes by what they say now.
    pub(super) fn read_again(&self, due: Due, ctx: &mut Context<Self>) {
        let (store, asked) = (self.world.store.clone(), due.id.clone());
        let read = async move {
            loop {
                match store.order(&asked).await {
                    Ok(Some(AnyOrder::Order(order))) => return Some(*order),
                    Ok(Some(AnyOrder::Parent(_)) | None) => return None,
                    Err(_) => tokio::time::sleep(LONGEST_WAIT).await,
                }
            }
        };
        ctx.spawn(read.into_actor(self).map(move |order, act, _| {
            let Some(order) = order else { return };
            if order.status != OrderStatus::SubmittedUnconfirmed {
                act.settled(&[order]);
            } else if !act.has(&order.id) {
                act.doubt(&order, due);
            }
        }));
    }

    /// Starts the look-ups that are due, within the rate budget.
    pub(super) fn look_up_due(&mut self) {
        let now = self.world.clock.boottime();
        let mut due = self
            .unknowns
            .iter()
            .filter(|(_, unknown)| !unknown.asking && unknown.next <= now)
            .map(|(id, unknown)| (unknown.next, id.clone()))
            .collect::<Vec<_>>();
        // Who has waited longest comes first: where the budget is small, nobody is asked about twice before another once.
        due.sort_unstable();
        self.budget.correct(self.world.venue.allowance());
        for (_, id) in due {
            if self.budget.take(Lane::Control).is_err() {
                return;
            }
            if let Some(unknown) = self.unknowns.get_mut(&id) {
                unknown.asking = true;
            }
            let (venue, asked, timeout) = (self.world.venue.clone(), id.clone(), self.tuning.send_timeout);
            let look_up = async move {
                let late = || VenueError::Unavailable { detail: "no answer in time".to_owned() };
                tokio::time::timeout(timeout, venue.find(&asked)).await.unwrap_or_else(|_| Err(late()))
            };
            self.crowd.join(look_up, move |found, act, ctx| match found {
                Ok(Some(order)) => act.found(&id, order),
                Ok(None) => act.missed(&id, ctx),
                Err(error) => {
                    tracing::debug!(client_order_id = %id, %error, "a look-up failed");
                    act.note_refusal(&error, ctx);
                    act.ask_later(&id);
                }
            });
        }
    }

    fn ask_later(&mut self, id: &OrderId) {
        let now = self.world.clock.boottime();
        if let Some(unknown) = self.unknowns.get_mut(id) {
            unknown.asking = false;
            unknown.next = now + unknown.wait;
            unknown.wait = (unknown.wait * 2).min(LONGEST_WAIT);
        }
    }

    fn found(&mut self, id: &OrderId, venue: VenueOrder) {
        let write = Write::Report(Box::new(Report { order: venue, executions: Vec::new(), corrects: false }));
        let (line, id) = (self.lines.persist.clone(), id.clone());
        let recorded = async move { persist_surely(&line, vec![write]).await.pop() };
        self.crowd.join(recorded, move |result, act, ctx| match result {
            Some(Ok(applied)) => {
                act.settled(&applied.orders);
                if let Some(order) = applied.order(&id) {
                    act.watch_replaced(order, ctx);
                }
            }
            Some(Err(refusal)) => {
                tracing::error!(client_order_id = %id, %refusal, "the venue's order of this id can't be adopted");
                act.ask_later(&id);
                let Some(unknown) = act.unknowns.get_mut(&id) else {
                    return;
                };
                unknown.wait = HOPELESS_WAIT;
                if !std::mem::replace(&mut unknown.quarantined, true) {
                    act.quarantine_id(&id, ctx);
                }
            }
            None => act.ask_later(&id),
        });
    }

    /// Takes orders whose outcome is known now off the list.
    pub(super) fn settled(&mut self, orders: &[Order]) {
        for order in orders.iter().filter(|order| order.status.share() != Share::Unknown) {
            self.unknowns.remove(&order.id);
            self.doubtful.remove(&order.id);
        }
    }

    /// Not found. Twice, far enough apart and with the claim over, is absent; absent for long enough is given up.
    fn missed(&mut self, id: &OrderId, ctx: &mut Context<Self>) {
        let now = self.world.clock.boottime();
        let (settle, given_up) = (self.tuning.unknown_settle, self.tuning.absent_settle);
        self.ask_later(id);
        let Some(unknown) = self.unknowns.get_mut(id) else {
            return;
        };
        if unknown.at_venue {
            // Only the venue's word or an operator's ends it: has somebody spoken meanwhile?
            let due = unknown.due.clone();
            self.read_again(due, ctx);
            return;
        }
        if now < unknown.claim_over {
            return;
        }
        if let Some(since) = unknown.due.absent_since {
            if now >= since + given_up {
                self.give_up(id, ctx);
            } else {
                self.send_again(id, ctx);
            }
            return;
        }
        let first = *unknown.first_miss.get_or_insert(now);
        if now < first + settle {
            unknown.next = unknown.next.min(first + settle);
            return;
        }
        let write = Write::Absent { id: id.clone(), attempt: unknown.attempt };
        let (line, id) = (self.lines.persist.clone(), id.clone());
        unknown.asking = true;
        let recorded = async move { persist_surely(&line, vec![write]).await.pop() };
        ctx.spawn(recorded.into_actor(self).map(move |result, act, ctx| {
            let Some(unknown) = act.unknowns.get_mut(&id) else {
                return;
            };
            unknown.asking = false;
            if matches!(result, Some(Ok(_))) {
                unknown.due.absent_since = Some(now);
                act.send_again(&id, ctx);
            } else {
                let due = unknown.due.clone();
                act.read_again(due, ctx);
            }
        }));
    }

    /// An absent order may be claimed and sent again, under the same id, while it isn't too late.
    fn send_again(&mut self, id: &OrderId, ctx: &mut Context<Self>) {
        let Some(unknown) = self.unknowns.get(id) else { return };
        if unknown.due.absent_since.is_some() && self.world.clock.now() <= unknown.due.latest && !is_flatten(id) {
            self.enqueue(unknown.due.clone());
            self.pump(ctx);
        }
    }

    fn give_up(&mut self, id: &OrderId, ctx: &mut Context<Self>) {
        let (line, store, asked) = (self.lines.persist.clone(), self.world.store.clone(), id.clone());
        if let Some(unknown) = self.unknowns.get_mut(id) {
            unknown.asking = true;
        }
        let ended = async move {
            // How it ends depends on what may not be readable now: then it is asked again later.
            let canceled = match store.order(&asked).await.ok()? {
                Some(AnyOrder::Order(order)) => order.cancel_requested_at.is_some(),
                Some(AnyOrder::Parent(_)) | None => false,
            };
            let (end, reason) =
                if canceled { (OwnEnd::Canceled, "cancel_requested") } else { (OwnEnd::Failed, "absent_at_venue") };
            let refusal = refusal(&store.events(&asked).await.ok()?);
            let detail = refusal.unwrap_or_else(|| "the venue never had it".to_owned());
            persist_surely(&line, vec![Write::End { id: asked, end, reason, detail }]).await.pop()
        };
        let id = id.clone();
        ctx.spawn(ended.into_actor(self).map(move |result, act, ctx| {
            if matches!(result, Some(Ok(_))) {
                tracing::warn!(client_order_id = %id, "an absent order was given up");
                act.unknowns.remove(&id);
                act.doubtful.remove(&id);
                return;
            }
            act.ask_later(&id);
            if let Some(due) = act.unknowns.get(&id).map(|unknown| unknown.due.clone()) {
                act.read_again(due, ctx);
            }
        }));
    }

    /// The venue's order of our id is not what we sent: no new orders in its symbol until an operator has looked at it.
    pub(super) fn quarantine(&mut self, order: &Order, ctx: &mut Context<Self>) {
        tracing::error!(client_order_id = %order.id, symbol = %order.instruction.symbol, "the venue's order of our id is not what was sent: its symbol is quarantined");
        let Ok(cause) = CauseId::parse(order.id.as_str()) else { return };
        metrics::counter!("tranche_quarantines_total").increment(1);
        let write = Write::Quarantine {
            cause,
            kind: CauseKind::NotWhatWasSent,
            symbol: order.instruction.symbol.clone(),
            broker_order_id: order.broker_order_id.clone(),
            found: json!({"client_order_id": order.id}),
        };
        let line = self.lines.persist.clone();
        ctx.spawn(async move { persist_surely(&line, vec![write]).await }.into_actor(self).map(|_, _, _| ()));
    }

    pub(super) fn quarantine_id(&mut self, id: &OrderId, ctx: &mut Context<Self>) {
        let (store, id) = (self.world.store.clone(), id.clone());
        let asked = id.clone();
        let read = async move { store.order(&asked).await };
        ctx.spawn(read.into_actor(self).map(move |read, act, ctx| match read {
            Ok(Some(AnyOrder::Order(order))) => {
                if order.status == OrderStatus::SubmittedUnconfirmed || order.broker_order_id.is_some() {
                    act.quarantine(&order, ctx);
                }
            }
            Ok(_) => {}
            // The clash is real whether or not the store can be read: the quarantine must not be lost with it.
            Err(error) => {
                tracing::error!(client_order_id = %id, %error, "an order to quarantine could not be read; trying again");
                ctx.run_later(LONGEST_WAIT, move |act, ctx| act.quarantine_id(&id, ctx));
            }
        }));
    }
}

/// What the venue said when it refused the order that had been sent again.
fn refusal(events: &[LedgerEvent]) -> Option<String> {
    let refused = events.iter().rfind(|event| event.event == EventKind::Refused.as_str())?;
    refused.data.get("message")?.as_str().map(str::to_owned)
}
