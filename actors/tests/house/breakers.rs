//! The circuit breaker: by itself, by hand, and its quiet period.

use tokio::time::sleep;
use tranche_actors::commands::{CommandError, Trip};
use tranche_actors::domain::breaker::{BreakerWord, ResetRefused};
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::{ShutReason, Verdict};

use crate::support::orders::{caller, id, parent, resting_parent, single};
use crate::support::rig::{millis, run, seconds};
use tranche_simulation::store::CommitFault;
use tranche_simulation::venue::Fate;

const REASON: &str = "the venue is back and was checked";

#[test]
fn the_breaker_trips_on_broker_errors_and_due_slices_end_blocked() {
    run(|mut rig| async move {
        rig.tuning.error_rule.enabled = true;
        let running = rig.open().await;
        rig.venue.plan([Fate::ErrorAfter; 5]);
        running.submit(parent("tripping", 70, 7, 5)).await;
        rig.until_all_ended().await;
        let mut expected = [OrderStatus::Filled; 7];
        expected[5..].fill(OrderStatus::BlockedCircuitBreaker);
        assert_eq!(rig.statuses(&id("tripping")), expected);
        let state = running.house.health.breaker().unwrap();
        assert_eq!(state.trip_reason.as_deref(), Some("BROKER_ERRORS"));
        assert_eq!(rig.store.look(|ledger| ledger.switches().breaker), Some(state));
        rig.audit_at_rest();
    });
}

#[test]
fn a_rejection_is_no_broker_error() {
    run(|mut rig| async move {
        rig.tuning.error_rule.enabled = true;
        let running = rig.open().await;
        rig.venue.decide(|_| Fate::Rejected);
        running.submit(parent("refused", 200, 20, 1)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn fewer_errors_than_the_rule_says_trip_nothing() {
    run(|mut rig| async move {
        rig.tuning.error_rule.enabled = true;
        let running = rig.open().await;
        rig.venue.plan([Fate::ErrorAfter; 4]);
        running.submit(parent("just-not", 70, 7, 5)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("just-not")), [OrderStatus::Filled; 7]);
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn an_answer_that_never_comes_is_a_broker_error() {
    for fate in [Fate::AnswerLost, Fate::RequestLost] {
        run(|mut rig| async move {
            rig.tuning.error_rule.enabled = true;
            let running = rig.open().await;
            rig.venue.plan([fate; 7]);
            running.submit(parent("silent", 70, 7, 5)).await;
            let reason = || running.house.health.breaker().and_then(|state| state.trip_reason);
            rig.until("it trips", || reason().as_deref() == Some("BROKER_ERRORS")).await;
        });
    }
}

#[test]
fn a_trip_by_hand_is_reset_by_hand_and_its_quiet_period_ends_by_itself() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("worked", 100, 10, 60)).await;
        sleep(seconds(90)).await;
        assert!(matches!(running.reset(REASON).await, Err(CommandError::Reset(ResetRefused::NotTripped))));
        let tripped = running.trip().await;
        assert_eq!(tripped, running.trip().await, "a trip is idempotent");
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerTripped]);
        sleep(seconds(60)).await;
        assert!(matches!(running.reset("short").await, Err(CommandError::Reset(ResetRefused::ReasonTooShort))));
        assert_eq!(running.reset(REASON).await.unwrap().state, BreakerWord::Quiet);
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerQuiet]);
        let refused =
            running.house.accounts.first().desk.submit_order.send(single("next", 1)).await.unwrap().unwrap_err();
        assert!(matches!(refused, CommandError::Gate(ShutReason::CircuitBreakerQuiet)), "{refused}");
        sleep(seconds(301)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.until_all_ended().await;
        let [filled, blocked] = [OrderStatus::Filled, OrderStatus::BlockedCircuitBreaker];
        let mut expected = [filled; 10];
        expected[2..8].fill(blocked);
        assert_eq!(rig.statuses(&id("worked")), expected);
        let state = rig.store.look(|ledger| ledger.switches().breaker.unwrap());
        assert_eq!((state.state, state.trip_count_today), (BreakerWord::Allowing, 1));
        rig.audit_at_rest();
    });
}

#[test]
fn a_restart_keeps_a_trip_and_what_is_left_of_a_quiet_period() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            running.trip().await;
        })
        .await;
        rig.live(async |rig| {
            let running = rig.start();
            sleep(seconds(5)).await;
            assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerTripped]);
            running.reset(REASON).await.unwrap();
            sleep(seconds(100)).await;
        })
        .await;
        let running = rig.start();
        sleep(seconds(190)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerQuiet]);
        sleep(seconds(10)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn a_trip_that_is_not_durable_yet_survives_its_actor_and_is_saved() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.store.fail_commits(true);
        running.trip().await;
        // A second trip, by errors or by hand, meets a clock that breaks.
        rig.clock.panic_next();
        let again =
            Trip { operator: "ops".to_owned(), reason: "MANUAL".to_owned(), details: None, by: caller().into() };
        running.house.switches.trip.send(again).await.unwrap().unwrap_err();
        sleep(seconds(5)).await;
        assert!(rig.reasons(&running).contains(&ShutReason::CircuitBreakerTripped));
        rig.store.fail_commits(false);
        sleep(seconds(5)).await;
        let state = rig.store.look(|ledger| ledger.switches().breaker.unwrap());
        assert_eq!(state.state, BreakerWord::Tripped);
    });
}

