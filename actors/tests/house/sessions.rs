//! The market's sessions: what is due while it is shut waits for as long as it may, and no longer.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::sleep;
use tranche_actors::commands::{CommandError, SubmitOrder};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::TimeInForce;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::domain::venue::VenueSession;
use tranche_actors::tuning::CalendarSource;
use tranche_simulation::clock::EPOCH;

use crate::support::orders::{id, parent, resting, single};
use crate::support::rig::{Rig, run, seconds};

fn minute(minutes: i64) -> DateTime<Utc> {
    EPOCH + TimeDelta::minutes(minutes)
}

/// A venue that trades from and to these minutes after the beginning, each time on another trading day.
fn trade(rig: &mut Rig, sessions: &[(i64, i64)]) {
    let session = |(day, (opens, closes)): (i64, &(i64, i64))| {
        let date = DayEnd::new_york().trading_day(EPOCH) + TimeDelta::days(day);
        VenueSession { date, opens: minute(*opens), closes: minute(*closes) }
    };
    rig.venue.days.trade_in((0..).zip(sessions).map(session).collect());
    rig.tuning.calendar = CalendarSource::Venue { refresh: seconds(300) };
}

fn with(name: &str, time_in_force: TimeInForce) -> SubmitOrder {
    let mut submit = single(name, 1);
    submit.request.instruction.time_in_force = time_in_force;
    submit
}

fn reason(order: &Order) -> &str {
    order.reason_code.as_deref().unwrap_or_default()
}

#[test]
fn slices_before_the_open_wait_for_it_and_say_so() {
    run(|mut rig| async move {
        trade(&mut rig, &[(10, 60)]);
        let running = rig.open().await;
        let submitted = running.submit(parent("early", 30, 3, 60)).await;
        assert!(submitted.parent.warnings.is_empty(), "{:?}", submitted.parent.warnings);
        sleep(seconds(300)).await;
        for slice in rig.slices(&id("early")) {
            assert_eq!((slice.status, reason(&slice)), (OrderStatus::PendingNew, "session_closed"));
            assert!(slice.error_message.unwrap().contains("12:10:00Z"));
        }
        assert!(rig.venue.submissions().is_empty());
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("early")).status, ParentStatus::Completed);
        let sent = rig.venue.submissions();
        assert!(sent.iter().all(|one| one.at >= minute(10) && one.at < minute(11)), "{sent:?}");
        let events = rig.store.look(|ledger| ledger.events().iter().filter(|event| event.event == "held").count());
        assert_eq!(events, 3, "each says once that it waits");
        rig.audit_at_rest();
    });
}

#[test]
fn after_the_close_each_time_in_force_waits_for_as_much_as_it_may() {
    run(|mut rig| async move {
        trade(&mut rig, &[(-60, 5), (60, 90)]);
        rig.live(async |rig: &Rig| {
            let running = rig.open().await;
            running.send(with("in-session", TimeInForce::Ioc)).await;
            sleep(seconds(360)).await;
            for (name, time_in_force) in
                [("day", TimeInForce::Day), ("ioc", TimeInForce::Ioc), ("gtc", TimeInForce::Gtc)]
            {
                running.send(with(name, time_in_force)).await;
            }
            let mut late = with("late", TimeInForce::Day);
            late.request.instruction.terms = resting();
            late.request.instruction.extended_hours = true;
            running.send(late).await;
            sleep(seconds(60)).await;
        })
        .await;
        assert_eq!(rig.order(&id("in-session")).status, OrderStatus::Filled);
        for name in ["day", "ioc"] {
            let order = rig.order(&id(name));
            assert_eq!((order.status, reason(&order)), (OrderStatus::Expired, "session_closed"), "{name}");
        }
        let held = rig.order(&id("gtc"));
        assert_eq!((held.status, reason(&held)), (OrderStatus::PendingNew, "session_closed"));
        assert_eq!(rig.order(&id("late")).status, OrderStatus::Accepted, "it waits behind nobody");

        // It still waits after a crash in the night, and goes with the next open.
        let _running = rig.open().await;
        sleep(seconds(3_300)).await;
        let sent = rig.order(&id("gtc"));
        assert_eq!(sent.status, OrderStatus::Filled);
        assert!(sent.submitted_at.is_some_and(|at| at >= minute(60) && at < minute(61)), "{sent:?}");
    });
}

