//! What a client was promised stays: the plan as it was answered, its rows, and its cancel.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::Order;

use super::{Invariant, Scene};
use crate::requests::Reply;
use crate::tape::Step;

/// What never changes of an order.
type Terms = (Decimal, DateTime<Utc>);

#[derive(Default)]
pub(super) struct Promises {
    promised: BTreeMap<OrderId, Terms>,
}

fn terms(order: &Order) -> Terms {
    (order.qty.get(), order.scheduled_time)
}

impl Promises {
    fn promise(&mut self, orders: &[Order]) -> Result<(), String> {
        for order in orders {
            let first = *self.promised.entry(order.id.clone()).or_insert(terms(order));
            if first != terms(order) {
                return Err(format!("{} was answered as {first:?}, and now as {:?}", order.id, terms(order)));
            }
        }
        Ok(())
    }
}

impl Invariant for Promises {
    fn rule(&self) -> &'static str {
        "what a client was promised is there for ever, as it was promised"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            Step::Replied(_, _, Reply::Parent(answer)) => {
                self.promise(&answer.slices)?;
                if scene.ledger.parent(&answer.parent.id).is_none() {
                    return Err(format!("{} was promised, and is in no book", answer.parent.id));
                }
            }
            Step::Replied(_, _, Reply::Single(answer)) => self.promise(std::slice::from_ref(&answer.order))?,
            Step::Replied(_, _, Reply::Replaced(answer)) => self.promise(std::slice::from_ref(&answer.order))?,
            Step::Committed(_, saved) => {
                for (id, before) in &saved.orders {
                    let now = scene.ledger.order(id);
                    if let (Some(before), Some(now)) = (before, now)
                        && (terms(before) != terms(now) || before.instruction != now.instruction)
                    {
                        return Err(format!("{id} was {:?}, and now is {:?}", terms(before), terms(now)));
                    }
                }
                return Ok(());
            }
            Step::Started(_) => {}
            _ => return Ok(()),
        }
        match self.promised.iter().find(|(id, terms)| scene.ledger.order(id).map(self::terms) != Some(**terms)) {
            Some((id, _)) => Err(format!("{id} was promised, and is not in the books as it was promised")),
            None => Ok(()),
        }
    }
}
