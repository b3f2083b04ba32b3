//! Every reader of bytes that others send, as one function each: no bytes may make it panic, or work without end.
//!
//! The fuzzers in `fuzz/` call these with what they grow; the tests call them with each seed of `fuzz/seeds/` and some
//! thousands of mutations of it. None of this is in the program.

pub use crate::brokers::alpaca::hostile::{answers as alpaca_answers, events as alpaca_events};
pub use crate::brokers::paper::hostile::quotes;
pub use crate::cli::hostile_scenario as scenario;
pub use crate::http::hostile::{bodies, headers, queries};
pub use crate::settings::hostile::configuration;
pub use crate::switchboard::hostile::values as switchboard;
pub use crate::venue::hostile::requests as double;

/// What was read is not looked at, and yet no compiler may leave the reading out.
pub(crate) fn done<T>(read: T) {
    drop(std::hint::black_box(read));
}

#[cfg(test)]
mod tests;
