//! Switches that somebody else moved a moment ago: a wish to stop is judged by what is so, not by what was seen last.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::sleep;
use tranche_actors::commands::{CommandError, Engage, Trip};
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::ledger::{CIRCUIT_BREAKER, KILL_SWITCH};
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::ports::store::{InstanceCard, Store};
use tranche_actors::ports::switchboard::SwitchKey;
use tranche_simulation::clock::EPOCH;
use tranche_simulation::life::Life;
use tranche_simulation::store::MemoryStore;
use tranche_simulation::switchboard::{Held, MemoryBoard};

use crate::support::orders::{caller, single};
use crate::support::rig::{Rig, Running, engage, millis, run, seconds};

const AT: &str = "2026-11-20T09:00:00.25+00:00";

fn with_board(rig: &mut Rig) -> Arc<MemoryBoard> {
    let board = Arc::new(MemoryBoard::new(Life::default()));
    rig.board = Some(Arc::clone(&board));
    board
}

/// Another process on the same ledger and the same board.
fn second(rig: &Rig) -> (Running, Arc<MemoryStore>) {
    rig.store.share();
    let (running, store) = rig.beside("second");
    store.share();
    (running, store)
}

/// Another program releases what stands on the board.
fn release(board: &MemoryBoard) {
    let mut told = board.told(SwitchKey::Kill);
    for (field, value) in [("state", "ACTIVE"), ("disengaged_at", AT), ("disengaged_by", "Bob")] {
        told[field] = json!(value);
    }
    board.write(SwitchKey::Kill, Some(&told.to_string()));
}

/// The switch is engaged, everywhere, and stays so.
async fn stays_engaged(rig: &Rig, running: &Running, id: &str) {
    sleep(seconds(2)).await;
    let held = running.house.health.kill().unwrap();
    assert_eq!((held.is_engaged(), held.engagement_id.as_deref()), (true, Some(id)), "memory");
    assert_eq!(rig.store.look(|ledger| ledger.switches().kill), Some(held), "the database");
    assert_eq!(rig.reasons(running), [ShutReason::KillSwitchEngaged], "the gate");
    if let Some(board) = &rig.board {
        let told = board.told(SwitchKey::Kill);
        assert_eq!(told["state"], "ENGAGED", "the board");
    }
}

#[test]
fn a_wish_to_stop_that_comes_after_a_release_nobody_saw_yet_is_a_new_engagement() {
    for mode in [KillMode::Halt, KillMode::Cancel] {
        run(|mut rig| async move {
            let board = with_board(&mut rig);
            let running = rig.open().await;
            let first = running.engage(KillMode::Halt).await.unwrap();
            sleep(seconds(1)).await;
            release(&board);
            let again = running.engage(mode).await.unwrap();
            assert_ne!(again.engagement_id, first.engagement_id);
            assert!(again.not_durable.is_empty(), "{again:?}");
            stays_engaged(&rig, &running, &again.engagement_id).await;
            running.disengage().await.unwrap();
            assert_eq!(rig.verdict(&running), Verdict::Open);
        });
    }
}

#[test]
fn a_wish_to_stop_on_one_instance_outlives_a_release_on_another() {
    for mode in [KillMode::Halt, KillMode::Cancel] {
        run(|mut rig| async move {
            let (other, _) = second(&rig);
            rig.tuning.gate_poll = millis(400);
            let running = rig.open().await;
            let first = running.engage(KillMode::Halt).await.unwrap();
            sleep(seconds(1)).await;
            other.disengage().await.unwrap();
            assert!(running.house.health.kill().unwrap().is_engaged(), "it has not looked yet");
            let again = running.engage(mode).await.unwrap();
            assert_ne!(again.engagement_id, first.engagement_id);
            stays_engaged(&rig, &running, &again.engagement_id).await;
            assert!(rig.reasons(&other).contains(&ShutReason::KillSwitchEngaged));
        });
    }
}

#[test]
fn an_engagement_that_stands_on_the_board_is_a_conflict() {
    run(|mut rig| async move {
        let _board = with_board(&mut rig);
        let running = rig.open().await;
        let first = running.engage(KillMode::Halt).await.unwrap();
        for _ in 0..3 {
            let again = running.engage(KillMode::Halt).await;
            assert!(matches!(&again, Err(CommandError::AlreadyEngaged(state)) if **state == first.state), "{again:?}");
        }
        stays_engaged(&rig, &running, &first.engagement_id).await;
    });
}

