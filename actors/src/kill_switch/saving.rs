//! Making an engagement durable, in the database and on the switchboard, for as long as it is held.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use serde_json::json;
use tokio::sync::oneshot;

use super::{KillSwitch, board};
use crate::domain::audit::Request;
use crate::domain::kill::{KillState, Rebased};
use crate::domain::ledger::{Applied, Refusal, SwitchEntry, Write};
use crate::domain::switchboard::kill;
use crate::persistence::{Lane, Persist, audit};

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

fn is_refused_by_store(result: &Result<Applied, Refusal>) -> bool {
    matches!(result, Err(Refusal::Constraint(_)))
}

impl KillSwitch {
    /// Makes an engagement durable in the database, ahead of every waiting batch; what fails is tried again for as long as
    /// it is held.
    pub(super) fn save(
        &mut self,
        state: KillState,
        mut entry: SwitchEntry,
        insists: bool,
        mut request: Option<Request>,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<Saved> {
        let (told, durable) = oneshot::channel();
        let (persist, store, health) = (self.lines.persist.clone(), self.world.store.clone(), self.health.clone());
        let (clock, held) = (self.world.clock.clone(), state.clone());
        let saving = async move {
            let mut next = state.clone();
            loop {
                let write = Write::Kill { state: Box::new(next.clone()), entry: entry.clone() };
                let write = write.requested(request.clone());
                let pause = match persist.ask(Persist { writes: vec![write], lane: Lane::Switches }).await {
                    Ok(Ok(results)) if !results.iter().any(Result::is_err) => return (Saved::Durable(next), None),
                    Ok(Ok(results)) => {
                        // Whatever the store has against it, no entry of the audit keeps the switch from being stored.
                        request = request.filter(|_| !results.iter().any(is_refused_by_store));
                        20
                    }
                    Ok(Err(_)) | Err(_) => 500,
                };
                if pause == 20
                    && let Ok(Some(found)) = store.switches().await.map(|switches| switches.kill)
                {
                    match state.rebased_on(&found, insists.then(|| clock.now())) {
                        // Another instance has written it, and not what was asked here.
                        Rebased::Stands(found) => return (Saved::Durable(found), request),
                        Rebased::Write(rebased) => {
                            if !found.is_engaged() && rebased.engagement_id != state.engagement_id {
                                entry = kill::entry_of(&rebased, clock.now());
                            }
                            next = rebased;
                        }
                        Rebased::Yields(found) => return (Saved::Yields(found), None),
                    }
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
                if !health.kill().is_some_and(|held| held.is_same(&state)) {
                    return (Saved::Dropped, None);
                }
            }
        };
        self.saving += 1;
        ctx.spawn(saving.into_actor(self).map(move |(saved, unsaid), act, ctx| {
            act.saving -= 1;
            act.audit(unsaid, ctx);
            act.touched = act.world.clock.boottime();
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
        drop(self.save(held, entry, true, None, ctx));
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
