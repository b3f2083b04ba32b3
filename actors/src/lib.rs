//! The actors of `tranche` and the rules they work by, without any I/O of their own.
//!
//! What the actors need from the world is a trait in [`ports`]; the edges of the root package implement them.

pub mod commands;
pub mod domain;
pub mod gate;
pub mod health;
pub mod kill_switch;
pub mod ports;
mod sync;
