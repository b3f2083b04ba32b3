//! Stopping a busy system: at a slow venue that fails, at any instant, from the mildest to the strictest.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::commands::{Engage, EngageAnswer};
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::status::{OrderStatus, Share};
use tranche_actors::market::faults::RequestFault;
use tranche_actors::ports::Entropy;
use tranche_simulation::clock::Seeded;
use tranche_simulation::venue::Fate;

use crate::support::orders::{account, id, parent, resting_parent, resting_single, single, symbol};
use crate::support::rig::{Rig, Running, engage, millis, run, run_seeded, seconds};

/// A third of the cancels fail, for as long as anybody could ask.
fn a_third_of_the_cancels_fails(rig: &Rig) {
    let faults = [RequestFault::ErrorBefore, RequestFault::None, RequestFault::None];
    rig.venue.plan_cancels(faults.into_iter().cycle().take(5_000));
}

/// Whether flat is said; where it is, it has to be so.
fn is_flat(rig: &Rig, running: &Running) -> bool {
    let is_flat = running.house.accounts.first().health.flattening().is_some_and(|progress| progress.flat);
    if is_flat {
        assert_eq!(rig.venue.holds(&symbol()), Decimal::ZERO, "flat was said");
        assert!(rig.venue.book().iter().all(|order| order.status.is_terminal()), "flat was said");
    }
    is_flat
}

fn is_closing(id: &OrderId) -> bool {
    id.as_str().starts_with("flatten.")
}

#[test]
fn with_200_orders_open_and_50_in_flight_at_a_slow_venue_that_fails_a_third_of_its_cancels_all_of_it_ends() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(single("entry", 500)).await;
        for n in 0..200 {
            running.send(resting_single(&format!("open{n}"), 1)).await;
        }
        rig.venue.set_latency(millis(700));
        rig.venue.set_cancel_pending(millis(300));
        a_third_of_the_cancels_fails(&rig);
        let office = running.house.accounts.first().clone();
        let flying = (0..50).map(|n| office.desk.submit_order.send(resting_single(&format!("flying{n}"), 1)));
        let flying = flying.collect::<Vec<_>>();
        let (_, (answer, sent)) = futures_util::join!(join_all(flying), async {
            rig.until("50 are in flight", || office.in_flight.len() == 50).await;
            let answer = running.engage(KillMode::Flatten).await.unwrap();
            (answer, rig.venue.submissions().len())
        });
        assert_eq!(sent, 251);
        assert!((200..=250).contains(&answer.cancel_requested), "{answer:?}");
        assert!(answer.cancel_confirmed < answer.cancel_requested, "a third fails: {answer:?}");
        assert!(answer.cancel_failed >= answer.cancel_requested / 4, "{answer:?}");
        let [closing] = &answer.flatten_orders[..] else { panic!("{answer:?}") };
        rig.until("it is flat", || is_flat(&rig, &running)).await;
        sleep(seconds(60)).await;
        assert!(is_flat(&rig, &running));
        let journal = rig.venue.book();
        let count = |wanted: &dyn Fn(&str) -> bool| {
            journal.iter().filter(|order| wanted(order.client_order_id.as_str())).count()
        };
        assert_eq!((count(&|id| id.starts_with("open")), count(&|id| id.starts_with("flying"))), (200, 50));
        for n in 0..200 {
            assert_eq!(rig.order(&id(&format!("open{n}"))).status, OrderStatus::Canceled);
        }
        for n in 0..50 {
            assert_eq!(rig.order(&id(&format!("flying{n}"))).status, OrderStatus::Canceled);
        }
        let after = rig.venue.submissions().split_off(sent);
        assert_eq!(after.iter().map(|one| &one.id).collect::<Vec<_>>(), [closing]);
        rig.audit_at_rest();
    });
}

/// What stopping once came to.
#[derive(Default)]
struct Came {
    unknown: usize,
    closing: usize,
    flat: usize,
}

/// What is said, one after the other.
fn steps(draw: u64) -> Vec<(LimitScope, KillMode)> {
    let of_account = || LimitScope::Account(account());
    let all = LimitScope::Global;
    let [halt, cancel, flatten] = [KillMode::Halt, KillMode::Cancel, KillMode::Flatten];
    match draw % 6 {
        0 => vec![(all.clone(), halt), (all.clone(), cancel), (all, flatten)],
        1 => vec![(of_account(), cancel), (all, flatten)],
        2 => vec![(all, flatten)],
        3 => vec![(all, cancel)],
        4 => vec![(of_account(), flatten), (all, cancel)],
        _ => vec![(of_account(), halt), (of_account(), flatten)],
    }
}

