//! `tranche simulate`: the same seed is the same run in every process, and a scenario of one's own adds up.

use std::path::Path;
use std::process::Command;

use rust_decimal::Decimal;
use serde_json::Value;

use crate::house::{Folder, Outcome, PROGRAM};
use crate::report::{dec, text};

/// The scenario that shows all that a file can say.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/scenarios/trouble.toml");

fn simulate(folder: &Path, words: &[&str]) -> Outcome {
    Outcome::of(Command::new(PROGRAM).arg("simulate").args(words).current_dir(folder))
}

#[test]
fn two_processes_with_one_seed_do_the_same_byte_for_byte_and_another_seed_does_not() {
    let folder = Folder::new();
    let log = |name: &str, seed: &str| {
        let report = simulate(folder.path(), &["--seed", seed, "--log", name, "--json"]).json();
        let log = std::fs::read(folder.path().join(name)).unwrap();
        (report, log)
    };
    let ((one, first), (two, second), (_, other)) = (log("first", "11"), log("second", "11"), log("other", "12"));
    assert!(first.len() > 10_000, "a log of {} bytes", first.len());
    assert!(first == second, "the logs of two processes differ");
    assert!(first != other, "another seed is another run");
    assert_eq!(one["digest"], two["digest"]);
    let lines = first.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(one["steps"].as_u64().unwrap(), lines as u64, "each step is a line");
    let digest = {
        use sha2::{Digest, Sha256};
        Sha256::digest(&first).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(text(&one["digest"]), digest, "the digest is that of the log");

    let printed = simulate(folder.path(), &["--seed", "11", "--log", "-"]).ok();
    assert!(printed.as_bytes().starts_with(&first), "the standard output has the log, and then the report");
    assert!(printed[first.len()..].starts_with("seed 11\n"), "{}", &printed[first.len()..]);
}

#[test]
fn the_report_of_the_sample_adds_up() {
    let folder = Folder::new();
    let report = simulate(folder.path(), &["--scenario", SAMPLE, "--json"]).json();
    let parents = report["parents"].as_array().unwrap();
    let sum = |name: &str| parents.iter().map(|parent| dec(&parent[name])).sum::<Decimal>();
    let count = |name: &str| parents.iter().map(|parent| parent[name].as_u64().unwrap()).sum::<u64>();
    let totals = &report["totals"];
    assert_eq!((count("planned"), &totals["planned"]), (80, &80.into()), "30, 20 and 30 slices: {report}");
    assert_eq!(dec(&totals["qty"]), Decimal::from(1_000 + 600 + 5_000));
    assert_eq!(
        (sum("filled_qty"), count("executed")),
        (dec(&totals["filled_qty"]), totals["executed"].as_u64().unwrap())
    );

    let of = |counts: &Value| counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    for parent in parents {
        assert_eq!(of(&parent["slices"]), parent["planned"].as_u64().unwrap(), "{parent}");
    }
    // Market and limit orders without a size that is displayed trade wholly or not at all.
    assert_eq!(of(&report["unexecuted"]), 80 - count("executed"), "{report}");
    let canceled = parents.iter().find(|parent| parent["id"] == "replayed").unwrap();
    assert_eq!(canceled["status"], "canceled");
    assert!(report["unexecuted"]["parent_canceled"].as_u64().unwrap() > 0, "{report}");
    assert!(report["unexecuted"]["kill_switch_engaged"].as_u64().unwrap() > 0, "{report}");
    assert_eq!((&report["processes"], &report["violation"]), (&2.into(), &Value::Null), "{report}");
    assert_eq!(report["orders"][0]["status"], "filled");

    let table = simulate(folder.path(), &["--scenario", SAMPLE]).ok();
    let filled = format!("{} of 6600", dec(&totals["filled_qty"]).normalize());
    assert!(table.contains(&filled) && table.contains(&text(&report["digest"])), "{table}");
}

#[test]
fn a_file_with_a_fault_ends_with_2_and_its_name() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("bad.toml"), "[[parents]]\nqty = 0.5\n").unwrap();
    let outcome = simulate(folder.path(), &["--scenario", "bad.toml"]);
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("bad.toml") && outcome.stderr.contains("parents[0].qty must stand in quotes"));
}

#[test]
fn many_seeds_end_with_what_they_came_to() {
    let folder = Folder::new();
    let told = simulate(folder.path(), &["--seeds", "3..5"]).ok();
    let lines = told.lines().collect::<Vec<_>>();
    assert_eq!(lines.len(), 3, "{told}");
    assert!(lines[0].starts_with("seed 3  holds") && lines[1].starts_with("seed 4  holds"), "{told}");
    assert!(
        lines[2].starts_with("2 seeds: no rule broken, ") && lines[2].ends_with(" times as fast as life"),
        "{told}"
    );
}
