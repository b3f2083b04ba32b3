//! The ledger's rules: what each write demands, what it changes, and which event it leaves.
//!
//! A store loads what a batch of writes speaks of into [`Books`], applies the writes one after the other, and saves
//! [`Books::changes`], all in one transaction under the account's row. So a guard is the same line of code on every
//! store, and a refused write changes nothing and disturbs no other.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::audit::{AuditEntry, Request};
use super::breaker::BreakerState;
use super::halts::Halts;
use super::kill::KillState;
use super::limits::LimitBook;
use super::money::Qty;
use super::names::{BrokerOrderId, Caller, OrderId, Symbol};
use super::order::{Order, Origin};
use super::parent::{Benchmark, Parent, ParentStatus, PauseReason};
use super::portfolio::{CapitalMove, Portfolio};
use super::position::Position;
use super::reconciliation::{CauseId, CauseKind};
use super::status::{IllegalTransition, OperatorEnd, OrderStatus, OwnEnd};
use super::terms::Terms;
use super::text::words;
use super::venue::{Execution, VenueOrder, VenueWords};

pub use books::{Books, CIRCUIT_BREAKER, Changes, FIRST_START, HALTS, KILL_SWITCH, LIMITS};
pub use keys::Keys;

mod books;
mod cancels;
mod children;
mod findings;
mod flattening;
mod keys;
mod pausing;
mod replacing;
mod reports;
mod requests;
mod submissions;
mod trading;

