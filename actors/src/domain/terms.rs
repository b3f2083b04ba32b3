//! The terms of an order: which way, of what type, at what prices, for how long.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::{Percent, Price, Qty};
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
        TrailingStop = "trailing_stop",
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
        /// In the opening auction.
        Opg = "opg",
        /// In the closing auction.
        Cls = "cls",
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
    /// At the market once the price has come back from its best by the trail.
    TrailingStop {
        /// How far behind the best price the stop follows.
        #[serde(flatten)]
        trail: Trail,
    },
}

/// How far a trailing stop follows behind the best price since it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Trail {
    /// By a distance in the quote currency.
    Price {
        /// The distance.
        trail_price: Price,
    },
    /// By a share of the best price.
    Percent {
        /// The share, in hundredths.
        trail_percent: Percent,
    },
}

/// The prices that came with a type, before it is known whether they fit it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// The limit price.
    pub limit: Option<Price>,
    /// The stop price.
    pub stop: Option<Price>,
    /// The trail as a distance.
    pub trail_price: Option<Price>,
    /// The trail as a share.
    pub trail_percent: Option<Percent>,
}

impl Terms {
    /// The terms of a type with the prices given, if these are just the prices that the type takes.
    #[must_use]
    pub const fn new(order_type: OrderType, prices: Prices) -> Option<Self> {
        let Prices { limit, stop, trail_price, trail_percent } = prices;
        match (order_type, limit, stop, trail_price, trail_percent) {
            (OrderType::Market, None, None, None, None) => Some(Self::Market),
            (OrderType::Limit, Some(limit_price), None, None, None) => Some(Self::Limit { limit_price }),
            (OrderType::Stop, None, Some(stop_price), None, None) => Some(Self::Stop { stop_price }),
            (OrderType::StopLimit, Some(limit_price), Some(stop_price), None, None) => {
                Some(Self::StopLimit { limit_price, stop_price })
            }
            (OrderType::TrailingStop, None, None, Some(trail_price), None) => {
                Some(Self::TrailingStop { trail: Trail::Price { trail_price } })
            }
            (OrderType::TrailingStop, None, None, None, Some(trail_percent)) => {
                Some(Self::TrailingStop { trail: Trail::Percent { trail_percent } })
            }
            (
                OrderType::Market | OrderType::Limit | OrderType::Stop | OrderType::StopLimit | OrderType::TrailingStop,
                ..,
            ) => None,
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
            Self::TrailingStop { .. } => OrderType::TrailingStop,
        }
    }

    /// The limit price, where the type has one.
    #[must_use]
    pub const fn limit_price(self) -> Option<Price> {
        match self {
            Self::Limit { limit_price } | Self::StopLimit { limit_price, .. } => Some(limit_price),
            Self::Market | Self::Stop { .. } | Self::TrailingStop { .. } => None,
        }
    }

    /// The stop price, where the type has one.
    #[must_use]
    pub const fn stop_price(self) -> Option<Price> {
        match self {
            Self::Stop { stop_price } | Self::StopLimit { stop_price, .. } => Some(stop_price),
            Self::Market | Self::Limit { .. } | Self::TrailingStop { .. } => None,
        }
    }

    /// How far the stop follows, where the type has a trail.
    #[must_use]
    pub const fn trail(self) -> Option<Trail> {
        match self {
            Self::TrailingStop { trail } => Some(trail),
            Self::Market | Self::Limit { .. } | Self::Stop { .. } | Self::StopLimit { .. } => None,
        }
    }

    /// All prices of these terms.
    #[must_use]
    pub const fn prices(self) -> Prices {
        let (trail_price, trail_percent) = match self.trail() {
            Some(Trail::Price { trail_price }) => (Some(trail_price), None),
            Some(Trail::Percent { trail_percent }) => (None, Some(trail_percent)),
            None => (None, None),
        };
        Prices { limit: self.limit_price(), stop: self.stop_price(), trail_price, trail_percent }
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
        let percent = Some(Percent::new(Decimal::TWO).unwrap());
        let subsets = (0..16_u8).map(|given| Prices {
            limit: price.filter(|_| given & 1 > 0),
            stop: price.filter(|_| given & 2 > 0),
            trail_price: price.filter(|_| given & 4 > 0),
            trail_percent: percent.filter(|_| given & 8 > 0),
        });
        for order_type in OrderType::ALL {
            let fitting = subsets.clone().filter(|prices| Terms::new(*order_type, *prices).is_some());
            let fitting = fitting.collect::<Vec<_>>();
            assert_eq!(fitting.len(), if *order_type == OrderType::TrailingStop { 2 } else { 1 }, "{order_type}");
            for prices in fitting {
                let terms = Terms::new(*order_type, prices).unwrap();
                assert_eq!((terms.order_type(), terms.prices()), (*order_type, prices));
            }
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
