//! What others find in the file, and what we make of a file that others have changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Row};
use tranche_actors::domain::ledger::{Books, Write};
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::portfolio::Direction;
use tranche_actors::domain::position::Position;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{Store, StoreError};

use super::conforms::File;
use super::folder;
use crate::storage::conformance::capital::moves;
use crate::storage::conformance::fixtures::{
    claim, claim_single, dec, order, parent, parent_now, single, start, submit, submit_parent,
};
use crate::storage::conformance::switching::{
    clear, garbled_switches_are_named_and_may_be_replaced, kill, quarantine, with_a_stopped_part,
};
use crate::storage::conformance::{Desk, Place, account, take};
use crate::storage::lock::DataLock;
use crate::storage::registry::LEDGER;
use crate::storage::sqlite::save::save;
use crate::storage::sqlite::{SqliteSettings, SqliteStore};

async fn texts(connection: &mut SqliteConnection, sql: &'static str) -> Vec<String> {
    let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.try_get_unchecked(0).unwrap()).collect()
}

#[tokio::test]
async fn what_is_appended_can_not_be_changed() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 1))).await.unwrap();
    desk.write(moves(Direction::Deposit, "1", None)).await.unwrap();
    let mut beside = place.beside().await;
    sqlx::query("INSERT INTO switch_history (switch, event, timestamp, operator) VALUES ('a', 'b', 'c', 'd')")
        .execute(&mut beside)
        .await
        .unwrap();
    let audited = "INSERT INTO audit (at, caller, action, subject) VALUES ('a', 'b', 'c', 'd')";
    sqlx::query(audited).execute(&mut beside).await.unwrap();
    for sql in [
        "DELETE FROM order_events",
        "UPDATE order_events SET actor = 'nobody'",
        "DELETE FROM audit",
        "UPDATE audit SET caller = 'nobody'",
        "DELETE FROM switch_history",
        "UPDATE switch_history SET operator = 'nobody'",
        "DELETE FROM capital_transactions",
        "UPDATE capital_transactions SET amount = '0'",
    ] {
        let error = sqlx::query(sql).execute(&mut beside).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_parents_two_rows_change_together() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    desk.write(claim("p-0")).await.unwrap();
    let mut beside = place.beside().await;
    let row = texts(
        &mut beside,
        "SELECT concat_ws('|', kind, status, strategy_id, qty, order_type, scheduled_time, unknown_qty, pending_qty,
            open_slices, request_hash) FROM orders JOIN parents USING (client_order_id)",
    )
    .await;
    assert_eq!(row, ["parent|working|alpha|20|market|2026-11-23T14:30:00.000001Z|10|10|2|p"]);
    let child = "SELECT concat_ws('|', kind, status, parent_order_id, slice_num, total_slices, attempt, at_venue,
        reduces, filled_qty) FROM orders WHERE client_order_id = 'p-1'";
    assert_eq!(texts(&mut beside, child).await, ["child|pending_new|p|1|2|0|0|0|0"]);
}

#[tokio::test]
async fn what_is_written_beside_the_orders_is_kept() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    let symbol = Symbol::parse("AAPL").unwrap();
    let differs = Write::PositionDiffers { symbol, ours: dec("10"), theirs: dec("-0.5") };
    let writes = vec![submit(single("s", 1)), quarantine("AAPL", "b-1"), differs, clear("b-1")];
    desk.commit(writes).await.unwrap();
    desk.store.commit(&desk.global(vec![kill(0), kill(1)])).await.unwrap();
    desk.commit(vec![claim_single("s")]).await.unwrap();
    let mut beside = place.beside().await;
    for (sql, expected) in [
        (
            "SELECT concat_ws('|', account, cause, kind, symbol, broker_order_id, found, cleared_by, cleared_reason,
                cleared_caller, cleared_at = since) FROM quarantine_causes",
            "default|b-1|orphan|AAPL|b-1|{\"seen\":\"twice\"}|Zoë|it was a drill|local|1",
        ),
        (
            "SELECT concat_ws('|', event, actor, data ->> 'operator', data ->> 'reason', data ->> 'released')
                FROM order_events WHERE event = 'quarantine_cleared'",
            "quarantine_cleared|local|Zoë|it was a drill|1",
        ),
        ("SELECT concat_ws('|', account, symbol, ours, theirs) FROM position_differences", "default|AAPL|10|-0.5"),
        ("SELECT group_concat(number) FROM order_events WHERE account = 'default'", "1,2,3,4,5"),
        ("SELECT group_concat(number) FROM order_events WHERE account = ''", "1,2"),
    ] {
        assert_eq!(texts(&mut beside, sql).await, [expected], "{sql}");
    }
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_answered() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 20))).await.unwrap();
    desk.write(claim("p-7")).await.unwrap();
    let elsewhere = folder();
    for file in ["ledger.db", "ledger.db-wal"] {
        std::fs::copy(place.path().join(file), elsewhere.path().join(file)).unwrap();
    }
    let lock = Arc::new(DataLock::take(elsewhere.path()).unwrap());
    let after = SqliteStore::new(lock, SqliteSettings::default());
    after.open().await.unwrap();
    assert_eq!(order(&after, "p-7").await, order(&*desk.store, "p-7").await);
    assert_eq!(parent_now(&after, "p").await, parent_now(&*desk.store, "p").await);
    assert_eq!(take(&after, &account(), "after").await.term, desk.owner.term + 1);
}

