//! What a batch has changed, saved by sets: one statement per table, whatever the number of rows.
//!
//! The rows of a statement come as one JSON array, unpacked once into binary JSON: without `MATERIALIZED` SQLite would
//! parse the row again for each of its columns.

use serde::Serialize;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::ledger::{Books, CIRCUIT_BREAKER, KILL_SWITCH};
use tranche_actors::domain::names::{BrokerOrderId, OrderId};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::ports::store::{Batch, PositionConflict, StoreError};

use super::cells;
use super::faults::classify;
use super::rows::{
    EventRow, ExecutionRow, OrderRow, ParentRow, PositionRow, ProgressRow, StateRow, SwitchEntryRow, json, time,
};

/// `INSERT` of a JSON array's objects, whose fields are named like the columns.
macro_rules! insert {
    ($table:literal, $first:literal $(, $column:literal)* $(,)?) => {
        concat!(
            "WITH r (v) AS MATERIALIZED (SELECT value FROM jsonb_each(?1)) INSERT INTO ", $table,
            " (", $first, $(", ", $column,)* ") SELECT v ->> '", $first, "'", $(", v ->> '", $column, "'",)* " FROM r"
        )
    };
}

/// `UPDATE` of the rows that a JSON array's objects name by their client order id.
macro_rules! update {
    ($table:literal, $first:literal $(, $column:literal)* $(,)?) => {
        concat!(
            "WITH r (v) AS MATERIALIZED (SELECT value FROM jsonb_each(?1)) UPDATE ", $table,
            " SET ", $first, " = v ->> '", $first, "'", $(", ", $column, " = v ->> '", $column, "'",)*
            " FROM r WHERE client_order_id = v ->> 'client_order_id'"
        )
    };
}

const INSERT_ORDERS: &str = insert!(
    "orders",
    "client_order_id",
    "kind",
    "strategy_id",
    "account",
    "symbol",
    "side",
    "qty",
    "order_type",
    "limit_price",
    "stop_price",
    "time_in_force",
    "extended_hours",
    "status",
    "venue_status",
    "broker_order_id",
    "parent_order_id",
    "plan_version",
    "slice_num",
    "total_slices",
    "scheduled_time",
    "attempt",
    "tries",
    "claimed_at",
    "absent_at",
    "cancel_requested_at",
    "at_venue",
    "filled_qty",
    "filled_cost",
    "filled_avg_price",
    "reason_code",
    "error_message",
    "caller",
    "idempotency_key",
    "request_hash",
    "created_at",
    "updated_at",
    "submitted_at",
    "terminal_at",
);

const UPDATE_ORDERS: &str = update!(
    "orders",
    "status",
    "venue_status",
    "broker_order_id",
    "plan_version",
    "attempt",
    "tries",
    "claimed_at",
    "absent_at",
    "cancel_requested_at",
    "at_venue",
    "filled_qty",
    "filled_cost",
    "filled_avg_price",
    "reason_code",
    "error_message",
    "updated_at",
    "submitted_at",
    "terminal_at",
);

const INSERT_PARENTS: &str = insert!(
    "parents",
    "client_order_id",
    "schedule",
    "interval_seconds",
    "start_at",
    "end_at",
    "trade_date",
    "catch_up",
    "completion",
    "working_qty",
    "unknown_qty",
    "pending_qty",
    "unexecuted_qty",
    "open_slices",
    "rejected_slices",
    "failed_slices",
    "arrival_price",
    "benchmark_area",
    "benchmark_seconds",
    "warnings",
);

const UPDATE_PARENTS: &str = update!(
    "parents",
    "working_qty",
    "unknown_qty",
    "pending_qty",
    "unexecuted_qty",
    "open_slices",
    "rejected_slices",
    "failed_slices",
    "benchmark_area",
    "benchmark_seconds",
);

const INSERT_EXECUTIONS: &str = insert!(
    "executions",
    "broker_order_id",
    "cum_qty",
    "client_order_id",
    "execution_id",
    "account",
    "symbol",
    "side",
    "qty",
    "price",
    "fee",
    "at",
);

const INSERT_SWITCH_ENTRIES: &str = insert!(
    "switch_history",
    "switch",
    "event",
    "timestamp",
    "operator",
    "reason",
    "details",
);

/// `?2` is the account, `?3` the number of the first event, `?4` the time.
const INSERT_EVENTS: &str = "
WITH r (k, v) AS MATERIALIZED (SELECT key, value FROM jsonb_each(?1))
INSERT INTO order_events (account, number, client_order_id, event, old_status, new_status, data, actor, at)
SELECT ?2, ?3 + k, v ->> 'client_order_id', v ->> 'event', v ->> 'old_status', v ->> 'new_status', v ->> 'data',
    v ->> 'actor', ?4
FROM r";

