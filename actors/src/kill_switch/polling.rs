//! Reading the switches again and again, off every request's path: the lease on openness, and what others did.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Message, WrapFuture};

use super::KillSwitch;
use super::engaging::comply;
use super::parts::Seen;
use super::saving::Saving;
use crate::commands::Engage;
use crate::domain::breaker::{BreakerState, BreakerWord};
use crate::domain::kill::KillState;
use crate::domain::ledger::{CIRCUIT_BREAKER, FIRST_START, FirstStart, HALTS, KILL_SWITCH, Write};
use crate::domain::limits::LimitScope;
use crate::domain::switchboard::kill::{self, KillVerdict};
use crate::domain::switchboard::{Told, breaker};
use crate::gate::ShutReason;
use crate::health::{Part, PartStatus};
use crate::persistence::{Lane, Persist};
use crate::ports::store::{StoreError, Switches};
use crate::ports::switchboard::{BoardError, BoardReading, HistoryStep, SwitchKey, Transition};

/// What one look at the switches brought; for the breaker too, which answers whether it heeds it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct SwitchesSeen {
    /// When the look began, on the clock that counts suspended time.
    pub(crate) began: Duration,
    /// The shared switchboard, where there is one.
    pub(crate) board: Option<Result<BoardReading, BoardError>>,
    /// The database, where it was asked.
    pub(crate) stored: Option<Result<Switches, StoreError>>,
}

impl KillSwitch {
    /// Looks at the switches. Where this process is the only writer, what it knows is the truth, and its lease is renewed
    /// as by a watchdog; until it has read the switch once, the gate stays shut.
    pub(super) fn poll(&mut self, ctx: &mut Context<Self>) {
        let began = self.world.clock.boottime();
        let (board, store) = (self.world.switchboard.clone(), self.world.store.clone());
        let is_shared = store.is_shared();
        // The breaker is told what a look brought, and in doubt it needs another one.
        let is_read = self.state.is_some() && self.parts == Seen::Read && self.health.doubt(CIRCUIT_BREAKER).is_none();
        if board.is_none() && !is_shared && is_read {
            self.latch.pen.renew(began + self.tuning.gate_open);
            return;
        }
        if began > self.good + self.tuning.gate_open {
            self.show(Some(self.failed.clone().unwrap_or_else(|| "it was not read lately".to_owned())));
        }
        if std::mem::replace(&mut self.reading, true) {
            return self.peek(ctx);
        }
        let asks_store = is_shared || !is_read;
        let look = async move {
            match board {
                Some(board) => Some(board.read().await),
                None => None,
            }
        };
        // The board first: what an engagement of another instance says there is in the database by then.
        let both = look.into_actor(self).then(move |told, act, _| {
            if let Some(Ok(reading)) = &told {
                act.stop_at_once(reading);
            }
            async move {
                let stored = if asks_store { Some(store.switches().await) } else { None };
                SwitchesSeen { began, board: told, stored }
            }
            .into_actor(act)
        });
        let heeded = both.then(|seen, act, ctx| {
            let is_good = act.see(&seen, ctx);
            let line = act.lines.seen.clone();
            // While the breaker is being rebuilt it keeps the gate shut, and openness runs out.
            async move { is_good & line.ask(seen).await.unwrap_or(false) }.into_actor(act)
        });
        ctx.spawn(heeded.map(move |is_heeded, act, _| {
            act.reading = false;
            // Only what both switches have heeded leases openness, and only if nothing moved or said stop since.
            if is_heeded && began > act.touched && began > act.stopped {
                act.latch.pen.renew(began + act.tuning.gate_open);
                act.confirmed = began;
            }
        }));
    }

    /// While the database keeps a look waiting, the board may say stopped.
    fn peek(&mut self, ctx: &mut Context<Self>) {
        let Some(board) = self.world.switchboard.clone() else { return };
        if std::mem::replace(&mut self.peeking, true) {
            return;
        }
        ctx.spawn(async move { board.read().await }.into_actor(self).map(|told, act, _| {
            act.peeking = false;
            if told.is_ok_and(|reading| act.stop_at_once(&reading)) {
                act.stopped = act.world.clock.boottime();
            }
        }));
    }

