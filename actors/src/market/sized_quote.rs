//! The best prices of a moment, with how much is shown at them.

use rust_decimal::Decimal;

use crate::domain::money::Price;
use crate::domain::terms::Side;

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
