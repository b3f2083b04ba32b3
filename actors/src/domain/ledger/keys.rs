//! What a batch of writes speaks of.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};

use super::{Submission, Write};
use crate::domain::names::{BrokerOrderId, Caller, IdempotencyKey, OrderId};
use crate::domain::order::Origin;
use crate::domain::reconciliation::CauseId;
use crate::domain::trading_day::DayEnd;

/// What a batch of writes speaks of, and so what a store has to load first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Orders, singles and slices; the parents of these slices and the positions of these orders belong to it. Of every
    /// order that is loaded, for whatever reason, its whole chain is needed.
    pub orders: BTreeSet<OrderId>,
    /// Parents.
    pub parents: BTreeSet<OrderId>,
    /// Parents of which every child that has not ended is needed.
    pub open_children_of: BTreeSet<OrderId>,
    /// Idempotency keys, whose orders or parents are needed.
    pub callers_keys: BTreeSet<(Caller, IdempotencyKey)>,
    /// Requests whose first answers are needed.
    pub answers: BTreeSet<(Caller, IdempotencyKey)>,
    /// Orders at the venue whose executions and positions are needed.
    pub executions_of: BTreeSet<BrokerOrderId>,
    /// Orders whose positions are needed, and the executions of their whole chains.
    pub positions_of: BTreeSet<OrderId>,
    /// Whether the causes of quarantine that nobody has cleared are needed.
    pub quarantine: bool,
    /// Causes of quarantine that are needed, cleared or not.
    pub causes: BTreeSet<CauseId>,
    /// Whether the revision of the limits is needed.
    pub limits: bool,
    /// Whether what the account is worth is needed.
    pub portfolio: bool,
    /// When something traded, beside the time of the batch: the results of these trading days are needed.
    pub traded_at: BTreeSet<DateTime<Utc>>,
    /// Trading days whose results are needed.
    pub days: BTreeSet<NaiveDate>,
    /// Whether the switches are needed, as nobody else can change them until the batch is committed.
    pub switches: bool,
}

impl Write {
    /// Adds what this write speaks of.
    pub fn add_keys(&self, keys: &mut Keys) {
        match self {
            Self::Submit(submission) => {
                submission.add_keys(keys);
                keys.quarantine = true;
            }
            Self::Replace(replacement) => {
                keys.orders.insert(replacement.order.clone());
                keys.callers_keys.extend(replacement.origin.named());
                keys.quarantine = true;
            }
            Self::Claim { id, .. } => {
                keys.orders.insert(id.clone());
                (keys.quarantine, keys.limits) = (true, true);
            }
            Self::Flatten { order, before, .. } => {
                keys.orders.extend(before.iter().chain([&order.id]).cloned());
                keys.switches = true;
            }
            Self::Limits { .. } => keys.limits = true,
            Self::NeverLeft { id, .. }
            | Self::OutcomeUnknown { id, .. }
            | Self::Refused { id, .. }
            | Self::Absent { id, .. }
            | Self::End { id, .. }
            | Self::Hold { id, .. }
            | Self::Doubt { id }
            | Self::CancelOrder { id, .. }
            | Self::CancelTaken { id }
            | Self::CancelRefused { id } => {
                keys.orders.insert(id.clone());
            }
            Self::Resolve { id, .. } => {
                keys.orders.insert(id.clone());
                keys.positions_of.insert(id.clone());
                keys.portfolio = true;
            }
            Self::Report(report) => {
                keys.portfolio = true;
                keys.traded_at.extend(report.executions.iter().map(|execution| execution.at));
                keys.orders.insert(report.order.client_order_id.clone());
                keys.positions_of.insert(report.order.client_order_id.clone());
                keys.executions_of.insert(report.order.broker_order_id.clone());
            }
            Self::CancelParent { id, .. } | Self::Pause { id, .. } | Self::ScheduleEnded { id } => {
                keys.parents.insert(id.clone());
                keys.open_children_of.insert(id.clone());
            }
            Self::MarkCancels { ids } => keys.orders.extend(ids.iter().cloned()),
            Self::Benchmark { id, .. } | Self::ResumeParent { id, .. } => {
                keys.parents.insert(id.clone());
            }
            Self::Quarantine { cause, .. } | Self::ClearCause { cause, .. } => {
                keys.causes.insert(cause.clone());
                keys.quarantine = true;
            }
            Self::Capital(_) => keys.portfolio = true,
            Self::OpenDay { day, .. } => {
                keys.portfolio = true;
                keys.days.insert(*day);
            }
            Self::Kill { .. } | Self::Halts { .. } | Self::Breaker { .. } | Self::FirstStart(_) => keys.switches = true,
            Self::Requested { request, write } => {
                keys.answers.extend(request.named().map(|(key, _)| key));
                // The answer tells which slice is the next.
                if let (Self::ResumeParent { id, .. }, Some(_)) = (&**write, &request.by.once) {
                    keys.open_children_of.insert(id.clone());
                }
                write.add_keys(keys);
            }
            Self::PositionDiffers { .. } | Self::Noted(_) | Self::Audit(_) | Self::Probe => {}
        }
    }
}

impl Keys {
    /// The trading days whose results are needed by a batch of that time.
    #[must_use]
    pub fn trading_days(&self, day_end: DayEnd, at: DateTime<Utc>) -> BTreeSet<NaiveDate> {
        let traded = self.traded_at.iter().copied().filter(|traded| *traded < at).chain(self.portfolio.then_some(at));
        traded.map(|at| day_end.trading_day(at)).chain(self.days.iter().copied()).collect()
    }
}

impl Submission {
    fn add_keys(&self, keys: &mut Keys) {
        let (id, origin) = match self {
            Self::Parent { parent, slices } => {
                keys.orders.extend(slices.iter().map(|slice| slice.id.clone()));
                (&parent.id, Some(&parent.origin))
            }
            Self::Single(order) => (&order.id, order.origin.as_ref()),
        };
        keys.orders.insert(id.clone());
        keys.parents.insert(id.clone());
        keys.callers_keys.extend(origin.and_then(Origin::named));
    }
}
