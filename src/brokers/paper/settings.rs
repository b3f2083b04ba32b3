//! What can be configured about the paper broker.

use std::fmt;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::names::Symbol;
use tranche_actors::market::faults::Faults;
use tranche_actors::market::fills::Fees;
use tranche_actors::market::spelling;

/// The name of the book's file where configuration gives none.
pub const BOOK_FILE: &str = "paper-book.db";

/// The paper broker's settings; every one has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaperSettings {
    /// The file of its book; none: [`BOOK_FILE`] in the data folder.
    pub book: Option<PathBuf>,
    /// Decides every quote and every fault.
    pub seed: u64,
    /// Files of recorded quotes to replay: a list, or one text with commas. See [`QuoteFile`].
    #[serde(deserialize_with = "spelling::list")]
    pub quotes: Vec<QuoteFile>,
    /// How fast recorded quotes are replayed, in seconds of theirs per second.
    #[serde(deserialize_with = "spelling::exact")]
    pub speed: Decimal,
    /// The cash that a new book begins with.
    #[serde(deserialize_with = "spelling::exact")]
    pub cash: Decimal,
    /// How long answers and events are on their way, in milliseconds.
    pub latency_ms: u64,
    /// How often the market moves and orders are matched, in milliseconds; also the step of the random walk.
    pub quote_interval_ms: u64,
    /// The worst that an order's size does to its price, in hundredths of a percent of the quote.
    #[serde(deserialize_with = "spelling::exact")]
    pub slippage_bps: Decimal,
    /// What trades cost.
    pub fees: Fees,
    /// What goes wrong.
    pub faults: Faults,
    /// How many events a slow reader of the stream may fall behind before it is told of a gap.
    pub event_buffer: usize,
}

impl Default for PaperSettings {
    fn default() -> Self {
        Self {
            book: None,
            seed: 1,
            quotes: Vec::new(),
            speed: Decimal::ONE,
            cash: Decimal::from(10_000_000),
            latency_ms: 50,
            quote_interval_ms: 250,
            slippage_bps: Decimal::ZERO,
            fees: Fees::default(),
            faults: Faults::default(),
            event_buffer: 8_192,
        }
    }
}

impl PaperSettings {
    /// Where the book is.
    #[must_use]
    pub fn book_in(&self, data_folder: &Path) -> PathBuf {
        self.book.clone().unwrap_or_else(|| data_folder.join(BOOK_FILE))
    }

    /// Everything that is wrong with the values, by their keys in this section; nothing, if they can be used.
    #[must_use]
    pub fn check(&self) -> Vec<FieldError> {
        const DAY_MS: u64 = 86_400_000;
        let decimals = [
            ("speed", self.speed, Decimal::new(1, 6), Decimal::from(1_000_000)),
            ("cash", self.cash, Decimal::ZERO, Decimal::from(1_000_000_000_000_000_i64)),
            ("slippage_bps", self.slippage_bps, Decimal::ZERO, Decimal::from(1_000)),
            ("fees.per_unit", self.fees.per_unit, Decimal::ZERO, Decimal::from(1_000)),
            ("fees.bps", self.fees.bps, Decimal::ZERO, Decimal::from(1_000)),
        ];
        let decimals = decimals
            .into_iter()
            .filter(|(_, value, least, most)| value < least || value > most)
            .map(|(key, _, least, most)| out_of_range(key, &least, &most));
        let buffer = u64::try_from(self.event_buffer).unwrap_or(u64::MAX);
        let integers = [
            ("latency_ms", self.latency_ms, 0, 60_000),
            ("quote_interval_ms", self.quote_interval_ms, 1, DAY_MS),
            ("event_buffer", buffer, 1, 1_000_000),
            ("faults.delay_ms", self.faults.delay_ms, 0, DAY_MS),
            ("faults.busy_retry_after_ms", self.faults.busy_retry_after_ms, 0, DAY_MS),
            ("faults.cancel_pending_ms", self.faults.cancel_pending_ms, 0, DAY_MS),
            ("faults.replace_pending_ms", self.faults.replace_pending_ms, 0, DAY_MS),
        ];
        let integers = integers
            .into_iter()
            .filter(|(_, value, least, most)| value < least || value > most)
            .map(|(key, _, least, most)| out_of_range(key, &least, &most));
        decimals.chain(integers).collect()
    }
}

