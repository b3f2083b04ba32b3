//! The order to cancel everything: from the kill switch and the breaker to the broker, whoever works for the account.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::budget::{Budget, Lane};
use crate::domain::names::{AccountName, BrokerOrderId, OrderId};
use crate::domain::venue::VenueOrder;
use crate::doubt::Doubtful;
use crate::gate::InFlight;
use crate::health::{AccountHealth, Standing};
use crate::line::{Line, Unanswered};
use crate::ports::{CancelError, Venue};

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

impl CancelTally {
    /// Both together.
    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            requested: self.requested.saturating_add(other.requested),
            confirmed: self.confirmed.saturating_add(other.confirmed),
            failed: self.failed.saturating_add(other.failed),
        }
    }
}

/// How the switches reach one account of this process.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) account: AccountName,
    pub(crate) in_flight: InFlight,
    pub(crate) doubtful: Doubtful,
    pub(crate) cancel: Line<CancelEverything>,
    pub(crate) health: AccountHealth,
    pub(crate) venue: Arc<dyn Venue>,
    pub(crate) budget: Budget,
}

impl Reach {
    /// Has everything cancelled by the account's own actor, which marks it too. Where none works for the account, since the
    /// store is away or it is being rebuilt, the venue is asked from here: a cancel needs neither store nor owner.
    async fn cancel(&self, everything: CancelEverything) -> Result<CancelTally, Unanswered> {
        let within = everything.within;
        match self.cancel.ask(everything).await {
            Ok(tally) => Ok(tally),
            Err(Unanswered) => self.cancel_from_here(within).await,
        }
    }

    async fn cancel_from_here(&self, within: Duration) -> Result<CancelTally, Unanswered> {
        tracing::warn!(account = %self.account, "nobody works for the account: what its broker lists is cancelled from here");
        cancel_listed(&*self.venue, &self.budget, within).await.ok_or(Unanswered)
    }
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

    /// Cancels everything at once in every account that is not known to be another instance's, and counts it together. What
    /// another instance owns it cancels itself.
    ///
    /// # Errors
    /// When in no account anything could be cancelled. Where one of several can't be reached, that counts as a failure.
    pub(crate) async fn cancel(&self, everything: CancelEverything) -> Result<CancelTally, Unanswered> {
        let ours = self.0.iter().filter(|account| !matches!(account.health.standing(), Standing::Standby { .. }));
        let asked = ours.map(|account| account.cancel(everything.clone()));
        let answers = futures_util::future::join_all(asked).await;
        if !answers.is_empty() && answers.iter().all(Result::is_err) {
            return Err(Unanswered);
        }
        Ok(answers.into_iter().map(counted).fold(CancelTally::default(), CancelTally::and))
    }

    /// Cancels what the broker lists in those accounts that another instance owns and are left to us.
    pub(crate) async fn cancel_for_others(
        &self,
        is_left: impl Fn(&AccountName) -> bool,
        within: Duration,
    ) -> CancelTally {
        let left = self.0.iter().filter(|reach| match reach.health.standing() {
            Standing::Standby { .. } => is_left(&reach.account),
            Standing::Unknown | Standing::Owner { .. } => false,
        });
        let answers = futures_util::future::join_all(left.map(|account| account.cancel_from_here(within))).await;
        answers.into_iter().map(counted).fold(CancelTally::default(), CancelTally::and)
    }

    /// Whether it is an account of this process.
    pub(crate) fn has(&self, account: &AccountName) -> bool {
        self.0.iter().any(|reach| reach.account == *account)
    }
}

/// Nobody said what was open: that is a failure to cancel it.
fn counted(answer: Result<CancelTally, Unanswered>) -> CancelTally {
    answer.unwrap_or(CancelTally { failed: 1, ..CancelTally::default() })
}

/// Cancels from the venue's list and watches that list until it is empty or the time is over. Nothing where the list can't
/// be read.
pub(crate) async fn cancel_listed(venue: &dyn Venue, budget: &Budget, within: Duration) -> Option<CancelTally> {
    let deadline = tokio::time::Instant::now() + within;
    let open = match tokio::time::timeout_at(deadline, venue.open_orders()).await {
        Ok(Ok(open)) => open,
        Ok(Err(_)) | Err(_) => {
            tracing::error!("the venue's open orders could not be read; what our books know is cancelled from there");
            return None;
        }
    };
    // What the rate budget has no room for in time is cancelled by its mark.
    let cancel = async |order: &VenueOrder| {
        budget.wait(Lane::Control).await;
        venue.cancel(&order.broker_order_id).await
    };
    let mut answers = open.iter().map(cancel).collect::<FuturesUnordered<_>>();
    let mut asked = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
        asked.push(answer);
    }
    let refused = |answer: &&Result<(), CancelError>| matches!(answer, Err(CancelError::Venue(_)));
    let failed = asked.iter().filter(refused).count() + open.len().saturating_sub(asked.len());
    let mut left = open.len();
    while left > 0 && tokio::time::Instant::now() < deadline {
        if let Ok(Ok(still)) = tokio::time::timeout_at(deadline, venue.open_orders()).await {
            left = still.iter().filter(|order| is_among(&open, &order.broker_order_id)).count();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some(CancelTally {
        requested: count(open.len()),
        confirmed: count(open.len().saturating_sub(left)),
        failed: count(failed),
    })
}

fn is_among(orders: &[VenueOrder], id: &BrokerOrderId) -> bool {
    orders.iter().any(|order| order.broker_order_id == *id)
}
