//! Columns of rows on their way into a statement, by their names, with the types that each backend gives them.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde::ser::SerializeSeq;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgHasArrayType, Postgres};
use sqlx::{Arguments, Encode, Type};
use tranche_actors::domain::money::canonical;

use super::sqlite::cells::time;

/// Some columns of a table, and their values in the same order.
pub(super) trait Columns: Sized {
    /// The names, and behind each what PostgreSQL has to be told of its type.
    fn names() -> Vec<(&'static str, &'static str)>;

    /// Adds the values of a row, for SQLite.
    fn write<S: SerializeSeq>(&self, values: &mut S) -> Result<(), S::Error>;

    /// Adds an array for each column, of the values of all rows, for PostgreSQL.
    fn bind<'r>(rows: &[&'r Self], arguments: &mut PgArguments) -> Result<(), BoxDynError>
    where
        Self: 'r;
}

/// A struct whose fields are columns.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident<$life:lifetime> { $($column:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        pub(super) struct $name<$life> {
            $($column: $type),+
        }

        impl<$life> $crate::storage::columns::Columns for $name<$life> {
            fn names() -> Vec<(&'static str, &'static str)> {
                use $crate::storage::columns::Cell;
                vec![$((stringify!($column), <$type>::CAST)),+]
            }

            fn write<S: serde::ser::SerializeSeq>(&self, values: &mut S) -> Result<(), S::Error> {
                use $crate::storage::columns::Cell;
                $(values.serialize_element(&self.$column.as_text())?;)+
                Ok(())
            }

            fn bind<'r>(
                rows: &[&'r Self],
                arguments: &mut sqlx::postgres::PgArguments,
            ) -> Result<(), sqlx::error::BoxDynError>
            where
                Self: 'r,
            {
                $($crate::storage::columns::bind(rows.iter().map(|row| &row.$column), arguments)?;)+
                Ok(())
            }
        }
    };
}

pub(super) use row;

/// Columns, and behind them more of the same row.
impl<A: Columns, B: Columns> Columns for (A, B) {
    fn names() -> Vec<(&'static str, &'static str)> {
        [A::names(), B::names()].concat()
    }

    fn write<S: SerializeSeq>(&self, values: &mut S) -> Result<(), S::Error> {
        self.0.write(values)?;
        self.1.write(values)
    }

    fn bind<'r>(rows: &[&'r Self], arguments: &mut PgArguments) -> Result<(), BoxDynError>
    where
        Self: 'r,
    {
        A::bind(&rows.iter().map(|row| &row.0).collect::<Vec<_>>(), arguments)?;
        B::bind(&rows.iter().map(|row| &row.1).collect::<Vec<_>>(), arguments)
    }
}

/// Adds one column as an array; all columns come from the same rows, so that no array is shorter than another.
pub(super) fn bind<'r, T: Cell + 'r>(
    values: impl Iterator<Item = &'r T>,
    arguments: &mut PgArguments,
) -> Result<(), BoxDynError> {
    arguments.add(values.map(Cell::as_sql).collect::<Vec<_>>())
}

/// A value of a column.
pub(super) trait Cell {
    /// What PostgreSQL has to be told to take it for what it is.
    const CAST: &'static str = "";

    /// As JSON for SQLite: decimals and times are strings there, since a JSON number would become a float.
    type Text<'t>: Serialize
    where
        Self: 't;

    /// As PostgreSQL's own type.
    type Sql<'t>: Encode<'t, Postgres> + Type<Postgres> + PgHasArrayType + 't
    where
        Self: 't;

    fn as_text(&self) -> Self::Text<'_>;
    fn as_sql(&self) -> Self::Sql<'_>;
}

macro_rules! cell {
    ($($type:ty as $text:ty, $sql:ty: |$value:ident| $as_text:expr, $as_sql:expr;)+) => {
        $(
            impl Cell for $type {
                type Text<'t> = $text where Self: 't;
                type Sql<'t> = $sql where Self: 't;

                fn as_text(&self) -> Self::Text<'_> {
                    let $value = self;
                    $as_text
                }

                fn as_sql(&self) -> Self::Sql<'_> {
                    let $value = self;
                    $as_sql
                }
            }
        )+
    };
}

cell! {
    &str as &'t str, &'t str: |text| text, text;
    bool as bool, bool: |flag| *flag, *flag;
    u32 as u32, i64: |number| *number, i64::from(*number);
    // Versions of a position; one that leaves the range would break its table's rule, and so its batch alone.
    u64 as u64, i64: |number| *number, i64::try_from(*number).unwrap_or(-1);
    Decimal as String, Decimal: |value| canonical(*value), *value;
    DateTime<Utc> as String, DateTime<Utc>: |at| time(*at), *at;
    NaiveDate as String, NaiveDate: |date| date.to_string(), *date;
}

/// A document as it is written.
pub(super) struct Json(pub(super) String);

impl Cell for Json {
    const CAST: &'static str = "::json";
    type Text<'t> = &'t str;
    type Sql<'t> = &'t str;

    fn as_text(&self) -> &str {
        &self.0
    }

    fn as_sql(&self) -> &str {
        &self.0
    }
}

impl<T: Cell> Cell for Option<T> {
    const CAST: &'static str = T::CAST;
    type Text<'t>
        = Option<T::Text<'t>>
    where
        Self: 't;
    type Sql<'t>
        = Option<T::Sql<'t>>
    where
        Self: 't;

    fn as_text(&self) -> Self::Text<'_> {
        self.as_ref().map(Cell::as_text)
    }

    fn as_sql(&self) -> Self::Sql<'_> {
        self.as_ref().map(Cell::as_sql)
    }
}
