//! The switches shared with other programs: what they write is obeyed, what is missing or old releases nothing.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::sleep;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::ledger::KILL_SWITCH;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::ports::store::{InstanceCard, Store};
use tranche_actors::ports::switchboard::SwitchKey;
use tranche_simulation::clock::EPOCH;
use tranche_simulation::life::Life;
use tranche_simulation::switchboard::{Held, MemoryBoard};

use crate::support::orders::{id, parent, resting_parent, single, symbol};
use crate::support::rig::{Rig, millis, run, seconds};

const AT: &str = "2026-11-20T09:00:00.25+00:00";
const REASON: &str = "the venue is back and was checked";

/// A world with a board beside the store.
fn with_board(rig: &mut Rig) -> Arc<MemoryBoard> {
    let board = Arc::new(MemoryBoard::new(Life::default()));
    rig.board = Some(Arc::clone(&board));
    board
}

fn engaged_at(at: &str) -> String {
    json!({"state": "ENGAGED", "engaged_at": at, "engaged_by": "Zo\u{eb}", "engagement_reason": "theirs", "x": 1})
        .to_string()
}

fn released(engaged_at: &Value) -> String {
    json!({
        "state": "ACTIVE", "engaged_at": engaged_at, "disengaged_at": "2026-11-20T09:05:00+00:00", "disengaged_by": "Bob",
    })
    .to_string()
}

fn tripped(at: &str) -> String {
    json!({"state": "TRIPPED", "tripped_at": at, "trip_reason": "DATA_STALE"}).to_string()
}

fn reset(state: &str, reset_at: &str) -> String {
    json!({"state": state, "tripped_at": null, "reset_at": reset_at, "reset_by": "Bob"}).to_string()
}

#[test]
fn the_first_start_creates_both_keys_and_a_later_one_none() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        rig.live(async |rig| {
            rig.open().await;
            sleep(seconds(1)).await;
        })
        .await;
        assert_eq!(board.told(SwitchKey::Kill)["state"], "ACTIVE");
        assert_eq!(board.told(SwitchKey::Breaker)["state"], "OPEN");
        assert!(rig.store.look(|ledger| ledger.switches().first_start.is_some()));
        board.put_back(Held::default());
        let running = rig.start();
        sleep(seconds(5)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchUnknown, ShutReason::CircuitBreakerUnknown]);
        assert_eq!(board.told(SwitchKey::Kill), Value::Null);
        let doubt = running.house.health.doubt(KILL_SWITCH).unwrap();
        assert!(doubt.contains("missing"), "{doubt}");
        // An operator's word brings each of them back.
        running.disengage().await.unwrap();
        running.reset(REASON).await.unwrap();
        sleep(millis(100)).await;
        assert_eq!(board.told(SwitchKey::Kill)["state"], "ACTIVE");
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerQuiet]);
    });
}

