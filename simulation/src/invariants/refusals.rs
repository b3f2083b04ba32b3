//! A refusal that says that nothing was written is true: whoever hears it may ask for the same under another name.

use std::collections::BTreeMap;

use tranche_actors::commands::CommandError;
use tranche_actors::domain::names::OrderId;

use super::{Invariant, Scene};
use crate::requests::{Reply, Request};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Refusals {
    /// Submissions without an answer so far, and whether each became durable since it was asked for.
    open: BTreeMap<u64, (OrderId, bool)>,
}

impl Invariant for Refusals {
    fn rule(&self) -> &'static str {
        "an order that a client was told is not taken was not taken"
    }

    fn see(&mut self, step: &Step<'_>, _: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Asked(number, request) => {
                if let Some(id) = submitted(request) {
                    self.open.insert(*number, (id.clone(), false));
                }
            }
            Step::Committed(_, saved) => {
                let orders = saved.orders.iter().filter_map(|(id, before)| before.is_none().then_some(id));
                let parents = saved.parents.iter().filter_map(|(id, before)| before.is_none().then_some(id));
                for new in orders.chain(parents) {
                    for (_, taken) in self.open.values_mut().filter(|(id, _)| id == new) {
                        *taken = true;
                    }
                }
            }
            Step::Replied(number, _, reply) => {
                if let (Some((id, true)), Reply::Refused(error)) = (self.open.remove(number), reply)
                    && is_certain(error)
                {
                    return Err(format!("{id} was taken, and its client is told: {error}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

const fn submitted(request: &Request) -> Option<&OrderId> {
    match request {
        Request::Parent(submit) => submit.request.client_order_id.as_ref(),
        Request::Single(submit) => submit.request.client_order_id.as_ref(),
        Request::Replace(_)
        | Request::CancelParent(_)
        | Request::CancelOrder(_)
        | Request::Engage(_)
        | Request::Disengage(_)
        | Request::Trip(_)
        | Request::Reset(_)
        | Request::Limits(_) => None,
    }
}

/// Whether a client who is refused so knows that nothing came of it.
const fn is_certain(error: &CommandError) -> bool {
    matches!(error, CommandError::StoreUnavailable | CommandError::Gate(_) | CommandError::Busy { .. })
}
