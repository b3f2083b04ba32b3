//! The schema's life: migrations in order, each in one transaction with its own row of `schema_version`.
//!
//! A failed migration leaves the old schema and a row in `schema_attempts`. A script that was changed after it ran, or a
//! database that knows versions which this program doesn't, is fatal: both mean that the program would guess.

use std::time::Instant;

use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};
use tranche_actors::ports::store::StoreError;

use super::sqlite::faults::classify;

/// One step of a store's schema.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its place: 1 for the first, without gaps.
    pub version: u32,
    /// What it brings, for a person.
    pub description: &'static str,
    /// The script that brings it.
    pub up: &'static str,
    /// The script that takes it away again.
    pub down: &'static str,
}

/// What became of a file's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// How many migrations ran now.
    pub applied: usize,
    /// The version that the schema has.
    pub version: u32,
}

const BOOKKEEPING: &str = "
CREATE TABLE IF NOT EXISTS schema_version (
    version           INTEGER PRIMARY KEY,
    applied_at        TEXT NOT NULL,
    description       TEXT NOT NULL,
    migration_script  TEXT NOT NULL,
    rollback_script   TEXT NOT NULL,
    execution_time_ms INTEGER NOT NULL,
    success           INTEGER NOT NULL CHECK (success IN (0, 1)),
    error_message     TEXT,
    checksum          TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS idx_schema_version_applied ON schema_version (applied_at);
CREATE TABLE IF NOT EXISTS schema_attempts (
    id                INTEGER PRIMARY KEY,
    version           INTEGER NOT NULL,
    at                TEXT NOT NULL,
    execution_time_ms INTEGER NOT NULL,
    success           INTEGER NOT NULL CHECK (success IN (0, 1)),
    error_message     TEXT,
    program           TEXT NOT NULL,
    checksum          TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS schema_attempts_never_change BEFORE UPDATE ON schema_attempts
BEGIN SELECT raise(ABORT, 'schema_attempts is append-only'); END;
CREATE TRIGGER IF NOT EXISTS schema_attempts_never_go BEFORE DELETE ON schema_attempts
BEGIN SELECT raise(ABORT, 'schema_attempts is append-only'); END;
";

const ATTEMPT: &str = "
INSERT INTO schema_attempts (version, at, execution_time_ms, success, error_message, program, checksum)
VALUES (?1, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), ?2, ?3, ?4, ?5, ?6)";

const VERSION: &str = "
INSERT INTO schema_version (version, applied_at, description, migration_script, rollback_script, execution_time_ms,
    success, error_message, checksum)
VALUES (?1, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), ?2, ?3, ?4, ?5, 1, NULL, ?6)";

/// Brings a file's schema to the program's version, or, where that may not happen unasked, refuses.
///
/// # Errors
/// [`StoreError::Unusable`] where a person has to decide; [`StoreError::Unavailable`] where trying again may help.
pub async fn migrate(
    connection: &mut SqliteConnection,
    migrations: &[Migration],
    may_apply: bool,
) -> Result<Migrated, StoreError> {
    let todo = pending(&applied(connection).await?, migrations, may_apply)?;
    if !todo.is_empty() {
        sqlx::raw_sql(BOOKKEEPING).execute(&mut *connection).await.map_err(classify)?;
    }
    for migration in todo {
        apply(connection, migration).await?;
        tracing::info!(version = migration.version, what = migration.description, "schema migrated");
    }
    Ok(Migrated { applied: todo.len(), version: migrations.last().map_or(0, |last| last.version) })
}

/// What has to run yet, if what ran is what this program knows, and if anything may run.
pub(super) fn pending<'m>(
    applied: &[(u32, String)],
    migrations: &'m [Migration],
    may_apply: bool,
) -> Result<&'m [Migration], StoreError> {
    compare(applied, migrations)?;
    let pending = migrations.get(applied.len()..).unwrap_or_default();
    let (Some(first), Some(last), false) = (pending.first(), pending.last(), may_apply) else {
        return Ok(pending);
    };
    Err(StoreError::Unusable {
        detail: format!(
            "the schema is at version {}, and {} migrations up to version {} are pending: run `tranche db migrate`, or \
             set TRANCHE__STORAGE__MIGRATE_ON_START=true to apply them at start",
            first.version.saturating_sub(1),
            pending.len(),
            last.version,
        ),
    })
}

/// Versions and checksums of what has run; nothing in a file that is new.
pub(super) async fn applied(connection: &mut SqliteConnection) -> Result<Vec<(u32, String)>, StoreError> {
    let known = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(classify)?;
    if known.is_none() {
        return Ok(Vec::new());
    }
    sqlx::query("SELECT version, checksum FROM schema_version WHERE success = 1 ORDER BY version")
        .fetch_all(connection)
        .await
        .map_err(classify)?
        .iter()
        .map(|row| Ok((row.try_get("version")?, row.try_get("checksum")?)))
        .collect::<Result<_, sqlx::Error>>()
        .map_err(classify)
}

