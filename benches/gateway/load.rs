//! Requests: as many as the server takes, at a rate, or one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tranche::clock::SystemClock;
use tranche_actors::ports::Clock;

use super::client::Connection;
use super::figures::{count, ms};
use super::server::Server;

/// Parents begin so far in the future that none is worked while we measure.
const FAR: chrono::TimeDelta = chrono::TimeDelta::days(30);

/// A parent of ten slices.
fn ten_slices() -> String {
    parent(SystemClock.now() + FAR, 600, 60)
}

/// A parent that buys a share a second of its duration.
pub(crate) fn parent(start: chrono::DateTime<chrono::Utc>, duration: u32, interval: u32) -> String {
    let start = start.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    format!(
        r#"{{"symbol":"AAPL","side":"buy","qty":"{duration}","order_type":"market","duration_seconds":{duration},"interval_seconds":{interval},"start_time":"{start}"}}"#
    )
}

/// Clients with a connection each.
pub(crate) struct Load {
    clients: Vec<Connection>,
    pub(crate) body: Arc<str>,
    /// Numbers the requests, so that no two are the same.
    next: Arc<AtomicU32>,
}

/// What came of a load.
#[derive(Default)]
pub(crate) struct Done {
    /// In milliseconds.
    pub(crate) latencies: Vec<f64>,
    took: Duration,
}

impl Done {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.latencies.len()) / self.took.as_secs_f64()
    }
}

impl Load {
    pub(crate) async fn new(server: &Server, clients: usize) -> Self {
        let mut open = Vec::with_capacity(clients);
        for _ in 0..clients {
            open.push(server.connect().await);
        }
        Self { clients: open, body: ten_slices().into(), next: Arc::default() }
    }
}

async fn submit(client: &mut Connection, body: &str, number: u32) {
    let answer = client.post("/api/v1/orders/slice", &format!("bench-{number}"), body).await;
    let answer = answer.unwrap();
    assert!(answer.status == 201, "{}", String::from_utf8_lossy(answer.body));
}

/// Each client sends its next request as soon as the last one is answered.
pub(crate) async fn saturated(load: &mut Load, time: Duration) -> Done {
    let started = Instant::now();
    each(load, started, move |_| (started.elapsed() < time).then_some(started)).await
}

/// So many requests in all, as fast as the clients can; fewer, if the time is over before.
pub(crate) async fn counted(load: &mut Load, requests: u32, time: Duration) -> Done {
    let started = Instant::now();
    let goes_on = move |n| n < requests && started.elapsed() < time;
    each(load, started, move |n| goes_on(n).then_some(started)).await
}

/// Requests leave at their times, and one that no client was free for counts from its time on.
pub(crate) async fn paced(load: &mut Load, rate: f64, time: Duration) -> Done {
    let started = Instant::now();
    each(load, started, move |n| {
        let due = Duration::from_secs_f64(f64::from(n) / rate);
        (due < time).then(|| started + due)
    })
    .await
}

/// Has all clients send, each request no sooner than its time, until there is no next time.
async fn each(
    load: &mut Load,
    started: Instant,
    next: impl Fn(u32) -> Option<Instant> + Clone + Send + 'static,
) -> Done {
    let first = load.next.load(Ordering::Relaxed);
    let mut sending = JoinSet::new();
    for mut client in std::mem::take(&mut load.clients) {
        let (body, numbers, next) = (load.body.clone(), load.next.clone(), next.clone());
        sending.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let Some(due) = next(number - first) else { break };
                let waits = due > Instant::now();
                tokio::time::sleep_until(due).await;
                // A request that came late for want of a client has waited; a timer's own lateness is not the server's.
                let is_overdue = !waits && due > started;
                let began = if is_overdue { due } else { Instant::now() };
                submit(&mut client, &body, number).await;
                latencies.push(ms(began.elapsed()));
            }
            (client, latencies)
        });
    }
    let mut done = Done::default();
    while let Some(sent) = sending.join_next().await {
        let (client, latencies) = sent.unwrap();
        done.latencies.extend(latencies);
        load.clients.push(client);
    }
    done.took = started.elapsed();
    done
}

/// Engages the kill switch and releases it again, one after the other; how long each engagement took to be answered.
pub(crate) async fn engagements(server: &Server, times: u32) -> Vec<f64> {
    let mut client = server.connect().await;
    let mut latencies = Vec::new();
    for n in 0..times {
        let body = r#"{"operator":"bench","reason":"measured","mode":"halt"}"#;
        let began = Instant::now();
        let answer = client.post("/api/v1/kill-switch/engage", &format!("engage-{n}"), body).await;
        let answer = answer.unwrap();
        latencies.push(ms(began.elapsed()));
        assert!(answer.status == 200, "{}", String::from_utf8_lossy(answer.body));
        let release = r#"{"operator":"bench"}"#;
        let answer = client.post("/api/v1/kill-switch/disengage", &format!("release-{n}"), release).await;
        let answer = answer.unwrap();
        assert!(answer.status == 200, "{}", String::from_utf8_lossy(answer.body));
    }
    latencies
}
