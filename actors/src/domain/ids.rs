//! Client order ids: a hash of everything that changes the order, so that a retry anywhere is the same order.
//!
//! The scheme is shared with Python stacks and must give the same ids; the golden vectors below come from there.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::money::{Price, Qty, canonical};
use super::names::{AccountName, Caller, IdempotencyKey, OrderId, StrategyId, Symbol};
use super::plan::{Schedule, Span};
use super::policy::{CatchUp, Completion};
use super::terms::{Instruction, TimeInForce, Trail};

/// The account and the strategy of a request that names none.
pub const DEFAULT_NAME: &str = "default";

/// What an id says beyond the order itself.
#[derive(Clone, Copy, Debug)]
pub struct IdScope<'a> {
    /// The account.
    pub account: &'a AccountName,
    /// The trading date of the request, or the UTC date of its arrival.
    pub date: NaiveDate,
    /// Caller and key, where the client sent an `Idempotency-Key`.
    pub key: Option<(&'a Caller, &'a IdempotencyKey)>,
}

/// The id of a single order.
#[must_use]
pub fn single(order: &Instruction, qty: Qty, strategy: &StrategyId, scope: IdScope<'_>) -> OrderId {
    let mut extras = shared_extras(order, scope);
    digest(order, qty, strategy.as_str(), scope.date, &mut extras)
}

/// The id of a TWAP parent.
#[must_use]
pub fn parent(
    order: &Instruction,
    qty: Qty,
    strategy: &StrategyId,
    schedule: &Schedule,
    (catch_up, completion): (CatchUp, Completion),
    scope: IdScope<'_>,
) -> OrderId {
    let mut extras = shared_extras(order, scope);
    if catch_up != CatchUp::Skip {
        extras.push(("catch_up", catch_up.as_str().to_owned()));
    }
    if completion != Completion::of(order.time_in_force) {
        extras.push(("completion", completion.as_str().to_owned()));
    }
    if let Some(max) = schedule.max_slice_qty {
        extras.push(("max_slice_qty", canonical(max.get())));
    }
    if let Some(jitter) = &schedule.randomize {
        extras.push(("randomize", jitter_json(jitter)));
    }
    if let Some(start) = schedule.start_time {
        extras.push(("start_time", canonical_time(start)));
    }
    if strategy.as_str() != DEFAULT_NAME {
        extras.push(("strategy_id", strategy.to_string()));
    }
    digest(order, qty, parent_strategy(schedule).as_str(), scope.date, &mut extras)
}

/// The id of slice `slice_num` of a parent.
#[must_use]
pub fn child(order: &Instruction, qty: Qty, parent: &OrderId, slice_num: u32, date: NaiveDate) -> OrderId {
    digest(order, qty, slice_strategy(parent, slice_num).as_str(), date, &mut Vec::new())
}

/// The scheme's name for the strategy of a parent.
#[must_use]
pub fn parent_strategy(schedule: &Schedule) -> StrategyId {
    let interval = schedule.interval_seconds;
    let name = match schedule.span {
        Span::Minutes(minutes) => format!("twap_parent_{minutes}m_{interval}s"),
        Span::Seconds(seconds) => format!("twap_parent_{seconds}s_{interval}s"),
    };
    made(StrategyId::parse(&name))
}

/// The scheme's name for the strategy of a slice.
#[must_use]
pub fn slice_strategy(parent: &OrderId, slice_num: u32) -> StrategyId {
    made(StrategyId::parse(&format!("twap_slice_{parent}_{slice_num}")))
}

/// Names an engagement of the kill switch by when it was engaged and by whom.
pub(super) fn engagement(at: Option<DateTime<Utc>>, by: Option<&str>) -> String {
    let at = at.map(canonical_time).unwrap_or_default();
    short(&format!("engagement|{at}|{}", by.unwrap_or_default()))
}

/// Names an engagement of a part in the same way.
pub(super) fn halt(scope: &super::limits::LimitScope, at: DateTime<Utc>, by: &str) -> String {
    short(&format!("halt|{}|{}|{}|{by}", scope.kind(), scope.name(), canonical_time(at)))
}

/// How the ids of orders begin that close positions; no client may choose such a one.
const FLATTEN: &str = "flatten.";

/// The id of the `n`th order that closes an account's position in a symbol for an engagement of the kill switch. A `/` in
/// a symbol becomes `:`, which no symbol has.
#[must_use]
pub fn flatten(engagement: &str, account: &AccountName, symbol: &Symbol, n: u32) -> OrderId {
    let symbol = symbol.as_str().replace('/', ":");
    made(OrderId::parse(&format!("{FLATTEN}{engagement}.{account}.{symbol}.{n}")))
}

