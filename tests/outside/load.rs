//! Many slices due at one instant, without a rate limit and with one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::chance::number;
use crate::house::{House, SOON, eventually};
use crate::report::{assert_books_agree, micros, text};

/// A time some seconds from now, as a request spells it, with its microseconds.
fn seconds_from_now(seconds: i64) -> (String, i64) {
    let at = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    let spelled = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let micros = micros(&json!(spelled));
    (spelled, micros)
}

fn now_micros() -> i64 {
    chrono::Utc::now().timestamp_micros()
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
    assert!(now_micros() < due, "storing {parents} parents took {took:?}: nothing was due at one instant");
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
    let claims = house.query("SELECT json_quote(claimed_at) FROM orders WHERE kind = 'child'").await;
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
    assert!(metrics.as_str().unwrap().contains(&counted), "every claim's lateness is measured");
}

#[tokio::test]
async fn a_rate_limit_paces_what_is_due_at_once_in_the_order_of_its_due_times_and_begins_empty() {
    // The minute of a rate limit is a real one: the order lane's share of 600 a minute is some eight a second.
    let slices = usize::try_from(number("OUTSIDE_PACED").unwrap_or(60)).unwrap();
    let house = House::new(&[("broker.rate_limit_per_minute", "600")]);
    let server = house.serve().await;
    let (start, due) = seconds_from_now(5 + i64::try_from(slices / 50).unwrap());
    let spelled = |late_by: usize| {
        let late_by = chrono::TimeDelta::milliseconds(i64::try_from(late_by).unwrap());
        let at = start.parse::<chrono::DateTime<chrono::Utc>>().unwrap() + late_by;
        at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    };
    let submitted = stream::iter(0..slices).map(async |number| {
        // Due in the reverse of the order in which they were stored: that is what must not matter.
        let body = json!({
            "symbol": "AAPL", "side": "buy", "qty": "1", "order_type": "market", "client_order_id": format!("p{number}"),
            "start_time": spelled(slices - number), "duration_seconds": 1, "interval_seconds": 1,
        });
        server.api.slice(body).await;
    });
    submitted.buffer_unordered(16).collect::<Vec<_>>().await;
    assert!(now_micros() < due, "they are not due at once");
    // A process before may have spent the budget of this minute, so the next one begins with nothing.
    server.kill();
    eventually("all are due", SOON, async || (now_micros() > due + 500_000).then_some(())).await;
    let started = now_micros();
    let server = house.serve().await;
    let api = &server.api;
    let bound = Duration::from_secs(u64::try_from(slices).unwrap() / 6 + 20);
    eventually("every slice is at the broker", bound, async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (house.book().orders.len() == slices).then_some(())
    })
    .await;
    let orders = eventually("all have ended", SOON, async || {
        let orders = api.all("/api/v1/orders").await;
        let filled = orders.iter().all(|order| order["status"] == "filled");
        filled.then_some(orders)
    })
    .await;
    let dues = orders.iter().map(|order| (text(&order["client_order_id"]), micros(&order["scheduled_time"])));
    let dues = dues.collect::<BTreeMap<_, _>>();
    let book = house.book();
    assert_eq!(book.ids().len(), slices, "none is lost");
    let sent = book.orders.iter().map(|order| (micros(&order["submitted_at"]), dues[&text(&order["client_order_id"])]));
    let sent = sent.collect::<Vec<_>>();

    // The first may be on their way before the last parent is recovered.
    let settled = sent.iter().filter(|(at, _)| *at > started + 2_000_000).map(|(_, due)| *due).collect::<Vec<_>>();
    assert!(settled.len() > slices / 2 && settled.is_sorted(), "oldest due time first: {settled:?}");
    for (count, (at, _)) in sent.iter().enumerate() {
        // 540 less a burst of 54, over 65 s; one more for what has just begun.
        let refilled = (at - started) * 486 / 65_000_000 + 1;
        let count = i64::try_from(count + 1).unwrap();
        assert!(count <= refilled, "{count} sent {} ms after the start", (at - started) / 1_000);
    }
    let within_a_minute = |from: i64| sent.iter().filter(|(at, _)| (from..from + 60_000_000).contains(at)).count();
    assert!(sent.iter().all(|(at, _)| within_a_minute(*at) <= 600));

    let late = sent.iter().map(|(at, due)| at - due).collect::<Vec<_>>();
    let (_, metrics) = api.get("/metrics").await;
    let measured =
        metrics.as_str().unwrap().lines().find_map(|line| line.strip_prefix("tranche_slice_lateness_seconds_sum "));
    let measured = measured.unwrap().parse::<f64>().unwrap();
    let expected = late.iter().sum::<i64>() / 1_000_000;
    assert!(measured > expected as f64 * 0.9 - 1.0, "the wait is visible: {measured} s of {expected} s");
    println!(
        "{slices} slices at 600 a minute: the last one {} ms after its time, all within {} ms",
        late[slices - 1] / 1_000,
        (sent[slices - 1].0 - sent[0].0) / 1_000
    );
}
