//! What PostgreSQL's errors mean to who asked for a commit.

use sqlx::postgres::{PgDatabaseError, PgSeverity};
use tranche_actors::ports::store::StoreError;

/// The class of an error that came before the commit, so that nothing was committed.
pub(in crate::storage) fn classify(error: sqlx::Error) -> StoreError {
    let detail = error.to_string();
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    match code {
        Some(code) => by_code(&code, detail),
        None if is_decoding(&error) => StoreError::Corrupt { detail },
        None => StoreError::Unavailable { detail },
    }
}

/// By SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn by_code(code: &str, detail: String) -> StoreError {
    match (code.get(..2).unwrap_or_default(), code) {
        // A rule of the tables, one of our triggers, a value that no column takes.
        ("22" | "23", _) | (_, "P0001") => StoreError::Constraint { detail },
        // Two batches that met over an id or a key: one by one they pass.
        (_, "40001" | "40P01") => StoreError::Constraint { detail },
        // Who may not log in, or not see a table, has to be let in by a person.
        ("28", _) | (_, "42501" | "3D000") => StoreError::Unusable { detail },
        // A missing table or column: not what this program made. And what the server itself calls corrupted.
        ("42", _) | (_, "XX001" | "XX002") => StoreError::Corrupt { detail },
        _ => StoreError::Unavailable { detail },
    }
}

/// Whether a commit that failed so may have been made. The server says no by an error; when it ends the session over it,
/// or says nothing, nobody knows.
pub(super) fn leaves_doubt(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    said.is_none_or(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
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
