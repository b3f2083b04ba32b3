//! The kill switch as a value: what an operator did to it, and what may be done next.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::words;

words!(
    /// The switch in the words of the stack's Redis protocol.
    KillWord {
        /// Trading may go on.
        Active = "ACTIVE",
        /// Trading is stopped.
        Engaged = "ENGAGED",
    }
);

words!(
    /// What an engagement does, from the mildest to the strictest.
    KillMode {
        /// No new orders.
        Halt = "halt",
        /// No new orders, and everything open is cancelled.
        Cancel = "cancel",
        /// As `cancel`, and what is held is closed: of everything, or of an account.
        Flatten = "flatten",
    }
);

impl KillMode {
    /// Whether what is open is cancelled.
    #[must_use]
    pub const fn cancels(self) -> bool {
        match self {
            Self::Halt => false,
            Self::Cancel | Self::Flatten => true,
        }
    }

    /// Whether what is held is closed.
    #[must_use]
    pub const fn flattens(self) -> bool {
        match self {
            Self::Halt | Self::Cancel => false,
            Self::Flatten => true,
        }
    }
}

/// The state of the kill switch. Its fields but for the last five are those of the stack's Redis protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillState {
    /// Engaged or not.
    pub state: KillWord,
    /// When it was last engaged.
    pub engaged_at: Option<DateTime<Utc>>,
    /// By whom, as given.
    pub engaged_by: Option<String>,
    /// Why.
    pub engagement_reason: Option<String>,
    /// Anything else that was said.
    pub engagement_details: Option<Value>,
    /// When it was last disengaged.
    pub disengaged_at: Option<DateTime<Utc>>,
    /// By whom, as given.
    pub disengaged_by: Option<String>,
    /// What was said.
    pub disengagement_notes: Option<String>,
    /// How often it was engaged in the trading day of `counted_on`.
    pub engagement_count_today: u32,
    /// The trading day that the count is of.
    pub counted_on: Option<NaiveDate>,
    /// The last engagement's id.
    pub engagement_id: Option<String>,
    /// What the last engagement does.
    pub mode: Option<KillMode>,
    /// Grows by one with every change, so that of two writers who saw the same state one is told.
    #[serde(default)]
    pub revision: u64,
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngageOrder {
    /// Who, as given.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Anything else.
    pub details: Option<Value>,
    /// How strict.
    pub mode: KillMode,
}

/// What engaging comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engaged {
    /// A new engagement.
    New(KillState),
    /// The engagement in force becomes stricter, and keeps its id and its `engaged_at`.
    Escalated(KillState),
    /// It is in force already, at least as strict.
    Already,
}

/// What becomes of an engagement that was to be written where the switch has moved meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebased {
    /// It stands there already, as strict or stricter.
    Stands(KillState),
    /// It has to be written so.
    Write(KillState),
    /// Another engagement is in force, or this one was released since.
    Yields(KillState),
}

impl Default for KillState {
    /// The state that a new database starts with.
    fn default() -> Self {
        Self {
            state: KillWord::Active,
            engaged_at: None,
            engaged_by: None,
            engagement_reason: None,
            engagement_details: None,
            disengaged_at: None,
            disengaged_by: None,
            disengagement_notes: None,
            engagement_count_today: 0,
            counted_on: None,
            engagement_id: None,
            mode: None,
            revision: 0,
        }
    }
}

impl KillState {
    /// Whether trading is stopped.
    #[must_use]
    pub const fn is_engaged(&self) -> bool {
        matches!(self.state, KillWord::Engaged)
    }

    /// The state after an operator engages the switch.
    #[must_use]
    pub fn engage(&self, order: &EngageOrder, at: DateTime<Utc>, today: NaiveDate) -> Engaged {
        if self.is_engaged() {
            return if self.mode.is_some_and(|mode| mode >= order.mode) {
                Engaged::Already
            } else {
                Engaged::Escalated(Self { mode: Some(order.mode), revision: self.next_revision(), ..self.clone() })
            };
        }
        Engaged::New(self.engage_anew(order, at, today))
    }

    /// A new engagement, whatever was in force before.
    #[must_use]
    pub fn engage_anew(&self, order: &EngageOrder, at: DateTime<Utc>, today: NaiveDate) -> Self {
        let earlier_today = if self.counted_on == Some(today) { self.engagement_count_today } else { 0 };
        let engaged = Self {
            state: KillWord::Engaged,
            engaged_at: Some(at),
            engaged_by: Some(order.operator.clone()),
            engagement_reason: Some(order.reason.clone()),
            engagement_details: order.details.clone(),
            disengaged_at: None,
            disengaged_by: None,
            disengagement_notes: None,
            engagement_count_today: earlier_today.saturating_add(1),
            counted_on: Some(today),
            engagement_id: None,
            mode: Some(order.mode),
            revision: self.next_revision(),
        };
        Self { engagement_id: Some(engaged.id_of_engagement()), ..engaged }
    }

    /// The same wish as a new engagement: no release of the old one, wherever it is on its way, releases this.
    fn renewed(&self, at: DateTime<Utc>) -> Self {
        let renewed = Self { engaged_at: Some(at), ..self.clone() };
        Self { engagement_id: Some(renewed.id_of_engagement()), ..renewed }
    }

