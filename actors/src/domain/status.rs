//! The statuses of a child or a single order, and the one place that says how they move.

use thiserror::Error;

use super::text::words;
use super::venue::VenueStatus;

words!(
    /// Where a child or a single order stands.
    OrderStatus {
        /// Planned, not yet claimed.
        PendingNew = "pending_new",
        /// Claimed: it may be on its way.
        Submitting = "submitting",
        /// Sent, and what became of it is not known.
        SubmittedUnconfirmed = "submitted_unconfirmed",
        /// The venue has it.
        Submitted = "submitted",
        /// The venue has accepted it.
        Accepted = "accepted",
        /// Partly traded, and live.
        PartiallyFilled = "partially_filled",
        /// The venue has our request to cancel it.
        PendingCancel = "pending_cancel",
        /// The venue has our request to replace it.
        PendingReplace = "pending_replace",
        /// Wholly traded.
        Filled = "filled",
        /// Cancelled, at the venue or before it was sent.
        Canceled = "canceled",
        /// Too late to send, or its time in force ended.
        Expired = "expired",
        /// The venue said no.
        Rejected = "rejected",
        /// Another order took its place.
        Replaced = "replaced",
        /// Out of tries, or given up.
        Failed = "failed",
        /// Held back by the kill switch.
        BlockedKillSwitch = "blocked_kill_switch",
        /// Held back by the circuit breaker.
        BlockedCircuitBreaker = "blocked_circuit_breaker",
        /// Held back by a limit.
        BlockedRisk = "blocked_risk",
        /// Dry-run mode: the guards ran, nothing was sent.
        DryRun = "dry_run",
    }
);

words!(
    /// How an order ends that the venue has no word about.
    OwnEnd {
        /// A client or an operator asked for it.
        Canceled = "canceled",
        /// Too late to send.
        Expired = "expired",
        /// Out of tries, or given up.
        Failed = "failed",
        /// Held back by the kill switch.
        BlockedKillSwitch = "blocked_kill_switch",
        /// Held back by the circuit breaker.
        BlockedCircuitBreaker = "blocked_circuit_breaker",
        /// Held back by a limit.
        BlockedRisk = "blocked_risk",
        /// Dry-run mode.
        DryRun = "dry_run",
    }
);

impl OwnEnd {
    /// The status that this end is.
    #[must_use]
    pub const fn status(self) -> OrderStatus {
        match self {
            Self::Canceled => OrderStatus::Canceled,
            Self::Expired => OrderStatus::Expired,
            Self::Failed => OrderStatus::Failed,
            Self::BlockedKillSwitch => OrderStatus::BlockedKillSwitch,
            Self::BlockedCircuitBreaker => OrderStatus::BlockedCircuitBreaker,
            Self::BlockedRisk => OrderStatus::BlockedRisk,
            Self::DryRun => OrderStatus::DryRun,
        }
    }
}

/// What can happen to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEvent {
    /// It is about to be sent.
    Claim,
    /// Our books may be behind the truth, and it may have been sent.
    Doubted,
    /// This send certainly never left: it goes back to where it was claimed from.
    NeverLeft {
        /// Whether it was an absent order that was claimed again.
        was_absent: bool,
    },
    /// It may have left, and no answer came.
    OutcomeUnknown,
    /// The venue refused the submission.
    Refused,
    /// We end it without a word of the venue: before it was sent, or absent and given up.
    End(OwnEnd),
    /// The venue said where it stands, in an answer, an event or a look-up.
    Venue {
        /// The venue's word.
        status: VenueStatus,
        /// Whether anything has traded.
        traded: bool,
    },
    /// The venue took our request to cancel.
    CancelTaken,
    /// Another order is to take its place.
    ReplaceAsked,
    /// The venue refused our request to cancel or to replace, and the order lives on.
    ChangeRefused {
        /// Whether anything has traded.
        traded: bool,
    },
    /// An operator settled it by hand.
    Resolved(OperatorEnd),
}

