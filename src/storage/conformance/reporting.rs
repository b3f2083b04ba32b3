//! What the venue says: each fill once, with the order, its parent and the position in one transaction.

use chrono::TimeDelta;
use rust_decimal::Decimal;
use tranche_actors::domain::ledger::{Outcome, Refusal, Report, Resolution, Write};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::position::Position;
use tranche_actors::domain::status::{OperatorEnd, OrderStatus, OwnEnd};
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::ports::store::StoreError;

use super::fixtures::{
    accepted, at_venue, broker_id, caller, claim, claim_single, dec, execution, id, order, parent, parent_now, report,
    single, start, submit, submit_parent, unknown,
};
use super::{Desk, Place, account};

/// Three fills of an order of ten, with the totals that the venue reports beside them.
fn fills(order: &Order) -> Vec<Report> {
    [(4, "10.01", 4, "10.01"), (1, "10.06", 5, "10.02"), (5, "10.04", 10, "10.03")]
        .into_iter()
        .map(|(qty, price, cum, avg)| {
            let status = if cum == 10 { VenueStatus::Filled } else { VenueStatus::PartiallyFilled };
            Report { executions: vec![execution(order, qty, price, cum)], ..at_venue(order, status, cum, Some(avg)) }
        })
        .collect()
}

pub(crate) async fn fills_in_any_order_and_number_come_to_the_same(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let sequences: [&[usize]; 4] = [&[0, 1, 2], &[2, 1, 0, 2], &[1, 1, 0, 2, 0], &[2, 0, 1]];
    for (n, sequence) in sequences.into_iter().enumerate() {
        let name = format!("p{n}");
        desk.write(submit_parent(parent(&name, 1))).await.unwrap();
        let slice = desk.write(claim(&format!("{name}-0"))).await.unwrap().orders.remove(0);
        for index in sequence {
            desk.write(report(fills(&slice).remove(*index))).await.unwrap();
        }
        let kept = order(&*desk.store, slice.id.as_str()).await;
        assert_eq!((kept.status, kept.filled_qty, kept.filled_cost), (OrderStatus::Filled, dec("10"), dec("100.30")));
        assert_eq!(kept.broker_order_id, Some(broker_id(slice.id.as_str())));
        let whole = parent_now(&*desk.store, &name).await;
        assert_eq!((whole.status, whole.progress.filled_cost), (ParentStatus::Completed, dec("100.30")));
        let held = held(&desk).await;
        let count = Decimal::from(n + 1);
        assert_eq!((held.qty, held.cost, held.fees), (dec("10") * count, dec("100.30") * count, dec("0.03") * count));
    }
    let all = fills(&order(&*desk.store, "p0-0").await).into_iter().map(report).collect();
    for result in desk.commit(all).await.unwrap() {
        assert_eq!(result.unwrap().outcome, Outcome::Unchanged);
    }
}

pub(crate) async fn an_execution_is_kept_once(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let sent = sent_single(&desk, "s").await;
    let first = fills(&sent).remove(0);
    let twice = Report { executions: [first.executions.clone(), first.executions.clone()].concat(), ..first.clone() };
    let error = desk.commit(vec![report(twice)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Constraint { .. }), "{error}");
    assert_eq!(order(&*desk.store, "s").await, sent);
    assert!(desk.store.positions(&account()).await.unwrap().is_empty());
    // In a batch as between two, the second report of it is no news, whatever its name is by then.
    let mut renamed = first.clone();
    renamed.executions[0].execution_id = "another".to_owned();
    let results = desk.commit(vec![report(first), report(renamed.clone())]).await.unwrap();
    assert_eq!(
        results.into_iter().map(|result| result.unwrap().outcome).collect::<Vec<_>>(),
        [Outcome::Done, Outcome::Unchanged]
    );
    assert_eq!(desk.write(report(renamed)).await.unwrap().outcome, Outcome::Unchanged);
    assert_eq!(held(&desk).await.fees, dec("0.01"));
}

pub(crate) async fn a_position_is_written_over_by_nobody_who_has_not_read_it(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let sent = sent_single(&desk, "a").await;
    desk.write(report(fills(&sent).remove(0))).await.unwrap();
    let before = held(&desk).await;
    // A batch names the orders whose positions it needs, and this one is not there yet when they are read.
    let hasty = report(fills(&single("b", 10)).remove(0));
    let error = desk.commit(vec![submit(single("b", 10)), claim_single("b"), hasty.clone()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Constraint { .. }), "{error}");
    assert_eq!(held(&desk).await, before);
    assert_eq!(desk.store.order(&id("b")).await.unwrap(), None);
    for write in [submit(single("b", 10)), claim_single("b"), hasty] {
        desk.write(write).await.unwrap();
    }
    assert_eq!((held(&desk).await.qty, held(&desk).await.version), (dec("8"), 2));
}

pub(crate) async fn a_correction_replaces_the_totals(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let sent = sent_single(&desk, "s").await;
    desk.write(report(fills(&sent).remove(0))).await.unwrap();
    let corrected = Report { corrects: true, ..at_venue(&sent, VenueStatus::PartiallyFilled, 3, Some("10.00")) };
    desk.write(report(corrected)).await.unwrap();
    let kept = order(&*desk.store, "s").await;
    assert_eq!((kept.filled_qty, kept.filled_cost), (dec("3"), dec("30")));
    assert_eq!(held(&desk).await.qty, dec("3"));
}

