//! The actors of `tranche` and the rules they work by, without any I/O of their own.
//!
//! What the actors need from the world is a trait in `ports`; the edges of the root package implement them.

pub mod domain;
pub mod market;
pub mod ports;
