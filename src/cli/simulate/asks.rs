//! What clients ask in a scenario's file: `[[parents]]`, `[[orders]]` and `[[cancels]]`, each at its time.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tranche_actors::commands::{CancelOrder, CancelParent, SubmitOrder, SubmitParent};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::names::{IdempotencyKey, OrderId};
use tranche_actors::domain::request::{Asked, PlanRules};
use tranche_simulation::requests::Request;
use tranche_simulation::scenario::caller;

use super::file::LONGEST_S;
use crate::http::fields::Fields;
use crate::http::requests;

/// All that is asked.
#[derive(Default)]
pub(super) struct Asks {
    /// By the time at which it is.
    pub(super) requests: Vec<(Duration, Request)>,
    /// When the last schedule ends.
    pub(super) end: Duration,
    parents: BTreeSet<OrderId>,
    orders: BTreeSet<OrderId>,
}

/// Where a scenario begins, and what its plans are held to.
pub(super) struct Terms<'a> {
    pub(super) start: DateTime<Utc>,
    pub(super) rules: &'a PlanRules,
}

/// Reads all that is asked, and holds it to the rules that a submission is held to.
pub(super) fn asks(fields: &mut Fields<'_>, terms: &Terms<'_>) -> Asks {
    let mut asks = Asks::default();
    for mut inner in fields.objects("parents") {
        let (at, key, place) = (at(&mut inner), key(&mut inner), inner.place(""));
        let asked = requests::parent(inner).and_then(|request| {
            let submit = SubmitParent { request, by: caller(), key };
            asks.parent(at, submit, terms).map_err(|faults| within(&place, faults))
        });
        fields.absorb(asked);
    }
    for mut inner in fields.objects("orders") {
        let (at, key, place) = (at(&mut inner), key(&mut inner), inner.place(""));
        let asked = requests::single(inner).and_then(|request| {
            let submit = SubmitOrder { request, by: caller(), key };
            asks.single(at, submit, terms).map_err(|faults| within(&place, faults))
        });
        fields.absorb(asked);
    }
    for mut inner in fields.objects("cancels") {
        inner.require("client_order_id");
        let at = at(&mut inner);
        if let Some(id) = inner.name("client_order_id", OrderId::parse) {
            match asks.cancel(id) {
                Some(request) => asks.requests.push((at, request)),
                None => inner.fault("client_order_id", "unknown_value", "is the id of no parent and no order above"),
            }
        }
        fields.join(inner, Some(()));
    }
    asks.requests.sort_by_key(|(at, _)| *at);
    asks
}

impl Asks {
    fn parent(&mut self, at: Duration, submit: SubmitParent, terms: &Terms<'_>) -> Result<(), Vec<FieldError>> {
        let asked = terms.asked(at, submit.key.clone());
        submit.request.check_times(asked.at)?;
        let (parent, _) = submit.request.plan(terms.rules, &asked)?;
        let end = (parent.end_at - terms.start).to_std().unwrap_or_default();
        if end > Duration::from_secs(LONGEST_S.into()) {
            let field = submit.request.schedule.span.field();
            let rule = "makes the parent end more than a week after the start of the scenario";
            return Err(vec![FieldError::new(field, "out_of_range", rule)]);
        }
        self.end = self.end.max(end);
        self.parents.insert(parent.id);
        self.requests.push((at, Request::Parent(Box::new(submit))));
        Ok(())
    }

    fn single(&mut self, at: Duration, submit: SubmitOrder, terms: &Terms<'_>) -> Result<(), Vec<FieldError>> {
        let asked = terms.asked(at, submit.key.clone());
        submit.request.check_times(asked.at)?;
        let order = submit.request.order(terms.rules, &asked)?;
        self.end = self.end.max(at);
        self.orders.insert(order.id);
        self.requests.push((at, Request::Single(Box::new(submit))));
        Ok(())
    }

    fn cancel(&self, id: OrderId) -> Option<Request> {
        if self.parents.contains(&id) {
            Some(Request::CancelParent(CancelParent { id, by: caller() }))
        } else {
            self.orders.contains(&id).then(|| Request::CancelOrder(CancelOrder { id, by: caller().into() }))
        }
    }
}

impl Terms<'_> {
    fn asked(&self, at: Duration, key: Option<IdempotencyKey>) -> Asked {
        Asked { by: caller(), key, at: self.start + TimeDelta::from_std(at).unwrap_or_default() }
    }
}

fn at(fields: &mut Fields<'_>) -> Duration {
    fields.seconds("at_s", LONGEST_S).unwrap_or_default()
}

/// What is a header of the request is a field here.
fn key(fields: &mut Fields<'_>) -> Option<IdempotencyKey> {
    fields.name("idempotency_key", IdempotencyKey::parse)
}

fn within(place: &str, faults: Vec<FieldError>) -> Vec<FieldError> {
    faults.into_iter().map(|fault| FieldError { field: format!("{place}{}", fault.field), ..fault }).collect()
}
