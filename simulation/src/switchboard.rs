//! The shared switchboard in memory: other programs write it too, and it fails as it is told to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use tranche_actors::ports::switchboard::{BoardError, BoardReading, HistoryStep, SwitchBoard, SwitchKey, Transition};

use crate::calls::Calls;
use crate::life::Life;

/// How many entries a history keeps.
const MOST_ENTRIES: usize = 1_000;
/// How long a call may take.
const BUDGET: Duration = Duration::from_millis(50);

/// The board. It outlives the houses that use it.
#[derive(Default)]
pub struct MemoryBoard {
    held: Arc<Mutex<Held>>,
    late: Mutex<Option<Duration>>,
    /// Faults of its methods `read` and `make`: to fail is to be unreachable, and so is to be slower than 50 ms.
    pub calls: Calls,
}

/// What is on the board: a snapshot of it can be put back.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Both keys.
    pub keys: BoardReading,
    /// The kill switch's history.
    pub kills: VecDeque<Vec<u8>>,
    /// The breaker's, with its scores.
    pub trips: Vec<(String, Vec<u8>)>,
}

impl MemoryBoard {
    /// An empty board.
    #[must_use]
    pub fn new(life: Life) -> Self {
        Self { calls: Calls::of(life), ..Self::default() }
    }

    /// Another program writes a key, or deletes it.
    pub fn write(&self, key: SwitchKey, value: Option<&str>) {
        *place(&mut self.held.lock().keys, key) = value.map(|text| text.as_bytes().to_vec());
    }

    /// A key as JSON; `null` where it is missing.
    #[must_use]
    pub fn told(&self, key: SwitchKey) -> Value {
        let held = self.held.lock();
        held.keys.of(key).and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or(Value::Null)
    }

    /// The board as it is.
    #[must_use]
    pub fn snapshot(&self) -> Held {
        self.held.lock().clone()
    }

    /// Puts a snapshot back, or the empty board: all is flushed.
    pub fn put_back(&self, held: Held) {
        *self.held.lock() = held;
    }

    /// From now on it can't be reached, or it can be again.
    pub fn cut(&self, is_cut: bool) {
        self.calls.fail("read", is_cut);
        self.calls.fail("make", is_cut);
    }

    /// The next transition is made so much later than it is asked for, and not answered.
    pub fn late(&self, by: Duration) {
        *self.late.lock() = Some(by);
    }

    async fn reach(&self, method: &'static str) -> Result<(), BoardError> {
        let lost = |detail: &str| Err(BoardError::Unreachable { detail: detail.to_owned() });
        match tokio::time::timeout(BUDGET, self.calls.enter(method)).await {
            Ok(false) => Ok(()),
            Ok(true) => lost("it was cut off"),
            Err(_) => lost("no answer within 50 ms"),
        }
    }
}

fn place(keys: &mut BoardReading, key: SwitchKey) -> &mut Option<Vec<u8>> {
    match key {
        SwitchKey::Kill => &mut keys.kill,
        SwitchKey::Breaker => &mut keys.breaker,
    }
}

#[async_trait]
impl SwitchBoard for MemoryBoard {
    async fn read(&self) -> Result<BoardReading, BoardError> {
        self.reach("read").await?;
        Ok(self.held.lock().keys.clone())
    }

    async fn newest_trip(&self) -> Result<Option<Vec<u8>>, BoardError> {
        self.reach("read").await?;
        Ok(self.held.lock().trips.last().map(|(_, entry)| entry.clone()))
    }

    async fn make(&self, transition: &Transition) -> Result<(), BoardError> {
        self.reach("make").await?;
        let late = self.late.lock().take();
        if let Some(by) = late {
            let (held, transition) = (Arc::clone(&self.held), transition.clone());
            tokio::spawn(async move {
                tokio::time::sleep(by).await;
                drop(held.lock().make(&transition));
            });
            tokio::time::sleep(BUDGET).await;
            return Err(BoardError::OutcomeUnknown { detail: "no answer within 50 ms".to_owned() });
        }
        self.held.lock().make(transition)
    }
}

impl Held {
    fn make(&mut self, transition: &Transition) -> Result<(), BoardError> {
        let there = place(&mut self.keys, transition.key).clone();
        if there.as_ref() == Some(&transition.to) {
            return Ok(());
        }
        if there != transition.from {
            return Err(BoardError::LostRace);
        }
        match &transition.history {
            HistoryStep::None => {}
            HistoryStep::Append(entry) => {
                self.kills.push_back(entry.clone());
                if self.kills.len() > MOST_ENTRIES {
                    self.kills.pop_front();
                }
            }
            HistoryStep::Insert { entry, score } => {
                self.trips.push((score.clone(), entry.clone()));
                self.trips.sort();
                if self.trips.len() > MOST_ENTRIES {
                    self.trips.remove(0);
                }
            }
            HistoryStep::Complete { from, to } => match self.trips.last_mut() {
                Some((_, newest)) if newest == from => newest.clone_from(to),
                Some(_) | None => return Err(BoardError::LostRace),
            },
        }
        *place(&mut self.keys, transition.key) = Some(transition.to.clone());
        Ok(())
    }
}