#[test]
fn by_the_rules_of_the_exchange_what_is_due_on_a_saturday_waits_for_monday() {
    run(|mut rig| async move {
        assert_eq!(EPOCH.to_string(), "2026-11-21 12:00:00 UTC");
        rig.tuning.calendar = CalendarSource::Nyse;
        let running = rig.open().await;
        for (name, time_in_force) in [("day", TimeInForce::Day), ("gtc", TimeInForce::Gtc)] {
            running.send(with(name, time_in_force)).await;
        }
        sleep(seconds(60)).await;
        let over = rig.order(&id("day"));
        assert_eq!((over.status, reason(&over)), (OrderStatus::Expired, "session_closed"));
        let held = rig.order(&id("gtc"));
        assert_eq!((held.status, reason(&held)), (OrderStatus::PendingNew, "session_closed"));
        assert!(held.error_message.unwrap().contains("2026-11-23T14:30:00Z"));
        assert!(rig.venue.submissions().is_empty());
    });
}

#[test]
fn while_the_calendar_can_not_be_read_nothing_is_sent() {
    run(|mut rig| async move {
        trade(&mut rig, &[(-60, 600)]);
        rig.venue.calls.fail("calendar", true);
        let running = rig.open().await;
        let submitted = running.submit(parent("blind", 30, 3, 60)).await;
        assert!(submitted.parent.warnings[0].contains("is not known"), "{:?}", submitted.parent.warnings);
        sleep(seconds(30)).await;
        assert!(rig.venue.submissions().is_empty());
        let first = &rig.slices(&id("blind"))[0];
        assert_eq!((first.status, reason(first)), (OrderStatus::PendingNew, "session_closed"));
        rig.venue.calls.fail("calendar", false);
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("blind")).status, ParentStatus::Completed);
        rig.audit_at_rest();
    });
}

#[test]
fn a_parent_past_the_close_is_warned_about_or_refused_and_a_replay_of_it_is_neither() {
    run(|mut rig| async move {
        trade(&mut rig, &[(-60, 5)]);
        let running = rig.open().await;
        let warned = running.submit(parent("warned", 20, 20, 60)).await.parent.warnings;
        assert!(warned[0].contains("past the market's close at 2026-11-21T12:05:00Z"), "{warned:?}");
        sleep(seconds(1_300)).await;
        assert_eq!(rig.parent(&id("warned")).status, ParentStatus::PartiallyCompleted);
        let statuses = rig.statuses(&id("warned"));
        let expired = statuses.iter().filter(|status| **status == OrderStatus::Expired).count();
        assert_eq!((statuses.len(), expired), (20, 15));
        drop(running);
    });
    run(|mut rig| async move {
        trade(&mut rig, &[(-60, 5)]);
        rig.tuning.plan_rules.refuse_past_close = true;
        let running = rig.open().await;
        let refused =
            running.house.accounts.first().desk.submit_parent.send(parent("refused", 20, 20, 60)).await.unwrap();
        let Err(CommandError::Invalid(faults)) = refused else { panic!("{refused:?}") };
        assert_eq!((faults[0].field.as_str(), faults[0].code), ("duration_seconds", "past_close"));
        running.submit(parent("short", 2, 2, 60)).await;
        sleep(seconds(240)).await;
        let again = running.submit(parent("short", 2, 2, 60)).await;
        assert!(again.replayed, "by now it would run past the close");
    });
}
