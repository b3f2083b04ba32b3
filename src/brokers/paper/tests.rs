use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use rust_decimal::Decimal;
use tokio::time::timeout;
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce, Trail};
use tranche_actors::domain::venue::VenueStatus;

use super::*;

/// A folder of a test's own, gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tranche-paper-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn book(&self) -> PathBuf {
        self.0.join("deeper/paper-book.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A clock that moves when it is told to.
struct HandClock(Mutex<DateTime<Utc>>);

impl HandClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new("2026-03-02T12:00:00Z".parse().unwrap())))
    }

    fn pass(&self, time: TimeDelta) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn boottime(&self) -> Duration {
        Duration::ZERO
    }
}

/// Settings without waiting, with keys of a test's own.
fn settings(json: &str) -> PaperSettings {
    let settings: PaperSettings = serde_json::from_str(json).unwrap();
    PaperSettings { latency_ms: 0, quote_interval_ms: 5, ..settings }
}

async fn open(folder: &Folder, settings: &PaperSettings, clock: &Arc<HandClock>) -> PaperVenue {
    PaperVenue::open(settings, &folder.book(), clock.clone()).await.unwrap()
}

fn id(text: &str) -> OrderId {
    OrderId::parse(text).unwrap()
}

fn order(client_order_id: &str, terms: Terms) -> NewOrder {
    NewOrder {
        client_order_id: id(client_order_id),
        instruction: Instruction {
            symbol: Symbol::parse("GBPUSD").unwrap(),
            side: Side::Buy,
            terms,
            time_in_force: TimeInForce::Day,
            extended_hours: false,
        },
        qty: Qty::new(Decimal::from(10)).unwrap(),
    }
}

fn limit(text: &str) -> Terms {
    let limit_price = Price::new(text.parse().unwrap()).unwrap();
    Terms::Limit { limit_price }
}

/// Never touched by the walk, which stays near 100.
fn resting() -> Terms {
    limit("1")
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn never<T>(future: impl Future<Output = T>) {
    assert!(timeout(Duration::from_millis(30), future).await.is_err(), "was answered");
}

async fn next_status(events: &mut BoxStream<'static, VenueEvent>) -> (String, VenueStatus) {
    match soon(events.next()).await {
        Some(VenueEvent::Order { order, .. }) => (order.client_order_id.to_string(), order.status),
        other => panic!("{other:?}"),
    }
}

async fn status(venue: &PaperVenue, client_order_id: &str) -> Option<VenueStatus> {
    let found = soon(venue.find(&id(client_order_id))).await.unwrap();
    found.map(|order| order.status)
}

#[tokio::test]
async fn an_order_is_taken_filled_told_and_booked() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings("{}"), &clock).await;
    let mut events = venue.events().await.unwrap();
    let taken = soon(venue.submit(&order("a", Terms::Market))).await.unwrap();
    assert_eq!(taken.status, VenueStatus::Accepted);
    assert!(taken.broker_order_id.as_str().starts_with("paper-000001-"));
    assert_eq!(next_status(&mut events).await, ("a".to_owned(), VenueStatus::Accepted));
    assert_eq!(next_status(&mut events).await, ("a".to_owned(), VenueStatus::Filled));

    let quote = venue.quote(&taken.instruction.symbol).await.unwrap();
    let trades = venue.executions_since(clock.now()).await.unwrap();
    assert_eq!(trades.len(), 1);
    assert_eq!(trades[0].price, quote.ask);
    assert_eq!(venue.positions().await.unwrap().positions[0].qty, Decimal::from(10));
    assert_eq!(venue.open_orders().await.unwrap(), []);

    // While the venue runs, and after it closed, the book says the same.
    let running = book_file::read(&folder.book()).await.unwrap();
    assert_eq!(running.cash, Decimal::from(10_000_000) - quote.ask.get() * Decimal::from(10));
    assert_eq!(running.executions[0].client_order_id, id("a"));
    assert_eq!(running.orders[0].status, VenueStatus::Filled);
    venue.close().await;
    assert_eq!(book_file::read(&folder.book()).await.unwrap(), running);
    let json = serde_json::to_string(&running).unwrap();
    assert_eq!(serde_json::from_str::<rows::PaperBook>(&json).unwrap(), running);
}

