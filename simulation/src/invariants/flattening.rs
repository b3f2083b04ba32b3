//! What closes positions leaves only while somebody wants that, and never opens or flips.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use tranche_actors::domain::ids::is_flatten;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::Share;
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::NewOrder;
use tranche_actors::gate::ShutReason;

use super::{Invariant, Scene};
use crate::requests::{Reply, Request};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Flattening {
    /// When it was last asked for, and not released since.
    wanted: Option<Duration>,
    /// When releases were asked for that are not answered yet.
    releasing: BTreeMap<u64, Duration>,
}

impl Invariant for Flattening {
    fn rule(&self) -> &'static str {
        "what closes a position leaves while somebody wants that, once nothing else of its symbol is open, and for no more than is held"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Asked(_, Request::Engage(engage)) if engage.mode.flattens() => self.wanted = Some(scene.at),
            Step::Asked(number, Request::Disengage(_)) => {
                self.releasing.insert(*number, scene.at);
            }
            Step::Replied(number, Request::Disengage(_), reply) => {
                let asked = self.releasing.remove(number);
                if matches!(reply, Reply::Disengaged(_)) && self.wanted < asked {
                    self.wanted = None;
                }
            }
            Step::Sent(order) if is_flatten(&order.client_order_id) => {
                if self.wanted.is_none() {
                    return Err(format!("{} is sent, and nobody wants anything closed", order.client_order_id));
                }
                let reasons = scene.house.map(|house| house.accounts.first().gate.reasons(scene.boot));
                if let Some(reason) = reasons.into_iter().flatten().find(|reason| !may_pass(*reason)) {
                    return Err(format!("{} is sent while the gate is shut: {reason}", order.client_order_id));
                }
                return closes(order, scene);
            }
            _ => {}
        }
        Ok(())
    }
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
