//! Orders, parents and reports to write.

use std::num::NonZeroU32;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use tranche_actors::domain::ledger::{Report, Submission, Write};
use tranche_actors::domain::liquidity::Liquidity;
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{BrokerOrderId, Caller, IdempotencyKey, OrderId, StrategyId, Symbol};
use tranche_actors::domain::order::{Order, Origin, SliceOf};
use tranche_actors::domain::parent::{Benchmark, Parent, ParentStatus, Progress};
use tranche_actors::domain::plan::{Schedule, Span};
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
use tranche_actors::domain::venue::{Execution, VenueOrder, VenueStatus};
use tranche_actors::ports::store::{AnyOrder, Store};

use super::account;

/// When the tests' clock starts.
pub(crate) fn start() -> DateTime<Utc> {
    "2026-11-23T14:30:00.000001Z".parse().unwrap()
}

pub(crate) fn id(text: &str) -> OrderId {
    OrderId::parse(text).unwrap()
}

pub(crate) fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(crate) fn qty(value: i64) -> Qty {
    Qty::new(Decimal::from(value)).unwrap()
}

pub(crate) fn price(text: &str) -> Price {
    Price::new(dec(text)).unwrap()
}

pub(crate) fn caller(name: &str) -> Caller {
    Caller::parse(name).unwrap()
}

pub(crate) fn origin(key: Option<&str>, request: &str) -> Origin {
    Origin {
        caller: caller("admin"),
        key: key.map(|key| IdempotencyKey::parse(key).unwrap()),
        request_hash: request.to_owned(),
    }
}

pub(crate) fn instruction(symbol: &str, side: Side, terms: Terms) -> Instruction {
    Instruction {
        symbol: Symbol::parse(symbol).unwrap(),
        side,
        terms,
        time_in_force: TimeInForce::Day,
        extended_hours: false,
    }
}

/// A single order to buy at the market, as the gateway would submit it.
pub(crate) fn single(name: &str, quantity: i64) -> Order {
    Order {
        id: id(name),
        strategy_id: StrategyId::parse("default").unwrap(),
        account: account(),
        instruction: instruction("AAPL", Side::Buy, Terms::Market),
        qty: qty(quantity),
        slice: None,
        replaces: None,
        replaced_by: None,
        scheduled_time: start(),
        status: OrderStatus::PendingNew,
        venue_status: None,
        broker_order_id: None,
        attempt: 0,
        tries: 0,
        claimed_at: None,
        absent_at: None,
        cancel_requested_at: None,
        at_venue: false,
        reduces: false,
        filled_qty: Decimal::ZERO,
        filled_cost: Decimal::ZERO,
        realised_pnl: Decimal::ZERO,
        reason_code: None,
        error_message: None,
        origin: Some(origin(None, name)),
        created_at: start(),
        updated_at: start(),
        submitted_at: None,
        terminal_at: None,
    }
}

/// A parent of equal slices of ten, a minute apart, with ids `{name}` and `{name}-{n}`.
pub(crate) fn parent(name: &str, count: u32) -> (Parent, Vec<Order>) {
    parent_of(name, count, &instruction("AAPL", Side::Buy, Terms::Market))
}

pub(crate) fn parent_of(name: &str, count: u32, instruction: &Instruction) -> (Parent, Vec<Order>) {
    let minute = NonZeroU32::new(60).unwrap();
    let parent = Parent {
        id: id(name),
        strategy_id: StrategyId::parse("alpha").unwrap(),
        account: account(),
        instruction: instruction.clone(),
        qty: qty(i64::from(count) * 10),
        schedule: Schedule {
            span: Span::Seconds(NonZeroU32::new(count * 60).unwrap()),
            interval_seconds: minute,
            start_time: None,
            max_slice_qty: None,
            randomize: None,
        },
        interval_seconds: 60,
        total_slices: count,
        start_at: start(),
        end_at: start() + TimeDelta::minutes(i64::from(count)),
        trade_date: start().date_naive(),
        catch_up: CatchUp::Skip,
        completion: Completion::Cancel,
        plan_version: 1,
        status: ParentStatus::Pending,
        cancel_requested_at: None,
        paused: None,
        progress: Progress::default(),
        liquidity: Liquidity::new(dec("1234567.89"), dec("0.75")).map(Box::new),
        arrival_price: Some(dec("189.425")),
        benchmark: Benchmark::default(),
        warnings: vec!["the last slice is smaller".to_owned()],
        origin: origin(None, name),
        created_at: start(),
        updated_at: start(),
        ended_at: None,
    };
    let slices = (0..count).map(|n| slice(&parent, n)).collect();
    (parent, slices)
}

