//! The actors of `tranche` and the rules they work by, without any I/O of their own.
//!
//! What the actors need from the world is a trait in [`ports`]; the edges of the root package implement them.

pub mod budget;
pub mod commands;
pub mod domain;
pub mod gate;
pub mod health;
pub mod kill_switch;
pub mod market;
pub mod market_hours;
pub mod ports;
pub mod supervisor;
pub mod tuning;

mod account;
mod broker;
mod cancel_all;
mod circuit_breaker;
mod clock_guard;
mod crowd;
mod doubt;
mod line;
mod persistence;
mod portfolio;
mod prices;
mod reconciler;
mod risk_desk;
mod sync;
mod twap_parent;
mod watch;

pub use account::Office;
pub use doubt::Doubtful;
