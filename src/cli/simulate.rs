//! `tranche simulate`: the whole gateway on virtual time, by a seed or by a scenario of one's own.

mod asks;
mod events;
mod file;
mod log;
mod report;
mod seeds;
mod tables;
#[cfg(test)]
mod tests;
mod toml;
mod violation;

#[cfg(any(test, fuzzing))]
pub use file::hostile as scenario;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tranche_actors::ports::Entropy;
use tranche_simulation::run::{Options, Outcome};
use tranche_simulation::scenario::{Scenario, Size};

use super::CliError;
use super::output::Out;
use crate::clock::SystemEntropy;
use file::ScenarioFile;
use report::Report;

pub(super) use file::ScenarioError;

/// Parents and slices of a day that nobody says more about.
const DAY: (u32, u32) = (1_000, 390);

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// What chance is drawn from, and with it the scenario; without it a fresh one, which is printed.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Every seed from A up to, but not including, B, on all cores.
    #[arg(long, value_name = "A..B", value_parser = range, conflicts_with = "day")]
    seeds: Option<Range<u64>>,
    /// A scenario of your own, as config/scenarios/trouble.toml shows.
    #[arg(long, value_name = "FILE", conflicts_with = "day")]
    scenario: Option<PathBuf>,
    /// A trading day of 6.5 hours on which nothing goes wrong; no step is held against the rules.
    #[arg(long)]
    day: bool,
    /// Parents of the day [default: 1000].
    #[arg(long, value_name = "N", requires = "day", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    parents: Option<u32>,
    /// Slices of each of them [default: 390].
    #[arg(long, value_name = "N", requires = "day", value_parser = clap::value_parser!(u32).range(1..=23_400))]
    slices: Option<u32>,
    /// Let only these of the scenario's faults happen, by their numbers from 0: a list with commas, or `none`.
    #[arg(long, value_name = "LIST", value_parser = places, conflicts_with_all = ["seeds", "day"])]
    faults: Option<Places>,
    /// Write every step as a line; `-` is the standard output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "day"])]
    log: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.filter(|range: &Range<u64>| !range.is_empty())
        .ok_or_else(|| "must be A..B with A below B, such as 0..1000".to_owned())
}

/// The places of faults in a scenario.
#[derive(Clone, Debug)]
struct Places(Vec<usize>);

fn places(text: &str) -> Result<Places, String> {
    if text == "none" {
        return Ok(Places(Vec::new()));
    }
    let places = text.split(',').map(|place| place.trim().parse().ok()).collect::<Option<BTreeSet<usize>>>();
    let places = places.ok_or_else(|| "must be numbers with commas between them, or none".to_owned())?;
    Ok(Places(places.into_iter().collect()))
}

/// What is run, and which of its faults happen: all of them where nobody says.
struct Stage {
    plot: Plot,
    faults: Option<Places>,
}

/// What is run by each seed.
enum Plot {
    Drawn,
    Day { parents: u32, slices: u32 },
    File { path: PathBuf, file: Box<ScenarioFile> },
}

impl Plot {
    /// With all of its faults.
    fn scenario(&self, seed: u64) -> Scenario {
        match self {
            Self::Drawn => Scenario::drawn(seed, Size::STANDARD),
            Self::Day { parents, slices } => Scenario::day(seed, *parents, *slices),
            Self::File { file, .. } => file.scenario(seed),
        }
    }
}

impl Stage {
    fn of(args: &SimulateArgs) -> Result<Self, CliError> {
        let plot = if let Some(path) = &args.scenario {
            Plot::File { path: path.clone(), file: Box::new(ScenarioFile::read(path)?) }
        } else if args.day {
            Plot::Day { parents: args.parents.unwrap_or(DAY.0), slices: args.slices.unwrap_or(DAY.1) }
        } else {
            Plot::Drawn
        };
        Ok(Self { plot, faults: args.faults.clone() })
    }

    /// The numbers, in the whole scenario, of faults that this stage lets happen.
    fn places(&self, kept: &[usize]) -> Vec<usize> {
        match &self.faults {
            Some(Places(places)) => kept.iter().filter_map(|place| places.get(*place)).copied().collect(),
            None => kept.to_vec(),
        }
    }

