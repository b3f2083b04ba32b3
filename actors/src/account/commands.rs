//! Carrying out what clients and operators ask for.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, ResponseFuture, WrapFuture};
use tokio::sync::oneshot;

use super::Account;
use super::guests::mark;
use crate::broker::{CancelMarked, Due, dispatch};
use crate::clock_guard::ClockGuard;
use crate::commands::{
    CancelOrder, CancelParent, CanceledParent, ClearCause, ClearedCause, CommandError, CompareNow, MoveCapital,
    NoteCompared, ReplaceOrder, ReplacedOrder, ResolveOrder, ResumeParent, SubmitOrder, SubmitParent, SubmittedOrder,
    SubmittedParent,
};
use crate::domain::audit::{AuditAction, AuditEntry, By, Request};
use crate::domain::calendar::Hours;
use crate::domain::fault::FieldError;
use crate::domain::ledger::{Applied, Outcome, Refusal, Submission, Write};
use crate::domain::limits::Wish;
use crate::domain::names::{AccountName, OrderId, Symbol};
use crate::domain::order::{Order, Origin};
use crate::domain::parent::Parent;
use crate::domain::portfolio::CapitalMove;
use crate::domain::portfolio::Portfolio;
use crate::domain::request::Asked;
use crate::gate::{Gate, ShutReason};
use crate::line::{Line, Unanswered};
use crate::persistence::{Persist, PersistError, persist};
use crate::ports::store::{AnyOrder, StoreError};
use crate::ports::{VenueError, World};
use crate::reconciler::{Compare, CompareError};
use crate::risk_desk::{Admit, NotAdmitted};

/// How long a submission waits for the market's price: without one, the parent has no arrival price.
const QUOTE_WAIT: Duration = Duration::from_millis(500);

impl Handler<SubmitParent> for Account {
    type Result = ResponseActFuture<Self, Result<SubmittedParent, CommandError>>;

    fn handle(&mut self, submit: SubmitParent, ctx: &mut Self::Context) -> Self::Result {
        let asked = Asked { by: submit.by, key: submit.key, at: self.world.clock.now() };
        let calendar = self.market_hours.calendar(self.world.clock.boottime());
        let (request, rules) = (submit.request, self.tuning.plan_rules.clone());
        let mut planned = request.plan(&rules, &asked).map_err(CommandError::Invalid);
        let close =
            planned.as_mut().map_or(Ok(()), |(parent, _)| request.check_close(parent, &rules, calendar.as_deref()));
        let times = request.check_times(asked.at).and(close);
        let is_full = self.parents.len() + self.accepting >= self.tuning.max_open_parents;
        self.accepting += 1;
        let volume = self.volume(&request.instruction.symbol, ctx);
        let intake = self.intake();
        let submitted = async move {
            let (free, _) = planned?;
            let objection = intake.objection(times, is_full);
            if let Some(first) = intake.admit(&free.id, &free.origin, objection).await? {
                return intake.replayed_parent(first).await;
            }
            let by_volume = request.plan_by_volume(&rules, &asked, &volume.await);
            let (mut parent, mut slices) = match by_volume.map_err(CommandError::Invalid) {
                Ok(planned) => planned,
                // A repetition is one also where the volume of today allows no such plan.
                Err(refusal) => {
                    return match intake.admit(&free.id, &free.origin, Some(refusal)).await? {
                        Some(first) => intake.replayed_parent(first).await,
                        None => Err(CommandError::OutcomeUnknown),
                    };
                }
            };
            request.check_close(&mut parent, &rules, calendar.as_deref()).map_err(CommandError::Invalid)?;
            let largest = slices.iter().map(|slice| slice.qty.get()).max().unwrap_or(parent.qty.get());
            let reduces = match intake.limited(Wish::whole(&parent, largest), true).await {
                Ok(reduces) => reduces,
                Err(limited) => {
                    return match intake.admit(&parent.id, &parent.origin, Some(limited)).await? {
                        Some(first) => intake.replayed_parent(first).await,
                        None => Err(CommandError::OutcomeUnknown),
                    };
                }
            };
            slices.iter_mut().for_each(|slice| slice.reduces = reduces);
            parent.arrival_price = intake.mid(&parent.instruction.symbol).await;
            let submission = Submission::Parent { parent, slices: slices.clone() };
            let applied = intake.write(Write::Submit(Box::new(submission))).await?;
            match (applied.outcome, applied.parents.into_iter().next()) {
                (Outcome::Replayed, Some(parent)) => intake.replayed_parent(AnyOrder::Parent(Box::new(parent))).await,
                (_, Some(parent)) => Ok(SubmittedParent { replayed: false, parent, slices }),
                (_, None) => Err(CommandError::OutcomeUnknown),
            }
        };
        Box::pin(submitted.into_actor(self).map(|submitted, act, _| {
            act.accepting = act.accepting.saturating_sub(1);
            if let Ok(SubmittedParent { replayed: false, parent, .. }) = &submitted {
                metrics::counter!("tranche_parents_total").increment(1);
                act.adopt_parent(parent);
            }
            if act.accepting == 0 {
                act.ended_early.clear();
            }
            submitted
        }))
    }
}

