//! What clients and operators can ask for, each a message, and where to send it.

use std::time::Duration;

use actix::{Addr, Message, Recipient};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::account::Account;
use crate::domain::audit::By;
use crate::domain::breaker::{BreakerState, ResetRefused};
use crate::domain::fault::FieldError;
use crate::domain::kill::{KillMode, KillState};
use crate::domain::ledger::{CancelCounts, NotReplaceable, Resolution};
use crate::domain::limits::{Changer, LimitBook, LimitChange, LimitScope, StopCode};
use crate::domain::liquidity::Volume;
use crate::domain::names::{Caller, IdempotencyKey, OrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::parent::{Parent, ParentStatus};
use crate::domain::portfolio::{CapitalMove, Portfolio};
use crate::domain::reconciliation::{Cause, CauseId};
use crate::domain::request::{ParentRequest, ReplaceRequest, SingleRequest};
use crate::domain::resuming::Resumes;
use crate::domain::status::OrderStatus;
use crate::gate::ShutReason;
use crate::supervisor::Supervisor;

/// Plans, stores and starts a parent.
///
/// Idempotent on the parent's id and on (caller, key): a repetition returns the parent as it now is.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<SubmittedParent, CommandError>")]
pub struct SubmitParent {
    /// What is asked.
    pub request: ParentRequest,
    /// Who asks.
    pub by: Caller,
    /// The client's `Idempotency-Key`.
    pub key: Option<IdempotencyKey>,
}

/// A parent that is durable.
#[derive(Clone, Debug)]
pub struct SubmittedParent {
    /// The same was submitted before.
    pub replayed: bool,
    /// The parent as it now is.
    pub parent: Parent,
    /// Its slices as they now are, by number.
    pub slices: Vec<Order>,
}

/// Stores and sends a single order; answers when the venue has, or after the configured wait.
///
/// Idempotent on the order's id and on (caller, key).
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<SubmittedOrder, CommandError>")]
pub struct SubmitOrder {
    /// What is asked.
    pub request: SingleRequest,
    /// Who asks.
    pub by: Caller,
    /// The client's `Idempotency-Key`.
    pub key: Option<IdempotencyKey>,
}

/// A single order that is durable.
#[derive(Clone, Debug)]
pub struct SubmittedOrder {
    /// The same was submitted before.
    pub replayed: bool,
    /// The order as it now is.
    pub order: Order,
}

/// Puts a new order in the place of a live one, at the venue; answers when the venue has, or after the configured wait.
///
/// Idempotent on (caller, key).
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<ReplacedOrder, CommandError>")]
pub struct ReplaceOrder {
    /// The live order.
    pub id: OrderId,
    /// What is asked.
    pub request: ReplaceRequest,
    /// Who asks.
    pub by: Caller,
    /// The client's `Idempotency-Key`.
    pub key: Option<IdempotencyKey>,
}

/// A replacement that is durable.
#[derive(Clone, Debug)]
pub struct ReplacedOrder {
    /// The same was asked before.
    pub replayed: bool,
    /// The order that is to take the place, as it now is.
    pub order: Order,
}

/// Cancels what is not done of a parent.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<CanceledParent, CommandError>")]
pub struct CancelParent {
    /// The parent.
    pub id: OrderId,
    /// Who asks.
    pub by: Caller,
}

/// A parent whose cancel is durable.
#[derive(Clone, Debug)]
pub struct CanceledParent {
    /// The parent as it now is.
    pub parent: Parent,
    /// What the cancel met.
    pub counts: CancelCounts,
}

/// Lets a parent go on that is held.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Parent, CommandError>")]
pub struct ResumeParent {
    /// The parent.
    pub id: OrderId,
    /// Who asks.
    pub by: By,
}

/// Cancels a single order or a slice; one that has ended stays as it is.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Order, CommandError>")]
pub struct CancelOrder {
    /// The order.
    pub id: OrderId,
    /// Who asks.
    pub by: By,
}

/// Settles an order that can't be resolved, by an operator's word.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Order, CommandError>")]
pub struct ResolveOrder {
    /// The order.
    pub id: OrderId,
    /// What the operator found out.
    pub resolution: Resolution,
    /// Who asks.
    pub by: By,
}

/// Clears a cause of quarantine: an operator has looked after it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<ClearedCause, CommandError>")]
pub struct ClearCause {
    /// The cause.
    pub cause: CauseId,
    /// Who, as given.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// The key, and the request.
    pub by: By,
}

/// A cause that is cleared.
#[derive(Clone, Debug)]
pub struct ClearedCause {
    /// The cause as it was before.
    pub cause: Cause,
    /// It was the symbol's last one: the symbol takes orders again.
    pub released: bool,
}

/// Compares the books with the broker's now; how that went is in [`Health`](crate::health::Health::comparison).
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct CompareNow;

/// Enters in the audit that somebody had the books compared: a comparison itself writes only what it finds anew.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct NoteCompared {
    /// The key, and the request.
    pub by: By,
    /// What he was answered.
    pub answer: Value,
}