#[test]
fn a_trip_leaves_what_is_open_where_nothing_else_is_configured() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(resting_parent("open", 100, 5, 10)).await;
        sleep(seconds(25)).await;
        running.trip().await;
        // Both others are due meanwhile, and the schedule has not ended.
        sleep(seconds(20)).await;
        let statuses = rig.statuses(&id("open"));
        assert_eq!(statuses[..3], [OrderStatus::Accepted; 3], "{statuses:?}");
        assert_eq!(statuses[3..], [OrderStatus::BlockedCircuitBreaker; 2], "{statuses:?}");
        assert_eq!(rig.venue.submissions().len(), 3);
    });
}

#[test]
fn a_trip_cancels_what_is_open_where_that_is_configured() {
    run(|mut rig| async move {
        rig.tuning.cancel_on_trip = true;
        let running = rig.open().await;
        running.submit(resting_parent("open", 100, 5, 10)).await;
        sleep(seconds(25)).await;
        running.trip().await;
        sleep(seconds(2)).await;
        assert_eq!(rig.statuses(&id("open"))[..3], [OrderStatus::Canceled; 3]);
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn a_trip_overtakes_a_reset_that_is_on_its_way() {
    run(|rig| async move {
        let running = rig.open().await;
        running.trip().await;
        rig.store.calls.delay("commit", millis(200));
        let (reset, _) = futures_util::join!(running.reset(REASON), async {
            sleep(millis(100)).await;
            running.trip().await
        });
        assert!(matches!(reset, Err(CommandError::Conflict(_))), "{reset:?}");
        sleep(seconds(2)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::CircuitBreakerTripped]);
        let stored = rig.store.look(|ledger| ledger.switches().breaker.unwrap());
        assert_eq!(stored.state, BreakerWord::Tripped);
    });
}

#[test]
fn a_reset_comes_after_a_trip_that_is_still_being_saved_and_says_when_that_takes_too_long() {
    run(|mut rig| async move {
        rig.tuning.commit_timeout = seconds(3);
        let running = rig.open().await;
        rig.store.fail_commits(true);
        running.trip().await;
        let began = rig.clock.elapsed();
        let refused = running.reset(REASON).await;
        assert!(matches!(refused, Err(CommandError::StoreUnavailable)), "{refused:?}");
        assert!(rig.clock.elapsed() - began < seconds(4));
        assert!(rig.reasons(&running).contains(&ShutReason::CircuitBreakerTripped));
        // The trip is tried again while the reset would be on its way.
        rig.store.fail_commits(false);
        rig.store.calls.delay("commit", millis(600));
        let quiet = running.reset(REASON).await.unwrap();
        assert_eq!(quiet.state, BreakerWord::Quiet);
        sleep(seconds(5)).await;
        assert_eq!(running.house.health.breaker().as_ref(), Some(&quiet));
        assert_eq!(rig.store.look(|ledger| ledger.switches().breaker), Some(quiet));
        let history = rig.store.look(|ledger| ledger.history("circuit_breaker"));
        let events = history.iter().map(|entry| entry.event.as_str()).collect::<Vec<_>>();
        assert_eq!(events, ["TRIPPED", "RESET"]);
    });
}

#[test]
fn a_reset_of_which_nobody_heard_the_end_does_not_reset_the_store_alone() {
    for dies in ["writer", "breaker"] {
        run(|rig| async move {
            let running = rig.open().await;
            running.trip().await;
            if dies == "writer" {
                let switches: fn(&Write) -> bool = |write| matches!(write, Write::Breaker { .. });
                rig.store.plan_for(switches, CommitFault::Panic { committed: true });
            } else {
                rig.store.calls.delay("commit", millis(400));
            }
            let (reset, _) = futures_util::join!(running.reset(REASON), async {
                sleep(millis(100)).await;
                if dies == "breaker" {
                    rig.clock.panic_next();
                    let trip = Trip {
                        operator: "ops".to_owned(),
                        reason: "MANUAL".to_owned(),
                        details: None,
                        by: caller().into(),
                    };
                    running.house.switches.trip.send(trip).await.unwrap().unwrap_err();
                }
            });
            assert!(matches!(reset, Err(CommandError::OutcomeUnknown)), "{dies}: {reset:?}");
            sleep(seconds(5)).await;
            let remembered = running.house.health.breaker().unwrap();
            assert_eq!(remembered.state, BreakerWord::Tripped, "{dies}");
            assert_eq!(rig.store.look(|ledger| ledger.switches().breaker), Some(remembered), "{dies}");
        });
    }
}
