//! Pages, positions, the account, the clock, quotes and bars.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tranche_actors::budget::{Budget, Lane};
use tranche_actors::domain::names::{BrokerOrderId, Symbol};
use tranche_actors::domain::venue::VenueHoldings;
use tranche_actors::ports::{Clock, Venue, VenueError};

use super::scripted::{Act, Server, taken};
use crate::clock::SystemClock;

fn page(from: usize, count: usize) -> Vec<Value> {
    let row = |n: usize| {
        let mut row = taken();
        (row["id"], row["client_order_id"]) = (json!(format!("o-{n}")), json!(format!("c-{n}")));
        row
    };
    (from..from + count).map(row).collect()
}

fn fills(from: usize, count: usize) -> Value {
    let row = |n: usize| {
        json!({
            "id": format!("a-{n}"), "activity_type": "FILL", "order_id": "o-1", "qty": "1", "cum_qty": (n + 1).to_string(),
            "price": "10.5", "transaction_time": "2026-11-20T15:00:00Z",
        })
    };
    (from..from + count).map(row).collect()
}

fn aapl() -> Symbol {
    Symbol::parse("AAPL").unwrap()
}

#[tokio::test]
async fn open_orders_are_read_page_by_page_behind_the_last_order_and_one_odd_order_spoils_nothing() {
    let mut last = page(500, 3);
    last[1] = json!({"id": "odd", "type": "moc", "qty": null, "notional": "7", "symbol": "", "status": "new"});
    let server = Server::start(vec![Act::json(200, &json!(page(0, 500))), Act::json(200, &json!(last))]).await;
    let open = server.venue().open_orders().await.unwrap();
    assert_eq!(open.len(), 503);
    assert_eq!(open[501].broker_order_id.as_str(), "odd");
    let lines = server.seen().into_iter().map(|seen| seen.line).collect::<Vec<_>>();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("status=open&limit=500&direction=asc") && !lines[0].contains("after"), "{}", lines[0]);
    assert!(lines[1].contains("after_order_id=o-499"), "{}", lines[1]);
}

