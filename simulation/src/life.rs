//! The life of one process: it may end, or one of its actors may, at every point where it meets the world.
//!
//! What a process does between two such points nobody outside can see, so to strike at all of them is to strike at any
//! await.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What ends at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The whole process: nothing of it goes on.
    Process,
    /// The actor whose call it is.
    Actor,
}

#[derive(Default)]
struct State {
    is_dead: bool,
    /// Who dies, after so many points more.
    doomed: Option<(Death, u32)>,
}

/// Whether the process lives, as every port asks before and after what it does.
#[derive(Clone, Default)]
pub struct Life(Arc<(Mutex<State>, Notify)>);

impl Life {
    /// Somebody dies after so many points more.
    pub fn doom(&self, death: Death, points: u32) {
        self.0.0.lock().doomed = Some((death, points));
    }

    /// Nobody is to die any more.
    pub fn spare(&self) {
        self.0.0.lock().doomed = None;
    }

    /// A new process begins.
    pub fn begin(&self) {
        *self.0.0.lock() = State::default();
    }

    /// Passes a point. A dead process stays there for ever.
    #[expect(clippy::panic, reason = "an actor dies by panicking")]
    pub async fn pass(&self) {
        let struck = {
            let mut state = self.0.0.lock();
            match &mut state.doomed {
                Some((_, points)) if *points > 0 => {
                    *points -= 1;
                    None
                }
                Some((death, _)) => {
                    let death = *death;
                    state.doomed = None;
                    state.is_dead |= death == Death::Process;
                    Some(death)
                }
                None => None,
            }
        };
        match struck {
            Some(Death::Process) => self.0.1.notify_one(),
            Some(Death::Actor) => panic!("an actor was told to die"),
            None => {}
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.0.lock().is_dead
    }

    /// Waits for the end of the process.
    pub async fn ended(&self) {
        while !self.is_dead() {
            self.0.1.notified().await;
        }
    }
}
