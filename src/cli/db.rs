//! `tranche db …`: the state of the stores, their migrations, and whether everything in them is as it should be.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use tranche_actors::ports::Clock;
use tranche_actors::ports::store::{Store, StoreError};

use super::output::{self, Out};
use super::serve::SettingsArgs;
use super::{CliError, client};
use crate::clock::SystemClock;
use crate::settings::{Settings, StorePlace};
use crate::storage::lock::DataLock;
use crate::storage::postgres::{self, PostgresSettings, PostgresStore};
use crate::storage::registry::LEDGER;
use crate::storage::sqlite::{self, SqliteSettings, SqliteStore};
use crate::storage::upkeep::Status;

#[derive(Debug, Args)]
pub(super) struct DbArgs {
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    /// Show versions, sizes and a quick check; exit code 1 where something is wrong or pending.
    Status(PlaceArgs),
    /// Bring the schema to this program's version, and check everything then. A failure leaves the old schema.
    Migrate(MigrateArgs),
    /// Say that the ledger was put back from a copy: the next start holds its parents until a person resumes them, and looks up
    /// at the broker what may have been sent since. Stop every instance first.
    Restored(PlaceArgs),
    /// Check everything, list all findings, and end with exit code 1 where there is one.
    Verify(PlaceArgs),
}

#[derive(Debug, Args)]
struct PlaceArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MigrateArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Migrate a copy, check that, and leave everything as it is. Embedded stores alone.
    #[arg(long)]
    dry_run: bool,
    /// Say that the database was backed up: one of PostgreSQL is not by this command.
    #[arg(long)]
    backed_up: bool,
}

/// Where the stores are.
enum Place {
    Embedded(std::path::PathBuf),
    Postgres(Box<PgConnectOptions>),
}

/// Runs a command of `tranche db`.
pub(super) fn run(args: &DbArgs, out: &mut Out) -> Result<(), CliError> {
    match &args.command {
        DbCommand::Status(args) => client::block_on(status(args, out)),
        DbCommand::Migrate(args) => client::block_on(migrate(args, out)),
        DbCommand::Restored(args) => client::block_on(restored(args, out)),
        DbCommand::Verify(args) => client::block_on(verify(args, out)),
    }
}

fn place(args: &PlaceArgs) -> Result<Place, CliError> {
    let settings = Settings::load(&args.settings.inputs())?;
    Ok(match settings.storage.place {
        StorePlace::Embedded => Place::Embedded(settings.storage.folder),
        StorePlace::Postgres(url) => Place::Postgres(Box::new(
            PgConnectOptions::from_str(url.expose_secret())
                .map_err(|_| CliError::Failed("storage.url names no database".to_owned()))?,
        )),
    })
}

fn failed(error: StoreError) -> CliError {
    CliError::Failed(error.to_string())
}

async fn look(place: &Place) -> Result<Status, CliError> {
    match place {
        Place::Embedded(folder) => sqlite::upkeep::status(folder).await,
        Place::Postgres(options) => postgres::upkeep::status(options).await,
    }
    .map_err(failed)
}

async fn status(args: &PlaceArgs, out: &mut Out) -> Result<(), CliError> {
    let status = look(&place(args)?).await?;
    if args.json {
        out.json(&json!({"stores": [status]}))?;
    } else {
        let row = vec![
            status.store.to_owned(),
            status.backend.to_owned(),
            format!("{} of {}", status.version, status.known),
            status.bytes.to_string(),
        ];
        out.line(&output::table(&["STORE", "BACKEND", "VERSION", "BYTES"], &[row]))?;
        for finding in &status.findings {
            out.line(finding)?;
        }
    }
    judged(status.findings.len())
}

async fn migrate(args: &MigrateArgs, out: &mut Out) -> Result<(), CliError> {
    let (findings, done) = match place(&args.place)? {
        Place::Embedded(folder) if args.dry_run => dry_run(&folder).await?,
        Place::Embedded(folder) => migrate_embedded(&folder).await?,
        Place::Postgres(options) => migrate_postgres(&options, args).await?,
    };
    if args.place.json {
        out.json(&json!({"done": done, "findings": findings}))?;
    } else {
        for line in done.iter().chain(&findings) {
            out.line(line)?;
        }
    }
    judged(findings.len())
}

/// What is not as it should be afterwards, and what was done, a line each.
type Migrated = (Vec<String>, Vec<String>);

