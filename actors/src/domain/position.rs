//! Average-cost positions: open, add, reduce, close and flip, long and short.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::money::average;
use super::terms::Side;

/// What an account holds of a symbol. `cost − realised` is always the sum of what was paid less what was got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Quantity; short is negative.
    pub qty: Decimal,
    /// Quantity times average entry price; short is negative.
    pub cost: Decimal,
    /// Profit of what was closed, before fees, in the quote currency.
    pub realised_pnl: Decimal,
    /// Fees so far.
    pub fees: Decimal,
    /// The last price traded, and when.
    pub last: Option<(Decimal, DateTime<Utc>)>,
    /// Grows with every write; a write compares it first.
    pub version: u64,
}

impl Position {
    /// The position after a trade of `qty` (above zero) at a total of `cost`.
    #[must_use]
    pub fn traded(mut self, side: Side, qty: Decimal, cost: Decimal) -> Self {
        let opens = self.qty.is_zero() || self.qty.is_sign_positive() == (side == Side::Buy);
        if opens {
            self.qty += side.sign() * qty;
            self.cost += side.sign() * cost;
            return self;
        }
        let held = self.qty.abs();
        if qty < held {
            let released = self.cost * qty / held;
            self.realised_pnl += -side.sign() * cost - released;
            self.cost -= released;
            self.qty += side.sign() * qty;
            return self;
        }
        let closing_cost = if qty == held { cost } else { cost * held / qty };
        self.realised_pnl += -side.sign() * closing_cost - self.cost;
        self.qty += side.sign() * qty;
        self.cost = side.sign() * (cost - closing_cost);
        self
    }

    /// The position without a part of an earlier trade: `qty` (above zero) at a total of `cost`, which had realised so much.
    #[must_use]
    pub fn untraded(mut self, side: Side, qty: Decimal, cost: Decimal, realised: Decimal) -> Self {
        let paid = self.cost - self.realised_pnl - side.sign() * cost;
        self.qty -= side.sign() * qty;
        self.realised_pnl -= realised;
        self.cost = paid + self.realised_pnl;
        // What is flat has no cost, and nothing is held at a price below zero: what is left over was realised.
        if (self.qty * self.cost) <= Decimal::ZERO {
            self.realised_pnl -= self.cost;
            self.cost = Decimal::ZERO;
        }
        self
    }

    /// The position after the cost of an earlier trade turned out to be different by `delta`.
    #[must_use]
    pub fn repriced(mut self, side: Side, delta: Decimal) -> Self {
        let open_that_way = !self.qty.is_zero() && self.qty.is_sign_positive() == (side == Side::Buy);
        if open_that_way {
            self.cost += side.sign() * delta;
        } else {
            self.realised_pnl -= side.sign() * delta;
        }
        self
    }

    /// The average entry price; `None` when flat.
    #[must_use]
    pub fn avg_price(&self) -> Option<Decimal> {
        average(self.cost, self.qty)
    }

    /// The profit of what is open against a price.
    #[must_use]
    pub fn unrealised_pnl(&self, price: Decimal) -> Decimal {
        self.qty * price - self.cost
    }
}

/// What is open of an account, at the last prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Its profit.
    pub pnl: Decimal,
    /// The age of the oldest of the prices; `None` where nothing is open.
    pub oldest: Option<TimeDelta>,
}

/// The profit of what is open; `None` where the price of something is not known.
#[must_use]
pub fn unrealised<'a>(positions: impl Iterator<Item = &'a Position>, now: DateTime<Utc>) -> Option<Open> {
    let mut open = Open::default();
    for position in positions.filter(|position| !position.qty.is_zero()) {
        let (price, at) = position.last?;
        open.pnl = (open.pnl + position.unrealised_pnl(price)).normalize();
        open.oldest = open.oldest.max(Some(now - at));
    }
    Some(open)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(trades: &[(Side, i64, i64)]) -> Position {
        trades.iter().fold(Position::default(), |position, (side, qty, price)| {
            position.traded(*side, Decimal::from(*qty), Decimal::from(qty * price))
        })
    }

    #[test]
    fn positions_open_add_reduce_close_and_flip() {
        let long = after(&[(Side::Buy, 100, 10), (Side::Buy, 100, 20)]);
        assert_eq!((long.qty, long.avg_price()), (Decimal::from(200), Some(Decimal::from(15))));
        let reduced = long.traded(Side::Sell, Decimal::from(50), Decimal::from(50 * 18));
        assert_eq!((reduced.qty, reduced.realised_pnl), (Decimal::from(150), Decimal::from(150)));
        assert_eq!(reduced.unrealised_pnl(Decimal::from(16)), Decimal::from(150));
        let flipped = reduced.traded(Side::Sell, Decimal::from(250), Decimal::from(250 * 10));
        assert_eq!((flipped.qty, flipped.avg_price()), (Decimal::from(-100), Some(Decimal::from(10))));
        assert_eq!(flipped.realised_pnl, Decimal::from(150 - 750));
        let closed = flipped.traded(Side::Buy, Decimal::from(100), Decimal::from(900));
        assert_eq!((closed.qty, closed.cost, closed.realised_pnl), (Decimal::ZERO, Decimal::ZERO, Decimal::from(-500)));
    }

    proptest! {
        #[test]
        fn cost_less_profit_is_what_was_paid(
            trades in proptest::collection::vec((any::<bool>(), 1_i64..500, 1_i64..1_000, -50_i64..50), 1..40),
        ) {
            let mut position = Position::default();
            let (mut qty, mut paid) = (Decimal::ZERO, Decimal::ZERO);
            for (buy, size, price, correction) in trades {
                let side = if buy { Side::Buy } else { Side::Sell };
                let cost = Decimal::from(size * price);
                position = position.traded(side, Decimal::from(size), cost);
                position = position.repriced(side, Decimal::from(correction));
                qty += side.sign() * Decimal::from(size);
                paid += side.sign() * (cost + Decimal::from(correction));
                prop_assert_eq!(position.qty, qty);
                prop_assert!((position.cost - position.realised_pnl - paid).abs() < Decimal::new(1, 9));
                prop_assert!(!position.qty.is_zero() || position.cost.abs() < Decimal::new(1, 9));
            }
        }
    }
}
