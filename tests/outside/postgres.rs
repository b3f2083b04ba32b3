//! PostgreSQL under the built program: it is killed under load, again and again; nothing that was promised is lost, nothing
//! is sent twice, and trading stops and goes on by itself.

use std::time::Duration;

use tranche_servers::Server as Database;

use crate::chance::{Chance, number, seed};
use crate::crash::ground::{Broker, Ground, Promised, load};
use crate::house::{SOON, Server, eventually};

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
    let mut ground = Ground::new(Some(&database.database("tranche")), Broker::Paper, seed);
    ground.house.set("execution.misfire_grace_seconds", "60");
    ground.house.set("execution.single_grace_seconds", "60");
    let server = ground.house.serve().await;
    let promised = Promised::default();
    let (api, seen, mut of_load) = (server.api.clone(), Promised::clone(&promised), Chance(chance.next()));
    let loading = tokio::spawn(async move { load(&api, 0, &mut of_load, &seen).await });
    for kill in 0..kills {
        tokio::time::sleep(chance.millis(300, 2_000)).await;
        if kill % 3 == 2 {
            database = act(database, Database::kill_backends).await;
        } else {
            database = act(database, Database::kill).await;
            until_shut(&server).await;
            let before = ground.orders();
            tokio::time::sleep(chance.millis(0, 1_500)).await;
            assert_eq!(ground.orders(), before, "without a claim in the database nothing is sent");
            database = act(database, Database::start).await;
        }
        server.until_trading().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    loading.abort();
    let counted = ground.reckon(server, &promised).await;
    println!("{kills} kills of PostgreSQL: {counted}");
}
