//! The breaker on the shared switchboard: each step reads, judges and makes one transition, as often as others are faster.

use chrono::{DateTime, Utc};

use crate::domain::breaker::{BreakerState, BreakerWord};
use crate::domain::switchboard::breaker;
use crate::ports::switchboard::{BoardError, HistoryStep, SwitchBoard, SwitchKey, Transition};

/// How often somebody else may be faster.
const TRIES: usize = 8;

/// Puts a trip on the board, unless one stands there whose time is not `over`. Answers what it took the place of.
pub(super) async fn trip(
    board: &dyn SwitchBoard,
    state: &BreakerState,
    over: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<BreakerState>, BoardError> {
    for _ in 0..TRIES {
        let reading = board.read().await?;
        let told = breaker::read(reading.breaker.as_deref()).known().cloned();
        let is_tripped = told.as_ref().is_some_and(|told| told.state == BreakerWord::Tripped);
        let is_over = over.is_some() && told.as_ref().is_some_and(|told| told.tripped_at == over);
        if is_tripped && !is_over {
            return Ok(None);
        }
        let (entry, score) = breaker::entry(state, now);
        match board.make(&step(reading.breaker, state, HistoryStep::Insert { entry, score })).await {
            Err(BoardError::LostRace) => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(told),
        }
    }
    Err(BoardError::LostRace)
}

/// Takes a trip off the board, the one that was known, and completes the newest entry of its history.
///
/// # Errors
/// [`BoardError::LostRace`] where another trip stands there, or one at all that was not known; the others as ever.
pub(super) async fn reset(board: &dyn SwitchBoard, state: &BreakerState, is_known: bool) -> Result<(), BoardError> {
    for _ in 0..TRIES {
        let reading = board.read().await?;
        let told = breaker::read(reading.breaker.as_deref());
        if let Some(told) = told.known().filter(|told| told.state == BreakerWord::Tripped)
            && !(is_known && told.tripped_at == state.tripped_at)
        {
            return Err(BoardError::LostRace);
        }
        let newest = board.newest_trip().await?;
        let completed = newest.and_then(|from| {
            let to = breaker::completed(&from, state)?;
            Some(HistoryStep::Complete { from, to })
        });
        match board.make(&step(reading.breaker, state, completed.unwrap_or(HistoryStep::None))).await {
            Err(BoardError::LostRace) => {}
            known => return known,
        }
    }
    Err(BoardError::LostRace)
}

/// Says that a quiet period is over, where the board still tells of the same one.
pub(super) async fn settle(board: &dyn SwitchBoard, state: &BreakerState) -> Result<(), BoardError> {
    let reading = board.read().await?;
    let told = breaker::read(reading.breaker.as_deref());
    let same = |told: &&BreakerState| told.state == BreakerWord::Quiet && told.reset_at == state.reset_at;
    if told.known().filter(same).is_none() {
        return Ok(());
    }
    board.make(&step(reading.breaker, state, HistoryStep::None)).await
}

fn step(from: Option<Vec<u8>>, state: &BreakerState, history: HistoryStep) -> Transition {
    Transition { key: SwitchKey::Breaker, to: breaker::write(from.as_deref(), state), from, history }
}
