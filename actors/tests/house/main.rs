//! The whole house: the supervisor and all actors on one arbiter under paused time, over a store and a venue in memory
//! whose faults a test decides.
#![cfg(not(feature = "loom"))]
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has to fail"
)]

mod support;

mod audited;
mod books;
mod breakers;
mod budgets;
mod cancels;
mod crashes;
mod deaths;
mod drains;
mod fills;
mod flattening;
mod guards;
mod jumps;
mod kills;
mod leases;
mod limits;
mod parts;
mod powers;
mod releases;
mod repetitions;
mod replacements;
mod retries;
mod rewinds;
mod seconds;
mod sessions;
mod shared;
mod stale;
mod stopping;
mod troubles;
mod unknowns;
mod volumes;
mod whole;
