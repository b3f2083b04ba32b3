//! The gateway at Alpaca's double: whatever the wire does, one order each, and the same books on both sides.

use std::process::Stdio;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::chance::number;
use crate::house::{Api, House, Outcome, SOON, Server, eventually};
use crate::report::{assert_adds_up, dec, micros, text};

use double::{Double, KEY, at, most_within};

pub(crate) mod double;
mod flattening;
mod instances;
mod reducing;
mod replacing;
mod restored;

/// Times that are short enough for a test, and in the same order as in life.
const QUICK: [(&str, &str); 8] = [
    ("broker.timeout_ms", "1500"),
    ("broker.alpaca.connect_timeout_ms", "1000"),
    ("breaker.broker_errors.enabled", "false"),
    ("execution.claim_seconds", "1"),
    ("execution.unknown_settle_ms", "300"),
    ("execution.reconcile_seconds", "2"),
    ("execution.submit_wait_ms", "0"),
    ("execution.single_grace_seconds", "60"),
];
/// A limit that no test reaches, and cash for anything.
const AMPLE: [&str; 4] = ["--rate-limit", "10000000", "--cash", "1000000000"];

fn quick(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&QUICK, more].concat()
}

/// Sends single orders; every other one rests at a price that nobody pays.
async fn send(api: &Api, ids: &[String]) {
    let sent = stream::iter(ids.iter().enumerate()).map(async |(number, id)| {
        let mut body = json!({"symbol": "AAPL", "side": "buy", "qty": 1 + number % 7, "order_type": "market",
            "client_order_id": id});
        if number % 2 == 1 {
            body["order_type"] = json!("limit");
            body["limit_price"] = json!("1");
        }
        let (status, order) = api.post("/api/v1/orders", &body).await;
        assert!(status == 201, "{status} {order}");
    });
    sent.buffer_unordered(16).collect::<Vec<_>>().await;
}

fn ids(prefix: &str, count: u64) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

async fn until_all(api: &Api, what: &str, within: Duration, is: impl Fn(&Value) -> bool) -> Vec<Value> {
    eventually(what, within, async || {
        let orders = api.all("/api/v1/orders").await;
        orders.iter().all(&is).then_some(orders)
    })
    .await
}

fn is_known(order: &Value) -> bool {
    order["status"] == if order["order_type"] == "market" { "filled" } else { "accepted" }
}

#[tokio::test]
async fn an_acknowledgement_lost_at_every_attempt_leaves_one_order_in_the_journal_and_the_right_row() {
    let count = number("OUTSIDE_LOST").unwrap_or(100);
    let double = Double::start(&AMPLE);
    let house = double.house(&quick(&[]));
    let server = house.serve().await;
    // No submission is ever answered: one in three is lost on its way, all others after they were taken.
    let lost = json!({"timeout_before_per_mille": 333, "timeout_after_per_mille": 1000, "event_lost_per_mille": 1000});
    double.faults(&json!({"chance": lost})).await;
    send(&server.api, &ids("lost", count)).await;
    let within = Duration::from_secs(60 + count / 5);
    let ours = until_all(&server.api, "every order is found at the broker", within, is_known).await;
    assert_eq!(ours.len() as u64, count);
    double.assert_books_agree(&server.api).await;
    let again = ours.iter().filter(|order| order["attempt"].as_u64() > Some(1)).count();
    assert!(again > 0, "some were sent again");
    for order in &ours {
        let (_, events) = server.api.get(&format!("/api/v1/orders/{}/events", text(&order["client_order_id"]))).await;
        assert!(!events.to_string().contains("rejected"), "a retry counts as no rejection: {events}");
    }
}

