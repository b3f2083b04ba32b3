//! What a venue says: its view of an order, its executions, its quotes.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::{Price, Qty};
use super::names::{BrokerOrderId, OrderId, Symbol};
use super::terms::{Instruction, Side};
use super::text::words;

words!(
    /// A venue's status of an order, in the venue's words; what we don't know is `other`.
    VenueStatus {
        /// Taken, and live.
        Accepted = "accepted",
        /// Partly traded, and live.
        PartiallyFilled = "partially_filled",
        /// A cancel is on its way.
        PendingCancel = "pending_cancel",
        /// A replacement is on its way.
        PendingReplace = "pending_replace",
        /// Wholly traded.
        Filled = "filled",
        /// Cancelled; what had traded stays.
        Canceled = "canceled",
        /// Its time in force ended.
        Expired = "expired",
        /// Refused after it was taken.
        Rejected = "rejected",
        /// Another order took its place.
        Replaced = "replaced",
        /// Any other word: not terminal, look again.
        Other = "other",
    }
);

impl VenueStatus {
    /// Whether the venue will do no more with the order.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Filled | Self::Canceled | Self::Expired | Self::Rejected | Self::Replaced => true,
            Self::Accepted | Self::PartiallyFilled | Self::PendingCancel | Self::PendingReplace | Self::Other => false,
        }
    }

    /// How far along its life this status is: a report of a lower rank than one already applied is stale.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::Accepted => 1,
            Self::PartiallyFilled => 2,
            Self::PendingCancel | Self::PendingReplace => 3,
            Self::Canceled | Self::Expired | Self::Rejected | Self::Replaced => 4,
            Self::Filled => 5,
        }
    }
}

/// An order as we send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The id that the venue takes once.
    pub client_order_id: OrderId,
    /// What to do.
    pub instruction: Instruction,
    /// How much of it.
    pub qty: Qty,
}

/// An order as the venue has it: the answer to a submission or a look-up, and the body of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueOrder {
    /// The venue's id.
    pub broker_order_id: BrokerOrderId,
    /// The id that it was sent under.
    pub client_order_id: OrderId,
    /// What it does.
    pub instruction: Instruction,
    /// How much of it.
    pub qty: Qty,
    /// Where it stands.
    pub status: VenueStatus,
    /// How much has traded in total.
    pub filled_qty: Decimal,
    /// The average price of what has traded.
    pub filled_avg_price: Option<Decimal>,
    /// Why it ended, where the venue says so.
    pub reason: Option<VenueWords>,
    /// The order whose place it took.
    pub replaces: Option<BrokerOrderId>,
    /// The order that took its place.
    pub replaced_by: Option<BrokerOrderId>,
    /// When the venue took it.
    pub submitted_at: DateTime<Utc>,
}

/// A refusal in the venue's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueWords {
    /// The venue's code.
    pub code: String,
    /// The venue's message.
    pub message: String,
}

/// One trade. It is known by (broker order id, cumulative quantity); its own id is an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The venue's id of the trade.
    pub execution_id: String,
    /// The order that traded.
    pub broker_order_id: BrokerOrderId,
    /// How much traded.
    pub qty: Qty,
    /// At which price.
    pub price: Price,
    /// How much of the order had traded after this.
    pub cum_qty: Decimal,
    /// What the venue charged, in the quote currency.
    pub fee: Decimal,
    /// When it traded.
    pub at: DateTime<Utc>,
}

/// What arrives on a venue's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VenueEvent {
    /// An order changed, perhaps by a trade.
    Order {
        /// The order after the change.
        order: Box<VenueOrder>,
        /// The trade, where there was one.
        execution: Option<Execution>,
    },
    /// The venue undid or corrected a trade of this order: look it up, its totals replace ours.
    Corrected {
        /// The order.
        client_order_id: OrderId,
    },
    /// Events may have been missed: compare everything.
    Gap,
}

/// A position as the venue holds it; short is negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenuePosition {
    /// What is held.
    pub symbol: Symbol,
    /// How much.
    pub qty: Decimal,
}

/// A position that no order of ours can close: of a kind that is not traded here, or in what can't be a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclosable {
    /// What is held, in the venue's own words.
    pub name: String,
    /// How much; short is negative.
    pub qty: Decimal,
}

/// All that the venue holds for the account. It is flat only where both are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VenueHoldings {
    /// What our orders can close.
    pub positions: Vec<VenuePosition>,
    /// What a person has to close at the venue.
    pub unclosable: Vec<Unclosable>,
}

/// What the venue says of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueAccount {
    /// The venue's word for its status, such as `ACTIVE`.
    pub status: String,
    /// The venue takes no orders of it.
    pub trading_blocked: bool,
    /// What it is worth, in its currency.
    pub equity: Decimal,
    /// How much of that is cash; negative is owed.
    pub cash: Decimal,
    /// For how much it may buy.
    pub buying_power: Decimal,
}

/// The venue's own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueClock {
    /// The time there.
    pub at: DateTime<Utc>,
    /// Whether the regular session is on.
    pub is_open: bool,
    /// When the next session opens.
    pub next_open: DateTime<Utc>,
    /// When this session closes, or the next one.
    pub next_close: DateTime<Utc>,
}

/// One trading day's regular session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueSession {
    /// The trading day, as the venue dates it.
    pub date: NaiveDate,
    /// When it opens.
    pub opens: DateTime<Utc>,
    /// When it closes.
    pub closes: DateTime<Utc>,
}

/// What a symbol did on one trading day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyBar {
    /// The trading day, as the venue dates it.
    pub date: NaiveDate,
    /// The last price.
    pub close: Decimal,
    /// How many units traded.
    pub volume: Decimal,
}

/// What the venue's last answer said of its rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many requests it still takes in the present window.
    pub remaining: u32,
    /// How long until the next window, from when this is asked.
    pub resets_in: Duration,
}

/// The best prices of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// What is quoted.
    pub symbol: Symbol,
    /// The best price that somebody pays.
    pub bid: Price,
    /// The best price that somebody takes.
    pub ask: Price,
    /// The last price traded, or the mid where none is known.
    pub last: Decimal,
    /// When.
    pub at: DateTime<Utc>,
}

impl Quote {
    /// Half-way between bid and ask.
    #[must_use]
    pub fn mid(&self) -> Decimal {
        (self.bid.get() + self.ask.get()) / Decimal::TWO
    }

    /// What an order of this side would pay or get at once.
    #[must_use]
    pub const fn touch(&self, side: Side) -> Price {
        match side {
            Side::Buy => self.ask,
            Side::Sell => self.bid,
        }
    }
}
