//! The rules that the actors work by: pure functions and the types that they speak of.

pub mod fault;
pub mod ids;
pub mod money;
pub mod names;
pub mod plan;
pub mod policy;
pub mod status;
pub mod terms;
pub mod text;
pub mod venue;
