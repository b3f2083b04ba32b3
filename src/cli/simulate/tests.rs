//! The command's words, its file with every fault by its field, and what it tells of a run made by hand.

use std::path::Path;

use clap::Parser;
use serde_json::Value;
use tranche_simulation::Violation;

use super::*;
use crate::cli::Cli;
use crate::cli::tests::Screen;

/// A parent of four slices, and one that a kill switch stops.
const BY_HAND: &str = r#"
seed = 3
[settings]
latency_ms = 20
[[parents]]
client_order_id = "whole"
symbol = "ACME"
side = "buy"
qty = 42
order_type = "market"
duration_seconds = 40
interval_seconds = 10
[[parents]]
at_s = 100
client_order_id = "stopped"
symbol = "INIT"
side = "sell"
qty = 40
order_type = "market"
duration_seconds = 40
interval_seconds = 10
[[orders]]
at_s = "5.5"
client_order_id = "alone"
symbol = "ACME"
side = "buy"
qty = "7"
order_type = "market"
[[events]]
at_s = 115
what = "kill_switch"
mode = "halt"
for_s = 10
"#;

fn file(text: &str) -> Result<ScenarioFile, Vec<String>> {
    let faults = |faults: Vec<tranche_actors::domain::fault::FieldError>| {
        faults.into_iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect()
    };
    ScenarioFile::of(text, Path::new(env!("CARGO_MANIFEST_DIR"))).map_err(faults)
}

fn stage(text: &str) -> Stage {
    Stage { plot: Plot::File { path: "mine.toml".into(), file: Box::new(file(text).unwrap()) }, faults: None }
}

fn day(parents: u32) -> Stage {
    Stage { plot: Plot::Day { parents, slices: 3 }, faults: None }
}

/// Runs the program: its exit code, and what it printed or the error that it ended with.
fn program(words: &[&str]) -> (u8, String) {
    let screen = Screen::default();
    let words = ["tranche", "simulate"].iter().chain(words);
    let cli = Cli::try_parse_from(words).unwrap();
    match crate::cli::dispatch(cli, &mut Out::plain(Box::new(screen.clone()))) {
        Ok(()) => (0, screen.text()),
        Err(error) => (error.code(), format!("{}{error}", screen.text())),
    }
}

#[test]
fn words_that_make_no_sense_together_are_refused() {
    for bad in [
        "--seed x",
        "--seed 1 --seeds 1..2",
        "--seeds 5..5",
        "--seeds 5",
        "--parents 3",
        "--day --slices 0",
        "--day --scenario f",
        "--day --log f",
        "--seeds 0..2 --log f",
    ] {
        assert!(Cli::try_parse_from(format!("tranche simulate {bad}").split(' ')).is_err(), "{bad}");
    }
    assert_eq!(program(&["--json", "--log", "-"]).0, 2);
}