fn compare(applied: &[(u32, String)], migrations: &[Migration]) -> Result<(), StoreError> {
    let newest = migrations.last().map_or(0, |last| last.version);
    if let Some((version, _)) = applied.iter().find(|(version, _)| *version > newest) {
        return Err(StoreError::Unusable {
            detail: format!(
                "the database is newer than this program: it is at schema version {version}, the program knows \
                 versions up to {newest}"
            ),
        });
    }
    for ((version, ran), migration) in applied.iter().zip(migrations) {
        if *version != migration.version {
            return Err(StoreError::Unusable {
                detail: format!("schema version {} never ran, but version {version} did", migration.version),
            });
        }
        let ours = checksum(migration);
        if *ran != ours {
            return Err(StoreError::Unusable {
                detail: format!(
                    "migration {version} has changed since it ran: its checksum was {ran} and is {ours} in this program"
                ),
            });
        }
    }
    Ok(())
}

async fn apply(connection: &mut SqliteConnection, migration: &Migration) -> Result<(), StoreError> {
    let started = Instant::now();
    let Err(error) = in_transaction(connection, migration, started).await else {
        return Ok(());
    };
    if let Err(error) = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await {
        tracing::debug!(%error, "nothing to roll back");
    }
    let message = error.to_string();
    attempt(connection, migration, started, Some(&message)).await?;
    Err(failed(migration, classify(error), &message))
}

/// What a migration that failed and was rolled back means: trying again helps only where the database was out of reach.
pub(super) fn failed(migration: &Migration, error: StoreError, message: &str) -> StoreError {
    match error {
        unavailable @ StoreError::Unavailable { .. } => unavailable,
        StoreError::Constraint { .. }
        | StoreError::Deposed
        | StoreError::OutcomeUnknown { .. }
        | StoreError::Unusable { .. }
        | StoreError::Corrupt { .. } => StoreError::Unusable {
            detail: format!(
                "migration {} ({}) failed and was rolled back: {message}",
                migration.version, migration.description
            ),
        },
    }
}

