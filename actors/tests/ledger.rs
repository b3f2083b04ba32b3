//! The ledger's rules under any sequence of writes: sums add up, refusals change nothing, each fill counts once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use std::num::NonZeroU32;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use rust_decimal::Decimal;
use tranche_actors::domain::ledger::{Books, Outcome, Refusal, Report, Resolution, Submission, Write};
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, OrderId, StrategyId, symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::{ParentStatus, PauseReason, Progress};
use tranche_actors::domain::plan::{Schedule, Span};
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::request::{Asked, ParentRequest, PlanRules};
use tranche_actors::domain::status::{OperatorEnd, OrderStatus, OwnEnd};
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::domain::venue::{Execution, VenueOrder, VenueStatus, VenueWords};

fn at() -> DateTime<Utc> {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

fn local() -> Caller {
    Caller::parse("local").unwrap()
}

fn request(qty: i64) -> ParentRequest {
    ParentRequest {
        instruction: Instruction {
            symbol: symbol("AAPL").unwrap(),
            side: Side::Buy,
            terms: Terms::Market,
            time_in_force: TimeInForce::Day,
            extended_hours: false,
        },
        qty: Qty::new(Decimal::from(qty)).unwrap(),
        schedule: Schedule {
            span: Span::Seconds(NonZeroU32::new(3).unwrap()),
            interval_seconds: NonZeroU32::MIN,
            start_time: None,
            max_slice_qty: None,
            randomize: None,
        },
        trade_date: None,
        strategy_id: StrategyId::parse("default").unwrap(),
        account: AccountName::parse("default").unwrap(),
        client_order_id: None,
        catch_up: CatchUp::Skip,
        completion: Completion::Cancel,
        request_hash: format!("hash of {qty}"),
    }
}

fn rules() -> PlanRules {
    PlanRules {
        instruments: std::collections::BTreeMap::new(),
        accounts: vec![AccountName::parse("default").unwrap()],
        max_slices: 100,
        orders_per_minute: None,
        refuse_past_close: false,
        adv_pct: None,
    }
}

/// Books with one parent of three slices of ten.
fn books() -> (Books, OrderId, Vec<OrderId>) {
    let asked = Asked { by: local(), key: None, at: at() };
    let (parent, slices) = request(30).plan(&rules(), &asked).unwrap();
    let (id, ids) = (parent.id.clone(), slices.iter().map(|slice| slice.id.clone()).collect());
    let mut books = Books::new(AccountName::parse("default").ok(), at(), DayEnd::new_york());
    books.apply(&Write::Submit(Box::new(Submission::Parent { parent, slices }))).unwrap();
    (books, id, ids)
}

fn venue_order(order: &Order, status: VenueStatus, filled: i64) -> VenueOrder {
    let price = Decimal::from(100);
    VenueOrder {
        broker_order_id: BrokerOrderId::parse(&format!("b-{}", order.id)).unwrap(),
        client_order_id: order.id.clone(),
        instruction: order.instruction.clone(),
        qty: order.qty,
        status,
        filled_qty: Decimal::from(filled),
        filled_avg_price: (filled > 0).then_some(price),
        reason: None,
        replaces: None,
        replaced_by: None,
        submitted_at: at(),
    }
}

/// The trade that brought an order's total from one share less to `cum`.
fn execution(order: &Order, cum: i64) -> Execution {
    Execution {
        execution_id: format!("x-{cum}"),
        broker_order_id: BrokerOrderId::parse(&format!("b-{}", order.id)).unwrap(),
        qty: Qty::new(Decimal::ONE).unwrap(),
        price: Price::new(Decimal::from(100)).unwrap(),
        cum_qty: Decimal::from(cum),
        fee: Decimal::ZERO,
        at: at(),
    }
}

#[derive(Clone, Debug)]
enum Act {
    Claim(u32),
    NeverLeft(bool),
    Unknown(bool),
    Refused,
    Report(VenueStatus, i64, bool),
    Absent,
    End(OwnEnd),
    CancelOrder,
    CancelParent,
    Pause,
    Resume,
    Doubt,
    MarkAll,
    ScheduleEnded,
    CancelTaken,
    CancelRefused,
    Resolve(OperatorEnd, i64),
}

fn act() -> impl Strategy<Value = Act> {
    let status = proptest::sample::select(VenueStatus::ALL);
    prop_oneof![
        4 => (1_u32..3).prop_map(Act::Claim),
        2 => any::<bool>().prop_map(Act::NeverLeft),
        2 => any::<bool>().prop_map(Act::Unknown),
        1 => Just(Act::Refused),
        6 => (status, 0_i64..=10, any::<bool>()).prop_map(|(status, filled, with)| Act::Report(status, filled, with)),
        2 => Just(Act::Absent),
        1 => proptest::sample::select(OwnEnd::ALL).prop_map(Act::End),
        1 => Just(Act::CancelOrder),
        1 => Just(Act::CancelParent),
        1 => Just(Act::Pause),
        2 => Just(Act::Resume),
        1 => Just(Act::Doubt),
        1 => Just(Act::MarkAll),
        1 => Just(Act::ScheduleEnded),
        1 => Just(Act::CancelTaken),
        1 => Just(Act::CancelRefused),
        1 => (proptest::sample::select(OperatorEnd::ALL), 1_i64..=10).prop_map(|(end, qty)| Act::Resolve(end, qty)),
    ]
}

fn write(act: &Act, order: &Order, parent: &OrderId, all: &[OrderId]) -> Write {
    let (id, attempt) = (order.id.clone(), order.attempt);
    match act {
        Act::Claim(version) => Write::Claim { id, plan_version: Some(*version), reduces: false, limits: 0 },
        Act::NeverLeft(try_used) => {
            let tries = try_used.then_some(3);
            Write::NeverLeft { id, attempt, reason: "never_left", detail: String::new(), tries }
        }
        Act::Unknown(at_venue) => Write::OutcomeUnknown { id, attempt, detail: String::new(), at_venue: *at_venue },
        Act::Refused => Write::Refused { id, attempt, words: VenueWords { code: "no".into(), message: "no".into() } },
        Act::Report(status, filled, with) => {
            let filled = if *status == VenueStatus::Filled { 10 } else { *filled };
            let executions = if *with && filled > 0 { vec![execution(order, filled)] } else { Vec::new() };
            let order = venue_order(order, *status, filled);
            Write::Report(Box::new(Report { order, executions, corrects: false }))
        }
        Act::Absent => Write::Absent { id, attempt },
        Act::End(end) => Write::End { id, end: *end, reason: "test", detail: String::new() },
        Act::CancelOrder => Write::CancelOrder { id, by: local() },
        Act::CancelParent => Write::CancelParent { id: parent.clone(), by: local() },
        Act::Pause => Write::Pause { id: parent.clone(), reason: PauseReason::LedgerRewound },
        Act::Resume => Write::ResumeParent { id: parent.clone(), by: local() },
        Act::Doubt => Write::Doubt { id },
        Act::MarkAll => Write::MarkCancels { ids: all.to_vec() },
        Act::ScheduleEnded => Write::ScheduleEnded { id: parent.clone() },
        Act::CancelTaken => Write::CancelTaken { id },
        Act::CancelRefused => Write::CancelRefused { id },
        Act::Resolve(end, qty) => Write::Resolve {
            id,
            by: local(),
            resolution: Resolution {
                end: *end,
                filled_qty: Some(Decimal::from(*qty)),
                filled_avg_price: Some(Decimal::from(100)),
                reason: "seen at the broker".into(),
            },
        },
    }
}

/// What must be so after every write, whatever came before.
fn check(books: &Books, parent: &OrderId, slices: &[OrderId]) -> Result<(), TestCaseError> {
    let whole = &books.parents[parent];
    let children = slices.iter().map(|id| &books.orders[id]).collect::<Vec<_>>();
    let sum =
        children.iter().fold(Progress::default(), |sum, child| sum.moved(Progress::default(), Progress::of(child)));
    prop_assert_eq!(whole.progress, sum);
    prop_assert!(whole.adds_up());
    prop_assert_eq!(whole.status, whole.derive_status(at()));
    prop_assert_eq!(whole.status.is_terminal(), children.iter().all(|child| child.status.is_terminal()));
    let held = books.positions.values().map(|position| position.qty).sum::<Decimal>();
    prop_assert_eq!(held, sum.filled_qty);
    for child in children {
        prop_assert_eq!(child.status.is_terminal(), child.terminal_at.is_some());
        prop_assert!(child.status != OrderStatus::Filled || child.filled_qty > Decimal::ZERO);
        prop_assert!(child.attempt > 0 || child.filled_qty.is_zero());
    }
    Ok(())
}

proptest! {
    #[test]
    fn sums_add_up_and_refusals_change_nothing_whatever_happens(
        acts in proptest::collection::vec((0_usize..3, act()), 1..60),
    ) {
        let (mut books, parent, slices) = books();
        for (slice, act) in acts {
            let before = books.clone();
            let order = books.orders[&slices[slice]].clone();
            let write = write(&act, &order, &parent, &slices);
            let result = books.apply(&write);
            check(&books, &parent, &slices)?;
            let changed = books.orders != before.orders || books.parents != before.parents;
            match result {
                Err(_) => {
                    prop_assert!(!changed, "{act:?} was refused and changed something");
                    prop_assert_eq!(&books.changes, &before.changes);
                    prop_assert_eq!(&books.positions, &before.positions);
                }
                Ok(applied) if applied.outcome == Outcome::Unchanged => prop_assert!(!changed),
                Ok(_) => {}
            }
            let after = &books.orders[&order.id];
            prop_assert!(after.filled_qty >= order.filled_qty, "a fill was lost");
            if matches!(act, Act::Claim(_)) && *after != order {
                prop_assert!(order.is_claimable() && !before.parents[&parent].status.is_terminal());
                prop_assert!(before.parents[&parent].cancel_requested_at.is_none());
                prop_assert!(before.parents[&parent].status != ParentStatus::Paused, "it is held");
            }
            let again = books.clone().apply(&write).map(|applied| applied.outcome);
            if matches!(act, Act::Report(..)) && order.attempt > 0 {
                let repeated = matches!(again, Ok(Outcome::Unchanged)) || books.orders[&order.id].venue_status.is_none();
                prop_assert!(repeated || again.is_err(), "a repeated report was news: {again:?}");
            }
        }
    }
}

#[test]
fn a_claim_needs_the_plan_version_and_a_parent_that_works() {
    let (mut books, parent, slices) = books();
    let claim =
        |version| Write::Claim { id: slices[0].clone(), plan_version: Some(version), reduces: false, limits: 0 };
    assert_eq!(books.apply(&claim(2)), Err(Refusal::GuardLost("the plan has changed")));
    let claimed = books.apply(&claim(1)).unwrap();
    assert_eq!((claimed.orders[0].status, claimed.orders[0].attempt), (OrderStatus::Submitting, 1));
    assert!(matches!(books.apply(&claim(1)), Err(Refusal::GuardLost(_))), "claimed twice");
    books.apply(&Write::CancelParent { id: parent, by: local() }).unwrap();
    let next = Write::Claim { id: slices[1].clone(), plan_version: Some(1), reduces: false, limits: 0 };
    assert!(matches!(books.apply(&next), Err(Refusal::GuardLost(_))), "claimed after the cancel");
}

#[test]
fn an_order_that_turns_up_after_it_was_given_up_is_counted_and_has_to_go() {
    let (mut books, parent, slices) = books();
    let id = slices[0].clone();
    books.apply(&Write::Claim { id: id.clone(), plan_version: Some(1), reduces: false, limits: 0 }).unwrap();
    let lost = Write::OutcomeUnknown { id: id.clone(), attempt: 1, detail: String::new(), at_venue: false };
    books.apply(&lost).unwrap();
    let give_up = Write::End { id: id.clone(), end: OwnEnd::Failed, reason: "absent_at_venue", detail: String::new() };
    assert!(matches!(books.apply(&give_up), Err(Refusal::GuardLost(_))), "given up while it may be live");
    books.apply(&Write::Absent { id: id.clone(), attempt: 1 }).unwrap();
    books.apply(&give_up).unwrap();
    let order = books.orders[&id].clone();
    let report =
        Report { order: venue_order(&order, VenueStatus::PartiallyFilled, 4), executions: vec![], corrects: false };
    books.apply(&Write::Report(Box::new(report))).unwrap();
    let order = &books.orders[&id];
    assert_eq!(order.status, OrderStatus::PartiallyFilled);
    assert!(order.cancel_requested_at.is_some());
    assert_eq!(books.parents[&parent].progress.filled_qty, Decimal::from(4));
}

#[test]
fn a_duplicate_id_can_never_be_absent_and_a_stranger_is_never_adopted() {
    let (mut books, _, slices) = books();
    let id = slices[0].clone();
    books.apply(&Write::Claim { id: id.clone(), plan_version: Some(1), reduces: false, limits: 0 }).unwrap();
    let there = Write::OutcomeUnknown { id: id.clone(), attempt: 1, detail: String::new(), at_venue: true };
    books.apply(&there).unwrap();
    assert!(matches!(books.apply(&Write::Absent { id: id.clone(), attempt: 1 }), Err(Refusal::GuardLost(_))));
    let order = books.orders[&id].clone();
    let mut stranger = venue_order(&order, VenueStatus::Accepted, 0);
    stranger.qty = Qty::new(Decimal::from(11)).unwrap();
    let report = |order| Write::Report(Box::new(Report { order, executions: vec![], corrects: false }));
    assert_eq!(books.apply(&report(stranger)), Err(Refusal::NotOurs));
    let never_sent = venue_order(&books.orders[&slices[1]].clone(), VenueStatus::Accepted, 0);
    assert_eq!(books.apply(&report(never_sent)), Err(Refusal::NotOurs));
}

#[test]
fn a_correction_replaces_what_was_counted() {
    let (mut books, parent, slices) = books();
    let id = slices[0].clone();
    books.apply(&Write::Claim { id: id.clone(), plan_version: Some(1), reduces: false, limits: 0 }).unwrap();
    let order = books.orders[&id].clone();
    let report = |filled, corrects| {
        let order = venue_order(&order, VenueStatus::PartiallyFilled, filled);
        Write::Report(Box::new(Report { order, executions: vec![], corrects }))
    };
    books.apply(&report(8, false)).unwrap();
    books.apply(&report(5, false)).unwrap();
    assert_eq!(books.parents[&parent].progress.filled_qty, Decimal::from(8), "a stale total counts for nothing");
    books.apply(&report(5, true)).unwrap();
    assert_eq!(books.parents[&parent].progress.filled_qty, Decimal::from(5));
    let held = books.positions.values().map(|position| position.qty).sum::<Decimal>();
    assert_eq!(held, Decimal::from(5));
}

#[test]
fn a_submission_is_taken_once_and_another_under_its_id_is_refused() {
    let (mut books, parent, _) = books();
    let asked = Asked { by: local(), key: None, at: at() + TimeDelta::seconds(5) };
    let submit = |request: ParentRequest| {
        let (parent, slices) = request.plan(&rules(), &asked).unwrap();
        Write::Submit(Box::new(Submission::Parent { parent, slices }))
    };
    let replay = books.apply(&submit(request(30))).unwrap();
    assert_eq!((replay.outcome, &replay.parents[0].id), (Outcome::Replayed, &parent));
    let other = ParentRequest { client_order_id: Some(parent), ..request(60) };
    assert_eq!(books.apply(&submit(other)), Err(Refusal::IdReused));
}

#[test]
fn an_operator_settles_only_what_the_order_can_have_traded() {
    let (mut books, parent, slices) = books();
    let id = slices[0].clone();
    books.apply(&Write::Claim { id: id.clone(), plan_version: Some(1), reduces: false, limits: 0 }).unwrap();
    let resolve = |end, qty: Option<i64>| Write::Resolve {
        id: id.clone(),
        by: local(),
        resolution: Resolution {
            end,
            filled_qty: qty.map(Decimal::from),
            filled_avg_price: qty.map(|_| Decimal::from(100)),
            reason: "seen at the broker".into(),
        },
    };
    for (end, qty) in [
        (OperatorEnd::Filled, Some(1_000)),
        (OperatorEnd::Filled, Some(9)),
        (OperatorEnd::Filled, None),
        (OperatorEnd::Canceled, Some(10)),
    ] {
        let refused = books.apply(&resolve(end, qty));
        assert!(matches!(refused, Err(Refusal::Unfitting(_))), "{end} {qty:?}: {refused:?}");
    }
    books.apply(&resolve(OperatorEnd::Canceled, Some(4))).unwrap();
    assert_eq!(books.orders[&id].status, OrderStatus::Canceled);
    assert_eq!(books.parents[&parent].progress.filled_qty, Decimal::from(4));
}
