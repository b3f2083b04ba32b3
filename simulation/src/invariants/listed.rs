//! What the answer to an engagement in mode `cancel` lists as unknown doesn't stay open: it gets the mark of a cancel.

use std::collections::BTreeMap;
use std::time::Duration;

use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::status::OrderStatus;

use super::{Invariant, Scene};
use crate::requests::Reply;
use crate::tape::Step;

/// How long a mark may take, and a process has to live for it.
const MARKED: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Listed {
    /// When each was listed that is not marked yet.
    waiting: BTreeMap<OrderId, Duration>,
}

impl Invariant for Listed {
    fn rule(&self) -> &'static str {
        "what an engage's answer lists as unknown in mode cancel is cancelled once it shows up"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match step {
            // What was not durable by now is lost with the process.
            Step::Started(_) | Step::Crashed => self.waiting.clear(),
            Step::Replied(_, _, Reply::Engaged(answer)) if answer.state.mode.is_some_and(KillMode::cancels) => {
                self.waiting.extend(answer.unknown.iter().map(|id| (id.clone(), scene.boot)));
            }
            Step::Struck(_) => self.waiting.values_mut().for_each(|since| *since = scene.boot),
            _ => {
                if !scene.well {
                    self.waiting.values_mut().for_each(|since| *since = scene.boot);
                }
            }
        }
        let needs_mark = |id: &OrderId| {
            let row = scene.ledger.order(id);
            row.is_some_and(|row| row.cancel_requested_at.is_none() && is_open(row.status))
        };
        self.waiting.retain(|id, _| needs_mark(id));
        match self.waiting.iter().find(|(_, since)| scene.boot > **since + MARKED) {
            Some((id, _)) => Err(format!("{id} was listed as unknown, is open, and nobody cancels it")),
            None => Ok(()),
        }
    }
}

const fn is_open(status: OrderStatus) -> bool {
    match status {
        OrderStatus::Submitting
        | OrderStatus::SubmittedUnconfirmed
        | OrderStatus::Submitted
        | OrderStatus::Accepted
        | OrderStatus::PartiallyFilled
        | OrderStatus::PendingReplace => true,
        OrderStatus::PendingNew
        | OrderStatus::PendingCancel
        | OrderStatus::Filled
        | OrderStatus::Canceled
        | OrderStatus::Expired
        | OrderStatus::Rejected
        | OrderStatus::Replaced
        | OrderStatus::Failed
        | OrderStatus::BlockedKillSwitch
        | OrderStatus::BlockedCircuitBreaker
        | OrderStatus::BlockedRisk
        | OrderStatus::DryRun => false,
    }
}