impl Handler<SubmitOrder> for Account {
    type Result = ResponseActFuture<Self, Result<SubmittedOrder, CommandError>>;

    fn handle(&mut self, submit: SubmitOrder, _: &mut Self::Context) -> Self::Result {
        let asked = Asked { by: submit.by, key: submit.key, at: self.world.clock.now() };
        let planned = submit.request.order(&self.tuning.plan_rules, &asked).map_err(CommandError::Invalid);
        let intake = self.intake();
        let submitted = async move {
            let order = planned?;
            let origin = order.origin.clone().ok_or(CommandError::OutcomeUnknown)?;
            let objection = intake.objection(submit.request.check_times(asked.at), false);
            if let Some(first) = intake.admit(&order.id, &origin, objection).await? {
                return replayed_order(first);
            }
            let limited = intake.limited(Wish::submitted(&order), true).await;
            let order = Order { reduces: *limited.as_ref().unwrap_or(&false), ..order };
            if let Some(first) = intake.admit(&order.id, &origin, limited.err()).await? {
                return replayed_order(first);
            }
            let applied = intake.write(Write::Submit(Box::new(Submission::Single(order)))).await?;
            let replayed = applied.outcome == Outcome::Replayed;
            let order = applied.orders.into_iter().next().ok_or(CommandError::OutcomeUnknown)?;
            Ok(SubmittedOrder { replayed, order })
        };
        Box::pin(
            submitted
                .into_actor(self)
                .map(|submitted, act, ctx| act.send_single(submitted, ctx))
                .then(|waiting, act, _| waiting.into_actor(act)),
        )
    }
}

impl Handler<ReplaceOrder> for Account {
    type Result = ResponseActFuture<Self, Result<ReplacedOrder, CommandError>>;

    fn handle(&mut self, replace: ReplaceOrder, _: &mut Self::Context) -> Self::Result {
        let asked = Asked { by: replace.by, key: replace.key, at: self.world.clock.now() };
        let (intake, rules) = (self.intake(), self.tuning.plan_rules.clone());
        let replaced = async move {
            let origin = replace.request.origin(&asked);
            if let Some(AnyOrder::Order(first)) = intake.keyed(&origin).await? {
                return Ok(SubmittedOrder { replayed: true, order: *first });
            }
            let live = match intake.world.store.order(&replace.id).await.map_err(unreadable)? {
                Some(AnyOrder::Order(live)) => live,
                Some(AnyOrder::Parent(_)) | None => return Err(CommandError::NotFound),
            };
            let mut replacement = replace.request.replacement(&live, &rules, &asked).map_err(CommandError::Invalid)?;
            intake.objection(Ok(()), false).map_or(Ok(()), Err)?;
            let wish = replacement.wish(&live);
            replacement.reduces = intake.limited(wish, false).await?;
            let applied = intake.write(Write::Replace(Box::new(replacement))).await?;
            let replayed = applied.outcome == Outcome::Replayed;
            let order = applied.orders.into_iter().next().ok_or(CommandError::OutcomeUnknown)?;
            Ok(SubmittedOrder { replayed, order })
        };
        Box::pin(
            replaced
                .into_actor(self)
                .map(|replaced, act, ctx| act.send_single(replaced, ctx))
                .then(|waiting, act, _| waiting.into_actor(act))
                .map(|sent, _, _| sent.map(|SubmittedOrder { replayed, order }| ReplacedOrder { replayed, order })),
        )
    }
}

