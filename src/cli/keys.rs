//! `tranche keys …`: who may use the API. It works at the store itself, with and without a running server.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqliteConnection;
use tranche_actors::domain::audit::{AuditAction, AuditEntry};
use tranche_actors::domain::keys::{ApiKey, KeyId, RESERVED};
use tranche_actors::domain::names::{Caller, Role};
use tranche_actors::ports::Clock;
use tranche_actors::ports::store::StoreError;

use super::CliError;
use super::db::opened_and_closed;
use super::output::{self, Out};
use super::serve::SettingsArgs;
use crate::clock::SystemClock;
use crate::keys::{NewKey, make};
use crate::settings::{Settings, Storage, StorePlace};
use crate::storage::lock::{DataLock, LockError};
use crate::storage::postgres::{self, PostgresSettings, PostgresStore};
use crate::storage::registry::LEDGER;
use crate::storage::sqlite::{self, SqliteSettings, SqliteStore};

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and print it, this once: only a hash of it is kept. A running server takes it at once.
    Add {
        /// Whose it is: 1 to 64 of a-z, 0-9, '_' and '-'. Several keys may have the same name.
        #[arg(value_parser = name)]
        name: Caller,
        /// What it may do: `viewer` reads, `trader` sends orders and stops trading, `operator` lets trading go on, `admin` all.
        #[arg(long, value_parser = role)]
        role: Role,
        #[command(flatten)]
        how: How,
    },
    /// List the keys, those that were taken back too.
    List {
        #[command(flatten)]
        how: How,
    },
    /// Take keys back. The next request with one of them is refused, by every instance.
    Revoke {
        /// The id of a key, or a name, whose keys are all taken back.
        which: String,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Who does this, for the audit.
    #[arg(long, env = "USER", default_value = "operator")]
    operator: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a command of `tranche keys`.
pub(super) async fn run(args: KeysArgs, out: &mut Out) -> Result<(), CliError> {
    match args.command {
        KeysCommand::Add { name, role, how } => add(name, role, &how, out).await,
        KeysCommand::List { how } => list(&how, out).await,
        KeysCommand::Revoke { which, how } => revoke(&which, &how, out).await,
    }
}

fn name(text: &str) -> Result<Caller, String> {
    if RESERVED.contains(&text) {
        return Err("is a name of the gateway's own".to_owned());
    }
    Caller::parse(text).map_err(|bad| bad.rule.to_owned())
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_word(text).ok_or_else(|| "must be viewer, trader, operator or admin".to_owned())
}

async fn add(name: Caller, role: Role, how: &How, out: &mut Out) -> Result<(), CliError> {
    let random = rustls::crypto::ring::default_provider().secure_random;
    let no_chance = || CliError::Failed("the system gives no random bits".to_owned());
    let NewKey { id, text, hash } = make(random).ok_or_else(no_chance)?;
    let key = ApiKey { id, name, role, hash, created_at: SystemClock.now(), revoked_at: None };
    let entry = entry(AuditAction::AddKey, &key, how, None, Some(json!({"name": key.name, "role": key.role})))?;
    Ledger::open(&storage(how)?).await?.add(&key, &entry).await.map_err(failed)?;
    if how.json {
        return Ok(out.json(&json!({"id": key.id, "name": key.name, "role": key.role, "key": text}))?);
    }
    out.line(&text)?;
    output::remark(&format!("the key {} of {}, {}: it is shown this once", key.id, key.name, key.role));
    Ok(())
}

async fn list(how: &How, out: &mut Out) -> Result<(), CliError> {
    let keys = match Ledger::open_if_there(how).await? {
        Some(mut ledger) => ledger.all().await.map_err(failed)?,
        None => Vec::new(),
    };
    if how.json {
        return Ok(out.json(&json!({"items": keys.iter().map(shown).collect::<Vec<_>>()}))?);
    }
    let rows = keys.iter().map(|key| {
        let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S").to_string();
        let revoked = key.revoked_at.map_or_else(|| "-".to_owned(), time);
        vec![key.id.to_string(), key.name.to_string(), key.role.to_string(), time(key.created_at), revoked]
    });
    Ok(out.line(&output::table(&["ID", "NAME", "ROLE", "CREATED", "REVOKED"], &rows.collect::<Vec<_>>()))?)
}

async fn revoke(which: &str, how: &How, out: &mut Out) -> Result<(), CliError> {
    let nothing = || CliError::Failed(format!("no live key has the id or the name {which:?}: see `tranche keys list`"));
    let mut ledger = Ledger::open_if_there(how).await?.ok_or_else(nothing)?;
    let keys = ledger.all().await.map_err(failed)?;
    let is_meant = |key: &&ApiKey| key.id.as_str() == which || key.name.as_str() == which;
    let live = keys.iter().filter(is_meant).filter(|key| key.is_live()).collect::<Vec<_>>();
    if live.is_empty() {
        return Err(nothing());
    }
    let entry = |key: &&ApiKey| {
        let state = |revoked: bool| Some(json!({"name": key.name, "role": key.role, "revoked": revoked}));
        Ok((key.id.clone(), entry(AuditAction::RevokeKey, key, how, state(false), state(true))?))
    };
    let entries = live.iter().map(entry).collect::<Result<Vec<_>, CliError>>()?;
    ledger.revoke(&entries).await.map_err(failed)?;
    if how.json {
        return Ok(out.json(&json!({"revoked": live.iter().map(|key| &key.id).collect::<Vec<_>>()}))?);
    }
    for key in live {
        out.line(&format!("the key {} of {} is taken back", key.id, key.name))?;
    }
    Ok(())
}

fn shown(key: &ApiKey) -> Value {
    let ApiKey { id, name, role, hash: _, created_at, revoked_at } = key;
    json!({"id": id, "name": name, "role": role, "created_at": created_at, "revoked_at": revoked_at})
}

fn entry(
    action: AuditAction,
    key: &ApiKey,
    how: &How,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<AuditEntry, CliError> {
    // Who has a shell at the store.
    let by = Caller::parse("shell").map_err(|bad| CliError::Failed(bad.to_string()))?;
    let (operator, subject) = (Some(how.operator.clone()), key.id.to_string());
    Ok(AuditEntry { by, operator, action, subject, before, after, request_id: None })
}

fn storage(how: &How) -> Result<Storage, CliError> {
    Ok(Settings::load(&how.settings.inputs())?.storage)
}

fn failed(error: StoreError) -> CliError {
    CliError::Failed(error.to_string())
}

/// The ledger, which a server may have open.
enum Ledger {
    Embedded { connection: SqliteConnection, _ours: Option<Arc<DataLock>> },
    Postgres(PgConnection),
}

impl Ledger {
    /// The ledger that the settings name; nothing is made.
    async fn open_if_there(how: &How) -> Result<Option<Self>, CliError> {
        let storage = storage(how)?;
        match &storage.place {
            StorePlace::Embedded if !storage.folder.join(LEDGER.sqlite_file).exists() => Ok(None),
            StorePlace::Embedded | StorePlace::Postgres(_) => Self::open(&storage).await.map(Some),
        }
    }

    /// The same. Where no server is at work, it is made or migrated first.
    async fn open(storage: &Storage) -> Result<Self, CliError> {
        match &storage.place {
            StorePlace::Embedded => Self::embedded(&storage.folder, storage.migrate_on_start).await,
            StorePlace::Postgres(url) => {
                let options = PgConnectOptions::from_str(url.expose_secret())
                    .map_err(|_| CliError::Failed("storage.url names no database".to_owned()))?;
                let own =
                    PostgresSettings { migrate_on_start: storage.migrate_on_start, ..PostgresSettings::default() };
                opened_and_closed(&PostgresStore::new(options.clone(), own)).await?;
                Ok(Self::Postgres(postgres::keys::connect(&options).await.map_err(failed)?))
            }
        }
    }

    async fn embedded(folder: &Path, migrate_on_start: bool) -> Result<Self, CliError> {
        let ours = match DataLock::take(folder) {
            Ok(lock) => {
                let lock = Arc::new(lock);
                let own = SqliteSettings { migrate_on_start, ..SqliteSettings::default() };
                opened_and_closed(&SqliteStore::new(Arc::clone(&lock), own)).await?;
                Some(lock)
            }
            Err(LockError::Held { .. }) => None,
            Err(error @ LockError::Folder { .. }) => return Err(CliError::Failed(output::in_full(&error))),
        };
        let connection = sqlite::keys::connect(folder).await.map_err(failed)?;
        Ok(Self::Embedded { connection, _ours: ours })
    }

    async fn add(&mut self, key: &ApiKey, entry: &AuditEntry) -> Result<(), StoreError> {
        match self {
            Self::Embedded { connection, .. } => sqlite::keys::add(connection, key, entry).await,
            Self::Postgres(connection) => postgres::keys::add(connection, key, entry).await,
        }
    }

    async fn revoke(&mut self, keys: &[(KeyId, AuditEntry)]) -> Result<(), StoreError> {
        let at = SystemClock.now();
        match self {
            Self::Embedded { connection, .. } => sqlite::keys::revoke(connection, keys, at).await,
            Self::Postgres(connection) => postgres::keys::revoke(connection, keys, at).await,
        }
    }

    async fn all(&mut self) -> Result<Vec<ApiKey>, StoreError> {
        match self {
            Self::Embedded { connection, .. } => sqlite::keys::all(connection).await,
            Self::Postgres(connection) => postgres::keys::all(connection).await,
        }
    }
}
