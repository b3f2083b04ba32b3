//! Durability, as PRAGMAs of SQLite and settings of PostgreSQL: set when a connection opens, and read back, since SQLite
//! ignores what it can't do in silence.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tranche_actors::ports::store::StoreError;

use super::sqlite::faults::classify;

/// What the loss of a store would cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Orders and money: a commit is on the disk before it is answered.
    Ledger,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one connection that writes.
    Writer,
    /// One of the pool that only reads.
    Reader,
}

/// One PRAGMA: how it is set, and what must be read back.
#[derive(Debug)]
struct Pragma {
    name: &'static str,
    value: &'static str,
    read: &'static str,
    reads_as: &'static str,
}

/// `auto_vacuum` comes before `journal_mode`: an empty file that is in WAL mode already would keep its old one.
const LEDGER: &[Pragma] = &[
    pragma("auto_vacuum", "NONE", "PRAGMA auto_vacuum", "0"),
    pragma("journal_mode", "WAL", "PRAGMA journal_mode", "wal"),
    pragma("synchronous", "FULL", "PRAGMA synchronous", "2"),
    pragma("foreign_keys", "ON", "PRAGMA foreign_keys", "1"),
];

/// In KiB. A batch touches a page per order, ids being hashes: what the default of 2 MB can't hold is written to the log
/// before its time, and again.
const WRITER: Pragma = pragma("cache_size", "-16384", "PRAGMA cache_size", "-16384");

const READER: Pragma = pragma("query_only", "ON", "PRAGMA query_only", "1");

const fn pragma(name: &'static str, value: &'static str, read: &'static str, reads_as: &'static str) -> Pragma {
    Pragma { name, value, read, reads_as }
}

impl Profile {
    const fn pragmas(self) -> &'static [Pragma] {
        match self {
            Self::Ledger => LEDGER,
        }
    }

    /// The same on PostgreSQL, as settings of a session.
    pub(super) const fn postgres(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Ledger => &[("synchronous_commit", "on")],
        }
    }

    /// How a file of this profile is opened; it has to exist.
    #[must_use]
    pub fn options(self, file: &Path, role: Role, busy_timeout: Duration) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(busy_timeout)
            .row_buffer_size(ROW_BUFFER)
            .disable_statement_logging();
        self.of(role).fold(options, |options, pragma| options.pragma(pragma.name, pragma.value))
    }

    /// Reads every PRAGMA back.
    ///
    /// # Errors
    /// The first one that is not what was set; the store must not be used then.
    pub async fn check(
        self,
        connection: &mut SqliteConnection,
        role: Role,
        busy_timeout: Duration,
    ) -> Result<(), StoreError> {
        for pragma in self.of(role) {
            let found = read(connection, pragma.read).await?;
            expect(pragma.name, pragma.reads_as, &found)?;
        }
        let found = read(connection, "PRAGMA busy_timeout").await?;
        expect("busy_timeout", &busy_timeout.as_millis().to_string(), &found)
    }

    fn of(self, role: Role) -> impl Iterator<Item = &'static Pragma> {
        let of_role = match role {
            Role::Writer => &WRITER,
            Role::Reader => &READER,
        };
        self.pragmas().iter().chain([of_role])
    }
}

/// How many rows may wait between the connection's thread and ours.
const ROW_BUFFER: usize = 512;

async fn read(connection: &mut SqliteConnection, sql: &'static str) -> Result<String, StoreError> {
    let row = sqlx::query(sql).fetch_one(connection).await.map_err(classify)?;
    row.try_get_unchecked(0).map_err(classify)
}

fn expect(name: &str, expected: &str, found: &str) -> Result<(), StoreError> {
    if expected == found {
        return Ok(());
    }
    Err(StoreError::Unusable { detail: format!("PRAGMA {name} reads {found} where it was set to {expected}") })
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;
    use crate::storage::sqlite::tests::folder;

    const BUSY: Duration = Duration::from_millis(5_000);

    async fn open(file: &Path, role: Role) -> SqliteConnection {
        let options = Profile::Ledger.options(file, role, BUSY);
        options.create_if_missing(role == Role::Writer).connect().await.unwrap()
    }

    #[tokio::test]
    async fn every_pragma_reads_as_it_was_set() {
        let folder = folder();
        let file = folder.path().join("a.db");
        for role in [Role::Writer, Role::Reader] {
            let mut connection = open(&file, role).await;
            Profile::Ledger.check(&mut connection, role, BUSY).await.unwrap();
            assert_eq!(read(&mut connection, "PRAGMA busy_timeout").await.unwrap(), "5000");
        }
        let mut reader = open(&file, Role::Reader).await;
        assert!(sqlx::query("CREATE TABLE t (a)").execute(&mut reader).await.is_err());
    }

    #[tokio::test]
    async fn a_pragma_that_reads_otherwise_is_an_error() {
        let folder = folder();
        let file = folder.path().join("a.db");
        for (sql, name) in [
            ("PRAGMA synchronous = NORMAL", "synchronous"),
            ("PRAGMA foreign_keys = OFF", "foreign_keys"),
            ("PRAGMA busy_timeout = 1", "busy_timeout"),
            ("PRAGMA journal_mode = DELETE", "journal_mode"),
        ] {
            let mut connection = open(&file, Role::Writer).await;
            sqlx::query(sql).execute(&mut connection).await.unwrap();
            let error = Profile::Ledger.check(&mut connection, Role::Writer, BUSY).await.unwrap_err();
            assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
            connection.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_file_that_vacuums_itself_is_refused() {
        let folder = folder();
        let file = folder.path().join("a.db");
        let foreign = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut connection = foreign.pragma("auto_vacuum", "FULL").connect().await.unwrap();
        sqlx::query("CREATE TABLE t (a)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let mut connection = open(&file, Role::Writer).await;
        let error = Profile::Ledger.check(&mut connection, Role::Writer, BUSY).await.unwrap_err();
        assert!(error.to_string().contains("auto_vacuum"), "{error}");
    }
}
