//! Faults that any method of a port can have, by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;

use crate::life::Life;

/// The names of a port's methods that are to fail, and how.
#[derive(Default)]
pub struct Calls {
    plans: Mutex<Plans>,
    life: Life,
}

#[derive(Default)]
struct Plans {
    panics: BTreeMap<&'static str, u32>,
    failing: BTreeSet<&'static str>,
    silent: BTreeSet<&'static str>,
    delays: BTreeMap<&'static str, Duration>,
    late: BTreeMap<&'static str, Duration>,
    made: BTreeMap<&'static str, u32>,
    /// What fails or is silent and has met nobody yet.
    fresh: BTreeSet<&'static str>,
}

impl Calls {
    /// The calls of a process that lives this life.
    #[must_use]
    pub fn of(life: Life) -> Self {
        Self { life, ..Self::default() }
    }

    /// The next `times` calls of a method panic.
    pub fn panic(&self, method: &'static str, times: u32) {
        self.plans.lock().panics.insert(method, times);
    }

    /// A method answers with an error from now on, or no longer.
    pub fn fail(&self, method: &'static str, fails: bool) {
        let plans = &mut *self.plans.lock();
        set(&mut plans.failing, method, fails);
        set(&mut plans.fresh, method, fails);
    }

    /// A method never answers from now on, or does again.
    pub fn silence(&self, method: &'static str, silent: bool) {
        let plans = &mut *self.plans.lock();
        set(&mut plans.silent, method, silent);
        set(&mut plans.fresh, method, silent);
    }

    /// A method takes so long from now on.
    pub fn delay(&self, method: &'static str, delay: Duration) {
        self.plans.lock().delays.insert(method, delay);
    }

    /// Whether a method answers with an error now.
    #[must_use]
    pub fn fails(&self, method: &'static str) -> bool {
        self.plans.lock().failing.contains(method)
    }

    /// From now on a method's answer is so old when it comes.
    pub fn answer_late(&self, method: &'static str, delay: Duration) {
        self.plans.lock().late.insert(method, delay);
    }

    /// Whether a method never answers now.
    #[must_use]
    pub fn is_silent(&self, method: &'static str) -> bool {
        self.plans.lock().silent.contains(method)
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        let mut plans = self.plans.lock();
        plans.panics.clear();
        plans.failing.clear();
        plans.silent.clear();
        plans.fresh.clear();
    }

    /// Whether no method fails or is silent.
    #[must_use]
    pub fn are_well(&self) -> bool {
        let plans = self.plans.lock();
        plans.failing.is_empty() && plans.silent.is_empty()
    }

    /// A method is about to be called: where it fails, the fault has met somebody.
    pub fn meet(&self, method: &'static str) {
        let met = self.plans.lock().fresh.remove(method);
        if met {
            self.life.meet(method);
        }
    }

    /// How often a method was called.
    #[must_use]
    pub fn made(&self, method: &'static str) -> u32 {
        self.plans.lock().made.get(method).copied().unwrap_or(0)
    }

    /// How often panics that were asked for are still to come.
    #[must_use]
    pub fn panics_left(&self, method: &'static str) -> u32 {
        self.plans.lock().panics.get(method).copied().unwrap_or(0)
    }

    /// A method is called; the answer is whether it has to fail.
    pub async fn enter(&self, method: &'static str) -> bool {
        let (panics, delay, silent) = {
            let mut plans = self.plans.lock();
            *plans.made.entry(method).or_default() += 1;
            let left = plans.panics.get(method).copied().unwrap_or(0);
            if left > 0 {
                plans.panics.insert(method, left - 1);
            }
            (left > 0, plans.delays.get(method).copied(), plans.silent.contains(method))
        };
        assert!(!panics, "{method} was told to panic");
        self.meet(method);
        self.life.pass().await;
        if silent {
            std::future::pending::<()>().await;
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
            self.life.pass().await;
        }
        self.fails(method)
    }

    /// What a method does is done, and its answer is on its way.
    pub async fn leave(&self) {
        self.life.pass().await;
    }

    /// What a question asked was read, and is old if so planned.
    pub async fn age(&self, method: &'static str) {
        let late = self.plans.lock().late.get(method).copied();
        if let Some(late) = late {
            tokio::time::sleep(late).await;
        }
    }
}

fn set(names: &mut BTreeSet<&'static str>, name: &'static str, present: bool) {
    if present {
        names.insert(name);
    } else {
        names.remove(name);
    }
}