    /// A board that says stopped, or says nothing, takes openness back before anything else is asked. Whether it did.
    fn stop_at_once(&self, reading: &BoardReading) -> bool {
        let is_engaged = self.state.as_ref().is_none_or(KillState::is_engaged);
        let is_tripped = |state: &BreakerState| state.state == BreakerWord::Tripped;
        let kill = kill::read(reading.kill.as_deref());
        let breaker = breaker::read(reading.breaker.as_deref());
        let engages = !is_engaged && kill.known().is_none_or(KillState::is_engaged);
        let trips =
            !self.health.breaker().is_some_and(|held| is_tripped(&held)) && breaker.known().is_none_or(is_tripped);
        if engages || trips {
            self.latch.pen.renew(Duration::ZERO);
        }
        engages || trips
    }

    /// Takes a look over; the answer is whether it is good, and was heeded.
    fn see(&mut self, seen: &SwitchesSeen, ctx: &mut Context<Self>) -> bool {
        let is_settled = self.carrying_out == 0 && self.releasing == 0 && seen.began > self.touched;
        self.failed = None;
        let mut doubt = None;
        match &seen.stored {
            None => {}
            // What can't be made sense of says nothing good, and a later look will not either.
            Some(Err(error @ StoreError::Corrupt { .. })) => doubt = Some(error.to_string()),
            Some(Err(error)) => self.fail(format!("the database can't be read: {error}")),
            Some(Ok(switches)) => {
                if switches.first_start.is_some() || !switches.can_be_read(FIRST_START) {
                    // Somebody else may have ended it: what is missing later is missing.
                    self.first_start = Some(false);
                } else {
                    self.first_start.get_or_insert(true);
                }
                doubt = switches.kill_doubt();
                if !switches.can_be_read(HALTS) {
                    self.parts = Seen::Garbled;
                } else if seen.began > self.touched {
                    self.parts = Seen::Read;
                    self.see_parts(&switches.halts, ctx);
                }
                match &switches.kill {
                    None => {}
                    Some(read) if self.state.is_none() => self.learn(read.clone(), ctx),
                    Some(read) if is_settled && self.saving == 0 => self.follow(read, ctx),
                    Some(_) => {}
                }
            }
        }
        match &seen.board {
            None => {}
            Some(Err(error)) => {
                self.board_is(PartStatus::Down, error.to_string());
                self.fail(error.to_string());
            }
            Some(Ok(reading)) => {
                self.board_is(PartStatus::Up, String::new());
                let told = kill::read(reading.kill.as_deref());
                doubt = doubt.or(told.doubt().map(|why| format!("kill switch: {why}")));
                if is_settled {
                    self.heed(&told, reading, ctx);
                }
            }
        }
        self.record_first_start(seen.board.as_ref(), ctx);
        self.conclude(seen.began, doubt) && is_settled
    }

    /// Whether the look was good. One that failed changes nothing; one that says nothing good shuts at once.
    fn conclude(&mut self, began: Duration, doubt: Option<String>) -> bool {
        match doubt {
            Some(why) => {
                self.latch.pen.shut(ShutReason::KillSwitchUnknown);
                self.show(Some(why));
                self.doubtful = true;
                false
            }
            None if self.failed.is_none() && self.state.is_some() => {
                self.doubtful = false;
                self.good = began;
                self.latch.pen.clear(ShutReason::KillSwitchUnknown);
                self.show(None);
                true
            }
            None => false,
        }
    }

    fn fail(&mut self, why: String) {
        if self.state.is_none() {
            self.health.set(Part::Switches, PartStatus::Unknown, why.clone());
        }
        self.failed = Some(why);
    }

    fn show(&self, doubt: Option<String>) {
        match &doubt {
            Some(why) => self.health.set(Part::Switches, PartStatus::Down, why.clone()),
            None => self.health.set(Part::Switches, PartStatus::Up, ""),
        }
        self.health.set_doubt(KILL_SWITCH, doubt);
    }

    fn board_is(&mut self, status: PartStatus, detail: String) {
        let is_up = status == PartStatus::Up;
        metrics::gauge!("tranche_redis_up").set(u32::from(is_up));
        if self.board_up.replace(is_up) != Some(is_up) {
            match status {
                PartStatus::Up => tracing::info!("Redis answers"),
                PartStatus::Down | PartStatus::Unknown => tracing::error!(reason = %detail, "Redis can't be read"),
            }
        }
        self.health.set(Part::Redis, status, detail);
    }

