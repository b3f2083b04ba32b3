//! Sends without an answer: looked up until found or absent, never resent blind, counted once.

use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;

use crate::support::orders::{id, parent, qty, resting_parent, resting_single, single};
use crate::support::rig::{millis, run, seconds};
use tranche_actors::market::faults::EventFault;
use tranche_simulation::venue::Fate;

#[test]
fn an_acknowledgement_lost_at_every_attempt_leaves_one_order_at_the_venue_and_our_row_right() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.decide(|_| Fate::AnswerLost);
        rig.venue.decide_events(|_| EventFault::Lost);
        running.submit(parent("many", 400, 200, 1)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.venue.book().len(), 200);
        assert_eq!(rig.parent(&id("many")).status, ParentStatus::Completed);
        assert_eq!(rig.venue.submissions().len(), 200);
        assert!(running.house.accounts.first().doubtful.is_empty());
        rig.audit_at_rest();
    });
}

#[test]
fn a_venue_that_answers_after_a_minute_leaves_its_slice_unknown_under_its_id() {
    run(|mut rig| async move {
        rig.tuning.reconcile = seconds(600);
        let running = rig.open().await;
        running.submit(parent("slow", 103, 5, 20)).await;
        sleep(seconds(10)).await;
        rig.venue.plan([Fate::AnsweredAfter(seconds(60))]);
        rig.venue.decide_events(|_| EventFault::Lost);
        rig.venue.calls.silence("find", true);
        sleep(seconds(16)).await;
        let unknown = rig.slices(&id("slow"))[1].clone();
        assert_eq!(unknown.status, OrderStatus::SubmittedUnconfirmed);
        assert_eq!(rig.parent(&id("slow")).progress.unknown_qty, Decimal::from(21));
        assert_eq!(running.house.accounts.first().doubtful.ids(), std::slice::from_ref(&unknown.id));
        sleep(seconds(40)).await;
        assert_eq!(rig.order(&unknown.id).status, OrderStatus::SubmittedUnconfirmed, "it never times out");
        rig.venue.calls.silence("find", false);
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("slow")).status, ParentStatus::Completed);
        assert_eq!(rig.venue.submissions().len(), 5);
        sleep(seconds(60)).await;
        rig.audit_at_rest();
    });
}

#[test]
fn a_request_that_was_lost_is_absent_after_two_look_ups_and_sent_again_under_the_same_id() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::RequestLost]);
        let order = running.send(resting_single("lost", 10)).await;
        assert_eq!(order.status, OrderStatus::Submitting, "the answer doesn't wait for a time-out");
        sleep(seconds(60)).await;
        // A single order's grace is over long before it is absent.
        assert_eq!(rig.venue.submissions().len(), 1);
        assert!(rig.order(&id("lost")).absent_at.is_some());

        rig.venue.plan([Fate::RequestLost]);
        running.submit(parent("lost-slices", 40, 2, 30)).await;
        rig.until_all_ended().await;
        let sent = rig.venue.submissions();
        let first = &rig.slices(&id("lost-slices"))[0];
        let attempts = sent.iter().filter(|sent| sent.id == first.id).collect::<Vec<_>>();
        assert_eq!(attempts.len(), 2);
        let apart = attempts[1].at - attempts[0].at;
        // Time-out, then a claim's time from then on, then two look-ups 2 s apart, and no grace wasted.
        assert!((17..30).contains(&apart.num_seconds()), "{apart}");
        assert_eq!((first.status, first.attempt), (OrderStatus::Filled, 2));
        assert_eq!(rig.parent(&id("lost-slices")).status, ParentStatus::Completed);
        rig.audit();
    });
}

#[test]
fn an_absent_order_past_its_grace_is_given_up_once_it_stayed_absent() {
    run(|mut rig| async move {
        rig.tuning.grace = seconds(10);
        let running = rig.open().await;
        rig.venue.plan([Fate::RequestLost]);
        running.submit(parent("gone", 40, 2, 30)).await;
        rig.until("it is absent", || rig.slices(&id("gone"))[0].absent_at.is_some()).await;
        sleep(seconds(110)).await;
        assert_eq!(rig.statuses(&id("gone"))[0], OrderStatus::SubmittedUnconfirmed);
        assert_eq!(rig.parent(&id("gone")).status, ParentStatus::Working);
        sleep(seconds(20)).await;
        assert_eq!(rig.statuses(&id("gone")), [OrderStatus::Failed, OrderStatus::Filled]);
        assert_eq!(rig.parent(&id("gone")).status, ParentStatus::PartiallyCompleted);
        assert_eq!(rig.venue.submissions().len(), 2);
        assert!(running.house.accounts.first().doubtful.is_empty());
        rig.audit_at_rest();
    });
}

