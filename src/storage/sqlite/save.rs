//! What a batch has changed, saved by sets: one statement per table, whatever the number of rows.

use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::halts::Halts;
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::ledger::{Books, CIRCUIT_BREAKER, FIRST_START, FirstStart, HALTS, KILL_SWITCH, LIMITS};
use tranche_actors::domain::names::{AccountName, OrderId};
use tranche_actors::domain::once::KEPT;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::ports::store::{Batch, PositionConflict, StoreError};

use super::cells::time;
use super::columns::Line;
use super::faults::classify;
use crate::storage::capital::{CapitalRow, DayRow, PortfolioRow, unmoved};
use crate::storage::cells;
use crate::storage::columns::Columns;
use crate::storage::rows::{
    self, AnswerRow, AuditRow, CauseRow, DifferenceRow, EventRow, ExecutionRow, LimitRow, LimitsRevision, LockoutRow,
    PositionRow, ProgressRow, StateRow, SwitchEntryRow, json,
};

pub(super) mod sql;

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
    capital(connection, books, batch, account).await?;
    findings(connection, books, batch, account).await?;
    switches(connection, books, batch).await?;
    limits(connection, books, batch).await?;
    answers(connection, books, batch).await?;
    audit(connection, books, batch).await
}

async fn orders(connection: &mut SqliteConnection, books: &Books) -> Result<(), StoreError> {
    let changes = &books.changes;
    let mut new = changes.new_orders.iter().filter_map(|id| books.orders.get(id)).collect::<Vec<_>>();
    // Lists go by the order of rows, so the slices of a plan are written in theirs.
    new.sort_by_key(|order| (order.scheduled_time, order.slice.as_ref().map(|slice| slice.slice_num)));
    let new = new.into_iter().map(rows::order);
    let new = new.chain(new_parents(books).map(rows::parent_order)).map(Line).collect::<Vec<_>>();
    write(connection, &sql::INSERT_ORDERS, &new).await?;
    let changed = changed_orders(books).map(StateRow::of);
    let changed = changed.chain(changed_parents(books).map(StateRow::of_parent)).map(Line).collect::<Vec<_>>();
    write(connection, &sql::UPDATE_ORDERS, &changed).await
}

async fn parents(connection: &mut SqliteConnection, books: &Books) -> Result<(), StoreError> {
    let new = new_parents(books).map(|parent| rows::parent(parent).map(Line)).collect::<Result<Vec<_>, _>>()?;
    write(connection, &sql::INSERT_PARENTS, &new).await?;
    let changed = changed_parents(books).map(ProgressRow::of).map(Line).collect::<Vec<_>>();
    write(connection, &sql::UPDATE_PARENTS, &changed).await
}

fn new_parents(books: &Books) -> impl Iterator<Item = &Parent> {
    books.changes.new_parents.iter().filter_map(|id| books.parents.get(id))
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
    write(connection, &sql::INSERT_EXECUTIONS, &new.map(Line).collect::<Vec<_>>()).await
}

async fn positions(connection: &mut SqliteConnection, books: &Books, batch: &Batch) -> Result<(), StoreError> {
    let changed = books.changes.positions.iter().filter_map(|key| books.positions.get_key_value(key));
    let changed = changed.collect::<Vec<_>>();
    if changed.is_empty() {
        return Ok(());
    }
    let expected =
        changed.iter().map(|((account, symbol), position)| (account, symbol, position.version.saturating_sub(1)));
    let conflict = sqlx::query(sql::CONFLICT).bind(json(&expected.collect::<Vec<_>>())?);
    if let Some(row) = conflict.fetch_optional(&mut *connection).await.map_err(classify)? {
        let conflict = PositionConflict {
            symbol: cells::cell(&row, "symbol", cells::symbol)?,
            expected: cells::number(&row, "expected")?,
            found: cells::number(&row, "found")?,
        };
        return Err(StoreError::Constraint { detail: conflict.to_string() });
    }
    let lines = changed.iter().map(|((account, symbol), position)| Line(PositionRow::of(account, symbol, position)));
    let lines = json(&lines.collect::<Vec<_>>())?;
    let query = sqlx::query(sql::WRITE_POSITIONS.as_str()).bind(lines).bind(time(batch.at));
    written(connection, query, changed.len()).await
}