    /// What another instance wrote into the database, which all trust.
    fn follow(&mut self, read: &KillState, ctx: &mut Context<Self>) {
        let Some(held) = self.state.clone() else { return };
        if *read == held || (self.borrowed && read.revision == held.revision) {
            return;
        }
        let is_stricter = read.is_engaged()
            && (!held.is_engaged() || held.engagement_id != read.engagement_id || read.mode > held.mode);
        if is_stricter {
            self.join(read.clone(), ctx);
        } else if read.revision > held.revision && held.is_engaged() && !read.is_engaged() {
            tracing::warn!(operator = ?read.disengaged_by, "the kill switch was disengaged by another instance");
            self.release(read.clone());
        } else if read.revision > held.revision {
            self.hold(read.clone());
        } else if held.is_engaged() {
            // The database went back, to before the engagement.
            self.alert("the database has forgotten the engagement in force");
            self.save_again(ctx);
        } else {
            self.hold(read.clone());
        }
    }

    /// What the board says.
    fn heed(&mut self, told: &Told<KillState>, reading: &BoardReading, ctx: &mut Context<Self>) {
        let Some(held) = self.state.clone() else { return };
        let told = match told {
            Told::Is(told) => told,
            Told::Missing | Told::Unreadable(_) if held.is_engaged() => return self.assert(None, ctx),
            Told::Missing => return self.create(&held, reading, ctx),
            Told::Unreadable(_) => return,
        };
        match kill::judge(&held, told) {
            KillVerdict::Agrees => {
                self.disagrees = false;
                if reading.breaker.is_none() {
                    self.create(&held, reading, ctx);
                }
            }
            KillVerdict::Contradicts if self.borrowed => {
                // What only the board said is over: the database says what is so.
                self.borrowed = false;
                self.latch.pen.shut(ShutReason::KillSwitchUnknown);
                self.health.set_kill(None);
                self.state = None;
            }
            KillVerdict::Contradicts => {
                self.alert("Redis says that trading may go on, and that is no release of what is held");
                self.assert(None, ctx);
            }
            KillVerdict::Relapses(told) => self.borrow(told),
            KillVerdict::Releases(told) if self.saving == 0 => self.release_as_told(&held, &told, ctx),
            KillVerdict::Releases(_) => {}
            KillVerdict::Engages(told) => self.recognise(held, told, ctx),
        }
    }

    /// Another program has engaged the switch: new to us, unless the history knows that engagement.
    fn recognise(&mut self, held: KillState, told: KillState, ctx: &mut Context<Self>) {
        self.latch.pen.shut(ShutReason::KillSwitchEngaged);
        let (store, epoch) = (self.world.store.clone(), self.epoch);
        let engaged_at = told.engaged_at;
        let asked = async move {
            match engaged_at {
                Some(at) => store.has_switch_entry(KILL_SWITCH, "ENGAGED", at).await.unwrap_or(false),
                None => false,
            }
        };
        self.releasing += 1;
        ctx.spawn(asked.into_actor(self).map(move |is_known, act, ctx| {
            act.releasing -= 1;
            if act.epoch != epoch {
                return;
            }
            match (is_known, held.is_engaged()) {
                (true, true) => {
                    act.alert("Redis says that an engagement is in force which is over");
                    act.assert(Some(told), ctx);
                }
                (true, false) => act.borrow(told),
                (false, _) => {
                    tracing::warn!(operator = ?told.engaged_by, "the kill switch is engaged by another program");
                    let state = kill::adopt(&held, &told, act.tuning.foreign_mode);
                    let entry = act.entry_of(&state);
                    act.borrowed = false;
                    act.join(state.clone(), ctx);
                    drop(act.save(Saving::of(state, entry), ctx));
                }
            }
        }));
    }

    /// Stopped for as long as the board says so; nothing of it is written.
    fn borrow(&mut self, told: KillState) {
        self.alert("Redis says that an engagement is in force which was released");
        let revision = self.state.as_ref().map_or(0, |held| held.revision);
        let engagement_id = Some(told.id_of_engagement());
        self.borrowed = true;
        self.hold(KillState { mode: Some(crate::domain::kill::KillMode::Halt), engagement_id, revision, ..told });
    }

