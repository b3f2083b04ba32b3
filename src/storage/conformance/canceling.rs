//! Cancels: the marks come first, and hold.

use tranche_actors::domain::ledger::{CancelCounts, Outcome, Refusal, Write};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Side, Terms};
use tranche_actors::domain::venue::VenueStatus;

use super::fixtures::{
    accepted, at_venue, caller, claim, claim_single, id, instruction, kinds, order, parent, parent_now, parent_of,
    price, report, single, submit, submit_parent, unknown,
};
use super::{Desk, Place, account};

pub(crate) async fn a_parents_cancel_marks_every_child_before_anything_is_asked(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, slices) = parent("p", 5);
    desk.write(submit_parent((whole, slices.clone()))).await.unwrap();
    desk.commit(vec![claim("p-0"), claim("p-1"), claim("p-2")]).await.unwrap();
    let filled = report(at_venue(&slices[0], VenueStatus::Filled, 10, Some("10")));
    desk.commit(vec![filled, accepted(&slices[1])]).await.unwrap();
    let applied = desk.write(cancel_parent()).await.unwrap();
    let counts = CancelCounts { pending_canceled: 2, open_cancel_requested: 1, already_terminal: 1, in_flight: 1 };
    assert_eq!(applied.outcome, Outcome::Canceling(counts));
    let kept = parent_now(&*desk.store, "p").await;
    assert_eq!((kept.status, kept.plan_version), (ParentStatus::Canceling, 2));
    assert_eq!(applied.parents, [kept]);
    let marked = desk.store.marked_orders(&account()).await.unwrap();
    assert_eq!(marked.iter().map(|order| order.id.as_str()).collect::<Vec<_>>(), ["p-1", "p-2"]);
    assert_eq!(order(&*desk.store, "p-3").await.reason_code.as_deref(), Some("parent_canceled"));

    let again = desk.write(cancel_parent()).await.unwrap();
    assert!(matches!(again.outcome, Outcome::Canceling(counts) if counts.pending_canceled == 0));
    assert_eq!(kinds(&*desk.store, "p").await, ["submitted", "cancel_requested"]);

    for name in ["p-1", "p-2"] {
        let order = order(&*desk.store, name).await;
        desk.write(report(at_venue(&order, VenueStatus::Canceled, 0, None))).await.unwrap();
    }
    assert_eq!(parent_now(&*desk.store, "p").await.status, ParentStatus::Canceled);
    assert_eq!(desk.write(cancel_parent()).await, Err(Refusal::ParentTerminal));
    assert!(desk.store.marked_orders(&account()).await.unwrap().is_empty());
}

pub(crate) async fn a_single_orders_cancel_ends_or_marks_it(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit(single("a", 1)), submit(single("b", 1))]).await.unwrap();
    desk.write(claim_single("b")).await.unwrap();
    desk.commit(vec![cancel("a"), cancel("b")]).await.unwrap();
    assert_eq!(order(&*desk.store, "a").await.status, OrderStatus::Canceled);
    let marked = order(&*desk.store, "b").await;
    assert_eq!((marked.status, marked.cancel_requested_at), (OrderStatus::Submitting, Some(marked.updated_at)));
    assert_eq!(desk.write(cancel("b")).await.unwrap().outcome, Outcome::Unchanged);
    assert_eq!(kinds(&*desk.store, "a").await, ["submitted", "ended"]);
    assert_eq!(kinds(&*desk.store, "b").await, ["submitted", "claimed", "cancel_requested"]);
    assert_eq!(desk.write(cancel("nowhere")).await, Err(Refusal::NotFound));
}

pub(crate) async fn a_cancel_is_taken_or_refused(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit(single("s", 10)), submit(single("t", 10)), submit(single("u", 10))]).await.unwrap();
    desk.commit(vec![claim_single("s"), claim_single("t")]).await.unwrap();
    desk.commit(vec![accepted(&single("s", 10)), unknown("t", 1)]).await.unwrap();
    let ids = ["s", "t", "u", "nowhere"].map(id).to_vec();
    let applied = desk.write(Write::MarkCancels { ids }).await.unwrap();
    assert_eq!(applied.orders.len(), 2, "what was never sent stays as it is");
    assert_eq!(order(&*desk.store, "u").await.cancel_requested_at, None);

    desk.write(Write::CancelTaken { id: id("s") }).await.unwrap();
    assert_eq!(order(&*desk.store, "s").await.status, OrderStatus::PendingCancel);
    assert_eq!(desk.write(Write::CancelTaken { id: id("s") }).await.unwrap().outcome, Outcome::Unchanged);
    desk.write(Write::CancelRefused { id: id("s") }).await.unwrap();
    assert_eq!(order(&*desk.store, "s").await.status, OrderStatus::Accepted);
    assert!(matches!(desk.write(Write::CancelTaken { id: id("t") }).await, Err(Refusal::Illegal(_))));
}

pub(crate) async fn a_schedules_end_marks_what_rests(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let limit = Terms::Limit { limit_price: price("10") };
    let resting = parent_of("l", 2, &instruction("AAPL", Side::Buy, limit));
    let slice = resting.1[0].clone();
    desk.commit(vec![submit_parent(resting), submit_parent(parent("m", 1))]).await.unwrap();
    desk.commit(vec![claim("l-0"), claim("m-0")]).await.unwrap();
    let market = order(&*desk.store, "m-0").await;
    desk.commit(vec![accepted(&slice), accepted(&market)]).await.unwrap();
    for name in ["l", "m"] {
        desk.write(Write::ScheduleEnded { id: id(name) }).await.unwrap();
    }
    let marked: Vec<Order> = desk.store.marked_orders(&account()).await.unwrap();
    assert_eq!(marked.iter().map(|order| order.id.as_str()).collect::<Vec<_>>(), ["l-0"]);
    assert_eq!(desk.write(Write::ScheduleEnded { id: id("x") }).await, Err(Refusal::NotFound));
}

fn cancel_parent() -> Write {
    Write::CancelParent { id: id("p"), by: caller("admin") }
}

pub(crate) fn cancel(name: &str) -> Write {
    Write::CancelOrder { id: id(name), by: caller("admin") }
}
