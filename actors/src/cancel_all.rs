//! The order to cancel everything: from the kill switch and the breaker to the broker, whoever works for the account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::account::mark;
use crate::budget::{Budget, Lane};
use crate::domain::ids::is_flatten;
use crate::domain::ledger::Write;
use crate::domain::limits::LimitScope;
use crate::domain::names::{AccountName, BrokerOrderId, OrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::status::Share;
use crate::domain::venue::VenueOrder;
use crate::doubt::Doubtful;
use crate::gate::InFlight;
use crate::health::{AccountHealth, Standing};
use crate::line::{Line, Unanswered};
use crate::ports::store::{AnyOrder, Store};
use crate::ports::{CancelError, Venue, World};
use crate::sync::{Mutex, lock};

/// How soon marks are written again that were not taken.
const MARK_AGAIN: Duration = Duration::from_millis(100);

/// How much the clocks of instances may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(1);

/// How long the store is asked what the books know.
const LOOK: Duration = Duration::from_millis(500);

/// Cancels everything that is open, or all of a part, from the venue's own list, so that it works without the store; what is
/// ours gets the mark too, and is retried until confirmed. Which orders are of a strategy our books alone know.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "CancelTally")]
pub(crate) struct CancelEverything {
    /// Which part, and mostly all.
    pub(crate) scope: LimitScope,
    /// How long to wait for the venue to confirm.
    pub(crate) within: Duration,
    /// Orders of unknown outcome: they get the mark, and are cancelled when they are found.
    pub(crate) also: Vec<OrderId>,
    /// When it was asked for. What was claimed later is none of it: the marks may be written long after.
    pub(crate) at: DateTime<Utc>,
}

impl CancelEverything {
    /// Everything that gets the mark: what is of unknown outcome, and what is open by our books, also where the venue can't be
    /// asked now. Nothing where the books can't be read.
    pub(crate) async fn to_mark(&self, store: &dyn Store, account: &AccountName) -> Option<Vec<OrderId>> {
        let part = Part::of(&self.scope, store, account).await?;
        let open = store.open_orders(account).await.ok()?;
        let until = self.at + CLOCKS_DIFFER;
        let live = |order: &Order| {
            matches!(order.status.share(), Share::Working | Share::Unknown)
                && order.claimed_at.is_none_or(|claimed| claimed <= until)
                && part.has(&order.id, &order.instruction.symbol)
        };
        let live = open.into_iter().filter(live).map(|order| order.id);
        // What closes positions is ended by who closes them.
        Some(self.also.iter().cloned().chain(live).filter(|id| !is_flatten(id)).collect())
    }
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
    pub(crate) world: World,
    pub(crate) budget: Budget,
}

impl Reach {
    /// Has everything cancelled by the account's own actor, which marks it too. Where none works for the account, since the
    /// store is away or it is being rebuilt, the venue is asked from here: a cancel needs neither store nor owner. The marks
    /// are written from here too: what shows up later has to be cancelled by whoever works for the account then.
    async fn cancel(&self, everything: CancelEverything, owed: &Owed) -> Result<CancelTally, Unanswered> {
        match self.cancel.ask(everything.clone()).await {
            Ok(tally) => Ok(tally),
            Err(Unanswered) => {
                let CancelEverything { scope, within, .. } = everything.clone();
                let (cancelled, is_marked) =
                    futures_util::join!(self.cancel_from_here(&scope, within), self.mark_in_time(&everything));
                if !is_marked {
                    tracing::error!(account = %self.account, "what may be open could not be marked as to be cancelled in time");
                    owed.add(self.account.clone(), everything);
                }
                cancelled
            }
        }
    }

    /// Marks what may be open, while there is time for that. Whether it could.
    async fn mark_in_time(&self, everything: &CancelEverything) -> bool {
        let marked = async {
            while !self.mark_from_here(everything).await {
                tokio::time::sleep(MARK_AGAIN).await;
            }
        };
        tokio::time::timeout(everything.within, marked).await.is_ok()
    }

    async fn mark_from_here(&self, everything: &CancelEverything) -> bool {
        let Some(ids) = everything.to_mark(&*self.world.store, &self.account).await else { return false };
        ids.is_empty() || mark(&self.world, self.account.clone(), Write::MarkCancels { ids }).await.is_ok()
    }

    async fn cancel_from_here(&self, scope: &LimitScope, within: Duration) -> Result<CancelTally, Unanswered> {
        tracing::warn!(account = %self.account, "nobody works for the account: what its broker lists is cancelled from here");
        let part = Part::of(scope, &*self.world.store, &self.account).await.ok_or(Unanswered)?;
        cancel_listed(&*self.world.venue, &self.budget, (&part, within)).await.ok_or(Unanswered)
    }

    /// What is held, by the broker's word or else by our books; nothing where neither answers.
    async fn held(&self, within: Duration) -> Vec<(AccountName, Symbol)> {
        let of = |symbol| (self.account.clone(), symbol);
        if let Ok(Ok(held)) = tokio::time::timeout(within, self.world.venue.positions()).await {
            return held.positions.into_iter().filter(|held| !held.qty.is_zero()).map(|held| of(held.symbol)).collect();
        }
        match tokio::time::timeout(LOOK, self.world.store.positions(&self.account)).await {
            Ok(Ok(held)) => {
                held.into_iter().filter(|held| !held.position.qty.is_zero()).map(|held| of(held.symbol)).collect()
            }
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Whether any of its orders can be of a part.
    fn has(&self, scope: &LimitScope) -> bool {
        match scope {
            LimitScope::Global | LimitScope::Strategy(_) | LimitScope::Symbol(_) => true,
            LimitScope::Account(account) => *account == self.account,
        }
    }
}

/// Marks that the store could not take in time: they are owed until it has, also where what asked for them is over by then.
#[derive(Clone, Default)]
struct Owed(Arc<Mutex<Vec<(AccountName, CancelEverything)>>>);

impl Owed {
    fn add(&self, account: AccountName, everything: CancelEverything) {
        let mut owed = lock(&self.0);
        // Of the same scope once, with all that was unknown at any time.
        let alike =
            |(of, held): &&mut (AccountName, CancelEverything)| *of == account && held.scope == everything.scope;
        match owed.iter_mut().find(alike) {
            Some((_, held)) => {
                let also = held.also.iter().chain(&everything.also).cloned().collect::<BTreeSet<_>>();
                held.also = also.into_iter().collect();
                held.at = held.at.max(everything.at);
            }
            None => owed.push((account, everything)),
        }
    }

    fn paid(&self, account: &AccountName, everything: &CancelEverything) {
        // What was added meanwhile stays.
        lock(&self.0).retain(|(of, held)| of != account || held != everything);
    }
}

/// How the switches reach every account of this process.
#[derive(Clone)]
pub(crate) struct Everywhere {
    accounts: Arc<[Reach]>,
    owed: Owed,
}

impl std::fmt::Debug for Everywhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.accounts.iter().map(|reach| &reach.account)).finish()
    }
}

