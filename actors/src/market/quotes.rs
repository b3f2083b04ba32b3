//! Where the market's prices come from: a replayed series where there is one, else a random walk.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::replay::Replay;
use super::sized_quote::SizedQuote;
use super::walk::Walk;
use crate::domain::names::Symbol;
use crate::domain::venue::Quote;

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
        Quote { symbol: symbol.clone(), bid, ask, last, at: ended.map_or(at, |end| end.min(at)) }
    }
}
