//! `tranche venue` from outside, where the official client can't show it: what survives a kill, what faults do, what the rate
//! limit counts. `tests/alpaca_client` shows the rest.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use chrono::{DateTime, Utc};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::house::{Answer, Api, Folder, Outcome, PROGRAM, SOON, answer, eventually};

const KEY: &str = "PKTEST";
const SECRET: &str = "test-secret";

/// A running venue. It is killed when the value goes.
struct Double {
    child: Child,
    api: Api,
}

impl Double {
    fn start(folder: &Folder, options: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["venue", "--bind", "127.0.0.1:0", "--latency-ms", "0"]);
        command.args(["--partial-per-mille", "0", "--key", &format!("{KEY}:{SECRET}"), "--key", "PKOTHER:x:other"]);
        command.arg("--folder").arg(folder.path()).args(options).stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let address = first.split("http://").nth(1).and_then(|rest| rest.split(';').next());
        Self { child, api: Api::new(address.unwrap_or_else(|| panic!("no address in {first:?}"))) }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.api.request(method, path);
        request.header("APCA-API-KEY-ID", KEY).header("APCA-API-SECRET-KEY", SECRET)
    }

    async fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path)).await
    }

    async fn found(&self, client_order_id: &str) -> Answer {
        self.get(&format!("/v2/orders:by_client_order_id?client_order_id={client_order_id}")).await
    }

    async fn status(&self, client_order_id: &str) -> String {
        self.found(client_order_id).await.1["status"].as_str().unwrap_or("none").to_owned()
    }

    /// An order that the market never touches.
    async fn rest(&self, client_order_id: &str) -> Answer {
        answer(self.resting(client_order_id)).await
    }

    fn resting(&self, client_order_id: &str) -> reqwest::RequestBuilder {
        let body = json!({"symbol": "AAPL", "qty": "10", "side": "buy", "type": "limit", "limit_price": "1.5",
            "time_in_force": "gtc", "client_order_id": client_order_id});
        self.request("POST", "/v2/orders").json(&body)
    }

    async fn admin(&self, method: &str, path: &str, body: Value) {
        let (status, told) = answer(self.api.request(method, &format!("/admin{path}")).json(&body)).await;
        assert!(status < 300, "{status} {told}");
    }

    async fn faults(&self, faults: Value) {
        self.admin("PUT", "/faults", faults).await;
    }

    async fn fill(&self, id: &Value, qty: &str) {
        self.admin("POST", &format!("/orders/{}/fill", id.as_str().unwrap()), json!({"qty": qty})).await;
    }

    async fn listen(&self) -> Stream {
        let mut stream = self.connect().await.unwrap();
        say(&mut stream, json!({"action": "auth", "key": KEY, "secret": SECRET})).await;
        assert_eq!(hear(&mut stream).await["data"]["status"], "authorized");
        say(&mut stream, json!({"action": "listen", "data": {"streams": ["trade_updates"]}})).await;
        assert_eq!(hear(&mut stream).await["data"]["streams"], json!(["trade_updates"]));
        stream
    }

    async fn connect(&self) -> Result<Stream, tokio_tungstenite::tungstenite::Error> {
        let url = format!("{}/stream", self.api.base.replace("http", "ws"));
        tokio_tungstenite::connect_async(url).await.map(|(stream, _)| stream)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

type Stream = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn say(stream: &mut Stream, value: Value) {
    stream.send(Message::text(value.to_string())).await.unwrap();
}

async fn next(stream: &mut Stream) -> Option<Message> {
    let message = tokio::time::timeout(SOON, stream.next()).await.expect("in time");
    message.and_then(Result::ok).filter(|message| !message.is_close())
}

async fn hear(stream: &mut Stream) -> Value {
    let message = next(stream).await.expect("a message");
    serde_json::from_slice(&message.into_data()).unwrap()
}

/// The next event of this name.
async fn event(stream: &mut Stream, name: &str) -> Value {
    loop {
        let told = hear(stream).await["data"].take();
        if told["event"] == name {
            return told;
        }
    }
}

/// The journal, as the program's own command shows it.
fn journal(folder: &Folder) -> Vec<Value> {
    let mut command = Command::new(PROGRAM);
    command.args(["venue", "journal", "--json", "--folder"]).arg(folder.path());
    let lines = Outcome::of(&mut command).ok();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How many orders the venue ever accepted under this id.
fn accepted(folder: &Folder, client_order_id: &str) -> usize {
    let lines = journal(folder);
    let new = lines.iter().filter(|line| line["kind"] == "order" && line["is_new"] == true);
    new.filter(|line| line["client_order_id"] == client_order_id).count()
}

#[tokio::test]
async fn a_venue_that_was_killed_has_its_book_its_ids_and_its_clock_again() {
    let folder = Folder::new();
    let venue = Double::start(&folder, &["--time-scale", "60"]);
    let (status, resting) = venue.rest("resting").await;
    assert_eq!(status, 200, "{resting}");
    venue.fill(&resting["id"], "4").await;
    let (_, canceled) = venue.rest("canceled").await;
    let path = format!("/v2/orders/{}", canceled["id"].as_str().unwrap());
    assert_eq!(answer(venue.request("DELETE", &path)).await.0, 204);
    let look = async |venue: &Double| {
        let account = venue.get("/v2/account").await.1["cash"].clone();
        let fills = venue.get("/v2/account/activities/FILL").await.1;
        let orders = venue.get("/v2/orders?status=all").await.1;
        (account, fills, orders)
    };
    let before = look(&venue).await;
    let clock = |told: Answer| told.1["timestamp"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let (at, told) = (clock(venue.get("/v2/clock").await), venue.found("resting").await);
    venue.kill();

    let venue = Double::start(&folder, &[]);
    assert_eq!(look(&venue).await, before);
    assert_eq!(venue.found("resting").await, told);
    assert_eq!((told.1["filled_qty"].as_str(), told.1["status"].as_str()), (Some("4"), Some("partially_filled")));
    for taken in ["resting", "canceled"] {
        let (status, refused) = venue.rest(taken).await;
        assert_eq!((status, refused["code"].as_u64()), (422, Some(40_010_001)), "{refused}");
    }
    let last = journal(&folder).last().unwrap()["at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert!(clock(venue.get("/v2/clock").await) >= at.min(last), "the clock went back");
    let (_, position) = venue.get("/v2/positions/AAPL").await;
    assert_eq!((&position["qty"], &position["avg_entry_price"]), (&json!("4"), &json!("1.5")));
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_one_order_and_a_request_that_is_lost_none_or_a_late_one() {
    let folder = Folder::new();
    let venue = Double::start(&folder, &[]);
    let next = json!({"next": [{"fault": "cut_after"}, {"fault": "cut_before"},
        {"fault": "cut_before", "arrives_after_ms": 300}, {"fault": "error_after"}, {"fault": "error_before"}]});
    venue.faults(next).await;
    for name in ["after", "before", "late"] {
        let sent = venue.resting(name).send().await;
        assert!(sent.is_err(), "an answer came: {sent:?}");
    }
    assert_eq!(venue.found("late").await.0, 404);
    assert_eq!(venue.rest("error_after").await.0, 504);
    assert_eq!(venue.rest("error_before").await.0, 504);
    assert_eq!(venue.status("after").await, "new");
    assert_eq!(venue.found("before").await.0, 404);
    assert_eq!(venue.status("error_after").await, "new");
    assert_eq!(venue.found("error_before").await.0, 404);
    eventually("what was late has arrived", SOON, async || (venue.status("late").await == "new").then_some(())).await;
    assert_eq!(venue.rest("late").await.0, 422);
    for (name, orders) in [("after", 1), ("before", 0), ("late", 1), ("error_after", 1), ("error_before", 0)] {
        assert_eq!(accepted(&folder, name), orders, "{name}");
    }
    let requests = journal(&folder).into_iter().filter(|line| line["kind"] == "request");
    let told = requests.map(|line| format!("{} {} {}", line["client_order_id"], line["outcome"], line["fault"]));
    let told = told.map(|text| text.replace('"', "")).collect::<Vec<_>>();
    for line in [
        "after accepted cut_after",
        "before lost cut_before",
        "late accepted arrived_late",
        "error_before refused error_before",
    ] {
        assert!(told.iter().any(|found| found == line), "{line} is not in {told:?}");
    }
}

#[tokio::test]
async fn a_key_has_its_requests_in_each_window_and_every_answer_says_what_is_left() {
    let folder = Folder::new();
    let venue = Double::start(&folder, &["--rate-limit", "5", "--time-scale", "60"]);
    let header = |response: &reqwest::Response, name: &str| {
        let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name}"));
        value.to_str().unwrap().parse::<i64>().unwrap()
    };
    let mut taken = std::collections::BTreeMap::<i64, i64>::new();
    let mut refused = 0;
    while taken.len() < 3 || refused < 20 {
        let response = venue.request("GET", "/v2/clock").send().await.unwrap();
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(header(&response, "x-ratelimit-limit"), 5);
        let (reset, left) = (header(&response, "x-ratelimit-reset"), header(&response, "x-ratelimit-remaining"));
        if response.status() == 429 {
            refused += 1;
            assert_eq!((left, taken[&reset]), (0, 5));
        } else {
            *taken.entry(reset).or_default() += 1;
            assert_eq!(left, 5 - taken[&reset]);
        }
    }
    let other = venue.api.request("GET", "/v2/clock").header("APCA-API-KEY-ID", "PKOTHER");
    assert_eq!(answer(other.header("APCA-API-SECRET-KEY", "x")).await.0, 200);
    assert!(taken.keys().all(|reset| reset % 60 == 0), "a window ends with a minute: {taken:?}");
}

#[tokio::test]
async fn the_stream_repeats_and_spoils_events_as_it_is_told() {
    let folder = Folder::new();
    let venue = Double::start(&folder, &[]);
    let mut stream = venue.listen().await;
    let (_, order) = venue.rest("a").await;
    assert_eq!(event(&mut stream, "new").await["order"]["client_order_id"], "a");
    venue.faults(json!({"chance": {"event_duplicated_per_mille": 1000}})).await;
    venue.fill(&order["id"], "1").await;
    let first = event(&mut stream, "partial_fill").await;
    assert_eq!(event(&mut stream, "partial_fill").await, first, "the same ids");
    assert_eq!((&first["qty"], &first["position_qty"], &first["price"]), (&json!("1"), &json!("1"), &json!("1.5")));

    venue
        .faults(json!({"no_execution_id_per_mille": 1000, "stale_timestamp_per_mille": 1000, "offset_minutes": -240}))
        .await;
    venue.fill(&order["id"], "1").await;
    let spoilt = event(&mut stream, "partial_fill").await;
    assert!(spoilt.get("execution_id").is_none() && spoilt["event_id"] != first["event_id"]);
    assert!(spoilt["timestamp"].as_str().unwrap().ends_with("-04:00"));
    let time = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!((time(&spoilt["at"]) - time(&spoilt["timestamp"])).num_seconds(), 60);

    venue.faults(json!({"chance": {"event_lost_per_mille": 1000}})).await;
    venue.fill(&order["id"], "1").await;
    venue.faults(json!({})).await;
    venue.fill(&order["id"], "1").await;
    assert_eq!(event(&mut stream, "partial_fill").await["order"]["filled_qty"], "4");
    let listed = venue.get("/v2/account/activities/FILL?direction=asc").await.1;
    let cum = listed.as_array().unwrap().iter().map(|fill| fill["cum_qty"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(cum, ["1", "2", "3", "4"], "the list has what the stream lost");
}

#[tokio::test]
async fn a_stream_that_is_down_takes_nobody_and_tells_nothing_later_of_what_happened_meanwhile() {
    let folder = Folder::new();
    let venue = Double::start(&folder, &["--text-frames"]);
    let mut stream = venue.listen().await;
    let (_, order) = venue.rest("a").await;
    let message = next(&mut stream).await.unwrap();
    assert!(message.is_text());
    venue.faults(json!({"stream_down": true})).await;
    eventually("the stream is cut", SOON, async || next(&mut stream).await.is_none().then_some(())).await;
    assert!(venue.connect().await.is_err());
    venue.fill(&order["id"], "1").await;
    venue.faults(json!({})).await;
    let mut stream = venue.listen().await;
    venue.fill(&order["id"], "1").await;
    assert_eq!(event(&mut stream, "partial_fill").await["order"]["filled_qty"], "2");
}

#[tokio::test]
async fn a_window_of_refusals_a_revoked_key_and_unknown_words_come_and_go() {
    let folder = Folder::new();
    let venue = Double::start(&folder, &["--time-scale", "60"]);
    venue.rest("a").await;
    venue.faults(json!({"busy": true})).await;
    assert_eq!(venue.found("a").await.0, 429);
    assert!(venue.connect().await.is_err(), "handshakes are refused too");
    venue.faults(json!({})).await;
    venue.admin("PUT", "/faults?for_ms=30000", json!({"busy": true})).await;
    eventually("the window has ended", SOON, async || (venue.found("a").await.0 == 200).then_some(())).await;
    for (status, code) in [(401, json!(40_110_000)), (403, Value::Null)] {
        venue.faults(json!({"revoked": [KEY], "revoked_status": status})).await;
        let (answered, body) = venue.found("a").await;
        assert_eq!((answered, &body["code"]), (status, &code));
    }
    venue.faults(json!({"unknown_status_per_mille": 1000, "offset_minutes": -240})).await;
    let (_, order) = venue.found("a").await;
    assert_eq!(order["status"], "under_investigation");
    assert!(order["submitted_at"].as_str().unwrap().ends_with("-04:00"));
    venue.faults(json!({"chance": {"lookup_error_per_mille": 1000}})).await;
    assert_eq!(venue.found("a").await.0, 503);
    let (status, told) = answer(venue.api.request("PUT", "/admin/faults").json(&json!({"bussy": true}))).await;
    assert_eq!(status, 400, "{told}");
    let from_a_page = venue.api.request("GET", "/admin/faults").header("Origin", "http://elsewhere.example");
    assert_eq!(answer(from_a_page).await.0, 404);
}

#[tokio::test]
async fn a_market_that_is_closed_takes_orders_and_fills_them_when_it_opens() {
    let folder = Folder::new();
    let venue = Double::start(&folder, &["--calendar", "09:30-16:00"]);
    // From wherever the clock stands: an hour after the next close, and on if that is before the next open.
    let jump = async |to: &str, beyond: i64| {
        let (_, clock) = venue.get("/v2/clock").await;
        let time = |name: &str| clock[name].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        let ms = (time(to) - time("timestamp")).num_milliseconds() + beyond;
        venue.admin("PUT", "/clock", json!({"advance_ms": ms})).await;
    };
    jump("next_close", 1_000).await;
    assert_eq!(venue.get("/v2/clock").await.1["is_open"], false);
    let order = |name: &str, tif: &str| {
        let body = json!({"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": tif,
            "client_order_id": name});
        venue.request("POST", "/v2/orders").json(&body)
    };
    assert_eq!(answer(order("day", "day")).await.0, 200);
    let (status, refused) = answer(order("opg", "opg")).await;
    assert_eq!((status, &refused["code"]), (403, &json!(40_310_000)), "{refused}");
    let path = format!("/v2/orders/{}", venue.found("day").await.1["id"].as_str().unwrap());
    assert_eq!(venue.get(&path).await.1["filled_qty"], "0");
    jump("next_open", 1_000).await;
    assert_eq!(venue.get("/v2/clock").await.1["is_open"], true);
    eventually("the order is filled", SOON, async || (venue.status("day").await == "filled").then_some(())).await;
}

#[test]
fn a_venue_that_can_not_start_says_why() {
    let folder = Folder::new();
    let _first = Double::start(&folder, &[]);
    let mut second = Command::new(PROGRAM);
    second.args(["venue", "--bind", "127.0.0.1:0", "--folder"]).arg(folder.path());
    let refused = Outcome::of(&mut second);
    assert!(refused.code == 1 && refused.stderr.contains("journal"), "{refused:?}");
    let mut wrong = Command::new(PROGRAM);
    wrong.args(["venue", "--key", "no-secret"]);
    assert_eq!(Outcome::of(&mut wrong).code, 2);
}
