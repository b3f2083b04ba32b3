//! The panic of any actor below the supervisor: noticed, and mended from the store.

use tokio::time::sleep;
use tranche_actors::commands::Trip;
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::health::{Part, PartStatus};

use crate::support::orders::{caller, id, parent};
use crate::support::rig::{Rig, Running, millis, run, seconds};
use tranche_simulation::store::CommitFault;
use tranche_simulation::venue::Fate;

/// Two parents of five slices, 20 s apart, and a while of their life.
async fn two_parents(rig: &Rig) -> Running {
    let running = rig.open().await;
    running.submit(parent("first", 103, 5, 20)).await;
    running.submit(parent("second", 50, 5, 20)).await;
    sleep(seconds(30)).await;
    running
}

/// Both end, everything adds up, and no slice was sent twice.
async fn both_complete(rig: &Rig) {
    rig.until_all_ended().await;
    sleep(seconds(2)).await;
    for name in ["first", "second"] {
        let parent = rig.parent(&id(name));
        assert_eq!(parent.status, ParentStatus::Completed, "{parent:?}");
    }
    assert_eq!(rig.venue.book().len(), 10);
    rig.audit_at_rest();
}

/// The gate is seen shut for a reason, and then open again.
async fn shut_for_a_while(rig: &Rig, running: &Running, reason: ShutReason) {
    rig.until("the death is noticed", || rig.reasons(running).contains(&reason)).await;
    rig.until("it is mended", || rig.verdict(running) == Verdict::Open).await;
}

#[test]
fn a_broker_that_dies_over_a_send_is_rebuilt_and_looks_up_what_it_was_sending() {
    for taken in [true, false] {
        run(|rig| async move {
            let running = two_parents(&rig).await;
            rig.venue.plan([Fate::Panic { taken }]);
            sleep(seconds(9)).await;
            shut_for_a_while(&rig, &running, ShutReason::BrokerUnavailable).await;
            both_complete(&rig).await;
            let sends = rig.venue.submissions().len();
            assert_eq!(sends, if taken { 10 } else { 11 });
        });
    }
}

#[test]
fn a_broker_that_dies_over_a_look_up_goes_on_with_it() {
    run(|rig| async move {
        let running = two_parents(&rig).await;
        rig.venue.plan([Fate::ErrorAfter]);
        rig.venue.decide_events(|_| tranche_actors::market::faults::EventFault::Lost);
        rig.venue.calls.panic("find", 1);
        sleep(seconds(9)).await;
        shut_for_a_while(&rig, &running, ShutReason::BrokerUnavailable).await;
        assert_eq!(rig.venue.calls.panics_left("find"), 0);
        rig.venue.decide_events(|_| tranche_actors::market::faults::EventFault::None);
        sleep(seconds(60)).await;
        both_complete(&rig).await;
        assert!(running.house.accounts.first().doubtful.is_empty());
    });
}

#[test]
fn a_reconciler_that_dies_over_the_venues_pages_is_rebuilt() {
    run(|rig| async move {
        let running = two_parents(&rig).await;
        rig.venue.calls.panic("open_orders", 1);
        sleep(seconds(29)).await;
        shut_for_a_while(&rig, &running, ShutReason::BrokerUnavailable).await;
        both_complete(&rig).await;
    });
}

#[test]
fn a_writer_that_dies_over_a_claim_is_rebuilt_whether_the_claim_was_written_or_not() {
    for committed in [true, false] {
        run(|rig| async move {
            let running = two_parents(&rig).await;
            let claims: fn(&Write) -> bool = |write| matches!(write, Write::Claim { .. });
            rig.store.plan_for(claims, CommitFault::Panic { committed });
            sleep(seconds(9)).await;
            shut_for_a_while(&rig, &running, ShutReason::StoreUnavailable).await;
            both_complete(&rig).await;
            assert!(rig.store.is_through());
        });
    }
}

#[test]
fn a_writer_that_dies_over_an_answer_of_the_venue_loses_nothing() {
    for committed in [true, false] {
        run(|rig| async move {
            let running = two_parents(&rig).await;
            let reports: fn(&Write) -> bool = |write| matches!(write, Write::Report(_));
            rig.store.plan_for(reports, CommitFault::Panic { committed });
            sleep(seconds(9)).await;
            shut_for_a_while(&rig, &running, ShutReason::StoreUnavailable).await;
            both_complete(&rig).await;
        });
    }
}

