use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::domain::money::{Percent, Price, Qty};
use crate::domain::names::OrderId;
use crate::domain::terms::Trail;
use crate::domain::venue::Execution;
use crate::market::replay::{Replay, Row, Series};
use crate::market::session::end_of_utc_day;
use crate::market::walk::Walk;

mod replacing;
mod waiting;

const STEP_MS: i64 = 250;

fn noon() -> DateTime<Utc> {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn after_ms(ms: i64) -> DateTime<Utc> {
    noon() + TimeDelta::milliseconds(ms)
}

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    Price::new(decimal(text)).unwrap()
}

fn order(id: &str, side: Side, qty: &str, terms: Terms, time_in_force: TimeInForce) -> NewOrder {
    NewOrder {
        client_order_id: OrderId::parse(id).unwrap(),
        instruction: Instruction { symbol: symbol("EURUSD"), side, terms, time_in_force, extended_hours: false },
        qty: Qty::new(decimal(qty)).unwrap(),
    }
}

fn limit(text: &str) -> Terms {
    Terms::Limit { limit_price: price(text) }
}

fn stop(text: &str) -> Terms {
    Terms::Stop { stop_price: price(text) }
}

/// An engine with 10,000 in cash whose EURUSD quotes are one a second: (bid, ask, size on both sides).
fn engine(rows: &[(&str, &str, Option<u32>)]) -> Engine {
    let rows = rows.iter().enumerate().map(|(second, (bid, ask, size))| Row {
        at: noon() + TimeDelta::seconds(i64::try_from(second).unwrap()),
        bid: price(bid),
        ask: price(ask),
        bid_size: size.map(Decimal::from),
        ask_size: size.map(Decimal::from),
        last: None,
    });
    let replay = Replay::new(Series::new(rows.collect()).unwrap(), noon(), Decimal::ONE);
    let quotes = Quotes::new(Walk::new(1, 250), BTreeMap::from([(symbol("EURUSD"), replay)]));
    let state = BookState { cash: Decimal::from(10_000), ..BookState::default() };
    Engine::new(Rules::default(), quotes, state)
}

fn submit(engine: &mut Engine, order: &NewOrder, now: DateTime<Utc>) -> Result<Accepted, SubmitError> {
    engine.submit(order, now, end_of_utc_day(now))
}

fn take(engine: &mut Engine, order: &NewOrder) -> Vec<Change> {
    submit(engine, order, noon()).unwrap().changes
}

fn status(engine: &Engine, id: &str) -> (VenueStatus, String) {
    let held = engine.book().find(&OrderId::parse(id).unwrap()).unwrap();
    (held.order.status, held.order.filled_qty.to_string())
}

#[test]
fn what_the_displayed_size_does_not_fill_follows_at_the_next_quotes() {
    let row = ("1.00", "1.02", Some(40));
    let mut engine = engine(&[row, row, row]);
    let changes = take(&mut engine, &order("a", Side::Buy, "100", Terms::Market, TimeInForce::Day));
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].order.order.status, VenueStatus::Accepted);
    assert_eq!(status(&engine, "a"), (VenueStatus::PartiallyFilled, "40".to_owned()));
    assert!(engine.tick(after_ms(999)).is_empty(), "the quote's size has been taken");
    assert_eq!(engine.tick(after_ms(1000)).len(), 1);
    assert_eq!(status(&engine, "a"), (VenueStatus::PartiallyFilled, "80".to_owned()));
    engine.tick(after_ms(2000));
    assert_eq!(status(&engine, "a"), (VenueStatus::Filled, "100".to_owned()));
    assert_eq!(engine.book().cash(), decimal("9898"));
    assert_eq!(engine.book().positions()[&symbol("EURUSD")], decimal("100"));
    assert_eq!(engine.book().reserved(), Decimal::ZERO);
}

#[test]
fn a_limit_rests_until_it_is_touched_and_quotes_between_two_ticks_count() {
    let mut engine =
        engine(&[("1.00", "1.02", None), ("0.98", "0.99", Some(30)), ("1.00", "1.02", None), ("0.98", "1.00", None)]);
    let changes = take(&mut engine, &order("a", Side::Buy, "50", limit("1.00"), TimeInForce::Gtc));
    assert_eq!(changes.len(), 1);
    let changes = engine.tick(after_ms(2500));
    assert_eq!(changes[0].execution.as_ref().unwrap().price, price("0.99"));
    assert_eq!(status(&engine, "a"), (VenueStatus::PartiallyFilled, "30".to_owned()));
    engine.tick(after_ms(3000));
    assert_eq!(status(&engine, "a"), (VenueStatus::Filled, "50".to_owned()));
}

