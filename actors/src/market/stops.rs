//! Stops: when an order that waits for a price has seen it, and how a trailing stop follows.

use rust_decimal::Decimal;

use super::book::BookOrder;
use super::fills;
use crate::domain::money::{MAX_SCALE, Price};
use crate::domain::terms::{Side, Terms, Trail};

/// The price that triggers an order: its stop price, or for a trailing stop its distance from the best price so far.
/// `None` where the order has no stop, and where a trail reaches below zero.
#[must_use]
pub fn stop_price(side: Side, terms: Terms, mark: Option<Decimal>) -> Option<Price> {
    let Some(trail) = terms.trail() else { return terms.stop_price() };
    let mark = mark?;
    let distance = match trail {
        Trail::Price { trail_price } => trail_price.get(),
        Trail::Percent { trail_percent } => mark * trail_percent.get() / Decimal::ONE_HUNDRED,
    };
    Price::new((mark + side.sign() * distance).round_dp(MAX_SCALE)).ok()
}

/// Whether an order still waits for its stop at this last price.
pub(super) fn waits(held: &BookOrder, last: Decimal) -> bool {
    let instruction = &held.order.instruction;
    let has_stop = instruction.terms.stop_price().is_some() || instruction.terms.trail().is_some();
    has_stop && !held.triggered && held.stop_price().is_none_or(|stop| !fills::triggers(instruction.side, last, stop))
}

/// The mark that a trailing stop has after this last price, if that moves it.
pub(super) fn moved_mark(held: &BookOrder, last: Decimal) -> Option<Decimal> {
    let instruction = &held.order.instruction;
    instruction.terms.trail()?;
    let best = match (held.trail_mark, instruction.side) {
        (None, Side::Buy | Side::Sell) => last,
        (Some(mark), Side::Buy) => mark.min(last),
        (Some(mark), Side::Sell) => mark.max(last),
    };
    (!held.triggered && held.trail_mark != Some(best)).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Percent;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn by_price(text: &str) -> Terms {
        Terms::TrailingStop { trail: Trail::Price { trail_price: Price::new(decimal(text)).unwrap() } }
    }

    #[test]
    fn a_trail_lies_below_the_best_price_of_a_sell_and_above_that_of_a_buy() {
        let at = |side, terms, mark| stop_price(side, terms, Some(decimal(mark))).map(|price| price.get().to_string());
        assert_eq!(at(Side::Sell, by_price("0.5"), "100"), Some("99.5".to_owned()));
        assert_eq!(at(Side::Buy, by_price("0.5"), "100"), Some("100.5".to_owned()));
        let percent =
            Terms::TrailingStop { trail: Trail::Percent { trail_percent: Percent::new(Decimal::TEN).unwrap() } };
        assert_eq!(at(Side::Sell, percent, "200"), Some("180".to_owned()));
        assert_eq!(at(Side::Sell, by_price("3"), "2"), None);
        assert_eq!(stop_price(Side::Sell, by_price("3"), None), None);
    }
}
