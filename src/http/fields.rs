//! The fields of a JSON object, each read exactly as the client wrote it, and every fault kept until all are known.
//!
//! Values stay raw text until their field's own rule reads them, so no number passes through a float, and a name that
//! is there twice is seen.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::money::{MAX_SCALE, Money, Percent, Price, Qty, parse_decimal};
use tranche_actors::domain::text::BadText;

use super::problem::{Code, Problem};

/// Longest name of a field that an answer repeats.
const SHOWN_NAME: usize = 64;

/// What is left of an object's fields, and what was wrong with those that were read.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    prefix: String,
    values: BTreeMap<String, &'a RawValue>,
    faults: Vec<FieldError>,
}

/// The values that a field may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<T: 'static> {
    /// Those that are built.
    pub(crate) all: &'static [T],
    /// Their words.
    pub(crate) word: fn(T) -> &'static str,
    /// The words of those that are designed and not built.
    pub(crate) designed: &'static [&'static str],
}

/// What a request says of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It leaves it out.
    Nothing,
    /// It says null.
    Null,
    /// It has a value.
    Value,
}

impl<'a> Fields<'a> {
    /// The fields of a body.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self, Problem> {
        let malformed =
            |why: String| Problem::new(Code::MalformedJson, format!("the body must be a JSON object: {why}"));
        if body.is_empty() {
            return Err(malformed("it is empty".to_owned()));
        }
        let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8".to_owned()))?;
        let raw = serde_json::from_str::<&RawValue>(text).map_err(|error| malformed(error.to_string()))?;
        Self::of_raw(raw, String::new()).ok_or_else(|| {
            let rule = "must be a JSON object";
            Problem::invalid(vec![FieldError::new("body", "wrong_type", rule)])
        })
    }

    /// The fields of a JSON object that is no body; `None` where it is none.
    pub(crate) fn of_object(text: &'a str) -> Option<Self> {
        Self::of_raw(serde_json::from_str::<&RawValue>(text).ok()?, String::new())
    }

    /// The fields of no body at all.
    pub(super) const fn none() -> Self {
        Self { prefix: String::new(), values: BTreeMap::new(), faults: Vec::new() }
    }

    fn of_raw(raw: &'a RawValue, prefix: String) -> Option<Self> {
        let pairs = serde_json::Deserializer::from_str(raw.get()).deserialize_map(Pairs).ok()?;
        let mut fields = Self { prefix, ..Self::none() };
        for (name, value) in pairs {
            if fields.values.insert(name.clone(), value).is_some() {
                fields.fault(&shown(&name), "duplicate", "is there more than once");
            }
        }
        Some(fields)
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, name: &str, code: &'static str, rule: impl Into<String>) {
        let field = self.place(name);
        self.faults.push(FieldError::new(&field, code, rule));
    }

    /// Whether anything was wrong so far.
    pub(crate) const fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Whether the field is there; null is as good as absent.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|raw| raw.get() != "null")
    }

    /// The value, if the whole request is without fault; a field that nobody read is unknown, and a fault.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<FieldError>> {
        let unknown = std::mem::take(&mut self.values);
        for name in unknown.keys() {
            self.fault(&shown(name), "unknown_field", "is not a field of this request");
        }
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            Some(_) | None => Err(self.faults),
        }
    }

    /// Says that a field has to be there, where it isn't.
    pub(crate) fn require(&mut self, name: &str) {
        if !self.given(name) {
            self.fault(name, "missing", "is required");
        }
    }

    /// What a request says of a field where leaving it out and null are not the same. A null is taken with it.
    pub(super) fn said(&mut self, name: &str) -> Said {
        match self.values.get(name).map(|raw| raw.get()) {
            None => Said::Nothing,
            Some("null") => {
                self.values.remove(name);
                Said::Null
            }
            Some(_) => Said::Value,
        }
    }

    /// A field whose every value is designed and not built.
    pub(super) fn unsupported(&mut self, name: &str) {
        if self.take(name).is_some() {
            self.fault(name, "not_supported", "is not supported yet");
        }
    }

    /// A text that keeps a rule of the domain's.
    pub(crate) fn name<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, BadText>) -> Option<T> {
        let text = self.string(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(BadText { rule }) => {
                self.fault(name, "invalid", rule);
                None
            }
        }
    }

    /// A text for people: of at most so many characters, none of them a control character, and not blank.
    pub(super) fn words(&mut self, name: &str, longest: usize) -> Option<String> {
        let text = self.string(name)?;
        let Some(fault) = bad_words(&text, longest) else {
            return Some(text);
        };
        self.fault(name, fault.0, fault.1);
        None
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choice: &Choice<T>) -> Option<T> {
        let text = self.string(name)?;
        let found = choice.all.iter().copied().find(|value| (choice.word)(*value) == text);
        if found.is_none() && choice.designed.contains(&text.as_str()) {
            self.fault(name, "not_supported", format!("{text:?} is not supported yet"));
        } else if found.is_none() {
            let words = choice.all.iter().map(|value| (choice.word)(*value)).collect::<Vec<_>>();
            self.fault(name, "unknown_value", format!("must be one of {}", words.join(", ")));
        }
        found
    }

    /// A quantity of an order.
    pub(crate) fn qty(&mut self, name: &str) -> Option<Qty> {
        self.bounded(name, Qty::new)
    }

    /// A price.
    pub(super) fn price(&mut self, name: &str) -> Option<Price> {
        self.bounded(name, Price::new)
    }

    /// An amount of capital.
    pub(super) fn money(&mut self, name: &str) -> Option<Money> {
        self.bounded(name, Money::new)
    }

    /// A share of a price, in hundredths.
    pub(super) fn share(&mut self, name: &str) -> Option<Percent> {
        self.bounded(name, Percent::new)
    }

    /// A decimal between 0 and 100.
    pub(super) fn percent(&mut self, name: &str) -> Option<Decimal> {
        self.between(name, Decimal::ZERO, Decimal::ONE_HUNDRED)
    }

    /// A decimal between two others.
    pub(crate) fn between(&mut self, name: &str, least: Decimal, most: Decimal) -> Option<Decimal> {
        let value = self.decimal(name)?;
        if value < least || value > most {
            self.fault(name, "out_of_range", format!("must lie between {least} and {most}"));
            return None;
        }
        if value.scale() > MAX_SCALE {
            self.fault(name, "too_many_decimals", "must have at most 9 decimal places");
            return None;
        }
        Some(value)
    }

    /// A time in seconds, to the millisecond.
    pub(crate) fn seconds(&mut self, name: &str, most: u32) -> Option<Duration> {
        let value = self.between(name, Decimal::ZERO, most.into())?;
        let millis = value.checked_mul(Decimal::ONE_THOUSAND).filter(|millis| millis.fract().is_zero());
        let millis = millis.and_then(|millis| millis.to_u64());
        if millis.is_none() {
            self.fault(name, "too_many_decimals", "must have at most 3 decimal places");
        }
        millis.map(Duration::from_millis)
    }

    /// A whole number, written as one.
    pub(crate) fn integer<N>(&mut self, name: &str, least: N, most: N) -> Option<N>
    where
        N: TryFrom<u64> + Copy + PartialOrd + Display,
    {
        let raw = self.take(name)?.get();
        let digits = raw.strip_prefix('-').unwrap_or(raw);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.fault(name, "wrong_type", "must be a whole number, written without a fraction or quotes");
            return None;
        }
        let value = raw.parse::<u64>().ok().and_then(|value| N::try_from(value).ok());
        let value = value.filter(|value| (least..=most).contains(value));
        if value.is_none() {
            self.fault(name, "out_of_range", format!("must lie between {least} and {most}"));
        }
        value
    }

    /// True or false.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.take(name)?.get() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.fault(name, "wrong_type", "must be true or false");
                None
            }
        }
    }

    /// A text as it is.
    pub(crate) fn string(&mut self, name: &str) -> Option<String> {
        let text = serde_json::from_str::<String>(self.take(name)?.get()).ok();
        if text.is_none() {
            self.fault(name, "wrong_type", "must be a string");
        }
        text
    }

    /// An object whose fields are read the same way; give it back to [`Fields::join`].
    pub(crate) fn object(&mut self, name: &str) -> Option<Fields<'a>> {
        let raw = self.take(name)?;
        let inner = Self::of_raw(raw, format!("{}{name}.", self.prefix));
        if inner.is_none() {
            self.fault(name, "wrong_type", "must be an object");
        }
        inner
    }

    /// A list of objects, each read the same way; give what they come to back to [`Fields::absorb`].
    pub(crate) fn objects(&mut self, name: &str) -> Vec<Fields<'a>> {
        let Some(raw) = self.take(name) else { return Vec::new() };
        let items = serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok();
        let prefix = |place: usize| format!("{}{name}[{place}].", self.prefix);
        let inner = items.and_then(|items| {
            items.into_iter().enumerate().map(|(place, item)| Self::of_raw(item, prefix(place))).collect::<Option<_>>()
        });
        if inner.is_none() {
            self.fault(name, "wrong_type", "must be a list of objects");
        }
        inner.unwrap_or_default()
    }

    /// Some texts: a list of them, or one text with commas.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let raw = self.take(name)?.get();
        let one = |text: String| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        let texts = serde_json::from_str::<Vec<String>>(raw).or_else(|_| serde_json::from_str(raw).map(one)).ok();
        if texts.is_none() {
            self.fault(name, "wrong_type", "must be a list of texts, or one text with commas");
        }
        texts.map(|texts| texts.into_iter().filter(|text| !text.is_empty()).collect())
    }

    /// Takes an inner object's faults over.
    pub(crate) fn join<T>(&mut self, inner: Fields<'a>, value: Option<T>) -> Option<T> {
        self.absorb(inner.finish(value))
    }

    /// Takes over the faults of what was read from an inner object.
    pub(crate) fn absorb<T>(&mut self, read: Result<T, Vec<FieldError>>) -> Option<T> {
        read.map_err(|faults| self.faults.extend(faults)).ok()
    }

    /// The name of a field, with the objects that it lies in.
    pub(crate) fn place(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// An object that is kept as it is, of at most so many bytes.
    pub(super) fn details(&mut self, name: &str, longest: usize) -> Option<Value> {
        let raw = self.take(name)?.get();
        if raw.len() > longest {
            self.fault(name, "too_long", format!("must have at most {longest} bytes"));
            return None;
        }
        match serde_json::from_str::<Value>(raw) {
            Ok(value) if value.is_object() => Some(value),
            Ok(_) => {
                self.fault(name, "wrong_type", "must be an object");
                None
            }
            Err(_) => {
                self.fault(name, "invalid", "is nested too deeply, or holds a number that is too large");
                None
            }
        }
    }

    /// The raw text of a field.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.values.remove(name).filter(|raw| raw.get() != "null")
    }

    fn bounded<T>(&mut self, name: &str, new: fn(Decimal) -> Result<T, BadText>) -> Option<T> {
        let value = self.decimal(name)?;
        let code = if value <= Decimal::ZERO {
            "not_positive"
        } else if value.scale() > MAX_SCALE {
            "too_many_decimals"
        } else {
            "too_large"
        };
        new(value).map_err(|BadText { rule }| self.fault(name, code, rule)).ok()
    }

    /// A decimal, as a string or a number, digit by digit as it was written.
    fn decimal(&mut self, name: &str) -> Option<Decimal> {
        let raw = self.take(name)?.get();
        let text = match raw.bytes().next() {
            Some(b'"') => serde_json::from_str::<String>(raw).ok(),
            Some(b'-' | b'0'..=b'9') => Some(raw.to_owned()),
            Some(_) | None => None,
        };
        let Some(text) = text else {
            self.fault(name, "wrong_type", "must be a decimal number, as a string or a number");
            return None;
        };
        parse_decimal(&text).map_err(|BadText { rule }| self.fault(name, "not_a_number", rule)).ok()
    }
}

/// A name as an answer may repeat it.
fn shown(name: &str) -> String {
    name.chars().take(SHOWN_NAME).collect()
}

/// Reads an object as the pairs that it is written of.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry::<String, &RawValue>()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// What is wrong with a text for people: a code and the rule.
pub(super) fn bad_words(text: &str, longest: usize) -> Option<(&'static str, String)> {
    if text.trim().is_empty() {
        Some(("empty", "must not be empty".to_owned()))
    } else if text.chars().count() > longest {
        Some(("too_long", format!("must have at most {longest} characters")))
    } else if text.chars().any(char::is_control) {
        Some(("invalid", "must not contain control characters".to_owned()))
    } else {
        None
    }
}