/// One thing to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A parent with its plan, or a single order.
    Submit(Box<Submission>),
    /// Another order is to take the place of a live one.
    Replace(Box<Replacement>),
    /// An order is about to be sent.
    Claim {
        /// The order.
        id: OrderId,
        /// The plan version that the sender holds; `None` for a single order.
        plan_version: Option<u32>,
        /// It reduces the position, whatever else is on its way.
        reduces: bool,
        /// The revision of the limits that it was checked against: it has to be the one that holds.
        limits: u64,
    },
    /// An order that closes a position is about to be sent, for an engagement of the kill switch in mode `flatten` that has to
    /// be in force: taken, where it is new, and claimed in one. Nothing else claims such an order.
    Flatten {
        /// The order, as it was drawn up first.
        order: Box<Order>,
        /// The engagement.
        engagement: String,
        /// The one before it, which has to have ended.
        before: Option<OrderId>,
    },
    /// A send certainly never left.
    NeverLeft {
        /// The order.
        id: OrderId,
        /// The attempt that this is about.
        attempt: u32,
        /// Why, as a stable code.
        reason: &'static str,
        /// The same for a person.
        detail: String,
        /// Whether it used up a try, and how many there are.
        tries: Option<u32>,
    },
    /// A send may have left, and no answer came.
    OutcomeUnknown {
        /// The order.
        id: OrderId,
        /// The attempt that this is about.
        attempt: u32,
        /// What failed.
        detail: String,
        /// The venue refused the id as a duplicate: it is there.
        at_venue: bool,
    },
    /// The venue refused a submission.
    Refused {
        /// The order.
        id: OrderId,
        /// The attempt that this is about.
        attempt: u32,
        /// The venue's words.
        words: VenueWords,
    },
    /// The venue said where an order stands.
    Report(Box<Report>),
    /// The id of an unconfirmed order was not found at the venue, often and long enough.
    Absent {
        /// The order.
        id: OrderId,
        /// The attempt that this is about.
        attempt: u32,
    },
    /// We end an order: never sent, or absent and given up.
    End {
        /// The order.
        id: OrderId,
        /// How.
        end: OwnEnd,
        /// Why, as a stable code.
        reason: &'static str,
        /// The same for a person.
        detail: String,
    },
    /// An order that is due waits for what passes by itself.
    Hold {
        /// The order.
        id: OrderId,
        /// For what, as a stable code.
        reason: &'static str,
        /// The same for a person.
        detail: String,
    },
    /// Somebody wants a parent's end.
    CancelParent {
        /// The parent.
        id: OrderId,
        /// Who.
        by: Caller,
    },
    /// A parent is held until somebody resumes it. Where the books may be behind the truth, its slices whose time has
    /// passed are put in doubt with it.
    Pause {
        /// The parent.
        id: OrderId,
        /// Why.
        reason: PauseReason,
    },
    /// The books may be behind the truth: a single order that waits may have been sent, if its time has passed.
    Doubt {
        /// The order.
        id: OrderId,
    },
    /// Somebody lets a parent go on that is held.
    ResumeParent {
        /// The parent.
        id: OrderId,
        /// Who.
        by: Caller,
    },
    /// Somebody wants the end of a single order or a slice.
    CancelOrder {
        /// The order.
        id: OrderId,
        /// Who.
        by: Caller,
    },
    /// The kill switch wants the end of these: all that may be live get the mark of a cancel.
    MarkCancels {
        /// The orders; those that have ended, or were never sent, stay as they are.
        ids: Vec<OrderId>,
    },
    /// A parent's schedule is over, and its completion is `cancel`: open limit and stop slices get the mark.
    ScheduleEnded {
        /// The parent.
        id: OrderId,
    },
    /// The venue took our request to cancel.
    CancelTaken {
        /// The order.
        id: OrderId,
    },
    /// The venue refused our request to cancel, and the order lives on.
    CancelRefused {
        /// The order.
        id: OrderId,
    },
    /// An operator settles an order that can't be resolved.
    Resolve {
        /// The order.
        id: OrderId,
        /// What the operator found out.
        resolution: Resolution,
        /// Who.
        by: Caller,
    },
    /// How the market was while a parent was worked; absolute sums.
    Benchmark {
        /// The parent.
        id: OrderId,
        /// The sums so far.
        benchmark: Benchmark,
    },
    /// No new entries in a symbol until an operator clears every cause of it. One that is known already, cleared or not,
    /// changes nothing.
    Quarantine {
        /// What the cause is known by.
        cause: CauseId,
        /// Why.
        kind: CauseKind,
        /// The symbol.
        symbol: Symbol,
        /// The order at the venue that caused it.
        broker_order_id: Option<BrokerOrderId>,
        /// What was found.
        found: Value,
    },
    /// An operator has looked after a cause of quarantine; the symbol's last one ends it.
    ClearCause {
        /// The cause.
        cause: CauseId,
        /// Who, as given.
        operator: String,
        /// Why.
        reason: String,
        /// The name of the key.
        by: Caller,
    },
    /// Our books and the broker's differ about a position.
    PositionDiffers {
        /// The symbol.
        symbol: Symbol,
        /// What we hold by our books.
        ours: Decimal,
        /// What the broker says.
        theirs: Decimal,
    },
    /// Somebody pays in or takes out.
    Capital(Box<CapitalMove>),
    /// A trading day has begun, with this profit of what is open; only the first one that says so is kept.
    OpenDay {
        /// The day.
        day: NaiveDate,
        /// The profit of what is open, at the prices known now.
        unrealised: Decimal,
    },
    /// The kill switch has a new state. It follows the stored one: its revision is the next, or else the switch has moved
    /// meanwhile and whoever writes has to look again. A state that is stored already is taken once more, and changes
    /// nothing.
    Kill {
        /// The state.
        state: Box<KillState>,
        /// What happened, for the history.
        entry: SwitchEntry,
    },
    /// Something that belongs in the kill switch's history and leaves it as it is.
    Noted(SwitchEntry),
    /// The circuit breaker has a new state, by the same rule.
    Breaker {
        /// The state.
        state: Box<BreakerState>,
        /// What happened, for the history.
        entry: SwitchEntry,
    },
    /// Which parts are stopped, from now on. As with a switch, their revision follows the stored one.
    Halts {
        /// All of them.
        halts: Box<Halts>,
        /// What happened, for the history of the kill switch.
        entry: SwitchEntry,
    },
    /// The limits are these from now on. As with a switch, their revision follows the stored one.
    Limits {
        /// All of them.
        book: Box<LimitBook>,
        /// What of it has changed, for the audit: whoever writes limits has seen those before.
        audit: Vec<AuditEntry>,
    },
    /// The first start on an empty database is over; only the first one that says so is kept.
    FirstStart(FirstStart),
    /// What a person asked for. With its effect, and only with it, the audit gets an entry that says how things were before
    /// and are now: one row more in the same transaction.
    Requested {
        /// Who asks for what.
        request: Box<Request>,
        /// What is asked.
        write: Box<Write>,
    },
    /// An entry of the audit alone, of what is written elsewhere.
    Audit(Box<AuditEntry>),
    /// Nothing: does the store commit?
    Probe,
}

/// A parent with its slices, or a single order; the ids are made, the plan is drawn. Each order says whether it reduces the
/// position as things stand now: a symbol in quarantine takes nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission {
    /// A parent and all its slices.
    Parent {
        /// The parent.
        parent: Parent,
        /// Its slices in the order of their numbers.
        slices: Vec<Order>,
    },
    /// A single order.
    Single(Order),
}

