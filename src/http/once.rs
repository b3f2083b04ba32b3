//! Commands that may be repeated: with an `Idempotency-Key` a request is carried out once, and its first answer is kept for
//! a day. The answer is made and written in the transaction of the effect.

use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::{Value, json};
use tranche_actors::commands::CommandError;
use tranche_actors::domain::audit::By;
use tranche_actors::domain::ledger::{Applied, Books, Outcome};
use tranche_actors::domain::once::{FirstAnswer, Once, Render};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::trading_day::DayEnd;

use super::canonical::Canonical;
use super::plan_shapes::ParentView;
use super::portfolio::PortfolioView;
use super::problem::Problem;
use super::shapes::OrderView;
use super::switch_shapes::{BreakerView, KillView, ReleasedView};
use super::{Shared, body, refusals};

/// What a command came to.
pub(super) enum Came<T> {
    /// It was carried out now.
    Now(T),
    /// It was before: this is the first answer.
    Before(HttpResponse),
}

/// Who asks, by which request, and how a repetition is known: by its key, its path and what its body says.
pub(super) fn by(request: &HttpRequest, bytes: &[u8], answer: Render) -> Result<By, Problem> {
    let by = body::by(request)?;
    let Some(key) = body::idempotency_key(request)? else { return Ok(by) };
    let mut form = Canonical::default();
    form.put("path", request.path());
    form.put("query", request.query_string());
    // What can't be read is refused by its fields.
    form.json("body", serde_json::from_slice::<Value>(bytes).ok().as_ref());
    Ok(By { once: Some(Box::new(Once { key, hash: form.hash(), answer })), ..by })
}

impl Shared {
    /// The answer to a request that was carried out before.
    pub(super) async fn first_answer(&self, by: &By) -> Result<Option<HttpResponse>, Problem> {
        let Some(once) = &by.once else { return Ok(None) };
        let found = self.state.store.first_answer(&by.caller, &once.key).await.map_err(refusals::store)?;
        let Some(FirstAnswer { hash, answer, .. }) = found.filter(|first| first.is_kept(self.state.clock.now())) else {
            return Ok(None);
        };
        if hash != once.hash {
            return Err(self.refusal(CommandError::KeyReused));
        }
        Ok(Some(HttpResponse::Ok().json(answer)))
    }

    /// Sends a command and waits for what it came to; somebody may have been faster with the same request.
    pub(super) async fn ask_once<M, T>(&self, to: &actix::Recipient<M>, command: M, by: &By) -> Result<Came<T>, Problem>
    where
        M: actix::Message<Result = Result<T, CommandError>> + Send,
        T: Send,
    {
        let answer = to.send(command).timeout(self.state.limits.request_timeout).await;
        match answer.map_err(refusals::mailbox)? {
            Ok(done) => Ok(Came::Now(done)),
            // Whatever stands against it now: the same request may have been carried out a moment ago.
            Err(error) => match self.first_answer(by).await {
                Ok(Some(first)) => Ok(Came::Before(first)),
                Ok(None) | Err(_) => Err(self.refusal(error)),
            },
        }
    }
}

fn shown(view: &impl Serialize) -> Option<Value> {
    Some(json!(view))
}

/// The order that the write was about.
pub(super) const ORDER: Render = Render(|_: &Books, applied: &Applied| shown(&OrderView::of(applied.orders.first()?)));

/// The parent that the write was about, with the time of its next slice.
pub(super) const PARENT: Render = Render(|books: &Books, applied: &Applied| {
    let parent = applied.parents.first()?;
    let is_next = |order: &&tranche_actors::domain::order::Order| {
        order.status == OrderStatus::PendingNew && order.slice.as_ref().is_some_and(|slice| slice.parent == parent.id)
    };
    let next = books.orders.values().filter(is_next).map(|order| order.scheduled_time).min();
    shown(&ParentView::of(parent, next))
});

/// The kill switch as it now is, and what goes on as its history says.
pub(super) const KILL: Render = Render(|books: &Books, _: &Applied| {
    let mut state = books.kill.clone()?;
    if state.counted_on != Some(DayEnd::new_york().trading_day(books.at)) {
        state.engagement_count_today = 0;
    }
    let entry = books.changes.switch_entries.last().and_then(|(_, entry)| entry.details.as_ref());
    let resumes = entry.and_then(|details| details.get("resumes").or_else(|| details.get("details")?.get("resumes")));
    let resumes = resumes.and_then(|resumes| serde_json::from_value(resumes.clone()).ok());
    shown(&ReleasedView::of(KillView::of(&state).beside(books.halts.in_force.clone()), resumes))
});

/// What the account is worth by the ledger alone.
pub(super) const CAPITAL: Render = Render(|books: &Books, applied: &Applied| match &applied.outcome {
    Outcome::Booked(portfolio) => shown(&PortfolioView::of(books.account()?, portfolio, None)),
    Outcome::Done
    | Outcome::Unchanged
    | Outcome::Replayed
    | Outcome::Canceling(_)
    | Outcome::Resumed
    | Outcome::Cleared { .. } => None,
});

/// The circuit breaker as it now is.
pub(super) const BREAKER: Render = Render(|books: &Books, _: &Applied| {
    let mut state = books.breaker.clone()?;
    if state.counted_on != Some(DayEnd::new_york().trading_day(books.at)) {
        state.trip_count_today = 0;
    }
    shown(&BreakerView::of(&state))
});
