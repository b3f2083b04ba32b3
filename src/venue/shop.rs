//! All that a request meets: keys, rates, the desk, the streams, the clock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tranche_actors::market::faults::RequestFault;

use super::clock::ScaledClock;
use super::desk::{Act, Caller, Desk, Reply, Told};
use super::hub::Hub;
use super::journal::JournalError;
use super::rates::Rates;
use super::refusal::Refusal;

/// A key, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) secret: String,
    pub(super) account: String,
}

/// The venue as its handlers see it. Whoever locks more than one of its parts locks them in the order of these fields.
pub(super) struct Shop {
    pub(super) clock: ScaledClock,
    pub(super) keys: BTreeMap<String, Key>,
    pub(super) desk: Mutex<Desk>,
    pub(super) hub: Mutex<Hub>,
    pub(super) rates: Mutex<Rates>,
    pub(super) latency: Duration,
    pub(super) text_frames: bool,
    /// What makes it impossible to go on, once something does.
    pub(super) broken: watch::Sender<Option<String>>,
}

/// How a request ends.
pub(super) enum Ending {
    Answered(u16, Option<Value>),
    Refused(Refusal),
    /// Not at all: the connection is cut.
    Cut,
}

impl Shop {
    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has this key, and whether it is good.
    pub(super) fn caller(&self, id: &str, secret: &str) -> Result<Caller, Refusal> {
        let key = self.keys.get(id).filter(|key| key.secret == secret);
        let key = key.ok_or_else(|| Refusal::unauthorised(401))?;
        let desk = self.desk();
        let faults = desk.mischief.faults();
        if faults.revoked.contains(id) {
            return Err(Refusal::unauthorised(faults.revoked_status));
        }
        Ok(Caller { account: key.account.clone(), key: id.to_owned() })
    }

    /// Waits so much of the venue's time.
    pub(super) async fn pause(&self, time: Duration) {
        let real = self.clock.real(time);
        if !real.is_zero() {
            tokio::time::sleep(real).await;
        }
    }

    /// Takes an act as its fault wants it.
    pub(super) async fn act(&self, caller: &Caller, act: Act) -> Ending {
        let (ending, delay) = match self.act_now(caller, act) {
            Ok(acted) => acted,
            Err(error) => {
                self.broken.send_replace(Some(super::full(&error)));
                return Ending::Cut;
            }
        };
        self.pause(delay).await;
        ending
    }

    fn act_now(&self, caller: &Caller, act: Act) -> Result<(Ending, Duration), JournalError> {
        let now = self.clock.now();
        let mut desk = self.desk();
        let strike = desk.mischief.request();
        let error_status = desk.mischief.error_status();
        let silence = Duration::from_millis(desk.mischief.faults().silence_ms);
        let in_time = self.latency + strike.delay;
        let take = |desk: &mut Desk, fault: Option<&str>| {
            let (result, told) = desk.act(caller, act.clone(), fault, now)?;
            self.tell(desk, vec![told]);
            Ok::<_, JournalError>(result)
        };
        let busy = || (Ending::Refused(Refusal::busy()), in_time);
        let broken = || (Ending::Refused(Refusal::broken(error_status)), in_time);
        Ok(match strike.fault {
            RequestFault::None => (Ending::of(take(&mut desk, None)?), in_time),
            RequestFault::Busy { .. } => {
                desk.not_taken(caller, act, ("busy", Some(429)), None, now)?;
                busy()
            }
            RequestFault::TimeoutBefore => {
                desk.not_taken(caller, act, ("cut_before", None), strike.arrives_after, now)?;
                (Ending::Cut, silence)
            }
            RequestFault::ErrorBefore => {
                desk.not_taken(caller, act, ("error_before", Some(error_status)), None, now)?;
                broken()
            }
            RequestFault::TimeoutAfter => {
                drop(take(&mut desk, Some("cut_after"))?);
                (Ending::Cut, silence)
            }
            RequestFault::ErrorAfter => {
                drop(take(&mut desk, Some("error_after"))?);
                broken()
            }
        })
    }

    /// Lets the market move. The venue can't go on when its journal can't be written.
    pub(super) fn tick(&self) {
        let mut desk = self.desk();
        match desk.tick(self.clock.now()) {
            Ok(told) => {
                self.tell(&mut desk, told);
                self.hub().release_all();
            }
            Err(error) => drop(self.broken.send_replace(Some(super::full(&error)))),
        }
    }

    /// Tells what happened to whoever listens.
    pub(super) fn tell(&self, desk: &mut Desk, told: Vec<Told>) {
        let now = self.clock.now();
        let mut hub = self.hub();
        for Told { account, happenings } in told {
            let Desk { accounts, mischief, .. } = desk;
            if let Some(account) = accounts.get(&account) {
                hub.tell(account, happenings, mischief, now);
            }
        }
    }
}

impl Ending {
    pub(super) fn of(result: Result<Reply, Refusal>) -> Self {
        match result {
            Ok(Reply { status, body }) => Self::Answered(status, body),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}
