//! One call at one instance stops them all, also one that doesn't answer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{ACCOUNTS, LEASE, Two, id_of, owners};
use crate::alpaca::double::at;
use crate::chance::{Chance, number, seed};
use crate::house::{Api, SOON, eventually};
use crate::report::text;

/// Single orders of all accounts that rest at a price that nobody pays; they are taken, and sent a moment later.
async fn rest(api: &Api, prefix: &str, orders: u64) {
    let sent = (0..orders).zip(ACCOUNTS.iter().cycle()).map(async |(n, account)| {
        let body = json!({"symbol": "AAPL", "side": "buy", "qty": 1, "order_type": "limit", "limit_price": "1",
            "client_order_id": format!("{prefix}{n}"), "account": account});
        // Who was frozen may close a connection when it wakes up.
        let Ok(answer) = api.request("POST", "/api/v1/orders").json(&body).send().await else { return };
        // Once the switch is engaged they are refused.
        let status = answer.status().as_u16();
        assert!(matches!(status, 201 | 409 | 503), "{status} {:?}", answer.text().await);
    });
    join_all(sent).await;
}

async fn disengaged(api: &Api) {
    eventually("it is disengaged", SOON, async || {
        let (status, _) = api.post("/api/v1/kill-switch/disengage", &json!({"operator": "ann"})).await;
        (status == 200).then_some(())
    })
    .await;
}

