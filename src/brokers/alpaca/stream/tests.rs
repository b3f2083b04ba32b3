use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Url;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tranche_actors::domain::venue::VenueStatus;

use super::super::settings::{Environment, Places};
use super::*;
use crate::clock::{SystemClock, SystemEntropy};

fn order(status: &str, filled: &str) -> Value {
    json!({
        "id": "o-1", "client_order_id": "abc", "symbol": "AAPL", "side": "buy", "type": "market", "qty": "10",
        "time_in_force": "day", "status": status, "filled_qty": filled, "submitted_at": "2026-11-20T15:00:00Z",
    })
}

fn told(event: &str, order: &Value, more: &Value) -> Message {
    let mut data = json!({"event": event, "order": order});
    for (name, value) in more.as_object().unwrap() {
        data[name] = value.clone();
    }
    Message::Text(json!({"stream": "trade_updates", "data": data}).to_string().into())
}

fn event(frame: &Message) -> VenueEvent {
    let heard = sort(frame);
    let Heard::Events(mut events) = heard else { panic!("{heard:?}") };
    assert_eq!(events.len(), 1);
    events.remove(0)
}

#[test]
fn a_fill_brings_the_trade_with_and_without_an_id_of_its_own() {
    let price = json!({"price": "100.25", "qty": "4", "timestamp": "2026-11-20T15:00:01.5Z", "execution_id": "e-1"});
    let VenueEvent::Order { order: venue, execution } =
        event(&told("partial_fill", &order("partially_filled", "4"), &price))
    else {
        panic!("no order");
    };
    assert_eq!(venue.status, VenueStatus::PartiallyFilled);
    let trade = execution.unwrap();
    assert_eq!((trade.execution_id.as_str(), trade.cum_qty.to_string().as_str()), ("e-1", "4"));
    assert_eq!(trade.at.to_rfc3339(), "2026-11-20T15:00:01.500+00:00");

    let bare = json!({"price": 100.25, "qty": 6});
    let VenueEvent::Order { execution, .. } = event(&told("fill", &order("filled", "10"), &bare)) else {
        panic!("no order");
    };
    let trade = execution.unwrap();
    assert_eq!((trade.execution_id.as_str(), trade.price.get().to_string().as_str()), ("o-1:10", "100.25"));
}

#[test]
fn a_fill_that_lacks_its_price_still_tells_the_total() {
    let VenueEvent::Order { order: venue, execution } = event(&told("fill", &order("filled", "10"), &json!({}))) else {
        panic!("no order");
    };
    assert_eq!((venue.filled_qty.to_string().as_str(), execution), ("10", None));
}

#[test]
fn what_is_no_fill_is_none_even_with_an_execution_id() {
    let more = json!({"execution_id": "e-0", "price": "1", "qty": "1"});
    for kind in ["new", "accepted", "canceled", "replaced", "order_cancel_rejected", "restated", "a_new_word"] {
        let VenueEvent::Order { execution, .. } = event(&told(kind, &order("new", "0"), &more)) else {
            panic!("no order");
        };
        assert_eq!(execution, None, "{kind}");
    }
}

#[test]
fn a_busted_or_corrected_trade_has_its_order_looked_up() {
    for kind in ["trade_bust", "trade_correct"] {
        let corrected = event(&told(kind, &order("filled", "10"), &json!({"price": "1", "qty": "1"})));
        let VenueEvent::Corrected { client_order_id } = corrected else { panic!("{corrected:?}") };
        assert_eq!(client_order_id.as_str(), "abc");
    }
}

#[test]
fn what_cant_be_read_is_a_gap_and_an_order_of_a_foreign_kind_is_none() {
    let text = |text: &str| Message::Text(text.into());
    for frame in [
        text("{"),
        text(r#"{"stream":"trade_updates","data":{"event":"fill"}}"#),
        text(r#"{"stream":"trade_updates","data":{"event":"fill","order":{"symbol":"A"}}}"#),
        Message::Binary(vec![0xff, 0xfe].into()),
    ] {
        assert_eq!(event(&frame), VenueEvent::Gap, "{frame:?}");
    }
    let mut odd = order("new", "0");
    (odd["type"], odd["qty"]) = (json!("moc"), Value::Null);
    assert!(matches!(event(&told("new", &odd, &json!({}))), VenueEvent::Order { .. }));
    for quiet in [text("{}"), text(r#"{"stream":"account_updates","data":{}}"#), Message::Pong(Vec::new().into())] {
        assert_eq!(sort(&quiet), Heard::Nothing);
    }
}

/// How a broker treats one connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Frames of this kind, one event, and then the end.
    Text,
    Binary,
    /// Refuses the key.
    Refuses,
    /// Says nothing after the listening.
    Silent,
    /// Doesn't let us listen.
    Deaf,
}

async fn broker(manner: Manner) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(converse(socket, manner));
        }
    });
    (address, count)
}

