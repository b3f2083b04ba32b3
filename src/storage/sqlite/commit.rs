//! One batch, one transaction: the account's row first, then load, decide, save.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tranche_actors::domain::names::AccountName;
use tranche_actors::ports::store::{Batch, Commit, StoreError, Writer};

use super::faults::{classify, leaves_doubt};
use super::save::{save, save_events};
use crate::storage::cells::number;
use crate::storage::load::load;

/// Checks owner and term, names the batch, and says where the events go on.
const ENTER: &str =
    "UPDATE accounts SET batch = ?1 WHERE account = ?2 AND owner = ?3 AND term = ?4 RETURNING next_event";
/// As [`ENTER`] for a guest: whatever the term is, and the batch that is named stays.
const VISIT: &str = "UPDATE accounts SET batch = batch WHERE account = ?1 RETURNING next_event";

/// Why a batch was not committed, or perhaps not.
pub(super) enum Failed {
    /// Before the commit was asked for: certainly not.
    Before(StoreError),
    /// The commit itself failed.
    AtCommit {
        /// What failed.
        detail: String,
        /// Whether it may still come back after a crash, whatever the file says now.
        in_doubt: bool,
        /// What is true if it was committed.
        then: Commit,
    },
}

/// Runs a batch up to its commit. After a failure the connection is still in the transaction.
pub(super) async fn run(connection: &mut SqliteConnection, batch: &Batch) -> Result<Commit, Failed> {
    let results = prepare(connection, batch).await.map_err(Failed::Before)?;
    match sqlx::query("COMMIT").execute(connection).await {
        Ok(_) => Ok(results),
        Err(error) => {
            Err(Failed::AtCommit { in_doubt: leaves_doubt(&error), detail: error.to_string(), then: results })
        }
    }
}

async fn prepare(connection: &mut SqliteConnection, batch: &Batch) -> Result<Commit, StoreError> {
    begin(connection).await?;
    let account = row_of(&batch.writer);
    let entered = match owner_of(&batch.writer)? {
        Some((owner, term)) => sqlx::query(ENTER).bind(batch.nonce.cast_signed()).bind(account).bind(owner).bind(term),
        None => sqlx::query(VISIT).bind(account),
    };
    let entered = entered.fetch_optional(&mut *connection).await.map_err(classify)?;
    let next_event = number(&entered.ok_or(StoreError::Deposed)?, "next_event")?;
    let mut books = load(connection, batch).await?;
    let results = batch.writes.iter().map(|write| books.apply(write)).collect();
    save(connection, &books, batch, account).await?;
    save_events(connection, &books, batch, account, next_event).await?;
    Ok(results)
}

/// Whether a batch is the last one that its account saw.
pub(super) async fn is_last(connection: &mut SqliteConnection, batch: &Batch) -> Result<bool, StoreError> {
    let never_known = |detail: &str| StoreError::OutcomeUnknown { detail: detail.to_owned(), then: Commit::new() };
    let Some(owner) = owner_of(&batch.writer)? else {
        return Err(never_known("a guest's batch has no name in the account's row"));
    };
    let row = sqlx::query("SELECT owner, term, batch FROM accounts WHERE account = ?1").bind(row_of(&batch.writer));
    let row = row.fetch_one(connection).await.map_err(classify)?;
    if row.try_get::<i64, _>("batch").map_err(classify)? == batch.nonce.cast_signed() {
        return Ok(true);
    }
    if (row.try_get::<&str, _>("owner").map_err(classify)?, number::<i64>(&row, "term")?) == owner {
        return Ok(false);
    }
    Err(never_known("the account has another owner, and another last batch"))
}

/// As [`is_last`], and where it is not, writes over what a failed sync may have left behind: a crash before the next
/// commit could bring it back.
pub(super) async fn settle(connection: &mut SqliteConnection, batch: &Batch) -> Result<bool, StoreError> {
    begin(connection).await?;
    let committed = is_last(connection, batch).await?;
    if !committed {
        let other = sqlx::query("UPDATE accounts SET batch = ~batch WHERE account = ?1").bind(row_of(&batch.writer));
        other.execute(&mut *connection).await.map_err(classify)?;
    }
    sqlx::query("COMMIT").execute(connection).await.map_err(classify)?;
    Ok(committed)
}

async fn begin(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("BEGIN IMMEDIATE").execute(connection).await.map_err(classify)?;
    Ok(())
}

/// The row of `accounts` that a batch begins with; what belongs to no account has one of its own.
fn row_of(writer: &Writer) -> &str {
    writer.account().map_or("", AccountName::as_str)
}

/// The owner and the term that the row must have; `None`: any.
fn owner_of(writer: &Writer) -> Result<Option<(&str, i64)>, StoreError> {
    match writer {
        Writer::Owner(ownership) => {
            let term = i64::try_from(ownership.term).map_err(|_| StoreError::Deposed)?;
            Ok(Some((&ownership.owner, term)))
        }
        Writer::Guest(_) => Ok(None),
        Writer::Nobody => Ok(Some(("", 0))),
    }
}
