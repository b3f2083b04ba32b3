//! The lines that trip the breaker: each where it is crossed, where it just isn't, and where it can't be known.

use std::time::Duration;

use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::domain::breaker::{BreakerState, BreakerWord};
use tranche_actors::domain::guards::{DAILY_LOSS_EXCEEDED, DATA_STALE, MAX_DRAWDOWN, REPEATED_EXECUTION, RepeatRule};
use tranche_actors::gate::{ShutReason, Verdict};

use crate::support::orders::{parent, single};
use crate::support::rig::{Rig, Running, run, seconds};

const REASON: &str = "a person has looked at it";

fn breaker(running: &Running) -> BreakerState {
    running.house.health.breaker().unwrap()
}

fn tripped_for(running: &Running, reason: &str) -> bool {
    let state = breaker(running);
    state.state == BreakerWord::Tripped && state.trip_reason.as_deref() == Some(reason)
}

fn repeats(rig: &mut Rig, most: u32) {
    rig.tuning.guards.repeats = Some(RepeatRule { most, window: Duration::from_secs(3_600) });
    rig.tuning.quiet_period = Duration::ZERO;
}

#[test]
fn a_parent_of_390_slices_is_one_execution() {
    run(|mut rig| async move {
        repeats(&mut rig, 1);
        let running = rig.open().await;
        running.submit(parent("whole-day", 3_900, 390, 1)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.audit_at_rest();
    });
}

#[test]
fn the_same_parent_in_a_hot_loop_trips_and_needs_a_person() {
    run(|mut rig| async move {
        repeats(&mut rig, 3);
        let running = rig.open().await;
        for n in 0..3 {
            running.submit(parent(&format!("again-{n}"), 100, 10, 60)).await;
        }
        sleep(seconds(5)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open, "as many as are borne");
        running.submit(parent("again-3", 100, 10, 60)).await;
        rig.until("it trips", || tripped_for(&running, REPEATED_EXECUTION)).await;
        assert_eq!(breaker(&running).trip_details.unwrap()["count"], 4);
        running.reset(REASON).await.unwrap();
        for n in 4..7 {
            running.submit(parent(&format!("again-{n}"), 100, 10, 60)).await;
        }
        sleep(seconds(5)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open, "a person's word begins the count anew");
        running.submit(parent("again-7", 100, 10, 60)).await;
        rig.until("it trips again", || tripped_for(&running, REPEATED_EXECUTION)).await;
    });
}

#[test]
fn a_strategy_that_enters_again_after_each_fill_trips_also_over_a_crash() {
    run(|mut rig| async move {
        repeats(&mut rig, 4);
        rig.live(async |rig| {
            let running = rig.open().await;
            for n in 0..3 {
                running.send(single(&format!("entry-{n}"), 10)).await;
                sleep(seconds(2)).await;
            }
            assert_eq!(rig.verdict(&running), Verdict::Open);
        })
        .await;
        let running = rig.open().await;
        running.send(single("entry-3", 10)).await;
        sleep(seconds(5)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        running.send(single("entry-4", 10)).await;
        rig.until("it trips", || tripped_for(&running, REPEATED_EXECUTION)).await;
    });
}

#[test]
fn a_days_loss_trips_once_at_the_line_and_again_at_its_next_multiple() {
    run(|mut rig| async move {
        rig.tuning.guards.daily_loss = Some(Decimal::ONE);
        rig.tuning.quiet_period = Duration::ZERO;
        let running = rig.open().await;
        // Half of what the book is apart is lost at once, whatever becomes of it.
        running.submit(parent("large", 60_000, 2, 5)).await;
        rig.until("it trips", || tripped_for(&running, DAILY_LOSS_EXCEEDED)).await;
        let level = breaker(&running).trip_details.unwrap()["level"].as_u64().unwrap();
        running.reset(REASON).await.unwrap();
        rig.until_all_ended().await;
        sleep(seconds(30)).await;
        let again = breaker(&running);
        assert!(again.state == BreakerWord::Allowing || again.trip_details.unwrap()["level"].as_u64().unwrap() > level);
        let day = rig.store.look(|ledger| ledger.days(&rig.tuning.account).next().cloned()).unwrap();
        assert!(day.opening.is_some(), "the day was opened before it was judged");
    });
}

#[test]
fn a_drawdown_within_its_line_trips_nothing() {
    run(|mut rig| async move {
        rig.tuning.guards.drawdown = Some(Decimal::from(100_000_000));
        rig.tuning.guards.daily_loss = Some(Decimal::from(100_000_000));
        let running = rig.open().await;
        running.submit(parent("large", 60_000, 2, 5)).await;
        rig.until_all_ended().await;
        sleep(seconds(60)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.audit_at_rest();
    });
}

#[test]
fn a_drawdown_beyond_its_line_trips() {
    run(|mut rig| async move {
        rig.tuning.guards.drawdown = Some(Decimal::ONE);
        let running = rig.open().await;
        running.submit(parent("large", 60_000, 2, 5)).await;
        rig.until("it trips", || tripped_for(&running, MAX_DRAWDOWN)).await;
    });
}

#[test]
fn an_old_price_of_what_is_held_trips_and_nothing_else_does() {
    run(|mut rig| async move {
        rig.tuning.guards.stale_after = Some(seconds(30));
        let running = rig.open().await;
        rig.venue.calls.fail("quote", true);
        sleep(seconds(120)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open, "nothing is held, so no price is missed");
        rig.venue.calls.fail("quote", false);
        running.send(single("held", 10)).await;
        sleep(seconds(120)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open, "prices are told");
        rig.venue.calls.fail("quote", true);
        sleep(seconds(20)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open, "not old yet");
        sleep(seconds(30)).await;
        assert!(tripped_for(&running, DATA_STALE), "{:?}", breaker(&running));
    });
}

/// One of the two lines of losses, drawn at one unit.
fn line(rig: &mut Rig, reason: &str) {
    let guards = &mut rig.tuning.guards;
    let line = if reason == MAX_DRAWDOWN { &mut guards.drawdown } else { &mut guards.daily_loss };
    *line = Some(Decimal::ONE);
}

#[test]
fn prices_that_nobody_tells_trip_no_line_of_losses_until_they_are_told() {
    for reason in [DAILY_LOSS_EXCEEDED, MAX_DRAWDOWN] {
        run(|mut rig| async move {
            line(&mut rig, reason);
            let running = rig.open().await;
            sleep(seconds(10)).await;
            rig.venue.calls.fail("quote", true);
            running.send(single("held", 1_000)).await;
            sleep(seconds(120)).await;
            assert_eq!(breaker(&running).state, BreakerWord::Allowing, "by what was paid nothing is lost");
            rig.venue.calls.fail("quote", false);
            rig.until("it trips", || tripped_for(&running, reason)).await;
        });
    }
}

#[test]
fn losses_that_can_not_be_read_trip_nothing_until_they_can() {
    for reason in [DAILY_LOSS_EXCEEDED, MAX_DRAWDOWN] {
        run(|mut rig| async move {
            line(&mut rig, reason);
            let running = rig.open().await;
            sleep(seconds(10)).await;
            rig.store.calls.fail("days", true);
            running.submit(parent("large", 60_000, 2, 5)).await;
            rig.until_all_ended().await;
            sleep(seconds(60)).await;
            assert_eq!(breaker(&running).state, BreakerWord::Allowing);
            rig.store.calls.fail("days", false);
            rig.until("it trips", || tripped_for(&running, reason)).await;
        });
    }
}

#[test]
fn what_was_sent_before_a_crash_counts_as_soon_as_it_can_be_read() {
    run(|mut rig| async move {
        repeats(&mut rig, 4);
        rig.live(async |rig| {
            let running = rig.open().await;
            for n in 0..4 {
                running.send(single(&format!("entry-{n}"), 10)).await;
                sleep(seconds(2)).await;
            }
        })
        .await;
        rig.store.calls.fail("orders", true);
        let running = rig.open().await;
        running.send(single("entry-4", 10)).await;
        sleep(seconds(10)).await;
        assert_eq!(breaker(&running).state, BreakerWord::Allowing);
        rig.store.calls.fail("orders", false);
        rig.until("it trips", || tripped_for(&running, REPEATED_EXECUTION)).await;
    });
}

#[test]
fn a_portfolio_that_dies_is_rebuilt_with_the_gate_shut_meanwhile_and_goes_on_watching() {
    run(|mut rig| async move {
        rig.tuning.guards.drawdown = Some(Decimal::ONE);
        let running = rig.open().await;
        rig.store.calls.panic("portfolio", 1);
        rig.until("it died", || rig.reasons(&running) == [ShutReason::BrokerUnavailable]).await;
        rig.until("it is rebuilt", || rig.verdict(&running) == Verdict::Open).await;
        running.submit(parent("large", 60_000, 2, 5)).await;
        rig.until("it trips", || tripped_for(&running, MAX_DRAWDOWN)).await;
    });
}
