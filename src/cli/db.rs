//! `tranche db …`: the state of the stores, their migrations, and whether everything in them is as it should be.

use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use tranche_actors::ports::store::{Store, StoreError};

use super::output::{self, Out};
use super::serve::SettingsArgs;
use super::{CliError, client};
use crate::settings::{Settings, StorePlace};
use crate::storage::lock::DataLock;
use crate::storage::postgres::{self, PostgresSettings, PostgresStore};
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
    /// Bring the schema to this program's version. A failure leaves the old schema; nothing is backed up yet.
    Migrate(PlaceArgs),
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

async fn migrate(args: &PlaceArgs, out: &mut Out) -> Result<(), CliError> {
    let place = place(args)?;
    let store: Box<dyn Store> = match &place {
        Place::Embedded(folder) => {
            let lock = DataLock::take(folder).map_err(|error| CliError::Failed(output::in_full(&error)))?;
            Box::new(SqliteStore::new(Arc::new(lock), SqliteSettings::default()))
        }
        Place::Postgres(options) => Box::new(PostgresStore::new((**options).clone(), PostgresSettings::default())),
    };
    store.open().await.map_err(failed)?;
    store.close().await;
    let status = look(&place).await?;
    if args.json {
        out.json(&json!({"stores": [status]}))?;
    } else {
        out.line(&format!("{} is at version {} of {}", status.store, status.version, status.known))?;
    }
    judged(status.findings.len())
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
