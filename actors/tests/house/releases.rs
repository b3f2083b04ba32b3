//! Releases of the kill switch among engagements: whatever overtakes what, memory and store end up with the same word.

use tokio::time::sleep;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::kill::{KillMode, KillWord};
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::ShutReason;

use crate::support::orders::{resting_single, single};
use crate::support::rig::{Rig, Running, millis, run, seconds};
use tranche_simulation::store::CommitFault;

/// Memory, gate and store say the same of the kill switch.
fn all_say(rig: &Rig, running: &Running, word: KillWord) {
    let remembered = running.house.health.kill().unwrap();
    assert_eq!(remembered.state, word, "memory");
    assert_eq!(rig.store.look(|ledger| ledger.switches().kill), Some(remembered), "the store");
    let is_shut = rig.reasons(running).contains(&ShutReason::KillSwitchEngaged);
    assert_eq!(is_shut, word == KillWord::Engaged, "the gate");
}

#[test]
fn an_engagement_overtakes_a_release_that_still_waits() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.set_latency(seconds(3));
        let (_, engaged, released, again) = futures_util::join!(
            running.send(single("slow", 10)),
            async {
                sleep(millis(100)).await;
                running.engage(KillMode::Cancel).await
            },
            async {
                sleep(millis(500)).await;
                running.disengage().await
            },
            async {
                sleep(millis(1_000)).await;
                running.engage(KillMode::Halt).await
            },
        );
        engaged.unwrap();
        assert!(matches!(again, Err(CommandError::AlreadyEngaged(_))), "{again:?}");
        assert!(matches!(released, Err(CommandError::Conflict(_))), "{released:?}");
        sleep(seconds(2)).await;
        all_say(&rig, &running, KillWord::Engaged);
    });
}

#[test]
fn an_engagement_that_was_answered_while_a_release_was_on_its_way_outlives_a_crash_at_any_moment() {
    for crash in (0..8).map(|steps| millis(steps * 50)) {
        run(|rig| async move {
            let life = async |rig: &Rig| {
                let running = rig.open().await;
                running.engage(KillMode::Halt).await.unwrap();
                rig.store.calls.delay("commit", millis(200));
                let released = async {
                    running.disengage().await.unwrap_err();
                    std::future::pending::<()>().await;
                };
                let engaged = async {
                    sleep(millis(100)).await;
                    running.engage(KillMode::Halt).await.unwrap_err();
                    sleep(crash).await;
                };
                futures_util::future::select(Box::pin(engaged), Box::pin(released)).await;
            };
            rig.live(life).await;
            let stored = rig.store.look(|ledger| ledger.switches().kill).unwrap();
            assert!(stored.is_engaged(), "{crash:?} after the answer: {stored:?}");
            rig.store.calls.delay("commit", millis(3));
            let running = rig.start();
            rig.until("it is recovered", || rig.reasons(&running) == [ShutReason::KillSwitchEngaged]).await;
            sleep(seconds(5)).await;
            all_say(&rig, &running, KillWord::Engaged);
        });
    }
}

#[test]
fn an_engagement_that_is_saved_anew_overtakes_a_second_release_too() {
    run(|rig| async move {
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        rig.store.calls.delay("commit", millis(200));
        let (first, engaged, second) = futures_util::join!(
            running.disengage(),
            async {
                sleep(millis(100)).await;
                running.engage(KillMode::Halt).await
            },
            async {
                sleep(millis(150)).await;
                running.disengage().await
            },
        );
        assert!(matches!(engaged, Err(CommandError::AlreadyEngaged(_))), "{engaged:?}");
        assert!(matches!(first, Err(CommandError::Conflict(_))), "{first:?}");
        assert!(matches!(second, Err(CommandError::Conflict(_))), "{second:?}");
        sleep(seconds(2)).await;
        all_say(&rig, &running, KillWord::Engaged);
    });
}

