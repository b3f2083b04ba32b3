//! The TWAP plan: a parent's quantity divided over equal intervals. A pure function, without clock or I/O.
//!
//! Equal slices at equal intervals are the textbook time-weighted schedule (Kissell, *The Science of Algorithmic
//! Trading and Portfolio Management*, 2013, chapter 1); the jitter hides its regularity from other participants.

use std::num::NonZeroU32;

use chrono::{DateTime, TimeDelta, Utc};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive, ToPrimitive};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fault::FieldError;
use super::money::{Qty, canonical};

/// The longest schedule, in seconds: a year.
pub const MAX_DURATION_SECONDS: u32 = 31_536_000;

/// How long a parent is worked, in the unit that the client used, since the unit is part of the order's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// A number of minutes.
    Minutes(NonZeroU32),
    /// A number of seconds.
    Seconds(NonZeroU32),
}

impl Span {
    /// The span in seconds; no longer than what `u64` holds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Minutes(minutes) => u64::from(minutes.get()) * 60,
            Self::Seconds(seconds) => u64::from(seconds.get()),
        }
    }

    /// The span in minutes, if it is whole.
    #[must_use]
    pub fn whole_minutes(self) -> Option<u64> {
        let seconds = self.seconds();
        seconds.is_multiple_of(60).then_some(seconds / 60)
    }

    /// The field of the request that gave this span.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Minutes(_) => "duration_minutes",
            Self::Seconds(_) => "duration_seconds",
        }
    }
}

/// Jitter of sizes and times, each within its own interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Randomize {
    /// How far a slice's size may move, in percent of the smaller of two slices that trade lots, 0 to 100.
    pub size_pct: Decimal,
    /// How late in its interval a slice may fire, in percent of the interval, 0 to 100.
    pub time_pct: Decimal,
    /// What the jitter is drawn from; the parent's id if absent.
    pub seed: Option<String>,
}

/// What a plan is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// How long the parent is worked.
    pub span: Span,
    /// The interval as requested, in seconds.
    pub interval_seconds: NonZeroU32,
    /// When to start; at acceptance if absent.
    pub start_time: Option<DateTime<Utc>>,
    /// No slice may be larger.
    pub max_slice_qty: Option<Qty>,
    /// Jitter, if any.
    pub randomize: Option<Randomize>,
}

/// One slice of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedSlice {
    /// Its number; the first is 0.
    pub slice_num: u32,
    /// Its quantity.
    pub qty: Qty,
    /// When it is due, counted from the parent's start.
    pub offset: TimeDelta,
}

/// A schedule with quantities: the total is exact, and times ascend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The interval between slices in seconds, after `max_slice_qty` had its say.
    pub interval_seconds: u32,
    /// The slices in the order of their times.
    pub slices: Vec<PlannedSlice>,
}

impl Plan {
    /// Divides `qty` over the schedule; `seed` feeds the jitter where the schedule names no seed of its own.
    ///
    /// The remainder of lots goes one each to the first slices: 103 over 5 is 21, 21, 21, 20, 20.
    ///
    /// # Errors
    /// The fields that make such a plan impossible.
    pub fn new(qty: Qty, lot: Qty, schedule: &Schedule, max_slices: u32, seed: &str) -> Result<Self, Vec<FieldError>> {
        let total = lots(qty, lot).ok_or_else(|| {
            vec![FieldError::new("qty", "not_a_multiple", format!("must be a multiple of the lot {}", lot.get()))]
        })?;
        let cap = cap_in_lots(schedule, lot)?;
        let (count, interval_seconds) = shape(total, cap, schedule, max_slices)?;
        let sizes = sizes(total, count);
        let duration_ms = schedule.span.seconds().saturating_mul(1_000);
        let interval_ms = u64::from(interval_seconds) * 1_000;
        let offsets = (0..u64::from(count)).map(|i| i * interval_ms).collect::<Vec<_>>();
        let (sizes, offsets) = match &schedule.randomize {
            None => (sizes, offsets),
            Some(jitter) => {
                let mut rng = seeded(jitter.seed.as_deref().unwrap_or(seed));
                (
                    jitter_sizes(sizes, cap, jitter.size_pct, &mut rng),
                    jitter_times(offsets, interval_ms, duration_ms, jitter.time_pct, &mut rng),
                )
            }
        };
        let slices = sizes
            .into_iter()
            .zip(offsets)
            .zip(0_u32..)
            .map(|((size, offset_ms), slice_num)| slice(slice_num, size, lot, offset_ms))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| vec![FieldError::new("qty", "too_large", "is too large to be planned")])?;
        Ok(Self { interval_seconds, slices })
    }
}

