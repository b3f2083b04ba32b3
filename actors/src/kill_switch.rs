//! The kill switch: manual, latched, durable, shared. It owns the latch, and the lease on the gate's openness.

use std::future::ready;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use chrono::{DateTime, Utc};

use crate::cancel_all::{CancelEverything, Everywhere};
use crate::commands::{CommandError, Disengage, Engage, EngageAnswer, Released};
use crate::domain::audit::{AuditAction, Request};
use crate::domain::halts::{Halt, Halts};
use crate::domain::kill::{EngageOrder, Engaged, KillMode, KillState};
use crate::domain::ledger::{KILL_SWITCH, SwitchEntry};
use crate::domain::limits::LimitScope;
use crate::domain::trading_day::DayEnd;
use crate::gate::ShutReason;
use crate::health::{Health, Part, PartStatus};
use crate::line::Line;
use crate::persistence::Persist;
use crate::ports::World;
use crate::tuning::Tuning;
use crate::watch::Sentinel;

use engaging::{Duties, Stop, carry_out, stop_everywhere};
use once::held_as;
use repeating::{Looked, Standing};
use saving::Saving;

pub(crate) use latch::Latch;
pub(crate) use polling::SwitchesSeen;

pub use latch::KillSwitchHandle;

mod board;
mod engaging;
mod latch;
mod once;
mod parts;
mod polling;
mod releasing;
mod repeating;
mod saving;
mod seconding;

/// How often the store is asked again to take the marks of cancels that it could not take.
const PAY: Duration = Duration::from_millis(500);
/// How often somebody else may be faster than a release.
const TRIES: usize = 8;

/// The lines that the kill switch speaks on.
#[derive(Clone)]
pub(crate) struct KillLines {
    pub(crate) persist: Line<Persist>,
    /// The way to every account.
    pub(crate) accounts: Everywhere,
    /// To the breaker: what a look at the switches brought.
    pub(crate) seen: Line<SwitchesSeen>,
}

/// Owns the latch. `state` is `None` while the switch is unknown, and then the gate is shut.
pub(crate) struct KillSwitch {
    world: World,
    tuning: Tuning,
    health: Health,
    latch: Latch,
    lines: KillLines,
    state: Option<KillState>,
    /// The parts that are stopped, as the database was last known to say.
    halts: Halts,
    /// What the last look at the database brought of them.
    parts: parts::Seen,
    /// Those that are not durable yet.
    unsaved: Vec<Halt>,
    /// Grows with every engagement, so that a disengage in progress notices that it was overtaken.
    epoch: u64,
    /// How many engagements are still stopping sends or cancelling.
    carrying_out: u32,
    /// As many engagements of parts. All else trades on meanwhile.
    carrying_out_parts: u32,
    /// How many releases of parts are being carried out.
    releasing_parts: u32,
    /// How many engagements are not durable yet.
    saving: u32,
    /// How many releases are being carried out.
    releasing: u32,
    /// A look at the switches is under way.
    reading: bool,
    /// A look at the board alone is.
    peeking: bool,
    /// Marks that are owed are being written.
    paying: bool,
    /// The board is being told of the engagement, or its first keys are created.
    asserting: bool,
    /// When the switch was last changed from here: what a look that began before says of it is old.
    touched: Duration,
    /// When the board was last seen to say stop while a look was under way, which doesn't know of it.
    stopped: Duration,
    /// When the last good look began.
    good: Duration,
    /// When the last look began that leased openness.
    confirmed: Duration,
    /// The time of an engagement whose release the board was asked for and did not answer: it may take it yet.
    unsettled: Option<DateTime<Utc>>,
    /// Why the last look brought less than it should.
    failed: Option<String>,
    /// The last look said that a switch is missing or unreadable.
    doubtful: bool,
    /// It is engaged by the board's word alone: the database knows that engagement as released.
    borrowed: bool,
    /// The board and the database disagree, and that was said.
    disagrees: bool,
    /// Whether the board answered the last time.
    board_up: Option<bool>,
    /// Whether this is the first start on an empty database, once that is known; and what it has created.
    first_start: Option<bool>,
    created: Vec<String>,
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
            halts: Halts::default(),
            parts: parts::Seen::NotYet,
            unsaved: Vec::new(),
            epoch: 0,
            carrying_out: 0,
            carrying_out_parts: 0,
            releasing_parts: 0,
            saving: 0,
            releasing: 0,
            reading: false,
            peeking: false,
            paying: false,
            asserting: false,
            touched: Duration::ZERO,
            stopped: Duration::ZERO,
            good: Duration::ZERO,
            confirmed: Duration::ZERO,
            unsettled: None,
            failed: None,
            doubtful: false,
            borrowed: false,
            disagrees: false,
            board_up: None,
            first_start: None,
            created: Vec::new(),
            _sentinel: sentinel,
        }
    }
}

impl Actor for KillSwitch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.poll(ctx);
        ctx.run_interval(self.tuning.gate_poll, Self::poll);
        ctx.run_interval(PAY, Self::pay);
    }
}

