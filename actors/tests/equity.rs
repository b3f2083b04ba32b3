//! Average cost, what trades realise, equity and trading days, against a model that works by prices instead of totals.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected has to fail"
)]

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};
use chrono_tz::America::New_York;
use proptest::prelude::*;
use rust_decimal::Decimal;
use rust_decimal::prelude::Signed;
use tranche_actors::domain::ledger::{Books, Report, Submission, Write};
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, OrderId, StrategyId, Symbol};
use tranche_actors::domain::order::{Order, Origin};
use tranche_actors::domain::portfolio::counted;
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::domain::venue::{Execution, VenueOrder, VenueStatus};

/// Days around both changes of the clocks, and one without.
const STARTS: [&str; 3] = ["2026-03-06T19:00:00Z", "2026-10-30T19:00:00Z", "2026-07-01T19:00:00Z"];

#[derive(Clone, Debug)]
enum Act {
    /// An order trades whole: in two trades, or known as a total alone.
    Trade { symbol: usize, buys: bool, parts: [(i64, i64); 2], told: bool, late: i64 },
    /// The venue takes back so many of an order's units.
    Bust { which: prop::sample::Index, share: i64 },
    /// The venue corrects the price of an order.
    Correct { which: prop::sample::Index, price: i64 },
}

fn acts() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let part = || (1_i64..30, 1_i64..400);
    let trade = (0_usize..2, any::<bool>(), [part(), part()], any::<bool>(), 0_i64..9_000)
        .prop_map(|(symbol, buys, parts, told, late)| Act::Trade { symbol, buys, parts, told, late });
    let bust = (any::<prop::sample::Index>(), 1_i64..=4).prop_map(|(which, share)| Act::Bust { which, share });
    let correct = (any::<prop::sample::Index>(), 1_i64..400).prop_map(|(which, price)| Act::Correct { which, price });
    let act = prop_oneof![6 => trade, 1 => bust, 1 => correct];
    proptest::collection::vec((0_i64..30_000, act), 1..14)
}

/// What is held of a symbol, by the price at which it was bought or sold short.
#[derive(Clone, Debug, Default)]
struct Lot {
    qty: Decimal,
    price: Decimal,
    realised: Decimal,
    /// Paid less got.
    cash: Decimal,
}

impl Lot {
    fn trade(&mut self, qty: Decimal, price: Decimal) {
        self.cash += qty * price;
        if self.qty.is_zero() || (self.qty > Decimal::ZERO) == (qty > Decimal::ZERO) {
            self.price = (self.qty.abs() * self.price + qty.abs() * price) / (self.qty.abs() + qty.abs());
            self.qty += qty;
            return;
        }
        let closed = qty.abs().min(self.qty.abs());
        self.realised += self.qty.signum() * closed * (price - self.price);
        if qty.abs() > self.qty.abs() {
            self.price = price;
        }
        self.qty += qty;
    }

    fn undo(&mut self, qty: Decimal, cash: Decimal, realised: Decimal) {
        self.cash -= cash;
        self.qty -= qty;
        self.realised -= realised;
        self.reprice();
    }

    fn correct(&mut self, buys: bool, cash: Decimal) {
        self.cash += cash;
        if self.qty.is_zero() || (self.qty > Decimal::ZERO) != buys {
            self.realised -= cash;
        }
        if self.qty.is_zero() {
            self.realised = -self.cash
        } else {
            self.price = (self.cash + self.realised) / self.qty
        }
    }

    /// The price follows from what was paid; there is none at or below zero.
    fn reprice(&mut self) {
        let price = (!self.qty.is_zero()).then(|| (self.cash + self.realised) / self.qty);
        match price.filter(|price| *price > Decimal::ZERO) {
            Some(price) => self.price = price,
            None => {
                self.realised = -self.cash;
                self.price = Decimal::ZERO;
            }
        }
    }
}

/// By the wall clock in New York: from 17:00 on it is the next day.
fn trading_day(at: DateTime<Utc>) -> NaiveDate {
    let local = at.with_timezone(&New_York).naive_local();
    let next = local.time().num_seconds_from_midnight() >= 17 * 3_600;
    local.date() + TimeDelta::days(i64::from(next))
}

#[derive(Clone, Debug)]
struct Done {
    order: Order,
    symbol: usize,
    qty: Decimal,
    cash: Decimal,
    realised: Decimal,
}

#[derive(Default)]
struct Model {
    lots: [Lot; 2],
    days: BTreeMap<NaiveDate, Decimal>,
    orders: Vec<Done>,
}

