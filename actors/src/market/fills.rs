//! What an order gets from a quote: how much, at which price, for which fee.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use super::spelling;
use crate::domain::money::{MAX_SCALE, Price, Qty};
use crate::domain::terms::Side;

const BPS: Decimal = Decimal::from_parts(10_000, 0, 0, false, 0);
/// Fill prices have at least this many decimal places, or as many as the quote.
const FILL_SCALE: u32 = 4;

/// What a trade costs besides its price; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fees {
    /// For each unit traded, in the quote currency.
    #[serde(deserialize_with = "spelling::exact")]
    pub per_unit: Decimal,
    /// Of the traded value, in hundredths of a percent.
    #[serde(deserialize_with = "spelling::exact")]
    pub bps: Decimal,
}

impl Fees {
    /// The fee of a trade.
    #[must_use]
    pub fn of(&self, qty: Decimal, price: Decimal) -> Decimal {
        (qty * self.per_unit + qty * price * self.bps / BPS).round_dp(MAX_SCALE).normalize()
    }
}

/// What the market offers to one side at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// The best price.
    pub touch: Price,
    /// How much the quote showed there; `None`: unlimited.
    pub displayed: Option<Decimal>,
    /// How much of that nobody has taken yet; `None`: unlimited.
    pub left: Option<Decimal>,
}

/// What an order takes.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Which way.
    pub side: Side,
    /// How much at most.
    pub qty: Qty,
    /// The worst price.
    pub limit: Option<Price>,
    /// All of it, or nothing.
    pub whole: bool,
}

/// What it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How much.
    pub qty: Qty,
    /// At which price.
    pub price: Price,
}

/// What an order gets: at most what is left, at the touch worsened by the order's impact, never beyond its limit.
///
/// The impact is `slippage_bps` times the share of the displayed size that the order takes; against an unlimited size,
/// which says nothing about depth, it is the whole of it. So a price never leaves the quote by more than the slippage.
#[must_use]
pub fn take(wish: &Wish, offer: &Offer, slippage_bps: Decimal) -> Option<Taken> {
    if wish.limit.is_some_and(|limit| beyond(wish.side, offer.touch, limit)) {
        return None;
    }
    let wanted = wish.qty.get();
    let available = offer.left.map_or(wanted, |left| left.min(wanted));
    // A size finer than the order's own units is not traded.
    let qty = available.round_dp_with_strategy(wanted.scale(), RoundingStrategy::ToZero);
    let qty = Qty::new(qty).ok().filter(|qty| !wish.whole || *qty == wish.qty)?;
    let price = worsened(wish.side, offer.touch, slippage_bps * share(qty, offer.displayed));
    let price = match (wish.limit, wish.side) {
        (None, Side::Buy | Side::Sell) => price,
        (Some(limit), Side::Buy) => price.min(limit),
        (Some(limit), Side::Sell) => price.max(limit),
    };
    Some(Taken { qty, price })
}

/// Whether a price is worse than a limit.
#[must_use]
pub fn beyond(side: Side, price: Price, limit: Price) -> bool {
    match side {
        Side::Buy => price > limit,
        Side::Sell => price < limit,
    }
}

/// Whether the last price triggers a stop.
#[must_use]
pub fn triggers(side: Side, last: Decimal, stop: Price) -> bool {
    match side {
        Side::Buy => last >= stop.get(),
        Side::Sell => last <= stop.get(),
    }
}

fn share(qty: Qty, displayed: Option<Decimal>) -> Decimal {
    displayed
        .and_then(|displayed| qty.get().checked_div(displayed))
        .map_or(Decimal::ONE, |share| share.min(Decimal::ONE))
}

/// A price worsened by some basis points, rounded back towards where it came from.
#[must_use]
pub fn worsened(side: Side, touch: Price, bps: Decimal) -> Price {
    let towards_touch = match side {
        Side::Buy => RoundingStrategy::ToNegativeInfinity,
        Side::Sell => RoundingStrategy::ToPositiveInfinity,
    };
    let worse = touch.get() + side.sign() * touch.get() * bps / BPS;
    let scale = touch.get().scale().max(FILL_SCALE);
    Price::new(worse.round_dp_with_strategy(scale, towards_touch)).unwrap_or(touch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(cents: u32) -> Price {
        Price::new(Decimal::new(i64::from(cents), 2)).unwrap()
    }

    fn qty(units: u32) -> Qty {
        Qty::new(Decimal::from(units)).unwrap()
    }

    #[test]
    fn a_larger_share_of_the_size_pays_more() {
        let offer =
            Offer { touch: price(10_000), displayed: Some(Decimal::from(1000)), left: Some(Decimal::from(1000)) };
        let paid = |units| {
            let wish = Wish { side: Side::Buy, qty: qty(units), limit: None, whole: false };
            take(&wish, &offer, Decimal::TEN).unwrap().price.get().to_string()
        };
        assert_eq!(paid(1), "100.0001");
        assert_eq!(paid(500), "100.05");
        assert_eq!(paid(1000), "100.1");
        assert_eq!(paid(5000), "100.1");
    }

    #[test]
    fn a_fee_is_per_unit_and_of_the_value() {
        let fees = Fees { per_unit: Decimal::new(5, 3), bps: Decimal::ONE };
        assert_eq!(fees.of(Decimal::from(100), Decimal::from(50)).to_string(), "1");
    }

    proptest! {
        #[test]
        fn a_fill_keeps_within_quote_size_slippage_and_limit(
            buy: bool,
            wanted in 1_u32..10_000,
            touch in 1_u32..1_000_000,
            displayed in proptest::option::of(0_u32..10_000),
            taken_pct in 0_u32..=100,
            limit in proptest::option::of(1_u32..1_000_000),
            bps in 0_u32..1000,
            whole: bool,
        ) {
            let side = if buy { Side::Buy } else { Side::Sell };
            let displayed = displayed.map(Decimal::from);
            let left = displayed.map(|size| size * Decimal::from(100 - taken_pct) / Decimal::ONE_HUNDRED);
            let offer = Offer { touch: price(touch), displayed, left };
            let wish = Wish { side, qty: qty(wanted), limit: limit.map(price), whole };
            let crossed = wish.limit.is_none_or(|limit| !beyond(side, offer.touch, limit));
            match take(&wish, &offer, Decimal::from(bps)) {
                None => prop_assert!(!crossed || left.is_some_and(|left| left < Decimal::ONE || whole)),
                Some(taken) => {
                    prop_assert!(crossed);
                    prop_assert!(taken.qty <= wish.qty && left.is_none_or(|left| taken.qty.get() <= left));
                    prop_assert!(!whole || taken.qty == wish.qty);
                    prop_assert!(wish.limit.is_none_or(|limit| !beyond(side, taken.price, limit)));
                    let paid = (taken.price.get() - offer.touch.get()) * side.sign();
                    let most = offer.touch.get() * Decimal::from(bps) / BPS;
                    prop_assert!(paid >= Decimal::ZERO && paid <= most);
                }
            }
        }
    }
}
