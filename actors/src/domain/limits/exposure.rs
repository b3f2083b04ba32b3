//! What an account holds, and what it may come to hold: positions, open orders, and room that is reserved.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::domain::names::{AccountName, OrderId, StrategyId, Symbol};
use crate::domain::order::Order;
use crate::domain::position::Position;
use crate::domain::status::Share;
use crate::domain::terms::{Side, Terms};

use super::{LimitScope, Subject};

/// An order that somebody wants to send, or a parent as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The order.
    pub id: OrderId,
    /// The first order of its chain: itself, where it replaces none.
    pub chain: OrderId,
    /// The client's strategy.
    pub strategy: StrategyId,
    /// What is traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much may still trade of it.
    pub qty: Decimal,
    /// The largest single order of it: itself, or a parent's largest slice.
    pub largest: Decimal,
    /// Its type and prices.
    pub terms: Terms,
}

impl Wish {
    /// Whose order it is.
    #[must_use]
    pub fn subject<'a>(&'a self, account: &'a AccountName) -> Subject<'a> {
        Subject { account, strategy: &self.strategy, symbol: &self.symbol }
    }

    /// An order, as the limits see it. A slice is of its parent's strategy.
    #[must_use]
    pub fn of(order: &Order, strategy: &StrategyId) -> Self {
        Self {
            id: order.id.clone(),
            chain: order.chain().clone(),
            strategy: strategy.clone(),
            symbol: order.instruction.symbol.clone(),
            side: order.instruction.side,
            qty: order.leaves(),
            largest: order.leaves(),
            terms: order.instruction.terms,
        }
    }
}

/// An order that may trade.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    chain: OrderId,
    pub(super) strategy: StrategyId,
    pub(super) side: Side,
    pub(super) leaves: Decimal,
    pub(super) terms: Terms,
    standing: Standing,
}

/// How far an order has come, as far as it takes up room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not claimed yet: room that is merely reserved.
    Reserved,
    /// Claimed, and perhaps at the venue.
    Claimed,
    /// At the venue.
    Working,
}

/// Positions by symbol, and every order that may still trade: claimed, unknown, live, or about to be claimed.
#[derive(Clone, Debug, Default)]
pub struct Exposure {
    positions: BTreeMap<Symbol, (Decimal, u64)>,
    legs: BTreeMap<Symbol, BTreeMap<OrderId, Leg>>,
    /// Those of them that the venue may not have yet.
    away: BTreeSet<(Symbol, OrderId)>,
}

/// What a symbol may come to, all other things being as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// What is held; short is negative.
    pub held: Decimal,
    /// What may be bought yet.
    pub buys: Decimal,
    /// What may be sold yet.
    pub sells: Decimal,
}

impl Reach {
    /// How far it can come to be from flat on one side: long for a buy, short for a sell.
    #[must_use]
    pub fn towards(&self, side: Side) -> Decimal {
        match side {
            Side::Buy => self.held + self.buys,
            Side::Sell => self.sells - self.held,
        }
    }

    /// The furthest from flat that it can come to.
    #[must_use]
    pub fn furthest(&self) -> Decimal {
        self.held.abs().max(self.towards(Side::Buy)).max(self.towards(Side::Sell))
    }

    /// With so much more of it open.
    #[must_use]
    pub fn and(mut self, side: Side, qty: Decimal) -> Self {
        match side {
            Side::Buy => self.buys += qty,
            Side::Sell => self.sells += qty,
        }
        self
    }
}

impl Exposure {
    /// A position as it now is. An older version than one that is known already says nothing.
    pub fn hold(&mut self, symbol: &Symbol, position: &Position) {
        let known = self.positions.entry(symbol.clone()).or_default();
        if position.version >= known.1 {
            *known = (position.qty, position.version);
        }
    }

    /// An order as it now is; `strategy` is the client's, where it is known.
    pub fn note(&mut self, order: &Order, strategy: Option<&StrategyId>) {
        let symbol = &order.instruction.symbol;
        let known = self.legs.get(symbol).and_then(|legs| legs.get(&order.id));
        let standing = match order.status.share() {
            // It went back, having certainly never left. What is only reserved has not been claimed yet.
            Share::Pending if known.is_none_or(|leg| leg.standing == Standing::Reserved) => return,
            Share::Pending | Share::Unexecuted => return self.remove(symbol, &order.id),
            Share::Unknown => Standing::Claimed,
            Share::Working => Standing::Working,
        };
        let known = known.map(|leg| leg.strategy.clone());
        let leg = Leg {
            chain: order.chain().clone(),
            strategy: known.or_else(|| strategy.cloned()).unwrap_or_else(|| order.strategy_id.clone()),
            side: order.instruction.side,
            leaves: order.leaves(),
            terms: order.instruction.terms,
            standing,
        };
        let key = (symbol.clone(), order.id.clone());
        match standing {
            Standing::Reserved | Standing::Claimed => self.away.insert(key),
            Standing::Working => self.away.remove(&key),
        };
        self.legs.entry(symbol.clone()).or_default().insert(order.id.clone(), leg);
    }

