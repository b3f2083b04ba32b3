//! What `tranche db` asks of a PostgreSQL database.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tranche_actors::ports::store::StoreError;

use super::faults::classify;
use super::migrating::{BOOKKEEPING, applied};
use super::session::{Patience, Session, connect};
use crate::storage::cells::{cell, number, owned};
use crate::storage::profiles::Role;
use crate::storage::registry::LEDGER;
use crate::storage::upkeep::{Questions, Status, content_findings, structure_findings, version_findings};

/// Columns, constraints, indexes and triggers of the schema that comes first, without its name.
const STRUCTURE: &str = "
SELECT 'column ' || table_name || '.' || column_name || ': ' || data_type || ' ' || is_nullable || ' '
    || coalesce(column_default, '') || is_identity AS what
FROM information_schema.columns WHERE table_schema = current_schema()
UNION ALL
SELECT 'index ' || indexname || ': ' || replace(indexdef, current_schema() || '.', '') FROM pg_indexes
WHERE schemaname = current_schema()
UNION ALL
SELECT 'constraint ' || conname || ': ' || replace(pg_get_constraintdef(oid), current_schema() || '.', '')
FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
UNION ALL
SELECT 'trigger ' || trigger_name || ': ' || event_manipulation || ' on ' || event_object_table
FROM information_schema.triggers WHERE trigger_schema = current_schema()";

/// What the server itself calls unfinished.
const INVALID: &str = "
SELECT 'an index is not valid: ' || indexrelid::regclass::text AS what FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = current_schema()::regnamespace AND NOT (indisvalid AND indisready)
UNION ALL
SELECT 'a constraint was never validated: ' || conname FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND NOT convalidated";

const SIZE: &str = "
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint AS bytes FROM pg_class
WHERE relkind = 'r' AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())";

/// An instance that runs would not see it. Nobody renews a lease meanwhile, since the rows are locked.
const RESTORED: &str = "
WITH ours AS (SELECT account, owner, expires_at FROM accounts WHERE account <> '' FOR UPDATE)
UPDATE accounts SET history = 'restored'
WHERE account <> ''
    AND NOT EXISTS (SELECT 1 FROM ours WHERE ours.owner <> '' AND ours.expires_at > clock_timestamp())";

impl Questions for PgConnection {
    async fn ask(&mut self, sql: &'static str) -> Result<Vec<PgRow>, StoreError> {
        sqlx::query(sql).fetch_all(self).await.map_err(classify)
    }
}

/// A question over everything may take its time.
async fn open(options: &PgConnectOptions) -> Result<Session, StoreError> {
    crate::tls::install();
    let patience = Patience { statement: Duration::ZERO, ..Patience::default() };
    let options = options.clone().application_name("tranche db").disable_statement_logging();
    connect(&options, LEDGER.name, LEDGER.profile, Role::Writer, patience).await
}

/// Says that the ledger was put back from a copy: whoever takes an account next holds what is under way.
///
/// # Errors
/// Where somebody works on it, or it can't be written.
pub async fn restored(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = open(options).await?.connection;
    if sqlx::query(RESTORED).execute(&mut connection).await.map_err(classify)?.rows_affected() == 0 {
        let detail = "an instance works on it, or nothing is there: stop every instance first".to_owned();
        return Err(StoreError::Unusable { detail });
    }
    Ok(())
}

/// Its versions, its size, and what the server itself finds fault with.
///
/// # Errors
/// Where it can't be read.
pub async fn status(options: &PgConnectOptions) -> Result<Status, StoreError> {
    let mut connection = open(options).await?.connection;
    let applied = applied(&mut connection, LEDGER.name).await?;
    let mut findings = version_findings(&applied, LEDGER.postgres_migrations);
    if !applied.is_empty() {
        findings.extend(texts(&mut connection, INVALID).await?);
    }
    let row = sqlx::query(SIZE).fetch_one(&mut connection).await.map_err(classify)?;
    Ok(Status {
        store: LEDGER.name,
        backend: "postgres",
        version: applied.last().map_or(0, |(version, _)| *version),
        known: LEDGER.postgres_migrations.last().map_or(0, |last| last.version),
        bytes: number(&row, "bytes")?,
        findings,
    })
}

/// Everything that is not as it should be.
///
/// # Errors
/// Where it can't be read, or no scratch schema can be made to compare with.
pub async fn verify(options: &PgConnectOptions) -> Result<Vec<String>, StoreError> {
    let mut connection = open(options).await?.connection;
    let mut findings = version_findings(&applied(&mut connection, LEDGER.name).await?, LEDGER.postgres_migrations);
    if !findings.is_empty() {
        return Ok(findings);
    }
    findings.extend(texts(&mut connection, INVALID).await?);
    let found = texts(&mut connection, STRUCTURE).await?;
    let structure = structure_findings(&fresh(&mut connection).await?, &found);
    let is_ours = structure.is_empty();
    findings.extend(structure);
    // Where columns are missing, nothing sensible can be asked of their tables.
    if is_ours {
        // One picture of all tables, whoever writes meanwhile.
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut connection)
            .await
            .map_err(classify)?;
        findings.extend(content_findings(&mut connection).await?);
    }
    Ok(findings)
}

/// The structure that the migrations make, in a schema that nobody else ever sees.
async fn fresh(connection: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let made = async {
        let scratch = "BEGIN; CREATE SCHEMA tranche_scratch; SET LOCAL search_path TO tranche_scratch";
        let scripts = LEDGER.postgres_migrations.iter().map(|migration| migration.up);
        for sql in [scratch, BOOKKEEPING].into_iter().chain(scripts) {
            // The scripts are the program's own: no part of them comes from outside.
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.map_err(classify)?;
        }
        texts(connection, STRUCTURE).await
    };
    let made = made.await;
    sqlx::raw_sql("ROLLBACK").execute(connection).await.map_err(classify)?;
    made
}

async fn texts(connection: &mut PgConnection, sql: &'static str) -> Result<Vec<String>, StoreError> {
    connection.ask(sql).await?.iter().map(|row| cell(row, "what", owned)).collect()
}
