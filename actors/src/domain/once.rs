//! Requests that may be repeated: a key names one, and its first answer is kept for a day, written with its effect.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::ledger::{Applied, Books};
use super::names::IdempotencyKey;

/// How long a first answer is kept.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// How a repetition of a request is known, and what it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The client's `Idempotency-Key`.
    pub key: IdempotencyKey,
    /// A hash of what was asked.
    pub hash: String,
    /// What makes the answer.
    pub answer: Render,
}

/// Makes a request's answer of what it came to, in the transaction of its effect: so it can be written there.
#[derive(Clone, Copy)]
pub struct Render(pub fn(&Books, &Applied) -> Option<Value>);

impl fmt::Debug for Render {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Render")
    }
}

/// Requests are the same where they ask the same; how they are answered doesn't count.
impl PartialEq for Render {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Render {}

/// What a request with a key was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstAnswer {
    /// A hash of what was asked.
    pub hash: String,
    /// The body of the answer.
    pub answer: Value,
    /// When.
    pub at: DateTime<Utc>,
}

impl FirstAnswer {
    /// Whether it counts still.
    #[must_use]
    pub fn is_kept(&self, now: DateTime<Utc>) -> bool {
        self.at > now - KEPT
    }
}