    /// Keeps room for an order that is about to be claimed. One that may be live already keeps what it has.
    pub fn reserve(&mut self, wish: &Wish) {
        let leg = Leg {
            chain: wish.chain.clone(),
            strategy: wish.strategy.clone(),
            side: wish.side,
            leaves: wish.qty,
            terms: wish.terms,
            standing: Standing::Reserved,
        };
        let legs = self.legs.entry(wish.symbol.clone()).or_default();
        if let Entry::Vacant(free) = legs.entry(wish.id.clone()) {
            free.insert(leg);
            self.away.insert((wish.symbol.clone(), wish.id.clone()));
        }
    }

    /// Gives the room back of an order that was not claimed after all.
    pub fn release(&mut self, symbol: &Symbol, id: &OrderId) {
        let leg = self.legs.get(symbol).and_then(|legs| legs.get(id));
        if leg.is_some_and(|leg| leg.standing == Standing::Reserved) {
            self.remove(symbol, id);
        }
    }

    fn remove(&mut self, symbol: &Symbol, id: &OrderId) {
        self.away.remove(&(symbol.clone(), id.clone()));
        if let Some(legs) = self.legs.get_mut(symbol) {
            legs.remove(id);
            if legs.is_empty() {
                self.legs.remove(symbol);
            }
        }
    }

    /// What is held of a symbol; short is negative.
    #[must_use]
    pub fn held(&self, symbol: &Symbol) -> Decimal {
        self.positions.get(symbol).map(|(held, _)| *held).unwrap_or_default()
    }

    /// What a symbol may come to without the orders of this chain.
    #[must_use]
    pub fn beside(&self, symbol: &Symbol, chain: &OrderId) -> Reach {
        let reach = Reach { held: self.held(symbol), ..Reach::default() };
        let others = self.chains(symbol).filter(|leg| leg.chain != *chain);
        others.fold(reach, |reach, leg| reach.and(leg.side, leg.leaves))
    }

    /// How much a wish takes up: where it replaces an order, the greater of the two, since either may trade.
    #[must_use]
    pub fn size(&self, wish: &Wish) -> Decimal {
        let legs = self.legs.get(&wish.symbol).into_iter().flat_map(BTreeMap::values);
        legs.filter(|leg| leg.chain == wish.chain).map(|leg| leg.leaves).fold(wish.qty, Decimal::max)
    }

    /// Whether a wish can only bring the position closer to flat, whatever else of what is open trades. From flat, beyond
    /// the position, or beyond what other orders leave of it is not reducing.
    #[must_use]
    pub fn is_reduced_by(&self, wish: &Wish) -> bool {
        if !self.is_opposed_by(wish) {
            return false;
        }
        let others = self.beside(&wish.symbol, &wish.chain);
        others.and(wish.side, self.size(wish)).towards(wish.side) <= Decimal::ZERO
    }

    /// Whether a wish goes against what is held, and so may be an exit.
    #[must_use]
    pub fn is_opposed_by(&self, wish: &Wish) -> bool {
        let held = self.held(&wish.symbol);
        !held.is_zero() && held.is_sign_positive() != (wish.side == Side::Buy)
    }

    /// The strategy of a chain that is known.
    #[must_use]
    pub fn strategy(&self, symbol: &Symbol, chain: &OrderId) -> Option<&StrategyId> {
        let legs = self.legs.get(symbol)?;
        let leg = legs.get(chain).or_else(|| legs.values().find(|leg| leg.chain == *chain))?;
        Some(&leg.strategy)
    }

    /// How many orders are open that count for a scope, without those of this chain.
    #[must_use]
    pub fn open(&self, scope: &LimitScope, beside: &OrderId) -> usize {
        let of = |symbol| self.chains(symbol).filter(|leg| leg.chain != *beside && scope.covers(&leg.strategy, symbol));
        self.legs.keys().map(|symbol| of(symbol).count()).sum()
    }

    /// Every symbol that is held, or may be.
    #[must_use]
    pub fn symbols(&self) -> BTreeSet<&Symbol> {
        let held = self.positions.iter().filter(|(_, (held, _))| !held.is_zero()).map(|(symbol, _)| symbol);
        held.chain(self.legs.keys()).collect()
    }

    /// The orders that the venue may not have yet, without those of this chain.
    pub(super) fn on_their_way(&self, beside: &OrderId) -> impl Iterator<Item = (&Symbol, &OrderId, &Leg)> {
        let legs = self.away.iter().filter_map(|(symbol, id)| Some((symbol, id, self.legs.get(symbol)?.get(id)?)));
        legs.filter(move |(.., leg)| leg.chain != *beside)
    }

    /// What of this chain is live at the venue: it holds back what it takes there.
    pub(super) fn at_venue(&self, symbol: &Symbol, chain: &OrderId) -> impl Iterator<Item = &Leg> {
        let legs = self.legs.get(symbol).into_iter().flat_map(BTreeMap::values);
        legs.filter(move |leg| leg.chain == *chain && leg.standing == Standing::Working)
    }

    /// Each chain in a symbol by the largest of its orders: only one of them can come to trade.
    fn chains(&self, symbol: &Symbol) -> impl Iterator<Item = &Leg> {
        let mut chains: BTreeMap<&OrderId, &Leg> = BTreeMap::new();
        for leg in self.legs.get(symbol).into_iter().flat_map(BTreeMap::values) {
            let largest = chains.entry(&leg.chain).or_insert(leg);
            if leg.leaves > largest.leaves {
                *largest = leg;
            }
        }
        chains.into_values()
    }
}
