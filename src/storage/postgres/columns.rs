//! Rows on their way into a statement: one array for each column, unpacked by UNNEST.
//!
//! One prepared statement serves any number of rows. Arrays of unequal length would be filled up with NULL in silence;
//! ours are made from the same rows, and every statement has to write as many rows as there are.

use sqlx::postgres::PgArguments;
use tranche_actors::ports::store::StoreError;

use crate::storage::columns::Columns;

/// `INSERT` of all rows; `fixed` are columns beside theirs, and what they are of: `n` is the number of a row, from 1 on.
/// Whatever `fixed` binds comes behind the columns.
pub(super) fn insert<T: Columns>(table: &str, fixed: &[(&str, &str)]) -> String {
    let names = T::names();
    let columns = names.iter().map(|(name, _)| *name).chain(fixed.iter().map(|(name, _)| *name));
    let values = names.iter().map(|(name, cast)| format!("r.{name}{cast}"));
    let values = values.chain(fixed.iter().map(|(_, value)| (*value).to_owned()));
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {}",
        columns.collect::<Vec<_>>().join(", "),
        values.collect::<Vec<_>>().join(", "),
        rows::<T>()
    )
}

/// `UPDATE` of all rows, each known by its first column.
pub(super) fn update<T: Columns>(table: &str) -> String {
    let names = T::names();
    let id = names.first().map_or("", |(name, _)| *name);
    let set = names.iter().skip(1).map(|(name, cast)| format!("{name} = r.{name}{cast}")).collect::<Vec<_>>();
    format!("UPDATE {table} SET {} FROM {} WHERE {table}.{id} = r.{id}", set.join(", "), rows::<T>())
}

/// The place of what is bound behind the columns: 0 for the first.
pub(super) fn behind<T: Columns>(place: usize) -> String {
    format!("${}", T::names().len().saturating_add(place).saturating_add(1))
}

fn rows<T: Columns>() -> String {
    let names = T::names();
    let arrays = (1..=names.len()).map(|place| format!("${place}")).collect::<Vec<_>>();
    let names = names.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    format!("UNNEST({}) WITH ORDINALITY AS r ({}, n)", arrays.join(", "), names.join(", "))
}

/// The columns of rows, as arguments.
pub(super) fn arguments<T: Columns>(rows: &[T]) -> Result<PgArguments, StoreError> {
    let mut arguments = PgArguments::default();
    T::bind(&rows.iter().collect::<Vec<_>>(), &mut arguments).map_err(unbound)?;
    Ok(arguments)
}

/// A value that the driver can't write.
pub(super) fn unbound(error: sqlx::error::BoxDynError) -> StoreError {
    StoreError::Constraint { detail: error.to_string() }
}
