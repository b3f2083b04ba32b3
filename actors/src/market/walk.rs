//! A seeded random walk for every symbol, computed from the time alone: nothing to store, and a restart goes on with it.
//!
//! A walk that is summed up step by step would have to be summed from its beginning. This one is built from its ends
//! inwards instead (Lévy's construction: halve the span, displace its middle, repeat), so any step costs the same few
//! draws, each found by its position in a counter-based generator.

use chrono::{DateTime, Utc};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::sized_quote::SizedQuote;
use crate::domain::money::Price;
use crate::domain::names::Symbol;

/// The path is pinned once in 2¹⁸ steps (18 hours of 250 ms), and displaced at every halving in between.
const HALVINGS: u32 = 18;
/// Where every walk is at home, in ten-thousandths.
const HOME: i64 = 1_000_000;
/// How far the pinned points may lie from home, in ten-thousandths.
const PINNED: i64 = 30_000;
/// One round lot.
const LOT: u64 = 100;
/// Draws are 64 bits, a block of the generator holds eight: each draw has a block of its own.
const WORDS_PER_BLOCK: u128 = 16;

/// The walks of all symbols.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    seed: u64,
    step_ms: u64,
}

impl Walk {
    /// Walks that make a step every `step_ms` (at least 1).
    #[must_use]
    pub const fn new(seed: u64, step_ms: u64) -> Self {
        let step_ms = if step_ms == 0 { 1 } else { step_ms };
        Self { seed, step_ms }
    }

    /// The number of the step that a time lies in.
    #[must_use]
    pub fn index_at(&self, at: DateTime<Utc>) -> u64 {
        u64::try_from(at.timestamp_millis()).unwrap_or(0) / self.step_ms
    }

    /// The quote of a step: one to three cents wide, with 500 to 5,000 shown on either side in round lots.
    #[must_use]
    pub fn quote(&self, symbol: &Symbol, index: u64) -> SizedQuote {
        let mut noise = Noise::new(self.seed, symbol);
        let mid = noise.path(index);
        let width = 1 + noise.signed(Stream::Width, index, 1) + 1;
        let bid = mid.div_euclid(100) - (width - 1) / 2;
        let size = |draw: u64| Some(Decimal::from(LOT * (5 + draw % 46)));
        let (bid, ask) = (cents(bid), cents(bid + width));
        SizedQuote {
            bid,
            ask,
            bid_size: size(noise.bits(Stream::BidSize, index)),
            ask_size: size(noise.bits(Stream::AskSize, index)),
            last: (bid.get() + ask.get()) / Decimal::TWO,
        }
    }
}

fn cents(value: i64) -> Price {
    #[expect(clippy::expect_used, reason = "the path keeps within a few units of 100: see `amplitude`")]
    Price::new(Decimal::new(value, 2)).expect("a price")
}

/// What is drawn; each kind has a stream of its own.
#[derive(Clone, Copy)]
enum Stream {
    Halving(u32),
    Pin,
    Width,
    BidSize,
    AskSize,
}

struct Noise(ChaCha8Rng);

impl Noise {
    fn new(seed: u64, symbol: &Symbol) -> Self {
        let seed = Sha256::digest(format!("walk|{seed}|{symbol}"));
        Self(ChaCha8Rng::from_seed(seed.into()))
    }

    fn bits(&mut self, stream: Stream, index: u64) -> u64 {
        self.0.set_stream(match stream {
            Stream::Halving(halving) => u64::from(halving),
            Stream::Pin => 100,
            Stream::Width => 101,
            Stream::BidSize => 102,
            Stream::AskSize => 103,
        });
        self.0.set_word_pos(u128::from(index) * WORDS_PER_BLOCK);
        self.0.next_u64()
    }

    /// A number in `-most..=most`.
    fn signed(&mut self, stream: Stream, index: u64, most: i64) -> i64 {
        let choices = u64::try_from(2 * most + 1).unwrap_or(1);
        i64::try_from(self.bits(stream, index) % choices).unwrap_or(0) - most
    }

    /// The mid of a step, in ten-thousandths.
    fn path(&mut self, index: u64) -> i64 {
        let block = index >> HALVINGS;
        let left = self.signed(Stream::Pin, block, PINNED);
        let right = self.signed(Stream::Pin, block + 1, PINNED);
        let position = |span: u32| i64::try_from(index & ((1 << span) - 1)).unwrap_or(0);
        let mut mid = HOME + left + (((right - left) * position(HALVINGS)) >> HALVINGS);
        for span in (1..=HALVINGS).rev() {
            let displaced = self.signed(Stream::Halving(span), index >> span, amplitude(span));
            let from_end = position(span).min((1 << span) - position(span));
            mid += (displaced * from_end) >> (span - 1);
        }
        mid
    }
}

/// How far the middle of a span of 2^`span` steps may be displaced, in ten-thousandths: it grows with the square root
/// of the span. All of them together stay below 8 units of price, so a walk stays between 89 and 111.
const fn amplitude(span: u32) -> i64 {
    let doubled = 1 << (span / 2);
    if span.is_multiple_of(2) { 43 * doubled } else { 61 * doubled }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    #[test]
    fn a_walk_stays_near_100_and_is_never_crossed() {
        let furthest: i64 = PINNED + (1..=HALVINGS).map(amplitude).sum::<i64>();
        assert!(furthest < 110_000, "{furthest}");
        let walk = Walk::new(7, 250);
        for name in ["AAPL", "MSFT", "EUR/USD"] {
            for index in (0..2_000_000).step_by(997) {
                let quote = walk.quote(&symbol(name), index);
                assert!(quote.bid < quote.ask);
                assert!(quote.ask.get() - quote.bid.get() <= Decimal::new(3, 2));
                assert!(quote.bid.get() > Decimal::from(85) && quote.ask.get() < Decimal::from(115));
            }
        }
    }

    #[test]
    fn a_walk_moves_in_small_steps_and_does_move() {
        let walk = Walk::new(7, 250);
        let prices = (262_000..263_000).map(|index| walk.quote(&symbol("AAPL"), index).bid.get());
        let prices = prices.collect::<Vec<_>>();
        for pair in prices.windows(2) {
            assert!((pair[0] - pair[1]).abs() <= Decimal::new(10, 2), "{pair:?}");
        }
        assert!(prices.iter().collect::<std::collections::BTreeSet<_>>().len() > 10);
    }

    #[test]
    fn seed_and_symbol_decide() {
        let quote = |seed, name| Walk::new(seed, 250).quote(&symbol(name), 4711);
        assert_eq!(quote(1, "AAPL"), quote(1, "AAPL"));
        assert_ne!(quote(1, "AAPL"), quote(2, "AAPL"));
        assert_ne!(quote(1, "AAPL"), quote(1, "MSFT"));
    }
}
