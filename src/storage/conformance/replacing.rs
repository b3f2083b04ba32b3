//! Replacements: whatever is written of one order of a chain, the whole chain is at hand.

use tranche_actors::domain::ledger::{NotReplaceable, Outcome, Refusal, Replacement, Write};
use tranche_actors::domain::money::{Percent, Qty};
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Progress;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Side, Terms, TimeInForce, Trail};
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::ports::store::AnyOrder;

use super::fixtures::{
    accepted, at_venue, broker_id, caller, claim, claim_single, dec, execution, id, instruction, kinds, order, origin,
    parent_now, parent_of, price, report, single, submit, submit_parent, unknown,
};
use super::{Desk, Place, account};

fn limit(at: &str) -> Terms {
    Terms::Limit { limit_price: price(at) }
}

fn replace(name: &str, qty: &str, at: &str, key: Option<&str>) -> Write {
    let origin = origin(key, &format!("{name} {qty} {at}"));
    let qty = Qty::new(dec(qty)).unwrap();
    Write::Replace(Box::new(Replacement { order: id(name), qty, terms: limit(at), reduces: false, origin }))
}

/// A limit order to buy ten that the venue has.
async fn live(desk: &Desk, name: &str) -> Order {
    let order = Order { instruction: instruction("AAPL", Side::Buy, limit("10")), ..single(name, 10) };
    desk.write(submit(order.clone())).await.unwrap();
    desk.commit(vec![claim_single(name), accepted(&order)]).await.unwrap();
    order
}

pub(crate) async fn a_replacement_is_kept_with_its_place(place: &dyn Place) {
    let desk = Desk::at(place).await;
    live(&desk, "a").await;
    let applied = desk.write(replace("a", "12", "11", Some("k"))).await.unwrap();
    let desk = desk.again(place).await;
    let (old, new) = (order(&*desk.store, "a").await, order(&*desk.store, "a.r1").await);
    assert_eq!(applied.orders, [new.clone(), old.clone()]);
    assert_eq!((old.status, old.replaced_by), (OrderStatus::PendingReplace, Some(id("a.r1"))));
    let replaces = new.replaces.clone().unwrap();
    assert_eq!((replaces.order, replaces.first, replaces.number), (id("a"), id("a"), 1));
    assert_eq!((replaces.broker_order_id, new.status), (broker_id("a"), OrderStatus::PendingNew));
    assert_eq!((new.qty.get(), new.instruction.terms), (dec("12"), limit("11")));
    assert_eq!(new.origin, Some(origin(Some("k"), "a 12 11")));
    assert_eq!(kinds(&*desk.store, "a").await, ["submitted", "claimed", "reported", "replace_requested"]);
    assert_eq!(kinds(&*desk.store, "a.r1").await, ["submitted"]);

    let again = desk.write(replace("a", "12", "11", Some("k"))).await.unwrap();
    assert_eq!((again.outcome, again.orders), (Outcome::Replayed, vec![new.clone()]));
    assert_eq!(desk.write(replace("a", "13", "11", Some("k"))).await, Err(Refusal::KeyReused));
    let by_key = desk.store.by_key(&caller("admin"), &new.origin.clone().unwrap().key.unwrap()).await.unwrap();
    assert_eq!(by_key, Some(AnyOrder::Order(Box::new(new))));
    let refused = desk.write(replace("a", "12", "11", None)).await;
    assert_eq!(refused, Err(Refusal::NotReplaceable(NotReplaceable::Changing(OrderStatus::PendingReplace))));
}

pub(crate) async fn an_order_goes_back_when_its_replacement_is_refused(place: &dyn Place) {
    let desk = Desk::at(place).await;
    live(&desk, "a").await;
    for (n, name) in ["a.r1", "a.r2"].into_iter().enumerate() {
        desk.write(replace("a", "10", "11", None)).await.unwrap();
        desk.write(claim_single(name)).await.unwrap();
        let words = tranche_actors::domain::venue::VenueWords { code: "422".to_owned(), message: "no".to_owned() };
        let applied = desk.write(Write::Refused { id: id(name), attempt: 1, words }).await.unwrap();
        assert_eq!(applied.orders.len(), 2, "{n}");
        assert_eq!(order(&*desk.store, "a").await.status, OrderStatus::Accepted);
        assert_eq!(order(&*desk.store, name).await.status, OrderStatus::Rejected);
    }
    assert_eq!(kinds(&*desk.store, "a").await.last().map(String::as_str), Some("replace_ended"));
}

