//! Claiming and sending: each order at most once on its way, each outcome written down.

use std::task::Poll;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::{Broker, BrokerTurned, Due, Ending, Pass};
use crate::budget::Budget;
use crate::circuit_breaker::BrokerAnswered;
use crate::domain::ids::is_flatten;
use crate::domain::ledger::{Applied, Refusal, Report, Write};
use crate::domain::limits::Subject;
use crate::domain::order::Order;
use crate::domain::status::{OrderStatus, OwnEnd};
use crate::domain::venue::{NewOrder, VenueOrder};
use crate::doubt::Doubtful;
use crate::gate::{Gate, InFlight, Whose};
use crate::persistence::{Lane, Persist, persist_surely};
use crate::ports::{SubmitError, World};

/// A token that was not used within this time is void: used later, it could crowd another minute.
const TOKEN_LIFE: Duration = Duration::from_secs(1);
/// How long to hold new orders back after a 429 that names no time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Orders that have got room, each with whether it reduces, and the revision of the limits that said so.
pub(super) struct Granted {
    pub(super) train: Vec<(Due, bool)>,
    pub(super) limits: u64,
}

/// What came of a send.
enum Sent {
    Answered(Box<VenueOrder>),
    Failed(SubmitError),
    /// Held back at the last instruction, with the reason's code.
    HeldBack(&'static str),
    /// No answer came in time.
    TimedOut,
    /// We cut it off ourselves, by an engagement or at the end: no fault of the broker's.
    CutOff,
}

impl Sent {
    /// Whether it is known what became of the order.
    const fn is_certain(&self) -> bool {
        match self {
            Self::Answered(_) | Self::HeldBack(_) => true,
            Self::TimedOut | Self::CutOff => false,
            Self::Failed(error) => match error {
                SubmitError::NeverLeft { .. }
                | SubmitError::NotNow { .. }
                | SubmitError::Rejected(_)
                | SubmitError::Unauthorised { .. } => true,
                SubmitError::DuplicateId | SubmitError::Unknown { .. } => false,
            },
        }
    }

    /// One line for what brought no order, but for a rejection: its order says it, and where the broker has an id for its
    /// answer, the connector has told it with that.
    fn tell(&self, order: &Order) {
        let id = &order.id;
        match self {
            Self::Answered(_) => {}
            Self::HeldBack(reason) => {
                tracing::info!(client_order_id = %id, reason, "an order was held back at the wire")
            }
            Self::TimedOut => tracing::warn!(client_order_id = %id, "no answer in time: the order is looked up"),
            Self::CutOff => tracing::warn!(client_order_id = %id, "a send was cut off: the order is looked up"),
            Self::Failed(error) => tracing::warn!(client_order_id = %id, %error, "a send brought no order"),
        }
    }
}

impl Broker {
    /// Claims a train of orders in one transaction, and ends in the same one what can't go.
    pub(super) fn claim(&mut self, granted: Granted, ends: Vec<Ending>, began: Duration, ctx: &mut Context<Self>) {
        self.claiming = true;
        let Granted { train, limits } = granted;
        let claim = |(due, reduces): &(Due, bool)| Write::Claim {
            id: due.id.clone(),
            plan_version: due.plan_version,
            reduces: *reduces,
            limits,
        };
        let mut writes = train.iter().map(claim).collect::<Vec<_>>();
        // An absent order ends no sooner than it is given up; it only stops waiting to be sent again.
        let (absent, ends): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(due, ..)| due.absent_since.is_some());
        for (due, ..) in absent {
            self.queued.remove(&due.id);
        }
        writes.extend(ends.iter().map(|(due, end, reason, detail)| Write::End {
            id: due.id.clone(),
            end: *end,
            reason,
            detail: detail.clone(),
        }));
        let line = self.lines.persist.clone();
        let asked = async move { line.ask(Persist { writes, lane: Lane::Claims }).await };
        ctx.spawn(asked.into_actor(self).map(move |result, act, ctx| {
            act.claiming = false;
            let train = train.into_iter().map(|(due, _)| due).collect::<Vec<_>>();
            match result {
                Ok(Ok(results)) => {
                    let ended = ends.len();
                    for ((due, end, ..), result) in ends.into_iter().zip(results.iter().skip(train.len())) {
                        act.queued.remove(&due.id);
                        note_end(&due, end, result);
                    }
                    debug_assert_eq!(results.len(), train.len() + ended, "every write has its result");
                    for (due, result) in train.into_iter().zip(results) {
                        act.claimed(due, result, began, ctx);
                    }
                    act.pump(ctx);
                }
                // Not written for certain, or the writer died and everything is rebuilt from the store: try again.
                Ok(Err(_)) | Err(_) => {
                    act.release(train.iter().map(|due| (due.wish.symbol.clone(), due.id.clone())).collect(), ctx);
                    for due in train.into_iter().chain(ends.into_iter().map(|(due, ..)| due)) {
                        act.requeue(due);
                    }
                    act.look_again(Duration::from_millis(100), ctx);
                }
            }
        }));
    }

