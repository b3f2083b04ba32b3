//! The keys of the API: each change is one short transaction of its own, beside the batches and without their row.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{Arguments, ConnectOptions, Connection};
use tranche_actors::domain::audit::AuditEntry;
use tranche_actors::domain::keys::{ApiKey, KeyId};
use tranche_actors::ports::store::StoreError;

use super::columns::{arguments, unbound};
use super::faults::classify;
use super::save::sql::INSERT_AUDIT;
use super::session::{self, Patience};
use crate::storage::cells::api_key;
use crate::storage::profiles::Role;
use crate::storage::registry::LEDGER;
use crate::storage::rows::AuditRow;

const ALL: &str = "SELECT * FROM api_keys ORDER BY created_at, id COLLATE \"C\"";
const BY_ID: &str = "SELECT * FROM api_keys WHERE id = $1";
const INSERT: &str = "INSERT INTO api_keys (id, name, role, hash, created_at) VALUES ($1, $2, $3, $4, $5)";
const REVOKE: &str = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";

/// A connection of its own.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    crate::tls::install();
    let options = options.clone().application_name("tranche keys").disable_statement_logging();
    let session = session::connect(&options, LEDGER.name, LEDGER.profile, Role::Writer, Patience::default()).await?;
    Ok(session.connection)
}

/// Whether the database has a key, taken back or not. A ledger that is not there, or is older than keys, has none.
pub(crate) async fn look(options: &PgConnectOptions) -> Result<bool, StoreError> {
    let mut connection = connect(options).await?;
    let table = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'api_keys'";
    let table = sqlx::query(table).fetch_optional(&mut connection).await.map_err(classify)?;
    Ok(table.is_some() && !all(&mut connection).await?.is_empty())
}

pub(crate) async fn add(connection: &mut PgConnection, key: &ApiKey, entry: &AuditEntry) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await.map_err(classify)?;
    let insert = sqlx::query(INSERT).bind(key.id.as_str()).bind(key.name.as_str()).bind(key.role.as_str());
    let insert = insert.bind(key.hash.as_str()).bind(key.created_at);
    insert.execute(&mut *transaction).await.map_err(classify)?;
    enter(&mut transaction, entry, key.created_at).await?;
    transaction.commit().await.map_err(classify)
}

/// Takes keys back, each with its entry; one that was taken back before is left as it is.
pub(crate) async fn revoke(
    connection: &mut PgConnection,
    keys: &[(KeyId, AuditEntry)],
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await.map_err(classify)?;
    for (id, entry) in keys {
        let revoke = sqlx::query(REVOKE).bind(id.as_str()).bind(at);
        if revoke.execute(&mut *transaction).await.map_err(classify)?.rows_affected() > 0 {
            enter(&mut transaction, entry, at).await?;
        }
    }
    transaction.commit().await.map_err(classify)
}

async fn enter(connection: &mut PgConnection, entry: &AuditEntry, at: DateTime<Utc>) -> Result<(), StoreError> {
    let mut arguments = arguments(&[AuditRow::of(entry)])?;
    let nobody: Option<&str> = None;
    arguments.add(nobody).map_err(unbound)?;
    arguments.add(at).map_err(unbound)?;
    sqlx::query_with(INSERT_AUDIT.as_str(), arguments).execute(connection).await.map_err(classify)?;
    Ok(())
}

pub(crate) async fn all(connection: &mut PgConnection) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query(ALL).fetch_all(connection).await.map_err(classify)?;
    rows.iter().map(api_key).collect()
}

pub(super) async fn read_all(pool: &PgPool) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query(ALL).fetch_all(pool).await.map_err(classify)?;
    rows.iter().map(api_key).collect()
}

pub(super) async fn read(pool: &PgPool, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    let row = sqlx::query(BY_ID).bind(id.as_str()).fetch_optional(pool).await.map_err(classify)?;
    row.as_ref().map(api_key).transpose()
}
