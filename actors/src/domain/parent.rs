//! Parent orders: the whole that slices add up to.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use super::chain::{self, Chain};
use super::fills::Filled;
use super::liquidity::Liquidity;
use super::money::{Qty, average};
use super::names::{AccountName, OrderId, StrategyId};
use super::order::{Order, Origin};
use super::plan::Schedule;
use super::policy::{CatchUp, Completion};
use super::status::{OrderStatus, Share};
use super::terms::Instruction;
use super::text::words;

words!(
    /// Where a parent stands.
    ParentStatus {
        /// Its start lies ahead.
        Pending = "pending",
        /// Its slices are being worked.
        Working = "working",
        /// It is held until a person resumes it.
        Paused = "paused",
        /// Its cancel was asked for, and the venue has not confirmed all of it.
        Canceling = "canceling",
        /// All of it traded.
        Completed = "completed",
        /// It ended with some quantity unexecuted.
        PartiallyCompleted = "partially_completed",
        /// Its cancel is confirmed.
        Canceled = "canceled",
        /// The venue refused every slice.
        Rejected = "rejected",
        /// Nothing traded, and every slice failed or was refused.
        Failed = "failed",
    }
);

impl ParentStatus {
    /// Whether nothing more is expected of the parent.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Working | Self::Paused | Self::Canceling => false,
            Self::Completed | Self::PartiallyCompleted | Self::Canceled | Self::Rejected | Self::Failed => true,
        }
    }

    /// Whether a slice of the parent may be claimed.
    #[must_use]
    pub const fn may_claim(self) -> bool {
        matches!(self, Self::Pending | Self::Working)
    }
}

words!(
    /// Why a parent is held.
    PauseReason {
        /// The ledger went back behind what was seen of it: it may not know of what was sent since.
        LedgerRewound = "ledger_rewound",
    }
);

impl PauseReason {
    /// The same for a person, with what to do.
    #[must_use]
    pub const fn explain(self) -> &'static str {
        match self {
            Self::LedgerRewound => {
                "the ledger was restored, or its database taken over, and may lack what came last: compare it with the \
                 broker's books, then resume the parent or cancel it"
            }
        }
    }
}

/// How far a parent is: the sums over its children, kept with every change of a child.
///
/// `filled + working + unknown + pending ≤ qty`, and at the end `filled + unexecuted = qty`; an overfill alone, where
/// the venue trades more than it was told, can break that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Traded.
    pub filled_qty: Decimal,
    /// What that cost, without fees.
    pub filled_cost: Decimal,
    /// Live at the venue.
    pub working_qty: Decimal,
    /// Perhaps live.
    pub unknown_qty: Decimal,
    /// Not sent yet.
    pub pending_qty: Decimal,
    /// Won't be executed.
    pub unexecuted_qty: Decimal,
    /// How many children have not ended.
    pub open: u32,
    /// How many the venue refused.
    pub rejected: u32,
    /// How many failed.
    pub failed: u32,
}

impl Progress {
    /// What one child adds, where nothing was ever to take its place.
    #[must_use]
    pub fn of(child: &Order) -> Self {
        let filled = Filled { qty: child.filled_qty, cost: child.filled_cost };
        Self::with(filled, child.status.share(), child.leaves(), child.status)
    }

    /// What a chain adds: it counts once.
    #[must_use]
    pub fn of_chain(chain: &Chain<'_>) -> Self {
        Self::with(chain.filled(), chain.share(), chain.leaves(), chain.outcome())
    }

    /// What all of these add, chain by chain.
    #[must_use]
    pub fn of_all<'a>(children: impl IntoIterator<Item = &'a Order>) -> Self {
        let chains = chain::chains(children);
        chains.iter().fold(Self::default(), |sum, chain| sum.moved(Self::default(), Self::of_chain(chain)))
    }

    fn with(filled: Filled, share: Share, leaves: Decimal, outcome: OrderStatus) -> Self {
        let mut progress = Self { filled_qty: filled.qty, filled_cost: filled.cost, ..Self::default() };
        match share {
            Share::Pending => progress.pending_qty = leaves,
            Share::Unknown => progress.unknown_qty = leaves,
            Share::Working => progress.working_qty = leaves,
            Share::Unexecuted => progress.unexecuted_qty = leaves,
        }
        progress.open = u32::from(share != Share::Unexecuted);
        progress.rejected = u32::from(outcome == OrderStatus::Rejected);
        progress.failed = u32::from(outcome == OrderStatus::Failed);
        progress
    }

    /// The sum after one child changed.
    #[must_use]
    pub fn moved(self, before: Self, after: Self) -> Self {
        Self {
            filled_qty: self.filled_qty - before.filled_qty + after.filled_qty,
            filled_cost: self.filled_cost - before.filled_cost + after.filled_cost,
            working_qty: self.working_qty - before.working_qty + after.working_qty,
            unknown_qty: self.unknown_qty - before.unknown_qty + after.unknown_qty,
            pending_qty: self.pending_qty - before.pending_qty + after.pending_qty,
            unexecuted_qty: self.unexecuted_qty - before.unexecuted_qty + after.unexecuted_qty,
            open: (self.open + after.open).saturating_sub(before.open),
            rejected: (self.rejected + after.rejected).saturating_sub(before.rejected),
            failed: (self.failed + after.failed).saturating_sub(before.failed),
        }
    }

    /// The average price of what has traded.
    #[must_use]
    pub fn filled_avg_price(&self) -> Option<Decimal> {
        average(self.filled_cost, self.filled_qty)
    }
}

