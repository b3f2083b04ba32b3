//! Halts of a part of what is traded: the kill switch of an account, a strategy or a symbol.
//!
//! The switch of everything has a format that other programs share, with no field for a part; so these stand beside it,
//! in the database alone.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kill::{EngageOrder, KillMode, KillState, KillWord};
use super::limits::{LimitScope, Subject};

/// A part that is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Which part; never all of it.
    pub scope: LimitScope,
    /// Since when.
    pub engaged_at: DateTime<Utc>,
    /// By whom, as given.
    pub engaged_by: String,
    /// Why.
    pub reason: String,
    /// Anything else that was said.
    pub details: Option<Value>,
    /// How strict.
    pub mode: KillMode,
    /// Names the engagement.
    pub engagement_id: String,
}

impl Halt {
    /// The engagement in the words of the switch of everything.
    #[must_use]
    pub fn as_state(&self) -> KillState {
        KillState {
            state: KillWord::Engaged,
            engaged_at: Some(self.engaged_at),
            engaged_by: Some(self.engaged_by.clone()),
            engagement_reason: Some(self.reason.clone()),
            engagement_details: self.details.clone(),
            engagement_id: Some(self.engagement_id.clone()),
            mode: Some(self.mode),
            ..KillState::default()
        }
    }

    /// Whether another engagement stops all that this one stops, as strictly.
    fn is_within(&self, other: &Self) -> bool {
        self.scope == other.scope && self.mode <= other.mode
    }
}

/// What asking for a halt comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halted {
    /// A new one.
    New(Halt),
    /// The one in force becomes stricter, and keeps its id and its time.
    Escalated(Halt),
    /// It is in force already, at least as strict.
    Already(Halt),
}

/// Every part that is stopped, and which state of them this is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halts {
    /// Grows by one with every change, so that of two writers who saw the same state one is told.
    pub revision: u64,
    /// One for each part, by its scope.
    pub in_force: Vec<Halt>,
}

impl Halts {
    /// The halt of a part.
    #[must_use]
    pub fn of(&self, scope: &LimitScope) -> Option<&Halt> {
        self.in_force.iter().find(|halt| halt.scope == *scope)
    }

    /// What stops an order of this one.
    #[must_use]
    pub fn stopping(&self, subject: Subject<'_>) -> Option<&Halt> {
        self.in_force.iter().find(|halt| subject.is_of(&halt.scope))
    }

    /// What it comes to when an operator wants a part stopped.
    #[must_use]
    pub fn engage(&self, scope: &LimitScope, order: &EngageOrder, at: DateTime<Utc>) -> Halted {
        match self.of(scope) {
            Some(held) if held.mode >= order.mode => Halted::Already(held.clone()),
            Some(held) => Halted::Escalated(Halt { mode: order.mode, ..held.clone() }),
            None => Halted::New(Halt {
                scope: scope.clone(),
                engaged_at: at,
                engaged_by: order.operator.clone(),
                reason: order.reason.clone(),
                details: order.details.clone(),
                mode: order.mode,
                engagement_id: super::ids::halt(scope, at, &order.operator),
            }),
        }
    }

    /// Whether a part is stopped at least as strictly as this halt would.
    #[must_use]
    pub fn have(&self, halt: &Halt) -> bool {
        self.in_force.iter().any(|held| halt.is_within(held))
    }

    /// The state with this halt, in the place of a milder one of the same part.
    #[must_use]
    pub fn with(&self, halt: &Halt) -> Self {
        let mut next = self.clone();
        next.in_force.retain(|held| held.scope != halt.scope);
        next.in_force.push(halt.clone());
        next.in_force.sort_by(|one, other| one.scope.cmp(&other.scope));
        next.revision = self.revision.saturating_add(1);
        next
    }

    /// The state without this engagement, if it is in force.
    #[must_use]
    pub fn without(&self, engagement_id: &str) -> Option<Self> {
        let mut next = self.clone();
        next.in_force.retain(|held| held.engagement_id != engagement_id);
        next.revision = self.revision.saturating_add(1);
        (next.in_force.len() < self.in_force.len()).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{AccountName, StrategyId, Symbol};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn order(mode: KillMode) -> EngageOrder {
        EngageOrder { operator: "ops".into(), reason: "a test".into(), details: None, mode }
    }

    #[test]
    fn a_halt_stops_its_own_part_alone() {
        let (account, other) = (AccountName::parse("one").unwrap(), AccountName::parse("two").unwrap());
        let (strategy, symbol) = (StrategyId::parse("alpha").unwrap(), Symbol::parse("AAPL").unwrap());
        let subject = |account| Subject { account, strategy: &strategy, symbol: &symbol };
        let stops = |scope: LimitScope, account| {
            let Halted::New(halt) = Halts::default().engage(&scope, &order(KillMode::Halt), at(1)) else { panic!() };
            Halts::default().with(&halt).stopping(subject(account)).is_some()
        };
        for scope in [
            LimitScope::Account(account.clone()),
            LimitScope::Strategy(strategy.clone()),
            LimitScope::Symbol(symbol.clone()),
        ] {
            assert!(stops(scope, &account));
        }
        assert!(!stops(LimitScope::Account(account.clone()), &other));
        assert!(!stops(LimitScope::Strategy(StrategyId::parse("beta").unwrap()), &account));
        assert!(!stops(LimitScope::Symbol(Symbol::parse("MSFT").unwrap()), &account));
    }

    #[test]
    fn a_part_is_stopped_once_more_strictly_and_released_by_its_engagement_alone() {
        let scope = LimitScope::Symbol(Symbol::parse("AAPL").unwrap());
        let none = Halts::default();
        let Halted::New(milder) = none.engage(&scope, &order(KillMode::Halt), at(1)) else { panic!() };
        let held = none.with(&milder);
        assert_eq!(held.engage(&scope, &order(KillMode::Halt), at(2)), Halted::Already(milder.clone()));
        let Halted::Escalated(stricter) = held.engage(&scope, &order(KillMode::Cancel), at(2)) else { panic!() };
        assert_eq!((&stricter.engagement_id, stricter.engaged_at), (&milder.engagement_id, milder.engaged_at));
        let held = held.with(&stricter);
        assert_eq!((held.in_force.len(), held.revision), (1, 2));
        assert!(held.have(&milder) && held.have(&stricter));
        assert_eq!(held.without("another"), None);
        let released = held.without(&stricter.engagement_id).unwrap();
        assert_eq!((released.in_force.len(), released.revision), (0, 3));
    }
}
