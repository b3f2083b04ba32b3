//! What became of a scenario: its schedules against their execution, and what was refused or left.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde::Serialize;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::terms::Side;
use tranche_actors::market::engine::Engine;

use super::violation::Broken;
use super::{Ran, Stage};
use crate::cli::report::cost_bps;

/// The report of one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    /// What runs the same again.
    pub(super) command: String,
    pub(super) parents: Vec<ParentReport>,
    pub(super) orders: Vec<OrderReport>,
    pub(super) totals: Totals,
    /// What clients were told instead of yes, and how often.
    pub(super) refused: BTreeMap<String, u32>,
    /// Why slices ended without having traded all they should, and how many.
    pub(super) unexecuted: BTreeMap<String, u32>,
    /// How many faults were laid at their times, and how many of them met anything.
    pub(super) faults: usize,
    pub(super) faults_struck: u32,
    pub(super) processes: u32,
    pub(super) pace: Pace,
    /// Steps and digest; none where nothing was watched.
    pub(super) steps: Option<u64>,
    pub(super) digest: Option<String>,
    pub(super) violation: Option<Broken>,
}

/// One parent.
#[derive(Debug, Serialize)]
pub(super) struct ParentReport {
    pub(super) id: String,
    pub(super) symbol: String,
    pub(super) side: Side,
    pub(super) status: &'static str,
    pub(super) planned: usize,
    /// Slices that traded, wholly or in part.
    pub(super) executed: usize,
    pub(super) slices: BTreeMap<&'static str, u32>,
    #[serde(flatten)]
    pub(super) late: Late,
    #[serde(flatten)]
    pub(super) filled: Filled,
    /// How much worse than the arrival price, in hundredths of a percent; below zero is better.
    pub(super) against_arrival_bps: Option<Decimal>,
    /// The same against the interval TWAP.
    pub(super) against_twap_bps: Option<Decimal>,
}

/// One single order.
#[derive(Debug, Serialize)]
pub(super) struct OrderReport {
    pub(super) id: String,
    pub(super) symbol: String,
    pub(super) side: Side,
    pub(super) status: &'static str,
    pub(super) reason: Option<String>,
    #[serde(flatten)]
    pub(super) late: Late,
    #[serde(flatten)]
    pub(super) filled: Filled,
}

/// The time between due and the venue's taking, of those orders that it took.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Late {
    #[serde(rename = "late_median_ms")]
    pub(super) median_ms: Option<u64>,
    #[serde(rename = "late_worst_ms")]
    pub(super) worst_ms: Option<u64>,
}

/// What was to trade, and what did.
#[derive(Debug, Serialize)]
pub(super) struct Filled {
    pub(super) qty: Decimal,
    pub(super) filled_qty: Decimal,
    pub(super) filled_avg_price: Option<Decimal>,
}

/// All parents together.
#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) parents: usize,
    pub(super) planned: usize,
    pub(super) executed: usize,
    #[serde(flatten)]
    pub(super) late: Late,
    pub(super) qty: Decimal,
    pub(super) filled_qty: Decimal,
}

/// How fast time went by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) simulated: Duration,
    pub(super) real: Duration,
}

impl Pace {
    /// How many times faster than in life.
    pub(super) fn ratio(self) -> u128 {
        self.simulated.as_micros().checked_div(self.real.as_micros()).unwrap_or_default()
    }
}

impl Serialize for Pace {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ratio = u64::try_from(self.ratio()).unwrap_or(u64::MAX);
        let form = serde_json::json!({
            "simulated_seconds": seconds(self.simulated), "real_seconds": seconds(self.real), "ratio": ratio,
        });
        form.serialize(serializer)
    }
}

impl Report {
    pub(super) fn of(stage: &Stage, ran: &Ran) -> Self {
        let outcome = &ran.outcome;
        let mut report = outcome.store.look(|ledger| {
            outcome.venue.look(|venue| {
                let mut report = Self::begun(stage, ran);
                let mut all_late = Vec::new();
                for parent in ledger.parents() {
                    let slices = ledger.slices(&parent.id);
                    let late = lateness(&slices, venue);
                    report.count(&slices);
                    report.parents.push(ParentReport::of(parent, &slices, Late::of(late.clone())));
                    all_late.extend(late);
                }
                report.totals.late = Late::of(all_late);
                let singles = ledger.orders().filter(|order| order.slice.is_none());
                report.orders = singles.map(|order| OrderReport::of(order, venue)).collect();
                report
            })
        });
        report.sum();
        report
    }