impl Handler<CancelParent> for Account {
    type Result = ResponseFuture<Result<CanceledParent, CommandError>>;

    fn handle(&mut self, cancel: CancelParent, _: &mut Self::Context) -> Self::Result {
        let intake = self.intake();
        Box::pin(async move {
            let applied = intake.mark(Write::CancelParent { id: cancel.id, by: cancel.by }).await?;
            match (applied.outcome, applied.parents.into_iter().next()) {
                (Outcome::Canceling(counts), Some(parent)) => Ok(CanceledParent { parent, counts }),
                (
                    Outcome::Canceling(_)
                    | Outcome::Done
                    | Outcome::Unchanged
                    | Outcome::Replayed
                    | Outcome::Resumed
                    | Outcome::Booked(_)
                    | Outcome::Cleared { .. },
                    _,
                ) => Err(CommandError::OutcomeUnknown),
            }
        })
    }
}

impl Handler<ResumeParent> for Account {
    type Result = ResponseFuture<Result<Parent, CommandError>>;

    /// The parent's actor hears of it as of every turn, and brings what is overdue; while the account is being recovered,
    /// the recovery sees to that.
    fn handle(&mut self, resume: ResumeParent, _: &mut Self::Context) -> Self::Result {
        let intake = self.intake();
        Box::pin(async move {
            let applied = intake.write(resumed(resume)).await?;
            applied.parents.into_iter().next().ok_or(CommandError::OutcomeUnknown)
        })
    }
}

impl Handler<CancelOrder> for Account {
    type Result = ResponseFuture<Result<Order, CommandError>>;

    fn handle(&mut self, cancel: CancelOrder, _: &mut Self::Context) -> Self::Result {
        let intake = self.intake();
        Box::pin(async move {
            let applied = intake.mark(canceled(cancel)).await?;
            applied.orders.into_iter().next().ok_or(CommandError::OutcomeUnknown)
        })
    }
}

impl Handler<ResolveOrder> for Account {
    type Result = ResponseFuture<Result<Order, CommandError>>;

    fn handle(&mut self, resolve: ResolveOrder, _: &mut Self::Context) -> Self::Result {
        let (intake, doubtful) = (self.intake(), self.doubtful.clone());
        Box::pin(async move {
            let id = resolve.id.clone();
            let applied = intake.write(resolved(resolve)).await?;
            doubtful.remove(&id);
            applied.orders.into_iter().next().ok_or(CommandError::OutcomeUnknown)
        })
    }
}

impl Handler<ClearCause> for Account {
    type Result = ResponseFuture<Result<ClearedCause, CommandError>>;

    fn handle(&mut self, clear: ClearCause, _: &mut Self::Context) -> Self::Result {
        let (intake, account) = (self.intake(), self.tuning.account.clone());
        Box::pin(async move {
            let open = intake.world.store.causes(&account).await.map_err(unreadable)?;
            let cause = open.into_iter().find(|cause| cause.id == clear.cause);
            let applied = intake.write(cleared(clear)).await?;
            match (applied.outcome, cause) {
                (Outcome::Cleared { released }, Some(cause)) => Ok(ClearedCause { cause, released }),
                (
                    Outcome::Cleared { .. }
                    | Outcome::Canceling(_)
                    | Outcome::Resumed
                    | Outcome::Booked(_)
                    | Outcome::Done
                    | Outcome::Unchanged
                    | Outcome::Replayed,
                    _,
                ) => Err(CommandError::OutcomeUnknown),
            }
        })
    }
}

