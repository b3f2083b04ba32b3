//! The orders of one symbol that may still trade, and what they come to together: kept as they change, since every check asks.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::Reach;
use crate::domain::names::{OrderId, StrategyId};
use crate::domain::terms::{Side, Terms};

/// An order that may trade.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) chain: OrderId,
    pub(super) strategy: StrategyId,
    pub(super) side: Side,
    pub(super) leaves: Decimal,
    pub(super) terms: Terms,
    pub(super) standing: Standing,
}

/// How far an order has come, as far as it takes up room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not claimed yet: room that is merely reserved.
    Reserved,
    /// Claimed, or of unknown outcome: the venue may have it.
    Claimed,
    /// At the venue.
    Working,
}

/// Each chain counts by the largest of its orders: only one of them can come to trade.
#[derive(Clone, Debug, Default)]
pub(super) struct Legs {
    orders: BTreeMap<OrderId, Leg>,
    chains: BTreeMap<OrderId, BTreeSet<OrderId>>,
    /// What all chains may buy and sell yet.
    buys: Decimal,
    sells: Decimal,
    /// How many chains there are of each strategy.
    strategies: BTreeMap<StrategyId, usize>,
}

impl Legs {
    pub(super) fn get(&self, id: &OrderId) -> Option<&Leg> {
        self.orders.get(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &OrderId> {
        self.orders.keys()
    }

    /// An order as it now is, in the place of what was known of it.
    pub(super) fn put(&mut self, id: OrderId, leg: Leg) {
        let chain = leg.chain.clone();
        self.uncount(&chain);
        self.chains.entry(chain.clone()).or_default().insert(id.clone());
        self.orders.insert(id, leg);
        self.count(&chain);
    }

    /// An order that can't trade any more.
    pub(super) fn remove(&mut self, id: &OrderId) {
        let Some(chain) = self.orders.get(id).map(|leg| leg.chain.clone()) else { return };
        self.uncount(&chain);
        self.orders.remove(id);
        if let Some(members) = self.chains.get_mut(&chain) {
            members.remove(id);
            if members.is_empty() {
                self.chains.remove(&chain);
            }
        }
        self.count(&chain);
    }

    /// The orders of a chain.
    pub(super) fn of_chain(&self, chain: &OrderId) -> impl Iterator<Item = &Leg> {
        self.chains.get(chain).into_iter().flatten().filter_map(|id| self.orders.get(id))
    }

    /// What may be bought and sold yet without this chain, nothing being held.
    pub(super) fn beside(&self, chain: &OrderId) -> Reach {
        let all = Reach { buys: self.buys, sells: self.sells, ..Reach::default() };
        self.largest(chain).map_or(all, |leg| all.and(leg.side, -leg.leaves))
    }

    /// How many chains there are of a strategy, or in all, without this one.
    pub(super) fn open(&self, strategy: Option<&StrategyId>, beside: &OrderId) -> usize {
        let all = match strategy {
            Some(strategy) => self.strategies.get(strategy).copied().unwrap_or_default(),
            None => self.chains.len(),
        };
        let is_of = |leg: &&Leg| strategy.is_none_or(|strategy| leg.strategy == *strategy);
        all.saturating_sub(usize::from(self.largest(beside).filter(is_of).is_some()))
    }

    /// The largest of a chain; of equals the first.
    fn largest(&self, chain: &OrderId) -> Option<&Leg> {
        self.of_chain(chain).reduce(|largest, leg| if leg.leaves > largest.leaves { leg } else { largest })
    }

    fn count(&mut self, chain: &OrderId) {
        let Some((side, leaves, strategy)) = self.counted(chain) else { return };
        *self.sum(side) += leaves;
        *self.strategies.entry(strategy).or_default() += 1;
    }

    fn uncount(&mut self, chain: &OrderId) {
        let Some((side, leaves, strategy)) = self.counted(chain) else { return };
        *self.sum(side) -= leaves;
        if let Some(chains) = self.strategies.get_mut(&strategy) {
            *chains = chains.saturating_sub(1);
            if *chains == 0 {
                self.strategies.remove(&strategy);
            }
        }
    }

    /// What a chain counts by.
    fn counted(&self, chain: &OrderId) -> Option<(Side, Decimal, StrategyId)> {
        self.largest(chain).map(|leg| (leg.side, leg.leaves, leg.strategy.clone()))
    }

    const fn sum(&mut self, side: Side) -> &mut Decimal {
        match side {
            Side::Buy => &mut self.buys,
            Side::Sell => &mut self.sells,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// One of a few orders, in one of a few chains, of one of two strategies; nothing left of it means that it ends.
    fn change() -> impl Strategy<Value = (OrderId, Option<Leg>)> {
        (0..3_u8, 0..3_u8, any::<bool>(), 0..4_i64).prop_map(|(chain, member, buys, leaves)| {
            let named = |text: String| OrderId::parse(&text).unwrap();
            let leg = Leg {
                chain: named(format!("chain-{chain}")),
                strategy: StrategyId::parse(if member == 0 { "alpha" } else { "beta" }).unwrap(),
                side: if buys { Side::Buy } else { Side::Sell },
                leaves: leaves.into(),
                terms: Terms::Market,
                standing: Standing::Working,
            };
            (named(format!("order-{chain}-{member}")), Some(leg).filter(|_| leaves > 0))
        })
    }

    /// The largest of each chain, found anew.
    fn largest(legs: &Legs) -> BTreeMap<&OrderId, &Leg> {
        let mut chains: BTreeMap<&OrderId, &Leg> = BTreeMap::new();
        for leg in legs.orders.values() {
            let largest = chains.entry(&leg.chain).or_insert(leg);
            if leg.leaves > largest.leaves {
                *largest = leg;
            }
        }
        chains
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_would_be_counted_anew(changes in prop::collection::vec(change(), 1..60)) {
            let mut legs = Legs::default();
            for (id, leg) in changes {
                match leg {
                    Some(leg) => legs.put(id, leg),
                    None => legs.remove(&id),
                }
                let anew = largest(&legs);
                for beside in ["chain-0", "chain-1", "nobody"].map(|name| OrderId::parse(name).unwrap()) {
                    let others = anew.iter().filter(|(chain, _)| ***chain != beside).map(|(_, leg)| leg);
                    let sum = others.clone().fold(Reach::default(), |reach, leg| reach.and(leg.side, leg.leaves));
                    prop_assert_eq!((sum.buys, sum.sells), (legs.beside(&beside).buys, legs.beside(&beside).sells));
                    prop_assert_eq!(others.clone().count(), legs.open(None, &beside));
                    for strategy in ["alpha", "beta"].map(|name| StrategyId::parse(name).unwrap()) {
                        let of = others.clone().filter(|leg| leg.strategy == strategy).count();
                        prop_assert_eq!(of, legs.open(Some(&strategy), &beside));
                    }
                }
            }
        }
    }
}
