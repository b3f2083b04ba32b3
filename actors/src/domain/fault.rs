//! What is wrong with a request, field by field.

use serde::Serialize;

/// One field that breaks one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, as the client spells it; a nested one with dots (`randomize.size_pct`).
    pub field: String,
    /// The rule's stable code, in snake case.
    pub code: &'static str,
    /// The rule, for a person.
    pub message: String,
}

impl FieldError {
    /// A field that breaks a rule.
    #[must_use]
    pub fn new(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), code, message: message.into() }
    }

    /// A value that is designed but not built yet.
    #[must_use]
    pub fn not_supported(field: &str, value: &str) -> Self {
        Self::new(field, "not_supported", format!("{value:?} is not supported yet"))
    }
}