fn out_of_range(key: &str, least: &dyn fmt::Display, most: &dyn fmt::Display) -> FieldError {
    FieldError::new(key, "out_of_range", format!("must be from {least} to {most}"))
}

/// A file of recorded quotes, spelt `path` or `SYMBOL=path`.
///
/// The symbol is the one spelt here; else that of each row, if the file has a column `symbol`; else that of the file's
/// name, if it is `quotes-SYMBOL.csv` or `quotes-SYMBOL-….csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteFile {
    /// The symbol, where it is spelt.
    pub symbol: Option<Symbol>,
    /// The file.
    pub path: PathBuf,
}

impl QuoteFile {
    /// Reads how a file is spelt.
    #[must_use]
    pub fn spelt(text: &str) -> Self {
        // A path may have an equals sign of its own; what stands before it is then no symbol.
        let spelt = text.split_once('=').and_then(|(symbol, path)| Some((Symbol::parse(symbol).ok()?, path)));
        match spelt {
            Some((symbol, path)) => Self { symbol: Some(symbol), path: path.into() },
            None => Self { symbol: None, path: text.into() },
        }
    }
}

impl fmt::Display for QuoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.symbol {
            Some(symbol) => write!(f, "{symbol}={}", self.path.display()),
            None => self.path.display().fmt(f),
        }
    }
}

impl Serialize for QuoteFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for QuoteFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::spelt(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Result<PaperSettings, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn the_defaults_are_sound_and_survive_being_written() {
        let defaults = settings("{}").unwrap();
        assert_eq!(defaults, PaperSettings::default());
        assert_eq!(defaults.check(), []);
        let written = serde_json::to_string(&defaults).unwrap();
        assert_eq!(settings(&written).unwrap(), defaults);
    }

    #[test]
    fn a_misspelt_key_and_a_float_are_refused() {
        for bad in [r#"{"chash":"1"}"#, r#"{"cash":0.5}"#, r#"{"faults":{"x":1}}"#, r#"{"fees":{"bps":0.5}}"#] {
            assert!(settings(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_value_can_be_a_text_as_environment_variables_are() {
        let texts = [
            ("book", "elsewhere.db"),
            ("seed", "7"),
            ("quotes", "EURUSD=a.csv,b.csv"),
            ("speed", "0.5"),
            ("cash", "100"),
            ("latency_ms", "0"),
            ("fees.per_unit", "0.005"),
            ("faults.timeout_after_per_mille", "1000"),
            ("faults.reject_symbols", "AAPL,MSFT"),
            ("event_buffer", "16"),
        ];
        let mut builder = config::Config::builder();
        for (key, text) in texts {
            builder = builder.set_override(key, text).unwrap();
        }
        let read = builder.build().unwrap().try_deserialize::<PaperSettings>().unwrap();
        assert_eq!(read.book_in(Path::new("data")), Path::new("elsewhere.db"));
        assert_eq!((read.seed, read.latency_ms, read.event_buffer), (7, 0, 16));
        assert_eq!((read.speed.to_string(), read.fees.per_unit.to_string()), ("0.5".to_owned(), "0.005".to_owned()));
        assert_eq!((read.quotes.len(), read.faults.reject_symbols.len()), (2, 2));
        assert_eq!(read.check(), []);
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let json = r#"{"speed":"0","slippage_bps":-1,"quote_interval_ms":0,"event_buffer":0,"latency_ms":60001}"#;
        let errors = settings(json).unwrap().check();
        let fields = errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>();
        assert_eq!(fields, ["speed", "slippage_bps", "latency_ms", "quote_interval_ms", "event_buffer"]);
    }

    #[test]
    fn quote_files_are_spelt_with_or_without_a_symbol() {
        let files = settings(r#"{"quotes":"a/b.csv, BRK.B=x=y.csv,a=b.csv"}"#).unwrap().quotes;
        let spelt = files.iter().map(|file| file.symbol.as_ref().map(Symbol::as_str)).collect::<Vec<_>>();
        assert_eq!(spelt, [None, Some("BRK.B"), None]);
        assert_eq!(files[1].path, Path::new("x=y.csv"));
        assert_eq!(files[2].path, Path::new("a=b.csv"));
    }
}
