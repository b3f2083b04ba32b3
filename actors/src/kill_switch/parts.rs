//! Stopping a part and letting it go: an account, a strategy or a symbol. These engagements live in the database alone, since
//! the format that other programs share has no field for them.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, ResponseActFuture, WrapFuture};
use serde_json::json;
use tokio::sync::oneshot;

use super::engaging::{carry_out_part, comply_part, stop_everywhere};
use super::once::{self, Whose, held_as, unnamed, whose};
use super::saving::is_refused_by_store;
use super::{KillSwitch, TRIES, entry, request_of};
use crate::commands::{CommandError, Disengage, Engage, EngageAnswer, Released};
use crate::domain::audit::{AuditAction, Request};
use crate::domain::flatten::Flattening;
use crate::domain::halts::{Halt, Halted, Halts};
use crate::domain::kill::{EngageOrder, KillMode, KillState};
use crate::domain::ledger::{HALTS, KILL_SWITCH, Refusal, SwitchEntry, Write};
use crate::domain::limits::Subject;
use crate::persistence::{Lane, Persist, PersistError};
use crate::ports::store::Store;

/// How soon the store is asked again that did not take an engagement.
const AGAIN: Duration = Duration::from_millis(500);

/// What a look at the database brought of the stopped parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// There was none yet.
    NotYet,
    /// Their row makes no sense.
    Garbled,
    /// They were read.
    Read,
}

/// What releasing a part came to.
enum LetGo {
    /// It is durable; what is stopped still.
    Durable(Halts),
    /// Another engagement of that part stands there.
    Overtaken(Halts),
    /// The key named another request.
    KeyReused,
    /// Certainly not written.
    NotWritten,
    /// It may be written.
    Unknown,
}

impl KillSwitch {
    /// What is stopped of parts: by the database, and what was asked for and is not durable yet.
    pub(super) fn stopped(&self) -> Halts {
        self.unsaved.iter().fold(self.halts.clone(), |halts, halt| halts.with(halt))
    }

    /// Tells the gates which engagements in force want positions closed. Nothing of an engagement that is over leaves from
    /// here on.
    pub(super) fn show_flattenings(&self) {
        let of_all = self.state.as_ref().and_then(Flattening::of_kill);
        let of_parts = self.stopped().in_force;
        self.latch.flatten(of_all.into_iter().chain(of_parts.iter().filter_map(Flattening::of_halt)).collect());
    }

    /// Shows the gates and health what is stopped.
    pub(super) fn show_parts(&self) {
        let stopped = self.stopped().in_force;
        self.latch.parts_are(stopped.iter().map(|halt| halt.scope.clone()));
        self.health.set_halts(stopped);
        self.show_flattenings();
    }

    /// Engages the switch of a part, whose orders the gates hold back already.
    pub(super) fn engage_part(
        &mut self,
        engage: Engage,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        let settle = engage.settle.unwrap_or(self.tuning.kill_settle);
        let order = EngageOrder {
            operator: engage.operator.clone(),
            reason: engage.reason.clone(),
            details: engage.details.clone(),
            mode: engage.mode,
        };
        let now = self.world.clock.now();
        let (halt, event) = match self.stopped().engage(&engage.scope, &order, now) {
            Halted::Already(halt) => return self.part_already(engage, halt, settle),
            Halted::New(halt) => (halt, "ENGAGED"),
            Halted::Escalated(halt) => (halt, "ESCALATED"),
        };
        let (mode, halt) = (halt.mode, Halt { mode: held_as(&engage, halt.mode), ..halt });
        let entry = of_part(entry(event, now, &engage), &halt);
        let request = Request { subject: subject(&halt), ..request_of(&engage) };
        let wish = engage.closes_once().is_some().then(|| engage.clone());
        let durable = self.save_part((halt.clone(), mode), entry, (Some(request), wish), ctx);
        self.latch.take_note(&engage.scope, Some(halt.mode));
        self.latch.remember(&engage, None);
        metrics::counter!("tranche_kill_switch_engagements_total").increment(1);
        tracing::warn!(scope = %halt.scope, operator = %engage.operator, reason = %engage.reason, mode = %engage.mode, "a part is stopped");
        self.carrying_out_parts += 1;
        let carried_out = carry_out_part(self.duties(), (halt, mode), settle, durable);
        Box::pin(carried_out.into_actor(self).map(move |answer, act, _| {
            act.carrying_out_parts -= 1;
            act.latch.remember(&engage, Some(answer.clone()));
            Ok(answer)
        }))
    }

