//! Orders that wait: for a trail to be crossed, for an auction.

use super::*;

fn trailing(side: Side, trail: Trail) -> NewOrder {
    order("trail", side, "10", Terms::TrailingStop { trail }, TimeInForce::Gtc)
}

fn shown(engine: &Engine) -> (String, String) {
    let held = engine.book().find(&OrderId::parse("trail").unwrap()).unwrap();
    (held.trail_mark.unwrap().to_string(), held.stop_price().unwrap().get().to_string())
}

#[test]
fn a_trailing_stop_follows_the_best_price_and_never_back() {
    let mut engine = engine(&[
        ("1.00", "1.02", None),
        ("1.19", "1.21", None),
        ("1.14", "1.16", None),
        ("1.09", "1.11", None),
        ("1.29", "1.31", None),
    ]);
    let trail = Trail::Price { trail_price: price("0.1") };
    take(&mut engine, &trailing(Side::Sell, trail));
    assert_eq!(shown(&engine), ("1.01".to_owned(), "0.91".to_owned()));
    assert_eq!(engine.tick(after_ms(1000)).len(), 1, "the mark is a change of its own");
    assert_eq!(shown(&engine), ("1.20".to_owned(), "1.1".to_owned()));
    assert_eq!(engine.tick(after_ms(2000)), []);
    assert_eq!(status(&engine, "trail").0, VenueStatus::Accepted);
    let changes = engine.tick(after_ms(3000));
    assert_eq!(changes.last().unwrap().execution.as_ref().unwrap().price, price("1.09"));
    assert_eq!(status(&engine, "trail").0, VenueStatus::Filled);
    assert_eq!(shown(&engine).0, "1.20");
}

#[test]
fn a_trailing_stop_of_a_buy_follows_the_falling_price_by_percent() {
    let mut engine = engine(&[("1.99", "2.01", None), ("0.99", "1.01", None), ("1.09", "1.11", None)]);
    let trail = Trail::Percent { trail_percent: Percent::new(Decimal::TEN).unwrap() };
    take(&mut engine, &trailing(Side::Buy, trail));
    assert_eq!(shown(&engine).1, "2.2");
    engine.tick(after_ms(1000));
    assert_eq!(shown(&engine).1, "1.1");
    engine.tick(after_ms(2000));
    assert_eq!(status(&engine, "trail").0, VenueStatus::Filled);
    assert_eq!(engine.book().executions()[0].price, price("1.11"));
}

#[test]
fn an_order_for_an_auction_trades_once_when_the_session_ends() {
    let row = ("1.00", "1.02", Some(40));
    for (tif, terms, left) in [
        (TimeInForce::Cls, Terms::Market, (VenueStatus::Filled, "10")),
        (TimeInForce::Opg, limit("1.02"), (VenueStatus::Filled, "10")),
        (TimeInForce::Cls, limit("0.90"), (VenueStatus::Expired, "0")),
    ] {
        let mut engine = engine(&[row, row]);
        take(&mut engine, &order("a", Side::Buy, "10", terms, tif));
        engine.tick(after_ms(5000));
        assert_eq!(status(&engine, "a"), (VenueStatus::Accepted, "0".to_owned()));
        engine.tick(end_of_utc_day(noon()));
        assert_eq!(status(&engine, "a"), (left.0, left.1.to_owned()));
    }
}

#[test]
fn an_order_that_waits_for_a_stop_has_no_time_in_force_at_once() {
    let mut engine = engine(&[("1.00", "1.00", None)]);
    let trail = Trail::Price { trail_price: price("0.1") };
    for tif in [TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::Opg, TimeInForce::Cls] {
        let mut refused = trailing(Side::Sell, trail);
        refused.instruction.time_in_force = tif;
        assert!(matches!(submit(&mut engine, &refused, noon()), Err(SubmitError::Rejected(_))));
    }
}