/// The market's average while a parent was worked: the mid price over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Benchmark {
    /// Mid price times seconds.
    pub area: Decimal,
    /// Seconds.
    pub seconds: Decimal,
}

impl Benchmark {
    /// The time-weighted average of the mid price so far.
    #[must_use]
    pub fn interval_twap(&self) -> Option<Decimal> {
        average(self.area, self.seconds)
    }
}

/// A parent order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its client order id.
    pub id: OrderId,
    /// The client's strategy.
    pub strategy_id: StrategyId,
    /// The account that trades.
    pub account: AccountName,
    /// What every slice does.
    pub instruction: Instruction,
    /// The whole quantity.
    pub qty: Qty,
    /// The schedule as requested.
    pub schedule: Schedule,
    /// The interval that the plan came to, in seconds.
    pub interval_seconds: u32,
    /// How many slices the plan has.
    pub total_slices: u32,
    /// When the first slice is due.
    pub start_at: DateTime<Utc>,
    /// When the schedule ends.
    pub end_at: DateTime<Utc>,
    /// The trading date of its id, and of its slices' ids.
    pub trade_date: NaiveDate,
    /// What happens to missed quantity.
    pub catch_up: CatchUp,
    /// What happens to slices still open at the end.
    pub completion: Completion,
    /// Grows with every change of the plan.
    pub plan_version: u32,
    /// Where it stands.
    pub status: ParentStatus,
    /// When its cancel was asked for.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Why it is held, until somebody resumes it.
    pub paused: Option<PauseReason>,
    /// How far it is.
    pub progress: Progress,
    /// The limit by volume that its plan kept to.
    pub liquidity: Option<Box<Liquidity>>,
    /// The market's mid price when it was accepted.
    pub arrival_price: Option<Decimal>,
    /// The market while it was worked.
    pub benchmark: Benchmark,
    /// What a person should know about the plan.
    pub warnings: Vec<String>,
    /// Who asked for it.
    pub origin: Origin,
    /// When it became durable.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Parent {
    /// The status that follows from the children, the operator's word and the time.
    #[must_use]
    pub fn derive_status(&self, at: DateTime<Utc>) -> ParentStatus {
        let progress = &self.progress;
        let canceling = self.cancel_requested_at.is_some();
        if progress.open > 0 {
            return match (canceling, self.paused, at < self.start_at) {
                (true, ..) => ParentStatus::Canceling,
                (false, Some(_), _) => ParentStatus::Paused,
                (false, None, true) => ParentStatus::Pending,
                (false, None, false) => ParentStatus::Working,
            };
        }
        if progress.filled_qty >= self.qty.get() {
            ParentStatus::Completed
        } else if canceling {
            ParentStatus::Canceled
        } else if !progress.filled_qty.is_zero() || progress.rejected + progress.failed < self.total_slices {
            ParentStatus::PartiallyCompleted
        } else if progress.failed == 0 {
            ParentStatus::Rejected
        } else {
            ParentStatus::Failed
        }
    }

    /// Why it is held now, if it is.
    #[must_use]
    pub fn held_for(&self) -> Option<PauseReason> {
        self.paused.filter(|_| self.status == ParentStatus::Paused)
    }

    /// Whether the sums add up; an overfill is the one excuse, and is alerted where it happens.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let p = &self.progress;
        let accounted = p.filled_qty + p.working_qty + p.unknown_qty + p.pending_qty;
        let overfilled = p.filled_qty > self.qty.get();
        let nothing_negative = [p.filled_qty, p.working_qty, p.unknown_qty, p.pending_qty, p.unexecuted_qty]
            .iter()
            .all(|qty| *qty >= Decimal::ZERO);
        overfilled || (nothing_negative && accounted + p.unexecuted_qty == self.qty.get())
    }
}
