//! Cancels, by clients and by the end of a schedule.

use tokio::time::sleep;
use tranche_actors::commands::{CancelOrder, CancelParent, CanceledParent, CommandError};
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::policy::Completion;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::ports::Clock;

use crate::support::orders::{caller, id, parent, resting_parent};
use crate::support::rig::{Rig, Running, millis, run, seconds};
use tranche_actors::market::faults::EventFault;
use tranche_simulation::venue::Fate;

async fn cancel(running: &Running, name: &str) -> Result<CanceledParent, CommandError> {
    let cancel = CancelParent { id: id(name), by: caller() };
    running.house.accounts.first().desk.cancel_parent.send(cancel).await.unwrap()
}

/// Each slice ended one way, and the venue says the same.
fn each_ended_one_way(rig: &Rig, name: &str) {
    for slice in rig.slices(&id(name)) {
        let theirs = rig.venue.in_book(&slice.id).map(|order| order.status);
        match (slice.status, theirs) {
            (OrderStatus::Canceled, None | Some(VenueStatus::Canceled))
            | (OrderStatus::Filled, Some(VenueStatus::Filled)) => {}
            (ours, theirs) => panic!("{}: {ours} here, {theirs:?} there", slice.id),
        }
    }
}

#[test]
fn a_cancel_counts_what_it_meets_and_the_parent_ends_when_the_venue_has_confirmed() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.set_cancel_pending(seconds(3));
        running.submit(resting_parent("counted", 100, 5, 10)).await;
        sleep(seconds(15)).await;
        let canceled = cancel(&running, "counted").await.unwrap();
        let counts = canceled.counts;
        assert_eq!((counts.pending_canceled, counts.open_cancel_requested), (3, 2));
        assert_eq!((counts.already_terminal, counts.in_flight), (0, 0));
        assert_eq!(canceled.parent.status, ParentStatus::Canceling);
        sleep(seconds(1)).await;
        assert_eq!(rig.statuses(&id("counted"))[..2], [OrderStatus::PendingCancel; 2]);
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("counted")).status, ParentStatus::Canceled);
        each_ended_one_way(&rig, "counted");
        assert!(matches!(cancel(&running, "counted").await, Err(CommandError::ParentTerminal)));
        assert!(matches!(cancel(&running, "nobody").await, Err(CommandError::NotFound)));
        rig.audit_at_rest();
    });
}

#[test]
fn a_cancel_races_a_firing_slice_a_thousand_times_and_each_slice_ends_exactly_one_way() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.set_latency(millis(2));
        let mut sent = 0;
        for n in 0..1_000_u64 {
            let name = format!("race-{n}");
            running.submit(parent(&name, 20, 2, 1)).await;
            // From well before the second slice fires to well after its answer.
            sleep(millis(980) + std::time::Duration::from_micros(37 * n)).await;
            let canceled = cancel(&running, &name).await;
            rig.until("the parent has ended", || rig.parent(&id(&name)).status.is_terminal()).await;
            each_ended_one_way(&rig, &name);
            let filled = rig.slices(&id(&name))[1].status == OrderStatus::Filled;
            assert!(filled || canceled.is_ok());
            sent += u32::from(filled);
        }
        assert!((100..900).contains(&sent), "a race has two winners: {sent}");
        rig.audit_at_rest();
    });
}

#[test]
fn a_slice_in_flight_is_cancelled_when_it_is_found() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.decide_events(|_| EventFault::Lost);
        rig.venue.plan([Fate::AnswerLost]);
        running.submit(resting_parent("flying", 100, 5, 10)).await;
        sleep(seconds(1)).await;
        let counts = cancel(&running, "flying").await.unwrap().counts;
        assert_eq!((counts.in_flight, counts.pending_canceled), (1, 4));
        rig.until_all_ended().await;
        each_ended_one_way(&rig, "flying");
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit_at_rest();
    });
}

#[test]
fn a_slice_that_was_cancelled_while_it_was_absent_is_never_sent_again() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::RequestLost]);
        running.submit(resting_parent("absent", 100, 5, 60)).await;
        sleep(seconds(8)).await;
        let counts = cancel(&running, "absent").await.unwrap().counts;
        assert_eq!(counts.in_flight, 1);
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("absent")), [OrderStatus::Canceled; 5]);
        let said = rig.slices(&id("absent"))[0].error_message.clone();
        assert_eq!(said.as_deref(), Some("the venue never had it"));
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit_at_rest();
    });
}