async fn capital(
    connection: &mut SqliteConnection,
    books: &Books,
    batch: &Batch,
    account: &str,
) -> Result<(), StoreError> {
    let changes = &books.changes;
    if changes.portfolio {
        let found = sqlx::query(sql::PORTFOLIO_VERSION).bind(account);
        let found = found.fetch_optional(&mut *connection).await.map_err(classify)?;
        let found = found.map_or(Ok(0), |row| cells::number(&row, "version"))?;
        unmoved(account, &books.portfolio, found)?;
        let row = json(&[Line(PortfolioRow::of(account, &books.portfolio))])?;
        written(connection, sqlx::query(sql::WRITE_PORTFOLIO.as_str()).bind(row).bind(time(batch.at)), 1).await?;
    }
    let entries = changes.capital.iter().map(CapitalRow::of).map(Line).collect::<Vec<_>>();
    if !entries.is_empty() {
        let query = sqlx::query(sql::INSERT_CAPITAL.as_str()).bind(json(&entries)?);
        written(connection, query.bind(account).bind(time(batch.at)), entries.len()).await?;
    }
    let days = changes.days.iter().filter_map(|day| books.days.get(day)).map(|day| Line(DayRow::of(account, day)));
    let days = days.collect::<Vec<_>>();
    if days.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(sql::WRITE_DAYS.as_str()).bind(json(&days)?).bind(time(batch.at));
    written(connection, query, days.len()).await
}

async fn findings(
    connection: &mut SqliteConnection,
    books: &Books,
    batch: &Batch,
    account: &str,
) -> Result<(), StoreError> {
    let causes = books.changes.causes.iter().filter_map(|id| books.causes.get(id));
    let causes = causes.map(CauseRow::of).map(Line).collect::<Vec<_>>();
    if !causes.is_empty() {
        let query = sqlx::query(sql::WRITE_CAUSES.as_str()).bind(json(&causes)?).bind(account);
        written(connection, query, causes.len()).await?;
    }
    let differences = books.changes.differences.iter();
    let differences =
        differences.map(|(symbol, ours, theirs)| Line(DifferenceRow::of(symbol, *ours, *theirs))).collect::<Vec<_>>();
    if differences.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(sql::INSERT_DIFFERENCES.as_str()).bind(json(&differences)?);
    written(connection, query.bind(account).bind(time(batch.at)), differences.len()).await
}

async fn switches(connection: &mut SqliteConnection, books: &Books, batch: &Batch) -> Result<(), StoreError> {
    let changes = &books.changes;
    let kill = changes.kill.as_ref().map(json::<KillState>).transpose()?;
    let halts = changes.halts.as_ref().map(json::<Halts>).transpose()?;
    let breaker = changes.breaker.as_ref().map(json::<BreakerState>).transpose()?;
    let first_start = changes.first_start.as_ref().map(json::<FirstStart>).transpose()?;
    for (name, state) in [(KILL_SWITCH, kill), (HALTS, halts), (CIRCUIT_BREAKER, breaker), (FIRST_START, first_start)] {
        if let Some(state) = state {
            let query = sqlx::query(sql::SWITCH).bind(name).bind(state).bind(time(batch.at));
            query.execute(&mut *connection).await.map_err(classify)?;
        }
    }
    let entries = changes.switch_entries.iter().map(|(name, entry)| Line(SwitchEntryRow::of(name, entry)));
    write(connection, &sql::INSERT_SWITCH_ENTRIES, &entries.collect::<Vec<_>>()).await
}