/// Whether an order is one that closes a position. It says what nobody else may send; what may be sent it does not say.
#[must_use]
pub fn is_flatten(id: &OrderId) -> bool {
    id.as_str().starts_with(FLATTEN)
}

fn short(of: &str) -> String {
    Sha256::digest(of.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A time as ids spell it: RFC 3339 with `Z`, without trailing zeros in the fraction.
fn canonical_time(time: DateTime<Utc>) -> String {
    let full = time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let digits = full.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{digits}Z")
}

/// Compact JSON with sorted keys, numbers without trailing zeros; an absent seed is left out.
fn jitter_json(jitter: &super::plan::Randomize) -> String {
    let seed = jitter.seed.as_ref().map(|seed| format!("\"seed\":{},", json!(seed))).unwrap_or_default();
    format!("{{{seed}\"size_pct\":{},\"time_pct\":{}}}", canonical(jitter.size_pct), canonical(jitter.time_pct))
}

fn shared_extras(order: &Instruction, scope: IdScope<'_>) -> Vec<(&'static str, String)> {
    let mut extras = Vec::new();
    if scope.account.as_str() != DEFAULT_NAME {
        extras.push(("account", scope.account.to_string()));
    }
    if order.extended_hours {
        extras.push(("extended_hours", "true".to_owned()));
    }
    match order.terms.trail() {
        Some(Trail::Price { trail_price }) => extras.push(("trail_price", canonical(trail_price.get()))),
        Some(Trail::Percent { trail_percent }) => extras.push(("trail_percent", canonical(trail_percent.get()))),
        None => {}
    }
    if let Some((caller, key)) = scope.key {
        extras.push(("idempotency_key", format!("{caller}:{key}")));
    }
    extras
}

fn digest(
    order: &Instruction,
    qty: Qty,
    strategy: &str,
    date: NaiveDate,
    extras: &mut [(&'static str, String)],
) -> OrderId {
    extras.sort_unstable_by_key(|(name, _)| *name);
    let mut text = format!(
        "{}|{}|{}|{}|{}|{}|{}|{strategy}|{}",
        order.symbol,
        order.side,
        canonical(qty.get()),
        price_text(order.terms.limit_price()),
        price_text(order.terms.stop_price()),
        order.terms.order_type(),
        time_in_force_text(order.time_in_force),
        date.format("%Y-%m-%d"),
    );
    for (name, value) in extras {
        text.push_str(&format!("|{name}={value}"));
    }
    let hash = Sha256::digest(text.as_bytes());
    let hex = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>();
    made(OrderId::parse(&hex))
}

const fn time_in_force_text(time_in_force: TimeInForce) -> &'static str {
    time_in_force.as_str()
}

/// Two decimals, or more where the price has more.
fn price_text(price: Option<Price>) -> String {
    price.map_or_else(
        || "None".to_owned(),
        |price| {
            let mut value = price.get().normalize();
            if value.scale() < 2 {
                value.rescale(2);
            }
            value.to_string()
        },
    )
}

#[expect(clippy::expect_used, reason = "these texts are made here, of parts that were checked")]
fn made<T>(name: Result<T, super::text::BadText>) -> T {
    name.expect("the scheme's own names keep the rules")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;
    use crate::domain::money::Percent;
    use crate::domain::names::symbol;
    use crate::domain::plan::Randomize;
    use crate::domain::terms::{Side, Terms};

    fn instruction(name: &str, side: Side, terms: Terms) -> Instruction {
        let time_in_force = TimeInForce::Day;
        Instruction { symbol: symbol(name).unwrap(), side, terms, time_in_force, extended_hours: false }
    }

    fn qty(value: i64) -> Qty {
        Qty::new(Decimal::from(value)).unwrap()
    }

    fn on(date: &str) -> NaiveDate {
        date.parse().unwrap()
    }

    fn account() -> AccountName {
        AccountName::parse(DEFAULT_NAME).unwrap()
    }

    fn strategy(name: &str) -> StrategyId {
        StrategyId::parse(name).unwrap()
    }

    fn five_minutes() -> Schedule {
        Schedule {
            span: Span::Minutes(NonZeroU32::new(5).unwrap()),
            interval_seconds: NonZeroU32::new(60).unwrap(),
            start_time: None,
            max_slice_qty: None,
            randomize: None,
        }
    }

    fn parent_id(schedule: &Schedule, strategy_id: &str, key: Option<(&Caller, &IdempotencyKey)>) -> OrderId {
        let scope = IdScope { account: &account(), date: on("2026-11-21"), key };
        let aapl = instruction("AAPL", Side::Buy, Terms::Market);
        parent(&aapl, qty(103), &strategy(strategy_id), schedule, (CatchUp::Skip, Completion::Cancel), scope)
    }

    #[test]
    fn the_golden_vectors_hold() {
        let scope = IdScope { account: &account(), date: on("2024-10-17"), key: None };
        let aapl = instruction("AAPL", Side::Buy, Terms::Market);
        assert_eq!(single(&aapl, qty(10), &strategy("alpha_baseline"), scope).as_str(), "1b5445b3d1a61a15f64411be");
        let limit_price = Price::new("300.5".parse().unwrap()).unwrap();
        let msft = instruction("MSFT", Side::Sell, Terms::Limit { limit_price });
        assert_eq!(single(&msft, qty(5), &strategy("alpha_baseline"), scope).as_str(), "7cc45c4c62998b227038d2b3");
        let trail_price = Price::new("1.50".parse().unwrap()).unwrap();
        let trail_percent = Percent::new("2.50".parse().unwrap()).unwrap();
        for (trail, id) in [
            (Trail::Price { trail_price }, "f113888383df7466e61fe470"),
            (Trail::Percent { trail_percent }, "ef2fb2da3f66f328a6010322"),
        ] {
            let trailing = instruction("AAPL", Side::Sell, Terms::TrailingStop { trail });
            assert_eq!(single(&trailing, qty(7), &strategy("alpha_baseline"), scope).as_str(), id);
        }

        let id = parent_id(&five_minutes(), DEFAULT_NAME, None);
        assert_eq!(id.as_str(), "20abc83977c561c389787d47");
        assert_eq!(child(&aapl, qty(21), &id, 0, on("2026-11-21")).as_str(), "95f5dbd591beeb19b308dcd9");
        let (caller, key) = (Caller::parse("local").unwrap(), IdempotencyKey::parse("k1").unwrap());
        assert_eq!(
            parent_id(&five_minutes(), DEFAULT_NAME, Some((&caller, &key))).as_str(),
            "8c947291d7c16ec35ac68e9d"
        );
    }

    #[test]
    fn every_field_that_changes_the_order_changes_the_id() {
        let plain = five_minutes();
        let start = "2026-11-21T10:00:00.5Z".parse().unwrap();
        let jitter = |size: i64| Randomize { size_pct: Decimal::from(size), time_pct: Decimal::ZERO, seed: None };
        let ids = [
            parent_id(&plain, DEFAULT_NAME, None),
            parent_id(&plain, "other", None),
            parent_id(&Schedule { start_time: Some(start), ..plain.clone() }, DEFAULT_NAME, None),
            parent_id(&Schedule { max_slice_qty: Some(qty(30)), ..plain.clone() }, DEFAULT_NAME, None),
            parent_id(&Schedule { randomize: Some(jitter(1)), ..plain.clone() }, DEFAULT_NAME, None),
            parent_id(&Schedule { randomize: Some(jitter(2)), ..plain.clone() }, DEFAULT_NAME, None),
            parent_id(
                &Schedule { span: Span::Seconds(NonZeroU32::new(300).unwrap()), ..plain.clone() },
                DEFAULT_NAME,
                None,
            ),
        ];
        let distinct = ids.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn values_are_spelled_canonically() {
        assert_eq!(canonical_time("2026-11-21T10:00:00.500000Z".parse().unwrap()), "2026-11-21T10:00:00.5Z");
        assert_eq!(canonical_time("2026-11-21T10:00:00Z".parse().unwrap()), "2026-11-21T10:00:00Z");
        let price = |text: &str| price_text(Some(Price::new(text.parse().unwrap()).unwrap()));
        assert_eq!([price("99.5"), price("100"), price("0.1234")], ["99.50", "100.00", "0.1234"]);
        let jitter =
            Randomize { size_pct: "10.50".parse().unwrap(), time_pct: Decimal::ZERO, seed: Some("a\"b".into()) };
        assert_eq!(jitter_json(&jitter), r#"{"seed":"a\"b","size_pct":10.5,"time_pct":0}"#);
    }

    proptest! {
        #[test]
        fn an_id_is_a_function_of_the_order_alone(units in 1_i64..1_000_000, scale in 0_u32..6, zeros in 0_u32..3) {
            let scope = IdScope { account: &account(), date: on("2026-11-21"), key: None };
            let order = instruction("AAPL", Side::Buy, Terms::Market);
            let plain = Decimal::new(units, scale);
            let mut padded = plain;
            padded.rescale(scale + zeros);
            let id = |qty: Decimal| single(&order, Qty::new(qty).unwrap(), &strategy("s"), scope);
            prop_assert_eq!(id(plain), id(padded));
            prop_assert_ne!(id(plain), id(plain + Decimal::ONE));
        }
    }
}
