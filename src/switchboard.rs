//! The switchboard that the programs of a stack share, in Redis.

pub mod init;
pub mod redis;