impl Model {
    /// Does something to a symbol, and counts what it realised to a day.
    fn on(&mut self, symbol: usize, day: NaiveDate, act: impl FnOnce(&mut Lot)) -> Decimal {
        let before = self.lots[symbol].realised;
        act(&mut self.lots[symbol]);
        let after = self.lots[symbol].realised;
        *self.days.entry(day).or_default() += counted(after) - counted(before);
        after - before
    }
}

fn account() -> AccountName {
    AccountName::parse("default").unwrap()
}

fn symbol(n: usize) -> Symbol {
    Symbol::parse(["AAPL", "MSFT"][n]).unwrap()
}

fn order(n: usize, of: usize, buys: bool, qty: i64, at: DateTime<Utc>) -> Order {
    let instruction = Instruction {
        symbol: symbol(of),
        side: if buys { Side::Buy } else { Side::Sell },
        terms: Terms::Market,
        time_in_force: TimeInForce::Day,
        extended_hours: false,
    };
    let id = OrderId::parse(&format!("o{n}")).unwrap();
    let strategy = StrategyId::parse("default").unwrap();
    let caller = Caller::parse("local").unwrap();
    let origin = Some(Origin { caller, key: None, request_hash: format!("o{n}") });
    Order { origin, ..Order::new(id, &instruction, units(qty), &account(), &strategy, at) }
}

fn units(qty: i64) -> Qty {
    Qty::new(Decimal::from(qty)).unwrap()
}

fn report(order: &Order, filled: Decimal, cost: Decimal, executions: Vec<Execution>, corrects: bool) -> Write {
    let average = (!filled.is_zero()).then(|| cost / filled);
    let venue = VenueOrder {
        broker_order_id: BrokerOrderId::parse(&format!("b-{}", order.id)).unwrap(),
        client_order_id: order.id.clone(),
        instruction: order.instruction.clone(),
        qty: order.qty,
        status: if filled == order.qty.get() { VenueStatus::Filled } else { VenueStatus::Canceled },
        filled_qty: filled,
        filled_avg_price: average,
        reason: None,
        replaces: None,
        replaced_by: None,
        submitted_at: order.created_at,
    };
    Write::Report(Box::new(Report { order: venue, executions, corrects }))
}

/// The books go on at another time.
fn at(books: Books, at: DateTime<Utc>) -> Books {
    let mut next = Books::new(Some(account()), at, DayEnd::new_york());
    (next.orders, next.positions, next.executions) = (books.orders, books.positions, books.executions);
    (next.portfolio, next.days) = (books.portfolio, books.days);
    next
}

fn execution(order: &Order, n: usize, (qty, price, cum): (i64, i64, i64), at: DateTime<Utc>) -> Execution {
    Execution {
        execution_id: format!("x{n}"),
        broker_order_id: BrokerOrderId::parse(&format!("b-{}", order.id)).unwrap(),
        qty: units(qty),
        price: Price::new(Decimal::from(price)).unwrap(),
        cum_qty: Decimal::from(cum),
        fee: Decimal::new(1, 2),
        at,
    }
}