#[tokio::test]
async fn a_clean_end_leaves_one_file() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 1))).await.unwrap();
    assert!(place.path().join("ledger.db-wal").exists());
    desk.store.close().await;
    assert!(!place.path().join("ledger.db-wal").exists());
}

#[tokio::test]
async fn a_position_is_written_over_no_other_version() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    let mut beside = place.beside().await;
    let mut written = BTreeSet::new();
    for (version, found) in [(2_u64, 0_u64), (1, 0), (1, 1), (3, 1), (2, 1), (2, 2)] {
        let key = (account(), Symbol::parse("AAPL").unwrap());
        let mut books = Books::new(Some(account()), start(), DayEnd::new_york());
        let position = Position { version, ..Position::default() };
        books.positions.insert(key.clone(), position);
        books.changes.positions.insert(key);
        let result = save(&mut beside, &books, &desk.batch(vec![]), "default").await;
        if version == found + 1 {
            result.unwrap();
            written.insert(version);
        } else {
            let expected = format!("the position of AAPL is at version {found}, not {}", version - 1);
            assert!(result.unwrap_err().to_string().contains(&expected));
        }
    }
    assert_eq!(written, BTreeSet::from([1, 2]));
    assert_eq!(texts(&mut beside, "SELECT version FROM portfolio_positions").await, ["2"]);
}

#[tokio::test]
async fn a_switch_without_its_row_is_not_made_up() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    let mut beside = place.beside().await;
    texts(&mut beside, "DELETE FROM switches WHERE switch = 'kill_switch'").await;
    let desk = desk.again(&place).await;
    let switches = desk.store.switches().await.unwrap();
    assert!(switches.kill.is_none() && switches.breaker.is_some());
}

#[tokio::test]
async fn a_switch_whose_row_makes_no_sense_is_named_and_an_operator_may_replace_it() {
    let place = File::new();
    let desk = with_a_stopped_part(&place).await;
    let mut beside = place.beside().await;
    texts(
        &mut beside,
        "UPDATE switches SET state = '{\"state\":\"AJAR\"}' WHERE switch IN ('halts', 'circuit_breaker')",
    )
    .await;
    texts(&mut beside, "UPDATE switches SET state = '[]' WHERE switch = 'kill_switch'").await;
    garbled_switches_are_named_and_may_be_replaced(&desk).await;
}