#[test]
fn an_engagement_of_another_program_stops_and_cancels_within_100_ms_and_its_release_lets_go() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.submit(resting_parent("open", 100, 5, 20)).await;
        sleep(seconds(5)).await;
        board.write(SwitchKey::Kill, Some(&engaged_at(AT)));
        sleep(millis(100)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
        sleep(seconds(5)).await;
        let stored = rig.store.look(|ledger| ledger.switches().kill.unwrap());
        assert_eq!((stored.is_engaged(), stored.mode), (true, Some(KillMode::Cancel)));
        assert_eq!(stored.engaged_by.as_deref(), Some("Zoë"));
        assert_eq!(rig.statuses(&id("open"))[0], OrderStatus::Canceled);
        assert_eq!(board.told(SwitchKey::Kill)["x"], 1, "what they wrote is left alone");
        board.write(SwitchKey::Kill, Some(&released(&json!(AT))));
        sleep(millis(200)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        let stored = rig.store.look(|ledger| ledger.switches().kill.unwrap());
        assert_eq!((stored.is_engaged(), stored.disengaged_by.as_deref()), (false, Some("Bob")));
        let history = rig.store.look(|ledger| ledger.history("kill_switch"));
        let events = history.iter().map(|entry| entry.event.as_str()).collect::<Vec<_>>();
        assert_eq!(events, ["ENGAGED", "DISENGAGED"]);
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn what_is_no_release_of_what_we_hold_releases_nothing_and_is_told_so() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        let before = board.snapshot();
        running.engage(KillMode::Halt).await.unwrap();
        let ours = board.told(SwitchKey::Kill);
        assert_eq!(ours["state"], "ENGAGED");
        let mut half = ours.clone();
        half["state"] = json!("ACTIVE");
        let mut other = half.clone();
        for (field, value) in [("engaged_at", AT), ("disengaged_at", AT), ("disengaged_by", "Bob")] {
            other[field] = json!(value);
        }
        for said in [json!({"state": "ACTIVE"}), half, other] {
            board.write(SwitchKey::Kill, Some(&said.to_string()));
            sleep(millis(200)).await;
            assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged], "{said}");
            assert_eq!(board.told(SwitchKey::Kill)["state"], "ENGAGED", "the stricter counts, there too");
        }
        for garbage in ["", "[]", "{", "{\"state\":\"AJAR\"}", "{\"state\":1}"] {
            board.write(SwitchKey::Kill, Some(garbage));
            sleep(millis(200)).await;
            assert!(rig.reasons(&running).contains(&ShutReason::KillSwitchEngaged), "{garbage}");
        }
        board.put_back(before);
        sleep(millis(200)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged], "an older snapshot releases nothing");
        running.disengage().await.unwrap();
        assert_eq!(board.told(SwitchKey::Kill)["state"], "ACTIVE");
        sleep(millis(100)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn a_flush_while_engaged_stays_shut_across_a_restart() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        rig.live(async |rig| {
            let running = rig.open().await;
            running.engage(KillMode::Cancel).await.unwrap();
            running.trip().await;
            board.put_back(Held::default());
        })
        .await;
        board.put_back(Held::default());
        let running = rig.start();
        sleep(seconds(5)).await;
        let reasons = rig.reasons(&running);
        assert_eq!(reasons, [ShutReason::KillSwitchEngaged, ShutReason::CircuitBreakerTripped]);
    });
}

#[test]
fn a_board_that_is_lost_shuts_within_a_second_and_due_slices_go_on_once_it_is_back() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.submit(parent("waits", 100, 4, 10)).await;
        sleep(seconds(15)).await;
        board.cut(true);
        sleep(millis(900)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchUnknown]);
        let doubt = running.house.health.doubt(KILL_SWITCH).unwrap();
        assert!(doubt.contains("can't be reached"), "{doubt}");
        sleep(seconds(20)).await;
        assert_eq!(rig.venue.submissions().len(), 2, "what is due waits");
        board.cut(false);
        sleep(millis(500)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("waits")), [OrderStatus::Filled; 4]);
        rig.audit_at_rest();
    });
}

#[test]
fn one_read_that_fails_changes_nothing() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        for _ in 0..20 {
            board.cut(true);
            sleep(millis(60)).await;
            assert_eq!(rig.verdict(&running), Verdict::Open);
            board.cut(false);
            sleep(millis(60)).await;
            assert_eq!(rig.verdict(&running), Verdict::Open);
        }
    });
}

#[test]
fn engaging_without_the_board_works_says_so_and_is_told_when_it_is_back() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        board.cut(true);
        let began = rig.clock.elapsed();
        let answer = running.engage(KillMode::Cancel).await.unwrap();
        assert_eq!(answer.not_durable, ["redis"]);
        assert!(rig.clock.elapsed() - began < seconds(4));
        let refused = running.disengage().await;
        assert!(matches!(refused, Err(CommandError::SwitchboardUnavailable)), "{refused:?}");
        assert!(rig.reasons(&running).contains(&ShutReason::KillSwitchEngaged));
        board.cut(false);
        sleep(millis(300)).await;
        assert_eq!(board.told(SwitchKey::Kill)["state"], "ENGAGED");
        assert_eq!(board.snapshot().kills.len(), 1);
        running.disengage().await.unwrap();
        assert_eq!(board.told(SwitchKey::Kill)["state"], "ACTIVE");
    });
}

