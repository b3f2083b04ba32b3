//! Many slices at once: the rate limit is kept, none is lost, and the wait is visible.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::sleep;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::ports::Clock;

use crate::support::orders::{id, parent, single};
use crate::support::rig::{Rig, Running, millis, run, seconds};
use tranche_simulation::venue::Fate;

/// Parents whose first slices are due at one instant, a while from now.
async fn due_at_once(rig: &Rig, running: &Running, count: usize) -> DateTime<Utc> {
    let at = rig.clock.now() + seconds(30);
    let desk = &running.house.accounts.first().desk.submit_parent;
    let submissions = (0..count).map(|n| {
        let mut submit = parent(&format!("p{n:05}"), 1, 1, 1);
        submit.request.schedule.start_time = Some(at);
        desk.send(submit)
    });
    for submitted in futures_util::future::join_all(submissions).await {
        submitted.unwrap().unwrap();
    }
    at
}

fn most_in_a_minute(requests: &[DateTime<Utc>]) -> usize {
    let mut most = 0;
    let mut first = 0;
    for (last, at) in requests.iter().enumerate() {
        while *at - requests[first] >= TimeDelta::minutes(1) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

#[test]
fn with_a_limit_of_600_a_minute_300_due_at_once_go_out_in_order_and_none_is_lost() {
    run(|mut rig| async move {
        rig.limit(600);
        let running = rig.open().await;
        // Every fifth answer is lost, so that look-ups want their share too.
        let mut nth = 0;
        rig.venue.decide(move |_| {
            nth += 1;
            if nth % 5 == 0 { Fate::ErrorAfter } else { Fate::Taken }
        });
        let at = due_at_once(&rig, &running, 300).await;
        // Others become due while those wait; their turn comes after.
        let mut later = parent("later", 10, 10, 1);
        later.request.schedule.start_time = Some(at + seconds(1));
        running.submit(later).await;
        rig.until_all_ended().await;
        let sent = rig.venue.submissions();
        assert_eq!(sent.len(), 310);
        let due = sent.iter().map(|sent| rig.order(&sent.id).scheduled_time).collect::<Vec<_>>();
        assert!(due.is_sorted(), "in the order of their due times");
        assert!(most_in_a_minute(&rig.venue.requests()) <= 600);
        let last = sent.last().unwrap();
        assert!((last.at - at).num_seconds() >= 20, "the wait is visible as lateness: {}", last.at - at);
        rig.audit_at_rest();
    });
}

#[test]
fn a_backlog_larger_than_its_grace_expires_and_the_limit_holds_all_the_same() {
    run(|mut rig| async move {
        rig.limit(60);
        let running = rig.open().await;
        due_at_once(&rig, &running, 150).await;
        rig.until_all_ended().await;
        assert!(most_in_a_minute(&rig.venue.requests()) <= 60);
        let filled = rig.venue.book().len();
        let (done, expired) = rig.store.look(|ledger| {
            let count = |status| ledger.orders().filter(|order| order.status == status).count();
            (count(OrderStatus::Filled), count(OrderStatus::Expired))
        });
        assert_eq!((done, done + expired), (filled, 150));
        assert!((45..=75).contains(&filled), "{filled}");
        rig.audit_at_rest();
    });
}

#[test]
fn a_small_budget_asks_about_every_unknown_order_in_turn() {
    run(|mut rig| async move {
        rig.limit(60);
        rig.venue.decide(|_| Fate::RequestLost);
        let running = rig.open().await;
        let count = 40;
        due_at_once(&rig, &running, count).await;
        // A minute to send them, a turn of all for each of three look-ups, and the two minutes in which one may yet arrive.
        sleep(Duration::from_secs(30 + 60 + 3 * 60 + 120)).await;
        let failed = || rig.store.look(|ledger| ledger.orders().filter(|o| o.status == OrderStatus::Failed).count());
        assert_eq!(failed(), rig.store.look(|ledger| ledger.orders().filter(|order| order.attempt > 0).count()));
        assert!(failed() >= count / 2, "{}", failed());
        rig.audit_at_rest();
    });
}

#[test]
fn thousands_of_slices_due_at_one_instant_without_a_limit_are_all_sent() {
    run(|mut rig| async move {
        rig.tuning.max_open_parents = 20_000;
        let running = rig.open().await;
        rig.venue.set_latency(millis(1));
        let count = 2_500;
        let at = due_at_once(&rig, &running, count).await;
        rig.until_all_ended().await;
        let sent = rig.venue.submissions();
        assert_eq!(sent.len(), count);
        assert!(sent.iter().all(|sent| (sent.at - at).num_milliseconds() < 1_000));
        assert_eq!(rig.parent(&id("p00000")).status, ParentStatus::Completed);
        rig.audit_at_rest();
    });
}

#[test]
fn what_is_claimed_when_a_venue_asks_for_patience_waits_at_the_wire() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.store.calls.delay("commit", millis(10));
        rig.venue.set_latency(millis(15));
        rig.venue.plan([Fate::Busy(Some(seconds(3)))]);
        let second = async {
            sleep(millis(12)).await;
            running.send(single("second", 10)).await
        };
        futures_util::join!(running.send(single("first", 10)), second);
        rig.until("both are filled", || {
            ["first", "second"].iter().all(|name| rig.order(&id(name)).status == OrderStatus::Filled)
        })
        .await;
        let sent = rig.venue.submissions();
        assert_eq!(sent.len(), 3);
        assert!(sent[1].at - sent[0].at >= TimeDelta::seconds(3), "{sent:?}");
        assert_eq!(rig.order(&id("second")).attempt, 2, "it was claimed before, and held back");
        rig.audit_at_rest();
    });
}

#[test]
fn a_venue_that_asked_for_patience_is_left_in_peace_by_a_broker_that_was_rebuilt_too() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.plan([Fate::Busy(Some(seconds(8)))]);
        running.submit(parent("patient", 40, 2, 60)).await;
        rig.until("it is told to wait", || rig.venue.submissions().len() == 1).await;
        sleep(millis(100)).await;
        rig.store.calls.panic("marked_orders", 1);
        rig.until("the broker dies", || rig.store.calls.panics_left("marked_orders") == 0).await;
        rig.until_all_ended().await;
        let sent = rig.venue.submissions();
        assert!(sent[1].at - sent[0].at >= TimeDelta::seconds(8), "{sent:?}");
        assert_eq!(rig.statuses(&id("patient")), [OrderStatus::Filled; 2]);
        rig.audit_at_rest();
    });
}
