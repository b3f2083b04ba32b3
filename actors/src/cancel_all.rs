//! The order to cancel everything: from the kill switch and the breaker to the broker.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use crate::domain::names::OrderId;
use crate::doubt::Doubtful;
use crate::gate::InFlight;
use crate::health::{AccountHealth, Standing};
use crate::line::{Line, Unanswered};

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

/// How the switches reach one account of this process.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) in_flight: InFlight,
    pub(crate) doubtful: Doubtful,
    pub(crate) cancel: Line<CancelEverything>,
    pub(crate) health: AccountHealth,
}

/// How the switches reach every account of this process.
#[derive(Clone)]
pub(crate) struct Everywhere(Arc<[Reach]>);

impl Everywhere {
    pub(crate) fn new(accounts: impl IntoIterator<Item = Reach>) -> Self {
        Self(accounts.into_iter().collect())
    }

    /// Whether no send is in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        self.0.iter().all(|account| account.in_flight.is_empty())
    }

    /// The orders in flight. Shut the gate *before* this.
    pub(crate) fn in_flight(&self) -> Vec<OrderId> {
        self.0.iter().flat_map(|account| account.in_flight.ids()).collect()
    }

    /// Cuts off every send in flight.
    pub(crate) fn cut_all(&self) {
        self.0.iter().for_each(|account| account.in_flight.cut_all());
    }

    /// The orders of unknown outcome.
    pub(crate) fn doubtful(&self) -> Vec<OrderId> {
        self.0.iter().flat_map(|account| account.doubtful.ids()).collect()
    }

    /// Cancels everything at once in every account that is this instance's, and counts it together. What another instance
    /// owns it cancels itself.
    ///
    /// # Errors
    /// When no account answers. Where one of several doesn't, that counts as a failure.
    pub(crate) async fn cancel(&self, everything: CancelEverything) -> Result<CancelTally, Unanswered> {
        let ours = self.0.iter().filter(|account| !matches!(account.health.standing(), Standing::Standby { .. }));
        let asked = ours.map(|account| account.cancel.ask(everything.clone()));
        let answers = futures_util::future::join_all(asked).await;
        if !answers.is_empty() && answers.iter().all(Result::is_err) {
            return Err(Unanswered);
        }
        Ok(answers.into_iter().fold(CancelTally::default(), |sum, answer| {
            let one = answer.unwrap_or(CancelTally { failed: 1, ..CancelTally::default() });
            CancelTally {
                requested: sum.requested + one.requested,
                confirmed: sum.confirmed + one.confirmed,
                failed: sum.failed + one.failed,
            }
        }))
    }
}
