//! Closing what is held costs money each time, so a request for it that has a key is carried out once, for a day, whoever is
//! asked: the ledger takes the key together with the engagement. Until it has, the engagement is held as `cancel`.

use std::time::Duration;

use actix::{ActorFutureExt, Context, ResponseActFuture, WrapFuture};
use serde_json::{Value, json};

use super::KillSwitch;
use super::engaging::as_it_is;
use super::parts::Seen;
use crate::commands::{CommandError, Engage, EngageAnswer};
use crate::domain::audit::{By, Request};
use crate::domain::halts::Halt;
use crate::domain::kill::{KillMode, KillState};
use crate::domain::ledger::{Applied, Books, Refusal};
use crate::domain::limits::LimitScope;
use crate::domain::names::IdempotencyKey;
use crate::domain::once::{FirstAnswer, Once, Render};
use crate::ports::store::Store;

/// How long the ledger is asked for the key, the gate being shut. What it doesn't say by then, the write says.
const LOOK: Duration = Duration::from_millis(250);

/// What is kept of the request: which engagements were in force once it was carried out.
const ENGAGEMENTS: Render = Render(|books: &Books, _: &Applied| {
    let of_all = books.kill.as_ref().filter(|state| state.is_engaged()).and_then(|state| state.engagement_id.clone());
    let of_parts = books.halts.in_force.iter().map(|halt| (halt.scope.to_string(), json!(halt.engagement_id)));
    let all = of_all.map(|id| (LimitScope::Global.to_string(), json!(id)));
    Some(Value::Object(all.into_iter().chain(of_parts).collect()))
});

/// Whose engagement a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The one that was to be written: it was.
    Ours,
    /// An earlier one.
    Other,
}

/// Who asks, with what makes a repetition known to every instance.
pub(super) fn by(engage: &Engage) -> By {
    let once = |(key, hash): (_, String)| Box::new(Once { key, hash, answer: ENGAGEMENTS });
    By { once: engage.closes_once().cloned().map(once), ..engage.by.clone() }
}

/// How strictly it is held until the ledger has taken the key: closing waits for that in any case.
pub(super) fn held_as(engage: &Engage, mode: KillMode) -> KillMode {
    if engage.closes_once().is_some() { KillMode::Cancel } else { mode }
}

/// Whether the key names what was carried out before.
pub(super) fn is_named(results: &[Result<Applied, Refusal>]) -> bool {
    results.iter().any(|result| matches!(result, Err(Refusal::Answered | Refusal::KeyReused)))
}

/// The same request, to be written whether its key is known or not.
pub(super) fn unnamed(request: Request) -> Request {
    Request { by: By { once: None, ..request.by }, ..request }
}

/// Whose engagement the request's key names; nothing where that can't be read.
pub(super) async fn whose(
    store: &dyn Store,
    request: Option<&Request>,
    scope: &LimitScope,
    engagement: &str,
) -> Option<Whose> {
    let Some(((caller, key), once)) = request.and_then(Request::named) else { return Some(Whose::Other) };
    let first = store.first_answer(&caller, &key).await.ok()?;
    let is_ours = |first: &FirstAnswer| first.hash == once.hash && named(first, scope).as_deref() == Some(engagement);
    if first.as_ref().is_some_and(is_ours) {
        return Some(Whose::Ours);
    }
    tracing::warn!(%caller, %key, "the key was used before: trading is stopped, and nothing is closed for it");
    Some(Whose::Other)
}

/// The engagement of a scope that was in force when the request was carried out.
fn named(first: &FirstAnswer, scope: &LimitScope) -> Option<String> {
    first.answer.get(scope.to_string()).and_then(Value::as_str).map(str::to_owned)
}

impl KillSwitch {
    /// Asks the ledger for the key before anything is carried out. The wish stays in the latch meanwhile, and the gate shut.
    pub(super) fn unless_it_was_carried_out(
        &self,
        engage: Engage,
        (key, hash): (IdempotencyKey, String),
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        self.latch.remember(&engage, None);
        let (store, caller, now) = (self.world.store.clone(), engage.by.caller.clone(), self.world.clock.now());
        let looked = async move { tokio::time::timeout(LOOK, store.first_answer(&caller, &key)).await };
        Box::pin(looked.into_actor(self).then(move |looked, act, ctx| {
            let Some(first) = looked.ok().and_then(Result::ok).flatten().filter(|first| first.is_kept(now)) else {
                return act.take_up_remembered(engage, ctx);
            };
            act.latch.forget(&engage);
            act.withdraw(&engage);
            if first.hash == hash {
                act.carried_out_before(&engage, &first)
            } else {
                Box::pin(async { Err(CommandError::KeyReused) }.into_actor(act))
            }
        }))
    }

    /// Carries it out. Where it brings no engagement of its own, it is looked at anew when it is asked again.
    fn take_up_remembered(
        &mut self,
        engage: Engage,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        let taken_up = self.take_up(engage.clone(), ctx);
        Box::pin(taken_up.map(move |answer, act, _| {
            if answer.is_err() {
                act.latch.forget(&engage);
            }
            answer
        }))
    }

    /// It was carried out before, here or elsewhere, and may be over since: the answer is how things stand now.
    fn carried_out_before(
        &mut self,
        engage: &Engage,
        first: &FirstAnswer,
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        if self.state.is_none() || self.parts == Seen::NotYet {
            // How they stand was not read yet.
            return Box::pin(async { Err(CommandError::StoreUnavailable) }.into_actor(self));
        }
        let scope = engage.scope.clone();
        let state = match scope {
            LimitScope::Global => self.known(),
            LimitScope::Account(_) | LimitScope::Strategy(_) | LimitScope::Symbol(_) => {
                self.stopped().of(&scope).map_or_else(KillState::default, Halt::as_state)
            }
        };
        let id = named(first, &scope).or_else(|| state.engagement_id.clone()).unwrap_or_default();
        let settle = engage.settle.unwrap_or(self.tuning.kill_settle);
        let answer = as_it_is(self.duties(), scope, state, id, settle);
        // A release waits until what is in flight has been cut off.
        self.carrying_out_parts += 1;
        Box::pin(answer.into_actor(self).map(|answer, act, _| {
            act.carrying_out_parts -= 1;
            Ok(answer)
        }))
    }

    /// The wish was decided: without it the gate is as shut as the switch says.
    pub(super) fn withdraw(&self, engage: &Engage) {
        self.latch.withdraw(engage);
        if self.state.as_ref().is_some_and(|state| !state.is_engaged()) {
            self.latch.open();
        }
        self.show_parts();
    }
}
