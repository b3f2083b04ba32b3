//! The lines that trip the circuit breaker by what an account holds, loses and sends: each is off until somebody sets it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};

use super::breaker::{BreakerState, BreakerWord};
use super::names::{AccountName, OrderId, StrategyId, Symbol};
use super::order::Order;
use super::parent::Parent;
use super::terms::Side;

/// The reason of a trip by a day's loss, open positions included.
pub const DAILY_LOSS_EXCEEDED: &str = "DAILY_LOSS_EXCEEDED";
/// The reason of a trip by how far an account is below its best.
pub const MAX_DRAWDOWN: &str = "MAX_DRAWDOWN";
/// The reason of a trip by an old price of something that is held while the market is open.
pub const DATA_STALE: &str = "DATA_STALE";
/// The reason of a trip by a strategy that sends the same again and again.
pub const REPEATED_EXECUTION: &str = "REPEATED_EXECUTION";

/// Which lines there are; `None`: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardRules {
    /// The loss of a trading day that trips.
    pub daily_loss: Option<Decimal>,
    /// The distance below the best result that trips.
    pub drawdown: Option<Decimal>,
    /// The age of a price that trips.
    pub stale_after: Option<Duration>,
    /// How often a strategy may send the same.
    pub repeats: Option<RepeatRule>,
}

/// How many single orders and parents a strategy may send in a symbol and to a side, within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatRule {
    /// This many are borne.
    pub most: u32,
    /// Within this time.
    pub window: Duration,
}

impl GuardRules {
    /// Whether anything is watched at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.watches_prices() || self.repeats.is_some()
    }

    /// Whether prices of what is held are needed.
    #[must_use]
    pub const fn watches_prices(&self) -> bool {
        self.daily_loss.is_some() || self.drawdown.is_some() || self.stale_after.is_some()
    }
}

/// A single order or a parent, as a strategy sent it. A parent's slices are none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    id: OrderId,
    key: (StrategyId, Symbol, Side),
    at: DateTime<Utc>,
}

impl Execution {
    /// Of a parent.
    #[must_use]
    pub fn of_parent(parent: &Parent) -> Self {
        let key = (parent.strategy_id.clone(), parent.instruction.symbol.clone(), parent.instruction.side);
        Self { id: parent.id.clone(), key, at: parent.created_at }
    }

    /// Of a single order; `None` of a slice, and of what takes an order's place.
    #[must_use]
    pub fn of_order(order: &Order) -> Option<Self> {
        let key = (order.strategy_id.clone(), order.instruction.symbol.clone(), order.instruction.side);
        let is_single = order.slice.is_none() && order.replaces.is_none();
        is_single.then(|| Self { id: order.id.clone(), key, at: order.created_at })
    }
}

/// What was sent of late.
#[derive(Debug, Default)]
pub struct Repeats(BTreeMap<(StrategyId, Symbol, Side), BTreeMap<OrderId, DateTime<Utc>>>);

impl Repeats {
    /// Takes note of one, however often it is heard of, and says whether there are too many of its kind. What was sent
    /// before a person's last word doesn't count.
    pub fn note(&mut self, execution: Execution, rule: &RepeatRule, word: Option<DateTime<Utc>>) -> Option<Value> {
        let window = TimeDelta::from_std(rule.window).unwrap_or(TimeDelta::MAX);
        let from = execution.at.checked_sub_signed(window).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let (strategy, symbol, side) = &execution.key;
        let told = json!({"strategy_id": strategy, "symbol": symbol, "side": side.as_str()});
        let alike = self.0.entry(execution.key.clone()).or_default();
        alike.insert(execution.id, execution.at);
        alike.retain(|_, at| *at > from && word.is_none_or(|word| *at > word));
        let count = u32::try_from(alike.len()).unwrap_or(u32::MAX);
        (count > rule.most)
            .then(|| json!({"of": told, "count": count, "most": rule.most, "window_seconds": rule.window.as_secs()}))
    }

    /// Forgets what is too old to count.
    pub fn forget(&mut self, rule: &RepeatRule, now: DateTime<Utc>) {
        let window = TimeDelta::from_std(rule.window).unwrap_or(TimeDelta::MAX);
        let from = now.checked_sub_signed(window).unwrap_or(DateTime::<Utc>::MIN_UTC);
        for alike in self.0.values_mut() {
            alike.retain(|_, at| *at > from);
        }
        self.0.retain(|_, alike| !alike.is_empty());
    }
}

/// An amount beside its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// The reason of a trip.
    pub reason: &'static str,
    /// The amount.
    pub amount: Decimal,
    /// The line; it is crossed once more at each of its multiples.
    pub limit: Decimal,
    /// The trading day that it is about, where it is about one.
    pub day: Option<NaiveDate>,
}

/// How far each line was crossed when a person let it pass: the reset of a trip by that reason. It trips again where it is
/// crossed by as much once more, or anew.
#[derive(Debug, Default)]
pub struct Passed {
    levels: BTreeMap<&'static str, (u32, Option<NaiveDate>)>,
    heard: Option<DateTime<Utc>>,
}