words!(
    /// How an operator may settle an order.
    OperatorEnd {
        /// It is gone.
        Canceled = "canceled",
        /// The broker refused it.
        Rejected = "rejected",
        /// It traded.
        Filled = "filled",
    }
);

/// An event that an order in this status can't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an order in {from} can't take {event:?}")]
pub struct IllegalTransition {
    /// The status.
    pub from: OrderStatus,
    /// The event.
    pub event: OrderEvent,
}

impl OrderStatus {
    /// The status after an event.
    ///
    /// What a venue says is legal in any status after the claim, terminal ones included; whether a report is stale is
    /// decided before, by the rank of the venue's own words.
    ///
    /// # Errors
    /// When the event can't happen in this status.
    #[expect(clippy::too_many_lines, reason = "the whole machine in one match, each pair written out")]
    pub const fn apply(self, event: OrderEvent) -> Result<Self, IllegalTransition> {
        use OrderEvent as E;
        use OrderStatus as S;
        match (self, event) {
            (S::PendingNew | S::SubmittedUnconfirmed, E::Claim) => Ok(S::Submitting),
            (S::PendingNew, E::Doubted) => Ok(S::SubmittedUnconfirmed),
            (S::Submitting, E::NeverLeft { was_absent: false }) => Ok(S::PendingNew),
            (S::Submitting, E::NeverLeft { was_absent: true }) => Ok(S::SubmittedUnconfirmed),
            (S::Submitting | S::SubmittedUnconfirmed, E::OutcomeUnknown) => Ok(S::SubmittedUnconfirmed),
            (S::Submitting | S::SubmittedUnconfirmed, E::Refused) => Ok(S::Rejected),
            (S::PendingNew | S::SubmittedUnconfirmed, E::End(end)) => Ok(end.status()),
            (
                S::Submitting
                | S::SubmittedUnconfirmed
                | S::Submitted
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
                | S::BlockedRisk,
                E::Venue { status, traded },
            ) => Ok(self.follow(status, traded)),
            (
                S::Submitted | S::Accepted | S::PartiallyFilled | S::PendingCancel | S::PendingReplace,
                E::CancelTaken,
            ) => Ok(S::PendingCancel),
            (S::Submitted | S::Accepted | S::PartiallyFilled, E::ReplaceAsked) => Ok(S::PendingReplace),
            (S::PendingCancel | S::PendingReplace, E::ChangeRefused { traded }) => Ok(live(traded)),
            (
                S::Submitting
                | S::SubmittedUnconfirmed
                | S::Submitted
                | S::Accepted
                | S::PartiallyFilled
                | S::PendingCancel
                | S::PendingReplace,
                E::Resolved(end),
            ) => Ok(match end {
                OperatorEnd::Canceled => S::Canceled,
                OperatorEnd::Rejected => S::Rejected,
                OperatorEnd::Filled => S::Filled,
            }),
            (
                S::Submitting
                | S::Submitted
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
                | S::BlockedRisk
                | S::DryRun,
                E::Claim | E::End(_),
            )
            | (
                S::PendingNew
                | S::SubmittedUnconfirmed
                | S::Submitted
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
                | S::BlockedRisk
                | S::DryRun,
                E::NeverLeft { .. },
            )
            | (
                S::Submitting
                | S::SubmittedUnconfirmed
                | S::Submitted
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
                | S::BlockedRisk
                | S::DryRun,
                E::Doubted,
            )
            | (
                S::PendingNew
                | S::Submitted
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
                | S::BlockedRisk
                | S::DryRun,
                E::OutcomeUnknown | E::Refused,
            )
            | (S::PendingNew | S::DryRun, E::Venue { .. })
            | (
                S::PendingNew
                | S::Submitting
                | S::SubmittedUnconfirmed
                | S::Filled
                | S::Canceled
                | S::Expired
                | S::Rejected
                | S::Replaced
                | S::Failed
                | S::BlockedKillSwitch
                | S::BlockedCircuitBreaker
                | S::BlockedRisk
                | S::DryRun,
                E::CancelTaken | E::ReplaceAsked,
            )
            | (S::PendingCancel | S::PendingReplace, E::ReplaceAsked)
            | (
                S::PendingNew
                | S::Submitting
                | S::SubmittedUnconfirmed
                | S::Submitted
                | S::Accepted
                | S::PartiallyFilled
                | S::Filled
                | S::Canceled
                | S::Expired
                | S::Rejected
                | S::Replaced
                | S::Failed
                | S::BlockedKillSwitch
                | S::BlockedCircuitBreaker
                | S::BlockedRisk
                | S::DryRun,
                E::ChangeRefused { .. },
            )
            | (
                S::PendingNew
                | S::Filled
                | S::Canceled
                | S::Expired
                | S::Rejected
                | S::Replaced
                | S::Failed
                | S::BlockedKillSwitch
                | S::BlockedCircuitBreaker
                | S::BlockedRisk
                | S::DryRun,
                E::Resolved(_),
            ) => Err(IllegalTransition { from: self, event }),
        }
    }

