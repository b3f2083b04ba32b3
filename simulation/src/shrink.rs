//! Makes a violation short: faults are switched off, handfuls first and then one by one, as long as the same rule breaks.

use crate::Violation;
use crate::run::{Options, run};
use crate::scenario::Scenario;

/// The faults that a violation needs.
pub struct Shrunk {
    /// Their places in the scenario that was shrunk.
    pub kept: Vec<usize>,
    /// The scenario with these faults alone.
    pub scenario: Scenario,
    /// What they break; `None` where the scenario breaks nothing.
    pub violation: Option<Violation>,
}

/// The fewest faults that were found to break the rule that this scenario breaks. Any one of them switched off, it holds.
#[must_use]
pub fn shrink(scenario: &Scenario) -> Shrunk {
    let mut kept = (0..scenario.faults.len()).collect::<Vec<_>>();
    let mut violation = broken(scenario);
    let Some(rule) = violation.as_ref().map(|found| found.rule) else {
        return Shrunk { kept, scenario: scenario.clone(), violation };
    };
    let mut handful = kept.len().div_ceil(2).max(1);
    loop {
        let before = kept.len();
        let mut from = 0;
        while from < kept.len() {
            let fewer = without(&kept, from, handful);
            match broken(&scenario.with_only(&fewer)).filter(|found| found.rule == rule) {
                Some(found) => (kept, violation) = (fewer, Some(found)),
                None => from += handful,
            }
        }
        if handful == 1 && kept.len() == before {
            break;
        }
        handful = handful.div_ceil(2);
    }
    Shrunk { scenario: scenario.with_only(&kept), kept, violation }
}

fn broken(scenario: &Scenario) -> Option<Violation> {
    run(scenario, Options { watched: true, sink: None }).violation
}

fn without(kept: &[usize], from: usize, many: usize) -> Vec<usize> {
    let (before, rest) = kept.split_at(from.min(kept.len()));
    before.iter().chain(rest.iter().skip(many)).copied().collect()
}