    /// The board and the database disagree; the stricter wins. Said once, until they agree again.
    pub(super) fn alert(&mut self, what: &str) {
        if !std::mem::replace(&mut self.disagrees, true) {
            metrics::counter!("tranche_switch_disagreements_total").increment(1);
            tracing::error!("{what}: the stricter counts");
        }
    }

    /// An engagement that another instance or another program made: sends stopped, confirmed, open orders cancelled.
    pub(super) fn join(&mut self, state: KillState, ctx: &mut Context<Self>) {
        self.epoch += 1;
        self.hold(state.clone());
        self.latch.take_note(&LimitScope::Global, state.mode);
        self.carrying_out += 1;
        let complied = comply(self.duties(), state, self.tuning.kill_settle);
        ctx.spawn(complied.into_actor(self).map(|(), act, _| act.carrying_out -= 1));
    }

    /// Only the first start on an empty database creates what is missing on the board.
    fn create(&mut self, held: &KillState, reading: &BoardReading, ctx: &mut Context<Self>) {
        let Some(board) = self.world.switchboard.clone() else { return };
        if self.first_start != Some(true) || self.asserting {
            return;
        }
        let mut missing = Vec::new();
        if reading.kill.is_none() {
            missing.push((SwitchKey::Kill, kill::write(None, held)));
        }
        if let (None, Some(state)) = (&reading.breaker, self.health.breaker()) {
            missing.push((SwitchKey::Breaker, breaker::write(None, &state)));
        }
        self.created.extend(missing.iter().map(|(key, _)| key.to_string()));
        self.asserting = true;
        let made = async move {
            for (key, to) in missing {
                // Who was faster has created it, and what can't be reached is tried again.
                drop(board.make(&Transition { key, from: None, to, history: HistoryStep::None }).await);
            }
        };
        ctx.spawn(made.into_actor(self).map(|(), act, _| act.asserting = false));
    }

    fn record_first_start(&mut self, board: Option<&Result<BoardReading, BoardError>>, ctx: &mut Context<Self>) {
        let is_complete = match board {
            None => self.world.switchboard.is_none(),
            Some(Ok(reading)) => reading.kill.is_some() && reading.breaker.is_some(),
            Some(Err(_)) => false,
        };
        if self.first_start != Some(true) || !is_complete || self.state.is_none() {
            return;
        }
        // Whatever goes missing from now on is not made up again.
        self.first_start = Some(false);
        let mut created = std::mem::take(&mut self.created);
        created.dedup();
        let first = FirstStart { at: self.world.clock.now(), by: self.tuning.card.id.clone(), created };
        let persist = self.lines.persist.clone();
        let recorded = async move {
            let write = Write::FirstStart(first);
            while !matches!(persist.ask(Persist { writes: vec![write.clone()], lane: Lane::Switches }).await, Ok(Ok(_)))
            {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        ctx.spawn(recorded.into_actor(self));
    }

    /// The first good read. What was engaged while nothing could be read stays engaged.
    fn learn(&mut self, read: KillState, ctx: &mut Context<Self>) {
        match self.remembered() {
            Some(held) => {
                let is_milder = !read.is_engaged() || read.mode < held.mode;
                self.hold(if is_milder { held } else { read });
                // A release that the dead actor had sent to the store may be written only now.
                self.save_again(ctx);
            }
            None => self.hold(read),
        }
        if let Some(held) = self.state.clone().filter(KillState::is_engaged) {
            // Whoever carried the engagement out may have died over it.
            if self.world.store.is_shared() {
                self.join(held, ctx);
            } else {
                ctx.notify(super::ResumeCancels);
            }
        }
        for asked in self.latch.asked() {
            let engaging = <Self as actix::Handler<Engage>>::handle(self, asked, ctx);
            ctx.spawn(engaging.map(|answer, _, _| {
                if let Err(error) = answer {
                    tracing::warn!(%error, "an engagement that was asked for was in force already");
                }
            }));
        }
    }

    /// The engagement that was in force when this actor's predecessor died, or while nothing could be read.
    pub(super) fn remembered(&self) -> Option<KillState> {
        self.health.kill().filter(KillState::is_engaged)
    }
}
