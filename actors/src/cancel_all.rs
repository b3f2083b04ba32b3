//! The order to cancel everything: from the kill switch and the breaker to the broker, whoever works for the account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix::Message;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::budget::{Budget, Lane};
use crate::domain::ids::is_flatten;
use crate::domain::limits::LimitScope;
use crate::domain::names::{AccountName, BrokerOrderId, OrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::status::Share;
use crate::domain::venue::VenueOrder;
use crate::ports::store::{AnyOrder, Store};
use crate::ports::{CancelError, Venue};

pub(crate) use everywhere::{Everywhere, Reach};

mod everywhere;

/// How much the clocks of instances may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(1);

/// How long the store is asked what the books know.
const LOOK: Duration = Duration::from_millis(500);

/// Cancels everything that is open, or all of a part, from the venue's own list, so that it works without the store; what is
/// ours gets the mark too, and is retried until confirmed. Which orders are of a strategy our books alone know.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "CancelTally")]
pub(crate) struct CancelEverything {
    /// Which part, and mostly all.
    pub(crate) scope: LimitScope,
    /// How long to wait for the venue to confirm.
    pub(crate) within: Duration,
    /// Orders of unknown outcome: they get the mark, and are cancelled when they are found.
    pub(crate) also: Vec<OrderId>,
    /// When it was asked for. What was claimed later is none of it: the marks may be written long after.
    pub(crate) at: DateTime<Utc>,
}

impl CancelEverything {
    /// Everything that gets the mark: what is of unknown outcome, and what is open by our books, also where the venue can't be
    /// asked now. Nothing where the books can't be read.
    pub(crate) async fn to_mark(&self, store: &dyn Store, account: &AccountName) -> Option<Vec<OrderId>> {
        let part = Part::of(&self.scope, store, account).await?;
        let open = store.open_orders(account).await.ok()?;
        let until = self.at + CLOCKS_DIFFER;
        let live = |order: &Order| {
            matches!(order.status.share(), Share::Working | Share::Unknown)
                && order.claimed_at.is_none_or(|claimed| claimed <= until)
                && part.has(&order.id, &order.instruction.symbol)
        };
        let live = open.into_iter().filter(live).map(|order| order.id);
        // What closes positions is ended by who closes them.
        Some(self.also.iter().cloned().chain(live).filter(|id| !is_flatten(id)).collect())
    }
}

/// What cancelling everything came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, actix::MessageResponse)]
pub(crate) struct CancelTally {
    pub(crate) requested: u32,
    pub(crate) confirmed: u32,
    pub(crate) failed: u32,
}

impl CancelTally {
    /// Both together.
    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            requested: self.requested.saturating_add(other.requested),
            confirmed: self.confirmed.saturating_add(other.confirmed),
            failed: self.failed.saturating_add(other.failed),
        }
    }
}

/// Which of an account's orders are of a part.
pub(crate) enum Part {
    /// All of them.
    Whole,
    /// Those in a symbol.
    Symbol(Symbol),
    /// These.
    Orders(BTreeSet<OrderId>),
}

impl Part {
    /// The orders of an account that are of a part. Nothing where that can't be read.
    pub(crate) async fn of(scope: &LimitScope, store: &dyn Store, account: &AccountName) -> Option<Self> {
        match scope {
            LimitScope::Global | LimitScope::Account(_) => Some(Self::Whole),
            LimitScope::Symbol(symbol) => Some(Self::Symbol(symbol.clone())),
            LimitScope::Strategy(strategy) => {
                let open = store.open_orders(account).await.ok()?;
                // A slice is of its parent's strategy, also where the parent has ended and the slice has not.
                let mut of_parents = BTreeMap::new();
                for parent in open.iter().filter_map(|order| Some(&order.slice.as_ref()?.parent)) {
                    if !of_parents.contains_key(parent) {
                        let Some(AnyOrder::Parent(read)) = store.order(parent).await.ok()? else { return None };
                        of_parents.insert(parent.clone(), read.strategy_id);
                    }
                }
                let is_of = |order: &&Order| match &order.slice {
                    Some(slice) => of_parents.get(&slice.parent) == Some(strategy),
                    None => order.strategy_id == *strategy,
                };
                Some(Self::Orders(open.iter().filter(is_of).map(|order| order.id.clone()).collect()))
            }
        }
    }

    /// Whether an order of ours is of it.
    pub(crate) fn has(&self, id: &OrderId, symbol: &Symbol) -> bool {
        match self {
            Self::Whole => true,
            Self::Symbol(of) => of == symbol,
            Self::Orders(ids) => ids.contains(id),
        }
    }
}

/// Cancels what the venue lists of a part, and watches that list until it is empty or the time is over. Nothing where the
/// list can't be read.
pub(crate) async fn cancel_listed(
    venue: &dyn Venue,
    budget: &Budget,
    (part, within): (&Part, Duration),
) -> Option<CancelTally> {
    let deadline = tokio::time::Instant::now() + within;
    let open = match tokio::time::timeout_at(deadline, venue.open_orders()).await {
        Ok(Ok(mut open)) => {
            open.retain(|order| {
                part.has(&order.client_order_id, &order.instruction.symbol) && !is_flatten(&order.client_order_id)
            });
            open
        }
        Ok(Err(_)) | Err(_) => {
            tracing::error!("the venue's open orders could not be read; what our books know is cancelled from there");
            return None;
        }
    };
    // What the rate budget has no room for in time is cancelled by its mark.
    let cancel = async |order: &VenueOrder| {
        budget.wait(Lane::Control).await;
        venue.cancel(&order.broker_order_id).await
    };
    let mut answers = open.iter().map(cancel).collect::<FuturesUnordered<_>>();
    let mut asked = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
        asked.push(answer);
    }
    let refused = |answer: &&Result<(), CancelError>| matches!(answer, Err(CancelError::Venue(_)));
    let failed = asked.iter().filter(refused).count() + open.len().saturating_sub(asked.len());
    let mut left = open.len();
    while left > 0 && tokio::time::Instant::now() < deadline {
        if let Ok(Ok(still)) = tokio::time::timeout_at(deadline, venue.open_orders()).await {
            left = still.iter().filter(|order| is_among(&open, &order.broker_order_id)).count();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some(CancelTally {
        requested: count(open.len()),
        confirmed: count(open.len().saturating_sub(left)),
        failed: count(failed),
    })
}

fn is_among(orders: &[VenueOrder], id: &BrokerOrderId) -> bool {
    orders.iter().any(|order| order.broker_order_id == *id)
}
