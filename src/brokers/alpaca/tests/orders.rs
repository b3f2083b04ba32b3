//! Orders, replacements, cancels and look-ups: each accident means what the caller has to do next.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tranche_actors::domain::names::BrokerOrderId;
use tranche_actors::domain::venue::{VenueOrder, VenueStatus, VenueWords};
use tranche_actors::ports::{CancelError, SubmitError, Venue, VenueError};

use super::scripted::{Act, SECRET, Server, id, order, taken, venue_at};

async fn submit(act: Act) -> (Result<VenueOrder, SubmitError>, Server) {
    let server = Server::start(vec![act]).await;
    let answer = server.venue().submit(&order()).await;
    (answer, server)
}

fn broker_id() -> BrokerOrderId {
    BrokerOrderId::parse("o-1").unwrap()
}

fn error(code: u64, message: &str) -> Value {
    json!({"code": code, "message": message})
}

fn unknown(answer: Result<VenueOrder, SubmitError>) -> String {
    match answer {
        Err(SubmitError::Unknown { detail }) => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_order_is_sent_whole_once_with_our_key_and_its_answer_read() {
    let (answer, server) = submit(Act::json(200, &taken())).await;
    let taken = answer.unwrap();
    assert_eq!((taken.broker_order_id, taken.status), (broker_id(), VenueStatus::Accepted));
    assert_eq!((taken.instruction, taken.qty), (order().instruction, order().qty));
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line, "POST /v2/orders HTTP/1.1");
    assert!(seen[0].head.contains(&format!("apca-api-secret-key: {SECRET}")), "{}", seen[0].head);
    let body = serde_json::from_str::<Value>(&seen[0].body).unwrap();
    assert_eq!((&body["client_order_id"], &body["limit_price"]), (&json!("abc"), &json!("99.5")));
}

#[tokio::test]
async fn a_cut_or_garbled_answer_leaves_the_outcome_unknown_and_nothing_is_sent_again() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\nX-Request-ID: req-7\r\n\r\n{\"id\":";
    for act in [
        Act::Cut,
        Act::Write("HTTP/1.1 200".to_owned()),
        Act::Write(half.to_owned()),
        Act::Write("SSH-2.0-OpenSSH_9.2\r\n".to_owned()),
        Act::json(200, &json!("fine")),
        Act::json(200, &json!({"id": "o-1"})),
        Act::Answer(200, "", "{\"id\": \"o-1\"".to_owned()),
        Act::Answer(200, "", String::new()),
        Act::Answer(200, "", " ".repeat(9 * 1024 * 1024)),
        Act::json(202, &Value::Null),
        Act::json(504, &error(50_410_000, "gateway timeout")),
        Act::Answer(500, "", "<html>".to_owned()),
        Act::Answer(422, "", "<html>".to_owned()),
        Act::Answer(408, "", "{}".to_owned()),
    ] {
        let told = format!("{:.80}", format!("{act:?}"));
        let (answer, server) = submit(act).await;
        assert!(matches!(answer, Err(SubmitError::Unknown { .. })), "{told}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.seen().len(), 1, "{told}");
    }
}

#[tokio::test]
async fn a_failure_names_the_request_by_the_brokers_id() {
    let (answer, _server) = submit(Act::json(503, &error(0, "down"))).await;
    let detail = unknown(answer);
    assert!(detail.contains("req-7") && detail.contains("503") && detail.contains("down"), "{detail}");
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\nX-Request-ID: req-8\r\n\r\n{";
    let (answer, _server) = submit(Act::Write(half.to_owned())).await;
    assert!(unknown(answer).contains("req-8"));
}

#[tokio::test]
async fn an_answer_about_another_order_is_not_taken_for_ours() {
    let mut other = taken();
    other["client_order_id"] = json!("abd");
    let (answer, _server) = submit(Act::json(200, &other)).await;
    assert!(unknown(answer).contains("another order"));
    let server = Server::start(vec![Act::json(200, &other)]).await;
    assert!(matches!(server.venue().find(&id("abc")).await, Err(VenueError::Unavailable { .. })));
}

#[tokio::test]
async fn silence_after_the_request_is_unknown_within_the_time_out() {
    let began = std::time::Instant::now();
    let (answer, server) = submit(Act::Stall).await;
    unknown(answer);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn what_could_not_connect_certainly_never_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let answer = venue_at(address).submit(&order()).await;
    assert!(matches!(answer, Err(SubmitError::NeverLeft { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_goes_nowhere_else() {
    let elsewhere = Server::start(vec![Act::json(200, &taken())]).await;
    let location: &'static str = format!("Location: http://{}/v2/orders\r\n", elsewhere.address).leak();
    for status in [301, 302, 307, 308] {
        let (answer, _server) = submit(Act::Answer(status, location, String::new())).await;
        assert!(unknown(answer).contains("no redirect is followed"), "{status}");
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn an_order_on_a_connection_that_the_broker_closed_meanwhile_is_seen_once_or_unknown() {
    // The first answer leaves a connection in the pool, which is then closed under an order.
    for wait_ms in [0, 1, 5, 30] {
        let found = "HTTP/1.1 404 X\r\nContent-Length: 39\r\n\r\n{\"code\":40410000,\"message\":\"not found\"}\n";
        let server = Server::start(vec![Act::Write(found.to_owned()), Act::json(200, &taken())]).await;
        let venue = server.venue();
        assert_eq!(venue.find(&id("abc")).await, Ok(None));
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let answer = venue.submit(&order()).await;
        let posts = server.seen().iter().filter(|seen| seen.line.starts_with("POST")).count();
        match answer {
            Ok(_) => assert_eq!(posts, 1, "{wait_ms} ms"),
            Err(SubmitError::Unknown { .. }) => assert!(posts <= 1, "{wait_ms} ms"),
            other => panic!("{other:?} after {wait_ms} ms"),
        }
    }
}

#[tokio::test]
async fn a_refusal_is_final_in_the_brokers_own_words() {
    for (status, code, message) in [
        (422, 42_210_000, "limit_price must be in increments of 0.01"),
        (403, 40_310_000, "insufficient buying power"),
        (403, 40_310_000, "account is not allowed to short"),
        (403, 40_310_000, "potential wash trade detected. use complex orders"),
        (404, 40_410_000, "asset \"XYZ\" not found"),
        (400, 40_010_001, "qty must be > 0"),
    ] {
        let (answer, _server) = submit(Act::json(status, &error(code, message))).await;
        let words = VenueWords { code: code.to_string(), message: message.to_owned() };
        assert_eq!(answer, Err(SubmitError::Rejected(words)));
    }
    let (answer, _server) = submit(Act::json(422, &json!({"message": "qty is required"}))).await;
    let words = VenueWords { code: "422".to_owned(), message: "qty is required".to_owned() };
    assert_eq!(answer, Err(SubmitError::Rejected(words)));
}

#[tokio::test]
async fn a_duplicate_id_is_told_by_its_message_however_it_is_spelt() {
    for (code, message) in [
        (40_010_001, "client_order_id must be unique"),
        (42_210_000, "client_order_id must be unique"),
        (42_210_000, "Client Order ID must be unique."),
        (42_210_000, "request rejected: client-order-id must be unique"),
    ] {
        let (answer, _server) = submit(Act::json(422, &error(code, message))).await;
        assert_eq!(answer, Err(SubmitError::DuplicateId), "{message}");
    }
}

#[tokio::test]
async fn a_refused_key_or_a_blocked_account_is_unauthorised_and_then_the_broker_is_left_alone() {
    for act in [
        Act::json(401, &json!({"message": "unauthorized."})),
        Act::Answer(401, "", String::new()),
        Act::json(403, &json!({"message": "forbidden."})),
        Act::Answer(403, "", "<html>".to_owned()),
        Act::json(403, &error(40_310_000, "account is blocked for trading")),
        Act::json(403, &error(40_310_000, "account not authorized to trade")),
    ] {
        let server = Server::start(vec![act.clone()]).await;
        let venue = server.venue();
        let answer = venue.submit(&order()).await;
        assert!(matches!(answer, Err(SubmitError::Unauthorised { .. })), "{act:?}: {answer:?}");
        assert!(!format!("{answer:?}").contains(SECRET));
        for _ in 0..5 {
            assert!(matches!(venue.submit(&order()).await, Err(SubmitError::Unauthorised { .. })));
            assert!(matches!(venue.positions().await, Err(VenueError::Unauthorised { .. })));
            assert!(matches!(venue.events().await.err(), Some(VenueError::Unauthorised { .. })));
        }
        assert_eq!(server.seen().len(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn a_broker_that_is_busy_says_for_how_long() {
    let busy = |headers| Act::Answer(429, headers, "<html>".to_owned());
    let window = "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nX-RateLimit-Limit: 200\r\nX-RateLimit-Remaining: 0\r\n\
                  X-RateLimit-Reset: 784887191\r\n";
    for (headers, least) in [("Retry-After: 7\r\n", 7), (window, 41), ("", 2)] {
        let (answer, _server) = submit(busy(headers)).await;
        let Err(SubmitError::NotNow { retry_after: Some(wait) }) = answer else { panic!("{answer:?}") };
        let least = Duration::from_secs(least);
        assert!(wait >= least && wait < least + Duration::from_millis(500), "{headers}: {wait:?}");
    }
}

#[tokio::test]
async fn the_headers_of_every_answer_say_what_is_left() {
    let left = "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nX-RateLimit-Remaining: 150\r\nX-RateLimit-Reset: 784887191\r\n";
    let server = Server::start(vec![Act::Answer(200, left, taken().to_string())]).await;
    let venue = server.venue();
    assert_eq!(venue.allowance(), None);
    venue.submit(&order()).await.unwrap();
    let allowance = venue.allowance().unwrap();
    assert_eq!(allowance.remaining, 150);
    assert!(allowance.resets_in > Duration::from_secs(35) && allowance.resets_in <= Duration::from_secs(41));
}

#[tokio::test]
async fn a_cancel_is_taken_or_not_cancelable_or_asked_again() {
    let not_cancelable = Err(CancelError::NotCancelable);
    for (act, expected) in [
        (Act::Answer(204, "", String::new()), Ok(())),
        (Act::json(422, &error(42_210_000, "order is not cancelable")), not_cancelable.clone()),
        (Act::json(404, &error(40_410_000, "order not found")), not_cancelable),
    ] {
        let server = Server::start(vec![act]).await;
        assert_eq!(server.venue().cancel(&broker_id()).await, expected);
        assert_eq!(server.seen()[0].line, "DELETE /v2/orders/o-1 HTTP/1.1");
    }
    for act in [Act::Cut, Act::json(500, &Value::Null), Act::Answer(404, "", "<html>".to_owned())] {
        let server = Server::start(vec![act]).await;
        let answer = server.venue().cancel(&broker_id()).await;
        assert!(matches!(answer, Err(CancelError::Venue(VenueError::Unavailable { .. }))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_replacement_is_asked_for_once_under_its_own_id() {
    let mut new = taken();
    (new["id"], new["replaces"]) = (json!("o-2"), json!("o-1"));
    let server = Server::start(vec![Act::json(200, &new), Act::Cut]).await;
    let venue = server.venue();
    let replaced = venue.replace(&broker_id(), &order()).await.unwrap();
    assert_eq!((replaced.broker_order_id.as_str(), replaced.replaces), ("o-2", Some(broker_id())));
    assert_eq!(server.seen()[0].line, "PATCH /v2/orders/o-1 HTTP/1.1");
    assert!(matches!(venue.replace(&broker_id(), &order()).await, Err(SubmitError::Unknown { .. })));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn only_the_brokers_own_word_makes_an_order_absent() {
    let server = Server::start(vec![Act::json(404, &error(40_410_000, "order not found for abc"))]).await;
    assert_eq!(server.venue().find(&id("abc")).await, Ok(None));
    let line = "GET /v2/orders:by_client_order_id?client_order_id=abc HTTP/1.1";
    assert_eq!(server.seen()[0].line, line);
    for act in [
        Act::Answer(404, "", "<html>no such host here</html>".to_owned()),
        Act::json(404, &json!({"message": "no Route matched with those values"})),
        Act::Answer(404, "", String::new()),
        Act::json(200, &json!([])),
        Act::json(500, &error(40_410_000, "order not found")),
        Act::Cut,
    ] {
        let server = Server::start(vec![act.clone()]).await;
        let found = server.venue().find(&id("abc")).await;
        assert!(matches!(found, Err(VenueError::Unavailable { .. })), "{act:?}: {found:?}");
    }
}

#[tokio::test]
async fn an_order_of_our_id_that_we_could_not_have_sent_is_found_and_is_not_ours() {
    let mut foreign = taken();
    (foreign["qty"], foreign["notional"]) = (Value::Null, json!("500"));
    let server = Server::start(vec![Act::json(200, &foreign)]).await;
    let found = server.venue().find(&id("abc")).await.unwrap().unwrap();
    assert_eq!(found.client_order_id, id("abc"));
    assert_ne!(found.instruction, order().instruction);
}
