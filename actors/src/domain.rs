//! The rules that the actors work by: pure functions and the types that they speak of.

pub mod breaker;
pub mod calendar;
pub mod chain;
pub mod clock;
pub mod fault;
pub mod fills;
pub mod ids;
pub mod kill;
pub mod ledger;
pub mod liquidity;
pub mod money;
pub mod names;
pub mod nyse;
pub mod order;
pub mod parent;
pub mod plan;
pub mod policy;
pub mod position;
pub mod reconciliation;
pub mod request;
pub mod status;
pub mod switchboard;
pub mod terms;
pub mod text;
pub mod trading_day;
pub mod venue;