impl Everywhere {
    pub(crate) fn new(accounts: impl IntoIterator<Item = Reach>) -> Self {
        Self { accounts: accounts.into_iter().collect(), owed: Owed::default() }
    }

    fn of(&self, scope: &LimitScope) -> impl Iterator<Item = &Reach> {
        self.accounts.iter().filter(move |account| account.has(scope))
    }

    /// The orders of a part in flight. Shut the gate *before* this.
    pub(crate) fn in_flight(&self, scope: &LimitScope) -> Vec<OrderId> {
        self.of(scope).flat_map(|account| account.in_flight.ids(scope)).collect()
    }

    /// Cuts off every send of a part that is in flight.
    pub(crate) fn cut(&self, scope: &LimitScope) {
        self.of(scope).for_each(|account| account.in_flight.cut(scope));
    }

    /// The orders of unknown outcome.
    pub(crate) fn doubtful(&self) -> Vec<OrderId> {
        self.accounts.iter().flat_map(|account| account.doubtful.ids()).collect()
    }

    /// Cancels everything at once in every account that is not known to be another instance's, and counts it together. What
    /// another instance owns it cancels itself.
    ///
    /// # Errors
    /// When in no account anything could be cancelled. Where one of several can't be reached, that counts as a failure.
    pub(crate) async fn cancel(&self, everything: CancelEverything) -> Result<CancelTally, Unanswered> {
        let ours =
            self.of(&everything.scope).filter(|account| !matches!(account.health.standing(), Standing::Standby { .. }));
        let asked = ours.map(|account| account.cancel(everything.clone(), &self.owed));
        let answers = futures_util::future::join_all(asked).await;
        if !answers.is_empty() && answers.iter().all(Result::is_err) {
            return Err(Unanswered);
        }
        Ok(answers.into_iter().map(counted).fold(CancelTally::default(), CancelTally::and))
    }

    /// Whether the store has still to take marks that were asked for.
    pub(crate) fn owes(&self) -> bool {
        !lock(&self.owed.0).is_empty()
    }

    /// Writes those marks, as far as the store takes them now.
    pub(crate) async fn pay(&self) {
        let owed = lock(&self.owed.0).clone();
        for (account, everything) in owed {
            let reach = self.accounts.iter().find(|reach| reach.account == account);
            if let Some(reach) = reach
                && reach.mark_from_here(&everything).await
            {
                self.owed.paid(&account, &everything);
            }
        }
    }

