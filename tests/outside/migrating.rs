//! `tranche db migrate` on a ledger that an older program left.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::house::{House, Outcome};

async fn open(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

async fn version(file: &Path) -> i64 {
    let mut ledger = open(file).await;
    let version = sqlx::query_scalar("SELECT max(version) FROM schema_version").fetch_one(&mut ledger).await.unwrap();
    ledger.close().await.unwrap();
    version
}

/// Takes the last migration back, by the script that it left for that.
async fn take_one_back(file: &Path) {
    let mut ledger = open(file).await;
    let script = "SELECT rollback_script FROM schema_version ORDER BY version DESC LIMIT 1";
    let script = sqlx::query_scalar::<_, String>(script).fetch_one(&mut ledger).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut ledger).await.unwrap();
    let forget = "DELETE FROM schema_version WHERE version = (SELECT max(version) FROM schema_version)";
    sqlx::raw_sql(forget).execute(&mut ledger).await.unwrap();
    ledger.close().await.unwrap();
}

fn migrate(house: &House, more: &[&str]) -> Outcome {
    Outcome::of(house.program().args(["db", "migrate", "--json"]).args(more))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
    names.sort();
    names
}

#[tokio::test]
async fn a_migration_is_tried_on_a_copy_backed_up_and_checked() {
    let house = House::new(&[("storage.migrate_on_start", "false")]);
    let data = house.path().join("data");
    let new = migrate(&house, &[]).json();
    assert_eq!(new["findings"], json!([]), "{new}");
    assert!(!data.join("backups").exists(), "of nothing there is no backup: {new}");

    let server = house.serve().await;
    let order = json!({"symbol": "AAPL", "side": "buy", "qty": 1, "order_type": "market", "client_order_id": "kept"});
    assert_eq!(server.api.post("/api/v1/orders", &order).await.0, 201);
    let held = migrate(&house, &[]);
    assert_eq!(held.code, 1, "a server works there: {held:?}");
    assert!(held.stderr.contains("another instance"), "{held:?}");
    server.stop().await;

    let ledger = house.file("ledger.db");
    let newest = version(&ledger).await;
    take_one_back(&ledger).await;
    let before = names(&data);
    let tried = migrate(&house, &["--dry-run"]).json();
    assert_eq!(tried["findings"], json!([]), "{tried}");
    assert!(tried["done"][0].as_str().unwrap().starts_with("a copy of ledger"), "{tried}");
    assert_eq!((version(&ledger).await, names(&data)), (newest - 1, before), "all is as it was");

    let done = migrate(&house, &[]).json();
    assert_eq!(done["findings"], json!([]), "{done}");
    let [backup] = &names(&data.join("backups"))[..] else { panic!("one backup: {done}") };
    assert!(done["done"].to_string().contains(backup.as_str()), "{done}");
    let backup = data.join("backups").join(backup);
    assert_eq!((version(&ledger).await, version(&backup).await), (newest, newest - 1));
    let kept = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM orders WHERE client_order_id = 'kept'");
    assert_eq!(kept.fetch_one(&mut open(&backup).await).await.unwrap(), 1);
    assert_eq!(house.serve().await.api.order("kept").await["client_order_id"], Value::from("kept"));

    // What does not hold on the copy does not touch the ledger.
    take_one_back(&ledger).await;
    sqlx::raw_sql("DROP TABLE executions").execute(&mut open(&ledger).await).await.unwrap();
    let found = migrate(&house, &["--dry-run"]);
    assert_eq!(found.code, 1);
    assert!(found.stdout.contains("executions"), "{found:?}");
    assert_eq!(version(&ledger).await, newest - 1);
}
