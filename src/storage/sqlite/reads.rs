//! What the gateway asks of the ledger: each question one query of the read pool.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row};
use tranche_actors::domain::audit::Audited;
use tranche_actors::domain::ledger::SwitchEntry;
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::names::{AccountName, Caller, IdempotencyKey, OrderId};
use tranche_actors::domain::once::FirstAnswer;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::portfolio::{CapitalEntry, DayResult, Portfolio};
use tranche_actors::domain::reconciliation::Cause;
use tranche_actors::ports::store::{
    AnyOrder, Claimed, Confirmation, DueSlice, HeldPosition, LedgerEvent, MOST_CLAIMS, OrderFilter, Page, ParentFilter,
    StoreError, Switches,
};

use super::cells::time;
use super::faults::classify;
use crate::storage::capital;
use crate::storage::cells::{self, cell, number};
use crate::storage::load::read_switch;
use crate::storage::rows::{LimitsRevision, kind};

const BY_ID: &str = "SELECT * FROM orders LEFT JOIN parents USING (client_order_id) WHERE client_order_id = ?1";

const BY_KEY: &str = "
SELECT * FROM orders LEFT JOIN parents USING (client_order_id) WHERE caller = ?1 AND idempotency_key = ?2";

const SLICES: &str = "SELECT * FROM orders WHERE parent_order_id = ?1 ORDER BY slice_num, rowid";

const EVENTS: &str = "SELECT * FROM order_events WHERE client_order_id = ?1 ORDER BY account, number";

/// The words of a parent's status that are not final: so the index on status and account finds them.
const OPEN_PARENTS: &str = "
SELECT * FROM orders JOIN parents USING (client_order_id)
WHERE status IN ('pending', 'working', 'paused', 'canceling') AND account = ?1 AND kind = 'parent'
ORDER BY orders.rowid";

const DUE: &str = "
SELECT client_order_id, slice_num, scheduled_time, qty FROM orders
WHERE parent_order_id = ?1 AND (scheduled_time, slice_num) > (?2, ?3) AND status = 'pending_new'
ORDER BY scheduled_time, slice_num LIMIT ?4";

/// The index holds just what has not ended; left to itself SQLite would walk the whole table, which is in order already.
const OPEN: &str = "
SELECT * FROM orders INDEXED BY idx_orders_open WHERE terminal_at IS NULL AND account = ?1
    AND (kind = 'single' OR (kind = 'child' AND status <> 'pending_new'))
ORDER BY rowid";

const MARKED: &str = "
SELECT * FROM orders WHERE cancel_requested_at IS NOT NULL AND terminal_at IS NULL AND account = ?1 AND kind <> 'parent'
ORDER BY rowid";

const UNKNOWN: &str = "
SELECT client_order_id FROM orders WHERE status IN ('submitting', 'submitted_unconfirmed') AND kind <> 'parent'
ORDER BY rowid";

/// Events have no index by time: the last of them, by number, hold every claim of so short a while.
const CLAIMS: &str = "
SELECT event.at, own.symbol, coalesce(parent.strategy_id, own.strategy_id) AS strategy_id
FROM order_events AS event
    JOIN orders AS own USING (client_order_id)
    LEFT JOIN orders AS parent ON parent.client_order_id = own.parent_order_id
WHERE event.account = ?1 AND event.event = 'claimed' AND event.at >= ?2
    AND event.number > (SELECT coalesce(max(number), 0) - ?3 FROM order_events WHERE account = ?1)
ORDER BY event.number";

const LIMITS_REVISION: &str = "SELECT state FROM switches WHERE switch = 'limits'";
const SWITCHES: &str = "SELECT switch, state FROM switches";

const CONFIRMATIONS: &str =
    "SELECT instance_id, cut FROM switch_confirmations WHERE engagement_id = ?1 ORDER BY instance_id";

const HISTORY: &str = "SELECT * FROM switch_history WHERE switch = ?1 ORDER BY id DESC LIMIT ?2";

const HAS_ENTRY: &str = "SELECT 1 FROM switch_history WHERE switch = ?1 AND event = ?2 AND timestamp = ?3 LIMIT 1";

const AUDIT: &str = "SELECT * FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2";

const FIRST_ANSWER: &str = "SELECT * FROM idempotency_keys WHERE caller = ?1 AND idempotency_key = ?2";

const OPEN_CAUSES: &str =
    "SELECT * FROM quarantine_causes WHERE account = ?1 AND cleared_at IS NULL ORDER BY symbol, since, cause";

