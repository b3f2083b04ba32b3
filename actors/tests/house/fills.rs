//! Fills arrive twice, late, out of order or not at all, and each is counted once.

use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::gate::{ShutReason, Verdict};

use crate::support::orders::{id, parent, qty, resting_single};
use crate::support::rig::{millis, run, run_seeded, seconds};
use tranche_actors::market::faults::EventFault;
use tranche_simulation::clock::Seeded;

#[test]
fn fills_that_are_repeated_reordered_and_lost_are_counted_once() {
    for seed in 0..8 {
        run_seeded(seed, |rig| async move {
            let running = rig.open().await;
            let luck = Seeded::new(seed);
            rig.venue.decide_events(move |_| match luck.below(4) {
                0 => EventFault::Lost,
                1 => EventFault::Duplicated,
                2 => EventFault::Reordered,
                _ => EventFault::None,
            });
            // More than the market shows at once, so that slices fill in many parts.
            running.submit(parent("parts", 60_000, 4, 20)).await;
            rig.until_all_ended().await;
            let done = rig.parent(&id("parts"));
            assert_eq!(done.status, ParentStatus::Completed);
            assert_eq!(done.progress.filled_qty, Decimal::from(60_000));
            sleep(seconds(130)).await;
            rig.audit_at_rest();
            assert!(rig.store.look(|ledger| ledger.differences().is_empty()));
        });
    }
}

#[test]
fn what_the_stream_lost_is_found_by_the_periodic_comparison() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.decide_events(|_| EventFault::Lost);
        running.submit(parent("silent", 103, 2, 10)).await;
        sleep(seconds(30)).await;
        assert_eq!(rig.parent(&id("silent")).status, ParentStatus::Working);
        sleep(seconds(60)).await;
        assert_eq!(rig.parent(&id("silent")).status, ParentStatus::Completed);
        rig.audit_at_rest();
    });
}

#[test]
fn a_stream_that_ends_shuts_the_gate_until_the_books_were_compared() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("broken", 103, 5, 20)).await;
        sleep(seconds(30)).await;
        rig.venue.calls.fail("events", true);
        rig.venue.end_streams();
        sleep(seconds(5)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::BrokerUnavailable]);
        rig.venue.calls.fail("events", false);
        sleep(seconds(2)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("broken")).status, ParentStatus::Completed);
        rig.audit_at_rest();
    });
}

#[test]
fn a_stream_that_ends_while_a_send_is_in_flight_leaves_that_send_alone() {
    use tranche_simulation::venue::Fate;
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.decide_events(|_| EventFault::Lost);
        for (name, fate, expected) in [
            ("rejected", Fate::Rejected, ("rejected", 1)),
            ("never-left", Fate::NeverLeft, ("accepted", 2)),
            ("lost", Fate::AnswerLost, ("accepted", 1)),
        ] {
            rig.venue.set_latency(seconds(2));
            rig.venue.plan([fate]);
            running.send(resting_single(name, 10)).await;
            rig.venue.set_latency(millis(5));
            rig.venue.end_streams();
            sleep(seconds(20)).await;
            let order = rig.order(&id(name));
            let attempts = rig.venue.submissions().iter().filter(|sent| sent.id == order.id).count();
            assert_eq!((order.status.as_str(), attempts), expected, "{name}");
            assert!(running.house.accounts.first().doubtful.is_empty());
        }
        rig.audit_at_rest();
    });
}

#[test]
fn an_order_that_we_do_not_know_quarantines_its_symbol_once_it_was_seen_twice() {
    run(|rig| async move {
        let running = rig.open().await;
        let foreign = tranche_actors::domain::venue::NewOrder {
            client_order_id: id("foreign"),
            instruction: resting_single("foreign", 10).request.instruction,
            qty: qty(10),
        };
        rig.venue.slip_in(&foreign).unwrap();
        sleep(seconds(150)).await;
        assert_eq!(rig.store.look(|ledger| ledger.quarantined().len()), 1);
        sleep(seconds(300)).await;
        assert_eq!(rig.store.look(|ledger| ledger.quarantined().len()), 1, "it is written down once");
        let refused = running
            .house
            .accounts
            .first()
            .desk
            .submit_parent
            .send(parent("next", 10, 2, 10))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(refused.to_string(), "the symbol is quarantined");
    });
}
