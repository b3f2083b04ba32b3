//! Slices that are all due at one instant, and when their claims were durable.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tranche::clock::SystemClock;
use tranche_actors::ports::Clock;

use super::figures::{count, ms};
use super::load::{Load, counted, parent};
use super::server::Server;

/// Nothing holds the burst back but the gateway itself; the venue answers as slowly as it does by default.
const SETTINGS: [&str; 4] = [
    "broker.paper.cash=1000000000000",
    "broker.max_in_flight=100000",
    "broker.rate_limit_per_minute=0",
    "actors.mailbox=100000",
];
/// Submissions of parents that are not due show how long those of the burst will take.
const TRIAL: u32 = 500;
/// Attempts, each with twice the time to submit.
const ATTEMPTS: u32 = 3;
/// Submissions end so long before the slices are due.
const MARGIN: Duration = Duration::from_secs(1);
/// How often we look for the end of the last slice.
const LOOKS: u32 = 120;

/// How a burst went.
pub(crate) struct Burst {
    /// From each slice's time until its claim was durable, in milliseconds.
    pub(crate) lateness: Vec<f64>,
    /// Slices that were claimed, held back and claimed again.
    pub(crate) claimed_again: u32,
}

/// Has a new server work parents of one slice, all due at one instant.
pub(crate) async fn run(slices: u32) -> Burst {
    let server = Server::start(&SETTINGS).await;
    let mut load = Load::new(&server, 64).await;
    let rate = counted(&mut load, TRIAL, MARGIN).await.rate();
    let mut time = Duration::from_secs_f64(f64::from(slices) / rate * 1.5) + MARGIN * 2;
    for _ in 0..ATTEMPTS {
        let due = SystemClock.now() + TimeDelta::from_std(time).unwrap();
        load.body = parent(due, 1, 1).into();
        let done = counted(&mut load, slices, time - MARGIN).await;
        let early = (due - SystemClock.now()).to_std().unwrap_or_default();
        tokio::time::sleep(early + Duration::from_secs(2)).await;
        if count(done.latencies.len()) >= f64::from(slices) {
            return worked(&server, due, slices).await;
        }
        time *= 2;
    }
    panic!("the slices can't be submitted before their time");
}

async fn worked(server: &Server, due: DateTime<Utc>, slices: u32) -> Burst {
    let due = due.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut ledger = open(&server.file("ledger.db")).await;
    // A slice ends after its claim, in another commit.
    let open_slices =
        "SELECT count(*) FROM orders WHERE kind = 'child' AND scheduled_time = ?1 AND terminal_at IS NULL";
    for _ in 0..LOOKS {
        let left = sqlx::query_scalar::<_, i64>(open_slices).bind(&due);
        if left.fetch_one(&mut ledger).await.unwrap() == 0 {
            return read(&mut ledger, &server.file("paper-book.db"), &due, slices).await;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("some slices don't end");
}

async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    options.busy_timeout(Duration::from_secs(5)).connect().await.unwrap()
}

/// A claim bears the time at which its commit began. It was durable before the next commit began, since they run one
/// after the other, and before the venue took the order: the earlier of the two is when, at the latest.
async fn read(ledger: &mut SqliteConnection, book: &Path, due: &str, slices: u32) -> Burst {
    let mut book = open(book).await;
    let taken = sqlx::query("SELECT client_order_id, submitted_at FROM orders");
    let taken = taken.fetch_all(&mut book).await.unwrap();
    let taken = taken.iter().map(|row| (row.get::<String, _>(0), time(&row.get::<String, _>(1))));
    let taken = taken.collect::<BTreeMap<_, _>>();
    let commits = sqlx::query_scalar::<_, String>("SELECT DISTINCT at FROM order_events ORDER BY at");
    let commits = commits.fetch_all(&mut *ledger).await.unwrap();
    let commits = commits.iter().map(|at| time(at)).collect::<Vec<_>>();
    let claims = "SELECT client_order_id, claimed_at, attempt FROM orders WHERE kind = 'child' AND scheduled_time = ?1";
    let claims = sqlx::query(claims).bind(due).fetch_all(ledger).await.unwrap();
    assert!(u32::try_from(claims.len()) == Ok(slices), "every slice is there");

    let mut burst = Burst { lateness: Vec::new(), claimed_again: 0 };
    for claim in claims {
        let (id, began) = (claim.get::<String, _>(0), claim.get::<Option<String>, _>(1));
        let began = time(&began.expect("every slice is claimed"));
        let next = commits.get(commits.partition_point(|at| *at <= began)).copied();
        let durable = [next, taken.get(&id).copied()].into_iter().flatten().min();
        let late = durable.expect("a claimed slice is sent") - time(due);
        burst.lateness.push(ms(late.to_std().expect("no slice is early")));
        if claim.get::<i64, _>(2) > 1 {
            burst.claimed_again += 1;
        }
    }
    burst
}

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}