const POSITIONS: &str = "SELECT * FROM portfolio_positions WHERE account = ?1 ORDER BY symbol";

/// The statements above over tables that grow, for the test of their plans.
#[cfg(test)]
pub(super) const ALL: &[&str] = &[
    BY_ID,
    BY_KEY,
    SLICES,
    EVENTS,
    OPEN_PARENTS,
    DUE,
    OPEN,
    MARKED,
    UNKNOWN,
    HISTORY,
    HAS_ENTRY,
    CONFIRMATIONS,
    AUDIT,
    FIRST_ANSWER,
    POSITIONS,
    PORTFOLIO,
    CAPITAL,
    DAYS,
    OPEN_CAUSES,
    CLAIMS,
];

const PORTFOLIO: &str = "SELECT * FROM portfolio_state WHERE account = ?1";

const CAPITAL: &str =
    "SELECT * FROM capital_transactions WHERE account = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3";

const DAYS: &str = "SELECT * FROM daily_pnl WHERE account = ?1 AND day <= ?2 ORDER BY day DESC LIMIT ?3";

/// The largest page.
const MAX_PAGE: u32 = 500;

type Question<'q> = Query<'q, Sqlite, SqliteArguments>;

pub(super) async fn order(pool: &SqlitePool, id: &OrderId) -> Result<Option<AnyOrder>, StoreError> {
    one(pool, sqlx::query(BY_ID).bind(id.as_str()), any_order).await
}

pub(super) async fn by_key(
    pool: &SqlitePool,
    caller: &Caller,
    key: &IdempotencyKey,
) -> Result<Option<AnyOrder>, StoreError> {
    one(pool, sqlx::query(BY_KEY).bind(caller.as_str()).bind(key.as_str()), any_order).await
}

pub(super) async fn slices(pool: &SqlitePool, parent: &OrderId) -> Result<Vec<Order>, StoreError> {
    all(pool, sqlx::query(SLICES).bind(parent.as_str()), cells::order).await
}

pub(super) async fn orders(pool: &SqlitePool, filter: &OrderFilter) -> Result<Page<Order>, StoreError> {
    let mut sql = QueryBuilder::new("SELECT rowid AS place, * FROM orders WHERE kind <> 'parent'");
    if let Some(parent) = &filter.parent {
        sql.push(" AND parent_order_id = ").push_bind(parent.to_string());
    }
    if let Some(status) = filter.status {
        // What has ended is most of the table: better looked through from its new end than sorted as a whole.
        let by_index = if status.is_terminal() { " AND +status = " } else { " AND status = " };
        sql.push(by_index).push_bind(status.as_str());
    }
    if let Some(symbol) = &filter.symbol {
        sql.push(" AND symbol = ").push_bind(symbol.to_string());
    }
    if let Some(strategy) = &filter.strategy_id {
        sql.push(" AND strategy_id = ").push_bind(strategy.to_string());
    }
    page(pool, sql, filter.since, filter.cursor, filter.limit, cells::order).await
}

pub(super) async fn parents(pool: &SqlitePool, filter: &ParentFilter) -> Result<Page<Parent>, StoreError> {
    let mut sql = QueryBuilder::new(
        "SELECT orders.rowid AS place, * FROM orders JOIN parents USING (client_order_id) WHERE kind = 'parent'",
    );
    if let Some(status) = filter.status {
        let by_index = if status.is_terminal() { " AND +status = " } else { " AND status = " };
        sql.push(by_index).push_bind(status.as_str());
    }
    if let Some(symbol) = &filter.symbol {
        sql.push(" AND symbol = ").push_bind(symbol.to_string());
    }
    if let Some(strategy) = &filter.strategy_id {
        sql.push(" AND strategy_id = ").push_bind(strategy.to_string());
    }
    page(pool, sql, filter.since, filter.cursor, filter.limit, cells::parent).await
}

pub(super) async fn events(pool: &SqlitePool, id: &OrderId) -> Result<Vec<LedgerEvent>, StoreError> {
    all(pool, sqlx::query(EVENTS).bind(id.as_str()), cells::event).await
}

pub(super) async fn open_parents(pool: &SqlitePool, account: &AccountName) -> Result<Vec<Parent>, StoreError> {
    all(pool, sqlx::query(OPEN_PARENTS).bind(account.as_str()), cells::parent).await
}

