//! What is held is closed at the broker, and called flat only when the broker holds nothing.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{AMPLE, ids, quick};
use crate::alpaca::double::{Double, at};
use crate::chance::number;
use crate::house::{Api, SOON, eventually};
use crate::report::text;

async fn rest(api: &Api, id: &str) {
    let body = json!({"symbol": "AAPL", "side": "buy", "qty": 1, "order_type": "limit", "limit_price": "1",
        "client_order_id": id});
    let (status, order) = api.post("/api/v1/orders", &body).await;
    // Once the switch is engaged it is refused.
    assert!(status == 201 || status == 503, "{status} {order}");
}

async fn flattening(api: &Api) -> Value {
    let (status, state) = api.get("/api/v1/kill-switch/status").await;
    assert_eq!(status, 200, "{state}");
    state["flattening"][0].clone()
}

#[tokio::test]
async fn with_200_orders_open_and_50_on_their_way_a_broker_that_fails_a_third_ends_flat_also_after_a_kill() {
    let open = number("OUTSIDE_OPEN").unwrap_or(200);
    let double = Double::start(&[&AMPLE[..], &["--latency-ms", "300"]].concat());
    let more = [("kill_switch.settle_ms", "1500"), ("execution.absent_settle_s", "3")];
    let house = double.house(&quick(&more));
    let server = house.serve().await;
    server.until_trading().await;
    let api = &server.api;
    for (symbol, side, qty) in [("AAPL", "buy", 500), ("MSFT", "sell", 30)] {
        let body = json!({"symbol": symbol, "side": side, "qty": qty, "order_type": "market"});
        assert_eq!(api.post("/api/v1/orders", &body).await.0, 201);
    }
    eventually("both are held", SOON, async || (double.positions().await.len() == 2).then_some(())).await;
    for chunk in ids("open", open).chunks(25) {
        join_all(chunk.iter().map(|id| rest(api, id))).await;
    }
    eventually("they are open", SOON * 2, async || {
        (double.orders().keys().filter(|id| id.starts_with("open")).count() as u64 == open).then_some(())
    })
    .await;
    let flying = ids("flying", 50);
    let (_, engaged) = futures_util::join!(join_all(flying.iter().map(|id| rest(api, id))), async {
        eventually("some are on their way", SOON, async || {
            let sent = double.requests("submit");
            sent.iter().any(|line| text(&line["client_order_id"]).starts_with("flying")).then_some(())
        })
        .await;
        double.faults(&json!({"chance": {"error_before_per_mille": 333}})).await;
        let engaged = api.engage("flatten").await;
        (engaged, chrono::Utc::now())
    });
    let (engaged, answered) = engaged;
    let first = |symbol: &str| format!("flatten.{}.default.{symbol}.1", text(&engaged["engagement_id"]));
    assert_eq!(engaged["flatten_orders"], json!([first("AAPL"), first("MSFT")]));
    let count = |name: &str| engaged[name].as_u64().unwrap();
    assert!(count("cancel_requested") >= open && count("cancel_failed") > 0, "{engaged}");
    assert!(count("cancel_confirmed") < count("cancel_requested"), "a third fails: {engaged}");

    server.kill();
    let server = house.listen();
    server.until_ready().await;
    let api = &server.api;
    eventually("it is said to be flat", SOON * 6, async || (flattening(api).await["flat"] == true).then_some(())).await;
    assert!(double.positions().await.is_empty(), "flat is what the broker says");
    let ended = |row: &Value| ["canceled", "filled", "rejected"].contains(&row["status"].as_str().unwrap());
    for (id, order) in double.orders() {
        assert!(ended(&order["row"]), "flat, and {id} is open: {order}");
    }
    assert_eq!(flattening(api).await["left"], json!([]));
    double.faults(&json!({})).await;

    // What the answer counted is what the journal has.
    let orders = double.orders();
    let canceled = orders.values().filter(|order| order["row"]["status"] == "canceled").count() as u64;
    assert!(canceled >= count("cancel_requested"), "{canceled} cancelled: {engaged}");
    let unknown = engaged["unknown"].as_array().unwrap().iter().map(text).collect::<BTreeSet<_>>();
    for line in double.requests("submit").into_iter().filter(|line| at(line) > answered) {
        let id = text(&line["client_order_id"]);
        assert!(unknown.contains(&id) || id.starts_with("flatten."), "{id} is not in the answer: {engaged}");
    }
    let closed = orders.iter().filter(|(id, _)| id.starts_with("flatten."));
    let closed = closed.map(|(_, order)| crate::report::dec(&order["filled_qty"])).sum::<Decimal>();
    assert_eq!(closed, Decimal::from(530), "what was held was closed once");
    let (_, history) = api.get("/api/v1/kill-switch/history").await;
    let flat = history["items"].as_array().unwrap().iter().filter(|entry| entry["event"] == "FLAT").count();
    assert_eq!(flat, 1, "{history}");

    let (status, released) = api.post("/api/v1/kill-switch/disengage", &json!({"operator": "ann"})).await;
    assert_eq!((status, &released["resumes"]), (200, &json!([])), "{released}");
    eventually("our books say so too", SOON * 2, async || {
        let orders = api.all("/api/v1/orders").await;
        let is_over = |order: &Value| !order["terminal_at"].is_null() || order["status"] == "failed";
        orders.iter().all(is_over).then_some(())
    })
    .await;
    double.assert_books_agree(api).await;
}
