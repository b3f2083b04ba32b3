//! Many slices due at one instant, without a rate limit and with one.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::chance::number;
use crate::house::{House, SOON, eventually};
use crate::report::{assert_adds_up, assert_books_agree, dec, micros, text};

/// A time some seconds from now, as a request spells it, with its microseconds.
fn seconds_from_now(seconds: i64) -> (String, i64) {
    let at = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    let spelled = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let micros = micros(&json!(spelled));
    (spelled, micros)
}

/// The value below which a share (in percent) of the sorted values lies.
fn percentile(sorted: &[i64], percent: usize) -> i64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[tokio::test]
async fn slices_that_are_all_due_at_one_instant_are_claimed_and_sent_with_none_missed() {
    let due_at_once = usize::try_from(number("OUTSIDE_SLICES").unwrap_or(2_000)).unwrap();
    let parents = due_at_once;
    let house = House::new(&[
        ("broker.max_in_flight", "20000"),
        ("actors.mailbox", "65536"),
        ("broker.paper.event_buffer", "65536"),
        ("breaker.broker_errors.enabled", "false"),
    ]);
    let server = house.serve().await;
    let api = &server.api;
    // Far enough ahead that every parent is stored by then.
    let ahead = 5 + i64::try_from(parents / 150).unwrap();
    let (start, due) = seconds_from_now(ahead);
    let began = std::time::Instant::now();
    let submitted = stream::iter(0..parents).map(async |number| {
        let body = json!({
            "symbol": format!("S{}", number % 50), "side": "buy", "qty": "1", "order_type": "market", "start_time": start,
            "duration_seconds": 1, "interval_seconds": 1, "client_order_id": format!("p{number}"),
        });
        let (status, plan) = api.post("/api/v1/orders/slice", &body).await;
        assert_eq!(status, 201, "{plan}");
    });
    submitted.buffer_unordered(64).collect::<Vec<_>>().await;
    let took = began.elapsed();
    assert!(
        chrono::Utc::now().timestamp_micros() < due,
        "storing {parents} parents took {took:?}: nothing was due at one instant"
    );
    eventually("every order has ended", Duration::from_secs(120), async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (_, open) = api.get("/api/v1/orders?kind=parent&status=working&limit=1").await;
        let (_, pending) = api.get("/api/v1/orders?kind=parent&status=pending&limit=1").await;
        (open["items"] == json!([]) && pending["items"] == json!([])).then_some(())
    })
    .await;
    let orders = api.all("/api/v1/orders").await;
    assert_eq!(orders.len(), due_at_once);
    assert!(
        orders.iter().all(|order| order["status"] == "filled"),
        "{:?}",
        orders.iter().find(|order| order["status"] != "filled")
    );
    assert_eq!(house.book().ids().len(), due_at_once);
    assert_books_agree(&house, api).await;

    assert!(orders.iter().all(|order| order["attempt"] == 1), "each is claimed once");
    let claims = house
        .query("SELECT json_quote(claimed_at) FROM orders WHERE kind = 'child'")
        .await;
    let mut late = claims.iter().map(|at| micros(at) - due).collect::<Vec<_>>();
    late.sort_unstable();
    assert!(late[0] >= 0, "nothing is claimed before its time: {} µs", late[0]);
    println!(
        "{due_at_once} slices due at once: claimed late by p50 {} ms, p99 {} ms, at most {} ms ({parents} parents stored in {} ms)",
        percentile(&late, 50) / 1_000,
        percentile(&late, 99) / 1_000,
        percentile(&late, 100) / 1_000,
        took.as_millis()
    );
    let (_, metrics) = api.get("/metrics").await;
    let counted = format!("tranche_slice_lateness_seconds_count {due_at_once}");
    assert!(
        metrics.as_str().unwrap().contains(&counted),
        "every claim's lateness is measured"
    );
}