/// Each write in a transaction of its own, so that nothing is at hand but what is loaded.
pub(crate) async fn a_chain_counts_once_over_transactions(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, slices) = parent_of("p", 2, &instruction("AAPL", Side::Buy, limit("10")));
    desk.write(submit_parent((whole, slices.clone()))).await.unwrap();
    desk.write(claim("p-0")).await.unwrap();
    desk.write(report(at_venue(&slices[0], VenueStatus::PartiallyFilled, 3, Some("10")))).await.unwrap();
    desk.write(replace("p-0", "10", "11", None)).await.unwrap();
    desk.write(claim("p-0.r1")).await.unwrap();
    desk.write(unknown("p-0.r1", 1)).await.unwrap();
    desk.write(report(at_venue(&slices[0], VenueStatus::Replaced, 4, Some("10")))).await.unwrap();
    let progress = |filled: &str, working: &str, unknown: &str| Progress {
        filled_qty: dec(filled),
        working_qty: dec(working),
        unknown_qty: dec(unknown),
        pending_qty: dec("10"),
        open: 2,
        ..Progress::default()
    };
    let now = |progress: Progress| Progress { filled_cost: dec("0"), ..progress };
    let told = parent_now(&*desk.store, "p").await.progress;
    assert_eq!((now(told), told.filled_cost), (progress("4", "0", "6"), dec("40")));

    let first = order(&*desk.store, "p-0.r1").await;
    desk.write(report(at_venue(&first, VenueStatus::PartiallyFilled, 6, Some("10")))).await.unwrap();
    desk.write(replace("p-0.r1", "10", "12", None)).await.unwrap();
    desk.write(claim("p-0.r2")).await.unwrap();
    let told = parent_now(&*desk.store, "p").await.progress;
    assert_eq!(now(told), progress("6", "4", "0"));
    desk.write(report(at_venue(&first, VenueStatus::Replaced, 6, Some("10")))).await.unwrap();
    let second = order(&*desk.store, "p-0.r2").await;
    assert_eq!(second.replaces.as_ref().map(|replaces| replaces.first.clone()), Some(id("p-0")));
    desk.write(report(at_venue(&second, VenueStatus::Filled, 10, Some("10.2")))).await.unwrap();
    let told = parent_now(&*desk.store, "p").await.progress;
    assert_eq!((told.filled_qty, told.filled_cost, told.open), (dec("10"), dec("102"), 1));

    // The trades of the whole chain, late and from behind: each counts where it belongs.
    for (of, quantity, at, cum) in [(&second, 4, "11", 10), (&first, 2, "10.5", 6), (&slices[0], 4, "9", 4)] {
        let mut late = at_venue(of, VenueStatus::PartiallyFilled, cum, None);
        late.executions = vec![execution(of, quantity, at, cum)];
        desk.write(report(late)).await.unwrap();
    }
    let told = parent_now(&*desk.store, "p").await.progress;
    assert_eq!((told.filled_qty, told.filled_cost), (dec("10"), dec("101")));
    assert_eq!(order(&*desk.store, "p-0.r2").await.filled_cost, dec("101"));
    let held = desk.store.positions(&account()).await.unwrap();
    assert_eq!((held[0].position.qty, held[0].position.cost), (dec("10"), dec("101")));
}

pub(crate) async fn a_parents_cancel_meets_a_chain_whole(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, slices) = parent_of("p", 2, &instruction("AAPL", Side::Buy, limit("10")));
    desk.write(submit_parent((whole, slices.clone()))).await.unwrap();
    desk.write(claim("p-0")).await.unwrap();
    desk.write(report(at_venue(&slices[0], VenueStatus::PartiallyFilled, 3, Some("10")))).await.unwrap();
    desk.write(replace("p-0", "10", "11", None)).await.unwrap();
    desk.write(claim("p-0.r1")).await.unwrap();
    desk.write(report(at_venue(&slices[0], VenueStatus::Replaced, 3, Some("10")))).await.unwrap();
    let applied = desk.write(Write::CancelParent { id: id("p"), by: caller("admin") }).await.unwrap();
    let Outcome::Canceling(counts) = applied.outcome else { panic!("{:?}", applied.outcome) };
    assert_eq!((counts.in_flight, counts.pending_canceled, counts.open_cancel_requested), (1, 1, 0));
    let new = order(&*desk.store, "p-0.r1").await;
    assert!(new.cancel_requested_at.is_some());
    desk.write(report(at_venue(&new, VenueStatus::Canceled, 3, Some("10")))).await.unwrap();
    let parent = parent_now(&*desk.store, "p").await;
    assert!(parent.status.is_terminal());
    assert_eq!((parent.progress.filled_qty, parent.progress.unexecuted_qty), (dec("3"), dec("17")));
}

pub(crate) async fn slices_and_what_took_their_place_are_listed_by_number(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, slices) = parent_of("p", 3, &instruction("AAPL", Side::Buy, limit("10")));
    desk.write(submit_parent((whole, slices.clone()))).await.unwrap();
    desk.commit(vec![claim("p-1"), accepted(&slices[1])]).await.unwrap();
    desk.write(replace("p-1", "10", "11", None)).await.unwrap();
    let listed = desk.store.slices(&id("p")).await.unwrap();
    assert_eq!(
        listed.iter().map(|order| order.id.clone()).collect::<Vec<OrderId>>(),
        [id("p-0"), id("p-1"), id("p-1.r1"), id("p-2")]
    );
    let due = desk.store.due_slices(&id("p"), None, 10).await.unwrap();
    assert!(due.iter().any(|due| due.id == id("p-1.r1")), "who takes the parent up again finds it");
    desk.write(claim("p-1.r1")).await.unwrap();
    let unknown = desk.store.unknown_orders().await.unwrap();
    assert_eq!(unknown, [id("p-1.r1")]);
}

pub(crate) async fn trails_and_auctions_come_back_as_they_were(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let percent = Trail::Percent { trail_percent: Percent::new(dec("2.5")).unwrap() };
    for (name, trail, time_in_force) in
        [("a", Trail::Price { trail_price: price("0.37") }, TimeInForce::Opg), ("b", percent, TimeInForce::Cls)]
    {
        let mut asked = instruction("AAPL", Side::Sell, Terms::TrailingStop { trail });
        asked.time_in_force = time_in_force;
        let full = Order { instruction: asked, ..single(name, 10) };
        desk.write(submit(full.clone())).await.unwrap();
        assert_eq!(order(&*desk.store, name).await, full);
    }
}
