//! The database goes back behind what was sent: restored from a dump, or taken over by a standby. What is under way waits for
//! a person, what was sent is found at the broker, and nothing is sent twice.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tranche_servers::{Database, Server as Postgres, dump, restore};

use super::double::Double;
use super::{AMPLE, QUICK};
use crate::house::{Api, House, Outcome, SOON, Server, eventually};
use crate::report::assert_adds_up;

const SLICES: usize = 10;

/// A gateway on this database, whose owner is soon followed by another one.
fn house(double: &Double, url: &str) -> House {
    let mut house = double.house(&QUICK);
    house.set("storage.url", url);
    house.set("lease.seconds", "2");
    house.set("lease.renew_seconds", "0.5");
    house.set("execution.misfire_grace_seconds", "60");
    house
}

async fn submit(api: &Api) {
    api.slice(json!({"symbol": "AAPL", "side": "buy", "qty": SLICES * 3, "duration_seconds": SLICES,
        "interval_seconds": 1, "order_type": "market", "client_order_id": "held"}))
        .await;
}

async fn until_filled(api: &Api, count: usize) {
    eventually("enough slices have traded", SOON, async || {
        let filled = api.slices("held").await.iter().filter(|slice| slice["status"] == "filled").count();
        (filled >= count).then_some(())
    })
    .await;
}

/// What was due meanwhile and never sent stays unknown for longer.
async fn until_held(server: &Server, double: &Double) -> Value {
    eventually("it is held, and what was sent is known", SOON, async || {
        let (held, slices) = (server.api.order("held").await, server.api.slices("held").await);
        let filled = slices.iter().filter(|slice| slice["status"] == "filled").count();
        (held["status"] == "paused" && filled == double.orders().len()).then_some(held)
    })
    .await
}

/// Resumed by the command line, it comes to its end, and both sides have the same books.
async fn resumed(house: &House, server: &Server, double: &Double) {
    let before = double.orders().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(double.orders().len(), before, "nothing is sent while it is held");
    let url = ["--url", server.api.base.as_str()];
    let shown = Outcome::of(house.program().args(["order", "show", "held"]).args(url)).ok();
    assert!(shown.starts_with("paused") && shown.contains("then resume the parent or cancel it"), "{shown}");
    let resume = || Outcome::of(house.program().args(["order", "resume", "held", "--json"]).args(url));
    let goes_on = resume().json();
    assert_eq!((&goes_on["status"], &goes_on["reason_code"]), (&json!("working"), &Value::Null), "{goes_on}");
    assert_eq!(resume().code, 3, "it is not paused any more");
    let ended = server.api.until_ended("held", SOON).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_adds_up(&ended, &server.api.slices("held").await);
    assert_eq!(double.orders().len(), SLICES);
    double.assert_books_agree(&server.api).await;
}

#[tokio::test]
async fn after_a_restore_from_a_dump_parents_wait_and_no_slice_is_lost_or_sent_twice() {
    let (double, database) = (Double::start(&AMPLE), Database::new());
    let house = house(&double, database.url());
    let server = house.serve().await;
    submit(&server.api).await;
    until_filled(&server.api, 2).await;
    let backup = dump(database.url());
    until_filled(&server.api, 5).await;
    server.kill();
    let sent = double.orders().len();
    restore(database.url(), &backup);
    let server = house.serve().await;
    let held = until_held(&server, &double).await;
    assert_eq!(held["reason_code"], "ledger_rewound", "{held}");
    assert!(held["error_message"].as_str().unwrap().contains("resume"), "{held}");
    assert_eq!(double.orders().len(), sent);
    assert!(sent >= 5, "{sent}");
    resumed(&house, &server, &double).await;
    // It was seen to: another start holds nothing.
    server.stop().await;
    let server = house.serve().await;
    assert_eq!(server.api.order("held").await["status"], "completed");
    submit_another(&server.api).await;
    server.stop().await;
    let server = house.serve().await;
    assert_eq!(server.api.order("after").await["status"], "working");
}

async fn submit_another(api: &Api) {
    api.slice(json!({"symbol": "AAPL", "side": "buy", "qty": 20, "duration_seconds": 20, "interval_seconds": 1,
        "order_type": "market", "client_order_id": "after"}))
        .await;
}

#[tokio::test]
async fn when_a_standby_takes_over_under_a_running_instance_the_account_is_recovered_with_its_parents_held() {
    let (double, mut database) = (Double::start(&AMPLE), Postgres::postgres());
    let house = house(&double, &database.database("tranche"));
    let server = house.serve().await;
    submit(&server.api).await;
    until_filled(&server.api, 2).await;
    let _database = tokio::task::spawn_blocking(move || {
        database.take_over();
        database
    })
    .await
    .unwrap();
    until_held(&server, &double).await;
    server.until_trading().await;
    resumed(&house, &server, &double).await;
}

#[tokio::test]
async fn a_folder_that_is_said_to_be_put_back_holds_its_parents_too() {
    let double = Double::start(&AMPLE);
    let mut house = double.house(&QUICK);
    house.set("execution.misfire_grace_seconds", "60");
    let server = house.serve().await;
    submit(&server.api).await;
    until_filled(&server.api, 2).await;
    server.kill();
    let (ledger, copy) = (house.file("ledger.db"), house.path().join("copy.db"));
    let put = |from: &Path, to: &Path| {
        for suffix in ["", "-wal"] {
            let end = |path: &Path| format!("{}{suffix}", path.display());
            std::fs::copy(end(from), end(to)).unwrap();
        }
        std::fs::remove_file(format!("{}-shm", to.display())).ok();
    };
    put(&ledger, &copy);
    let server = house.serve().await;
    until_filled(&server.api, 5).await;
    let said = || Outcome::of(house.program().args(["db", "restored"]));
    let busy = said();
    assert!(busy.code == 1 && busy.stderr.contains("another instance"), "{busy:?}");
    server.kill();
    put(&copy, &ledger);
    assert!(said().ok().contains("order resume"));
    let server = house.serve().await;
    let held = until_held(&server, &double).await;
    assert_eq!(held["reason_code"], "ledger_rewound", "{held}");
    resumed(&house, &server, &double).await;
}