#[tokio::test]
async fn a_book_that_is_not_there_is_missing() {
    let folder = Folder::new();
    let read = book_file::read(&folder.book()).await;
    assert!(matches!(read, Err(BookFileError::Missing)));
    assert!(!folder.book().exists());
}

#[tokio::test]
async fn a_cancel_ends_an_order_once() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings("{}"), &clock).await;
    let taken = venue.submit(&order("a", resting())).await.unwrap();
    assert_eq!(venue.open_orders().await.unwrap(), std::slice::from_ref(&taken));
    soon(venue.cancel(&taken.broker_order_id)).await.unwrap();
    assert_eq!(status(&venue, "a").await, Some(VenueStatus::Canceled));
    assert_eq!(venue.cancel(&taken.broker_order_id).await, Err(CancelError::NotCancelable));
    assert_eq!(venue.submit(&order("a", resting())).await, Err(SubmitError::DuplicateId));
}

#[test]
fn what_was_taken_survives_a_kill_and_its_id_stays_taken() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let slow = PaperSettings { latency_ms: 60_000, ..settings("{}") };
    let before = run();
    before.block_on(async {
        let venue = open(&folder, &slow, &clock).await;
        let orders = ["a", "b"].map(|name| order(name, if name == "a" { resting() } else { Terms::Market }));
        // The answers are a minute away, but the orders are in the book before they set out.
        never(join_all(orders.iter().map(|order| venue.submit(order)))).await;
        std::mem::forget(venue);
    });
    // As a kill does: every task is gone at whichever await it stood.
    drop(before);
    run().block_on(async {
        assert_eq!(book_file::read(&folder.book()).await.unwrap().orders.len(), 2);
        let venue = open(&folder, &settings("{}"), &clock).await;
        assert_eq!(status(&venue, "a").await, Some(VenueStatus::Accepted));
        assert_eq!(status(&venue, "b").await, Some(VenueStatus::Filled));
        for name in ["a", "b"] {
            assert_eq!(venue.submit(&order(name, resting())).await, Err(SubmitError::DuplicateId));
        }
        let next = venue.submit(&order("c", resting())).await.unwrap();
        assert!(next.broker_order_id.as_str().starts_with("paper-000003-"));
        assert_eq!(venue.positions().await.unwrap().positions[0].qty, Decimal::from(10));
        venue.close().await;
    });
}

#[tokio::test]
async fn the_files_that_a_killed_server_leaves_behind_can_be_read() {
    let (folder, left, clock) = (Folder::new(), Folder::new(), HandClock::new());
    let venue = open(&folder, &settings("{}"), &clock).await;
    venue.submit(&order("a", resting())).await.unwrap();
    // What is on disk at this moment: a log that nobody has folded into the book.
    std::fs::create_dir_all(left.book().parent().unwrap()).unwrap();
    for end in ["", "-wal"] {
        let name = |folder: &Folder| format!("{}{end}", folder.book().display());
        std::fs::copy(name(&folder), name(&left)).unwrap();
    }
    let orders = book_file::read(&left.book()).await.unwrap().orders;
    assert_eq!(orders[0].client_order_id, id("a"));
    let venue = open(&left, &settings("{}"), &clock).await;
    assert_eq!(status(&venue, "a").await, Some(VenueStatus::Accepted));
}

#[tokio::test]
async fn a_day_order_that_outlived_its_session_while_down_expires_at_the_start() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings("{}"), &clock).await;
    venue.submit(&order("a", limit("200"))).await.unwrap();
    venue.submit(&order("b", resting())).await.unwrap();
    venue.close().await;
    clock.pass(TimeDelta::days(1));
    let venue = open(&folder, &settings("{}"), &clock).await;
    let mut events = venue.events().await.unwrap();
    if status(&venue, "b").await != Some(VenueStatus::Expired) {
        assert_eq!(next_status(&mut events).await, ("b".to_owned(), VenueStatus::Expired));
    }
    assert_eq!(status(&venue, "a").await, Some(VenueStatus::Filled));
}

