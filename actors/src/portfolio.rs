//! Watches what an account holds, loses and sends, and trips the breaker over a line.
//!
//! What is not known never trips: a store that is down, a price that nobody tells. Only an old price does, where that is
//! asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;

use crate::circuit_breaker::LineCrossed;
use crate::domain::calendar::{Hours, Slot};
use crate::domain::guards::{
    DAILY_LOSS_EXCEEDED, DATA_STALE, Execution, Gauge, MAX_DRAWDOWN, Passed, REPEATED_EXECUTION, Repeats,
};
use crate::domain::ledger::{Applied, Write};
use crate::domain::names::{AccountName, Symbol};
use crate::domain::portfolio::{DayResult, Portfolio as Worth};
use crate::domain::position::unrealised;
use crate::health::AccountHealth;
use crate::line::Line;
use crate::market_hours::MarketHours;
use crate::persistence::{Persist, persist};
use crate::ports::World;
use crate::ports::store::{HeldPosition, OrderFilter, ParentFilter, Store, StoreError};
use crate::tuning::Tuning;
use crate::watch::Sentinel;

/// How long the venue may take to tell a price.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rows of one page of what was sent before this actor lived.
const PAGE: u32 = 500;

/// What was committed of an account, as far as it is watched.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "()")]
pub(crate) struct Heed {
    /// Single orders and parents that it was about.
    pub(crate) executions: Vec<Execution>,
    /// Something traded.
    pub(crate) traded: bool,
}

impl Heed {
    /// Adds what one write came to.
    pub(crate) fn add(&mut self, applied: &Applied) {
        self.executions.extend(applied.parents.iter().map(Execution::of_parent));
        self.executions.extend(applied.orders.iter().filter_map(Execution::of_order));
        self.traded |= !applied.positions.is_empty();
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.executions.is_empty() && !self.traded
    }
}

/// Stops the actor, as before it is rebuilt.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopWatching;

/// The lines that it speaks on.
#[derive(Clone, Default)]
pub(crate) struct PortfolioLines {
    pub(crate) persist: Line<Persist>,
    pub(crate) crossed: Line<LineCrossed>,
}

/// What one look found.
struct Seen {
    held: Vec<HeldPosition>,
    worth: Worth,
    day: DayResult,
}

/// Owns the prices of what is held, and the memory of what was sent.
pub(crate) struct Portfolio {
    world: World,
    tuning: Tuning,
    health: AccountHealth,
    hours: MarketHours,
    lines: PortfolioLines,
    marks: BTreeMap<Symbol, (Decimal, DateTime<Utc>)>,
    repeats: Repeats,
    passed: Passed,
    /// Since when the market has been seen open; `None` while it is shut.
    open_since: Option<DateTime<Utc>>,
    looking: bool,
    look_again: bool,
    _sentinel: Sentinel,
}

impl Portfolio {
    pub(crate) fn new(
        (world, tuning): (World, Tuning),
        (health, hours): (AccountHealth, MarketHours),
        lines: PortfolioLines,
        sentinel: Sentinel,
    ) -> Self {
        Self {
            world,
            tuning,
            health,
            hours,
            lines,
            marks: BTreeMap::new(),
            repeats: Repeats::default(),
            passed: Passed::default(),
            open_since: None,
            looking: false,
            look_again: false,
            _sentinel: sentinel,
        }
    }
}

impl Actor for Portfolio {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.tuning.max_commits.max(16));
        if self.tuning.guards.repeats.is_some() {
            self.remember(ctx);
        }
        if self.tuning.guards.watches_prices() {
            self.look(true, ctx);
            ctx.run_interval(self.tuning.mark_every, |act, ctx| act.look(true, ctx));
        }
    }
}

impl Handler<Heed> for Portfolio {
    type Result = ();

    fn handle(&mut self, heed: Heed, ctx: &mut Self::Context) {
        for execution in heed.executions {
            self.count(execution, ctx);
        }
        if heed.traded && self.tuning.guards.watches_prices() {
            self.look(false, ctx);
        }
    }
}