#[test]
fn the_older_order_is_served_first() {
    let row = ("1.00", "1.02", Some(40));
    let mut engine = engine(&[row, row]);
    take(&mut engine, &order("old", Side::Buy, "60", Terms::Market, TimeInForce::Day));
    take(&mut engine, &order("new", Side::Buy, "60", Terms::Market, TimeInForce::Day));
    take(&mut engine, &order("sell", Side::Sell, "10", Terms::Market, TimeInForce::Day));
    assert_eq!(status(&engine, "new"), (VenueStatus::Accepted, "0".to_owned()));
    assert_eq!(status(&engine, "sell"), (VenueStatus::Filled, "10".to_owned()));
    engine.tick(after_ms(1000));
    assert_eq!(status(&engine, "old"), (VenueStatus::Filled, "60".to_owned()));
    assert_eq!(status(&engine, "new"), (VenueStatus::PartiallyFilled, "20".to_owned()));
}

#[test]
fn a_stop_waits_for_the_last_price_and_stays_triggered() {
    let mut engine = engine(&[("1.00", "1.02", None), ("1.09", "1.11", None), ("1.00", "1.02", None)]);
    take(&mut engine, &order("stop", Side::Buy, "10", stop("1.10"), TimeInForce::Gtc));
    let terms = Terms::StopLimit { limit_price: price("1.05"), stop_price: price("1.10") };
    take(&mut engine, &order("both", Side::Buy, "10", terms, TimeInForce::Gtc));
    take(&mut engine, &order("sell", Side::Sell, "10", stop("0.90"), TimeInForce::Gtc));
    assert_eq!(engine.tick(after_ms(900)), []);
    engine.tick(after_ms(1000));
    assert_eq!(status(&engine, "stop").0, VenueStatus::Filled);
    assert_eq!(status(&engine, "both").0, VenueStatus::Accepted);
    engine.tick(after_ms(2000));
    assert_eq!(status(&engine, "both").0, VenueStatus::Filled);
    assert_eq!(status(&engine, "sell").0, VenueStatus::Accepted);
}

#[test]
fn ioc_takes_what_it_can_and_fok_all_or_nothing() {
    let row = ("1.00", "1.02", Some(40));
    let mut engine = engine(&[row, row]);
    take(&mut engine, &order("fok", Side::Buy, "41", Terms::Market, TimeInForce::Fok));
    assert_eq!(status(&engine, "fok"), (VenueStatus::Canceled, "0".to_owned()));
    take(&mut engine, &order("ioc", Side::Buy, "41", Terms::Market, TimeInForce::Ioc));
    assert_eq!(status(&engine, "ioc"), (VenueStatus::Canceled, "40".to_owned()));
    take(&mut engine, &order("whole", Side::Sell, "40", Terms::Market, TimeInForce::Fok));
    assert_eq!(status(&engine, "whole"), (VenueStatus::Filled, "40".to_owned()));
}

#[test]
fn a_day_order_ends_with_its_session_and_a_gtc_order_does_not() {
    let mut engine = engine(&[("1.00", "1.02", None)]);
    take(&mut engine, &order("day", Side::Buy, "1", limit("0.5"), TimeInForce::Day));
    take(&mut engine, &order("gtc", Side::Buy, "1", limit("0.5"), TimeInForce::Gtc));
    let midnight = end_of_utc_day(noon());
    assert!(engine.tick(midnight - TimeDelta::microseconds(1)).is_empty());
    engine.tick(midnight);
    assert_eq!(status(&engine, "day").0, VenueStatus::Expired);
    assert_eq!(status(&engine, "gtc").0, VenueStatus::Accepted);
}

#[test]
fn a_canceled_order_is_over_and_its_id_stays_taken() {
    let mut engine = engine(&[("1.00", "1.02", None)]);
    let resting = order("a", Side::Buy, "1", limit("0.5"), TimeInForce::Gtc);
    let id = submit(&mut engine, &resting, noon()).unwrap().order.broker_order_id;
    assert_eq!(engine.cancel(&id, noon(), noon()).unwrap().len(), 1);
    assert_eq!(status(&engine, "a").0, VenueStatus::Canceled);
    assert_eq!(engine.book().reserved(), Decimal::ZERO);
    assert_eq!(engine.cancel(&id, noon(), noon()), Err(CancelError::NotCancelable));
    assert_eq!(submit(&mut engine, &resting, noon()).unwrap_err(), SubmitError::DuplicateId);
    let unknown = BrokerOrderId::parse("paper-999999").unwrap();
    assert_eq!(engine.cancel(&unknown, noon(), noon()), Err(CancelError::NotCancelable));
}