    fn claimed(&mut self, due: Due, result: Result<Applied, Refusal>, began: Duration, ctx: &mut Context<Self>) {
        self.queued.remove(&due.id);
        let order = match result.map(|applied| applied.order(&due.id).cloned()) {
            Ok(Some(order)) => order,
            Ok(None) => return,
            Err(refusal) => {
                self.release(vec![(due.wish.symbol.clone(), due.id.clone())], ctx);
                if refusal == Refusal::LimitsMoved {
                    self.limits_moved = true;
                    self.requeue(due);
                    return;
                }
                tracing::info!(client_order_id = %due.id, %refusal, "a due order was not claimed");
                return;
            }
        };
        if order.status != OrderStatus::Submitting {
            tracing::warn!(client_order_id = %due.id, status = %order.status, "a due order ended unsent");
            return;
        }
        let late = self.world.clock.now() - due.due;
        metrics::histogram!("tranche_slice_lateness_seconds").record(late.to_std().unwrap_or_default());
        self.unknowns.remove(&due.id);
        self.put_on_its_way(due, order, self.in_flight.clone(), self.limits(began));
    }

    /// Sends a claimed order, and writes down what came of it.
    pub(super) fn put_on_its_way(&mut self, due: Due, order: Order, in_flight: InFlight, limits: Limits) {
        self.sending.insert(due.id.clone());
        let send = send(
            self.world.clone(),
            self.gate.clone(),
            (in_flight, self.doubtful.clone()),
            (order.clone(), Whose { strategy: due.wish.strategy.clone(), symbol: due.wish.symbol.clone() }),
            limits,
        );
        self.crowd.join(send, move |sent, act, ctx| act.record(due, order, sent, ctx));
    }

    pub(super) fn limits(&self, began: Duration) -> Limits {
        Limits {
            began,
            claim: self.tuning.claim,
            token: self.tuning.requests_per_minute.map(|_| TOKEN_LIFE),
            budget: self.budget.clone(),
            timeout: self.tuning.send_timeout,
            pass: None,
        }
    }