#[tokio::test]
async fn what_can_not_be_read_is_named_and_not_guessed() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 1))).await.unwrap();
    let mut beside = place.beside().await;
    for (sql, named) in [
        ("UPDATE orders SET filled_qty = '1e3'", "filled_qty holds \"1e3\""),
        ("UPDATE orders SET filled_qty = '0', status = 'lost'", "status holds \"lost\""),
        ("UPDATE orders SET status = 'pending_new', limit_price = '5'", "limit: Some"),
        ("UPDATE orders SET limit_price = NULL, attempt = -1", "attempt holds -1"),
    ] {
        texts(&mut beside, sql).await;
        let error = desk.store.slices(&super::id("p")).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
        let error = desk.commit(vec![claim("p-0")]).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_is_newer_or_may_not_migrate_is_not_opened() {
    let place = File::new();
    let shy = SqliteSettings { migrate_on_start: false, ..SqliteSettings::default() };
    let store = SqliteStore::new(place.lock().await, shy);
    let error = store.open().await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    Desk::at(&place).await.store.close().await;
    store.open().await.unwrap();
    store.close().await;
    let mut beside = place.beside().await;
    texts(&mut beside, "UPDATE schema_version SET version = version + 98").await;
    let error = place.store().await.open().await.unwrap_err();
    assert!(error.to_string().contains("newer than this program"), "{error}");
}

#[tokio::test]
async fn the_tables_and_indexes_that_others_know_are_there() {
    let place = File::new();
    Desk::at(&place).await;
    let mut beside = place.beside().await;
    let names = texts(&mut beside, "SELECT name FROM sqlite_schema").await;
    for name in [
        "idx_orders_state_account",
        "idx_positions_updated",
        "idx_schema_version_applied",
        "portfolio_positions",
        "schema_version",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
    let loose = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND strict = 0 AND name NOT LIKE 'sqlite_%'";
    assert_eq!(texts(&mut beside, loose).await, Vec::<String>::new());
    assert_eq!(LEDGER.sqlite_migrations.len(), texts(&mut beside, "SELECT version FROM schema_version").await.len());
}

/// What grows; `p` is how a statement calls the positions.
const TABLES: &[&str] =
    &["orders", "parents", "order_events", "executions", "portfolio_positions", "p", "switch_history"];

/// A statement that looks through a whole table is fast in every test, and slow in the second year.
#[tokio::test]
async fn no_statement_of_a_batch_looks_through_a_table() {
    let place = File::new();
    Desk::at(&place).await;
    let mut beside = place.beside().await;
    for sql in crate::storage::sqlite::load::ALL
        .iter()
        .chain(&crate::storage::sqlite::save::sql::all())
        .chain(crate::storage::sqlite::reads::ALL)
    {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let plan = plan.fetch_all(&mut beside).await.unwrap();
        for row in plan {
            let step: String = row.try_get("detail").unwrap();
            let scans = TABLES.iter().any(|table| {
                let rest = step.strip_prefix("SCAN ").and_then(|rest| rest.strip_prefix(table));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) && !step.ends_with(" idx_orders_open")
            });
            assert!(!scans, "{step}: {sql}");
        }
    }
    beside.close().await.unwrap();
}

/// Rows as an earlier schema kept them, on their way to this one and back.
#[tokio::test]
async fn orders_keep_their_rows_and_places_when_their_table_is_made_anew() {
    let place = File::new();
    let desk = Desk::at(&place).await;
    desk.commit(vec![submit(single("s", 1)), submit_parent(parent("p", 2)), claim("p-0")]).await.unwrap();
    let before = desk.store.slices(&super::id("p")).await.unwrap();
    desk.store.close().await;
    let mut beside = place.beside().await;
    sqlx::query("UPDATE orders SET rowid = rowid + 1000 WHERE kind = 'single'").execute(&mut beside).await.unwrap();
    let rows =
        "SELECT rowid || '|' || client_order_id || '|' || status || '|' || created_at FROM orders ORDER BY rowid";
    let (known, whole) = (texts(&mut beside, rows).await, LEDGER.sqlite_migrations);
    for script in whole[1..].iter().rev().map(|migration| migration.down) {
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut beside).await.unwrap();
    }
    let of_orders = "SELECT name FROM pragma_table_info('orders') WHERE name = 'chain'";
    assert!(texts(&mut beside, of_orders).await.is_empty());
    assert_eq!(texts(&mut beside, rows).await, known);
    sqlx::query("DELETE FROM schema_version WHERE version > 1").execute(&mut beside).await.unwrap();
    beside.close().await.unwrap();

    let desk = Desk::at(&place).await;
    let mut beside = place.beside().await;
    assert_eq!(texts(&mut beside, rows).await, known);
    assert_eq!(texts(&mut beside, "PRAGMA foreign_key_check").await, Vec::<String>::new());
    let references = "SELECT \"table\" FROM pragma_foreign_key_list('parents')";
    assert_eq!(texts(&mut beside, references).await, ["orders"]);
    assert_eq!(desk.store.slices(&super::id("p")).await.unwrap(), before);
    assert_eq!(parent_now(&*desk.store, "p").await.total_slices, 2);
}