#[test]
fn a_fill_may_win_against_a_pending_cancel() {
    let mut engine = engine(&[("1.00", "1.02", None), ("0.98", "0.99", Some(1)), ("1.00", "1.02", None)]);
    let resting = order("a", Side::Buy, "2", limit("1"), TimeInForce::Gtc);
    let id = submit(&mut engine, &resting, noon()).unwrap().order.broker_order_id;
    let confirm_at = after_ms(1500);
    assert_eq!(engine.cancel(&id, noon(), confirm_at).unwrap().len(), 1);
    assert_eq!(engine.cancel(&id, noon(), after_ms(9000)).unwrap(), []);
    engine.tick(after_ms(1000));
    assert_eq!(status(&engine, "a"), (VenueStatus::PendingCancel, "1".to_owned()));
    engine.tick(confirm_at);
    assert_eq!(status(&engine, "a"), (VenueStatus::Canceled, "1".to_owned()));
}

#[test]
fn what_the_cash_cannot_buy_is_refused_and_its_id_stays_free() {
    let mut engine = engine(&[("1.00", "1.00", None)]);
    let code = |result: Result<Accepted, SubmitError>| match result {
        Err(SubmitError::Rejected(words)) => words.code,
        other => panic!("{other:?}"),
    };
    let resting = order("a", Side::Buy, "8000", limit("0.75"), TimeInForce::Gtc);
    submit(&mut engine, &resting, noon()).unwrap();
    let market = |qty| order("b", Side::Buy, qty, Terms::Market, TimeInForce::Day);
    assert_eq!(code(submit(&mut engine, &market("4001"), noon())), "40310000");
    submit(&mut engine, &market("4000"), noon()).unwrap();
    let short = order("c", Side::Sell, "50000", Terms::Market, TimeInForce::Day);
    submit(&mut engine, &short, noon()).unwrap();
    assert_eq!(engine.book().positions()[&symbol("EURUSD")], decimal("-46000"));
}

#[test]
fn a_broker_refuses_what_it_does_not_offer() {
    let mut engine = engine(&[("1.00", "1.00", None)]);
    engine.rules.refused.insert(symbol("MSFT"));
    let mut refused = vec![order("a", Side::Buy, "1", Terms::Market, TimeInForce::Day); 3];
    refused[0].instruction.symbol = symbol("MSFT");
    refused[1].instruction.extended_hours = true;
    refused[2].instruction.terms = stop("1");
    refused[2].instruction.time_in_force = TimeInForce::Ioc;
    for order in &refused {
        assert!(matches!(submit(&mut engine, order, noon()), Err(SubmitError::Rejected(_))));
    }
    assert_eq!(engine.book().next_seq(), 1);
}

#[test]
fn quotes_that_passed_before_a_restart_fill_nothing() {
    let rows = [("1.00", "1.02", None), ("0.90", "0.91", None), ("1.00", "1.02", None)];
    let mut before = engine(&rows);
    take(&mut before, &order("a", Side::Buy, "1", limit("0.95"), TimeInForce::Gtc));
    let mut after = Engine::new(before.rules.clone(), before.quotes.clone(), state_of(&before));
    assert_eq!(after.tick(after_ms(2000)), []);
    assert_eq!(before.tick(after_ms(2000)).len(), 1);
}

fn state_of(engine: &Engine) -> BookState {
    let book = engine.book();
    BookState {
        cash: book.cash(),
        positions: book.positions().clone(),
        orders: book.orders_after(0).cloned().collect(),
        executions: book.executions().to_vec(),
    }
}

/// What a client may do, in time.
#[derive(Clone, Debug)]
enum Act {
    Submit(NewOrder),
    Replace(u64, NewOrder, i64),
    Cancel(u64, i64),
    Wait(i64),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => orders().prop_map(Act::Submit),
        2 => (1_u64..40, 0_i64..2000).prop_map(|(seq, pending)| Act::Cancel(seq, pending)),
        3 => (1_u64..40, orders(), -500_i64..2000).prop_map(|(seq, by, pending)| Act::Replace(seq, by, pending)),
        3 => (0_i64..3000).prop_map(Act::Wait),
        1 => Just(Act::Wait(86_400_000)),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..60)
}

