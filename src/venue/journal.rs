//! The venue's journal: one line of JSON for everything that it was asked and everything that became of it, on disk before
//! anybody is told. The books are rebuilt from it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tranche_actors::domain::venue::Execution;
use uuid::Uuid;

use crate::brokers::paper::rows::OrderRow;

/// The name of the journal in the venue's folder.
pub const FILE: &str = "journal.jsonl";

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1.
    pub n: u64,
    /// When, by the venue's clock.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a line says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The venue started.
    Started {
        /// What decides its quotes and its chances.
        seed: u64,
        /// How fast its clock runs.
        time_scale: u32,
    },
    /// An account was opened.
    Account {
        /// Its name.
        account: String,
        /// What it begins with.
        cash: Decimal,
    },
    /// Somebody asked for an order, a replacement or a cancel.
    Request(Box<Request>),
    /// An order changed; the first line of an order is its acceptance.
    Order(Box<OrderLine>),
}

/// A request, and what it came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The account.
    pub account: String,
    /// The id of the key that asked.
    pub key: String,
    /// `submit`, `replace`, `cancel` or `close`.
    pub action: String,
    /// The client's id of the order, where the request named one.
    pub client_order_id: Option<String>,
    /// The venue's id of the order: of the new one, where there is one.
    pub id: Option<Uuid>,
    /// `accepted`, `refused`, or `lost`: it never arrived.
    pub outcome: Outcome,
    /// The status of the answer; none if there was none.
    pub status: Option<u16>,
    /// The code of a refusal.
    pub code: Option<u32>,
    /// The words of a refusal.
    pub message: Option<String>,
    /// What went wrong on purpose.
    pub fault: Option<String>,
}

/// Whether a request was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Taken.
    Accepted,
    /// Not taken, and it was told so, or was to be told so.
    Refused,
    /// Never arrived.
    Lost,
}

/// An order as it stands, and the trade that made it so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderLine {
    /// The account.
    pub account: String,
    /// Whether this is its first line.
    pub is_new: bool,
    /// The venue's id.
    pub id: Uuid,
    /// The client's id, as it was sent.
    pub client_order_id: String,
    /// Where it stands, in the venue's own words.
    pub status: String,
    /// How much of it has traded.
    pub filled_qty: Decimal,
    /// How much money it was to move, where that was asked instead of a quantity.
    pub notional: Option<Decimal>,
    /// All that the book knows.
    pub row: OrderRow,
    /// The trade.
    pub execution: Option<Execution>,
}

/// Why the journal can't be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// It can't be read or written.
    #[error("the journal {} can't be used", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// A line is not what this program writes.
    #[error("line {number} of the journal {} can't be read", path.display())]
    Line {
        /// Where it is.
        path: PathBuf,
        /// Which line.
        number: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// The journal, open for writing.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    last: u64,
}

impl Journal {
    /// Opens the journal, or begins one, and reads what it says. What a kill left of a line is cut off: nobody was told.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Line>), JournalError> {
        let failed = |source| JournalError::File { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        file.try_lock().map_err(|error| failed(error.into()))?;
        let (lines, whole) = read_from(&mut file, path)?;
        file.set_len(whole).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let last = lines.last().map_or(0, |line| line.n);
        Ok((Self { path: path.to_owned(), file, last }, lines))
    }

    /// Writes lines, and returns once they are on disk.
    pub(super) fn write(&mut self, at: DateTime<Utc>, entries: Vec<Entry>) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for entry in entries {
            self.last += 1;
            let line = Line { n: self.last, at, entry };
            serde_json::to_writer(&mut text, &line).map_err(|error| self.failed(error.into()))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).map_err(|error| self.failed(error))?;
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::File { path: self.path.clone(), source }
    }
}

/// Reads a journal, whether or not a venue runs on it.
///
/// # Errors
/// [`JournalError`].
pub fn read(path: &Path) -> Result<Vec<Line>, JournalError> {
    let failed = |source| JournalError::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    Ok(read_from(&mut file, path)?.0)
}

/// The lines, and how many bytes the whole ones take.
fn read_from(file: &mut File, path: &Path) -> Result<(Vec<Line>, u64), JournalError> {
    let failed = |source| JournalError::File { path: path.to_owned(), source };
    let (mut lines, mut whole) = (Vec::new(), 0);
    let mut reader = BufReader::new(file);
    loop {
        let mut text = Vec::new();
        let read = reader.read_until(b'\n', &mut text).map_err(failed)?;
        if text.last() != Some(&b'\n') {
            return Ok((lines, whole));
        }
        whole += u64::try_from(read).unwrap_or(u64::MAX);
        let number = u64::try_from(lines.len()).unwrap_or(u64::MAX).saturating_add(1);
        let line = serde_json::from_slice(&text);
        lines.push(line.map_err(|source| JournalError::Line { path: path.to_owned(), number, source })?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_but_for_a_torn_line() {
        let path = std::env::temp_dir().join(format!("tranche-journal-{}/{FILE}", Uuid::new_v4()));
        let at = "2026-03-02T12:00:00.123456789Z".parse().unwrap();
        let (mut journal, lines) = Journal::open(&path).unwrap();
        assert!(lines.is_empty());
        let entry = |cash| Entry::Account { account: "default".to_owned(), cash };
        journal.write(at, vec![entry(Decimal::ONE), entry(Decimal::TWO)]).unwrap();
        assert!(Journal::open(&path).is_err(), "two venues can't share a journal");
        drop(journal);

        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"n\":3,\"at\"").unwrap();
        drop(torn);
        assert_eq!(read(&path).unwrap().len(), 2);
        let (mut journal, lines) = Journal::open(&path).unwrap();
        assert_eq!((lines.len(), lines[1].n, lines[1].at), (2, 2, at));
        journal.write(at, vec![entry(Decimal::TEN)]).unwrap();
        let lines = read(&path).unwrap();
        assert!(matches!(&lines[2].entry, Entry::Account { cash, .. } if *cash == Decimal::TEN));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
