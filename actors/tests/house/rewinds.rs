//! The ledger goes back behind what was seen of it: what was under way is held for a person, and what may have been sent is
//! looked up.

use tokio::time::sleep;
use tranche_actors::commands::{CancelParent, CommandError, ResumeParent};
use tranche_actors::domain::ledger::{EventKind, Write};
use tranche_actors::domain::parent::{Parent, ParentStatus, PauseReason};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::Verdict;
use tranche_actors::ports::Clock;
use tranche_actors::ports::store::Store;
use tranche_simulation::store::CommitFault;
use tranche_simulation::store::ledger::Ledger;

use crate::support::orders::{caller, id, parent, resting_parent, single};
use crate::support::rig::{Rig, Running, run, seconds};

async fn resume(running: &Running, parent: &str) -> Result<Parent, CommandError> {
    let command = ResumeParent { id: id(parent), by: caller().into() };
    running.house.accounts.first().desk.resume_parent.send(command).await.unwrap()
}

/// A parent of ten slices, twenty seconds apart: four have traded when the process dies, and the copy knows of two.
async fn a_copy_that_lacks_two_slices(rig: &Rig) -> Ledger {
    rig.live(async |rig| {
        let running = rig.open().await;
        running.submit(parent("held", 100, 10, 20)).await;
        sleep(seconds(30)).await;
        let copy = rig.store.back_up();
        sleep(seconds(40)).await;
        assert_eq!(rig.statuses(&id("held"))[..5], [FILLED, FILLED, FILLED, FILLED, OrderStatus::PendingNew]);
        copy
    })
    .await
}

const FILLED: OrderStatus = OrderStatus::Filled;

fn events_of(rig: &Rig, of: &str, kind: EventKind) -> usize {
    let is_one = |event: &&tranche_actors::ports::store::LedgerEvent| event.event == kind.as_str();
    rig.store.look(|ledger| {
        ledger.events().iter().filter(is_one).filter(|event| event.order.as_ref() == Some(&id(of))).count()
    })
}

#[test]
fn after_a_restore_parents_wait_for_a_person_and_what_was_sent_since_is_found() {
    run(|rig| async move {
        let copy = a_copy_that_lacks_two_slices(&rig).await;
        rig.store.restore(copy);
        let running = rig.open().await;
        let held = rig.parent(&id("held"));
        assert_eq!((held.status, held.paused), (ParentStatus::Paused, Some(PauseReason::LedgerRewound)));
        assert_eq!(events_of(&rig, "held", EventKind::Paused), 1);
        rig.until("what was sent is found", || rig.statuses(&id("held"))[..4] == [FILLED; 4]).await;
        rig.audit();
        // Due at 80 s and later, and nobody has resumed it by 150 s.
        sleep(seconds(80)).await;
        assert_eq!(rig.venue.submissions().len(), 4, "nothing is sent while it is held");
        assert_eq!(rig.statuses(&id("held"))[4..], [OrderStatus::PendingNew; 6], "and nothing expires");
        let resumed = resume(&running, "held").await.unwrap();
        assert_eq!((resumed.status, resumed.paused), (ParentStatus::Working, None));
        assert_eq!(events_of(&rig, "held", EventKind::Resumed), 1);
        let again = resume(&running, "held").await;
        assert!(matches!(again, Err(CommandError::NotPaused(ParentStatus::Working))), "{again:?}");
        rig.until_all_ended().await;
        let mut expected = [FILLED; 10];
        // What is later than its grace follows the parent's catch_up.
        expected[4] = OrderStatus::Expired;
        assert_eq!(rig.statuses(&id("held")), expected);
        let ended = resume(&running, "held").await;
        assert!(matches!(ended, Err(CommandError::ParentTerminal)), "{ended:?}");
        assert!(matches!(resume(&running, "nobody").await, Err(CommandError::NotFound)));
        rig.audit_at_rest();
    });
}

