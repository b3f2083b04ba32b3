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
    shrink_by(scenario, broken)
}

fn shrink_by(scenario: &Scenario, mut broken: impl FnMut(&Scenario) -> Option<Violation>) -> Shrunk {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scenario::Size;

    /// Breaks one rule while all of some faults happen, known by their times, and another while none of them does.
    fn shrunk(needed: &[usize]) -> Shrunk {
        let mut scenario = Scenario::drawn(1, Size::STANDARD);
        // What goes wrong all at once shares a time.
        (0..).zip(&mut scenario.faults).for_each(|(second, fault)| fault.at = Duration::from_secs(second));
        let times = needed.iter().map(|place| scenario.faults[*place].at).collect::<Vec<_>>();
        shrink_by(&scenario, |tried| {
            let happens = |at: &Duration| tried.faults.iter().any(|fault| fault.at == *at);
            let rule = if times.iter().all(happens) { "the one" } else { "another" };
            Some(Violation { rule, what: String::new(), step: 0, at: Duration::ZERO, last: Vec::new() })
        })
    }

    #[test]
    fn what_is_left_are_the_faults_that_the_same_rule_needs() {
        for needed in [vec![], vec![0], vec![49], vec![3, 17, 31], (10..20).collect()] {
            let shrunk = shrunk(&needed);
            assert_eq!(shrunk.kept, needed);
            assert_eq!(shrunk.scenario.faults.len(), needed.len());
            assert_eq!(shrunk.violation.unwrap().rule, "the one");
        }
    }

    #[test]
    fn what_breaks_nothing_is_left_as_it_is() {
        let scenario = Scenario::drawn(1, Size::STANDARD);
        let shrunk = shrink_by(&scenario, |_| None);
        assert_eq!((shrunk.kept.len(), shrunk.violation.is_none()), (scenario.faults.len(), true));
    }
}
