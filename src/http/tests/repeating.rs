//! Requests with a key that come again.

use serde_json::json;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::once::KEPT;

use super::fakes::now;
use super::*;

const RELEASE: &str = r#"{"operator":"ann","notes":"over"}"#;

fn release(body: &str, key: &str) -> Ask {
    post("/api/v1/kill-switch/disengage", body).header("idempotency-key", key)
}

#[actix_web::test]
async fn a_repetition_gets_the_first_answer_and_does_nothing() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    assert_eq!(release(RELEASE, "k").of(&app).await.status, StatusCode::OK);
    let hash = fixture.notes.last_once().unwrap().hash;
    let first = json!({"state": "ACTIVE", "first": true});
    fixture.notes.remember("local", "k", &hash, &first, now());
    let sent = fixture.notes.sent().len();
    // The same, spelled in another way; also while the gateway takes no work.
    fixture.state.health.enter(tranche_actors::health::Phase::Draining);
    let again = release(r#"{ "notes": "over", "operator": "ann" }"#, "\"k\"").of(&app).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first));
    assert_eq!(fixture.notes.sent().len(), sent);
    let other = release(r#"{"operator":"bob"}"#, "k").of(&app).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "idempotency_key_reused"));
    let elsewhere = post("/api/v1/circuit-breaker/trip", r#"{"operator":"ann","reason":"MANUAL"}"#);
    assert_eq!(elsewhere.header("idempotency-key", "k").of(&app).await.code(), "idempotency_key_reused");
    assert_eq!(release(RELEASE, "other").of(&app).await.code(), "draining");
}

#[actix_web::test]
async fn limits_lockouts_and_comparisons_are_answered_once_too() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let limit = r#"{"operator":"ann","control":"max_order_qty","value":"10"}"#;
    let instead = r#"{"operator":"ann","control":"max_order_qty","value":"20","reason":"a large one","until":"2026-11-21T15:30:00Z"}"#;
    let asked = |key: &str| {
        [
            ask(Method::PUT, "/api/v1/limits").bytes(limit.into()),
            post("/api/v1/limits/overrides", instead),
            post("/api/v1/lockouts", r#"{"operator":"ann","reason":"enough"}"#),
            post("/api/v1/reconciliation/run", ""),
        ]
        .map(|asked| asked.header("idempotency-key", key))
    };
    for (n, asking) in asked("never").into_iter().enumerate() {
        assert_eq!(asking.of(&app).await.status, StatusCode::OK, "{n}");
        let hash = fixture.notes.last_once().unwrap().hash;
        let first = json!({"first": n});
        fixture.notes.remember("local", &format!("k{n}"), &hash, &first, now());
        let sent = fixture.notes.sent().len();
        let again = asked(&format!("k{n}")).into_iter().nth(n).unwrap().of(&app).await;
        assert_eq!((again.status, &again.body), (StatusCode::OK, &first), "{n}");
        let other = asked(&format!("k{n}")).into_iter().nth((n + 1) % 4).unwrap().of(&app).await;
        assert_eq!((other.status.as_u16(), other.code()), (422, "idempotency_key_reused"), "{n}");
        assert_eq!(fixture.notes.sent().len(), sent, "{n}");
    }
    // A lift that was carried out is answered, though nothing is left to lift.
    let lift = |key: &str| {
        ask(Method::DELETE, "/api/v1/lockouts/default:operator?operator=ann").header("idempotency-key", key)
    };
    assert_eq!(lift("other").of(&app).await.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn an_answer_older_than_a_day_counts_no_more() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    release(RELEASE, "k").of(&app).await;
    let hash = fixture.notes.last_once().unwrap().hash;
    fixture.notes.remember("local", "k", &hash, &json!({"first": true}), now() - KEPT);
    assert_eq!(release(RELEASE, "k").of(&app).await.body["state"], "ACTIVE");
}

#[actix_web::test]
async fn who_comes_second_in_a_race_gets_the_first_answer_too() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    release(RELEASE, "k").of(&app).await;
    let hash = fixture.notes.last_once().unwrap().hash;
    fixture.notes.refuse_with(CommandError::Answered);
    let gone = release(RELEASE, "k").of(&app).await;
    assert_eq!((gone.status.as_u16(), gone.code()), (409, "conflict"), "its answer is not there");
    fixture.notes.remember_late("local", "k", &hash, &json!({"first": true}), now());
    fixture.notes.refuse_with(CommandError::Answered);
    let raced = release(RELEASE, "k").of(&app).await;
    assert_eq!((raced.status, &raced.body), (StatusCode::OK, &json!({"first": true})));
}

#[actix_web::test]
async fn without_the_store_nothing_that_has_a_key_is_done_but_stopping() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    fixture.notes.store_is_down();
    let refused = release(RELEASE, "k").of(&app).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "store_unavailable"));
    assert!(fixture.notes.sent().is_empty());
    let engage = post("/api/v1/kill-switch/engage", r#"{"operator":"ann","reason":"a drill"}"#);
    assert_eq!(engage.header("idempotency-key", "k").of(&app).await.status, StatusCode::OK);
}