async fn in_transaction(
    connection: &mut SqliteConnection,
    migration: &Migration,
    started: Instant,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    // The scripts are the program's own: no part of them comes from outside.
    sqlx::raw_sql(AssertSqlSafe(migration.up)).execute(&mut *connection).await?;
    sqlx::query(VERSION)
        .bind(migration.version)
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

async fn attempt(
    connection: &mut SqliteConnection,
    migration: &Migration,
    started: Instant,
    error: Option<&str>,
) -> Result<(), StoreError> {
    insert_attempt(connection, migration, started, error).await.map_err(classify)
}

async fn insert_attempt(
    connection: &mut SqliteConnection,
    migration: &Migration,
    started: Instant,
    error: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(ATTEMPT)
        .bind(migration.version)
        .bind(elapsed_ms(started))
        .bind(error.is_none())
        .bind(error)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(checksum(migration))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn elapsed_ms(started: Instant) -> i64 {
    i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Over both scripts, each closed by a byte that no script holds.
pub(super) fn checksum(migration: &Migration) -> String {
    let mut hash = Sha256::new();
    for script in [migration.up, migration.down] {
        hash.update(script.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::ConnectOptions;
    use tranche_actors::domain::breaker::BreakerState;
    use tranche_actors::domain::kill::KillState;

    use super::*;
    use crate::storage::profiles::{Profile, Role};
    use crate::storage::registry::LEDGER;
    use crate::storage::sqlite::tests::{Folder, folder};

    const ONE: Migration = Migration {
        version: 1,
        description: "a table",
        up: "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);",
        down: "DROP TABLE a;",
    };
    const TWO: Migration = Migration {
        version: 2,
        description: "another",
        up: "CREATE TABLE b (x INTEGER) STRICT;",
        down: "DROP TABLE b;",
    };

    async fn open(folder: &Folder) -> SqliteConnection {
        let file = folder.path().join("m.db");
        let options = Profile::Ledger.options(&file, Role::Writer, Duration::from_secs(1));
        options.create_if_missing(true).connect().await.unwrap()
    }

    async fn texts(connection: &mut SqliteConnection, sql: &'static str) -> Vec<String> {
        let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
        rows.iter().map(|row| row.try_get_unchecked(0).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_empty_file_gets_every_version_and_a_second_start_none() {
        let folder = folder();
        let mut connection = open(&folder).await;
        let migrated = migrate(&mut connection, &[ONE, TWO], true).await.unwrap();
        assert_eq!(migrated, Migrated { applied: 2, version: 2 });
        let migrated = migrate(&mut connection, &[ONE, TWO], true).await.unwrap();
        assert_eq!(migrated, Migrated { applied: 0, version: 2 });
        assert_eq!(texts(&mut connection, "SELECT x FROM a").await, ["1"]);
        let rows = texts(
            &mut connection,
            "SELECT concat_ws('|', version, description, migration_script, rollback_script, success,
                length(applied_at), length(checksum), error_message, execution_time_ms >= 0) FROM schema_version",
        )
        .await;
        assert_eq!(
            rows,
            [
                format!("1|a table|{}|{}|1|27|64|1", ONE.up, ONE.down),
                format!("2|another|{}|{}|1|27|64|1", TWO.up, TWO.down),
            ]
        );
        assert_eq!(texts(&mut connection, "SELECT version || success FROM schema_attempts").await, ["11", "21"]);
        for sql in ["DELETE FROM schema_attempts", "UPDATE schema_attempts SET success = 0"] {
            assert!(sqlx::query(sql).execute(&mut connection).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_changed_script_is_fatal() {
        let folder = folder();
        let mut connection = open(&folder).await;
        migrate(&mut connection, &[ONE], true).await.unwrap();
        let changed = Migration { up: "CREATE TABLE a (y INTEGER) STRICT;", ..ONE };
        let error = migrate(&mut connection, &[changed, TWO], true).await.unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }));
        assert!(error.to_string().contains("migration 1 has changed"), "{error}");
        assert!(texts(&mut connection, "SELECT 1 FROM sqlite_schema WHERE name = 'b'").await.is_empty());
    }

    #[tokio::test]
    async fn a_database_newer_than_the_program_is_fatal() {
        let folder = folder();
        let mut connection = open(&folder).await;
        migrate(&mut connection, &[ONE, TWO], true).await.unwrap();
        let error = migrate(&mut connection, &[ONE], true).await.unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }));
        assert!(error.to_string().contains("newer than this program"), "{error}");
    }

    #[tokio::test]
    async fn a_failed_migration_leaves_the_old_schema_and_a_record_and_runs_once_it_is_mended() {
        let folder = folder();
        let mut connection = open(&folder).await;
        let broken = Migration { up: "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1);", ..TWO };
        let error = migrate(&mut connection, &[ONE, broken], true).await.unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert!(texts(&mut connection, "SELECT 1 FROM sqlite_schema WHERE name = 'b'").await.is_empty());
        let attempts =
            "SELECT concat_ws('|', version, success, instr(error_message, 'nowhere') > 0) FROM schema_attempts";
        assert_eq!(texts(&mut connection, attempts).await, ["1|1", "2|0|1"]);
        let migrated = migrate(&mut connection, &[ONE, TWO], true).await.unwrap();
        assert_eq!(migrated, Migrated { applied: 1, version: 2 });
        assert_eq!(texts(&mut connection, attempts).await, ["1|1", "2|0|1", "2|1"]);
    }

    #[tokio::test]
    async fn pending_migrations_are_refused_where_they_may_not_run_unasked() {
        let folder = folder();
        let mut connection = open(&folder).await;
        let error = migrate(&mut connection, &[ONE], false).await.unwrap_err();
        assert!(error.to_string().contains("TRANCHE__STORAGE__MIGRATE_ON_START=true"), "{error}");
        assert!(texts(&mut connection, "SELECT name FROM sqlite_schema").await.is_empty());
        migrate(&mut connection, &[ONE], true).await.unwrap();
        migrate(&mut connection, &[ONE], false).await.unwrap();
    }

    #[tokio::test]
    async fn the_ledger_starts_with_open_switches_and_can_be_taken_back() {
        let folder = folder();
        let mut connection = open(&folder).await;
        migrate(&mut connection, LEDGER.sqlite_migrations, true).await.unwrap();
        let states = texts(&mut connection, "SELECT state FROM switches ORDER BY switch DESC").await;
        assert_eq!(serde_json::from_str::<KillState>(&states[0]).unwrap(), KillState::default());
        assert_eq!(serde_json::from_str::<BreakerState>(&states[1]).unwrap(), BreakerState::default());
        for migration in LEDGER.sqlite_migrations.iter().rev() {
            sqlx::raw_sql(migration.down).execute(&mut connection).await.unwrap();
        }
        let left = "SELECT name FROM sqlite_schema WHERE name NOT LIKE '%schema\\_%' ESCAPE '\\'";
        assert_eq!(texts(&mut connection, left).await, Vec::<String>::new());
    }

    #[test]
    fn versions_count_from_one_without_gaps() {
        let versions = LEDGER.sqlite_migrations.iter().map(|migration| migration.version);
        assert!(versions.eq((1..).take(LEDGER.sqlite_migrations.len())));
    }
}
