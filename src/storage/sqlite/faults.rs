//! What SQLite's errors mean to who asked for a commit.

use tranche_actors::ports::store::StoreError;

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>) that we tell apart.
mod code {
    pub(super) const ERROR: i64 = 1;
    pub(super) const CORRUPT: i64 = 11;
    pub(super) const CONSTRAINT: i64 = 19;
    pub(super) const NOT_A_DATABASE: i64 = 26;
    /// An extended code: the frames were written, and whether they are on the disk is not known.
    pub(super) const SYNC_FAILED: i64 = 1034;
}

/// The class of an error that came before the commit, so that nothing was committed.
pub(crate) fn classify(error: sqlx::Error) -> StoreError {
    let detail = error.to_string();
    match result_code(&error).map(|code| code & 0xff) {
        Some(code::CONSTRAINT) => StoreError::Constraint { detail },
        // A missing table or column, a value of the wrong kind: not what this program made.
        Some(code::ERROR | code::CORRUPT | code::NOT_A_DATABASE) => StoreError::Corrupt { detail },
        Some(_) => StoreError::Unavailable { detail },
        None if is_decoding(&error) => StoreError::Corrupt { detail },
        None => StoreError::Unavailable { detail },
    }
}

/// Whether a commit that failed so may still come back after a crash.
pub(crate) fn leaves_doubt(error: &sqlx::Error) -> bool {
    match result_code(error) {
        Some(code) => code == code::SYNC_FAILED,
        // The connection's thread is gone, and with it the answer; the file can be read for it.
        None => false,
    }
}

/// SQLite's extended result code, where the error came from SQLite.
fn result_code(error: &sqlx::Error) -> Option<i64> {
    error.as_database_error()?.code()?.parse().ok()
}

const fn is_decoding(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. }
    )
}
