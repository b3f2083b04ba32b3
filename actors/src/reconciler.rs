//! Comparing our books with the broker's: before the account may send, on a period, and when events may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use chrono::{DateTime, Utc};
use serde_json::json;
use thiserror::Error;

use crate::broker::{Adopt, Dispatch, dispatch};
use crate::circuit_breaker::PositionDiffers;
use crate::domain::ledger::Write;
use crate::domain::names::{BrokerOrderId, Symbol};
use crate::domain::reconciliation::{CauseId, CauseKind, Comparison, Difference, Differences, Sighting};
use crate::domain::venue::VenueOrder;
use crate::health::{AccountHealth, Part, PartStatus};
use crate::line::Line;
use crate::persistence::{Persist, persist_surely};
use crate::ports::store::StoreError;
use crate::ports::{VenueError, World};
use crate::tuning::Tuning;
use crate::watch::Sentinel;

use comparing::compare;

mod comparing;

/// How long after a comparison that failed the next one is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Compares the books now, takes over what the venue says, and hands the broker what has to be looked up or sent.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), CompareError>")]
pub(crate) struct Compare {
    /// The account sends nothing meanwhile.
    pub(crate) recovering: bool,
    /// Since when our books may lack orders, where they went back.
    pub(crate) behind: Option<DateTime<Utc>>,
}

/// The lines that the reconciler speaks on.
#[derive(Clone, Default)]
pub(crate) struct ReconcilerLines {
    pub(crate) persist: Line<Persist>,
    pub(crate) adopt: Line<Adopt>,
    pub(crate) dispatch: Line<Dispatch>,
    pub(crate) position_differs: Line<PositionDiffers>,
}

/// Why the books could not be compared.
#[derive(Debug, Error)]
pub(crate) enum CompareError {
    #[error(transparent)]
    Venue(#[from] VenueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stops the actor, as before it is rebuilt.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopComparing;

/// What the last comparison found; an orphan counts when it was seen twice, and is written down once.
#[derive(Default)]
struct Seen {
    orphans: BTreeSet<BrokerOrderId>,
    recorded: BTreeSet<BrokerOrderId>,
    positions: Differences,
    /// When that was, on the monotonic clock.
    at: Duration,
}

/// Owns the memory of what differed the last time.
pub(crate) struct Reconciler {
    world: World,
    tuning: Tuning,
    health: AccountHealth,
    lines: ReconcilerLines,
    seen: Seen,
    /// A comparison that nobody waits for is under way; another one is wanted after it.
    comparing: bool,
    compare_again: bool,
    _sentinel: Sentinel,
}

impl Reconciler {
    pub(crate) fn new(
        (world, tuning, health): (World, Tuning, AccountHealth),
        lines: ReconcilerLines,
        sentinel: Sentinel,
    ) -> Self {
        Self {
            world,
            tuning,
            health,
            lines,
            seen: Seen::default(),
            comparing: false,
            compare_again: false,
            _sentinel: sentinel,
        }
    }
}

impl Actor for Reconciler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.tuning.reconcile, Self::compare_in_passing);
    }
}

impl Handler<Compare> for Reconciler {
    type Result = ResponseActFuture<Self, Result<(), CompareError>>;

    fn handle(&mut self, compare: Compare, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.compare(compare).map(|compared, act, _| {
            act.note(&compared);
            compared
        }))
    }
}

/// Events may be missing: compares the books soon.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct CompareSoon;

impl Handler<CompareSoon> for Reconciler {
    type Result = ();

    fn handle(&mut self, _: CompareSoon, ctx: &mut Self::Context) {
        self.compare_in_passing(ctx);
    }
}

impl Handler<StopComparing> for Reconciler {
    type Result = ();

