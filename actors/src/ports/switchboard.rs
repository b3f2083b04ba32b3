//! The port to the switchboard that a stack's programs share: two keys with their histories, written by others too.
//!
//! It carries bytes. What they mean, and what may follow them, is [`crate::domain::switchboard`].

use async_trait::async_trait;
use thiserror::Error;

use crate::domain::text::words;

words!(
    /// A switch on the board, by its key.
    SwitchKey {
        /// The kill switch; its history is a list, `kill_switch:history`.
        Kill = "kill_switch:state",
        /// The circuit breaker; its history is a sorted set, `circuit_breaker:trip_history`.
        Breaker = "circuit_breaker:state",
    }
);

/// Both keys as they were at one instant; `None` where a key is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardReading {
    /// The kill switch.
    pub kill: Option<Vec<u8>>,
    /// The circuit breaker.
    pub breaker: Option<Vec<u8>>,
}

impl BoardReading {
    /// One of the keys.
    #[must_use]
    pub fn of(&self, key: SwitchKey) -> Option<&[u8]> {
        match key {
            SwitchKey::Kill => self.kill.as_deref(),
            SwitchKey::Breaker => self.breaker.as_deref(),
        }
    }
}

/// What a transition adds to the switch's history, in one step with the state. A history keeps its last 1,000 entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryStep {
    /// Nothing.
    None,
    /// A new last entry of the kill switch's list.
    Append(Vec<u8>),
    /// A new entry of the breaker's sorted set.
    Insert {
        /// The entry.
        entry: Vec<u8>,
        /// Its score: seconds since the epoch, in decimal.
        score: String,
    },
    /// The breaker's newest entry, completed. It keeps its score; if it is not the newest any more, the race is lost.
    Complete {
        /// The entry as it was read.
        from: Vec<u8>,
        /// What takes its place.
        to: Vec<u8>,
    },
}

/// One step of a switch: the state and its history change together, if the state is still what it was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which switch.
    pub key: SwitchKey,
    /// The bytes that were read; `None` where the key was missing.
    pub from: Option<Vec<u8>>,
    /// The new bytes. Where they stand there already, nothing happens, and that is a success.
    pub to: Vec<u8>,
    /// What the history gets.
    pub history: HistoryStep,
}

/// Why a transition was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BoardError {
    /// Somebody else was faster; certainly not made. Read again.
    #[error("the switch was changed by another program meanwhile")]
    LostRace,
    /// It could not be reached: certainly not made.
    #[error("the switchboard can't be reached: {detail}")]
    Unreachable {
        /// What failed.
        detail: String,
    },
    /// It was asked, and did not answer in time. The transition may have been made, or be made later: repeating it is
    /// harmless.
    #[error("the switchboard did not answer: {detail}")]
    OutcomeUnknown {
        /// What failed.
        detail: String,
    },
}

/// The switchboard. Every call ends within its budget, and none is made on a request's path.
#[async_trait]
pub trait SwitchBoard: Send + Sync {
    /// Both keys in one go.
    async fn read(&self) -> Result<BoardReading, BoardError>;

    /// The newest entry of the breaker's history.
    async fn newest_trip(&self) -> Result<Option<Vec<u8>>, BoardError>;

    /// Makes one transition, whole or not at all.
    async fn make(&self, transition: &Transition) -> Result<(), BoardError>;
}
