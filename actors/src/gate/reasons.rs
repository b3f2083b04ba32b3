//! Why the gate is shut.

use crate::domain::status::OwnEnd;
use crate::domain::text::words;

words!(
    /// Why the gate is shut; the codes of `reasons` and of 503 answers.
    ShutReason {
        /// An operator stopped trading.
        KillSwitchEngaged = "kill_switch_engaged",
        /// The breaker tripped.
        CircuitBreakerTripped = "circuit_breaker_tripped",
        /// The breaker was reset a moment ago.
        CircuitBreakerQuiet = "circuit_breaker_quiet",
        /// The kill switch could not be read lately.
        KillSwitchUnknown = "kill_switch_unknown",
        /// The breaker could not be read.
        CircuitBreakerUnknown = "circuit_breaker_unknown",
        /// Start-up or recovery has not ended.
        Starting = "starting",
        /// The process is shutting down.
        Draining = "draining",
        /// Another instance owns the account, or our lease on it is over.
        NotOwner = "not_owner",
        /// The wall clock was set, and is not known to be right.
        ClockUnsure = "clock_unsure",
        /// The store does not commit.
        StoreUnavailable = "store_unavailable",
        /// The broker can't be reached, or its books were not compared with ours yet.
        BrokerUnavailable = "broker_unavailable",
        /// The broker refuses our key.
        BrokerUnauthorised = "broker_unauthorised",
    }
);

impl ShutReason {
    pub(super) const fn bit(self) -> u32 {
        match self {
            Self::KillSwitchEngaged => 1,
            Self::CircuitBreakerTripped => 1 << 1,
            Self::CircuitBreakerQuiet => 1 << 2,
            Self::KillSwitchUnknown => 1 << 3,
            Self::CircuitBreakerUnknown => 1 << 4,
            Self::Starting => 1 << 5,
            Self::Draining => 1 << 6,
            Self::StoreUnavailable => 1 << 7,
            Self::BrokerUnavailable => 1 << 8,
            Self::BrokerUnauthorised => 1 << 9,
            Self::NotOwner => 1 << 10,
            Self::ClockUnsure => 1 << 11,
        }
    }

    /// Whether orders pass all the same that reduce a position.
    #[must_use]
    pub const fn lets_exits_pass(self) -> bool {
        match self {
            Self::CircuitBreakerQuiet => true,
            Self::KillSwitchEngaged
            | Self::CircuitBreakerTripped
            | Self::KillSwitchUnknown
            | Self::CircuitBreakerUnknown
            | Self::Starting
            | Self::Draining
            | Self::NotOwner
            | Self::ClockUnsure
            | Self::StoreUnavailable
            | Self::BrokerUnavailable
            | Self::BrokerUnauthorised => false,
        }
    }

    /// Whether an order passes all the same that closes a position for the kill switch. A person has said that it should go,
    /// and nothing that stops trading stands against that; what makes it impossible or unsafe does.
    pub(super) const fn lets_flatten_pass(self) -> bool {
        match self {
            Self::KillSwitchEngaged
            | Self::KillSwitchUnknown
            | Self::CircuitBreakerTripped
            | Self::CircuitBreakerQuiet
            | Self::CircuitBreakerUnknown => true,
            Self::Starting
            | Self::Draining
            | Self::NotOwner
            | Self::ClockUnsure
            | Self::StoreUnavailable
            | Self::BrokerUnavailable
            | Self::BrokerUnauthorised => false,
        }
    }

    /// How a due slice ends that meets this reason: somebody stopped trading. `None`: something is merely unknown, and
    /// the slice waits up to its grace.
    #[must_use]
    pub const fn ends_slice(self) -> Option<OwnEnd> {
        match self {
            Self::KillSwitchEngaged => Some(OwnEnd::BlockedKillSwitch),
            Self::CircuitBreakerTripped | Self::CircuitBreakerQuiet => Some(OwnEnd::BlockedCircuitBreaker),
            Self::KillSwitchUnknown
            | Self::CircuitBreakerUnknown
            | Self::Starting
            | Self::Draining
            | Self::NotOwner
            | Self::ClockUnsure
            | Self::StoreUnavailable
            | Self::BrokerUnavailable
            | Self::BrokerUnauthorised => None,
        }
    }
}
