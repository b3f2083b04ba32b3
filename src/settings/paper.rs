//! The keys of the paper broker, and of what goes wrong there on purpose.

use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use serde_json::{Map, Value};
use tranche_actors::domain::names::Symbol;

use super::reader::Reader;
use super::sections::Paper;
use crate::brokers::paper::settings::QuoteFile;

/// The longest of those times.
pub(crate) const DAY_MS: u64 = 86_400_000;
/// The chances of faults, in thousandths.
pub(crate) const CHANCES: [&str; 10] = [
    "busy_per_mille",
    "timeout_before_per_mille",
    "error_before_per_mille",
    "timeout_after_per_mille",
    "error_after_per_mille",
    "delay_per_mille",
    "lookup_error_per_mille",
    "event_lost_per_mille",
    "event_duplicated_per_mille",
    "event_reordered_per_mille",
];
/// Their times, in milliseconds.
pub(crate) const TIMES: [&str; 4] = ["busy_retry_after_ms", "delay_ms", "cancel_pending_ms", "replace_pending_ms"];

/// Reads `[broker.paper]`; `book` is the file of a book that nobody names.
pub(super) fn read(r: &mut Reader, book: &Path) -> Paper {
    let (zero, thousand) = (Decimal::ZERO, Decimal::ONE_THOUSAND);
    let most_cash = Decimal::from(1_000_000_000_000_000_i64);
    Paper {
        book: r.optional("broker.paper.book").map_or_else(|| book.to_owned(), PathBuf::from),
        seed: r.whole("broker.paper.seed", 0..=u64::MAX),
        quotes: quotes(r),
        speed: r.decimal("broker.paper.speed", Decimal::new(1, 6), Decimal::from(1_000_000)),
        cash: r.decimal("broker.paper.cash", zero, most_cash),
        latency: r.time_or_zero("broker.paper.latency_ms", 60_000),
        quote_interval: r.time("broker.paper.quote_interval_ms", DAY_MS),
        slippage_bps: r.decimal("broker.paper.slippage_bps", zero, thousand),
        event_buffer: r.size("broker.paper.event_buffer", 1_000_000),
        fee_per_unit: r.decimal("broker.paper.fees.per_unit", zero, thousand),
        fee_bps: r.decimal("broker.paper.fees.bps", zero, thousand),
        faults: faults(r),
    }
}

/// The files of recorded quotes, as they are spelt. What is in them is read at the start.
fn quotes(r: &mut Reader) -> Vec<String> {
    let key = "broker.paper.quotes";
    let quotes = r.list(key);
    for text in &quotes {
        let path = QuoteFile::spelt(text).path;
        if !path.exists() {
            r.fault(key, format!("names {}, which is not there", path.display()));
        } else if !path.is_file() {
            r.fault(key, format!("names {}, which is not a file", path.display()));
        }
    }
    quotes
}

fn faults(r: &mut Reader) -> Map<String, Value> {
    let mut all = Map::new();
    let chances = CHANCES.into_iter().map(|name| (name, 1000));
    for (name, most) in chances.chain(TIMES.map(|name| (name, DAY_MS))) {
        let value = r.whole::<u64>(&format!("broker.paper.faults.{name}"), 0..=most);
        all.insert(name.to_owned(), value.into());
    }
    let key = "broker.paper.faults.reject_symbols";
    let symbols = r.list(key).iter().map(|text| text.to_ascii_uppercase()).collect::<Vec<_>>();
    for symbol in &symbols {
        if let Err(rule) = Symbol::parse(symbol) {
            r.fault(key, format!("each symbol {rule}; got {symbol:?}"));
        }
    }
    all.insert("reject_symbols".to_owned(), symbols.into());
    all
}
