//! Who gets in, and as whom.

use actix_web::http::StatusCode;
use tranche_actors::domain::names::Role;

use super::*;
use crate::http::auth::{Access, AdminKey};

fn keyed() -> Fixture {
    let mut fixture = Fixture::ready();
    fixture.state.access = Access::Keyed(Some(AdminKey::new("s3cret")));
    fixture
}

#[actix_web::test]
async fn with_a_key_only_probes_and_documentation_are_open() {
    let fixture = keyed();
    let app = serve!(fixture);
    for path in ["/livez", "/healthz", "/readyz", "/openapi.json", "/docs/"] {
        assert_eq!(get(path).of(&app).await.status, StatusCode::OK, "{path}");
    }
    let wrong = ["", "Bearer", "Bearer ", "Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cret2"];
    for endpoint in routes::endpoints() {
        let is_open = endpoint.path.starts_with("/docs")
            || ["/livez", "/healthz", "/readyz", "/openapi.json"].contains(&endpoint.path);
        for routes::Row { method, .. } in endpoint.rows.iter().filter(|_| !is_open) {
            for token in wrong {
                let asked = ask(method.clone(), endpoint.path).header("authorization", token);
                let answer = asked.bytes(vec![b'x'; 70_000]).of(&app).await;
                assert_eq!(
                    (answer.status, answer.code()),
                    (StatusCode::UNAUTHORIZED, "unauthorised"),
                    "{}",
                    endpoint.path
                );
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
        }
    }
    assert_eq!(get("/nowhere").of(&app).await.status, StatusCode::UNAUTHORIZED);
    assert!(fixture.notes.sent().is_empty());
}

#[actix_web::test]
async fn the_key_makes_the_caller_admin_wherever_it_comes_from() {
    let fixture = keyed();
    let app = serve!(fixture);
    let asked = post("/api/v1/orders", SINGLE)
        .header("authorization", "bearer s3cret")
        .header("host", "gateway.example")
        .header("origin", "https://console.example");
    assert_eq!(asked.of(&app).await.status, StatusCode::CREATED);
    let sent = fixture.notes.sent().pop().unwrap();
    assert!(sent.contains("by: \"admin\""), "{sent}");
    assert_eq!(get("/metrics").header("authorization", "Bearer s3cret").of(&app).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn a_connection_stays_only_with_who_has_shown_the_key() {
    let fixture = keyed();
    let app = serve!(fixture);
    for path in ["/livez", "/readyz", "/openapi.json", "/nowhere", "/api/v1/status"] {
        for token in ["", "Bearer wrong"] {
            assert!(get(path).header("authorization", token).of(&app).await.closes, "{path}");
        }
        let known = get(path).header("authorization", "Bearer s3cret").of(&app).await;
        assert!(!known.closes, "{path}");
    }
    let open = Fixture::ready();
    let app = serve!(open);
    assert!(!get("/livez").of(&app).await.closes);
}

#[actix_web::test]
async fn metrics_can_be_public() {
    let mut fixture = keyed();
    fixture.state.metrics_public = true;
    let app = serve!(fixture);
    assert_eq!(get("/metrics").of(&app).await.status, StatusCode::OK);
    assert_eq!(get("/api/v1/status").of(&app).await.status, StatusCode::UNAUTHORIZED);
}

#[actix_web::test]
async fn an_open_gateway_takes_nothing_from_foreign_pages() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let asked = post("/api/v1/kill-switch/disengage", r#"{"operator":"x"}"#).header("host", "127.0.0.1:8080");
        let answer = asked.header(name, value).of(&app).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "foreign_origin"));
    }
    assert!(fixture.notes.sent().is_empty());
    let own = post("/api/v1/orders", SINGLE).header("host", "localhost:1").header("origin", "http://localhost:1");
    assert_eq!(own.of(&app).await.status, StatusCode::CREATED);
    let sent = fixture.notes.sent().pop().unwrap();
    assert!(sent.contains("by: \"local\""), "{sent}");
}

const ENGAGE: &str = r#"{"operator":"ann","reason":"a drill"}"#;

fn engage(key: &str) -> Ask {
    post("/api/v1/kill-switch/engage", ENGAGE).header("authorization", &format!("Bearer {key}"))
}

fn status(key: &str) -> Ask {
    get("/api/v1/status").header("authorization", &format!("Bearer {key}"))
}

