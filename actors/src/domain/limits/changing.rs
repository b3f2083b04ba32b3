//! Changing limits and lockouts: what an operator asks for, and what comes of it.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{Limit, LimitBook, LimitKey, LimitOverride, LockKey, Lockout};
use crate::domain::audit::{AuditAction, AuditEntry, By};

/// One change of the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitChange {
    /// A limit is set, or has another value.
    Set(LimitKey, Decimal),
    /// A limit is taken away.
    Remove(LimitKey),
    /// Something else holds instead of a limit, or of none, for a while.
    Override {
        /// Of which limit.
        key: LimitKey,
        /// The value that holds.
        value: Decimal,
        /// Until when.
        until: DateTime<Utc>,
        /// Why.
        reason: String,
    },
    /// Somebody may not open positions.
    Lock(LockKey, Lockout),
    /// He may again.
    Unlock(LockKey),
}

/// Who changes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changer {
    /// As given.
    pub operator: String,
    /// The name of the key, and the request.
    pub by: By,
}

impl LimitChange {
    /// What is entered in the audit, of the books before and after it.
    fn entry(&self, who: &Changer, before: &LimitBook, after: &LimitBook) -> AuditEntry {
        let (action, subject) = match self {
            Self::Set(key, _) | Self::Remove(key) => (AuditAction::SetLimits, key.to_string()),
            Self::Override { key, .. } => (AuditAction::OverrideLimit, key.to_string()),
            Self::Lock(key, _) => (AuditAction::Lock, key.to_string()),
            Self::Unlock(key) => (AuditAction::Unlock, key.to_string()),
        };
        AuditEntry {
            by: who.by.caller.clone(),
            operator: Some(who.operator.clone()),
            action,
            subject,
            before: self.picture(before),
            after: self.picture(after),
            request_id: who.by.request_id.clone(),
        }
    }

    /// How that stands in a book which this is about.
    fn picture(&self, book: &LimitBook) -> Option<Value> {
        match self {
            Self::Set(key, _) | Self::Remove(key) => Some(json!({"value": book.limits.get(key)?.value})),
            Self::Override { key, .. } => {
                let instead = book.overrides.get(key)?;
                let value = instead.limit.value;
                Some(json!({"value": value, "until": instead.until, "reason": instead.reason}))
            }
            Self::Lock(key, _) | Self::Unlock(key) => {
                let lockout = book.lockouts.get(key)?;
                Some(json!({"kind": lockout.kind, "until": lockout.until, "reason": lockout.reason}))
            }
        }
    }
}

/// The entries of the audit for some changes that have led from one book to another.
#[must_use]
pub fn entries(changes: &[LimitChange], who: &Changer, before: &LimitBook, after: &LimitBook) -> Vec<AuditEntry> {
    changes.iter().map(|change| change.entry(who, before, after)).collect()
}

impl LimitBook {
    /// The book after some changes, as the next revision. What has run out is left behind.
    #[must_use]
    pub fn changed(mut self, changes: &[LimitChange], who: &Changer, now: DateTime<Utc>) -> Self {
        let limit =
            |value: Decimal| Limit { value, operator: who.operator.clone(), by: who.by.caller.clone(), at: now };
        self.revision = self.revision.saturating_add(1);
        self.overrides.retain(|_, instead| now < instead.until);
        self.lockouts.retain(|_, lockout| lockout.holds(now));
        for change in changes {
            match change {
                LimitChange::Set(key, value) => drop(self.limits.insert(key.clone(), limit(*value))),
                LimitChange::Remove(key) => drop(self.limits.remove(key)),
                LimitChange::Override { key, value, until, reason } => {
                    let instead = LimitOverride { limit: limit(*value), reason: reason.clone(), until: *until };
                    self.overrides.insert(key.clone(), instead);
                }
                LimitChange::Lock(key, lockout) => {
                    let longest = match self.lockouts.remove(key) {
                        Some(before) => before.longer(lockout.clone()),
                        None => lockout.clone(),
                    };
                    self.lockouts.insert(key.clone(), longest);
                }
                LimitChange::Unlock(key) => drop(self.lockouts.remove(key)),
            }
        }
        self
    }
}