/// Every order of these that reached the venue ends cancelled there.
async fn until_nothing_is_live(two: &Two, api: &Api, prefixes: &[String]) {
    let live = || {
        let orders = two.double.orders().into_iter();
        let mine = orders.filter(|(id, _)| prefixes.iter().any(|prefix| id.starts_with(prefix)));
        mine.filter(|(_, order)| order["row"]["status"] != "canceled").collect::<Vec<_>>()
    };
    let began = Instant::now();
    loop {
        let live = live();
        if live.is_empty() {
            return;
        }
        if began.elapsed() > SOON * 3 {
            for (id, theirs) in &live {
                let (_, ours) = api.get(&format!("/api/v1/orders/{id}")).await;
                let (_, events) = api.get(&format!("/api/v1/orders/{id}/events")).await;
                eprintln!("theirs: {theirs}\nours: {ours}\n{events}");
            }
            panic!("{} orders are live at the venue long after they were to be cancelled", live.len());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_engagement_at_one_instance_under_load_at_both_names_all_that_still_reaches_the_venue() {
    let rounds = number("OUTSIDE_ENGAGES").unwrap_or(2);
    let mut chance = Chance(seed());
    // Slow enough that some are always in flight.
    let mut two = Two::with(&["--latency-ms", "700"]);
    for house in &mut two.houses {
        house.set("broker.timeout_ms", "4000");
        house.set("kill_switch.settle_ms", "300");
    }
    let (mut owner, mut other) = two.serve().await;
    let (mut listed, mut confirmed, mut lapsed) = (0, 0, 0);
    for round in 0..rounds {
        let froze = round % 2 == 1;
        let prefixes = [format!("owner{round}-"), format!("other{round}-")];
        let delay = chance.millis(0, 600);
        let stop = async {
            eventually("some are on their way", SOON, async || {
                let sent = two.double.requests("submit");
                sent.iter().any(|line| text(&line["client_order_id"]).starts_with(&prefixes[0])).then_some(())
            })
            .await;
            tokio::time::sleep(delay).await;
            if froze {
                owner.signal(Signal::STOP);
            }
            let engaged = other.api.engage("cancel").await;
            (engaged, Utc::now())
        };
        let loads = [(owner.api.clone(), prefixes[0].clone()), (other.api.clone(), prefixes[1].clone())];
        let loading = loads.map(|(api, prefix)| tokio::spawn(async move { rest(&api, &prefix, 30).await }));
        let (engaged, answered) = stop.await;
        for load in loading {
            let stopping = load.abort_handle();
            // Who asks a frozen instance waits until it is woken.
            match tokio::time::timeout(Duration::from_secs(3), load).await {
                Ok(ended) => ended.unwrap(),
                Err(_) => stopping.abort(),
            }
        }
        let outcomes = engaged["instances"].as_array().unwrap().iter();
        let outcomes = outcomes.map(|one| (text(&one["id"]), text(&one["outcome"]))).collect::<BTreeSet<_>>();
        assert_eq!(outcomes.len(), 2, "{engaged}");
        confirmed += outcomes.iter().filter(|(_, outcome)| outcome == "confirmed").count();
        lapsed += outcomes.iter().filter(|(_, outcome)| outcome == "lapsed").count();
        if froze {
            assert!(outcomes.iter().any(|(_, outcome)| outcome == "lapsed"), "{engaged}");
            // Longer than its lease: the other one takes its accounts over, and asks for its orders to be cancelled.
            tokio::time::sleep(LEASE * 2).await;
            owner.signal(Signal::CONT);
        }
        until_nothing_is_live(&two, &other.api, &prefixes).await;
        let unknown = engaged["unknown"].as_array().unwrap().iter().map(text).collect::<BTreeSet<_>>();
        let sent = two.double.requests("submit").into_iter().filter(|line| at(line) > answered);
        for line in sent {
            let id = text(&line["client_order_id"]);
            assert!(unknown.contains(&id), "round {round}: {id} is not in the answer: {engaged}");
        }
        listed += unknown.len();
        // Whoever owns the accounts now goes on as the owner.
        let both = [id_of(&owner.api).await, id_of(&other.api).await];
        let is_swapped = eventually("one of them owns them all", SOON, async || {
            let owners = owners(&other.api).await;
            let of = |id: &String| owners == vec![Value::String(id.clone()); ACCOUNTS.len()];
            both.iter().position(of)
        })
        .await;
        if is_swapped == 1 {
            std::mem::swap(&mut owner, &mut other);
        }
        disengaged(&other.api).await;
        owner.until_trading().await;
    }
    assert!(listed > 0 && confirmed > 0, "some were in flight, and told so");
    assert!(lapsed > 0 || rounds < 2, "a frozen one lapsed");
}

#[tokio::test]
async fn what_is_held_is_closed_over_postgresql_and_once_for_a_key_at_either_instance() {
    let two = Two::new();
    let (first, second) = two.serve().await;
    let buy = async |api: &Api, qty: u32| {
        let body = json!({"symbol": "AAPL", "side": "buy", "qty": qty, "order_type": "market"});
        assert_eq!(api.post("/api/v1/orders", &body).await.0, 201);
        let held = format!("{qty} are held");
        eventually(&held, SOON, async || (two.double.positions().await.get("AAPL") == Some(&qty.into())).then_some(()))
            .await;
    };
    let flatten = async |api: &Api, key: &str| {
        let body = json!({"operator": "ann", "reason": "a drill", "mode": "flatten"});
        let (status, engaged) = api.keyed("POST", "/api/v1/kill-switch/engage", &body, key).await;
        assert_eq!(status, 200, "{engaged}");
        engaged
    };
    let until_flat = async |api: &Api| {
        eventually("all accounts are flat", SOON * 2, async || {
            let (_, status) = api.get("/api/v1/kill-switch/status").await;
            let accounts = status["flattening"].as_array().unwrap();
            (accounts.len() == ACCOUNTS.len() && accounts.iter().all(|one| one["flat"] == true)).then_some(())
        })
        .await;
        assert!(two.double.positions().await.is_empty(), "flat is what the broker says");
    };
    buy(&first.api, 10).await;
    let closed = flatten(&second.api, "close-1").await;
    until_flat(&first.api).await;
    disengaged(&second.api).await;
    super::until_owner(&first.api, &id_of(&first.api).await, SOON).await;
    buy(&first.api, 7).await;
    let sold = two.double.requests("submit").len();
    // The client never saw the answer, and asks whoever is there.
    for api in [&first.api, &second.api] {
        let again = flatten(api, "close-1").await;
        assert_eq!(again["engagement_id"], closed["engagement_id"]);
    }
    let again = flatten(&first.api, "close-1").await;
    assert_eq!((&again["state"], &again["flatten_orders"]), (&json!("ACTIVE"), &json!([])), "{again}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(two.double.requests("submit").len(), sold, "nothing was closed anew");
    flatten(&second.api, "close-2").await;
    until_flat(&first.api).await;
    let orders = two.double.orders();
    let closing = orders.keys().filter(|id| id.starts_with("flatten.")).count();
    assert_eq!(closing, 2, "{:?}", orders.keys());
}
