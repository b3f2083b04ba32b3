//! PostgreSQL and Redis over TLS: a server whose certificate is not trusted is no server.

use std::process::Command;

use serde_json::json;
use tranche_servers::{Server as Private, sql};

use crate::house::{Folder, House, SOON, Server, eventually};

async fn until_down(server: &Server, part: &str) -> String {
    eventually(&format!("{part} is down"), SOON, async || {
        let (_, status) = server.api.get("/readyz").await;
        let part = &status["parts"][part];
        (part["status"] == "down" && status["trading_allowed"] == false).then(|| part["detail"].to_string())
    })
    .await
}

/// Its own authorities of the system, or this one alone.
fn trusting(mut command: Command, authority: &Folder) -> Command {
    command.arg("serve").env("SSL_CERT_FILE", authority.path().join("ca.pem"));
    command
}

#[tokio::test]
async fn a_database_is_reached_by_tls_and_only_where_its_certificate_is_trusted() {
    let authority = Folder::new();
    let database = Private::postgres_by_tls(authority.path());
    let url = database.database("tranche");
    let mut house = House::new(&[]);
    house.set("storage.url", &format!("{url}?sslmode=verify-full"));
    let server = house.listen();
    let detail = until_down(&server, "store").await;
    assert!(detail.contains("certificate"), "{detail}");
    drop(server);

    house.set("storage.url", &format!("{url}?sslmode=disable"));
    let mut server = house.listen();
    assert!(!server.ended(SOON).await.success());
    assert!(server.log().contains("no encryption"), "{}", server.log());

    let ca = authority.path().join("ca.pem");
    house.set("storage.url", &format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display()));
    let server = house.serve().await;
    let order = json!({"symbol": "AAPL", "side": "buy", "qty": 1, "order_type": "market", "client_order_id": "one"});
    assert_eq!(server.api.post("/api/v1/orders", &order).await.0, 201);
    eventually("it is filled", SOON, async || (server.api.order("one").await["status"] == "filled").then_some(()))
        .await;
    let plain = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl
        JOIN pg_stat_activity USING (pid) WHERE datname = 'tranche'";
    let counts = sql(&url, plain);
    let (by_tls, plain) = counts.trim().split_once('|').unwrap();
    assert!(by_tls.parse::<u32>().unwrap() > 1 && plain == "0", "{counts}");
}

#[tokio::test]
async fn redis_is_reached_by_tls_and_only_where_its_certificate_is_trusted() {
    let (authority, another) = (Folder::new(), Folder::new());
    let redis = Private::redis_by_tls(authority.path());
    drop(Private::redis_by_tls(another.path()));
    let house = House::new(&[("redis.url", redis.url())]);
    let server = Server::start(trusting(house.program(), &another));
    server.until_ready().await;
    let detail = until_down(&server, "redis").await;
    assert!(!detail.is_empty(), "{detail}");
    drop(server);

    let server = Server::start(trusting(house.program(), &authority));
    server.until_trading().await;
    let engaged = server.api.engage("halt").await;
    assert_eq!(engaged["not_durable"], json!([]), "it stands in Redis too");
}
