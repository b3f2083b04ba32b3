//! The clean end.

use tokio::time::sleep;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::supervisor::DrainAll;

use crate::support::orders::{id, parent, resting_parent};
use crate::support::rig::{millis, run, seconds};
use tranche_actors::market::faults::EventFault;
use tranche_simulation::venue::Fate;

#[test]
fn draining_settles_what_is_in_flight_and_nothing_new_leaves() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("drained", 103, 5, 2)).await;
        sleep(seconds(1)).await;
        rig.venue.plan([Fate::AnsweredAfter(seconds(3))]);
        rig.until("the second slice is in flight", || rig.venue.submissions().len() == 2).await;
        running.house.supervisor.send(DrainAll).await.unwrap();
        let [filled, pending] = [OrderStatus::Filled, OrderStatus::PendingNew];
        assert_eq!(rig.statuses(&id("drained")), [filled, filled, pending, pending, pending]);
        assert!(!rig.store.is_open(), "the store is closed");
        let commits = rig.store.calls.made("commit");
        sleep(seconds(30)).await;
        assert_eq!(rig.store.calls.made("commit"), commits, "nothing is written after that");
        assert_eq!(rig.venue.submissions().len(), 2);
        rig.audit();
    });
}

#[test]
fn a_send_that_does_not_settle_in_time_is_cut_off_and_looked_up_at_the_next_start() {
    run(|mut rig| async move {
        (rig.tuning.drain, rig.tuning.send_timeout) = (seconds(2), seconds(8));
        rig.live(async |rig| {
            let running = rig.open().await;
            rig.venue.plan([Fate::AnswerLost]);
            rig.venue.decide_events(|_| EventFault::Lost);
            running.submit(resting_parent("cut", 100, 2, 60)).await;
            sleep(millis(100)).await;
            running.house.supervisor.send(DrainAll).await.unwrap();
            assert_eq!(rig.statuses(&id("cut"))[0], OrderStatus::SubmittedUnconfirmed);
            assert!(running.house.accounts.first().in_flight.is_empty());
        })
        .await;
        let _running = rig.open().await;
        sleep(seconds(2)).await;
        assert_eq!(rig.statuses(&id("cut"))[0], OrderStatus::Accepted);
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit();
    });
}

#[test]
fn open_orders_are_left_or_cancelled_on_shutdown_as_configured() {
    for cancels in [false, true] {
        run(|mut rig| async move {
            rig.tuning.cancel_on_shutdown = cancels;
            let running = rig.open().await;
            running.submit(resting_parent("open", 100, 5, 10)).await;
            sleep(seconds(15)).await;
            running.house.supervisor.send(DrainAll).await.unwrap();
            let live = rig.venue.book().iter().filter(|order| !order.status.is_terminal()).count();
            assert_eq!(live, if cancels { 0 } else { 2 });
        });
    }
}
