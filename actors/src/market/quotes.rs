//! Where the market's prices come from: a replayed series where there is one, else a random walk.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::replay::Replay;
use super::walk::Walk;
use crate::domain::money::Price;
use crate::domain::names::Symbol;
use crate::domain::terms::Side;
use crate::domain::venue::Quote;

/// The best prices of a moment with the sizes shown at them; `None` is an unlimited size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizedQuote {
    /// The best price that somebody pays.
    pub bid: Price,
    /// The best price that somebody takes.
    pub ask: Price,
    /// How much is wanted at the bid.
    pub bid_size: Option<Decimal>,
    /// How much is offered at the ask.
    pub ask_size: Option<Decimal>,
    /// The last price traded, or the mid where none is known.
    pub last: Decimal,
}

impl SizedQuote {
    /// What an order of this side would pay or get at once.
    #[must_use]
    pub const fn touch(&self, side: Side) -> Price {
        match side {
            Side::Buy => self.ask,
            Side::Sell => self.bid,
        }
    }

    /// How much an order of this side finds at the touch.
    #[must_use]
    pub const fn displayed(&self, side: Side) -> Option<Decimal> {
        match side {
            Side::Buy => self.ask_size,
            Side::Sell => self.bid_size,
        }
    }
}

/// The source of every symbol's quotes. A quote is known by its index in the symbol's sequence, and stands until the
/// next index; both are pure functions of the time.
#[derive(Clone, Debug)]
pub struct Quotes {
    walk: Walk,
    replays: BTreeMap<Symbol, Replay>,
}

impl Quotes {
    /// Replays where there are any, the walk for every other symbol.
    #[must_use]
    pub const fn new(walk: Walk, replays: BTreeMap<Symbol, Replay>) -> Self {
        Self { walk, replays }
    }

    /// The index of the quote that stands at a time.
    #[must_use]
    pub fn index_at(&self, symbol: &Symbol, at: DateTime<Utc>) -> u64 {
        match self.replays.get(symbol) {
            Some(replay) => replay.index_at(at),
            None => self.walk.index_at(at),
        }
    }

    /// The quote of an index.
    #[must_use]
    pub fn quote(&self, symbol: &Symbol, index: u64) -> SizedQuote {
        match self.replays.get(symbol) {
            Some(replay) => replay.quote(index),
            None => self.walk.quote(symbol, index),
        }
    }

    /// The quote that stands at a time. It is of that time, but for a replay that has ended: its last quote keeps the
    /// time of its end, so that its age can be seen.
    #[must_use]
    pub fn at(&self, symbol: &Symbol, at: DateTime<Utc>) -> Quote {
        let SizedQuote { bid, ask, last, .. } = self.quote(symbol, self.index_at(symbol, at));
        let ended = self.replays.get(symbol).and_then(Replay::end);
        Quote {
            symbol: symbol.clone(),
            bid,
            ask,
            last,
            at: ended.map_or(at, |end| end.min(at)),
        }
    }
}
