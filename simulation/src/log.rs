//! The log of a run: every step as a line, its digest, and the last lines.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tranche_actors::domain::ledger;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::venue::{NewOrder, VenueEvent, VenueOrder};

use crate::store::ledger::Ledger;
use crate::tape::Step;

/// Where a log goes besides.
pub type Sink = Box<dyn FnMut(&str) + Send>;

/// The log of one run. The same run has the same digest.
pub struct Log {
    digest: Sha256,
    last: VecDeque<String>,
    keep: usize,
    sink: Option<Sink>,
    steps: u64,
}

impl Log {
    /// A log that keeps its last lines, and hands every line on.
    #[must_use]
    pub fn new(keep: usize, sink: Option<Sink>) -> Self {
        Self { digest: Sha256::new(), last: VecDeque::new(), keep, sink, steps: 0 }
    }

    /// How many steps there were.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The last lines, the oldest first.
    #[must_use]
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// The digest of all lines so far, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let digest = self.digest.clone().finalize();
        digest.iter().fold(String::new(), |mut text, byte| {
            // Writing to a text can't fail.
            write!(text, "{byte:02x}").ok();
            text
        })
    }

    /// Adds a step.
    pub(crate) fn add(&mut self, at: Duration, step: &Step<'_>, ledger: &Ledger) {
        self.steps += 1;
        let mut line = if self.last.len() >= self.keep { self.last.pop_front() } else { None }.unwrap_or_default();
        line.clear();
        // Writing to a text can't fail.
        let (seconds, micros) = (at.as_secs(), at.subsec_micros());
        write!(line, "{:>7} {seconds:>5}.{micros:06} {}", self.steps, Line { step, ledger }).ok();
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
        if let Some(sink) = &mut self.sink {
            sink(&line);
        }
        self.last.push_back(line);
    }
}

struct Line<'a> {
    step: &'a Step<'a>,
    ledger: &'a Ledger,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Step::Started(life) => write!(f, "process {life} starts"),
            Step::Crashed => write!(f, "the process is gone"),
            Step::Fault(what) => write!(f, "fault: {what}"),
            Step::Struck(what) => write!(f, "struck: {what}"),
            Step::Asked(number, request) => write!(f, "client {number} asks: {request}"),
            Step::Replied(number, _, reply) => write!(f, "client {number} is told: {reply}"),
            Step::Committed(batch, saved) => {
                write!(f, "commit {:016x}:", batch.nonce)?;
                for write in &batch.writes {
                    write!(f, " {}", word_for(write))?;
                }
                for (id, before) in &saved.orders {
                    let after = self.ledger.order(id);
                    write!(f, "; {id} {} -> {}", status(before.as_ref()), Now(after))?;
                }
                for (id, before) in &saved.parents {
                    let status =
                        |of: Option<&tranche_actors::domain::parent::Parent>| of.map_or("-", |p| p.status.as_str());
                    let (before, after) = (status(before.as_ref()), status(self.ledger.parent(id)));
                    if before != after {
                        write!(f, "; parent {id} {before} -> {after}")?;
                    }
                }
                Ok(())
            }
            Step::Sent(order) => write!(f, "sent {}", Sent(order)),
            Step::Taken(order) => write!(f, "venue takes {}", Shown(order)),
            Step::Answered(id, Ok(order)) => write!(f, "venue answers {id}: {}", Shown(order)),
            Step::Answered(id, Err(error)) => write!(f, "venue answers {id}: {error}"),
            Step::CancelSent(id) => write!(f, "cancel sent of {id}"),
            Step::LookedUp(id, Some(order)) => write!(f, "looked up {id}: {}", Shown(order)),
            Step::LookedUp(id, None) => write!(f, "looked up {id}: not there"),
            Step::Listed => write!(f, "venue lists its open orders"),
            Step::Event(VenueEvent::Order { order, execution }) => {
                write!(f, "event {}", Shown(order))?;
                match execution {
                    Some(trade) => {
                        write!(f, ", traded {} at {} up to {}", trade.qty.get(), trade.price.get(), trade.cum_qty)
                    }
                    None => Ok(()),
                }
            }
            Step::Event(VenueEvent::Corrected { client_order_id }) => write!(f, "event {client_order_id} corrected"),
            Step::Event(VenueEvent::Gap) => write!(f, "event: a gap"),
        }
    }
}

struct Now<'a>(Option<&'a Order>);

impl fmt::Display for Now<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(order) = self.0 else { return write!(f, "-") };
        write!(f, "{} {}/{}", order.status, order.filled_qty, order.qty.get())?;
        if order.cancel_requested_at.is_some() { write!(f, " cancel asked") } else { Ok(()) }
    }
}

struct Sent<'a>(&'a NewOrder);

impl fmt::Display for Sent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NewOrder { client_order_id, instruction, qty } = self.0;
        write!(f, "{client_order_id}: {} {} {}", instruction.side, qty.get(), instruction.symbol)
    }
}

struct Shown<'a>(&'a VenueOrder);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = self.0;
        write!(f, "{} {} {}/{}", order.client_order_id, order.status, order.filled_qty, order.qty.get())
    }
}

fn status(order: Option<&Order>) -> &'static str {
    order.map_or("-", |order| order.status.as_str())
}

fn word_for(write: &ledger::Write) -> &'static str {
    use ledger::Write as W;
    match write {
        W::Submit(_) => "submit",
        W::Replace(_) => "replace",
        W::Claim { .. } => "claim",
        W::Flatten { .. } => "flatten",
        W::NeverLeft { .. } => "never-left",
        W::OutcomeUnknown { .. } => "unknown",
        W::Refused { .. } => "refused",
        W::Report(_) => "report",
        W::Absent { .. } => "absent",
        W::End { .. } => "end",
        W::CancelParent { .. } => "cancel-parent",
        W::Pause { .. } => "pause",
        W::Doubt { .. } => "doubt",
        W::ResumeParent { .. } => "resume-parent",
        W::CancelOrder { .. } => "cancel-order",
        W::MarkCancels { .. } => "mark-cancels",
        W::ScheduleEnded { .. } => "schedule-ended",
        W::CancelTaken { .. } => "cancel-taken",
        W::CancelRefused { .. } => "cancel-refused",
        W::Resolve { .. } => "resolve",
        W::Benchmark { .. } => "benchmark",
        W::Quarantine { .. } => "quarantine",
        W::Hold { .. } => "hold",
        W::ClearCause { .. } => "clear-cause",
        W::PositionDiffers { .. } => "position-differs",
        W::Capital(_) => "capital",
        W::OpenDay { .. } => "open-day",
        W::FirstStart(_) => "first-start",
        W::Kill { .. } => "kill-switch",
        W::Halts { .. } => "halts",
        W::Breaker { .. } => "breaker",
        W::Limits { .. } => "limits",
        W::Requested { write, .. } => word_for(write),
        W::Noted(_) => "noted",
        W::Audit(_) => "audit",
        W::Probe => "probe",
    }
}
