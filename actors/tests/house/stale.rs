//! Switches that somebody else moved a moment ago: a wish to stop is judged by what is so, not by what was seen last.

use std::sync::Arc;

use serde_json::json;
use tokio::time::sleep;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::ports::switchboard::SwitchKey;
use tranche_simulation::life::Life;
use tranche_simulation::store::MemoryStore;
use tranche_simulation::switchboard::MemoryBoard;

use crate::support::rig::{Rig, Running, millis, run, seconds};

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