#[test]
fn an_engagement_that_is_over_and_comes_back_stops_for_as_long_as_it_is_told() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.engage(KillMode::Cancel).await.unwrap();
        let engaged = board.snapshot();
        running.disengage().await.unwrap();
        let over = board.snapshot();
        board.put_back(engaged);
        sleep(millis(200)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
        assert!(!rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
        board.put_back(over);
        sleep(millis(300)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn a_trip_and_a_reset_of_another_program_are_obeyed_and_old_resets_are_not() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        board.write(SwitchKey::Breaker, Some(&tripped(AT)));
        sleep(millis(150)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerTripped]);
        sleep(millis(200)).await;
        assert!(rig.store.look(|ledger| ledger.switches().breaker.unwrap().seen_on_board));
        board.write(SwitchKey::Breaker, Some("{\"state\":\"OPEN\"}"));
        sleep(millis(200)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerTripped], "nobody says who reset it");
        board.write(SwitchKey::Breaker, Some(&reset("QUIET_PERIOD", "2026-11-20T09:10:00+00:00")));
        sleep(millis(200)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerQuiet]);
        sleep(seconds(301)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open, "a quiet period ends by itself");
        let old = board.snapshot();
        let answer = running.house.switches.trip.send(crate::shared::manual()).await.unwrap().unwrap();
        assert!(answer.not_durable.is_empty(), "{answer:?}");
        assert_eq!(board.snapshot().trips.len(), old.trips.len() + 1);
        board.put_back(old);
        sleep(millis(300)).await;
        assert_eq!(
            rig.reasons(&running),
            [ShutReason::CircuitBreakerTripped],
            "the time of that reset was seen before"
        );
        let state = running.reset(REASON).await.unwrap();
        assert_eq!(state.state, BreakerWord::Quiet);
        let newest = board.snapshot().trips.last().cloned().unwrap();
        let newest: Value = serde_json::from_slice(&newest.1).unwrap();
        assert_eq!(newest["reset_by"], "ops");
    });
}

fn manual() -> tranche_actors::commands::Trip {
    tranche_actors::commands::Trip {
        operator: "ops".to_owned(),
        reason: "MANUAL".to_owned(),
        details: None,
        by: crate::support::orders::caller().into(),
    }
}

#[test]
fn a_trip_that_is_not_durable_says_where() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        board.cut(true);
        rig.store.fail_commits(true);
        let answer = running.house.switches.trip.send(manual()).await.unwrap().unwrap();
        assert_eq!(answer.not_durable, ["database", "redis"]);
        board.cut(false);
        rig.store.fail_commits(false);
        sleep(seconds(3)).await;
        assert_eq!(board.told(SwitchKey::Breaker)["state"], "TRIPPED");
        assert_eq!(rig.store.look(|ledger| ledger.switches().breaker.unwrap().state), BreakerWord::Tripped);
    });
}

#[test]
fn of_two_instances_that_engage_at_once_one_wins_and_each_stops() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        rig.store.share();
        let first = rig.open().await;
        rig.tuning.card.id = "second".to_owned();
        let second = rig.start();
        sleep(seconds(3)).await;
        for instance in ["seam", "second"] {
            let (id, version) = (instance.to_owned(), "1".to_owned());
            rig.store.heartbeat(&InstanceCard { id, address: None, version, started_at: EPOCH }).await.unwrap();
        }
        let (one, two) = futures_util::join!(first.engage(KillMode::Halt), async {
            sleep(millis(1)).await;
            second.engage(KillMode::Halt).await
        });
        let (winner, loser) = if one.is_ok() { (one, two) } else { (two, one) };
        let winner = winner.unwrap();
        assert!(
            matches!(&loser, Err(CommandError::AlreadyEngaged(state)) if state.engagement_id.as_ref() == Some(&winner.engagement_id)),
            "{loser:?}"
        );
        assert!(winner.instances.iter().all(|one| one.outcome == "confirmed"), "{winner:?}");
        assert_eq!(winner.instances.len(), 2);
        assert_eq!(board.snapshot().kills.len(), 1);
        let history = rig.store.look(|ledger| ledger.history("kill_switch"));
        assert_eq!(history.len(), 1, "{history:?}");
        second.disengage().await.unwrap();
        sleep(millis(200)).await;
        assert!(!first.house.health.kill().unwrap().is_engaged(), "a release on one instance reaches the other");
        assert!(!rig.reasons(&first).contains(&ShutReason::KillSwitchEngaged));
    });
}

