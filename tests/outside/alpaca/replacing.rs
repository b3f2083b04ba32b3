//! Replacements at the double: one chain each, the right total, and nothing left open.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::double::Double;
use super::{AMPLE, QUICK};
use crate::house::{Api, SOON, answer, eventually};
use crate::report::{dec, text};

/// An order that rests at a price that nobody pays, taken by the broker.
async fn rest(api: &Api, id: &str) {
    let body = json!({"symbol": "AAPL", "side": "buy", "qty": 10, "order_type": "limit", "limit_price": "1",
        "client_order_id": id});
    let (status, order) = api.post("/api/v1/orders", &body).await;
    assert_eq!(status, 201, "{order}");
    until(api, id, "accepted").await;
}

async fn replace(api: &Api, id: &str, changes: &Value) -> String {
    let (status, order) = answer(api.request("PATCH", &format!("/api/v1/orders/{id}")).json(changes)).await;
    assert_eq!(status, 200, "{order}");
    text(&order["client_order_id"])
}

async fn until(api: &Api, id: &str, status: &str) -> Value {
    eventually(&format!("{id} is {status}"), SOON * 3, async || {
        let order = api.order(id).await;
        (order["status"] == status).then_some(order)
    })
    .await
}

/// The ids of the orders that are live at the double.
fn open(double: &Double) -> Vec<String> {
    let ended = ["filled", "canceled", "expired", "rejected", "replaced"];
    let live = |order: &Value| !ended.contains(&order["row"]["status"].as_str().unwrap());
    double.orders().into_iter().filter(|(_, order)| live(order)).map(|(id, _)| id).collect()
}

#[tokio::test]
async fn a_replacement_whose_answer_is_lost_is_found_and_never_made_twice() {
    let double = Double::start(&AMPLE);
    let house = double.house(&QUICK);
    let server = house.serve().await;
    for (number, fault) in ["cut_after", "cut_before", "error_after", "error_before"].into_iter().enumerate() {
        let id = format!("lost-{number}");
        rest(&server.api, &id).await;
        double.faults(&json!({"next": [{"fault": fault}]})).await;
        let new = replace(&server.api, &id, &json!({"qty": 12, "limit_price": "1.50"})).await;
        let order = until(&server.api, &new, "accepted").await;
        assert_eq!(
            (text(&order["replaces"]), text(&order["qty"]), text(&order["limit_price"])),
            (id.clone(), "12".into(), "1.5".into())
        );
        assert_eq!(text(&until(&server.api, &id, "replaced").await["replaced_by"]), new);
    }
    double.assert_books_agree(&server.api).await;
    assert_eq!(double.orders().len(), 8, "four orders, one replacement each");
}

#[tokio::test]
async fn a_replacement_that_loses_to_a_fill_leaves_its_order_filled_and_nothing_open() {
    let double = Double::start(&AMPLE);
    let house = double.house(&QUICK);
    let server = house.serve().await;
    rest(&server.api, "raced").await;
    double.faults(&json!({"replaces_lose": true})).await;
    let new = replace(&server.api, "raced", &json!({"limit_price": "1.25"})).await;
    assert_eq!(dec(&until(&server.api, "raced", "filled").await["filled_qty"]), Decimal::TEN);
    eventually("the replacement has come to nothing", SOON, async || {
        let order = server.api.order(&new).await;
        (!order["terminal_at"].is_null() && order["status"] != "filled").then_some(())
    })
    .await;
    assert_eq!(double.positions().await["AAPL"], Decimal::TEN);
    assert!(open(&double).is_empty(), "{:?}", open(&double));
    let (_, held) = server.api.get("/api/v1/positions").await;
    assert_eq!(dec(&held["items"][0]["qty"]), Decimal::TEN, "{held}");
}

#[tokio::test]
async fn a_cancel_that_meets_a_replacement_ends_the_whole_chain() {
    let double = Double::start(&AMPLE);
    let house = double.house(&QUICK);
    let server = house.serve().await;
    for (number, pending) in [0, 1_000].into_iter().enumerate() {
        for (name, of_new) in [("old", false), ("new", true)] {
            let id = format!("{name}-{number}");
            rest(&server.api, &id).await;
            double.faults(&json!({"chance": {"replace_pending_ms": pending, "timeout_after_per_mille": 300}})).await;
            let new = replace(&server.api, &id, &json!({"limit_price": "1.25"})).await;
            let marked = if of_new { &new } else { &id };
            let (status, told) = server.api.post(&format!("/api/v1/orders/{marked}/cancel"), &json!({})).await;
            assert_eq!(status, 200, "{told}");
            eventually(&format!("the chain of {id} has ended"), Duration::from_secs(60), async || {
                let (old, new) = (server.api.order(&id).await, server.api.order(&new).await);
                (!old["terminal_at"].is_null() && !new["terminal_at"].is_null()).then_some(())
            })
            .await;
            double.faults(&json!({})).await;
        }
    }
    assert!(open(&double).is_empty(), "{:?}", open(&double));
    assert!(double.positions().await.is_empty());
}

#[tokio::test]
async fn what_traded_before_and_after_a_replacement_counts_once() {
    let double = Double::start(&AMPLE);
    let house = double.house(&QUICK);
    let server = house.serve().await;
    rest(&server.api, "parts").await;
    double.faults(&json!({"chance": {"event_duplicated_per_mille": 500, "event_reordered_per_mille": 500}})).await;
    double.fill(&text(&server.api.order("parts").await["broker_order_id"]), "4", "1").await;
    until(&server.api, "parts", "partially_filled").await;
    let new = replace(&server.api, "parts", &json!({"qty": 12, "limit_price": "1.50"})).await;
    until(&server.api, "parts", "replaced").await;
    let broker_order_id = eventually("the broker has the replacement", SOON, async || {
        server.api.order(&new).await["broker_order_id"].as_str().map(str::to_owned)
    })
    .await;
    double.fill(&broker_order_id, "8", "1.50").await;
    let order = until(&server.api, &new, "filled").await;
    assert_eq!(dec(&order["filled_qty"]), Decimal::from(12));
    double.assert_books_agree(&server.api).await;
    assert_eq!(double.positions().await["AAPL"], Decimal::from(12));
}