fn step(books: &mut Books, model: &mut Model, act: &Act, now: DateTime<Utc>) {
    match act {
        Act::Trade { symbol, buys, parts, told, late } => {
            let qty = parts[0].0 + parts[1].0;
            let order = order(model.orders.len(), *symbol, *buys, qty, now);
            books.apply(&Write::Submit(Box::new(Submission::Single(order.clone())))).unwrap();
            books.apply(&Write::Claim { id: order.id.clone(), plan_version: None, reduces: false, limits: 0 }).unwrap();
            let sign = if *buys { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
            let mut done = Done {
                order: order.clone(),
                symbol: *symbol,
                qty: Decimal::ZERO,
                cash: Decimal::ZERO,
                realised: Decimal::ZERO,
            };
            let (mut executions, mut cum) = (Vec::new(), 0);
            for (n, (qty, price)) in parts.iter().enumerate() {
                cum += qty;
                let when = now - TimeDelta::seconds(if n == 0 { *late } else { 0 });
                executions.push(execution(&order, n, (*qty, *price, cum), when));
                done.qty += sign * Decimal::from(*qty);
                done.cash += sign * Decimal::from(qty * price);
                if *told {
                    let traded = |lot: &mut Lot| lot.trade(sign * Decimal::from(*qty), Decimal::from(*price));
                    done.realised += model.on(*symbol, trading_day(when), traded);
                }
            }
            let cost = done.cash * sign;
            if !*told {
                executions.clear();
                // The venue's average is what there is.
                let average = cost / Decimal::from(qty);
                done.cash = sign * (average * Decimal::from(qty));
                let traded = |lot: &mut Lot| lot.trade(done.qty, average);
                done.realised = model.on(*symbol, trading_day(now), traded);
            }
            books.apply(&report(&order, Decimal::from(qty), cost, executions, false)).unwrap();
            model.orders.push(done);
        }
        Act::Bust { which, share } => {
            let Some(n) = (!model.orders.is_empty()).then(|| which.index(model.orders.len())) else { return };
            let before = model.orders[n].clone();
            let left = (before.qty.abs() * Decimal::from(4 - share) / Decimal::from(4)).floor();
            if left == before.qty.abs() {
                return;
            }
            let sign = before.qty.signum();
            let average = if left.is_zero() { Decimal::ZERO } else { before.cash * sign / before.qty.abs() };
            let cash = before.cash - sign * average * left;
            let part = before.qty - sign * left;
            let realised = if left.is_zero() { before.realised } else { before.realised * part / before.qty };
            let undone = model.on(before.symbol, trading_day(now), |lot| lot.undo(part, cash, realised));
            let done = &mut model.orders[n];
            (done.qty, done.cash, done.realised) = (sign * left, sign * average * left, done.realised + undone);
            let cost = average * left;
            books.apply(&report(&before.order, left, cost, Vec::new(), true)).unwrap();
        }
        Act::Correct { which, price } => {
            let Some(n) = (!model.orders.is_empty()).then(|| which.index(model.orders.len())) else { return };
            let before = model.orders[n].clone();
            if before.qty.is_zero() {
                return;
            }
            let cash = before.qty * Decimal::from(*price);
            let buys = before.qty > Decimal::ZERO;
            let moved = model.on(before.symbol, trading_day(now), |lot| lot.correct(buys, cash - before.cash));
            let done = &mut model.orders[n];
            (done.cash, done.realised) = (cash, done.realised + moved);
            books.apply(&report(&before.order, before.qty.abs(), cash.abs(), Vec::new(), true)).unwrap();
        }
    }
}

fn near(one: Decimal, other: Decimal) -> bool {
    (one - other).abs() < Decimal::new(1, 7)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn the_books_agree_with_an_independent_model(start in 0_usize..STARTS.len(), acts in acts()) {
        let mut now = STARTS[start].parse::<DateTime<Utc>>().unwrap();
        let (mut books, mut model) = (Books::new(Some(account()), now, DayEnd::new_york()), Model::default());
        let mut ledger = Vec::new();
        for (wait, act) in &acts {
            now += TimeDelta::seconds(*wait);
            books = at(books, now);
            step(&mut books, &mut model, act, now);
            ledger.append(&mut books.changes.capital);
            for (n, lot) in model.lots.iter().enumerate() {
                let position = books.positions.get(&(account(), symbol(n))).cloned().unwrap_or_default();
                prop_assert_eq!(position.qty, lot.qty);
                prop_assert!(near(position.realised_pnl, lot.realised), "{:?} {:?}", position, lot);
                if !lot.qty.is_zero() {
                    prop_assert!(near(position.cost, lot.qty * lot.price), "{:?} {:?}", position, lot);
                }
            }
            let realised = model.lots.iter().map(|lot| lot.realised).sum::<Decimal>();
            let fees = books.positions.values().map(|position| position.fees).sum::<Decimal>();
            prop_assert!(near(books.portfolio.closed_equity, realised - fees));
        }
        for (day, realised) in &model.days {
            let told = books.days.get(day).map(|result| result.realised_pnl).unwrap_or_default();
            prop_assert!(near(told, *realised), "{day}: {told}, and not {realised}");
        }
        let days = books.days.values().cloned().collect::<Vec<_>>();
        prop_assert_eq!(books.portfolio.faults(&ledger, &days), Vec::<String>::new());
    }
}

#[test]
fn the_model_knows_the_reset_by_the_wall_clock() {
    let reset = NaiveTime::from_hms_opt(17, 0, 0).unwrap();
    assert_eq!(DayEnd::new_york().reset, reset);
    assert_eq!(trading_day("2026-11-01T21:59:59Z".parse().unwrap()).to_string(), "2026-11-01");
    assert_eq!(trading_day("2026-11-01T22:00:00Z".parse().unwrap()).to_string(), "2026-11-02");
}
