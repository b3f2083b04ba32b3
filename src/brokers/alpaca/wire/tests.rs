use serde_json::{Value, json};

use super::*;

fn ours() -> Value {
    json!({
        "id": "61e69015-8549-4bfd-b9c3-01e75843f47d", "client_order_id": "abc.r1", "symbol": "BRK.B", "side": "sell",
        "type": "limit", "order_type": "limit", "time_in_force": "gtc", "status": "partially_filled",
        "qty": "15", "filled_qty": "4", "filled_avg_price": "401.123456", "limit_price": "401.10", "stop_price": null,
        "extended_hours": false, "replaces": "904837e3", "replaced_by": null, "asset_class": "us_equity", "legs": null,
        "created_at": "2021-03-16T18:38:01.942282Z", "submitted_at": "2021-03-16T14:38:01.937734123-04:00",
    })
}

fn with(changes: Value) -> String {
    let mut order = ours();
    for (name, value) in changes.as_object().unwrap() {
        order[name] = value.clone();
    }
    order.to_string()
}

#[test]
fn an_order_is_read_with_all_that_we_know_of() {
    let order = strict(&ours().to_string()).unwrap();
    assert_eq!(order.broker_order_id.as_str(), "61e69015-8549-4bfd-b9c3-01e75843f47d");
    assert_eq!(order.client_order_id.as_str(), "abc.r1");
    assert_eq!((order.instruction.symbol.as_str(), order.instruction.side), ("BRK.B", Side::Sell));
    assert_eq!(order.instruction.terms.limit_price().unwrap().get().to_string(), "401.1");
    assert_eq!(order.instruction.time_in_force, TimeInForce::Gtc);
    assert_eq!((order.qty.get(), order.filled_qty), (Decimal::from(15), Decimal::from(4)));
    assert_eq!(order.filled_avg_price.unwrap().to_string(), "401.123456");
    assert_eq!(order.status, VenueStatus::PartiallyFilled);
    assert_eq!((order.replaces.unwrap().as_str(), order.replaced_by), ("904837e3", None));
    assert_eq!(order.submitted_at.to_rfc3339(), "2021-03-16T18:38:01.937734+00:00");
}

#[test]
fn missing_is_as_good_as_null_and_a_number_as_good_as_a_text() {
    let mut order = ours();
    for name in ["filled_qty", "filled_avg_price", "stop_price", "extended_hours", "replaced_by", "submitted_at"] {
        order.as_object_mut().unwrap().remove(name);
    }
    let json = order.to_string().replace("\"15\"", "15").replace("\"401.10\"", "401.10");
    let read = strict(&json).unwrap();
    assert_eq!((read.qty.get(), read.filled_qty), (Decimal::from(15), Decimal::ZERO));
    assert_eq!(read.instruction.terms.limit_price().unwrap().get().to_string(), "401.1");
    assert_eq!(read.submitted_at.timestamp_micros(), 1_615_919_881_942_282);
}

#[test]
fn each_type_takes_just_its_prices_whatever_else_is_there() {
    let prices = json!({"limit_price": "9.5", "stop_price": "9.4", "trail_price": null, "trail_percent": "2.5"});
    for (kind, limit, stop, trails) in [
        ("market", false, false, false),
        ("limit", true, false, false),
        ("stop", false, true, false),
        ("stop_limit", true, true, false),
        ("trailing_stop", false, false, true),
    ] {
        let mut changes = prices.clone();
        changes["type"] = json!(kind);
        let prices = strict(&with(changes)).unwrap().instruction.terms.prices();
        assert_eq!((prices.limit.is_some(), prices.stop.is_some()), (limit, stop), "{kind}");
        assert_eq!(prices.trail_percent.map(|percent| percent.get().to_string()), trails.then(|| "2.5".to_owned()));
    }
}

