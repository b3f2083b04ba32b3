//! What changes at one instance holds for the very next request at every other one.

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::Two;
use crate::house::{Answer, Api, Outcome, SOON, answer, eventually};

const TURNS: usize = 20;

/// What an order is answered, once somebody can say: a machine that stood still may have cost the owner its lease.
async fn order(api: &Api, id: &str, qty: u32) -> (u16, Value) {
    let order = json!({"symbol": "AAPL", "side": "buy", "qty": qty, "order_type": "limit", "limit_price": "1",
        "client_order_id": id});
    eventually("the order is answered", SOON, async || {
        let (status, answer) = api.post("/api/v1/orders", &order).await;
        (status != 503).then(|| (status, answer["code"].clone()))
    })
    .await
}

async fn status(api: &Api, key: &str) -> Answer {
    answer(api.request("GET", "/api/v1/status").bearer_auth(key)).await
}

#[tokio::test]
async fn a_changed_limit_an_expired_override_a_lockout_and_a_revoked_key_hold_for_the_very_next_request() {
    let two = Two::new();
    let (owner, other) = two.serve().await;
    let apis = [&owner.api, &other.api];
    let too_large = (422, json!("max_order_qty"));
    for turn in 0..TURNS {
        let (changer, asked) = (apis[turn % 2], apis[(turn + 1) % 2]);
        let most = if turn % 3 == 0 { 10 } else { 20 };
        let limit = json!({"operator": "ann", "control": "max_order_qty", "value": most});
        let (status, answer) = crate::house::answer(changer.request("PUT", "/api/v1/limits").json(&limit)).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(order(asked, &format!("much{turn}"), most + 1).await, too_large, "turn {turn}");
        assert_eq!(order(asked, &format!("just{turn}"), most).await.0, 201, "turn {turn}");
    }

    let until = Utc::now() + TimeDelta::seconds(5);
    let instead = json!({"operator": "ann", "control": "max_order_qty", "value": 50, "reason": "a large one",
        "until": until.to_rfc3339_opts(SecondsFormat::Micros, true)});
    assert_eq!(other.api.post("/api/v1/limits/overrides", &instead).await.0, 200);
    for (n, api) in apis.into_iter().enumerate() {
        assert_eq!(order(api, &format!("over{n}"), 50).await.0, 201);
    }
    let left = (until - Utc::now()).to_std().expect("both were quick enough");
    tokio::time::sleep(left).await;
    for (n, api) in apis.into_iter().enumerate() {
        assert_eq!(order(api, &format!("expired{n}"), 50).await, too_large);
    }

    for turn in 0..4 {
        let (changer, asked) = (apis[turn % 2], apis[(turn + 1) % 2]);
        let lock = json!({"operator": "ann", "reason": "enough"});
        assert_eq!(changer.post("/api/v1/lockouts", &lock).await.0, 200);
        assert_eq!(order(asked, &format!("locked{turn}"), 1).await, (422, json!("lockout")));
        assert_eq!(asked.delete("/api/v1/lockouts/default:operator?operator=ann").await.0, 200);
        assert_eq!(order(changer, &format!("free{turn}"), 1).await.0, 201);
    }

    let keys = |words: &[&str]| Outcome::of(two.houses[0].program().arg("keys").args(words));
    keys(&["add", "stays", "--role", "viewer"]).ok();
    for api in apis {
        eventually("keys are asked for", SOON, async || (api.get("/api/v1/status").await.0 == 401).then_some(())).await;
    }
    for turn in 0..4 {
        let name = format!("goes{turn}");
        let made = keys(&["add", &name, "--role", "viewer", "--json"]).json();
        let key = made["key"].as_str().unwrap();
        for api in apis {
            assert_eq!(status(api, key).await.0, 200, "a key counts at once");
        }
        keys(&["revoke", &name]).ok();
        for api in apis {
            assert_eq!(status(api, key).await.0, 401, "the very next request");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
