//! Our books beside the broker's: orphans and their clearance, positions that differ, comparing by hand.

use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::commands::{ClearCause, ClearedCause, CommandError, CompareNow};
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::reconciliation::{CauseId, CauseKind, Difference};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
use tranche_actors::domain::venue::{NewOrder, VenueOrder, VenueStatus};
use tranche_actors::gate::ShutReason;

use crate::support::orders::{caller, id, parent, qty, resting, single, symbol};
use crate::support::rig::{Rig, Running, run, seconds};

/// An order that somebody else sends to our account.
fn foreign(rig: &Rig, name: &str, terms: Terms, units: u32) -> VenueOrder {
    let instruction = Instruction { terms, time_in_force: TimeInForce::Gtc, ..single(name, 1).request.instruction };
    rig.venue.slip_in(&NewOrder { client_order_id: id(name), instruction, qty: qty(units) }).unwrap()
}

async fn clear(running: &Running, cause: &str) -> Result<ClearedCause, CommandError> {
    let cause = CauseId::parse(cause).unwrap();
    let (operator, reason) = ("ann".to_owned(), "it is an old one of mine".to_owned());
    running
        .house
        .accounts
        .first()
        .desk
        .clear_cause
        .send(ClearCause { cause, operator, reason, by: caller().into() })
        .await
        .unwrap()
}

async fn compare(running: &Running) -> Result<(), CommandError> {
    running.house.accounts.first().desk.compare.send(CompareNow).await.unwrap()
}

#[test]
fn a_symbol_takes_orders_again_once_its_last_orphan_is_cleared_and_orphans_are_left_alone() {
    run(|rig| async move {
        let orphans = rig.live(clear_two_orphans).await;
        // Whoever looked after them need not do it again, however often they are seen, also by another process.
        let running = rig.open().await;
        sleep(seconds(300)).await;
        assert!(rig.store.look(|ledger| ledger.quarantined().is_empty()));
        running.send(single("later", 1)).await;
        for orphan in orphans {
            let now = rig.venue.in_book(&orphan.client_order_id).unwrap();
            assert_eq!(now.status, VenueStatus::Accepted, "an order that is not ours is not ours to cancel");
        }
        let kinds = rig.store.look(|ledger| {
            let found = ledger.events().iter().filter(|event| event.event.starts_with("quarantine"));
            found.map(|event| (event.event.clone(), event.actor.clone())).collect::<Vec<_>>()
        });
        let (found, cleared) = (("quarantined", "gateway"), ("quarantine_cleared", "desk"));
        let expected = [found, found, cleared, cleared].map(|(kind, actor)| (kind.to_owned(), actor.to_owned()));
        assert_eq!(kinds, expected);
    });
}

async fn clear_two_orphans(rig: &Rig) -> [VenueOrder; 2] {
    let running = rig.open().await;
    let orphans = ["one", "two"].map(|name| foreign(rig, name, resting(), 10));
    let ids = orphans.each_ref().map(|order| order.broker_order_id.as_str());
    compare(&running).await.unwrap();
    assert!(rig.store.look(|ledger| ledger.quarantined().is_empty()), "once is not enough");
    compare(&running).await.unwrap();
    assert_eq!(rig.store.look(tranche_simulation::store::ledger::Ledger::quarantined), [symbol()]);

    let first = clear(&running, ids[0]).await.unwrap();
    assert_eq!((first.cause.kind, first.released), (CauseKind::Orphan, false));
    assert!(matches!(clear(&running, ids[0]).await, Err(CommandError::AlreadyCleared)));
    assert!(matches!(clear(&running, "nobody").await, Err(CommandError::NotFound)));
    let refused = running.house.accounts.first().desk.submit_order.send(single("early", 1)).await.unwrap();
    assert!(matches!(refused, Err(CommandError::Quarantined)));
    assert!(clear(&running, ids[1]).await.unwrap().released);
    running.send(single("late", 1)).await;

    sleep(seconds(300)).await;
    orphans
}

#[test]
fn a_symbol_in_quarantine_takes_what_reduces_its_position_and_nothing_else() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(single("base", 10)).await;
        foreign(&rig, "stranger", resting(), 10);
        compare(&running).await.unwrap();
        compare(&running).await.unwrap();
        let desk = &running.house.accounts.first().desk;
        let sell = |name: &str, units| {
            let mut submit = single(name, units);
            submit.request.instruction.side = Side::Sell;
            submit
        };
        for refused in [single("opens", 1), sell("flips", 11)] {
            let refused = desk.submit_order.send(refused).await.unwrap();
            assert!(matches!(refused, Err(CommandError::Quarantined)), "{refused:?}");
        }
        assert!(running.send(sell("reduces", 4)).await.reduces);
        rig.until("it has traded", || rig.order(&id("reduces")).status == OrderStatus::Filled).await;
        let exit = |name: &str, units| {
            let mut submit = parent(name, units, 3, 1);
            submit.request.instruction.side = Side::Sell;
            submit
        };
        let much = desk.submit_parent.send(exit("too-much", 9)).await.unwrap();
        assert!(matches!(much, Err(CommandError::Quarantined)), "{much:?}");
        running.submit(exit("out", 6)).await;
        rig.until("it is out", || rig.venue.holds(&symbol()).is_zero()).await;
        sleep(seconds(1)).await;
        let flat = desk.submit_order.send(sell("from-flat", 1)).await.unwrap();
        assert!(matches!(flat, Err(CommandError::Quarantined)), "{flat:?}");
    });
}