impl Handler<Engage> for KillSwitch {
    type Result = ResponseActFuture<Self, Result<EngageAnswer, CommandError>>;

    fn handle(&mut self, engage: Engage, ctx: &mut Self::Context) -> Self::Result {
        match engage.scope {
            LimitScope::Global => self.latch.pen.shut(ShutReason::KillSwitchEngaged),
            LimitScope::Account(_) | LimitScope::Strategy(_) | LimitScope::Symbol(_) => {}
        }
        match engage.closes_once().cloned() {
            Some(key) => self.unless_it_was_carried_out(engage, key),
            None => self.take_up(engage, ctx),
        }
    }
}

impl Handler<Disengage> for KillSwitch {
    type Result = ResponseActFuture<Self, Result<Released, CommandError>>;

    fn handle(&mut self, release: Disengage, _: &mut Self::Context) -> Self::Result {
        let patience = self.world.clock.boottime() + self.tuning.commit_timeout;
        match release.scope {
            LimitScope::Global => {}
            LimitScope::Account(_) | LimitScope::Strategy(_) | LimitScope::Symbol(_) => {
                self.releasing_parts += 1;
                return Box::pin(self.release_part(release, patience).map(|released, act, _| {
                    act.releasing_parts -= 1;
                    released
                }));
            }
        }
        self.releasing += 1;
        let epoch = self.epoch;
        let seconded = self.seconded(&release);
        let released = seconded.then(move |seconded, act, _| match seconded {
            Ok(()) => act.release_of(release, epoch, patience),
            Err(error) => Box::pin(async { Err(error) }.into_actor(act)),
        });
        Box::pin(released.then(|released, act, _| {
            act.releasing -= 1;
            let patience = act.world.clock.boottime() + act.tuning.commit_timeout;
            act.until_seen(released.is_ok(), act.touched, patience).map(|(), _, _| released)
        }))
    }
}

/// Cancels again what an engagement that cancels has to cancel, as after a start.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ResumeCancels;

impl Handler<ResumeCancels> for KillSwitch {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: ResumeCancels, ctx: &mut Self::Context) -> Self::Result {
        self.resume_cancels_of_parts(ctx);
        let due =
            self.state.as_ref().is_some_and(|state| state.is_engaged() && state.mode.is_some_and(KillMode::cancels));
        if !due {
            return Box::pin(async {}.into_actor(self));
        }
        self.carrying_out += 1;
        let everything = self.everything(LimitScope::Global);
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
    /// Whether others write the switch too, so that looks say what it is.
    fn is_watched(&self) -> bool {
        self.world.switchboard.is_some() || self.world.store.is_shared()
    }

    /// Whether an engagement still stops sends or cancels: a release waits for it.
    const fn is_carrying_out(&self) -> bool {
        self.carrying_out + self.carrying_out_parts > 0
    }

    /// All that is open of a part now.
    fn everything(&self, scope: LimitScope) -> CancelEverything {
        CancelEverything { scope, within: self.tuning.kill_settle, also: Vec::new(), at: self.world.clock.now() }
    }

    /// Writes the marks of cancels that the store could not take in time. A release waits for them.
    fn pay(&mut self, ctx: &mut Context<Self>) {
        if !self.lines.accounts.owes() || std::mem::replace(&mut self.paying, true) {
            return;
        }
        let accounts = self.lines.accounts.clone();
        ctx.spawn(async move { accounts.pay().await }.into_actor(self).map(|(), act, _| act.paying = false));
    }

    /// What was held before the actor died is in force, although it was not read again yet.
    fn known(&self) -> KillState {
        self.state.clone().or_else(|| self.remembered()).unwrap_or_default()
    }

    /// Carries out a wish to stop that is no repetition.
    fn take_up(
        &mut self,
        engage: Engage,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        match engage.scope {
            LimitScope::Global => {}
            LimitScope::Account(_) | LimitScope::Strategy(_) | LimitScope::Symbol(_) => {
                return self.engage_part(engage, ctx);
            }
        }
        let known = self.known();
        if known.is_engaged() && self.is_watched() {
            return self.after_a_look(engage, known);
        }
        self.decide(engage, None, ctx)
    }

