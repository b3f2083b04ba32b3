//! Room for a train of orders: asked of the desk after their tokens and before their claims. What has to wait for a limit
//! that passes by itself waits beside the queue, and holds nobody up.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::sends::Granted;
use super::{Broker, Due, Ending};
use crate::domain::ledger::Write;
use crate::domain::limits::Verdict;
use crate::domain::names::{OrderId, Symbol};
use crate::domain::status::OwnEnd;
use crate::gate::ShutReason;
use crate::persistence::persist_surely;
use crate::risk_desk::{Release, Reserve, Reserved, Weigh};

/// How often what waits for a limit asks again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How soon the desk is asked again that did not answer.
const PATIENCE: Duration = Duration::from_millis(100);

impl Broker {
    /// Asks for room for a train; what gets it is claimed, together with the ends of what does not.
    pub(super) fn reserve(&mut self, train: Vec<Due>, ends: Vec<Ending>, began: Duration, ctx: &mut Context<Self>) {
        self.claiming = true;
        if train.is_empty() {
            self.claim(Granted { train: Vec::new(), limits: 0 }, ends, began, ctx);
            return;
        }
        let wishes = train.iter().map(|due| due.wish.clone()).collect();
        let (line, anew) = (self.lines.reserve.clone(), std::mem::take(&mut self.limits_moved));
        let asked = async move { line.ask(Reserve { wishes, anew }).await };
        ctx.spawn(asked.into_actor(self).map(move |asked, act, ctx| match asked {
            Ok(Ok(reserved)) => act.sort(train, ends, reserved, began, ctx),
            // The limits can't be told, and so nothing enters: neither does what would only have reduced, since that is
            // not known either.
            Ok(Err(_)) | Err(_) => {
                act.claiming = false;
                act.limits_moved |= anew;
                for due in train.into_iter().chain(ends.into_iter().map(|(due, ..)| due)) {
                    act.requeue(due);
                }
                act.look_again(PATIENCE, ctx);
            }
        }));
    }

    fn sort(
        &mut self,
        train: Vec<Due>,
        mut ends: Vec<Ending>,
        reserved: Reserved,
        began: Duration,
        ctx: &mut Context<Self>,
    ) {
        let now = self.world.clock.boottime();
        let (mut granted, mut waiting, mut unused) = (Vec::new(), Vec::new(), Vec::new());
        for (mut due, (came, strategy)) in train.into_iter().zip(reserved.verdicts) {
            due.wish.strategy = strategy;
            let verdict = self.gate.verdict_for(due.wish.subject(&self.tuning.account), now);
            match came {
                Verdict::Goes { reduces } => match verdict.objection(reduces) {
                    None => granted.push((due, reduces)),
                    Some(reason) => {
                        unused.push((due.wish.symbol.clone(), due.id.clone()));
                        match reason.ends_slice() {
                            Some(end) => ends.push((due, end, reason.as_str(), explain(reason))),
                            None => self.requeue(due),
                        }
                    }
                },
                Verdict::Ends { code, detail } => ends.push((due, OwnEnd::BlockedRisk, code.as_str(), detail)),
                Verdict::Waits { code, detail } => waiting.push((due, code.as_str(), detail)),
            }
        }
        self.release(unused, ctx);
        self.let_wait(waiting, ctx);
        self.claim(Granted { train: granted, limits: reserved.limits }, ends, began, ctx);
    }

    /// Gives the room back of what was not claimed after all.
    pub(super) fn release(&self, unused: Vec<(Symbol, OrderId)>, ctx: &mut Context<Self>) {
        if unused.is_empty() {
            return;
        }
        let line = self.lines.release.clone();
        ctx.spawn(async move { line.ask(Release(unused)).await }.into_actor(self).map(|told, _, _| {
            if told.is_err() {
                tracing::debug!("the risk desk is being rebuilt, and knows of no room that was reserved");
            }
        }));
    }

    /// Lets orders wait beside the queue for what passes by itself, and says so in our books.
    fn let_wait(&mut self, waiting: Vec<(Due, &'static str, String)>, ctx: &mut Context<Self>) {
        if waiting.is_empty() {
            return;
        }
        let mut writes = Vec::new();
        for (mut due, code, detail) in waiting {
            if due.absent_since.is_none() && due.waits_for != Some(code) {
                due.waits_for = Some(code);
                writes.push(Write::Hold { id: due.id.clone(), reason: code, detail });
            }
            self.parked.push(due);
        }
        if !writes.is_empty() {
            let line = self.lines.persist.clone();
            ctx.spawn(async move { persist_surely(&line, writes).await }.into_actor(self).map(|_, _, _| ()));
        }
        self.ask_again(ctx);
    }

    fn ask_again(&mut self, ctx: &mut Context<Self>) {
        if self.asking_again.is_some() || self.parked.is_empty() {
            return;
        }
        self.asking_again = Some(ctx.run_later(ASK_AGAIN, Self::weigh));
    }

    /// Asks without a token whether there would be room. What would get it, and what is too late, goes back into the queue,
    /// where its fate is decided.
    fn weigh(&mut self, ctx: &mut Context<Self>) {
        let parked = std::mem::take(&mut self.parked);
        let wishes = parked.iter().map(|due| due.wish.clone()).collect();
        let line = self.lines.weigh.clone();
        let asked = async move { line.ask(Weigh(wishes)).await };
        ctx.spawn(asked.into_actor(self).map(move |asked, act, ctx| {
            act.asking_again = None;
            let now = act.world.clock.now();
            let mut verdicts = asked.into_iter().flatten().flatten();
            for due in parked {
                match verdicts.next() {
                    Some(Verdict::Waits { .. }) | None if now <= due.latest => act.parked.push(due),
                    Some(_) | None => act.requeue(due),
                }
            }
            act.ask_again(ctx);
            act.pump(ctx);
        }));
    }
}

fn explain(reason: ShutReason) -> String {
    if reason.lets_exits_pass() { "only what reduces a position may leave now".to_owned() } else { String::new() }
}
