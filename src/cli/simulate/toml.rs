//! A scenario's file as JSON text, so that its fields are read by whoever reads the bodies of requests.

use config::{File, FileFormat, Source, ValueKind};
use serde_json::{Map, Value};
use tranche_actors::domain::fault::FieldError;

/// Sections that there is one of.
const TABLES: [&str; 3] = ["settings", "quotes", "faults"];
/// Sections that there may be many of.
const LISTS: [&str; 4] = ["parents", "orders", "cancels", "events"];

/// Reads TOML as a JSON object.
///
/// # Errors
/// Why it is no TOML, or the values that no field takes.
pub(super) fn as_json(text: &str) -> Result<String, Vec<FieldError>> {
    let table = File::from_str(text, FileFormat::Toml).collect().map_err(|error| {
        let why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        vec![FieldError::new("the file", "not_toml", format!("is not TOML: {why}"))]
    })?;
    let mut faults = Vec::new();
    let plain = object("", table, &mut faults);
    faults.extend(plain.iter().filter_map(|(name, value)| misshapen(name, value)));
    if faults.is_empty() { Ok(Value::Object(plain).to_string()) } else { Err(faults) }
}

fn misshapen(name: &str, value: &Value) -> Option<FieldError> {
    let is_list = value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
    if TABLES.contains(&name) && !value.is_object() {
        Some(FieldError::new(name, "wrong_type", format!("must be a table: [{name}]")))
    } else if LISTS.contains(&name) && !is_list {
        Some(FieldError::new(name, "wrong_type", format!("must be a list of tables, each begun by [[{name}]]")))
    } else {
        None
    }
}

fn object(place: &str, table: config::Map<String, config::Value>, faults: &mut Vec<FieldError>) -> Map<String, Value> {
    let dot = if place.is_empty() { "" } else { "." };
    let field = |(name, value): (String, config::Value)| {
        let value = plain(&format!("{place}{dot}{name}"), value.kind, faults);
        (name, value)
    };
    table.into_iter().map(field).collect()
}

fn plain(place: &str, kind: ValueKind, faults: &mut Vec<FieldError>) -> Value {
    match kind {
        ValueKind::Nil => Value::Null,
        ValueKind::Boolean(yes) => yes.into(),
        ValueKind::I64(number) => number.into(),
        ValueKind::U64(number) => number.into(),
        ValueKind::I128(number) => number.to_string().into(),
        ValueKind::U128(number) => number.to_string().into(),
        ValueKind::String(text) => text.into(),
        ValueKind::Float(_) => {
            let rule = "must stand in quotes where it has a fraction, so that it is read exactly";
            faults.push(FieldError::new(place, "wrong_type", rule));
            Value::Null
        }
        ValueKind::Table(table) => object(place, table, faults).into(),
        ValueKind::Array(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(number, item)| plain(&format!("{place}[{number}]"), item.kind, faults)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        as_json(text).unwrap_err().into_iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect()
    }

    #[test]
    fn tables_lists_texts_and_numbers_keep_their_values() {
        let json = as_json("seed = 7\n[[parents]]\nqty = \"1.50\"\nCase = true\nat = 2026-11-23T14:30:00Z").unwrap();
        let expected = serde_json::json!({
            "seed": 7, "parents": [{"qty": "1.50", "Case": true, "at": "2026-11-23T14:30:00Z"}],
        });
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
    }

    #[test]
    fn a_number_that_lost_its_digits_is_named_by_its_place() {
        let told = faults("[[parents]]\nqty = 1\n[[parents]]\nqty = 0.1\n[parents.randomize]\nsize_pct = 0.5");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|fault| fault.starts_with("parents[1].qty must stand in quotes")), "{told:?}");
        assert!(told.iter().any(|fault| fault.starts_with("parents[1].randomize.size_pct must stand")), "{told:?}");
    }

    #[test]
    fn a_section_of_the_wrong_shape_says_how_it_is_written() {
        assert_eq!(faults("[parents]\nqty = 1"), ["parents must be a list of tables, each begun by [[parents]]"]);
        assert_eq!(faults("faults = 3"), ["faults must be a table: [faults]"]);
        assert!(faults("seed = ")[0].starts_with("the file is not TOML: "));
    }
}