    /// Decides what a wish to stop comes to, and carries that out.
    fn decide(
        &mut self,
        engage: Engage,
        looked: Option<Looked>,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        let settle = engage.settle.unwrap_or(self.tuning.kill_settle);
        let order = EngageOrder {
            operator: engage.operator.clone(),
            reason: engage.reason.clone(),
            details: engage.details.clone(),
            mode: engage.mode,
        };
        let (now, known) = (self.world.clock.now(), self.known());
        let today = DayEnd::new_york().trading_day(now);
        // What a look has shown as over, or could not see, is engaged anew: no release of the old one releases that.
        let looked = looked.filter(|looked| known.is_engaged() && known.engagement_id == looked.held.engagement_id);
        let (engaged, over) = match looked.map(|looked| looked.standing) {
            None | Some(Standing::Stands) => (known.engage(&order, now, today), None),
            Some(Standing::Over) => (Engaged::New(known.engage_anew(&order, now, today)), Some(known.clone())),
            Some(Standing::Unseen) => {
                let anew = known.engage_anew(&order, now, today);
                (Engaged::New(KillState { mode: anew.mode.max(known.mode), ..anew }), Some(known.clone()))
            }
        };
        let (state, event) = match engaged {
            Engaged::Already => return self.already(engage, known, settle),
            Engaged::New(state) => (state, "ENGAGED"),
            Engaged::Escalated(state) => (state, "ESCALATED"),
        };
        let mode = state.mode.unwrap_or(engage.mode);
        let state = KillState { mode: Some(held_as(&engage, mode)), ..state };
        self.epoch += 1;
        self.hold(state.clone());
        self.latch.take_note(&LimitScope::Global, state.mode);
        self.latch.remember(&engage, None);
        metrics::counter!("tranche_kill_switch_engagements_total").increment(1);
        tracing::warn!(operator = %engage.operator, reason = %engage.reason, mode = %engage.mode, "the kill switch is engaged");
        let entry = entry(event, now, &engage);
        self.borrowed = false;
        // A stricter wish outlives a release that is on its way elsewhere.
        let saving = Saving {
            mode: Some(mode),
            insists: event == "ESCALATED",
            request: Some(request_of(&engage)),
            wish: engage.closes_once().is_some().then(|| engage.clone()),
            ..Saving::of(state.clone(), entry.clone())
        };
        let durable = self.save(saving, ctx);
        self.carrying_out += 1;
        let carried_out = carry_out(self.duties(), Stop { state, mode, entry, over }, settle, durable);
        Box::pin(carried_out.into_actor(self).map(move |carried_out, act, _| {
            act.carrying_out -= 1;
            act.touched = act.world.clock.boottime();
            match carried_out {
                Ok(answer) => {
                    act.latch.remember(&engage, Some(answer.clone()));
                    Ok(answer)
                }
                // Somebody else engaged it at the same time, and was first. All of the steps hold.
                Err(other) => {
                    act.latch.forget(&engage);
                    Err(CommandError::AlreadyEngaged(Box::new(other)))
                }
            }
        }))
    }

    /// It is in force, as strict: answered once everything is stopped, and that is written. Whoever released it meanwhile
    /// has not released what was asked for now.
    fn already(
        &mut self,
        engage: Engage,
        known: KillState,
        settle: Duration,
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        // It overtakes a release that is on its way.
        self.epoch += 1;
        self.latch.take_note(&LimitScope::Global, known.mode);
        self.carrying_out += 1;
        let patience = self.world.clock.boottime() + self.tuning.commit_timeout;
        let (duties, engagement) = (self.duties(), known.engagement_id.clone().unwrap_or_default());
        let stopped =
            async move { stop_everywhere(&duties, &LimitScope::Global, &engagement, settle).await }.into_actor(self);
        let written = stopped.then(move |(), act, _| {
            act.carrying_out -= 1;
            act.until_written(patience)
        });
        Box::pin(written.then(move |(), act, _| act.look(known)).then(|looked, act, ctx| match looked.standing {
            Standing::Over => act.decide(engage, Some(looked), ctx),
            Standing::Stands | Standing::Unseen => {
                Box::pin(ready(Err(CommandError::AlreadyEngaged(Box::new(looked.held)))).into_actor(act))
            }
        }))
    }

    /// Takes a state over into memory: gate, health and lease follow together.
    fn hold(&mut self, state: KillState) {
        let now = self.world.clock.boottime();
        let was_open = self.state.as_ref().is_some_and(|held| !held.is_engaged());
        if state.is_engaged() {
            self.latch.pen.shut(ShutReason::KillSwitchEngaged);
        }
        if state.is_engaged() || !self.is_watched() {
            self.latch.pen.renew(now + self.tuning.gate_open);
        } else if !was_open {
            // What was seen before says nothing of what others did since: openness waits for a look that begins now.
            self.latch.pen.renew(Duration::ZERO);
        }
        if !state.is_engaged() {
            self.latch.open();
        }
        if !self.doubtful {
            self.latch.pen.clear(ShutReason::KillSwitchUnknown);
            self.health.set(Part::Switches, PartStatus::Up, "");
        }
        self.health.set_kill(Some(state.clone()));
        self.state = Some(state);
        self.show_flattenings();
        self.touched = now;
    }

    fn release(&mut self, state: KillState) {
        // Where others write it too, a look ends the doubt.
        if !self.is_watched() {
            self.doubtful = false;
            self.health.set_doubt(KILL_SWITCH, None);
        }
        self.unsettled = None;
        self.borrowed = false;
        self.hold(state);
        tracing::warn!("the kill switch is disengaged");
    }

    fn duties(&self) -> Duties {
        Duties {
            world: self.world.clone(),
            instance: self.tuning.card.id.clone(),
            lines: self.lines.clone(),
            settle: self.tuning.kill_settle,
        }
    }
}

fn request_of(engage: &Engage) -> Request {
    Request {
        by: once::by(engage),
        operator: Some(engage.operator.clone()),
        action: Some(AuditAction::EngageKillSwitch),
        subject: KILL_SWITCH.to_owned(),
    }
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