#[test]
fn a_wish_to_stop_outlives_a_release_that_the_board_has_and_the_database_could_not_take() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        sleep(seconds(1)).await;
        rig.store.fail_commits(true);
        release(&board);
        sleep(millis(300)).await;
        let again = running.engage(KillMode::Halt).await.unwrap();
        assert_eq!(again.not_durable, ["database"]);
        rig.store.fail_commits(false);
        stays_engaged(&rig, &running, &again.engagement_id).await;
    });
}

#[test]
fn a_wish_to_stop_outlives_a_release_on_a_board_that_could_not_be_read() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        let first = running.engage(KillMode::Cancel).await.unwrap();
        sleep(seconds(1)).await;
        release(&board);
        board.cut(true);
        let again = running.engage(KillMode::Halt).await.unwrap();
        assert_ne!(again.engagement_id, first.engagement_id);
        assert_eq!(again.state.mode, Some(KillMode::Cancel), "it may be in force still, and becomes no milder");
        assert_eq!(again.not_durable, ["redis"]);
        board.cut(false);
        stays_engaged(&rig, &running, &again.engagement_id).await;
    });
}

#[test]
fn a_release_opens_nothing_before_a_look_that_begins_after_it() {
    run(|rig| async move {
        rig.store.share();
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        sleep(seconds(1)).await;
        rig.store.calls.fail("switches", true);
        let (released, ()) = futures_util::join!(running.disengage(), async {
            for _ in 0..200 {
                sleep(millis(10)).await;
                assert_ne!(rig.verdict(&running), Verdict::Open);
            }
        });
        assert!(!released.unwrap().is_engaged());
        rig.store.calls.fail("switches", false);
        sleep(millis(120)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn a_release_is_answered_once_trading_may_go_on() {
    run(|mut rig| async move {
        let _board = with_board(&mut rig);
        rig.store.share();
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        running.disengage().await.unwrap();
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn a_stop_on_the_board_is_obeyed_while_the_database_says_nothing() {
    let engaged = json!({"state": "ENGAGED", "engaged_at": AT, "engaged_by": "Bob"}).to_string();
    let tripped = json!({"state": "TRIPPED", "tripped_at": AT}).to_string();
    for (key, said) in [(SwitchKey::Kill, engaged), (SwitchKey::Breaker, tripped)] {
        run(|mut rig| async move {
            let board = with_board(&mut rig);
            rig.store.share();
            let running = rig.open().await;
            sleep(seconds(1)).await;
            rig.store.calls.silence("switches", true);
            sleep(millis(60)).await;
            assert_eq!(rig.verdict(&running), Verdict::Open);
            board.write(key, Some(&said));
            sleep(millis(100)).await;
            assert_ne!(rig.verdict(&running), Verdict::Open, "{said}");
        });
    }
}

#[test]
fn a_look_that_the_database_held_up_does_not_undo_a_stop_that_the_board_said_meanwhile() {
    let engaged = json!({"state": "ENGAGED", "engaged_at": AT, "engaged_by": "Bob"}).to_string();
    let tripped = json!({"state": "TRIPPED", "tripped_at": AT}).to_string();
    let said = [(SwitchKey::Kill, engaged), (SwitchKey::Breaker, tripped)];
    for (later, (key, said)) in (0..250).step_by(30).flat_map(|later| said.clone().map(|said| (later, said))) {
        run(|mut rig| async move {
            let board = with_board(&mut rig);
            rig.store.share();
            let running = rig.open().await;
            rig.store.calls.delay("switches", millis(210));
            sleep(seconds(2) + millis(later)).await;
            assert_eq!(rig.verdict(&running), Verdict::Open);
            board.write(key, Some(&said));
            sleep(millis(60)).await;
            for _ in 0..100 {
                assert_ne!(rig.verdict(&running), Verdict::Open, "{said}");
                sleep(millis(5)).await;
            }
        });
    }
}

#[test]
fn a_reset_that_another_instance_writes_between_two_reads_is_not_taken_for_an_old_one() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let (other, store) = second(&rig);
        let running = rig.open().await;
        running.trip().await;
        sleep(seconds(1)).await;
        store.calls.delay("has_switch_entry", millis(150));
        rig.store.calls.delay("commit", millis(100));
        running.reset(REASON).await.unwrap();
        for _ in 0..40 {
            assert_ne!(board.told(SwitchKey::Breaker)["state"], "TRIPPED");
            sleep(millis(50)).await;
        }
        assert_ne!(other.house.health.breaker().unwrap().state, BreakerWord::Tripped);
    });
}

#[test]
fn a_release_that_the_board_takes_late_is_unknown_and_then_finished() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        board.late(millis(300));
        let released = running.disengage().await;
        assert!(matches!(released, Err(CommandError::OutcomeUnknown)), "{released:?}");
        sleep(millis(100)).await;
        assert!(running.house.health.kill().unwrap().is_engaged());
        sleep(millis(400)).await;
        assert!(!rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn a_wish_to_stop_outlives_a_release_that_the_board_takes_later() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        let first = running.engage(KillMode::Halt).await.unwrap();
        board.late(millis(300));
        running.disengage().await.unwrap_err();
        let again = running.engage(KillMode::Halt).await.unwrap();
        assert_ne!(again.engagement_id, first.engagement_id);
        stays_engaged(&rig, &running, &again.engagement_id).await;
    });
}

#[test]
fn releasing_an_unknown_switch_takes_no_engagement_away_that_came_meanwhile() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        board.write(SwitchKey::Kill, None);
        sleep(millis(200)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchUnknown]);
        let engaged = json!({"state": "ENGAGED", "engaged_at": AT, "engaged_by": "Bob"}).to_string();
        board.write(SwitchKey::Kill, Some(&engaged));
        let released = running.disengage().await;
        assert!(matches!(released, Err(CommandError::Conflict(_))), "{released:?}");
        sleep(seconds(1)).await;
        assert_eq!(board.told(SwitchKey::Kill)["state"], "ENGAGED");
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
    });
}

