//! The gateway's speed, each figure beside its limit in the same run.
//!
//! `scripts/bench` runs all of it; names of parts (`start`, `submit`, `tail`, `postgres`, `engage`, `lateness`, `day`) run just these. It
//! starts the built program on folders of its own below the target folder, so that the disk is the one that is built on,
//! loads it over loopback, and prints a table; `bench.json` in the target folder has the same figures. Absolute numbers
//! move with the machine, and with whatever else runs there: the ratios are what the targets are about.

#![allow(
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark computes with measured times, and stops where anything fails"
)]

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tranche_simulation::run::{Options, run as simulate};
use tranche_simulation::scenario::Scenario;

#[path = "gateway/burst.rs"]
mod burst;
#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/figures.rs"]
mod figures;
#[path = "gateway/limits.rs"]
mod limits;
#[path = "gateway/load.rs"]
mod load;
#[path = "gateway/pgbench.rs"]
mod pgbench;
#[path = "gateway/server.rs"]
mod server;

use burst::Burst;
use figures::{Reach, Row, Sheet, Spread, ms, percentile};
use limits::{Ledger, same_writes, timers};
use load::{Load, paced, saturated};
use pgbench::{Rows, Way};
use server::Server;

/// The whole run ends after this, whatever hangs.
const PATIENCE: Duration = Duration::from_mins(20);
const RUNS: u32 = 3;
const PARTS: [&str; 7] = ["start", "submit", "tail", "postgres", "engage", "lateness", "day"];
/// Concurrent clients of the submissions.
const CLIENTS: [usize; 2] = [16, 64];
const LOAD_TIME: Duration = Duration::from_secs(3);
const PROBES: u32 = 300;
/// The venue's own latency is not ours to measure, nor is the book of a poor account.
const SETTINGS: [&str; 2] = ["broker.paper.latency_ms=0", "broker.paper.cash=1000000000000"];

fn main() {
    // Cargo adds a flag of its own.
    let parts = std::env::args().skip(1).filter(|part| part != "--bench").collect::<Vec<_>>();
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        eprintln!("bench: there is no part {unknown}; the parts are {}", PARTS.join(", "));
        std::process::exit(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Whichever way it ends, what was begun is dropped, and with it go the servers and their folders.
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).unwrap();
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        tokio::select! {
            sheet = measure(&parts) => Ok(sheet),
            _ = interrupt.recv() => Err("interrupted"),
            _ = terminate.recv() => Err("terminated"),
            () = tokio::time::sleep(PATIENCE) => Err("it takes too long: given up"),
        }
    });
    match ended {
        Ok(sheet) => {
            print!("{}", sheet.table());
            let file = server::target().join("bench.json");
            std::fs::write(&file, sheet.json()).unwrap();
        }
        Err(why) => {
            eprintln!("bench: {why}");
            std::process::exit(1);
        }
    }
}

async fn measure(parts: &[String]) -> Sheet {
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    let mut sheet = Sheet::new();
    if wants("start") {
        start(&mut sheet).await;
    }
    let mut peak = None;
    if wants("submit") || wants("tail") {
        peak = Some(submit(&mut sheet).await);
    }
    if let (true, Some(peak)) = (wants("tail"), peak) {
        tail(&mut sheet, peak / 2.0).await;
    }
    if wants("postgres") {
        postgres(&mut sheet).await;
    }
    if wants("engage") {
        engage(&mut sheet).await;
    }
    if wants("lateness") {
        lateness(&mut sheet, 1_000, 30.0).await;
        lateness(&mut sheet, 10_000, 250.0).await;
    }
    if wants("day") {
        day(&mut sheet).await;
    }
    sheet
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}

/// From the start of the process to its readiness, and what it then holds in memory.
async fn start(sheet: &mut Sheet) {
    say("start");
    let (mut ready, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        // With the settings that the program comes with: this is what a stranger starts.
        let server = Server::start(&[]).await;
        ready.push(ms(server.ready_after));
        tokio::time::sleep(Duration::from_secs(1)).await;
        resident.push(server.resident_mib());
    }
    let value = Spread::of(&ready);
    sheet.add(Row::absolute("start to ready, empty", "ms", value, Reach::AtMost(300.0)));
    let value = Spread::of(&resident);
    sheet.add(Row::absolute("resident memory, idle", "MiB", value, Reach::AtMost(30.0)));
}

