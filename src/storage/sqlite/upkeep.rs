//! What `tranche db` asks of an SQLite file.

use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions, Connection};
use tranche_actors::ports::store::StoreError;

use super::faults::classify;
use crate::storage::cells::{cell, maybe, owned};
use crate::storage::migrations::{applied, migrate};
use crate::storage::registry::LEDGER;
use crate::storage::upkeep::{Questions, Status, content_findings, structure_findings, version_findings};

const WAIT: Duration = Duration::from_secs(5);

const STRUCTURE: &str = "
SELECT type || ' ' || name || ': ' || coalesce(sql, 'by the table') AS what FROM sqlite_schema
WHERE substr(name, 1, 7) <> 'sqlite_'";

const RESTORED: &str = "UPDATE accounts SET history = 'restored' WHERE account <> ''";

impl Questions for SqliteConnection {
    async fn ask(&mut self, sql: &'static str) -> Result<Vec<SqliteRow>, StoreError> {
        sqlx::query(sql).fetch_all(self).await.map_err(classify)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(LEDGER.sqlite_file)
}

/// For reading; a server may be at work on it.
async fn open(folder: &Path) -> Result<SqliteConnection, StoreError> {
    let file = file(folder);
    if !file.exists() {
        return Err(StoreError::Unavailable { detail: format!("there is no {}", file.display()) });
    }
    let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(WAIT);
    options.disable_statement_logging().connect().await.map_err(classify)
}

/// Its versions, its size, and SQLite's quick check.
///
/// # Errors
/// Where it can't be read.
pub async fn status(folder: &Path) -> Result<Status, StoreError> {
    let mut connection = open(folder).await?;
    let applied = applied(&mut connection).await?;
    let mut findings = version_findings(&applied, LEDGER.sqlite_migrations);
    findings.extend(check(&mut connection, "PRAGMA quick_check", "quick_check").await?);
    let bytes = ["", "-wal"].iter().filter_map(|suffix| {
        let mut path = file(folder).into_os_string();
        path.push(suffix);
        std::fs::metadata(path).ok().map(|found| found.len())
    });
    Ok(Status {
        store: LEDGER.name,
        backend: "sqlite",
        version: applied.last().map_or(0, |(version, _)| *version),
        known: LEDGER.sqlite_migrations.last().map_or(0, |last| last.version),
        bytes: bytes.sum(),
        findings,
    })
}

/// Says that the ledger was put back from a copy: whoever starts on it next holds what is under way. Whoever calls has the
/// folder's lock.
///
/// # Errors
/// Where it can't be written.
pub async fn restored(folder: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(file(folder)).busy_timeout(WAIT).disable_statement_logging();
    let mut connection = options.pragma("synchronous", "FULL").connect().await.map_err(classify)?;
    sqlx::query(RESTORED).execute(&mut connection).await.map_err(classify)?;
    connection.close().await.map_err(classify)
}

/// Makes a copy of the ledger, whole at one instant, and checks it. The copy is on the disk when this returns.
///
/// # Errors
/// Where it can't be read or written, or the copy is not sound; also where `to` exists.
pub async fn copy(folder: &Path, to: &Path) -> Result<(), StoreError> {
    let into = to.to_str().ok_or_else(|| unwritten(to, "its name is no text"))?;
    let parent = to.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(|error| unwritten(parent, error))?;
    let mut connection = open(folder).await?;
    sqlx::query("VACUUM INTO ?1").bind(into).execute(&mut connection).await.map_err(classify)?;
    // SQLite leaves it to the system when the bytes reach the disk.
    for path in [to, parent] {
        File::open(path).and_then(|file| file.sync_all()).map_err(|error| unwritten(path, error))?;
    }
    let options = SqliteConnectOptions::new().filename(to).read_only(true).disable_statement_logging();
    let mut copied = options.connect().await.map_err(classify)?;
    match check(&mut copied, "PRAGMA integrity_check", "integrity_check").await?.first() {
        None => copied.close().await.map_err(classify),
        Some(finding) => Err(unwritten(to, finding)),
    }
}

fn unwritten(path: &Path, why: impl Display) -> StoreError {
    StoreError::Unavailable { detail: format!("{} can't be written: {why}", path.display()) }
}

/// Everything that is not as it should be.
///
/// # Errors
/// Where it can't be read.
pub async fn verify(folder: &Path) -> Result<Vec<String>, StoreError> {
    let mut connection = open(folder).await?;
    let mut findings = version_findings(&applied(&mut connection).await?, LEDGER.sqlite_migrations);
    findings.extend(check(&mut connection, "PRAGMA integrity_check", "integrity_check").await?);
    for row in connection.ask("PRAGMA foreign_key_check").await? {
        let table = maybe(&row, "table", owned)?.unwrap_or_default();
        findings.push(format!("foreign_key_check: a row of {table} refers to nothing"));
    }
    let mut fresh = SqliteConnectOptions::new().in_memory(true).connect().await.map_err(classify)?;
    migrate(&mut fresh, LEDGER.sqlite_migrations, true).await?;
    let structure = structure_findings(&structure(&mut fresh).await?, &structure(&mut connection).await?);
    fresh.close().await.map_err(classify)?;
    let is_ours = structure.is_empty() && findings.iter().all(|finding| !finding.starts_with("migration"));
    findings.extend(structure);
    // Where tables are missing, nothing sensible can be asked of them.
    if is_ours {
        findings.extend(content_findings(&mut connection).await?);
    }
    Ok(findings)
}

async fn structure(connection: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    connection.ask(STRUCTURE).await?.iter().map(|row| cell(row, "what", owned)).collect()
}

async fn check(
    connection: &mut SqliteConnection,
    sql: &'static str,
    name: &'static str,
) -> Result<Vec<String>, StoreError> {
    let said = connection.ask(sql).await?;
    let said = said.iter().map(|row| cell(row, name, owned)).collect::<Result<Vec<_>, _>>()?;
    Ok(said.into_iter().filter(|line| line != "ok").map(|line| format!("{name}: {line}")).collect())
}
