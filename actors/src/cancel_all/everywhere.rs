//! The way of the switches to every account of this process, whoever works for it, and where nobody does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{CancelEverything, CancelTally, LOOK, Part, cancel_listed};
use crate::account::mark;
use crate::budget::Budget;
use crate::domain::ledger::Write;
use crate::domain::limits::LimitScope;
use crate::domain::names::{AccountName, OrderId, Symbol};
use crate::doubt::Doubtful;
use crate::gate::InFlight;
use crate::health::{AccountHealth, Standing};
use crate::line::{Line, Unanswered};
use crate::ports::World;
use crate::sync::{Mutex, lock};

/// How soon marks are written again that were not taken.
const MARK_AGAIN: Duration = Duration::from_millis(100);

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
                // They are owed from here on, whatever becomes of whoever asks.
                owed.add(self.account.clone(), everything.clone());
                let CancelEverything { scope, within, .. } = everything.clone();
                let (cancelled, is_marked) =
                    futures_util::join!(self.cancel_from_here(&scope, within), self.mark_in_time(&everything));
                if is_marked {
                    owed.paid(&self.account, &everything);
                } else {
                    tracing::error!(account = %self.account, "what may be open could not be marked as to be cancelled in time");
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