/// A position replaces the version before, and no other.
const WRITE_POSITIONS: &str = "
WITH r (v) AS MATERIALIZED (SELECT value FROM jsonb_each(?1))
INSERT INTO portfolio_positions
    (account, symbol, qty, cost, avg_price, realised_pnl, fees, last_price, last_at, version, updated_at)
SELECT v ->> 'account', v ->> 'symbol', v ->> 'qty', v ->> 'cost', v ->> 'avg_price', v ->> 'realised_pnl',
    v ->> 'fees', v ->> 'last_price', v ->> 'last_at', v ->> 'version', ?2
FROM r WHERE true
ON CONFLICT (account, symbol) DO UPDATE SET
    qty = excluded.qty, cost = excluded.cost, avg_price = excluded.avg_price, realised_pnl = excluded.realised_pnl,
    fees = excluded.fees, last_price = excluded.last_price, last_at = excluded.last_at, version = excluded.version,
    updated_at = excluded.updated_at
WHERE portfolio_positions.version = excluded.version - 1";

/// A position that is not at the version that was read; one that is missing is at version 0.
const CONFLICT: &str = "
SELECT v ->> 'symbol' AS symbol, (v ->> 'version') - 1 AS expected, coalesce(p.version, 0) AS found
FROM (SELECT value AS v FROM jsonb_each(?1)) LEFT JOIN portfolio_positions AS p
    ON p.account = v ->> 'account' AND p.symbol = v ->> 'symbol'
WHERE coalesce(p.version, 0) <> (v ->> 'version') - 1 LIMIT 1";

/// A symbol that is in quarantine stays there for the reason that it came for; one that was cleared comes back.
const QUARANTINE: &str = "
INSERT INTO quarantine (account, symbol, reason, broker_order_id, data, since)
SELECT ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?3 FROM json_each(?1) WHERE true
ON CONFLICT (account, symbol) DO UPDATE SET reason = excluded.reason, broker_order_id = excluded.broker_order_id,
    data = excluded.data, since = excluded.since, cleared_at = NULL, cleared_by = NULL
WHERE cleared_at IS NOT NULL";

const DIFFERENCES: &str = "
INSERT INTO position_differences (account, symbol, ours, theirs, at)
SELECT ?2, value ->> 0, value ->> 1, value ->> 2, ?3 FROM json_each(?1)";

const SWITCH: &str = "
INSERT INTO switches (switch, state, updated_at) VALUES (?1, ?2, ?3)
ON CONFLICT (switch) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at";

/// Writes everything but the events.
pub(super) async fn save(
    connection: &mut SqliteConnection,
    books: &Books,
    batch: &Batch,
    account: &str,
) -> Result<(), StoreError> {
    orders(connection, books).await?;
    parents(connection, books).await?;
    executions(connection, books).await?;
    positions(connection, books, batch).await?;
    findings(connection, books, batch, account).await?;
    switches(connection, books, batch).await
}

async fn orders(connection: &mut SqliteConnection, books: &Books) -> Result<(), StoreError> {
    let changes = &books.changes;
    let new = changes
        .new_orders
        .iter()
        .filter_map(|id| books.orders.get(id))
        .map(OrderRow::of);
    let new_parents = changes
        .new_parents
        .iter()
        .filter_map(|id| books.parents.get(id))
        .map(OrderRow::of_parent);
    rows(connection, INSERT_ORDERS, &new.chain(new_parents).collect::<Vec<_>>()).await?;
    let changed = changed_orders(books).map(StateRow::of);
    let changed_parents = changed_parents(books).map(StateRow::of_parent);
    rows(
        connection,
        UPDATE_ORDERS,
        &changed.chain(changed_parents).collect::<Vec<_>>(),
    )
    .await
}

async fn parents(connection: &mut SqliteConnection, books: &Books) -> Result<(), StoreError> {
    let new = books
        .changes
        .new_parents
        .iter()
        .filter_map(|id| books.parents.get(id))
        .map(ParentRow::of);
    rows(connection, INSERT_PARENTS, &new.collect::<Result<Vec<_>, _>>()?).await?;
    let changed = changed_parents(books).map(ProgressRow::of).collect::<Vec<_>>();
    rows(connection, UPDATE_PARENTS, &changed).await
}

/// What is new is inserted as it is at the end of the batch, and needs no update.
fn changed_orders(books: &Books) -> impl Iterator<Item = &Order> {
    let changed = books.changes.orders.difference(&books.changes.new_orders);
    changed.filter_map(|id: &OrderId| books.orders.get(id))
}

fn changed_parents(books: &Books) -> impl Iterator<Item = &Parent> {
    let changed = books.changes.parents.difference(&books.changes.new_parents);
    changed.filter_map(|id: &OrderId| books.parents.get(id))
}

