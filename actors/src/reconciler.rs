//! Comparing our books with the broker's: before the account may send, on a period, and when events may be missing.

use std::collections::{BTreeMap, BTreeSet};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::json;
use thiserror::Error;

use crate::broker::{Adopt, Dispatch, Due, dispatch};
use crate::domain::ledger::{Refusal, Report, Write};
use crate::domain::names::{BrokerOrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::status::Share;
use crate::domain::venue::{Execution, VenueOrder};
use crate::health::{Health, Part, PartStatus};
use crate::line::Line;
use crate::persistence::{Persist, persist_surely};
use crate::ports::store::StoreError;
use crate::ports::{VenueError, World};
use crate::tuning::Tuning;
use crate::watch::Sentinel;

/// How far before the oldest open claim the venue's pages begin: clocks differ.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// Compares the books now, takes over what the venue says, and hands the broker what has to be looked up or sent.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), CompareError>")]
pub(crate) struct Compare {
    /// The account sends nothing meanwhile.
    pub(crate) recovering: bool,
}

/// What a comparison leaves to the broker.
#[derive(Default)]
struct Open {
    /// Orders of unknown outcome, and live ones that the venue's pages lacked: to be looked up one by one.
    unknown: Vec<(Order, Due)>,
    /// Single orders that were never sent, and whose time may have passed.
    waiting: Vec<Due>,
}

/// The lines that the reconciler speaks on.
#[derive(Clone, Default)]
pub(crate) struct ReconcilerLines {
    pub(crate) persist: Line<Persist>,
    pub(crate) adopt: Line<Adopt>,
    pub(crate) dispatch: Line<Dispatch>,
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

/// A difference counts when it was seen twice with no fill between, and is written down once.
#[derive(Default)]
struct Seen {
    orphans: BTreeSet<BrokerOrderId>,
    recorded: BTreeSet<BrokerOrderId>,
    positions: BTreeMap<Symbol, (Decimal, Decimal)>,
    reported: BTreeMap<Symbol, (Decimal, Decimal)>,
}

/// Owns the memory of what differed the last time.
pub(crate) struct Reconciler {
    world: World,
    tuning: Tuning,
    health: Health,
    lines: ReconcilerLines,
    seen: Seen,
    /// A comparison that nobody waits for is under way; another one is wanted after it.
    comparing: bool,
    compare_again: bool,
    _sentinel: Sentinel,
}

impl Reconciler {
    pub(crate) fn new(
        (world, tuning, health): (World, Tuning, Health),
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
        Box::pin(self.compare(compare.recovering).map(|compared, act, _| {
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

    /// However often it is asked for, one comparison runs at a time.
    fn compare_in_passing(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.comparing, true) {
            self.compare_again = true;
            return;
        }
        ctx.spawn(self.compare(false).map(|compared, act, ctx| {
            act.note(&compared);
            act.comparing = false;
            if std::mem::take(&mut act.compare_again) {
                act.compare_in_passing(ctx);
            }
        }));
    }

    fn compare(&self, recovering: bool) -> ResponseActFuture<Self, Result<(), CompareError>> {
        let (world, tuning, lines) = (self.world.clone(), self.tuning.clone(), self.lines.clone());
        let compared = async move {
            let found = compare(&world, &tuning, &lines.persist, recovering).await?;
            let adopt = Adopt {
                orders: found.open.unknown,
                complete: recovering,
            };
            let (adopted, sent) =
                futures_util::join!(lines.adopt.ask(adopt), dispatch(&lines.dispatch, found.open.waiting),);
            if adopted.is_err() || sent.is_err() {
                tracing::error!("the broker's actor is down; it is rebuilt, and the books compared again");
            }
            Ok((found.orphans, found.positions))
        };
        Box::pin(
            compared
                .into_actor(self)
                .map(|found: Result<_, CompareError>, act, ctx| {
                    let (orphans, positions) = found?;
                    act.count_orphans(orphans, ctx);
                    act.count_positions(positions, ctx);
                    Ok(())
                }),
        )
    }

    /// An order at the broker that we don't know: recorded when seen twice, its symbol quarantined.
    fn count_orphans(&mut self, orphans: Vec<VenueOrder>, ctx: &mut Context<Self>) {
        let before = std::mem::take(&mut self.seen.orphans);
        let mut writes = Vec::new();
        for orphan in orphans {
            let twice = before.contains(&orphan.broker_order_id);
            if twice && self.seen.recorded.insert(orphan.broker_order_id.clone()) {
                tracing::error!(broker_order_id = %orphan.broker_order_id, symbol = %orphan.instruction.symbol, "the broker has an order that we don't know");
                metrics::counter!("tranche_orphans_total").increment(1);
                writes.push(Write::Quarantine {
                    symbol: orphan.instruction.symbol.clone(),
                    reason: "orphan",
                    broker_order_id: Some(orphan.broker_order_id.clone()),
                    data: json!({"client_order_id": orphan.client_order_id, "qty": orphan.qty, "side": orphan.instruction.side}),
                });
            }
            self.seen.orphans.insert(orphan.broker_order_id);
        }
        self.seen.recorded.retain(|id| self.seen.orphans.contains(id));
        self.write(writes, ctx);
    }

    fn count_positions(&mut self, differing: BTreeMap<Symbol, (Decimal, Decimal)>, ctx: &mut Context<Self>) {
        let mut writes = Vec::new();
        for (symbol, (ours, theirs)) in &differing {
            let twice = self.seen.positions.get(symbol) == Some(&(*ours, *theirs));
            if twice && self.seen.reported.get(symbol) != Some(&(*ours, *theirs)) {
                tracing::error!(%symbol, %ours, %theirs, "our position differs from the broker's");
                metrics::counter!("tranche_position_differences_total").increment(1);
                self.seen.reported.insert(symbol.clone(), (*ours, *theirs));
                writes.push(Write::PositionDiffers {
                    symbol: symbol.clone(),
                    ours: *ours,
                    theirs: *theirs,
                });
            }
        }
        self.seen.reported.retain(|symbol, _| differing.contains_key(symbol));
        self.seen.positions = differing;
        self.write(writes, ctx);
    }

    fn write(&self, writes: Vec<Write>, ctx: &mut Context<Self>) {
        if writes.is_empty() {
            return;
        }
        let line = self.lines.persist.clone();
        ctx.spawn(
            async move { persist_surely(&line, writes).await }
                .into_actor(self)
                .map(|_, _, _| ()),
        );
    }
}

struct Found {
    open: Open,
    orphans: Vec<VenueOrder>,
    positions: BTreeMap<Symbol, (Decimal, Decimal)>,
}

async fn compare(
    world: &World,
    tuning: &Tuning,
    persist: &Line<Persist>,
    recovering: bool,
) -> Result<Found, CompareError> {
    let ours = world.store.open_orders(&tuning.account).await?;
    let theirs = pages(world, tuning, &ours).await?;
    let mut executions = executions(world, tuning, &ours).await?;
    let mut orphans = Vec::new();
    let mut reports = Vec::new();
    let listed = theirs.keys().cloned().collect::<BTreeSet<_>>();
    for order in theirs.into_values() {
        let trades = executions.remove(&order.broker_order_id).unwrap_or_default();
        reports.push(Report {
            order,
            executions: trades,
            corrects: false,
        });
    }
    let writes = reports
        .iter()
        .cloned()
        .map(|report| Write::Report(Box::new(report)))
        .collect::<Vec<_>>();
    for (report, result) in reports.into_iter().zip(persist_surely(persist, writes).await) {
        match result {
            Ok(_) => {}
            Err(Refusal::NotFound) => orphans.push(report.order),
            Err(Refusal::NotOurs) => {
                tracing::error!(client_order_id = %report.order.client_order_id, "the broker's order of this id is not what was sent");
                orphans.push(report.order);
            }
            Err(refusal) => {
                tracing::warn!(client_order_id = %report.order.client_order_id, %refusal, "the broker's order was not taken over");
            }
        }
    }
    // Our books again, after the pages: what has happened meanwhile is no difference.
    let ours = world.store.open_orders(&tuning.account).await?;
    let open = sort(ours, &listed, tuning, recovering);
    let positions = positions(world, tuning).await?;
    Ok(Found {
        open,
        orphans,
        positions,
    })
}

/// A venue that never answers must not hold up a recovery for ever.
async fn in_time<T>(tuning: &Tuning, asked: impl Future<Output = Result<T, VenueError>>) -> Result<T, VenueError> {
    let late = || VenueError::Unavailable {
        detail: "no answer in time".to_owned(),
    };
    tokio::time::timeout(tuning.send_timeout, asked)
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// The venue's orders: all that are open, and of every status since the oldest claim that is open with us.
async fn pages(
    world: &World,
    tuning: &Tuning,
    ours: &[Order],
) -> Result<BTreeMap<BrokerOrderId, VenueOrder>, VenueError> {
    let keyed = |order: VenueOrder| (order.broker_order_id.clone(), order);
    let mut theirs = in_time(tuning, world.venue.open_orders())
        .await?
        .into_iter()
        .map(keyed)
        .collect::<BTreeMap<_, _>>();
    let Some(since) = oldest(ours) else { return Ok(theirs) };
    let mut after = None;
    loop {
        let page = in_time(tuning, world.venue.orders_since(since, after.as_ref())).await?;
        let Some(last) = page.last() else { return Ok(theirs) };
        after = Some(last.broker_order_id.clone());
        theirs.extend(page.into_iter().map(keyed));
    }
}

fn oldest(ours: &[Order]) -> Option<DateTime<Utc>> {
    ours.iter()
        .filter_map(|order| order.claimed_at)
        .min()
        .map(|claimed| claimed - MARGIN)
}

async fn executions(
    world: &World,
    tuning: &Tuning,
    ours: &[Order],
) -> Result<BTreeMap<BrokerOrderId, Vec<Execution>>, VenueError> {
    let mut by_order: BTreeMap<BrokerOrderId, Vec<Execution>> = BTreeMap::new();
    if let Some(since) = oldest(ours) {
        for execution in in_time(tuning, world.venue.executions_since(since)).await? {
            by_order
                .entry(execution.broker_order_id.clone())
                .or_default()
                .push(execution);
        }
    }
    Ok(by_order)
}

/// What is left to be looked up, and what was never sent. The silence of a page is not *absent*.
fn sort(ours: Vec<Order>, listed: &BTreeSet<BrokerOrderId>, tuning: &Tuning, recovering: bool) -> Open {
    let mut open = Open::default();
    for order in ours {
        let grace = if order.slice.is_some() {
            tuning.grace
        } else {
            tuning.single_grace
        };
        let due = Due {
            id: order.id.clone(),
            plan_version: order.slice.as_ref().map(|slice| slice.plan_version),
            due: order.scheduled_time,
            latest: order.scheduled_time + grace,
            absent_since: None,
        };
        match order.status.share() {
            Share::Pending if recovering && order.slice.is_none() => open.waiting.push(due),
            // The broker's actor knows which of these are in its own hands.
            Share::Unknown => open.unknown.push((order, due)),
            Share::Working if order.broker_order_id.as_ref().is_none_or(|id| !listed.contains(id)) => {
                open.unknown.push((order, due));
            }
            Share::Pending | Share::Working | Share::Unexecuted => {}
        }
    }
    open
}

async fn positions(world: &World, tuning: &Tuning) -> Result<BTreeMap<Symbol, (Decimal, Decimal)>, CompareError> {
    let theirs = in_time(tuning, world.venue.positions()).await?;
    let ours = world.store.positions(&tuning.account).await?;
    let mut both: BTreeMap<Symbol, (Decimal, Decimal)> = BTreeMap::new();
    for held in ours {
        both.entry(held.symbol).or_default().0 = held.position.qty;
    }
    for held in theirs {
        both.entry(held.symbol).or_default().1 = held.qty;
    }
    both.retain(|_, (ours, theirs)| ours != theirs);
    Ok(both)
}