/// What is to take the place of a live order. The rest stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The live order.
    pub order: OrderId,
    /// The new quantity: the whole, what has traded included.
    pub qty: Qty,
    /// The new prices, of the same type.
    pub terms: Terms,
    /// It can only reduce the position, whatever else is on its way: a symbol in quarantine takes nothing else.
    pub reduces: bool,
    /// Who asks.
    pub origin: Origin,
}

/// A venue's view of one of our orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The order as the venue has it.
    pub order: VenueOrder,
    /// The trades that came with it, if any.
    pub executions: Vec<Execution>,
    /// The venue undid or corrected a trade: its totals replace ours, also downwards.
    pub corrects: bool,
}

/// What an operator found out about an order that can't be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// How it ended.
    pub end: OperatorEnd,
    /// How much traded, where it did.
    pub filled_qty: Option<Decimal>,
    /// At which average price.
    pub filled_avg_price: Option<Decimal>,
    /// Why this is known.
    pub reason: String,
}

/// That the first start on an empty database is over: from then on nobody makes up a switch that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstStart {
    /// When.
    pub at: DateTime<Utc>,
    /// The instance.
    pub by: String,
    /// The keys of the shared switchboard that it created.
    pub created: Vec<String>,
}

/// One entry of a switch's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchEntry {
    /// `ENGAGED`, `DISENGAGED`, `TRIPPED`, `RESET`, …
    pub event: String,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// Who, as given.
    pub operator: String,
    /// Why, or the notes.
    pub reason: Option<String>,
    /// Anything else.
    pub details: Option<Value>,
}

words!(
    /// What happened, as the ledger's events name it.
    EventKind {
        Submitted = "submitted",
        Claimed = "claimed",
        NeverLeft = "never_left",
        OutcomeUnknown = "outcome_unknown",
        Refused = "refused",
        Reported = "reported",
        Filled = "filled",
        Absent = "absent",
        Ended = "ended",
        Held = "held",
        Paused = "paused",
        Doubted = "doubted",
        Resumed = "resumed",
        CancelRequested = "cancel_requested",
        CancelTaken = "cancel_taken",
        CancelRefused = "cancel_refused",
        ReplaceRequested = "replace_requested",
        ReplaceEnded = "replace_ended",
        ScheduleEnded = "schedule_ended",
        Resolved = "resolved",
        Quarantined = "quarantined",
        QuarantineCleared = "quarantine_cleared",
        PositionDiffers = "position_differs",
        Capital = "capital",
        KillSwitch = "kill_switch",
        CircuitBreaker = "circuit_breaker",
    }
);

/// One thing that happened, before the ledger gives it its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The order or parent that it happened to, if it happened to one.
    pub order: Option<OrderId>,
    /// What.
    pub kind: EventKind,
    /// The status before, if it was about one.
    pub old_status: Option<&'static str>,
    /// The status after.
    pub new_status: Option<&'static str>,
    /// What else there is to know.
    pub data: Value,
    /// Who caused it: a caller, or `gateway`.
    pub actor: String,
}

impl Write {
    /// The same, as a person asked for it.
    #[must_use]
    pub fn requested(self, request: Option<Request>) -> Self {
        match request {
            Some(request) => Self::Requested { request: Box::new(request), write: Box::new(self) },
            None => self,
        }
    }

    /// The order or the parent that has to be there for it. A submission has none, and marks pass over what they don't find.
    pub(super) fn subject(&self) -> Option<&OrderId> {
        match self {
            Self::Replace(replacement) => Some(&replacement.order),
            Self::Report(report) => Some(&report.order.client_order_id),
            Self::Claim { id, .. }
            | Self::NeverLeft { id, .. }
            | Self::OutcomeUnknown { id, .. }
            | Self::Refused { id, .. }
            | Self::Absent { id, .. }
            | Self::End { id, .. }
            | Self::Hold { id, .. }
            | Self::Pause { id, .. }
            | Self::Doubt { id }
            | Self::ResumeParent { id, .. }
            | Self::CancelOrder { id, .. }
            | Self::CancelTaken { id }
            | Self::CancelRefused { id }
            | Self::Resolve { id, .. }
            | Self::CancelParent { id, .. }
            | Self::ScheduleEnded { id }
            | Self::Benchmark { id, .. } => Some(id),
            Self::Requested { write, .. } => write.subject(),
            Self::Submit(_)
            | Self::Flatten { .. }
            | Self::MarkCancels { .. }
            | Self::Quarantine { .. }
            | Self::ClearCause { .. }
            | Self::PositionDiffers { .. }
            | Self::Capital(_)
            | Self::OpenDay { .. }
            | Self::Kill { .. }
            | Self::Halts { .. }
            | Self::Breaker { .. }
            | Self::Limits { .. }
            | Self::FirstStart(_)
            | Self::Noted(_)
            | Self::Audit(_)
            | Self::Probe => None,
        }
    }
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What happened.
    pub outcome: Outcome,
    /// The orders that changed, as they are now: first the one that the write is about, behind it others of its chain.
    pub orders: Vec<Order>,
    /// The parents that changed, as they are now.
    pub parents: Vec<Parent>,
    /// The positions that changed, as they are now.
    pub positions: Vec<(Symbol, Position)>,
}

