//! The life of one process: it may end, or one of its actors may, at every point where it meets the world.
//!
//! What a process does between two such points nobody outside can see, so to strike at all of them is to strike at any
//! await.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::tape::Tape;

/// What ends at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The whole process: nothing of it goes on.
    Process,
    /// The actor whose call it is.
    Actor,
    /// Nothing ends: somebody outside acts at just this point.
    Nobody,
}

/// What somebody outside notices of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is gone.
    Ended,
    /// The point is reached at which somebody is to act.
    Called,
}

#[derive(Default)]
struct State {
    is_dead: bool,
    /// Who dies, after so many points more.
    doomed: Vec<(Death, u32)>,
    /// How many points were reached at which somebody outside is to act.
    called: u32,
}

/// Whether the process lives, as every port asks before and after what it does.
#[derive(Clone, Default)]
pub struct Life(Arc<(Mutex<State>, Notify, Tape)>);

impl Life {
    /// A life whose deaths are noted on this tape.
    #[must_use]
    pub fn on(tape: Tape) -> Self {
        Self(Arc::new((Mutex::default(), Notify::default(), tape)))
    }

    /// A fault that lay in wait has met this process.
    pub fn meet(&self, what: &str) {
        self.0.2.strike(what);
    }

    /// Somebody dies after so many points more.
    pub fn doom(&self, death: Death, points: u32) {
        self.0.0.lock().doomed.push((death, points));
    }

    /// Nobody is to die any more.
    pub fn spare(&self) {
        self.0.0.lock().doomed.clear();
    }

    /// A new process begins, with nothing of what was to strike the last one.
    pub fn begin(&self) {
        let mut state = self.0.0.lock();
        state.is_dead = false;
        state.doomed.retain(|(death, _)| *death == Death::Nobody);
    }

    /// Passes a point. A dead process stays there for ever.
    pub async fn pass(&self) {
        let panics = self.strike();
        assert!(!panics, "an actor was told to die");
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether an actor has to die at this point.
    fn strike(&self) -> bool {
        let mut state = self.0.0.lock();
        if state.doomed.is_empty() {
            return false;
        }
        let (mut panics, mut wakes, mut met) = (false, false, Vec::new());
        for (death, points) in std::mem::take(&mut state.doomed) {
            if points == 0 {
                met.push(death);
            }
            match (death, points.checked_sub(1)) {
                (_, Some(left)) => state.doomed.push((death, left)),
                (Death::Actor, None) => panics = true,
                (Death::Process, None) => (state.is_dead, wakes) = (true, true),
                (Death::Nobody, None) => (state.called, wakes) = (state.called + 1, true),
            }
        }
        if wakes {
            self.0.1.notify_one();
        }
        let panics = panics && !state.is_dead;
        drop(state);
        for death in met {
            self.meet(match death {
                Death::Process => "the process dies",
                Death::Actor => "an actor dies",
                Death::Nobody => "an operator acts",
            });
        }
        panics
    }

    /// Waits until the process ends, or somebody outside is to act.
    pub async fn turn(&self) -> Turn {
        loop {
            {
                let mut state = self.0.0.lock();
                if state.is_dead {
                    return Turn::Ended;
                }
                if state.called > 0 {
                    state.called -= 1;
                    return Turn::Called;
                }
            }
            self.0.1.notified().await;
        }
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.0.lock().is_dead
    }
}
