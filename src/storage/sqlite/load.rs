//! What a batch speaks of, loaded by sets.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tranche_actors::domain::ledger::{Books, CIRCUIT_BREAKER, FIRST_START, KILL_SWITCH, Keys};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::ports::store::{Batch, StoreError};

use super::cells;
use super::faults::classify;
use super::reads::{OPEN_CAUSES, SWITCHES};
use super::rows::{json, kind};

const BY_KEY: &str = "
SELECT caller, idempotency_key, client_order_id FROM json_each(?1) AS named
JOIN orders ON caller = named.value ->> 0 AND idempotency_key = named.value ->> 1
WHERE idempotency_key IS NOT NULL";

const ORDERS: &str = "SELECT * FROM orders WHERE client_order_id IN (SELECT value FROM json_each(?1))";

const OPEN_CHILDREN: &str = "
SELECT * FROM orders WHERE parent_order_id IN (SELECT value FROM json_each(?1)) AND terminal_at IS NULL";

/// An order's whole chain, by the first of it.
const CHAINS: &str = "
SELECT * FROM orders WHERE client_order_id IN (SELECT value FROM json_each(?1))
UNION ALL SELECT * FROM orders WHERE chain IN (SELECT value FROM json_each(?1))";

const PARENTS: &str = "
SELECT * FROM orders JOIN parents USING (client_order_id)
WHERE client_order_id IN (SELECT value FROM json_each(?1))";

const EXECUTIONS: &str = "SELECT * FROM executions WHERE broker_order_id IN (SELECT value FROM json_each(?1))";

const POSITIONS: &str = "
SELECT portfolio_positions.* FROM json_each(?1) AS named
JOIN portfolio_positions ON account = named.value ->> 0 AND symbol = named.value ->> 1";

const CAUSES: &str = "
SELECT quarantine_causes.* FROM json_each(?1) AS named
JOIN quarantine_causes ON account = named.value ->> 0 AND cause = named.value ->> 1";

/// Every statement above, for the test of their plans.
#[cfg(test)]
pub(super) const ALL: &[&str] = &[BY_KEY, ORDERS, OPEN_CHILDREN, CHAINS, PARENTS, EXECUTIONS, POSITIONS, CAUSES];

/// The books of a batch, before its writes.
pub(super) async fn load(connection: &mut SqliteConnection, batch: &Batch) -> Result<Books, StoreError> {
    let mut keys = Keys::default();
    for write in &batch.writes {
        write.add_keys(&mut keys);
    }
    let mut books = Books::new(batch.at);
    let mut named = std::mem::take(&mut keys.orders);
    named.append(&mut keys.positions_of.clone());
    for row in fetch(connection, BY_KEY, &keys.callers_keys).await? {
        let id = cells::cell(&row, "client_order_id", cells::order_id)?;
        let key = (cells::cell(&row, "caller", cells::caller)?, cells::cell(&row, "idempotency_key", cells::key)?);
        named.insert(id.clone());
        books.keys.insert(key, id);
    }
    let mut parents = std::mem::take(&mut keys.parents);
    let by_id = fetch(connection, ORDERS, &named).await?;
    let open_children = fetch(connection, OPEN_CHILDREN, &keys.open_children_of).await?;
    for row in by_id.iter().chain(&open_children) {
        take_order(&mut books, &mut parents, row)?;
    }
    let chained = books.orders.values().filter(|order| order.is_chained());
    let chains = chained.map(|order| order.chain().clone()).collect::<BTreeSet<_>>();
    for row in fetch(connection, CHAINS, &chains).await? {
        take_order(&mut books, &mut parents, &row)?;
    }
    let executions_of = executions_of(&books, &mut keys);
    for row in fetch(connection, PARENTS, &parents).await? {
        let parent = cells::parent(&row)?;
        books.parents.insert(parent.id.clone(), parent);
    }
    for row in fetch(connection, EXECUTIONS, &executions_of).await? {
        let execution = cells::execution(&row)?;
        let key = (execution.broker_order_id.clone(), execution.cum_qty);
        books.executions.insert(key, execution);
    }
    if let (true, Some(account)) = (keys.quarantine, batch.writer.account()) {
        let open = sqlx::query(OPEN_CAUSES).bind(account.as_str());
        let mut rows = open.fetch_all(&mut *connection).await.map_err(classify)?;
        let of_account = keys.causes.iter().map(|cause| (account, cause)).collect::<BTreeSet<_>>();
        rows.extend(fetch(connection, CAUSES, &of_account).await?);
        for row in rows {
            let cause = cells::cause(&row)?;
            books.causes.insert(cause.id.clone(), cause);
        }
    }
    if keys.switches {
        take_switches(&mut books, connection).await?;
    }
    let positions = positions_of(&books, &keys);
    for row in fetch(connection, POSITIONS, &positions).await? {
        let key = (cells::cell(&row, "account", cells::account)?, cells::cell(&row, "symbol", cells::symbol)?);
        books.positions.insert(key, cells::position(&row)?);
    }
    Ok(books)
}

/// A switch that can't be read counts as missing here: an engagement, a trip or an operator's word may replace it.
async fn take_switches(books: &mut Books, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for row in sqlx::query(SWITCHES).fetch_all(connection).await.map_err(classify)? {
        let name: &str = row.try_get("switch").map_err(classify)?;
        let state: &str = row.try_get("state").map_err(classify)?;
        match name {
            KILL_SWITCH => books.kill = cells::json(state),
            CIRCUIT_BREAKER => books.breaker = cells::json(state),
            FIRST_START => books.first_start = cells::json(state),
            _ => {}
        }
    }
    Ok(())
}

/// All ids share one space, so an id that was meant as an order's may turn out to be a parent's.
fn take_order(books: &mut Books, parents: &mut BTreeSet<OrderId>, row: &SqliteRow) -> Result<(), StoreError> {
    let found: &str = row.try_get("kind").map_err(classify)?;
    if found == kind::PARENT {
        parents.insert(cells::cell(row, "client_order_id", cells::order_id)?);
        return Ok(());
    }
    let order = cells::order(row)?;
    parents.extend(order.slice.as_ref().map(|slice| slice.parent.clone()));
    books.orders.insert(order.id.clone(), order);
    Ok(())
}

/// What an order of a chain has filled is carried on by those behind it, so its executions count there too.
fn executions_of(books: &Books, keys: &mut Keys) -> BTreeSet<BrokerOrderId> {
    let mut wanted = std::mem::take(&mut keys.executions_of);
    let reported = keys.positions_of.iter().filter_map(|id| books.orders.get(id)).filter(|order| order.is_chained());
    let chains = reported.map(Order::chain).collect::<BTreeSet<_>>();
    let members = books.orders.values().filter(|order| order.is_chained() && chains.contains(order.chain()));
    wanted.extend(members.filter_map(|order| order.broker_order_id.clone()));
    wanted
}

fn positions_of(books: &Books, keys: &Keys) -> BTreeSet<(AccountName, Symbol)> {
    keys.positions_of
        .iter()
        .filter_map(|id| books.orders.get(id))
        .map(|order| (order.account.clone(), order.instruction.symbol.clone()))
        .collect()
}

/// The rows that a set names; no question where the set is empty.
async fn fetch<T: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    named: &BTreeSet<T>,
) -> Result<Vec<SqliteRow>, StoreError> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query(sql).bind(json(named)?).fetch_all(connection).await.map_err(classify)
}