    /// The state after an operator disengages the switch; `None` if it isn't engaged.
    #[must_use]
    pub fn disengage(&self, operator: &str, notes: Option<&str>, at: DateTime<Utc>) -> Option<Self> {
        self.is_engaged().then(|| Self {
            state: KillWord::Active,
            disengaged_at: Some(at),
            disengaged_by: Some(operator.to_owned()),
            disengagement_notes: notes.map(str::to_owned),
            revision: self.next_revision(),
            ..self.clone()
        })
    }

    /// Whether they differ in nothing but how often they were written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        *self == Self { revision: self.revision, ..other.clone() }
    }

    /// What becomes of this engagement, with what was found in its place. One that insists was in force before, and was
    /// asked for again: where it was released meanwhile it is engaged anew, at that time.
    #[must_use]
    pub fn rebased_on(&self, found: &Self, insists: Option<DateTime<Utc>>) -> Rebased {
        let same = self.engaged_at == found.engaged_at;
        if found.is_engaged() {
            if found.mode >= self.mode {
                return if same { Rebased::Stands(found.clone()) } else { Rebased::Yields(found.clone()) };
            }
            // Whoever was first keeps the engagement, and the stricter mode counts.
            return Rebased::Write(Self { mode: self.mode, revision: found.next_revision(), ..found.clone() });
        }
        let state = match insists {
            Some(at) if same => self.renewed(at),
            None if same => return Rebased::Yields(found.clone()),
            Some(_) | None => self.clone(),
        };
        Rebased::Write(Self { revision: found.next_revision(), ..state })
    }

    /// What becomes of this release, with what was found in its place. Of an unknown switch it is known only that nothing
    /// engaged may be released by it.
    #[must_use]
    pub fn release_on(&self, found: &Self, is_known: bool) -> Rebased {
        let same = is_known && self.engaged_at == found.engaged_at;
        let moved = || Rebased::Write(Self { revision: found.next_revision(), ..self.clone() });
        match found.state {
            // Somebody else wrote it first.
            KillWord::Active if same => Rebased::Stands(found.clone()),
            KillWord::Active if !is_known => moved(),
            // Only a stricter mode is a new wish to stop.
            KillWord::Engaged if same && found.mode <= self.mode => moved(),
            KillWord::Active | KillWord::Engaged => Rebased::Yields(found.clone()),
        }
    }

    /// Names the engagement. It follows from when and by whom, so that every program that sees it names it alike.
    #[must_use]
    pub fn id_of_engagement(&self) -> String {
        super::ids::engagement(self.engaged_at, self.engaged_by.as_deref())
    }

    /// The revision of what follows this state.
    #[must_use]
    pub const fn next_revision(&self) -> u64 {
        self.revision.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(mode: KillMode) -> EngageOrder {
        EngageOrder { operator: "ops".into(), reason: "test".into(), details: None, mode }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn engaging_again_escalates_or_says_that_it_is_so_already() {
        let today = at(0).date_naive();
        let Engaged::New(halted) = KillState::default().engage(&order(KillMode::Halt), at(1), today) else {
            panic!("a fresh switch takes an engagement")
        };
        assert_eq!(halted.engage(&order(KillMode::Halt), at(2), today), Engaged::Already);
        let Engaged::Escalated(cancelling) = halted.engage(&order(KillMode::Cancel), at(2), today) else {
            panic!("a stricter mode escalates")
        };
        assert_eq!((cancelling.engaged_at, &cancelling.engagement_id), (Some(at(1)), &halted.engagement_id));
        assert_eq!(cancelling.engage(&order(KillMode::Halt), at(3), today), Engaged::Already);
        assert_eq!(cancelling.engagement_count_today, 1);
    }

    #[test]
    fn each_mode_does_what_the_milder_ones_do() {
        let [halt, cancel, flatten] = [KillMode::Halt, KillMode::Cancel, KillMode::Flatten];
        assert!(halt < cancel && cancel < flatten);
        assert_eq!([halt, cancel, flatten].map(KillMode::cancels), [false, true, true]);
        assert_eq!([halt, cancel, flatten].map(KillMode::flattens), [false, false, true]);
        let Engaged::New(cancelling) = KillState::default().engage(&order(cancel), at(1), at(0).date_naive()) else {
            panic!()
        };
        let Engaged::Escalated(flattening) = cancelling.engage(&order(flatten), at(2), at(0).date_naive()) else {
            panic!("closing is stricter than cancelling")
        };
        assert_eq!(flattening.engagement_id, cancelling.engagement_id);
        assert_eq!(flattening.engage(&order(flatten), at(3), at(0).date_naive()), Engaged::Already);
        assert_eq!(flattening.engage(&order(cancel), at(3), at(0).date_naive()), Engaged::Already);
    }

    #[test]
    fn disengaging_needs_an_engagement_and_the_count_starts_anew_each_day() {
        let mut state = KillState::default();
        assert_eq!(state.disengage("ops", None, at(0)), None);
        for (n, day) in [(1, 0), (2, 0), (1, 1)] {
            let today = at(day * 86_400).date_naive();
            let Engaged::New(engaged) = state.engage(&order(KillMode::Halt), at(day), today) else { panic!() };
            assert_eq!(engaged.engagement_count_today, n);
            state = engaged.disengage("ops", Some("over"), at(day)).unwrap();
            assert!(!state.is_engaged());
        }
    }
}
