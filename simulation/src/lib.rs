//! The whole gateway on virtual time: the real supervisor and actors over a store and a venue in memory.
//!
//! Nothing here reads a clock, a file or chance of the machine's: one seed decides everything.

pub mod calls;
pub mod changes;
pub mod clock;
pub mod controls;
pub mod faults;
pub mod invariants;
pub mod life;
pub mod log;
pub mod requests;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod store;
pub mod switchboard;
pub mod tape;
pub mod venue;

mod panics;
mod watch;

pub use watch::Violation;