    /// What is held in the accounts of a scope: by the broker's word, where that comes in time, and else by our books.
    pub(crate) async fn held(&self, scope: &LimitScope, within: Duration) -> Vec<(AccountName, Symbol)> {
        let asked = self.of(scope).map(|account| account.held(within));
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// Whether an account is configured here, or somebody on the same store has taken it at some time.
    pub(crate) async fn is_known(&self, account: &AccountName) -> bool {
        let Some(first) = self.accounts.first().filter(|_| !self.has(account)) else { return true };
        match tokio::time::timeout(LOOK, first.world.store.stack()).await {
            Ok(Ok(stack)) => stack.accounts.iter().any(|seen| seen.account == *account),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Cancels what the broker lists in those accounts that another instance owns and are left to us; before each it is asked
    /// once more whether that is still wanted.
    pub(crate) async fn cancel_for_others(
        &self,
        scope: &LimitScope,
        is_left: impl Fn(&AccountName) -> bool,
        within: Duration,
        is_wanted: impl AsyncFn() -> bool,
    ) -> CancelTally {
        let left = self.of(scope).filter(|reach| match reach.health.standing() {
            Standing::Standby { .. } => is_left(&reach.account),
            Standing::Unknown | Standing::Owner { .. } => false,
        });
        let cancel = async |account: &Reach| {
            if is_wanted().await { account.cancel_from_here(scope, within).await } else { Ok(CancelTally::default()) }
        };
        let answers = futures_util::future::join_all(left.map(cancel)).await;
        answers.into_iter().map(counted).fold(CancelTally::default(), CancelTally::and)
    }

    /// The accounts of this process that can have orders of a part.
    pub(crate) fn names(&self, scope: &LimitScope) -> Vec<AccountName> {
        self.of(scope).map(|reach| reach.account.clone()).collect()
    }

    /// Whether it is an account of this process.
    pub(crate) fn has(&self, account: &AccountName) -> bool {
        self.accounts.iter().any(|reach| reach.account == *account)
    }
}

/// Nobody said what was open: that is a failure to cancel it.
fn counted(answer: Result<CancelTally, Unanswered>) -> CancelTally {
    answer.unwrap_or(CancelTally { failed: 1, ..CancelTally::default() })
}

/// Which of an account's orders are of a part.
pub(crate) enum Part {
    /// All of them.
    Whole,
    /// Those in a symbol.
    Symbol(Symbol),
    /// These.
    Orders(BTreeSet<OrderId>),
}

impl Part {
    /// The orders of an account that are of a part. Nothing where that can't be read.
    pub(crate) async fn of(scope: &LimitScope, store: &dyn Store, account: &AccountName) -> Option<Self> {
        match scope {
            LimitScope::Global | LimitScope::Account(_) => Some(Self::Whole),
            LimitScope::Symbol(symbol) => Some(Self::Symbol(symbol.clone())),
            LimitScope::Strategy(strategy) => {
                let open = store.open_orders(account).await.ok()?;
                // A slice is of its parent's strategy, also where the parent has ended and the slice has not.
                let mut of_parents = BTreeMap::new();
                for parent in open.iter().filter_map(|order| Some(&order.slice.as_ref()?.parent)) {
                    if !of_parents.contains_key(parent) {
                        let Some(AnyOrder::Parent(read)) = store.order(parent).await.ok()? else { return None };
                        of_parents.insert(parent.clone(), read.strategy_id);
                    }
                }
                let is_of = |order: &&Order| match &order.slice {
                    Some(slice) => of_parents.get(&slice.parent) == Some(strategy),
                    None => order.strategy_id == *strategy,
                };
                Some(Self::Orders(open.iter().filter(is_of).map(|order| order.id.clone()).collect()))
            }
        }
    }

    /// Whether an order of ours is of it.
    pub(crate) fn has(&self, id: &OrderId, symbol: &Symbol) -> bool {
        match self {
            Self::Whole => true,
            Self::Symbol(of) => of == symbol,
            Self::Orders(ids) => ids.contains(id),
        }
    }
}

/// Cancels what the venue lists of a part, and watches that list until it is empty or the time is over. Nothing where the
/// list can't be read.
pub(crate) async fn cancel_listed(
    venue: &dyn Venue,
    budget: &Budget,
    (part, within): (&Part, Duration),
) -> Option<CancelTally> {
    let deadline = tokio::time::Instant::now() + within;
    let open = match tokio::time::timeout_at(deadline, venue.open_orders()).await {
        Ok(Ok(mut open)) => {
            open.retain(|order| {
                part.has(&order.client_order_id, &order.instruction.symbol) && !is_flatten(&order.client_order_id)
            });
            open
        }
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
