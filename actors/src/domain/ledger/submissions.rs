//! Taking a submission: once, whatever the client repeats.

use serde_json::json;

use super::books::Books;
use super::{Applied, Event, EventKind, Outcome, Refusal};
use crate::domain::names::{AccountName, OrderId};
use crate::domain::order::{Order, Origin};
use crate::domain::parent::{Parent, Progress};

impl Books {
    pub(super) fn submit_parent(&mut self, parent: &Parent, slices: &[Order]) -> Result<Applied, Refusal> {
        if let Some(replay) = self.replay(&parent.id, &parent.origin)? {
            return Ok(replay);
        }
        self.must_be_of(&parent.account)?;
        if self.is_quarantined(&parent.instruction.symbol) {
            return Err(Refusal::Quarantined);
        }
        if slices.iter().any(|slice| self.orders.contains_key(&slice.id) || self.parents.contains_key(&slice.id)) {
            return Err(Refusal::IdReused);
        }
        let mut parent = parent.clone();
        parent.progress = Progress::of_all(slices);
        parent.restate(self.at);
        debug_assert!(parent.adds_up(), "a plan must divide the whole quantity");
        let data = json!({
            "qty": parent.qty, "total_slices": parent.total_slices, "interval_seconds": parent.interval_seconds,
            "start_at": parent.start_at, "end_at": parent.end_at, "warnings": parent.warnings,
            "plan": slices.iter().map(|slice| json!([slice.id, slice.qty, slice.scheduled_time])).collect::<Vec<_>>(),
        });
        self.note(Event {
            order: Some(parent.id.clone()),
            kind: EventKind::Submitted,
            old_status: None,
            new_status: Some(parent.status.as_str()),
            data,
            actor: parent.origin.caller.to_string(),
        });
        for slice in slices {
            self.changes.new_orders.insert(slice.id.clone());
            self.orders.insert(slice.id.clone(), slice.clone());
        }
        self.remember(&parent.id, &parent.origin);
        self.changes.new_parents.insert(parent.id.clone());
        self.parents.insert(parent.id.clone(), parent.clone());
        Ok(Applied { parents: vec![parent], ..Applied::done() })
    }

    pub(super) fn submit_single(&mut self, order: &Order) -> Result<Applied, Refusal> {
        let Some(origin) = &order.origin else {
            return Err(Refusal::GuardLost("a single order says who asked for it"));
        };
        if let Some(replay) = self.replay(&order.id, origin)? {
            return Ok(replay);
        }
        self.must_be_of(&order.account)?;
        if self.is_quarantined(&order.instruction.symbol) {
            return Err(Refusal::Quarantined);
        }
        self.note(Event {
            order: Some(order.id.clone()),
            kind: EventKind::Submitted,
            old_status: None,
            new_status: Some(order.status.as_str()),
            data: json!({"qty": order.qty}),
            actor: origin.caller.to_string(),
        });
        self.remember(&order.id, origin);
        self.changes.new_orders.insert(order.id.clone());
        self.orders.insert(order.id.clone(), order.clone());
        Ok(Applied { orders: vec![order.clone()], ..Applied::done() })
    }

    /// What is new is written by its account alone.
    pub(super) fn must_be_of(&self, account: &AccountName) -> Result<(), Refusal> {
        if self.are_of(account) {
            return Ok(());
        }
        Err(Refusal::Constraint(format!("it is of the account {account}, which is written elsewhere")))
    }

    /// The first outcome, where this request was taken before; the key is looked up first.
    pub(super) fn replay(&self, id: &OrderId, origin: &Origin) -> Result<Option<Applied>, Refusal> {
        let keyed = origin.key.as_ref().and_then(|key| self.keys.get(&(origin.caller.clone(), key.clone())));
        let (named, reused) = match keyed {
            Some(named) => (named, Refusal::KeyReused),
            None => (id, Refusal::IdReused),
        };
        let replayed =
            |orders, parents| Ok(Some(Applied { outcome: Outcome::Replayed, orders, parents, ..Applied::done() }));
        if let Some(parent) = self.parents.get(named) {
            return if parent.origin.is_repeated_by(origin) {
                replayed(vec![], vec![parent.clone()])
            } else {
                Err(reused)
            };
        }
        if let Some(order) = self.orders.get(named) {
            let repeated = order.origin.as_ref().is_some_and(|first| first.is_repeated_by(origin));
            return if repeated { replayed(vec![order.clone()], vec![]) } else { Err(reused) };
        }
        Ok(None)
    }

    pub(super) fn remember(&mut self, id: &OrderId, origin: &Origin) {
        if let Some(key) = origin.named() {
            self.keys.insert(key, id.clone());
        }
    }
}

impl Origin {
    /// Whether another request asks for the same as this one did.
    #[must_use]
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        self.request_hash == other.request_hash
    }
}