#[test]
fn a_cancel_that_fails_is_retried_until_it_is_confirmed_also_after_a_restart() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            running.submit(resting_parent("stubborn", 100, 2, 10)).await;
            sleep(seconds(15)).await;
            rig.venue.calls.fail("cancel", true);
            cancel(&running, "stubborn").await.unwrap();
            sleep(seconds(30)).await;
            assert_eq!(rig.statuses(&id("stubborn")), [OrderStatus::Accepted; 2]);
        })
        .await;
        rig.venue.calls.fail("cancel", false);
        let _running = rig.open().await;
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("stubborn")).status, ParentStatus::Canceled);
        rig.audit_at_rest();
    });
}

#[test]
fn a_parent_that_is_cancelled_in_the_moment_of_its_acceptance_makes_room_for_the_next() {
    run(|mut rig| async move {
        rig.tuning.max_open_parents = 1;
        let running = rig.open().await;
        let mut overtaken = 0;
        for n in 0..20 {
            let name = format!("brief-{n}");
            let mut submit = parent(&name, 20, 2, 600);
            submit.request.schedule.start_time = Some(rig.clock.now() + seconds(60));
            let canceled = async {
                // The quote takes 5 ms: both are written in one batch, the cancel behind the submission.
                sleep(millis(5)).await;
                for _ in 0..n {
                    tokio::task::yield_now().await;
                }
                cancel(&running, &name).await
            };
            let (submitted, canceled) =
                futures_util::join!(running.house.accounts.first().desk.submit_parent.send(submit), canceled);
            submitted.unwrap().unwrap();
            if canceled.is_ok() {
                overtaken += 1;
            } else {
                cancel(&running, &name).await.unwrap();
            }
            assert_eq!(rig.parent(&id(&name)).status, ParentStatus::Canceled);
            sleep(seconds(2)).await;
        }
        assert!(overtaken > 0, "some cancel came in the moment of acceptance");
        rig.audit_at_rest();
    });
}

#[test]
fn a_cancel_that_only_one_order_needs_leaves_the_others() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(resting_parent("one", 100, 3, 10)).await;
        sleep(seconds(15)).await;
        let slices = rig.slices(&id("one"));
        for slice in [&slices[0], &slices[2]] {
            let cancel = CancelOrder { id: slice.id.clone(), by: caller().into() };
            running.house.accounts.first().desk.cancel_order.send(cancel).await.unwrap().unwrap();
        }
        sleep(seconds(3)).await;
        let [open, canceled] = [OrderStatus::Accepted, OrderStatus::Canceled];
        assert_eq!(rig.statuses(&id("one")), [canceled, open, canceled]);
        rig.audit();
    });
}

#[test]
fn the_end_of_the_schedule_cancels_what_rests_where_the_parent_says_so() {
    run(|rig| async move {
        let running = rig.open().await;
        let mut leaves = resting_parent("leaves", 100, 5, 10);
        leaves.request.completion = Completion::Leave;
        running.submit(leaves).await;
        running.submit(resting_parent("cancels", 100, 5, 10)).await;
        sleep(seconds(49)).await;
        assert_eq!(rig.statuses(&id("cancels")), [OrderStatus::Accepted; 5]);
        sleep(seconds(5)).await;
        assert_eq!(rig.statuses(&id("cancels")), [OrderStatus::Canceled; 5]);
        let ended = rig.parent(&id("cancels"));
        assert_eq!((ended.status, ended.cancel_requested_at), (ParentStatus::PartiallyCompleted, None));
        sleep(seconds(600)).await;
        assert_eq!(rig.statuses(&id("leaves")), [OrderStatus::Accepted; 5]);
        assert_eq!(rig.parent(&id("leaves")).status, ParentStatus::Working);
        rig.audit_at_rest();
    });
}

#[test]
fn a_slice_that_leaves_after_the_schedules_end_is_cancelled_too() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(resting_parent("tail", 100, 5, 10)).await;
        sleep(seconds(39)).await;
        // The last slice meets a venue that asks for patience until after the schedule's end.
        rig.venue.plan([Fate::Busy(None); 8]);
        sleep(seconds(20)).await;
        let last = rig.statuses(&id("tail"))[4];
        assert_eq!(last, OrderStatus::Accepted, "it was sent within its grace");
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("tail")), [OrderStatus::Canceled; 5]);
        rig.audit_at_rest();
    });
}
