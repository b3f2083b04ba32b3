//! What a batch speaks of, as SQLite is asked for it: a set is a JSON array.

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tranche_actors::ports::store::StoreError;

use super::faults::classify;
use crate::storage::load::{Statements, Tables};
use crate::storage::rows::json;

const SQL: Statements = Statements {
    by_key: "
        SELECT caller, idempotency_key, client_order_id FROM json_each(?1) AS named
        JOIN orders ON caller = named.value ->> 0 AND idempotency_key = named.value ->> 1
        WHERE idempotency_key IS NOT NULL",
    answers: "
        SELECT idempotency_keys.* FROM json_each(?1) AS named
        JOIN idempotency_keys ON caller = named.value ->> 0 AND idempotency_key = named.value ->> 1",
    orders: "SELECT * FROM orders WHERE client_order_id IN (SELECT value FROM json_each(?1))",
    open_children: "
        SELECT * FROM orders WHERE parent_order_id IN (SELECT value FROM json_each(?1)) AND terminal_at IS NULL",
    children: "SELECT * FROM orders WHERE parent_order_id IN (SELECT value FROM json_each(?1))",
    chains: "
        SELECT * FROM orders WHERE client_order_id IN (SELECT value FROM json_each(?1))
        UNION ALL SELECT * FROM orders WHERE chain IN (SELECT value FROM json_each(?1))",
    parents: "
        SELECT * FROM orders JOIN parents USING (client_order_id)
        WHERE client_order_id IN (SELECT value FROM json_each(?1))",
    executions: "SELECT * FROM executions WHERE broker_order_id IN (SELECT value FROM json_each(?1))",
    positions: "
        SELECT portfolio_positions.* FROM json_each(?1) AS named
        JOIN portfolio_positions ON account = named.value ->> 0 AND symbol = named.value ->> 1",
    portfolio: "SELECT * FROM portfolio_state WHERE account IN (SELECT value FROM json_each(?1))",
    days: "
        SELECT daily_pnl.* FROM json_each(?1) AS named
        JOIN daily_pnl ON account = named.value ->> 0 AND day = named.value ->> 1",
    open_causes: "
        SELECT * FROM quarantine_causes
        WHERE account IN (SELECT value FROM json_each(?1)) AND cleared_at IS NULL",
    causes: "
        SELECT quarantine_causes.* FROM json_each(?1) AS named
        JOIN quarantine_causes ON account = named.value ->> 0 AND cause = named.value ->> 1",
    switches: "SELECT switch, state FROM switches WHERE switch IN (SELECT value FROM json_each(?1))",
};

/// Every statement above, for the test of their plans.
#[cfg(test)]
pub(super) const ALL: &[&str] = &[
    SQL.by_key,
    SQL.answers,
    SQL.orders,
    SQL.open_children,
    SQL.children,
    SQL.chains,
    SQL.parents,
    SQL.executions,
    SQL.positions,
    SQL.portfolio,
    SQL.days,
    SQL.open_causes,
    SQL.causes,
    SQL.switches,
];

impl Tables for SqliteConnection {
    type Row = SqliteRow;

    const SQL: Statements = SQL;

    async fn named(&mut self, sql: &'static str, ids: Vec<&str>) -> Result<Vec<SqliteRow>, StoreError> {
        fetch(self, sql, &ids).await
    }

    async fn paired(&mut self, sql: &'static str, pairs: Vec<(&str, &str)>) -> Result<Vec<SqliteRow>, StoreError> {
        fetch(self, sql, &pairs).await
    }
}

async fn fetch<T: Serialize + Sync>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    named: &T,
) -> Result<Vec<SqliteRow>, StoreError> {
    sqlx::query(sql).bind(json(named)?).fetch_all(connection).await.map_err(classify)
}
