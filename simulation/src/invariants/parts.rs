//! Stopping a part stops it: nothing of it leaves once that is asked for, and after the answer nothing of it comes to life but
//! what the answer lists. That is all that was in doubt from before the question until after the answer.

use std::collections::{BTreeMap, BTreeSet};

use tranche_actors::domain::ids::is_flatten;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;

use super::counting::{counts, strategy};
use super::{Invariant, Scene};
use crate::requests::{Reply, Request};
use crate::tape::Step;

/// A part that somebody stopped.
struct Part {
    scope: LimitScope,
    /// That holds from the call on, until somebody asks for its release.
    stopped: bool,
    /// The list of the last answer, while its engagement holds.
    listed: Option<BTreeSet<OrderId>>,
    /// Releases that were asked for and not answered: each may be carried out at any time.
    releasing: u32,
    /// What was of unknown outcome when an engagement was asked for, by its number.
    in_doubt: BTreeMap<u64, BTreeSet<OrderId>>,
}

#[derive(Default)]
pub(super) struct Parts(Vec<Part>);

impl Parts {
    fn of(&mut self, scope: &LimitScope) -> Option<&mut Part> {
        if *scope == LimitScope::Global {
            return None;
        }
        if !self.0.iter().any(|part| part.scope == *scope) {
            self.0.push(Part {
                scope: scope.clone(),
                stopped: false,
                listed: None,
                releasing: 0,
                in_doubt: BTreeMap::new(),
            });
        }
        self.0.iter_mut().find(|part| part.scope == *scope)
    }

    fn having<'a>(&'a self, id: &OrderId, scene: &Scene<'_>) -> impl Iterator<Item = &'a Part> {
        let order = scene.ledger.order(id);
        let has = |part: &Part| {
            order.is_some_and(|order| counts(&part.scope, strategy(order, scene.ledger), &order.instruction.symbol))
        };
        self.0.iter().filter(|part| has(part)).collect::<Vec<_>>().into_iter()
    }

    fn forget(&mut self, scene: &Scene<'_>) {
        let halts = scene.ledger.switches().halts;
        for part in &mut self.0 {
            // What was only asked is lost with its process, as is what the answer said was not durable.
            (part.stopped, part.releasing) = (false, 0);
            part.in_doubt.clear();
            part.listed = part.listed.take().filter(|_| halts.in_force.iter().any(|halt| halt.scope == part.scope));
        }
    }

    fn note(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Asked(number, Request::Engage(engage)) => {
                if let Some(part) = self.of(&engage.scope) {
                    part.stopped = part.releasing == 0;
                    part.in_doubt.insert(*number, doubtful(&engage.scope, scene).collect());
                }
            }
            Step::Asked(_, Request::Disengage(release)) => {
                if let Some(part) = self.of(&release.scope) {
                    (part.stopped, part.listed, part.releasing) = (false, None, part.releasing + 1);
                }
            }
            Step::Replied(_, Request::Disengage(release), _) => {
                if let Some(part) = self.of(&release.scope) {
                    part.releasing = part.releasing.saturating_sub(1);
                }
            }
            Step::Replied(number, _, Reply::Engaged(answer)) => {
                let Some(part) = self.of(&answer.scope) else { return Ok(()) };
                let before = part.in_doubt.remove(number).unwrap_or_default();
                if part.releasing == 0 {
                    part.listed = Some(answer.unknown.iter().cloned().collect());
                }
                let is_missed = |id: &OrderId| before.contains(id) && !answer.unknown.contains(id);
                if let Some(id) = doubtful(&answer.scope, scene).find(is_missed).filter(|_| answer.covers == "all") {
                    return Err(format!(
                        "{id} is in doubt, and the answer that {} is stopped doesn't list it",
                        answer.scope
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What of a part was sent, and nobody knows what came of it.
fn doubtful(scope: &LimitScope, scene: &Scene<'_>) -> impl Iterator<Item = OrderId> {
    let is_of = |order: &&Order| {
        order.status == OrderStatus::SubmittedUnconfirmed
            && counts(scope, strategy(order, scene.ledger), &order.instruction.symbol)
    };
    scene.ledger.orders().filter(is_of).map(|order| order.id.clone()).collect::<Vec<_>>().into_iter()
}

impl Invariant for Parts {
    fn rule(&self) -> &'static str {
        "nothing of a part leaves while it is stopped, and nothing comes to life but what the answer lists as unknown"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Started(_) => self.forget(scene),
            // What closes positions passes where nothing else does; another rule says when.
            Step::Sent(order) if !is_flatten(&order.client_order_id) => {
                let id = &order.client_order_id;
                if let Some(part) = self.having(id, scene).find(|part| part.stopped || part.listed.is_some()) {
                    return Err(format!("{id} leaves though {} is stopped", part.scope));
                }
                let Some(row) = scene.ledger.order(id) else { return Ok(()) };
                let halts = scene.ledger.switches().halts.in_force;
                let is_of = |scope| counts(scope, strategy(row, scene.ledger), &row.instruction.symbol);
                if let Some(halt) = halts.iter().find(|halt| is_of(&halt.scope)) {
                    return Err(format!("{id} leaves while the stored switches stop {}", halt.scope));
                }
            }
            Step::Taken(order) if !is_flatten(&order.client_order_id) => {
                let id = &order.client_order_id;
                let is_missed = |part: &&Part| part.listed.as_ref().is_some_and(|listed| !listed.contains(id));
                if let Some(part) = self.having(id, scene).find(is_missed) {
                    return Err(format!(
                        "{id} is taken after {} was stopped with an answer that doesn't list it",
                        part.scope
                    ));
                }
            }
            _ => return self.note(step, scene),
        }
        Ok(())
    }
}