impl Handler<StopWatching> for Portfolio {
    type Result = ();

    fn handle(&mut self, _: StopWatching, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Portfolio {
    fn count(&mut self, execution: Execution, ctx: &mut Context<Self>) {
        let Some(rule) = self.tuning.guards.repeats else { return };
        let breaker = self.health.breaker();
        let word = breaker.as_ref().and_then(|state| state.reset_at);
        if let Some(details) = self.repeats.note(execution, &rule, word) {
            self.trip(REPEATED_EXECUTION, details, ctx);
        }
    }

    /// What was sent before this actor lived counts too.
    fn remember(&mut self, ctx: &mut Context<Self>) {
        let Some(rule) = self.tuning.guards.repeats else { return };
        let (store, account) = (self.world.store.clone(), self.tuning.account.clone());
        let window = TimeDelta::from_std(rule.window).unwrap_or(TimeDelta::MAX);
        let since = self.world.clock.now().checked_sub_signed(window);
        let read = async move { sent_since(&*store, &account, since).await };
        ctx.spawn(read.into_actor(self).map(move |read, act, ctx| match read {
            Ok(executions) => {
                for execution in executions {
                    act.count(execution, ctx);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "what was sent of late could not be read; trying again");
                ctx.run_later(Duration::from_secs(1), Self::remember);
            }
        }));
    }

    /// Looks at what is held and what it is worth; with new prices, where asked for.
    fn look(&mut self, with_prices: bool, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.looking, true) {
            self.look_again = true;
            return;
        }
        if let Some(rule) = &self.tuning.guards.repeats {
            self.repeats.forget(rule, self.world.clock.now());
        }
        let (world, account) = (self.world.clone(), self.tuning.account.clone());
        let today = self.tuning.day_end.trading_day(world.clock.now());
        let seen = async move {
            let seen = see(&*world.store, &account, today).await?;
            let quotes = if with_prices { quotes(&world, &seen.held).await } else { Vec::new() };
            Ok::<_, StoreError>((seen, quotes))
        };
        ctx.spawn(seen.into_actor(self).map(|seen, act, ctx| {
            act.looking = false;
            match seen {
                Ok((seen, quotes)) => {
                    act.marks.extend(quotes);
                    act.judge(seen, ctx);
                }
                Err(error) => tracing::warn!(%error, "what the account is worth could not be read"),
            }
            if std::mem::take(&mut act.look_again) {
                act.look(false, ctx);
            }
        }));
    }

    fn judge(&mut self, mut seen: Seen, ctx: &mut Context<Self>) {
        let now = self.world.clock.now();
        seen.held.retain(|held| !held.position.qty.is_zero());
        self.marks.retain(|symbol, _| seen.held.iter().any(|held| held.symbol == *symbol));
        for held in &mut seen.held {
            if let Some(mark) = self.marks.get(&held.symbol)
                && held.position.last.is_none_or(|(_, at)| at <= mark.1)
            {
                held.position.last = Some(*mark);
            }
        }
        self.judge_age(&seen.held, now, ctx);
        let Some(open) = unrealised(seen.held.iter().map(|held| &held.position), now) else { return };
        if let Some(limit) = self.tuning.guards.drawdown {
            let amount = seen.worth.drawdown(open.pnl);
            self.gauge(&Gauge { reason: MAX_DRAWDOWN, amount, limit, day: None }, ctx);
        }
        if seen.day.opening.is_none() {
            self.open_day(seen.day.day, open.pnl, ctx);
        } else if let Some(limit) = self.tuning.guards.daily_loss {
            let amount = -seen.day.result(open.pnl);
            self.gauge(&Gauge { reason: DAILY_LOSS_EXCEEDED, amount, limit, day: Some(seen.day.day) }, ctx);
        }
    }

    /// The age of the oldest price counts from when the market was seen open: nobody tells prices before.
    fn judge_age(&mut self, held: &[HeldPosition], now: DateTime<Utc>, ctx: &mut Context<Self>) {
        let calendar = self.hours.calendar(self.world.clock.boottime());
        let is_open =
            calendar.is_some_and(|calendar| calendar.slot(Hours::AtOnce, now, TimeDelta::zero(), now) == Slot::Go);
        if !is_open {
            self.open_since = None;
            return;
        }
        let since = *self.open_since.get_or_insert(now);
        let Some(limit) = self.tuning.guards.stale_after else { return };
        let age = |held: &HeldPosition| now - held.position.last.map_or(since, |(_, at)| at.max(since));
        let oldest = held.iter().map(age).max().unwrap_or_default();
        let gauge = Gauge {
            reason: DATA_STALE,
            amount: Decimal::from(oldest.num_seconds()),
            limit: Decimal::from(limit.as_secs().max(1)),
            day: None,
        };
        self.gauge(&gauge, ctx);
    }

    fn gauge(&mut self, gauge: &Gauge, ctx: &mut Context<Self>) {
        let breaker = self.health.breaker();
        if let Some(details) = self.passed.judge(gauge, &self.tuning.account, breaker.as_ref()) {
            self.trip(gauge.reason, details, ctx);
        }
    }

    fn trip(&self, reason: &'static str, details: serde_json::Value, ctx: &mut Context<Self>) {
        let line = self.lines.crossed.clone();
        let told = async move { line.ask(LineCrossed { reason, details }).await };
        ctx.spawn(told.into_actor(self).map(|told, _, _| {
            if told.is_err() {
                tracing::error!("the breaker is being rebuilt: the next look trips it");
            }
        }));
    }

    /// The trading day is opened once, at its beginning or when it is first looked at; then it is judged.
    fn open_day(&mut self, day: NaiveDate, unrealised: Decimal, ctx: &mut Context<Self>) {
        let line = self.lines.persist.clone();
        let opened = async move { persist(&line, Write::OpenDay { day, unrealised }).await };
        ctx.spawn(opened.into_actor(self).map(|opened, act, ctx| match opened {
            Ok(Ok(_)) => act.look(false, ctx),
            Ok(Err(_)) | Err(_) => tracing::warn!("the trading day could not be opened yet"),
        }));
    }
}

async fn see(store: &dyn Store, account: &AccountName, today: NaiveDate) -> Result<Seen, StoreError> {
    let held = store.positions(account).await?;
    let worth = store.portfolio(account).await?;
    let days = store.days(account, Some(today), 1).await?;
    let day = days.into_iter().find(|day| day.day == today).unwrap_or_else(|| DayResult::new(today));
    Ok(Seen { held, worth, day })
}

/// The prices of what is held, as far as the venue tells them.
async fn quotes(world: &World, held: &[HeldPosition]) -> Vec<(Symbol, (Decimal, DateTime<Utc>))> {
    let open = held.iter().filter(|held| !held.position.qty.is_zero());
    let asked = open.map(|held| async move {
        let quote = tokio::time::timeout(PATIENCE, world.venue.quote(&held.symbol)).await.ok()?.ok()?;
        Some((held.symbol.clone(), (quote.mid(), quote.at)))
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Single orders and parents that were sent since then, of all pages.
async fn sent_since(
    store: &dyn Store,
    account: &AccountName,
    since: Option<DateTime<Utc>>,
) -> Result<Vec<Execution>, StoreError> {
    let mut sent = Vec::new();
    let mut filter = OrderFilter { since, limit: PAGE, ..OrderFilter::default() };
    loop {
        let page = store.orders(&filter).await?;
        let ours = page.items.iter().filter(|order| order.account == *account);
        sent.extend(ours.filter_map(Execution::of_order));
        filter.cursor = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let mut filter = ParentFilter { since, limit: PAGE, ..ParentFilter::default() };
    loop {
        let page = store.parents(&filter).await?;
        let ours = page.items.iter().filter(|parent| parent.account == *account);
        sent.extend(ours.map(Execution::of_parent));
        filter.cursor = page.next;
        if page.next.is_none() {
            return Ok(sent);
        }
    }
}