impl Handler<MoveCapital> for Account {
    type Result = ResponseFuture<Result<Portfolio, CommandError>>;

    fn handle(&mut self, MoveCapital { asked, by }: MoveCapital, _: &mut Self::Context) -> Self::Result {
        let intake = self.intake();
        Box::pin(async move {
            match intake.write(moved(asked, by)).await?.outcome {
                Outcome::Booked(portfolio) => Ok(portfolio),
                Outcome::Cleared { .. }
                | Outcome::Canceling(_)
                | Outcome::Resumed
                | Outcome::Done
                | Outcome::Unchanged
                | Outcome::Replayed => Err(CommandError::OutcomeUnknown),
            }
        })
    }
}

impl Handler<CompareNow> for Account {
    type Result = ResponseFuture<Result<(), CommandError>>;

    fn handle(&mut self, _: CompareNow, _: &mut Self::Context) -> Self::Result {
        let line = self.lines.compare.clone();
        Box::pin(async move {
            match line.ask(Compare { recovering: false, behind: None }).await {
                Ok(compared) => compared.map_err(not_compared),
                // The account's actors are being rebuilt, and compare the books themselves.
                Err(Unanswered) => Err(CommandError::Gate(ShutReason::BrokerUnavailable)),
            }
        })
    }
}

impl Handler<NoteCompared> for Account {
    type Result = ResponseFuture<Result<(), CommandError>>;

    fn handle(&mut self, note: NoteCompared, _: &mut Self::Context) -> Self::Result {
        let (intake, entry) = (self.intake(), compared(&self.tuning.account, note));
        Box::pin(async move { intake.write(entry).await.map(|_| ()) })
    }
}

/// What he was answered is kept in the entry, and so a repetition finds it there. The request around it names no action, or
/// there would be two entries.
fn compared(account: &AccountName, NoteCompared { by, answer }: NoteCompared) -> Write {
    let entry = AuditEntry {
        by: by.caller.clone(),
        operator: None,
        action: AuditAction::CompareBooks,
        subject: account.to_string(),
        before: None,
        after: Some(answer),
        request_id: by.request_id.clone(),
    };
    // The entry is the effect: the request enters nothing besides.
    let request = Request { by, operator: None, action: None, subject: entry.subject.clone() };
    Write::Audit(Box::new(entry)).requested(Some(request))
}

/// A cancel is entered nowhere but in the order's own events.
fn canceled(CancelOrder { id, by }: CancelOrder) -> Write {
    let (subject, caller) = (id.to_string(), by.caller.clone());
    let request = Request { by, operator: None, action: None, subject };
    Write::CancelOrder { id, by: caller }.requested(Some(request))
}

fn resumed(ResumeParent { id, by }: ResumeParent) -> Write {
    let (subject, caller) = (id.to_string(), by.caller.clone());
    let request = Request { by, operator: None, action: Some(AuditAction::ResumeParent), subject };
    Write::ResumeParent { id, by: caller }.requested(Some(request))
}

fn resolved(ResolveOrder { id, resolution, by }: ResolveOrder) -> Write {
    let (subject, caller) = (id.to_string(), by.caller.clone());
    let request = Request { by, operator: None, action: Some(AuditAction::ResolveOrder), subject };
    Write::Resolve { id, resolution, by: caller }.requested(Some(request))
}

fn cleared(ClearCause { cause, operator, reason, by }: ClearCause) -> Write {
    let (subject, caller) = (cause.to_string(), by.caller.clone());
    let request = Request { by, operator: Some(operator.clone()), action: Some(AuditAction::ClearOrphan), subject };
    Write::ClearCause { cause, operator, reason, by: caller }.requested(Some(request))
}

