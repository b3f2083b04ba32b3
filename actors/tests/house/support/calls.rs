//! Faults that any method of a port can have, by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

/// The names of a port's methods that are to fail, and how.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Plans>);

#[derive(Default)]
struct Plans {
    panics: BTreeMap<&'static str, u32>,
    failing: BTreeSet<&'static str>,
    silent: BTreeSet<&'static str>,
    delays: BTreeMap<&'static str, Duration>,
    made: BTreeMap<&'static str, u32>,
}

impl Calls {
    /// The next `times` calls of a method panic.
    pub(crate) fn panic(&self, method: &'static str, times: u32) {
        self.0.lock().unwrap().panics.insert(method, times);
    }

    /// A method answers with an error from now on, or no longer.
    pub(crate) fn fail(&self, method: &'static str, fails: bool) {
        set(&mut self.0.lock().unwrap().failing, method, fails);
    }

    /// A method never answers from now on, or does again.
    pub(crate) fn silence(&self, method: &'static str, silent: bool) {
        set(&mut self.0.lock().unwrap().silent, method, silent);
    }

    /// A method takes so long from now on.
    pub(crate) fn delay(&self, method: &'static str, delay: Duration) {
        self.0.lock().unwrap().delays.insert(method, delay);
    }

    /// How often a method was called.
    pub(crate) fn made(&self, method: &'static str) -> u32 {
        self.0.lock().unwrap().made.get(method).copied().unwrap_or(0)
    }

    /// How often panics that were asked for are still to come.
    pub(crate) fn panics_left(&self, method: &'static str) -> u32 {
        self.0.lock().unwrap().panics.get(method).copied().unwrap_or(0)
    }

    /// A method is called; the answer is whether it has to fail.
    pub(crate) async fn enter(&self, method: &'static str) -> bool {
        let (panics, delay, silent) = {
            let mut plans = self.0.lock().unwrap();
            *plans.made.entry(method).or_default() += 1;
            let left = plans.panics.entry(method).or_default();
            let panics = *left > 0;
            *left = left.saturating_sub(1);
            (panics, plans.delays.get(method).copied(), plans.silent.contains(method))
        };
        assert!(!panics, "{method} was told to panic");
        if silent {
            std::future::pending::<()>().await;
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        self.0.lock().unwrap().failing.contains(method)
    }
}

fn set(names: &mut BTreeSet<&'static str>, name: &'static str, present: bool) {
    if present {
        names.insert(name);
    } else {
        names.remove(name);
    }
}
