//! The kill switch: manual, latched, durable. It owns the latch, and the lease on the gate's openness.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use chrono::{DateTime, Utc};

use crate::cancel_all::{CancelEverything, Everywhere};
use crate::commands::{CommandError, Disengage, Engage, EngageAnswer};
use crate::domain::kill::{EngageOrder, Engaged, KillMode, KillState, KillWord};
use crate::domain::ledger::{SwitchEntry, Write};
use crate::domain::trading_day::DayEnd;
use crate::gate::ShutReason;
use crate::health::{Health, Part, PartStatus};
use crate::line::Line;
use crate::persistence::{Lane, Persist, PersistError};
use crate::ports::World;
use crate::sync::lock;
use crate::tuning::Tuning;
use crate::watch::Sentinel;

use engaging::{Duties, carry_out, stop_sends};

pub(crate) use latch::Latch;

pub use latch::KillSwitchHandle;

mod engaging;
mod latch;

/// The lines that the kill switch speaks on.
#[derive(Clone)]
pub(crate) struct KillLines {
    pub(crate) persist: Line<Persist>,
    /// The way to every account.
    pub(crate) accounts: Everywhere,
}

/// Owns the latch. `state` is `None` while the switch is unknown, and then the gate is shut.
pub(crate) struct KillSwitch {
    world: World,
    tuning: Tuning,
    health: Health,
    latch: Latch,
    lines: KillLines,
    state: Option<KillState>,
    /// Grows with every engagement, so that a disengage in progress notices that it was overtaken.
    epoch: u64,
    /// How many engagements are still stopping sends or cancelling.
    carrying_out: u32,
    /// How many engagements are not durable yet.
    saving: u32,
    /// How many releases are being carried out.
    releasing: u32,
    reading: bool,
    _sentinel: Sentinel,
}

impl KillSwitch {
    pub(crate) fn new(
        (world, tuning, health): (World, Tuning, Health),
        latch: Latch,
        lines: KillLines,
        sentinel: Sentinel,
    ) -> Self {
        Self {
            world,
            tuning,
            health,
            latch,
            lines,
            state: None,
            epoch: 0,
            carrying_out: 0,
            saving: 0,
            releasing: 0,
            reading: false,
            _sentinel: sentinel,
        }
    }
}

impl Actor for KillSwitch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.poll(ctx);
        ctx.run_interval(self.tuning.gate_poll, Self::poll);
    }
}

impl Handler<Engage> for KillSwitch {
    type Result = ResponseActFuture<Self, Result<EngageAnswer, CommandError>>;

    fn handle(&mut self, engage: Engage, ctx: &mut Self::Context) -> Self::Result {
        self.latch.pen.shut(ShutReason::KillSwitchEngaged);
        let settle = engage.settle.unwrap_or(self.tuning.kill_settle);
        let order = EngageOrder {
            operator: engage.operator.clone(),
            reason: engage.reason.clone(),
            details: engage.details.clone(),
            mode: engage.mode,
        };
        let now = self.world.clock.now();
        let id = format!("{:016x}", self.world.entropy.bits());
        // What was held before the actor died is in force, although it was not read again yet.
        let known = self.state.clone().or_else(|| self.remembered()).unwrap_or_default();
        let (state, event) = match known.engage(&order, &id, now, DayEnd::new_york().trading_day(now)) {
            Engaged::Already => {
                // It overtakes a release that is on its way.
                self.epoch += 1;
                self.latch.take_note(known.mode);
                self.carrying_out += 1;
                let patience = self.world.clock.boottime() + self.tuning.commit_timeout;
                let stopped = stop_sends(self.lines.accounts.clone(), settle).into_actor(self);
                let written = stopped.then(move |_, act, _| {
                    act.carrying_out -= 1;
                    act.until_written(patience)
                });
                return Box::pin(written.map(|(), _, _| Err(CommandError::AlreadyEngaged(Box::new(known)))));
            }
            Engaged::New(state) => (state, "ENGAGED"),
            Engaged::Escalated(state) => (state, "ESCALATED"),
        };
        self.epoch += 1;
        self.hold(state.clone());
        self.latch.take_note(state.mode);
        self.latch.remember(&engage, None);
        metrics::counter!("tranche_kill_switch_engagements_total").increment(1);
        tracing::warn!(operator = %engage.operator, reason = %engage.reason, mode = %engage.mode, "the kill switch is engaged");
        let entry = entry(event, now, &engage);
        let durable = self.save(state.clone(), entry, ctx);
        self.carrying_out += 1;
        let carried_out = carry_out(self.duties(), state, settle, durable);
        Box::pin(carried_out.into_actor(self).map(move |answer, act, _| {
            act.carrying_out -= 1;
            act.latch.remember(&engage, Some(answer.clone()));
            Ok(answer)
        }))
    }
}

