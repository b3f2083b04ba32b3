//! Connections: their bounds, their durability, and which history of the database they are to. What is set is read back.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tranche_actors::ports::store::StoreError;

use super::faults::classify;
use crate::storage::cells::{cell, maybe, owned};
use crate::storage::profiles::{Profile, Role};

/// How long the server is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection is there.
    pub connect: Duration,
    /// Until a connection of the pool is free.
    pub acquire: Duration,
    /// For one statement; the server ends it then.
    pub statement: Duration,
    /// For a lock of somebody else's; the server gives up then.
    pub lock: Duration,
    /// The server ends a session that begins a transaction and then says nothing for so long: a frozen writer keeps
    /// no lock.
    pub idle_in_transaction: Duration,
    /// For an answer of any kind. Whoever is cut off hears nothing of the bounds above.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            acquire: Duration::from_secs(5),
            statement: Duration::from_secs(5),
            lock: Duration::from_secs(4),
            idle_in_transaction: Duration::from_secs(3),
            answer: Duration::from_secs(7),
        }
    }
}

/// A connection that was set up and checked.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    /// Which history of which database it writes: it changes when a standby takes over, and where the server, the database
    /// or its tables were made anew and filled from a copy.
    pub(super) history: String,
}

impl Session {
    /// Whether the table of accounts is the one that it was when this session began.
    pub(super) fn writes_to(&self, table: &str) -> bool {
        self.history.rsplit(':').next() == Some(table)
    }
}

/// What a session is, in one row.
const READ_BACK: &str = "
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
    pg_is_in_recovery()::text AS is_standby,
    CASE WHEN NOT pg_is_in_recovery() THEN
        concat_ws(':', (SELECT system_identifier FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_lsn()), 8),
            (SELECT oid FROM pg_database WHERE datname = current_database()), to_regclass('accounts')::oid)
    END AS history,
    (SELECT string_agg(name || ' reads ' || coalesce(current_setting(name, true), 'nothing'), ', ')
        FROM UNNEST($1, $2) AS wanted (name, value)
        WHERE current_setting(name, true) IS DISTINCT FROM value) AS differs";

const SET: &str = "SELECT set_config(name, value, false) FROM UNNEST($1, $2) AS wanted (name, value)";

/// Connects and checks, within bounds.
pub(super) async fn connect(
    options: &PgConnectOptions,
    schema: &str,
    profile: Profile,
    role: Role,
    patience: Patience,
) -> Result<Session, StoreError> {
    let connected = async {
        let mut connection = options.connect().await.map_err(classify)?;
        let history = set_up(&mut connection, schema, profile, role, patience).await?;
        Ok(Session { connection, history })
    };
    within(patience.connect, connected).await
}

/// Sets what this program relies on, reads it back, and says which history it is.
pub(super) async fn set_up(
    connection: &mut PgConnection,
    schema: &str,
    profile: Profile,
    role: Role,
    patience: Patience,
) -> Result<String, StoreError> {
    let settings = settings(schema, profile, role, patience);
    let names = settings.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let values = settings.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>();
    sqlx::query(SET).bind(&names).bind(&values).execute(&mut *connection).await.map_err(classify)?;
    let row = sqlx::query(READ_BACK).bind(&names).bind(&values).fetch_one(connection).await.map_err(classify)?;
    if let Some(differs) = maybe(&row, "differs", owned)? {
        return Err(StoreError::Unusable { detail: format!("the server keeps other settings: {differs}") });
    }
    if cell(&row, "fsync", owned)? != "on" {
        return Err(StoreError::Unusable {
            detail: "the server runs with fsync = off, so that a crash may take back what was answered".to_owned(),
        });
    }
    if cell(&row, "full_page_writes", owned)? != "on" {
        tracing::warn!("the server runs with full_page_writes = off: only some file systems allow for that");
    }
    maybe(&row, "history", owned)?.ok_or_else(|| StoreError::Unavailable { detail: "it is a standby".to_owned() })
}

fn settings(schema: &str, profile: Profile, role: Role, patience: Patience) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("search_path", schema.to_owned()),
        ("default_transaction_isolation", "read committed".to_owned()),
        ("default_transaction_read_only", if role == Role::Reader { "on" } else { "off" }.to_owned()),
        ("statement_timeout", time(patience.statement)),
        ("lock_timeout", time(patience.lock)),
        ("idle_in_transaction_session_timeout", time(patience.idle_in_transaction)),
        // Every statement has an index. A plan that was made while the tables were small would read them whole for as long
        // as nothing analyses them, slower with every order.
        ("enable_seqscan", "off".to_owned()),
        // What has to be read whole all the same looks so dear then that the server would compile it, for a second or more.
        ("jit", "off".to_owned()),
    ];
    settings.extend(profile.postgres().iter().map(|(name, value)| (*name, (*value).to_owned())));
    settings
}

/// A time as the server shows it: in the largest unit that holds it whole.
fn time(duration: Duration) -> String {
    let millis = duration.as_millis();
    match (millis, millis % 60_000, millis % 1000) {
        (0, ..) => "0".to_owned(),
        (_, 0, _) => format!("{}min", millis / 60_000),
        (.., 0) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// Waits no longer than that for something that leaves nothing behind when it is dropped.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Unavailable { detail: format!("no answer within {} ms", limit.as_millis()) }),
    }
}
