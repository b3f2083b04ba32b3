//! Limits, lockouts and stopped parts, by the command line of an operator, at the orders of a client.

use serde_json::{Value, json};

use crate::house::{Api, House, Outcome, SOON};

fn single(symbol: &str, qty: u32) -> Value {
    json!({"symbol": symbol, "side": "buy", "qty": qty, "order_type": "market"})
}

async fn code(api: &Api, order: &Value, key: &str) -> (u16, Value) {
    let mut order = order.clone();
    order["client_order_id"] = json!(key);
    let (status, answer) = api.post("/api/v1/orders", &order).await;
    (status, answer["code"].clone())
}

#[tokio::test]
async fn a_limit_bites_the_very_next_order_and_outlives_a_kill() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let run = |server: &crate::house::Server, words: &[&str]| {
        Outcome::of(house.program().args(words).args(["--url", server.api.base.as_str()]))
    };
    assert_eq!(code(&server.api, &single("AAPL", 11), "free").await.0, 201);
    let set =
        run(&server, &["limits", "set", "max_order_qty", "--value", "10", "--symbol", "AAPL", "--operator", "ann"]);
    assert!(set.ok().contains("max_order_qty"), "what holds is shown");
    assert_eq!(code(&server.api, &single("AAPL", 11), "too-large").await, (422, json!("max_order_qty")));
    assert_eq!(code(&server.api, &single("AAPL", 10), "just").await.0, 201);
    assert_eq!(code(&server.api, &single("MSFT", 11), "another").await.0, 201);
    let parent = json!({"symbol": "AAPL", "side": "buy", "qty": 60, "order_type": "market", "duration_seconds": 4, "interval_seconds": 1});
    let (status, refused) = server.api.post("/api/v1/orders/slice", &parent).await;
    assert_eq!((status, &refused["code"]), (422, &json!("max_order_qty")), "{refused}");
    server.kill();
    let server = house.serve().await;
    assert_eq!(code(&server.api, &single("AAPL", 11), "after").await, (422, json!("max_order_qty")));
    run(&server, &["limits", "remove", "max_order_qty", "--symbol", "AAPL"]).ok();
    assert_eq!(code(&server.api, &single("AAPL", 11), "freed").await.0, 201);

    run(&server, &["lockouts", "add", "--reason", "enough for today"]).ok();
    assert_eq!(code(&server.api, &single("AAPL", 1), "opens").await, (422, json!("lockout")));
    let mut exit = single("AAPL", 1);
    exit["side"] = json!("sell");
    assert_eq!(code(&server.api, &exit, "reduces").await.0, 201);
    assert!(run(&server, &["lockouts", "list"]).ok().contains("default:operator"));
    run(&server, &["lockouts", "lift", "default:operator"]).ok();
    assert_eq!(code(&server.api, &single("AAPL", 1), "opens-again").await.0, 201);
    let (_, audited) = server.api.get("/api/v1/audit").await;
    let actions = audited["items"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect::<Vec<_>>();
    assert_eq!(actions, ["lockout.lift", "lockout.add", "limits.set", "limits.set"]);
}

