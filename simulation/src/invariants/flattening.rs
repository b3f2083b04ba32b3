//! What closes positions leaves only while somebody wants that, and never opens or flips; and flat is said when it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tranche_actors::domain::ids::is_flatten;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::Share;
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::NewOrder;
use tranche_actors::gate::ShutReason;

use super::{Invariant, Scene, is_certain};
use crate::requests::{Reply, Request};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Flattening {
    /// Of what it was last asked for, and when; and not released since.
    wanted: BTreeMap<LimitScope, Duration>,
    /// When releases were asked for that are not answered yet.
    releasing: BTreeMap<u64, Duration>,
    /// What was sent, and its sender was not told for certain what came of it.
    on_its_way: BTreeSet<OrderId>,
    /// By which look it was said last that all is flat.
    said: Option<DateTime<Utc>>,
}

impl Invariant for Flattening {
    fn rule(&self) -> &'static str {
        "what closes a position leaves while somebody wants that, once nothing else of its symbol is open, and for no more than is held; flat is said when it is"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        self.listen(scene)?;
        match step {
            Step::Asked(_, Request::Engage(engage)) if engage.mode.flattens() => {
                self.wanted.insert(engage.scope.clone(), scene.at);
            }
            Step::Asked(number, Request::Disengage(_)) => {
                self.releasing.insert(*number, scene.at);
            }
            Step::Replied(number, Request::Disengage(release), reply) => {
                let asked = self.releasing.remove(number);
                let is_older = self.wanted.get(&release.scope).copied() < asked;
                if matches!(reply, Reply::Disengaged(_)) && is_older {
                    self.wanted.remove(&release.scope);
                }
            }
            Step::Sent(order) => {
                self.on_its_way.insert(order.client_order_id.clone());
                if is_flatten(&order.client_order_id) {
                    return self.may_leave(order, scene);
                }
            }
            Step::Answered(id, answer) if answer.as_ref().err().is_none_or(is_certain) => {
                self.on_its_way.remove(*id);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Flattening {
    fn may_leave(&self, order: &NewOrder, scene: &Scene<'_>) -> Result<(), String> {
        if self.wanted.is_empty() {
            return Err(format!("{} is sent, and nobody wants anything closed", order.client_order_id));
        }
        let reasons = scene.house.map(|house| house.accounts.first().gate.reasons(scene.boot));
        if let Some(reason) = reasons.into_iter().flatten().find(|reason| !may_pass(*reason)) {
            return Err(format!("{} is sent while the gate is shut: {reason}", order.client_order_id));
        }
        closes(order, scene)
    }

    /// Whether it was just said that all is flat, and is not. Since the look nothing may have changed that: trading is
    /// stopped, and what is flat has nothing left that could trade.
    fn listen(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let said = scene.house.and_then(|house| house.accounts.first().health.flattening());
        let said = said.filter(|progress| progress.flat).and_then(|progress| progress.seen_at);
        if said.is_none() || std::mem::replace(&mut self.said, said) == said {
            return Ok(());
        }
        let is_open = |id: &OrderId| scene.ledger.order(id).is_some_and(|row| !row.status.is_terminal());
        let book = scene.venue.book();
        if let Some(live) = book.live().find(|live| is_open(&live.order.client_order_id)) {
            return Err(format!("flat is said while {} is open", live.order.client_order_id));
        }
        let is_hidden = |id: &&OrderId| is_open(id) && book.find(id).is_none();
        if let Some(id) = self.on_its_way.iter().find(is_hidden) {
            return Err(format!("flat is said while {id} may be on its way"));
        }
        match book.positions().iter().find(|(_, held)| !held.is_zero()) {
            // What was given up, and is back, may have traded a moment ago.
            Some((symbol, held)) if !has_come_back(scene) => Err(format!("flat is said of {held} {symbol}")),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether an order has traded that our books have given up.
fn has_come_back(scene: &Scene<'_>) -> bool {
    let mut ended = scene.ledger.orders().filter(|row| row.status.is_terminal());
    ended.any(|row| scene.venue.book().find(&row.id).is_some_and(|held| held.order.filled_qty > row.filled_qty))
}

/// Whether trading is merely stopped.
fn may_pass(reason: ShutReason) -> bool {
    let stops = [
        ShutReason::KillSwitchEngaged,
        ShutReason::KillSwitchUnknown,
        ShutReason::CircuitBreakerTripped,
        ShutReason::CircuitBreakerQuiet,
        ShutReason::CircuitBreakerUnknown,
    ];
    stops.contains(&reason)
}

fn closes(order: &NewOrder, scene: &Scene<'_>) -> Result<(), String> {
    let (id, symbol) = (&order.client_order_id, &order.instruction.symbol);
    let is_live = |other: &&Order| {
        other.id != *id
            && other.instruction.symbol == *symbol
            && matches!(other.status.share(), Share::Working | Share::Unknown)
    };
    if let Some(other) = scene.ledger.orders().find(is_live) {
        return Err(format!("{id} is sent while {} is {}", other.id, other.status));
    }
    if scene.venue.book().find(id).is_some() {
        // It is there, and is not taken twice.
        return Ok(());
    }
    let held = scene.venue.book().positions().get(symbol).copied().unwrap_or_default();
    let side = if held > Decimal::ZERO { Side::Sell } else { Side::Buy };
    if order.instruction.side != side || order.qty.get() > held.abs() {
        return Err(format!("{id} would {} {}, and {held} is held", order.instruction.side, order.qty.get()));
    }
    Ok(())
}