impl Handler<Disengage> for KillSwitch {
    type Result = ResponseActFuture<Self, Result<KillState, CommandError>>;

    fn handle(&mut self, release: Disengage, _: &mut Self::Context) -> Self::Result {
        let patience = self.world.clock.boottime() + self.tuning.commit_timeout;
        self.releasing += 1;
        Box::pin(self.release_of(release, self.epoch, patience).map(|released, act, _| {
            act.releasing -= 1;
            released
        }))
    }
}

/// Cancels again what an engagement in mode `cancel` has to cancel, as after a start.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ResumeCancels;

impl Handler<ResumeCancels> for KillSwitch {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: ResumeCancels, _: &mut Self::Context) -> Self::Result {
        let due = self.state.as_ref().is_some_and(|state| state.is_engaged() && state.mode == Some(KillMode::Cancel));
        if !due {
            return Box::pin(async {}.into_actor(self));
        }
        self.carrying_out += 1;
        let everything = CancelEverything { within: self.tuning.kill_settle, also: Vec::new() };
        let accounts = self.lines.accounts.clone();
        let asked = async move { accounts.cancel(everything).await };
        Box::pin(asked.into_actor(self).map(|asked, act, _| {
            act.carrying_out -= 1;
            if asked.is_err() {
                tracing::error!("the cancels of the engagement in force could not be asked for again");
            }
        }))
    }
}

impl KillSwitch {
    /// Until a release that an engagement overtook on its way to the store is followed there by the engagement: else a
    /// crash would let it through after all. It waits no longer than an engagement does for its own commit.
    fn until_written(&self, patience: Duration) -> ResponseActFuture<Self, ()> {
        let is_written = self.releasing == 0 && self.saving == 0;
        if is_written || self.world.clock.boottime() > patience {
            return Box::pin(async {}.into_actor(self));
        }
        let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
        Box::pin(waited.then(move |(), act, _| act.until_written(patience)))
    }