pub(super) async fn due_slices(
    pool: &SqlitePool,
    parent: &OrderId,
    after: Option<(DateTime<Utc>, u32)>,
    limit: u32,
) -> Result<Vec<DueSlice>, StoreError> {
    // No time sorts before the empty text.
    let (behind, number_behind) = after.map_or((String::new(), 0), |(at, number)| (time(at), number));
    let question = sqlx::query(DUE).bind(parent.as_str()).bind(behind).bind(number_behind).bind(limit);
    all(pool, question, |row| {
        Ok(DueSlice {
            id: cell(row, "client_order_id", cells::order_id)?,
            slice_num: number(row, "slice_num")?,
            due: cells::time(row, "scheduled_time")?,
            qty: cells::qty(row)?,
        })
    })
    .await
}

pub(super) async fn open_orders(pool: &SqlitePool, account: &AccountName) -> Result<Vec<Order>, StoreError> {
    all(pool, sqlx::query(OPEN).bind(account.as_str()), cells::order).await
}

pub(super) async fn marked_orders(pool: &SqlitePool, account: &AccountName) -> Result<Vec<Order>, StoreError> {
    all(pool, sqlx::query(MARKED).bind(account.as_str()), cells::order).await
}

pub(super) async fn unknown_orders(pool: &SqlitePool) -> Result<Vec<OrderId>, StoreError> {
    all(pool, sqlx::query(UNKNOWN), |row| cell(row, "client_order_id", cells::order_id)).await
}

pub(super) async fn switches(pool: &SqlitePool) -> Result<Switches, StoreError> {
    let mut switches = Switches::default();
    for row in sqlx::query(SWITCHES).fetch_all(pool).await.map_err(classify)? {
        read_switch(&mut switches, &row)?;
    }
    Ok(switches)
}

pub(super) async fn confirmations(pool: &SqlitePool, engagement: &str) -> Result<Vec<Confirmation>, StoreError> {
    all(pool, sqlx::query(CONFIRMATIONS).bind(engagement), |row| {
        Ok(Confirmation { instance: cell(row, "instance_id", cells::owned)?, cut: cells::json(row, "cut")? })
    })
    .await
}

pub(super) async fn switch_history(
    pool: &SqlitePool,
    switch: &str,
    limit: u32,
) -> Result<Vec<SwitchEntry>, StoreError> {
    all(pool, sqlx::query(HISTORY).bind(switch).bind(limit), cells::switch_entry).await
}

pub(super) async fn has_switch_entry(
    pool: &SqlitePool,
    switch: &str,
    event: &str,
    at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let question = sqlx::query(HAS_ENTRY).bind(switch).bind(event).bind(time(at));
    Ok(one(pool, question, |_| Ok(())).await?.is_some())
}

/// The revision is read first: where a change comes in between, it is older than the rows, and is found out to be so.
pub(super) async fn limits(pool: &SqlitePool, known: Option<u64>) -> Result<Option<LimitBook>, StoreError> {
    let revision = |row: &_| Ok(cells::json::<LimitsRevision>(row, "state")?.revision);
    let revision = one(pool, sqlx::query(LIMITS_REVISION), revision).await?.unwrap_or_default();
    if known == Some(revision) {
        return Ok(None);
    }
    Ok(Some(LimitBook {
        revision,
        limits: all(pool, sqlx::query("SELECT * FROM limits"), cells::limit).await?.into_iter().collect(),
        overrides: all(pool, sqlx::query("SELECT * FROM limit_overrides"), cells::limit_override)
            .await?
            .into_iter()
            .collect(),
        lockouts: all(pool, sqlx::query("SELECT * FROM lockouts"), cells::lockout).await?.into_iter().collect(),
    }))
}

pub(super) async fn audit(pool: &SqlitePool, cursor: Option<u64>, limit: u32) -> Result<Page<Audited>, StoreError> {
    let behind = cursor.and_then(|cursor| i64::try_from(cursor).ok()).unwrap_or(i64::MAX);
    let limit = limit.clamp(1, MAX_PAGE);
    let question = sqlx::query(AUDIT).bind(behind).bind(i64::from(limit.saturating_add(1)));
    let mut items = all(pool, question, cells::audited).await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > wanted;
    items.truncate(wanted);
    Ok(Page { next: items.last().filter(|_| more).map(|last| last.id), items })
}

pub(super) async fn first_answer(
    pool: &SqlitePool,
    caller: &Caller,
    key: &IdempotencyKey,
) -> Result<Option<FirstAnswer>, StoreError> {
    one(pool, sqlx::query(FIRST_ANSWER).bind(caller.as_str()).bind(key.as_str()), cells::first_answer).await
}