    /// Writes the outcome of a send down, as often as it takes, and draws the consequences.
    fn record(&mut self, due: Due, order: Order, sent: Sent, ctx: &mut Context<Self>) {
        let (id, attempt) = (order.id.clone(), order.attempt);
        sent.tell(&order);
        self.note_answer(&sent);
        let is_answered = matches!(sent, Sent::Answered(_) | Sent::Failed(SubmitError::Rejected(_)));
        let never_left = |reason: &'static str, detail: String, tries| Write::NeverLeft {
            id: id.clone(),
            attempt,
            reason,
            detail,
            tries,
        };
        let unknown = |detail: String, at_venue| Write::OutcomeUnknown { id: id.clone(), attempt, detail, at_venue };
        let write = match sent {
            Sent::Answered(venue) => {
                Write::Report(Box::new(Report { order: *venue, executions: Vec::new(), corrects: false }))
            }
            Sent::HeldBack(reason) => never_left(reason, String::new(), None),
            Sent::TimedOut => unknown("no answer in time".to_owned(), false),
            Sent::CutOff => unknown("cut off while trading was stopped".to_owned(), false),
            Sent::Failed(SubmitError::NeverLeft { detail }) => {
                never_left("never_left", detail, Some(self.tuning.max_tries))
            }
            Sent::Failed(SubmitError::NotNow { retry_after }) => {
                self.budget.pause(retry_after.unwrap_or(PATIENCE));
                never_left("rate_limited", String::new(), None)
            }
            Sent::Failed(SubmitError::Rejected(words)) => Write::Refused { id: id.clone(), attempt, words },
            Sent::Failed(SubmitError::DuplicateId) => unknown("the venue has an order of this id".to_owned(), true),
            Sent::Failed(SubmitError::Unknown { detail }) => unknown(detail, false),
            Sent::Failed(SubmitError::Unauthorised { detail }) => {
                self.tell(BrokerTurned::Unauthorised(detail.clone()), ctx);
                never_left("broker_unauthorised", detail, None)
            }
        };
        let line = self.lines.persist.clone();
        let recorded = async move { persist_surely(&line, vec![write]).await };
        self.crowd.join(recorded, move |mut results, act, ctx| {
            act.sending.remove(&due.id);
            match results.pop() {
                Some(Ok(applied)) => {
                    act.settled(&applied.orders);
                    if is_answered {
                        act.watch_replaced(&order, ctx);
                    }
                    act.follow_up(due, &applied, ctx);
                }
                Some(Err(refusal)) => {
                    // An event of the venue, or an operator, was faster; or the venue has something else of this id.
                    tracing::info!(client_order_id = %due.id, %refusal, "the outcome of a send was not taken");
                    if refusal == Refusal::NotOurs {
                        act.quarantine(&order, ctx);
                    }
                    act.read_again(due, ctx);
                }
                None => tracing::error!(client_order_id = %due.id, "the outcome of a send has no result"),
            }
            act.pump(ctx);
        });
    }

    /// After the outcome is durable: back into the queue, on to the look-ups, or done.
    fn follow_up(&mut self, due: Due, applied: &Applied, ctx: &mut Context<Self>) {
        let Some(order) = applied.order(&due.id) else { return };
        match order.status {
            // What closes positions brings it again itself, if it still has to go.
            OrderStatus::PendingNew if is_flatten(&order.id) => self.doubtful.remove(&order.id),
            OrderStatus::PendingNew => {
                self.doubtful.remove(&order.id);
                let wait = if order.reason_code.as_deref() == Some("never_left") {
                    self.back_off(order.tries)
                } else {
                    Duration::from_millis(20)
                };
                // It stays in our hands: a comparison of the books that saw it claimed must not take it for forgotten.
                self.queued.insert(order.id.clone());
                ctx.run_later(wait, move |act, ctx| {
                    act.requeue(due);
                    act.pump(ctx);
                });
            }
            OrderStatus::SubmittedUnconfirmed => self.doubt(order, due),
            OrderStatus::Submitting
            | OrderStatus::Submitted
            | OrderStatus::Accepted
            | OrderStatus::PartiallyFilled
            | OrderStatus::PendingCancel
            | OrderStatus::PendingReplace
            | OrderStatus::Filled
            | OrderStatus::Canceled
            | OrderStatus::Expired
            | OrderStatus::Rejected
            | OrderStatus::Replaced
            | OrderStatus::Failed
            | OrderStatus::BlockedKillSwitch
            | OrderStatus::BlockedCircuitBreaker
            | OrderStatus::BlockedRisk
            | OrderStatus::DryRun => self.doubtful.remove(&order.id),
        }
    }

    /// 2 s, doubling up to 10 s, less up to a fifth by chance.
    fn back_off(&self, tries: u32) -> Duration {
        let full = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(tries)).min(Duration::from_secs(10));
        let fifth = u64::try_from(full.as_millis() / 5).unwrap_or(0).max(1);
        full - Duration::from_millis(self.world.entropy.bits() % fifth)
    }

    fn note_answer(&mut self, sent: &Sent) {
        let is_error = match sent {
            Sent::HeldBack(_) | Sent::CutOff => return,
            Sent::Answered(_) => false,
            Sent::TimedOut => true,
            Sent::Failed(error) => match error {
                SubmitError::NeverLeft { .. } | SubmitError::Unknown { .. } | SubmitError::Unauthorised { .. } => true,
                SubmitError::NotNow { .. } | SubmitError::Rejected(_) | SubmitError::DuplicateId => false,
            },
        };
        let line = self.lines.answered.clone();
        let told = async move { line.ask(BrokerAnswered { is_error }).await };
        self.crowd.join(told, |told, _, _| {
            if told.is_err() {
                tracing::debug!("the breaker is being rebuilt and missed an answer of the broker");
            }
        });
    }
}

