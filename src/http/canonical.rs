//! One spelling of a request, whatever the client's was, and its hash.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tranche_actors::domain::money::canonical;

/// Names and values in the order of the names.
#[derive(Debug, Default)]
pub(super) struct Canonical(BTreeMap<String, Value>);

impl Canonical {
    /// Adds a value.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), json!(value));
    }

    /// Adds a value if there is one.
    pub(super) fn maybe(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.put(name, &value);
        }
    }

    /// Adds a decimal if there is one.
    pub(super) fn decimal(&mut self, name: &str, value: Option<Decimal>) {
        self.maybe(name, value.map(canonical));
    }

    /// Adds any JSON if there is some.
    pub(super) fn json(&mut self, name: &str, value: Option<&Value>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.clone());
        }
    }

    /// SHA-256 over all of it, in hexadecimal digits.
    pub(super) fn hash(&self) -> String {
        let text = json!(self.0).to_string();
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
