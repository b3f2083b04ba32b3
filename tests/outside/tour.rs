//! The main job, as a stranger sees it: a large order goes in, slices go out, and every view tells the same.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::process::Stdio;

use crate::house::{House, Outcome, SOON, answer};
use crate::report::{assert_adds_up, assert_books_agree, dec, text};

/// An id as `domain.md` makes it.
fn id(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..24].to_owned()
}

fn parent_of_103(seconds: u32) -> Value {
    json!({
        "symbol": "AAPL", "side": "buy", "qty": "103", "order_type": "market", "trade_date": today(),
        "duration_seconds": seconds, "interval_seconds": seconds / 5,
    })
}

fn today() -> String {
    chrono::Utc::now().format("%Y-%m-%d").to_string()
}

#[tokio::test]
async fn a_parent_of_103_in_five_slices_is_planned_worked_and_completed() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let api = &server.api;
    let body = parent_of_103(5);
    let plan = api.slice(body.clone()).await;

    let sizes = plan["slices"].as_array().unwrap().iter().map(|slice| text(&slice["qty"])).collect::<Vec<_>>();
    assert_eq!(sizes, ["21", "21", "21", "20", "20"]);
    let date = today();
    let parent = id(&format!("AAPL|buy|103|None|None|market|day|twap_parent_5s_1s|{date}"));
    assert_eq!(plan["parent_order_id"], parent);
    assert_eq!(plan["parent_strategy_id"], "twap_parent_5s_1s");
    for (number, slice) in plan["slices"].as_array().unwrap().iter().enumerate() {
        let strategy = format!("twap_slice_{parent}_{number}");
        let qty = text(&slice["qty"]);
        let child = id(&format!("AAPL|buy|{qty}|None|None|market|day|{strategy}|{date}"));
        assert_eq!(slice["client_order_id"], child);
        assert_eq!(slice["strategy_id"], strategy);
        assert_eq!(slice["slice_num"], number);
    }

    let (status, replay) = api.post("/api/v1/orders/slice", &body).await;
    assert_eq!(status, 200, "{replay}");
    let times = |plan: &Value| {
        plan["slices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                (
                    one["slice_num"].clone(),
                    one["qty"].clone(),
                    one["scheduled_time"].clone(),
                    one["client_order_id"].clone(),
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&replay), times(&plan), "a replay is the same plan");

    let ended = api.until_ended(&parent, SOON).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["filled_qty"], "103");
    let slices = api.slices(&parent).await;
    assert_adds_up(&ended, &slices);
    assert_books_agree(&house, api).await;
    assert_eq!(house.book().orders.len(), 5);
    let cost = house.book().executions.iter().map(|one| dec(&one["qty"]) * dec(&one["price"])).sum::<Decimal>();
    let average = dec(&ended["filled_avg_price"]);
    assert!((average * Decimal::from(103) - cost).abs() < Decimal::new(1, 6), "{average} for {cost}");

    let (status, replay) = api.post("/api/v1/orders/slice", &body).await;
    assert_eq!((status, &replay["status"]), (200, &json!("completed")));
    assert_eq!(times(&replay), times(&plan));
    let mut other = body.clone();
    other["client_order_id"] = json!(parent);
    other["qty"] = json!("104");
    let (status, refused) = api.post("/api/v1/orders/slice", &other).await;
    assert_eq!((status, &refused["code"]), (409, &json!("order_id_reused")), "{refused}");
    assert_eq!(house.book().orders.len(), 5, "replays send nothing");
    server.stop().await;
}

#[tokio::test]
async fn the_ids_are_those_of_the_golden_vectors() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let api = &server.api;
    assert_eq!(id("AAPL|buy|10|None|None|market|day|alpha_baseline|2024-10-17"), "1b5445b3d1a61a15f64411be");
    let date = today();
    let single = json!({"symbol": "msft", "side": "sell", "qty": 5, "order_type": "limit", "limit_price": 300.5, "strategy_id": "alpha_baseline", "trade_date": date});
    let (status, order) = api.post("/api/v1/orders", &single).await;
    assert_eq!(status, 201, "{order}");
    assert_eq!(order["client_order_id"], id(&format!("MSFT|sell|5|300.50|None|limit|day|alpha_baseline|{date}")));
    let mut parent = parent_of_103(5);
    parent["trade_date"] = json!(date);
    let keyed =
        answer(api.request("POST", "/api/v1/orders/slice/preview").header("Idempotency-Key", "\"k1\"").json(&parent))
            .await;
    let expected = id(&format!("AAPL|buy|103|None|None|market|day|twap_parent_5s_1s|{date}|idempotency_key=local:k1"));
    assert_eq!((keyed.0, &keyed.1["parent_order_id"]), (200, &json!(expected)));
    let rows = house.rows().await;
    let (status, preview) = api.post("/api/v1/orders/slice/preview", &parent).await;
    assert_eq!(status, 200, "{preview}");
    assert_eq!(house.rows().await, rows, "a preview stores nothing");
}