#[test]
fn of_two_instances_that_engage_at_once_one_wins_whichever_the_slow_database_takes_first() {
    for (ours, theirs) in [(400, 300), (300, 400), (400, 400), (20, 400), (400, 20)] {
        run(|mut rig| async move {
            let board = with_board(&mut rig);
            rig.store.share();
            let first = rig.open().await;
            let (second, store) = rig.beside("second");
            store.share();
            sleep(seconds(3)).await;
            rig.store.calls.delay("commit", millis(ours));
            store.calls.delay("commit", millis(theirs));
            let (one, two) = futures_util::join!(first.engage(KillMode::Halt), async {
                sleep(millis(5)).await;
                second.engage(KillMode::Halt).await
            });
            let (winner, loser) = if one.is_ok() { (one, two) } else { (two, one) };
            let winner = winner.unwrap();
            assert!(matches!(loser, Err(CommandError::AlreadyEngaged(_))), "{ours} and {theirs} ms: {loser:?}");
            sleep(seconds(5)).await;
            let stored = rig.store.look(|ledger| ledger.switches().kill.unwrap());
            assert_eq!(stored.engagement_id, Some(winner.engagement_id), "{ours} and {theirs} ms");
            for one in [&first, &second] {
                assert!(one.house.health.kill().unwrap().is_same(&stored));
                assert!(rig.reasons(one).contains(&ShutReason::KillSwitchEngaged));
            }
            assert!(!board.told(SwitchKey::Kill)["engaged_at"].is_null());
        });
    }
}

#[test]
fn without_a_board_the_database_is_polled_and_what_does_not_confirm_has_lapsed() {
    run(|mut rig| async move {
        rig.store.share();
        let first = rig.open().await;
        rig.tuning.card.id = "second".to_owned();
        let second = rig.start();
        sleep(seconds(3)).await;
        for instance in ["seam", "second", "frozen"] {
            let (id, version) = (instance.to_owned(), "1".to_owned());
            rig.store.heartbeat(&InstanceCard { id, address: None, version, started_at: EPOCH }).await.unwrap();
        }
        let began = rig.clock.elapsed();
        let answer = first.engage(KillMode::Halt).await.unwrap();
        let outcomes = answer.instances.iter().map(|one| (one.id.as_str(), one.outcome)).collect::<Vec<_>>();
        assert_eq!(outcomes, [("seam", "confirmed"), ("frozen", "lapsed"), ("second", "confirmed")]);
        assert!(rig.clock.elapsed() - began >= millis(2_500), "its lease on the gate has run out by then");
        assert!(rig.reasons(&second).contains(&ShutReason::KillSwitchEngaged));
        second.trip().await;
        sleep(millis(100)).await;
        assert!(rig.reasons(&first).contains(&ShutReason::CircuitBreakerTripped));
        first.reset(REASON).await.unwrap();
        sleep(millis(100)).await;
        assert!(rig.reasons(&second).contains(&ShutReason::CircuitBreakerQuiet));
    });
}

#[test]
fn a_foreign_engagement_closes_what_is_held_where_the_configuration_says_so() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        rig.tuning.foreign_mode = KillMode::Flatten;
        let running = rig.open().await;
        running.send(single("entry", 10)).await;
        rig.until("it is held", || rig.venue.holds(&symbol()) == rust_decimal::Decimal::TEN).await;
        board.write(SwitchKey::Kill, Some(&engaged_at(AT)));
        let is_flat = || running.house.accounts.first().health.flattening().is_some_and(|progress| progress.flat);
        rig.until("it is flat", is_flat).await;
        let state = running.house.health.kill().unwrap();
        let closed = id(&format!("flatten.{}.default.ACME.1", state.engagement_id.unwrap()));
        assert_eq!((state.mode, rig.order(&closed).status), (Some(KillMode::Flatten), OrderStatus::Filled));
        assert!(rig.venue.holds(&symbol()).is_zero());
    });
}
