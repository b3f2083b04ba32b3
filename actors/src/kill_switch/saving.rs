//! Making an engagement durable, in the database and on the switchboard, for as long as it is held.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use serde_json::json;
use tokio::sync::oneshot;

use super::once::{Whose, is_named, unnamed, whose};
use super::{KillSwitch, board};
use crate::commands::Engage;
use crate::domain::audit::Request;
use crate::domain::kill::{KillMode, KillState, Rebased};
use crate::domain::ledger::{Applied, Refusal, SwitchEntry, Write};
use crate::domain::limits::LimitScope;
use crate::domain::switchboard::kill;
use crate::health::Health;
use crate::line::Line;
use crate::persistence::{Lane, Persist, audit};
use crate::ports::Clock;
use crate::ports::store::Store;

/// What saving an engagement came to.
#[derive(Clone, Debug)]
pub(super) enum Saved {
    /// It is durable, as this.
    Durable(KillState),
    /// Another engagement is, or it was released since.
    Yields(KillState),
    /// It is held no more.
    Dropped,
}

impl Saved {
    /// What is durable, or else what was to be.
    pub(super) const fn state_or<'a>(&'a self, asked: &'a KillState) -> &'a KillState {
        match self {
            Self::Durable(state) => state,
            Self::Yields(_) | Self::Dropped => asked,
        }
    }
}

pub(super) fn is_refused_by_store(result: &Result<Applied, Refusal>) -> bool {
    matches!(result, Err(Refusal::Constraint(_)))
}

/// An engagement that is to be made durable.
pub(super) struct Saving {
    /// As it is held in memory.
    pub(super) state: KillState,
    /// The mode that the ledger is to take; held milder until it has.
    pub(super) mode: Option<KillMode>,
    pub(super) entry: SwitchEntry,
    /// It was in force before, and was asked for again.
    pub(super) insists: bool,
    pub(super) request: Option<Request>,
    /// What asked for it, as long as the ledger may know that as a repetition.
    pub(super) wish: Option<Engage>,
}

impl Saving {
    /// What nobody asks for here.
    pub(super) const fn of(state: KillState, entry: SwitchEntry) -> Self {
        let mode = state.mode;
        Self { state, mode, entry, insists: false, request: None, wish: None }
    }
}

/// What making an engagement durable works with.
struct Tools {
    persist: Line<Persist>,
    store: Arc<dyn Store>,
    health: Health,
    clock: Arc<dyn Clock>,
}

/// Tries for as long as it is held. What is left of the request is not in the audit yet.
async fn until_saved(tools: Tools, wanted: Saving) -> (Saved, Option<Request>) {
    let Saving { state, mode, mut entry, insists, mut request, wish: _ } = wanted;
    let mut asked = KillState { mode, ..state.clone() };
    let mut next = asked.clone();
    loop {
        let write = Write::Kill { state: Box::new(next.clone()), entry: entry.clone() };
        let write = write.requested(request.clone());
        let pause = match tools.persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
            Ok(Ok(results)) if !results.iter().any(Result::is_err) => return (Saved::Durable(next), None),
            Ok(Ok(results)) if is_named(&results) => {
                let id = next.engagement_id.as_deref().unwrap_or_default();
                match whose(&*tools.store, request.as_ref(), &LimitScope::Global, id).await {
                    Some(whose) => {
                        // What was written is in the audit too.
                        request = request.filter(|_| whose == Whose::Other).map(unnamed);
                        if whose == Whose::Other {
                            asked.mode = state.mode;
                            next.mode = state.mode;
                        }
                        20
                    }
                    None => 500,
                }
            }
            Ok(Ok(results)) => {
                // Whatever the store has against it, no entry of the audit keeps the switch from being stored.
                request = request.filter(|_| !results.iter().any(is_refused_by_store));
                20
            }
            Ok(Err(_)) | Err(_) => 500,
        };
        if pause == 20
            && let Ok(Some(found)) = tools.store.switches().await.map(|switches| switches.kill)
        {
            match asked.rebased_on(&found, insists.then(|| tools.clock.now())) {
                // Another instance has written it, but not that this request is carried out with it.
                Rebased::Stands(found) if request.as_ref().is_some_and(|request| request.named().is_some()) => {
                    next = KillState { revision: found.next_revision(), ..found };
                }
                // Another instance has written it, and not what was asked here.
                Rebased::Stands(found) => return (Saved::Durable(found), request),
                Rebased::Write(rebased) => {
                    if !found.is_engaged() && rebased.engagement_id != state.engagement_id {
                        entry = kill::entry_of(&rebased, tools.clock.now());
                    }
                    next = rebased;
                }
                Rebased::Yields(found) => return (Saved::Yields(found), None),
            }
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if !tools.health.kill().is_some_and(|held| held.is_same(&state)) {
            return (Saved::Dropped, None);
        }
    }
}

