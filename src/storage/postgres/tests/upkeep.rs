//! `tranche db` on a database: what it finds, and that it finds nothing where nothing is wrong.

use tranche_actors::ports::store::Store;

use super::conforms::Base;
use crate::storage::conformance::fixtures::{claim, parent, single, submit, submit_parent};
use crate::storage::conformance::{Desk, Place};
use crate::storage::postgres::PostgresSettings;
use crate::storage::postgres::upkeep::{status, verify};
use crate::storage::registry::LEDGER;

#[tokio::test]
async fn a_sound_database_has_no_findings_and_whatever_is_wrong_is_named() {
    let base = Base::new();
    let known = LEDGER.postgres_migrations.len();
    let empty = status(&base.options()).await.unwrap();
    assert_eq!((empty.version, empty.findings.len()), (0, known), "{empty:?}");
    assert_eq!(verify(&base.options()).await.unwrap().len(), known);
    let desk = Desk::at(&base).await;
    desk.commit(vec![submit_parent(parent("p", 3)), submit(single("s", 1)), claim("p-0")]).await.unwrap();
    let sound = status(&base.options()).await.unwrap();
    assert_eq!((sound.version, sound.known, sound.findings.len()), (sound.known, sound.known, 0), "{sound:?}");
    assert!(sound.bytes > 0);
    assert_eq!(verify(&base.options()).await.unwrap(), Vec::<String>::new());
    let mut beside = base.beside().await;
    for (wrong, right, named) in [
        (
            "UPDATE accounts SET next_event = 9 WHERE account = 'default'",
            "UPDATE accounts SET next_event = 4 WHERE account = 'default'",
            "have gaps",
        ),
        ("UPDATE parents SET pending_qty = 21", "UPDATE parents SET pending_qty = 20", "do not add up"),
        (
            "UPDATE orders SET qty = 11 WHERE client_order_id = 'p-1'",
            "UPDATE orders SET qty = 10 WHERE client_order_id = 'p-1'",
            "its slices are 31",
        ),
        (
            "UPDATE orders SET filled_qty = 1 WHERE client_order_id = 'p-1'",
            "UPDATE orders SET filled_qty = 0 WHERE client_order_id = 'p-1'",
            "its slices have 1",
        ),
        (
            "UPDATE orders SET parent_order_id = 'q' WHERE client_order_id = 'p-1'",
            "UPDATE orders SET parent_order_id = 'p' WHERE client_order_id = 'p-1'",
            "a slice without its parent",
        ),
        (
            "UPDATE orders SET status = 'lost' WHERE client_order_id = 's'",
            "UPDATE orders SET status = 'pending_new' WHERE client_order_id = 's'",
            "lost",
        ),
        (
            "DROP INDEX idx_orders_open",
            "CREATE INDEX idx_orders_open ON orders (status, scheduled_time) WHERE terminal_at IS NULL",
            "idx_orders_open",
        ),
        (
            "ALTER TABLE orders ALTER qty TYPE TEXT",
            "ALTER TABLE orders ALTER qty TYPE NUMERIC USING qty::numeric",
            "orders.qty",
        ),
        (
            "DROP TRIGGER order_events_never_changes ON order_events",
            "CREATE TRIGGER order_events_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON order_events FOR EACH STATEMENT EXECUTE FUNCTION is_append_only()",
            "order_events_never_changes",
        ),
    ] {
        sqlx::query(wrong).execute(&mut beside).await.unwrap();
        let findings = verify(&base.options()).await.unwrap();
        assert!(findings.iter().any(|finding| finding.contains(named)), "{wrong}: {findings:?}");
        sqlx::query(right).execute(&mut beside).await.unwrap();
        assert_eq!(verify(&base.options()).await.unwrap(), Vec::<String>::new(), "{right}");
    }
    sqlx::query("UPDATE schema_version SET checksum = 'x'").execute(&mut beside).await.unwrap();
    assert!(status(&base.options()).await.unwrap().findings[0].contains("has changed"));
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_old_schema_and_a_record_and_runs_once_it_is_mended() {
    let base = Base::new();
    let mut beside = base.beside().await;
    sqlx::raw_sql("CREATE SCHEMA ledger; CREATE TABLE ledger.orders ()").execute(&mut beside).await.unwrap();
    let store = base.store_with(PostgresSettings::default());
    let error = store.open().await.unwrap_err();
    assert!(error.to_string().contains("failed and was rolled back"), "{error}");
    let tables = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'ledger' AND tablename = 'accounts'",
    );
    assert_eq!(tables.fetch_one(&mut beside).await.unwrap(), 0);
    sqlx::raw_sql("DROP TABLE ledger.orders").execute(&mut beside).await.unwrap();
    base.store().await.open().await.unwrap();
    let attempts = "SELECT string_agg(success::text, ',' ORDER BY id) FROM schema_attempts";
    let attempts = sqlx::query_scalar::<_, String>(attempts).fetch_one(&mut beside).await.unwrap();
    assert_eq!(attempts, format!("false{}", ",true".repeat(LEDGER.postgres_migrations.len())));
}
