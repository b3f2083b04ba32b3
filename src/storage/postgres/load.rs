//! What a batch speaks of, as PostgreSQL is asked for it: a set is an array.
//!
//! The account's row is locked by now, and under READ COMMITTED each statement sees what was committed before it began:
//! of this account nobody else can write. What belongs to other accounts (an id or a key that both want) is decided by the
//! unique indexes.

use sqlx::postgres::{PgConnection, PgRow};
use tranche_actors::ports::store::StoreError;

use super::faults::classify;
use crate::storage::load::{Statements, Tables};

const SQL: Statements = Statements {
    by_key: "
        SELECT caller, idempotency_key, client_order_id
        FROM UNNEST($1, $2) AS named (a, b) JOIN orders ON caller = a AND idempotency_key = b",
    answers: "
        SELECT idempotency_keys.*
        FROM UNNEST($1, $2) AS named (a, b) JOIN idempotency_keys ON caller = a AND idempotency_key = b",
    orders: "SELECT * FROM orders WHERE client_order_id = ANY($1)",
    open_children: "SELECT * FROM orders WHERE parent_order_id = ANY($1) AND terminal_at IS NULL",
    children: "SELECT * FROM orders WHERE parent_order_id = ANY($1)",
    chains: "
        SELECT * FROM orders WHERE client_order_id = ANY($1)
        UNION ALL SELECT * FROM orders WHERE chain = ANY($1)",
    parents: "SELECT * FROM orders JOIN parents USING (client_order_id) WHERE client_order_id = ANY($1)",
    executions: "SELECT * FROM executions WHERE broker_order_id = ANY($1)",
    positions: "
        SELECT portfolio_positions.*
        FROM UNNEST($1, $2) AS named (a, b) JOIN portfolio_positions ON account = a AND symbol = b",
    portfolio: "SELECT * FROM portfolio_state WHERE account = ANY($1)",
    days: "
        SELECT daily_pnl.*
        FROM UNNEST($1, $2) AS named (a, b) JOIN daily_pnl ON account = a AND day = b::date",
    open_causes: "SELECT * FROM quarantine_causes WHERE account = ANY($1) AND cleared_at IS NULL",
    causes: "
        SELECT quarantine_causes.*
        FROM UNNEST($1, $2) AS named (a, b) JOIN quarantine_causes ON account = a AND cause = b",
    switches: "SELECT switch, state FROM switches WHERE switch = ANY($1)",
};

impl Tables for PgConnection {
    type Row = PgRow;

    const SQL: Statements = SQL;

    async fn named(&mut self, sql: &'static str, ids: Vec<&str>) -> Result<Vec<PgRow>, StoreError> {
        sqlx::query(sql).bind(ids).fetch_all(self).await.map_err(classify)
    }

    async fn paired(&mut self, sql: &'static str, pairs: Vec<(&str, &str)>) -> Result<Vec<PgRow>, StoreError> {
        let (first, second): (Vec<&str>, Vec<&str>) = pairs.into_iter().unzip();
        sqlx::query(sql).bind(first).bind(second).fetch_all(self).await.map_err(classify)
    }
}
