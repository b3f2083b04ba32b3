//! What an account holds, and what it may come to hold: positions, open orders, and room that is reserved.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::domain::names::{AccountName, OrderId, StrategyId, Symbol};
use crate::domain::order::Order;
use crate::domain::position::Position;
use crate::domain::status::Share;
use crate::domain::terms::{Side, Terms};

use super::legs::{Leg, Legs, Standing};
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

/// Positions by symbol, and every order that may still trade: claimed, unknown, live, or about to be claimed.
#[derive(Clone, Debug, Default)]
pub struct Exposure {
    positions: BTreeMap<Symbol, (Decimal, u64)>,
    legs: BTreeMap<Symbol, Legs>,
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
        let known = self.leg(symbol, &order.id);
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
        self.legs.entry(symbol.clone()).or_default().put(order.id.clone(), leg);
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
        if legs.get(&wish.id).is_none() {
            legs.put(wish.id.clone(), leg);
        }
    }

    /// Gives the room back of an order that was not claimed after all.
    pub fn release(&mut self, symbol: &Symbol, id: &OrderId) {
        if self.leg(symbol, id).is_some_and(|leg| leg.standing == Standing::Reserved) {
            self.remove(symbol, id);
        }
    }

    fn remove(&mut self, symbol: &Symbol, id: &OrderId) {
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
        let open = self.legs.get(symbol).map(|legs| legs.beside(chain)).unwrap_or_default();
        Reach { held: self.held(symbol), ..open }
    }

    /// How much a wish takes up: where it replaces an order, the greater of the two, since either may trade.
    #[must_use]
    pub fn size(&self, wish: &Wish) -> Decimal {
        self.of_chain(&wish.symbol, &wish.chain).map(|leg| leg.leaves).fold(wish.qty, Decimal::max)
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
        let first = self.leg(symbol, chain);
        first.or_else(|| self.of_chain(symbol, chain).next()).map(|leg| &leg.strategy)
    }

    /// How many orders are open that count for a scope, without those of this chain.
    #[must_use]
    pub fn open(&self, scope: &LimitScope, beside: &OrderId) -> usize {
        let (strategy, only) = match scope {
            LimitScope::Global | LimitScope::Account(_) => (None, None),
            LimitScope::Strategy(strategy) => (Some(strategy), None),
            LimitScope::Symbol(symbol) => (None, Some(symbol)),
        };
        let legs = self.legs.iter().filter(|(symbol, _)| only.is_none_or(|only| only == *symbol));
        legs.map(|(_, legs)| legs.open(strategy, beside)).sum()
    }

    /// Every symbol that is held, or may be.
    #[must_use]
    pub fn symbols(&self) -> BTreeSet<&Symbol> {
        let held = self.positions.iter().filter(|(_, (held, _))| !held.is_zero()).map(|(symbol, _)| symbol);
        held.chain(self.legs.keys()).collect()
    }

    pub(super) fn leg(&self, symbol: &Symbol, id: &OrderId) -> Option<&Leg> {
        self.legs.get(symbol)?.get(id)
    }

    /// Whether the venue may not have an order yet.
    pub(super) fn is_away(&self, symbol: &Symbol, id: &OrderId) -> bool {
        self.leg(symbol, id).is_some_and(|leg| leg.standing != Standing::Working)
    }

    /// Every order that the venue may not have yet.
    pub(super) fn away(&self) -> impl Iterator<Item = (&Symbol, &OrderId)> {
        let all = self.legs.iter().flat_map(|(symbol, legs)| legs.ids().map(move |id| (symbol, id)));
        all.filter(|(symbol, id)| self.is_away(symbol, id))
    }

    /// What of this chain is live at the venue: it holds back what it takes there.
    pub(super) fn at_venue(&self, symbol: &Symbol, chain: &OrderId) -> impl Iterator<Item = &Leg> {
        self.of_chain(symbol, chain).filter(|leg| leg.standing == Standing::Working)
    }

    fn of_chain(&self, symbol: &Symbol, chain: &OrderId) -> impl Iterator<Item = &Leg> {
        self.legs.get(symbol).into_iter().flat_map(move |legs| legs.of_chain(chain))
    }
}