#[test]
fn of_two_releases_at_once_both_succeed() {
    run(|mut rig| async move {
        let _board = with_board(&mut rig);
        let (other, _) = second(&rig);
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        sleep(seconds(1)).await;
        rig.store.calls.delay("commit", millis(200));
        let (slow, quick) = futures_util::join!(running.disengage(), async {
            sleep(millis(10)).await;
            other.disengage().await
        });
        assert_eq!(slow.unwrap(), quick.unwrap(), "what was written first");
        let history = rig.store.look(|ledger| ledger.history("kill_switch"));
        assert_eq!(history.iter().filter(|entry| entry.event == "DISENGAGED").count(), 1);
    });
}

#[test]
fn of_two_that_engage_at_once_the_stricter_one_is_told_what_the_engagement_is_called() {
    run(|rig| async move {
        let (other, _) = second(&rig);
        let running = rig.open().await;
        let (milder, stricter) = futures_util::join!(running.engage(KillMode::Halt), async {
            sleep(millis(1)).await;
            other.engage(KillMode::Cancel).await
        });
        let (milder, stricter) = (milder.unwrap(), stricter.unwrap());
        assert_eq!(stricter.engagement_id, milder.engagement_id);
        assert_eq!(stricter.state.mode, Some(KillMode::Cancel));
        stays_engaged(&rig, &running, &milder.engagement_id).await;
    });
}

async fn both_live(rig: &Rig) {
    for instance in ["seam", "second"] {
        let (id, version) = (instance.to_owned(), "1".to_owned());
        rig.store.heartbeat(&InstanceCard { id, address: None, version, started_at: EPOCH }).await.unwrap();
    }
}

#[test]
fn engaging_once_more_on_another_instance_is_answered_as_soon_as_everything_is_stopped() {
    run(|rig| async move {
        let (other, _) = second(&rig);
        let running = rig.open().await;
        both_live(&rig).await;
        running.engage(KillMode::Halt).await.unwrap();
        sleep(seconds(1)).await;
        let began = rig.clock.elapsed();
        let again = other.engage(KillMode::Halt).await;
        assert!(matches!(again, Err(CommandError::AlreadyEngaged(_))), "{again:?}");
        assert!(rig.clock.elapsed() - began < millis(500), "whoever engaged it has stopped too");
    });
}