#[tokio::test]
async fn a_rate_limit_paces_what_is_due_at_once_in_the_order_of_its_due_times_and_begins_empty() {
    // The minute of a rate limit is a real one: at 600 a minute, what is due at once goes out at some eight a second.
    let slices = usize::try_from(number("OUTSIDE_PACED").unwrap_or(60)).unwrap();
    let house = House::new(&[("broker.rate_limit_per_minute", "600")]);
    let server = house.serve().await;
    let api = &server.api;
    let (start, due) = seconds_from_now(6);
    for number in 0..slices {
        // Due in the reverse of the order in which they were stored: that is what must not matter.
        let back = chrono::TimeDelta::milliseconds(i64::try_from(slices - number).unwrap());
        let at = start.parse::<chrono::DateTime<chrono::Utc>>().unwrap() + back;
        let body = json!({
            "symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "market", "client_order_id": format!("p{number}"),
            "start_time": at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true), "duration_seconds": 1, "interval_seconds": 1,
        });
        api.slice(body).await;
    }
    assert!(chrono::Utc::now().timestamp_micros() < due, "they are not due at once");
    let bound = Duration::from_secs(u64::try_from(slices).unwrap() / 7 + 20);
    eventually("every slice is at the broker", bound, async || {
        (house.book().orders.len() == slices).then_some(())
    })
    .await;
    let waiting = eventually("all have ended", SOON, async || {
        let orders = api.all("/api/v1/orders").await;
        orders.iter().all(|order| order["status"] == "filled").then_some(orders)
    })
    .await;
    let scheduled = |id: &str| {
        waiting
            .iter()
            .find(|order| order["client_order_id"] == id)
            .map(|order| micros(&order["scheduled_time"]))
            .unwrap()
    };
    let book = house.book();
    let sent = book
        .orders
        .iter()
        .map(|order| {
            (
                micros(&order["submitted_at"]),
                scheduled(&text(&order["client_order_id"])),
            )
        })
        .collect::<Vec<_>>();
    let times = sent.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    let dues = sent.iter().map(|(_, due)| *due).collect::<Vec<_>>();
    assert!(times.is_sorted(), "the book is in the order of arrival");
    assert!(dues.is_sorted(), "oldest due time first: {dues:?}");
    // The order lane: 540 a minute, a tenth of them as a burst that has been gathered since the start, the rest over 65 s.
    let allowed = |window: i64| 54 + window / 1_000_000 * 486 / 65 + 9;
    for (first, at) in times.iter().enumerate() {
        for (count, later) in times[first..].iter().enumerate() {
            let count = i64::try_from(count + 1).unwrap();
            assert!(
                count <= allowed(later - at),
                "{count} within {} ms",
                (later - at) / 1_000
            );
        }
    }
    let minute = |from: i64| {
        times
            .iter()
            .filter(|at| (from..from + 60_000_000).contains(*at))
            .count()
    };
    assert!(times.iter().all(|from| minute(*from) <= 600));
    let last = (times[slices - 1] - due) / 1_000;
    let rate = (slices as i64 - 1) * 1_000_000 / (times[slices - 1] - times[0]).max(1);
    println!("{slices} slices at 600 a minute: the last one {last} ms after its time, some {rate} a second");
    assert_adds_up(&api.order("p0").await, &api.slices("p0").await);
    let (_, metrics) = api.get("/metrics").await;
    let late = metrics
        .as_str()
        .unwrap()
        .lines()
        .find(|line| line.starts_with("tranche_slice_lateness_seconds_sum"));
    let late = late
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap()
        .parse::<rust_decimal::Decimal>()
        .unwrap();
    let waits = sent.iter().map(|(at, due)| at - due).sum::<i64>();
    assert!(
        dec(&Value::String(late.to_string())) * rust_decimal::Decimal::from(1_000_000)
            >= rust_decimal::Decimal::from(waits / 2),
        "the wait is visible: {late} s"
    );
}