    /// The status that follows the venue's word. A change that we asked for stays pending until the venue ends it.
    const fn follow(self, status: VenueStatus, traded: bool) -> Self {
        match status {
            VenueStatus::Filled => Self::Filled,
            VenueStatus::Canceled => Self::Canceled,
            VenueStatus::Expired => Self::Expired,
            VenueStatus::Rejected => Self::Rejected,
            VenueStatus::Replaced => Self::Replaced,
            VenueStatus::PendingCancel => Self::PendingCancel,
            VenueStatus::PendingReplace => Self::PendingReplace,
            VenueStatus::Accepted | VenueStatus::PartiallyFilled | VenueStatus::Other => match self {
                Self::PendingCancel => Self::PendingCancel,
                Self::PendingReplace => Self::PendingReplace,
                Self::PendingNew
                | Self::Submitting
                | Self::SubmittedUnconfirmed
                | Self::Submitted
                | Self::Accepted
                | Self::PartiallyFilled
                | Self::Filled
                | Self::Canceled
                | Self::Expired
                | Self::Rejected
                | Self::Replaced
                | Self::Failed
                | Self::BlockedKillSwitch
                | Self::BlockedCircuitBreaker
                | Self::BlockedRisk
                | Self::DryRun => match status {
                    VenueStatus::Other if !traded => Self::Submitted,
                    VenueStatus::Accepted
                    | VenueStatus::PartiallyFilled
                    | VenueStatus::PendingCancel
                    | VenueStatus::PendingReplace
                    | VenueStatus::Filled
                    | VenueStatus::Canceled
                    | VenueStatus::Expired
                    | VenueStatus::Rejected
                    | VenueStatus::Replaced
                    | VenueStatus::Other => live(traded),
                },
            },
        }
    }

    /// What the quantity of an order in this status counts as, as far as it hasn't traded.
    #[must_use]
    pub const fn share(self) -> Share {
        match self {
            Self::PendingNew => Share::Pending,
            Self::Submitting | Self::SubmittedUnconfirmed => Share::Unknown,
            Self::Submitted | Self::Accepted | Self::PartiallyFilled | Self::PendingCancel | Self::PendingReplace => {
                Share::Working
            }
            Self::Filled
            | Self::Canceled
            | Self::Expired
            | Self::Rejected
            | Self::Replaced
            | Self::Failed
            | Self::BlockedKillSwitch
            | Self::BlockedCircuitBreaker
            | Self::BlockedRisk
            | Self::DryRun => Share::Unexecuted,
        }
    }

    /// Whether nothing more is expected of the order.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self.share(), Share::Unexecuted)
    }
}

const fn live(traded: bool) -> OrderStatus {
    if traded { OrderStatus::PartiallyFilled } else { OrderStatus::Accepted }
}

