//! The brokers that orders can go to, each behind the port that the actors know.

pub mod alpaca;
pub mod paper;
