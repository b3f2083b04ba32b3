//! The schema's life on PostgreSQL: the same rules and tables as on SQLite, under a lock that all instances share.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};
use tranche_actors::ports::store::StoreError;

use super::faults::classify;
use super::session::{Patience, connect};
use crate::storage::cells::{cell, number, owned};
use crate::storage::migrations::{Migrated, Migration, checksum, elapsed_ms, failed, pending};
use crate::storage::profiles::Role;
use crate::storage::registry::StoreSpec;

pub(super) const BOOKKEEPING: &str = "
CREATE TABLE IF NOT EXISTS schema_version (
    version           BIGINT PRIMARY KEY,
    applied_at        TIMESTAMPTZ NOT NULL,
    description       TEXT NOT NULL,
    migration_script  TEXT NOT NULL,
    rollback_script   TEXT NOT NULL,
    execution_time_ms BIGINT NOT NULL,
    success           BOOLEAN NOT NULL,
    error_message     TEXT,
    checksum          TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_schema_version_applied ON schema_version (applied_at);
CREATE TABLE IF NOT EXISTS schema_attempts (
    id                BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version           BIGINT NOT NULL,
    at                TIMESTAMPTZ NOT NULL,
    execution_time_ms BIGINT NOT NULL,
    success           BOOLEAN NOT NULL,
    error_message     TEXT,
    program           TEXT NOT NULL,
    checksum          TEXT NOT NULL
);
CREATE OR REPLACE FUNCTION schema_attempts_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'schema_attempts is append-only'; END $$;
CREATE OR REPLACE TRIGGER schema_attempts_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON schema_attempts
FOR EACH STATEMENT EXECUTE FUNCTION schema_attempts_is_append_only();
";

const ATTEMPT: &str = "
INSERT INTO schema_attempts (version, at, execution_time_ms, success, error_message, program, checksum)
VALUES ($1, clock_timestamp(), $2, $3, $4, $5, $6)";

const VERSION: &str = "
INSERT INTO schema_version (version, applied_at, description, migration_script, rollback_script, execution_time_ms,
    success, error_message, checksum)
VALUES ($1, clock_timestamp(), $2, $3, $4, $5, true, NULL, $6)";

/// Who migrates holds this advisory lock; its number is of this program's making, and the same for every store.
const LOCK: i64 = 0x7472_616e_6368_6500;

/// Connects for once, and brings the schema to the program's version. A script may take its time, and so may who waits
/// for the lock.
pub(super) async fn open(
    options: &PgConnectOptions,
    spec: &StoreSpec,
    patience: Patience,
    may_apply: bool,
) -> Result<Migrated, StoreError> {
    let patience = Patience { statement: Duration::ZERO, lock: Duration::from_secs(60), ..patience };
    let mut session = connect(options, spec.name, spec.profile, Role::Writer, patience).await?;
    let migrated = migrate(&mut session.connection, spec, spec.postgres_migrations, may_apply).await;
    session.connection.close().await.map_err(classify)?;
    migrated
}

/// Brings a schema to the program's version, or, where that may not happen unasked, refuses.
///
/// One instance does it at a time: the others wait, within the bounds of the session, and then find it done.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    spec: &StoreSpec,
    migrations: &[Migration],
    may_apply: bool,
) -> Result<Migrated, StoreError> {
    let todo = pending(&applied(connection, spec.name).await?, migrations, may_apply)?;
    let version = migrations.last().map_or(0, |last| last.version);
    if todo.is_empty() {
        return Ok(Migrated { applied: 0, version });
    }
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *connection).await.map_err(classify)?;
    let result = migrate_alone(connection, spec, migrations).await;
    // The lock is the session's: it goes with it at the latest.
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(connection).await.map_err(classify)?;
    Ok(Migrated { applied: result?, version })
}

async fn migrate_alone(
    connection: &mut PgConnection,
    spec: &StoreSpec,
    migrations: &[Migration],
) -> Result<usize, StoreError> {
    let schema = format!("CREATE SCHEMA IF NOT EXISTS {}", spec.name);
    for sql in [schema.as_str(), BOOKKEEPING] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.map_err(classify)?;
    }
    let todo = pending(&applied(connection, spec.name).await?, migrations, true)?;
    for migration in todo {
        apply(connection, migration).await?;
        tracing::info!(version = migration.version, what = migration.description, "schema migrated");
    }
    Ok(todo.len())
}

/// Versions and checksums of what has run; nothing in a database that is new.
pub(super) async fn applied(connection: &mut PgConnection, schema: &str) -> Result<Vec<(u32, String)>, StoreError> {
    let known = sqlx::query("SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'schema_version'")
        .bind(schema)
        .fetch_optional(&mut *connection)
        .await
        .map_err(classify)?;
    if known.is_none() {
        return Ok(Vec::new());
    }
    sqlx::query("SELECT version, checksum FROM schema_version WHERE success ORDER BY version")
        .fetch_all(connection)
        .await
        .map_err(classify)?
        .iter()
        .map(|row| Ok((number(row, "version")?, cell(row, "checksum", owned)?)))
        .collect()
}

async fn apply(connection: &mut PgConnection, migration: &Migration) -> Result<(), StoreError> {
    let started = Instant::now();
    let Err(error) = in_transaction(connection, migration, started).await else {
        return Ok(());
    };
    if let Err(error) = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await {
        tracing::debug!(%error, "nothing to roll back");
    }
    let message = error.to_string();
    insert_attempt(connection, migration, started, Some(&message)).await.map_err(classify)?;
    Err(failed(migration, classify(error), &message))
}

async fn in_transaction(
    connection: &mut PgConnection,
    migration: &Migration,
    started: Instant,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    // The scripts are the program's own: no part of them comes from outside.
    sqlx::raw_sql(AssertSqlSafe(migration.up)).execute(&mut *connection).await?;
    sqlx::query(VERSION)
        .bind(i64::from(migration.version))
        .bind(migration.description)
        .bind(migration.up)
        .bind(migration.down)
        .bind(elapsed_ms(started))
        .bind(checksum(migration))
        .execute(&mut *connection)
        .await?;
    insert_attempt(connection, migration, started, None).await?;
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(())
}

async fn insert_attempt(
    connection: &mut PgConnection,
    migration: &Migration,
    started: Instant,
    error: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(ATTEMPT)
        .bind(i64::from(migration.version))
        .bind(elapsed_ms(started))
        .bind(error.is_none())
        .bind(error)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(checksum(migration))
        .execute(connection)
        .await?;
    Ok(())
}