#[test]
fn a_wish_to_stop_outlives_a_release_that_ends_while_the_others_are_waited_for() {
    run(|rig| async move {
        let (other, _) = second(&rig);
        let running = rig.open().await;
        let (id, version) = ("frozen".to_owned(), "1".to_owned());
        rig.store.heartbeat(&InstanceCard { id, address: None, version, started_at: EPOCH }).await.unwrap();
        let first = running.engage(KillMode::Halt).await.unwrap();
        sleep(seconds(1)).await;
        // Nobody hears of the frozen one for two seconds and a half.
        let (again, released) = futures_util::join!(running.engage(KillMode::Halt), async {
            sleep(seconds(1)).await;
            other.disengage().await
        });
        released.unwrap();
        let again = again.unwrap();
        assert_ne!(again.engagement_id, first.engagement_id);
        stays_engaged(&rig, &running, &again.engagement_id).await;
    });
}

#[test]
fn an_instance_that_settles_for_longer_than_was_asked_for_is_waited_for() {
    run(|rig| async move {
        let (other, _) = second(&rig);
        let running = rig.open().await;
        both_live(&rig).await;
        // What the other one has in flight comes back after a second and a half.
        rig.venue.set_latency(millis(1_500));
        let (answer, _) = futures_util::join!(
            async {
                sleep(millis(100)).await;
                running.house.kill_switch.engage(Engage { settle: Some(millis(50)), ..engage(KillMode::Halt) }).await
            },
            other.house.accounts.first().desk.submit_order.send(single("slow", 1)),
        );
        let answer = answer.unwrap();
        assert!(answer.instances.iter().all(|one| one.outcome == "confirmed"), "{answer:?}");
    });
}

const REASON: &str = "the venue is back and was checked";

fn tripped_at(at: &str) -> String {
    json!({"state": "TRIPPED", "tripped_at": at, "trip_reason": "DATA_STALE"}).to_string()
}

/// Another program resets what stands on the board.
fn reset(board: &MemoryBoard, at: &str) {
    let mut told = board.told(SwitchKey::Breaker);
    for (field, value) in [("state", "OPEN"), ("reset_at", at), ("reset_by", "Bob")] {
        told[field] = json!(value);
    }
    board.write(SwitchKey::Breaker, Some(&told.to_string()));
}

/// The breaker is tripped, everywhere, by a trip of this time, and stays so.
async fn stays_tripped(rig: &Rig, running: &Running) {
    sleep(seconds(2)).await;
    let held = running.house.health.breaker().unwrap();
    assert_eq!(held.state, BreakerWord::Tripped, "memory");
    assert_eq!(rig.store.look(|ledger| ledger.switches().breaker), Some(held), "the database");
    assert_eq!(rig.reasons(running), [ShutReason::CircuitBreakerTripped], "the gate");
    if let Some(board) = &rig.board {
        assert_eq!(board.told(SwitchKey::Breaker)["state"], "TRIPPED", "the board");
    }
}

#[test]
fn a_trip_that_comes_after_a_reset_nobody_saw_yet_is_a_new_trip() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        let first = running.trip().await;
        sleep(seconds(1)).await;
        reset(&board, "2026-11-20T09:00:00.5+00:00");
        let answer = running.house.switches.trip.send(manual()).await.unwrap().unwrap();
        assert!(answer.not_durable.is_empty(), "{answer:?}");
        assert_ne!(answer.state.tripped_at, first.tripped_at);
        stays_tripped(&rig, &running).await;
        running.reset(REASON).await.unwrap();
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerQuiet]);
    });
}

#[test]
fn a_trip_on_one_instance_outlives_a_reset_on_another() {
    run(|mut rig| async move {
        let (other, _) = second(&rig);
        rig.tuning.gate_poll = millis(400);
        let running = rig.open().await;
        let first = running.trip().await;
        sleep(seconds(1)).await;
        other.reset(REASON).await.unwrap();
        assert_eq!(running.house.health.breaker().unwrap().state, BreakerWord::Tripped, "it has not looked yet");
        let again = running.trip().await;
        assert_ne!(again.tripped_at, first.tripped_at);
        stays_tripped(&rig, &running).await;
        assert!(rig.reasons(&other).contains(&ShutReason::CircuitBreakerTripped));
    });
}

