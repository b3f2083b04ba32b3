//! Recorded quotes: what an execution pays is what the market of its moment showed.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::house::{House, SOON};
use crate::report::{assert_adds_up, assert_books_agree, dec, micros};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/quotes-TESTFX.csv");
const SPEED: i64 = 60;

struct Quote {
    at: i64,
    bid: Decimal,
    ask: Decimal,
}

fn quotes() -> Vec<Quote> {
    let mut reader = csv::Reader::from_path(FILE).unwrap();
    let rows = reader.records().map(|row| row.unwrap());
    let quotes = rows.map(|row| Quote {
        at: row[0].parse::<DateTime<Utc>>().unwrap().timestamp_micros(),
        bid: row[1].parse().unwrap(),
        ask: row[2].parse().unwrap(),
    });
    quotes.collect()
}

/// When the replay began, as the book keeps it.
async fn origin(house: &House) -> i64 {
    let options = SqliteConnectOptions::new().filename(house.file("paper-book.db")).read_only(true);
    let mut book = options.connect().await.unwrap();
    let origin = sqlx::query_scalar::<_, String>("SELECT origin FROM replays WHERE symbol = 'TESTFX'");
    micros(&json!(origin.fetch_one(&mut book).await.unwrap()))
}

#[tokio::test]
async fn every_fill_over_replayed_quotes_lies_inside_the_quote_of_its_moment_plus_the_slippage() {
    let mut house = House::new(&[("instruments.testfx.lot", "1000"), ("broker.paper.slippage_bps", "0.5")]);
    house.set("broker.paper.quotes", FILE);
    house.set("broker.paper.speed", &SPEED.to_string());
    let server = house.serve().await;
    let body = json!({
        "symbol": "TESTFX", "side": "buy", "qty": "205000", "order_type": "market", "time_in_force": "gtc",
        "duration_seconds": 8, "interval_seconds": 1, "client_order_id": "p", "completion": "leave",
    });
    let plan = server.api.slice(body).await;
    let sizes = plan["slices"].as_array().unwrap().iter().map(|slice| dec(&slice["qty"])).collect::<Vec<_>>();
    assert!(sizes.iter().all(|qty| (qty % Decimal::from(1000)).is_zero()), "{sizes:?}");
    let (status, refused) = server
        .api
        .post("/api/v1/orders", &json!({"symbol": "TESTFX", "side": "buy", "qty": "1500", "order_type": "market"}))
        .await;
    assert_eq!(status, 422, "half a lot: {refused}");

    let ended = server.api.until_ended("p", SOON * 2).await;
    assert_eq!((&ended["status"], &ended["filled_qty"]), (&json!("completed"), &json!("205000")), "{ended}");
    assert_adds_up(&ended, &server.api.slices("p").await);
    assert_books_agree(&house, &server.api).await;

    let (quotes, origin) = (quotes(), origin(&house).await);
    let slippage = Decimal::new(5, 1) / Decimal::from(10_000);
    let book = house.book();
    assert!(book.executions.len() > 8, "sizes are displayed, so larger slices fill in parts");
    for execution in &book.executions {
        let moved = (micros(&execution["at"]) - origin) * SPEED;
        let stands = quotes.iter().rev().find(|quote| quote.at - quotes[0].at <= moved).unwrap();
        let price = dec(&execution["price"]);
        let worst = stands.ask * (Decimal::ONE + slippage);
        assert!(stands.bid <= price && price <= worst, "{execution} at {} / {}", stands.bid, stands.ask);
        assert!(price >= stands.ask, "a market order takes the touch: {execution}");
    }
    let moments = book.executions.iter().map(|one| one["price"].to_string()).collect::<std::collections::BTreeSet<_>>();
    assert!(moments.len() > 3, "the market moved under it");
}
