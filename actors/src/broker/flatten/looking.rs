//! One look at what is left to close: our books, the broker's open orders, and only then what it holds. So whatever had
//! ended by our books and by the broker's list is in the position.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::super::Due;
use crate::domain::calendar::{Hours, MarketCalendar, Slot};
use crate::domain::flatten::{Awaits, Flattening, closes, pause_after};
use crate::domain::ids::{self, is_flatten};
use crate::domain::limits::Wish;
use crate::domain::names::{AccountName, Caller, OrderId, StrategyId, Symbol};
use crate::domain::order::{Order, Origin};
use crate::domain::status::Share;
use crate::domain::venue::{Unclosable, VenueHoldings, VenueOrder};
use crate::ports::store::AnyOrder;
use crate::ports::{VenueError, World};
use crate::tuning::Tuning;

/// How long the broker has for an answer at least.
const SHORTEST_READ: Duration = Duration::from_secs(10);
/// How much longer where its rate is limited: each request waits for its token.
const WAIT_FOR_TOKENS: Duration = Duration::from_secs(60);

/// What a symbol's turn has come to.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Awaits(Awaits),
    /// This order has not left, and would close more than is held now.
    End(OrderId),
    /// This order may go, once the one before it has ended.
    Send(Box<Order>, Option<OrderId>),
}

/// A position that is left, and what is next.
pub(super) struct Next {
    pub(super) held: Decimal,
    booked: Decimal,
    pub(super) number: u32,
    pub(super) order: OrderId,
    pub(super) step: Step,
}

impl Next {
    /// Whether an order would go by a position that our books know nothing of.
    pub(super) fn is_unlike(&self) -> bool {
        matches!(self.step, Step::Send(..)) && self.held != self.booked
    }
}

/// What a look showed.
pub(super) struct Seen {
    /// When the broker was asked for its positions.
    pub(super) at: DateTime<Utc>,
    /// The same, by the clock that counts suspended time.
    pub(super) asked: Duration,
    ours: BTreeSet<OrderId>,
    /// Whether an order of ours may be live.
    is_busy: bool,
    /// What the broker lists as open.
    pub(super) open: Vec<VenueOrder>,
    /// By symbol, what is held.
    pub(super) symbols: Vec<(Symbol, Next)>,
    /// What is held besides, and can't be closed from here.
    pub(super) unclosable: Vec<Unclosable>,
}

impl Seen {
    pub(super) fn knows(&self, id: &OrderId) -> bool {
        self.ours.contains(id)
    }

    /// There is nothing left to close, and nothing is on its way that could change that.
    pub(super) fn is_done(&self) -> bool {
        self.symbols.is_empty() && self.open.is_empty() && !self.is_busy
    }

    /// The broker holds nothing at all besides.
    pub(super) fn is_flat(&self) -> bool {
        self.is_done() && self.unclosable.is_empty()
    }
}

pub(super) async fn look(
    world: World,
    tuning: Tuning,
    wanted: Flattening,
    numbers: BTreeMap<Symbol, u32>,
) -> Result<Seen, String> {
    let account = &tuning.account;
    // Which positions it may be about. What takes long comes first: what an order is sent by must be fresh.
    let mut lasts = BTreeMap::new();
    let held = in_time(&tuning, world.venue.positions()).await?.positions;
    for position in held.into_iter().filter(|held| !held.qty.is_zero()) {
        let number = numbers.get(&position.symbol).copied();
        let last = last(&world, account, &wanted, &position.symbol, number).await?;
        lasts.insert(position.symbol, last);
    }
    let unread = |error: crate::ports::store::StoreError| format!("the ledger can't be read: {error}");
    let ours = world.store.open_orders(account).await.map_err(unread)?;
    let open = in_time(&tuning, world.venue.open_orders()).await?;
    let (at, asked) = (world.clock.now(), world.clock.boottime());
    let VenueHoldings { positions: held, unclosable } = in_time(&tuning, world.venue.positions()).await?;
    let booked = world.store.positions(account).await.map_err(unread)?;
    let booked = booked.into_iter().map(|held| (held.symbol, held.position.qty)).collect::<BTreeMap<_, _>>();
    let mut symbols = Vec::new();
    for position in held.into_iter().filter(|position| !position.qty.is_zero()) {
        let symbol = position.symbol;
        let booked = booked.get(&symbol).copied().unwrap_or_default();
        let Some((number, last)) = lasts.remove(&symbol) else {
            // It came up while the others were read: the next look knows its orders.
            let number = numbers.get(&symbol).copied().unwrap_or_default();
            let order = ids::flatten(&wanted.engagement, account, &symbol, number + 1);
            let step = Step::Awaits(Awaits::Retry);
            symbols.push((symbol, Next { held: position.qty, booked, number, order, step }));
            continue;
        };
        let of = Of { account, wanted: &wanted, symbol: &symbol, held: position.qty, number, last: last.as_ref() };
        let (order, step) = of.step(&ours, &open, at);
        symbols.push((symbol, Next { held: position.qty, booked, number, order, step }));
    }
    let is_live = |order: &Order| matches!(order.status.share(), Share::Working | Share::Unknown);
    let is_busy = ours.iter().any(is_live);
    let ours = ours.into_iter().map(|order| order.id).collect();
    Ok(Seen { at, asked, ours, is_busy, open, symbols, unclosable })
}

