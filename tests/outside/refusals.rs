//! Bad input against the real server: a refusal that names the field, and nothing stored.

use serde_json::{Value, json};

use crate::house::{Api, House, answer};

/// A body with some fields changed; null takes a field away.
fn with(base: &Value, changes: Value) -> Value {
    let mut body = base.as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            body.remove(name);
        } else {
            body.insert(name.clone(), value.clone());
        }
    }
    Value::Object(body)
}

async fn assert_refused(api: &Api, path: &str, body: &Value, field: &str) {
    let response = api.request("POST", path).json(body).send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(response.headers().contains_key("x-request-id"), "{path} {body}");
    let problem = response.json::<Value>().await.unwrap();
    assert_eq!((status, kind.as_str()), (422, "application/problem+json"), "{path} {body}: {problem}");
    for name in ["type", "title", "detail", "code", "request_id"] {
        assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {problem}");
    }
    let fields =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect::<Vec<_>>();
    assert!(fields.contains(&field), "{path} {body}: {fields:?} instead of {field}");
}

#[tokio::test]
async fn a_wrong_field_of_an_order_is_named_and_nothing_is_stored() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let before = house.rows().await;
    let single = json!({"symbol": "AAPL", "side": "buy", "qty": "10", "order_type": "market"});
    let limit = with(&single, json!({"order_type": "limit", "limit_price": "10.5"}));
    let parent = with(&single, json!({"duration_seconds": 10, "interval_seconds": 5}));
    let of_both = [
        (json!({"symbol": null}), "symbol"),
        (json!({"symbol": 5}), "symbol"),
        (json!({"symbol": "A A"}), "symbol"),
        (json!({"symbol": "A".repeat(33)}), "symbol"),
        (json!({"side": "hold"}), "side"),
        (json!({"side": null}), "side"),
        (json!({"qty": "0"}), "qty"),
        (json!({"qty": "-3"}), "qty"),
        (json!({"qty": "1.5"}), "qty"),
        (json!({"qty": "0.0000000001"}), "qty"),
        (json!({"qty": [1]}), "qty"),
        (json!({"qty": "ten"}), "qty"),
        (json!({"qty": "1e40"}), "qty"),
        (json!({"qty": null}), "qty"),
        (json!({"order_type": "market", "limit_price": "3"}), "limit_price"),
        (json!({"order_type": "limit"}), "limit_price"),
        (json!({"order_type": "stop"}), "stop_price"),
        (json!({"order_type": "iceberg"}), "order_type"),
        (json!({"time_in_force": "never"}), "time_in_force"),
        (json!({"strategy_id": "a b"}), "strategy_id"),
        (json!({"strategy_id": "s".repeat(65)}), "strategy_id"),
        (json!({"account": "Other!"}), "account"),
        (json!({"account": "other"}), "account"),
        (json!({"client_order_id": "flatten.x"}), "client_order_id"),
        (json!({"client_order_id": "saga.x"}), "client_order_id"),
        (json!({"client_order_id": "x.r2"}), "client_order_id"),
        (json!({"trade_date": "2001-01-01"}), "trade_date"),
        (json!({"trade_date": "yesterday"}), "trade_date"),
        (json!({"extended_hours": "yes"}), "extended_hours"),
        (json!({"extended_hours": true}), "extended_hours"),
        (json!({"colour": "red"}), "colour"),
    ];
    for (changes, field) in of_both {
        for (path, base) in
            [("/api/v1/orders", &single), ("/api/v1/orders/slice", &parent), ("/api/v1/orders/slice/preview", &parent)]
        {
            assert_refused(&server.api, path, &with(base, changes.clone()), field).await;
        }
    }
    for (changes, field) in [
        (json!({"limit_price": "0"}), "limit_price"),
        (json!({"limit_price": "10.555"}), "limit_price"),
        (json!({"limit_price": {}}), "limit_price"),
        (json!({"trail_price": "1"}), "trail_price"),
        (json!({"order_type": "trailing_stop", "limit_price": null}), "trail_price"),
        (json!({"duration_seconds": 5}), "duration_seconds"),
    ] {
        assert_refused(&server.api, "/api/v1/orders", &with(&limit, changes), field).await;
    }
    for (changes, field) in [
        (json!({"order_type": "trailing_stop"}), "order_type"),
        (json!({"time_in_force": "opg"}), "time_in_force"),
        (json!({"duration_seconds": null}), "duration_minutes"),
        (json!({"duration_minutes": 1}), "duration_seconds"),
        (json!({"duration_seconds": 0}), "duration_seconds"),
        (json!({"duration_seconds": 1.5}), "duration_seconds"),
        (json!({"duration_seconds": "10"}), "duration_seconds"),
        (json!({"interval_seconds": 0}), "interval_seconds"),
        (json!({"interval_seconds": -1}), "interval_seconds"),
        (json!({"qty": "1"}), "qty"),
        (json!({"max_slice_qty": "0.5"}), "max_slice_qty"),
        (json!({"start_time": "tomorrow"}), "start_time"),
        (json!({"randomize": true}), "randomize"),
        (json!({"randomize": {"size_pct": 200}}), "randomize.size_pct"),
        (json!({"catch_up": "spread"}), "catch_up"),
        (json!({"completion": "cross"}), "completion"),
        (json!({"price_bound": "3"}), "price_bound"),
    ] {
        assert_refused(&server.api, "/api/v1/orders/slice", &with(&parent, changes), field).await;
    }
    assert_eq!(house.rows().await, before, "nothing is stored");
    assert_eq!(server.api.all("/api/v1/orders").await, [] as [Value; 0]);
    assert_eq!(server.api.all("/api/v1/orders?kind=parent").await, [] as [Value; 0]);
    assert_eq!(house.book().orders, [] as [Value; 0]);
}

