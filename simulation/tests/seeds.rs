//! The standard scenario, seed by seed: no rule is broken, and the same seed is always the same run.
//!
//! `SEEDS=A..B` says which seeds are run besides the fixed ones; without it a few fresh ones are, and printed.

#![allow(missing_docs, clippy::panic, clippy::unwrap_used, reason = "a test that meets the unexpected has to fail")]

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;
use tranche_simulation::Violation;
use tranche_simulation::run::{Options, Outcome, run};
use tranche_simulation::scenario::{Scenario, Size};

/// Always run. A seed that found something is not kept here but as a test of its own.
const FIXED: Range<u64> = 0..16;
/// How many fresh seeds are run beside them.
const FRESH: u64 = 4;

fn watched(seed: u64) -> Outcome {
    run(&Scenario::drawn(seed, Size::STANDARD), Options { watched: true, sink: None })
}

/// Runs seeds on all cores until one breaks a rule: the least of those that did so.
fn first_violation(seeds: Range<u64>) -> Option<(u64, Violation)> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::new()));
    let is_found = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let up = |seed: u64| (seed < seeds.end).then(|| seed + 1);
                    let Ok(seed) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, up) else { return };
                    if is_found.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Some(violation) = watched(seed).violation {
                        is_found.store(true, Ordering::Relaxed);
                        found.lock().unwrap().insert(seed, violation);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap().into_iter().next()
}

fn hold(seeds: Range<u64>) {
    if let Some((seed, violation)) = first_violation(seeds) {
        let Violation { rule, what, step, last, .. } = violation;
        let last = last.join("\n  ");
        panic!("VIOLATION seed {seed} rule {rule}\n{what}, at step {step}:\n  {last}\ntranche simulate --seed {seed}");
    }
}

fn asked_for() -> Option<Range<u64>> {
    let seeds = std::env::var("SEEDS").ok()?;
    let (from, to) = seeds.split_once("..").unwrap_or_else(|| panic!("SEEDS is A..B, not {seeds}"));
    Some(from.parse().unwrap()..to.parse().unwrap())
}

#[test]
fn no_seed_breaks_a_rule() {
    if let Some(seeds) = asked_for() {
        return hold(seeds);
    }
    hold(FIXED);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let from = now.as_secs() % 1_000_000_000;
    // Past what catches the output of tests: a seed that is not printed can't be run again.
    writeln!(std::io::stderr(), "fresh seeds: {from}..{}", from + FRESH).unwrap();
    hold(from..from + FRESH);
}

#[test]
fn the_same_seed_is_the_same_run_on_any_thread() {
    let digests = |seed| {
        let outcome = watched(seed);
        (outcome.digest, outcome.steps, outcome.simulated)
    };
    let here = (0..2).map(digests).collect::<Vec<_>>();
    let there = std::thread::spawn(move || (0..2).map(digests).collect::<Vec<_>>()).join().unwrap();
    assert_eq!(here, there);
    let mut different = here.clone();
    different.dedup();
    assert_eq!(different.len(), 2, "another seed is another run: {here:?}");
}

#[test]
fn orders_are_replaced_in_the_standard_scenario_in_all_the_ways_there_are() {
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..8 {
        let outcome = run(&Scenario::drawn(seed, Size::STANDARD), Options::default());
        outcome.store.look(|ledger| {
            for order in ledger.orders().filter(|order| order.replaces.is_some()) {
                let what = if order.slice.is_some() { "slice" } else { "single" };
                *ends.entry(format!("{what} {}", order.status)).or_default() += 1;
                *ends.entry(format!("{what} at place {}", order.place().min(2))).or_default() += 1;
            }
            let partly = |order: &&Order| order.status == OrderStatus::Replaced && !order.filled_qty.is_zero();
            let partly = u32::try_from(ledger.orders().filter(partly).count()).unwrap();
            *ends.entry("replaced in part".to_owned()).or_default() += partly;
        });
    }
    println!("{ends:?}");
    for what in
        ["slice filled", "slice canceled", "slice at place 2", "single filled", "single at place 2", "replaced in part"]
    {
        assert!(ends.get(what).is_some_and(|orders| *orders > 0), "{what} in {ends:?}");
    }
}

#[test]
fn the_controls_of_the_standard_scenario_bite_in_all_the_ways_there_are_and_most_of_it_trades() {
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..8 {
        let outcome = run(&Scenario::drawn(seed, Size::STANDARD), Options::default());
        for (what, times) in outcome.refused {
            let code = what.split(':').next().unwrap_or_default();
            *ends.entry(code.to_owned()).or_default() += times;
        }
        outcome.store.look(|ledger| {
            for order in ledger.orders() {
                let why = order.reason_code.as_deref().filter(|_| order.status == OrderStatus::BlockedRisk);
                *ends.entry(why.unwrap_or(order.status.as_str()).to_owned()).or_default() += 1;
                *ends.entry("reduces".to_owned()).or_default() += u32::from(order.reduces);
            }
        });
    }
    println!("{ends:#?}");
    let of = |what: &str| ends.get(what).copied().unwrap_or_default();
    let codes = [
        "max_order_qty",
        "max_position",
        "max_gross_exposure",
        "lockout",
        "reduces",
        "blocked_kill_switch",
        "blocked_circuit_breaker",
    ];
    for what in codes {
        assert!(of(what) > 0, "{what} in {ends:?}");
    }
    assert!(of("filled") > 1_000, "{ends:?}");
}
