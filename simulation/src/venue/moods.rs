//! What a venue is like for a while, whatever is asked of it.

use std::time::Duration;

use tranche_actors::ports::VenueError;

/// What a venue is like now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moods {
    /// It answers 429 until then, on the clock that counts suspended time, and says so or not.
    busy: Option<(Duration, bool)>,
    /// It refuses our key.
    refuses_key: bool,
    /// The busy time, or the refusal, has met nobody yet.
    fresh: bool,
}

impl Moods {
    pub(super) const fn be_busy(&mut self, until: Duration, names_it: bool) {
        (self.busy, self.fresh) = (Some((until, names_it)), true);
    }

    pub(super) const fn refuse_key(&mut self, refuses: bool) {
        (self.refuses_key, self.fresh) = (refuses, refuses);
    }

    /// Why whoever asks now is sent away.
    pub(super) fn meet(&self, now: Duration) -> Option<VenueError> {
        if self.refuses_key {
            return Some(VenueError::Unauthorised { detail: "forbidden".to_owned() });
        }
        let (until, names_it) = self.busy.filter(|(until, _)| now < *until)?;
        Some(VenueError::NotNow { retry_after: names_it.then(|| until - now) })
    }

    /// Whether it meets somebody for the first time.
    pub(super) const fn strikes(&mut self) -> bool {
        std::mem::replace(&mut self.fresh, false)
    }

    /// Whether nobody is sent away.
    pub(super) fn are_good(&self, now: Duration) -> bool {
        self.meet(now).is_none()
    }
}
