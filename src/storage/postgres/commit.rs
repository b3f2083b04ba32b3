//! One batch, one transaction: the account's row first, then load, decide, save.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgConnection;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::names::AccountName;
use tranche_actors::ports::store::{Batch, Commit, StoreError, Writer};

use super::faults::{classify, leaves_doubt};
use super::save::save;
use super::session::within;
use crate::storage::cells::number;
use crate::storage::load::load;

/// Checks owner and term and names the batch. From here on the account's row is locked.
const ENTER: &str = "UPDATE accounts SET batch = $1 WHERE account = $2 AND owner = $3 AND term = $4";
/// As [`ENTER`] for a batch that claims orders: nobody changes the limits until it has ended. The account's row is locked
/// first, in every claim, so that none waits for another one's row with this lock in its hands. A lock of the limits' row
/// would do the same, but for one that isn't there yet; and who writes would wait as long as one reader follows another.
const ENTER_TO_CLAIM: &str = "
UPDATE accounts SET batch = $1 WHERE account = $2 AND owner = $3 AND term = $4
RETURNING pg_advisory_xact_lock_shared($5)";
/// Who changes the limits waits for the claims that go by the old ones; those that come meanwhile wait for it, and read the
/// new ones.
const TURN_LIMITS: &str = "SELECT pg_advisory_xact_lock($1)";
/// The number of that lock is of this program's making.
const LIMITS_LOCK: i64 = 0x7472_616e_6c69_6d73;
/// As [`ENTER`] for a guest: whatever the term is, and the batch that is named stays.
const VISIT: &str = "UPDATE accounts SET batch = batch WHERE account = $1";

/// Nobody's row is everybody's: what names a batch there is a row of its own, that no other instance writes over.
const SIGN: &str = "
WITH old AS (DELETE FROM batches_of_nobody WHERE at < clock_timestamp() - interval '1 day')
INSERT INTO batches_of_nobody (batch, at) VALUES ($1, clock_timestamp())";

/// Why a batch was not committed, or perhaps not.
pub(super) enum Failed {
    /// Before the commit was asked for: certainly not.
    Before(StoreError),
    /// The commit itself failed.
    AtCommit {
        /// What failed.
        detail: String,
        /// What is true if it was committed.
        then: Commit,
    },
}

/// Runs a batch, and waits so long for all that comes before the commit, and for the commit.
pub(super) async fn run(connection: &mut PgConnection, batch: &Batch, patience: Duration) -> Result<Commit, Failed> {
    let results = within(patience, prepare(connection, batch)).await.map_err(Failed::Before)?;
    match tokio::time::timeout(patience, sqlx::query("COMMIT").execute(connection)).await {
        Ok(Ok(_)) => Ok(results),
        Ok(Err(error)) if !leaves_doubt(&error) => Err(Failed::Before(classify(error))),
        Ok(Err(error)) => Err(Failed::AtCommit { detail: error.to_string(), then: results }),
        Err(_) => {
            let detail = format!("no answer to the commit within {} ms", patience.as_millis());
            Err(Failed::AtCommit { detail, then: results })
        }
    }
}

async fn prepare(connection: &mut PgConnection, batch: &Batch) -> Result<Commit, StoreError> {
    sqlx::query("BEGIN").execute(&mut *connection).await.map_err(classify)?;
    let (account, nonce) = (row_of(&batch.writer), batch.nonce.cast_signed());
    if batch.writes.iter().any(turns_limits) {
        // Before the row that every writer of the switches needs: nobody who stops trading waits for claims.
        sqlx::query(TURN_LIMITS).bind(LIMITS_LOCK).execute(&mut *connection).await.map_err(classify)?;
    }
    let claims = batch.writes.iter().any(|write| matches!(write, Write::Claim { .. }));
    let entered = match owner_of(&batch.writer)? {
        Some((owner, term)) if claims => {
            sqlx::query(ENTER_TO_CLAIM).bind(nonce).bind(account).bind(owner).bind(term).bind(LIMITS_LOCK)
        }
        Some((owner, term)) => sqlx::query(ENTER).bind(nonce).bind(account).bind(owner).bind(term),
        None => sqlx::query(VISIT).bind(account),
    };
    if entered.execute(&mut *connection).await.map_err(classify)?.rows_affected() == 0 {
        return Err(StoreError::Deposed);
    }
    if matches!(batch.writer, Writer::Nobody) {
        sqlx::query(SIGN).bind(nonce).execute(&mut *connection).await.map_err(classify)?;
    }
    let mut books = load(connection, batch).await?;
    let results = batch.writes.iter().map(|write| books.apply(write)).collect();
    save(connection, &books, batch, account).await?;
    Ok(results)
}

/// Whether it changes the limits, asked for by a person or not.
fn turns_limits(write: &Write) -> bool {
    let asked_for = if let Write::Requested { write, .. } = write { write } else { write };
    matches!(asked_for, Write::Limits { .. })
}

/// Whether a batch is the last one that its account saw, once every transaction that has the account's row has ended.
pub(super) async fn is_last(connection: &mut PgConnection, batch: &Batch) -> Result<bool, StoreError> {
    let never_known = |detail: &str| StoreError::OutcomeUnknown { detail: detail.to_owned(), then: Commit::new() };
    let Some(owner) = owner_of(&batch.writer)? else {
        return Err(never_known("a guest's batch has no name in the account's row"));
    };
    let nonce = batch.nonce.cast_signed();
    let row = sqlx::query("SELECT owner, term, batch FROM accounts WHERE account = $1 FOR UPDATE");
    let row = row.bind(row_of(&batch.writer)).fetch_one(&mut *connection).await.map_err(classify)?;
    if row.try_get::<i64, _>("batch").map_err(classify)? == nonce {
        return Ok(true);
    }
    if matches!(batch.writer, Writer::Nobody) {
        let signed = sqlx::query("SELECT 1 FROM batches_of_nobody WHERE batch = $1").bind(nonce);
        return Ok(signed.fetch_optional(connection).await.map_err(classify)?.is_some());
    }
    if (row.try_get::<&str, _>("owner").map_err(classify)?, number::<i64>(&row, "term")?) == owner {
        return Ok(false);
    }
    Err(never_known("the account has another owner, and another last batch"))
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
