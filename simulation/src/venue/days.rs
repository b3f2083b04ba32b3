//! When the venue trades, and what traded there before: always and nothing, where a test says no more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use parking_lot::Mutex;
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::venue::{DailyBar, VenueClock, VenueSession};

/// The venue's sessions and daily bars.
#[derive(Default)]
pub struct Days {
    sessions: Mutex<Option<Vec<VenueSession>>>,
    bars: Mutex<BTreeMap<Symbol, Vec<DailyBar>>>,
    /// By how many milliseconds its clock is ahead of the machine's.
    ahead: AtomicI64,
}

impl Days {
    /// From now on the venue trades in these sessions, oldest first.
    pub fn trade_in(&self, sessions: Vec<VenueSession>) {
        *self.sessions.lock() = Some(sessions);
    }

    /// From now on its clock is ahead of the machine's by so many milliseconds.
    pub fn run_ahead(&self, millis: i64) {
        self.ahead.store(millis, Ordering::SeqCst);
    }

    /// What a symbol did on its last trading days, oldest first.
    pub fn record(&self, symbol: Symbol, bars: Vec<DailyBar>) {
        self.bars.lock().insert(symbol, bars);
    }

    pub(super) fn clock(&self, at: DateTime<Utc>) -> Option<VenueClock> {
        let at = at + TimeDelta::milliseconds(self.ahead.load(Ordering::SeqCst));
        let sessions = self.sessions.lock();
        let sessions = sessions.as_ref()?;
        let never = at + TimeDelta::days(1_000);
        let next_open = sessions.iter().map(|one| one.opens).find(|opens| *opens > at).unwrap_or(never);
        let next_close = sessions.iter().map(|one| one.closes).find(|closes| *closes > at).unwrap_or(never);
        let is_open = sessions.iter().any(|one| one.opens <= at && at < one.closes);
        Some(VenueClock { at, is_open, next_open, next_close })
    }

    pub(super) fn sessions(&self, first: NaiveDate, last: NaiveDate) -> Vec<VenueSession> {
        let sessions = self.sessions.lock();
        let listed = sessions.iter().flatten().filter(|one| (first..=last).contains(&one.date));
        listed.cloned().collect()
    }

    pub(super) fn bars(&self, symbol: &Symbol, days: u32) -> Vec<DailyBar> {
        let bars = self.bars.lock().get(symbol).cloned().unwrap_or_default();
        let most = usize::try_from(days).unwrap_or(usize::MAX);
        bars.iter().skip(bars.len().saturating_sub(most)).cloned().collect()
    }
}
