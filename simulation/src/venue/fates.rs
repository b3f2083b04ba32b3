//! What can happen to a submission, and what its sender is told.

use std::time::Duration;

use tranche_actors::domain::venue::{VenueOrder, VenueWords};
use tranche_actors::market::faults::RequestFault;
use tranche_actors::ports::{SubmitError, VenueError};

/// What happens to one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing goes wrong.
    Taken,
    /// Taken, and never answered.
    AnswerLost,
    /// Taken, and answered after so long.
    AnsweredAfter(Duration),
    /// Never arrives, never answered.
    RequestLost,
    /// Never answered, and taken only after so long.
    ArrivesAfter(Duration),
    /// Never answered, and taken only when the same order is sent again, just before that.
    ArrivesWithTheNext,
    /// No byte of it left.
    NeverLeft,
    /// 429, with what it asks the client to wait.
    Busy(Option<Duration>),
    /// 5xx, not taken.
    ErrorBefore,
    /// 5xx, taken.
    ErrorAfter,
    /// Refused for want of buying power.
    Rejected,
    /// Our key is refused.
    Unauthorised,
    /// The sender dies over it, taken or not.
    Panic {
        /// Whether the venue took it.
        taken: bool,
    },
}

#[expect(clippy::panic, reason = "a venue that dies takes its caller with it")]
pub(super) fn answered(fate: Fate, taken: Option<Result<VenueOrder, SubmitError>>) -> Result<VenueOrder, SubmitError> {
    match fate {
        Fate::Panic { .. } => panic!("the venue was told to panic"),
        Fate::NeverLeft => Err(SubmitError::NeverLeft { detail: "connection refused".to_owned() }),
        Fate::Busy(retry_after) => Err(SubmitError::NotNow { retry_after }),
        Fate::ErrorBefore | Fate::ErrorAfter => Err(unknown("503")),
        Fate::Unauthorised => Err(SubmitError::Unauthorised { detail: "forbidden".to_owned() }),
        Fate::Rejected => Err(SubmitError::Rejected(VenueWords {
            code: "40310000".to_owned(),
            message: "insufficient buying power".to_owned(),
        })),
        Fate::Taken
        | Fate::AnswerLost
        | Fate::AnsweredAfter(_)
        | Fate::RequestLost
        | Fate::ArrivesAfter(_)
        | Fate::ArrivesWithTheNext => taken.unwrap_or_else(|| Err(unknown("not taken"))),
    }
}

/// What a submission meets at a venue that sends everybody away.
pub(super) fn mood(mood: VenueError) -> Fate {
    match mood {
        VenueError::NotNow { retry_after } => Fate::Busy(retry_after),
        VenueError::Unauthorised { .. } => Fate::Unauthorised,
        VenueError::Unavailable { .. } => Fate::ErrorBefore,
    }
}

pub(super) fn thrown((fault, late): (RequestFault, Duration)) -> Fate {
    match fault {
        RequestFault::None if late.is_zero() => Fate::Taken,
        RequestFault::None => Fate::AnsweredAfter(late),
        RequestFault::Busy { retry_after } => Fate::Busy(retry_after),
        RequestFault::TimeoutBefore => Fate::RequestLost,
        RequestFault::ErrorBefore => Fate::ErrorBefore,
        RequestFault::TimeoutAfter => Fate::AnswerLost,
        RequestFault::ErrorAfter => Fate::ErrorAfter,
    }
}

fn unknown(detail: &str) -> SubmitError {
    SubmitError::Unknown { detail: detail.to_owned() }
}