impl Passed {
    /// Judges one amount of an account: what there is to say of the trip, where it trips. A breaker that is tripped
    /// already, or not known, is not tripped.
    pub fn judge(&mut self, gauge: &Gauge, account: &AccountName, breaker: Option<&BreakerState>) -> Option<Value> {
        let breaker = breaker.filter(|state| state.state != BreakerWord::Tripped)?;
        self.hear(gauge, account, breaker);
        let level = gauge.level();
        let (passed, day) = self.levels.get(gauge.reason).copied().unwrap_or_default();
        if level == 0 || day != gauge.day {
            self.levels.remove(gauge.reason);
        }
        let passed = if day == gauge.day { passed } else { 0 };
        (level > passed).then(|| {
            json!({
                "account": account, "amount": gauge.amount.normalize(), "limit": gauge.limit.normalize(),
                "level": level, "day": gauge.day,
            })
        })
    }

    /// A person has reset a trip by this reason.
    fn hear(&mut self, gauge: &Gauge, account: &AccountName, breaker: &BreakerState) {
        if breaker.reset_at.is_none() || breaker.reset_at == self.heard {
            return;
        }
        let said = |name: &str| breaker.trip_details.as_ref().and_then(|details| details.get(name));
        let is_ours = said("account").and_then(Value::as_str) == Some(account.as_str());
        if breaker.trip_reason.as_deref() != Some(gauge.reason) || !is_ours {
            return;
        }
        self.heard = breaker.reset_at;
        let level = said("level").and_then(Value::as_u64).and_then(|level| u32::try_from(level).ok()).unwrap_or(0);
        let day = said("day").and_then(Value::as_str).and_then(|day| day.parse().ok());
        self.levels.insert(gauge.reason, (level, day));
    }
}

impl Gauge {
    fn level(&self) -> u32 {
        let level = self.amount.checked_div(self.limit).unwrap_or_default().floor();
        if level > Decimal::ZERO { level.to_u32().unwrap_or(u32::MAX) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn account() -> AccountName {
        AccountName::parse("default").unwrap()
    }

    fn sent(id: &str, side: Side, seconds: i64) -> Execution {
        let key = (StrategyId::parse("alpha").unwrap(), Symbol::parse("AAPL").unwrap(), side);
        Execution { id: OrderId::parse(id).unwrap(), key, at: at(seconds) }
    }

    const RULE: RepeatRule = RepeatRule { most: 3, window: Duration::from_secs(60) };

    #[test]
    fn one_more_than_is_borne_within_the_window_is_too_many() {
        let mut repeats = Repeats::default();
        for n in 0..3 {
            assert_eq!(repeats.note(sent(&format!("a{n}"), Side::Buy, n), &RULE, None), None);
        }
        assert_eq!(repeats.note(sent("a2", Side::Buy, 2), &RULE, None), None, "heard of twice, it counts once");
        assert_eq!(repeats.note(sent("b", Side::Sell, 3), &RULE, None), None, "the other side is another thing");
        let told = repeats.note(sent("a3", Side::Buy, 59), &RULE, None).unwrap();
        assert_eq!((&told["count"], &told["of"]["strategy_id"]), (&json!(4), &json!("alpha")));
        assert_eq!(repeats.note(sent("a4", Side::Buy, 61), &RULE, None), None, "the first two are too long ago");
        assert_eq!(repeats.note(sent("a5", Side::Buy, 62), &RULE, Some(at(61))), None, "a person has looked since");
    }

    fn loss(amount: i64) -> Gauge {
        let day = Some("2026-11-23".parse().unwrap());
        Gauge { reason: DAILY_LOSS_EXCEEDED, amount: amount.into(), limit: 100.into(), day }
    }

    #[test]
    fn a_line_that_a_person_let_pass_trips_again_at_its_next_multiple() {
        let (mut passed, open) = (Passed::default(), BreakerState::default());
        assert_eq!(passed.judge(&loss(99), &account(), Some(&open)), None);
        assert_eq!(passed.judge(&loss(-500), &account(), Some(&open)), None);
        assert_eq!(passed.judge(&loss(100), &account(), None), None, "what is not known is shut anyway");
        let details = passed.judge(&loss(100), &account(), Some(&open)).unwrap();
        let day = "2026-11-23".parse().unwrap();
        let tripped = open.trip(DAILY_LOSS_EXCEEDED, Some(details), at(0), day).unwrap();
        assert_eq!(passed.judge(&loss(400), &account(), Some(&tripped)), None);
        let reset = tripped.reset("ops", "the hedge is on the other account", at(1), TimeDelta::zero()).unwrap();
        assert_eq!(passed.judge(&loss(199), &account(), Some(&reset)), None);
        assert!(passed.judge(&loss(200), &account(), Some(&reset)).is_some());
        // A new process knows it from the breaker; another account, or another day, has its own line.
        assert_eq!(Passed::default().judge(&loss(199), &account(), Some(&reset)), None);
        let other = AccountName::parse("second").unwrap();
        assert!(Passed::default().judge(&loss(199), &other, Some(&reset)).is_some());
        let tomorrow = Gauge { day: Some("2026-11-24".parse().unwrap()), ..loss(100) };
        assert!(Passed::default().judge(&tomorrow, &account(), Some(&reset)).is_some());
        // Once it was below the line, the next time is a new one.
        assert_eq!(passed.judge(&loss(10), &account(), Some(&reset)), None);
        assert!(passed.judge(&loss(100), &account(), Some(&reset)).is_some());
    }
}