/// What is known of a symbol's volume now, for a plan that is not stored.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Volume, CommandError>")]
pub struct ReadVolume(pub Symbol);

/// Pays in or takes out, and says what the account is worth after it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Portfolio, CommandError>")]
pub struct MoveCapital {
    /// What is asked.
    pub asked: CapitalMove,
    /// The key, and the request.
    pub by: By,
}

/// A kill switch that is released.
#[derive(Clone, Debug)]
pub struct Released {
    /// The switch of everything as it now is.
    pub state: KillState,
    /// What goes on, by account; `None` where that could not be read.
    pub resumes: Option<Vec<Resumes>>,
}

/// Releases the kill switch.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Released, CommandError>")]
pub struct Disengage {
    /// Who, as given.
    pub operator: String,
    /// What the operator says of it.
    pub notes: Option<String>,
    /// Which part of the trading, or all of it.
    pub scope: LimitScope,
    /// The key, and the request.
    pub by: By,
}

/// A breaker that tripped, or was tripped before.
#[derive(Clone, Debug)]
pub struct Tripped {
    /// The breaker as it now is.
    pub state: BreakerState,
    /// Where the trip is not durable yet: `database`, `redis`.
    pub not_durable: Vec<&'static str>,
}

/// Trips the circuit breaker; idempotent.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Tripped, CommandError>")]
pub struct Trip {
    /// Who, as given.
    pub operator: String,
    /// Why: `MANUAL`, another reason of the stack's, or free text.
    pub reason: String,
    /// Anything else.
    pub details: Option<Value>,
    /// The key, and the request.
    pub by: By,
}

/// Resets the circuit breaker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<BreakerState, CommandError>")]
pub struct Reset {
    /// Who, as given.
    pub operator: String,
    /// Why, in at least 20 characters.
    pub reason: String,
    /// The key, and the request.
    pub by: By,
}

/// Engages the kill switch. The gate is shut before this is even sent: see
/// [`KillSwitchHandle::engage`](crate::kill_switch::KillSwitchHandle::engage).
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<EngageAnswer, CommandError>")]
pub struct Engage {
    /// Who, as given.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Anything else.
    pub details: Option<Value>,
    /// Which part of the trading, or all of it.
    pub scope: LimitScope,
    /// How strict.
    pub mode: KillMode,
    /// How long to wait for sends in flight; the configured time if absent.
    pub settle: Option<Duration>,
    /// The key, and the request.
    pub by: By,
    /// The client's `Idempotency-Key`, with a hash of the request.
    pub key: Option<(IdempotencyKey, String)>,
}

impl Engage {
    /// The key of what closes positions: carried out again it would cost money again, so the ledger keeps it.
    pub(crate) fn closes_once(&self) -> Option<&(IdempotencyKey, String)> {
        self.key.as_ref().filter(|_| self.mode.flattens())
    }
}

/// What engaging came to. After this, no byte of an order is written but of those listed in `unknown` and, in mode `flatten`,
/// of those that close what is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngageAnswer {
    /// What is stopped by it.
    pub scope: LimitScope,
    /// The switch of that, as it now is.
    pub state: KillState,
    /// Names this engagement.
    pub engagement_id: String,
    /// Orders that may be live without an answer.
    pub unknown: Vec<OrderId>,
    /// How many open orders were asked to be cancelled.
    pub cancel_requested: u32,
    /// How many of these the venue confirmed in time.
    pub cancel_confirmed: u32,
    /// How many could not be asked yet; they are retried until confirmed.
    pub cancel_failed: u32,
    /// In mode `flatten` the first orders that close what is held; they are sent once their turn has come.
    pub flatten_orders: Vec<OrderId>,
    /// The instances that stopped.
    pub instances: Vec<InstanceOutcome>,
    /// Where the engagement is not durable yet: `database`, `redis`.
    pub not_durable: Vec<&'static str>,
    /// `all`, or `this_instance` where the database can't be read, or did not take it.
    pub covers: &'static str,
}

/// How an instance stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceOutcome {
    /// The instance.
    pub id: String,
    /// `confirmed` or `lapsed`.
    pub outcome: &'static str,
}

