//! Changing limits and lockouts: what an operator asks for, and what comes of it.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::{Limit, LimitBook, LimitKey, LimitOverride, LockKey, Lockout};
use crate::domain::names::Caller;

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
    /// The name of the key.
    pub by: Caller,
}

impl LimitBook {
    /// The book after some changes, as the next revision. What has run out is left behind.
    #[must_use]
    pub fn changed(mut self, changes: &[LimitChange], who: &Changer, now: DateTime<Utc>) -> Self {
        let limit = |value: Decimal| Limit { value, operator: who.operator.clone(), by: who.by.clone(), at: now };
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