#[test]
fn an_order_that_is_not_what_was_sent_is_cleared_by_our_own_id() {
    run(|rig| async move {
        let running = rig.open().await;
        foreign(&rig, "clash", resting(), 11);
        running.send(single("clash", 10)).await;
        sleep(seconds(200)).await;
        let causes = rig.store.look(|ledger| ledger.events().iter().filter(|e| e.event == "quarantined").count());
        assert_eq!(causes, 2, "what is there is no order of ours, and our order is not there");
        let orphan = rig.venue.in_book(&id("clash")).unwrap().broker_order_id;
        assert_eq!(clear(&running, "clash").await.unwrap().cause.kind, CauseKind::NotWhatWasSent);
        assert!(clear(&running, orphan.as_str()).await.unwrap().released);
        sleep(seconds(300)).await;
        running.send(single("next", 1)).await;
    });
}

#[test]
fn a_position_that_differs_is_told_once_and_trips_the_breaker_above_the_tolerance() {
    run(|mut rig| async move {
        rig.tuning.position_tolerance = Some(Decimal::from(10));
        let running = rig.open().await;
        foreign(&rig, "bought", Terms::Market, 10);
        sleep(seconds(200)).await;
        let found = running.house.accounts.first().health.comparison().unwrap();
        let differs =
            |theirs: i64| Difference { symbol: symbol(), ours: Decimal::ZERO, theirs: theirs.into(), confirmed: true };
        assert_eq!((found.failed, found.differences), (None, vec![differs(10)]));
        assert_eq!(running.house.health.breaker().unwrap().state, BreakerWord::Allowing, "ten are borne");
        foreign(&rig, "more", Terms::Market, 1);
        sleep(seconds(200)).await;
        let breaker = running.house.health.breaker().unwrap();
        assert_eq!(breaker.trip_reason.as_deref(), Some("POSITION_MISMATCH"));
        assert_eq!(breaker.trip_details.unwrap()["theirs"], "11");
        assert!(rig.reasons(&running).contains(&ShutReason::CircuitBreakerTripped));
        assert_eq!(running.house.accounts.first().health.comparison().unwrap().differences, [differs(11)]);
        let rows = rig.store.look(|ledger| ledger.differences().to_vec());
        let row = |theirs: i64| (symbol(), Decimal::ZERO, Decimal::from(theirs));
        assert_eq!(rows, [row(10), row(11)], "each is written down once");
    });
}

#[test]
fn positions_that_can_not_be_read_trip_nothing_until_they_can() {
    run(|mut rig| async move {
        rig.tuning.position_tolerance = Some(Decimal::from(10));
        let running = rig.open().await;
        rig.venue.calls.fail("positions", true);
        foreign(&rig, "bought", Terms::Market, 1_000);
        sleep(seconds(300)).await;
        assert_eq!(running.house.health.breaker().unwrap().state, BreakerWord::Allowing);
        assert!(running.house.accounts.first().health.comparison().unwrap().failed.is_some());
        rig.venue.calls.fail("positions", false);
        let reason = || running.house.health.breaker().and_then(|state| state.trip_reason);
        rig.until("it trips", || reason().as_deref() == Some("POSITION_MISMATCH")).await;
    });
}

#[test]
fn without_a_tolerance_a_position_that_differs_trips_nothing() {
    run(|rig| async move {
        let running = rig.open().await;
        foreign(&rig, "bought", Terms::Market, 1_000);
        sleep(seconds(200)).await;
        assert_eq!(rig.store.look(|ledger| ledger.differences().len()), 1);
        assert_eq!(running.house.health.breaker().unwrap().state, BreakerWord::Allowing);
    });
}

#[test]
fn a_comparison_that_fails_says_why_and_keeps_what_was_known() {
    run(|rig| async move {
        let running = rig.open().await;
        foreign(&rig, "bought", Terms::Market, 10);
        sleep(seconds(200)).await;
        let before = running.house.accounts.first().health.comparison().unwrap();
        rig.venue.calls.fail("positions", true);
        assert!(matches!(compare(&running).await, Err(CommandError::Gate(ShutReason::BrokerUnavailable))));
        let failed = running.house.accounts.first().health.comparison().unwrap();
        assert!(failed.failed.unwrap().contains("unavailable"));
        assert_eq!(failed.differences, before.differences);
        rig.venue.calls.fail("positions", false);
        compare(&running).await.unwrap();
        assert_eq!(running.house.accounts.first().health.comparison().unwrap().failed, None);
    });
}
