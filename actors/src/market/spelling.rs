//! How configuration spells what its formats have no type for: exact decimals, and lists in one value.

use std::fmt;
use std::marker::PhantomData;

use rust_decimal::Decimal;
use serde::de::{DeserializeOwned, Deserializer, Error, IntoDeserializer, SeqAccess, Unexpected, Visitor};

use crate::domain::money::parse_decimal;

/// Reads a decimal from a text or a whole number, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// When it is neither; a float too, because it has lost its digits before it gets here.
pub fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    deserializer.deserialize_any(Exact)
}

struct Exact;

impl Visitor<'_> for Exact {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal in quotes, or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Decimal, E> {
        parse_decimal(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Decimal, E> {
        Ok(Decimal::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Decimal, E> {
        Ok(Decimal::from(number))
    }
}

/// Reads a list, or one text with commas (as an environment variable has it), for `#[serde(deserialize_with)]`.
///
/// # Errors
/// When an entry is not what its type reads from a text.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(List(PhantomData))
}

struct List<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or one text with commas")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| T::deserialize(entry.into_deserializer()))
            .collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::names::Symbol;

    #[derive(Deserialize)]
    struct Sample {
        #[serde(deserialize_with = "exact")]
        cash: Decimal,
        #[serde(deserialize_with = "list")]
        symbols: Vec<Symbol>,
    }

    #[test]
    fn a_decimal_keeps_its_digits_or_is_refused() {
        let cash = |json: &str| serde_json::from_str::<Sample>(json).map(|sample| sample.cash.to_string());
        assert_eq!(cash(r#"{"cash":"12345678901234567.89","symbols":[]}"#).unwrap(), "12345678901234567.89");
        assert_eq!(cash(r#"{"cash":-5,"symbols":[]}"#).unwrap(), "-5");
        assert!(cash(r#"{"cash":0.1,"symbols":[]}"#).is_err());
        assert!(cash(r#"{"cash":"ten","symbols":[]}"#).is_err());
    }

    #[test]
    fn a_list_may_be_one_text() {
        let count = |json: &str| serde_json::from_str::<Sample>(json).map(|sample| sample.symbols.len());
        assert_eq!(count(r#"{"cash":0,"symbols":"AAPL, BRK.B,"}"#).unwrap(), 2);
        assert_eq!(count(r#"{"cash":0,"symbols":["AAPL","BRK.B"]}"#).unwrap(), 2);
        assert!(count(r#"{"cash":0,"symbols":"AAPL,a b"}"#).is_err());
    }
}
