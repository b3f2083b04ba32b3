//! Requests whose fields are valid each, and how they become submissions.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::calendar::{Hours, MarketCalendar};
use super::fault::FieldError;
use super::ids::{self, IdScope};
use super::ledger::Replacement;
use super::liquidity::{Liquidity, Volume};
use super::money::{Price, Qty, canonical};
use super::names::{AccountName, Caller, IdempotencyKey, OrderId, StrategyId, Symbol};
use super::order::{Order, Origin, SliceOf};
use super::parent::{Benchmark, Parent, ParentStatus, Progress};
use super::plan::{Plan, PlannedSlice, Schedule};
use super::policy::{CatchUp, Completion};
use super::terms::{Instruction, Instrument, Prices, Terms};

/// A TWAP parent as a client asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRequest {
    /// What every slice does.
    pub instruction: Instruction,
    /// The whole quantity.
    pub qty: Qty,
    /// Over which time, in which pieces.
    pub schedule: Schedule,
    /// The date of its id; today in UTC if absent.
    pub trade_date: Option<NaiveDate>,
    /// The client's strategy.
    pub strategy_id: StrategyId,
    /// The account that trades.
    pub account: AccountName,
    /// The client's own id for it.
    pub client_order_id: Option<OrderId>,
    /// What happens to missed quantity.
    pub catch_up: CatchUp,
    /// What happens to slices open at the end.
    pub completion: Completion,
    /// A hash of all that was asked.
    pub request_hash: String,
}

/// A single order as a client asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleRequest {
    /// What to do.
    pub instruction: Instruction,
    /// How much of it.
    pub qty: Qty,
    /// The date of its id; today in UTC if absent.
    pub trade_date: Option<NaiveDate>,
    /// The client's strategy.
    pub strategy_id: StrategyId,
    /// The account that trades.
    pub account: AccountName,
    /// The client's own id for it.
    pub client_order_id: Option<OrderId>,
    /// A hash of all that was asked.
    pub request_hash: String,
}

/// The change of a live order as a client asks for it; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaceRequest {
    /// The new quantity: the whole, what has traded included.
    pub qty: Option<Qty>,
    /// The new prices.
    pub prices: Prices,
    /// A hash of all that was asked.
    pub request_hash: String,
}

/// What plans are held to.
#[derive(Clone, Debug)]
pub struct PlanRules {
    /// Lots and ticks of the symbols that are not usual.
    pub instruments: BTreeMap<Symbol, Instrument>,
    /// The accounts that there are.
    pub accounts: Vec<AccountName>,
    /// Most slices of a plan.
    pub max_slices: u32,
    /// New orders that the broker takes in a minute; `None`: no limit.
    pub orders_per_minute: Option<u32>,
    /// Whether a parent that would run past the market's close is refused, or only warned about.
    pub refuse_past_close: bool,
    /// Which share of the average daily volume a slice may be, in percent; `None`: any.
    pub adv_pct: Option<Decimal>,
}

/// Who asks, and when.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The caller.
    pub by: Caller,
    /// The `Idempotency-Key`, if there was one.
    pub key: Option<IdempotencyKey>,
    /// When the request arrived.
    pub at: DateTime<Utc>,
}

impl Asked {
    fn origin(&self, request_hash: &str) -> Origin {
        Origin { caller: self.by.clone(), key: self.key.clone(), request_hash: request_hash.to_owned() }
    }

    fn scope<'a>(&'a self, account: &'a AccountName, trade_date: Option<NaiveDate>) -> IdScope<'a> {
        let date = trade_date.unwrap_or_else(|| self.at.date_naive());
        IdScope { account, date, key: self.key.as_ref().map(|key| (&self.by, key)) }
    }
}

impl PlanRules {
    fn instrument(&self, symbol: &Symbol) -> Instrument {
        self.instruments.get(symbol).copied().unwrap_or_else(Instrument::usual)
    }

