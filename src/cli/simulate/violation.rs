//! A broken rule, told so that it can be run again and understood.

use serde::Serialize;
use tranche_simulation::Violation;
use tranche_simulation::faults::Fault;
use tranche_simulation::shrink::shrink;

use super::report::seconds;
use super::{Stage, with_faults};

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
    /// What a seed broke, with the fewest faults that still break it.
    pub(super) fn of(stage: &Stage, seed: u64, violation: &Violation) -> Self {
        let shrunk = shrink(&stage.scenario(seed));
        let places = stage.places(&shrunk.kept);
        let faults = places.iter().zip(&shrunk.scenario.faults).map(|(place, fault)| line(*place, fault)).collect();
        let told = Self::in_short(stage, seed, shrunk.violation.as_ref().unwrap_or(violation));
        // What was not seen again needs all of it to look for it.
        let replay = match &shrunk.violation {
            None => stage.again(seed),
            Some(_) => format!("{}{}", stage.command(seed), with_faults(&places)),
        };
        Self { faults, replay, ..told }
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
            replay: stage.again(seed),
        }
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("BROKEN: {}", self.rule),
            format!("  {}", self.what),
            format!("  seed {}, step {}, at {} s", self.seed, self.step, self.at_seconds),
        ];
        let lists = [
            ("what has to go wrong for it, by its number in the scenario:", &self.faults),
            ("the last steps:", &self.last_steps),
        ];
        for (heading, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            lines.push(heading.to_owned());
            lines.extend(list.iter().map(|line| format!("  {line}")));
        }
        lines.push("run it again:".to_owned());
        lines.push(format!("  {}", self.replay));
        lines
    }
}

fn line(place: usize, fault: &Fault) -> String {
    format!("{:>3}  {:>9} s  {}", place, seconds(fault.at), fault.kind)
}