impl Applied {
    /// The order of that id, if it changed.
    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<&Order> {
        self.orders.iter().find(|order| order.id == *id)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write took effect.
    Done,
    /// It was so already; nothing changed.
    Unchanged,
    /// The same submission was taken before; nothing changed. It is the order or parent that `Applied` holds.
    Replayed,
    /// A parent's cancel was taken.
    Canceling(CancelCounts),
    /// A parent that was held goes on.
    Resumed,
    /// Capital was moved; what the account is worth now.
    Booked(Portfolio),
    /// A cause of quarantine was cleared.
    Cleared {
        /// It was the symbol's last one: the symbol takes orders again.
        released: bool,
    },
}

/// What a parent's cancel met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelCounts {
    /// Ended at once.
    pub pending_canceled: u32,
    /// Live at the venue: their cancel was asked for.
    pub open_cancel_requested: u32,
    /// Had ended before.
    pub already_terminal: u32,
    /// Claimed and not answered, or of unknown outcome: cancelled as soon as they are found.
    pub in_flight: u32,
}

/// Why an order can't be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotReplaceable {
    /// It has ended.
    #[error("it is {0}")]
    Ended(OrderStatus),
    /// The venue doesn't have it yet, or whether it has is not known.
    #[error("the broker has not taken it yet: it is {0}")]
    NotLive(OrderStatus),
    /// It is being replaced, or cancelled.
    #[error("another change of it is under way: it is {0}")]
    Changing(OrderStatus),
    /// No more replacements in this chain.
    #[error("it was replaced {MAX_REPLACEMENTS} times: cancel it, and send a new order")]
    TooOften,
}

/// Most orders that may be meant to take the place of one, one after the other.
pub const MAX_REPLACEMENTS: u32 = 500;

/// Why a write took no effect. It changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No such order, or no such parent.
    #[error("no such order")]
    NotFound,
    /// What the write builds on is no longer so: somebody else was faster.
    #[error("the order moved on: {0}")]
    GuardLost(&'static str),
    /// It can't be replaced, or not so.
    #[error("the order can't be replaced: {0}")]
    NotReplaceable(NotReplaceable),
    /// The status can't take it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The parent has ended.
    #[error("the parent has ended")]
    ParentTerminal,
    /// The parent is not held.
    #[error("the parent is {0}")]
    NotPaused(ParentStatus),
    /// The order has ended, or was never sent.
    #[error("the order is {0}")]
    NotResolvable(OrderStatus),
    /// What an operator says of an order doesn't fit it.
    #[error("filled_qty {0}")]
    Unfitting(&'static str),
    /// The new quantity doesn't fit what has traded.
    #[error("qty {0}")]
    UnfittingQty(&'static str),
    /// The idempotency key named another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The same request was carried out before: its answer is kept.
    #[error("the request was carried out before")]
    Answered,
    /// The id names another order.
    #[error("the client order id was used for another order")]
    IdReused,
    /// The symbol takes no new entries until an operator clears it.
    #[error("the symbol is quarantined")]
    Quarantined,
    /// An operator has cleared it before.
    #[error("it was cleared before")]
    AlreadyCleared,
    /// The portfolio has moved since it was read: look again.
    #[error("the portfolio is at version {found}, not {expected}")]
    PortfolioMoved {
        /// The version that was read.
        expected: u64,
        /// The version that was found.
        found: u64,
    },
    /// What is to be taken out is not there.
    #[error("the account's closed equity is {equity}")]
    BelowZero {
        /// Closed equity.
        equity: Decimal,
    },
    /// The switch has moved since it was read: look again.
    #[error("the switch was changed by another instance meanwhile")]
    SwitchMoved,
    /// The limits have changed since they were read: look again.
    #[error("the limits were changed meanwhile")]
    LimitsMoved,
    /// The venue's order of our id is not what we sent.
    #[error("the venue's order of this id is not what was sent")]
    NotOurs,
    /// The store refused it.
    #[error("the store refused it: {0}")]
    Constraint(String),
}
