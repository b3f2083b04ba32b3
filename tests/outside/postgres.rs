//! PostgreSQL under the built program: it is killed under load, again and again; nothing that was promised is lost, nothing
//! is sent twice, and trading stops and goes on by itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tranche_servers::Server as Database;

use crate::chance::{Chance, number, seed};
use crate::crash::{SCALED_DOWN, load, settled};
use crate::house::{House, SOON, Server, eventually};
use crate::report::{assert_adds_up, assert_books_agree, text};

/// How many send orders at once.
const CLIENTS: u64 = 6;

/// Does something to the database server, while everything else goes on.
async fn act(database: Database, act: impl FnOnce(&mut Database) + Send + 'static) -> Database {
    let done = tokio::task::spawn_blocking(move || {
        let mut database = database;
        act(&mut database);
        database
    });
    done.await.unwrap()
}

async fn until_shut(server: &Server) {
    eventually("the gate is shut for want of a store", SOON, async || {
        let (_, ready) = server.api.get("/readyz").await;
        let reasons = ready["reasons"].as_array()?;
        let is_store = reasons.iter().any(|one| one["code"] == "store_unavailable");
        (ready["trading_allowed"] == false && is_store).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_database_killed_under_load_loses_and_doubles_nothing_and_trading_heals_by_itself() {
    let seed = seed();
    let kills = number("OUTSIDE_POSTGRES_KILLS").unwrap_or(3);
    let mut chance = Chance(seed);
    let mut database = Database::postgres();
    let mut house = House::new(SCALED_DOWN);
    house.set("storage.url", &database.database("tranche"));
    house.set("broker.paper.seed", &(seed % 1_000_000).to_string());
    house.set("execution.misfire_grace_seconds", "60");
    house.set("execution.single_grace_seconds", "60");
    let server = house.serve().await;
    let promised = Arc::new(Mutex::new(BTreeSet::new()));
    let loading = (0..CLIENTS).map(|client| {
        let (api, promised, seed) = (server.api.clone(), Arc::clone(&promised), chance.next());
        tokio::spawn(async move { load(&api, client, seed, |id| _ = promised.lock().unwrap().insert(id)).await })
    });
    let loading = loading.collect::<Vec<_>>();
    for kill in 0..kills {
        tokio::time::sleep(chance.millis(300, 2_000)).await;
        if kill % 3 == 2 {
            database = act(database, Database::kill_backends).await;
        } else {
            database = act(database, Database::kill).await;
            until_shut(&server).await;
            let before = house.book().orders.len();
            tokio::time::sleep(chance.millis(0, 1_500)).await;
            assert_eq!(house.book().orders.len(), before, "without a claim in the database nothing is sent");
            database = act(database, Database::start).await;
        }
        server.until_trading().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for client in loading {
        client.abort();
    }
    let parents = settled(&server, seed).await;
    let promised = promised.lock().unwrap().clone();
    for id in &promised {
        server.api.order(id).await;
    }
    for parent in parents.iter().map(|parent| text(&parent["parent_order_id"])) {
        assert_adds_up(&server.api.order(&parent).await, &server.api.slices(&parent).await);
    }
    assert_books_agree(&house, &server.api).await;
    server.stop().await;
    let verified = crate::house::Outcome::of(house.program().args(["db", "verify", "--json"])).json();
    assert_eq!(verified["findings"], json!([]), "{verified}");
    println!(
        "{kills} kills of PostgreSQL: none lost, none doubled; {} promises, {} parents",
        promised.len(),
        parents.len()
    );
}