#[test]
fn a_ledger_that_goes_back_under_a_running_instance_shuts_the_account_and_has_it_recovered() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("held", 100, 10, 20)).await;
        sleep(seconds(30)).await;
        let copy = rig.store.back_up();
        sleep(seconds(20)).await;
        rig.store.restore(copy);
        let term = running.house.accounts.first().health.term();
        sleep(seconds(15)).await;
        assert!(running.house.accounts.first().health.term() > term, "the next slice finds it out before it is sent");
        assert_eq!(rig.parent(&id("held")).status, ParentStatus::Paused);
        rig.until("the gate opens", || rig.verdict(&running) == Verdict::Open).await;
        rig.until("what was sent is found", || rig.statuses(&id("held"))[..3] == [FILLED; 3]).await;
        assert_eq!(rig.venue.submissions().len(), 3);
        resume(&running, "held").await.unwrap();
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("held")), [FILLED; 10], "what was due meanwhile was within its grace");
        assert_eq!(rig.venue.submissions().len(), 10);
        rig.audit_at_rest();
    });
}

#[test]
fn a_parent_that_is_resumed_while_its_account_is_being_recovered_goes_on() {
    run(|rig| async move {
        let copy = a_copy_that_lacks_two_slices(&rig).await;
        rig.store.restore(copy);
        rig.store.calls.answer_late("open_parents", seconds(4));
        let running = rig.start();
        rig.until("it is held", || rig.parent(&id("held")).status == ParentStatus::Paused).await;
        // What the recovery reads last is from before this.
        sleep(seconds(1)).await;
        assert_ne!(rig.verdict(&running), Verdict::Open, "it has not ended");
        resume(&running, "held").await.unwrap();
        rig.until("what was sent is found", || rig.statuses(&id("held"))[..4] == [FILLED; 4]).await;
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("held")), [FILLED; 10]);
        rig.audit_at_rest();
    });
}

#[test]
fn what_traded_of_parents_that_the_books_have_lost_is_listed_and_their_symbols_are_in_quarantine() {
    run(|rig| async move {
        let copy = rig
            .live(async |rig| {
                let running = rig.open().await;
                running.submit(parent("kept", 10, 1, 1)).await;
                rig.until_all_ended().await;
                let copy = rig.store.back_up();
                running.submit(parent("lost", 30, 3, 5)).await;
                rig.until_all_ended().await;
                copy
            })
            .await;
        rig.store.restore(copy);
        let _running = rig.open().await;
        let found = rig.store.causes(&rig.tuning.account).await.unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|cause| cause.found["status"] == "filled"), "{found:?}");
    });
}

