//! Chains of replacements in the ledger: a chain counts once, whatever is heard of its orders, in which order and how often.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use rust_decimal::Decimal;
use tranche_actors::domain::chain::chains;
use tranche_actors::domain::ledger::{
    Applied, Books, NotReplaceable, Outcome, Refusal, Replacement, Report, Resolution, Submission, Write,
};
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, StrategyId, symbol};
use tranche_actors::domain::order::{Order, Origin};
use tranche_actors::domain::parent::Progress;
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

fn dec(value: i64) -> Decimal {
    Decimal::from(value)
}

fn limit(price: i64) -> Terms {
    Terms::Limit { limit_price: Price::new(dec(price)).unwrap() }
}

/// Books with one parent of two slices of ten, which rest at 100.
struct Desk {
    books: Books,
    parent: OrderId,
    slices: Vec<OrderId>,
}

impl Desk {
    fn new() -> Self {
        let request = ParentRequest {
            instruction: Instruction {
                symbol: symbol("AAPL").unwrap(),
                side: Side::Buy,
                terms: limit(100),
                time_in_force: TimeInForce::Day,
                extended_hours: false,
            },
            qty: Qty::new(dec(20)).unwrap(),
            schedule: Schedule {
                span: Span::Seconds(NonZeroU32::new(2).unwrap()),
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
            request_hash: "hash".to_owned(),
        };
        let rules = PlanRules {
            instruments: std::collections::BTreeMap::new(),
            accounts: vec![AccountName::parse("default").unwrap()],
            max_slices: 100,
            orders_per_minute: None,
            refuse_past_close: false,
            adv_pct: None,
        };
        let (parent, slices) = request.plan(&rules, &Asked { by: local(), key: None, at: at() }).unwrap();
        let (id, ids) = (parent.id.clone(), slices.iter().map(|slice| slice.id.clone()).collect());
        let mut books = Books::new(AccountName::parse("default").ok(), at(), DayEnd::new_york());
        books.apply(&Write::Submit(Box::new(Submission::Parent { parent, slices }))).unwrap();
        Self { books, parent: id, slices: ids }
    }

    /// The first slice is live at the venue.
    fn live() -> (Self, OrderId) {
        let mut desk = Self::new();
        let id = desk.slices[0].clone();
        desk.claim(&id);
        desk.report(&id, VenueStatus::Accepted, 0);
        (desk, id)
    }

    fn order(&self, id: &OrderId) -> &Order {
        &self.books.orders[id]
    }

    fn status(&self, id: &OrderId) -> OrderStatus {
        self.order(id).status
    }

    fn progress(&self) -> Progress {
        self.books.parents[&self.parent].progress
    }

    fn claim(&mut self, id: &OrderId) {
        self.books.apply(&Write::Claim { id: id.clone(), plan_version: Some(1), reduces: false, limits: 0 }).unwrap();
    }

    fn replace(&mut self, id: &OrderId, price: i64) -> OrderId {
        let applied = self.books.apply(&replace(id, price, None)).unwrap();
        applied.orders[0].id.clone()
    }

    fn report(&mut self, id: &OrderId, status: VenueStatus, filled: i64) -> Applied {
        let report = Report { order: at_venue(self.order(id), status, filled), executions: vec![], corrects: false };
        self.books.apply(&Write::Report(Box::new(report))).unwrap()
    }

    fn lose(&mut self, id: &OrderId) {
        let attempt = self.order(id).attempt;
        self.books.apply(&lost(id, attempt)).unwrap();
    }

    /// What must be so after every write, whatever came before.
    fn check(&self) -> Result<(), TestCaseError> {
        let parent = &self.books.parents[&self.parent];
        let of_it = || self.books.orders.values().filter(|order| order.slice.is_some());
        prop_assert_eq!(parent.progress, Progress::of_all(of_it()));
        prop_assert!(parent.adds_up(), "{:?}", parent.progress);
        prop_assert_eq!(parent.status, parent.derive_status(at()));
        prop_assert_eq!(parent.status.is_terminal(), of_it().all(|order| order.status.is_terminal()));
        let held = self.books.positions.values().map(|position| position.qty).sum::<Decimal>();
        prop_assert_eq!(held, parent.progress.filled_qty);
        for chain in chains(of_it()) {
            for order in chain.orders().filter(|order| order.status == OrderStatus::PendingReplace) {
                let next = &self.books.orders[order.replaced_by.as_ref().unwrap()];
                let came_to_be = matches!(next.status, OrderStatus::Filled | OrderStatus::Replaced);
                let why = format!("{} waits for {}, which is {}", order.id, next.id, next.status);
                prop_assert!(!next.status.is_terminal() || came_to_be, "{}", why);
            }
        }
        Ok(())
    }
}

fn replace(id: &OrderId, price: i64, key: Option<&str>) -> Write {
    let key = key.map(|key| IdempotencyKey::parse(key).unwrap());
    let origin = Origin { caller: local(), key, request_hash: format!("{id} at {price}") };
    let qty = Qty::new(dec(10)).unwrap();
    Write::Replace(Box::new(Replacement { order: id.clone(), qty, terms: limit(price), reduces: false, origin }))
}

fn lost(id: &OrderId, attempt: u32) -> Write {
    Write::OutcomeUnknown { id: id.clone(), attempt, detail: String::new(), at_venue: false }
}

fn broker_id(id: &OrderId) -> BrokerOrderId {
    BrokerOrderId::parse(&format!("b-{id}")).unwrap()
}

fn at_venue(order: &Order, status: VenueStatus, filled: i64) -> VenueOrder {
    VenueOrder {
        broker_order_id: broker_id(&order.id),
        client_order_id: order.id.clone(),
        instruction: order.instruction.clone(),
        qty: order.qty,
        status,
        filled_qty: dec(filled),
        filled_avg_price: (filled > 0).then(|| cost_of(0, filled) / dec(filled)),
        reason: None,
        replaces: order.replaces.as_ref().map(|replaces| replaces.broker_order_id.clone()),
        replaced_by: None,
        submitted_at: at(),
    }
}

/// Share number `n` of a chain trades at 100 + n.
fn cost_of(from: i64, to: i64) -> Decimal {
    (from + 1..=to).map(|n| dec(100 + n)).sum()
}

/// The trade of share number `cum` of a chain.
fn execution(id: &OrderId, cum: i64) -> Execution {
    Execution {
        execution_id: format!("x-{cum}"),
        broker_order_id: broker_id(id),
        qty: Qty::new(Decimal::ONE).unwrap(),
        price: Price::new(dec(100 + cum)).unwrap(),
        cum_qty: dec(cum),
        fee: Decimal::ZERO,
        at: at(),
    }
}

#[derive(Clone, Debug)]
enum Act {
    Replace(i64),
    Claim,
    NeverLeft(bool),
    Unknown(bool),
    Refused,
    Report(VenueStatus, i64),
    Absent,
    End(OwnEnd),
    CancelOrder,
    CancelParent,
    MarkAll,
    ScheduleEnded,
    CancelTaken,
    CancelRefused,
    Resolve(OperatorEnd, i64),
}

fn act() -> impl Strategy<Value = Act> {
    let status = proptest::sample::select(VenueStatus::ALL);
    prop_oneof![
        6 => (90_i64..110).prop_map(Act::Replace),
        6 => Just(Act::Claim),
        1 => any::<bool>().prop_map(Act::NeverLeft),
        2 => any::<bool>().prop_map(Act::Unknown),
        1 => Just(Act::Refused),
        8 => (status, 0_i64..=10).prop_map(|(status, filled)| Act::Report(status, filled)),
        2 => Just(Act::Absent),
        1 => proptest::sample::select(OwnEnd::ALL).prop_map(Act::End),
        1 => Just(Act::CancelOrder),
        1 => Just(Act::CancelParent),
        1 => Just(Act::MarkAll),
        1 => Just(Act::ScheduleEnded),
        1 => Just(Act::CancelTaken),
        1 => Just(Act::CancelRefused),
        1 => (proptest::sample::select(OperatorEnd::ALL), 1_i64..=10).prop_map(|(end, qty)| Act::Resolve(end, qty)),
    ]
}

fn write(act: &Act, order: &Order, desk: &Desk) -> Write {
    let (id, attempt) = (order.id.clone(), order.attempt);
    match act {
        Act::Replace(price) => replace(&id, *price, None),
        Act::Claim => Write::Claim { id, plan_version: Some(1), reduces: false, limits: 0 },
        Act::NeverLeft(try_used) => {
            let tries = try_used.then_some(2);
            Write::NeverLeft { id, attempt, reason: "never_left", detail: String::new(), tries }
        }
        Act::Unknown(at_venue) => Write::OutcomeUnknown { id, attempt, detail: String::new(), at_venue: *at_venue },
        Act::Refused => Write::Refused { id, attempt, words: VenueWords { code: "no".into(), message: "no".into() } },
        Act::Report(status, filled) => {
            let filled = if *status == VenueStatus::Filled { 10 } else { *filled };
            let executions = if filled > 0 { vec![execution(&id, filled)] } else { Vec::new() };
            let order = at_venue(order, *status, filled);
            Write::Report(Box::new(Report { order, executions, corrects: false }))
        }
        Act::Absent => Write::Absent { id, attempt },
        Act::End(end) => Write::End { id, end: *end, reason: "test", detail: String::new() },
        Act::CancelOrder => Write::CancelOrder { id, by: local() },
        Act::CancelParent => Write::CancelParent { id: desk.parent.clone(), by: local() },
        Act::MarkAll => Write::MarkCancels { ids: desk.books.orders.keys().cloned().collect() },
        Act::ScheduleEnded => Write::ScheduleEnded { id: desk.parent.clone() },
        Act::CancelTaken => Write::CancelTaken { id },
        Act::CancelRefused => Write::CancelRefused { id },
        Act::Resolve(end, qty) => Write::Resolve {
            id,
            by: local(),
            resolution: Resolution {
                end: *end,
                filled_qty: Some(dec(*qty)),
                filled_avg_price: Some(dec(100)),
                reason: "seen at the broker".into(),
            },
        },
    }
}

proptest! {
    #[test]
    fn a_chain_counts_once_and_refusals_change_nothing_whatever_happens(
        acts in proptest::collection::vec((any::<prop::sample::Index>(), act()), 1..80),
    ) {
        let (mut desk, _) = Desk::live();
        for (which, act) in acts {
            let order = desk.books.orders.values().nth(which.index(desk.books.orders.len())).unwrap().clone();
            let before = desk.books.clone();
            let write = write(&act, &order, &desk);
            let result = desk.books.apply(&write);
            desk.check()?;
            match result {
                Err(_) => {
                    prop_assert!(
                        desk.books.orders == before.orders && desk.books.parents == before.parents,
                        "{act:?} was refused and changed something"
                    );
                    prop_assert_eq!(&desk.books.changes, &before.changes);
                    prop_assert_eq!(&desk.books.positions, &before.positions);
                }
                Ok(applied) if applied.outcome == Outcome::Unchanged => {
                    prop_assert!(desk.books.orders == before.orders, "{act:?} changed something and said nothing");
                }
                Ok(applied) => {
                    for (id, now) in &desk.books.orders {
                        let changed = before.orders.get(id) != Some(now);
                        let saved = &desk.books.changes;
                        prop_assert!(!changed || saved.orders.contains(id) || saved.new_orders.contains(id));
                        let told = applied.orders.iter().rfind(|order| order.id == *id);
                        prop_assert!(!changed || told == Some(now), "{act:?} changed {id}, and did not tell");
                    }
                }
            }
        }
    }

    /// A chain of up to three orders trades share by share, and everything that the venue ever said of it arrives in any
    /// order and any number.
    #[test]
    fn reports_of_a_chain_in_any_order_and_number_come_to_the_same(
        parts in proptest::collection::vec(0_i64..4, 2..4),
        ends_filled: bool,
        luck in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..40),
    ) {
        let (mut desk, first) = Desk::live();
        let mut ids = vec![first];
        for n in 1..parts.len() {
            let next = desk.replace(&ids[n - 1], 100 + i64::try_from(n).unwrap());
            desk.claim(&next);
            if n + 1 < parts.len() {
                desk.report(&next, VenueStatus::Accepted, 0);
            }
            ids.push(next);
        }
        let (mut said, mut traded) = (Vec::new(), 0);
        for (n, part) in parts.iter().enumerate() {
            let id = &ids[n];
            let is_last = n + 1 == parts.len();
            let upto = if is_last && ends_filled { 10 } else { traded + part };
            said.push((id.clone(), at_venue(desk.order(id), VenueStatus::Accepted, traded), None));
            for cum in traded + 1..=upto {
                let word = if cum == 10 { VenueStatus::Filled } else { VenueStatus::PartiallyFilled };
                said.push((id.clone(), at_venue(desk.order(id), word, cum), Some(execution(id, cum))));
            }
            traded = upto;
            let end = if is_last { VenueStatus::Canceled } else { VenueStatus::Replaced };
            if !(is_last && ends_filled) {
                said.push((id.clone(), at_venue(desk.order(id), end, traded), None));
            }
        }
        let tell = |desk: &mut Desk, n: usize, with: bool| {
            let (_, order, execution) = said[n].clone();
            let executions = execution.filter(|_| with).into_iter().collect();
            desk.books.apply(&Write::Report(Box::new(Report { order, executions, corrects: false }))).unwrap();
        };
        for (which, with) in luck {
            tell(&mut desk, which.index(said.len()), with);
            desk.check()?;
        }
        for n in 0..said.len() {
            tell(&mut desk, n, true);
            desk.check()?;
        }
        let progress = desk.progress();
        prop_assert_eq!((progress.filled_qty, progress.filled_cost), (dec(traded), cost_of(0, traded)));
        prop_assert_eq!((progress.working_qty, progress.unknown_qty), (Decimal::ZERO, Decimal::ZERO));
        prop_assert_eq!(progress.unexecuted_qty, dec(10 - traded));
        let paid = desk.books.positions.values().map(|position| position.cost).sum::<Decimal>();
        prop_assert_eq!(paid, cost_of(0, traded));
        for (n, id) in ids.iter().enumerate() {
            let end = match (n + 1 == ids.len(), ends_filled) {
                (false, _) => OrderStatus::Replaced,
                (true, true) => OrderStatus::Filled,
                (true, false) => OrderStatus::Canceled,
            };
            prop_assert_eq!(desk.status(id), end);
        }
    }
}