#[tokio::test]
async fn an_order_that_arrives_long_after_its_connection_was_cut_is_adopted_and_never_doubled() {
    let double = Double::start(&AMPLE);
    let mut house = double.house(&quick(&[]));
    let server = house.serve().await;
    // Sent again meanwhile under the same id: whichever arrives second is refused as a duplicate.
    let late = json!({"fault": "cut_before", "arrives_after_ms": 5_000});
    double.faults(&json!({"next": [late]})).await;
    send(&server.api, &ids("again", 2)).await;
    until_all(&server.api, "both are taken", SOON, is_known).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    double.assert_books_agree(&server.api).await;

    // Too late to be sent again: it is in doubt until it appears, and then it is ours.
    server.stop().await;
    house.set("execution.single_grace_seconds", "1");
    let server = house.serve().await;
    double.faults(&json!({"next": [late]})).await;
    send(&server.api, &["alone".to_owned()]).await;
    eventually("it is unknown", SOON, async || {
        let order = server.api.order("alone").await;
        (order["status"] == "submitted_unconfirmed").then_some(())
    })
    .await;
    eventually("it is adopted", SOON, async || is_known(&server.api.order("alone").await).then_some(())).await;
    double.assert_books_agree(&server.api).await;
}

#[tokio::test]
async fn an_order_that_arrives_after_it_was_given_up_is_adopted_counted_and_cancelled() {
    let double = Double::start(&AMPLE);
    let house = double.house(&quick(&[("execution.single_grace_seconds", "1"), ("execution.absent_settle_s", "2")]));
    let server = house.serve().await;
    double.faults(&json!({"next": [{"fault": "cut_before", "arrives_after_ms": 9_000}]})).await;
    let resting = json!({"symbol": "AAPL", "side": "buy", "qty": 3, "order_type": "limit", "limit_price": "1",
        "client_order_id": "late"});
    let (status, order) = server.api.post("/api/v1/orders", &resting).await;
    assert_eq!(status, 201, "{order}");
    eventually("it is given up", SOON, async || (server.api.order("late").await["status"] == "failed").then_some(()))
        .await;
    assert!(double.orders().is_empty(), "it has not arrived yet");
    eventually("it is cancelled", SOON, async || {
        (server.api.order("late").await["status"] == "canceled").then_some(())
    })
    .await;
    double.assert_books_agree(&server.api).await;
}

/// Orders of a hundred, filled by hand in ten parts each while the stream misbehaves and is down for a while.
async fn fills_of_a_bad_stream(no_execution_id_per_mille: u32) {
    let double = Double::start(&AMPLE);
    let house = double.house(&QUICK);
    let server = house.serve().await;
    let ids = ids("part", 8);
    for id in &ids {
        let body = json!({"symbol": "AAPL", "side": "buy", "qty": 100, "order_type": "limit", "limit_price": "1",
            "client_order_id": id});
        let (status, order) = server.api.post("/api/v1/orders", &body).await;
        assert_eq!(status, 201, "{order}");
    }
    until_all(&server.api, "all rest", SOON, is_known).await;
    let chance = json!({"event_duplicated_per_mille": 400, "event_reordered_per_mille": 400});
    let bad = |down: bool| {
        json!({"chance": chance, "stale_timestamp_per_mille": 300, "stream_down": down,
            "no_execution_id_per_mille": no_execution_id_per_mille})
    };
    let theirs = double.orders();
    for part in 0..10 {
        match part {
            0 => double.faults(&bad(false)).await,
            3 => {
                double.faults(&bad(true)).await;
                double.cut_streams().await;
                eventually("nothing may be sent", SOON, async || {
                    let (_, ready) = server.api.get("/readyz").await;
                    (ready["trading_allowed"] == false).then_some(())
                })
                .await;
            }
            7 => double.faults(&bad(false)).await,
            _ => {}
        }
        for id in &ids {
            double.fill(&text(&theirs[id]["id"]), "10", &format!("1.{part}1")).await;
        }
    }
    server.until_trading().await;
    let ours = until_all(&server.api, "all are filled", SOON, |order| order["status"] == "filled").await;
    for order in &ours {
        assert_eq!(dec(&order["filled_avg_price"]), Decimal::new(146, 2), "{order}");
    }
    double.assert_books_agree(&server.api).await;
}

#[tokio::test]
async fn fills_that_come_twice_late_or_while_the_stream_is_down_count_once() {
    fills_of_a_bad_stream(0).await;
}