#[test]
fn a_trip_that_is_held_stays_the_same_and_is_reset_by_a_later_word() {
    run(|mut rig| async move {
        let _board = with_board(&mut rig);
        let running = rig.open().await;
        let first = running.trip().await;
        let again = running.house.switches.trip.send(manual()).await.unwrap().unwrap();
        assert_eq!((again.state.tripped_at, again.not_durable), (first.tripped_at, vec![]));
        running.reset(REASON).await.unwrap();
        sleep(seconds(2)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerQuiet]);
    });
}

#[test]
fn a_reset_that_the_board_takes_late_is_unknown_and_finished_unless_a_trip_came_since() {
    for trips in [false, true] {
        run(|mut rig| async move {
            let board = with_board(&mut rig);
            let running = rig.open().await;
            running.trip().await;
            sleep(seconds(1)).await;
            board.late(millis(300));
            let unknown = running.reset(REASON).await;
            assert!(matches!(unknown, Err(CommandError::OutcomeUnknown)), "{unknown:?}");
            assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerTripped]);
            if trips {
                running.trip().await;
                stays_tripped(&rig, &running).await;
            } else {
                sleep(millis(500)).await;
                assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerQuiet]);
            }
        });
    }
}

#[test]
fn a_reset_that_another_instance_wrote_first_has_succeeded() {
    run(|mut rig| async move {
        let _board = with_board(&mut rig);
        let (_other, _) = second(&rig);
        let running = rig.open().await;
        running.trip().await;
        sleep(seconds(1)).await;
        rig.store.calls.delay("commit", millis(200));
        assert_eq!(running.reset(REASON).await.unwrap().state, BreakerWord::Quiet);
        let history = rig.store.look(|ledger| ledger.history("circuit_breaker"));
        assert_eq!(history.iter().filter(|entry| entry.event == "RESET").count(), 1, "{history:?}");
    });
}

#[test]
fn a_reset_takes_no_trip_off_that_came_meanwhile() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.trip().await;
        sleep(seconds(1)).await;
        board.write(SwitchKey::Breaker, Some(&tripped_at(AT)));
        let refused = running.reset(REASON).await;
        assert!(matches!(refused, Err(CommandError::Conflict(_))), "{refused:?}");
        stays_tripped(&rig, &running).await;
        let held = running.house.health.breaker().unwrap();
        assert_eq!(held.trip_reason.as_deref(), Some("DATA_STALE"), "what stands there is ours then");
        running.reset(REASON).await.unwrap();
        assert_eq!(board.told(SwitchKey::Breaker)["state"], "QUIET_PERIOD");
    });
}

#[test]
fn resetting_an_unknown_breaker_takes_no_trip_off_that_came_meanwhile() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        board.write(SwitchKey::Breaker, None);
        sleep(millis(200)).await;
        board.write(SwitchKey::Breaker, Some(&tripped_at(AT)));
        let refused = running.reset(REASON).await;
        assert!(matches!(refused, Err(CommandError::Conflict(_))), "{refused:?}");
        stays_tripped(&rig, &running).await;
    });
}

#[test]
fn a_reset_whose_trip_was_never_seen_resets_no_later_trip() {
    // It stood there for a while, or until a trip of ours took its place.
    for seen_for in [millis(200), millis(0)] {
        run(|mut rig| async move {
            let board = with_board(&mut rig);
            let running = rig.open().await;
            sleep(seconds(1)).await;
            reset(&board, AT);
            let old = board.snapshot();
            sleep(seen_for).await;
            running.trip().await;
            running.reset(REASON).await.unwrap();
            sleep(seconds(400)).await;
            assert_eq!(rig.verdict(&running), Verdict::Open);
            running.trip().await;
            sleep(seconds(1)).await;
            board.put_back(old);
            stays_tripped(&rig, &running).await;
            let history = rig.store.look(|ledger| ledger.history("circuit_breaker"));
            assert_eq!(history.iter().filter(|entry| entry.operator == "Bob").count(), 1, "{history:?}");
        });
    }
}

