//! Answers that are lost or late: unknown is a state, not a failure.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use rust_decimal::Decimal;
use serde_json::json;

use crate::chance::number;
use crate::house::{House, SOON, eventually};
use crate::report::{assert_adds_up, assert_books_agree, dec, text};

#[tokio::test]
async fn orders_whose_acknowledgements_are_all_lost_are_each_at_the_broker_once_and_right_in_our_books() {
    let house = House::new(&[
        ("broker.timeout_ms", "1500"),
        ("broker.max_in_flight", "2000"),
        ("broker.paper.faults.timeout_after_per_mille", "1000"),
        ("broker.paper.faults.event_lost_per_mille", "1000"),
        ("breaker.broker_errors.enabled", "false"),
        ("execution.submit_wait_ms", "0"),
        ("execution.reconcile_seconds", "2"),
        ("execution.single_grace_seconds", "60"),
    ]);
    let server = house.serve().await;
    let orders = number("OUTSIDE_ORDERS").unwrap_or(1_000);
    let api = &server.api;
    let sent = stream::iter(0..orders).map(async |number| {
        // Every other one rests at a price that nobody pays.
        let mut body = json!({"symbol": "AAPL", "side": "buy", "qty": (1 + number % 7).to_string(), "order_type": "market", "client_order_id": format!("o{number}")});
        if number % 2 == 1 {
            body["order_type"] = json!("limit");
            body["limit_price"] = json!("1");
        }
        let (status, order) = api.post("/api/v1/orders", &body).await;
        assert_eq!(status, 201, "{order}");
    });
    sent.buffer_unordered(64).collect::<Vec<_>>().await;
    let ours = eventually("every order is found at the broker", Duration::from_secs(60), async || {
        let ours = api.all("/api/v1/orders").await;
        let known = ours
            .iter()
            .all(|order| order["status"] == if order["order_type"] == "market" { "filled" } else { "accepted" });
        known.then_some(ours)
    })
    .await;
    let book = house.book();
    let theirs = book.by_id();
    assert_eq!((ours.len() as u64, theirs.len() as u64), (orders, orders));
    for order in &ours {
        let their = &theirs[&text(&order["client_order_id"])];
        assert_eq!(
            (&order["status"], dec(&order["qty"]), dec(&order["filled_qty"])),
            (&their["status"], dec(&their["qty"]), dec(&their["filled_qty"])),
            "{order} and {their}"
        );
        assert_eq!(order["attempt"], 1, "it was there, so it was not sent again: {order}");
    }
    assert_books_agree(&house, api).await;
}

#[tokio::test]
async fn a_venue_that_answers_long_after_the_time_out_leaves_slices_unknown_and_the_parent_adds_up() {
    // 60 s against a time-out of 10 s, thirty times faster.
    let house = House::new(&[
        ("broker.timeout_ms", "333"),
        ("broker.paper.latency_ms", "2000"),
        ("breaker.broker_errors.enabled", "false"),
        ("execution.claim_seconds", "1"),
    ]);
    let server = house.serve().await;
    let api = &server.api;
    let plan = api
        .slice(json!({
            "symbol": "AAPL", "side": "sell", "qty": "33", "order_type": "market",
            "duration_seconds": 3, "interval_seconds": 1, "client_order_id": "p",
        }))
        .await;
    let first = text(&plan["slices"][0]["client_order_id"]);
    let unknown = eventually("the first slice is unknown", SOON, async || {
        let slice = api.order(&first).await;
        (slice["status"] == "submitted_unconfirmed").then_some(slice)
    })
    .await;
    assert_eq!(dec(&unknown["qty"]), Decimal::from(11));
    let parent = api.order("p").await;
    assert!(dec(&parent["unknown_qty"]) >= Decimal::from(11), "{parent}");
    let parts = ["filled_qty", "working_qty", "unknown_qty", "pending_qty", "unexecuted_qty"];
    assert_eq!(parts.iter().map(|name| dec(&parent[*name])).sum::<Decimal>(), Decimal::from(33), "{parent}");
    assert!(house.book().ids().contains(&first), "the venue has it, and we don't know it yet");

    let ended = api.until_ended("p", SOON * 2).await;
    assert_eq!((&ended["status"], &ended["filled_qty"]), (&json!("completed"), &json!("33")), "{ended}");
    assert_adds_up(&ended, &api.slices("p").await);
    assert_books_agree(&house, api).await;
    let (_, events) = api.get(&format!("/api/v1/orders/{first}/events")).await;
    let statuses = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["new_status"].as_str().unwrap_or_default().to_owned());
    let statuses = statuses.collect::<Vec<_>>();
    let place = |status: &str| statuses.iter().position(|one| one == status);
    assert!(
        place("submitting") < place("submitted_unconfirmed") && place("submitted_unconfirmed") < place("filled"),
        "{statuses:?}"
    );
}