#[tokio::test]
async fn fills_without_ids_of_their_own_count_once_too() {
    fills_of_a_bad_stream(1_000).await;
}

#[tokio::test]
async fn a_storm_of_429_fails_no_slice_and_no_minute_sees_more_than_the_limit_across_a_restart() {
    // Its windows are short, so that a 429 doesn't ask for more patience than a test has; our minute is a minute.
    let limit = ["--rate-limit", "20", "--rate-window-ms", "10000", "--cash", "1000000000"];
    let double = Double::start(&limit);
    let house = double.house(&quick(&[("broker.rate_limit_per_minute", "60"), ("execution.reconcile_seconds", "20")]));
    let server = house.serve().await;
    let slices = number("OUTSIDE_STORM").unwrap_or(20);
    let plan = server
        .api
        .slice(json!({"symbol": "AAPL", "side": "buy", "qty": slices, "order_type": "market",
        "client_order_id": "storm", "duration_seconds": slices, "interval_seconds": 1}))
        .await;
    assert_eq!(plan["total_slices"], slices);
    tokio::time::sleep(Duration::from_secs(3)).await;
    double.faults(&json!({"busy": true})).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    server.kill();
    let server = house.listen();
    server.until_ready().await;
    double.faults(&json!({})).await;
    let ended = server.api.until_ended("storm", Duration::from_secs(60 + 3 * slices)).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let slices = server.api.slices("storm").await;
    assert_adds_up(&ended, &slices);
    let late = |slice: &Value| micros(&slice["submitted_at"]) - micros(&slice["scheduled_time"]);
    assert!(slices.iter().map(late).max() > Some(2_000_000), "who was held up shows it");
    double.assert_books_agree(&server.api).await;
    let requests = double.journal().into_iter().filter(|line| line["kind"] == "request").collect::<Vec<_>>();
    let mut busy = requests.iter().filter(|line| line["status"] == 429);
    assert!(busy.all(|line| !line["fault"].is_null()), "the limit itself was never reached");
    let instants = requests.iter().map(at).collect::<Vec<_>>();
    assert!(most_within(&instants, Duration::from_secs(60)) <= 60);
}

