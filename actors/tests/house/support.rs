//! What a house stands on in these tests, and what is asked of it in them.

pub(crate) mod audit;
pub(crate) mod orders;
pub(crate) mod rig;
