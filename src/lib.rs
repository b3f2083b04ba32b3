//! `tranche`: an execution gateway, its edges around the actors of `tranche-actors`.

pub mod brokers;
pub mod cli;
pub mod settings;
pub mod telemetry;
