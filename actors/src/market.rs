//! The one matching engine: a book with a broker's rules, filled from quotes. It does no I/O and reads no clock, so the
//! paper broker, a served double and a simulation are thin skins around the same behaviour.

pub mod book;
pub mod engine;
pub mod faults;
pub mod fills;
pub mod quotes;
pub mod replay;
pub mod session;
pub mod sized_quote;
pub mod spelling;
pub mod stops;
pub mod walk;
