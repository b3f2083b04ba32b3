//! The terms of an order: which way, of what type, at what prices, for how long.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::{Price, Qty};
use super::names::Symbol;
use super::text::words;

words!(
    /// Which way.
    Side { Buy = "buy", Sell = "sell" }
);

impl Side {
    /// `+1` for a buy, `-1` for a sell.
    #[must_use]
    pub const fn sign(self) -> Decimal {
        match self {
            Self::Buy => Decimal::ONE,
            Self::Sell => Decimal::NEGATIVE_ONE,
        }
    }

    /// The other way.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

words!(
    /// The types of order that can be asked for.
    OrderType {
        Market = "market",
        Limit = "limit",
        Stop = "stop",
        StopLimit = "stop_limit",
    }
);

words!(
    /// How long an order may live at the venue.
    TimeInForce {
        /// Until the session's end.
        Day = "day",
        /// Until it is cancelled.
        Gtc = "gtc",
        /// What can be had at once; the rest is cancelled.
        Ioc = "ioc",
        /// All at once or nothing.
        Fok = "fok",
    }
);

/// An order's type with just the prices that the type takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "order_type", rename_all = "snake_case")]
pub enum Terms {
    /// At the market.
    Market,
    /// At the limit price or better.
    Limit {
        /// The worst price that is acceptable.
        limit_price: Price,
    },
    /// At the market once the stop price has traded.
    Stop {
        /// The price that triggers.
        stop_price: Price,
    },
    /// A limit order once the stop price has traded.
    StopLimit {
        /// The worst price that is acceptable.
        limit_price: Price,
        /// The price that triggers.
        stop_price: Price,
    },
}

impl Terms {
    /// The terms of a type with the prices given, if these are just the prices that the type takes.
    #[must_use]
    pub const fn new(order_type: OrderType, limit: Option<Price>, stop: Option<Price>) -> Option<Self> {
        match (order_type, limit, stop) {
            (OrderType::Market, None, None) => Some(Self::Market),
            (OrderType::Limit, Some(limit_price), None) => Some(Self::Limit { limit_price }),
            (OrderType::Stop, None, Some(stop_price)) => Some(Self::Stop { stop_price }),
            (OrderType::StopLimit, Some(limit_price), Some(stop_price)) => {
                Some(Self::StopLimit { limit_price, stop_price })
            }
            (OrderType::Market | OrderType::Limit | OrderType::Stop | OrderType::StopLimit, _, _) => None,
        }
    }

    /// The type alone.
    #[must_use]
    pub const fn order_type(self) -> OrderType {
        match self {
            Self::Market => OrderType::Market,
            Self::Limit { .. } => OrderType::Limit,
            Self::Stop { .. } => OrderType::Stop,
            Self::StopLimit { .. } => OrderType::StopLimit,
        }
    }

    /// The limit price, where the type has one.
    #[must_use]
    pub const fn limit_price(self) -> Option<Price> {
        match self {
            Self::Limit { limit_price } | Self::StopLimit { limit_price, .. } => Some(limit_price),
            Self::Market | Self::Stop { .. } => None,
        }
    }

    /// The stop price, where the type has one.
    #[must_use]
    pub const fn stop_price(self) -> Option<Price> {
        match self {
            Self::Stop { stop_price } | Self::StopLimit { stop_price, .. } => Some(stop_price),
            Self::Market | Self::Limit { .. } => None,
        }
    }
}

/// Everything about an order that a venue is told, but for its id and its quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// Type and prices.
    pub terms: Terms,
    /// How long it may live.
    pub time_in_force: TimeInForce,
    /// Whether it may trade outside the regular session (limit and day only).
    pub extended_hours: bool,
}

/// How an instrument is counted and priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Quantities are multiples of this.
    pub lot: Qty,
    /// Prices are multiples of this; `None`: 0.01 at or above 1, 0.0001 below.
    pub tick: Option<Price>,
}

impl Instrument {
    /// Whole units, and the usual ticks.
    ///
    /// # Panics
    /// Never: one is a quantity.
    #[must_use]
    pub fn usual() -> Self {
        Self { lot: one(), tick: None }
    }

    /// Whether a price lies on the tick.
    #[must_use]
    pub fn on_tick(&self, price: Price) -> bool {
        (price.get() % self.tick_at(price)).is_zero()
    }

    /// The tick that a price has to keep.
    #[must_use]
    pub fn tick_at(&self, price: Price) -> Decimal {
        match self.tick {
            Some(tick) => tick.get(),
            None if price.get() >= Decimal::ONE => Decimal::new(1, 2),
            None => Decimal::new(1, 4),
        }
    }
}

fn one() -> Qty {
    #[expect(clippy::expect_used, reason = "one lies between zero and the largest quantity")]
    Qty::new(Decimal::ONE).expect("one is a quantity")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_takes_just_its_prices() {
        let price = Some(Price::new(Decimal::TEN).unwrap());
        for order_type in OrderType::ALL {
            let fitting = [(None, None), (price, None), (None, price), (price, price)]
                .into_iter()
                .filter_map(|(limit, stop)| Terms::new(*order_type, limit, stop))
                .collect::<Vec<_>>();
            assert_eq!(fitting.len(), 1, "{order_type}");
            assert_eq!(fitting[0].order_type(), *order_type);
        }
    }

    #[test]
    fn the_usual_tick_changes_at_one() {
        let usual = Instrument::usual();
        let price = |text: &str| Price::new(text.parse().unwrap()).unwrap();
        assert!(usual.on_tick(price("1.01")));
        assert!(!usual.on_tick(price("1.001")));
        assert!(usual.on_tick(price("0.0001")));
        assert!(!usual.on_tick(price("0.00001")));
    }
}
