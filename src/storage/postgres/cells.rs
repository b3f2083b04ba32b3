//! Rows of PostgreSQL: each type is its own there.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;
use tranche_actors::ports::store::StoreError;

use super::faults::classify;
use crate::storage::cells::Cells;

impl Cells for PgRow {
    fn text(&self, column: &'static str) -> Result<Option<&str>, StoreError> {
        self.try_get(column).map_err(classify)
    }

    fn integer(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.try_get(column).map_err(classify)
    }

    fn flag(&self, column: &'static str) -> Result<Option<bool>, StoreError> {
        self.try_get(column).map_err(classify)
    }

    fn decimal(&self, column: &'static str) -> Result<Option<Decimal>, StoreError> {
        self.try_get(column).map_err(classify)
    }

    fn time(&self, column: &'static str) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.try_get(column).map_err(classify)
    }

    fn date(&self, column: &'static str) -> Result<Option<NaiveDate>, StoreError> {
        self.try_get(column).map_err(classify)
    }

    /// On the wire a JSON value is its text; only the driver's table of types doesn't know.
    fn json(&self, column: &'static str) -> Result<Option<&str>, StoreError> {
        self.try_get_unchecked(column).map_err(classify)
    }
}
