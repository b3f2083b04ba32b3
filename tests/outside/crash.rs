//! `kill -9`: no slice is lost, none is sent twice, and the numbers add up, whenever it strikes.

use std::time::{Duration, Instant};

use serde_json::json;
use tranche_servers::Database;

use crate::chance::{Chance, number, seed};
use crate::house::{House, SOON, Server, eventually};
use crate::report::{assert_adds_up, assert_books_agree, text};

use ground::{Broker, Ground, Promised, load, parent};

pub(crate) mod ground;

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

/// Kills it again and again at any moment, also while it starts, then holds all books against each other.
async fn killed_at_random(database: Option<&str>, broker: Broker) {
    let seed = seed();
    let kills = number("OUTSIDE_KILLS").unwrap_or(4);
    let mut chance = Chance(seed);
    let mut ground = Ground::new(database, broker, seed);
    ground.spoil().await;
    let promised = Promised::default();
    for life in 0..kills {
        let server = ground.house.listen();
        let (trades_first, wait) = (chance.within(0, 3) > 0, chance.millis(0, 2_000));
        let until = async {
            if trades_first || life == 0 {
                until_promised(&server, &promised, life == 0).await;
            }
            tokio::time::sleep(wait).await;
        };
        let load = load(&server.api, life, &mut chance, &promised);
        tokio::select! {
            () = until => {}
            () = load => unreachable!("the load never ends"),
        }
        server.kill();
    }
    let server = ground.house.listen();
    server.until_ready().await;
    let counted = ground.reckon(server, &promised).await;
    let ledger = if database.is_some() { "PostgreSQL" } else { "SQLite" };
    println!("{kills} kills, {ledger}, {broker:?}: {counted}");
}

/// Waits until it trades, and for the first promise too, but not for ever: a machine may be slow.
async fn until_promised(server: &Server, promised: &Promised, first: bool) {
    let began = Instant::now();
    while began.elapsed() < SOON * 2 {
        let trades = server.api.get("/readyz").await.1["trading_allowed"] == true;
        if trades && (!first || !promised.lock().unwrap().is_empty()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn kills_with_a_third_of_all_answers_lost_lose_and_double_nothing_on_sqlite_at_the_paper_broker() {
    killed_at_random(None, Broker::Paper).await;
}

#[tokio::test]
async fn kills_with_a_third_of_all_answers_lost_lose_and_double_nothing_on_sqlite_at_alpaca() {
    killed_at_random(None, Broker::Alpaca).await;
}

#[tokio::test]
async fn kills_with_a_third_of_all_answers_lost_lose_and_double_nothing_on_postgres_at_the_paper_broker() {
    killed_at_random(Some(Database::new().url()), Broker::Paper).await;
}

#[tokio::test]
async fn kills_with_a_third_of_all_answers_lost_lose_and_double_nothing_on_postgres_at_alpaca() {
    killed_at_random(Some(Database::new().url()), Broker::Alpaca).await;
}