/// Why a command was not carried out. It changed nothing, but where it says so.
#[derive(Clone, Debug, Error)]
pub enum CommandError {
    /// Fields break rules.
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    /// The idempotency key named another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The same request was carried out before: the store has its answer.
    #[error("the request was carried out before")]
    Answered,
    /// The id names another order.
    #[error("the client order id was used for another order")]
    IdReused,
    /// No such order.
    #[error("no such order")]
    NotFound,
    /// The parent has ended.
    #[error("the parent has ended")]
    ParentTerminal,
    /// The parent is not held, so there is nothing to resume.
    #[error("the parent is {0}")]
    NotPaused(ParentStatus),
    /// The order has ended, or was never sent, so there is nothing to settle.
    #[error("an order in {0} can't be resolved")]
    NotResolvable(OrderStatus),
    /// It can't be replaced now, or not any more.
    #[error("the order can't be replaced: {0}")]
    NotReplaceable(NotReplaceable),
    /// Somebody else was faster, or the words don't fit what is known.
    #[error("{0}")]
    Conflict(String),
    /// The portfolio has changed since it was read.
    #[error("the portfolio is at version {found}, not {expected}")]
    PortfolioMoved {
        /// The version that was read.
        expected: u64,
        /// The version that was found.
        found: u64,
    },
    /// What was to be taken out is not there.
    #[error("the account's closed equity is {equity}")]
    BelowZero {
        /// Closed equity.
        equity: Decimal,
    },
    /// The switch is engaged already, at least as strictly.
    #[error("the kill switch is engaged already")]
    AlreadyEngaged(Box<KillState>),
    /// One operator's word is kept; another one has to say so too.
    #[error("a second operator has to disengage the kill switch too")]
    SecondOperator,
    /// There is nothing to disengage.
    #[error("the kill switch is not engaged")]
    NotEngaged,
    /// The reset was refused.
    #[error(transparent)]
    Reset(#[from] ResetRefused),
    /// The symbol takes no new entries.
    #[error("the symbol is quarantined")]
    Quarantined,
    /// A limit stands against it.
    #[error("{}: {detail}", code.as_str())]
    Limited {
        /// Which.
        code: StopCode,
        /// The same for a person.
        detail: String,
    },
    /// An operator has cleared it before.
    #[error("it was cleared before")]
    AlreadyCleared,
    /// The gate is shut.
    #[error("trading is halted: {0}")]
    Gate(ShutReason),
    /// A bound was reached; try again later.
    #[error("{what} is full")]
    Busy {
        /// Which bound.
        what: &'static str,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The store is down. Nothing was stored.
    #[error("the store is unavailable")]
    StoreUnavailable,
    /// The switchboard that other programs share can't be reached. Nothing was released.
    #[error("the shared switchboard is unavailable")]
    SwitchboardUnavailable,
    /// Whether it was stored is not known: repeat the request, which is idempotent.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
}

/// Where to send an account's commands.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Submits parents.
    pub submit_parent: Recipient<SubmitParent>,
    /// Submits single orders.
    pub submit_order: Recipient<SubmitOrder>,
    /// Replaces orders.
    pub replace_order: Recipient<ReplaceOrder>,
    /// Cancels parents.
    pub cancel_parent: Recipient<CancelParent>,
    /// Resumes parents.
    pub resume_parent: Recipient<ResumeParent>,
    /// Cancels orders.
    pub cancel_order: Recipient<CancelOrder>,
    /// Settles orders.
    pub resolve: Recipient<ResolveOrder>,
    /// Clears causes of quarantine.
    pub clear_cause: Recipient<ClearCause>,
    /// Compares the books.
    pub compare: Recipient<CompareNow>,
    /// Enters comparisons in the audit.
    pub note_compared: Recipient<NoteCompared>,
    /// Reads volumes.
    pub volume: Recipient<ReadVolume>,
    /// Moves capital.
    pub move_capital: Recipient<MoveCapital>,
}

impl Desk {
    pub(crate) fn of(account: &Addr<Account>) -> Self {
        Self {
            submit_parent: account.clone().recipient(),
            submit_order: account.clone().recipient(),
            replace_order: account.clone().recipient(),
            cancel_parent: account.clone().recipient(),
            resume_parent: account.clone().recipient(),
            cancel_order: account.clone().recipient(),
            resolve: account.clone().recipient(),
            clear_cause: account.clone().recipient(),
            compare: account.clone().recipient(),
            note_compared: account.clone().recipient(),
            volume: account.clone().recipient(),
            move_capital: account.clone().recipient(),
        }
    }
}

/// Changes limits and lockouts, all of it or nothing.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<ChangedLimits, CommandError>")]
pub struct ChangeLimits {
    /// What is to change, in order.
    pub changes: Vec<LimitChange>,
    /// Who asks.
    pub who: Changer,
}

/// Limits whose change is durable: it holds for every order that is claimed from now on, on every instance.
#[derive(Clone, Debug)]
pub struct ChangedLimits {
    /// As they were.
    pub before: LimitBook,
    /// As they are.
    pub after: LimitBook,
}

/// Where to send the commands of the switches, but for engaging the kill switch: that waits for no mailbox.
#[derive(Clone, Debug)]
pub struct SwitchDesk {
    /// Releases the kill switch.
    pub disengage: Recipient<Disengage>,
    /// Trips the breaker.
    pub trip: Recipient<Trip>,
    /// Resets the breaker.
    pub reset: Recipient<Reset>,
    /// Changes limits and lockouts.
    pub limits: Recipient<ChangeLimits>,
}

impl SwitchDesk {
    pub(crate) fn of(root: &Addr<Supervisor>) -> Self {
        Self {
            disengage: root.clone().recipient(),
            trip: root.clone().recipient(),
            reset: root.clone().recipient(),
            limits: root.clone().recipient(),
        }
    }
}