#[test]
fn a_file_that_is_not_there_or_has_faults_is_2_and_every_fault_is_named() {
    let (code, text) = program(&["--scenario", "no-such/file.toml"]);
    assert_eq!(code, 2);
    assert!(text.starts_with("the scenario no-such/file.toml has a fault:\n  - the file can't be read: "), "{text}");
    let path = std::env::temp_dir().join(format!("tranche-scenario-{}.toml", std::process::id()));
    std::fs::write(&path, "sed = 1\n[[parents]]\nqty = 0\n").unwrap();
    let (code, text) = program(&["--scenario", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code, 2);
    assert!(text.contains("\n  - sed is unknown"), "{text}");
    assert!(text.contains("\n  - parents[0].qty must be above zero"), "{text}");
    assert!(text.contains("\n  - parents[0].symbol is required"), "{text}");
}

#[test]
fn every_wrong_value_is_named_by_its_field_and_its_rule() {
    let order = "[[orders]]\nsymbol = \"A\"\nside = \"buy\"\nqty = 1\norder_type = \"market\"\n";
    assert!(file(order).is_ok());
    for (wrong, fault) in [
        ("seed = -1", "seed must lie between 0 and"),
        ("start = \"yesterday\"", "start must be a time"),
        ("[settings]\nrate_limit_per_minute = 5", "settings.rate_limit_per_minute must be 10 or more"),
        ("[settings]\nmisfire_grace_seconds = \"0.0001\"", "settings.misfire_grace_seconds must have at most 3"),
        ("[settings]\nlatency_ms = 60001", "settings.latency_ms must lie between 0 and 60000"),
        ("[settings]\npoll_ms = 1", "settings.poll_ms is not a field"),
        ("[faults]\nbusy_per_mille = 1001", "faults.busy_per_mille must lie between 0 and 1000"),
        ("[faults]\nreject_symbols = \"A,b c\"", "faults.reject_symbols has \"B C\""),
        ("[quotes]\nspeed = 0", "quotes.speed must lie between"),
        ("[quotes]\nfiles = [\"A=no-such.csv\"]", "quotes.files can't be replayed: "),
        ("[[events]]\nwhat = \"flood\"", "events[0].what must be one of crash, "),
        ("[[events]]\nwhat = \"breaker\"", "events[0].for_s is required"),
        ("[[events]]\nwhat = \"stream_ends\"\nfor_s = 3", "events[0].for_s is not taken"),
        ("[[events]]\nwhat = \"crash\"\nmode = \"halt\"", "events[0].mode is taken by kill_switch only"),
        ("[[events]]\nwhat = \"crash\"\nat_s = -1", "events[0].at_s must lie between 0 and 604800"),
        ("[[cancels]]\nclient_order_id = \"x\"", "cancels[0].client_order_id is the id of no parent"),
        ("[[cancels]]\nat_s = 3", "cancels[0].client_order_id is required"),
    ] {
        let told = file(&format!("{wrong}\n{order}")).unwrap_err();
        assert!(told.len() == 1 && told[0].starts_with(fault), "{wrong}: {told:?}");
    }
    assert_eq!(file("seed = 1").unwrap_err(), ["parents or orders are required: nobody asks for anything"]);
}

#[test]
fn requests_are_held_to_the_rules_of_plans_before_anything_runs() {
    let parent = |more: &str| {
        let head = "[[parents]]\nsymbol = \"A\"\nside = \"buy\"\nqty = 9\norder_type = \"market\"\n";
        file(&format!("{head}{more}\n")).err().unwrap_or_default()
    };
    assert_eq!(parent("duration_minutes = 1"), [""; 0]);
    for (more, fault) in [
        ("duration_minutes = 1\naccount = \"other\"", "parents[0].account names no account"),
        (
            "duration_minutes = 1\nstart_time = \"2026-11-20T00:00:00Z\"",
            "parents[0].start_time must not lie in the past",
        ),
        (
            "duration_minutes = 20000\ninterval_seconds = 600000",
            "parents[0].duration_minutes makes the parent end more than a week after",
        ),
    ] {
        let told = parent(more);
        assert!(told.len() == 1 && told[0].starts_with(fault), "{more}: {told:?}");
    }
}

#[test]
fn the_settings_of_the_sample_are_the_defaults_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/scenarios");
    let sample = std::fs::read_to_string(folder.join("trouble.toml")).unwrap();
    let (head, rest) = sample.split_once("[settings]\n").unwrap();
    let (settings, rest) = rest.split_once("\n\n").unwrap();
    assert_eq!(settings.lines().filter(|line| !line.starts_with('#')).count(), 8);
    let run = |text: &str| format!("{:?}", ScenarioFile::of(text, &folder).unwrap().scenario(1));
    assert_eq!(run(&sample), run(&format!("{head}{rest}")));
    assert_ne!(run(&sample), run(&sample.replace("latency_ms = 50", "latency_ms = 51")));
}

#[test]
fn the_seed_of_a_file_moves_its_prices_but_where_they_have_one_of_their_own() {
    let order = "[[orders]]\nsymbol = \"A\"\nside = \"buy\"\nqty = 1\norder_type = \"market\"\n";
    let prices = |file: &ScenarioFile, seed| format!("{:?}", file.scenario(seed).quotes);
    let free = file(order).unwrap();
    assert_ne!(prices(&free, 1), prices(&free, 2));
    let held = file(&format!("[quotes]\nseed = 5\n{order}")).unwrap();
    assert_eq!(prices(&held, 1), prices(&held, 2));
    assert_eq!((free.seed(), file(BY_HAND).unwrap().seed()), (1, 3));
}

