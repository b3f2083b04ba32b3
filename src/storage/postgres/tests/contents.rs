//! What others find in the database, and what we make of one that others have changed.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::ledger::{Books, Write};
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::position::Position;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{Store, StoreError};

use super::conforms::Base;
use crate::storage::conformance::fixtures::{claim, dec, parent, parent_now, single, start, submit, submit_parent};
use crate::storage::conformance::switching::{
    clear, garbled_switches_are_named_and_may_be_replaced, quarantine, with_a_stopped_part,
};
use crate::storage::conformance::{Desk, Place, account};
use crate::storage::postgres::PostgresSettings;
use crate::storage::postgres::save::save;
use crate::storage::registry::LEDGER;

async fn texts(connection: &mut PgConnection, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(connection).await.unwrap()
}

#[tokio::test]
async fn what_is_appended_can_not_be_changed() {
    let place = Base::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 1))).await.unwrap();
    let mut beside = place.beside().await;
    for sql in [
        "DELETE FROM order_events",
        "UPDATE order_events SET actor = 'nobody'",
        "TRUNCATE order_events",
        "DELETE FROM audit",
        "UPDATE audit SET caller = 'nobody'",
        "DELETE FROM switch_history",
        "UPDATE switch_history SET operator = 'nobody'",
        "DELETE FROM schema_attempts",
        "UPDATE schema_attempts SET success = false",
    ] {
        let error = sqlx::query(sql).execute(&mut beside).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn types_and_rows_are_what_others_expect() {
    let place = Base::new();
    let desk = Desk::at(&place).await;
    let differs =
        Write::PositionDiffers { symbol: Symbol::parse("AAPL").unwrap(), ours: dec("10"), theirs: dec("-0.5") };
    let writes = vec![submit_parent(parent("p", 2)), claim("p-0"), quarantine("AAPL", "b-1"), differs, clear("b-1")];
    desk.commit(writes).await.unwrap();
    let mut beside = place.beside().await;
    for (sql, expected) in [
        (
            "SELECT concat_ws('|', kind, status, strategy_id, qty, order_type, scheduled_time AT TIME ZONE 'UTC',
                unknown_qty, pending_qty, open_slices, request_hash) FROM orders JOIN parents USING (client_order_id)",
            "parent|working|alpha|20|market|2026-11-23 14:30:00.000001|10|10|2|p",
        ),
        (
            "SELECT concat_ws('|', kind, status, parent_order_id, slice_num, total_slices, attempt, at_venue, reduces,
                filled_qty) FROM orders WHERE client_order_id = 'p-1'",
            "child|pending_new|p|1|2|0|f|f|0",
        ),
        (
            "SELECT concat_ws('|', cause, kind, symbol, found, cleared_by, cleared_reason, cleared_at = since)
                FROM quarantine_causes",
            "b-1|orphan|AAPL|{\"seen\":\"twice\"}|Zoë|it was a drill|t",
        ),
        ("SELECT concat_ws('|', account, symbol, ours, theirs) FROM position_differences", "default|AAPL|10|-0.5"),
        (
            "SELECT string_agg(DISTINCT data_type, ',' ORDER BY data_type) FROM information_schema.columns
                WHERE table_schema = 'ledger' AND table_name = 'orders'",
            "bigint,boolean,numeric,text,timestamp with time zone",
        ),
        ("SELECT string_agg(DISTINCT success::text || length(checksum), ',') FROM schema_version", "true64"),
    ] {
        assert_eq!(texts(&mut beside, sql).await, [expected], "{sql}");
    }
    let names =
        texts(&mut beside, "SELECT relname::text FROM pg_class WHERE relnamespace = 'ledger'::regnamespace").await;
    for name in ["idx_orders_state_account", "idx_positions_updated", "idx_schema_version_applied"] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
}

#[tokio::test]
async fn decimals_are_exact_to_the_last_digit_and_times_to_the_microsecond() {
    let place = Base::new();
    let desk = Desk::at(&place).await;
    let numbers = [
        "79228162514264337593543950335",
        "7.9228162514264337593543950335",
        "0.0000000000000000000000000001",
        "12345678901234567.89",
        "1234.5000",
        "9999.9999",
        "10000.0001",
        "0",
    ];
    for (n, number) in (0_i64..).zip(numbers) {
        let (whole, slices) = parent(&format!("p{n}"), 1);
        let at = start() + chrono::TimeDelta::microseconds(n * 333_333);
        let whole = Parent { arrival_price: Some(dec(number)), created_at: at, ..whole };
        desk.write(submit_parent((whole.clone(), slices))).await.unwrap();
        let kept = parent_now(&*desk.store, &format!("p{n}")).await;
        assert_eq!((kept.arrival_price, kept.created_at), (whole.arrival_price, at));
    }
    let mut beside = place.beside().await;
    let kept = texts(&mut beside, "SELECT trim_scale(arrival_price)::text FROM parents ORDER BY client_order_id").await;
    assert_eq!(kept, numbers.map(|number| number.replace("1234.5000", "1234.5")));
}

