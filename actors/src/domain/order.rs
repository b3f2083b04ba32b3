//! Orders as the ledger keeps them: single orders and the slices of a parent.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::money::{Qty, average};
use super::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, StrategyId};
use super::status::{OrderStatus, Share};
use super::terms::Instruction;
use super::venue::{NewOrder, VenueOrder, VenueStatus};

/// Who asked for a parent or a single order, and how a repetition of the request is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who asked.
    pub caller: Caller,
    /// The client's `Idempotency-Key`, if it sent one.
    pub key: Option<IdempotencyKey>,
    /// A hash of what was asked.
    pub request_hash: String,
}

impl Origin {
    /// Caller and key, where there is a key.
    #[must_use]
    pub fn named(&self) -> Option<(Caller, IdempotencyKey)> {
        Some((self.caller.clone(), self.key.clone()?))
    }
}

/// A slice's place in its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceOf {
    /// The parent.
    pub parent: OrderId,
    /// The version of the plan that this slice belongs to.
    pub plan_version: u32,
    /// Its number; the first is 0.
    pub slice_num: u32,
    /// How many slices the plan has.
    pub total_slices: u32,
}

/// The order whose place another one is to take at the venue.
///
/// An order and all that were ever to take its place are a chain. It counts once: see [`Chain`](super::chain::Chain).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// The order itself.
    pub order: OrderId,
    /// The venue's id of it.
    pub broker_order_id: BrokerOrderId,
    /// The first order of the chain.
    pub first: OrderId,
    /// Which replacement in the chain this is, from 1.
    pub number: u32,
}

/// A child or a single order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The client order id, under which the venue takes it once.
    pub id: OrderId,
    /// The client's strategy, or the scheme's name of a slice.
    pub strategy_id: StrategyId,
    /// The account that trades.
    pub account: AccountName,
    /// What to do.
    pub instruction: Instruction,
    /// How much of it.
    pub qty: Qty,
    /// Its place in a parent; `None` for a single order.
    pub slice: Option<SliceOf>,
    /// The order whose place it is to take.
    pub replaces: Option<Replaces>,
    /// The last order that was to take its place.
    pub replaced_by: Option<OrderId>,
    /// When it is due.
    pub scheduled_time: DateTime<Utc>,
    /// Where it stands.
    pub status: OrderStatus,
    /// The venue's last word on it.
    pub venue_status: Option<VenueStatus>,
    /// The venue's id, once known.
    pub broker_order_id: Option<BrokerOrderId>,
    /// How often it was claimed.
    pub attempt: u32,
    /// How many sends certainly never left and used up a try.
    pub tries: u32,
    /// When it was last claimed.
    pub claimed_at: Option<DateTime<Utc>>,
    /// When the venue was found not to have it. Kept while it is claimed again: that is what it was claimed from.
    pub absent_at: Option<DateTime<Utc>>,
    /// When its cancel was asked for.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// The venue refused its id as a duplicate, so it can't be absent.
    pub at_venue: bool,
    /// When it was submitted, and then when it was last claimed, it reduced the position: the gate lets it pass where entries
    /// don't.
    pub reduces: bool,
    /// How much has traded, the orders before it in its chain included: its quantity is the whole.
    pub filled_qty: Decimal,
    /// What that cost: quantity times price, without fees.
    pub filled_cost: Decimal,
    /// Profit of what its trades closed, before fees.
    pub realised_pnl: Decimal,
    /// Why it is where it is: a stable code of ours or the venue's.
    pub reason_code: Option<String>,
    /// The same for a person.
    pub error_message: Option<String>,
    /// Who asked for it; `None` for a slice, whose parent knows. A replacement says it in any case.
    pub origin: Option<Origin>,
    /// When it became durable.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When the venue took it.
    pub submitted_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub terminal_at: Option<DateTime<Utc>>,
}

impl Order {
    /// An order that nothing has happened to yet, due at once.
    #[must_use]
    pub fn new(
        id: OrderId,
        instruction: &Instruction,
        qty: Qty,
        account: &AccountName,
        strategy_id: &StrategyId,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            strategy_id: strategy_id.clone(),
            account: account.clone(),
            instruction: instruction.clone(),
            qty,
            slice: None,
            replaces: None,
            replaced_by: None,
            scheduled_time: at,
            status: OrderStatus::PendingNew,
            venue_status: None,
            broker_order_id: None,
            attempt: 0,
            tries: 0,
            claimed_at: None,
            absent_at: None,
            cancel_requested_at: None,
            at_venue: false,
            reduces: false,
            filled_qty: Decimal::ZERO,
            filled_cost: Decimal::ZERO,
            realised_pnl: Decimal::ZERO,
            reason_code: None,
            error_message: None,
            origin: None,
            created_at: at,
            updated_at: at,
            submitted_at: None,
            terminal_at: None,
        }
    }

    /// The order as the venue is told of it.
    #[must_use]
    pub fn to_send(&self) -> NewOrder {
        NewOrder { client_order_id: self.id.clone(), instruction: self.instruction.clone(), qty: self.qty }
    }

    /// Whether the venue's order of this id is the one that we sent.
    #[must_use]
    pub fn is_what_we_sent(&self, venue: &VenueOrder) -> bool {
        let place = |replaces: &Replaces| venue.replaces.as_ref().is_none_or(|id| *id == replaces.broker_order_id);
        self.attempt > 0
            && self.instruction == venue.instruction
            && self.qty == venue.qty
            && self.replaces.as_ref().is_none_or(place)
    }

    /// The first order of its chain: itself, where it replaces none.
    #[must_use]
    pub fn chain(&self) -> &OrderId {
        self.replaces.as_ref().map_or(&self.id, |replaces| &replaces.first)
    }

    /// Its place in its chain: 0 for the first.
    #[must_use]
    pub fn place(&self) -> u32 {
        self.replaces.as_ref().map_or(0, |replaces| replaces.number)
    }

    /// Whether its chain has other orders.
    #[must_use]
    pub const fn is_chained(&self) -> bool {
        self.replaces.is_some() || self.replaced_by.is_some()
    }

    /// The average price of what has traded.
    #[must_use]
    pub fn filled_avg_price(&self) -> Option<Decimal> {
        average(self.filled_cost, self.filled_qty)
    }

    /// How much has not traded; never below zero, also where the venue overfilled.
    #[must_use]
    pub fn leaves(&self) -> Decimal {
        (self.qty.get() - self.filled_qty).max(Decimal::ZERO)
    }

    /// Whether a claim would find it ready: never sent, or sent and absent, and nobody asked for its cancel.
    #[must_use]
    pub const fn is_claimable(&self) -> bool {
        self.cancel_requested_at.is_none()
            && match self.status.share() {
                Share::Pending => true,
                Share::Unknown => matches!(self.status, OrderStatus::SubmittedUnconfirmed) && self.absent_at.is_some(),
                Share::Working | Share::Unexecuted => false,
            }
    }
}