impl KillSwitch {
    /// Makes an engagement durable in the database, ahead of every waiting batch; what fails is tried again for as long as
    /// it is held.
    pub(super) fn save(&mut self, wanted: Saving, ctx: &mut Context<Self>) -> oneshot::Receiver<Saved> {
        let (told, durable) = oneshot::channel();
        let tools = Tools {
            persist: self.lines.persist.clone(),
            store: self.world.store.clone(),
            health: self.health.clone(),
            clock: self.world.clock.clone(),
        };
        let (held, wish) = (wanted.state.clone(), wanted.wish.clone());
        let saving = until_saved(tools, wanted);
        self.saving += 1;
        ctx.spawn(saving.into_actor(self).map(move |(saved, unsaid), act, ctx| {
            act.saving -= 1;
            act.audit(unsaid, ctx);
            act.touched = act.world.clock.boottime();
            if let Some(wish) = &wish {
                act.withdraw(wish);
            }
            let is_held = act.state.as_ref().is_some_and(|now| now.is_same(&held));
            match &saved {
                Saved::Durable(state) if is_held => {
                    act.hold(state.clone());
                    if state.engagement_id != held.engagement_id {
                        act.assert(None, ctx);
                    }
                }
                Saved::Yields(found) if is_held && found.is_engaged() => act.join(found.clone(), ctx),
                // A release by another instance: the next look at the database takes it.
                Saved::Durable(_) | Saved::Yields(_) | Saved::Dropped => {}
            }
            if told.send(saved).is_err() {
                tracing::info!("the engagement is saved now");
            }
        }));
        durable
    }

    /// Enters what was asked in the audit, where another instance has written its effect.
    fn audit(&self, unsaid: Option<Request>, ctx: &mut Context<Self>) {
        let Some(request) = unsaid else { return };
        let persist = self.lines.persist.clone();
        let after = self.state.as_ref().map(|state| json!(state));
        ctx.spawn(async move { audit(&persist, &request, after).await }.into_actor(self));
    }

    /// Makes the engagement in force durable anew, where the store may say something milder. It overtakes a release that
    /// is on its way, which would be written before it.
    pub(super) fn save_again(&mut self, ctx: &mut Context<Self>) {
        let Some(held) = self.state.clone().filter(KillState::is_engaged) else {
            return;
        };
        self.epoch += 1;
        let entry = SwitchEntry { timestamp: self.world.clock.now(), ..self.entry_of(&held) };
        drop(self.save(Saving { insists: true, ..Saving::of(held, entry) }, ctx));
    }

    /// Tells the board of the engagement in force, which it lacks, also in the place of one that is over. The next look at
    /// it shows whether that worked.
    pub(super) fn assert(&mut self, over: Option<KillState>, ctx: &mut Context<Self>) {
        let (Some(shared), Some(held)) = (self.world.switchboard.clone(), self.state.clone()) else { return };
        if !held.is_engaged() || self.borrowed || std::mem::replace(&mut self.asserting, true) {
            return;
        }
        let entry = self.entry_of(&held);
        let told = async move { board::engage(&*shared, &held, &entry, over.as_ref()).await };
        ctx.spawn(told.into_actor(self).map(|_, act, _| {
            act.asserting = false;
            act.touched = act.world.clock.boottime();
        }));
    }

    pub(super) fn entry_of(&self, state: &KillState) -> SwitchEntry {
        let mut entry = kill::entry_of(state, self.world.clock.now());
        entry.details.clone_from(&state.engagement_details);
        entry
    }
}