    /// Releases the engagement that was in force when the release was asked for; one that came since overtakes it, also
    /// while it waits.
    fn release_of(
        &self,
        release: Disengage,
        epoch: u64,
        patience: Duration,
    ) -> ResponseActFuture<Self, Result<KillState, CommandError>> {
        // What still cuts off and cancels must not meet orders that are sent after the release, and what is still being
        // saved must not be written after it.
        if self.carrying_out > 0 || self.saving > 0 {
            if self.carrying_out == 0 && self.world.clock.boottime() > patience {
                return Box::pin(async { Err(CommandError::StoreUnavailable) }.into_actor(self));
            }
            let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
            return Box::pin(waited.then(move |(), act, _| act.release_of(release, epoch, patience)));
        }
        if self.epoch != epoch {
            return Box::pin(async { Err(overtaken()) }.into_actor(self));
        }
        let now = self.world.clock.now();
        // An unknown switch may be released too: that is an operator's word that trading may go on.
        let unknown = || KillState { state: KillWord::Engaged, ..KillState::default() };
        let known = self.state.clone().unwrap_or_else(unknown);
        let Some(state) = known.disengage(&release.operator, release.notes.as_deref(), now) else {
            return Box::pin(async { Err(CommandError::NotEngaged) }.into_actor(self));
        };
        let entry = SwitchEntry {
            event: "DISENGAGED".to_owned(),
            timestamp: now,
            operator: release.operator,
            reason: release.notes,
            details: Some(serde_json::json!({"caller": release.by})),
        };
        let write = Write::Kill { state: Box::new(state.clone()), entry };
        let persist = self.lines.persist.clone();
        let saved = async move { persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await };
        let cancelled = saved.into_actor(self).then(move |saved, act, _| {
            // A recovery may have begun to cancel again meanwhile.
            act.once_carried_out(epoch).map(move |(), _, _| saved)
        });
        Box::pin(cancelled.map(move |saved, act, ctx| match saved {
            // Released only once that is durable; until then everything stays as it is.
            Ok(Ok(results)) if results.iter().any(Result::is_err) => Err(overtaken()),
            Ok(Ok(_)) if act.epoch == epoch && lock(&act.latch.asked).is_none() => {
                act.release(state.clone());
                Ok(state)
            }
            Ok(Ok(_)) => {
                act.save_again(ctx);
                Err(overtaken())
            }
            Ok(Err(PersistError::Unavailable)) => Err(CommandError::StoreUnavailable),
            Ok(Err(PersistError::Unknown)) | Err(_) => {
                // It may be written, and what is in force must not end with this process.
                act.save_again(ctx);
                Err(CommandError::OutcomeUnknown)
            }
        }))
    }

    /// Ends once no engagement stops sends or cancels any more, or another one came.
    fn once_carried_out(&self, epoch: u64) -> ResponseActFuture<Self, ()> {
        if self.carrying_out == 0 || self.epoch != epoch {
            return Box::pin(async {}.into_actor(self));
        }
        let waited = tokio::time::sleep(Duration::from_millis(20)).into_actor(self);
        Box::pin(waited.then(move |(), act, _| act.once_carried_out(epoch)))
    }

    /// Renews the lease on openness. Without Redis this process is the only writer, so what it knows is the truth;
    /// until it has read the switch once, the gate stays shut.
    fn poll(&mut self, ctx: &mut Context<Self>) {
        let began = self.world.clock.boottime();
        if self.state.is_some() {
            self.latch.pen.renew(began + self.tuning.gate_open);
            return;
        }
        if std::mem::replace(&mut self.reading, true) {
            return;
        }
        let store = self.world.store.clone();
        ctx.spawn(async move { store.switches().await }.into_actor(self).map(move |read, act, ctx| {
            act.reading = false;
            match read.map(|switches| switches.kill) {
                Ok(Some(state)) => act.learn(state, ctx),
                Ok(None) => {
                    let why = "the kill switch is missing from the database";
                    act.health.set(Part::Switches, PartStatus::Down, why);
                }
                Err(error) => act.health.set(Part::Switches, PartStatus::Unknown, error.to_string()),
            }
        }));
    }

    /// The engagement that was in force when this actor's predecessor died, or while nothing could be read.
    fn remembered(&self) -> Option<KillState> {
        self.health.kill().filter(KillState::is_engaged)
    }

    /// The first good read. What was engaged while nothing could be read stays engaged.
    fn learn(&mut self, read: KillState, ctx: &mut Context<Self>) {
        if self.state.is_some() {
            return;
        }
        match self.remembered() {
            Some(held) => {
                let is_milder = !read.is_engaged() || read.mode < held.mode;
                self.hold(if is_milder { held } else { read });
                // A release that the dead actor had sent to the store may be written only now.
                self.save_again(ctx);
            }
            None => self.hold(read),
        }
        if self.state.as_ref().is_some_and(KillState::is_engaged) {
            // Whoever carried the engagement out may have died over it.
            ctx.notify(ResumeCancels);
        }
        let asked = lock(&self.latch.asked).clone();
        if let Some(asked) = asked {
            let engaging = <Self as Handler<Engage>>::handle(self, asked, ctx);
            ctx.spawn(engaging.map(|answer, _, _| {
                if let Err(error) = answer {
                    tracing::warn!(%error, "an engagement that was asked for was in force already");
                }
            }));
        }
    }