    /// It is in force, as strict: answered once everything of it is stopped. Whoever released it meanwhile has not released
    /// what was asked for now.
    fn part_already(
        &mut self,
        engage: Engage,
        halt: Halt,
        settle: Duration,
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        self.carrying_out_parts += 1;
        let duties = self.duties();
        let (scope, engagement) = (halt.scope.clone(), halt.engagement_id.clone());
        let stopped = async move {
            stop_everywhere(&duties, &scope, &engagement, settle).await;
        };
        let stopped = stopped.into_actor(self).then(|(), act, _| {
            act.carrying_out_parts -= 1;
            act.until_parts_are_let_go()
        });
        let read = stopped.then(|(), act, _| {
            let store = act.world.store.clone();
            async move { if store.is_shared() { parts_in(&*store).await } else { None } }.into_actor(act)
        });
        Box::pin(read.then(move |read, act, ctx| {
            if let Some(read) = read {
                act.take_parts(&read, ctx);
            }
            if act.stopped().have(&halt) {
                act.latch.take_note(&engage.scope, Some(halt.mode));
                act.show_parts();
                let held = Box::new(halt.as_state());
                let refused: ResponseActFuture<Self, _> =
                    Box::pin(async { Err(CommandError::AlreadyEngaged(held)) }.into_actor(act));
                return refused;
            }
            act.engage_part(engage, ctx)
        }))
    }

    /// Ends once no release of a part is on its way: what it lets go is not in force, whatever is known of it now. The gates
    /// hold the part back meanwhile.
    fn until_parts_are_let_go(&self) -> ResponseActFuture<Self, ()> {
        if self.releasing_parts == 0 {
            return Box::pin(async {}.into_actor(self));
        }
        let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
        Box::pin(waited.then(|(), act, _| act.until_parts_are_let_go()))
    }

    /// Makes the engagement of a part durable, ahead of every waiting batch, and tries for as long as that takes: a release
    /// waits for it. In memory it is held as it is given, the ledger is to take it in that mode.
    fn save_part(
        &mut self,
        (halt, mode): (Halt, KillMode),
        entry: SwitchEntry,
        (mut request, wish): (Option<Request>, Option<Engage>),
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<Halt> {
        let (told, durable) = oneshot::channel();
        self.unsaved.retain(|other| other.scope != halt.scope);
        self.unsaved.push(halt.clone());
        self.show_parts();
        let (persist, store, mut base) = (self.lines.persist.clone(), self.world.store.clone(), self.halts.clone());
        let (held, mut is_known) = (halt.clone(), self.parts == Seen::Read);
        let saving = async move {
            let mut wanted = Halt { mode, ..held.clone() };
            loop {
                // What is stopped besides must not be written over.
                if !std::mem::replace(&mut is_known, true) {
                    match parts_in(&*store).await {
                        Some(read) => base = read,
                        None => {
                            is_known = false;
                            tokio::time::sleep(AGAIN).await;
                            continue;
                        }
                    }
                }
                // Another instance may have written it, but not that this request is carried out with it.
                let is_named = request.as_ref().is_some_and(|request| request.named().is_some());
                let found = base.of(&wanted.scope).filter(|_| base.have(&wanted)).cloned();
                if let Some(found) = found.clone().filter(|_| !is_named) {
                    return (base, found);
                }
                let written = found.unwrap_or_else(|| wanted.clone());
                let next = base.with(&written);
                let write = Write::Halts { halts: Box::new(next.clone()), entry: entry.clone() };
                let write = write.requested(request.clone());
                match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => return (next, written),
                    Ok(Ok(results)) if once::is_named(&results) => {
                        let id = &written.engagement_id;
                        match whose(&*store, request.as_ref(), &written.scope, id).await {
                            Some(whose) => {
                                // What was written is in the audit too.
                                request = request.filter(|_| whose == Whose::Other).map(unnamed);
                                if whose == Whose::Other {
                                    wanted.mode = held.mode;
                                }
                            }
                            None => tokio::time::sleep(AGAIN).await,
                        }
                    }
                    Ok(Ok(results)) => request = request.filter(|_| !results.iter().any(is_refused_by_store)),
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(AGAIN).await,
                }
                match parts_in(&*store).await {
                    Some(read) => base = read,
                    None => tokio::time::sleep(AGAIN).await,
                }
            }
        };
        ctx.spawn(saving.into_actor(self).map(move |(saved, written), act, ctx| {
            act.take_parts(&saved, ctx);
            act.unsaved.retain(|other| *other != halt);
            if let Some(wish) = &wish {
                act.latch.withdraw(wish);
            }
            act.show_parts();
            act.touched = act.world.clock.boottime();
            if told.send(written).is_err() {
                tracing::info!(scope = %halt.scope, "the engagement is saved now");
            }
        }));
        durable
    }

