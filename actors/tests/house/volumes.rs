//! Slices that are no larger than a share of what trades in a day.

use chrono::TimeDelta;
use rust_decimal::Decimal;
use tokio::time::{Instant, sleep};
use tranche_actors::commands::CommandError;
use tranche_actors::domain::venue::DailyBar;
use tranche_simulation::clock::EPOCH;

use crate::support::orders::{id, parent, symbol};
use crate::support::rig::{Rig, run, seconds};

fn trades(rig: &mut Rig, volume: i64) {
    let bar = |day: i64| DailyBar {
        date: (EPOCH - TimeDelta::days(day)).date_naive(),
        close: Decimal::ONE_HUNDRED,
        volume: volume.into(),
    };
    rig.venue.days.record(symbol(), (1..=30).rev().map(bar).collect());
    rig.tuning.plan_rules.adv_pct = Some(Decimal::ONE);
}

#[test]
fn a_plan_keeps_to_its_share_and_the_volume_is_read_once_a_day() {
    run(|mut rig| async move {
        trades(&mut rig, 1_000);
        let running = rig.open().await;
        let first = running.submit(parent("first", 100, 2, 60)).await;
        assert_eq!(first.slices.len(), 10);
        let limit = first.parent.liquidity.clone().unwrap();
        assert_eq!((limit.adv, limit.max_slice_qty.get()), (Decimal::ONE_THOUSAND, Decimal::from(10)));
        assert_eq!(rig.parent(&id("first")).liquidity, Some(limit), "it is kept with the parent");
        running.submit(parent("second", 100, 2, 60)).await;
        assert_eq!(rig.venue.calls.made("daily_bars"), 1);
        // The trading day ends at 22:00 UTC; by then less trades, and a repetition is what it was all the same.
        rig.clock.set(11 * 3_600_000);
        trades(&mut rig, 100);
        sleep(seconds(2)).await;
        assert_eq!(running.submit(parent("third", 10, 2, 60)).await.slices.len(), 10);
        assert_eq!(rig.venue.calls.made("daily_bars"), 2);
        let again = running.submit(parent("first", 100, 2, 60)).await;
        assert_eq!((again.replayed, again.slices.len()), (true, 10));
        let again =
            running.house.accounts.first().desk.submit_parent.send(parent("fourth", 1_000, 2, 60)).await.unwrap();
        let Err(CommandError::Invalid(faults)) = again else { panic!("{again:?}") };
        assert_eq!((faults[0].field.as_str(), faults[0].code), ("qty", "max_adv_share"));
    });
}

#[test]
fn without_data_in_time_slices_are_not_limited_and_the_answer_says_so() {
    run(|mut rig| async move {
        trades(&mut rig, 1_000);
        rig.venue.calls.delay("daily_bars", seconds(3));
        let running = rig.open().await;
        let began = Instant::now();
        let first = running.submit(parent("first", 100, 2, 60)).await;
        assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
        assert_eq!((first.slices.len(), first.parent.liquidity), (2, None));
        assert!(first.parent.warnings[0].contains("not be read in time"), "{:?}", first.parent.warnings);
        // What came too late for one serves the next.
        sleep(seconds(3)).await;
        assert_eq!(running.submit(parent("second", 100, 2, 60)).await.slices.len(), 10);
        assert_eq!(rig.venue.calls.made("daily_bars"), 1);
    });
    run(|mut rig| async move {
        rig.tuning.plan_rules.adv_pct = Some(Decimal::ONE);
        let running = rig.open().await;
        let first = running.submit(parent("first", 100, 2, 60)).await;
        assert!(first.parent.warnings[0].contains("no daily volume"), "{:?}", first.parent.warnings);
        assert_eq!(first.slices.len(), 2);
    });
}