#[test]
fn the_brokers_words_become_ours_and_unknown_ones_are_not_terminal() {
    for (word, status) in [
        ("new", VenueStatus::Accepted),
        ("accepted", VenueStatus::Accepted),
        ("pending_new", VenueStatus::Accepted),
        ("partially_filled", VenueStatus::PartiallyFilled),
        ("pending_cancel", VenueStatus::PendingCancel),
        ("pending_replace", VenueStatus::PendingReplace),
        ("filled", VenueStatus::Filled),
        ("canceled", VenueStatus::Canceled),
        ("expired", VenueStatus::Expired),
        ("rejected", VenueStatus::Rejected),
        ("replaced", VenueStatus::Replaced),
        ("done_for_day", VenueStatus::Other),
        ("suspended", VenueStatus::Other),
        ("held", VenueStatus::Other),
        ("quantum", VenueStatus::Other),
    ] {
        let order = strict(&with(json!({"status": word}))).unwrap();
        assert_eq!(order.status, status, "{word}");
        assert_eq!(order.reason.is_some(), word == "rejected", "{word}");
    }
}

/// Orders that we never send: each as what is different about it.
fn strangers() -> Vec<Value> {
    vec![
        json!({"type": "moc"}),
        json!({"qty": null, "notional": "500"}),
        json!({"side": null, "symbol": "", "order_class": "mleg", "legs": [{"symbol": "AAPL240119C00100000"}]}),
        json!({"symbol": "AAPL 1/19/24", "asset_class": "us_option"}),
        json!({"time_in_force": "gtd"}),
        json!({"client_order_id": "from my phone, ça va"}),
        json!({"client_order_id": null}),
        json!({"submitted_at": "yesterday"}),
        json!({"qty": "0.0000000000001"}),
        json!({"limit_price": null}),
        json!({"qty": {"whole": 1}}),
        json!({"status": 7, "side": []}),
    ]
}

#[test]
fn an_order_of_a_kind_that_we_never_send_is_a_stranger_and_never_ours() {
    let mine = strict(&ours().to_string()).unwrap();
    for change in strangers() {
        let json = with(change.clone());
        assert!(strict(&json).is_err(), "{change}");
        let stranger = lenient(&json).unwrap();
        assert_eq!(stranger.broker_order_id, mine.broker_order_id, "{change}");
        assert_eq!(
            (stranger.instruction.terms, stranger.instruction.extended_hours),
            (Terms::Market, true),
            "{change}"
        );
    }
    assert_eq!(lenient(&ours().to_string()).unwrap(), mine);
    let unnamed = lenient(&with(json!({"client_order_id": null}))).unwrap();
    assert_eq!(unnamed.client_order_id.as_str(), "stranger:61e69015-8549-4bfd-b9c3-01e75843f47d");
    assert_eq!(lenient(&with(json!({"side": null}))).unwrap().instruction.symbol.as_str(), "BRK.B");
}

#[test]
fn an_order_without_an_id_of_its_own_is_refused() {
    assert_eq!(lenient(&with(json!({"id": ""}))), Err(Unreadable("id")));
    assert!(lenient("{}").is_err() && lenient("[]").is_err() && lenient("").is_err());
}

#[test]
fn a_fill_is_read_whole_or_not_at_all() {
    let row = json!({
        "activity_type": "FILL", "id": "20190524113406977::8efc7b9a-8b2b-4000-9955-d36e7db0df74", "order_id": "o-1",
        "cum_qty": "3", "leaves_qty": "1", "price": 1.63, "qty": "2", "side": "buy", "symbol": "LPCN",
        "transaction_time": "2019-05-24T15:34:06.977999999Z", "type": "partial_fill",
    });
    let trade = serde_json::from_value::<WireFill>(row.clone()).map(WireFill::read);
    assert!(trade.is_err(), "a tree of values has lost the digits of its numbers");
    let fill = serde_json::from_str::<WireFill>(&row.to_string()).unwrap().read().unwrap();
    assert_eq!((fill.qty.get(), fill.cum_qty), (Decimal::TWO, Decimal::from(3)));
    assert_eq!((fill.price.get().to_string().as_str(), fill.at.timestamp_subsec_nanos()), ("1.63", 977_999_000));
    for name in ["order_id", "cum_qty", "price", "qty", "transaction_time"] {
        let mut lacking = row.clone();
        lacking[name] = Value::Null;
        assert_eq!(serde_json::from_str::<WireFill>(&lacking.to_string()).unwrap().read(), None, "{name}");
    }
}