    fn begun(stage: &Stage, ran: &Ran) -> Self {
        let outcome = &ran.outcome;
        let is_watched = !outcome.digest.is_empty();
        Self {
            seed: ran.seed,
            command: stage.again(ran.seed),
            parents: Vec::new(),
            orders: Vec::new(),
            totals: Totals::default(),
            refused: outcome.refused.clone(),
            unexecuted: BTreeMap::new(),
            faults: ran.faults,
            faults_struck: outcome.struck,
            processes: outcome.processes,
            pace: Pace { simulated: outcome.simulated, real: ran.real },
            steps: is_watched.then_some(outcome.steps),
            digest: is_watched.then(|| outcome.digest.clone()),
            violation: outcome.violation.as_ref().map(|violation| Broken::of(stage, ran.seed, violation)),
        }
    }

    /// Counts slices that ended unexecuted, by reason.
    fn count(&mut self, slices: &[Order]) {
        let left = |slice: &&Order| slice.status.is_terminal() && !slice.leaves().is_zero();
        for slice in slices.iter().filter(left) {
            let reason = slice.reason_code.clone().unwrap_or_else(|| slice.status.as_str().to_owned());
            *self.unexecuted.entry(reason).or_default() += 1;
        }
    }

    fn sum(&mut self) {
        let totals = &mut self.totals;
        for parent in &self.parents {
            totals.parents += 1;
            totals.planned += parent.planned;
            totals.executed += parent.executed;
            totals.qty += parent.filled.qty;
            totals.filled_qty += parent.filled.filled_qty;
        }
    }
}

impl ParentReport {
    fn of(parent: &Parent, slices: &[Order], late: Late) -> Self {
        let (side, price) = (parent.instruction.side, parent.progress.filled_avg_price());
        let cost = |benchmark: Option<Decimal>| cost_bps(side, price?, benchmark?);
        let mut counts = BTreeMap::new();
        for slice in slices {
            *counts.entry(slice.status.as_str()).or_default() += 1;
        }
        Self {
            id: parent.id.to_string(),
            symbol: parent.instruction.symbol.to_string(),
            side,
            status: parent.status.as_str(),
            planned: slices.len(),
            executed: slices.iter().filter(|slice| !slice.filled_qty.is_zero()).count(),
            slices: counts,
            late,
            filled: Filled {
                qty: parent.qty.get().normalize(),
                filled_qty: parent.progress.filled_qty.normalize(),
                filled_avg_price: price,
            },
            against_arrival_bps: cost(parent.arrival_price),
            against_twap_bps: cost(parent.benchmark.interval_twap()),
        }
    }
}

impl OrderReport {
    fn of(order: &Order, venue: &Engine) -> Self {
        Self {
            id: order.id.to_string(),
            symbol: order.instruction.symbol.to_string(),
            side: order.instruction.side,
            status: order.status.as_str(),
            reason: order.reason_code.clone(),
            late: Late::of(lateness(std::slice::from_ref(order), venue)),
            filled: Filled {
                qty: order.qty.get().normalize(),
                filled_qty: order.filled_qty.normalize(),
                filled_avg_price: order.filled_avg_price(),
            },
        }
    }
}

impl Late {
    fn of(mut late: Vec<u64>) -> Self {
        late.sort_unstable();
        let middle = late.len() / 2;
        let upper = late.get(middle).copied();
        let lower =
            if late.len().is_multiple_of(2) { middle.checked_sub(1).and_then(|n| late.get(n).copied()) } else { upper };
        Self { median_ms: lower.zip(upper).map(|(lower, upper)| lower.midpoint(upper)), worst_ms: late.last().copied() }
    }
}

/// How late the venue took each, in milliseconds; its own book says when. What it never took is left out.
fn lateness(orders: &[Order], venue: &Engine) -> Vec<u64> {
    let late = |order: &Order| {
        let taken = venue.book().find(&order.id)?.order.submitted_at;
        // A clock that was set back makes no order early.
        u64::try_from((taken - order.scheduled_time).num_milliseconds().max(0)).ok()
    };
    orders.iter().filter_map(late).collect()
}

/// A time in seconds, to the millisecond.
pub(super) fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(Late::of(Vec::new()), Late::default());
        assert_eq!(Late::of(vec![7]), Late { median_ms: Some(7), worst_ms: Some(7) });
        assert_eq!(Late::of(vec![9, 1, 5]), Late { median_ms: Some(5), worst_ms: Some(9) });
        assert_eq!(Late::of(vec![100, 1, 5, 9]), Late { median_ms: Some(7), worst_ms: Some(100) });
    }

    #[test]
    fn a_ratio_of_no_time_at_all_is_nought() {
        let pace =
            |simulated, real| Pace { simulated: Duration::from_secs(simulated), real: Duration::from_secs(real) };
        assert_eq!(pace(23_400, 9).ratio(), 2_600);
        assert_eq!(pace(23_400, 0).ratio(), 0);
    }
}