#[test]
fn a_parent_that_dies_is_rebuilt_and_the_gate_and_its_neighbour_notice_nothing() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.store.calls.panic("due_slices", 1);
        running.submit(parent("first", 103, 5, 20)).await;
        rig.until("it dies", || rig.store.calls.panics_left("due_slices") == 0).await;
        running.submit(parent("second", 50, 5, 20)).await;
        sleep(seconds(25)).await;
        rig.venue.calls.panic("quote", 1);
        let asked = rig.venue.calls.made("quote");
        while rig.venue.calls.made("quote") < asked + 4 {
            assert_eq!(rig.verdict(&running), Verdict::Open);
            sleep(millis(1)).await;
        }
        both_complete(&rig).await;
        assert_eq!(rig.venue.submissions().len(), 10);
    });
}

#[test]
fn a_kill_switch_that_dies_over_an_engagement_comes_back_engaged() {
    run(|rig| async move {
        let running = two_parents(&rig).await;
        rig.store.calls.panic("unknown_orders", 1);
        rig.store.calls.delay("switches", millis(300));
        running.engage(KillMode::Halt).await.unwrap_err();
        let reasons = rig.reasons(&running);
        assert!(reasons.contains(&ShutReason::KillSwitchEngaged), "{reasons:?}");
        rig.until("it is rebuilt", || {
            rig.reasons(&running) == [ShutReason::KillSwitchEngaged] && running.house.health.kill().is_some()
        })
        .await;
        rig.until_all_ended().await;
        assert!(rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
        assert_eq!(rig.venue.submissions().len(), 4, "the first two slices of each");
        rig.audit_at_rest();
    });
}

#[test]
fn a_kill_switch_that_dies_while_it_reads_leaves_the_gate_shut_until_it_has_read() {
    run(|rig| async move {
        rig.store.calls.panic("switches", 1);
        rig.store.calls.delay("switches", millis(300));
        let running = rig.open().await;
        assert_eq!(rig.store.calls.panics_left("switches"), 0);
        running.submit(parent("first", 103, 5, 20)).await;
        running.submit(parent("second", 50, 5, 20)).await;
        both_complete(&rig).await;
    });
}

#[test]
fn a_breaker_that_dies_over_a_trip_is_rebuilt_with_the_gate_shut_meanwhile() {
    run(|rig| async move {
        let running = two_parents(&rig).await;
        rig.store.calls.delay("switches", millis(300));
        rig.clock.panic_next();
        let trip = Trip { operator: "ops".to_owned(), reason: "MANUAL".to_owned(), details: None, by: caller().into() };
        running.house.switches.trip.send(trip.clone()).await.unwrap().unwrap_err();
        shut_for_a_while(&rig, &running, ShutReason::CircuitBreakerUnknown).await;
        let tripped = running.house.switches.trip.send(trip).await.unwrap().unwrap();
        assert_eq!(tripped.state.state, BreakerWord::Tripped);
        assert_eq!(rig.verdict(&running), Verdict::Shut(ShutReason::CircuitBreakerTripped));
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn three_deaths_within_a_minute_leave_the_gate_shut_and_health_says_why() {
    type Breaks = fn(&Rig);
    let cases: [(Breaks, Part, ShutReason); 5] = [
        (|rig| rig.venue.decide(|_| Fate::Panic { taken: false }), Part::Broker, ShutReason::BrokerUnavailable),
        (|rig| rig.venue.calls.panic("open_orders", 100), Part::Reconciler, ShutReason::BrokerUnavailable),
        (|rig| rig.store.calls.panic("commit", 100), Part::Persistence, ShutReason::StoreUnavailable),
        (|rig| rig.store.calls.panic("switches", 100), Part::KillSwitch, ShutReason::KillSwitchUnknown),
        (|rig| rig.store.calls.panic("switches", 100), Part::CircuitBreaker, ShutReason::CircuitBreakerUnknown),
    ];
    for (breaks, part, reason) in cases {
        run(|mut rig| async move {
            rig.tuning.claim = seconds(1);
            rig.tuning.unknown_settle = seconds(1);
            rig.tuning.reconcile = seconds(15);
            if reason == ShutReason::BrokerUnavailable || reason == ShutReason::StoreUnavailable {
                let running = two_parents(&rig).await;
                breaks(&rig);
                stays_shut(&rig, &running, part, reason).await;
            } else {
                breaks(&rig);
                let running = rig.start();
                stays_shut(&rig, &running, part, reason).await;
            }
        });
    }
}

async fn stays_shut(rig: &Rig, running: &Running, part: Part, reason: ShutReason) {
    let is_given_up = || {
        let health = running.house.health.part(part).unwrap();
        health.status == PartStatus::Down && health.detail.contains("3 times within a minute")
    };
    rig.until("it is given up", is_given_up).await;
    sleep(seconds(120)).await;
    assert!(rig.reasons(running).contains(&reason), "{:?}", rig.reasons(running));
    assert!(is_given_up(), "{:?}", running.house.health.part(part));
    rig.audit();
}

#[test]
fn a_recovery_that_ends_after_its_broker_was_given_up_opens_nothing_and_hides_no_reason() {
    type Slows = fn(&Rig);
    let cases: [Slows; 2] = [
        // It ends well: nothing of it needs the broker any more.
        |rig| rig.store.calls.delay("open_parents", seconds(4)),
        // It fails with the death of whoever it asked.
        |rig| rig.venue.calls.delay("open_orders", seconds(4)),
    ];
    for slow in cases {
        run(|rig| async move {
            let running = two_parents(&rig).await;
            slow(&rig);
            // The broker reads the marks every second, and dies over it while its recovery is still on its way.
            rig.store.calls.panic("marked_orders", 3);
            rig.until("it has died three times", || rig.store.calls.panics_left("marked_orders") == 0).await;
            let sent = rig.venue.submissions().len();
            for _ in 0..300 {
                sleep(millis(100)).await;
                assert_ne!(rig.verdict(&running), Verdict::Open);
            }
            let health = running.house.health.part(Part::Broker).unwrap();
            assert!(health.detail.contains("is not rebuilt any more"), "{health:?}");
            assert_eq!(rig.venue.submissions().len(), sent);
            rig.audit();
        });
    }
}

#[test]
fn a_parent_that_keeps_dying_rests_and_is_tried_again() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("second", 50, 5, 20)).await;
        rig.store.calls.panic("due_slices", 3);
        running.submit(parent("first", 103, 5, 20)).await;
        rig.until("it is left alone", || running.house.health.part(Part::Parents).unwrap().status == PartStatus::Down)
            .await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("second")).status, ParentStatus::Completed);
        assert!(rig.parent(&id("first")).status.is_terminal());
        rig.audit_at_rest();
    });
}

