//! How much of a symbol a slice may be, by what trades of it in a day.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::money::{Qty, canonical};
use super::venue::DailyBar;

/// Over how many trading days the volume is averaged.
pub const DAYS: u32 = 20;

/// The limit of a parent's slices by volume, kept with the parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liquidity {
    /// The average daily volume that it was made from, in units.
    pub adv: Decimal,
    /// Which share of it one slice may be, in percent.
    pub pct: Decimal,
    /// No slice is larger.
    pub max_slice_qty: Qty,
}

impl Liquidity {
    /// The limit by an average daily volume: at least one unit, so that a thin symbol can be worked at all.
    #[must_use]
    pub fn new(adv: Decimal, pct: Decimal) -> Option<Self> {
        let share = adv.checked_mul(pct)?.checked_div(Decimal::ONE_HUNDRED)?.floor();
        let max_slice_qty = Qty::new(share.max(Decimal::ONE)).ok()?;
        Some(Self { adv, pct, max_slice_qty })
    }

    /// The same for a person.
    #[must_use]
    pub fn explain(&self) -> String {
        let [most, pct, adv] = [self.max_slice_qty.get(), self.pct, self.adv.round_dp(0)].map(canonical);
        format!("{most} a slice ({pct} % of the average daily volume of {adv})")
    }
}

/// What is known of a symbol's volume when a parent is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// Slices are not limited by volume.
    Off,
    /// They would be, but the volume is not known: why, for a person.
    Missing(&'static str),
    /// They are.
    Known(Liquidity),
}

/// The average volume of some days; nothing of none.
#[must_use]
pub fn average(bars: &[DailyBar]) -> Option<Decimal> {
    let total = bars.iter().try_fold(Decimal::ZERO, |sum, bar| sum.checked_add(bar.volume))?;
    total.checked_div(Decimal::from(bars.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bar(volume: i64) -> DailyBar {
        DailyBar { date: "2026-11-20".parse().unwrap(), close: Decimal::ONE, volume: volume.into() }
    }

    #[test]
    fn a_share_of_the_average_is_floored_and_one_unit_at_least() {
        let most = |volumes: &[i64], pct: i64| {
            let adv = average(&volumes.iter().map(|volume| bar(*volume)).collect::<Vec<_>>())?;
            Liquidity::new(adv, Decimal::new(pct, 1)).map(|limit| limit.max_slice_qty.get())
        };
        assert_eq!(most(&[1_000, 2_999], 10), Some(Decimal::from(19)));
        assert_eq!(most(&[50], 10), Some(Decimal::ONE));
        assert_eq!(most(&[0], 10), Some(Decimal::ONE));
        assert_eq!(most(&[], 10), None);
        let told = Liquidity::new(Decimal::new(19_995, 1), Decimal::ONE).unwrap().explain();
        assert_eq!(told, "19 a slice (1 % of the average daily volume of 2000)");
    }

    proptest! {
        #[test]
        fn the_limit_never_exceeds_its_share(volumes in proptest::collection::vec(0_i64..1_000_000_000, 1..20), pct in 1_i64..1_000) {
            let adv = average(&volumes.iter().map(|volume| bar(*volume)).collect::<Vec<_>>()).unwrap();
            let limit = Liquidity::new(adv, Decimal::new(pct, 1)).unwrap();
            let most = limit.max_slice_qty.get();
            prop_assert!(most.fract().is_zero() && most >= Decimal::ONE);
            prop_assert!(most == Decimal::ONE || most * Decimal::ONE_HUNDRED <= adv * limit.pct);
            prop_assert!((most + Decimal::ONE) * Decimal::ONE_HUNDRED > adv * limit.pct);
        }
    }
}
