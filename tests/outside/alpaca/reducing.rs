//! Many clients at once in a quiet period: together they reduce a position, and never turn it.

use std::time::Duration;

use futures_util::future::join_all;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::double::Double;
use super::{AMPLE, QUICK, is_known, until_all};
use crate::house::{Api, SOON, eventually};
use crate::report::dec;

const CLIENTS: usize = 20;

fn sell(n: usize, qty: u32) -> Value {
    json!({"symbol": "AAPL", "side": "sell", "qty": qty, "order_type": "market", "client_order_id": format!("exit{n}")})
}

/// One client: the first one loses the answer on its own side, and asks for the same once more.
async fn reduce(api: &Api, n: usize, qty: u32) -> u16 {
    if n == 0 {
        let lost = tokio::time::timeout(Duration::from_millis(15), api.post("/api/v1/orders", &sell(n, qty))).await;
        drop(lost);
    }
    let (status, answer) = api.post("/api/v1/orders", &sell(n, qty)).await;
    assert!(
        status == 201 || status == 200 || answer["code"] == "circuit_breaker_quiet",
        "an exit is taken, or there is nothing left to reduce: {status} {answer}"
    );
    status
}

#[tokio::test]
async fn twenty_clients_reduce_one_position_at_once_with_answers_lost_and_together_never_sell_more_than_it() {
    for qty in [10_u32, 30, 100] {
        let double = Double::start(&[&AMPLE[..], &["--latency-ms", "20"]].concat());
        let house = double.house(&QUICK);
        let server = house.serve().await;
        let buy =
            json!({"symbol": "AAPL", "side": "buy", "qty": 100, "order_type": "market", "client_order_id": "base"});
        assert_eq!(server.api.post("/api/v1/orders", &buy).await.0, 201);
        until_all(&server.api, "the position is there", SOON, is_known).await;
        let why = json!({"operator": "ann", "reason": "the feed was looked at, and is well"});
        assert_eq!(server.api.post("/api/v1/circuit-breaker/trip", &why).await.0, 200);
        assert_eq!(server.api.post("/api/v1/circuit-breaker/reset", &why).await.0, 200);
        eventually("what reduces may pass", SOON, async || {
            (server.api.get("/readyz").await.1["gate"] == "reduce_only").then_some(())
        })
        .await;
        assert_eq!(server.api.get("/readyz").await.1["trading_allowed"], false);
        // The broker's answer to one of them is lost too, after it was taken.
        double.faults(&json!({"next": [{"fault": "cut_after"}]})).await;
        let asked = join_all((0..CLIENTS).map(|n| reduce(&server.api, n, qty))).await;
        let room = usize::try_from(100 / qty).unwrap();
        assert!(asked.iter().filter(|status| **status < 300).count() >= room, "{asked:?}");
        // One that was taken may find at its turn that others were faster.
        let has_ended =
            |order: &Value| ["filled", "blocked_circuit_breaker"].map(|word| json!(word)).contains(&order["status"]);
        let ours = until_all(&server.api, "all have ended", Duration::from_secs(30), has_ended).await;
        assert_eq!(ours.iter().filter(|order| order["status"] == "filled").count(), 1 + room);
        let theirs = double.orders();
        let sold = theirs.iter().filter(|(id, _)| id.starts_with("exit"));
        let sold = sold.map(|(_, line)| dec(&line["row"]["qty"])).sum::<Decimal>();
        assert_eq!(sold, Decimal::from(qty) * Decimal::from(room));
        let left = double.positions().await.get("AAPL").copied().unwrap_or_default();
        assert_eq!(left, Decimal::from(100) - sold);
        double.assert_books_agree(&server.api).await;
        println!("of {CLIENTS} clients with {qty} each, {room} sold {sold}");
    }
}