#[tokio::test]
async fn a_list_of_open_orders_that_doesnt_end_is_not_read_for_ever() {
    let server = Server::start(vec![Act::json(200, &json!(page(0, 500)))]).await;
    let open = server.venue().open_orders().await;
    assert!(matches!(open, Err(VenueError::Unavailable { .. })), "{open:?}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn orders_since_an_instant_include_it_and_go_on_behind_an_order() {
    let server = Server::start(vec![Act::json(200, &json!(page(0, 2))), Act::json(200, &json!([]))]).await;
    let venue = server.venue();
    let since = "2026-11-20T15:00:00.123456Z".parse().unwrap();
    assert_eq!(venue.orders_since(since, None).await.unwrap().len(), 2);
    let after = BrokerOrderId::parse("o-1").unwrap();
    assert_eq!(venue.orders_since(since, Some(&after)).await.unwrap(), []);
    let seen = server.seen();
    assert!(seen[0].line.contains("status=all"), "{}", seen[0].line);
    assert!(seen[0].line.contains("after=2026-11-20T15%3A00%3A00.122456Z"), "{}", seen[0].line);
    assert!(seen[1].line.contains("after_order_id=o-1") && !seen[1].line.contains("after=2026"), "{}", seen[1].line);
}

#[tokio::test]
async fn a_page_that_is_no_list_or_has_an_order_without_an_id_is_refused() {
    for body in [json!({"orders": []}), json!([{"symbol": "AAPL"}]), Value::Null] {
        let server = Server::start(vec![Act::json(200, &body)]).await;
        assert!(matches!(server.venue().open_orders().await, Err(VenueError::Unavailable { .. })), "{body}");
    }
}

#[tokio::test]
async fn fills_are_read_to_the_last_page_and_a_broken_one_is_passed_over() {
    let mut second = fills(100, 3);
    second[1]["price"] = Value::Null;
    let server = Server::start(vec![Act::json(200, &fills(0, 100)), Act::json(200, &second)]).await;
    let since = "2026-11-20T15:00:00Z".parse().unwrap();
    let read = server.venue().executions_since(since).await.unwrap();
    assert_eq!(read.len(), 102);
    assert_eq!((read[99].execution_id.as_str(), read[101].execution_id.as_str()), ("a-99", "a-102"));
    let seen = server.seen();
    assert!(seen[0].line.starts_with("GET /v2/account/activities/FILL?after=2026-11-20"), "{}", seen[0].line);
    assert!(seen[1].line.contains("page_token=a-99"), "{}", seen[1].line);
}

#[tokio::test]
async fn positions_are_signed_and_none_is_no_error() {
    let rows = json!([
        {"symbol": "AAPL", "qty": "10", "side": "long", "avg_entry_price": "100.0"},
        {"symbol": "TSLA", "qty": "-2.5", "side": "short"},
        {"symbol": "MSFT", "qty": "3", "side": "long", "asset_class": "us_equity"},
        {"symbol": "not a symbol of ours", "qty": "1"},
        {"symbol": "BTCUSD", "qty": "0.5", "side": "long", "asset_class": "crypto"},
    ]);
    let server = Server::start(vec![Act::json(200, &rows), Act::json(200, &json!([]))]).await;
    let venue = server.venue();
    let held = venue.positions().await.unwrap();
    let closable = held.positions.iter().map(|held| (held.symbol.as_str(), held.qty.to_string())).collect::<Vec<_>>();
    assert_eq!(closable, [("AAPL", "10".to_owned()), ("TSLA", "-2.5".to_owned()), ("MSFT", "3".to_owned())]);
    let others = held.unclosable.iter().map(|held| (held.name.as_str(), held.qty.to_string())).collect::<Vec<_>>();
    assert_eq!(others, [("not a symbol of ours", "1".to_owned()), ("BTCUSD", "0.5".to_owned())]);
    assert_eq!(venue.positions().await.unwrap(), VenueHoldings::default());
}

#[tokio::test]
async fn the_account_the_clock_and_the_calendar_are_read() {
    let account = json!({
        "status": "ACTIVE", "trading_blocked": false, "account_blocked": true, "equity": "100000.5", "cash": -3.25,
        "buying_power": "400000", "daytrade_count": null,
    });
    let clock = json!({
        "timestamp": "2026-11-20T10:00:00.123456789-05:00", "is_open": true,
        "next_open": "2026-11-23T09:30:00-05:00", "next_close": "2026-11-20T16:00:00-05:00",
    });
    let days = json!([
        {"date": "2026-11-25", "open": "09:30", "close": "16:00", "session_open": "0400"},
        {"date": "2026-11-27", "open": "09:30", "close": "13:00"},
    ]);
    let acts = [account, clock, days].iter().map(|body| Act::json(200, body)).collect();
    let server = Server::start(acts).await;
    let venue = server.venue();
    let read = venue.account().await.unwrap();
    assert!(read.trading_blocked);
    assert_eq!((read.equity.to_string(), read.cash.to_string()), ("100000.5".to_owned(), "-3.25".to_owned()));
    let clock = venue.clock().await.unwrap().unwrap();
    assert_eq!(clock.at.to_rfc3339(), "2026-11-20T15:00:00.123456+00:00");
    assert_eq!(clock.next_close.to_rfc3339(), "2026-11-20T21:00:00+00:00");
    let (first, last) = ("2026-11-25".parse().unwrap(), "2026-11-27".parse().unwrap());
    let sessions = venue.calendar(first, last).await.unwrap();
    assert_eq!(sessions[1].closes.to_rfc3339(), "2026-11-27T18:00:00+00:00");
    assert!(server.seen()[2].line.contains("start=2026-11-25&end=2026-11-27"));
}

#[tokio::test]
async fn a_quote_has_two_sides_and_is_not_asked_for_twice_at_once() {
    let quote = |bid: &str| json!({"symbol": "AAPL", "quote": {"t": "2026-11-20T15:00:00Z", "bp": bid, "ap": 100.10}});
    let server = Server::start(vec![Act::json(200, &quote("100.05")), Act::json(200, &quote("0"))]).await;
    let venue = server.venue();
    let first = venue.quote(&aapl()).await.unwrap();
    assert_eq!((first.bid.get().to_string(), first.ask.get().to_string()), ("100.05".to_owned(), "100.1".to_owned()));
    assert_eq!(first.last.to_string(), "100.075");
    assert_eq!(venue.quote(&aapl()).await.unwrap(), first);
    assert_eq!(server.seen().len(), 1);
    assert!(server.seen()[0].line.starts_with("GET /v2/stocks/AAPL/quotes/latest?feed=iex"));
    assert!(venue.quote(&Symbol::parse("TSLA").unwrap()).await.is_err());
}

#[tokio::test]
async fn a_feed_that_our_plan_lacks_does_not_halt_the_account() {
    let lacking = json!({"message": "subscription does not permit querying recent SIP data"});
    let server = Server::start(vec![Act::json(403, &lacking), Act::json(200, &json!([]))]).await;
    let venue = server.venue();
    assert!(matches!(venue.quote(&aapl()).await, Err(VenueError::Unavailable { .. })));
    assert_eq!(venue.positions().await, Ok(VenueHoldings::default()));
}

#[tokio::test]
async fn daily_bars_are_the_last_whole_days_oldest_first() {
    let bar = |t: &str, v: u64| json!({"t": t, "o": 1, "h": 2, "l": 1, "c": 1.5, "v": v, "n": 3, "vw": 1.4});
    let today = SystemClock.now().to_rfc3339();
    let bars = [
        bar("2026-11-18T05:00:00Z", 18),
        bar("2026-11-17T00:00:00Z", 17),
        bar(&today, 99),
        bar("2026-11-19T05:00:00Z", 19),
    ];
    let body = json!({"bars": bars, "symbol": "AAPL", "next_page_token": null});
    let server = Server::start(vec![Act::json(200, &body), Act::json(200, &json!({"bars": null}))]).await;
    let venue = server.venue();
    let days = venue.daily_bars(&aapl(), 2).await.unwrap();
    let days = days.iter().map(|bar| (bar.date.to_string(), bar.volume.to_string())).collect::<Vec<_>>();
    assert_eq!(days, [("2026-11-18".to_owned(), "18".to_owned()), ("2026-11-19".to_owned(), "19".to_owned())]);
    assert_eq!(venue.daily_bars(&aapl(), 2).await.unwrap(), []);
}

#[tokio::test]
async fn reads_wait_for_the_budget_and_a_busy_broker_stops_new_orders_too() {
    let busy = Act::Answer(429, "Retry-After: 30\r\n", String::new());
    let server = Server::start(vec![Act::json(200, &json!([])), busy]).await;
    let venue = server.venue();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let budget = Budget::new(NonZeroU32::new(600), &clock);
    venue.paced_by(&budget);
    let began = clock.boottime();
    venue.positions().await.unwrap();
    assert!(clock.boottime() - began >= Duration::from_millis(150), "the budget begins empty");
    assert!(matches!(venue.positions().await, Err(VenueError::NotNow { .. })));
    let wait = budget.take(Lane::Orders).unwrap_err();
    assert!(wait > Duration::from_secs(29) && wait < Duration::from_secs(31), "{wait:?}");
}