#[tokio::test]
async fn a_thousand_orders_at_once_are_all_taken_once() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings("{}"), &clock).await;
    let orders = (0..1000).map(|n| order(&format!("o{n}"), if n % 2 == 0 { Terms::Market } else { resting() }));
    let orders = orders.collect::<Vec<_>>();
    // Each twice, as a client that lost its mind would.
    let answers = soon(join_all(orders.iter().chain(&orders).map(|order| venue.submit(order)))).await;
    let taken = answers.iter().flatten().map(|order| &order.broker_order_id);
    assert_eq!(taken.collect::<BTreeSet<_>>().len(), 1000);
    assert_eq!(answers.iter().filter(|answer| **answer == Err(SubmitError::DuplicateId)).count(), 1000);

    let mut pages = Vec::<VenueOrder>::new();
    loop {
        let after = pages.last().map(|order| order.broker_order_id.clone());
        let page = venue.orders_since(clock.now(), after.as_ref()).await.unwrap();
        if page.is_empty() {
            break;
        }
        pages.extend(page);
    }
    assert_eq!(pages.len(), 1000);
    let later = clock.now() + TimeDelta::seconds(1);
    assert_eq!(venue.orders_since(later, None).await.unwrap(), []);
    venue.close().await;
    assert_eq!(book_file::read(&folder.book()).await.unwrap().orders.len(), 1000);
}

#[tokio::test]
async fn a_recorded_series_is_replayed_and_keeps_its_origin() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let path = folder.path().join("quotes-GBPUSD-2012-02.csv");
    let rows = "2012-02-01T00:00:00Z,1.5759,1.5761\n2012-02-01T00:01:00Z,1.5700,1.5690\n\
                2012-02-01T00:02:00Z,1.5740,1.5742\n2012-02-01T00:03:00Z,1.5765,1.5767\n";
    std::fs::write(&path, format!("timestamp,bid,ask\n{rows}")).unwrap();
    let json = serde_json::json!({"quotes": path, "speed": 60}).to_string();
    let (symbol, settings) = (Symbol::parse("GBPUSD").unwrap(), settings(&json));
    let ask = async |venue: &PaperVenue| venue.quote(&symbol).await.unwrap().ask.get().to_string();

    let venue = open(&folder, &settings, &clock).await;
    let mut events = venue.events().await.unwrap();
    assert_eq!(ask(&venue).await, "1.5761");
    venue.submit(&order("a", limit("1.5745"))).await.unwrap();
    assert_eq!(next_status(&mut events).await.1, VenueStatus::Accepted);
    clock.pass(TimeDelta::seconds(2));
    assert_eq!(next_status(&mut events).await.1, VenueStatus::Filled);
    assert_eq!(venue.executions_since(clock.now()).await.unwrap()[0].price.get().to_string(), "1.5742");
    venue.close().await;

    clock.pass(TimeDelta::seconds(1));
    let venue = open(&folder, &settings, &clock).await;
    assert_eq!(ask(&venue).await, "1.5767");
    venue.close().await;

    let other_speed = PaperSettings { speed: Decimal::ONE, ..settings };
    let venue = open(&folder, &other_speed, &clock).await;
    assert_eq!(ask(&venue).await, "1.5761");
}

#[tokio::test]
async fn a_slow_reader_is_told_of_a_gap_and_can_subscribe_again() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings(r#"{"event_buffer":4}"#), &clock).await;
    let mut slow = venue.events().await.unwrap();
    for n in 0..9 {
        venue.submit(&order(&format!("o{n}"), resting())).await.unwrap();
    }
    assert_eq!(soon(slow.next()).await, Some(VenueEvent::Gap));
    assert_eq!(next_status(&mut slow).await.0, "o5");
    let mut again = venue.events().await.unwrap();
    venue.submit(&order("last", resting())).await.unwrap();
    assert_eq!(next_status(&mut again).await.0, "last");
    venue.close().await;
    assert_eq!(soon(again.next()).await, None);
}