    fn check(&self, instruction: &Instruction, qty: Qty, account: &AccountName) -> Vec<FieldError> {
        let instrument = self.instrument(&instruction.symbol);
        let mut faults = Vec::new();
        if !self.accounts.contains(account) {
            let message = "names no account of this gateway";
            faults.push(FieldError::new("account", "unknown_account", message));
        }
        if !(qty.get() % instrument.lot.get()).is_zero() {
            let message = format!("must be a multiple of the lot {}", canonical(instrument.lot.get()));
            faults.push(FieldError::new("qty", "not_a_multiple", message));
        }
        let mut on_tick = |field: &str, price: Option<Price>| {
            if let Some(price) = price.filter(|price| !instrument.on_tick(*price)) {
                let message = format!("must be a multiple of the tick {}", canonical(instrument.tick_at(price)));
                faults.push(FieldError::new(field, "off_tick", message));
            }
        };
        let prices = instruction.terms.prices();
        on_tick("limit_price", prices.limit);
        on_tick("stop_price", prices.stop);
        on_tick("trail_price", prices.trail_price);
        faults
    }
}

impl ParentRequest {
    /// The parent with its plan and its ids; a replay of the request comes to the same ids.
    ///
    /// # Errors
    /// The fields that make it impossible.
    pub fn plan(&self, rules: &PlanRules, asked: &Asked) -> Result<(Parent, Vec<Order>), Vec<FieldError>> {
        self.plan_within(rules, asked, None)
    }

    /// The same within what is known of the symbol's volume. The ids don't hang on that, but for those of the slices.
    ///
    /// # Errors
    /// The fields that make it impossible.
    pub fn plan_by_volume(
        &self,
        rules: &PlanRules,
        asked: &Asked,
        volume: &Volume,
    ) -> Result<(Parent, Vec<Order>), Vec<FieldError>> {
        let mut free = self.plan(rules, asked)?;
        match volume {
            Volume::Off => Ok(free),
            Volume::Missing(why) => {
                free.0.warnings.push(format!("{why}: slices are not limited by it"));
                Ok(free)
            }
            Volume::Known(limit) => self.plan_within(rules, asked, Some(limit)).map_err(|faults| {
                let told = faults.into_iter().map(|fault| format!("{} {}", fault.field, fault.message));
                let told = format!("is limited to {}: {}", limit.explain(), told.collect::<Vec<_>>().join("; "));
                vec![FieldError::new("qty", "max_adv_share", told)]
            }),
        }
    }

    fn plan_within(
        &self,
        rules: &PlanRules,
        asked: &Asked,
        limit: Option<&Liquidity>,
    ) -> Result<(Parent, Vec<Order>), Vec<FieldError>> {
        let mut faults = rules.check(&self.instruction, self.qty, &self.account);
        let scope = asked.scope(&self.account, self.trade_date);
        let id = self.client_order_id.clone().unwrap_or_else(|| {
            let policies = (self.catch_up, self.completion);
            ids::parent(&self.instruction, self.qty, &self.strategy_id, &self.schedule, policies, scope)
        });
        let lot = rules.instrument(&self.instruction.symbol).lot;
        let most = [self.schedule.max_slice_qty, limit.map(|limit| limit.max_slice_qty)].into_iter().flatten().min();
        let schedule = Schedule { max_slice_qty: most, ..self.schedule.clone() };
        let plan = match Plan::new(self.qty, lot, &schedule, rules.max_slices, id.as_str()) {
            Ok(plan) if faults.is_empty() => plan,
            Ok(_) => return Err(faults),
            Err(more) => {
                faults.extend(more.into_iter().filter(|fault| fault.code != "not_a_multiple"));
                return Err(faults);
            }
        };
        let start_at = self.schedule.start_time.unwrap_or(asked.at);
        let total_slices = u32::try_from(plan.slices.len()).unwrap_or(u32::MAX);
        let span = TimeDelta::seconds(i64::try_from(self.schedule.span.seconds()).unwrap_or(i64::MAX / 1_000));
        let parent = Parent {
            id: id.clone(),
            strategy_id: self.strategy_id.clone(),
            account: self.account.clone(),
            instruction: self.instruction.clone(),
            qty: self.qty,
            schedule: self.schedule.clone(),
            interval_seconds: plan.interval_seconds,
            total_slices,
            start_at,
            end_at: start_at + span,
            trade_date: scope.date,
            catch_up: self.catch_up,
            completion: self.completion,
            plan_version: 1,
            status: ParentStatus::Pending,
            cancel_requested_at: None,
            progress: Progress::default(),
            liquidity: limit.cloned().map(Box::new),
            paused: None,
            arrival_price: None,
            benchmark: Benchmark::default(),
            warnings: warnings(&plan, rules),
            origin: asked.origin(&self.request_hash),
            created_at: asked.at,
            updated_at: asked.at,
            ended_at: None,
        };
        let slices = plan.slices.iter().map(|slice| self.slice(&parent, slice)).collect();
        Ok((parent, slices))
    }