fn moved(asked: CapitalMove, by: By) -> Write {
    let (operator, subject) = (Some(asked.operator.clone()), "capital".to_owned());
    let request = Request { by, operator, action: Some(AuditAction::MoveCapital), subject };
    Write::Capital(Box::new(asked)).requested(Some(request))
}

fn not_compared(error: CompareError) -> CommandError {
    match error {
        CompareError::Store(error) => unreadable(error),
        CompareError::Venue(VenueError::Unauthorised { .. }) => CommandError::Gate(ShutReason::BrokerUnauthorised),
        CompareError::Venue(VenueError::Unavailable { .. } | VenueError::NotNow { .. }) => {
            CommandError::Gate(ShutReason::BrokerUnavailable)
        }
    }
}

/// What a command works with while it waits for others.
struct Intake {
    world: World,
    gate: Gate,
    clock_guard: ClockGuard,
    persist: Line<Persist>,
    cancel_marked: Line<CancelMarked>,
    admit: Line<Admit>,
    account: AccountName,
    /// Other instances may own it.
    is_leased: bool,
    /// This one doesn't.
    is_guest: bool,
}

impl Intake {
    /// What this request named before: its key first, then its id.
    async fn first(&self, id: &OrderId, origin: &Origin) -> Result<Option<AnyOrder>, CommandError> {
        if let Some(found) = self.keyed(origin).await? {
            return Ok(Some(found));
        }
        match self.world.store.order(id).await.map_err(unreadable)? {
            Some(found) if repeats(&found, origin) => Ok(Some(found)),
            Some(_) => Err(CommandError::IdReused),
            None => Ok(None),
        }
    }

    /// What the key of this request named before.
    async fn keyed(&self, origin: &Origin) -> Result<Option<AnyOrder>, CommandError> {
        let Some(key) = &origin.key else { return Ok(None) };
        match self.world.store.by_key(&origin.caller, key).await.map_err(unreadable)? {
            Some(found) if repeats(&found, origin) => Ok(Some(found)),
            Some(_) => Err(CommandError::KeyReused),
            None => Ok(None),
        }
    }

    /// The parent as it now is, with its slices.
    async fn replayed_parent(&self, first: AnyOrder) -> Result<SubmittedParent, CommandError> {
        match first {
            AnyOrder::Parent(parent) => {
                let slices = self.world.store.slices(&parent.id).await.map_err(unreadable)?;
                Ok(SubmittedParent { replayed: true, parent: *parent, slices })
            }
            AnyOrder::Order(_) => Err(CommandError::IdReused),
        }
    }

    /// What stands against a new order now: its times, the gate, or a bound.
    fn objection(&self, times: Result<(), Vec<FieldError>>, is_full: bool) -> Option<CommandError> {
        if let Err(faults) = times {
            return Some(CommandError::Invalid(faults));
        }
        if self.clock_guard.moved(&*self.world.clock).is_some() {
            return Some(CommandError::Gate(ShutReason::ClockUnsure));
        }
        // Whether it is an exit is asked later, of the risk desk.
        if let Some(reason) = self.gate.verdict(self.world.clock.boottime()).objection(true) {
            return Some(CommandError::Gate(reason));
        }
        is_full.then_some(CommandError::Busy { what: "open parents", retry_after: Duration::from_secs(10) })
    }

    /// The order that a repetition names, where something stands against a new one. Where nothing does, the ledger
    /// itself finds a repetition, in the transaction that would store it.
    async fn admit(
        &self,
        id: &OrderId,
        origin: &Origin,
        objection: Option<CommandError>,
    ) -> Result<Option<AnyOrder>, CommandError> {
        let Some(objection) = objection else { return Ok(None) };
        self.first(id, origin).await?.map_or(Err(objection), |first| Ok(Some(first)))
    }

