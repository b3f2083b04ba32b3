//! The wall clock is set: nothing is sent and nothing expires until it agrees with the venue's, and what is due is found out
//! anew.

use chrono::TimeDelta;
use tokio::time::{Instant, sleep};
use tranche_actors::commands::CommandError;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::venue::VenueSession;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::health::{Part, PartStatus};
use tranche_simulation::clock::EPOCH;

use crate::support::orders::{id, parent, resting_parent};
use crate::support::rig::{Rig, Running, millis, run, seconds};

const HOUR: i64 = 3_600_000;
const FILLED: OrderStatus = OrderStatus::Filled;

/// From now on the venue has a clock of its own.
fn give_a_clock(rig: &Rig) {
    let (opens, closes) = (EPOCH - TimeDelta::days(1), EPOCH + TimeDelta::days(2));
    rig.venue.days.trade_in(vec![VenueSession { date: EPOCH.date_naive(), opens, closes }]);
}

/// Ours is set, and the venue's goes on as before.
fn set_ours_alone(rig: &Rig, by_millis: i64) {
    rig.clock.set(by_millis);
    rig.venue.days.run_ahead(-by_millis);
}

async fn shut_at_once(rig: &Rig, running: &Running) {
    sleep(millis(150)).await;
    assert_eq!(rig.reasons(running), [ShutReason::ClockUnsure]);
    let part = running.house.health.part(Part::Clock).unwrap();
    assert_eq!(part.status, PartStatus::Down, "{part:?}");
}

async fn open_again(rig: &Rig, running: &Running) {
    let began = Instant::now();
    rig.until("the gate opens", || rig.verdict(running) == Verdict::Open).await;
    assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
    assert_eq!(running.house.health.part(Part::Clock).unwrap().status, PartStatus::Up);
}

fn nothing_was_sent_early(rig: &Rig) {
    for sent in rig.venue.submissions() {
        let due = rig.order(&sent.id).scheduled_time;
        assert!(sent.at >= due, "{} was sent at {}, and is due at {due}", sent.id, sent.at);
    }
}

#[test]
fn a_clock_that_runs_away_sends_nothing_and_lets_nothing_expire_until_it_is_right_again() {
    run(|rig| async move {
        give_a_clock(&rig);
        let running = rig.open().await;
        running.submit(parent("timed", 100, 10, 20)).await;
        sleep(seconds(30)).await;
        set_ours_alone(&rig, HOUR);
        shut_at_once(&rig, &running).await;
        let refused = running.house.accounts.first().desk.submit_parent.send(parent("new", 10, 2, 20)).await.unwrap();
        assert!(matches!(refused, Err(CommandError::Gate(ShutReason::ClockUnsure))), "{refused:?}");
        sleep(seconds(35)).await;
        assert_eq!(rig.statuses(&id("timed"))[2..], [OrderStatus::PendingNew; 8], "by this clock all are too late");
        set_ours_alone(&rig, -HOUR);
        rig.venue.days.run_ahead(0);
        open_again(&rig, &running).await;
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("timed")), [FILLED; 10], "those that waited were within their grace");
        nothing_was_sent_early(&rig);
        rig.audit_at_rest();
    });
}

#[test]
fn a_clock_that_the_venue_confirms_is_the_new_time() {
    run(|rig| async move {
        give_a_clock(&rig);
        let running = rig.open().await;
        running.submit(parent("timed", 100, 10, 20)).await;
        sleep(seconds(30)).await;
        rig.clock.set(-25_000);
        sleep(seconds(1)).await;
        open_again(&rig, &running).await;
        // The third slice is due at 40 s, and it is 31 s less 25 s.
        sleep(seconds(30)).await;
        assert_eq!(rig.venue.submissions().len(), 2);
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("timed")), [FILLED; 10]);
        rig.audit_at_rest();
    });
}

#[test]
fn slices_that_a_wrong_clock_brought_too_early_go_at_their_time() {
    run(|rig| async move {
        give_a_clock(&rig);
        let running = rig.open().await;
        running.submit(parent("timed", 100, 10, 20)).await;
        sleep(seconds(39)).await;
        rig.venue.calls.fail("clock", true);
        rig.clock.set(3_000);
        shut_at_once(&rig, &running).await;
        sleep(millis(1_500)).await;
        // By a clock that is set back again the third slice is still to come; it has been at the broker's actor.
        rig.clock.set(-12_000);
        rig.venue.calls.fail("clock", false);
        sleep(seconds(2)).await;
        open_again(&rig, &running).await;
        assert_eq!(rig.venue.submissions().len(), 2);
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("timed")), [FILLED; 10], "none is forgotten");
        for (number, sent) in rig.venue.submissions().iter().enumerate().skip(2) {
            let due = rig.order(&sent.id).scheduled_time;
            assert!(sent.at >= due && sent.at < due + TimeDelta::seconds(2), "slice {number}: {} for {due}", sent.at);
        }
        rig.audit_at_rest();
    });
}

#[test]
fn a_venue_without_a_clock_goes_by_ours_and_one_that_can_not_be_asked_opens_nothing() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("timed", 100, 10, 20)).await;
        sleep(seconds(30)).await;
        rig.clock.set(25_000);
        sleep(millis(200)).await;
        open_again(&rig, &running).await;
        sleep(millis(500)).await;
        assert_eq!(rig.statuses(&id("timed"))[..3], [FILLED; 3], "due by the new time, and found out at once");

        rig.venue.calls.fail("clock", true);
        rig.clock.set(-1_500);
        shut_at_once(&rig, &running).await;
        sleep(seconds(20)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::ClockUnsure], "unknown is not right");
        rig.venue.calls.fail("clock", false);
        open_again(&rig, &running).await;
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("timed")), [FILLED; 10]);
        rig.audit_at_rest();
    });
}

#[test]
fn a_second_is_tolerated_and_a_suspended_machine_is_no_jump() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.calls.fail("clock", true);
        for set in [900, -900] {
            rig.clock.set(set);
            sleep(seconds(1)).await;
            assert!(rig.reasons(&running).is_empty(), "{set}");
        }
        rig.clock.freeze(seconds(3_600));
        rig.until("it is awake", || rig.reasons(&running).is_empty()).await;
        sleep(seconds(1)).await;
        assert!(rig.reasons(&running).is_empty());
    });
}

#[test]
fn the_end_of_a_schedule_by_a_wrong_clock_cancels_nothing() {
    run(|rig| async move {
        give_a_clock(&rig);
        let running = rig.open().await;
        running.submit(resting_parent("rests", 100, 5, 20)).await;
        sleep(seconds(90)).await;
        set_ours_alone(&rig, HOUR);
        shut_at_once(&rig, &running).await;
        sleep(seconds(80)).await;
        assert_eq!(rig.statuses(&id("rests")), [OrderStatus::Accepted; 5]);
        set_ours_alone(&rig, -HOUR);
        rig.venue.days.run_ahead(0);
        open_again(&rig, &running).await;
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("rests")), [OrderStatus::Canceled; 5], "it is over");
        assert_eq!(rig.parent(&id("rests")).status, ParentStatus::PartiallyCompleted);
        rig.audit_at_rest();
    });
}
