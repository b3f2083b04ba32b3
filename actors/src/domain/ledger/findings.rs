//! What was found at the broker that does not fit our books: causes of quarantine, and positions that differ.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::books::Books;
use super::{Applied, Event, EventKind, Outcome, Refusal};
use crate::domain::names::{BrokerOrderId, Caller, Symbol};
use crate::domain::reconciliation::{Cause, CauseId, CauseKind, Clearance};

impl Books {
    /// Whether a symbol takes no new entries.
    pub(super) fn is_quarantined(&self, symbol: &Symbol) -> bool {
        self.causes.values().any(|cause| cause.symbol == *symbol && cause.cleared.is_none())
    }

    pub(super) fn quarantine(
        &mut self,
        id: &CauseId,
        kind: CauseKind,
        symbol: &Symbol,
        broker_order_id: Option<&BrokerOrderId>,
        found: &Value,
    ) -> Applied {
        if self.causes.contains_key(id) {
            return Applied::unchanged();
        }
        let cause = Cause {
            id: id.clone(),
            kind,
            symbol: symbol.clone(),
            broker_order_id: broker_order_id.cloned(),
            found: found.clone(),
            since: self.at,
            cleared: None,
        };
        self.causes.insert(id.clone(), cause);
        self.changes.causes.insert(id.clone());
        let data = json!({
            "id": id, "symbol": symbol, "reason": kind, "broker_order_id": broker_order_id, "found": found,
        });
        self.note(Event::global(EventKind::Quarantined, data));
        Applied::done()
    }

    pub(super) fn clear_cause(
        &mut self,
        id: &CauseId,
        operator: &str,
        reason: &str,
        by: &Caller,
    ) -> Result<Applied, Refusal> {
        let at = self.at;
        let cause = self.causes.get_mut(id).ok_or(Refusal::NotFound)?;
        if cause.cleared.is_some() {
            return Err(Refusal::AlreadyCleared);
        }
        cause.cleared =
            Some(Clearance { at, operator: operator.to_owned(), reason: reason.to_owned(), by: by.clone() });
        let (symbol, kind) = (cause.symbol.clone(), cause.kind);
        self.changes.causes.insert(id.clone());
        let released = !self.is_quarantined(&symbol);
        let data = json!({
            "id": id, "symbol": symbol, "cause": kind, "operator": operator, "reason": reason, "released": released,
        });
        self.note(Event { actor: by.to_string(), ..Event::global(EventKind::QuarantineCleared, data) });
        Ok(Applied { outcome: Outcome::Cleared { released }, ..Applied::done() })
    }

    pub(super) fn position_differs(&mut self, symbol: &Symbol, ours: Decimal, theirs: Decimal) -> Applied {
        self.changes.differences.push((symbol.clone(), ours, theirs));
        let data = json!({"symbol": symbol, "ours": ours, "theirs": theirs});
        self.note(Event::global(EventKind::PositionDiffers, data));
        Applied::done()
    }
}
