//! The operator's and the client's hand: cancelling a parent at work, the circuit breaker by hand and by itself.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::house::{Api, House, Outcome, SOON, eventually};
use crate::report::{assert_adds_up, assert_books_agree, dec};

fn single(id: &str) -> Value {
    json!({"symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "market", "client_order_id": id})
}

async fn refusal(api: &Api, id: &str) -> Option<String> {
    let (status, answer) = api.post("/api/v1/orders", &single(id)).await;
    (status == 503).then(|| answer["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_parent_that_is_cancelled_in_the_middle_keeps_its_fills_and_ends_the_rest() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let api = &server.api;
    // Slices that rest at the broker, since nobody sells so cheaply.
    let resting = json!({"symbol": "MSFT", "side": "buy", "qty": "40", "order_type": "limit", "limit_price": "1", "duration_seconds": 4, "interval_seconds": 1, "client_order_id": "rests"});
    let filling = json!({"symbol": "AAPL", "side": "sell", "qty": "80", "order_type": "market", "duration_seconds": 8, "interval_seconds": 1, "client_order_id": "fills"});
    api.slice(resting).await;
    api.slice(filling).await;
    eventually("three slices have filled", SOON, async || {
        (dec(&api.order("fills").await["filled_qty"]) >= Decimal::from(30)).then_some(())
    })
    .await;
    for (id, statuses) in [("fills", ["filled", "canceled"]), ("rests", ["canceled", "canceled"])] {
        let path = format!("/api/v1/orders/{id}/slices");
        let (status, counts) = api.delete(&path).await;
        assert_eq!(status, 200, "{counts}");
        let slices = api.slices(id).await;
        let names = ["pending_canceled", "open_cancel_requested", "already_terminal", "in_flight"];
        let counted = names.iter().map(|name| counts[*name].as_u64().unwrap()).sum::<u64>();
        assert_eq!(counted, slices.len() as u64, "{counts}");
        let ended = api.until_ended(id, SOON).await;
        assert_eq!(ended["status"], "canceled", "{ended}");
        let slices = api.slices(id).await;
        assert_adds_up(&ended, &slices);
        assert!(slices.iter().all(|slice| statuses.contains(&slice["status"].as_str().unwrap())), "{slices:?}");
        let (status, again) = api.delete(&path).await;
        assert_eq!((status, &again["code"]), (409, &json!("parent_terminal")), "{again}");
    }
    assert_books_agree(&house, api).await;
}

#[tokio::test]
async fn a_breaker_tripped_by_hand_stops_entries_until_its_quiet_period_is_over_and_outlives_a_kill() {
    let house = House::new(&[("breaker.quiet_period_seconds", "2")]);
    let server = house.serve().await;
    let slices = json!({"symbol": "AAPL", "side": "buy", "qty": "60", "order_type": "market", "duration_seconds": 6, "interval_seconds": 1, "client_order_id": "p"});
    server.api.slice(slices).await;
    eventually("a slice is at the broker", SOON, async || (!house.book().orders.is_empty()).then_some(())).await;
    let trip = json!({"operator": "ann", "reason": "a drill"});
    let (status, state) = server.api.post("/api/v1/circuit-breaker/trip", &trip).await;
    assert_eq!((status, &state["state"]), (200, &json!("TRIPPED")), "{state}");
    assert_eq!(refusal(&server.api, "a").await.as_deref(), Some("circuit_breaker_tripped"));
    let parent = server.api.until_ended("p", SOON).await;
    let ended = server.api.slices("p").await;
    assert_adds_up(&parent, &ended);
    assert_eq!(ended[5]["status"], "blocked_circuit_breaker", "{parent}");

    server.kill();
    let server = house.listen();
    server.until_ready().await;
    assert_eq!(refusal(&server.api, "b").await.as_deref(), Some("circuit_breaker_tripped"), "it outlives a kill");
    let reset = json!({"operator": "ann", "reason": "the drill is over, and all is well"});
    let (status, state) = server.api.post("/api/v1/circuit-breaker/reset", &reset).await;
    assert_eq!((status, &state["state"]), (200, &json!("QUIET_PERIOD")), "{state}");
    assert_eq!(refusal(&server.api, "c").await.as_deref(), Some("circuit_breaker_quiet"));
    server.until_trading().await;
    let (_, state) = server.api.get("/api/v1/circuit-breaker/status").await;
    assert_eq!(state["state"], "OPEN", "{state}");
    assert_eq!(refusal(&server.api, "d").await, None);
    let (status, again) = server.api.post("/api/v1/circuit-breaker/reset", &reset).await;
    assert_eq!((status, &again["code"]), (409, &json!("circuit_breaker_not_tripped")), "{again}");
}

#[tokio::test]
async fn a_broker_that_only_fails_trips_the_breaker() {
    let house = House::new(&[
        ("broker.paper.faults.error_before_per_mille", "1000"),
        ("execution.submit_wait_ms", "0"),
        ("breaker.broker_errors.consecutive", "5"),
    ]);
    let server = house.serve().await;
    for number in 0..5 {
        let (status, order) = server.api.post("/api/v1/orders", &single(&format!("o{number}"))).await;
        assert_eq!(status, 201, "{order}");
    }
    let state = eventually("the breaker has tripped", Duration::from_secs(10), async || {
        let (_, state) = server.api.get("/api/v1/circuit-breaker/status").await;
        (state["state"] == "TRIPPED").then_some(state)
    })
    .await;
    assert_eq!(state["trip_reason"], "BROKER_ERRORS", "{state}");
    assert_eq!(refusal(&server.api, "late").await.as_deref(), Some("circuit_breaker_tripped"));
    assert_eq!(house.book().orders, [] as [Value; 0]);
}

/// A gateway that lost its ledger finds orders at the broker that it doesn't know: the operator looks after them.
#[tokio::test]
async fn orders_that_a_lost_ledger_leaves_at_the_broker_are_found_and_cleared_by_hand() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let rests = json!({"symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "limit", "limit_price": "1", "time_in_force": "gtc", "client_order_id": "lost"});
    assert_eq!(server.api.post("/api/v1/orders", &rests).await.0, 201);
    let (_, before) = server.api.get("/api/v1/reconciliation/status").await;
    assert_eq!((&before["orphans"], &before["last_comparison"]["outcome"]), (&json!([]), &json!("compared")));
    server.kill();
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        std::fs::remove_file(house.file(file)).ok();
    }

    let server = house.serve().await;
    let (status, found) = server.api.post("/api/v1/reconciliation/run", &json!({})).await;
    assert_eq!((status, found["orphans"].as_array().unwrap().len()), (200, 1), "{found}");
    assert_eq!(found["quarantined"], json!([{"symbol": "AAPL", "reasons": ["orphan"]}]));
    let (status, refused) = server.api.post("/api/v1/orders", &single("early")).await;
    assert_eq!((status, &refused["code"]), (409, &json!("symbol_quarantined")), "{refused}");
    let id = found["orphans"][0]["id"].as_str().unwrap();
    let tranche =
        |words: &[&str]| Outcome::of(house.program().args(words).args(["--json", "--url", &server.api.base])).json();
    assert_eq!(tranche(&["reconcile", "orphans"])["items"][0]["id"], id);
    let reason = "left over from the ledger that was lost";
    let cleared = tranche(&["reconcile", "clear", id, "--operator", "ann", "--reason", reason]);
    assert_eq!(cleared["released"], true, "{cleared}");
    assert_eq!(tranche(&["reconcile", "run"])["orphans"], json!([]));
    assert_eq!(server.api.post("/api/v1/orders", &single("late")).await.0, 201);
    let book = house.book().by_id();
    assert_eq!(book["lost"]["status"], "accepted", "it is not this gateway's to cancel");
}