#[test]
fn a_trip_that_is_over_and_comes_back_stops_for_as_long_as_it_is_told() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.trip().await;
        let tripped = board.snapshot();
        running.reset(REASON).await.unwrap();
        sleep(seconds(301)).await;
        let over = board.snapshot();
        board.put_back(tripped);
        sleep(seconds(1)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerTripped]);
        let stored = rig.store.look(|ledger| ledger.switches().breaker.unwrap());
        assert_eq!(stored.state, BreakerWord::Allowing, "nothing of it is written");
        board.put_back(over);
        sleep(millis(300)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn an_engagement_that_is_over_gives_way_to_the_one_in_force() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        let old = board.snapshot();
        running.disengage().await.unwrap();
        let second = running.engage(KillMode::Halt).await.unwrap();
        sleep(seconds(1)).await;
        board.put_back(old);
        stays_engaged(&rig, &running, &second.engagement_id).await;
        running.disengage().await.unwrap();
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn a_flush_while_only_the_board_says_stopped_writes_nothing_back() {
    run(|mut rig| async move {
        let board = with_board(&mut rig);
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        let old = board.snapshot();
        running.disengage().await.unwrap();
        board.put_back(old);
        sleep(millis(300)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
        board.put_back(Held::default());
        sleep(seconds(1)).await;
        assert!(rig.reasons(&running).contains(&ShutReason::KillSwitchUnknown));
        assert_eq!(board.told(SwitchKey::Kill), Value::Null);
    });
}

#[test]
fn a_trip_that_is_seen_on_the_board_before_it_is_written_keeps_its_entry() {
    run(|mut rig| async move {
        let _board = with_board(&mut rig);
        let running = rig.open().await;
        rig.store.calls.delay("commit", millis(300));
        running.trip().await;
        sleep(seconds(2)).await;
        let history = rig.store.look(|ledger| ledger.history("circuit_breaker"));
        let events = history.iter().map(|entry| entry.event.as_str()).collect::<Vec<_>>();
        assert_eq!(events, ["TRIPPED"]);
    });
}

#[test]
fn switches_that_the_database_garbled_shut_at_once() {
    run(|rig| async move {
        rig.store.share();
        let running = rig.open().await;
        sleep(seconds(1)).await;
        rig.store.garble_switches(true);
        sleep(millis(100)).await;
        assert_eq!(rig.verdict(&running), Verdict::Shut(ShutReason::KillSwitchUnknown));
        rig.store.garble_switches(false);
        sleep(millis(200)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn switches_that_make_no_sense_at_a_start_are_shut_say_why_and_take_an_operators_word() {
    for is_engaged in [true, false] {
        run(|rig| async move {
            rig.store.garble_switches(true);
            let running = rig.start();
            sleep(seconds(1)).await;
            let reasons = rig.reasons(&running);
            for unknown in [ShutReason::KillSwitchUnknown, ShutReason::CircuitBreakerUnknown] {
                assert!(reasons.contains(&unknown), "{reasons:?}");
            }
            for switch in [KILL_SWITCH, CIRCUIT_BREAKER] {
                let doubt = running.house.health.doubt(switch).unwrap_or_default();
                assert!(doubt.contains("makes no sense"), "{switch}: {doubt}");
            }
            if is_engaged {
                running.engage(KillMode::Halt).await.unwrap();
                assert!(rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
            } else {
                running.disengage().await.unwrap();
                assert!(rig.store.look(|ledger| ledger.switches().kill.unwrap().disengaged_by.is_some()));
            }
            assert_ne!(rig.verdict(&running), Verdict::Open, "the rest is unknown still");
            rig.store.garble_switches(false);
            if is_engaged {
                sleep(seconds(1)).await;
                assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
                running.disengage().await.unwrap();
            }
            rig.until("it trades", || rig.verdict(&running) == Verdict::Open).await;
        });
    }
}

fn manual() -> Trip {
    Trip { operator: "ops".to_owned(), reason: "MANUAL".to_owned(), details: None, by: caller().into() }
}