async fn dry_run(folder: &Path) -> Result<Migrated, CliError> {
    let _ours = lock(folder)?;
    let before = look_at(folder).await?;
    let copy = folder.join(format!("dry-run-{}", stamp()));
    let tried = async {
        if before.version > 0 {
            sqlite::upkeep::copy(folder, &copy.join(LEDGER.sqlite_file)).await.map_err(failed)?;
        }
        bring_up(lock(&copy)?).await?;
        sqlite::upkeep::verify(&copy).await.map_err(failed)
    };
    let tried = tried.await;
    std::fs::remove_dir_all(&copy).map_err(|error| CliError::Failed(format!("{}: {error}", copy.display())))?;
    let done = format!("a copy of {} went from version {} to {}", before.store, before.version, before.known);
    Ok((tried?, vec![done]))
}

async fn migrate_embedded(folder: &Path) -> Result<Migrated, CliError> {
    let ours = lock(folder)?;
    let (before, mut done) = (look_at(folder).await?, Vec::new());
    if (1..before.known).contains(&before.version) {
        let backup = format!("{}-v{}-{}.db", before.store, before.version, stamp());
        let backup = folder.join("backups").join(backup);
        sqlite::upkeep::copy(folder, &backup).await.map_err(failed)?;
        done.push(format!("{} is backed up in {}", before.store, backup.display()));
    }
    bring_up(ours).await?;
    done.push(format!("{} went from version {} to {}", before.store, before.version, before.known));
    Ok((sqlite::upkeep::verify(folder).await.map_err(failed)?, done))
}

async fn migrate_postgres(options: &PgConnectOptions, args: &MigrateArgs) -> Result<Migrated, CliError> {
    let before = postgres::upkeep::status(options).await.map_err(failed)?;
    if args.dry_run {
        let how = "--dry-run is for embedded stores: restore a backup into another database, and migrate that";
        return Err(CliError::Failed(how.to_owned()));
    }
    if (1..before.known).contains(&before.version) && !args.backed_up {
        let how = "back the database up first, with pg_dump for one, and say so with --backed-up";
        return Err(CliError::Failed(how.to_owned()));
    }
    opened_and_closed(&PostgresStore::new(options.clone(), PostgresSettings::default())).await?;
    let done = format!("{} went from version {} to {}", before.store, before.version, before.known);
    Ok((postgres::upkeep::verify(options).await.map_err(failed)?, vec![done]))
}

/// A folder where nothing is yet has version 0.
async fn look_at(folder: &Path) -> Result<Status, CliError> {
    if folder.join(LEDGER.sqlite_file).exists() {
        return sqlite::upkeep::status(folder).await.map_err(failed);
    }
    let known = LEDGER.sqlite_migrations.last().map_or(0, |last| last.version);
    Ok(Status { store: LEDGER.name, backend: "sqlite", version: 0, known, bytes: 0, findings: Vec::new() })
}

async fn bring_up(folder: DataLock) -> Result<(), CliError> {
    opened_and_closed(&SqliteStore::new(Arc::new(folder), SqliteSettings::default())).await
}

/// A store migrates as it is opened.
pub(super) async fn opened_and_closed(store: &dyn Store) -> Result<(), CliError> {
    store.open().await.map_err(failed)?;
    store.close().await;
    Ok(())
}

fn lock(folder: &Path) -> Result<DataLock, CliError> {
    DataLock::take(folder).map_err(|error| CliError::Failed(output::in_full(&error)))
}

fn stamp() -> String {
    SystemClock.now().format("%Y%m%dT%H%M%S%.6fZ").to_string()
}

async fn restored(args: &PlaceArgs, out: &mut Out) -> Result<(), CliError> {
    let place = place(args)?;
    let found = look(&place).await?;
    if found.version != found.known {
        let how =
            format!("the ledger has version {}, this program's is {}: migrate it first", found.version, found.known);
        return Err(CliError::Failed(how));
    }
    match &place {
        Place::Embedded(folder) => {
            let _ours = lock(folder)?;
            sqlite::upkeep::restored(folder).await
        }
        Place::Postgres(options) => postgres::upkeep::restored(options).await,
    }
    .map_err(failed)?;
    if args.json {
        out.json(&json!({"restored": true}))?;
    } else {
        out.line("the next start holds what is under way, until `tranche order resume`")?;
    }
    Ok(())
}

async fn verify(args: &PlaceArgs, out: &mut Out) -> Result<(), CliError> {
    let findings = match place(args)? {
        Place::Embedded(folder) => sqlite::upkeep::verify(&folder).await,
        Place::Postgres(options) => postgres::upkeep::verify(&options).await,
    }
    .map_err(failed)?;
    if args.json {
        out.json(&json!({"findings": findings}))?;
    } else {
        for finding in &findings {
            out.line(finding)?;
        }
        if findings.is_empty() {
            out.line("everything is as it should be")?;
        }
    }
    judged(findings.len())
}

fn judged(findings: usize) -> Result<(), CliError> {
    if findings == 0 { Ok(()) } else { Err(CliError::Failed(format!("{findings} findings"))) }
}
