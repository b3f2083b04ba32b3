//! The configuration: read in layers, checked whole, and from then on typed.
//!
//! `config/base.toml` says what each setting means. Nothing else in the server reads a variable or a file of settings, but for `RUST_LOG`.

mod alpaca;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod layers;
pub(crate) mod paper;
mod raw;
mod read;
mod reader;
mod sections;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use tranche_actors::domain::ids::DEFAULT_NAME;
use tranche_actors::domain::names::{AccountName, Symbol};
use tranche_actors::domain::terms::Instrument;

pub use layers::Inputs;
pub use sections::{
    Actors, Alpaca, Auth, AuthMode, Breaker, Broker, BrokerErrors, BrokerKind, Calendar, CalendarKind, Execution, Gate,
    Http, KillSwitch, Lease, Log, LogFormat, OpenOrders, Paper, Persistence, Redis, Storage, StorePlace,
};

/// All settings, each within its bounds and fitting the others.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which environment they are for: `local`, `production` or another that has a file.
    pub environment: String,
    /// What the server listens on, and what it bears.
    pub http: Http,
    /// Who may.
    pub auth: Auth,
    /// The stores.
    pub storage: Storage,
    /// The one write path.
    pub persistence: Persistence,
    /// Bounds of actors.
    pub actors: Actors,
    /// The broker of the account `default`.
    pub broker: Broker,
    /// More accounts, each with a broker of its own.
    pub accounts: BTreeMap<AccountName, Broker>,
    /// How accounts are leased.
    pub lease: Lease,
    /// When the market is open.
    pub calendar: Calendar,
    /// What is known of instruments; [`Settings::instrument`] also knows the others.
    pub instruments: BTreeMap<Symbol, Instrument>,
    /// How orders are worked.
    pub execution: Execution,
    /// The switchboard that other programs share.
    pub redis: Redis,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// The circuit breaker.
    pub breaker: Breaker,
    /// The gate.
    pub gate: Gate,
    /// Logs.
    pub log: Log,
    /// What is allowed and unwise, for the log and for `config check`.
    pub warnings: Vec<String>,
    shown: Vec<Shown>,
}

impl Settings {
    /// Reads all layers and checks them.
    ///
    /// # Errors
    /// Every fault of every layer at once.
    pub fn load(inputs: &Inputs) -> Result<Self, SettingsError> {
        let (found, faults) = layers::overlay(inputs);
        read::settings(inputs.environment(), reader::Reader::new(found, faults))
            .map_err(|faults| SettingsError { faults })
    }

    /// Every account by its name, with its broker; `default` comes first.
    pub fn brokers(&self) -> impl Iterator<Item = (&str, &Broker)> {
        let others = self.accounts.iter().map(|(account, broker)| (account.as_str(), broker));
        std::iter::once((DEFAULT_NAME, &self.broker)).chain(others)
    }

    /// How an instrument is counted and priced.
    #[must_use]
    pub fn instrument(&self, symbol: &Symbol) -> Instrument {
        self.instruments.get(symbol).copied().unwrap_or_else(Instrument::usual)
    }

    /// Every setting with its value and where that comes from, secrets masked.
    #[must_use]
    pub fn masked(&self) -> &[Shown] {
        &self.shown
    }
}

/// One setting as `config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The key, with dots.
    pub key: String,
    /// Its variable, where it has one.
    pub variable: Option<String>,
    /// Its value; a secret is masked.
    pub value: serde_json::Value,
    /// Where it was set: `default`, a file, `variable` or `command line`.
    pub from: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The key, with dots; none where it is about a whole layer.
    pub key: Option<String>,
    /// The key's variable, where it has one.
    pub variable: Option<String>,
    /// The rule, and what was there instead.
    pub message: String,
    /// Where it was set.
    pub from: Option<String>,
}

impl Fault {
    fn general(message: String) -> Self {
        Self { key: None, variable: None, message, from: None }
    }

    fn at(key: &layers::Key, message: String, origin: Option<&layers::Origin>) -> Self {
        Self { key: Some(key.to_string()), variable: key.variable(), message, from: origin.map(ToString::to_string) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "{key} ")?;
        }
        if let Some(variable) = &self.variable {
            write!(f, "({variable}) ")?;
        }
        f.write_str(&self.message)?;
        match &self.from {
            Some(from) => write!(f, " ({from})"),
            None => Ok(()),
        }
    }
}

/// Why there are no settings. The program must not start; each fault says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// All of it.
    pub faults: Vec<Fault>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => f.write_str("the configuration has a fault:")?,
            n => write!(f, "the configuration has {n} faults:")?,
        }
        for fault in &self.faults {
            write!(f, "\n  - {fault}")?;
        }
        Ok(())
    }
}
