//! The paper broker's book in a SQLite file of its own, which outlives the gateway as a broker does.
//!
//! Rows go in and come out as JSON, a set at a time, with decimals as texts, so no number is ever a float.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use thiserror::Error;
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::venue::Execution;
use tranche_actors::market::book::{Book, BookOrder, BookState, Change};

use super::rows::{OrderRow, PaperBook, PositionRow};

const LAYOUT: i64 = 2;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const CREATE: &str = "
CREATE TABLE account (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cash TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE TABLE orders (
    seq INTEGER PRIMARY KEY,
    broker_order_id TEXT NOT NULL UNIQUE,
    client_order_id TEXT NOT NULL UNIQUE,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    qty TEXT NOT NULL,
    order_type TEXT NOT NULL,
    limit_price TEXT,
    stop_price TEXT,
    time_in_force TEXT NOT NULL,
    extended_hours INTEGER NOT NULL,
    status TEXT NOT NULL,
    filled_qty TEXT NOT NULL,
    filled_avg_price TEXT,
    reason_code TEXT,
    reason_message TEXT,
    submitted_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    expires_at TEXT,
    cancel_at TEXT,
    triggered INTEGER NOT NULL,
    cost TEXT NOT NULL,
    reserve_price TEXT NOT NULL
) STRICT;
CREATE TABLE executions (
    number INTEGER PRIMARY KEY,
    execution_id TEXT NOT NULL UNIQUE,
    broker_order_id TEXT NOT NULL REFERENCES orders (broker_order_id),
    qty TEXT NOT NULL,
    price TEXT NOT NULL,
    cum_qty TEXT NOT NULL,
    fee TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (broker_order_id, cum_qty)
) STRICT;
CREATE TABLE positions (
    symbol TEXT PRIMARY KEY,
    qty TEXT NOT NULL
) STRICT;
CREATE TABLE replays (
    symbol TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    origin TEXT NOT NULL
) STRICT;
PRAGMA user_version = 1;
";

/// What a book of the layout before lacks.
const TO_LAYOUT_2: &str = "
ALTER TABLE orders ADD COLUMN trail_price TEXT;
ALTER TABLE orders ADD COLUMN trail_percent TEXT;
ALTER TABLE orders ADD COLUMN trail_mark TEXT;
ALTER TABLE orders ADD COLUMN replaces TEXT;
ALTER TABLE orders ADD COLUMN replaced_by TEXT;
ALTER TABLE orders ADD COLUMN replacement TEXT;
ALTER TABLE orders ADD COLUMN replacement_at TEXT;
ALTER TABLE orders ADD COLUMN carried_qty TEXT NOT NULL DEFAULT '0';
PRAGMA user_version = 2;
";

const PUT_ORDERS: &str = "
INSERT INTO orders (
    seq, broker_order_id, client_order_id, symbol, side, qty, order_type, limit_price, stop_price, time_in_force,
    extended_hours, status, filled_qty, filled_avg_price, reason_code, reason_message, submitted_at, updated_at,
    expires_at, cancel_at, triggered, cost, reserve_price, trail_price, trail_percent, trail_mark, replaces,
    replaced_by, replacement, replacement_at, carried_qty
)
SELECT
    value->>'seq', value->>'broker_order_id', value->>'client_order_id', value->>'symbol', value->>'side',
    value->>'qty', value->>'order_type', value->>'limit_price', value->>'stop_price', value->>'time_in_force',
    value->>'extended_hours', value->>'status', value->>'filled_qty', value->>'filled_avg_price',
    value->>'reason_code', value->>'reason_message', value->>'submitted_at', value->>'updated_at',
    value->>'expires_at', value->>'cancel_at', value->>'triggered', value->>'cost', value->>'reserve_price',
    value->>'trail_price', value->>'trail_percent', value->>'trail_mark', value->>'replaces', value->>'replaced_by',
    value->>'replacement', value->>'replacement_at', value->>'carried_qty'
FROM json_each(?1)
WHERE true
ON CONFLICT (seq) DO UPDATE SET
    status = excluded.status, filled_qty = excluded.filled_qty, filled_avg_price = excluded.filled_avg_price,
    reason_code = excluded.reason_code, reason_message = excluded.reason_message, updated_at = excluded.updated_at,
    cancel_at = excluded.cancel_at, triggered = excluded.triggered, cost = excluded.cost,
    trail_mark = excluded.trail_mark, replaced_by = excluded.replaced_by, replacement = excluded.replacement,
    replacement_at = excluded.replacement_at";

const PUT_EXECUTIONS: &str = "
INSERT INTO executions (execution_id, broker_order_id, qty, price, cum_qty, fee, at)
SELECT
    value->>'execution_id', value->>'broker_order_id', value->>'qty', value->>'price', value->>'cum_qty',
    value->>'fee', value->>'at'
FROM json_each(?1)";

const PUT_POSITIONS: &str = "
INSERT INTO positions (symbol, qty)
SELECT value->>'symbol', value->>'qty'
FROM json_each(?1)
WHERE true
ON CONFLICT (symbol) DO UPDATE SET qty = excluded.qty";

const GET_ORDERS: &str = "
SELECT json_object(
    'seq', seq, 'broker_order_id', broker_order_id, 'client_order_id', client_order_id, 'symbol', symbol,
    'side', side, 'qty', qty, 'order_type', order_type, 'limit_price', limit_price, 'stop_price', stop_price,
    'time_in_force', time_in_force, 'extended_hours', json(iif(extended_hours, 'true', 'false')), 'status', status,
    'filled_qty', filled_qty, 'filled_avg_price', filled_avg_price, 'reason_code', reason_code,
    'reason_message', reason_message, 'submitted_at', submitted_at, 'updated_at', updated_at,
    'expires_at', expires_at, 'cancel_at', cancel_at, 'triggered', json(iif(triggered, 'true', 'false')),
    'cost', cost, 'reserve_price', reserve_price, 'trail_price', trail_price, 'trail_percent', trail_percent,
    'trail_mark', trail_mark, 'replaces', replaces, 'replaced_by', replaced_by, 'replacement', replacement,
    'replacement_at', replacement_at, 'carried_qty', carried_qty
)
FROM orders ORDER BY seq";

const GET_EXECUTIONS: &str = "
SELECT json_object(
    'execution_id', e.execution_id, 'broker_order_id', e.broker_order_id, 'client_order_id', o.client_order_id,
    'symbol', o.symbol, 'side', o.side, 'qty', e.qty, 'price', e.price, 'cum_qty', e.cum_qty, 'fee', e.fee, 'at', e.at
)
FROM executions e JOIN orders o ON o.broker_order_id = e.broker_order_id
ORDER BY e.number";

const GET_POSITIONS: &str = "SELECT json_object('symbol', symbol, 'qty', qty) FROM positions ORDER BY symbol";

/// Why the book can't be used.
#[derive(Debug, Error)]
pub enum BookFileError {
    /// There is none.
    #[error("there is no book at that path")]
    Missing,
    /// The file was laid out by another version of the program.
    #[error("the book has layout {found}, this program knows {LAYOUT}")]
    Layout {
        /// The layout's number.
        found: i64,
    },
    /// Another process has written to the book since this one read it.
    #[error("another process writes this book")]
    Shared,
    /// A row is not what this program writes.
    #[error("the book has a row that can't be read")]
    Row(#[from] serde_json::Error),
    /// A row's values don't go together.
    #[error("the book has an order that can't be: {0}")]
    Impossible(String),
    /// The folder can't be made.
    #[error("the book's folder can't be made")]
    Folder(#[from] std::io::Error),
    /// SQLite can't read or write it.
    #[error("the book can't be read or written")]
    Sqlite(#[from] sqlx::Error),
}

/// The one connection that writes the book.
pub(super) struct BookFile {
    connection: SqliteConnection,
    /// Grows with every commit, so that a second writer is noticed instead of mixed in.
    version: i64,
}

impl BookFile {
    /// Opens the book, or begins one with this cash.
    pub(super) async fn open(path: &Path, cash: Decimal) -> Result<Self, BookFileError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging()
            .connect()
            .await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let found = layout(&mut transaction).await?;
        if found == 0 {
            sqlx::raw_sql(CREATE).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO account (id, cash, version) VALUES (1, ?1, 0)")
                .bind(cash.normalize().to_string())
                .execute(&mut *transaction)
                .await?;
        }
        match found {
            0 | 1 => {
                sqlx::raw_sql(TO_LAYOUT_2).execute(&mut *transaction).await?;
            }
            LAYOUT => {}
            found => return Err(BookFileError::Layout { found }),
        }
        transaction.commit().await?;
        Ok(Self { connection, version: 0 })
    }

    /// The book as it is on disk.
    pub(super) async fn load(&mut self) -> Result<BookState, BookFileError> {
        // As a writer, so that a commit of ours that was cut off has ended one way or the other.
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let version = sqlx::query_scalar::<_, i64>("SELECT version FROM account").fetch_one(&mut *transaction).await?;
        let book = read_all(&mut transaction).await?;
        transaction.rollback().await?;
        self.version = version;
        let orders = book.orders.into_iter().map(BookOrder::try_from);
        Ok(BookState {
            cash: book.cash,
            positions: book.positions.into_iter().map(|row| (row.symbol, row.qty)).collect(),
            orders: orders.collect::<Result<_, _>>().map_err(BookFileError::Impossible)?,
            executions: book.executions.into_iter().map(Execution::from).collect(),
        })
    }

    /// When the replay of a series began: now, unless it began before and is still the same.
    pub(super) async fn origin(
        &mut self,
        symbol: &Symbol,
        fingerprint: &str,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, BookFileError> {
        let origin = sqlx::query_scalar::<_, String>(
            "INSERT INTO replays (symbol, fingerprint, origin) VALUES (?1, ?2, ?3)
             ON CONFLICT (symbol) DO UPDATE SET
                 origin = iif(fingerprint = excluded.fingerprint, origin, excluded.origin),
                 fingerprint = excluded.fingerprint
             RETURNING json_quote(origin)",
        )
        .bind(symbol.as_str())
        .bind(fingerprint)
        .bind(text(&now)?)
        .fetch_one(&mut self.connection)
        .await?;
        Ok(serde_json::from_str(&origin)?)
    }

    /// Makes changes durable, all or none. `book` is the book after them.
    pub(super) async fn commit(&mut self, changes: &[Change], book: &Book) -> Result<(), BookFileError> {
        let mut last = BTreeMap::new();
        let mut positions = BTreeMap::new();
        for Change { order, execution } in changes {
            last.insert(order.seq, order);
            let symbol = &order.order.instruction.symbol;
            if let (Some(_), Some(qty)) = (execution, book.positions().get(symbol)) {
                positions.insert(symbol, qty.normalize());
            }
        }
        let orders = last.into_values().map(OrderRow::from).collect::<Vec<_>>();
        let executions = changes.iter().filter_map(|change| change.execution.as_ref());
        let executions = executions.collect::<Vec<_>>();
        let positions = positions.into_iter().map(|(symbol, qty)| PositionRow { symbol: symbol.clone(), qty });

        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let ours = sqlx::query("UPDATE account SET cash = ?1, version = version + 1 WHERE version = ?2")
            .bind(book.cash().normalize().to_string())
            .bind(self.version)
            .execute(&mut *transaction)
            .await?;
        if ours.rows_affected() != 1 {
            return Err(BookFileError::Shared);
        }
        let sets = [
            (PUT_ORDERS, orders.len(), serde_json::to_string(&orders)?),
            (PUT_EXECUTIONS, executions.len(), serde_json::to_string(&executions)?),
            (PUT_POSITIONS, executions.len(), serde_json::to_string(&positions.collect::<Vec<_>>())?),
        ];
        for (statement, rows, set) in sets {
            if rows > 0 {
                sqlx::query(statement).bind(set).execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await?;
        self.version += 1;
        Ok(())
    }

    pub(super) async fn close(self) -> Result<(), BookFileError> {
        Ok(self.connection.close().await?)
    }
}

/// Reads a book, whether or not a server runs on it, and changes nothing.
///
/// # Errors
/// [`BookFileError`]; [`BookFileError::Missing`] before the first start.
pub async fn read(path: &Path) -> Result<PaperBook, BookFileError> {
    if !path.exists() {
        return Err(BookFileError::Missing);
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
        .connect()
        .await?;
    let mut transaction = connection.begin().await?;
    let book = match layout(&mut transaction).await? {
        LAYOUT => read_all(&mut transaction).await?,
        found => return Err(BookFileError::Layout { found }),
    };
    transaction.rollback().await?;
    connection.close().await?;
    Ok(book)
}

async fn layout(connection: &mut SqliteConnection) -> Result<i64, BookFileError> {
    Ok(sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await?)
}

async fn read_all(connection: &mut SqliteConnection) -> Result<PaperBook, BookFileError> {
    let cash = rows::<Decimal>(connection, "SELECT json_quote(cash) FROM account").await?;
    Ok(PaperBook {
        cash: cash.into_iter().sum(),
        positions: rows(connection, GET_POSITIONS).await?,
        orders: rows(connection, GET_ORDERS).await?,
        executions: rows(connection, GET_EXECUTIONS).await?,
    })
}

async fn rows<T: DeserializeOwned>(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<Vec<T>, BookFileError> {
    let rows = sqlx::query_scalar::<_, String>(statement).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row)?)).collect()
}

/// A time as the book's rows spell it.
fn text(at: &DateTime<Utc>) -> Result<String, BookFileError> {
    let quoted = serde_json::to_string(at)?;
    Ok(quoted.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use tranche_actors::domain::venue::VenueStatus;

    use super::*;

    #[tokio::test]
    async fn a_book_of_the_layout_before_is_taken_over_with_its_orders() {
        let path = std::env::temp_dir().join(format!("tranche-book-{}.db", uuid::Uuid::new_v4()));
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut old = options.connect().await.unwrap();
        sqlx::raw_sql(CREATE).execute(&mut old).await.unwrap();
        let rows = "INSERT INTO account VALUES (1, '100', 7);
            INSERT INTO orders VALUES (1, 'paper-000001-a', 'a', 'AAPL', 'buy', '10', 'stop', NULL, '120', 'gtc', 0,
            'accepted', '0', NULL, NULL, NULL, '2026-03-02T12:00:00Z', '2026-03-02T12:00:00Z', NULL, NULL, 0, '0', '120')";
        sqlx::raw_sql(rows).execute(&mut old).await.unwrap();
        old.close().await.unwrap();
        for _ in 0..2 {
            let mut file = BookFile::open(&path, Decimal::ZERO).await.unwrap();
            let book = file.load().await.unwrap();
            assert_eq!((book.cash, book.orders.len()), (Decimal::ONE_HUNDRED, 1));
            assert_eq!(book.orders[0].order.status, VenueStatus::Accepted);
            assert_eq!((book.orders[0].carried_qty, &book.orders[0].replacement), (Decimal::ZERO, &None));
            file.close().await.unwrap();
        }
        std::fs::remove_file(&path).unwrap();
    }
}
