//! One account's pre-trade limits: what may leave, counted over everything that may still trade.
//!
//! The broker asks with a whole train of orders, after their tokens and before their claims; checking and reserving are one
//! step, so that orders that waited together can't each use the same room. What becomes of an order the desk learns from
//! each commit. Until it is loaded, it lets nothing go.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ledger::Applied;
use crate::domain::limits::{Control, LimitBook, Pace, Room, Wish};
use crate::domain::names::{AccountName, OrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::position::Position;
use crate::ports::World;
use crate::ports::store::{Claimed, StoreError};
use crate::prices::Prices;
use crate::watch::Sentinel;

pub(crate) use checking::{Admit, NotAdmitted, Reserve, Reserved, Weigh};

mod checking;
mod loading;

/// Most submissions that are remembered for the sake of duplicates.
const MOST_RECENT: usize = 100_000;
/// How often the broker is asked for its buying power while nobody trades.
const REFRESH: Duration = Duration::from_secs(30);
/// The longest window in which a submission can be a duplicate.
const LONGEST_WINDOW: TimeDelta = TimeDelta::days(1);

/// The desk has not been loaded yet: nothing may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotLoaded;

/// Reads what the account holds and what is open, unless the desk knows it already.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct Load;

/// A transaction has changed these orders and positions, in this order.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "()")]
pub(crate) struct Booked {
    pub(crate) orders: Vec<Order>,
    pub(crate) positions: Vec<(Symbol, Position)>,
}

impl Booked {
    pub(crate) fn add(&mut self, applied: &Applied) {
        self.orders.extend(applied.orders.iter().cloned());
        self.positions.extend(applied.positions.iter().cloned());
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.positions.is_empty()
    }
}

/// Orders for which room was reserved were not claimed after all.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Release(pub(crate) Vec<(Symbol, OrderId)>);

/// Stops the actor, as before it is rebuilt.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopGuarding;

/// A single order or a parent that was taken.
struct Taken {
    at: DateTime<Utc>,
    wish: Wish,
}

/// Owns an account's exposure. `room` holds every order that may still trade; what is only reserved is released by the
/// broker, everything else by what is committed.
pub(crate) struct RiskDesk {
    world: World,
    account: AccountName,
    prices: Prices,
    room: Room,
    pace: Pace,
    /// Prices and the buying power are being asked for, and nobody waits for them.
    refreshing: bool,
    book: LimitBook,
    taken: VecDeque<Taken>,
    loaded: bool,
    /// What was committed while the books were being read.
    meanwhile: Option<Vec<Booked>>,
    _sentinel: Sentinel,
}

impl RiskDesk {
    pub(crate) fn new(world: World, account: AccountName, prices: Prices, sentinel: Sentinel) -> Self {
        Self {
            world,
            account,
            prices,
            room: Room::default(),
            pace: Pace::default(),
            refreshing: false,
            book: LimitBook::default(),
            taken: VecDeque::new(),
            loaded: false,
            meanwhile: None,
            _sentinel: sentinel,
        }
    }

    fn book_in(&mut self, booked: &Booked) {
        for (symbol, position) in &booked.positions {
            self.room.hold(symbol, position);
        }
        let boottime = self.world.clock.boottime();
        for order in &booked.orders {
            self.room.note(order, boottime);
        }
    }

    /// Whether the same was taken within its window. The same order again is a repetition, and no duplicate.
    fn duplicates(&self, wish: &Wish, now: DateTime<Utc>) -> Option<String> {
        let seconds = self.limit(Control::DuplicateOrder, wish, now)?;
        let window = TimeDelta::seconds(rust_decimal::prelude::ToPrimitive::to_i64(&seconds)?);
        let same = |taken: &&Taken| {
            let (one, other) = (&taken.wish, wish);
            one.id != other.id
                && (&one.strategy, &one.symbol, one.side) == (&other.strategy, &other.symbol, other.side)
                && (one.qty, one.terms) == (other.qty, other.terms)
                && now - taken.at < window
        };
        let first = self.taken.iter().rev().find(same)?;
        Some(format!("the same as {} within {seconds} s", first.wish.id))
    }

    /// What left before this desk lived counts for a minute too, whatever our own clock was then.
    fn recall(&mut self, claims: &[Claimed]) {
        let (now, boottime) = (self.world.clock.now(), self.world.clock.boottime());
        for claimed in claims {
            let age = (now - claimed.at).to_std().unwrap_or_default();
            self.pace.recall(&claimed.strategy_id, &claimed.symbol, boottime.saturating_sub(age));
        }
    }

    fn remember(&mut self, wish: Wish, now: DateTime<Utc>) {
        let outdated = |taken: &Taken| now - taken.at > LONGEST_WINDOW;
        while self.taken.len() >= MOST_RECENT || self.taken.front().is_some_and(outdated) {
            self.taken.pop_front();
        }
        self.taken.push_back(Taken { at: now, wish });
    }
}

impl Actor for RiskDesk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Commits must not overtake each other on their way here.
        ctx.set_mailbox_capacity(1 << 16);
        ctx.run_interval(REFRESH, |act, ctx| act.refresh(&BTreeSet::new(), act.loaded, ctx));
    }
}

impl Handler<Booked> for RiskDesk {
    type Result = ();

    fn handle(&mut self, booked: Booked, _: &mut Self::Context) {
        self.book_in(&booked);
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.push(booked);
        }
    }
}

impl Handler<Release> for RiskDesk {
    type Result = ();

    fn handle(&mut self, Release(orders): Release, _: &mut Self::Context) {
        for (symbol, id) in orders {
            self.room.release(&symbol, &id);
        }
    }
}

impl Handler<StopGuarding> for RiskDesk {
    type Result = ();

    fn handle(&mut self, _: StopGuarding, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Load> for RiskDesk {
    type Result = ResponseActFuture<Self, Result<(), StoreError>>;

    fn handle(&mut self, _: Load, _: &mut Self::Context) -> Self::Result {
        if self.loaded {
            return Box::pin(async { Ok(()) }.into_actor(self));
        }
        self.meanwhile = Some(Vec::new());
        let read = loading::read(self.world.store.clone(), self.account.clone(), self.world.clock.now());
        Box::pin(read.into_actor(self).map(|read, act, ctx| {
            let meanwhile = act.meanwhile.take().unwrap_or_default();
            let read = read?;
            act.room.load(read.exposure);
            // Applied once more: what was read may be older than some of it, and a later state always comes last.
            for booked in &meanwhile {
                act.book_in(booked);
            }
            act.book = read.book;
            act.recall(&read.claims);
            for (at, wish) in read.taken {
                act.remember(wish, at);
            }
            act.loaded = true;
            act.refresh(&BTreeSet::new(), true, ctx);
            Ok(())
        }))
    }
}
