//! Stopping a part, and closing what is held, where the account is another instance's, or is taken over meanwhile.

use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::commands::{Disengage, Engage};
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::IdempotencyKey;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::gate::Verdict;
use tranche_actors::health::Phase;
use tranche_actors::ports::store::Store;
use tranche_simulation::venue::Fate;

use super::{Process, leased, sharing};
use crate::support::orders::{account, caller, id, parent, resting_parent, resting_single, symbol};
use crate::support::rig::{engage, millis, run, seconds};

#[test]
fn the_halt_of_a_part_that_was_released_while_a_frozen_owner_was_waited_for_cancels_nothing_of_it() {
    for is_released in [true, false] {
        run(|mut rig| async move {
            let (first, [second, third]) = sharing(&mut rig, ["second", "third"]).await;
            first.during(first.running.submit(resting_parent("open", 30, 3, 600))).await;
            first.during(sleep(seconds(2))).await;
            let scope = LimitScope::Account(account());
            let wish = Engage { scope: scope.clone(), settle: Some(seconds(6)), ..engage(KillMode::Cancel) };
            let (answer, ()) = futures_util::join!(second.house.kill_switch.engage(wish), async {
                sleep(seconds(3)).await;
                if is_released {
                    let release = Disengage { operator: "ops".into(), notes: None, scope, by: caller().into() };
                    third.house.switches.disengage.send(release).await.unwrap().unwrap();
                }
            });
            let answer = answer.unwrap();
            assert_eq!(answer.instances.iter().find(|one| one.id == "first").unwrap().outcome, "lapsed", "{answer:?}");
            let order = rig.venue.in_book(&rig.slices(&id("open"))[0].id).unwrap();
            let came = (answer.cancel_requested, order.status);
            let expected = if is_released { (0, VenueStatus::Accepted) } else { (1, VenueStatus::Canceled) };
            assert_eq!(came, expected, "{answer:?}");
        });
    }
}

#[test]
fn whoever_takes_an_account_over_closes_what_its_owner_began_to_close() {
    for after in [0, 200, 450, 700, 1_500] {
        run(|mut rig| async move {
            let (first, [second]) = sharing(&mut rig, ["second"]).await;
            first.during(first.running.submit(parent("entry", 10, 1, 1))).await;
            first.during(rig.until("it is held", || !rig.venue.holds(&symbol()).is_zero())).await;
            rig.venue.set_latency(millis(300));
            let (engaged, ()) = first
                .during(async { futures_util::join!(second.engage(KillMode::Flatten), sleep(millis(after))) })
                .await;
            let answer = engaged.unwrap();
            assert_eq!(answer.flatten_orders.len(), 1, "{answer:?}");
            drop(first);
            let is_flat = || second.house.accounts.first().health.flattening().is_some_and(|progress| progress.flat);
            rig.until("it is flat", is_flat).await;
            assert!(rig.venue.holds(&symbol()).is_zero());
            let closing = |sent: &&tranche_simulation::venue::Submission| sent.id.as_str().starts_with("flatten.");
            assert_eq!(rig.venue.submissions().iter().filter(closing).count(), 1, "after {after} ms");
        });
    }
}

#[test]
fn a_key_that_has_closed_positions_closes_none_at_another_instance_and_a_fresh_one_does() {
    run(|mut rig| async move {
        let (first, [second]) = sharing(&mut rig, ["second"]).await;
        first
            .during(async {
                let keyed = |key: &str| Engage {
                    key: Some((IdempotencyKey::parse(key).unwrap(), "hash".to_owned())),
                    ..engage(KillMode::Flatten)
                };
                let is_flat =
                    || first.running.house.accounts.first().health.flattening().is_some_and(|progress| progress.flat);
                first.running.submit(parent("entry", 10, 1, 1)).await;
                rig.until("it is held", || !rig.venue.holds(&symbol()).is_zero()).await;
                let answer = first.running.house.kill_switch.engage(keyed("close-1")).await.unwrap();
                rig.until("it is flat", is_flat).await;
                first.running.disengage().await.unwrap();
                first.running.submit(parent("again", 7, 1, 1)).await;
                rig.until("it is held again", || !rig.venue.holds(&symbol()).is_zero()).await;
                let again = second.house.kill_switch.engage(keyed("close-1")).await.unwrap();
                assert_eq!((&again.engagement_id, again.state.is_engaged()), (&answer.engagement_id, false));
                sleep(seconds(30)).await;
                assert_eq!(rig.venue.holds(&symbol()), Decimal::from(7));
                assert_eq!(rig.verdict(&first.running), Verdict::Open);
                second.house.kill_switch.engage(keyed("close-2")).await.unwrap();
                rig.until("it is flat again", is_flat).await;
                assert!(rig.venue.holds(&symbol()).is_zero());
            })
            .await;
    });
}

#[test]
fn whoever_makes_an_engagement_stricter_is_told_of_what_is_unknown_now_and_not_of_what_was_cut_off_before() {
    for scope in [LimitScope::Global, LimitScope::Account(account())] {
        run(|mut rig| async move {
            let (first, [second]) = sharing(&mut rig, ["second"]).await;
            first
                .during(async {
                    rig.venue.plan([Fate::ArrivesAfter(seconds(10))]);
                    first.running.send(resting_single("cut", 5)).await;
                    sleep(seconds(1)).await;
                    let wish = |mode| Engage { scope: scope.clone(), settle: Some(millis(100)), ..engage(mode) };
                    let halted = second.house.kill_switch.engage(wish(KillMode::Halt)).await.unwrap();
                    assert_eq!(halted.unknown, [id("cut")], "{halted:?}");
                    rig.until("it is found", || rig.order(&id("cut")).status == OrderStatus::Accepted).await;
                    let cancelled = second.house.kill_switch.engage(wish(KillMode::Cancel)).await.unwrap();
                    assert!(cancelled.unknown.is_empty(), "{cancelled:?}");
                    assert_eq!(cancelled.engagement_id, halted.engagement_id);
                    rig.until("it is cancelled", || rig.order(&id("cut")).status == OrderStatus::Canceled).await;
                })
                .await;
        });
    }
}

#[test]
fn an_engagement_that_the_database_does_not_take_is_told_to_be_of_this_instance_alone() {
    for scope in [LimitScope::Global, LimitScope::Account(account())] {
        for fails in [true, false] {
            let scope = scope.clone();
            run(|mut rig| async move {
                leased(&mut rig);
                rig.store.open().await.unwrap();
                let first = Process::start(&rig, "first").await;
                first.store.share();
                first.during(rig.until("the first one trades", || rig.verdict(&first.running) == Verdict::Open)).await;
                let (second, store) = rig.beside("second");
                store.share();
                first
                    .during(rig.until("the second one stands by", || second.house.health.phase() == Phase::Ready))
                    .await;
                // All is read, and nothing is written: the owner goes on, and knows of nothing.
                store.calls.fail("commit", fails);
                let wish = Engage { scope, ..engage(KillMode::Halt) };
                let answer = first.during(second.house.kill_switch.engage(wish)).await.unwrap();
                let covers = if fails { "this_instance" } else { "all" };
                assert_eq!((answer.covers, answer.not_durable.is_empty()), (covers, !fails), "{answer:?}");
            });
        }
    }
}
