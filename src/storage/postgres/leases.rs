//! Who has which account, and for how long; which instances there are. All by the server's clock.

use std::time::Duration;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgPool};
use sqlx::query::Query;
use tranche_actors::domain::names::AccountName;
use tranche_actors::ports::store::{Acquired, InstanceCard, Ownership, SeenAccount, SeenInstance, Stack, StoreError};

use super::faults::classify;
use super::session::Session;
use crate::storage::cells::{account, cell, maybe, maybe_number, number, owned, time};

/// Takes an account that nobody else holds; without a lease whoever does. No row: somebody holds it. The clock is read
/// once the row is ours, however long that took.
const ACQUIRE: &str = "
INSERT INTO accounts AS a (account, owner, term, expires_at, next_event, batch, history)
VALUES ($1, $2, 1, clock_timestamp() + $3 * interval '1 millisecond', 1, 0, $4)
ON CONFLICT (account) DO UPDATE SET owner = excluded.owner, term = a.term + 1,
    expires_at = clock_timestamp() + $3 * interval '1 millisecond'
WHERE $3 IS NULL OR a.owner IN ('', excluded.owner) OR a.expires_at IS NULL OR a.expires_at <= clock_timestamp()
RETURNING term";

/// The accounts, with what is left of their leases in milliseconds.
const ACCOUNTS: &str = "
SELECT account, nullif(owner, '') AS owner, term,
    (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint AS left_ms
FROM accounts WHERE account <> '' AND ($1 IS NULL OR account = $1) ORDER BY account COLLATE \"C\"";

const RENEW: &str = "
UPDATE accounts SET expires_at = clock_timestamp() + $4 * interval '1 millisecond'
WHERE account = $1 AND owner = $2 AND term = $3
RETURNING tableoid::text AS in_table";

/// The term of whoever had it is over, too.
const RELEASE: &str = "
UPDATE accounts SET owner = '', term = term + 1, expires_at = NULL WHERE account = $1 AND owner = $2 AND term = $3";

const HISTORY: &str = "SELECT history FROM accounts WHERE account = $1 AND owner = $2 AND term = $3";

const CAUGHT_UP: &str = "UPDATE accounts SET history = $4 WHERE account = $1 AND owner = $2 AND term = $3";

const HEARTBEAT: &str = "
INSERT INTO instance_metadata (instance_id, address, version, started_at, heartbeat_at)
VALUES ($1, $2, $3, $4, clock_timestamp())
ON CONFLICT (instance_id) DO UPDATE SET address = excluded.address, version = excluded.version,
    started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at";

const FORGET: &str = "DELETE FROM instance_metadata WHERE heartbeat_at < clock_timestamp() - interval '1 day'";

const INSTANCES: &str = "
SELECT instance_id, address, version, started_at,
    (extract(epoch FROM clock_timestamp() - heartbeat_at) * 1000)::bigint AS age_ms
FROM instance_metadata ORDER BY instance_id COLLATE \"C\"";

pub(super) async fn acquire(
    session: &mut Session,
    account: &AccountName,
    instance: &str,
    lease: Option<Duration>,
) -> Result<Acquired, StoreError> {
    let query =
        sqlx::query(ACQUIRE).bind(account.as_str()).bind(instance).bind(lease.map(millis)).bind(&session.history);
    let row = query.fetch_optional(&mut session.connection).await.map_err(classify)?;
    if let Some(row) = row {
        let (account, owner) = (account.clone(), instance.to_owned());
        return Ok(Acquired::Taken(Ownership { account, owner, term: number(&row, "term")? }));
    }
    let row =
        sqlx::query(ACCOUNTS).bind(account.as_str()).fetch_one(&mut session.connection).await.map_err(classify)?;
    Ok(Acquired::HeldBy {
        owner: maybe(&row, "owner", owned)?.unwrap_or_default(),
        left: left(maybe_number(&row, "left_ms")?),
    })
}

pub(super) async fn renew(session: &mut Session, ownership: &Ownership, lease: Duration) -> Result<(), StoreError> {
    let query = owned_so(RENEW, ownership)?.bind(millis(lease));
    let row = query.fetch_optional(&mut session.connection).await.map_err(classify)?.ok_or(StoreError::Deposed)?;
    // Tables that were replaced in place leave the connections as they are.
    if session.writes_to(&cell(&row, "in_table", owned)?) { Ok(()) } else { Err(StoreError::Deposed) }
}

pub(super) async fn release(session: &mut Session, ownership: &Ownership) -> Result<(), StoreError> {
    let query = owned_so(RELEASE, ownership)?;
    still_owned(query.execute(&mut session.connection).await.map_err(classify)?.rows_affected())
}

/// Whether the account was last seen to under another history of the database than this one.
pub(super) async fn is_rewound(session: &mut Session, ownership: &Ownership) -> Result<bool, StoreError> {
    let query = owned_so(HISTORY, ownership)?;
    let row = query.fetch_optional(&mut session.connection).await.map_err(classify)?;
    let seen = maybe(&row.ok_or(StoreError::Deposed)?, "history", owned)?;
    Ok(seen.as_ref() != Some(&session.history))
}

pub(super) async fn caught_up(session: &mut Session, ownership: &Ownership) -> Result<(), StoreError> {
    let query = owned_so(CAUGHT_UP, ownership)?.bind(&session.history);
    still_owned(query.execute(&mut session.connection).await.map_err(classify)?.rows_affected())
}

pub(super) async fn heartbeat(session: &mut Session, card: &InstanceCard) -> Result<(), StoreError> {
    let beat = sqlx::query(HEARTBEAT).bind(&card.id).bind(&card.address).bind(&card.version);
    beat.bind(card.started_at).execute(&mut session.connection).await.map_err(classify)?;
    sqlx::query(FORGET).execute(&mut session.connection).await.map_err(classify)?;
    Ok(())
}

pub(super) async fn farewell(session: &mut Session, instance: &str) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM instance_metadata WHERE instance_id = $1").bind(instance);
    query.execute(&mut session.connection).await.map_err(classify)?;
    Ok(())
}

pub(super) async fn stack(pool: &PgPool) -> Result<Stack, StoreError> {
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
fn owned_so<'q>(sql: &'static str, ownership: &'q Ownership) -> Result<Query<'q, Postgres, PgArguments>, StoreError> {
    let term = i64::try_from(ownership.term).map_err(|_| StoreError::Deposed)?;
    Ok(sqlx::query(sql).bind(ownership.account.as_str()).bind(ownership.owner.as_str()).bind(term))
}

fn millis(lease: Duration) -> i64 {
    i64::try_from(lease.as_millis()).unwrap_or(i64::MAX)
}

/// What is over has nothing left.
fn left(millis: Option<i64>) -> Duration {
    Duration::from_millis(millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or_default())
}
