//! Rows on their way into a statement: a JSON array of arrays, whose places are the columns in the order of their names.
//!
//! Places instead of names, since SQLite looks for a name from the first field on, for each column of each row again:
//! that was half the cost of a batch. The names stand once, with the rows, and the statements are made from them.

use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::storage::columns::Columns;

/// A row as JSON.
pub(super) struct Line<T>(pub(super) T);

impl<T: Columns> Serialize for Line<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values = serializer.serialize_seq(None)?;
        self.0.write(&mut values)?;
        values.end()
    }
}

/// `INSERT` of all rows of `?1`; `fixed` are columns beside theirs, of the same value in each row.
///
/// The rows are unpacked once into binary JSON: without `MATERIALIZED` SQLite would parse each for each of its columns.
pub(super) fn insert<T: Columns>(table: &str, fixed: &[(&str, &str)]) -> String {
    let names = T::names();
    let values = (0..names.len()).map(value);
    let columns = names.iter().map(|(name, _)| *name).chain(fixed.iter().map(|(name, _)| *name)).collect::<Vec<_>>();
    let values = values.chain(fixed.iter().map(|(_, value)| (*value).to_owned())).collect::<Vec<_>>();
    format!("{ROWS} INSERT INTO {table} ({}) SELECT {} FROM r WHERE true", columns.join(", "), values.join(", "))
}

/// `UPDATE` of all rows of `?1`, each known by its first column.
pub(super) fn update<T: Columns>(table: &str) -> String {
    let names = T::names();
    let id = names.first().map_or("", |(name, _)| *name);
    let set = names.iter().enumerate().skip(1);
    let set = set.map(|(place, (name, _))| format!("{name} = {}", value(place))).collect::<Vec<_>>();
    format!("{ROWS} UPDATE {table} SET {} FROM r WHERE {table}.{id} = {}", set.join(", "), value(0))
}

/// `k` is the number of a row, from 0 on.
const ROWS: &str = "WITH r (k, v) AS MATERIALIZED (SELECT key, value FROM jsonb_each(?1))";

fn value(place: usize) -> String {
    format!("v ->> '$[{place}]'")
}
