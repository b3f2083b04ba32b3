//! `tranche switches init`: an operator's word that the keys which are missing may be there again.

use tranche_actors::domain::breaker::{BreakerState, BreakerWord};
use tranche_actors::domain::kill::KillState;
use tranche_actors::domain::switchboard::{breaker, kill};
use tranche_actors::ports::store::Switches;
use tranche_actors::ports::switchboard::{BoardError, HistoryStep, SwitchBoard, SwitchKey, Transition};

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    /// Nothing is missing.
    #[error("both keys are there: nothing was written")]
    NothingMissing,
    /// The database doesn't know the switch either, so nobody knows whether it is stopped.
    #[error(
        "the database knows nothing of {0} either: nothing was written; restore the database, or disengage and reset through a running server"
    )]
    Forgotten(SwitchKey),
    /// The board can't be reached, or somebody else wrote at the same time.
    #[error(transparent)]
    Board(#[from] BoardError),
}

/// Creates the keys that are missing, each with the state that the database remembers: what is stopped stays stopped.
/// Answers which it created, and with which state. A key that is there is never touched.
///
/// # Errors
/// When nothing is missing, the database has forgotten what is, or the board could not be written.
pub async fn init(board: &dyn SwitchBoard, remembered: &Switches) -> Result<Vec<(SwitchKey, &'static str)>, InitError> {
    let reading = board.read().await?;
    let mut steps = Vec::new();
    if reading.kill.is_none() {
        let state = remembered.kill.clone().ok_or(InitError::Forgotten(SwitchKey::Kill))?;
        steps.push((kill_step(&state), state.state.as_str()));
    }
    if reading.breaker.is_none() {
        let state = remembered.breaker.clone().ok_or(InitError::Forgotten(SwitchKey::Breaker))?;
        steps.push((breaker_step(&state), state.state.as_str()));
    }
    if steps.is_empty() {
        return Err(InitError::NothingMissing);
    }
    let mut written = Vec::new();
    for (step, word) in steps {
        board.make(&step).await?;
        written.push((step.key, word));
    }
    Ok(written)
}

fn kill_step(state: &KillState) -> Transition {
    let history = match state.engaged_at.filter(|_| state.is_engaged()) {
        Some(at) => HistoryStep::Append(kill::entry(state.state, &kill::entry_of(state, at))),
        None => HistoryStep::None,
    };
    Transition { key: SwitchKey::Kill, from: None, to: kill::write(None, state), history }
}

fn breaker_step(state: &BreakerState) -> Transition {
    let history = match (state.state, state.tripped_at) {
        (BreakerWord::Tripped, Some(at)) => {
            let (entry, score) = breaker::entry(state, at);
            HistoryStep::Insert { entry, score }
        }
        (BreakerWord::Tripped | BreakerWord::Allowing | BreakerWord::Quiet, _) => HistoryStep::None,
    };
    Transition { key: SwitchKey::Breaker, from: None, to: breaker::write(None, state), history }
}

#[cfg(test)]
mod tests {
    use tranche_actors::ports::switchboard::BoardReading;
    use tranche_simulation::life::Life;
    use tranche_simulation::switchboard::MemoryBoard;

    use super::*;

    #[tokio::test]
    async fn what_the_database_has_forgotten_is_not_made_up() {
        let board = MemoryBoard::new(Life::default());
        let both = Switches {
            kill: Some(KillState::default()),
            breaker: Some(BreakerState::default()),
            ..Switches::default()
        };
        let forgotten = [
            (Switches { kill: None, ..both.clone() }, SwitchKey::Kill),
            (Switches { breaker: None, ..both.clone() }, SwitchKey::Breaker),
        ];
        for (remembered, key) in forgotten {
            assert_eq!(init(&board, &remembered).await, Err(InitError::Forgotten(key)));
            assert_eq!(board.snapshot().keys, BoardReading::default());
        }
        let expected = vec![(SwitchKey::Kill, "ACTIVE"), (SwitchKey::Breaker, "OPEN")];
        assert_eq!(init(&board, &both).await, Ok(expected));
    }
}
