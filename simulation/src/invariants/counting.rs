//! What is open beside an order when it is claimed, counted anew from the books: for every rule about limits.
//!
//! Written down a second time: nothing here asks the product what it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rust_decimal::Decimal;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::limits::{Control, LimitKey, LimitScope};
use tranche_actors::domain::names::{OrderId, StrategyId, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus as S;
use tranche_actors::domain::terms::Side;
use tranche_actors::ports::store::Batch;

use chrono::{DateTime, TimeDelta, Utc};

use super::Scene;
use crate::store::Saved;
use crate::store::ledger::Ledger;
use crate::tape::Step;

/// How long before it was written a claim may have been checked: what ended in that time may have held still.
const CHECKED_BEFORE: TimeDelta = TimeDelta::seconds(15);
/// By how much the wall clock may have been set since.
const SET: TimeDelta = TimeDelta::seconds(4);
/// How long after an order came back that had been given up nothing is judged that was checked without it.
const SURPRISE: Duration = Duration::from_secs(30);

/// One chain that may trade: of an order and what is to take its place only one does.
struct Chain<'a> {
    symbol: &'a Symbol,
    side: Side,
    strategy: &'a StrategyId,
    /// The most that may still trade of it.
    leaves: Decimal,
}

/// Everything that may still trade by the books, and what is held.
pub(super) struct Open<'a> {
    ledger: &'a Ledger,
    held: BTreeMap<Symbol, Decimal>,
    chains: BTreeMap<&'a OrderId, Chain<'a>>,
}

impl<'a> Open<'a> {
    fn without(claimed: &BTreeSet<&OrderId>, scene: &Scene<'a>) -> Self {
        let held = scene.ledger.positions(&scene.tuning.account);
        let held = held.into_iter().map(|held| (held.symbol, held.position.qty)).collect();
        let mut open = Self { ledger: scene.ledger, held, chains: BTreeMap::new() };
        for order in scene.ledger.orders().filter(|order| may_trade(order.status) && !claimed.contains(&order.id)) {
            open.add(order);
        }
        open
    }

    fn add(&mut self, order: &'a Order) {
        let traded = self.ledger.chain(order.chain()).map(|one| one.filled_qty).max().unwrap_or_default();
        let leaves = (order.qty.get() - traded).max(Decimal::ZERO);
        let (symbol, side, strategy) =
            (&order.instruction.symbol, order.instruction.side, strategy(order, self.ledger));
        let chain = self.chains.entry(order.chain()).or_insert(Chain { symbol, side, strategy, leaves });
        chain.leaves = chain.leaves.max(leaves);
    }

    /// What is held of a symbol; short is negative.
    pub(super) fn held(&self, symbol: &Symbol) -> Decimal {
        self.held.get(symbol).copied().unwrap_or_default()
    }

    /// How far a position can come to one side, if all trades that is open on it.
    pub(super) fn towards(&self, symbol: &Symbol, side: Side) -> Decimal {
        let open = self.chains.values().filter(|chain| chain.symbol == symbol && chain.side == side);
        side.sign() * self.held(symbol) + open.map(|chain| chain.leaves).sum::<Decimal>()
    }

    /// How far from flat each position can come.
    pub(super) fn furthest(&self) -> BTreeMap<&Symbol, Decimal> {
        let symbols = self.held.keys().chain(self.chains.values().map(|chain| chain.symbol));
        let furthest = |symbol: &Symbol| self.towards(symbol, Side::Buy).max(self.towards(symbol, Side::Sell));
        symbols.map(|symbol| (symbol, furthest(symbol))).collect()
    }

    /// Whether an order that is counted already takes a position no further than back to flat, whatever else trades.
    pub(super) fn is_way_out(&self, order: &Order) -> bool {
        let (symbol, side) = (&order.instruction.symbol, order.instruction.side);
        side.sign() * self.held(symbol) < Decimal::ZERO && self.towards(symbol, side) <= Decimal::ZERO
    }

    /// How many are open that a limit of this scope counts.
    pub(super) fn count(&self, scope: &LimitScope) -> usize {
        self.chains.values().filter(|chain| counts(scope, chain.strategy, chain.symbol)).count()
    }

    /// The most that may still trade of an order that is counted already.
    pub(super) fn leaves(&self, order: &Order) -> Decimal {
        self.chains.get(order.chain()).map(|chain| chain.leaves).unwrap_or_default()
    }
}

/// Whether an order may be at the venue, or on its way there.
const fn may_trade(status: S) -> bool {
    match status {
        S::Submitting
        | S::SubmittedUnconfirmed
        | S::Submitted
        | S::Accepted
        | S::PartiallyFilled
        | S::PendingCancel
        | S::PendingReplace => true,
        S::PendingNew
        | S::Filled
        | S::Canceled
        | S::Expired
        | S::Rejected
        | S::Replaced
        | S::Failed
        | S::BlockedKillSwitch
        | S::BlockedCircuitBreaker
        | S::BlockedRisk
        | S::DryRun => false,
    }
}

