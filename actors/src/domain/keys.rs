//! Keys of the API: a public id, and a secret of which a hash alone is kept.

use chrono::{DateTime, Utc};

use super::names::{Caller, Role};
use super::text::name;

name!(
    /// The part of a key that may be seen: it finds the key's row.
    KeyId,
    |text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
    "must be 16 of 0-9 and a-f"
);

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public part.
    pub id: KeyId,
    /// Whose it is; several keys may have the same name.
    pub name: Caller,
    /// What it may do.
    pub role: Role,
    /// The hash of its text, SHA-256 as hexadecimal digits. The text has 256 random bits, so that nothing slower is needed.
    pub hash: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// Whether it was not taken back.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.revoked_at.is_none()
    }
}

/// Names that keys can't have: they are what the gateway calls others by.
pub const RESERVED: [&str; 4] = ["admin", "local", "gateway", "shell"];
