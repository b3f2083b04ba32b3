//! Who has which account, and for how long; which instances there are. The file's clock is that of the machine.

use std::time::Duration;

use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqlitePool};
use tranche_actors::domain::names::AccountName;
use tranche_actors::ports::store::{Acquired, InstanceCard, Ownership, SeenAccount, SeenInstance, Stack, StoreError};

use super::cells::time as written;
use super::faults::classify;
use crate::storage::cells::{account, cell, maybe, maybe_number, number, owned, time};

/// Takes an account that nobody else holds; without a lease whoever does. No row: somebody holds it.
const ACQUIRE: &str = "
INSERT INTO accounts (account, owner, term, expires_at, next_event, batch)
VALUES (?1, ?2, 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?3), 1, 0)
ON CONFLICT (account) DO UPDATE SET owner = excluded.owner, term = term + 1, expires_at = excluded.expires_at
WHERE ?3 IS NULL OR owner IN ('', excluded.owner) OR expires_at IS NULL
    OR expires_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
RETURNING term";

/// The accounts, with what is left of their leases in milliseconds.
const ACCOUNTS: &str = "
SELECT account, nullif(owner, '') AS owner, term,
    CAST(round((unixepoch(expires_at, 'subsec') - unixepoch('now', 'subsec')) * 1000) AS INTEGER) AS left_ms
FROM accounts WHERE account <> '' AND (?1 IS NULL OR account = ?1) ORDER BY account";

const RENEW: &str = "
UPDATE accounts SET expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?4)
WHERE account = ?1 AND owner = ?2 AND term = ?3";

/// The term of whoever had it is over, too.
const RELEASE: &str = "
UPDATE accounts SET owner = '', term = term + 1, expires_at = NULL WHERE account = ?1 AND owner = ?2 AND term = ?3";

const HISTORY: &str = "SELECT history FROM accounts WHERE account = ?1 AND owner = ?2 AND term = ?3";

const CAUGHT_UP: &str = "UPDATE accounts SET history = NULL WHERE account = ?1 AND owner = ?2 AND term = ?3";

const HEARTBEAT: &str = "
INSERT INTO instance_metadata (instance_id, address, version, started_at, heartbeat_at)
VALUES (?1, ?2, ?3, ?4, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
ON CONFLICT (instance_id) DO UPDATE SET address = excluded.address, version = excluded.version,
    started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at";

const FORGET: &str = "
DELETE FROM instance_metadata WHERE heartbeat_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')";

const INSTANCES: &str = "
SELECT instance_id, address, version, started_at,
    CAST(round((unixepoch('now', 'subsec') - unixepoch(heartbeat_at, 'subsec')) * 1000) AS INTEGER) AS age_ms
FROM instance_metadata ORDER BY instance_id";

pub(super) async fn acquire(
    connection: &mut SqliteConnection,
    account: &AccountName,
    instance: &str,
    lease: Option<Duration>,
) -> Result<Acquired, StoreError> {
    let query = sqlx::query(ACQUIRE).bind(account.as_str()).bind(instance).bind(lease.map(modifier));
    let row = query.fetch_optional(&mut *connection).await.map_err(classify)?;
    if let Some(row) = row {
        let (account, owner) = (account.clone(), instance.to_owned());
        return Ok(Acquired::Taken(Ownership { account, owner, term: number(&row, "term")? }));
    }
    let row = sqlx::query(ACCOUNTS).bind(account.as_str()).fetch_one(connection).await.map_err(classify)?;
    Ok(Acquired::HeldBy {
        owner: maybe(&row, "owner", owned)?.unwrap_or_default(),
        left: left(maybe_number(&row, "left_ms")?),
    })
}

pub(super) async fn renew(
    connection: &mut SqliteConnection,
    ownership: &Ownership,
    lease: Duration,
) -> Result<(), StoreError> {
    let query = owned_so(RENEW, ownership)?.bind(modifier(lease));
    still_owned(query.execute(connection).await.map_err(classify)?.rows_affected())
}

pub(super) async fn release(connection: &mut SqliteConnection, ownership: &Ownership) -> Result<(), StoreError> {
    let query = owned_so(RELEASE, ownership)?;
    still_owned(query.execute(connection).await.map_err(classify)?.rows_affected())
}

/// Whether somebody said that the file was put back from a copy.
pub(super) async fn is_rewound(connection: &mut SqliteConnection, ownership: &Ownership) -> Result<bool, StoreError> {
    let query = owned_so(HISTORY, ownership)?;
    let row = query.fetch_optional(connection).await.map_err(classify)?;
    Ok(maybe(&row.ok_or(StoreError::Deposed)?, "history", owned)?.is_some())
}

pub(super) async fn caught_up(connection: &mut SqliteConnection, ownership: &Ownership) -> Result<(), StoreError> {
    let query = owned_so(CAUGHT_UP, ownership)?;
    still_owned(query.execute(connection).await.map_err(classify)?.rows_affected())
}

pub(super) async fn heartbeat(connection: &mut SqliteConnection, card: &InstanceCard) -> Result<(), StoreError> {
    let beat = sqlx::query(HEARTBEAT).bind(&card.id).bind(&card.address).bind(&card.version);
    beat.bind(written(card.started_at)).execute(&mut *connection).await.map_err(classify)?;
    sqlx::query(FORGET).execute(connection).await.map_err(classify)?;
    Ok(())
}

pub(super) async fn farewell(connection: &mut SqliteConnection, instance: &str) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM instance_metadata WHERE instance_id = ?1").bind(instance);
    query.execute(connection).await.map_err(classify)?;
    Ok(())
}

pub(super) async fn stack(pool: &SqlitePool) -> Result<Stack, StoreError> {
    let mut stack = Stack::default();
    for row in sqlx::query(INSTANCES).fetch_all(pool).await.map_err(classify)? {
        let card = InstanceCard {
            id: cell(&row, "instance_id", owned)?,
            address: maybe(&row, "address", owned)?,
            version: cell(&row, "version", owned)?,
            started_at: time(&row, "started_at")?,
        };
        stack.instances.push(SeenInstance { card, age: left(Some(number(&row, "age_ms")?)) });
    }
    for row in sqlx::query(ACCOUNTS).bind(None::<&str>).fetch_all(pool).await.map_err(classify)? {
        let left_ms = maybe_number(&row, "left_ms")?;
        stack.accounts.push(SeenAccount {
            account: cell(&row, "account", account)?,
            owner: maybe(&row, "owner", owned)?,
            term: number(&row, "term")?,
            left: left_ms.map(|left_ms| left(Some(left_ms))),
        });
    }
    Ok(stack)
}

fn still_owned(rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Deposed) }
}

/// A statement about an account's row as its owner knows it: account, owner and term are its first three.
fn owned_so<'q>(sql: &'static str, ownership: &'q Ownership) -> Result<Query<'q, Sqlite, SqliteArguments>, StoreError> {
    let term = i64::try_from(ownership.term).map_err(|_| StoreError::Deposed)?;
    Ok(sqlx::query(sql).bind(ownership.account.as_str()).bind(ownership.owner.as_str()).bind(term))
}

/// A time from now on, as SQLite's date functions take it.
fn modifier(lease: Duration) -> String {
    format!("+{}.{:03} seconds", lease.as_secs(), lease.subsec_millis())
}

/// What is over has nothing left.
fn left(millis: Option<i64>) -> Duration {
    Duration::from_millis(millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or_default())
}