fn slice(slice_num: u32, lots: u128, lot: Qty, offset_ms: u64) -> Option<PlannedSlice> {
    let qty = Decimal::from_u128(lots)?.checked_mul(lot.get())?;
    let offset = TimeDelta::milliseconds(i64::try_from(offset_ms).ok()?);
    Some(PlannedSlice { slice_num, qty: Qty::new(qty).ok()?, offset })
}

/// How many lots a quantity is, if it is a whole number of them.
fn lots(qty: Qty, lot: Qty) -> Option<u128> {
    if !(qty.get() % lot.get()).is_zero() {
        return None;
    }
    (qty.get() / lot.get()).to_u128()
}

/// `max_slice_qty` in lots, rounded down.
fn cap_in_lots(schedule: &Schedule, lot: Qty) -> Result<Option<u128>, Vec<FieldError>> {
    let Some(max) = schedule.max_slice_qty else {
        return Ok(None);
    };
    match (max.get() / lot.get()).floor().to_u128() {
        Some(lots) if lots >= 1 => Ok(Some(lots)),
        Some(_) | None => {
            let message = format!("must be at least one lot ({})", canonical(lot.get()));
            Err(vec![FieldError::new("max_slice_qty", "too_small", message)])
        }
    }
}

/// How many slices, and how many seconds apart.
fn shape(total: u128, cap: Option<u128>, schedule: &Schedule, max_slices: u32) -> Result<(u32, u32), Vec<FieldError>> {
    let seconds = schedule.span.seconds();
    let field = schedule.span.field();
    let by_time = seconds.div_ceil(u64::from(schedule.interval_seconds.get())).max(1);
    let by_size = cap.map_or(1, |cap| total.div_ceil(cap));
    let count = u128::from(by_time).max(by_size);
    let too_many = || {
        let message = format!(
            "plans {count} slices over {seconds} s, more than {max_slices}: shorten it or lengthen the interval"
        );
        vec![FieldError::new(field, "too_many_slices", message)]
    };
    let count = u32::try_from(count).map_err(|_| too_many())?;
    if total < u128::from(count) {
        let message = format!("must be at least {count} lots, one for each slice");
        return Err(vec![FieldError::new("qty", "fewer_than_slices", message)]);
    }
    if count > max_slices {
        return Err(too_many());
    }
    if u64::from(count) == by_time {
        return Ok((count, schedule.interval_seconds.get()));
    }
    // `max_slice_qty` asked for more slices than the interval gives.
    let interval = seconds / u64::from(count.saturating_sub(1).max(1));
    match u32::try_from(interval) {
        Ok(interval) if interval >= 1 => Ok((count, interval)),
        Ok(_) | Err(_) => {
            let message = format!("needs {count} slices in {seconds} s, less than a second apart");
            Err(vec![FieldError::new("max_slice_qty", "interval_below_one_second", message)])
        }
    }
}

fn sizes(total: u128, count: u32) -> Vec<u128> {
    let base = total / u128::from(count);
    let longer = total % u128::from(count);
    (0..u128::from(count)).map(|i| if i < longer { base + 1 } else { base }).collect()
}

fn seeded(seed: &str) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(Sha256::digest(seed.as_bytes()).into())
}

/// A number in `0..=max`. The bias of the remainder is below 2⁻³² for what is drawn here.
fn draw(rng: &mut ChaCha8Rng, max: u128) -> u128 {
    let wide = (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64());
    wide % (max + 1)
}

fn percent_of(value: u128, pct: Decimal) -> u128 {
    Decimal::from_u128(value)
        .and_then(|value| value.checked_mul(pct))
        .and_then(|scaled| (scaled / Decimal::ONE_HUNDRED).floor().to_u128())
        .unwrap_or(0)
}