#[tokio::test]
async fn faults_before_acceptance_leave_no_order() {
    let busy = r#"{"faults":{"busy_per_mille":1000,"busy_retry_after_ms":1500}}"#;
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings(busy), &clock).await;
    let retry_after = Some(Duration::from_millis(1500));
    assert_eq!(venue.submit(&order("a", resting())).await, Err(SubmitError::NotNow { retry_after }));
    venue.close().await;

    let venue = open(&folder, &settings(r#"{"faults":{"error_before_per_mille":1000}}"#), &clock).await;
    let answer = venue.submit(&order("a", resting())).await;
    assert!(matches!(answer, Err(SubmitError::Unknown { .. })), "{answer:?}");
    assert_eq!(status(&venue, "a").await, None);
    venue.close().await;

    let venue = open(&folder, &settings(r#"{"faults":{"timeout_before_per_mille":1000}}"#), &clock).await;
    never(venue.submit(&order("a", resting()))).await;
    assert_eq!(status(&venue, "a").await, None);
    venue.close().await;

    let venue = open(&folder, &settings(r#"{"faults":{"reject_symbols":"GBPUSD"}}"#), &clock).await;
    let answer = venue.submit(&order("a", resting())).await;
    assert!(matches!(answer, Err(SubmitError::Rejected(_))), "{answer:?}");
    assert_eq!(status(&venue, "a").await, None);
}

#[tokio::test]
async fn faults_after_acceptance_leave_an_order_to_be_found() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings(r#"{"faults":{"error_after_per_mille":1000}}"#), &clock).await;
    let answer = venue.submit(&order("a", resting())).await;
    assert!(matches!(answer, Err(SubmitError::Unknown { .. })), "{answer:?}");
    assert_eq!(status(&venue, "a").await, Some(VenueStatus::Accepted));
    venue.close().await;

    let venue = open(&folder, &settings(r#"{"faults":{"timeout_after_per_mille":1000}}"#), &clock).await;
    never(venue.submit(&order("b", resting()))).await;
    let found = soon(venue.find(&id("b"))).await.unwrap().unwrap();
    never(venue.cancel(&found.broker_order_id)).await;
    assert_eq!(status(&venue, "b").await, Some(VenueStatus::Canceled));
    venue.close().await;

    let venue = open(&folder, &settings(r#"{"faults":{"delay_per_mille":1000,"delay_ms":60000}}"#), &clock).await;
    never(venue.submit(&order("c", resting()))).await;
    assert_eq!(status(&venue, "c").await, Some(VenueStatus::Accepted));
    venue.close().await;

    let venue = open(&folder, &settings(r#"{"faults":{"lookup_error_per_mille":1000}}"#), &clock).await;
    assert!(matches!(venue.find(&id("c")).await, Err(VenueError::Unavailable { .. })));
}

#[tokio::test]
async fn events_are_lost_duplicated_and_reordered_as_configured() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings(r#"{"faults":{"event_lost_per_mille":1000}}"#), &clock).await;
    let mut events = venue.events().await.unwrap();
    venue.submit(&order("a", resting())).await.unwrap();
    never(events.next()).await;
    venue.close().await;

    let venue = open(&folder, &settings(r#"{"faults":{"event_duplicated_per_mille":1000}}"#), &clock).await;
    let mut events = venue.events().await.unwrap();
    venue.submit(&order("b", resting())).await.unwrap();
    assert_eq!(soon(events.next()).await, soon(events.next()).await);
    venue.close().await;

    let reordering = settings(r#"{"seed":3,"faults":{"event_reordered_per_mille":500}}"#);
    let venue = open(&folder, &reordering, &clock).await;
    let mut events = venue.events().await.unwrap();
    let orders = (0..40).map(|n| order(&format!("r{n:02}"), resting())).collect::<Vec<_>>();
    soon(join_all(orders.iter().map(|order| venue.submit(order)))).await;
    let mut told = Vec::new();
    for _ in &orders {
        told.push(next_status(&mut events).await.0);
    }
    let mut sorted = told.clone();
    sorted.sort();
    assert_ne!(told, sorted);
    sorted.dedup();
    assert_eq!(sorted.len(), 40);
}

#[tokio::test]
async fn a_pending_cancel_is_confirmed_in_its_time() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings(r#"{"faults":{"cancel_pending_ms":500}}"#), &clock).await;
    let mut events = venue.events().await.unwrap();
    let taken = venue.submit(&order("a", resting())).await.unwrap();
    venue.cancel(&taken.broker_order_id).await.unwrap();
    assert_eq!(next_status(&mut events).await.1, VenueStatus::Accepted);
    assert_eq!(next_status(&mut events).await.1, VenueStatus::PendingCancel);
    clock.pass(TimeDelta::milliseconds(500));
    assert_eq!(next_status(&mut events).await.1, VenueStatus::Canceled);
}

#[tokio::test]
async fn a_replacement_takes_its_place_in_its_time_and_the_book_keeps_the_chain() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let pending = settings(r#"{"faults":{"replace_pending_ms":500}}"#);
    let venue = open(&folder, &pending, &clock).await;
    let mut events = venue.events().await.unwrap();
    let old = venue.submit(&order("old", resting())).await.unwrap();
    let new = venue.replace(&old.broker_order_id, &order("new", limit("2"))).await.unwrap();
    assert_eq!(new.replaces.as_ref(), Some(&old.broker_order_id));
    for told in ["accepted old", "pending_replace old", "accepted new"] {
        let (id, status) = next_status(&mut events).await;
        assert_eq!(format!("{status} {id}"), told);
    }
    venue.close().await;

    // The change is still on its way after a restart.
    clock.pass(TimeDelta::milliseconds(500));
    let venue = open(&folder, &pending, &clock).await;
    let trailing = Terms::TrailingStop { trail: Trail::Price { trail_price: Price::new(Decimal::ONE).unwrap() } };
    let trail = venue.submit(&order("trail", trailing)).await.unwrap();
    let replaced = soon(venue.find(&id("old"))).await.unwrap().unwrap();
    assert_eq!((replaced.status, replaced.replaced_by), (VenueStatus::Replaced, Some(new.broker_order_id.clone())));
    assert_eq!(venue.open_orders().await.unwrap(), [new, trail]);
    venue.close().await;
    let rows = book_file::read(&folder.book()).await.unwrap().orders;
    assert!(rows[2].trail_mark.is_some() && rows[2].trail_price == Some(Price::new(Decimal::ONE).unwrap()));
}

#[tokio::test]
async fn a_replacement_has_the_faults_of_a_request() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings("{}"), &clock).await;
    let old = venue.submit(&order("old", resting())).await.unwrap().broker_order_id;
    venue.close().await;
    let venue = open(&folder, &settings(r#"{"faults":{"timeout_after_per_mille":1000}}"#), &clock).await;
    never(venue.replace(&old, &order("new", limit("2")))).await;
    assert_eq!(status(&venue, "old").await, Some(VenueStatus::Replaced));
    assert_eq!(status(&venue, "new").await, Some(VenueStatus::Accepted));
}

#[tokio::test]
async fn a_book_that_cannot_be_written_loses_no_promise() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let venue = open(&folder, &settings("{}"), &clock).await;
    let mut events = venue.events().await.unwrap();
    // A second writer makes the first one's view of the book stale: it must notice, and start again from the file.
    let other = open(&folder, &settings("{}"), &clock).await;
    other.submit(&order("theirs", resting())).await.unwrap();
    other.close().await;
    let answer = soon(venue.submit(&order("ours", resting()))).await;
    assert!(matches!(answer, Err(SubmitError::Unknown { .. })), "{answer:?}");
    assert_eq!(soon(events.next()).await, Some(VenueEvent::Gap));
    assert_eq!(status(&venue, "ours").await, None);
    assert_eq!(status(&venue, "theirs").await, Some(VenueStatus::Accepted));
    assert_eq!(
        soon(venue.submit(&order("ours", resting()))).await.unwrap().broker_order_id.as_str(),
        "paper-000002-ours"
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_all_named() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let bad = settings(r#"{"speed":0,"cash":-1}"#);
    let err = PaperVenue::open(&bad, &folder.book(), clock).await.map(|_| ()).unwrap_err();
    let text = err.to_string();
    assert!(text.contains("speed must") && text.contains("cash must"), "{text}");
}