    /// What a look at the database showed that began after all that was written here.
    pub(super) fn see_parts(&mut self, read: &Halts, ctx: &mut Context<Self>) {
        // Until the first good look: what this actor's predecessor held, which may not be durable yet.
        let mut held = if self.state.is_none() { self.health.halts() } else { Vec::new() };
        if read.revision >= self.halts.revision {
            self.take_parts(read, ctx);
        } else {
            // The database went back, to before what is in force.
            held.extend(self.halts.in_force.iter().cloned());
            self.halts = read.clone();
        }
        let stopped = self.stopped();
        for halt in held.into_iter().filter(|halt| !stopped.have(halt)) {
            self.alert("the database has forgotten that a part is stopped, or was never told");
            let entry = of_part(entry_again(&halt, self.world.clock.now()), &halt);
            let mode = halt.mode;
            drop(self.save_part((halt, mode), entry, (None, None), ctx));
        }
        self.show_parts();
    }

    /// A state of the parts that was written or read here, and what others have stopped in it.
    fn take_parts(&mut self, read: &Halts, ctx: &mut Context<Self>) {
        if read.revision <= self.halts.revision {
            return;
        }
        let stopped = self.stopped();
        let new = read.in_force.iter().filter(|halt| !stopped.have(halt)).cloned().collect::<Vec<_>>();
        self.halts = read.clone();
        self.show_parts();
        for halt in new {
            tracing::warn!(scope = %halt.scope, operator = %halt.engaged_by, "a part is stopped");
            self.carrying_out_parts += 1;
            let complied = comply_part(self.duties(), halt, self.tuning.kill_settle);
            ctx.spawn(complied.into_actor(self).map(|(), act, _| act.carrying_out_parts -= 1));
        }
    }

    /// Asks again for the cancels of every part that is stopped in a mode that cancels, as after a start.
    pub(super) fn resume_cancels_of_parts(&mut self, ctx: &mut Context<Self>) {
        for halt in self.stopped().in_force.into_iter().filter(|halt| halt.mode.cancels()) {
            let everything = self.everything(halt.scope.clone());
            let accounts = self.lines.accounts.clone();
            self.carrying_out_parts += 1;
            let asked = async move { accounts.cancel(everything).await };
            ctx.spawn(asked.into_actor(self).map(move |asked, act, _| {
                act.carrying_out_parts -= 1;
                if asked.is_err() {
                    tracing::error!(scope = %halt.scope, "the cancels of a stopped part could not be asked for again");
                }
            }));
        }
    }

    /// Puts what is known here of the stopped parts in the place of a row that makes no sense: whoever lets everything go gives
    /// the word for that.
    pub(super) fn parts_anew(&self, entry: &SwitchEntry) -> Option<Write> {
        let halts = Halts { revision: self.halts.revision.saturating_add(1), ..self.halts.clone() };
        let entry = SwitchEntry { event: "PARTS_WRITTEN_ANEW".to_owned(), details: None, ..entry.clone() };
        (self.parts == Seen::Garbled).then(|| Write::Halts { halts: Box::new(halts), entry })
    }

    /// That was written.
    pub(super) const fn parts_are_written(&mut self) {
        if matches!(self.parts, Seen::Garbled) {
            self.parts = Seen::Read;
            self.halts.revision = self.halts.revision.saturating_add(1);
        }
    }

