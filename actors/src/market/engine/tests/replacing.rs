//! Replacement, and what may come between.

use super::*;

/// 40 units at 1.00 to 1.02, and later a price at which a limit of 1.00 buys.
fn resting(rows: &[(&str, &str, Option<u32>)]) -> (Engine, BrokerOrderId) {
    let mut engine = engine(rows);
    let old = order("old", Side::Buy, "100", limit("1.00"), TimeInForce::Day);
    let id = submit(&mut engine, &old, noon()).unwrap().order.broker_order_id;
    (engine, id)
}

fn by(qty: &str, price: &str) -> NewOrder {
    order("new", Side::Buy, qty, limit(price), TimeInForce::Day)
}

fn replace(
    engine: &mut Engine,
    id: &BrokerOrderId,
    new: &NewOrder,
    at: i64,
    takes: i64,
) -> Result<Accepted, SubmitError> {
    engine.replace(id, new, after_ms(at), end_of_utc_day(noon()), after_ms(takes))
}

fn refusal(result: Result<Accepted, SubmitError>) -> String {
    match result {
        Err(SubmitError::Rejected(words)) => words.message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_order_takes_the_place_at_once_and_trades() {
    let (mut engine, old) = resting(&[("1.00", "1.02", None)]);
    let accepted = replace(&mut engine, &old, &by("200", "1.02"), 10, 10).unwrap();
    assert_ne!(accepted.order.broker_order_id, old);
    assert_eq!(accepted.order.replaces.as_ref(), Some(&old));
    let told = accepted.changes.iter().map(|change| (change.order.seq, change.order.order.status)).collect::<Vec<_>>();
    assert_eq!(told, [(1, VenueStatus::Replaced), (2, VenueStatus::Accepted), (2, VenueStatus::Filled)]);
    let replaced = engine.book().get(&old).unwrap();
    assert_eq!(replaced.order.replaced_by, Some(accepted.order.broker_order_id));
    assert_eq!(engine.book().positions()[&symbol("EURUSD")], decimal("200"));
    assert_eq!(engine.book().reserved(), Decimal::ZERO);
}

#[test]
fn what_the_old_order_had_filled_counts_for_the_new_one() {
    let cheap = ("0.98", "0.99", Some(30));
    let (mut engine, old) = resting(&[("1.00", "1.02", None), cheap, cheap]);
    engine.tick(after_ms(1000));
    assert_eq!(status(&engine, "old"), (VenueStatus::PartiallyFilled, "30".to_owned()));
    assert!(refusal(replace(&mut engine, &old, &by("30", "1.01"), 1000, 1000)).contains("greater than the filled"));
    let accepted = replace(&mut engine, &old, &by("50", "1.01"), 1000, 1000).unwrap();
    assert_eq!((accepted.order.filled_qty, accepted.order.filled_avg_price), (decimal("30"), Some(decimal("0.99"))));
    engine.tick(after_ms(2000));
    assert_eq!(status(&engine, "new"), (VenueStatus::Filled, "50".to_owned()));
    assert_eq!(engine.book().executions().last().unwrap().cum_qty, decimal("50"));
    assert_eq!(engine.book().positions()[&symbol("EURUSD")], decimal("50"), "no unit counts twice");
}

#[test]
fn a_change_on_its_way_happens_in_its_time_and_only_then_does_the_new_order_trade() {
    let dear = ("1.04", "1.05", None);
    let (mut engine, old) = resting(&[("1.01", "1.02", None), dear, dear, ("1.00", "1.01", None)]);
    let accepted = replace(&mut engine, &old, &by("100", "1.05"), 500, 2500).unwrap();
    assert_eq!(accepted.changes.len(), 2);
    assert_eq!(
        (status(&engine, "old").0, status(&engine, "new").0),
        (VenueStatus::PendingReplace, VenueStatus::Accepted)
    );
    let new = accepted.order.broker_order_id;
    assert_eq!(engine.tick(after_ms(2000)), [], "it would have bought at 1.05");
    for id in [&old, &new] {
        assert_eq!(engine.cancel(id, after_ms(2000), after_ms(2000)), Err(CancelError::NotCancelable));
        let mut third = by("100", "1.05");
        third.client_order_id = OrderId::parse("third").unwrap();
        refusal(replace(&mut engine, id, &third, 2000, 2000));
    }
    engine.tick(after_ms(2500));
    assert_eq!((status(&engine, "old").0, status(&engine, "new").0), (VenueStatus::Replaced, VenueStatus::Filled));
    assert_eq!(engine.book().get(&old).unwrap().order.replaced_by, Some(new));
}

#[test]
fn a_fill_wins_against_a_change_on_its_way_be_it_whole_or_in_part() {
    for (size, left) in [(None, (VenueStatus::Filled, "100")), (Some(40), (VenueStatus::PartiallyFilled, "40"))] {
        let dear = ("1.04", "1.05", None);
        let (mut engine, old) = resting(&[("1.00", "1.02", None), ("0.98", "0.99", size), dear, dear]);
        replace(&mut engine, &old, &by("200", "0.50"), 0, 3000).unwrap();
        let changes = engine.tick(after_ms(1000));
        assert_eq!(changes.len(), 2);
        assert_eq!(status(&engine, "old"), (left.0, left.1.to_owned()));
        assert_eq!(status(&engine, "new"), (VenueStatus::Rejected, "0".to_owned()));
        engine.tick(after_ms(3000));
        assert_eq!(engine.book().get(&old).unwrap().order.replaced_by, None);
        assert_eq!(status(&engine, "old"), (left.0, left.1.to_owned()));
        let resends = replace(&mut engine, &old, &by("200", "0.50"), 3000, 3000);
        assert_eq!(resends.unwrap_err(), if size.is_some() { SubmitError::DuplicateId } else { over() });
    }
}

fn over() -> SubmitError {
    rejected("42210000", "order is not open: it is already filled")
}

#[test]
fn a_fill_in_quotes_that_nobody_looked_at_yet_wins_too() {
    let (mut engine, old) = resting(&[("1.00", "1.02", None), ("0.98", "0.99", None), ("1.00", "1.02", None)]);
    let accepted = replace(&mut engine, &old, &by("200", "1.05"), 2500, 2500).unwrap();
    assert_eq!((accepted.order.status, accepted.order.filled_qty), (VenueStatus::Accepted, Decimal::ZERO));
    assert_eq!((status(&engine, "old").0, status(&engine, "new").0), (VenueStatus::Filled, VenueStatus::Rejected));
    assert_eq!(accepted.changes.last().unwrap().order.order.status, VenueStatus::Rejected);
}

#[test]
fn a_session_that_ends_first_ends_both() {
    let (mut engine, old) = resting(&[("1.00", "1.02", None)]);
    let midnight = end_of_utc_day(noon());
    let later = midnight + TimeDelta::seconds(5);
    engine.replace(&old, &by("200", "0.5"), noon(), midnight, later).unwrap();
    engine.tick(later);
    assert_eq!((status(&engine, "old").0, status(&engine, "new").0), (VenueStatus::Expired, VenueStatus::Rejected));
}

#[test]
fn what_can_not_be_replaced_is_refused_and_changes_nothing() {
    let (mut engine, old) = resting(&[("1.00", "1.02", None)]);
    let before = state_of(&engine);
    let mut wrong = vec![by("200", "1"); 4];
    wrong[0].instruction.symbol = symbol("MSFT");
    wrong[1].instruction.side = Side::Sell;
    wrong[2].instruction.terms = Terms::Market;
    wrong[3].instruction.time_in_force = TimeInForce::Ioc;
    for new in &wrong {
        refusal(replace(&mut engine, &old, new, 0, 0));
    }
    assert!(refusal(replace(&mut engine, &old, &by("10001", "1"), 0, 0)).contains("buying power"));
    let unknown = BrokerOrderId::parse("paper-999999").unwrap();
    assert!(refusal(replace(&mut engine, &unknown, &by("200", "1"), 0, 0)).contains("not found"));
    let again = order("old", Side::Buy, "200", limit("1"), TimeInForce::Day);
    assert_eq!(replace(&mut engine, &old, &again, 0, 0).unwrap_err(), SubmitError::DuplicateId);
    assert_eq!(state_of(&engine), before);

    engine.cancel(&old, noon(), after_ms(1000)).unwrap();
    assert!(refusal(replace(&mut engine, &old, &by("200", "1"), 0, 0)).contains("pending_cancel"));
    engine.tick(after_ms(1000));
    assert!(refusal(replace(&mut engine, &old, &by("200", "1"), 1000, 1000)).contains("canceled"));
}

#[test]
fn a_replaced_trailing_stop_goes_on_from_the_price_that_it_had_reached() {
    let trail = |text| Terms::TrailingStop { trail: Trail::Price { trail_price: price(text) } };
    let mut engine = engine(&[("0.99", "1.01", None), ("1.19", "1.21", None), ("1.09", "1.11", None)]);
    let old = order("old", Side::Sell, "10", trail("0.5"), TimeInForce::Gtc);
    let id = submit(&mut engine, &old, noon()).unwrap().order.broker_order_id;
    engine.tick(after_ms(1000));
    let new = order("new", Side::Sell, "10", trail("0.05"), TimeInForce::Gtc);
    replace(&mut engine, &id, &new, 2000, 2000).unwrap();
    assert_eq!(status(&engine, "new").0, VenueStatus::Filled, "the price had been 1.20, and is 1.10");
}
