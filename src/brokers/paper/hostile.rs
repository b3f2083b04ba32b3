//! The reader of recorded quotes, for files that nobody recorded.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta};
use rust_decimal::Decimal;
use tranche_actors::market::replay::{Replay, Series};

use super::quote_files::read_rows;
use super::settings::QuoteFile;
use crate::hostile::done;

/// A file of quotes, replayed.
pub fn quotes(bytes: &[u8]) {
    for name in ["quotes-TESTFX.csv", "some.csv"] {
        let mut room = 100_000;
        let file = QuoteFile { symbol: None, path: PathBuf::from(name) };
        for rows in read_rows(bytes, &file, &mut room).into_iter().flat_map(std::collections::BTreeMap::into_values) {
            let Ok(series) = Series::new(rows) else { continue };
            done(series.fingerprint());
            let replay = Replay::new(series, DateTime::UNIX_EPOCH, Decimal::ONE_HUNDRED);
            for at in [DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::days(9_000)] {
                done(replay.quote(replay.index_at(at)));
            }
            done(replay.end());
        }
    }
}