#[test]
fn a_release_comes_after_an_engagement_that_is_still_being_saved_and_says_when_that_takes_too_long() {
    run(|mut rig| async move {
        rig.tuning.commit_timeout = seconds(3);
        let running = rig.open().await;
        rig.store.fail_commits(true);
        let engaged = running.engage(KillMode::Halt).await.unwrap();
        assert_eq!(engaged.not_durable, ["database"]);
        let began = rig.clock.elapsed();
        let refused = running.disengage().await;
        assert!(matches!(refused, Err(CommandError::StoreUnavailable)), "{refused:?}");
        assert!(rig.clock.elapsed() - began < seconds(4));
        assert!(rig.reasons(&running).contains(&ShutReason::KillSwitchEngaged));
        // The engagement is tried again while the release would be on its way.
        rig.store.fail_commits(false);
        rig.store.calls.delay("commit", millis(600));
        assert_eq!(running.disengage().await.unwrap().state, KillWord::Active);
        sleep(seconds(5)).await;
        all_say(&rig, &running, KillWord::Active);
        let history = rig.store.look(|ledger| ledger.history("kill_switch"));
        let events = history.iter().map(|entry| entry.event.as_str()).collect::<Vec<_>>();
        assert_eq!(events, ["ENGAGED", "DISENGAGED"]);
    });
}

#[test]
fn a_release_whose_writer_dies_after_it_was_written_leaves_the_switch_engaged_in_the_store_too() {
    run(|rig| async move {
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        let switches: fn(&Write) -> bool = |write| matches!(write, Write::Kill { .. });
        rig.store.plan_for(switches, CommitFault::Panic { committed: true });
        let released = running.disengage().await;
        assert!(matches!(released, Err(CommandError::OutcomeUnknown)), "{released:?}");
        let again = running.engage(KillMode::Halt).await;
        assert!(matches!(again, Err(CommandError::AlreadyEngaged(_))), "{again:?}");
        sleep(seconds(2)).await;
        all_say(&rig, &running, KillWord::Engaged);
    });
}

#[test]
fn a_release_whose_actor_dies_before_it_is_written_does_not_release_the_store_alone() {
    run(|rig| async move {
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        rig.store.calls.delay("commit", millis(400));
        let (released, again) = futures_util::join!(running.disengage(), async {
            sleep(millis(100)).await;
            rig.clock.panic_next();
            running.engage(KillMode::Halt).await
        });
        assert!(matches!(released, Err(CommandError::OutcomeUnknown)), "{released:?}");
        assert!(matches!(again, Err(CommandError::OutcomeUnknown)), "{again:?}");
        sleep(seconds(5)).await;
        all_say(&rig, &running, KillWord::Engaged);
    });
}

#[test]
fn a_milder_engagement_before_a_rebuilt_switch_is_read_again_does_not_replace_a_stricter_one() {
    run(|rig| async move {
        let running = rig.open().await;
        let strict = running.engage(KillMode::Cancel).await.unwrap();
        rig.store.calls.delay("switches", seconds(1));
        rig.clock.panic_next();
        running.engage(KillMode::Halt).await.unwrap_err();
        sleep(millis(100)).await;
        let milder = running.engage(KillMode::Halt).await.unwrap_err();
        assert!(matches!(&milder, CommandError::AlreadyEngaged(state) if **state == strict.state), "{milder}");
        sleep(seconds(5)).await;
        all_say(&rig, &running, KillWord::Engaged);
        assert_eq!(running.house.health.kill(), Some(strict.state));
    });
}

#[test]
fn a_release_waits_for_the_cancels_of_a_recovery_that_began_while_it_was_written() {
    run(|rig| async move {
        let running = rig.open().await;
        running.engage(KillMode::Cancel).await.unwrap();
        rig.venue.calls.delay("open_orders", millis(1_500));
        rig.store.calls.delay("open_parents", millis(300));
        let recovered = rig.store.calls.made("open_parents");
        rig.venue.end_streams();
        rig.until("the account is all but recovered", || rig.store.calls.made("open_parents") > recovered).await;
        let asked = rig.venue.calls.made("open_orders");
        rig.store.calls.delay("commit", millis(600));
        running.disengage().await.unwrap();
        assert!(rig.venue.calls.made("open_orders") > asked, "the cancels were asked for meanwhile");
        rig.store.calls.delay("commit", millis(3));
        rig.until("the gate opens", || rig.reasons(&running).is_empty()).await;
        let after = running.send(resting_single("after", 10)).await;
        sleep(seconds(10)).await;
        assert_eq!(rig.order(&after.id).status, OrderStatus::Accepted, "nothing of the engagement reaches it");
    });
}
