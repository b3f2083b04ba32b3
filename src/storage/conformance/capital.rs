//! What an account is worth: each change once, in the transaction of what caused it, and on the day when that happened.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use tranche_actors::domain::ledger::{Outcome, Refusal, Report, Write};
use tranche_actors::domain::money::Money;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::portfolio::{CapitalKind, CapitalMove, DayResult, Direction, Portfolio};
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::VenueStatus;

use super::fixtures::{at_venue, caller, claim_single, dec, execution, order, report, single, submit};
use super::{Desk, Place, account};

pub(crate) fn moves(direction: Direction, amount: &str, expected: Option<u64>) -> Write {
    Write::Capital(Box::new(CapitalMove {
        direction,
        amount: Money::new(dec(amount)).unwrap(),
        expected,
        operator: "Zoë".to_owned(),
        reason: "it's a start".to_owned(),
        by: caller("ops"),
    }))
}

async fn worth(desk: &Desk) -> Portfolio {
    desk.store.portfolio(&account()).await.unwrap()
}

/// The books and everything that they were made of.
async fn sound(desk: &Desk) -> Portfolio {
    let mut ledger = desk.store.capital(&account(), None, 500).await.unwrap();
    let mut days = desk.store.days(&account(), None, 500).await.unwrap();
    ledger.reverse();
    days.reverse();
    let portfolio = worth(desk).await;
    assert_eq!(portfolio.faults(&ledger, &days), [""; 0]);
    portfolio
}

async fn sent(desk: &Desk, name: &str, side: Side) -> Order {
    let mut asked = single(name, 10);
    asked.instruction.side = side;
    desk.write(submit(asked)).await.unwrap();
    desk.write(claim_single(name)).await.unwrap().orders.remove(0)
}

/// All ten of an order, at once.
async fn trade(desk: &Desk, name: &str, side: Side, price: &str, at: DateTime<Utc>) -> Order {
    let order = sent(desk, name, side).await;
    let mut fill = execution(&order, 10, price, 10);
    fill.at = at;
    let whole = at_venue(&order, VenueStatus::Filled, 10, Some(price));
    desk.write(report(Report { executions: vec![fill], ..whole })).await.unwrap();
    order
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub(crate) async fn capital_is_moved_on_the_version_that_was_seen(place: &dyn Place) {
    let desk = Desk::at(place).await;
    assert_eq!(worth(&desk).await, Portfolio::default());
    let moved = desk.write(moves(Direction::Deposit, "1000.5", Some(0))).await.unwrap();
    assert_eq!(moved.outcome, Outcome::Booked(worth(&desk).await));
    let lost = desk.write(moves(Direction::Deposit, "1", Some(0))).await;
    assert_eq!(lost, Err(Refusal::PortfolioMoved { expected: 0, found: 1 }));
    let too_much = desk.write(moves(Direction::Withdrawal, "1000.500000001", None)).await;
    assert_eq!(too_much, Err(Refusal::BelowZero { equity: dec("1000.5") }));
    desk.write(moves(Direction::Withdrawal, "1000.5", Some(1))).await.unwrap();
    desk.write(moves(Direction::Deposit, "0.000000001", None)).await.unwrap();
    let portfolio = sound(&desk).await;
    assert_eq!((portfolio.initial_capital, portfolio.high_water_mark), (dec("1000.5"), dec("1000.5")));
    assert_eq!((portfolio.closed_equity, portfolio.net_capital), (dec("0.000000001"), dec("0.000000001")));
    assert_eq!((portfolio.peak_result, portfolio.entries, portfolio.version), (Decimal::ZERO, 3, 3));
    let ledger = desk.store.capital(&account(), Some(3), 1).await.unwrap();
    assert_eq!(ledger.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2]);
    let taken = &ledger[0];
    assert_eq!((taken.kind, taken.amount), (CapitalKind::Withdrawal, dec("-1000.5")));
    assert_eq!((taken.before, taken.after), (dec("1000.5"), Decimal::ZERO));
    assert_eq!((taken.actor.as_str(), taken.reason.as_deref()), ("Zoë", Some("it's a start")));
    assert_eq!((&taken.order, &taken.symbol, taken.day), (&None, &None, day("2026-11-23")));
    let desk = desk.again(place).await;
    assert_eq!(sound(&desk).await, portfolio);
}

pub(crate) async fn a_fill_books_what_it_brought_with_itself(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let now = at("2026-11-23T14:30:00.000001Z");
    trade(&desk, "a", Side::Buy, "100", now).await;
    assert_eq!(worth(&desk).await.closed_equity, dec("-0.01"), "the fee is all that it cost so far");
    let closing = trade(&desk, "b", Side::Sell, "103", now).await;
    let portfolio = sound(&desk).await;
    assert_eq!((portfolio.closed_equity, portfolio.peak_result), (dec("29.98"), dec("29.98")));
    let ledger = desk.store.capital(&account(), None, 500).await.unwrap();
    let kinds = ledger.iter().map(|entry| (entry.kind, entry.amount)).collect::<Vec<_>>();
    let fee = (CapitalKind::Fee, dec("-0.01"));
    assert_eq!(kinds, [fee, (CapitalKind::TradingPnl, dec("30")), fee]);
    assert_eq!(ledger[1].order.as_ref(), Some(&closing.id));
    assert_eq!(ledger[1].symbol.as_ref(), Some(&closing.instruction.symbol));
    assert_eq!(order(&*desk.store, "b").await.realised_pnl, dec("30"));
    let days = desk.store.days(&account(), None, 10).await.unwrap();
    let booked = |day: &DayResult| (day.realised_pnl, day.fees, day.executions, day.orders);
    assert_eq!(days.iter().map(booked).collect::<Vec<_>>(), [(dec("30"), dec("0.02"), 2, 2)]);
    // Told again, nothing of it counts again.
    let again = at_venue(&closing, VenueStatus::Filled, 10, Some("103"));
    desk.write(report(Report { executions: vec![execution(&closing, 10, "103", 10)], ..again })).await.unwrap();
    assert_eq!(sound(&desk).await, portfolio);
}