    fn slice(&self, parent: &Parent, slice: &PlannedSlice) -> Order {
        let id = ids::child(&self.instruction, slice.qty, &parent.id, slice.slice_num, parent.trade_date);
        let strategy_id = ids::slice_strategy(&parent.id, slice.slice_num);
        let place = SliceOf {
            parent: parent.id.clone(),
            plan_version: parent.plan_version,
            slice_num: slice.slice_num,
            total_slices: parent.total_slices,
        };
        let order = Order::new(id, &self.instruction, slice.qty, &self.account, &strategy_id, parent.created_at);
        Order { slice: Some(place), scheduled_time: parent.start_at + slice.offset, ..order }
    }

    /// Holds a plan against the market's sessions: one that runs past the close gets a warning, or is refused.
    ///
    /// # Errors
    /// The field that gave the schedule's end.
    pub fn check_close(
        &self,
        parent: &mut Parent,
        rules: &PlanRules,
        calendar: Option<&MarketCalendar>,
    ) -> Result<(), Vec<FieldError>> {
        let Some(calendar) = calendar else {
            parent.warnings.push("the market's calendar is not known: slices wait until it is".to_owned());
            return Ok(());
        };
        let hours = Hours::of(&self.instruction);
        let Some(past) = calendar.past_close(hours, parent.start_at, parent.end_at) else { return Ok(()) };
        let told = past.explain(hours);
        if rules.refuse_past_close {
            return Err(vec![FieldError::new(self.schedule.span.field(), "past_close", told)]);
        }
        parent.warnings.push(format!("the schedule {told}"));
        Ok(())
    }

