//! What goes wrong at the venue on purpose, as one description: a file at the start, a PUT while it runs.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tranche_actors::market::faults::{Dice, EventFault, Faults, PerMille, RequestFault};

/// Longest time that a fault may take, in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// Everything that may go wrong; nothing by default. Times are the venue's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VenueFaults {
    /// What chance decides, request by request and event by event. A request that is lost on its way, or whose answer is,
    /// has its connection cut.
    pub chance: Faults,
    /// The faults of the next orders, replacements and cancels, one each, before chance has a say.
    pub next: VecDeque<Planned>,
    /// How long a connection is silent before it is cut.
    pub silence_ms: u64,
    /// A request that is lost on its way arrives all the same, so much later; 0: never.
    pub arrives_after_ms: u64,
    /// The status of what is answered by a 5xx: 500 to 599, 0 is 504.
    pub error_status: u16,
    /// Every request is answered 429.
    pub busy: bool,
    /// A cancel stays pending for ever.
    pub cancels_stick: bool,
    /// An order that is being replaced is filled first.
    pub replaces_lose: bool,
    /// The stream takes no connections, and those that it had are cut.
    pub stream_down: bool,
    /// An event of a trade lacks its execution id.
    pub no_execution_id_per_mille: PerMille,
    /// An event is dated a minute before its time.
    pub stale_timestamp_per_mille: PerMille,
    /// An order is shown with a status that nobody knows.
    pub unknown_status_per_mille: PerMille,
    /// Times are spelt with this offset instead of `Z`, in minutes, such as -240.
    pub offset_minutes: i32,
    /// Keys that are no longer good.
    pub revoked: BTreeSet<String>,
    /// What a revoked key is answered: 401 or 403; 0 is 401.
    pub revoked_status: u16,
}

/// The fault of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The fault.
    pub fault: Word,
    /// By how much its answer is late, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// When a lost request arrives all the same, in milliseconds; 0: never.
    #[serde(default)]
    pub arrives_after_ms: u64,
}

/// The faults of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// None.
    None,
    /// 429.
    Busy,
    /// Lost on its way; the connection is cut.
    CutBefore,
    /// 5xx, not taken.
    ErrorBefore,
    /// Taken; the connection is cut.
    CutAfter,
    /// Taken, and answered by a 5xx.
    ErrorAfter,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strike {
    pub(super) fault: RequestFault,
    pub(super) delay: Duration,
    /// When a lost request arrives all the same.
    pub(super) arrives_after: Option<TimeDelta>,
}

/// What happens to one event.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventStrike {
    pub(super) fault: EventFault,
    pub(super) no_execution_id: bool,
    pub(super) stale: bool,
}

/// The faults with their dice.
pub(super) struct Mischief {
    faults: VenueFaults,
    dice: Dice,
    details: ChaCha8Rng,
    seed: u64,
    thrown: u64,
}

impl VenueFaults {
    /// What is wrong with it.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let times = [
            self.silence_ms,
            self.arrives_after_ms,
            self.chance.delay_ms,
            self.chance.busy_retry_after_ms,
            self.chance.cancel_pending_ms,
            self.chance.replace_pending_ms,
        ];
        let planned = self.next.iter().flat_map(|planned| [planned.delay_ms, planned.arrives_after_ms]);
        if times.into_iter().chain(planned).any(|time| time > DAY_MS) {
            return Err(format!("no time may be longer than {DAY_MS} ms"));
        }
        if !matches!(self.error_status, 0 | 500..=599) {
            return Err("error_status must be from 500 to 599".to_owned());
        }
        if !matches!(self.revoked_status, 0 | 401 | 403) {
            return Err("revoked_status must be 401 or 403".to_owned());
        }
        if self.offset_minutes.abs() >= 24 * 60 {
            return Err("offset_minutes must be less than a day".to_owned());
        }
        Ok(())
    }
}

impl Mischief {
    /// `from` is something that grows, so that a restart doesn't throw what the start before it threw.
    pub(super) fn new(faults: VenueFaults, seed: u64, from: u64) -> Self {
        let dice = Dice::new(faults.chance.clone(), seed, from);
        let details = ChaCha8Rng::from_seed(Sha256::digest(format!("details|{seed}|{from}")).into());
        Self { faults, dice, details, seed, thrown: from }
    }

    pub(super) const fn faults(&self) -> &VenueFaults {
        &self.faults
    }

    /// Other faults from now on.
    pub(super) fn set(&mut self, faults: VenueFaults) {
        *self = Self::new(faults, self.seed, self.thrown.wrapping_add(1));
    }

    pub(super) fn request(&mut self) -> Strike {
        let late = |ms: u64| (ms > 0).then(|| span(ms));
        if let Some(planned) = self.faults.next.pop_front() {
            let fault = match planned.fault {
                Word::None => RequestFault::None,
                Word::Busy => RequestFault::Busy { retry_after: None },
                Word::CutBefore => RequestFault::TimeoutBefore,
                Word::ErrorBefore => RequestFault::ErrorBefore,
                Word::CutAfter => RequestFault::TimeoutAfter,
                Word::ErrorAfter => RequestFault::ErrorAfter,
            };
            let delay = Duration::from_millis(planned.delay_ms);
            return Strike { fault, delay, arrives_after: late(planned.arrives_after_ms) };
        }
        let (fault, delay) = self.dice.request();
        Strike { fault, delay, arrives_after: late(self.faults.arrives_after_ms) }
    }

    pub(super) fn lookup_fails(&mut self) -> bool {
        self.dice.lookup_fails()
    }

    pub(super) fn event(&mut self) -> EventStrike {
        let (no_id, stale) = (self.faults.no_execution_id_per_mille, self.faults.stale_timestamp_per_mille);
        EventStrike { fault: self.dice.event(), no_execution_id: self.strikes(no_id), stale: self.strikes(stale) }
    }

    pub(super) fn status_is_unknown(&mut self) -> bool {
        self.strikes(self.faults.unknown_status_per_mille)
    }

    fn strikes(&mut self, probability: PerMille) -> bool {
        probability.strikes(self.details.next_u64())
    }

    /// When a cancel that is asked for now is confirmed.
    pub(super) fn cancel_confirmed(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.faults.cancels_stick {
            DateTime::<Utc>::MAX_UTC
        } else {
            now + span(self.faults.chance.cancel_pending_ms)
        }
    }

    /// When a replacement that is asked for now takes its place.
    pub(super) fn replace_takes(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let pending = self.faults.chance.replace_pending_ms;
        // What is to lose needs some time to do so.
        now + span(if self.faults.replaces_lose { pending.max(1) } else { pending })
    }

    pub(super) fn error_status(&self) -> u16 {
        if self.faults.error_status == 0 { 504 } else { self.faults.error_status }
    }
}

fn span(ms: u64) -> TimeDelta {
    TimeDelta::try_milliseconds(i64::try_from(ms).unwrap_or(i64::MAX)).unwrap_or(TimeDelta::MAX)
}
