//! Releases of the kill switch among engagements: whatever overtakes what, memory and store end up with the same word.

use tokio::time::sleep;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::kill::{KillMode, KillWord};
use tranche_actors::gate::ShutReason;

use crate::support::orders::single;
use crate::support::rig::{Rig, Running, millis, run, seconds};

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