    /// What a first submission must keep and a replay need not, since time has passed.
    ///
    /// # Errors
    /// The fields whose time is not near enough.
    pub fn check_times(&self, at: DateTime<Utc>) -> Result<(), Vec<FieldError>> {
        let mut faults = date_fault(self.trade_date, at);
        if self.schedule.start_time.is_some_and(|start| start < at - TimeDelta::seconds(1)) {
            faults.push(FieldError::new("start_time", "in_the_past", "must not lie in the past"));
        }
        if self.schedule.start_time.is_some_and(|start| start > at + TimeDelta::days(366)) {
            faults.push(FieldError::new("start_time", "too_far", "must lie within a year"));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

impl SingleRequest {
    /// The order with its id; a replay of the request comes to the same id.
    ///
    /// # Errors
    /// The fields that make it impossible.
    pub fn order(&self, rules: &PlanRules, asked: &Asked) -> Result<Order, Vec<FieldError>> {
        let faults = rules.check(&self.instruction, self.qty, &self.account);
        if !faults.is_empty() {
            return Err(faults);
        }
        let scope = asked.scope(&self.account, self.trade_date);
        let id = self
            .client_order_id
            .clone()
            .unwrap_or_else(|| ids::single(&self.instruction, self.qty, &self.strategy_id, scope));
        let order = Order::new(id, &self.instruction, self.qty, &self.account, &self.strategy_id, asked.at);
        Ok(Order { origin: Some(asked.origin(&self.request_hash)), ..order })
    }

    /// What a first submission must keep and a replay need not, since time has passed.
    ///
    /// # Errors
    /// The fields whose time is not near enough.
    pub fn check_times(&self, at: DateTime<Utc>) -> Result<(), Vec<FieldError>> {
        let faults = date_fault(self.trade_date, at);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

impl ReplaceRequest {
    /// What is to take the place of a live order.
    ///
    /// # Errors
    /// The fields that make it impossible.
    pub fn replacement(&self, live: &Order, rules: &PlanRules, asked: &Asked) -> Result<Replacement, Vec<FieldError>> {
        let (mut faults, was) = (Vec::new(), live.instruction.terms);
        let (old, new) = (was.prices(), self.prices);
        let order_type = was.order_type();
        let mut takes = |field: &str, is_given: bool, has: bool| {
            if is_given && !has {
                let message = format!("is not taken by this {order_type} order");
                faults.push(FieldError::new(field, "wrong_combination", message));
            }
        };
        takes("limit_price", new.limit.is_some(), old.limit.is_some());
        takes("stop_price", new.stop.is_some(), old.stop.is_some());
        takes("trail_price", new.trail_price.is_some(), old.trail_price.is_some());
        takes("trail_percent", new.trail_percent.is_some(), old.trail_percent.is_some());
        if live.slice.is_some() && self.qty.is_some() {
            let message = "of a slice is its parent's to say: only prices of a slice can be changed";
            faults.push(FieldError::new("qty", "wrong_combination", message));
        }
        let prices = Prices {
            limit: new.limit.or(old.limit),
            stop: new.stop.or(old.stop),
            trail_price: new.trail_price.or(old.trail_price),
            trail_percent: new.trail_percent.or(old.trail_percent),
        };
        let Some(terms) = Terms::new(order_type, prices).filter(|_| faults.is_empty()) else {
            return Err(faults);
        };
        let qty = self.qty.unwrap_or(live.qty);
        let instruction = Instruction { terms, ..live.instruction.clone() };
        faults.extend(rules.check(&instruction, qty, &live.account));
        if (terms, qty) == (was, live.qty) {
            let message = "nothing would change: give a quantity or a price that is not the order's already";
            faults.push(FieldError::new("body", "unchanged", message));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (order, origin) = (live.id.clone(), asked.origin(&self.request_hash));
        Ok(Replacement { order, qty, terms, reduces: false, origin })
    }

    /// Who asks for it, and how a repetition is known.
    #[must_use]
    pub fn origin(&self, asked: &Asked) -> Origin {
        asked.origin(&self.request_hash)
    }
}

fn date_fault(trade_date: Option<NaiveDate>, at: DateTime<Utc>) -> Vec<FieldError> {
    let is_far = trade_date.is_some_and(|date| (date - at.date_naive()).num_days().abs() > 1);
    let message = "must lie within a day of today (UTC)";
    if is_far { vec![FieldError::new("trade_date", "too_far", message)] } else { Vec::new() }
}

/// A plan that asks for more orders a minute than the broker takes runs late, and its client should know.
fn warnings(plan: &Plan, rules: &PlanRules) -> Vec<String> {
    let per_minute = 60_u32.checked_div(plan.interval_seconds).unwrap_or(60).max(1);
    match rules.orders_per_minute {
        Some(limit) if plan.slices.len() > 1 && per_minute > limit => vec![format!(
            "the plan sends {per_minute} orders a minute, the broker's budget for new orders is {limit}: slices will run late"
        )],
        Some(_) | None => Vec::new(),
    }
}
