//! Recorded quotes from CSV files: `timestamp,bid,ask`, and perhaps `bid_size,ask_size,last,volume,symbol`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use csv::{ReaderBuilder, StringRecord, Trim};
use rust_decimal::Decimal;
use thiserror::Error;
use tranche_actors::domain::money::{Price, parse_decimal};
use tranche_actors::domain::names::{self, Symbol};
use tranche_actors::market::replay::{Row, Series};

use super::settings::QuoteFile;

/// Most rows of all files together: they are kept in memory.
const MOST_ROWS: usize = 5_000_000;

/// Why a file can't be replayed.
#[derive(Debug, Error)]
#[error("{}{}: {message}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct QuoteFileError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, where it is a line's fault.
    pub line: Option<u64>,
    /// What is wrong, for a person.
    pub message: String,
}

/// Reads the files, as one series for each symbol. Blocks.
///
/// # Errors
/// The first thing that is wrong, with its file and line.
pub fn read(files: &[QuoteFile]) -> Result<BTreeMap<Symbol, Series>, QuoteFileError> {
    let mut all = BTreeMap::new();
    let mut room = MOST_ROWS;
    for file in files {
        let fault = |fault: Fault| QuoteFileError { path: file.path.clone(), line: fault.line, message: fault.message };
        for (symbol, rows) in read_file(file, &mut room).map_err(fault)? {
            let of_symbol = |message: String| fault(Fault::of_file(format!("{symbol}: {message}")));
            let series = Series::new(rows).map_err(|err| of_symbol(err.to_string()))?;
            if series.crossed() > 0 {
                let (rows, path) = (series.crossed(), file.path.display());
                tracing::warn!(%symbol, %path, rows, "left out crossed quotes");
            }
            if all.insert(symbol.clone(), series).is_some() {
                return Err(of_symbol("has quotes in another file too".to_owned()));
            }
        }
    }
    Ok(all)
}

pub(super) struct Fault {
    line: Option<u64>,
    message: String,
}

impl Fault {
    const fn of_file(message: String) -> Self {
        Self { line: None, message }
    }
}

impl From<csv::Error> for Fault {
    fn from(err: csv::Error) -> Self {
        Self { line: err.position().map(csv::Position::line), message: err.to_string() }
    }
}

fn read_file(file: &QuoteFile, room: &mut usize) -> Result<BTreeMap<Symbol, Vec<Row>>, Fault> {
    read_rows(File::open(&file.path).map_err(csv::Error::from)?, file, room)
}

/// The rows of a file by their symbols, of which there may be no more than there is room for.
pub(super) fn read_rows(
    source: impl Read,
    file: &QuoteFile,
    room: &mut usize,
) -> Result<BTreeMap<Symbol, Vec<Row>>, Fault> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(source);
    let columns = Columns::new(reader.headers()?, file)?;
    let mut rows = BTreeMap::<Symbol, Vec<Row>>::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        let line = record.position().map(csv::Position::line);
        let at_line = |message| Fault { line, message };
        let (symbol, row) = columns.row(&record).map_err(at_line)?;
        *room = room.checked_sub(1).ok_or_else(|| at_line(format!("there are more than {MOST_ROWS} quotes")))?;
        let rows = rows.entry(symbol).or_default();
        if rows.last().is_some_and(|before| row.at < before.at) {
            return Err(at_line("timestamp: is older than the row before it".to_owned()));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(Fault::of_file("has no quotes".to_owned()));
    }
    Ok(rows)
}

/// Where the symbol of a row comes from.
enum Naming {
    File(Symbol),
    Column(usize),
}

/// Where each value stands in a row.
struct Columns {
    naming: Naming,
    timestamp: usize,
    bid: usize,
    ask: usize,
    bid_size: Option<usize>,
    ask_size: Option<usize>,
    last: Option<usize>,
    volume: Option<usize>,
}

impl Columns {
    fn new(headers: &StringRecord, file: &QuoteFile) -> Result<Self, Fault> {
        let find = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
        let needed = |name: &str| {
            find(name).ok_or_else(|| Fault {
                line: Some(1),
                message: format!("the column {name:?} is missing; needed are timestamp, bid and ask"),
            })
        };
        let known = ["timestamp", "bid", "ask", "bid_size", "ask_size", "last", "volume", "symbol"];
        let foreign = headers.iter().filter(|header| !known.iter().any(|name| header.eq_ignore_ascii_case(name)));
        let foreign = foreign.collect::<Vec<_>>();
        if !foreign.is_empty() {
            tracing::warn!(path = %file.path.display(), columns = ?foreign, "ignored columns that quotes don't have");
        }
        let naming = match (&file.symbol, find("symbol")) {
            (Some(symbol), _) => Naming::File(symbol.clone()),
            (None, Some(column)) => Naming::Column(column),
            (None, None) => Naming::File(named_by(&file.path).ok_or_else(|| {
                let hint = "spell it SYMBOL=path, name the file quotes-SYMBOL.csv, or add a column symbol";
                Fault::of_file(format!("the symbol of the quotes is not known: {hint}"))
            })?),
        };
        Ok(Self {
            naming,
            timestamp: needed("timestamp")?,
            bid: needed("bid")?,
            ask: needed("ask")?,
            bid_size: find("bid_size"),
            ask_size: find("ask_size"),
            last: find("last"),
            volume: find("volume"),
        })
    }