#[tokio::test]
async fn a_wrong_field_of_a_control_is_named_and_no_switch_moves() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let (_, order) = server.api.post("/api/v1/orders", &json!({"symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "limit", "limit_price": "1", "client_order_id": "o"})).await;
    assert_eq!(order["status"], "accepted");
    let before = house.rows().await;
    let long = "x".repeat(501);
    for (path, body, field) in [
        ("/api/v1/kill-switch/engage", json!({"reason": "r"}), "operator"),
        ("/api/v1/kill-switch/engage", json!({"operator": "o"}), "reason"),
        ("/api/v1/kill-switch/engage", json!({"operator": "o", "reason": " "}), "reason"),
        ("/api/v1/kill-switch/engage", json!({"operator": "o", "reason": long}), "reason"),
        (
            "/api/v1/kill-switch/engage",
            json!({"operator": "o", "reason": "r", "mode": "flatten", "scope": {"symbol": "AAPL"}}),
            "mode",
        ),
        (
            "/api/v1/kill-switch/engage",
            json!({"operator": "o", "reason": "r", "mode": "flatten", "scope": {"strategy": "alpha"}}),
            "mode",
        ),
        (
            "/api/v1/kill-switch/engage",
            json!({"operator": "o", "reason": "r", "scope": {"account": "nobody"}}),
            "scope",
        ),
        ("/api/v1/kill-switch/engage", json!({"operator": "o", "reason": "r", "mode": "soft"}), "mode"),
        ("/api/v1/kill-switch/engage", json!({"operator": "o", "reason": "r", "scope": {"desk": "AAPL"}}), "scope"),
        ("/api/v1/kill-switch/engage", json!({"operator": "o", "reason": "r", "settle_ms": -1}), "settle_ms"),
        ("/api/v1/kill-switch/engage", json!({"operator": "o", "reason": "r", "details": [1]}), "details"),
        ("/api/v1/kill-switch/engage", json!({"operator": "o", "reason": "r", "why": "not"}), "why"),
        ("/api/v1/kill-switch/disengage", json!({}), "operator"),
        ("/api/v1/circuit-breaker/trip", json!({"operator": "o"}), "reason"),
        ("/api/v1/circuit-breaker/reset", json!({"operator": "o", "reason": "too short"}), "reason"),
        ("/api/v1/orders/o/resolve", json!({"reason": "r"}), "as"),
        ("/api/v1/orders/o/resolve", json!({"as": "lost", "reason": "r"}), "as"),
        ("/api/v1/orders/o/resolve", json!({"as": "filled", "reason": "r"}), "filled_qty"),
        ("/api/v1/orders/o/resolve", json!({"as": "rejected", "reason": "r", "filled_qty": "1"}), "filled_qty"),
        ("/api/v1/orders/o/cancel", json!({"really": true}), "really"),
    ] {
        assert_refused(&server.api, path, &body, field).await;
    }
    for path in [
        "/api/v1/orders?limit=0",
        "/api/v1/orders?limit=501",
        "/api/v1/orders?status=lost",
        "/api/v1/orders?cursor=x",
        "/api/v1/orders?colour=red",
        "/api/v1/orders?kind=all",
        "/api/v1/orders?since=then",
    ] {
        let (status, problem) = server.api.get(path).await;
        assert_eq!(status, 422, "{path}: {problem}");
    }
    for path in ["/api/v1/orders/none", "/api/v1/orders/none/slices", "/api/v1/orders/none/events", "/api/v1/nothing"] {
        assert_eq!(server.api.get(path).await.0, 404, "{path}");
    }
    assert_eq!(server.api.delete("/api/v1/orders/none/slices").await.0, 404);
    assert_eq!(server.api.post("/api/v1/orders/none/cancel", &json!({})).await.0, 404);
    assert_eq!(server.api.delete("/api/v1/orders").await.0, 405);
    assert_eq!(house.rows().await, before, "nothing is stored");
    let (_, ready) = server.api.get("/readyz").await;
    assert_eq!(ready["trading_allowed"], true, "no switch moved: {ready}");
}

#[tokio::test]
async fn a_body_that_is_no_json_object_or_too_large_is_refused() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let before = house.rows().await;
    let raw = async |path: &str, body: Vec<u8>, kind: &str| {
        answer(server.api.request("POST", path).header("Content-Type", kind).body(body)).await
    };
    let json_type = "application/json";
    let paths = [
        "/api/v1/orders",
        "/api/v1/orders/slice",
        "/api/v1/orders/slice/preview",
        "/api/v1/kill-switch/engage",
        "/api/v1/kill-switch/disengage",
        "/api/v1/circuit-breaker/trip",
        "/api/v1/circuit-breaker/reset",
    ];
    for path in paths {
        for (body, status) in
            [("", 400), ("{", 400), ("{\"a\":1}x", 400), ("[]", 422), ("[{}]", 422), ("\"text\"", 422), ("null", 422)]
        {
            let (found, problem) = raw(path, body.into(), json_type).await;
            assert_eq!(found, status, "{path} {body:?}: {problem}");
        }
        assert_eq!(raw(path, b"{\"a\": \"\xff\"}".to_vec(), json_type).await.0, 400, "{path}: not UTF-8");
        assert_eq!(raw(path, b"a=b".to_vec(), "application/x-www-form-urlencoded").await.0, 415, "{path}");

        // Spaces before the end: 64 KiB to the byte, and one more.
        let padded = |size: usize| {
            let mut body = vec![b' '; size];
            body[0] = b'{';
            body[size - 1] = b'}';
            body
        };
        let (exact, problem) = raw(path, padded(65_536), json_type).await;
        assert_eq!(exact, 422, "{path} reads a body of 64 KiB: {problem}");
        let (more, problem) = raw(path, padded(65_537), json_type).await;
        assert_eq!((more, &problem["code"]), (413, &json!("body_too_large")), "{path}");
    }
    let mut order =
        serde_json::to_vec(&json!({"symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "market"})).unwrap();
    assert_eq!(house.rows().await, before, "nothing is stored");
    order.resize(65_536, b' ');
    let (status, taken) = raw("/api/v1/orders", order, json_type).await;
    assert_eq!(status, 201, "an order of 64 KiB is an order: {taken}");
    let keyed = |key: &'static str| {
        answer(
            server
                .api
                .request("POST", "/api/v1/orders")
                .header("Idempotency-Key", key)
                .json(&json!({"symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "market"})),
        )
    };
    for key in ["", "a b", "a|b", "\"a\"b\""] {
        assert_eq!(keyed(key).await.0, 400, "{key:?}");
    }
}
