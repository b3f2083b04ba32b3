//! What a venue is like for a while, whatever is asked of it.

use std::time::Duration;

use tranche_actors::domain::venue::VenueEvent;
use tranche_actors::ports::{Clock, VenueError};

use super::EngineVenue;
use crate::tape::Step;

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

impl EngineVenue {
    /// Whatever is asked is answered 429 for so long, with the time to wait or without it.
    pub fn be_busy(&self, lasts: Duration, names_it: bool) {
        let until = self.clock.boottime() + lasts;
        self.desk.lock().moods.be_busy(until, names_it);
    }

    /// Our key is refused from now on, or no longer.
    pub fn refuse_key(&self, refuses: bool) {
        self.desk.lock().moods.refuse_key(refuses);
    }

    /// No event gets through from now on; or they do again, and the stream says that some may be missing.
    pub fn mute(&self, muted: bool) {
        if muted {
            self.streams.mute();
        } else if self.streams.unmute() {
            self.tape.note(&Step::Event(&VenueEvent::Gap));
        }
    }

    /// Whether nothing is wrong with it for a while; what strikes once is not looked at.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let now = self.clock.boottime();
        self.calls.are_well() && !self.streams.is_muted() && self.desk.lock().moods.are_good(now)
    }

    /// Why whoever asks now is sent away.
    pub(super) fn mood(&self) -> Option<VenueError> {
        let now = self.clock.boottime();
        let (mood, strikes) = {
            let mut desk = self.desk.lock();
            let mood = desk.moods.meet(now);
            let strikes = mood.is_some() && desk.moods.strikes();
            (mood, strikes)
        };
        if strikes {
            self.tape.strike("the venue sends us away");
        }
        mood
    }
}
