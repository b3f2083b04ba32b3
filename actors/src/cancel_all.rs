//! The order to cancel everything: from the kill switch and the breaker to the broker.

use std::time::Duration;

use actix::Message;

use crate::domain::names::OrderId;

/// Cancels everything that is open, from the venue's own list, so that it works without the store; what is ours gets
/// the mark too, and is retried until confirmed.
#[derive(Clone, Debug, Message)]
#[rtype(result = "CancelTally")]
pub(crate) struct CancelEverything {
    /// How long to wait for the venue to confirm.
    pub(crate) within: Duration,
    /// Orders of unknown outcome: they get the mark, and are cancelled when they are found.
    pub(crate) also: Vec<OrderId>,
}

/// What cancelling everything came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, actix::MessageResponse)]
pub(crate) struct CancelTally {
    pub(crate) requested: u32,
    pub(crate) confirmed: u32,
    pub(crate) failed: u32,
}
