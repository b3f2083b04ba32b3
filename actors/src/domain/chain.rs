//! Chains: an order and all that were ever to take its place.
//!
//! A venue carries what an order had filled over into the one that takes its place, and the quantity of each is the whole.
//! So the chain has filled what the furthest of its orders has, and its rest is open where the most alive of them is:
//! however the reports of the two arrive, nothing counts twice and nothing is lost between them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::fills::Filled;
use super::names::OrderId;
use super::order::Order;
use super::status::{OrderStatus, Share};
use super::venue::VenueStatus;

/// The orders of one chain, in the order of their places; there is at least one.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    first: &'a Order,
    others: Vec<&'a Order>,
}

/// Orders by their chains, in the order of the chains' first ids.
#[must_use]
pub fn chains<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Vec<Chain<'a>> {
    let mut grouped: BTreeMap<&OrderId, Vec<&'a Order>> = BTreeMap::new();
    for order in orders {
        grouped.entry(order.chain()).or_default().push(order);
    }
    grouped.into_values().filter_map(Chain::of).collect()
}

impl<'a> Chain<'a> {
    /// The chain of these orders; `None` of none.
    #[must_use]
    pub fn of(mut orders: Vec<&'a Order>) -> Option<Self> {
        orders.sort_by_key(|order| order.place());
        let mut orders = orders.into_iter();
        Some(Self { first: orders.next()?, others: orders.collect() })
    }

    /// Its orders.
    pub fn orders(&self) -> impl DoubleEndedIterator<Item = &'a Order> + '_ {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// What it has traded: as much as the order that has traded most.
    #[must_use]
    pub fn filled(&self) -> Filled {
        let furthest = self.orders().max_by_key(|order| (order.filled_qty, order.place())).unwrap_or(self.first);
        Filled { qty: furthest.filled_qty, cost: furthest.filled_cost }
    }

    /// What the quantity that has not traded counts as: the venue has it, may have it, or will get it, or none of these.
    #[must_use]
    pub fn share(&self) -> Share {
        let has = |share| self.orders().any(|order| order.status.share() == share);
        let alive = [Share::Working, Share::Unknown, Share::Pending].into_iter().find(|share| has(*share));
        alive.unwrap_or(Share::Unexecuted)
    }

    /// How much has not traded.
    #[must_use]
    pub fn leaves(&self) -> Decimal {
        let share = self.share();
        let asked = self.orders().rfind(|order| order.status.share() == share).unwrap_or(self.first);
        (asked.qty.get() - self.filled().qty).max(Decimal::ZERO)
    }

    /// How it ended, once it has: as the last of its orders did that ever was live. A replacement that was refused is no
    /// end of its own.
    #[must_use]
    pub fn outcome(&self) -> OrderStatus {
        let lived = |order: &&Order| order.venue_status.is_some_and(|word| word != VenueStatus::Rejected);
        self.orders().rfind(lived).unwrap_or(self.first).status
    }
}