#[tokio::test]
async fn a_stopped_symbol_takes_no_order_while_others_trade_until_it_is_let_go() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let parent = |symbol: &str| {
        json!({"symbol": symbol, "side": "buy", "qty": 40, "order_type": "market", "duration_seconds": 4,
            "interval_seconds": 1, "client_order_id": format!("p-{symbol}")})
    };
    server.api.slice(parent("AAPL")).await;
    server.api.slice(parent("MSFT")).await;
    let url = ["--url", server.api.base.as_str()];
    let stop = ["kill", "engage", "--symbol", "AAPL", "--reason", "news", "--operator", "ann"];
    let stopped = Outcome::of(house.program().args(stop).args(url)).ok();
    assert!(stopped.contains("ENGAGED") && stopped.contains("AAPL"), "{stopped}");
    assert_eq!(code(&server.api, &single("AAPL", 1), "late").await, (503, json!("kill_switch_engaged")));
    assert_eq!(code(&server.api, &single("MSFT", 1), "fine").await.0, 201);
    assert_eq!(server.api.until_ended("p-MSFT", SOON).await["status"], "completed");
    let ended = server.api.until_ended("p-AAPL", SOON).await;
    assert_eq!(ended["status"], "partially_completed", "{ended}");
    server.kill();
    let server = house.serve().await;
    let (_, status) = server.api.get("/api/v1/kill-switch/status").await;
    assert_eq!((&status["state"], &status["scopes"]), (&json!("ACTIVE"), &json!([{"symbol": "AAPL"}])), "{status}");
    assert_eq!(code(&server.api, &single("AAPL", 1), "later").await, (503, json!("kill_switch_engaged")));
    let url = ["--url", server.api.base.as_str()];
    Outcome::of(house.program().args(["kill", "disengage", "--symbol", "AAPL"]).args(url)).ok();
    assert_eq!(code(&server.api, &single("AAPL", 1), "free").await.0, 201);
}

#[tokio::test]
async fn what_an_operator_asks_for_with_a_key_is_done_once_also_over_a_restart() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let limit = json!({"operator": "ann", "control": "max_order_qty", "value": "10"});
    let lock = json!({"operator": "ann", "reason": "enough", "rule": "ann"});
    let first = server.api.keyed("PUT", "/api/v1/limits", &limit, "a-limit").await;
    assert_eq!((first.0, &first.1["revision"]), (200, &json!(1)), "{first:?}");
    let locked = server.api.keyed("POST", "/api/v1/lockouts", &lock, "a-lock").await;
    assert_eq!((locked.0, &locked.1["id"]), (200, &json!("default:ann")), "{locked:?}");
    let compared = server.api.keyed("POST", "/api/v1/reconciliation/run", &json!({}), "a-run").await;
    assert_eq!((compared.0, &compared.1["last_comparison"]["outcome"]), (200, &json!("compared")), "{compared:?}");
    let lift = "/api/v1/lockouts/default:ann?operator=ann";
    let lifted = server.api.keyed("DELETE", lift, &Value::Null, "a-lift").await;
    assert_eq!(lifted, (200, json!({"items": [], "next_cursor": null})));
    server.kill();
    let server = house.serve().await;
    for (method, path, body, key, first) in [
        ("PUT", "/api/v1/limits", &limit, "a-limit", first),
        ("POST", "/api/v1/lockouts", &lock, "a-lock", locked),
        ("POST", "/api/v1/reconciliation/run", &json!({}), "a-run", compared),
        ("DELETE", lift, &Value::Null, "a-lift", lifted),
    ] {
        assert_eq!(server.api.keyed(method, path, body, key).await, first, "{method} {path}");
    }
    let (_, limits) = server.api.get("/api/v1/limits").await;
    assert_eq!(limits["revision"], 3, "nothing was done twice");
    let (_, audited) = server.api.get("/api/v1/audit").await;
    let actions = audited["items"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect::<Vec<_>>();
    assert_eq!(actions, ["lockout.lift", "reconciliation.run", "lockout.add", "limits.set"]);
    let url = ["--url", server.api.base.as_str()];
    let page = Outcome::of(house.program().args(["audit", "--limit", "2"]).args(url)).ok();
    assert!(page.contains("lockout.lift") && page.contains("reconciliation.run"), "{page}");
    assert!(!page.contains("lockout.add"), "{page}");
    let next = page.lines().last().unwrap().split_whitespace().last().unwrap().to_owned();
    let rest = Outcome::of(house.program().args(["audit", "--cursor", &next]).args(url)).ok();
    assert!(rest.contains("lockout.add") && rest.contains("limits.set") && !rest.contains("lockout.lift"), "{rest}");
    let status = Outcome::of(house.program().arg("status").args(url)).ok();
    assert!(status.contains("gate") && status.contains("open") && status.contains("default"), "{status}");
}