/// What untraded quantity counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Not sent yet.
    Pending,
    /// It may be live.
    Unknown,
    /// Live at the venue.
    Working,
    /// It won't be executed.
    Unexecuted,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<OrderEvent> {
        let mut events = vec![
            OrderEvent::Claim,
            OrderEvent::Doubted,
            OrderEvent::NeverLeft { was_absent: false },
            OrderEvent::NeverLeft { was_absent: true },
            OrderEvent::OutcomeUnknown,
            OrderEvent::Refused,
            OrderEvent::CancelTaken,
            OrderEvent::ReplaceAsked,
            OrderEvent::ChangeRefused { traded: false },
            OrderEvent::ChangeRefused { traded: true },
        ];
        events.extend(OwnEnd::ALL.iter().map(|end| OrderEvent::End(*end)));
        events.extend(OperatorEnd::ALL.iter().map(|end| OrderEvent::Resolved(*end)));
        for status in VenueStatus::ALL {
            events.extend([false, true].map(|traded| OrderEvent::Venue { status: *status, traded }));
        }
        events
    }

    #[test]
    fn every_pair_of_status_and_event_is_decided() {
        for from in OrderStatus::ALL {
            for event in events() {
                match from.apply(event) {
                    Ok(to) => assert!(legal(*from, event, to), "{from} took {event:?} and became {to}"),
                    Err(refusal) => assert_eq!(refusal, IllegalTransition { from: *from, event }),
                }
            }
        }
    }

    /// The table of `domain.md`, written the other way round: by event.
    fn legal(from: OrderStatus, event: OrderEvent, to: OrderStatus) -> bool {
        use OrderStatus as S;
        match event {
            OrderEvent::Claim => [S::PendingNew, S::SubmittedUnconfirmed].contains(&from) && to == S::Submitting,
            OrderEvent::Doubted => from == S::PendingNew && to == S::SubmittedUnconfirmed,
            OrderEvent::NeverLeft { was_absent } => {
                from == S::Submitting && to == if was_absent { S::SubmittedUnconfirmed } else { S::PendingNew }
            }
            OrderEvent::OutcomeUnknown => from.share() == Share::Unknown && to == S::SubmittedUnconfirmed,
            OrderEvent::Refused => from.share() == Share::Unknown && to == S::Rejected,
            OrderEvent::End(end) => [S::PendingNew, S::SubmittedUnconfirmed].contains(&from) && to == end.status(),
            OrderEvent::Venue { status, .. } => {
                ![S::PendingNew, S::DryRun].contains(&from) && status.is_terminal() == to.is_terminal()
            }
            OrderEvent::CancelTaken => from.share() == Share::Working && to == S::PendingCancel,
            OrderEvent::ReplaceAsked => {
                [S::Submitted, S::Accepted, S::PartiallyFilled].contains(&from) && to == S::PendingReplace
            }
            OrderEvent::ChangeRefused { .. } => {
                [S::PendingCancel, S::PendingReplace].contains(&from) && [S::Accepted, S::PartiallyFilled].contains(&to)
            }
            OrderEvent::Resolved(end) => !from.is_terminal() && from != S::PendingNew && to.as_str() == end.as_str(),
        }
    }

    #[test]
    fn a_pending_order_ends_only_by_our_own_word_a_claim_or_the_doubt_whether_it_was_sent() {
        let moves = events().into_iter().filter(|event| OrderStatus::PendingNew.apply(*event).is_ok()).count();
        assert_eq!(moves, 2 + OwnEnd::ALL.len());
    }

    #[test]
    fn what_was_asked_of_the_venue_stays_pending_until_the_venue_ends_it() {
        let accepted = OrderEvent::Venue { status: VenueStatus::Accepted, traded: true };
        assert_eq!(OrderStatus::PendingCancel.apply(accepted), Ok(OrderStatus::PendingCancel));
        let refused = OrderEvent::ChangeRefused { traded: true };
        assert_eq!(OrderStatus::PendingCancel.apply(refused), Ok(OrderStatus::PartiallyFilled));
        assert_eq!(OrderStatus::PendingReplace.apply(accepted), Ok(OrderStatus::PendingReplace));
        assert_eq!(OrderStatus::PendingReplace.apply(OrderEvent::CancelTaken), Ok(OrderStatus::PendingCancel));
    }
}