#[test]
fn an_order_that_was_just_given_up_is_not_taken_up_again_from_books_that_were_read_before() {
    run(|mut rig| async move {
        (rig.tuning.reconcile, rig.tuning.absent_settle) = (seconds(1), seconds(30));
        let running = rig.open().await;
        // Between reading our books and handing over what is open in them lies this answer.
        rig.venue.calls.delay("positions", seconds(9));
        rig.venue.plan([Fate::RequestLost]);
        running.send(resting_single("gone", 10)).await;
        rig.until("it is given up", || rig.order(&id("gone")).status == OrderStatus::Failed).await;
        sleep(seconds(12)).await;
        assert!(running.house.accounts.first().doubtful.is_empty());
        assert!(running.engage(KillMode::Halt).await.unwrap().unknown.is_empty());
        rig.audit_at_rest();
    });
}

#[test]
fn an_absent_order_that_is_refused_when_sent_again_stays_in_doubt_until_it_is_given_up() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::RequestLost, Fate::Rejected]);
        running.submit(resting_parent("refused", 40, 2, 300)).await;
        rig.until("it is sent again", || rig.venue.submissions().len() == 2).await;
        sleep(seconds(60)).await;
        let slice = rig.slices(&id("refused"))[0].clone();
        assert_eq!((slice.status, slice.attempt), (OrderStatus::SubmittedUnconfirmed, 2));
        assert!(slice.absent_at.is_some() && !slice.is_claimable(), "{slice:?}");
        assert_eq!(running.engage(KillMode::Halt).await.unwrap().unknown, std::slice::from_ref(&slice.id));
        rig.until("it is given up", || rig.order(&slice.id).status.is_terminal()).await;
        let ended = rig.order(&slice.id);
        assert_eq!(ended.status, OrderStatus::Canceled);
        assert_eq!(ended.error_message.as_deref(), Some("insufficient buying power"));
        let held = ended.terminal_at.unwrap() - slice.absent_at.unwrap();
        assert!((119..130).contains(&held.num_seconds()), "{held}");
        assert!(running.house.accounts.first().doubtful.is_empty());
        assert_eq!(rig.venue.submissions().len(), 2);
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn an_absent_order_that_was_refused_when_sent_again_and_then_arrives_is_adopted_and_cancelled() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::ArrivesAfter(seconds(100)), Fate::Rejected]);
        running.submit(resting_parent("refused", 40, 2, 300)).await;
        rig.until("it arrives", || !rig.venue.book().is_empty()).await;
        let slice = rig.slices(&id("refused"))[0].id.clone();
        rig.until("it is cancelled", || rig.order(&slice).status.is_terminal()).await;
        assert_eq!(rig.order(&slice).status, OrderStatus::Canceled);
        assert!(rig.order(&slice).broker_order_id.is_some());
        assert!(rig.venue.in_book(&slice).unwrap().status.is_terminal());
        assert!(running.house.accounts.first().doubtful.is_empty());
        assert_eq!(rig.venue.submissions().len(), 2);
        rig.audit_at_rest();
    });
}

#[test]
fn an_order_that_shows_up_after_it_was_given_up_is_adopted_counted_and_cancelled() {
    run(|mut rig| async move {
        rig.tuning.absent_settle = seconds(30);
        let running = rig.open().await;
        rig.venue.plan([Fate::ArrivesAfter(seconds(100))]);
        running.send(resting_single("late", 10)).await;
        rig.until("it is given up", || rig.order(&id("late")).status == OrderStatus::Failed).await;
        rig.until("it arrives", || rig.venue.in_book(&id("late")).is_some()).await;
        rig.until("it is cancelled", || rig.order(&id("late")).status == OrderStatus::Canceled).await;
        assert!(rig.venue.in_book(&id("late")).unwrap().status.is_terminal());

        rig.venue.plan([Fate::ArrivesAfter(seconds(100))]);
        running.send(single("late-fill", 10)).await;
        rig.until("it is given up", || rig.order(&id("late-fill")).status == OrderStatus::Failed).await;
        rig.until("it is counted", || rig.order(&id("late-fill")).status == OrderStatus::Filled).await;
        assert_eq!(rig.order(&id("late-fill")).filled_qty, Decimal::from(10));
        rig.audit_at_rest();
    });
}

