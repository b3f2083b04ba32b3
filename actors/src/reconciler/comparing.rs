//! One comparison: the venue's pages beside our books, and what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Compare, CompareError};
use crate::broker::Due;
use crate::domain::calendar::Hours;
use crate::domain::ids::is_flatten;
use crate::domain::ledger::{Refusal, Report, Write};
use crate::domain::limits::Wish;
use crate::domain::names::{BrokerOrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::reconciliation::Sighting;
use crate::domain::status::Share;
use crate::domain::venue::{Execution, Unclosable, VenueOrder};
use crate::line::Line;
use crate::persistence::{Persist, persist_surely};
use crate::ports::{VenueError, World};
use crate::tuning::Tuning;

/// How far before the oldest open claim the venue's pages begin: clocks differ.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// What a comparison leaves to the broker.
#[derive(Default)]
pub(super) struct Open {
    /// Orders of unknown outcome, and live ones that the venue's pages lacked: to be looked up one by one.
    pub(super) unknown: Vec<(Order, Due)>,
    /// Single orders that were never sent, and whose time may have passed.
    pub(super) waiting: Vec<Due>,
}

/// What a comparison found.
pub(super) struct Found {
    pub(super) open: Open,
    pub(super) orphans: Vec<VenueOrder>,
    pub(super) positions: BTreeMap<Symbol, Sighting>,
}

/// Takes over what the venue says of our orders, and finds what is left.
pub(super) async fn compare(
    world: &World,
    tuning: &Tuning,
    persist: &Line<Persist>,
    Compare { recovering, behind }: Compare,
) -> Result<Found, CompareError> {
    let ours = world.store.open_orders(&tuning.account).await?;
    let theirs = pages(world, tuning, since(&ours, behind)).await?;
    let mut executions = executions(world, tuning, &ours).await?;
    let mut orphans = Vec::new();
    let mut reports = Vec::new();
    let listed = theirs.keys().cloned().collect::<BTreeSet<_>>();
    for order in theirs.into_values() {
        let trades = executions.remove(&order.broker_order_id).unwrap_or_default();
        reports.push(Report { order, executions: trades, corrects: false });
    }
    let writes = reports.iter().cloned().map(|report| Write::Report(Box::new(report))).collect::<Vec<_>>();
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
    Ok(Found { open, orphans, positions })
}

/// How long a page may take at least, however short a send may be: a venue that never answers must not hold up a
/// recovery for ever.
const SHORTEST_READ: Duration = Duration::from_secs(10);

/// How much longer it may take where there is a rate budget: it may be many requests, each of which waits for its token.
const WAIT_FOR_TOKENS: Duration = Duration::from_secs(120);

async fn in_time<T>(tuning: &Tuning, asked: impl Future<Output = Result<T, VenueError>>) -> Result<T, VenueError> {
    let late = || VenueError::Unavailable { detail: "no answer in time".to_owned() };
    let tokens = tuning.requests_per_minute.map_or(Duration::ZERO, |_| WAIT_FOR_TOKENS);
    let longest = tuning.send_timeout.max(SHORTEST_READ) + tokens;
    tokio::time::timeout(longest, asked).await.unwrap_or_else(|_| Err(late()))
}

/// The venue's orders: all that are open, and of every status since then.
async fn pages(
    world: &World,
    tuning: &Tuning,
    since: Option<DateTime<Utc>>,
) -> Result<BTreeMap<BrokerOrderId, VenueOrder>, VenueError> {
    let keyed = |order: VenueOrder| (order.broker_order_id.clone(), order);
    let mut theirs =
        in_time(tuning, world.venue.open_orders()).await?.into_iter().map(keyed).collect::<BTreeMap<_, _>>();
    let Some(since) = since else { return Ok(theirs) };
    let mut after = None;
    loop {
        let page = in_time(tuning, world.venue.orders_since(since, after.as_ref())).await?;
        let Some(last) = page.last() else { return Ok(theirs) };
        let behind = Some(last.broker_order_id.clone());
        if behind == after {
            return Err(VenueError::Unavailable { detail: "the venue repeats a page".to_owned() });
        }
        after = behind;
        theirs.extend(page.into_iter().map(keyed));
    }
}

/// Where what has ended at the venue is of interest too: since the oldest claim that is open with us, and since our books
/// may lack orders.
fn since(ours: &[Order], behind: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    ours.iter().filter_map(|order| order.claimed_at).chain(behind).min().map(|oldest| oldest - MARGIN)
}

async fn executions(
    world: &World,
    tuning: &Tuning,
    ours: &[Order],
) -> Result<BTreeMap<BrokerOrderId, Vec<Execution>>, VenueError> {
    let mut by_order: BTreeMap<BrokerOrderId, Vec<Execution>> = BTreeMap::new();
    if let Some(since) = since(ours, None) {
        for execution in in_time(tuning, world.venue.executions_since(since)).await? {
            by_order.entry(execution.broker_order_id.clone()).or_default().push(execution);
        }
    }
    Ok(by_order)
}

/// What is left to be looked up, and what was never sent. The silence of a page is not *absent*.
fn sort(ours: Vec<Order>, listed: &BTreeSet<BrokerOrderId>, tuning: &Tuning, recovering: bool) -> Open {
    let mut open = Open::default();
    for order in ours {
        let grace = if order.slice.is_some() { tuning.grace } else { tuning.single_grace };
        let due = Due {
            id: order.id.clone(),
            plan_version: order.slice.as_ref().map(|slice| slice.plan_version),
            due: order.scheduled_time,
            is_planned: order.slice.is_some() && order.replaces.is_none(),
            latest: order.scheduled_time + grace,
            hours: Hours::of(&order.instruction),
            absent_since: None,
            wish: Wish::of(&order, &order.strategy_id),
            waits_for: None,
        };
        match order.status.share() {
            // What closes positions brings itself.
            Share::Pending if recovering && order.slice.is_none() && !is_flatten(&order.id) => open.waiting.push(due),
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

async fn positions(world: &World, tuning: &Tuning) -> Result<BTreeMap<Symbol, Sighting>, CompareError> {
    let theirs = in_time(tuning, world.venue.positions()).await?;
    let ours = world.store.positions(&tuning.account).await?;
    let mut both: BTreeMap<Symbol, Sighting> = BTreeMap::new();
    for held in ours {
        let seen = both.entry(held.symbol).or_default();
        (seen.ours, seen.version) = (held.position.qty, held.position.version);
    }
    // What can't be closed from here differs too, where our books could have it.
    let other = |held: Unclosable| Some((Symbol::parse(&held.name).ok()?, held.qty));
    let others = theirs.unclosable.into_iter().filter_map(other);
    for (symbol, qty) in theirs.positions.into_iter().map(|held| (held.symbol, held.qty)).chain(others) {
        both.entry(symbol).or_default().theirs = qty;
    }
    both.retain(|_, seen| seen.ours != seen.theirs);
    Ok(both)
}