/// What can happen to a submission, and mostly nothing does.
fn fate(draw: u64) -> Fate {
    match draw % 14 {
        0 => Fate::AnswerLost,
        1 => Fate::ArrivesAfter(millis(draw % 2_000)),
        2 => Fate::ErrorAfter,
        3 => Fate::RequestLost,
        4 => Fate::NeverLeft,
        5 => Fate::Rejected,
        _ => Fate::Taken,
    }
}

/// Stops a busy system at an instant that the seed decides, and holds every answer to its promise.
fn engaged_at_random(seed: u64) -> Came {
    run_seeded(seed, |mut rig| async move {
        rig.tuning.claim = seconds(2);
        rig.tuning.send_timeout = seconds(2);
        rig.tuning.unknown_settle = millis(500);
        rig.tuning.absent_settle = seconds(10);
        let chance = Seeded::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let fates = Seeded::new(!seed);
        rig.venue.set_spread(millis(300), seed);
        let running = rig.open().await;
        running.send(single("entry", 50)).await;
        rig.venue.decide(move |_| fate(fates.bits()));
        a_third_of_the_cancels_fails(&rig);
        for n in 0..3 {
            running.submit(parent(&format!("market{n}"), 100, 20, 1)).await;
            running.submit(resting_parent(&format!("resting{n}"), 100, 20, 1)).await;
        }
        sleep(millis(chance.bits() % 8_000)).await;

        let steps = steps(chance.bits());
        let flattens = steps.iter().any(|(_, mode)| *mode == KillMode::Flatten);
        let mut first: Option<(EngageAnswer, usize, BTreeSet<OrderId>)> = None;
        let mut unknown = BTreeSet::new();
        for (scope, mode) in steps {
            let answer = running.house.kill_switch.engage(Engage { scope, ..engage(mode) }).await.unwrap();
            unknown.extend(answer.unknown.iter().cloned());
            let there = || rig.venue.book().into_iter().map(|order| order.client_order_id).collect();
            first.get_or_insert_with(|| (answer, rig.venue.submissions().len(), there()));
            sleep(millis(chance.bits() % 1_500)).await;
        }
        let (answer, sent, there) = first.unwrap();
        sleep(seconds(4)).await;
        rig.venue.heal();
        let is_over = || {
            let is_live = |share| matches!(share, Share::Working | Share::Unknown);
            let ended = rig.venue.book().iter().all(|order| order.status.is_terminal());
            is_flat(&rig, &running);
            ended && rig.store.look(|ledger| ledger.orders().all(|order| !is_live(order.status.share())))
        };
        rig.until("nothing is open or unknown", is_over).await;
        if flattens {
            rig.until("it is flat", || is_flat(&rig, &running)).await;
        }
        sleep(seconds(20)).await;
        for submission in rig.venue.submissions().split_off(sent) {
            assert!(flattens && is_closing(&submission.id), "{} left after the answer (seed {seed})", submission.id);
        }
        for order in rig.venue.book() {
            let id = &order.client_order_id;
            let is_named = there.contains(id) || answer.unknown.contains(id) || is_closing(id);
            assert!(is_named, "{id} turned up and was not named (seed {seed})");
        }
        for id in &unknown {
            assert!(rig.order(id).status.is_terminal(), "{id} (seed {seed})");
        }
        if flattens {
            assert!(is_flat(&rig, &running), "seed {seed}");
        }
        rig.audit();
        let closing = rig.venue.book().iter().filter(|order| is_closing(&order.client_order_id)).count();
        Came { unknown: unknown.len(), closing, flat: usize::from(flattens) }
    })
}

/// `HOUSE_ENGAGES` says how often, `HOUSE_ENGAGES_FROM` from which seed on.
#[test]
fn engaged_at_any_instant_of_a_busy_system_nothing_leaves_but_what_was_named_and_all_of_that_ends() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (times, from) = (number("HOUSE_ENGAGES").unwrap_or(12), number("HOUSE_ENGAGES_FROM").unwrap_or(0));
    let mut all = Came::default();
    for seed in from..from + times {
        let came = engaged_at_random(seed);
        all.unknown += came.unknown;
        all.closing += came.closing;
        all.flat += came.flat;
    }
    println!(
        "{times} engagements: {} orders were named as unknown and ended, {} orders closed positions, {} times flat",
        all.unknown, all.closing, all.flat
    );
    assert!(times < 12 || (all.unknown > 0 && all.closing > 0), "nothing was in flight");
}