#[actix_web::test]
async fn a_key_of_the_store_lets_in_by_its_name_until_it_is_taken_back() {
    let fixture = keyed();
    let (old, new) = (fixture.notes.give_key("desk", Role::Trader), fixture.notes.give_key("desk", Role::Trader));
    let app = serve!(fixture);
    for key in [&old, &new] {
        let asked = post("/api/v1/orders", SINGLE).header("authorization", &format!("Bearer {key}"));
        assert!(asked.of(&app).await.status.is_success());
        assert!(fixture.notes.sent().pop().unwrap().contains("by: \"desk\""));
    }
    let other_secret = format!("{}{}", &old[..20], &new[20..]);
    for wrong in [&other_secret[..], &old[..old.len() - 1], &old.to_uppercase(), &old[..19], "tr_0123456789abcdef_1"] {
        assert_eq!(status(wrong).of(&app).await.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    fixture.notes.revoke("desk");
    for key in [&old, &new] {
        assert_eq!(status(key).of(&app).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(engage(key).of(&app).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[actix_web::test]
async fn without_the_store_the_keys_last_read_stop_trading_and_do_nothing_else() {
    let mut fixture = keyed();
    let (live, viewer) = (fixture.notes.give_key("desk", Role::Trader), fixture.notes.give_key("wall", Role::Viewer));
    let gone = fixture.notes.give_key("gone", Role::Admin);
    fixture.notes.revoke("gone");
    fixture.last_read = Some(fixture.notes.keys());
    let unread = fixture.notes.give_key("late", Role::Admin);
    fixture.notes.store_is_down();
    let app = serve!(fixture);
    assert_eq!(engage(&live).of(&app).await.status, StatusCode::OK);
    assert_eq!(engage(&viewer).of(&app).await.status, StatusCode::FORBIDDEN);
    for key in [&gone, &unread] {
        assert_eq!(engage(key).of(&app).await.status, StatusCode::UNAUTHORIZED);
    }
    let disengage = post("/api/v1/kill-switch/disengage", r#"{"operator":"ann"}"#);
    for asked in [status(&live), disengage.header("authorization", &format!("Bearer {live}"))] {
        let answer = asked.of(&app).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "store_unavailable"));
    }
    assert_eq!(engage("s3cret").of(&app).await.status, StatusCode::OK, "the key from outside needs no store");
    assert_eq!(status("s3cret").of(&app).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn where_keys_were_never_read_the_one_from_outside_alone_stops_trading() {
    let fixture = keyed();
    let live = fixture.notes.give_key("desk", Role::Admin);
    fixture.notes.store_is_down();
    let app = serve!(fixture);
    let answer = engage(&live).of(&app).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "store_unavailable"));
    assert_eq!(engage("s3cret").of(&app).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn engaging_does_not_wait_for_a_store_that_says_nothing() {
    let mut fixture = keyed();
    let live = fixture.notes.give_key("desk", Role::Trader);
    fixture.last_read = Some(fixture.notes.keys());
    fixture.notes.hang();
    let app = serve!(fixture);
    assert_eq!(engage(&live).of(&app).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn this_machine_is_let_in_until_there_is_a_key() {
    let mut fixture = Fixture::ready();
    fixture.state.access = Access::OpenUntilKeyed;
    let open = serve!(fixture);
    assert_eq!(get("/api/v1/status").of(&open).await.status, StatusCode::OK);
    assert_eq!(get("/api/v1/status").header("host", "evil.example").of(&open).await.status, StatusCode::FORBIDDEN);
    let key = fixture.notes.give_key("desk", Role::Viewer);
    let app = serve!(fixture);
    assert_eq!(get("/api/v1/status").of(&app).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&key).of(&app).await.status, StatusCode::OK);
    fixture.notes.revoke("desk");
    let revoked = serve!(fixture);
    assert_eq!(get("/api/v1/status").of(&revoked).await.status, StatusCode::UNAUTHORIZED, "it never opens again");
    fixture.notes.store_is_down();
    let unknown = serve!(fixture);
    assert_eq!(get("/api/v1/status").of(&unknown).await.code(), "store_unavailable");
    assert_eq!(post("/api/v1/kill-switch/engage", ENGAGE).of(&unknown).await.status, StatusCode::OK);
    assert_eq!(get("/livez").of(&unknown).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn a_key_that_asks_too_often_waits_but_may_always_stop_trading() {
    let mut fixture = keyed();
    fixture.state.limits.requests_per_second = std::num::NonZeroU32::new(2);
    let (busy, calm) = (fixture.notes.give_key("busy", Role::Trader), fixture.notes.give_key("calm", Role::Trader));
    let app = serve!(fixture);
    for _ in 0..2 {
        assert_eq!(status(&busy).of(&app).await.status, StatusCode::OK);
    }
    let refused = status(&busy).of(&app).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "limit_reached"));
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{refused:?}");
    assert!(!refused.closes);
    for _ in 0..3 {
        assert_eq!(engage(&busy).of(&app).await.status, StatusCode::OK);
        assert_eq!(get("/livez").of(&app).await.status, StatusCode::OK);
    }
    assert_eq!(status(&calm).of(&app).await.status, StatusCode::OK, "each has its own");
}
