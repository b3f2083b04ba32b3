//! Who gets in, and as whom.

use actix_web::http::StatusCode;

use super::*;
use crate::http::auth::{Access, AdminKey};

fn keyed() -> Fixture {
    let mut fixture = Fixture::ready();
    fixture.state.access = Access::Keyed(AdminKey::new("s3cret"));
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
