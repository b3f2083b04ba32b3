//! What people did whose word counts, and on whose request a thing is written.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::names::{AccountName, Caller, IdempotencyKey};
use super::once::Once;
use super::text::words;

words!(
    /// What somebody did that is entered in the audit.
    AuditAction {
        EngageKillSwitch = "kill_switch.engage",
        AskToDisengage = "kill_switch.disengage_asked",
        DisengageKillSwitch = "kill_switch.disengage",
        TripBreaker = "circuit_breaker.trip",
        ResetBreaker = "circuit_breaker.reset",
        ResolveOrder = "order.resolve",
        ResumeParent = "parent.resume",
        ClearOrphan = "orphan.clear",
        CompareBooks = "reconciliation.run",
        MoveCapital = "capital.move",
        SetLimits = "limits.set",
        OverrideLimit = "limits.override",
        Lock = "lockout.add",
        Unlock = "lockout.lift",
        AddKey = "key.add",
        RevokeKey = "key.revoke",
    }
);

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The name of the key; `local` in open mode.
    pub by: Caller,
    /// Who, as given.
    pub operator: Option<String>,
    /// What.
    pub action: AuditAction,
    /// To what: an order, a switch, a limit.
    pub subject: String,
    /// How it was before, as the ledger had it.
    pub before: Option<Value>,
    /// How it was then.
    pub after: Option<Value>,
    /// The request that asked for it.
    pub request_id: Option<String>,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Grows with every entry; not without gaps.
    pub id: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// Whose ledger it was written to; `None` for what belongs to no account.
    pub account: Option<AccountName>,
    /// What was done.
    pub entry: AuditEntry,
}

/// Who asks, and by which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The name of the key; `local` in open mode.
    pub caller: Caller,
    /// The id of the request.
    pub request_id: Option<String>,
    /// How a repetition of it is known, where the client has sent a key.
    pub once: Option<Box<Once>>,
}

impl From<Caller> for By {
    fn from(caller: Caller) -> Self {
        Self { caller, request_id: None, once: None }
    }
}

/// What a person asked for: written together with its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub by: By,
    /// Who, as given.
    pub operator: Option<String>,
    /// What is entered in the audit; `None` for what everybody does all day.
    pub action: Option<AuditAction>,
    /// What it is done to.
    pub subject: String,
}

impl Request {
    /// The entry of what this came to.
    #[must_use]
    pub fn entry(&self, before: Option<Value>, after: Option<Value>) -> Option<AuditEntry> {
        Some(AuditEntry {
            by: self.by.caller.clone(),
            operator: self.operator.clone(),
            action: self.action?,
            subject: self.subject.clone(),
            before,
            after,
            request_id: self.by.request_id.clone(),
        })
    }

    /// Whose key, and how its repetition is known.
    #[must_use]
    pub fn named(&self) -> Option<((Caller, IdempotencyKey), &Once)> {
        let once = self.by.once.as_deref()?;
        Some(((self.by.caller.clone(), once.key.clone()), once))
    }
}