#[test]
fn a_crash_between_the_pause_and_the_word_that_it_was_seen_to_loses_neither() {
    run(|rig| async move {
        let copy = a_copy_that_lacks_two_slices(&rig).await;
        rig.store.restore(copy);
        rig.store.calls.fail("caught_up", true);
        rig.live(async |rig| {
            let running = rig.start();
            sleep(seconds(5)).await;
            assert_eq!(rig.parent(&id("held")).status, ParentStatus::Paused);
            assert_ne!(rig.verdict(&running), Verdict::Open, "it is not seen to before that is durable");
        })
        .await;
        rig.store.calls.fail("caught_up", false);
        rig.live(async |rig| {
            let running = rig.open().await;
            assert_eq!(rig.parent(&id("held")).status, ParentStatus::Paused);
            assert_eq!(events_of(rig, "held", EventKind::Paused), 1, "nothing is done twice");
            rig.until("what was sent is found", || rig.statuses(&id("held"))[..4] == [FILLED; 4]).await;
            resume(&running, "held").await.unwrap();
        })
        .await;
        let _running = rig.open().await;
        assert_eq!(rig.parent(&id("held")).status, ParentStatus::Working, "it was seen to once and for all");
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn parents_are_held_before_anything_is_sent_also_where_the_pause_can_not_be_written_at_once() {
    run(|rig| async move {
        let copy = a_copy_that_lacks_two_slices(&rig).await;
        rig.store.restore(copy);
        let is_pause = |write: &Write| matches!(write, Write::Pause { .. });
        rig.store.plan_for(is_pause, CommitFault::Unavailable);
        let _running = rig.open().await;
        assert_eq!(rig.parent(&id("held")).status, ParentStatus::Paused);
        sleep(seconds(60)).await;
        assert_eq!(rig.venue.submissions().len(), 4);
    });
}

#[test]
fn what_was_never_sent_is_absent_and_goes_by_the_ordinary_rules() {
    run(|rig| async move {
        let copy = rig
            .live(async |rig| {
                rig.open().await.submit(parent("held", 100, 10, 20)).await;
                sleep(seconds(30)).await;
                rig.store.back_up()
            })
            .await;
        sleep(seconds(75)).await;
        rig.store.restore(copy);
        let running = rig.open().await;
        // Due at 40, 60, 80 and 100 s, while nobody was there; it is 105 s.
        let statuses = rig.statuses(&id("held"));
        assert_eq!(statuses[2..6], [OrderStatus::SubmittedUnconfirmed; 4], "it may have been sent");
        assert_eq!(statuses[6..], [OrderStatus::PendingNew; 4]);
        sleep(seconds(20)).await;
        assert_eq!(rig.venue.submissions().len(), 2);
        resume(&running, "held").await.unwrap();
        rig.until_all_ended().await;
        let mut expected = [FILLED; 10];
        expected[2..4].fill(OrderStatus::Failed);
        assert_eq!(rig.statuses(&id("held")), expected, "what is absent within its grace is sent");
        assert_eq!(rig.venue.submissions().len(), 8);
        rig.audit_at_rest();
    });
}

#[test]
fn a_parent_that_is_held_can_be_cancelled_and_one_that_was_canceling_stays_so() {
    run(|rig| async move {
        let copy = rig
            .live(async |rig| {
                let running = rig.open().await;
                running.submit(resting_parent("held", 100, 10, 20)).await;
                running.submit(resting_parent("going", 100, 10, 20)).await;
                sleep(seconds(30)).await;
                rig.venue.calls.fail("cancel", true);
                cancel(&running, "going").await;
                rig.store.back_up()
            })
            .await;
        rig.store.restore(copy);
        rig.venue.calls.fail("cancel", false);
        let running = rig.open().await;
        let going = rig.parent(&id("going"));
        assert!(going.paused.is_none(), "{going:?}");
        assert_eq!(rig.parent(&id("held")).status, ParentStatus::Paused);
        cancel(&running, "held").await;
        rig.until_all_ended().await;
        for name in ["held", "going"] {
            assert_eq!(rig.parent(&id(name)).status, ParentStatus::Canceled);
        }
        rig.audit_at_rest();
    });
}

#[test]
fn a_parent_that_is_held_and_was_cancelled_by_another_instance_makes_room() {
    run(|mut rig| async move {
        rig.tuning.max_open_parents = 1;
        let copy = rig
            .live(async |rig| {
                rig.open().await.submit(parent("held", 100, 10, 20)).await;
                sleep(seconds(1)).await;
                rig.store.back_up()
            })
            .await;
        rig.store.restore(copy);
        let running = rig.open().await;
        assert_eq!(rig.parent(&id("held")).status, ParentStatus::Paused);
        rig.store.slip_in(Write::CancelParent { id: id("held"), by: caller() }, rig.clock.now());
        assert!(rig.parent(&id("held")).status.is_terminal());
        sleep(seconds(61)).await;
        running.submit(parent("next", 10, 2, 20)).await;
    });
}

#[test]
fn a_single_order_that_was_sent_since_the_copy_is_found_and_does_not_expire() {
    run(|rig| async move {
        let copy = rig
            .live(async |rig| {
                let running = rig.open().await;
                let is_claim = |write: &Write| matches!(write, Write::Claim { .. });
                rig.store.plan_for(is_claim, CommitFault::Slow(seconds(1) / 2));
                let copied = async {
                    rig.until("it is stored", || rig.store.look(|ledger| ledger.orders().count() == 1)).await;
                    rig.store.back_up()
                };
                let (_, copy) = futures_util::join!(running.send(single("lone", 10)), copied);
                rig.until("it has traded", || rig.order(&id("lone")).status == FILLED).await;
                copy
            })
            .await;
        sleep(seconds(20)).await;
        rig.store.restore(copy);
        assert_eq!(rig.order(&id("lone")).status, OrderStatus::PendingNew);
        let _running = rig.open().await;
        rig.until("it is found", || rig.order(&id("lone")).status == FILLED).await;
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit_at_rest();
    });
}

async fn cancel(running: &Running, parent: &str) {
    let cancel = CancelParent { id: id(parent), by: caller() };
    running.house.accounts.first().desk.cancel_parent.send(cancel).await.unwrap().unwrap();
}