#[tokio::test]
async fn the_command_line_shows_what_the_server_does() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let base = server.api.base.clone();
    let run = |args: &[&str]| Outcome::of(house.program().env("TRANCHE_URL", &base).args(args));

    let plan =
        run(&["order", "slice", "buy", "103", "AAPL", "--duration-seconds", "5", "--interval-seconds", "1", "--json"])
            .json();
    let parent = text(&plan["parent_order_id"]);
    let mut watching = house.program();
    let watching =
        watching.env("TRANCHE_URL", &base).args(["order", "watch", &parent]).stdout(Stdio::piped()).spawn().unwrap();
    let listed = run(&["order", "list", "--parents", "--json"]).json();
    assert_eq!(listed["items"][0]["parent_order_id"], parent.as_str());
    let watched = watching.wait_with_output().unwrap();
    assert_eq!(watched.status.code(), Some(0));
    let watched = String::from_utf8(watched.stdout).unwrap();
    assert!(watched.contains("completed") && watched.contains("103"), "{watched}");

    let shown = run(&["order", "show", &parent]).ok();
    assert!(shown.contains("completed") && shown.matches("filled").count() >= 5, "{shown}");
    let slices = run(&["order", "list", "--parent", &parent, "--json"]).json();
    assert_eq!(slices["items"].as_array().unwrap().len(), 5);
    let events = run(&["order", "events", &parent]).ok();
    assert!(events.lines().count() > 1, "{events}");
    let single =
        run(&["order", "submit", "sell", "7", "MSFT", "--type", "limit", "--limit-price", "500", "--json"]).json();
    let single = text(&single["client_order_id"]);
    run(&["order", "cancel", &single]).ok();

    assert_eq!(run(&["kill", "status", "--json"]).json()["state"], "ACTIVE");
    run(&["kill", "engage", "--reason", "a drill", "--operator", "ann"]).ok();
    assert_eq!(run(&["kill", "engage", "--reason", "again", "--operator", "ann"]).code, 3, "it is engaged already");
    assert_eq!(run(&["order", "submit", "buy", "1", "MSFT"]).code, 4, "503 is not the client's fault");
    run(&["kill", "disengage", "--operator", "ann"]).ok();
    assert_eq!(run(&["breaker", "status", "--json"]).json()["state"], "OPEN");

    let table = Outcome::of(house.program().args(["paper", "book"])).ok();
    assert_eq!(table.lines().count(), 1 + 6, "a heading, five slices and a single:\n{table}");
    let book = house.book();
    assert_eq!(book.by_id()[&single]["status"], "canceled");
    let shown = Outcome::of(house.program().args(["config", "show"])).ok();
    assert!(shown.contains("sqlite://data"), "{shown}");
    Outcome::of(house.program().args(["config", "check"])).ok();
    Outcome::of(house.program().args(["health", "--url", &base])).ok();

    assert_eq!(run(&["order", "show", "nothing"]).code, 3);
    assert_eq!(run(&["order", "slice", "buy", "0", "AAPL", "--duration-seconds", "5"]).code, 3);
    assert_eq!(run(&["order", "frobnicate"]).code, 2);
    let wrong = Outcome::of(
        house.program().env("TRANCHE__GATE__POLL_MS", "soon").env("TRANCHE__NO__SUCH", "1").args(["config", "check"]),
    );
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("gate.poll_ms") && wrong.stderr.contains("no.such"), "{}", wrong.stderr);
    server.stop().await;
    assert_eq!(run(&["kill", "status"]).code, 4, "nobody is there any more");
}
