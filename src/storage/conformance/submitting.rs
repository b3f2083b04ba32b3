//! Submissions: durable as a whole, once, and unchanged.

use std::num::NonZeroU32;

use rust_decimal::Decimal;
use tranche_actors::domain::ledger::{Outcome, Refusal, Write};
use tranche_actors::domain::names::IdempotencyKey;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::{Benchmark, ParentStatus};
use tranche_actors::domain::plan::{Randomize, Schedule, Span};
use tranche_actors::domain::policy::Completion;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Side, Terms, TimeInForce};
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::ports::store::AnyOrder;

use super::fixtures::{
    accepted, caller, claim_single, dec, id, instruction, kinds, order, origin, parent, parent_now, price, qty, start,
    submit, submit_parent,
};
use super::{Desk, Place};

pub(crate) async fn a_parent_is_kept_with_its_slices_and_one_event(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, slices) = parent("p", 3);
    let applied = desk.write(submit_parent((whole.clone(), slices.clone()))).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Done);

    let kept = parent_now(&*desk.store, "p").await;
    assert_eq!(applied.parents, std::slice::from_ref(&kept));
    assert_eq!((kept.status, kept.progress.pending_qty), (ParentStatus::Working, Decimal::from(30)));
    assert_eq!(kept.progress.open, 3);
    assert_eq!(desk.store.slices(&id("p")).await.unwrap(), slices);
    let events = desk.store.events(&id("p")).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].number, events[0].event.as_str(), events[0].actor.as_str()), (1, "submitted", "admin"));
    assert_eq!(events[0].new_status.as_deref(), Some("working"));
    assert_eq!(events[0].data["plan"][2][0], "p-2");
    assert_eq!(kinds(&*desk.store, "p-0").await, Vec::<String>::new());
}

pub(crate) async fn a_repeated_submission_is_answered_with_the_first_and_changes_nothing(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    desk.write(submit(single("s"))).await.unwrap();
    let (first_parent, first_single) = (parent_now(&*desk.store, "p").await, order(&*desk.store, "s").await);

    let again = desk.write(submit_parent(parent("p", 2))).await.unwrap();
    assert_eq!((again.outcome, again.parents), (Outcome::Replayed, vec![first_parent.clone()]));
    let again = desk.write(submit(single("s"))).await.unwrap();
    assert_eq!((again.outcome, again.orders), (Outcome::Replayed, vec![first_single]));
    assert_eq!(parent_now(&*desk.store, "p").await, first_parent);
    assert_eq!(kinds(&*desk.store, "p").await, ["submitted"]);
    assert_eq!(kinds(&*desk.store, "s").await, ["submitted"]);
}

pub(crate) async fn a_key_names_one_request_of_its_caller(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let keyed = |name, request| Order { origin: Some(origin(Some("key-1"), request)), ..single(name) };
    desk.write(submit(keyed("a", "r1"))).await.unwrap();
    let replay = desk.write(submit(keyed("a", "r1"))).await.unwrap();
    assert_eq!(replay.outcome, Outcome::Replayed);
    assert_eq!(desk.write(submit(keyed("b", "r2"))).await, Err(Refusal::KeyReused));

    let (mut whole, slices) = parent("p", 2);
    whole.origin = origin(Some("key-1"), "r3");
    assert_eq!(desk.write(submit_parent((whole.clone(), slices.clone()))).await, Err(Refusal::KeyReused));
    whole.origin.caller = caller("another");
    assert_eq!(desk.write(submit_parent((whole, slices))).await.unwrap().outcome, Outcome::Done);

    let key = IdempotencyKey::parse("key-1").unwrap();
    let mine = desk.store.by_key(&caller("admin"), &key).await.unwrap();
    assert!(matches!(mine, Some(AnyOrder::Order(order)) if order.id == id("a")));
    let theirs = desk.store.by_key(&caller("another"), &key).await.unwrap();
    assert!(matches!(theirs, Some(AnyOrder::Parent(parent)) if parent.id == id("p")));
    assert_eq!(desk.store.by_key(&caller("nobody"), &key).await.unwrap(), None);
    assert_eq!(desk.store.order(&id("b")).await.unwrap(), None);
}

pub(crate) async fn an_id_names_one_order_of_any_kind(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    desk.write(submit(single("s"))).await.unwrap();
    let other = |name| Order { origin: Some(origin(None, "another request")), ..single(name) };
    for taken in ["p", "p-0", "s"] {
        assert_eq!(desk.write(submit(other(taken))).await, Err(Refusal::IdReused), "{taken}");
    }
    for taken in ["p-1", "p", "s"] {
        let (mut whole, mut slices) = parent("q", 2);
        slices[1].id = id(taken);
        assert_eq!(desk.write(submit_parent((whole.clone(), slices.clone()))).await, Err(Refusal::IdReused), "{taken}");
        slices[1].id = id("q-1");
        whole.id = id(taken);
        assert_eq!(desk.write(submit_parent((whole, slices))).await, Err(Refusal::IdReused), "{taken}");
    }
    assert_eq!(desk.store.order(&id("q")).await.unwrap(), None);
    assert_eq!(desk.store.order(&id("q-0")).await.unwrap(), None);
}

pub(crate) async fn one_of_two_equal_submissions_in_a_batch_is_a_replay(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let keyed = |name, request| Order { origin: Some(origin(Some("k"), request)), ..single(name) };
    let writes = vec![submit(keyed("a", "r")), submit(keyed("a", "r")), submit(keyed("b", "r2"))];
    let results = desk.commit(writes).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap().outcome, Outcome::Done);
    assert_eq!(results[1].as_ref().unwrap().outcome, Outcome::Replayed);
    assert_eq!(results[2], Err(Refusal::KeyReused));
}

