//! The whole program from outside: the built binary, its HTTP interface, its command line, its files.
//!
//! Every test starts its own server in a folder of its own, on a port that the system picks, and ends it whatever
//! happens. What a test waits for it asks for until it is there, and gives up after a bound.
//!
//! The usual run takes short forms. By variables they grow: `OUTSIDE_KILLS` (4) and
//! `OUTSIDE_POSTGRES_KILLS` (3; see `scripts/crash` for both), `OUTSIDE_SLICES`
//! due at one instant (2,000), `OUTSIDE_PACED` slices under a rate limit (60), `OUTSIDE_ORDERS` without an
//! acknowledgement (1,000); at the double of Alpaca `OUTSIDE_LOST` orders without one (100), `OUTSIDE_PARENTS` at work while
//! it is killed (100), `OUTSIDE_STORM` slices in a storm of 429 (20); with two instances `OUTSIDE_TAKEOVERS` (2),
//! `OUTSIDE_FREEZES` (1), `OUTSIDE_CANCELS` (20), `OUTSIDE_ENGAGES` (2). `OUTSIDE_SEED` repeats the chances of a run that failed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "a test that can't go on has to stop, and this one runs on the system's own clock"
)]

mod chance;
mod house;
mod report;

mod alpaca;
mod crash;
mod described;
mod double;
mod doubt;
mod ending;
mod hand;
mod keys;
mod limits;
mod load;
mod migrating;
mod order_of_things;
mod postgres;
mod refusals;
mod replayed;
mod simulated;
mod stop;
mod store_down;
mod switchboard;
mod tls;
mod tour;
