//! What a parent cost against its benchmarks.

use rust_decimal::Decimal;
use tranche_actors::domain::terms::Side;

use super::views::{Parent, number};

/// How much worse a price is than a benchmark for this side, in hundredths of a percent, rounded to two places; negative
/// is better. `None` where the benchmark is no price.
pub(super) fn cost_bps(side: Side, price: Decimal, benchmark: Decimal) -> Option<Decimal> {
    let worse = side.sign().checked_mul(price.checked_sub(benchmark)?)?;
    let share = worse.checked_div(benchmark).filter(|_| benchmark > Decimal::ZERO)?;
    Some(share.checked_mul(Decimal::from(10_000))?.round_dp(2).normalize())
}

/// The report of an ended parent, line by line.
pub(super) fn lines(parent: &Parent) -> Vec<String> {
    let filled = format!(
        "{} {} {}: {} of {} filled",
        parent.side,
        number(Some(parent.total_qty)),
        parent.symbol,
        number(Some(parent.filled_qty)),
        number(Some(parent.total_qty))
    );
    let Some(price) = parent.filled_avg_price else {
        return vec![filled];
    };
    let mut lines = vec![format!("{filled} at {} on average", number(Some(price)))];
    let benchmarks = [("arrival price", parent.arrival_price), ("interval TWAP", parent.interval_twap)];
    for (name, benchmark) in benchmarks {
        let cost = benchmark.and_then(|benchmark| cost_bps(parent.side, price, benchmark));
        lines.push(match cost {
            Some(bps) => format!("  against the {name} {}: {}", number(benchmark), in_words(bps)),
            None => format!("  against the {name}: not known"),
        });
    }
    lines
}

fn in_words(bps: Decimal) -> String {
    if bps.is_zero() {
        "the same".to_owned()
    } else if bps > Decimal::ZERO {
        format!("{bps} bps worse")
    } else {
        format!("{} bps better", bps.abs())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::progress::tests::parent;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn paying_more_is_worse_for_a_buyer_and_better_for_a_seller() {
        assert_eq!(cost_bps(Side::Buy, d("100.05"), d("100")), Some(d("5")));
        assert_eq!(cost_bps(Side::Sell, d("100.05"), d("100")), Some(d("-5")));
        assert_eq!(cost_bps(Side::Buy, d("100"), d("100")), Some(d("0")));
        assert_eq!(cost_bps(Side::Buy, d("100"), d("0")), None);
    }

    #[test]
    fn a_report_names_both_benchmarks() {
        let mut ended = parent(100, 0, 0);
        ended.filled_avg_price = Some(d("100.02"));
        ended.arrival_price = Some(d("100"));
        ended.interval_twap = Some(d("100.04"));
        assert_eq!(
            lines(&ended),
            [
                "buy 100 AAPL: 100 of 100 filled at 100.02 on average",
                "  against the arrival price 100: 2 bps worse",
                "  against the interval TWAP 100.04: 2 bps better",
            ]
        );
        ended.interval_twap = None;
        assert!(lines(&ended)[2].ends_with("not known"));
        ended.filled_avg_price = None;
        assert_eq!(lines(&ended).len(), 1);
    }

    proptest! {
        #[test]
        fn the_sides_of_a_trade_add_up_to_nothing(price in 1_i64..1_000_000, benchmark in 1_i64..1_000_000) {
            let (price, benchmark) = (Decimal::new(price, 2), Decimal::new(benchmark, 2));
            let buy = cost_bps(Side::Buy, price, benchmark).unwrap();
            let sell = cost_bps(Side::Sell, price, benchmark).unwrap();
            prop_assert_eq!(buy + sell, Decimal::ZERO);
        }
    }
}
