//! Rows on their way into a statement: a JSON array of arrays, whose places are the columns in the order of their names.
//!
//! Places instead of names, since SQLite looks for a name from the first field on, for each column of each row again:
//! that was half the cost of a batch. The names stand once, in [`row`], and the statements are made from them.

use serde::ser::{Serialize, SerializeSeq, Serializer};

/// Some columns of a table, and their values in the same order.
pub(super) trait Columns {
    /// The names.
    fn names() -> Vec<&'static str>;

    /// Adds the values.
    fn write<S: SerializeSeq>(&self, values: &mut S) -> Result<(), S::Error>;
}

/// A struct whose fields are columns.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident<$life:lifetime> { $($column:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        pub(super) struct $name<$life> {
            $($column: $type),+
        }

        impl $crate::storage::sqlite::columns::Columns for $name<'_> {
            fn names() -> Vec<&'static str> {
                vec![$(stringify!($column)),+]
            }

            fn write<S: serde::ser::SerializeSeq>(&self, values: &mut S) -> Result<(), S::Error> {
                $(values.serialize_element(&self.$column)?;)+
                Ok(())
            }
        }
    };
}

pub(super) use row;

/// Columns, and behind them more of the same row.
impl<A: Columns, B: Columns> Columns for (A, B) {
    fn names() -> Vec<&'static str> {
        [A::names(), B::names()].concat()
    }

    fn write<S: SerializeSeq>(&self, values: &mut S) -> Result<(), S::Error> {
        self.0.write(values)?;
        self.1.write(values)
    }
}

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
    let columns = names.iter().copied().chain(fixed.iter().map(|(name, _)| *name)).collect::<Vec<_>>();
    let values = values.chain(fixed.iter().map(|(_, value)| (*value).to_owned())).collect::<Vec<_>>();
    format!("{ROWS} INSERT INTO {table} ({}) SELECT {} FROM r WHERE true", columns.join(", "), values.join(", "))
}

/// `UPDATE` of all rows of `?1`, each known by its first column.
pub(super) fn update<T: Columns>(table: &str) -> String {
    let names = T::names();
    let id = names.first().copied().unwrap_or_default();
    let set = names.iter().enumerate().skip(1);
    let set = set.map(|(place, name)| format!("{name} = {}", value(place))).collect::<Vec<_>>();
    format!("{ROWS} UPDATE {table} SET {} FROM r WHERE {table}.{id} = {}", set.join(", "), value(0))
}

/// `k` is the number of a row, from 0 on.
const ROWS: &str = "WITH r (k, v) AS MATERIALIZED (SELECT key, value FROM jsonb_each(?1))";

fn value(place: usize) -> String {
    format!("v ->> '$[{place}]'")
}
