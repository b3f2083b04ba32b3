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