fn note_end(due: &Due, end: OwnEnd, result: &Result<Applied, Refusal>) {
    match result {
        Ok(_) => tracing::warn!(client_order_id = %due.id, status = %end, "a due order ended unsent"),
        Err(refusal) => tracing::info!(client_order_id = %due.id, %refusal, "a due order had moved on"),
    }
}

/// How long a send may take in its parts, and what it passes the gate on.
pub(super) struct Limits {
    /// When its token was taken and its claim begun, on the clock that counts suspended time.
    began: Duration,
    claim: Duration,
    /// How long its token is good for, where there is a budget.
    token: Option<Duration>,
    /// A 429 may have come since the claim was begun.
    budget: Budget,
    timeout: Duration,
    /// The pass of an order that closes a position; all others pass while the gate is open for them.
    pass: Option<Pass>,
}

impl Limits {
    pub(super) fn passing_on(self, pass: Pass) -> Self {
        Self { pass: Some(pass), ..self }
    }
}

/// The one call that puts a new order before the venue.
async fn hand_over(world: &World, order: &Order, new: &NewOrder) -> Result<VenueOrder, SubmitError> {
    match &order.replaces {
        None => world.venue.submit(new).await,
        Some(replaces) => world.venue.replace(&replaces.broker_order_id, new).await,
    }
}

/// Until the account's lease is over, as it stands each time that it would be.
async fn lease_over(world: &World, gate: &Gate) {
    loop {
        let left = gate.lease_left(world.clock.boottime());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// Works on a request for no longer than the account's lease goes on: a process that was frozen over the end of it finds
/// that out before its next step, and not only by a timer.
async fn while_ours<T>(world: &World, gate: &Gate, request: impl Future<Output = T>) -> Option<T> {
    let mut request = std::pin::pin!(request);
    std::future::poll_fn(|cx| {
        if gate.lease_left(world.clock.boottime()).is_zero() {
            return Poll::Ready(None);
        }
        request.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Sends one claimed order: enters the in-flight set, *then* checks claim and gate, then hands it to the venue.
///
/// Whoever engages the switch sees the order in the in-flight set or among the doubtful: it is doubtful from before its
/// first byte until it is certain, also where this future ends in a panic or is dropped.
async fn send(
    world: World,
    gate: Gate,
    (in_flight, doubtful): (InFlight, Doubtful),
    (order, of): (Order, Whose),
    limits: Limits,
) -> Sent {
    let (ticket, is_cut) = in_flight.enter(&order.id, of.clone());
    let subject = Subject { account: &order.account, strategy: &of.strategy, symbol: &of.symbol };
    let new_order = order.to_send();
    let timeout = tokio::time::sleep(limits.timeout);
    let now = world.clock.boottime();
    if now > limits.began + limits.claim {
        return Sent::HeldBack("claim_ran_out");
    }
    if limits.token.is_some_and(|life| now > limits.began + life) {
        return Sent::HeldBack("token_ran_out");
    }
    if limits.budget.patience().is_some() {
        return Sent::HeldBack("rate_limited");
    }
    let objection = match &limits.pass {
        Some(pass) => gate.objection_to(pass, (&order.account, &order.id), now),
        None => gate.verdict_for(subject, now).objection(order.reduces),
    };
    if let Some(reason) = objection {
        return Sent::HeldBack(reason.as_str());
    }
    doubtful.insert(&order.id);
    let sent = tokio::select! {
        biased;
        answer = while_ours(&world, &gate, hand_over(&world, &order, &new_order)) => match answer {
            Some(Ok(venue)) => Sent::Answered(Box::new(venue)),
            Some(Err(error)) => Sent::Failed(error),
            None => Sent::CutOff,
        },
        () = lease_over(&world, &gate) => Sent::CutOff,
        _ = is_cut => Sent::CutOff,
        () = timeout => Sent::TimedOut,
    };
    let took = world.clock.boottime().saturating_sub(now);
    metrics::histogram!("tranche_submit_to_ack_seconds").record(took);
    // What was absent before this send stays doubtful until its outcome is written down.
    if sent.is_certain() && order.absent_at.is_none() {
        doubtful.remove(&order.id);
    }
    drop(ticket);
    sent
}
