//! What can happen to a submission, and what its sender is told.

use std::time::Duration;

use tranche_actors::domain::venue::{VenueOrder, VenueWords};
use tranche_actors::market::faults::RequestFault;
use tranche_actors::ports::{SubmitError, VenueError};

use super::{EngineVenue, Letter, Submission, delta};
use crate::tape::Step;

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

impl EngineVenue {
    pub(super) async fn deliver(&self, letter: Letter) -> Result<VenueOrder, SubmitError> {
        self.tape.note(&Step::Sent(&letter.order));
        let fate = self.fate_of(&letter);
        self.life.pass().await;
        let result = self.submit_with(&letter, fate).await;
        self.tape.note(&Step::Answered(&letter.order.client_order_id, &result));
        result
    }

    /// What becomes of a submission: taken or not, and when it is answered; `None`: never.
    async fn submit_with(&self, letter: &Letter, fate: Fate) -> Result<VenueOrder, SubmitError> {
        let (takes, answer) = match fate {
            Fate::Taken | Fate::ErrorAfter | Fate::Panic { taken: true } => (true, Some(Duration::ZERO)),
            Fate::AnswerLost => (true, None),
            Fate::AnsweredAfter(wait) => (true, Some(wait)),
            Fate::RequestLost | Fate::ArrivesAfter(_) | Fate::ArrivesWithTheNext => (false, None),
            Fate::NeverLeft
            | Fate::Busy(_)
            | Fate::ErrorBefore
            | Fate::Rejected
            | Fate::Unauthorised
            | Fate::Panic { taken: false } => (false, Some(Duration::ZERO)),
        };
        let taken = takes.then(|| self.take(letter));
        if let Fate::ArrivesAfter(wait) = fate {
            let at = self.clock.wall() + delta(wait);
            self.desk.lock().late.push((at, letter.clone()));
        }
        if fate == Fate::ArrivesWithTheNext {
            self.desk.lock().stuck.push(letter.clone());
        }
        let Some(wait) = answer else {
            return std::future::pending().await;
        };
        self.travel().await;
        tokio::time::sleep(wait).await;
        answered(fate, taken)
    }

    fn fate_of(&self, Letter { order, .. }: &Letter) -> Fate {
        let down = if self.calls.is_silent("submit") {
            Some(Fate::RequestLost)
        } else {
            self.calls.fails("submit").then_some(Fate::ErrorBefore)
        };
        self.calls.meet("submit");
        let down = down.or_else(|| self.mood().map(mood));
        let mut desk = self.desk.lock();
        let planned = if down.is_none() { desk.planned.pop_front() } else { None };
        let fate = down.or(planned).or_else(|| desk.decide.as_mut().map(|decide| decide(order)));
        let fate = fate.or_else(|| desk.dice.as_mut().map(|dice| thrown(dice.request())));
        let fate = fate.unwrap_or(Fate::Taken);
        let at = self.clock.wall();
        let id = order.client_order_id.clone();
        let duplicate = desk.engine.book().find(&id).is_some();
        let (freed, stuck) = std::mem::take(&mut desk.stuck)
            .into_iter()
            .partition::<Vec<_>, _>(|stuck| stuck.order.client_order_id == id);
        desk.stuck = stuck;
        desk.late.extend(freed.into_iter().map(|letter| (at, letter)));
        if fate != Fate::NeverLeft {
            desk.requests.push(at);
        }
        desk.submissions.push(Submission { at, id, duplicate });
        drop(desk);
        if let Some(planned) = planned {
            self.tape.strike(&format!("the submission: {planned:?}"));
        }
        fate
    }
}

#[expect(clippy::panic, reason = "a venue that dies takes its caller with it")]
fn answered(fate: Fate, taken: Option<Result<VenueOrder, SubmitError>>) -> Result<VenueOrder, SubmitError> {
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
fn mood(mood: VenueError) -> Fate {
    match mood {
        VenueError::NotNow { retry_after } => Fate::Busy(retry_after),
        VenueError::Unauthorised { .. } => Fate::Unauthorised,
        VenueError::Unavailable { .. } => Fate::ErrorBefore,
    }
}

fn thrown((fault, late): (RequestFault, Duration)) -> Fate {
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