#[test]
fn a_report_tells_each_schedule_against_its_execution() {
    let stage = stage(BY_HAND);
    let ran = ran(&stage, 3, None);
    let report = Report::of(&stage, &ran);
    assert!(report.violation.is_none());
    let told = serde_json::to_value(&report).unwrap();
    let of = |id: &str| told["parents"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap().clone();
    let whole = of("whole");
    assert_eq!((&whole["planned"], &whole["executed"]), (&4.into(), &4.into()), "{whole}");
    assert_eq!(
        (&whole["filled_qty"], &whole["qty"], &whole["status"]),
        (&"42".into(), &"42".into(), &"completed".into())
    );
    assert!(whole["late_worst_ms"].as_u64().unwrap() < 1_000, "{whole}");
    assert!(whole["against_twap_bps"].is_string(), "{whole}");
    // Engaged from 115 to 125 s, and due at 100, 110, 120 and 130.
    let stopped = of("stopped");
    assert_eq!((&stopped["executed"], &stopped["filled_qty"]), (&3.into(), &"30".into()), "{stopped}");
    assert_eq!(stopped["slices"]["blocked_kill_switch"], 1, "{stopped}");
    assert_eq!(told["unexecuted"]["kill_switch_engaged"], 1);
    assert_eq!(told["orders"][0]["filled_qty"], "7");
    assert_eq!((&told["totals"]["filled_qty"], &told["totals"]["qty"]), (&"72".into(), &"82".into()));

    let text = tables::lines(&report).join("\n");
    for part in [
        "stopped  INIT    sell  partially_completed  3 of 4",
        "1 blocked_kill_switch, 3 filled",
        "2, 7 of 8 slices executed",
        "72 of 82",
        "1 × kill_switch_engaged",
        "tranche simulate --scenario mine.toml --seed 3",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn a_broken_rule_is_1_and_told_with_what_runs_it_again() {
    let stage = stage(BY_HAND);
    let mut ran = ran(&stage, 3, None);
    ran.outcome.violation = Some(Violation {
        rule: "no order is sent while shut",
        what: "one was".to_owned(),
        step: 17,
        at: Duration::from_millis(116_250),
        last: vec!["     17   116.250000 sent".to_owned()],
    });
    let screen = Screen::default();
    let error = tell(&stage, &ran, false, &mut Out::plain(Box::new(screen.clone()))).unwrap_err();
    assert_eq!(error.code(), 1);
    let text = screen.text();
    for part in [
        "BROKEN: no order is sent while shut\n  one was\n  seed 3, step 17, at 116.250 s\n",
        "115.000 s  the kill switch is engaged in mode halt for 10s\n",
        "the last steps:\n       17   116.250000 sent\n",
        "run it again:\n  tranche simulate --scenario mine.toml --seed 3\n",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let screen = Screen::default();
    assert_eq!(tell(&stage, &ran, true, &mut Out::plain(Box::new(screen.clone()))).unwrap_err().code(), 1);
    let told = serde_json::from_str::<Value>(&screen.text()).unwrap();
    assert_eq!(told["violation"]["replay"], "tranche simulate --scenario mine.toml --seed 3");
}

#[test]
fn many_seeds_are_told_in_their_order_each_with_the_digest_that_it_has_alone() {
    let stage = stage(BY_HAND);
    let told = |json| {
        let screen = Screen::default();
        seeds::run(&stage, 4..10, json, &mut Out::plain(Box::new(screen.clone()))).unwrap();
        screen.text()
    };
    let text = told(false);
    let lines = text.lines().collect::<Vec<_>>();
    assert_eq!(lines.len(), 7, "{text}");
    for (line, seed) in lines.iter().zip(4..10) {
        let alone = ran(&stage, seed, None).outcome.digest;
        assert!(line.starts_with(&format!("seed {seed}  holds")) && line.ends_with(&alone[..16]), "{line}");
    }
    assert!(lines[6].starts_with("6 seeds: no rule broken, "), "{text}");
    let summary = serde_json::from_str::<Value>(&told(true)).unwrap();
    assert_eq!((&summary["seeds"], &summary["broken"]), (&6.into(), &0.into()));
    assert_eq!(summary["results"][5]["seed"], 9);
}

#[test]
fn a_store_or_a_venue_that_is_down_takes_nothing_until_it_is_back() {
    let parent = "[[parents]]\nclient_order_id = \"p\"\nsymbol = \"A\"\nside = \"buy\"\nqty = 10\n\
                  order_type = \"market\"\nduration_seconds = 50\ninterval_seconds = 5\n";
    for what in ["store_down", "venue_down", "venue_silent"] {
        let text = format!("{parent}[[events]]\nat_s = 12\nwhat = \"{what}\"\nfor_s = 20\n");
        let stage = stage(&text);
        let ran = ran(&stage, 1, None);
        let report = Report::of(&stage, &ran);
        assert!(report.violation.is_none(), "{what}: {:?}", report.violation);
        let parent = &report.parents[0];
        assert_eq!((parent.status, parent.executed), ("completed", 10), "{what}: {report:?}");
        // The slice of 15 s waits until 32 s at least.
        assert!(parent.late.worst_ms.unwrap() >= 15_000, "{what}: {:?}", parent.late);
    }
}

#[test]
fn no_client_loses_its_patience_before_its_schedule_is_over() {
    let parent = "[[parents]]\nclient_order_id = \"p\"\nsymbol = \"A\"\nside = \"buy\"\nqty = 20\n\
                  order_type = \"market\"\nduration_minutes = 20\ninterval_seconds = 600\n";
    let stage = stage(parent);
    let report = Report::of(&stage, &ran(&stage, 1, None));
    assert_eq!((report.totals.executed, report.totals.planned), (2, 2), "{report:?}");
    assert_eq!(day(1).scenario(1).busy, Duration::from_secs(23_400));
}

#[test]
fn what_is_not_watched_has_no_digest() {
    let mut ran = ran(&stage(BY_HAND), 3, None);
    (ran.outcome.steps, ran.outcome.digest) = (0, String::new());
    let stage = day(2);
    assert!(!stage.is_watched());
    let text = tables::lines(&Report::of(&stage, &ran)).join("\n");
    assert!(
        text.contains("not watched") && text.contains("tranche simulate --day --parents 2 --slices 3 --seed 3"),
        "{text}"
    );
}