/// All limits in the place of those that are stored: they are few, and change seldom.
async fn limits(connection: &mut SqliteConnection, books: &Books, batch: &Batch) -> Result<(), StoreError> {
    let Some(book) = &books.changes.limits else { return Ok(()) };
    for table in sql::CLEAR_LIMITS {
        sqlx::query(table).execute(&mut *connection).await.map_err(classify)?;
    }
    let limits = book.limits.iter().map(LimitRow::of).map(Line).collect::<Vec<_>>();
    write(connection, &sql::INSERT_LIMITS, &limits).await?;
    let overrides = book.overrides.iter().map(rows::instead).map(Line).collect::<Vec<_>>();
    write(connection, &sql::INSERT_OVERRIDES, &overrides).await?;
    let lockouts = book.lockouts.iter().map(LockoutRow::of).map(Line).collect::<Vec<_>>();
    write(connection, &sql::INSERT_LOCKOUTS, &lockouts).await?;
    let revision = json(&LimitsRevision { revision: book.revision })?;
    let query = sqlx::query(sql::SWITCH).bind(LIMITS).bind(revision).bind(time(batch.at));
    query.execute(connection).await.map_err(classify)?;
    Ok(())
}

async fn answers(connection: &mut SqliteConnection, books: &Books, batch: &Batch) -> Result<(), StoreError> {
    let new = books.changes.answers.iter().filter_map(|key| books.answers.get_key_value(key));
    let new = new.map(|(key, first)| AnswerRow::of(key, first)).map(Line).collect::<Vec<_>>();
    if new.is_empty() {
        return Ok(());
    }
    let forget = sqlx::query(sql::FORGET_ANSWERS).bind(time(batch.at - KEPT));
    forget.execute(&mut *connection).await.map_err(classify)?;
    write(connection, &sql::INSERT_ANSWERS, &new).await
}

async fn audit(connection: &mut SqliteConnection, books: &Books, batch: &Batch) -> Result<(), StoreError> {
    let entries = &books.changes.audit;
    if entries.is_empty() {
        return Ok(());
    }
    let lines = entries.iter().map(AuditRow::of).map(Line).collect::<Vec<_>>();
    let account = batch.writer.account().map(AccountName::as_str);
    let query = sqlx::query(sql::INSERT_AUDIT.as_str()).bind(json(&lines)?).bind(account).bind(time(batch.at));
    written(connection, query, lines.len()).await
}

/// An instance has stopped for an engagement. What it said first stays.
pub(super) async fn confirm(
    connection: &mut SqliteConnection,
    engagement: &str,
    instance: &str,
    cut: &[OrderId],
) -> Result<(), StoreError> {
    let query = sqlx::query(sql::CONFIRM).bind(engagement).bind(instance).bind(json(&cut)?);
    query.execute(connection).await.map_err(classify)?;
    Ok(())
}

/// Writes the events from the account's next number on, and moves that number behind them.
pub(super) async fn save_events(
    connection: &mut SqliteConnection,
    books: &Books,
    batch: &Batch,
    account: &str,
    first: i64,
) -> Result<(), StoreError> {
    let events = books.changes.events.iter().map(EventRow::of).map(Line).collect::<Vec<_>>();
    if events.is_empty() {
        return Ok(());
    }
    let insert = sqlx::query(sql::INSERT_EVENTS.as_str()).bind(json(&events)?);
    let insert = insert.bind(account).bind(time(batch.at)).bind(first);
    written(connection, insert, events.len()).await?;
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let next = sqlx::query("UPDATE accounts SET next_event = ?1 WHERE account = ?2");
    written(connection, next.bind(first.saturating_add(count)).bind(account), 1).await
}

async fn write<T: Columns>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    lines: &[Line<T>],
) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    written(connection, sqlx::query(sql).bind(json(&lines)?), lines.len()).await
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
        detail: format!("{} rows were written where {expected} were expected", done.rows_affected()),
    })
}
