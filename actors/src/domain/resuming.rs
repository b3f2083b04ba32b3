//! What goes on once a stop is over.

use serde::{Deserialize, Serialize};

use super::limits::Subject;
use super::names::{AccountName, OrderId};
use super::parent::Parent;

/// No more parents are named than this.
const MOST_NAMED: usize = 50;

/// What of an account goes on, as far as the kill switch had it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumes {
    /// The account.
    pub account: AccountName,
    /// How many parents have slices left.
    pub parents: usize,
    /// How many slices of theirs have not ended.
    pub slices: u64,
    /// The parents, the first of them where they are many.
    pub parent_order_ids: Vec<OrderId>,
}

impl Resumes {
    /// What goes on of an account, of all its parents that have not ended: those that nothing else holds. `None` where
    /// nothing does.
    #[must_use]
    pub fn of(account: &AccountName, parents: &[Parent], goes_on: impl Fn(Subject<'_>) -> bool) -> Option<Self> {
        let resumes = parents.iter().filter(|parent| {
            let (strategy, symbol) = (&parent.strategy_id, &parent.instruction.symbol);
            parent.status.may_claim()
                && !parent.progress.pending_qty.is_zero()
                && goes_on(Subject { account, strategy, symbol })
        });
        let resumes = resumes.collect::<Vec<_>>();
        let slices = resumes.iter().map(|parent| u64::from(parent.progress.open)).sum();
        let ids = resumes.iter().take(MOST_NAMED).map(|parent| parent.id.clone());
        let (parents, parent_order_ids) = (resumes.len(), ids.collect());
        (parents > 0).then(|| Self { account: account.clone(), parents, slices, parent_order_ids })
    }
}
