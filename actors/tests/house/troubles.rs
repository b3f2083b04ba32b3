//! A store that is slow, down or unsure: entries are refused, nothing promised is lost, and it heals by itself.

use tokio::time::sleep;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::health::{Part, PartStatus};

use crate::support::orders::{id, parent, single};
use crate::support::rig::{Rig, Running, millis, run, seconds};
use tranche_simulation::store::CommitFault;
use tranche_simulation::venue::Fate;

async fn refused(rig: &Rig, running: &Running) {
    let error = running.house.accounts.first().desk.submit_order.send(single("refused", 1)).await.unwrap().unwrap_err();
    assert!(matches!(error, CommandError::Gate(ShutReason::StoreUnavailable)), "{error}");
    let error = running
        .house
        .accounts
        .first()
        .desk
        .submit_parent
        .send(parent("refused", 10, 2, 10))
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, CommandError::Gate(ShutReason::StoreUnavailable)), "{error}");
    assert_eq!(rig.reasons(running), [ShutReason::StoreUnavailable]);
    assert_eq!(running.house.health.part(Part::Store).unwrap().status, PartStatus::Down);
}

/// The parent completes although the store was in trouble.
async fn heals(rig: &Rig, running: &Running) {
    rig.until("the store is up", || rig.verdict(running) == Verdict::Open).await;
    assert_eq!(running.house.health.part(Part::Store).unwrap().status, PartStatus::Up);
    rig.until_all_ended().await;
    assert_eq!(rig.parent(&id("troubled")).status, ParentStatus::Completed);
    sleep(seconds(2)).await;
    rig.audit_at_rest();
}

/// Then the watchdog of one commit barks when the next one has begun, or when none is under way.
#[test]
fn commits_that_end_in_the_instant_of_their_time_out_leave_nothing_shut_for_good() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("troubled", 103, 5, 20)).await;
        for spell in 0..20 {
            rig.store.calls.delay("commit", seconds(1));
            let (_, _, _) = futures_util::join!(
                running.house.accounts.first().desk.submit_order.send(single(&format!("a{spell}"), 1)),
                async {
                    sleep(millis(300)).await;
                    running.house.accounts.first().desk.submit_order.send(single(&format!("b{spell}"), 1)).await
                },
                async {
                    sleep(millis(700)).await;
                    running.house.accounts.first().desk.submit_order.send(single(&format!("c{spell}"), 1)).await
                },
            );
            sleep(seconds(3)).await;
            rig.store.calls.delay("commit", millis(1));
            rig.until("the store is up", || rig.verdict(&running) == Verdict::Open).await;
        }
        heals(&rig, &running).await;
    });
}

#[test]
fn a_store_that_fails_shuts_the_gate_until_a_probe_is_committed() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("troubled", 103, 5, 20)).await;
        sleep(seconds(15)).await;
        rig.store.fail_commits(true);
        sleep(seconds(8)).await;
        refused(&rig, &running).await;
        assert_eq!(rig.venue.submissions().len(), 1, "no claim, no send");
        sleep(seconds(10)).await;
        rig.store.fail_commits(false);
        sleep(millis(1_200)).await;
        heals(&rig, &running).await;
    });
}

#[test]
fn a_commit_that_takes_longer_than_a_second_shuts_the_gate_while_it_lasts() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("troubled", 103, 5, 20)).await;
        let claims: fn(&Write) -> bool = |write| matches!(write, Write::Claim { .. });
        rig.store.plan_for(claims, CommitFault::Slow(seconds(1)));
        sleep(seconds(5)).await;
        rig.store.plan_for(claims, CommitFault::Slow(seconds(8)));
        sleep(seconds(18)).await;
        refused(&rig, &running).await;
        assert_eq!(rig.venue.submissions().len(), 1);
        heals(&rig, &running).await;
        let late = rig.slices(&id("troubled"))[1].clone();
        assert_eq!(late.status, OrderStatus::Filled);
    });
}

#[test]
fn a_commit_of_unknown_outcome_is_settled_both_ways() {
    let cases: [fn(&Write) -> bool; 3] = [
        |write| matches!(write, Write::Submit(_)),
        |write| matches!(write, Write::Claim { .. }),
        |write| matches!(write, Write::Report(_)),
    ];
    for which in cases {
        for committed in [true, false] {
            run(|rig| async move {
                let running = rig.open().await;
                rig.store.plan_for(which, CommitFault::Unknown { committed });
                let submitted = running
                    .house
                    .accounts
                    .first()
                    .desk
                    .submit_parent
                    .send(parent("troubled", 103, 5, 20))
                    .await
                    .unwrap();
                match submitted {
                    Ok(_) => {}
                    Err(CommandError::StoreUnavailable) => {
                        assert!(rig.store.look(|ledger| ledger.parents().next().is_none()), "nothing was stored");
                        rig.until("the gate opens", || rig.verdict(&running) == Verdict::Open).await;
                        running.submit(parent("troubled", 103, 5, 20)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
                rig.until("it happens", || rig.store.is_through()).await;
                heals(&rig, &running).await;
                assert_eq!(rig.venue.submissions().len(), 5);
            });
        }
    }
}

#[test]
fn a_commit_whose_outcome_can_not_be_read_back_yet_is_answered_once_it_can() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.store.plan([CommitFault::Unknown { committed: true }]);
        rig.store.calls.fail("settle", true);
        let submit = running.house.accounts.first().desk.submit_parent.send(parent("troubled", 103, 5, 20));
        let (submitted, ()) = futures_util::join!(submit, async {
            sleep(seconds(5)).await;
            assert_eq!(rig.reasons(&running), [ShutReason::StoreUnavailable]);
            rig.store.calls.fail("settle", false);
        });
        assert!(!submitted.unwrap().unwrap().replayed);
        heals(&rig, &running).await;
    });
}

