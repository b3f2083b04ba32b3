//! A store that can't be written: entries are refused with the reason, the gate is shut, and it heals by itself.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::house::{House, PROGRAM, SOON, Server, eventually};
use crate::report::{assert_adds_up, assert_books_agree};

/// Somebody else's transaction over the ledger.
pub(crate) struct Holder(SqliteConnection);

impl Holder {
    pub(crate) async fn lock(house: &House) -> Self {
        let options =
            SqliteConnectOptions::new().filename(house.file("ledger.db")).busy_timeout(Duration::from_secs(10));
        let mut connection = options.connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        Self(connection)
    }

    pub(crate) async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

fn single(id: &str) -> Value {
    json!({"symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "market", "client_order_id": id})
}

/// Sends orders until one is refused because of the store; gives back the ids that were promised.
async fn until_refused(server: &Server, prefix: &str) -> Vec<String> {
    let mut promised = Vec::new();
    for number in 0..2_000 {
        let id = format!("{prefix}{number}");
        let (status, answer) = server.api.post("/api/v1/orders", &single(&id)).await;
        match status {
            201 => promised.push(id),
            _ => {
                assert_eq!((status, &answer["code"]), (503, &json!("store_unavailable")), "{answer}");
                assert!(!answer["detail"].as_str().unwrap().is_empty());
                return promised;
            }
        }
    }
    panic!("2000 orders were taken by a store that can't be written");
}

/// While the store is down: it says so, it refuses, and reads work.
async fn assert_down(server: &Server) {
    let (status, ready) = eventually("the store counts as down", SOON, async || {
        let (status, ready) = server.api.get("/readyz").await;
        (ready["parts"]["store"]["status"] == "down").then_some((status, ready))
    })
    .await;
    assert_eq!(status, 200, "a stopped system is reached: {ready}");
    assert_eq!((&ready["gate"], &ready["trading_allowed"]), (&json!("shut"), &json!(false)));
    assert!(ready["reasons"].as_array().unwrap().iter().any(|one| one["code"] == "store_unavailable"), "{ready}");
    for (path, body) in [
        ("/api/v1/orders", single("refused")),
        (
            "/api/v1/orders/slice",
            json!({"symbol": "AAPL", "side": "buy", "qty": "10", "order_type": "market", "duration_seconds": 2, "interval_seconds": 1}),
        ),
    ] {
        let (status, answer) = server.api.post(path, &body).await;
        assert_eq!((status, &answer["code"]), (503, &json!("store_unavailable")), "{answer}");
    }
    assert_eq!(server.api.get("/api/v1/orders").await.0, 200, "reads work");
    assert_eq!(server.api.get("/livez").await.0, 200);
}

async fn assert_healed(house: &House, server: &Server, promised: &[String]) {
    server.until_trading().await;
    let (status, order) = server.api.post("/api/v1/orders", &single("healed")).await;
    assert_eq!(status, 201, "{order}");
    let ended = server.api.until_ended("p", SOON * 2).await;
    assert_adds_up(&ended, &server.api.slices("p").await);
    eventually("every order has ended", SOON, async || {
        let orders = server.api.all("/api/v1/orders").await;
        orders.iter().all(|order| !order["terminal_at"].is_null()).then_some(())
    })
    .await;
    for id in promised {
        server.api.order(id).await;
    }
    assert_books_agree(house, &server.api).await;
    let ids = house.book().ids();
    assert!(!ids.contains("refused"), "what was refused was not sent");
}

fn parent() -> Value {
    json!({
        "symbol": "AAPL", "side": "buy", "qty": "100", "order_type": "market",
        "duration_seconds": 10, "interval_seconds": 1, "client_order_id": "p",
    })
}

#[tokio::test]
async fn a_ledger_locked_by_another_process_stops_trading_and_heals_when_it_is_let_go() {
    let house = House::new(&[("execution.single_grace_seconds", "30")]);
    let server = house.serve().await;
    server.api.slice(parent()).await;
    eventually("a slice is at the broker", SOON, async || (!house.book().orders.is_empty()).then_some(())).await;
    let holder = Holder::lock(&house).await;
    let promised = until_refused(&server, "l").await;
    assert!(promised.is_empty(), "nothing can be promised while nothing can be written: {promised:?}");
    assert_down(&server).await;
    let before = house.book().orders.len();
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!(house.book().orders.len(), before, "without a claim on the disk nothing is sent");
    holder.release().await;
    assert_healed(&house, &server, &promised).await;
}

#[tokio::test]
async fn a_full_disk_stops_trading_and_heals_when_there_is_room_again() {
    let house = House::new(&[("execution.single_grace_seconds", "30")]);
    let server = house.serve().await;
    let fsize = |limit: Option<u64>| {
        let rlimit = Rlimit { current: limit, maximum: None };
        prlimit(Some(server.pid()), Resource::Fsize, rlimit).unwrap();
    };
    server.api.slice(parent()).await;
    eventually("a slice is at the broker", SOON, async || (!house.book().orders.is_empty()).then_some(())).await;
    // No file may grow beyond what the ledger's log has already.
    let log = std::fs::metadata(house.file("ledger.db-wal")).unwrap().len();
    fsize(Some(log));
    let promised = until_refused(&server, "f").await;
    assert_down(&server).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_down(&server).await;
    fsize(None);
    assert_healed(&house, &server, &promised).await;
    server.stop().await;
    let server = house.serve().await;
    for id in &promised {
        server.api.order(id).await;
    }
}

#[tokio::test]
async fn a_limit_of_the_shell_on_file_sizes_is_a_full_disk_and_not_the_end_of_the_program() {
    let house = House::new(&[("execution.single_grace_seconds", "30")]);
    house.serve().await.stop().await;
    let mut command = Command::new("bash");
    house.settle_in(&mut command);
    // In units of 1,024 bytes: enough to start, and for a few orders.
    command.args(["-c", "ulimit -S -f 300; exec \"$0\" serve", PROGRAM]);
    let server = Server::start(command);
    server.until_trading().await;
    server.api.slice(parent()).await;
    let promised = until_refused(&server, "u").await;
    assert!(!promised.is_empty());
    assert_down(&server).await;
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(Some(server.pid()), Resource::Fsize, unlimited).unwrap();
    assert_healed(&house, &server, &promised).await;
    server.stop().await;
}