#[test]
fn an_order_waits_for_its_replacement_and_gives_way_when_the_venue_says_so() {
    let (mut desk, old) = Desk::live();
    desk.report(&old, VenueStatus::PartiallyFilled, 3);
    let new = desk.replace(&old, 101);
    assert_eq!(new.as_str(), format!("{old}.r1"));
    assert_eq!((desk.status(&old), desk.status(&new)), (OrderStatus::PendingReplace, OrderStatus::PendingNew));
    assert_eq!((desk.progress().working_qty, desk.progress().pending_qty), (dec(7), dec(10)));
    desk.claim(&new);
    assert_eq!((desk.progress().working_qty, desk.progress().unknown_qty), (dec(7), dec(0)));
    desk.report(&old, VenueStatus::Replaced, 3);
    assert_eq!(desk.status(&old), OrderStatus::Replaced);
    assert_eq!((desk.progress().working_qty, desk.progress().unknown_qty), (dec(0), dec(7)));
    desk.report(&new, VenueStatus::PartiallyFilled, 5);
    assert_eq!((desk.progress().filled_qty, desk.progress().working_qty), (dec(5), dec(5)));
    let next = desk.replace(&new, 102);
    assert_eq!(next.as_str(), format!("{old}.r2"));
    desk.check().unwrap();
}

