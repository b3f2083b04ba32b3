//! The stores: where state is kept, under which durability, and how a schema comes into being.
//!
//! One [`registry`] names each store; nothing else opens one. The rules of what may be written are not here but in
//! [`tranche_actors::domain::ledger`]: a store loads, lets them decide, and saves.

mod cells;
mod columns;
mod load;
pub mod lock;
pub mod migrations;
pub mod postgres;
pub mod profiles;
pub mod registry;
mod rows;
pub mod sqlite;
pub mod upkeep;

#[cfg(test)]
mod conformance;