    fn row(&self, record: &StringRecord) -> Result<(Symbol, Row), String> {
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let price = |name: &str, column| {
            let price = parse_decimal(cell(column)).and_then(Price::new);
            price.map_err(|err| format!("{name}: {:?} {err}", cell(column)))
        };
        let optional = |name: &str, column: Option<usize>| -> Result<Option<Decimal>, String> {
            let Some(text) = column.map(cell).filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let value = parse_decimal(text).map_err(|err| format!("{name}: {text:?} {err}"))?;
            if value.is_sign_negative() {
                return Err(format!("{name}: {text:?} must not be below zero"));
            }
            Ok(Some(value))
        };
        let symbol = match self.naming {
            Naming::File(ref symbol) => symbol.clone(),
            Naming::Column(column) => names::symbol(cell(column)).map_err(|err| format!("symbol: {err}"))?,
        };
        let time = cell(self.timestamp);
        let at = DateTime::parse_from_rfc3339(time)
            .map_err(|_| format!("timestamp: {time:?} must be a time like 2012-02-01T00:00:00Z"))?;
        // Nothing is made of the volume yet, but a wrong one says that the file is not what it seems.
        optional("volume", self.volume)?;
        let row = Row {
            at: at.with_timezone(&Utc),
            bid: price("bid", self.bid)?,
            ask: price("ask", self.ask)?,
            bid_size: optional("bid_size", self.bid_size)?,
            ask_size: optional("ask_size", self.ask_size)?,
            last: optional("last", self.last)?,
        };
        Ok((symbol, row))
    }
}

/// The symbol in a name like `quotes-GBPUSD-2012-02.csv`.
fn named_by(path: &Path) -> Option<Symbol> {
    let rest = path.file_stem()?.to_str()?.strip_prefix("quotes-")?;
    names::symbol(rest.split('-').next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brokers::paper::tests::Folder;

    fn read_one(name: &str, symbol: Option<&str>, text: &str) -> Result<BTreeMap<Symbol, Series>, String> {
        let folder = Folder::new();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let symbol = symbol.map(|symbol| Symbol::parse(symbol).unwrap());
        read(&[QuoteFile { symbol, path }]).map_err(|err| {
            let text = err.to_string();
            text.split_once(".csv").unwrap().1.to_owned()
        })
    }

    fn symbols(result: Result<BTreeMap<Symbol, Series>, String>) -> Vec<String> {
        result.unwrap().keys().map(ToString::to_string).collect()
    }

    #[test]
    fn a_symbol_is_spelt_or_in_a_column_or_in_the_name() {
        let plain = "timestamp,bid,ask\n2012-02-01T00:00:00Z,1.1,1.2\n";
        let named = "Timestamp,Bid,Ask,Symbol\n2012-02-01T00:00:00Z,1.1,1.2,aapl\n2012-01-01T00:00:00Z,1.1,1.2,MSFT\n";
        assert_eq!(symbols(read_one("quotes-GBPUSD-2012-02.csv", None, plain)), ["GBPUSD"]);
        assert_eq!(symbols(read_one("quotes-gbpusd.csv", None, plain)), ["GBPUSD"]);
        assert_eq!(symbols(read_one("x.csv", Some("EUR/USD"), plain)), ["EUR/USD"]);
        assert_eq!(symbols(read_one("quotes-GBPUSD.csv", None, named)), ["AAPL", "MSFT"]);
        assert!(read_one("x.csv", None, plain).unwrap_err().contains("SYMBOL=path"));
    }

    #[test]
    fn what_is_left_empty_takes_its_default() {
        let text = "\u{feff}ask,bid,timestamp,last,bid_size,ask_size,volume,x\n\
                    1.2,1.1,2012-02-01T01:00:00.5+01:00,,,12.5,,y\n\
                    1.0,1.1,2012-02-01T00:01:00Z,,,,,\n";
        let all = read_one("quotes-A.csv", None, text).unwrap();
        let series = &all[&Symbol::parse("A").unwrap()];
        assert_eq!(series.crossed(), 1);
        assert!(format!("{series:?}").contains("2012-02-01T00:00:00.500Z"));
        assert!(format!("{series:?}").contains("bid_size: None, ask_size: Some(12.5), last: None"));
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        let row = "2012-02-01T00:00:00Z,1.1,1.2";
        for (text, fault) in [
            ("timestamp,bid\n".to_owned(), ", line 1: the column \"ask\" is missing"),
            ("timestamp,bid,ask\n".to_owned(), ": has no quotes"),
            (format!("timestamp,bid,ask\n{row}\n2012-02-01,1,1\n"), ", line 3: timestamp"),
            (format!("timestamp,bid,ask\n{row}\n2012-01-01T00:00:00Z,1,1\n"), ", line 3: timestamp: is older"),
            ("timestamp,bid,ask\n2012-02-01T00:00:00Z,0,1\n".to_owned(), ", line 2: bid: \"0\" must be above zero"),
            ("timestamp,bid,ask\n2012-02-01T00:00:00Z,1,x\n".to_owned(), ", line 2: ask: \"x\" must be a decimal"),
            (format!("timestamp,bid,ask\n{row},7\n"), ", line 2: "),
            (format!("timestamp,bid,ask,last\n{row},-7\n"), ", line 2: last"),
            ("timestamp,bid,ask\n2012-02-01T00:00:00Z,2,1\n".to_owned(), ": A: there is no quote"),
        ] {
            let err = read_one("quotes-A.csv", None, &text).unwrap_err();
            assert!(err.starts_with(fault), "{err}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let path = PathBuf::from("no-such-folder/quotes-A.csv");
        let err = read(&[QuoteFile { symbol: None, path }]).unwrap_err();
        assert!(err.to_string().starts_with("no-such-folder/quotes-A.csv: "), "{err}");
    }
}
