//! What certainly never left, what the venue refused, and single orders.

use tokio::time::sleep;
use tranche_actors::commands::{CancelOrder, CommandError};
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::ports::Clock;

use crate::support::orders::{caller, id, parent, resting_single, single};
use crate::support::rig::{millis, run, seconds};
use tranche_actors::market::faults::EventFault;
use tranche_simulation::store::CommitFault;
use tranche_simulation::venue::Fate;

#[test]
fn a_send_that_never_left_is_tried_three_times_with_growing_waits_and_then_fails() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::NeverLeft, Fate::NeverLeft, Fate::NeverLeft]);
        running.submit(parent("tried", 40, 2, 60)).await;
        rig.until_all_ended().await;
        let [first, second] = rig.slices(&id("tried")).try_into().unwrap();
        assert_eq!((first.status, first.tries), (OrderStatus::Failed, 3));
        assert_eq!(first.reason_code.as_deref(), Some("out_of_tries"));
        assert_eq!(second.status, OrderStatus::Filled);
        let sent = rig.venue.submissions();
        let waits = [sent[1].at - sent[0].at, sent[2].at - sent[1].at];
        assert!((1_600..2_100).contains(&waits[0].num_milliseconds()), "{waits:?}");
        assert!((3_200..4_100).contains(&waits[1].num_milliseconds()), "{waits:?}");
        assert_eq!(rig.parent(&id("tried")).status, ParentStatus::PartiallyCompleted);
        rig.audit_at_rest();
    });
}

#[test]
fn a_send_that_never_left_twice_goes_out_at_the_third_try() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::NeverLeft, Fate::NeverLeft]);
        running.submit(parent("tried", 40, 2, 60)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("tried")), [OrderStatus::Filled; 2]);
        assert!(running.house.accounts.first().doubtful.is_empty());
        rig.audit_at_rest();
    });
}

#[test]
fn an_order_that_waits_for_its_next_try_is_not_forgotten_by_a_comparison_that_saw_it_claimed() {
    run(|mut rig| async move {
        rig.tuning.reconcile = seconds(10);
        let running = rig.open().await;
        rig.venue.set_latency(millis(400));
        rig.venue.calls.delay("open_orders", millis(300));
        rig.venue.calls.delay("positions", millis(1_100));
        let doubts: fn(&Write) -> bool = |write| matches!(write, Write::OutcomeUnknown { .. });
        rig.store.plan_for(doubts, CommitFault::Slow(millis(900)));
        rig.venue.plan([Fate::NeverLeft]);
        let (compared, seen) = (rig.venue.calls.made("open_orders"), rig.venue.calls.made("positions"));
        rig.until("a comparison begins", || rig.venue.calls.made("open_orders") > compared).await;
        sleep(millis(500)).await;
        let sent = running.send(single("waits", 10));
        let looked_on = async {
            rig.until("our books are read", || rig.venue.calls.made("positions") > seen).await;
            assert_eq!(rig.order(&id("waits")).status, OrderStatus::Submitting);
            sleep(millis(1_600)).await;
            assert_eq!(rig.order(&id("waits")).status, OrderStatus::PendingNew, "the comparison is over");
            sleep(seconds(10)).await;
        };
        futures_util::join!(sent, looked_on);
        assert_eq!(rig.order(&id("waits")).status, OrderStatus::Filled);
        assert_eq!(rig.venue.submissions().len(), 2);
        assert!(!rig.store.is_through(), "nobody declares it of unknown outcome");
        rig.audit_at_rest();
    });
}

#[test]
fn a_venue_that_asks_for_patience_uses_up_no_try() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::Busy(None); 10]);
        running.submit(parent("patient", 40, 2, 60)).await;
        sleep(seconds(30)).await;
        let first = &rig.slices(&id("patient"))[0];
        assert_eq!((first.status, first.tries), (OrderStatus::Filled, 0));
        assert_eq!(rig.venue.submissions().len(), 11, "one request each two seconds");
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn a_venue_that_asks_for_patience_for_longer_than_the_grace_lets_the_slice_expire() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.decide(|_| Fate::Busy(None));
        running.submit(parent("patient", 40, 2, 10)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("patient")), [OrderStatus::Expired; 2]);
        rig.audit_at_rest();
    });
}

