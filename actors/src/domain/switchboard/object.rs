//! A JSON object that somebody else wrote: read leniently, edited in place.

use std::fmt;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// The fields of an object in their order, each with its value as it was written.
#[derive(Clone, Debug, Default)]
pub struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// Reads an object; `None` where the bytes are none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// A field's value as any JSON; `None` where it is `null`, missing, or more than this program can hold. Of two fields
    /// of one name the last counts, as everywhere.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        let (_, raw) = self.0.iter().rev().find(|(own, _)| own == name)?;
        serde_json::from_str::<Value>(raw.get()).ok().filter(|value| !value.is_null())
    }

    /// A field's text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name)?.as_str().map(str::to_owned)
    }

    /// A field's time, in RFC 3339 with any offset.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        let time = DateTime::parse_from_rfc3339(&self.text(name)?).ok()?;
        // As the database keeps it: more digits would make one time two.
        Some(time.with_timezone(&Utc).trunc_subsecs(6))
    }

    /// A field's count.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u32> {
        self.value(name)?.as_u64().and_then(|count| u32::try_from(count).ok())
    }

    /// Sets a field where it stands, or adds it behind the others. A value that says the same as before stays as it was
    /// written.
    pub fn set(&mut self, name: &str, value: &Value) {
        if self.value(name).unwrap_or(Value::Null) == *value
            && self.0.iter().filter(|(own, _)| own == name).count() == 1
        {
            return;
        }
        let Ok(raw) = to_raw_value(value) else { return };
        match self.0.iter().position(|(own, _)| own == name) {
            None => self.0.push((name.to_owned(), raw)),
            Some(first) => {
                let mut at = 0;
                self.0.retain(|(own, _)| {
                    at += 1;
                    own != name || at == first + 1
                });
                if let Some((_, place)) = self.0.get_mut(first) {
                    *place = raw;
                }
            }
        }
    }

    /// The object as it is sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        // Writing texts and raw values into memory can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A time as the stack's programs write it.
#[must_use]
pub(super) fn stamp(time: DateTime<Utc>) -> Value {
    Value::String(time.to_rfc3339_opts(SecondsFormat::AutoSi, false))
}

/// Something that may be missing.
pub(super) fn maybe<T>(value: Option<T>, write: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Null, write)
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_set_stays_byte_for_byte_and_in_its_place() {
        let theirs =
            br#" { "z" : 1e400, "state":"ACTIVE" ,"n":12345678901234567890123.10,"a":[ ],"\u00fc":{"b": 1.0} } "#;
        let mut object = Object::parse(theirs).unwrap();
        object.set("state", &json!("ENGAGED"));
        object.set("new", &json!(1));
        let ours = String::from_utf8(object.bytes()).unwrap();
        let expected = r#"{"z":1e400,"state":"ENGAGED","n":12345678901234567890123.10,"a":[ ],"ü":{"b": 1.0},"new":1}"#;
        assert_eq!(ours, expected);
    }

    #[test]
    fn of_two_fields_of_one_name_the_last_counts_and_one_is_left_once_it_is_set() {
        let mut object = Object::parse(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(object.value("a"), Some(json!(3)));
        object.set("a", &json!(3));
        assert_eq!(object.bytes(), br#"{"a":3,"b":2}"#);
    }

    #[test]
    fn times_have_an_offset() {
        let object = Object::parse(
            br#"{"a":"2026-11-21T11:12:47.208439+00:00","b":"2026-11-21T12:12:47.208439+01:00",
            "c":"2026-11-21T11:12:47","d":null,"e":5,"g":"2026-11-21T11:12:47.208439901+00:00"}"#,
        )
        .unwrap();
        assert_eq!(object.time("a"), object.time("b"));
        assert_eq!(stamp(object.time("a").unwrap()), json!("2026-11-21T11:12:47.208439+00:00"));
        assert_eq!(object.time("g"), object.time("a"), "a microsecond is the least that is told apart");
        assert!(["c", "d", "e", "f"].iter().all(|name| object.time(name).is_none()));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[{}\\[\\]\":,\\\\a-z0-9 ]{0,60}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Some(mut object) = Object::parse(bytes) {
                    object.set("state", &json!("ACTIVE"));
                    let again = Object::parse(&object.bytes()).unwrap();
                    prop_assert_eq!(again.text("state"), Some("ACTIVE".to_owned()));
                }
            }
        }
    }
}
