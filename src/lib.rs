//! `tranche`: an execution gateway, its edges around the actors of `tranche-actors`.

pub mod brokers;
pub mod cli;
pub mod clock;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod http;
mod keys;
pub mod settings;
pub mod startup;
pub mod storage;
pub mod switchboard;
pub mod telemetry;
pub mod tls;
pub mod venue;