pub(crate) async fn a_bust_gives_back_what_its_trade_brought(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let now = at("2026-11-23T14:30:00.000001Z");
    trade(&desk, "a", Side::Buy, "100", now).await;
    let before = desk.store.positions(&account()).await.unwrap().remove(0).position;
    let closing = trade(&desk, "b", Side::Sell, "103", now).await;
    let undone = Report { corrects: true, ..at_venue(&closing, VenueStatus::Canceled, 0, None) };
    desk.write(report(undone)).await.unwrap();
    let portfolio = sound(&desk).await;
    assert_eq!((portfolio.closed_equity, portfolio.high_water_mark), (dec("-0.02"), dec("29.98")));
    let after = desk.store.positions(&account()).await.unwrap().remove(0).position;
    assert_eq!((after.qty, after.cost, after.realised_pnl), (before.qty, before.cost, Decimal::ZERO));
    assert_eq!(order(&*desk.store, "b").await.realised_pnl, Decimal::ZERO);
}

pub(crate) async fn results_belong_to_the_trading_day_of_the_trade(place: &dyn Place) {
    let desk = Desk::at(place).await;
    // Clocks in New York went back between the two: the reset is an hour later in UTC.
    trade(&desk, "a", Side::Buy, "100", at("2026-10-30T20:59:59.999999Z")).await;
    trade(&desk, "b", Side::Sell, "101", at("2026-10-30T21:00:00Z")).await;
    trade(&desk, "c", Side::Buy, "100", at("2026-11-02T21:59:59.999999Z")).await;
    trade(&desk, "d", Side::Sell, "102", at("2026-11-02T22:00:00Z")).await;
    sound(&desk).await;
    let days = desk.store.days(&account(), None, 3).await.unwrap();
    let booked = |day: &DayResult| (day.day, day.realised_pnl);
    assert_eq!(
        days.iter().map(booked).collect::<Vec<_>>(),
        [(day("2026-11-03"), dec("20")), (day("2026-11-02"), Decimal::ZERO), (day("2026-10-31"), dec("10")),]
    );
    let earlier = desk.store.days(&account(), Some(day("2026-10-30")), 10).await.unwrap();
    assert_eq!(earlier.iter().map(booked).collect::<Vec<_>>(), [(day("2026-10-30"), Decimal::ZERO)]);
}

pub(crate) async fn trades_of_one_report_count_to_the_day_of_each(place: &dyn Place) {
    let desk = Desk::at(place).await;
    trade(&desk, "a", Side::Buy, "100", at("2026-11-20T15:00:00Z")).await;
    let order = sent(&desk, "b", Side::Sell).await;
    let (mut first, mut second) = (execution(&order, 4, "110", 4), execution(&order, 6, "90", 10));
    (first.at, second.at) = (at("2026-11-20T21:59:00Z"), at("2026-11-20T22:01:00Z"));
    let whole = at_venue(&order, VenueStatus::Filled, 10, Some("98"));
    desk.write(report(Report { executions: vec![first, second], ..whole })).await.unwrap();
    sound(&desk).await;
    let days = desk.store.days(&account(), None, 10).await.unwrap();
    let booked = |day: &DayResult| (day.day, day.realised_pnl, day.orders);
    assert_eq!(
        days.iter().map(booked).collect::<Vec<_>>(),
        [(day("2026-11-21"), dec("-60"), 0), (day("2026-11-20"), dec("40"), 2)]
    );
}

pub(crate) async fn a_day_is_opened_once(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(moves(Direction::Deposit, "500", None)).await.unwrap();
    let opens = |unrealised: &str| Write::OpenDay { day: day("2026-11-23"), unrealised: dec(unrealised) };
    assert_eq!(desk.write(opens("-7.5")).await.unwrap().outcome, Outcome::Done);
    assert_eq!(desk.write(opens("3")).await.unwrap().outcome, Outcome::Unchanged);
    let opened = desk.store.days(&account(), None, 10).await.unwrap().remove(0);
    let opening = opened.opening.unwrap();
    assert_eq!(
        (opening.equity, opening.unrealised_pnl),
        (Decimal::ZERO, dec("-7.5")),
        "what was paid in since is none"
    );
    assert_eq!((opened.capital, opened.result(dec("-10"))), (dec("500"), dec("-2.5")));
    sound(&desk).await;
}