#[test]
fn the_supervisors_own_death_shuts_the_gate_and_ends_the_process() {
    run(|rig| async move {
        let mut running = two_parents(&rig).await;
        assert!(running.fatal.try_recv().is_err());
        rig.clock.panic_next();
        running.house.accounts.first().desk.submit_parent.send(parent("third", 10, 2, 20)).await.unwrap_err();
        running.fatal.try_recv().unwrap();
        assert!(rig.reasons(&running).contains(&ShutReason::Starting));
        sleep(seconds(30)).await;
        assert_eq!(rig.venue.submissions().len(), 4, "nothing leaves after it");
        rig.audit();
    });
}

#[test]
fn an_engagement_marks_what_may_be_open_also_while_nobody_works_for_the_account() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::RequestLost]);
        running.submit(parent("lost", 100, 1, 10)).await;
        rig.until("it is on its way", || rig.statuses(&id("lost"))[0] == OrderStatus::Submitting).await;
        rig.store.calls.panic("marked_orders", 3);
        let is_given_up = || {
            running.house.health.part(Part::Broker).is_some_and(|broker| broker.detail.contains("not rebuilt any more"))
        };
        rig.until("the broker is given up", is_given_up).await;
        let answer = running.engage(KillMode::Cancel).await.unwrap();
        let slice = rig.slices(&id("lost")).remove(0);
        assert_eq!(answer.unknown, vec![slice.id.clone()]);
        assert!(slice.cancel_requested_at.is_some(), "{slice:?}");
        assert_eq!(answer.cancel_failed, 0);
    });
}
