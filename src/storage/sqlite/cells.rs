//! Rows of SQLite: decimals, times and documents are text there.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tranche_actors::ports::store::StoreError;

use super::faults::classify;
use crate::storage::cells::{Cells, maybe, maybe_number};

impl Cells for SqliteRow {
    fn text(&self, column: &'static str) -> Result<Option<&str>, StoreError> {
        self.try_get(column).map_err(classify)
    }

    fn integer(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.try_get(column).map_err(classify)
    }

    fn flag(&self, column: &'static str) -> Result<Option<bool>, StoreError> {
        Ok(maybe_number::<u8>(self, column)?.map(|number| number != 0))
    }

    fn decimal(&self, column: &'static str) -> Result<Option<Decimal>, StoreError> {
        maybe(self, column, |text| Decimal::from_str_exact(text).ok())
    }

    fn time(&self, column: &'static str) -> Result<Option<DateTime<Utc>>, StoreError> {
        maybe(self, column, |text| Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc()))
    }

    fn date(&self, column: &'static str) -> Result<Option<NaiveDate>, StoreError> {
        maybe(self, column, |text| NaiveDate::from_str(text).ok())
    }

    fn json(&self, column: &'static str) -> Result<Option<&str>, StoreError> {
        self.text(column)
    }
}

/// The one way to write a time: six digits and `Z`, so that text sorts like time.
pub(in crate::storage) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
