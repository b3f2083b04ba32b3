//! Lockouts: who may not open positions, and until when. A locked account may reduce.

use chrono::{DateTime, Utc};

use crate::domain::names::{AccountName, Caller, Symbol};
use crate::domain::text::{BadText, name, words};

name!(
    /// What locks: a rule's number, or a word of the operator's.
    LockRule,
    |text| !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
    "must be 1 to 32 of a-z, 0-9 and '_'"
);

words!(
    /// How a lockout ends.
    LockKind {
        /// After a time.
        Cooldown = "cooldown",
        /// With the trading day.
        Daily = "daily",
        /// When an operator lifts it.
        Permanent = "permanent",
        /// When its cause outside has passed, or an operator lifts it.
        External = "external",
    }
);

impl LockKind {
    /// Whether a lockout of this kind has an end.
    #[must_use]
    pub const fn ends_by_itself(self) -> bool {
        match self {
            Self::Cooldown | Self::Daily => true,
            Self::Permanent | Self::External => false,
        }
    }
}

/// What a lockout is known by. The effective lock of an account is the union of its rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockKey {
    /// The account.
    pub account: AccountName,
    /// The one symbol of it that is locked; `None`: all of it.
    pub symbol: Option<Symbol>,
    /// The rule that locks it.
    pub rule: LockRule,
}

impl std::fmt::Display for LockKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.account, self.rule)?;
        self.symbol.as_ref().map_or(Ok(()), |symbol| write!(f, ":{symbol}"))
    }
}

impl LockKey {
    /// The key that a text names, as it is displayed.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        let form = BadText { rule: "must be an account, ':' and a rule, and for a symbol ':' and the symbol" };
        let mut parts = text.splitn(3, ':');
        let (Some(account), Some(rule)) = (parts.next(), parts.next()) else { return Err(form) };
        Ok(Self {
            account: AccountName::parse(account)?,
            rule: LockRule::parse(rule)?,
            symbol: parts.next().map(Symbol::parse).transpose()?,
        })
    }
}

/// A lockout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// How it ends.
    pub kind: LockKind,
    /// Why.
    pub reason: String,
    /// Who locked it, as given.
    pub operator: String,
    /// The name of the key.
    pub by: Caller,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Its end, where it has one.
    pub until: Option<DateTime<Utc>>,
}

impl Lockout {
    /// Whether it holds at an instant.
    #[must_use]
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The longer of two by the same rule: a short one can't cut a long one short.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        match (self.until, other.until) {
            (None, _) => self,
            (Some(_), None) => other,
            (Some(one), Some(two)) => {
                if one >= two {
                    self
                } else {
                    other
                }
            }
        }
    }
}
