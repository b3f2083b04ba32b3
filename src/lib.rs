//! `tranche`: an execution gateway, its edges around the actors of `tranche-actors`.

pub mod http;