/// Parents of ten slices as fast as the clients can, beside the same writes without HTTP and actors. Says the peak rate.
async fn submit(sheet: &mut Sheet) -> f64 {
    let mut peak = 0.0_f64;
    for clients in CLIENTS {
        let (mut rates, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let (mut sizes, mut middles, mut tails) = (Vec::new(), Vec::new(), Vec::new());
        for run in 1..=RUNS {
            say(&format!("submissions of {clients} clients, run {run} of {RUNS}"));
            let server = Server::start(&SETTINGS).await;
            let mut load = Load::new(&server, clients).await;
            saturated(&mut load, Duration::from_millis(300)).await;
            let before = server.commits().await;
            let done = saturated(&mut load, LOAD_TIME).await;
            let after = server.commits().await;
            drop((load, server));
            let mean = (after.writes - before.writes) / (after.commits - before.commits);
            let limit = same_writes(done.latencies.len(), mean).await;
            rates.push(done.rate());
            bare.push(limit);
            ratios.push(done.rate() / limit);
            sizes.push(mean);
            middles.push(percentile(&done.latencies, 50.0));
            tails.push(percentile(&done.latencies, 99.0));
        }
        let rate = Spread::of(&rates);
        peak = peak.max(rate.median);
        let what = format!("durable POST, 10 slices, {clients} clients");
        let note = format!(
            "{:.1} submissions a commit; p50 {:.2} ms, p99 {:.2} ms",
            Spread::of(&sizes).median,
            Spread::of(&middles).median,
            Spread::of(&tails).median
        );
        let beside = ("the same writes straight to the store", Spread::of(&bare));
        let row = Row::ratio(&what, "/s", rate, beside, Spread::of(&ratios), Reach::AtLeast(0.7));
        sheet.add(row.noted(note));
    }
    peak
}

/// The same submissions with the ledger on PostgreSQL, beside what its own benchmark does with their rows.
async fn postgres(sheet: &mut Sheet) {
    let database = tranche_servers::Server::postgres();
    let [mut at_once, mut at_best, mut by_row] = [const { Beside::NONE }; 3];
    for run in 1..=RUNS {
        let (mut rates, mut url) = ([0.0; CLIENTS.len()], String::new());
        for (rate, clients) in rates.iter_mut().zip(CLIENTS) {
            say(&format!("submissions of {clients} clients on PostgreSQL, run {run} of {RUNS}"));
            // A server that is killed keeps its lease for a while.
            url = database.database(&format!("run_{run}_{clients}"));
            let server = Server::start(&[&SETTINGS[..], &[&format!("storage.url={url}")]].concat()).await;
            let mut load = Load::new(&server, clients).await;
            saturated(&mut load, Duration::from_millis(300)).await;
            *rate = saturated(&mut load, LOAD_TIME).await.rate();
        }
        say(&format!("pgbench with their rows, run {run} of {RUNS}"));
        let rows = Rows::of_first_parent(&url);
        at_once.add(rates[0], rows.rate(Way::OneStatement, CLIENTS[0]));
        at_best.add(rates[1], rows.best_rate(Way::OneStatement));
        by_row.add(rates[1], rows.best_rate(Way::EachWithAccount));
    }
    let what = CLIENTS.map(|clients| format!("durable POST, 10 slices, {clients} clients, PostgreSQL"));
    let least = Reach::AtLeast;
    sheet.add(at_once.row(&what[0], "pgbench, the same rows in one statement, as many clients", least(0.65)));
    sheet.add(at_best.row(&what[1], "that pgbench at its best number of clients", least(0.85)));
    sheet.add(by_row.row(&what[1], "pgbench, a statement a row, with the account's row, at its best", least(4.0)));
}

/// Rates of ours, each beside its limit in the same run.
struct Beside {
    rates: Vec<f64>,
    limits: Vec<f64>,
}

impl Beside {
    const NONE: Self = Self { rates: Vec::new(), limits: Vec::new() };

    fn add(&mut self, rate: f64, limit: f64) {
        self.rates.push(rate);
        self.limits.push(limit);
    }

    fn row(&self, what: &str, beside: &'static str, reach: Reach) -> Row {
        let ratios = self.rates.iter().zip(&self.limits).map(|(rate, limit)| rate / limit).collect::<Vec<_>>();
        let beside = (beside, Spread::of(&self.limits));
        Row::ratio(what, "/s", Spread::of(&self.rates), beside, Spread::of(&ratios), reach)
    }
}

/// The slowest hundredth at half the peak rate, beside one synced commit.
async fn tail(sheet: &mut Sheet, rate: f64) {
    let (mut tails, mut middles, mut commits, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 1..=RUNS {
        say(&format!("submissions at {rate:.0}/s, run {run} of {RUNS}"));
        let commit = one_commit().await;
        let server = Server::start(&SETTINGS).await;
        let mut load = Load::new(&server, 64).await;
        saturated(&mut load, Duration::from_millis(300)).await;
        let done = paced(&mut load, rate, LOAD_TIME).await;
        let p99 = percentile(&done.latencies, 99.0);
        tails.push(p99);
        middles.push(percentile(&done.latencies, 50.0));
        commits.push(commit);
        ratios.push(p99 / commit);
    }
    let what = format!("p99 of that POST at {rate:.0}/s, half the peak");
    let beside = ("one synced commit, median", Spread::of(&commits));
    let row = Row::ratio(&what, "ms", Spread::of(&tails), beside, Spread::of(&ratios), Reach::AtMost(5.0));
    sheet.add(row.noted(format!("p50 {:.2} ms", Spread::of(&middles).median)));
}

/// The kill switch's answer with nothing in flight, beside one synced commit.
async fn engage(sheet: &mut Sheet) {
    let (mut answers, mut commits, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=RUNS {
        say(&format!("engagements, run {run} of {RUNS}"));
        let commit = one_commit().await;
        let server = Server::start(&SETTINGS).await;
        let answered = percentile(&load::engagements(&server, 60).await, 50.0);
        answers.push(answered);
        commits.push(commit);
        ratios.push(answered / commit);
    }
    let beside = ("one synced commit, median", Spread::of(&commits));
    let (what, value) = ("engage answered, halt, nothing in flight", Spread::of(&answers));
    sheet.add(Row::ratio(what, "ms", value, beside, Spread::of(&ratios), Reach::AtMost(2.0)));
}

async fn one_commit() -> f64 {
    let ledger = Ledger::open().await;
    percentile(&ledger.probes(PROBES).await, 50.0)
}

/// How late slices are claimed that are all due at one instant, beside timers that do nothing.
async fn lateness(sheet: &mut Sheet, slices: u32, reach: f64) {
    let (mut tails, mut middles, mut bare, mut again) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for run in 1..=RUNS {
        say(&format!("{slices} slices due at one instant, run {run} of {RUNS}"));
        let Burst { lateness, claimed_again } = burst::run(slices).await;
        tails.push(percentile(&lateness, 99.0));
        middles.push(percentile(&lateness, 50.0));
        again += claimed_again;
        bare.push(percentile(&timers(slices).await, 99.0));
    }
    let what = format!("lateness of {slices} slices due at once, p99");
    let beside = ("as many bare timers, p99", Spread::of(&bare));
    let row = Row::beside(&what, "ms", Spread::of(&tails), beside, Reach::AtMost(reach));
    let note = format!("p50 {:.1} ms; {again} claimed more than once in {RUNS} runs", Spread::of(&middles).median);
    sheet.add(row.noted(note));
}

/// A simulated trading day of 1,000 parents with 390 slices each, on one thread.
async fn day(sheet: &mut Sheet) {
    let mut times = Vec::new();
    for run in 1..=RUNS {
        say(&format!("a simulated day, run {run} of {RUNS}"));
        let simulated = tokio::task::spawn_blocking(|| {
            let began = std::time::Instant::now();
            let outcome = simulate(&Scenario::day(1, 1_000, 390), Options::default());
            let open = outcome.store.look(|ledger| ledger.orders().filter(|order| !order.leaves().is_zero()).count());
            assert_eq!(open, 0, "every slice is executed");
            began.elapsed()
        });
        times.push(simulated.await.unwrap().as_secs_f64());
    }
    let what = "a simulated day of 6.5 h, 1,000 parents of 390 slices";
    sheet.add(Row::absolute(what, "s", Spread::of(&times), Reach::AtMost(10.0)));
}