#[tokio::test]
async fn a_broker_that_is_killed_and_comes_back_during_many_working_parents_leaves_all_of_them_right() {
    let mut double = Double::start(&AMPLE);
    let house = double.house(&QUICK);
    let server = house.serve().await;
    let count = number("OUTSIDE_PARENTS").unwrap_or(100);
    let names = ids("parent", count);
    for name in &names {
        server
            .api
            .slice(json!({"symbol": "AAPL", "side": "buy", "qty": 9, "order_type": "market", "client_order_id": name,
                "duration_seconds": 12, "interval_seconds": 4}))
            .await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    double.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    double.restart();
    for name in &names {
        let ended = server.api.until_ended(name, Duration::from_secs(90)).await;
        assert_eq!((&ended["status"], &ended["filled_qty"]), (&json!("completed"), &json!("9")), "{ended}");
        assert_adds_up(&ended, &server.api.slices(name).await);
    }
    double.assert_books_agree(&server.api).await;
}

#[tokio::test]
async fn what_a_slow_broker_receives_after_an_engage_was_answered_is_in_its_answer_and_ends_cancelled() {
    let double = Double::start(&[&AMPLE[..], &["--latency-ms", "1000"]].concat());
    let house = double.house(&quick(&[("kill_switch.settle_ms", "300"), ("broker.timeout_ms", "6000")]));
    let server = house.serve().await;
    let ids = ids("slow", 50);
    for id in &ids {
        let body = json!({"symbol": "AAPL", "side": "buy", "qty": 1, "order_type": "limit", "limit_price": "1",
            "client_order_id": id});
        let (status, order) = server.api.post("/api/v1/orders", &body).await;
        assert_eq!(status, 201, "{order}");
    }
    let engaged = server.api.engage("cancel").await;
    let answered = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    let unknown = engaged["unknown"].as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let ended = |order: &Value| ["canceled", "blocked_kill_switch"].contains(&order["status"].as_str().unwrap());
    until_all(&server.api, "nothing is live", SOON * 2, ended).await;
    let later = double.requests("submit").into_iter().filter(|line| at(line) > answered).collect::<Vec<_>>();
    for line in &later {
        assert!(unknown.contains(&text(&line["client_order_id"])), "not in the answer: {line}\n{engaged}");
    }
    assert!(!unknown.is_empty(), "some were in flight: {engaged}");
    for order in double.orders().values() {
        assert_eq!(order["status"], "canceled", "{order}");
    }
    double.assert_books_agree(&server.api).await;
}

fn shows_no_secret(what: &str, text: &str) {
    assert!(!text.contains(KEY.1) && !text.contains("not-the-secret"), "{what} shows the secret:\n{text}");
}

#[tokio::test]
async fn a_wrong_key_halts_the_account_and_says_so_and_no_secret_shows_anywhere() {
    let double = Double::start(&AMPLE);
    let house = double.house(&[("broker.alpaca.secret_key", "not-the-secret-0123456789")]);
    let mut command = house.program();
    command.arg("serve").env("RUST_LOG", "trace").stdin(Stdio::null());
    let server = Server::start(command);
    let ready = eventually("only the key is wrong", SOON, async || {
        let (_, ready) = server.api.get("/readyz").await;
        let code = &ready["reasons"][0]["code"];
        (code == "broker_unauthorised" && ready["ready"] == true).then_some(ready)
    })
    .await;
    let detail = text(&ready["reasons"][0]["detail"]);
    assert!(detail.contains("give it a key that works"), "{detail}");
    let order = json!({"symbol": "AAPL", "side": "buy", "qty": 1, "order_type": "market"});
    let (status, refused) = server.api.post("/api/v1/orders", &order).await;
    assert_eq!((status, &refused["code"]), (503, &json!("broker_unauthorised")), "{refused}");
    assert!(double.requests("submit").is_empty());
    let (_, metrics) = server.api.get("/metrics").await;
    let (_, state) = server.api.get("/api/v1/status").await;
    for (what, text) in [("readyz", ready.to_string()), ("metrics", metrics.to_string()), ("status", state.to_string())]
    {
        shows_no_secret(what, &text);
    }
    shows_no_secret("the log", &server.log());
    drop(server);
    shows_no_secrets_of(&house);
}

fn shows_no_secrets_of(house: &House) {
    for args in [&["config", "show"][..], &["config", "show", "--json"], &["config", "check"]] {
        shows_no_secret("configuration", &Outcome::of(house.program().args(args)).ok());
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_halts_the_account_and_one_that_is_taken_again_lets_it_go_on() {
    let double = Double::start(&AMPLE);
    let house = double.house(&quick(&[]));
    let mut command = house.program();
    command.arg("serve").env("RUST_LOG", "trace");
    let server = Server::start(command);
    server.until_trading().await;
    send(&server.api, &["before".to_owned()]).await;
    double.faults(&json!({"revoked": [KEY.0]})).await;
    let during =
        json!({"symbol": "AAPL", "side": "buy", "qty": 1, "order_type": "market", "client_order_id": "during"});
    let (status, order) = server.api.post("/api/v1/orders", &during).await;
    // A comparison of the books may have met the refusal first, and then nothing is taken any more.
    let is_taken = status == 201;
    assert!(is_taken || order["code"] == "broker_unauthorised", "{status} {order}");
    eventually("the account is halted", SOON, async || {
        let (_, ready) = server.api.get("/readyz").await;
        (ready["reasons"][0]["code"] == "broker_unauthorised").then_some(())
    })
    .await;
    double.faults(&json!({})).await;
    eventually("it trades again", Duration::from_secs(60), async || {
        if !is_taken && server.api.post("/api/v1/orders", &during).await.0 == 503 {
            return None;
        }
        is_known(&server.api.order("during").await).then_some(())
    })
    .await;
    double.assert_books_agree(&server.api).await;
    shows_no_secret("the log", &server.log());
}
