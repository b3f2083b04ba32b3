//! A store that fails, says so in time, and heals: locked, full, interrupted, refusing a row.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sqlx::Connection;
use tranche_actors::domain::ledger::{Outcome, Write};
use tranche_actors::ports::store::{Store, StoreError};

use super::conforms::File;
use super::id;
use crate::storage::conformance::fixtures::{claim, kinds, parent, single, submit, submit_parent};
use crate::storage::conformance::{Desk, account, take};
use crate::storage::sqlite::{SqliteSettings, SqliteStore};

#[tokio::test]
async fn a_lock_of_somebody_else_is_waited_for_and_then_told() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    let mut beside = place.beside().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut beside).await.unwrap();
    let started = Instant::now();
    let error = desk.commit(vec![claim("p-0")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(started.elapsed() < File::BUSY * 4, "{:?}", started.elapsed());
    assert_eq!(desk.store.slices(&id("p")).await.unwrap().len(), 2, "reads go on");
    sqlx::query("ROLLBACK").execute(&mut beside).await.unwrap();
    desk.write(claim("p-0")).await.unwrap();
    assert_eq!(kinds(&*desk.store, "p-0").await, ["claimed"]);
}

#[tokio::test]
async fn a_row_that_the_store_refuses_takes_its_batch_with_it_and_nothing_else() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    let mut beside = place.beside().await;
    sqlx::raw_sql(
        "CREATE TRIGGER poison BEFORE INSERT ON orders WHEN new.client_order_id = 'bad'
        BEGIN SELECT raise(ABORT, 'poisoned'); END",
    )
    .execute(&mut beside)
    .await
    .unwrap();
    let writes = ["good", "bad", "fine"].map(|name| submit(single(name, 1)));
    let error = desk.commit(writes.to_vec()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Constraint { detail } if detail.contains("poisoned")), "{error}");
    assert_eq!(desk.store.order(&id("good")).await.unwrap(), None);
    for (write, passes) in writes.into_iter().zip([true, false, true]) {
        assert_eq!(desk.commit(vec![write]).await.is_ok(), passes);
    }
    let numbers = desk.store.events(&id("fine")).await.unwrap();
    assert_eq!(numbers[0].number, 2, "what was rolled back took no number");
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_any_more_harms_no_later_one() {
    let place = File::new();
    let desk = Arc::new(Desk::at(&place).await);
    for n in 0..40_u64 {
        let name = format!("s{n}");
        let batch = desk.batch(vec![submit(single(&name, 1))]);
        let interrupted = tokio::time::timeout(Duration::from_micros(n * 25), desk.store.commit(&batch)).await;
        let committed = desk.store.settle(&batch).await.unwrap();
        assert!(interrupted.is_err() || committed);
        assert_eq!(desk.store.order(&id(&name)).await.unwrap().is_some(), committed);
    }
    desk.write(submit(single("last", 1))).await.unwrap();
}

#[tokio::test]
async fn a_file_that_vanished_does_not_come_back_empty() {
    let place = File::new();
    let store = SqliteStore::new(place.lock().await, SqliteSettings::default());
    store.open().await.unwrap();
    take(&store, &account(), "test").await;
    std::fs::rename(place.path().join("ledger.db"), place.path().join("aside.db")).unwrap();
    let error = store.connect(false).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(!place.path().join("ledger.db").exists());
}

#[tokio::test]
async fn a_file_that_was_moved_away_takes_no_more_writes() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.write(submit(single("kept", 1))).await.unwrap();
    std::fs::rename(place.path().join("ledger.db"), place.path().join("aside.db")).unwrap();
    assert!(desk.commit(vec![submit(single("lost", 1))]).await.is_err());
    std::fs::rename(place.path().join("aside.db"), place.path().join("ledger.db")).unwrap();
    desk.write(submit(single("found", 1))).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_failed_is_read_back() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    let store = SqliteStore::new(place.lock().await, SqliteSettings::default());
    let batch = desk.batch(vec![submit(single("s", 1))]);
    let error = store.after_failed_commit(&batch, "cut".to_owned(), vec![]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let then = desk.store.commit(&batch).await.unwrap();
    let known = store.after_failed_commit(&batch, "cut".to_owned(), then.clone()).await.unwrap();
    assert_eq!(known, then);
    desk.store.close().await;
    std::fs::rename(place.path().join("ledger.db"), place.path().join("aside.db")).unwrap();
    let error = store.after_failed_commit(&batch, "cut".to_owned(), then.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown { then: kept, .. } if kept == then));
}

/// The limit holds for a whole process, so the test runs itself again in one of its own, which the signal of the limit
/// doesn't end.
#[test]
fn a_full_disk_is_told_and_heals() {
    const ALONE: &str = "TRANCHE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(fill_the_disk());
        return;
    }
    let name = format!("{}::a_full_disk_is_told_and_heals", module_path!().split_once("::").unwrap().1);
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

async fn fill_the_disk() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("before", 3))).await.unwrap();
    let log = std::fs::metadata(place.path().join("ledger.db-wal")).unwrap().len();
    let unlimited = getrlimit(Resource::Fsize);
    let full = Rlimit { current: Some(log + 10_000), ..unlimited };
    setrlimit(Resource::Fsize, full).unwrap();
    for _ in 0..3 {
        let started = Instant::now();
        let error = desk.commit(vec![submit_parent(parent("during", 300))]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
    assert_eq!(desk.store.slices(&id("before")).await.unwrap().len(), 3);
    setrlimit(Resource::Fsize, unlimited).unwrap();
    assert_eq!(desk.store.order(&id("during")).await.unwrap(), None);
    let applied = desk.write(submit_parent(parent("during", 300))).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Done);
    let events = desk.store.events(&id("during")).await.unwrap();
    assert_eq!(events[0].number, 2);
    let mut beside = place.beside().await;
    let check = sqlx::query_scalar::<_, String>("PRAGMA integrity_check").fetch_one(&mut beside).await.unwrap();
    assert_eq!(check, "ok");
    beside.close().await.unwrap();
    desk.write(Write::Probe).await.unwrap();
}