    /// Whether a submission reduces the position; or what the limits have against it, or the gate where it lets only exits
    /// pass.
    async fn limited(&self, wish: Wish, is_new: bool) -> Result<bool, CommandError> {
        let verdict = self.gate.verdict_for(wish.subject(&self.account), self.world.clock.boottime());
        let exits_only = verdict.objection(false).is_some();
        match self.admit.ask(Admit { wish, exits_only, is_new }).await {
            Ok(Ok(reduces)) => verdict.objection(reduces).map_or(Ok(reduces), |reason| Err(CommandError::Gate(reason))),
            Ok(Err(NotAdmitted::Limited { code, detail })) => Err(CommandError::Limited { code, detail }),
            Ok(Err(NotAdmitted::Unready)) => Err(CommandError::StoreUnavailable),
            // The account's actors are being rebuilt.
            Err(Unanswered) => Err(CommandError::Gate(ShutReason::BrokerUnavailable)),
        }
    }

    async fn mid(&self, symbol: &Symbol) -> Option<rust_decimal::Decimal> {
        match tokio::time::timeout(QUOTE_WAIT, self.world.venue.quote(symbol)).await {
            Ok(Ok(quote)) => Some(quote.mid()),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(%symbol, "no quote at acceptance: the parent has no arrival price");
                None
            }
        }
    }

    async fn write(&self, write: Write) -> Result<Applied, CommandError> {
        match persist(&self.persist, write).await {
            Ok(Ok(applied)) => Ok(applied),
            Ok(Err(refusal)) => Err(refused(refusal)),
            Err(PersistError::Unavailable) => Err(CommandError::StoreUnavailable),
            Err(PersistError::Unknown) => Err(CommandError::OutcomeUnknown),
        }
    }

    /// Marks what is to be cancelled, whoever owns the account, and has the cancels asked for at once where that is us. An
    /// owner that can't write marks as anybody may: its lease may be over before it knows, while the store takes marks.
    async fn mark(&self, cancel: Write) -> Result<Applied, CommandError> {
        let as_guest = self.is_leased.then(|| mark(&self.world, self.account.clone(), cancel.clone()));
        let applied = match as_guest {
            Some(marked) if self.is_guest => return marked.await,
            Some(marked) => match self.write(cancel).await {
                Err(CommandError::StoreUnavailable) => marked.await?,
                written => written?,
            },
            None => self.write(cancel).await?,
        };
        self.nudge_cancels().await;
        Ok(applied)
    }

    async fn nudge_cancels(&self) {
        if self.cancel_marked.ask(CancelMarked).await.is_err() {
            tracing::info!("the broker is being rebuilt, and scans marks by itself");
        }
    }
}

/// Whether what was found is what this request asks for.
fn repeats(found: &AnyOrder, origin: &Origin) -> bool {
    let first = match found {
        AnyOrder::Parent(parent) => Some(&parent.origin),
        AnyOrder::Order(order) => order.origin.as_ref(),
    };
    first.is_some_and(|first| first.is_repeated_by(origin))
}

fn replayed_order(first: AnyOrder) -> Result<SubmittedOrder, CommandError> {
    match first {
        AnyOrder::Order(order) => Ok(SubmittedOrder { replayed: true, order: *order }),
        AnyOrder::Parent(_) => Err(CommandError::IdReused),
    }
}

fn unreadable(error: StoreError) -> CommandError {
    tracing::error!(%error, "a command could not read the store");
    CommandError::StoreUnavailable
}