    /// Lets a part go. What still cuts off and cancels, or is being saved, is waited for. The answer is the switch of
    /// everything, which stays as it is.
    pub(super) fn release_part(
        &self,
        release: Disengage,
        patience: Duration,
    ) -> ResponseActFuture<Self, Result<Released, CommandError>> {
        let is_owed = self.lines.accounts.owes();
        if self.is_carrying_out() || is_owed || self.unsaved.iter().any(|halt| halt.scope == release.scope) {
            if !self.is_carrying_out() && self.world.clock.boottime() > patience {
                return Box::pin(async { Err(CommandError::StoreUnavailable) }.into_actor(self));
            }
            let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
            return Box::pin(waited.then(move |(), act, _| act.release_part(release, patience)));
        }
        if self.state.is_none() || self.parts != Seen::Read {
            // Nobody knows yet what is stopped.
            return Box::pin(async { Err(CommandError::StoreUnavailable) }.into_actor(self));
        }
        let Some(halt) = self.halts.of(&release.scope).cloned() else {
            return Box::pin(async { Err(CommandError::NotEngaged) }.into_actor(self));
        };
        let now = self.world.clock.now();
        let entry = SwitchEntry {
            event: "DISENGAGED".to_owned(),
            timestamp: now,
            operator: release.operator.clone(),
            reason: release.notes.clone(),
            details: None,
        };
        let request = Request {
            by: release.by.clone(),
            operator: Some(release.operator.clone()),
            action: Some(AuditAction::DisengageKillSwitch),
            subject: subject(&halt),
        };
        let rest = self.halts.without(&halt.engagement_id).unwrap_or_default();
        let is_engaged = self.state.as_ref().is_none_or(KillState::is_engaged);
        let of = halt.scope.clone();
        let goes_on = move |one: Subject<'_>| !is_engaged && one.is_of(&of) && rest.stopping(one).is_none();
        let read = self.what_resumes(&halt.scope, goes_on).into_actor(self);
        let (caller, part) = (release.by.caller.clone(), halt.clone());
        let let_go = read.then(move |resumes, act, _| {
            let entry = SwitchEntry { details: Some(json!({"caller": caller, "resumes": resumes})), ..entry };
            let let_go = act.let_part_go(&part, of_part(entry, &part), request);
            let_go.into_actor(act).map(|let_go, _, _| (let_go, resumes))
        });
        Box::pin(let_go.map(move |(let_go, resumes), act, ctx| {
            act.touched = act.world.clock.boottime();
            match let_go {
                LetGo::Durable(halts) => {
                    act.take_parts(&halts, ctx);
                    tracing::warn!(scope = %halt.scope, operator = %release.operator, "a part is let go");
                    Ok(Released { state: act.known(), resumes })
                }
                LetGo::Overtaken(halts) => {
                    act.take_parts(&halts, ctx);
                    Err(CommandError::Conflict("the part was stopped again meanwhile".to_owned()))
                }
                LetGo::KeyReused => Err(CommandError::KeyReused),
                LetGo::NotWritten => Err(CommandError::StoreUnavailable),
                LetGo::Unknown => {
                    act.hold_on_to(halt, ctx);
                    Err(CommandError::OutcomeUnknown)
                }
            }
        }))
    }

    /// Its release may be written, and what is in force must not end with this process: where it was, it is stopped again.
    fn hold_on_to(&mut self, halt: Halt, ctx: &mut Context<Self>) {
        // What the database has is read before anything is written there.
        self.parts = Seen::NotYet;
        let (mode, entry) = (halt.mode, of_part(entry_again(&halt, self.world.clock.now()), &halt));
        drop(self.save_part((halt, mode), entry, (None, None), ctx));
    }

    fn let_part_go(&self, halt: &Halt, entry: SwitchEntry, request: Request) -> impl Future<Output = LetGo> + use<> {
        let (persist, store, mut base) = (self.lines.persist.clone(), self.world.store.clone(), self.halts.clone());
        let halt = halt.clone();
        async move {
            for _ in 0..TRIES {
                let Some(next) = base.without(&halt.engagement_id) else {
                    let is_free = base.of(&halt.scope).is_none();
                    // Another instance has let it go first.
                    return if is_free { LetGo::Durable(base) } else { LetGo::Overtaken(base) };
                };
                if base.of(&halt.scope).is_some_and(|found| found.mode > halt.mode) {
                    return LetGo::Overtaken(base);
                }
                let write = Write::Halts { halts: Box::new(next.clone()), entry: entry.clone() };
                let write = write.requested(Some(request.clone()));
                match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => return LetGo::Durable(next),
                    Ok(Ok(results)) if results.contains(&Err(Refusal::KeyReused)) => return LetGo::KeyReused,
                    Ok(Ok(_)) => match parts_in(&*store).await {
                        Some(read) => base = read,
                        None => return LetGo::NotWritten,
                    },
                    Ok(Err(PersistError::Unavailable)) => return LetGo::NotWritten,
                    Ok(Err(PersistError::Unknown)) | Err(_) => return LetGo::Unknown,
                }
            }
            LetGo::Overtaken(base)
        }
    }
}

/// Which parts are stopped by the database; nothing where that can't be read.
async fn parts_in(store: &dyn Store) -> Option<Halts> {
    store.switches().await.ok().filter(|read| read.can_be_read(HALTS)).map(|read| read.halts)
}

/// What the audit calls it.
fn subject(halt: &Halt) -> String {
    format!("{KILL_SWITCH} {}", halt.scope)
}

/// An entry of the history that says which part it is about.
fn of_part(mut entry: SwitchEntry, halt: &Halt) -> SwitchEntry {
    let said = entry.details.take();
    entry.details = Some(json!({"scope": halt.scope, "engagement_id": halt.engagement_id, "details": said}));
    entry
}

fn entry_again(halt: &Halt, now: chrono::DateTime<chrono::Utc>) -> SwitchEntry {
    SwitchEntry {
        event: "ENGAGED".to_owned(),
        timestamp: now,
        operator: halt.engaged_by.clone(),
        reason: Some(halt.reason.clone()),
        details: halt.details.clone(),
    }
}