fn orders() -> impl Strategy<Value = NewOrder> {
    let cents = 9_500_i64..10_500;
    (0_u32..30, any::<bool>(), 1_i64..20_000, 0..6_usize, cents.clone(), cents, 0..6_usize, any::<bool>()).prop_map(
        |(id, buy, qty, kind, limit_cents, stop_cents, tif, fractional)| {
            let price = |cents| Price::new(Decimal::new(cents, 2)).unwrap();
            let percent = |hundredths| Percent::new(Decimal::new(hundredths, 2)).unwrap();
            let (limit_price, stop_price) = (price(limit_cents), price(stop_cents));
            let terms = match kind {
                0 => Terms::Market,
                1 => Terms::Limit { limit_price },
                2 => Terms::Stop { stop_price },
                3 => Terms::TrailingStop { trail: Trail::Price { trail_price: price(stop_cents % 50 + 1) } },
                4 => Terms::TrailingStop { trail: Trail::Percent { trail_percent: percent(stop_cents % 50 + 1) } },
                _ => Terms::StopLimit { limit_price, stop_price },
            };
            NewOrder {
                client_order_id: OrderId::parse(&format!("o{id}")).unwrap(),
                instruction: Instruction {
                    symbol: symbol(if id.is_multiple_of(3) { "MSFT" } else { "AAPL" }),
                    side: if buy { Side::Buy } else { Side::Sell },
                    terms,
                    time_in_force: TimeInForce::ALL[tif],
                    extended_hours: false,
                },
                qty: Qty::new(Decimal::new(qty, if fractional { 2 } else { 0 })).unwrap(),
            }
        },
    )
}

fn walking(seed: u64) -> Engine {
    let rules = Rules {
        slippage_bps: Decimal::from(5),
        fees: Fees { per_unit: Decimal::new(5, 3), bps: Decimal::ONE },
        refused: BTreeSet::new(),
        partial: None,
    };
    let quotes = Quotes::new(Walk::new(seed, 250), BTreeMap::new());
    let state = BookState { cash: Decimal::from(1_000_000), ..BookState::default() };
    Engine::new(rules, quotes, state)
}

/// Plays the acts; ticks run in between as a skin lets them.
fn play(seed: u64, acts: &[Act]) -> (Engine, Vec<Change>) {
    let mut engine = walking(seed);
    let mut taken = BTreeSet::new();
    let (mut now, mut tape) = (noon(), Vec::new());
    for act in acts {
        match act {
            Act::Submit(order) => match submit(&mut engine, order, now) {
                Ok(accepted) => {
                    assert!(taken.insert(order.client_order_id.clone()), "an id was taken twice");
                    tape.extend(accepted.changes);
                }
                Err(SubmitError::DuplicateId) => assert!(taken.contains(&order.client_order_id)),
                Err(err) => assert!(matches!(err, SubmitError::Rejected(_)) && !taken.contains(&order.client_order_id)),
            },
            Act::Replace(seq, by, pending) => {
                let (id, old) = pick(&engine, *seq);
                // Half of the orders drawn would otherwise change what can't be changed.
                let mut by = by.clone();
                if let Some(old) = old {
                    by.instruction.symbol = old.order.instruction.symbol;
                    by.instruction.side = old.order.instruction.side;
                }
                match engine.replace(&id, &by, now, end_of_utc_day(now), now + TimeDelta::milliseconds(*pending)) {
                    Ok(accepted) => {
                        assert!(taken.insert(by.client_order_id.clone()), "an id was taken twice");
                        tape.extend(accepted.changes);
                    }
                    Err(SubmitError::DuplicateId) => assert!(taken.contains(&by.client_order_id)),
                    Err(err) => assert!(matches!(err, SubmitError::Rejected(_))),
                }
            }
            Act::Cancel(seq, pending) => {
                let (id, held) = pick(&engine, *seq);
                let live = held.is_some_and(|held| {
                    let status = held.order.status;
                    !status.is_terminal()
                        && status != VenueStatus::PendingReplace
                        && !engine.book().waits_for_its_place(&held)
                });
                let answer = engine.cancel(&id, now, now + TimeDelta::milliseconds(*pending));
                assert_eq!(answer.is_ok(), live);
                tape.extend(answer.unwrap_or_default());
            }
            Act::Wait(ms) => {
                for _ in 0..(ms / STEP_MS).min(20) {
                    now += TimeDelta::milliseconds(STEP_MS);
                    tape.extend(engine.tick(now));
                }
                now += TimeDelta::milliseconds(ms % STEP_MS + if *ms > 86_000_000 { *ms } else { 0 });
            }
            Act::Restart => engine = Engine::new(engine.rules.clone(), engine.quotes.clone(), state_of(&engine)),
        }
    }
    (engine, tape)
}