async fn in_time<T>(tuning: &Tuning, asked: impl Future<Output = Result<T, VenueError>>) -> Result<T, String> {
    let tokens = tuning.requests_per_minute.map_or(Duration::ZERO, |_| WAIT_FOR_TOKENS);
    match tokio::time::timeout(tuning.send_timeout.max(SHORTEST_READ) + tokens, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("the broker gave no answer in time".to_owned()),
    }
}

/// The last order of an engagement in a symbol and its number, from 1; 0 before the first.
async fn last(
    world: &World,
    account: &AccountName,
    wanted: &Flattening,
    symbol: &Symbol,
    known: Option<u32>,
) -> Result<(u32, Option<Order>), String> {
    let (mut number, mut last) = (known.unwrap_or(1).max(1), None);
    loop {
        let id = ids::flatten(&wanted.engagement, account, symbol, number);
        match world.store.order(&id).await.map_err(|error| format!("the ledger can't be read: {error}"))? {
            Some(AnyOrder::Order(order)) => last = Some(*order),
            Some(AnyOrder::Parent(_)) => last = None,
            None => return Ok((number - 1, last)),
        }
        number += 1;
    }
}

/// A position, and what is known of the orders that were to close it.
struct Of<'a> {
    account: &'a AccountName,
    wanted: &'a Flattening,
    symbol: &'a Symbol,
    held: Decimal,
    number: u32,
    last: Option<&'a Order>,
}

impl Of<'_> {
    /// The order that is spoken of, and what becomes of it.
    fn step(&self, ours: &[Order], open: &[VenueOrder], now: DateTime<Utc>) -> (OrderId, Step) {
        let next = ids::flatten(&self.wanted.engagement, self.account, self.symbol, self.number + 1);
        let here = |order: &&Order| order.instruction.symbol == *self.symbol;
        // Perhaps of another engagement: it closes the same position.
        let closing = ours.iter().filter(here).find(|order| is_flatten(&order.id));
        let is_other =
            |order: &Order| !is_flatten(&order.id) && matches!(order.status.share(), Share::Working | Share::Unknown);
        if ours.iter().filter(here).any(is_other) {
            let order = closing.map_or(next, |order| order.id.clone());
            return (order, Step::Awaits(Awaits::OpenOrders));
        }
        if let Some(order) = closing {
            return (order.id.clone(), self.once_more(order, open));
        }
        if let Some(last) = self.last {
            let ended = last.terminal_at.unwrap_or(last.updated_at);
            // A clock that was set back must not hold it up for long.
            if (TimeDelta::zero()..pause_after(last, self.number)).contains(&(now - ended)) {
                return (next, Step::Awaits(Awaits::Retry));
            }
        }
        let Some((instruction, qty)) = closes(self.symbol, self.held, open) else {
            return (next, Step::Awaits(Awaits::OtherOrders));
        };
        let mut order = Order::new(next.clone(), &instruction, qty, self.account, &strategy(), now);
        order.origin = Some(Origin { caller: gateway(), key: None, request_hash: self.wanted.engagement.clone() });
        (next, Step::Send(Box::new(order), self.last.map(|last| last.id.clone())))
    }

    /// What was drawn up before and has not ended. It may be claimed again if it certainly never left, or is absent; and only
    /// for the engagement that wanted it.
    fn once_more(&self, order: &Order, open: &[VenueOrder]) -> Step {
        if !order.is_claimable() {
            return Step::Awaits(Awaits::Outcome);
        }
        let others = open.iter().filter(|other| other.client_order_id != order.id).cloned().collect::<Vec<_>>();
        let fits = closes(self.symbol, self.held, &others)
            .is_some_and(|(instruction, qty)| instruction == order.instruction && qty >= order.qty);
        let is_of_this = self.last.is_some_and(|last| last.id == order.id);
        match order.status.share() {
            Share::Pending if !fits || !is_of_this => Step::End(order.id.clone()),
            Share::Pending | Share::Unknown if fits && is_of_this => Step::Send(Box::new(order.clone()), None),
            Share::Pending | Share::Unknown | Share::Working | Share::Unexecuted => Step::Awaits(Awaits::Outcome),
        }
    }
}

/// Whether the market takes it now.
pub(super) fn may_go(calendar: Option<&MarketCalendar>, order: &Order, now: DateTime<Utc>) -> bool {
    // It is due whenever the market is open.
    let slot = |calendar: &MarketCalendar| calendar.slot(Hours::of(&order.instruction), now, TimeDelta::zero(), now);
    match calendar.map_or(Slot::Unknown, slot) {
        Slot::Go => true,
        Slot::Wait(_) | Slot::Late | Slot::Over | Slot::Unknown => false,
    }
}

/// What the sender has to know of it. It waits in no queue.
pub(super) fn due(order: &Order) -> Due {
    Due {
        id: order.id.clone(),
        plan_version: None,
        due: order.scheduled_time,
        is_planned: false,
        latest: order.scheduled_time,
        hours: Hours::of(&order.instruction),
        absent_since: None,
        wish: Wish::of(order, &order.strategy_id),
        waits_for: None,
    }
}

#[expect(clippy::expect_used, reason = "these names are written here, and keep the rules")]
fn strategy() -> StrategyId {
    StrategyId::parse("flatten").expect("a name that keeps the rules")
}

#[expect(clippy::expect_used, reason = "these names are written here, and keep the rules")]
fn gateway() -> Caller {
    Caller::parse("gateway").expect("a name that keeps the rules")
}
