//! A value as a layer has it, and what it can be read as.

use std::fmt;

use config::ValueKind;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value};
use tranche_actors::domain::money::parse_decimal;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Text(String),
    Whole(i128),
    Bool(bool),
    List(Vec<Self>),
    /// A section without anything in it.
    EmptySection,
    /// What no setting takes, by its name.
    Other(&'static str),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::List(_) => f.write_str("a list"),
            Self::EmptySection => f.write_str("an empty section"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl Raw {
    pub(super) fn of(kind: ValueKind) -> Self {
        match kind {
            ValueKind::String(text) => Self::Text(text),
            ValueKind::Boolean(yes) => Self::Bool(yes),
            ValueKind::I64(number) => Self::Whole(number.into()),
            ValueKind::I128(number) => Self::Whole(number),
            ValueKind::U64(number) => Self::Whole(number.into()),
            ValueKind::U128(number) => {
                i128::try_from(number).map_or(Self::Other("a number beyond all bounds"), Self::Whole)
            }
            ValueKind::Float(_) => Self::Other("a number with a fraction that doesn't stand in quotes"),
            ValueKind::Array(items) => Self::List(items.into_iter().map(|item| Self::of(item.kind)).collect()),
            ValueKind::Table(_) => Self::Other("a section in a list"),
            ValueKind::Nil => Self::Other("nothing"),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()),
            Self::Whole(_) | Self::Bool(_) | Self::List(_) | Self::EmptySection | Self::Other(_) => None,
        }
    }

    /// Variables are texts, so that a text may be a list too.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        match self {
            Self::Text(text) => {
                Some(text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
            }
            Self::List(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
            Self::Whole(_) | Self::Bool(_) | Self::EmptySection | Self::Other(_) => None,
        }
    }

    /// Variables are texts, so that a text may be a flag too.
    pub(super) fn flag(&self) -> Option<bool> {
        match self {
            Self::Bool(yes) => Some(*yes),
            Self::Text(text) => text.trim().to_ascii_lowercase().parse().ok(),
            Self::Whole(_) | Self::List(_) | Self::EmptySection | Self::Other(_) => None,
        }
    }

    pub(super) fn whole(&self) -> Option<u64> {
        match self {
            Self::Whole(number) => u64::try_from(*number).ok(),
            Self::Text(text) => Some(text.trim())
                .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|text| text.parse().ok()),
            Self::Bool(_) | Self::List(_) | Self::EmptySection | Self::Other(_) => None,
        }
    }

    pub(super) fn decimal(&self) -> Option<Decimal> {
        match self {
            Self::Whole(number) => parse_decimal(&number.to_string()).ok(),
            Self::Text(text) => parse_decimal(text.trim()).ok(),
            Self::Bool(_) | Self::List(_) | Self::EmptySection | Self::Other(_) => None,
        }
    }

    /// Milliseconds, of a number of units of so many milliseconds.
    pub(super) fn millis(&self, unit: u64) -> Option<u64> {
        let ms = self.decimal()?.checked_mul(Decimal::from(unit))?;
        (ms.fract().is_zero() && ms >= Decimal::ZERO).then(|| ms.to_u64()).flatten()
    }

    /// The value as JSON; what no setting takes is null.
    pub(super) fn plain(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Whole(number) => i64::try_from(*number).map_or_else(|_| number.to_string().into(), Value::from),
            Self::Bool(yes) => Value::from(*yes),
            Self::List(items) => items.iter().map(Self::plain).collect(),
            Self::EmptySection => Value::Object(Map::new()),
            Self::Other(_) => Value::Null,
        }
    }
}
