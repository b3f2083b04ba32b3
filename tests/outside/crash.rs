//! `kill -9`: no slice is lost, none is sent twice, and the numbers add up, whenever it strikes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chance::{Chance, number, seed};
use crate::house::{Api, House, SOON, Server, eventually};
use crate::report::{assert_adds_up, assert_books_agree, text};

/// What takes minutes in life takes seconds here.
pub(crate) const SCALED_DOWN: &[(&str, &str)] = &[
    ("execution.claim_seconds", "1"),
    ("execution.misfire_grace_seconds", "6"),
    ("execution.single_grace_seconds", "5"),
    ("execution.unknown_settle_ms", "100"),
    ("execution.absent_settle_s", "2"),
    ("execution.reconcile_seconds", "1"),
    ("execution.submit_wait_ms", "300"),
    ("broker.timeout_ms", "250"),
    ("broker.paper.latency_ms", "30"),
    ("broker.paper.quote_interval_ms", "50"),
    ("breaker.broker_errors.enabled", "false"),
];

fn parent(id: &str, slices: u64) -> Value {
    json!({
        "symbol": "AAPL", "side": "buy", "qty": (slices * 10 + 3).to_string(), "order_type": "market",
        "duration_seconds": slices, "interval_seconds": 1, "client_order_id": id,
    })
}

/// A parent of eight slices whose server is killed when a few of them are at the broker.
async fn killed_in_the_middle(house: &House) {
    let server = house.serve().await;
    server.api.slice(parent("p", 8)).await;
    eventually("some slices are at the broker", SOON, async || (house.book().orders.len() >= 3).then_some(())).await;
    server.kill();
}

#[tokio::test]
async fn a_parent_whose_server_is_killed_and_started_at_once_loses_and_doubles_nothing() {
    // The venue takes its time, so that one is on its way when the kill strikes.
    let house = House::new(&[("broker.paper.latency_ms", "400"), ("execution.claim_seconds", "1")]);
    killed_in_the_middle(&house).await;
    let server = house.serve().await;
    let ended = server.api.until_ended("p", SOON * 2).await;
    assert_eq!((&ended["status"], &ended["filled_qty"]), (&json!("completed"), &json!("83")));
    assert_adds_up(&ended, &server.api.slices("p").await);
    assert_books_agree(&house, &server.api).await;
    assert_eq!(house.book().ids().len(), 8);
}

#[tokio::test]
async fn slices_that_came_due_while_the_server_was_down_for_longer_than_the_grace_are_expired() {
    let house = House::new(&[("execution.misfire_grace_seconds", "1"), ("execution.claim_seconds", "1")]);
    killed_in_the_middle(&house).await;
    let taken = house.book().ids();
    // The slices of the next seconds come due with nobody there, and their grace passes.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    assert_eq!(house.book().ids(), taken, "a server that is dead sends nothing");
    let server = house.serve().await;
    let ended = server.api.until_ended("p", SOON * 2).await;
    let slices = server.api.slices("p").await;
    assert_adds_up(&ended, &slices);
    assert_eq!(ended["status"], "partially_completed", "{ended}");
    let with = |status: &str| slices.iter().filter(|slice| slice["status"] == status).count();
    let (filled, expired) = (with("filled"), with("expired"));
    assert_eq!(filled + expired, 8, "{slices:?}");
    assert!(expired >= 1 && filled > taken.len().min(7) - 1, "{slices:?}");
    for slice in slices.iter().filter(|slice| slice["status"] == "expired") {
        assert!(!taken.contains(&text(&slice["client_order_id"])));
        assert!(!slice["reason_code"].is_null(), "{slice}");
    }
    assert_books_agree(&house, &server.api).await;
}

#[tokio::test]
async fn kills_at_random_moments_with_a_third_of_all_answers_lost_lose_and_double_nothing() {
    let seed = seed();
    let kills = number("OUTSIDE_KILLS").unwrap_or(6);
    let mut chance = Chance(seed);
    let mut house = House::new(SCALED_DOWN);
    house.set("broker.paper.seed", &(seed % 1_000_000).to_string());
    house.set("broker.paper.faults.timeout_after_per_mille", "333");
    house.set("broker.paper.faults.timeout_before_per_mille", "80");
    house.set("broker.paper.faults.event_lost_per_mille", "200");
    house.set("broker.paper.faults.event_duplicated_per_mille", "100");
    house.set("broker.paper.faults.event_reordered_per_mille", "100");

    let mut promised = BTreeSet::new();
    for life in 0..kills {
        let server = house.listen();
        let wait = chance.millis(0, 2_500);
        let deadline = tokio::time::sleep(wait);
        let load = load(&server.api, life, chance.next(), |id| _ = promised.insert(id));
        tokio::select! {
            () = deadline => {}
            () = load => unreachable!("the load never ends"),
        }
        server.kill();
    }
    let server = house.serve().await;
    let parents = settled(&server, seed).await;
    for id in &promised {
        server.api.order(id).await;
    }
    let parents = parents.iter().map(|parent| text(&parent["parent_order_id"])).collect::<BTreeSet<_>>();
    for parent in &parents {
        assert_adds_up(&server.api.order(parent).await, &server.api.slices(parent).await);
    }
    assert_books_agree(&house, &server.api).await;
    let (orders, attempts) = (house.book().orders.len(), attempts(&server.api).await);
    println!(
        "{kills} kills: none lost, none doubled; {} promises, {} parents, {orders} orders at the broker, {attempts} of \
         ours sent more than once",
        promised.len(),
        parents.len()
    );
}

/// Sends parents and single orders as long as there is somebody to take them; keeps what was promised.
pub(crate) async fn load(api: &Api, life: u64, seed: u64, mut promise: impl FnMut(String)) {
    let mut chance = Chance(seed);
    for number in 0_u64.. {
        let id = format!("{life}.{number}");
        let (path, body) = if chance.within(0, 3) == 0 {
            (
                "/api/v1/orders",
                json!({"symbol": "MSFT", "side": "sell", "qty": "5", "order_type": "market", "client_order_id": id}),
            )
        } else {
            ("/api/v1/orders/slice", parent(&id, chance.within(2, 5)))
        };
        // While it starts it refuses; a request that was cut off promises nothing.
        if let Ok(response) = api.request("POST", path).json(&body).send().await
            && response.status() == 201
        {
            promise(id);
        }
        tokio::time::sleep(chance.millis(20, 200)).await;
    }
}

/// Waits until nothing is open any more: every parent, every order.
pub(crate) async fn settled(server: &Server, seed: u64) -> Vec<Value> {
    let what = format!("every parent and every order has ended (OUTSIDE_SEED={seed})");
    eventually(&what, Duration::from_secs(60), async || {
        let parents = server.api.all("/api/v1/orders?kind=parent").await;
        let orders = server.api.all("/api/v1/orders").await;
        let open = |row: &Value, name: &str| row[name].is_null();
        let is_open =
            parents.iter().any(|row| open(row, "ended_at")) || orders.iter().any(|row| open(row, "terminal_at"));
        (!is_open).then_some(parents)
    })
    .await
}

async fn attempts(api: &Api) -> usize {
    let orders = api.all("/api/v1/orders").await;
    orders.iter().filter(|order| order["attempt"].as_u64().unwrap() > 1).count()
}
