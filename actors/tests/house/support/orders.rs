//! What clients ask for in these tests.

use std::num::NonZeroU32;

use rust_decimal::Decimal;
use tranche_actors::commands::{SubmitOrder, SubmitParent};
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{AccountName, Caller, OrderId, StrategyId, Symbol};
use tranche_actors::domain::plan::{Schedule, Span};
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::request::{ParentRequest, SingleRequest};
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};

pub(crate) fn account() -> AccountName {
    AccountName::parse("default").unwrap()
}

pub(crate) fn caller() -> Caller {
    Caller::parse("desk").unwrap()
}

pub(crate) fn symbol() -> Symbol {
    Symbol::parse("ACME").unwrap()
}

pub(crate) fn id(text: &str) -> OrderId {
    OrderId::parse(text).unwrap()
}

pub(crate) fn qty(units: u32) -> Qty {
    Qty::new(Decimal::from(units)).unwrap()
}

fn instruction(side: Side) -> Instruction {
    Instruction { symbol: symbol(), side, terms: Terms::Market, time_in_force: TimeInForce::Day, extended_hours: false }
}

/// A limit far below the market, so that a buy rests.
pub(crate) fn resting() -> Terms {
    Terms::Limit { limit_price: Price::new(Decimal::ONE_HUNDRED / Decimal::from(4)).unwrap() }
}

/// A parent that buys at the market: `slices` of them, `interval` seconds apart.
pub(crate) fn parent(name: &str, units: u32, slices: u32, interval: u32) -> SubmitParent {
    let instruction = instruction(Side::Buy);
    SubmitParent {
        request: ParentRequest {
            instruction,
            qty: qty(units),
            schedule: Schedule {
                span: Span::Seconds(NonZeroU32::new(slices * interval).unwrap()),
                interval_seconds: NonZeroU32::new(interval).unwrap(),
                start_time: None,
                max_slice_qty: None,
                randomize: None,
            },
            trade_date: None,
            strategy_id: StrategyId::parse("seam").unwrap(),
            account: account(),
            client_order_id: Some(id(name)),
            catch_up: CatchUp::Skip,
            completion: Completion::Cancel,
            request_hash: format!("{name} {units} {slices} {interval}"),
        },
        by: caller(),
        key: None,
    }
}

/// The same with orders that rest at the venue.
pub(crate) fn resting_parent(name: &str, units: u32, slices: u32, interval: u32) -> SubmitParent {
    let mut submit = parent(name, units, slices, interval);
    submit.request.instruction.terms = resting();
    submit
}

/// A single order at the market.
pub(crate) fn single(name: &str, units: u32) -> SubmitOrder {
    SubmitOrder {
        request: SingleRequest {
            instruction: instruction(Side::Buy),
            qty: qty(units),
            trade_date: None,
            strategy_id: StrategyId::parse("seam").unwrap(),
            account: account(),
            client_order_id: Some(id(name)),
            request_hash: format!("{name} {units}"),
        },
        by: caller(),
        key: None,
    }
}

/// The same, resting.
pub(crate) fn resting_single(name: &str, units: u32) -> SubmitOrder {
    let mut submit = single(name, units);
    submit.request.instruction.terms = resting();
    submit
}