    /// The seed where nobody names one: fresh where all is drawn from it, else always the same.
    fn seed(&self) -> u64 {
        match &self.plot {
            // Short enough to be typed.
            Plot::Drawn => SystemEntropy.bits() >> 32,
            Plot::Day { .. } => 1,
            Plot::File { file, .. } => file.seed(),
        }
    }

    fn scenario(&self, seed: u64) -> Scenario {
        let scenario = self.plot.scenario(seed);
        match &self.faults {
            Some(Places(places)) => scenario.with_only(places),
            None => scenario,
        }
    }

    const fn is_watched(&self) -> bool {
        !matches!(self.plot, Plot::Day { .. })
    }

    /// Whether every fault that is asked for is one of the scenario's.
    fn check(&self, seed: u64) -> Result<(), CliError> {
        let Some(Places(places)) = &self.faults else { return Ok(()) };
        let there_are = self.plot.scenario(seed).faults.len();
        match places.iter().find(|place| **place >= there_are) {
            Some(place) => {
                let text = format!("--faults: there is no fault {place}, the scenario has {there_are} of them, from 0");
                Err(CliError::Usage(text))
            }
            None => Ok(()),
        }
    }

    /// The words that run it again, with its own faults.
    fn again(&self, seed: u64) -> String {
        match &self.faults {
            Some(Places(places)) => format!("{}{}", self.command(seed), with_faults(places)),
            None => self.command(seed),
        }
    }

    /// The words that run the whole scenario.
    fn command(&self, seed: u64) -> String {
        match &self.plot {
            Plot::Drawn => format!("tranche simulate --seed {seed}"),
            Plot::Day { parents, slices } => {
                format!("tranche simulate --day --parents {parents} --slices {slices} --seed {seed}")
            }
            Plot::File { path, .. } => format!("tranche simulate --scenario {} --seed {seed}", quoted(path)),
        }
    }
}

/// The words that let only these faults happen.
fn with_faults(places: &[usize]) -> String {
    let list = places.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    format!(" --faults {}", if list.is_empty() { "none" } else { &list })
}

/// A path as a shell takes it.
fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A scenario that has been run.
struct Ran {
    seed: u64,
    outcome: Outcome,
    /// How many faults the scenario has, each at its time.
    faults: usize,
    /// How long that took.
    real: Duration,
}

fn ran(stage: &Stage, seed: u64, sink: Option<tranche_simulation::log::Sink>) -> Ran {
    let scenario = stage.scenario(seed);
    let began = Instant::now();
    let outcome = tranche_simulation::run::run(&scenario, Options { watched: stage.is_watched(), sink });
    Ran { seed, outcome, faults: scenario.faults.len(), real: began.elapsed() }
}

/// Runs `tranche simulate`.
pub(super) fn run(args: &SimulateArgs, out: &mut Out) -> Result<(), CliError> {
    if args.json && args.log.as_ref().is_some_and(|log| log.as_os_str() == "-") {
        return Err(CliError::Usage("--json and --log - both print to the standard output: log to a file".to_owned()));
    }
    let stage = Stage::of(args)?;
    if let Some(seeds) = &args.seeds {
        return seeds::run(&stage, seeds.clone(), args.json, out);
    }
    let seed = args.seed.unwrap_or_else(|| stage.seed());
    stage.check(seed)?;
    let ran = match &args.log {
        None => ran(&stage, seed, None),
        Some(path) => {
            let (log, sink) = log::to(path)?;
            let ran = ran(&stage, seed, Some(sink));
            log.finish()?;
            ran
        }
    };
    tell(&stage, &ran, args.json, out)
}

/// Prints what became of one seed; a broken rule is a failure.
fn tell(stage: &Stage, ran: &Ran, json: bool, out: &mut Out) -> Result<(), CliError> {
    let report = Report::of(stage, ran);
    if json {
        out.json(&report)?;
    } else {
        for line in tables::lines(&report) {
            out.line(&line)?;
        }
        if let Some(violation) = &report.violation {
            for line in violation.lines() {
                out.line(&line)?;
            }
        }
    }
    match report.violation {
        None => Ok(()),
        Some(_) => Err(CliError::Logged(Box::new(CliError::Failed("a rule was broken".to_owned())))),
    }
}
