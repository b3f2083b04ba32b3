//! The process dies at any instant, and another one goes on from the store: no slice twice, none lost.

use std::time::Duration;

use tokio::time::sleep;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;

use crate::support::orders::{id, parent, resting_parent};
use crate::support::rig::{Rig, millis, run, run_seeded, seconds};
use tranche_actors::market::faults::EventFault;
use tranche_simulation::clock::Seeded;
use tranche_simulation::store::CommitFault;
use tranche_simulation::venue::Fate;

/// Twenty crashes at random moments, with a third of all answers lost and events that come as they like.
fn survive(seed: u64) {
    run_seeded(seed, |mut rig| async move {
        (rig.tuning.claim, rig.tuning.unknown_settle) = (seconds(2), seconds(1));
        (rig.tuning.send_timeout, rig.tuning.absent_settle) = (seconds(2), seconds(20));
        rig.tuning.reconcile = seconds(30);
        let luck = Seeded::new(seed.wrapping_mul(977));
        let answers = Seeded::new(seed.wrapping_mul(31));
        rig.venue.decide(move |_| match answers.below(12) {
            0 => Fate::AnswerLost,
            1 => Fate::RequestLost,
            2 => Fate::ErrorAfter,
            3 => Fate::NeverLeft,
            4 => Fate::AnsweredAfter(millis(700)),
            _ => Fate::Taken,
        });
        let events = Seeded::new(seed.wrapping_mul(101));
        rig.venue.decide_events(move |_| match events.below(6) {
            0 => EventFault::Lost,
            1 => EventFault::Duplicated,
            2 => EventFault::Reordered,
            _ => EventFault::None,
        });
        rig.live(async |rig| {
            let running = rig.open().await;
            for n in 0..3 {
                running.submit(parent(&format!("buy-{n}"), 200 + n, 40, 2)).await;
            }
            running.submit(resting_parent("rest", 200, 10, 7)).await;
        })
        .await;
        for _ in 0..20 {
            let life = Duration::from_micros(1_000 + luck.below(6_000_000));
            rig.live(async |rig| {
                let _running = rig.start();
                sleep(life).await;
                rig.audit();
            })
            .await;
        }
        rig.venue.decide(|_| Fate::Taken);
        rig.venue.decide_events(|_| EventFault::None);
        let running = rig.open().await;
        rig.until_all_ended().await;
        sleep(seconds(120)).await;
        assert!(running.house.accounts.first().doubtful.is_empty());
        rig.audit_at_rest();
        for slice in rig.store.look(|ledger| ledger.orders().cloned().collect::<Vec<_>>()) {
            let is_there = rig.venue.in_book(&slice.id).is_some();
            let may_be_missing = [OrderStatus::Expired, OrderStatus::Failed, OrderStatus::Canceled];
            assert!(is_there || may_be_missing.contains(&slice.status), "{slice:?}");
        }
    });
}

#[test]
fn crashes_at_random_moments_send_no_slice_twice_and_lose_none() {
    for seed in 0..24 {
        survive(seed);
    }
}

#[test]
fn actors_that_panic_at_random_moments_send_no_slice_twice_and_lose_none() {
    for seed in 100..108 {
        run_seeded(seed, |mut rig| async move {
            (rig.tuning.claim, rig.tuning.unknown_settle) = (seconds(2), seconds(1));
            (rig.tuning.send_timeout, rig.tuning.absent_settle) = (seconds(2), seconds(20));
            rig.tuning.reconcile = seconds(10);
            let running = rig.open().await;
            for n in 0..3 {
                running.submit(parent(&format!("buy-{n}"), 300 + n, 150, 2)).await;
            }
            let answers = Seeded::new(seed);
            rig.venue.decide(move |_| match answers.below(10) {
                0 => Fate::AnswerLost,
                1 => Fate::RequestLost,
                2 => Fate::ErrorBefore,
                _ => Fate::Taken,
            });
            let luck = Seeded::new(seed * 7);
            for _ in 0..8 {
                match luck.below(7) {
                    0 => rig.store.plan([CommitFault::Panic { committed: true }]),
                    1 => rig.store.plan([CommitFault::Panic { committed: false }]),
                    2 => rig.venue.plan([Fate::Panic { taken: true }]),
                    3 => rig.venue.calls.panic("open_orders", 1),
                    4 => rig.venue.calls.panic("find", 1),
                    5 => rig.venue.calls.panic("quote", 1),
                    _ => rig.venue.end_streams(),
                }
                // Seldom enough that nothing dies three times within a minute.
                sleep(Duration::from_micros(31_000_000 + luck.below(5_000_000))).await;
                rig.audit();
            }
            rig.venue.decide(|_| Fate::Taken);
            rig.until_all_ended().await;
            sleep(seconds(60)).await;
            assert!(running.house.accounts.first().doubtful.is_empty());
            assert!(rig.reasons(&running).is_empty());
            rig.audit_at_rest();
        });
    }
}

