//! The keys of the API, in the ledger that a server may have open: each change is one short transaction of its own, beside
//! the batches and without their row.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use tranche_actors::domain::audit::AuditEntry;
use tranche_actors::domain::keys::{ApiKey, KeyId};
use tranche_actors::ports::store::StoreError;

use super::cells::time;
use super::columns::Line;
use super::faults::classify;
use super::save::sql::INSERT_AUDIT;
use crate::storage::cells::api_key;
use crate::storage::profiles::Role;
use crate::storage::registry::LEDGER;
use crate::storage::rows::{AuditRow, json};

const ALL: &str = "SELECT * FROM api_keys ORDER BY created_at, id";
const BY_ID: &str = "SELECT * FROM api_keys WHERE id = ?1";
const INSERT: &str = "INSERT INTO api_keys (id, name, role, hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
const REVOKE: &str = "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";

/// How long the server's own transaction is waited for.
const WAIT: Duration = Duration::from_secs(5);

/// A connection to the ledger of a folder, whoever else has it open. It makes no file and no table.
pub(crate) async fn connect(folder: &Path) -> Result<SqliteConnection, StoreError> {
    let options = LEDGER.profile.options(&folder.join(LEDGER.sqlite_file), Role::Writer, WAIT);
    let mut connection = options.create_if_missing(false).connect().await.map_err(classify)?;
    LEDGER.profile.check(&mut connection, Role::Writer, WAIT).await?;
    Ok(connection)
}

/// Whether a folder's ledger has a key, taken back or not. One that is not there, or is older than keys, has none.
pub(crate) async fn look(folder: &Path) -> Result<bool, StoreError> {
    let file = folder.join(LEDGER.sqlite_file);
    if !file.exists() {
        return Ok(false);
    }
    let options = LEDGER.profile.options(&file, Role::Reader, WAIT);
    let mut connection = options.connect().await.map_err(classify)?;
    let table = "SELECT 1 FROM sqlite_schema WHERE name = 'api_keys'";
    let table = sqlx::query(table).fetch_optional(&mut connection).await.map_err(classify)?;
    Ok(table.is_some() && !all(&mut connection).await?.is_empty())
}

pub(crate) async fn add(connection: &mut SqliteConnection, key: &ApiKey, entry: &AuditEntry) -> Result<(), StoreError> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(classify)?;
    let insert = sqlx::query(INSERT).bind(key.id.as_str()).bind(key.name.as_str()).bind(key.role.as_str());
    let insert = insert.bind(key.hash.as_str()).bind(time(key.created_at));
    insert.execute(&mut *connection).await.map_err(classify)?;
    enter(connection, entry, key.created_at).await?;
    sqlx::query("COMMIT").execute(connection).await.map_err(classify)?;
    Ok(())
}

/// Takes keys back, each with its entry; one that was taken back before is left as it is.
pub(crate) async fn revoke(
    connection: &mut SqliteConnection,
    keys: &[(KeyId, AuditEntry)],
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(classify)?;
    for (id, entry) in keys {
        let revoke = sqlx::query(REVOKE).bind(id.as_str()).bind(time(at));
        if revoke.execute(&mut *connection).await.map_err(classify)?.rows_affected() > 0 {
            enter(connection, entry, at).await?;
        }
    }
    sqlx::query("COMMIT").execute(connection).await.map_err(classify)?;
    Ok(())
}

async fn enter(connection: &mut SqliteConnection, entry: &AuditEntry, at: DateTime<Utc>) -> Result<(), StoreError> {
    let line = json(&[Line(AuditRow::of(entry))])?;
    let nobody: Option<&str> = None;
    let query = sqlx::query(INSERT_AUDIT.as_str()).bind(line).bind(nobody).bind(time(at));
    query.execute(connection).await.map_err(classify)?;
    Ok(())
}

pub(crate) async fn all(connection: &mut SqliteConnection) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query(ALL).fetch_all(connection).await.map_err(classify)?;
    rows.iter().map(api_key).collect()
}

pub(super) async fn read_all(pool: &SqlitePool) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query(ALL).fetch_all(pool).await.map_err(classify)?;
    rows.iter().map(api_key).collect()
}

pub(super) async fn read(pool: &SqlitePool, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    let row = sqlx::query(BY_ID).bind(id.as_str()).fetch_optional(pool).await.map_err(classify)?;
    row.as_ref().map(api_key).transpose()
}
