//! What clients and operators ask of a house in a simulation, and what they are told.

use std::fmt;

use tranche_actors::commands::{
    CancelOrder, CancelParent, CanceledParent, ChangeLimits, ChangedLimits, CommandError, Disengage, Engage,
    EngageAnswer, ReplaceOrder, ReplacedOrder, Reset, SubmitOrder, SubmitParent, SubmittedOrder, SubmittedParent, Trip,
};
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::limits::LimitChange;
use tranche_actors::domain::order::Order;
use tranche_actors::supervisor::House;

/// A request.
#[derive(Clone, Debug)]
pub enum Request {
    /// Works a parent.
    Parent(Box<SubmitParent>),
    /// Sends a single order.
    Single(Box<SubmitOrder>),
    /// Puts another order in the place of an open one.
    Replace(Box<ReplaceOrder>),
    /// Cancels a parent.
    CancelParent(CancelParent),
    /// Cancels a single order or a slice.
    CancelOrder(CancelOrder),
    /// Engages the kill switch.
    Engage(Engage),
    /// Releases it.
    Disengage(Disengage),
    /// Trips the breaker.
    Trip(Trip),
    /// Resets it.
    Reset(Reset),
    /// Changes limits, or locks and unlocks.
    Limits(ChangeLimits),
}

/// What came back.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The parent is durable.
    Parent(Box<SubmittedParent>),
    /// The single order is durable.
    Single(Box<SubmittedOrder>),
    /// The order that is to take the place of another one is durable.
    Replaced(Box<ReplacedOrder>),
    /// The parent's cancel is durable.
    CanceledParent(Box<CanceledParent>),
    /// The order's cancel is durable.
    CanceledOrder(Box<Order>),
    /// Trading is stopped.
    Engaged(Box<EngageAnswer>),
    /// Trading may go on.
    Disengaged(Box<KillState>),
    /// The breaker is as it was asked to be.
    Breaker(Box<BreakerState>),
    /// The limits are changed.
    Limits(Box<ChangedLimits>),
    /// It was refused, or its outcome is unknown.
    Refused(CommandError),
    /// Nobody answered: the process died, or the actor did.
    Silence,
}

impl Request {
    /// Sends it and waits for the reply.
    pub async fn send(self, house: &House) -> Reply {
        let (desk, switches) = (&house.accounts.first().desk, &house.switches);
        match self {
            Self::Parent(submit) => reply(desk.submit_parent.send(*submit).await, |it| Reply::Parent(Box::new(it))),
            Self::Single(submit) => reply(desk.submit_order.send(*submit).await, |it| Reply::Single(Box::new(it))),
            Self::Replace(replace) => {
                reply(desk.replace_order.send(*replace).await, |it| Reply::Replaced(Box::new(it)))
            }
            Self::CancelParent(cancel) => {
                reply(desk.cancel_parent.send(cancel).await, |it| Reply::CanceledParent(Box::new(it)))
            }
            Self::CancelOrder(cancel) => {
                reply(desk.cancel_order.send(cancel).await, |it| Reply::CanceledOrder(Box::new(it)))
            }
            Self::Engage(engage) => {
                reply(Ok::<_, ()>(house.kill_switch.engage(engage).await), |it| Reply::Engaged(Box::new(it)))
            }
            Self::Disengage(release) => {
                reply(switches.disengage.send(release).await, |it| Reply::Disengaged(Box::new(it.state)))
            }
            Self::Trip(trip) => reply(switches.trip.send(trip).await, |it| Reply::Breaker(Box::new(it.state))),
            Self::Reset(reset) => reply(switches.reset.send(reset).await, |it| Reply::Breaker(Box::new(it))),
            Self::Limits(change) => reply(switches.limits.send(change).await, |it| Reply::Limits(Box::new(it))),
        }
    }
}

fn reply<T, E>(answer: Result<Result<T, CommandError>, E>, wrap: impl FnOnce(T) -> Reply) -> Reply {
    match answer {
        Ok(Ok(answer)) => wrap(answer),
        Ok(Err(error)) => Reply::Refused(error),
        Err(_) => Reply::Silence,
    }
}

fn write_change(change: &LimitChange, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match change {
        LimitChange::Set(key, value) => write!(f, "limit {key} to {value}"),
        LimitChange::Remove(key) => write!(f, "no limit {key}"),
        LimitChange::Override { key, value, until, .. } => write!(f, "override {key} with {value} until {until}"),
        LimitChange::Lock(key, lockout) => write!(f, "lock {key}, {}", lockout.kind),
        LimitChange::Unlock(key) => write!(f, "unlock {key}"),
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent(submit) => {
                let (order, schedule) = (&submit.request.instruction, &submit.request.schedule);
                let qty = submit.request.qty;
                write!(f, "parent {} {} {} every {} s", order.side, qty.get(), order.symbol, schedule.interval_seconds)
            }
            Self::Single(submit) => {
                let order = &submit.request.instruction;
                write!(f, "order {} {} {}", order.side, submit.request.qty.get(), order.symbol)
            }
            Self::Replace(replace) => write!(f, "replace {}", replace.id),
            Self::CancelParent(cancel) => write!(f, "cancel parent {}", cancel.id),
            Self::CancelOrder(cancel) => write!(f, "cancel order {}", cancel.id),
            Self::Engage(engage) => write!(f, "engage {} in mode {}", engage.scope, engage.mode),
            Self::Disengage(release) => write!(f, "disengage {}", release.scope),
            Self::Trip(_) => write!(f, "trip"),
            Self::Reset(_) => write!(f, "reset"),
            Self::Limits(change) => change.changes.iter().try_for_each(|change| write_change(change, f)),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent(it) => write!(f, "parent {} {}", it.parent.id, it.parent.status),
            Self::Single(it) => write!(f, "order {} {}", it.order.id, it.order.status),
            Self::Replaced(it) => write!(f, "order {} {}", it.order.id, it.order.status),
            Self::CanceledParent(it) => write!(f, "parent {} {}", it.parent.id, it.parent.status),
            Self::CanceledOrder(it) => write!(f, "order {} {}", it.id, it.status),
            Self::Engaged(it) => {
                write!(f, "engaged, {} unknown, not durable in {:?}", it.unknown.len(), it.not_durable)
            }
            Self::Disengaged(_) => write!(f, "disengaged"),
            Self::Breaker(state) => write!(f, "breaker {:?}", state.state),
            Self::Limits(it) => write!(f, "limits {}", it.after.revision),
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::Silence => write!(f, "no answer"),
        }
    }
}
