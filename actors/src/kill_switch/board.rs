//! The kill switch on the shared switchboard: each step reads, judges and makes one transition, as often as others are
//! faster.

use crate::domain::kill::{KillState, KillWord};
use crate::domain::ledger::SwitchEntry;
use crate::domain::switchboard::kill;
use crate::ports::switchboard::{BoardError, HistoryStep, SwitchBoard, SwitchKey, Transition};

/// How often somebody else may be faster.
const TRIES: usize = 8;

/// What putting an engagement on the board came to.
pub(super) enum OnBoard {
    /// It stands there.
    Stands,
    /// Another program's engagement stands there.
    Another(KillState),
    /// The board can't be reached.
    Unreachable,
}

/// Puts an engagement on the board, unless one stands there that is not `over`.
pub(super) async fn engage(
    board: &dyn SwitchBoard,
    state: &KillState,
    entry: &SwitchEntry,
    over: Option<&KillState>,
) -> OnBoard {
    for _ in 0..TRIES {
        let Ok(reading) = board.read().await else { return OnBoard::Unreachable };
        if let Some(told) = kill::read(reading.kill.as_deref()).known().filter(|told| told.is_engaged()) {
            // Two operators may engage in the same microsecond.
            let id = told.id_of_engagement();
            if id == state.id_of_engagement() {
                return OnBoard::Stands;
            }
            if over.is_none_or(|over| over.id_of_engagement() != id) {
                return OnBoard::Another(told.clone());
            }
        }
        match board.make(&step(reading.kill, state, entry)).await {
            Ok(()) => return OnBoard::Stands,
            Err(BoardError::LostRace) => {}
            Err(BoardError::Unreachable { .. } | BoardError::OutcomeUnknown { .. }) => return OnBoard::Unreachable,
        }
    }
    OnBoard::Unreachable
}

/// Takes an engagement off the board: the one that `held` names, or none where the switch was unknown, whose place it then
/// takes.
///
/// # Errors
/// [`BoardError::LostRace`] where another engagement stands there, or one at all that was not known; the others as ever.
pub(super) async fn release(
    board: &dyn SwitchBoard,
    held: Option<&KillState>,
    state: &KillState,
    entry: &SwitchEntry,
) -> Result<(), BoardError> {
    for _ in 0..TRIES {
        let reading = board.read().await?;
        if let Some(told) = kill::read(reading.kill.as_deref()).known().filter(|told| told.is_engaged())
            && held.is_none_or(|held| held.engaged_at != told.engaged_at)
        {
            return Err(BoardError::LostRace);
        }
        match board.make(&step(reading.kill, state, entry)).await {
            Err(BoardError::LostRace) => {}
            known => return known,
        }
    }
    Err(BoardError::LostRace)
}

fn step(from: Option<Vec<u8>>, state: &KillState, entry: &SwitchEntry) -> Transition {
    let word = if state.is_engaged() { KillWord::Engaged } else { KillWord::Active };
    Transition {
        key: SwitchKey::Kill,
        to: kill::write(from.as_deref(), state),
        from,
        history: HistoryStep::Append(kill::entry(word, entry)),
    }
}
