//! The switchboard that the programs of a stack share, in Redis.

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
pub mod init;
pub mod redis;
