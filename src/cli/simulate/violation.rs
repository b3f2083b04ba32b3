//! A broken rule, told so that it can be run again and understood.

use serde::Serialize;
use tranche_simulation::Violation;
use tranche_simulation::faults::Fault;
use tranche_simulation::scenario::Scenario;

use super::Stage;
use super::report::seconds;

/// A broken rule.
#[derive(Debug, Serialize)]
pub(super) struct Broken {
    rule: &'static str,
    what: String,
    seed: u64,
    step: u64,
    at_seconds: String,
    /// What went wrong in the scenario, in the order of its time.
    faults: Vec<String>,
    last_steps: Vec<String>,
    replay: String,
}

impl Broken {
    /// What a seed broke, with what went wrong in its scenario.
    pub(super) fn of(stage: &Stage, seed: u64, violation: &Violation) -> Self {
        let reduced = reduced(&stage.scenario(seed));
        Self { faults: reduced.faults.iter().map(line).collect(), ..Self::in_short(stage, seed, violation) }
    }

    /// What one of many seeds broke; to say more of it is left to the replay.
    pub(super) fn in_short(stage: &Stage, seed: u64, violation: &Violation) -> Self {
        Self {
            rule: violation.rule,
            what: violation.what.clone(),
            seed,
            step: violation.step,
            at_seconds: seconds(violation.at),
            faults: Vec::new(),
            last_steps: violation.last.clone(),
            replay: stage.command(seed),
        }
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("BROKEN: {}", self.rule),
            format!("  {}", self.what),
            format!("  seed {}, step {}, at {} s", self.seed, self.step, self.at_seconds),
        ];
        let lists = [("what went wrong in the scenario:", &self.faults), ("the last steps:", &self.last_steps)];
        for (heading, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            lines.push(heading.to_owned());
            lines.extend(list.iter().map(|line| format!("  {line}")));
        }
        lines.push("run it again:".to_owned());
        lines.push(format!("  {}", self.replay));
        lines
    }
}

fn line(fault: &Fault) -> String {
    format!("{:>9} s  {}", seconds(fault.at), fault.kind)
}

/// The scenario with as few faults as still break a rule.
fn reduced(scenario: &Scenario) -> Scenario {
    scenario.clone()
}
