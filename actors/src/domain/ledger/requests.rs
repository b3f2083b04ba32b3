//! What people ask for: entered in the audit together with its effect, and only where it had one; and done once, where the
//! request has a key.

use serde_json::{Value, json};

use super::{Applied, Books, Outcome, Refusal, Write};
use crate::domain::audit::{AuditEntry, Request};
use crate::domain::names::OrderId;
use crate::domain::once::FirstAnswer;

impl Books {
    pub(super) fn requested(&mut self, request: &Request, write: &Write) -> Result<Applied, Refusal> {
        if let Some((key, once)) = request.named()
            && let Some(first) = self.answers.get(&key)
        {
            return Err(if first.hash == once.hash { Refusal::Answered } else { Refusal::KeyReused });
        }
        let before = self.picture(write);
        let applied = self.apply(write)?;
        match applied.outcome {
            Outcome::Unchanged | Outcome::Replayed => {}
            Outcome::Done | Outcome::Canceling(_) | Outcome::Resumed | Outcome::Cleared { .. } | Outcome::Booked(_) => {
                self.changes.audit.extend(request.entry(before, self.picture(write)));
            }
        }
        if let Some((key, once)) = request.named()
            && let Some(answer) = once.answer.0(self, &applied)
        {
            self.answers.insert(key.clone(), FirstAnswer { hash: once.hash.clone(), answer, at: self.at });
            self.changes.answers.insert(key);
        }
        Ok(applied)
    }

    pub(super) fn audit(&mut self, entry: &AuditEntry) -> Applied {
        self.changes.audit.push(entry.clone());
        Applied::done()
    }

    /// How that which a write is about stands in the books, for the audit; `None` where there is nothing to compare.
    fn picture(&self, write: &Write) -> Option<Value> {
        match write {
            Write::Kill { .. } => self.kill.as_ref().map(|state| json!(state)),
            Write::Halts { .. } => Some(json!(self.halts.in_force)),
            Write::Breaker { .. } => self.breaker.as_ref().map(|state| json!(state)),
            Write::Resolve { id, .. } | Write::CancelOrder { id, .. } => self.picture_of_order(id),
            Write::ResumeParent { id, .. } | Write::CancelParent { id, .. } => {
                let parent = self.parents.get(id)?;
                Some(json!({"status": parent.status, "paused": parent.paused.map(|reason| reason.as_str())}))
            }
            Write::ClearCause { cause, .. } => {
                let cause = self.causes.get(cause)?;
                let cleared = cause.cleared.as_ref().map(|cleared| json!({"reason": cleared.reason}));
                Some(json!({"symbol": cause.symbol, "kind": cause.kind, "cleared": cleared}))
            }
            Write::Capital(_) => {
                Some(json!({"equity": self.portfolio.closed_equity, "version": self.portfolio.version}))
            }
            Write::Requested { write, .. } => self.picture(write),
            // The books have just its revision: whoever writes limits has seen them, and enters them with the write.
            Write::Limits { .. } => None,
            Write::Submit(_)
            | Write::Replace(_)
            | Write::Claim { .. }
            | Write::Flatten { .. }
            | Write::NeverLeft { .. }
            | Write::OutcomeUnknown { .. }
            | Write::Refused { .. }
            | Write::Report(_)
            | Write::Absent { .. }
            | Write::End { .. }
            | Write::Hold { .. }
            | Write::Pause { .. }
            | Write::Doubt { .. }
            | Write::MarkCancels { .. }
            | Write::ScheduleEnded { .. }
            | Write::CancelTaken { .. }
            | Write::CancelRefused { .. }
            | Write::Benchmark { .. }
            | Write::Quarantine { .. }
            | Write::PositionDiffers { .. }
            | Write::FirstStart(_)
            | Write::OpenDay { .. }
            | Write::Noted(_)
            | Write::Audit(_)
            | Write::Probe => None,
        }
    }

    fn picture_of_order(&self, id: &OrderId) -> Option<Value> {
        let order = self.orders.get(id)?;
        Some(json!({
            "status": order.status,
            "filled_qty": order.filled_qty,
            "filled_avg_price": order.filled_avg_price(),
            "reason_code": order.reason_code,
            "error_message": order.error_message,
        }))
    }
}