fn pick(engine: &Engine, seq: u64) -> (BrokerOrderId, Option<BookOrder>) {
    let held = engine.book().orders_after(seq - 1).next().cloned();
    let unknown = || BrokerOrderId::parse("no-such-order").unwrap();
    (held.as_ref().map_or_else(unknown, |held| held.order.broker_order_id.clone()), held)
}

fn fits_the_market(seed: u64, change: &Change, execution: &Execution) -> bool {
    let Instruction { symbol, side, terms, .. } = &change.order.order.instruction;
    // A step that passed since the last tick may have filled: look back over a few.
    let walk = Walk::new(seed, 250);
    let current = walk.index_at(execution.at);
    let within = (current.saturating_sub(8)..=current).any(|index| {
        let touch = walk.quote(symbol, index).touch(*side).get();
        let worse = (execution.price.get() - touch) * side.sign();
        worse >= Decimal::ZERO && worse <= touch * Decimal::from(5) / Decimal::from(10_000)
    });
    let limit = terms.limit_price();
    within && limit.is_none_or(|limit| !fills::beyond(*side, execution.price, limit))
}

proptest! {
    // Debug builds draw their quotes slowly; PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(4), ..ProptestConfig::default() })]

    #[test]
    fn the_book_adds_up_whatever_is_done(seed in 0_u64..1000, acts in acts()) {
        let (engine, tape) = play(seed, &acts);
        let mut cash = Decimal::from(1_000_000);
        let mut positions = BTreeMap::<Symbol, Decimal>::new();
        let mut filled = BTreeMap::<BrokerOrderId, Decimal>::new();
        for change in &tape {
            let order = &change.order.order;
            let Some(execution) = &change.execution else { continue };
            let signed = order.instruction.side.sign() * execution.qty.get();
            cash -= signed * execution.price.get() + execution.fee;
            *positions.entry(order.instruction.symbol.clone()).or_default() += signed;
            let cum = filled.entry(order.broker_order_id.clone()).or_insert(change.order.carried_qty);
            *cum += execution.qty.get();
            prop_assert_eq!(*cum, execution.cum_qty);
            prop_assert_eq!(*cum, order.filled_qty);
            prop_assert!(*cum <= order.qty.get());
            prop_assert_eq!(*cum == order.qty.get(), order.status == VenueStatus::Filled);
            prop_assert!(fits_the_market(seed, change, execution), "{:?}", execution);
        }
        let book = engine.book();
        prop_assert_eq!(cash, book.cash());
        prop_assert_eq!(&positions, book.positions());
        let executions = tape.iter().filter_map(|change| change.execution.clone()).collect::<Vec<_>>();
        prop_assert_eq!(executions, book.executions());
        for held in book.orders_after(0) {
            let cum = filled.get(&held.order.broker_order_id).copied().unwrap_or(held.carried_qty);
            prop_assert_eq!(cum, held.order.filled_qty);
            let last = tape.iter().rev().find(|change| change.order.seq == held.seq);
            prop_assert_eq!(&last.unwrap().order, held);
        }
        for held in book.orders_after(0) {
            // A chain trades no more than its last order asks for, and only one of its orders is live at a time.
            let Some(old) = held.order.replaces.as_ref().and_then(|id| book.get(id)) else { continue };
            let waits = book.waits_for_its_place(held);
            prop_assert_eq!(old.order.status == VenueStatus::PendingReplace, waits);
            let took = old.order.replaced_by.as_ref() == Some(&held.order.broker_order_id);
            prop_assert_eq!(old.order.status == VenueStatus::Replaced && took, took);
            prop_assert!(took || waits || held.order.status == VenueStatus::Rejected);
            if took || waits {
                prop_assert_eq!(held.carried_qty, old.order.filled_qty);
            } else {
                prop_assert_eq!(held.carried_qty, held.order.filled_qty);
            }
        }
        let reserved = book.live().map(|held| held.remaining() * held.reserve_price).sum::<Decimal>();
        prop_assert_eq!(reserved, book.reserved());
    }

    #[test]
    fn the_same_acts_give_the_same_tape(seed in 0_u64..1000, acts in acts()) {
        prop_assert_eq!(play(seed, &acts).1, play(seed, &acts).1);
    }

    #[test]
    fn no_order_comes_back_from_its_end(seed in 0_u64..1000, acts in acts()) {
        let mut ended = BTreeSet::new();
        for change in play(seed, &acts).1 {
            prop_assert!(!ended.contains(&change.order.seq));
            if change.order.order.status.is_terminal() {
                ended.insert(change.order.seq);
            }
        }
    }
}
