//! The connector against a server that misbehaves byte by byte.

mod orders;
mod reads;
mod scripted;