async fn executions(connection: &mut SqliteConnection, books: &Books) -> Result<(), StoreError> {
    let new = books.changes.executions.iter();
    let new = new.filter_map(|(id, execution)| Some(ExecutionRow::of(books.orders.get(id)?, execution)));
    rows(connection, INSERT_EXECUTIONS, &new.collect::<Vec<_>>()).await
}

async fn positions(connection: &mut SqliteConnection, books: &Books, batch: &Batch) -> Result<(), StoreError> {
    let changed = books
        .changes
        .positions
        .iter()
        .filter_map(|key| books.positions.get_key_value(key));
    let changed = changed.map(|((account, symbol), position)| PositionRow::of(account, symbol, position));
    let changed = changed.collect::<Vec<_>>();
    if changed.is_empty() {
        return Ok(());
    }
    let changed_json = json(&changed)?;
    let conflict = sqlx::query(CONFLICT)
        .bind(&changed_json)
        .fetch_optional(&mut *connection)
        .await
        .map_err(classify)?;
    if let Some(row) = conflict {
        let conflict = PositionConflict {
            symbol: cells::cell(&row, "symbol", cells::symbol)?,
            expected: cells::number(&row, "expected")?,
            found: cells::number(&row, "found")?,
        };
        return Err(StoreError::Constraint {
            detail: conflict.to_string(),
        });
    }
    written(
        connection,
        sqlx::query(WRITE_POSITIONS).bind(changed_json).bind(time(batch.at)),
        changed.len(),
    )
    .await
}

async fn findings(
    connection: &mut SqliteConnection,
    books: &Books,
    batch: &Batch,
    account: &str,
) -> Result<(), StoreError> {
    let changes = &books.changes;
    if !changes.quarantines.is_empty() {
        let quarantines = changes.quarantines.iter();
        let quarantines = quarantines.map(|(symbol, reason, broker_order_id, data)| {
            (
                symbol,
                reason,
                broker_order_id.as_ref().map(BrokerOrderId::as_str),
                data.to_string(),
            )
        });
        let rows = json(&quarantines.collect::<Vec<_>>())?;
        let query = sqlx::query(QUARANTINE).bind(rows).bind(account).bind(time(batch.at));
        query.execute(&mut *connection).await.map_err(classify)?;
    }
    if !changes.differences.is_empty() {
        let query = sqlx::query(DIFFERENCES)
            .bind(json(&changes.differences)?)
            .bind(account)
            .bind(time(batch.at));
        query.execute(&mut *connection).await.map_err(classify)?;
    }
    Ok(())
}

async fn switches(connection: &mut SqliteConnection, books: &Books, batch: &Batch) -> Result<(), StoreError> {
    let changes = &books.changes;
    let kill = changes.kill.as_ref().map(json::<KillState>).transpose()?;
    let breaker = changes.breaker.as_ref().map(json::<BreakerState>).transpose()?;
    for (name, state) in [(KILL_SWITCH, kill), (CIRCUIT_BREAKER, breaker)] {
        if let Some(state) = state {
            let query = sqlx::query(SWITCH).bind(name).bind(state).bind(time(batch.at));
            query.execute(&mut *connection).await.map_err(classify)?;
        }
    }
    let entries = changes
        .switch_entries
        .iter()
        .map(|(name, entry)| SwitchEntryRow::of(name, entry));
    rows(connection, INSERT_SWITCH_ENTRIES, &entries.collect::<Vec<_>>()).await
}

/// Writes the events from the account's next number on, and moves that number behind them.
pub(super) async fn save_events(
    connection: &mut SqliteConnection,
    books: &Books,
    batch: &Batch,
    account: &str,
    first: i64,
) -> Result<(), StoreError> {
    let events = books.changes.events.iter().map(EventRow::of).collect::<Vec<_>>();
    if events.is_empty() {
        return Ok(());
    }
    let insert = sqlx::query(INSERT_EVENTS)
        .bind(json(&events)?)
        .bind(account)
        .bind(first)
        .bind(time(batch.at));
    written(connection, insert, events.len()).await?;
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let next = sqlx::query("UPDATE accounts SET next_event = ?1 WHERE account = ?2");
    written(connection, next.bind(first.saturating_add(count)).bind(account), 1).await
}

async fn rows<T: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: &[T],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    written(connection, sqlx::query(sql).bind(json(&rows)?), rows.len()).await
}

/// Runs a statement that has to write so many rows, or the books and the tables have come apart.
async fn written(
    connection: &mut SqliteConnection,
    query: Query<'_, Sqlite, SqliteArguments>,
    expected: usize,
) -> Result<(), StoreError> {
    let done = query.execute(connection).await.map_err(classify)?;
    if u64::try_from(expected).is_ok_and(|expected| expected == done.rows_affected()) {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        detail: format!(
            "{} rows were written where {expected} were expected",
            done.rows_affected()
        ),
    })
}