async fn converse(socket: tokio::net::TcpStream, manner: Manner) {
    let mut socket = accept_async(socket).await.unwrap();
    let frame = |json: &Value| {
        if manner == Manner::Binary {
            Message::Binary(json.to_string().into_bytes().into())
        } else {
            Message::Text(json.to_string().into())
        }
    };
    let heard = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let heard = serde_json::from_str::<Value>(&heard).unwrap();
    assert_eq!((&heard["action"], &heard["data"]["key_id"]), (&json!("authenticate"), &json!("PKOURS")));
    let status = if manner == Manner::Refuses { "unauthorized" } else { "authorized" };
    let answer = json!({"stream": "authorization", "data": {"status": status, "action": "authenticate"}});
    socket.send(frame(&answer)).await.unwrap();
    if manner == Manner::Refuses {
        return;
    }
    let heard = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let heard = serde_json::from_str::<Value>(&heard).unwrap();
    assert_eq!(heard["data"]["streams"], json!(["trade_updates"]));
    let streams = if manner == Manner::Deaf { json!([]) } else { json!(["trade_updates"]) };
    socket.send(frame(&json!({"stream": "listening", "data": {"streams": streams}}))).await.unwrap();
    if manner == Manner::Silent {
        std::future::pending::<()>().await;
    }
    let data = json!({"event": "new", "order": order("new", "0")});
    socket.send(frame(&json!({"stream": "trade_updates", "data": data}))).await.unwrap();
}

fn opener(address: SocketAddr) -> Opener {
    let url = |scheme: &str| Url::parse(&format!("{scheme}://{address}/")).unwrap();
    let settings = AlpacaSettings {
        environment: Environment::Paper,
        places: Places { base: url("http"), stream: url("ws"), data: url("http") },
        key_id: SecretString::from("PKOURS"),
        secret_key: SecretString::from("hush"),
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(5),
        data_feed: "iex".to_owned(),
        data_requests_per_minute: 0,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let wire = Arc::new(Wire::new(&settings, &clock).unwrap());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    Opener::new(&settings, &wire, &clock, &entropy)
}

#[tokio::test]
async fn events_come_in_text_and_in_binary_frames_and_end_with_the_connection() {
    for manner in [Manner::Text, Manner::Binary] {
        let (address, _) = broker(manner).await;
        let events = opener(address).open().await.unwrap().collect::<Vec<_>>().await;
        assert!(matches!(events[..], [VenueEvent::Order { .. }]), "{manner:?}: {events:?}");
    }
}

#[tokio::test]
async fn a_refused_key_is_unauthorised_and_not_tried_again_at_once() {
    let (address, connections) = broker(Manner::Refuses).await;
    let opener = opener(address);
    for _ in 0..5 {
        let error = opener.open().await.err().unwrap();
        assert!(matches!(error, VenueError::Unauthorised { .. }), "{error}");
        assert!(!error.to_string().contains("hush"));
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_stream_that_fails_or_ends_soon_is_opened_again_only_after_a_while() {
    for manner in [Manner::Deaf, Manner::Text] {
        let (address, connections) = broker(manner).await;
        let opener = opener(address);
        if let Ok(events) = opener.open().await {
            assert_eq!(manner, Manner::Text);
            events.collect::<Vec<_>>().await;
        }
        let error = opener.open().await.err().unwrap().to_string();
        assert!(error.contains("opened again in"), "{manner:?}: {error}");
        assert_eq!(connections.load(Ordering::Relaxed), 1);
        opener.pause.lock().unwrap().not_before = Duration::ZERO;
        drop(opener.open().await);
        assert_eq!(connections.load(Ordering::Relaxed), 2, "{manner:?}");
    }
}

#[tokio::test]
async fn a_stream_without_a_sign_of_life_is_broken() {
    let (address, _) = broker(Manner::Silent).await;
    let (socket, _) = opener(address).subscribe().await.unwrap();
    let (sender, _receiver) = mpsc::channel(8);
    // The server doesn't read, so that it answers no ping.
    let pulse = (Duration::from_millis(40), Duration::from_millis(120));
    let why = tokio::time::timeout(Duration::from_secs(20), read(socket, &sender, pulse)).await.unwrap();
    assert!(why.contains("nothing was heard"), "{why}");
}

#[tokio::test]
async fn a_reader_that_falls_too_far_behind_loses_the_stream_and_not_events_of_it() {
    let (address, _) = broker(Manner::Text).await;
    let (socket, _) = opener(address).subscribe().await.unwrap();
    let (sender, _receiver) = mpsc::channel(1);
    sender.try_send(VenueEvent::Gap).unwrap();
    let why = read(socket, &sender, (PING_EVERY, SILENT_FOR)).await;
    assert!(why.contains("fell too far behind"), "{why}");
}

#[tokio::test]
async fn nobody_who_listens_means_no_connection_either() {
    let (address, _) = broker(Manner::Silent).await;
    let (socket, _) = opener(address).subscribe().await.unwrap();
    let (sender, receiver) = mpsc::channel(8);
    drop(receiver);
    let why = read(socket, &sender, (PING_EVERY, SILENT_FOR)).await;
    assert!(why.contains("nobody listens"), "{why}");
}

#[test]
fn waits_double_from_a_second_to_a_minute_give_or_take_a_fifth() {
    let mut pause = Pause::default();
    for (try_number, full) in [1, 2, 4, 8, 16, 32, 64, 64, 64].into_iter().enumerate() {
        let bits = [0, u64::MAX, 12_345][try_number % 3];
        pause.lengthen(Duration::ZERO, bits, String::new());
        let (least, most) = (Duration::from_millis(full * 800), Duration::from_millis(full * 1_200));
        assert!((least..=most).contains(&pause.not_before), "{full} s: {:?}", pause.not_before);
    }
}