#[tokio::test]
async fn a_position_is_written_over_no_other_version() {
    let place = Base::new();
    let desk = Desk::at(&place).await;
    let mut beside = place.beside().await;
    let mut written = BTreeSet::new();
    for (version, found) in [(2_u64, 0_u64), (1, 0), (1, 1), (3, 1), (2, 1), (2, 2)] {
        let key = (account(), Symbol::parse("AAPL").unwrap());
        let mut books = Books::new(Some(account()), start(), DayEnd::new_york());
        books.positions.insert(key.clone(), Position { version, ..Position::default() });
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
}

#[tokio::test]
async fn what_can_not_be_read_is_named_and_not_guessed() {
    let place = Base::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 1))).await.unwrap();
    let mut beside = place.beside().await;
    for (sql, named) in [
        ("UPDATE orders SET filled_qty = 'NaN'", "filled_qty"),
        ("UPDATE orders SET filled_qty = '0', status = 'lost'", "status holds \"lost\""),
        ("UPDATE orders SET status = 'pending_new', limit_price = '5'", "limit: Some"),
        ("UPDATE orders SET limit_price = NULL, attempt = -1", "attempt holds -1"),
    ] {
        sqlx::query(sql).execute(&mut beside).await.unwrap();
        for error in
            [desk.store.slices(&super::id("p")).await.unwrap_err(), desk.commit(vec![claim("p-0")]).await.unwrap_err()]
        {
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains(named), "{error}");
        }
    }
    sqlx::query("DELETE FROM switches WHERE switch = 'kill_switch'").execute(&mut beside).await.unwrap();
    let switches = desk.store.switches().await.unwrap();
    assert!(switches.kill.is_none() && switches.breaker.is_some(), "a switch without its row is not made up");
}

#[tokio::test]
async fn a_switch_whose_row_makes_no_sense_is_named_and_an_operator_may_replace_it() {
    let place = Base::new();
    let desk = with_a_stopped_part(&place).await;
    let mut beside = place.beside().await;
    for sql in [
        "UPDATE switches SET state = '{\"state\":\"AJAR\"}' WHERE switch IN ('halts', 'circuit_breaker')",
        "UPDATE switches SET state = '[]' WHERE switch = 'kill_switch'",
    ] {
        sqlx::query(sql).execute(&mut beside).await.unwrap();
    }
    garbled_switches_are_named_and_may_be_replaced(&desk).await;
}

#[tokio::test]
async fn a_store_that_is_newer_or_may_not_migrate_is_not_opened() {
    let place = Base::new();
    let shy = PostgresSettings { migrate_on_start: false, ..PostgresSettings::default() };
    let store = place.store_with(shy);
    let error = store.open().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unusable { detail } if detail.contains("tranche db migrate")), "{error}");
    let mut beside = place.beside().await;
    let schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname = 'ledger'";
    assert!(texts(&mut beside, schemas).await.is_empty(), "nothing was made");
    Desk::at(&place).await.store.close().await;
    store.open().await.unwrap();
    store.close().await;
    sqlx::query("UPDATE schema_version SET checksum = 'x'").execute(&mut beside).await.unwrap();
    let error = place.store().await.open().await.unwrap_err();
    assert!(error.to_string().contains("migration 1 has changed"), "{error}");
    sqlx::query("UPDATE schema_version SET version = version + 98").execute(&mut beside).await.unwrap();
    let error = place.store().await.open().await.unwrap_err();
    assert!(error.to_string().contains("newer than this program"), "{error}");
}

#[tokio::test]
async fn the_ledger_starts_with_open_switches_and_can_be_taken_back() {
    let place = Base::new();
    Desk::at(&place).await.store.close().await;
    let mut beside = place.beside().await;
    let states = texts(&mut beside, "SELECT state::text FROM switches ORDER BY switch DESC").await;
    assert_eq!(serde_json::from_str::<KillState>(&states[0]).unwrap(), KillState::default());
    assert_eq!(serde_json::from_str::<BreakerState>(&states[1]).unwrap(), BreakerState::default());
    for migration in LEDGER.postgres_migrations.iter().rev() {
        sqlx::raw_sql(migration.down).execute(&mut beside).await.unwrap();
    }
    let left = "SELECT relname::text FROM pg_class WHERE relnamespace = 'ledger'::regnamespace
        AND relname !~ 'schema_(version|attempts)'";
    assert_eq!(texts(&mut beside, left).await, Vec::<String>::new());
    let functions = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace";
    assert_eq!(texts(&mut beside, functions).await, ["schema_attempts_is_append_only"]);
}

#[tokio::test]
async fn a_single_order_and_what_it_left_unsaid_come_back() {
    let place = Base::new();
    let desk = Desk::at(&place).await;
    desk.write(submit(single("s", 1))).await.unwrap();
    let mut beside = place.beside().await;
    let nulls =
        "SELECT concat_ws('|', limit_price IS NULL, broker_order_id IS NULL, terminal_at IS NULL, slice_num IS NULL)
        FROM orders";
    assert_eq!(texts(&mut beside, nulls).await, ["t|t|t|t"]);
}