#[test]
fn a_rejection_is_final_and_keeps_the_venues_code_and_words() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::Rejected]);
        let refused = running.send(single("refused", 10)).await;
        assert_eq!(refused.status, OrderStatus::Rejected);
        assert_eq!(refused.reason_code.as_deref(), Some("40310000"));
        assert_eq!(refused.error_message.as_deref(), Some("insufficient buying power"));
        rig.venue.decide(|_| Fate::Rejected);
        running.submit(parent("refused-parent", 40, 2, 10)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("refused-parent")).status, ParentStatus::Rejected);
        assert_eq!(rig.venue.submissions().len(), 3);
        rig.audit_at_rest();
    });
}

#[test]
fn a_single_order_is_answered_when_the_venue_has_it_and_a_repetition_sends_nothing() {
    run(|rig| async move {
        let running = rig.open().await;
        let began = rig.clock.now();
        let order = running.send(resting_single("one", 10)).await;
        assert_eq!(order.status, OrderStatus::Accepted);
        assert!((rig.clock.now() - began).num_milliseconds() < 100);
        let again =
            running.house.accounts.first().desk.submit_order.send(resting_single("one", 10)).await.unwrap().unwrap();
        assert!(again.replayed);
        assert_eq!(again.order.status, OrderStatus::Accepted);
        let other = running.house.accounts.first().desk.submit_order.send(resting_single("one", 11)).await.unwrap();
        assert!(matches!(other, Err(CommandError::IdReused)));
        assert_eq!(rig.venue.submissions().len(), 1);
    });
}

#[test]
fn the_answer_to_a_single_order_does_not_wait_for_a_slow_venue() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::AnsweredAfter(seconds(3))]);
        rig.venue.decide_events(|_| EventFault::Lost);
        let began = rig.clock.now();
        let order = running.send(resting_single("slow", 10)).await;
        let took = (rig.clock.now() - began).num_milliseconds();
        assert!((1_000..1_100).contains(&took), "{took}");
        assert!(!order.status.is_terminal());
        sleep(seconds(5)).await;
        assert_eq!(rig.order(&id("slow")).status, OrderStatus::Accepted);
    });
}

#[test]
fn a_single_order_that_meets_a_gate_shut_for_the_unknown_waits_its_grace_and_expires() {
    run(|mut rig| async move {
        rig.tuning.submit_wait = millis(100);
        let running = rig.open().await;
        rig.venue.set_latency(seconds(2));
        rig.venue.plan([Fate::Busy(None)]);
        running.send(resting_single("waits", 10)).await;
        // The first request came back as not taken; meanwhile the venue's stream ends and can't be had again.
        rig.venue.calls.fail("events", true);
        rig.venue.end_streams();
        rig.until("it expires", || rig.order(&id("waits")).status == OrderStatus::Expired).await;
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit_at_rest();
    });
}

#[test]
fn a_single_order_is_cancelled() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(resting_single("cancel-me", 10)).await;
        let cancel = CancelOrder { id: id("cancel-me"), by: caller().into() };
        running.house.accounts.first().desk.cancel_order.send(cancel.clone()).await.unwrap().unwrap();
        rig.until("it is cancelled", || rig.order(&id("cancel-me")).status == OrderStatus::Canceled).await;
        let again = running.house.accounts.first().desk.cancel_order.send(cancel).await.unwrap().unwrap();
        assert_eq!(again.status, OrderStatus::Canceled, "one that has ended stays as it is");
        rig.audit_at_rest();
    });
}

#[test]
fn more_parents_than_there_may_be_are_refused_also_when_they_come_at_once() {
    run(|mut rig| async move {
        rig.tuning.max_open_parents = 1;
        let running = rig.open().await;
        let desk = &running.house.accounts.first().desk;
        let (one, two) = futures_util::join!(
            desk.submit_parent.send(parent("one", 40, 2, 10)),
            desk.submit_parent.send(parent("two", 40, 2, 10)),
        );
        one.unwrap().unwrap();
        assert!(matches!(two.unwrap(), Err(CommandError::Busy { .. })));
        rig.until_all_ended().await;
        sleep(seconds(1)).await;
        running.submit(parent("two", 40, 2, 10)).await;
    });
}