pub(super) async fn causes(pool: &SqlitePool, account: &AccountName) -> Result<Vec<Cause>, StoreError> {
    all(pool, sqlx::query(OPEN_CAUSES).bind(account.as_str()), cells::cause).await
}

pub(super) async fn claims_since(
    pool: &SqlitePool,
    account: &AccountName,
    since: DateTime<Utc>,
) -> Result<Vec<Claimed>, StoreError> {
    let most = i64::try_from(MOST_CLAIMS).unwrap_or(i64::MAX);
    all(pool, sqlx::query(CLAIMS).bind(account.as_str()).bind(time(since)).bind(most), cells::claimed).await
}

pub(super) async fn positions(pool: &SqlitePool, account: &AccountName) -> Result<Vec<HeldPosition>, StoreError> {
    all(pool, sqlx::query(POSITIONS).bind(account.as_str()), |row| {
        Ok(HeldPosition {
            symbol: cell(row, "symbol", cells::symbol)?,
            position: cells::position(row)?,
            updated_at: cells::time(row, "updated_at")?,
        })
    })
    .await
}

pub(super) async fn portfolio(pool: &SqlitePool, account: &AccountName) -> Result<Portfolio, StoreError> {
    let found = one(pool, sqlx::query(PORTFOLIO).bind(account.as_str()), capital::portfolio).await?;
    Ok(found.unwrap_or_default())
}

pub(super) async fn capital(
    pool: &SqlitePool,
    account: &AccountName,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<CapitalEntry>, StoreError> {
    let before = before.and_then(|number| i64::try_from(number).ok()).unwrap_or(i64::MAX);
    let question = sqlx::query(CAPITAL).bind(account.as_str()).bind(before).bind(limit);
    all(pool, question, capital::entry).await
}

pub(super) async fn days(
    pool: &SqlitePool,
    account: &AccountName,
    until: Option<NaiveDate>,
    limit: u32,
) -> Result<Vec<DayResult>, StoreError> {
    let until = until.map_or_else(|| "9999-12-31".to_owned(), |day| day.to_string());
    let question = sqlx::query(DAYS).bind(account.as_str()).bind(until).bind(limit);
    all(pool, question, capital::day).await
}

fn any_order(row: &SqliteRow) -> Result<AnyOrder, StoreError> {
    let found: &str = row.try_get("kind").map_err(classify)?;
    if found == kind::PARENT {
        Ok(AnyOrder::Parent(Box::new(cells::parent(row)?)))
    } else {
        Ok(AnyOrder::Order(Box::new(cells::order(row)?)))
    }
}

async fn one<T>(
    pool: &SqlitePool,
    question: Question<'_>,
    read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    question.fetch_optional(pool).await.map_err(classify)?.as_ref().map(read).transpose()
}

async fn all<T>(
    pool: &SqlitePool,
    question: Question<'_>,
    read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    question.fetch_all(pool).await.map_err(classify)?.iter().map(read).collect()
}

/// A page from the new end on; its cursor is the place of its last row. One row more than asked for tells whether
/// there is a next page.
async fn page<T>(
    pool: &SqlitePool,
    mut sql: QueryBuilder<Sqlite>,
    since: Option<DateTime<Utc>>,
    cursor: Option<u64>,
    limit: u32,
    read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    if let Some(since) = since {
        sql.push(" AND created_at >= ").push_bind(time(since));
    }
    if let Some(cursor) = cursor {
        sql.push(" AND orders.rowid < ").push_bind(i64::try_from(cursor).unwrap_or(i64::MAX));
    }
    let limit = limit.clamp(1, MAX_PAGE);
    sql.push(" ORDER BY orders.rowid DESC LIMIT ").push_bind(limit.saturating_add(1));
    let rows = sql.build().fetch_all(pool).await.map_err(classify)?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let shown = rows.get(..wanted).unwrap_or(&rows);
    let more = rows.len() > shown.len();
    let next = shown.last().filter(|_| more).map(|row| number(row, "place")).transpose()?;
    Ok(Page { items: shown.iter().map(read).collect::<Result<_, _>>()?, next })
}

#[cfg(test)]
mod tests {
    use tranche_actors::domain::parent::ParentStatus;

    use super::*;

    #[test]
    fn open_parents_are_of_every_status_that_is_not_final() {
        for status in ParentStatus::ALL {
            assert_eq!(OPEN_PARENTS.contains(&format!("'{status}'")), !status.is_terminal(), "{status}");
        }
    }
}
