//! Decimals as Alpaca writes them: texts or numbers, null or not there, and never a float on the way.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tranche_actors::domain::money::parse_decimal;

/// A decimal that may be absent. What is there and is no decimal is an error.
///
/// # Errors
/// When the value is neither null nor a decimal.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    let Some(raw) = Option::<&RawValue>::deserialize(deserializer)? else { return Ok(None) };
    read(raw.get()).map_err(serde::de::Error::custom)
}

/// A decimal that has to be there.
///
/// # Errors
/// When it is not, or is no decimal.
pub(super) fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    optional(deserializer)?.ok_or_else(|| serde::de::Error::custom("a decimal is missing"))
}

/// Why a value is no decimal.
#[derive(Debug, PartialEq, Eq)]
struct NoDecimal;

impl fmt::Display for NoDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a decimal")
    }
}

/// Reads the JSON of one value, as it was written.
fn read(json: &str) -> Result<Option<Decimal>, NoDecimal> {
    let text = match json.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or(NoDecimal)?.trim(),
        None if json == "null" => return Ok(None),
        None => json,
    };
    if text.is_empty() {
        return Ok(None);
    }
    parse_decimal(text).or_else(|_| rounded(text)).map(Some)
}

/// An average may have more digits than fit: what is beyond the nineteenth decimal place changes nothing.
fn rounded(text: &str) -> Result<Decimal, NoDecimal> {
    let (whole, fraction) = text.split_once('.').ok_or(NoDecimal)?;
    let fraction = fraction.get(..19).ok_or(NoDecimal)?;
    parse_decimal(&format!("{whole}.{fraction}")).map_err(|_| NoDecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "optional")]
        price: Option<Decimal>,
    }

    fn price(json: &str) -> Result<Option<String>, String> {
        let read = serde_json::from_str::<Sample>(json).map_err(|error| error.to_string())?;
        Ok(read.price.map(|price| price.to_string()))
    }

    #[test]
    fn texts_and_numbers_keep_every_digit() {
        for (json, digits) in [
            (r#"{"price":"183.123456789"}"#, "183.123456789"),
            (r#"{"price":183.123456789}"#, "183.123456789"),
            (r#"{"price":0.1}"#, "0.1"),
            (r#"{"price":1e2}"#, "100"),
            (r#"{"price":"-3"}"#, "-3"),
            (r#"{"price":12345678901234567.89}"#, "12345678901234567.89"),
            (r#"{"price":"100.33333333333333333333333333333333333"}"#, "100.3333333333333333333"),
        ] {
            assert_eq!(price(json), Ok(Some(digits.to_owned())), "{json}");
        }
    }

    #[test]
    fn null_missing_and_empty_are_the_same() {
        for json in [r#"{"price":null}"#, "{}", r#"{"price":""}"#] {
            assert_eq!(price(json), Ok(None), "{json}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_an_error() {
        for json in [r#"{"price":"ten"}"#, r#"{"price":true}"#, r#"{"price":{}}"#, r#"{"price":"1\u0030"}"#] {
            assert!(price(json).is_err(), "{json}");
        }
    }
}
