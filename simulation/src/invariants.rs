//! What must hold after every step, whatever goes wrong: one small file for each rule.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at the steps that it is about")]

use std::time::Duration;

use chrono::{DateTime, Utc};
use tranche_actors::market::engine::Engine;
use tranche_actors::ports::SubmitError;
use tranche_actors::supervisor::House;
use tranche_actors::tuning::Tuning;

use crate::store::ledger::Ledger;
use crate::tape::Step;

mod budget;
mod cancels;
mod chain_cancels;
mod chain_totals;
mod chains;
mod claims;
mod counting;
mod doubt;
mod duplicates;
mod engaged;
mod entries;
mod equity;
mod events;
mod excuses;
mod exits;
mod fills;
mod flattening;
mod gaps;
mod gate;
mod given_up;
mod halted;
mod in_place;
mod limits;
mod listed;
mod one_id;
mod overdue;
mod pace;
mod parts;
mod patience;
mod peace;
mod positions;
mod promised_stop;
mod promises;
mod refusals;
mod resend;
mod statuses;
mod sums;
mod times;

/// How the world is after a step.
pub struct Scene<'a> {
    /// How long the scenario runs.
    pub at: Duration,
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// The clock that counts suspended time.
    pub boot: Duration,
    /// The clock that stands still while the machine is suspended.
    pub awake: Duration,
    /// What is durable.
    pub ledger: &'a Ledger,
    /// The truth about orders and trades.
    pub venue: &'a Engine,
    /// The process, while there is one.
    pub house: Option<&'a House>,
    /// The numbers that the actors work by.
    pub tuning: &'a Tuning,
    /// Nothing is wrong with store or venue for a while; what strikes once is not looked at.
    pub well: bool,
}

/// A rule that holds after every step, or a violation is found.
pub trait Invariant: Send {
    /// The rule, as a sentence.
    fn rule(&self) -> &'static str;

    /// Sees a step, the world being as it is right after it.
    ///
    /// # Errors
    /// What breaks the rule.
    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String>;

    /// Everything has come to rest: faults stopped, clients are content, and time went by.
    ///
    /// # Errors
    /// What breaks the rule.
    fn rest(&mut self, _: &Scene<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// Whether a sender who is answered so knows what became of the order.
const fn is_certain(error: &SubmitError) -> bool {
    match error {
        SubmitError::NeverLeft { .. }
        | SubmitError::NotNow { .. }
        | SubmitError::Rejected(_)
        | SubmitError::Unauthorised { .. } => true,
        SubmitError::DuplicateId | SubmitError::Unknown { .. } => false,
    }
}

/// Every rule, knowing nothing yet.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<budget::Budget>::default(),
        Box::<cancels::Cancels>::default(),
        Box::<chain_cancels::ChainCancels>::default(),
        Box::<chain_totals::ChainTotals>::default(),
        Box::<chains::Chains>::default(),
        Box::<claims::Claims>::default(),
        Box::<doubt::Doubt>::default(),
        Box::<duplicates::Duplicates>::default(),
        Box::<engaged::Engaged>::default(),
        Box::<entries::Entries>::default(),
        Box::<equity::Equity>::default(),
        Box::<events::Events>::default(),
        Box::<excuses::Excuses>::default(),
        Box::<exits::Exits>::default(),
        Box::<fills::Fills>::default(),
        Box::<flattening::Flattening>::default(),
        Box::<gaps::Gaps>::default(),
        Box::<gate::Gate>::default(),
        Box::<given_up::GivenUp>::default(),
        Box::<halted::Halted>::default(),
        Box::<in_place::InPlace>::default(),
        Box::<limits::Limits>::default(),
        Box::<listed::Listed>::default(),
        Box::<one_id::OneId>::default(),
        Box::<overdue::Overdue>::default(),
        Box::<pace::Pace>::default(),
        Box::<parts::Parts>::default(),
        Box::<patience::Patience>::default(),
        Box::<peace::Peace>::default(),
        Box::<positions::Positions>::default(),
        Box::<promised_stop::PromisedStop>::default(),
        Box::<promises::Promises>::default(),
        Box::<refusals::Refusals>::default(),
        Box::<resend::Resend>::default(),
        Box::<statuses::Statuses>::default(),
        Box::<sums::SumsAddUp>::default(),
        Box::<times::Times>::default(),
    ]
}
