//! Probes, phases, ids of requests, wrong methods, panics.

use actix_web::http::StatusCode;
use serde_json::json;
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::gate::ShutReason;
use tranche_actors::health::{Part, PartStatus, Phase};

use super::fakes::{engaged, now};
use super::*;

#[actix_web::test]
async fn readiness_follows_the_phase_and_trading_the_gate() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    fixture.state.accounts.first().health.set(Part::Store, PartStatus::Up, "");
    let ready = get("/readyz").of(&app).await;
    assert_eq!(ready.status, StatusCode::OK);
    assert_eq!(ready.body["ready"], true);
    assert_eq!(ready.body["trading_allowed"], true);
    assert_eq!(ready.body["gate"], "open");
    assert_eq!(ready.body["reasons"], json!([]));
    assert_eq!(ready.body["parts"]["store"], json!({"status": "up", "detail": ""}));
    assert_eq!(ready.body["parts"]["broker"]["status"], "unknown");

    fixture.state.health.set_kill(Some(engaged()));
    fixture.gate.kill_switch.shut(ShutReason::KillSwitchEngaged);
    let stopped = get("/readyz").of(&app).await;
    assert_eq!(stopped.status, StatusCode::OK);
    assert_eq!((&stopped.body["trading_allowed"], &stopped.body["gate"]), (&json!(false), &json!("shut")));
    assert_eq!(stopped.body["reasons"][0]["code"], "kill_switch_engaged");
    let detail = stopped.body["reasons"][0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("the kill switch is engaged"), "{detail}");
    assert!(!stopped.text.contains("ops") && !stopped.text.contains("prices"));
    let told = get("/api/v1/kill-switch/status").of(&app).await;
    assert_eq!(
        (&told.body["engaged_by"], &told.body["engagement_reason"]),
        (&json!("ops"), &json!("prices look wrong"))
    );

    let tripped = BreakerState::default().trip("eve's hunch", None, now(), now().date_naive());
    fixture.state.health.set_breaker(tripped);
    fixture.gate.breaker.shut(ShutReason::CircuitBreakerTripped);
    let stopped = get("/readyz").of(&app).await;
    assert_eq!(stopped.body["reasons"][1]["code"], "circuit_breaker_tripped");
    assert!(!stopped.text.contains("hunch"));
    fixture.gate.breaker.clear(ShutReason::CircuitBreakerTripped);

    for (phase, code) in [(Phase::Starting, "starting"), (Phase::Draining, "draining")] {
        fixture.state.health.enter(phase);
        let answer = get("/readyz").of(&app).await;
        assert_eq!((answer.status, &answer.body["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
        assert_eq!(answer.body["reasons"][1]["code"], code);
        assert_eq!(get("/livez").of(&app).await.body, json!({"status": "up"}));
        assert_eq!(get("/healthz").of(&app).await.body, json!({"status": "up"}));
    }
}

#[actix_web::test]
async fn in_a_quiet_period_the_gate_is_open_for_what_reduces_and_for_nothing_else() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    fixture.gate.breaker.shut(ShutReason::CircuitBreakerQuiet);
    for path in ["/readyz", "/api/v1/status"] {
        let quiet = get(path).of(&app).await;
        assert_eq!(
            (quiet.status, &quiet.body["gate"], &quiet.body["trading_allowed"]),
            (StatusCode::OK, &json!("reduce_only"), &json!(false)),
            "{path}"
        );
    }
    assert_eq!(get("/readyz").of(&app).await.body["reasons"][0]["code"], "circuit_breaker_quiet");
    fixture.gate.breaker.shut(ShutReason::CircuitBreakerUnknown);
    assert_eq!(get("/readyz").of(&app).await.body["gate"], "shut", "the stricter of two");
}

const ENGAGE: &str = r#"{"operator":"ops","reason":"prices look wrong"}"#;

#[actix_web::test]
async fn before_recovery_only_the_kill_switch_and_the_service_answer() {
    let fixture = Fixture::ready();
    fixture.state.health.enter(Phase::Starting);
    let app = serve!(fixture);
    for asked in [
        post("/api/v1/orders", SINGLE),
        post("/api/v1/orders/slice", PARENT),
        post("/api/v1/orders/slice/preview", PARENT),
        get("/api/v1/orders"),
        get("/api/v1/orders/abc"),
        ask(Method::DELETE, "/api/v1/orders/abc/slices"),
        post("/api/v1/circuit-breaker/trip", ENGAGE),
    ] {
        let answer = asked.of(&app).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "starting"), "{}", answer.text);
    }
    assert!(fixture.notes.sent().is_empty());
    assert_eq!(post("/api/v1/kill-switch/engage", ENGAGE).of(&app).await.status, StatusCode::OK);
    let release = post("/api/v1/kill-switch/disengage", r#"{"operator":"ops"}"#).of(&app).await;
    assert_eq!(release.status, StatusCode::OK);
    for path in ["/api/v1/kill-switch/status", "/api/v1/kill-switch/history", "/api/v1/status", "/metrics"] {
        assert_eq!(get(path).of(&app).await.status, StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn a_gateway_that_drains_takes_no_work_and_closes_connections() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    assert!(!get("/livez").of(&app).await.closes);
    fixture.state.health.enter(Phase::Draining);
    for asked in [
        post("/api/v1/orders", SINGLE),
        post("/api/v1/orders/slice", PARENT),
        post("/api/v1/orders/abc/cancel", ""),
        ask(Method::DELETE, "/api/v1/orders/abc/slices"),
        post("/api/v1/kill-switch/disengage", r#"{"operator":"ops"}"#),
    ] {
        let answer = asked.of(&app).await;
        assert_eq!((answer.status.as_u16(), answer.code(), answer.closes), (503, "draining", true));
    }
    assert!(fixture.notes.sent().is_empty());
    let read = get("/api/v1/orders").of(&app).await;
    assert_eq!((read.status, read.closes), (StatusCode::OK, true));
    assert_eq!(post("/api/v1/orders/slice/preview", PARENT).of(&app).await.status, StatusCode::OK);
    assert_eq!(post("/api/v1/kill-switch/engage", ENGAGE).of(&app).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn the_status_says_what_runs() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let mut status = get("/api/v1/status").of(&app).await;
    let ready = get("/readyz").of(&app).await;
    assert_eq!(status.body.as_object_mut().unwrap().remove("parts").as_ref(), Some(&ready.body["parts"]));
    assert_eq!(
        status.body,
        json!({
            "version": env!("CARGO_PKG_VERSION"), "mode": "paper", "broker": "paper", "instance": "one",
            "phase": "ready", "uptime_seconds": 0, "gate": "open", "trading_allowed": true,
            "accounts": [{
                "account": "default", "owner": "one", "term": 3, "lease_left_seconds": null, "reasons": [],
                "quarantined": ["MSFT"],
            }],
            "instances": [],
            "queues": {"in_flight": 0, "unknown": 0},
        })
    );
}

#[actix_web::test]
async fn the_status_answers_without_the_store() {
    let fixture = Fixture::ready();
    fixture.notes.store_is_down();
    let app = serve!(fixture);
    let status = get("/api/v1/status").of(&app).await;
    assert_eq!(status.status, StatusCode::OK);
    assert_eq!(status.body["accounts"][0]["quarantined"], Value::Null);
    assert_eq!((&status.body["accounts"][0]["term"], &status.body["instances"]), (&json!(3), &Value::Null));
}

#[actix_web::test]
async fn every_answer_carries_the_clients_request_id_if_it_is_sane() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let longest = "r".repeat(128);
    for id in ["abc-1", longest.as_str()] {
        for path in ["/livez", "/nowhere", "/api/v1/orders/none"] {
            let answer = get(path).header("x-request-id", id).of(&app).await;
            assert_eq!(answer.header("x-request-id"), id);
        }
    }
    for id in ["", "a b", &"r".repeat(129)] {
        let answer = get("/livez").header("x-request-id", id).of(&app).await;
        assert_eq!(answer.header("x-request-id").len(), 36, "{id:?}");
    }
}

#[actix_web::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    for path in ["/", "/nowhere", "/api/v1", "/api/v1/orders/a/b", "/api/v1/orders/", "/docs/nothing.js"] {
        let answer = get(path).of(&app).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    for (method, path, allow) in [
        (Method::PUT, "/api/v1/orders/abc", "HEAD, GET, PATCH"),
        (Method::PUT, "/api/v1/orders", "HEAD, GET, POST"),
        (Method::GET, "/api/v1/kill-switch/engage", "POST"),
        (Method::POST, "/livez", "HEAD, GET"),
        (Method::OPTIONS, "/api/v1/orders/slice", "POST"),
    ] {
        let answer = ask(method, path).of(&app).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"), "{path}");
        assert_eq!(answer.header("allow"), allow);
    }
    assert_eq!(ask(Method::HEAD, "/livez").of(&app).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn metrics_count_requests_by_route() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    get("/api/v1/orders/some-order").of(&app).await;
    get("/no/such/path").of(&app).await;
    let metrics = get("/metrics").of(&app).await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let has = |name: &str, labels: &[&str]| {
        metrics.text.lines().any(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
    };
    let route = "route=\"/api/v1/orders/{id}\"";
    assert!(has("tranche_http_requests_total{", &[route, "status=\"404\"", "method=\"GET\""]), "{}", metrics.text);
    assert!(has("tranche_http_request_duration_seconds_bucket{", &[route, "le=\"0.001\""]), "{}", metrics.text);
    assert!(has("tranche_http_requests_total{", &["route=\"unmatched\"", "status=\"404\""]));
    assert!(has("tranche_build_info{", &[env!("CARGO_PKG_VERSION")]));
    assert!(!metrics.text.contains("some-order") && !metrics.text.contains("/no/such/path"));
}

#[actix_web::test]
async fn a_panic_is_an_answer_and_the_next_request_is_served() {
    let fixture = Fixture::ready();
    fixture.notes.panic();
    let app = serve!(fixture);
    for _ in 0..2 {
        let answer = get("/api/v1/status").header("x-request-id", "r-1").of(&app).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::INTERNAL_SERVER_ERROR, "internal"));
        assert_eq!((answer.header("x-request-id"), &answer.body["request_id"]), ("r-1", &json!("r-1")));
        assert!(!answer.text.contains("luck"));
    }
    assert_eq!(get("/livez").of(&app).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn an_actor_that_is_gone_leaves_the_outcome_open() {
    struct Gone;
    impl actix::Actor for Gone {
        type Context = actix::Context<Self>;
    }
    impl actix::Handler<tranche_actors::commands::SubmitOrder> for Gone {
        type Result = Result<tranche_actors::commands::SubmittedOrder, tranche_actors::commands::CommandError>;

        fn handle(&mut self, _: tranche_actors::commands::SubmitOrder, _: &mut Self::Context) -> Self::Result {
            panic!("gone")
        }
    }
    let mut fixture = Fixture::ready();
    fixture.change(|office| office.desk.submit_order = actix::Actor::start(Gone).recipient());
    let app = serve!(fixture);
    for _ in 0..2 {
        let answer = post("/api/v1/orders", SINGLE).of(&app).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "owner_unavailable"));
        assert_eq!(answer.body["outcome"], "unknown");
    }
}

#[actix_web::test]
async fn the_server_serves_a_bound_listener_until_it_is_stopped() {
    let fixture = Fixture::ready();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = crate::http::serve(listener, fixture.state.clone()).unwrap();
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    let exchange = async |request: Vec<u8>| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let probe = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = exchange(probe.into_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"trading_allowed\":true"), "{answer}");
    for length in [65_537, 1_000_000] {
        let head = format!(
            "POST /api/v1/orders HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange([head.into_bytes(), vec![b' '; length]].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{length}: {answer}");
        assert!(answer.contains("body_too_large"), "{length}: {answer}");
    }
    handle.stop(true).await;
    running.await.unwrap().unwrap();
}