#[test]
fn a_restart_at_once_loses_no_time_and_a_late_one_expires_what_is_too_late() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            running.submit(parent("late", 103, 10, 20)).await;
            sleep(seconds(30)).await;
        })
        .await;
        rig.live(async |rig| {
            let _running = rig.open().await;
            sleep(seconds(30)).await;
            assert_eq!(rig.statuses(&id("late"))[..3], [OrderStatus::Filled; 3]);
        })
        .await;
        sleep(seconds(100)).await;
        let _running = rig.open().await;
        rig.until_all_ended().await;
        let mut expected = [OrderStatus::Filled; 10];
        // Those due at 80 s and at 100 s ran out of their grace while nobody was there.
        expected[4..6].fill(OrderStatus::Expired);
        assert_eq!(rig.statuses(&id("late")), expected);
        assert_eq!(rig.parent(&id("late")).status, ParentStatus::PartiallyCompleted);
        rig.audit_at_rest();
    });
}

#[test]
fn a_crash_between_claim_and_answer_is_looked_up_and_never_resent_blind() {
    for fate in [Fate::AnsweredAfter(seconds(4)), Fate::RequestLost] {
        run(|rig| async move {
            rig.live(async |rig| {
                let running = rig.open().await;
                running.submit(parent("claimed", 103, 5, 20)).await;
                sleep(seconds(10)).await;
                rig.venue.plan([fate]);
                rig.venue.decide_events(|_| EventFault::Lost);
                rig.until("the second slice is out", || rig.venue.submissions().len() == 2).await;
                sleep(millis(100)).await;
            })
            .await;
            let claimed = rig.slices(&id("claimed"))[1].clone();
            assert_eq!(claimed.status, OrderStatus::Submitting);
            rig.venue.decide_events(|_| EventFault::None);
            let _running = rig.open().await;
            sleep(seconds(5)).await;
            assert_eq!(rig.venue.submissions().len(), 2);
            rig.until_all_ended().await;
            assert_eq!(rig.statuses(&id("claimed")), [OrderStatus::Filled; 5]);
            let resent = usize::from(fate == Fate::RequestLost);
            assert_eq!(rig.venue.submissions().len(), 5 + resent);
            rig.audit_at_rest();
        });
    }
}

/// A slice that was found absent in a life that is over, and that arrives after 110 seconds all the same.
async fn absent_in_a_life_before(rig: &Rig) -> OrderId {
    rig.live(async |rig| {
        let running = rig.open().await;
        rig.venue.plan([Fate::ArrivesAfter(seconds(110))]);
        running.submit(parent("absent", 40, 2, 300)).await;
        rig.until("the first slice is out", || rig.venue.submissions().len() == 1).await;
        // Without the stream of events nothing is sent again in this life.
        rig.venue.calls.fail("events", true);
        rig.venue.end_streams();
        rig.until("it is absent", || rig.slices(&id("absent"))[0].absent_at.is_some()).await;
    })
    .await;
    rig.venue.calls.fail("events", false);
    assert_eq!(rig.venue.submissions().len(), 1);
    rig.slices(&id("absent"))[0].id.clone()
}

#[test]
fn an_order_that_was_absent_before_a_crash_is_not_ended_by_a_switch_while_it_may_arrive() {
    for by_the_breaker in [false, true] {
        run(|rig| async move {
            let slice = absent_in_a_life_before(&rig).await;
            let running = rig.open().await;
            if by_the_breaker {
                running.trip().await;
            } else {
                running.engage(KillMode::Halt).await.unwrap();
            }
            sleep(seconds(60)).await;
            assert_eq!(rig.order(&slice).status, OrderStatus::SubmittedUnconfirmed);
            assert_eq!(running.house.accounts.first().doubtful.ids(), std::slice::from_ref(&slice));
            rig.until("it arrives", || rig.order(&slice).status == OrderStatus::Filled).await;
            assert_eq!(rig.venue.submissions().len(), 1);
            rig.audit_at_rest();
        });
    }
}

#[test]
fn an_order_that_was_absent_before_a_crash_outlives_its_grace_while_it_may_arrive() {
    run(|rig| async move {
        let slice = absent_in_a_life_before(&rig).await;
        let running = rig.open().await;
        // It waits for the gate until its minute of grace is over.
        rig.venue.calls.fail("events", true);
        rig.venue.end_streams();
        sleep(seconds(60)).await;
        assert_eq!(rig.order(&slice).status, OrderStatus::SubmittedUnconfirmed);
        assert_eq!(running.house.accounts.first().doubtful.ids(), std::slice::from_ref(&slice));
        rig.venue.calls.fail("events", false);
        rig.until("it arrives", || rig.order(&slice).status == OrderStatus::Filled).await;
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit_at_rest();
    });
}

#[test]
fn a_venue_that_is_down_at_the_start_leaves_a_degraded_house_that_recovers_by_itself() {
    run(|rig| async move {
        rig.venue.calls.fail("events", true);
        let running = rig.start();
        sleep(seconds(10)).await;
        assert_eq!(running.house.health.phase(), tranche_actors::health::Phase::Ready);
        assert_eq!(rig.reasons(&running), [tranche_actors::gate::ShutReason::BrokerUnavailable]);
        rig.venue.calls.fail("events", false);
        rig.venue.calls.silence("open_orders", true);
        sleep(seconds(20)).await;
        assert_eq!(rig.reasons(&running), [tranche_actors::gate::ShutReason::BrokerUnavailable]);
        rig.venue.calls.silence("open_orders", false);
        sleep(seconds(10)).await;
        assert!(rig.reasons(&running).is_empty());
        running.submit(parent("worked", 103, 5, 20)).await;
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}