#[test]
fn a_replacement_that_is_sent_again_lives_if_its_order_gave_way_to_the_send_before() {
    let words = VenueWords { code: "422".into(), message: "it is already replaced".into() };
    let refused = |id: &OrderId| Write::Refused { id: id.clone(), attempt: 2, words: words.clone() };
    let (reason, tries) = ("never_left", Some(3));
    let never_left = |id: &OrderId| {
        let detail = String::new();
        Write::NeverLeft { id: id.clone(), attempt: 2, reason, detail, tries }
    };
    type Ends<'a> = &'a dyn Fn(&OrderId) -> Write;
    let all: [Ends<'_>; 2] = [&refused, &never_left];
    for second_send in all {
        let (mut desk, old) = Desk::live();
        let new = desk.replace(&old, 101);
        desk.claim(&new);
        desk.lose(&new);
        desk.books.apply(&Write::Absent { id: new.clone(), attempt: 1 }).unwrap();
        desk.claim(&new);
        desk.report(&old, VenueStatus::Replaced, 0);
        desk.books.apply(&second_send(&new)).unwrap();
        assert_eq!(desk.status(&new), OrderStatus::SubmittedUnconfirmed);
        assert_eq!(desk.progress().unknown_qty, dec(10));
        desk.check().unwrap();
        desk.report(&new, VenueStatus::Accepted, 0);
        assert_eq!((desk.status(&new), desk.order(&new).cancel_requested_at), (OrderStatus::Accepted, None));
        desk.check().unwrap();
    }
}

#[test]
fn an_order_goes_back_to_what_it_was_when_its_replacement_comes_to_nothing() {
    let refused = |desk: &mut Desk, id: &OrderId| {
        desk.claim(id);
        let words = VenueWords { code: "422".into(), message: "no".into() };
        desk.books.apply(&Write::Refused { id: id.clone(), attempt: 1, words }).unwrap();
    };
    let too_late = |desk: &mut Desk, id: &OrderId| {
        let write = Write::End { id: id.clone(), end: OwnEnd::Expired, reason: "late", detail: String::new() };
        desk.books.apply(&write).unwrap();
    };
    let given_up = |desk: &mut Desk, id: &OrderId| {
        desk.claim(id);
        desk.lose(id);
        desk.books.apply(&Write::Absent { id: id.clone(), attempt: 1 }).unwrap();
        let write = Write::End { id: id.clone(), end: OwnEnd::Failed, reason: "absent", detail: String::new() };
        desk.books.apply(&write).unwrap();
    };
    let rejected_later = |desk: &mut Desk, id: &OrderId| {
        desk.claim(id);
        desk.report(id, VenueStatus::Accepted, 4);
        desk.report(id, VenueStatus::Rejected, 4);
    };
    type Ends<'a> = &'a dyn Fn(&mut Desk, &OrderId);
    let all: [Ends<'_>; 4] = [&refused, &too_late, &given_up, &rejected_later];
    for ends in all {
        let (mut desk, old) = Desk::live();
        desk.report(&old, VenueStatus::PartiallyFilled, 4);
        let new = desk.replace(&old, 101);
        desk.report(&old, VenueStatus::PendingReplace, 4);
        ends(&mut desk, &new);
        assert_eq!(desk.status(&old), OrderStatus::PartiallyFilled);
        assert!(desk.status(&new).is_terminal());
        assert_eq!((desk.progress().filled_qty, desk.progress().working_qty), (dec(4), dec(6)));
        desk.report(&old, VenueStatus::PartiallyFilled, 5);
        assert_eq!(desk.status(&old), OrderStatus::PartiallyFilled, "what was said before is over");
        let again = desk.replace(&old, 102);
        assert_eq!(again.as_str(), format!("{old}.r2"));
        desk.check().unwrap();
    }
}

#[test]
fn a_replacement_that_loses_to_a_fill_ends_with_a_reason() {
    for sent in [false, true] {
        let (mut desk, old) = Desk::live();
        let new = desk.replace(&old, 101);
        if sent {
            desk.claim(&new);
            desk.lose(&new);
        }
        let told = desk.report(&old, VenueStatus::Filled, 10);
        assert!(told.order(&new).is_some());
        let order = desk.order(&new);
        assert_eq!((order.status, order.reason_code.as_deref()), (OrderStatus::Canceled, Some("replaced_order_ended")));
        assert_eq!(order.error_message.as_deref(), Some("the order to be replaced is filled"));
        assert_eq!((desk.progress().filled_qty, desk.progress().open), (dec(10), 1));
        // Where it was on its way the venue says no to it, and that is no return of what was given up.
        if sent {
            desk.report(&new, VenueStatus::Rejected, 10);
            assert_eq!(desk.order(&new).cancel_requested_at, None);
        }
        desk.check().unwrap();
    }
}

#[test]
fn a_replacement_that_the_venue_had_and_that_came_too_late_trades_nothing() {
    let (mut desk, old) = Desk::live();
    let new = desk.replace(&old, 101);
    desk.claim(&new);
    desk.report(&new, VenueStatus::Accepted, 0);
    for cum in 1..=10 {
        let word = if cum == 10 { VenueStatus::Filled } else { VenueStatus::PartiallyFilled };
        let order = at_venue(desk.order(&old), word, cum);
        let report = Report { order, executions: vec![execution(&old, cum)], corrects: false };
        desk.books.apply(&Write::Report(Box::new(report))).unwrap();
    }
    desk.report(&new, VenueStatus::Rejected, 0);
    assert_eq!((desk.status(&old), desk.status(&new)), (OrderStatus::Filled, OrderStatus::Rejected));
    assert_eq!((desk.order(&new).filled_qty, desk.progress().filled_qty), (dec(0), dec(10)));
    assert_eq!(desk.progress().filled_cost, cost_of(0, 10));
    desk.check().unwrap();
}

#[test]
fn a_replacement_of_unknown_outcome_is_at_the_venue_once_the_old_order_is_replaced() {
    let (mut desk, old) = Desk::live();
    let new = desk.replace(&old, 101);
    desk.claim(&new);
    desk.lose(&new);
    let absent = Write::Absent { id: new.clone(), attempt: 1 };
    desk.books.apply(&absent).unwrap();
    desk.report(&old, VenueStatus::Replaced, 0);
    assert!(desk.order(&new).at_venue && desk.order(&new).absent_at.is_none());
    assert!(matches!(desk.books.apply(&absent), Err(Refusal::GuardLost(_))));
    let again = desk.books.apply(&Write::Claim { id: new.clone(), plan_version: Some(1), reduces: false, limits: 0 });
    assert!(matches!(again, Err(Refusal::GuardLost(_))), "sent again while it is there");
    desk.report(&new, VenueStatus::Accepted, 0);
    assert_eq!(desk.progress().working_qty, dec(10));
    desk.check().unwrap();
}

#[test]
fn a_replacement_is_claimed_only_while_its_order_waits_for_it() {
    let (mut desk, old) = Desk::live();
    let new = desk.replace(&old, 101);
    desk.books.apply(&Write::MarkCancels { ids: vec![old.clone()] }).unwrap();
    assert_eq!(desk.status(&new), OrderStatus::Canceled, "a replacement that was not sent ends with the mark");
    let claimed = desk.books.apply(&Write::Claim { id: new, plan_version: Some(1), reduces: false, limits: 0 });
    assert!(matches!(claimed, Err(Refusal::GuardLost(_))));

    let (mut desk, old) = Desk::live();
    let new = desk.replace(&old, 101);
    desk.books.apply(&Write::CancelTaken { id: old }).unwrap();
    let claimed =
        desk.books.apply(&Write::Claim { id: new.clone(), plan_version: Some(1), reduces: false, limits: 0 }).unwrap();
    assert_eq!(claimed.orders[0].status, OrderStatus::Canceled, "the venue is cancelling what it was to replace");
}

#[test]
fn a_cancel_follows_the_chain_to_its_end() {
    let (mut desk, old) = Desk::live();
    let new = desk.replace(&old, 101);
    desk.claim(&new);
    desk.lose(&new);
    for asked in [&old, &new] {
        let mut desk = Desk { books: desk.books.clone(), parent: desk.parent.clone(), slices: desk.slices.clone() };
        let applied = desk.books.apply(&Write::CancelOrder { id: asked.clone(), by: local() }).unwrap();
        assert_eq!(applied.orders[0].id, *asked);
        assert!([&old, &new].iter().all(|id| desk.order(id).cancel_requested_at.is_some()));
    }
    desk.report(&old, VenueStatus::Replaced, 0);
    desk.report(&new, VenueStatus::Accepted, 0);
    let applied = desk.books.apply(&Write::CancelOrder { id: old.clone(), by: local() }).unwrap();
    assert_eq!((applied.orders[0].id.clone(), applied.orders[0].status), (old, OrderStatus::Replaced));
    assert!(desk.order(&new).cancel_requested_at.is_some());
    desk.report(&new, VenueStatus::Canceled, 0);
    let applied = desk.books.apply(&Write::CancelOrder { id: new, by: local() }).unwrap();
    assert_eq!(applied.outcome, Outcome::Unchanged);
}

#[test]
fn a_parents_cancel_counts_a_chain_once() {
    let (mut desk, old) = Desk::live();
    let new = desk.replace(&old, 101);
    desk.claim(&new);
    let applied = desk.books.apply(&Write::CancelParent { id: desk.parent.clone(), by: local() }).unwrap();
    let Outcome::Canceling(counts) = applied.outcome else { panic!("{:?}", applied.outcome) };
    assert_eq!((counts.open_cancel_requested, counts.pending_canceled), (1, 1));
    assert_eq!((counts.in_flight, counts.already_terminal), (0, 0));
    assert!([&old, &new].iter().all(|id| desk.order(id).cancel_requested_at.is_some()));
}

#[test]
fn what_can_not_be_replaced_is_refused_with_its_reason() {
    let mut desk = Desk::new();
    let id = desk.slices[0].clone();
    let refused = |desk: &mut Desk| desk.books.apply(&replace(&id, 101, None)).unwrap_err();
    let not = Refusal::NotReplaceable;
    assert_eq!(refused(&mut desk), not(NotReplaceable::NotLive(OrderStatus::PendingNew)));
    desk.claim(&id);
    assert_eq!(refused(&mut desk), not(NotReplaceable::NotLive(OrderStatus::Submitting)));
    desk.report(&id, VenueStatus::PartiallyFilled, 4);
    desk.books.apply(&Write::CancelOrder { id: id.clone(), by: local() }).unwrap();
    assert_eq!(refused(&mut desk), not(NotReplaceable::Changing(OrderStatus::PartiallyFilled)));
    desk.report(&id, VenueStatus::Canceled, 4);
    assert_eq!(refused(&mut desk), not(NotReplaceable::Ended(OrderStatus::Canceled)));

    let (mut desk, id) = Desk::live();
    let of = |qty: i64| {
        let Write::Replace(asked) = replace(&id, 101, None) else { unreachable!() };
        Write::Replace(Box::new(Replacement { qty: Qty::new(dec(qty)).unwrap(), ..*asked }))
    };
    assert!(matches!(desk.books.apply(&of(11)), Err(Refusal::UnfittingQty(_))), "a slice of another quantity");
    desk.report(&id, VenueStatus::PartiallyFilled, 4);
    assert!(matches!(desk.books.apply(&of(4)), Err(Refusal::UnfittingQty(_))), "less than has traded");
    desk.replace(&id, 101);
    let under_way = desk.books.apply(&replace(&id, 102, None));
    assert_eq!(under_way, Err(not(NotReplaceable::Changing(OrderStatus::PendingReplace))));
    let nobody = OrderId::parse("nobody").unwrap();
    assert_eq!(desk.books.apply(&replace(&nobody, 101, None)), Err(Refusal::NotFound));
}

#[test]
fn a_repetition_names_the_first_replacement() {
    let (mut desk, old) = Desk::live();
    let first = desk.books.apply(&replace(&old, 101, Some("k"))).unwrap();
    let again = desk.books.apply(&replace(&old, 101, Some("k"))).unwrap();
    assert_eq!((again.outcome, &again.orders[0]), (Outcome::Replayed, &first.orders[0]));
    assert_eq!(desk.books.apply(&replace(&old, 102, Some("k"))), Err(Refusal::KeyReused));
}
