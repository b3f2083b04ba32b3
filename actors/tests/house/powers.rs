//! What the broker tells that limits go by: buying power, and how much of a symbol trades in a day.

use chrono::TimeDelta;
use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::commands::{CancelOrder, ChangeLimits, CommandError, SubmitOrder};
use tranche_actors::domain::limits::{Changer, Control, LimitChange, LimitKey, LimitScope, StopCode};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::DailyBar;
use tranche_actors::ports::Clock;
use tranche_simulation::clock::EPOCH;
use tranche_simulation::venue::Fate;

use crate::support::orders::{caller, id, resting_parent, resting_single, single, symbol};
use crate::support::rig::{Running, run, seconds};

/// At 25 each, all that the venue of these tests has cash for.
const ALL: u32 = 40_000_000;

async fn set(running: &Running, control: Control, value: u32) {
    let key = LimitKey { scope: LimitScope::Global, control };
    let changes = vec![LimitChange::Set(key, Decimal::from(value))];
    let who = Changer { operator: "ops".to_owned(), by: caller().into() };
    running.house.switches.limits.send(ChangeLimits { changes, who }).await.unwrap().unwrap();
}

async fn stopped_by(running: &Running, submit: SubmitOrder) -> StopCode {
    match running.house.accounts.first().desk.submit_order.send(submit).await.unwrap() {
        Err(CommandError::Limited { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

async fn cancel(running: &Running, name: &str) {
    let cancel = CancelOrder { id: id(name), by: caller().into() };
    running.house.accounts.first().desk.cancel_order.send(cancel).await.unwrap().unwrap();
}

const SHORT: StopCode = StopCode::Limit(Control::BuyingPower);

#[test]
fn without_any_limit_an_entry_beyond_the_brokers_buying_power_is_refused_before_it_leaves() {
    run(|rig| async move {
        let running = rig.open().await;
        // The broker has told it by now.
        sleep(seconds(1)).await;
        assert_eq!(stopped_by(&running, resting_single("much", ALL + 1)).await, SHORT);
        assert!(rig.venue.submissions().is_empty());
        running.send(resting_single("all", ALL - 1)).await;
        // At once again: the figure was read before that one left.
        assert_eq!(stopped_by(&running, resting_single("beside", 2)).await, SHORT);
        running.send(resting_single("just", 1)).await;
        sleep(seconds(60)).await;
        assert_eq!(stopped_by(&running, resting_single("later", 1)).await, SHORT, "the broker says so itself by now");
        assert_eq!(rig.venue.submissions().len(), 2);
        rig.audit_at_rest();
    });
}

#[test]
fn buying_power_that_came_back_a_moment_ago_is_asked_for_before_an_order_is_refused() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(resting_single("all", ALL)).await;
        cancel(&running, "all").await;
        rig.until("it is cancelled", || rig.order(&id("all")).status == OrderStatus::Canceled).await;
        running.send(resting_single("again", ALL)).await;
    });
}

#[test]
fn what_is_of_unknown_outcome_is_taken_off_the_buying_power_whatever_the_broker_says() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            rig.venue.plan([Fate::RequestLost]);
            rig.venue.calls.fail("find", true);
            running.send(resting_single("lost", ALL - 1)).await;
            sleep(seconds(6)).await;
            assert_eq!(rig.order(&id("lost")).status, OrderStatus::SubmittedUnconfirmed);
            assert_eq!(stopped_by(&running, resting_single("beside", 2)).await, SHORT);
        })
        .await;
        // Another process knows no more of it than that.
        let running = rig.open().await;
        sleep(seconds(1)).await;
        assert_eq!(rig.order(&id("lost")).status, OrderStatus::SubmittedUnconfirmed);
        assert_eq!(stopped_by(&running, resting_single("beside", 2)).await, SHORT);
        running.send(resting_single("just", 1)).await;
    });
}

#[test]
fn a_broker_that_does_not_tell_its_buying_power_stops_entries_only_where_a_limit_asks_for_it() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(single("base", 10)).await;
        rig.venue.calls.fail("account", true);
        sleep(seconds(20)).await;
        running.send(resting_single("unjudged", 1)).await;
        set(&running, Control::BuyingPower, 0).await;
        assert_eq!(stopped_by(&running, resting_single("entry", 1)).await, SHORT);
        let mut exit = single("exit", 10);
        exit.request.instruction.side = Side::Sell;
        assert!(running.send(exit).await.reduces);
        rig.venue.calls.fail("account", false);
        running.send(resting_single("judged", 1)).await;
    });
}

#[test]
fn slices_share_the_buying_power_that_is_left() {
    run(|rig| async move {
        let running = rig.open().await;
        for n in 0..4 {
            // Each alone fits, two together just do.
            let mut submit = resting_parent(&format!("p{n}"), ALL / 2, 1, 60);
            submit.request.schedule.start_time = Some(rig.clock.now() + seconds(10));
            running.submit(submit).await;
        }
        sleep(seconds(15)).await;
        let slices = (0..4).flat_map(|n| rig.slices(&id(&format!("p{n}")))).collect::<Vec<_>>();
        let short = Some("insufficient_buying_power");
        assert_eq!(slices.iter().filter(|slice| slice.status == OrderStatus::Accepted).count(), 2);
        let blocked = slices.iter().filter(|slice| slice.status == OrderStatus::BlockedRisk);
        assert_eq!(blocked.filter(|slice| slice.reason_code.as_deref() == short).count(), 2);
    });
}

#[test]
fn a_share_of_the_daily_volume_bites_just_does_not_and_refuses_where_no_volume_is_known() {
    run(|rig| async move {
        let share = StopCode::Limit(Control::MaxAdvShare);
        rig.live(async |rig| {
            let running = rig.open().await;
            set(&running, Control::MaxAdvShare, 1).await;
            assert_eq!(stopped_by(&running, resting_single("dark", 1)).await, share);
        })
        .await;
        let bar = |day: i64| DailyBar {
            date: (EPOCH - TimeDelta::days(day)).date_naive(),
            close: Decimal::ONE_HUNDRED,
            volume: 1_000.into(),
        };
        rig.venue.days.record(symbol(), (1..=30).rev().map(bar).collect());
        // What the venue has told of a day is kept for the day; another process asks again.
        let running = rig.open().await;
        assert_eq!(stopped_by(&running, resting_single("eleven", 11)).await, share);
        running.send(resting_single("ten", 10)).await;
        let whole = running.house.accounts.first().desk.submit_parent.send(resting_parent("whole", 11, 11, 60)).await;
        let whole = whole.unwrap();
        assert!(matches!(whole, Err(CommandError::Limited { code, .. }) if code == share), "{whole:?}");
    });
}
