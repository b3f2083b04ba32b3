//! How many orders have left within the last minute.

use std::collections::VecDeque;
use std::time::Duration;

use super::{LimitScope, Wish};
use crate::domain::names::{StrategyId, Symbol};

/// What a message rate is counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// The orders of the last minute, by the clock that counts suspended time.
#[derive(Clone, Debug, Default)]
pub struct Pace(VecDeque<(Duration, StrategyId, Symbol)>);

impl Pace {
    /// An order is about to leave.
    pub fn note(&mut self, wish: &Wish, now: Duration) {
        self.forget(now);
        self.recall(&wish.strategy, &wish.symbol, now);
    }

    /// One has left some time ago, after those that are known of.
    pub fn recall(&mut self, strategy: &StrategyId, symbol: &Symbol, at: Duration) {
        self.0.push_back((at, strategy.clone(), symbol.clone()));
    }

    /// Forgets what is more than a minute old.
    pub fn forget(&mut self, now: Duration) {
        while self.0.front().is_some_and(|(at, ..)| *at + MINUTE <= now) {
            self.0.pop_front();
        }
    }

    /// How many there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes back all behind so many: they don't leave after all.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// How many there are that count for a scope, once those are forgotten that are over.
    #[must_use]
    pub fn count(&self, scope: &LimitScope) -> usize {
        match scope {
            LimitScope::Global | LimitScope::Account(_) => self.0.len(),
            LimitScope::Strategy(name) => self.0.iter().filter(|(_, strategy, _)| strategy == name).count(),
            LimitScope::Symbol(name) => self.0.iter().filter(|(.., symbol)| symbol == name).count(),
        }
    }
}