    /// Makes the engagement in force durable anew, where the store may say something milder. It overtakes a release that
    /// is on its way, which would be written before it.
    fn save_again(&mut self, ctx: &mut Context<Self>) {
        let Some(held) = self.state.clone().filter(KillState::is_engaged) else {
            return;
        };
        self.epoch += 1;
        let entry = SwitchEntry {
            event: "ENGAGED".to_owned(),
            timestamp: self.world.clock.now(),
            operator: held.engaged_by.clone().unwrap_or_default(),
            reason: held.engagement_reason.clone(),
            details: held.engagement_details.clone(),
        };
        drop(self.save(held, entry, ctx));
    }

    /// Takes a state over into memory: gate, health and lease follow together.
    fn hold(&mut self, state: KillState) {
        if state.is_engaged() {
            self.latch.pen.shut(ShutReason::KillSwitchEngaged);
        } else {
            self.latch.open();
        }
        self.latch.pen.clear(ShutReason::KillSwitchUnknown);
        self.health.set(Part::Switches, PartStatus::Up, "");
        self.health.set_kill(Some(state.clone()));
        self.state = Some(state);
    }

    fn release(&mut self, state: KillState) {
        self.hold(state);
        self.latch.pen.renew(self.world.clock.boottime() + self.tuning.gate_open);
        tracing::warn!("the kill switch is disengaged");
    }

    /// Makes an engagement durable, ahead of every waiting batch; what fails is tried again for as long as it is held.
    fn save(
        &mut self,
        state: KillState,
        entry: SwitchEntry,
        ctx: &mut Context<Self>,
    ) -> tokio::sync::oneshot::Receiver<()> {
        let (told, durable) = tokio::sync::oneshot::channel();
        let (persist, store) = (self.lines.persist.clone(), self.world.store.clone());
        let health = self.health.clone();
        let saving = async move {
            let mut state = state;
            loop {
                let write = Write::Kill { state: Box::new(state.clone()), entry: entry.clone() };
                match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => break,
                    Ok(Ok(_)) => {
                        if let Ok(Some(found)) = store.switches().await.map(|switches| switches.kill) {
                            state.revision = found.next_revision();
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
                }
                if !health.kill().is_some_and(|held| held.is_same(&state)) {
                    return None;
                }
            }
            if told.send(()).is_err() {
                tracing::info!("the engagement is durable now");
            }
            Some(state)
        };
        self.saving += 1;
        ctx.spawn(saving.into_actor(self).map(|saved, act, _| {
            act.saving -= 1;
            if let (Some(saved), Some(held)) = (saved, act.state.as_mut())
                && held.is_same(&saved)
            {
                held.revision = saved.revision;
                act.health.set_kill(Some(saved));
            }
        }));
        durable
    }

    fn duties(&self) -> Duties {
        Duties { world: self.world.clone(), instance: self.tuning.instance.clone(), lines: self.lines.clone() }
    }
}

fn overtaken() -> CommandError {
    CommandError::Conflict("the kill switch was engaged again meanwhile".to_owned())
}

fn entry(event: &str, at: DateTime<Utc>, engage: &Engage) -> SwitchEntry {
    SwitchEntry {
        event: event.to_owned(),
        timestamp: at,
        operator: engage.operator.clone(),
        reason: Some(engage.reason.clone()),
        details: engage.details.clone(),
    }
}
