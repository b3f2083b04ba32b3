//! x

pub mod brokers;