    fn handle(&mut self, _: StopComparing, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Reconciler {
    fn note(&self, compared: &Result<(), CompareError>) {
        match compared {
            Ok(_) => self.health.set(Part::Reconciler, PartStatus::Up, ""),
            Err(error) => {
                tracing::warn!(%error, "our books could not be compared with the broker's");
                self.health.set(Part::Reconciler, PartStatus::Down, error.to_string());
            }
        }
    }

    /// However often it is asked for, one comparison in passing runs at a time; one that failed is tried again soon, since
    /// the events that it was to make up for are still missing.
    fn compare_in_passing(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.comparing, true) {
            self.compare_again = true;
            return;
        }
        ctx.spawn(self.compare(Compare { recovering: false, behind: None }).map(|compared, act, ctx| {
            act.note(&compared);
            act.comparing = false;
            if compared.is_err() {
                ctx.run_later(RETRY, Self::compare_in_passing);
            } else if std::mem::take(&mut act.compare_again) {
                act.compare_in_passing(ctx);
            }
        }));
    }

    fn compare(&self, asked: Compare) -> ResponseActFuture<Self, Result<(), CompareError>> {
        let (world, tuning, lines) = (self.world.clone(), self.tuning.clone(), self.lines.clone());
        let (at, began) = (self.world.clock.now(), self.world.clock.monotonic());
        let compared = async move {
            let found = compare(&world, &tuning, &lines.persist, asked).await?;
            let adopt = Adopt { orders: found.open.unknown, complete: asked.recovering };
            let (adopted, sent) =
                futures_util::join!(lines.adopt.ask(adopt), dispatch(&lines.dispatch, found.open.waiting),);
            if adopted.is_err() || sent.is_err() {
                tracing::error!("the broker's actor is down; it is rebuilt, and the books compared again");
            }
            Ok((found.orphans, found.positions))
        };
        let counted = compared.into_actor(self).map(move |found: Result<_, CompareError>, act, ctx| {
            let failed = found.as_ref().err().map(ToString::to_string);
            let counted =
                found.map(|(orphans, positions)| act.count((began, asked.behind.is_some()), orphans, positions, ctx));
            let took = act.world.clock.monotonic().saturating_sub(began);
            metrics::histogram!("tranche_reconciliation_seconds").record(took);
            act.health.set_comparison(Comparison { at, took, failed, differences: act.seen.positions.all() });
            counted
        });
        // Whoever asked for it finds written down what was found.
        Box::pin(counted.then(|counted, act, _| {
            let line = act.lines.persist.clone();
            let written = async move {
                let writes = counted?;
                if !writes.is_empty() {
                    persist_surely(&line, writes).await;
                }
                Ok(())
            };
            written.into_actor(act)
        }))
    }

    /// What has to be written down of a comparison. One that overlapped with the comparison before may have seen the same
    /// race: it confirms nothing.
    fn count(
        &mut self,
        (began, is_behind): (Duration, bool),
        orphans: Vec<VenueOrder>,
        positions: BTreeMap<Symbol, Sighting>,
        ctx: &mut Context<Self>,
    ) -> Vec<Write> {
        if began < self.seen.at {
            return Vec::new();
        }
        self.seen.at = self.world.clock.monotonic();
        let mut writes = self.count_orphans(orphans, is_behind);
        writes.extend(self.count_positions(positions, ctx));
        writes
    }

    /// An order at the broker that we don't know: recorded when seen twice, its symbol quarantined. Where the books may lack
    /// orders, one that traded and has ended is recorded at once: no later comparison sees it.
    fn count_orphans(&mut self, orphans: Vec<VenueOrder>, is_behind: bool) -> Vec<Write> {
        let before = std::mem::take(&mut self.seen.orphans);
        let mut writes = Vec::new();
        for orphan in orphans {
            let has_traded = orphan.status.is_terminal() && !orphan.filled_qty.is_zero();
            let is_sure = before.contains(&orphan.broker_order_id) || (is_behind && has_traded);
            if is_sure && self.seen.recorded.insert(orphan.broker_order_id.clone()) {
                tracing::error!(broker_order_id = %orphan.broker_order_id, symbol = %orphan.instruction.symbol, "the broker has an order that we don't know");
                metrics::counter!("tranche_orphans_total").increment(1);
                writes.extend(quarantine(&orphan));
            }
            self.seen.orphans.insert(orphan.broker_order_id);
        }
        self.seen.recorded.retain(|id| self.seen.orphans.contains(id));
        writes
    }

    /// A position that differs: an alert, a metric and a row, once; above the tolerance the breaker trips.
    fn count_positions(&mut self, differing: BTreeMap<Symbol, Sighting>, ctx: &mut Context<Self>) -> Vec<Write> {
        metrics::gauge!("tranche_differing_positions").set(u32::try_from(differing.len()).unwrap_or(u32::MAX));
        let mut writes = Vec::new();
        for difference in self.seen.positions.see(differing) {
            let Difference { symbol, ours, theirs, .. } = &difference;
            tracing::error!(%symbol, %ours, %theirs, "our position differs from the broker's");
            metrics::counter!("tranche_position_differences_total").increment(1);
            writes.push(Write::PositionDiffers { symbol: symbol.clone(), ours: *ours, theirs: *theirs });
            if self.tuning.position_tolerance.is_some_and(|tolerance| (*ours - *theirs).abs() > tolerance) {
                self.tell_breaker(difference, ctx);
            }
        }
        writes
    }

    /// A breaker that is being rebuilt is told once it is there again.
    fn tell_breaker(&self, difference: Difference, ctx: &mut Context<Self>) {
        let line = self.lines.position_differs.clone();
        let told = async move {
            while line.ask(PositionDiffers(difference.clone())).await.is_err() {
                tokio::time::sleep(RETRY).await;
            }
        };
        ctx.spawn(told.into_actor(self));
    }
}

/// An orphan as a cause of quarantine, known by the broker's id.
fn quarantine(orphan: &VenueOrder) -> Option<Write> {
    let cause = CauseId::parse(orphan.broker_order_id.as_str()).ok()?;
    let found = json!({
        "client_order_id": orphan.client_order_id, "side": orphan.instruction.side, "qty": orphan.qty,
        "order_type": orphan.instruction.terms.order_type(), "status": orphan.status,
    });
    let symbol = orphan.instruction.symbol.clone();
    let broker_order_id = Some(orphan.broker_order_id.clone());
    Some(Write::Quarantine { cause, kind: CauseKind::Orphan, symbol, broker_order_id, found })
}
