//! Bodies that nobody would write: none of them breaks the server, and none reaches an actor unless it is valid.

use actix_web::rt::System;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

const PATHS: &[&str] = &[
    "/api/v1/orders",
    "/api/v1/orders/slice",
    "/api/v1/orders/slice/preview",
    "/api/v1/orders/abc/resolve",
    "/api/v1/orders/abc/cancel",
    "/api/v1/orders/abc/resume",
    "/api/v1/kill-switch/engage",
    "/api/v1/kill-switch/disengage",
    "/api/v1/circuit-breaker/trip",
    "/api/v1/circuit-breaker/reset",
];

const NAMES: &[&str] = &[
    "symbol",
    "side",
    "qty",
    "order_type",
    "limit_price",
    "stop_price",
    "time_in_force",
    "duration_minutes",
    "duration_seconds",
    "interval_seconds",
    "randomize",
    "start_time",
    "trade_date",
    "max_slice_qty",
    "operator",
    "reason",
    "details",
    "mode",
    "settle_ms",
    "as",
    "filled_qty",
    "filled_avg_price",
    "client_order_id",
    "size_pct",
];

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[0-9]{1,30}",
        "-?[0-9]{1,5}\\.[0-9]{1,30}",
        "[0-9]{1,3}[eE][+-]?[0-9]{1,4}",
        "\"[0-9.eE+-]{0,12}\"",
        "\"[a-zA-Z ]{0,8}\"",
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"buy\"".to_owned()),
        Just("\"market\"".to_owned()),
        Just("\"limit\"".to_owned()),
        Just("\"2026-11-21\"".to_owned()),
        Just("\"2026-11-21T15:00:00Z\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((proptest::sample::select(NAMES), inner), 0..3).prop_map(object),
        ]
    })
}

fn object(fields: Vec<(&str, String)>) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let fields = || proptest::collection::vec((proptest::sample::select(NAMES), value()), 0..10);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        fields().prop_map(|fields| object(fields).into_bytes()),
        // A valid order with something added to it or put in its place.
        (proptest::sample::select(&[PARENT, SINGLE][..]), fields()).prop_map(|(base, fields)| {
            let added = object(fields);
            let inner = added.trim_start_matches('{').trim_end_matches('}').to_owned();
            let comma = if inner.is_empty() { "" } else { "," };
            base.replacen('{', &format!("{{{inner}{comma}"), 1).into_bytes()
        }),
    ]
}

#[test]
fn no_body_breaks_the_server_or_reaches_an_actor_unless_it_is_valid() {
    let system = System::new();
    let (app, notes) = system.block_on(async {
        let fixture = Fixture::ready();
        (serve!(fixture), fixture.notes.clone())
    });
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 2_000, ..Config::default() });
    let result = runner.run(&(proptest::sample::select(PATHS), body()), |(path, body)| {
        let before = notes.sent().len();
        let is_object = serde_json::from_slice::<serde_json::Map<String, Value>>(&body).is_ok() || body.is_empty();
        let answer = system.block_on(ask(Method::POST, path).bytes(body).of(&app));
        prop_assert!(answer.status.as_u16() < 500, "{}", answer.text);
        let was_sent = notes.sent().len() > before;
        // What is sent may still be refused by the actor: a plan that is impossible, an order that is not there.
        prop_assert!(is_object || !was_sent, "{}", answer.text);
        prop_assert!(!answer.status.is_success() || was_sent || path.ends_with("/preview"), "{}", answer.text);
        if matches!(answer.status.as_u16(), 400 | 413 | 415) {
            prop_assert!(!was_sent, "{}", answer.text);
        }
        Ok(())
    });
    result.unwrap();
}
