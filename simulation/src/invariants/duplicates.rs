//! The same order or parent is not taken again within the time that a limit says.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use tranche_actors::domain::limits::{Control, LimitKey, LimitScope};
use tranche_actors::domain::names::{OrderId, StrategyId};
use tranche_actors::domain::terms::{Instruction, Side};

use super::{Invariant, Scene};
use crate::store::Saved;
use crate::tape::Step;

/// How much earlier than it was written a submission may have been looked at.
const SLACK: TimeDelta = TimeDelta::seconds(15);

struct Taken {
    id: OrderId,
    at: DateTime<Utc>,
    strategy: StrategyId,
    instruction: Instruction,
    qty: Decimal,
}

#[derive(Default)]
pub(super) struct Duplicates(Vec<Taken>);

impl Invariant for Duplicates {
    fn rule(&self) -> &'static str {
        "the same is not taken twice within the time that a limit says"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        for taken in taken(saved, scene) {
            let window = window(&taken, scene);
            let is_same = |first: &&Taken| {
                (&first.strategy, &first.instruction.symbol) == (&taken.strategy, &taken.instruction.symbol)
                    && first.instruction.side == taken.instruction.side
                    && first.qty == taken.qty
                    && first.instruction.terms == taken.instruction.terms
                    && window.is_some_and(|window| taken.at - first.at < window)
            };
            let first = self.0.iter().find(is_same).map(|first| first.id.clone());
            if let Some(first) = first.filter(|_| !may_reduce(&taken, scene)) {
                return Err(format!("{} is taken, and is the same as {first}", taken.id));
            }
            self.0.push(taken);
        }
        Ok(())
    }
}

/// What is new in a batch: single orders and parents, and no slices or replacements.
fn taken(saved: &Saved, scene: &Scene<'_>) -> Vec<Taken> {
    let orders = saved.orders.iter().filter(|(_, before)| before.is_none());
    let orders = orders.filter_map(|(id, _)| scene.ledger.order(id));
    let singles = orders.filter(|order| order.slice.is_none() && order.replaces.is_none()).map(|order| Taken {
        id: order.id.clone(),
        at: order.created_at,
        strategy: order.strategy_id.clone(),
        instruction: order.instruction.clone(),
        qty: order.qty.get(),
    });
    let parents = saved.parents.iter().filter(|(_, before)| before.is_none());
    let parents = parents.filter_map(|(id, _)| scene.ledger.parent(id)).map(|parent| Taken {
        id: parent.id.clone(),
        at: parent.created_at,
        strategy: parent.strategy_id.clone(),
        instruction: parent.instruction.clone(),
        qty: parent.qty.get(),
    });
    singles.chain(parents).collect()
}

/// The longest time that a limit says which has held for a while.
fn window(taken: &Taken, scene: &Scene<'_>) -> Option<TimeDelta> {
    let book = scene.ledger.limits();
    let scopes = [
        LimitScope::Global,
        LimitScope::Account(scene.tuning.account.clone()),
        LimitScope::Strategy(taken.strategy.clone()),
        LimitScope::Symbol(taken.instruction.symbol.clone()),
    ];
    let seconds = scopes.into_iter().filter_map(|scope| {
        let key = LimitKey { scope, control: Control::DuplicateOrder };
        // What an override had in its place can't be told afterwards.
        let limit = book.limits.get(&key).filter(|_| !book.overrides.contains_key(&key))?;
        (limit.at + SLACK < taken.at).then_some(limit.value)
    });
    seconds.max().and_then(|seconds| seconds.to_i64()).map(|seconds| TimeDelta::seconds(seconds) - SLACK)
}

/// A position on the other side is held, which it may only take back.
fn may_reduce(taken: &Taken, scene: &Scene<'_>) -> bool {
    let held = scene.ledger.positions(&scene.tuning.account);
    let held = held.iter().find(|held| held.symbol == taken.instruction.symbol);
    let held = held.map(|held| held.position.qty).unwrap_or_default();
    match taken.instruction.side {
        Side::Buy => held < Decimal::ZERO,
        Side::Sell => held > Decimal::ZERO,
    }
}
