//! `--seeds`: many seeds on all cores, told in the order of the seeds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::report::Pace;
use super::tables::pace;
use super::violation::Broken;
use super::{Ran, Stage, ran};
use crate::cli::CliError;
use crate::cli::output::Out;

/// What became of one seed.
#[derive(Debug, Serialize)]
struct Ended {
    seed: u64,
    steps: u64,
    digest: String,
    processes: u32,
    violation: Option<Broken>,
    #[serde(skip)]
    simulated: Duration,
}

impl Ended {
    /// What became of a seed, and what it broke: in full of the first that broke something, because a rule that breaks
    /// breaks by many seeds.
    fn of(stage: &Stage, ran: &Ran, is_first: bool) -> Self {
        let outcome = &ran.outcome;
        Self {
            seed: ran.seed,
            steps: outcome.steps,
            digest: outcome.digest.clone(),
            processes: outcome.processes,
            violation: outcome.violation.as_ref().map(|violation| {
                let tell = if is_first { Broken::of } else { Broken::in_short };
                tell(stage, ran.seed, violation)
            }),
            simulated: outcome.simulated,
        }
    }

    fn line(&self) -> String {
        let verdict = if self.violation.is_some() { "BROKEN" } else { "holds" };
        let digest = self.digest.get(..16).unwrap_or("-");
        format!("seed {}  {verdict}  {} steps  {} processes  {digest}", self.seed, self.steps, self.processes)
    }
}

/// Every seed together.
#[derive(Debug, Serialize)]
struct Summary {
    seeds: u64,
    broken: u64,
    steps: u64,
    pace: Pace,
    results: Vec<Ended>,
}

/// Runs every seed; a broken rule is a failure, told when all have run.
pub(super) fn run(stage: &Stage, seeds: Range<u64>, json: bool, out: &mut Out) -> Result<(), CliError> {
    let began = Instant::now();
    let many = seeds.end - seeds.start;
    let mut screen = Screen::new(out, many, json);
    let mut summary = Summary {
        seeds: 0,
        broken: 0,
        steps: 0,
        pace: Pace { simulated: Duration::ZERO, real: Duration::ZERO },
        results: Vec::new(),
    };
    let told = on_all_cores(stage, seeds, |ran| {
        let ended = Ended::of(stage, ran, summary.broken == 0);
        screen.tell(&ended)?;
        summary.seeds += 1;
        summary.broken += u64::from(ended.violation.is_some());
        summary.steps += ended.steps;
        summary.pace.simulated += ended.simulated;
        if json {
            summary.results.push(ended);
        }
        Ok(())
    });
    screen.end();
    told?;
    summary.pace.real = began.elapsed();
    if json {
        out.json(&summary)?;
    } else {
        let Summary { seeds, broken, steps, .. } = &summary;
        let rules = if *broken == 0 { "no rule broken".to_owned() } else { format!("{broken} of them broke a rule") };
        out.line(&format!("{seeds} seeds: {rules}, {steps} steps, {}", pace(summary.pace)))?;
    }
    match summary.broken {
        0 => Ok(()),
        n => Err(CliError::Logged(Box::new(CliError::Failed(format!("{n} seeds broke a rule"))))),
    }
}

/// Each core takes the next seed that nobody has; what became of them is handed on in their order.
fn on_all_cores(
    stage: &Stage,
    seeds: Range<u64>,
    mut tell: impl FnMut(&Ran) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let (next, is_over) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    // Bounded: a run holds its whole store.
    let (send, ended) = mpsc::sync_channel(cores);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            let send = send.clone();
            scope.spawn(|| {
                let send = send;
                while !is_over.load(Ordering::Relaxed) {
                    let up = |seed: u64| (seed < seeds.end).then(|| seed + 1);
                    let Ok(seed) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, up) else { break };
                    if send.send(ran(stage, seed, None)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        let mut early = BTreeMap::new();
        let mut due = seeds.start;
        for one in ended {
            early.insert(one.seed, one);
            while let Some(one) = early.remove(&due) {
                due += 1;
                if let Err(error) = tell(&one) {
                    is_over.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    })
}

/// A line for each seed, and on a terminal a bar below them.
struct Screen<'a> {
    out: &'a mut Out,
    bar: Option<ProgressBar>,
    is_silent: bool,
}

impl<'a> Screen<'a> {
    fn new(out: &'a mut Out, many: u64, is_silent: bool) -> Self {
        let bar = (out.is_terminal() && !is_silent).then(|| {
            let bar = ProgressBar::with_draw_target(Some(many), ProgressDrawTarget::stdout());
            let style = ProgressStyle::with_template("[{bar:40}] {pos} of {len} seeds, {eta} to go");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▒·"))
        });
        Self { out, bar, is_silent }
    }

    fn tell(&mut self, ended: &Ended) -> Result<(), CliError> {
        if self.is_silent {
            return Ok(());
        }
        let broken = ended.violation.iter().flat_map(Broken::lines);
        for line in std::iter::once(ended.line()).chain(broken) {
            match &self.bar {
                Some(bar) => bar.println(line),
                None => self.out.line(&line)?,
            }
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        Ok(())
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