pub(super) fn refused(refusal: Refusal) -> CommandError {
    match refusal {
        Refusal::NotFound => CommandError::NotFound,
        Refusal::ParentTerminal => CommandError::ParentTerminal,
        Refusal::NotPaused(status) => CommandError::NotPaused(status),
        Refusal::NotResolvable(status) => CommandError::NotResolvable(status),
        Refusal::Unfitting(rule) => CommandError::Invalid(vec![FieldError::new("filled_qty", "does_not_fit", rule)]),
        Refusal::UnfittingQty(rule) => CommandError::Invalid(vec![FieldError::new("qty", "does_not_fit", rule)]),
        Refusal::NotReplaceable(why) => CommandError::NotReplaceable(why),
        Refusal::KeyReused => CommandError::KeyReused,
        Refusal::Answered => CommandError::Answered,
        Refusal::IdReused => CommandError::IdReused,
        Refusal::Quarantined => CommandError::Quarantined,
        Refusal::PortfolioMoved { expected, found } => CommandError::PortfolioMoved { expected, found },
        Refusal::BelowZero { equity } => CommandError::BelowZero { equity },
        Refusal::AlreadyCleared => CommandError::AlreadyCleared,
        Refusal::GuardLost(_)
        | Refusal::Illegal(_)
        | Refusal::SwitchMoved
        | Refusal::LimitsMoved
        | Refusal::NotOurs
        | Refusal::Constraint(_) => CommandError::Conflict(refusal.to_string()),
    }
}

impl Account {
    fn intake(&self) -> Intake {
        Intake {
            world: self.world.clone(),
            gate: self.gate.clone(),
            clock_guard: self.clock_guard.clone(),
            persist: self.lines.persist.clone(),
            cancel_marked: self.lines.cancel_marked.clone(),
            admit: self.lines.admit.clone(),
            account: self.tuning.account.clone(),
            is_leased: self.tuning.lease.is_some(),
            is_guest: self.ownership.is_none(),
        }
    }

    /// A parent that is durable gets its actor; while the account is being recovered, the recovery sees to that.
    pub(super) fn adopt_parent(&mut self, parent: &Parent) {
        let has_ended = parent.status.is_terminal() || self.ended_early.contains(&parent.id);
        let is_worked = self.broker.is_some() && !self.is_draining();
        if is_worked && !has_ended && !self.parents.contains_key(&parent.id) {
            self.spawn_parent(parent);
        }
    }

    /// Sends a single order on its way and waits a little for the venue.
    fn send_single(
        &mut self,
        submitted: Result<SubmittedOrder, CommandError>,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<SubmittedOrder, CommandError>> + use<> {
        let mut answered = None;
        if let Ok(SubmittedOrder { replayed: false, order }) = &submitted {
            let counted =
                if order.replaces.is_some() { "tranche_replacements_total" } else { "tranche_single_orders_total" };
            metrics::counter!(counted).increment(1);
            let (waiting, venue) = oneshot::channel();
            self.waiting.entry(order.id.clone()).or_default().push(waiting);
            answered = Some((venue, order.id.clone()));
            let grace = self.tuning.single_grace;
            let due = Due {
                id: order.id.clone(),
                plan_version: order.slice.as_ref().map(|slice| slice.plan_version),
                due: order.scheduled_time,
                is_planned: false,
                latest: order.scheduled_time + grace,
                hours: Hours::of(&order.instruction),
                absent_since: None,
                wish: Wish::of(order, &order.strategy_id),
                waits_for: None,
            };
            let (line, id) = (self.lines.dispatch.clone(), order.id.clone());
            ctx.spawn(async move { dispatch(&line, vec![due]).await }.into_actor(self).map(move |sent, _, _| {
                if sent.is_err() {
                    tracing::error!(client_order_id = %id, "a single order found no broker; the recovery takes it up");
                }
            }));
        }
        let (wait, store, me) = (self.tuning.submit_wait, self.world.store.clone(), ctx.address());
        async move {
            let mut submitted = submitted?;
            let Some((venue, id)) = answered else {
                return Ok(submitted);
            };
            match tokio::time::timeout(wait, venue).await {
                Ok(Ok(order)) => submitted.order = order,
                Ok(Err(_)) | Err(_) => {
                    if me.send(super::Forget(id.clone())).await.is_err() {
                        tracing::debug!("the account is gone");
                    }
                    if let Ok(Some(AnyOrder::Order(order))) = store.order(&id).await {
                        submitted.order = *order;
                    }
                }
            }
            Ok(submitted)
        }
    }
}