/// Pairs the slices at random and lets each pair trade lots, so that the total can't change.
fn jitter_sizes(mut sizes: Vec<u128>, cap: Option<u128>, pct: Decimal, rng: &mut ChaCha8Rng) -> Vec<u128> {
    let mut order = (0..sizes.len()).collect::<Vec<_>>();
    for last in (1..order.len()).rev() {
        let other = usize::try_from(draw(rng, u128::try_from(last).unwrap_or(0))).unwrap_or(0);
        order.swap(last, other);
    }
    for pair in order.chunks_exact(2) {
        let &[giver, taker] = pair else { continue };
        let (Some(&gives), Some(&takes)) = (sizes.get(giver), sizes.get(taker)) else {
            continue;
        };
        let room = cap.map_or(u128::MAX, |cap| cap.saturating_sub(takes));
        let most = percent_of(gives.min(takes), pct).min(gives.saturating_sub(1)).min(room);
        let moved = draw(rng, most);
        if let Some(size) = sizes.get_mut(giver) {
            *size -= moved;
        }
        if let Some(size) = sizes.get_mut(taker) {
            *size += moved;
        }
    }
    sizes
}

/// Moves each slice later, inside its own interval and before the schedule's end, so that the order stays.
fn jitter_times(offsets: Vec<u64>, interval_ms: u64, end_ms: u64, pct: Decimal, rng: &mut ChaCha8Rng) -> Vec<u64> {
    let window =
        u64::try_from(percent_of(u128::from(interval_ms), pct)).unwrap_or(0).min(interval_ms.saturating_sub(1));
    offsets
        .into_iter()
        .map(|offset| {
            let most = window.min(end_ms.saturating_sub(offset).saturating_sub(1));
            offset + u64::try_from(draw(rng, u128::from(most))).unwrap_or(0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn qty(value: u64) -> Qty {
        Qty::new(Decimal::from(value)).unwrap()
    }

    fn schedule(seconds: u32, interval: u32) -> Schedule {
        Schedule {
            span: Span::Seconds(NonZeroU32::new(seconds).unwrap()),
            interval_seconds: NonZeroU32::new(interval).unwrap(),
            start_time: None,
            max_slice_qty: None,
            randomize: None,
        }
    }

    fn quantities(plan: &Plan) -> Vec<String> {
        plan.slices.iter().map(|slice| canonical(slice.qty.get())).collect()
    }

    #[test]
    fn the_remainder_goes_to_the_first_slices() {
        let five = schedule(300, 60);
        assert_eq!(
            quantities(&Plan::new(qty(103), qty(1), &five, 25_000, "").unwrap()),
            ["21", "21", "21", "20", "20"]
        );
        assert_eq!(
            quantities(&Plan::new(qty(109), qty(1), &five, 25_000, "").unwrap()),
            ["22", "22", "22", "22", "21"]
        );
    }

    #[test]
    fn a_partial_interval_is_a_slice_of_its_own() {
        let plan = Plan::new(qty(10), qty(1), &schedule(61, 60), 25_000, "").unwrap();
        assert_eq!(quantities(&plan), ["5", "5"]);
        assert_eq!(plan.slices[1].offset, TimeDelta::seconds(60));
    }

    #[test]
    fn a_largest_slice_makes_more_and_closer_slices() {
        let capped = Schedule { max_slice_qty: Some(qty(25)), ..schedule(300, 60) };
        let plan = Plan::new(qty(1_000), qty(1), &capped, 25_000, "").unwrap();
        assert_eq!((plan.slices.len(), plan.interval_seconds), (40, 7));
        let floored = Schedule { max_slice_qty: Some(qty(25)), ..schedule(300, 60) };
        assert!(Plan::new(qty(1_000), qty(10), &floored, 25_000, "").unwrap().slices.iter().all(|s| s.qty <= qty(20)));
    }

    #[test]
    fn each_impossible_plan_names_its_field() {
        let field = |result: Result<Plan, Vec<FieldError>>| result.unwrap_err().remove(0).field;
        let five = schedule(300, 60);
        assert_eq!(field(Plan::new(qty(4), qty(1), &five, 25_000, "")), "qty");
        assert_eq!(field(Plan::new(qty(103), qty(10), &five, 25_000, "")), "qty");
        assert_eq!(field(Plan::new(qty(30_000), qty(1), &schedule(30_000, 1), 25_000, "")), "duration_seconds");
        let capped = |max| Schedule { max_slice_qty: Some(qty(max)), ..schedule(10, 60) };
        assert_eq!(field(Plan::new(qty(100), qty(10), &capped(9), 25_000, "")), "max_slice_qty");
        assert_eq!(field(Plan::new(qty(100), qty(1), &capped(5), 25_000, "")), "max_slice_qty");
    }

    prop_compose! {
        fn plans()(
            lot_units in 1_u64..1_000, lot_scale in 0_u32..4, slices in 1_u64..200, spare in 0_u64..10_000,
            seconds in 1_u32..20_000, interval in 1_u32..400, size_pct in 0_u32..=100, time_pct in 0_u32..=100,
            jitter in any::<bool>(), cap in proptest::option::of(1_u64..500), seed in "[a-z]{0,8}",
        ) -> (Qty, Qty, Schedule, String) {
            let lot = Qty::new(Decimal::new(i64::try_from(lot_units).unwrap(), lot_scale)).unwrap();
            let total = Qty::new(lot.get() * Decimal::from(slices + spare)).unwrap();
            let schedule = Schedule {
                max_slice_qty: cap.map(|lots| Qty::new(lot.get() * Decimal::from(lots)).unwrap()),
                randomize: jitter.then(|| Randomize {
                    size_pct: Decimal::from(size_pct), time_pct: Decimal::from(time_pct), seed: None,
                }),
                ..schedule(seconds, interval)
            };
            (total, lot, schedule, seed)
        }
    }

    proptest! {
        #[test]
        fn a_plan_keeps_its_promises((total, lot, schedule, seed) in plans()) {
            let Ok(plan) = Plan::new(total, lot, &schedule, 25_000, &seed) else { return Ok(()) };
            let sum: Decimal = plan.slices.iter().map(|slice| slice.qty.get()).sum();
            prop_assert_eq!(sum, total.get());
            prop_assert!(plan.slices.iter().all(|slice| lots(slice.qty, lot).is_some_and(|lots| lots >= 1)));
            prop_assert!(plan.slices.windows(2).all(|two| two[0].offset < two[1].offset));
            prop_assert!(plan.slices.iter().all(|slice| slice.offset >= TimeDelta::zero()));
            let end = TimeDelta::seconds(i64::try_from(schedule.span.seconds()).unwrap());
            prop_assert!(plan.slices.iter().all(|slice| slice.offset <= end));
            if let Some(max) = schedule.max_slice_qty {
                prop_assert!(plan.slices.iter().all(|slice| slice.qty <= max));
            }
            if schedule.randomize.is_none() {
                prop_assert!(plan.slices.windows(2).all(|two| two[0].qty >= two[1].qty));
                prop_assert!(plan.slices[0].qty.get() - plan.slices[plan.slices.len() - 1].qty.get() <= lot.get());
            }
            prop_assert_eq!(&plan, &Plan::new(total, lot, &schedule, 25_000, &seed).unwrap());
        }
    }

    #[test]
    fn jitter_follows_its_seed_and_nothing_else() {
        let jittered = |seed: Option<&str>| Schedule {
            randomize: Some(Randomize {
                size_pct: Decimal::from(30),
                time_pct: Decimal::from(50),
                seed: seed.map(str::to_owned),
            }),
            ..schedule(600, 60)
        };
        let plan =
            |own: Option<&str>, parent: &str| Plan::new(qty(1_000), qty(1), &jittered(own), 25_000, parent).unwrap();
        assert_eq!(plan(Some("a"), "x"), plan(Some("a"), "y"));
        assert_eq!(plan(None, "a"), plan(Some("a"), "y"));
        assert_ne!(plan(None, "x"), plan(None, "y"));
    }
}
