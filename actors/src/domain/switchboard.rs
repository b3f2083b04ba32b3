//! The switches as the programs of a stack share them: two JSON values with their histories, written by others too.
//!
//! What others wrote is edited, never made anew: a field that we don't know stays where it is, byte for byte.

pub mod breaker;
pub mod kill;
mod object;

pub use object::Object;

/// What a key of the board says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<S> {
    /// There is no such key.
    Missing,
    /// It is not what it should be; why, for a person.
    Unreadable(&'static str),
    /// It can be read.
    Is(S),
}

impl<S> Told<S> {
    /// What it says, if it says anything.
    pub const fn known(&self) -> Option<&S> {
        match self {
            Self::Is(state) => Some(state),
            Self::Missing | Self::Unreadable(_) => None,
        }
    }

    /// Why it says nothing; `None` where it does.
    #[must_use]
    pub const fn doubt(&self) -> Option<&'static str> {
        match self {
            Self::Is(_) => None,
            Self::Missing => Some("its key is missing in Redis"),
            Self::Unreadable(why) => Some(why),
        }
    }
}