pub(crate) async fn a_key_names_one_thing_of_any_kind_in_a_batch(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (mut whole, slices) = parent("p", 2);
    whole.origin = origin(Some("k"), "r1");
    let mut theirs = whole.clone();
    theirs.origin.caller = caller("another");
    let order = Order { origin: Some(origin(Some("k"), "r2")), ..single("s") };
    let writes = vec![submit(order), submit_parent((whole, slices.clone())), submit_parent((theirs, slices))];
    let results = desk.commit(writes).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap().outcome, Outcome::Done);
    assert_eq!(results[1], Err(Refusal::KeyReused));
    assert_eq!(results[2].as_ref().unwrap().outcome, Outcome::Done);
    let key = IdempotencyKey::parse("k").unwrap();
    let named = desk.store.by_key(&caller("admin"), &key).await.unwrap();
    assert!(matches!(named, Some(AnyOrder::Order(order)) if order.id == id("s")));
}

pub(crate) async fn a_refused_submission_takes_neither_its_id_nor_its_key(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit(single("s"))).await.unwrap();
    let key = IdempotencyKey::parse("k").unwrap();
    let (mut whole, mut slices) = parent("p", 2);
    whole.origin = origin(Some("k"), "r");
    slices[1].id = id("s");
    assert_eq!(desk.write(submit_parent((whole.clone(), slices.clone()))).await, Err(Refusal::IdReused));
    assert_eq!(desk.store.by_key(&caller("admin"), &key).await.unwrap(), None);
    slices[1].id = id("p-1");
    assert_eq!(desk.write(submit_parent((whole, slices))).await.unwrap().outcome, Outcome::Done);
    assert!(desk.store.by_key(&caller("admin"), &key).await.unwrap().is_some());
}

pub(crate) async fn every_field_comes_back_as_it_was(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let mut terms = instruction(
        "BRK.B",
        Side::Sell,
        Terms::StopLimit { limit_price: price("431.25"), stop_price: price("0.000000001") },
    );
    terms.time_in_force = TimeInForce::Gtc;
    terms.extended_hours = true;
    let full = Order {
        instruction: terms.clone(),
        status: OrderStatus::Failed,
        venue_status: Some(VenueStatus::Other),
        broker_order_id: Some(super::fixtures::broker_id("s")),
        attempt: 3,
        tries: 2,
        claimed_at: Some(start()),
        absent_at: Some(start()),
        cancel_requested_at: Some(start()),
        at_venue: true,
        reduces: true,
        filled_qty: dec("0.5"),
        filled_cost: dec("95.0000000001"),
        realised_pnl: dec("-0.0000000000000000000000001"),
        reason_code: Some("it's \"quoted\"".to_owned()),
        error_message: Some("über\n'; DROP TABLE orders; --".to_owned()),
        origin: Some(origin(Some("~!{}[]'\""), "hash")),
        submitted_at: Some(start()),
        terminal_at: Some(start()),
        ..single("s")
    };
    desk.write(submit(full.clone())).await.unwrap();
    assert_eq!(order(&*desk.store, "s").await, full);

    let (mut whole, slices) = super::fixtures::parent_of("p", 2, &terms);
    whole.schedule = Schedule {
        span: Span::Minutes(NonZeroU32::new(2).unwrap()),
        interval_seconds: NonZeroU32::new(60).unwrap(),
        start_time: Some(start()),
        max_slice_qty: Some(qty(10)),
        randomize: Some(Randomize { size_pct: dec("12.5"), time_pct: dec("0.1"), seed: Some("seed".to_owned()) }),
    };
    whole.completion = Completion::Leave;
    whole.arrival_price = None;
    whole.liquidity = None;
    whole.warnings = vec![];
    let applied = desk.write(submit_parent((whole.clone(), slices.clone()))).await.unwrap();
    let kept = parent_now(&*desk.store, "p").await;
    assert_eq!(applied.parents, std::slice::from_ref(&kept));
    assert_eq!((kept.schedule, kept.instruction), (whole.schedule, whole.instruction));
    assert_eq!((kept.completion, kept.arrival_price, kept.warnings), (Completion::Leave, None, vec![]));
    assert_eq!((kept.end_at, kept.trade_date), (whole.end_at, whole.trade_date));
    assert_eq!(desk.store.slices(&id("p")).await.unwrap(), slices);
}

pub(crate) async fn numbers_are_exact_and_times_keep_their_microseconds(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    for (area, seconds) in [
        ("7922816251426433759354395033.5", "0.0000000000000000000000000001"),
        ("1234567890123456789.012345678", "9007199254740993"),
        ("-12345678901234567.89", "1234.50"),
    ] {
        let benchmark = Benchmark { area: dec(area), seconds: dec(seconds) };
        desk.write(Write::Benchmark { id: id("p"), benchmark }).await.unwrap();
        let kept = parent_now(&*desk.store, "p").await.benchmark;
        assert_eq!((kept.area.to_string(), kept.seconds), (benchmark.area.to_string(), benchmark.seconds));
    }
    let mut exact = single("s");
    exact.qty = tranche_actors::domain::money::Qty::new(dec("999999999999.123456789")).unwrap();
    exact.scheduled_time = "2026-11-23T23:59:59.999999Z".parse().unwrap();
    desk.write(submit(exact.clone())).await.unwrap();
    desk.write(claim_single("s")).await.unwrap();
    desk.write(accepted(&exact)).await.unwrap();
    let kept = order(&*desk.store, "s").await;
    assert_eq!((kept.qty, kept.scheduled_time), (exact.qty, exact.scheduled_time));
    assert_eq!(kept.submitted_at, Some(start()));
}

fn single(name: &str) -> Order {
    super::fixtures::single(name, 10)
}