pub(crate) async fn a_report_of_what_we_did_not_send_is_refused(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit(single("s", 10))).await.unwrap();
    let kept = order(&*desk.store, "s").await;
    assert_eq!(desk.write(accepted(&kept)).await, Err(Refusal::NotOurs));
    desk.write(claim_single("s")).await.unwrap();
    let larger = Order { qty: super::fixtures::qty(11), ..kept.clone() };
    assert_eq!(desk.write(accepted(&larger)).await, Err(Refusal::NotOurs));
    assert_eq!(desk.write(accepted(&single("nowhere", 10))).await, Err(Refusal::NotFound));
    desk.write(accepted(&kept)).await.unwrap();
    let mut other = at_venue(&kept, VenueStatus::Filled, 10, Some("1"));
    other.order.broker_order_id = broker_id("another");
    assert_eq!(desk.write(report(other)).await, Err(Refusal::NotOurs));
    assert_eq!(order(&*desk.store, "s").await.filled_qty, Decimal::ZERO);
    assert!(desk.store.positions(&account()).await.unwrap().is_empty());
}

pub(crate) async fn what_comes_back_after_it_was_given_up_counts_and_is_cancelled(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let sent = sent_single(&desk, "s").await;
    desk.write(unknown("s", 1)).await.unwrap();
    let absent = Write::Absent { id: id("s"), attempt: 1 };
    desk.write(absent).await.unwrap();
    let end = Write::End { id: id("s"), end: OwnEnd::Failed, reason: "absent", detail: String::new() };
    desk.write(end).await.unwrap();
    desk.write(report(fills(&sent).remove(0))).await.unwrap();
    let kept = order(&*desk.store, "s").await;
    assert_eq!((kept.status, kept.filled_qty), (OrderStatus::PartiallyFilled, dec("4")));
    assert!(kept.cancel_requested_at.is_some());
    assert_eq!(kept.terminal_at, None);
    assert_eq!(desk.store.marked_orders(&account()).await.unwrap(), [kept]);
}

pub(crate) async fn an_operator_settles_an_order(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let sent = sent_single(&desk, "s").await;
    desk.write(report(fills(&sent).remove(0))).await.unwrap();
    let resolve = |end, qty: Option<&str>| Write::Resolve {
        id: id("s"),
        resolution: Resolution {
            end,
            filled_qty: qty.map(dec),
            filled_avg_price: Some(dec("10.10")),
            reason: "the account was closed".to_owned(),
        },
        by: caller("ops"),
    };
    assert!(matches!(desk.write(resolve(OperatorEnd::Filled, Some("3"))).await, Err(Refusal::Unfitting(_))));
    desk.write(resolve(OperatorEnd::Filled, Some("10"))).await.unwrap();
    let kept = order(&*desk.store, "s").await;
    assert_eq!((kept.status, kept.filled_cost), (OrderStatus::Filled, dec("101")));
    assert_eq!((held(&desk).await.qty, held(&desk).await.cost), (dec("10"), dec("101")));
    let last = desk.store.events(&id("s")).await.unwrap().pop().unwrap();
    assert_eq!((last.event.as_str(), last.actor.as_str()), ("resolved", "ops"));
    let again = desk.write(resolve(OperatorEnd::Canceled, None)).await;
    assert_eq!(again, Err(Refusal::NotResolvable(OrderStatus::Filled)));
}

pub(crate) async fn positions_open_flip_and_count_their_versions(place: &dyn Place) {
    let desk = Desk::at(place).await;
    for (version, (name, side, expected)) in
        (1..).zip([("a", Side::Buy, "10"), ("b", Side::Sell, "0"), ("c", Side::Sell, "-10")])
    {
        let mut sized = single(name, 10);
        sized.instruction.side = side;
        desk.write(submit(sized)).await.unwrap();
        let sent = desk.write(claim_single(name)).await.unwrap().orders.remove(0);
        let batch = desk.batch(fills(&sent).into_iter().map(report).collect());
        desk.store.commit(&batch).await.unwrap();
        let positions = desk.store.positions(&account()).await.unwrap();
        assert_eq!(positions.len(), 1);
        assert_eq!((positions[0].position.qty, positions[0].position.version), (dec(expected), version));
        assert_eq!(positions[0].updated_at, batch.at);
        assert_eq!(positions[0].position.last.map(|(_, at)| at), Some(start() + TimeDelta::microseconds(10)));
    }
    assert_eq!(held(&desk).await.cost, dec("-100.30"));
    assert_eq!(held(&desk).await.fees, dec("0.09"));
}

async fn sent_single(desk: &Desk, name: &str) -> Order {
    desk.write(submit(single(name, 10))).await.unwrap();
    desk.write(claim_single(name)).await.unwrap().orders.remove(0)
}

async fn held(desk: &Desk) -> Position {
    desk.store.positions(&account()).await.unwrap().remove(0).position
}