#[test]
fn a_batch_that_the_store_refuses_is_written_sender_by_sender() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.store.plan([CommitFault::RefuseMany, CommitFault::RefuseMany]);
        let desk = &running.house.accounts.first().desk;
        let (one, two) = futures_util::join!(
            desk.submit_parent.send(parent("troubled", 103, 5, 20)),
            desk.submit_parent.send(parent("other", 50, 5, 20)),
        );
        one.unwrap().unwrap();
        two.unwrap().unwrap();
        heals(&rig, &running).await;
    });
}

#[test]
fn what_was_written_before_the_store_failed_in_the_middle_of_a_batch_is_not_forgotten() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("troubled", 20, 10, 1)).await;
        sleep(millis(2_500)).await;
        rig.store.fail_commits(true);
        sleep(seconds(4)).await;
        // Four claims wait now. The store refuses them together, twice, takes the first alone, and fails at the second.
        rig.store.fail_commits(false);
        let claims: fn(&Write) -> bool = |write| matches!(write, Write::Claim { .. });
        let refused = [CommitFault::RefuseMany, CommitFault::RefuseMany];
        for fault in refused.into_iter().chain([CommitFault::Slow(millis(1)), CommitFault::Unavailable]) {
            rig.store.plan_for(claims, fault);
        }
        rig.until("all of it happens", || rig.store.is_through()).await;
        assert!(rig.statuses(&id("troubled")).contains(&OrderStatus::Submitting), "the first claim is written");
        heals(&rig, &running).await;
        assert_eq!(rig.venue.submissions().len(), 10);
    });
}

#[test]
fn two_submissions_of_which_one_was_written_before_the_store_failed_are_answered_each_by_its_own_truth() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.store.plan([CommitFault::RefuseMany, CommitFault::Slow(millis(1)), CommitFault::Unavailable]);
        let desk = &running.house.accounts.first().desk;
        let (one, two) = futures_util::join!(
            desk.submit_parent.send(parent("troubled", 103, 5, 20)),
            desk.submit_parent.send(parent("other", 50, 5, 20)),
        );
        one.unwrap().unwrap();
        assert!(matches!(two.unwrap(), Err(CommandError::StoreUnavailable)));
        assert_eq!(rig.store.look(|ledger| ledger.parents().count()), 1);
        heals(&rig, &running).await;
    });
}

#[test]
fn an_order_whose_time_passes_while_the_store_is_down_expires() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("late", 103, 5, 20)).await;
        sleep(seconds(10)).await;
        rig.store.fail_commits(true);
        sleep(seconds(100)).await;
        rig.store.fail_commits(false);
        rig.until_all_ended().await;
        let [filled, expired] = [OrderStatus::Filled, OrderStatus::Expired];
        assert_eq!(rig.statuses(&id("late")), [filled, expired, expired, filled, filled]);
        assert_eq!(rig.parent(&id("late")).status, ParentStatus::PartiallyCompleted);
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.audit_at_rest();
    });
}

#[test]
fn a_store_that_is_down_at_the_start_is_opened_when_it_is_there() {
    run(|rig| async move {
        rig.store.calls.fail("open", true);
        let running = rig.start();
        sleep(seconds(10)).await;
        let reasons = rig.reasons(&running);
        for reason in [ShutReason::KillSwitchUnknown, ShutReason::Starting, ShutReason::StoreUnavailable] {
            assert!(reasons.contains(&reason), "{reasons:?}");
        }
        rig.store.calls.fail("open", false);
        sleep(seconds(2)).await;
        running.submit(parent("troubled", 103, 5, 20)).await;
        heals(&rig, &running).await;
    });
}

#[test]
fn a_refused_key_halts_the_account_says_so_and_leaves_the_broker_alone_until_it_takes_the_key_again() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::Unauthorised]);
        running.submit(parent("troubled", 10, 1, 10)).await;
        sleep(seconds(5)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::BrokerUnauthorised]);
        let broker = running.house.health.part(Part::Broker).unwrap();
        assert_eq!((broker.status, broker.detail.as_str()), (PartStatus::Down, "forbidden"));
        let error =
            running.house.accounts.first().desk.submit_order.send(single("refused", 1)).await.unwrap().unwrap_err();
        assert!(matches!(error, CommandError::Gate(ShutReason::BrokerUnauthorised)), "{error}");
        let asked = rig.venue.requests().len();
        sleep(seconds(20)).await;
        assert_eq!(rig.venue.requests().len(), asked, "a key that is refused is not hammered on");
        heals(&rig, &running).await;
        let slice = rig.slices(&id("troubled"))[0].clone();
        assert_eq!((slice.status, slice.tries), (OrderStatus::Filled, 0));
    });
}