#[test]
fn a_slice_that_shows_up_after_its_parent_ended_is_counted_in_it() {
    run(|mut rig| async move {
        (rig.tuning.absent_settle, rig.tuning.grace) = (seconds(30), seconds(5));
        let running = rig.open().await;
        rig.venue.plan([Fate::ArrivesAfter(seconds(100))]);
        running.submit(parent("ended", 40, 2, 10)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("ended")).status, ParentStatus::PartiallyCompleted);
        sleep(seconds(120)).await;
        assert_eq!(rig.parent(&id("ended")).status, ParentStatus::Completed);
        rig.audit_at_rest();
    });
}

#[test]
fn an_id_that_the_venue_has_with_what_we_sent_is_adopted() {
    run(|rig| async move {
        let running = rig.open().await;
        // Our own order arrives by another way first: the venue refuses the second as a duplicate.
        let mut twin = resting_single("twin", 10);
        twin.request.client_order_id = Some(id("twin"));
        let new = tranche_actors::domain::venue::NewOrder {
            client_order_id: id("twin"),
            instruction: twin.request.instruction.clone(),
            qty: twin.request.qty,
        };
        rig.venue.decide_events(|_| EventFault::Lost);
        rig.venue.slip_in(&new).unwrap();
        running.send(twin).await;
        sleep(seconds(1)).await;
        let ours = rig.order(&id("twin"));
        assert_eq!(ours.status, OrderStatus::Accepted);
        assert!(running.house.accounts.first().doubtful.is_empty());
        assert!(rig.store.look(|ledger| ledger.quarantined().is_empty()));
    });
}

#[test]
fn an_id_that_the_venue_has_with_something_else_quarantines_its_symbol() {
    run(|rig| async move {
        let running = rig.open().await;
        let theirs = tranche_actors::domain::venue::NewOrder {
            client_order_id: id("clash"),
            instruction: resting_single("clash", 10).request.instruction,
            qty: qty(11),
        };
        rig.venue.slip_in(&theirs).unwrap();
        running.send(resting_single("clash", 10)).await;
        sleep(millis(500)).await;
        assert_eq!(rig.order(&id("clash")).status, OrderStatus::SubmittedUnconfirmed);
        let refused =
            running.house.accounts.first().desk.submit_order.send(single("next", 1)).await.unwrap().unwrap_err();
        assert_eq!(refused.to_string(), "the symbol is quarantined");
        sleep(seconds(300)).await;
        let times = rig.store.look(|ledger| ledger.quarantined().len());
        assert!((1..=3).contains(&times), "once for the send, once for the orphan, not {times} times");
        assert_eq!(rig.order(&id("clash")).status, OrderStatus::SubmittedUnconfirmed, "an operator has to settle it");
    });
}

#[test]
fn a_live_order_that_the_venues_pages_lack_is_looked_up_until_that_works() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.decide_events(|_| EventFault::Lost);
        rig.store.calls.delay("commit", millis(100));
        let commits = rig.store.calls.made("commit");
        let sending = async {
            rig.until("its claim is on its way", || rig.store.calls.made("commit") == commits + 2).await;
            // By the clock it is sent long before it was claimed.
            rig.clock.set(-120_000);
        };
        futures_util::join!(running.send(single("set-back", 10)), sending);
        assert_eq!(rig.order(&id("set-back")).status, OrderStatus::Accepted);
        sleep(seconds(57)).await;
        // The look-up that the next comparison asks for fails, and works a little later.
        rig.venue.calls.fail("find", true);
        sleep(seconds(3)).await;
        rig.venue.calls.fail("find", false);
        sleep(seconds(8)).await;
        assert_eq!(rig.order(&id("set-back")).status, OrderStatus::Filled);
        assert!(running.house.accounts.first().doubtful.is_empty());
        rig.audit_at_rest();
    });
}