fn slice(parent: &Parent, slice_num: u32) -> Order {
    Order {
        strategy_id: StrategyId::parse(&format!("twap_slice_{}_{slice_num}", parent.id)).unwrap(),
        instruction: parent.instruction.clone(),
        slice: Some(SliceOf {
            parent: parent.id.clone(),
            plan_version: 1,
            slice_num,
            total_slices: parent.total_slices,
        }),
        scheduled_time: parent.start_at + TimeDelta::minutes(i64::from(slice_num)),
        origin: None,
        ..single(&format!("{}-{slice_num}", parent.id), 10)
    }
}

pub(crate) fn submit_parent((parent, slices): (Parent, Vec<Order>)) -> Write {
    Write::Submit(Box::new(Submission::Parent { parent, slices }))
}

pub(crate) fn submit(order: Order) -> Write {
    Write::Submit(Box::new(Submission::Single(order)))
}

pub(crate) fn claim(name: &str) -> Write {
    Write::Claim { id: id(name), plan_version: Some(1), reduces: false, limits: 0 }
}

pub(crate) fn claim_single(name: &str) -> Write {
    Write::Claim { id: id(name), plan_version: None, reduces: false, limits: 0 }
}

pub(crate) fn unknown(name: &str, attempt: u32) -> Write {
    Write::OutcomeUnknown { id: id(name), attempt, detail: "timed out".to_owned(), at_venue: false }
}

pub(crate) fn broker_id(name: &str) -> BrokerOrderId {
    BrokerOrderId::parse(&format!("b-{name}")).unwrap()
}

/// The venue's view of an order of ours, with a total of `filled` at an average of `avg`.
pub(crate) fn at_venue(order: &Order, status: VenueStatus, filled: i64, avg: Option<&str>) -> Report {
    Report {
        order: VenueOrder {
            broker_order_id: broker_id(order.id.as_str()),
            client_order_id: order.id.clone(),
            instruction: order.instruction.clone(),
            qty: order.qty,
            status,
            filled_qty: Decimal::from(filled),
            filled_avg_price: avg.map(dec),
            reason: None,
            replaces: None,
            replaced_by: None,
            submitted_at: start(),
        },
        executions: Vec::new(),
        corrects: false,
    }
}

pub(crate) fn report(report: Report) -> Write {
    Write::Report(Box::new(report))
}

pub(crate) fn accepted(order: &Order) -> Write {
    report(at_venue(order, VenueStatus::Accepted, 0, None))
}

pub(crate) fn execution(order: &Order, quantity: i64, at_price: &str, cum: i64) -> Execution {
    Execution {
        execution_id: format!("x-{}-{cum}", order.id),
        broker_order_id: broker_id(order.id.as_str()),
        qty: qty(quantity),
        price: price(at_price),
        cum_qty: Decimal::from(cum),
        fee: dec("0.01"),
        at: start() + TimeDelta::microseconds(cum),
    }
}

/// The order or slice of an id.
pub(crate) async fn order(store: &dyn Store, name: &str) -> Order {
    match store.order(&id(name)).await.unwrap() {
        Some(AnyOrder::Order(order)) => *order,
        other => panic!("{name} is no order: {other:?}"),
    }
}

/// The parent of an id.
pub(crate) async fn parent_now(store: &dyn Store, name: &str) -> Parent {
    match store.order(&id(name)).await.unwrap() {
        Some(AnyOrder::Parent(parent)) => *parent,
        other => panic!("{name} is no parent: {other:?}"),
    }
}

/// The kinds of an order's events, oldest first.
pub(crate) async fn kinds(store: &dyn Store, name: &str) -> Vec<String> {
    let events = store.events(&id(name)).await.unwrap();
    events.into_iter().map(|event| event.event).collect()
}