/// The client's strategy: a slice is of its parent's.
pub(super) fn strategy<'a>(order: &'a Order, ledger: &'a Ledger) -> &'a StrategyId {
    let parent = order.slice.as_ref().and_then(|slice| ledger.parent(&slice.parent));
    parent.map_or(&order.strategy_id, |parent| &parent.strategy_id)
}

/// Whether an order of this strategy in this symbol counts for a scope; there is one account.
pub(super) fn counts(scope: &LimitScope, strategy: &StrategyId, symbol: &Symbol) -> bool {
    match scope {
        LimitScope::Global | LimitScope::Account(_) => true,
        LimitScope::Strategy(name) => name == strategy,
        LimitScope::Symbol(name) => name == symbol,
    }
}

/// Finds the claims, with what was open at each.
#[derive(Default)]
pub(super) struct Counting {
    /// When an order came back last that had been given up.
    surprised: Option<Duration>,
}

impl Counting {
    /// Shows every order that a step claims, one after the other, counted with all that was open then and itself.
    pub(super) fn claims(
        &mut self,
        step: &Step<'_>,
        scene: &Scene<'_>,
        mut judge: impl FnMut(&Order, &Open<'_>, DateTime<Utc>) -> Result<(), String>,
    ) -> Result<(), String> {
        let Step::Committed(batch, saved) = step else { return Ok(()) };
        if saved.orders.iter().any(|(id, before)| came_back(before.as_ref(), scene.ledger.order(id))) {
            self.surprised = Some(scene.boot);
        }
        let claimed = claimed(batch, saved, scene.ledger);
        if claimed.is_empty() || self.surprised.is_some_and(|at| scene.boot < at + SURPRISE) {
            return Ok(());
        }
        let mut open = Open::without(&claimed.iter().map(|order| &order.id).collect(), scene);
        for order in claimed {
            open.add(order);
            judge(order, &open, batch.at)?;
        }
        Ok(())
    }
}

/// What a batch claims, in its order.
fn claimed<'a>(batch: &Batch, saved: &Saved, ledger: &'a Ledger) -> Vec<&'a Order> {
    let is_claimed = |id: &&OrderId| {
        let before = saved.orders.iter().find(|(of, _)| of == *id).and_then(|(_, before)| before.as_ref());
        let now = ledger.order(id).filter(|now| now.status == S::Submitting);
        before.zip(now).is_some_and(|(before, now)| now.attempt > before.attempt)
    };
    let claims = batch.writes.iter().filter_map(|write| match write {
        Write::Claim { id, .. } => Some(id),
        _ => None,
    });
    claims.filter(is_claimed).filter_map(|id| ledger.order(id)).collect()
}

fn came_back(before: Option<&Order>, now: Option<&Order>) -> bool {
    let (Some(before), Some(now)) = (before, now) else { return false };
    before.terminal_at.is_some() && (may_trade(now.status) || now.filled_qty > before.filled_qty)
}

/// Every value of a control that held for an order when it was checked, with its scope: the laxest of what may have held.
pub(super) fn bounds(
    control: Control,
    order: &Order,
    at: DateTime<Utc>,
    scene: &Scene<'_>,
) -> Vec<(LimitScope, Decimal)> {
    let book = scene.ledger.limits();
    let scopes = [
        LimitScope::Global,
        LimitScope::Account(order.account.clone()),
        LimitScope::Strategy(strategy(order, scene.ledger).clone()),
        LimitScope::Symbol(order.instruction.symbol.clone()),
    ];
    let bound = |scope: LimitScope| {
        let key = LimitKey { scope, control };
        let held_at = |at: DateTime<Utc>| {
            let instead = book.overrides.get(&key).filter(|instead| at < instead.until);
            instead.map(|instead| &instead.limit).or_else(|| book.limits.get(&key)).map(|limit| limit.value)
        };
        let values = [at - CHECKED_BEFORE, at, at + SET].map(held_at);
        let values = values.into_iter().collect::<Option<Vec<_>>>()?;
        let laxest =
            if control == Control::RestrictedSymbol { values.into_iter().min() } else { values.into_iter().max() };
        Some((key.scope, laxest?))
    };
    scopes.into_iter().filter_map(bound).collect()
}

/// Whether a lockout held for an order, whenever it was checked.
pub(super) fn is_locked(order: &Order, at: DateTime<Utc>, scene: &Scene<'_>) -> bool {
    scene.ledger.limits().lockouts.iter().any(|(key, lockout)| {
        key.account == order.account
            && key.symbol.as_ref().is_none_or(|symbol| *symbol == order.instruction.symbol)
            && lockout.until.is_none_or(|until| at + SET < until)
    })
}
