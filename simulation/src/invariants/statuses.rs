//! Statuses move as the state machine of the design says, here written down a second time, as a table; and what the
//! venue said last is not undone by what it said before.

use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus as S;

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Statuses;

/// From each status, what may follow. What the venue says is legal in every status after the claim.
const fn may_follow(from: S) -> &'static [S] {
    const BY_THE_VENUE: &[S] = &[
        S::Accepted,
        S::PartiallyFilled,
        S::PendingCancel,
        S::PendingReplace,
        S::Filled,
        S::Canceled,
        S::Expired,
        S::Rejected,
        S::Replaced,
    ];
    match from {
        S::PendingNew => &[
            S::Submitting,
            S::Canceled,
            S::Expired,
            S::Failed,
            S::BlockedKillSwitch,
            S::BlockedCircuitBreaker,
            S::BlockedRisk,
            S::DryRun,
        ],
        S::Submitting => &[
            S::PendingNew,
            S::SubmittedUnconfirmed,
            S::Accepted,
            S::PartiallyFilled,
            S::PendingCancel,
            S::Filled,
            S::Canceled,
            S::Expired,
            S::Rejected,
            S::Replaced,
            S::Submitted,
            S::Failed,
        ],
        S::SubmittedUnconfirmed => &[
            S::Submitting,
            S::Accepted,
            S::PartiallyFilled,
            S::PendingCancel,
            S::Filled,
            S::Canceled,
            S::Expired,
            S::Rejected,
            S::Replaced,
            S::Submitted,
            S::Failed,
        ],
        S::DryRun => &[],
        S::Submitted
        | S::Accepted
        | S::PartiallyFilled
        | S::PendingCancel
        | S::PendingReplace
        | S::Filled
        | S::Canceled
        | S::Expired
        | S::Rejected
        | S::Replaced
        | S::Failed
        | S::BlockedKillSwitch
        | S::BlockedCircuitBreaker
        | S::BlockedRisk => BY_THE_VENUE,
    }
}

impl Invariant for Statuses {
    fn rule(&self) -> &'static str {
        "statuses move only as the design says"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        for (id, before) in &saved.orders {
            let word = |order: &Order| order.venue_status.map(|word| (word.rank(), word));
            let (before, now) = (before.as_ref().and_then(word), scene.ledger.order(id).and_then(word));
            if let Some((_, word)) = before.filter(|_| now.map(|(rank, _)| rank) < before.map(|(rank, _)| rank)) {
                return Err(format!("the venue's word on {id} was {word}, and went back"));
            }
        }
        // A batch may take an order through several statuses; each has its event.
        let events = scene.ledger.events();
        for event in events.get(events.len().saturating_sub(saved.events)..).unwrap_or_default() {
            let status = |text: &Option<String>| S::ALL.iter().copied().find(|it| text.as_deref() == Some(it.as_str()));
            let Some((id, (Some(old), Some(new)))) =
                event.order.as_ref().map(|id| (id, (status(&event.old_status), status(&event.new_status))))
            else {
                continue;
            };
            if scene.ledger.order(id).is_some() && old != new && !may_follow(old).contains(&new) {
                return Err(format!("{id} went from {old} to {new}"));
            }
        }
        Ok(())
    }
}
