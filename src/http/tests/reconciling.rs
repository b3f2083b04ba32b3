//! Our books beside the broker's, as an operator sees them.

use actix_web::http::StatusCode;
use serde_json::json;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::reconciliation::Comparison;
use tranche_actors::gate::ShutReason;

use super::fakes::compared;
use super::*;

const STATUS: &str = "/api/v1/reconciliation/status";
const RUN: &str = "/api/v1/reconciliation/run";
const ORPHANS: &str = "/api/v1/reconciliation/orphans";

#[actix_web::test]
async fn the_status_holds_all_that_an_operator_has_to_look_after() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    assert_eq!(get(STATUS).of(&app).await.body["last_comparison"], Value::Null);
    fixture.state.accounts.first().health.set_comparison(compared());
    let orphan = |id: &str| {
        json!({
            "id": id, "symbol": "MSFT", "reason": "orphan", "broker_order_id": id,
            "found": {"client_order_id": "foreign", "qty": "10"}, "since": "2026-11-21T14:30:00.123456Z",
        })
    };
    let status = get(STATUS).of(&app).await;
    assert_eq!(
        status.body,
        json!({
            "account": "default",
            "last_comparison": {
                "at": "2026-11-21T14:30:00.123456Z", "took_ms": 7, "outcome": "compared", "detail": null,
            },
            "orphans": [orphan("b-1"), orphan("b-2")],
            "quarantined": [{"symbol": "MSFT", "reasons": ["orphan"]}],
            "position_differences": [{"symbol": "AAPL", "ours": "10", "theirs": "12.5", "confirmed": true}],
            "unknown_orders": ["in-doubt"],
        })
    );
    let failed = Comparison { failed: Some("the venue is unavailable: 503".to_owned()), ..compared() };
    fixture.state.accounts.first().health.set_comparison(failed);
    let status = get(STATUS).of(&app).await;
    assert_eq!(status.body["last_comparison"]["outcome"], "failed");
    assert_eq!(status.body["last_comparison"]["detail"], "the venue is unavailable: 503");
    let listed = get(ORPHANS).of(&app).await;
    assert_eq!(listed.body, json!({"items": [orphan("b-1"), orphan("b-2")], "next_cursor": null}));
    fixture.notes.store_is_down();
    assert_eq!(get(STATUS).of(&app).await.code(), "store_unavailable");
}

#[actix_web::test]
async fn a_comparison_is_run_once_and_answered_with_the_status() {
    let fixture = Fixture::ready();
    fixture.state.accounts.first().health.set_comparison(compared());
    let app = serve!(fixture);
    let answer = post(RUN, "").of(&app).await;
    assert_eq!((answer.status, &answer.body["last_comparison"]["took_ms"]), (StatusCode::OK, &json!(7)));
    let sent = fixture.notes.sent();
    assert_eq!(sent[0], "CompareNow");
    assert!(sent.len() == 2 && sent[1].starts_with("NoteCompared"), "who had them compared is audited: {sent:?}");
    assert_eq!(post(RUN, r#"{"now":true}"#).of(&app).await.faulty_fields(), ["now"]);
    fixture.notes.refuse_with(CommandError::Gate(ShutReason::BrokerUnavailable));
    let refused = post(RUN, "{}").of(&app).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "broker_unavailable"));
}

#[actix_web::test]
async fn an_orphan_is_cleared_by_somebody_for_a_reason() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let clear = |query: &str| ask(Method::DELETE, &format!("{ORPHANS}/{query}"));
    for (query, fields) in [
        ("b-1", vec!["operator", "reason"]),
        ("b-1?operator=&reason=x", vec!["operator"]),
        ("b-1?operator=ann&reason=%20", vec!["reason"]),
        ("b-1?operator=ann&reason=a%0Ab", vec!["reason"]),
        (&format!("b-1?operator={}&reason=x", "a".repeat(65)), vec!["operator"]),
        ("b-1?operator=ann&reason=x&why=y", vec!["why"]),
    ] {
        assert_eq!(clear(query).of(&app).await.faulty_fields(), fields, "{query}");
    }
    assert!(fixture.notes.sent().is_empty());
    let cleared = clear("b-1?operator=ann&reason=it+was%20mine").of(&app).await;
    assert_eq!(cleared.body, json!({"id": "b-1", "symbol": "MSFT", "reason": "orphan", "released": false}));
    let sent = fixture.notes.sent();
    assert!(sent[0].contains(r#"operator: "ann", reason: "it was mine", by: By { caller: "local""#), "{sent:?}");
    let unknown = clear("b-9?operator=ann&reason=x").of(&app).await;
    assert_eq!((unknown.status, unknown.code()), (StatusCode::NOT_FOUND, "not_found"));
    assert!(unknown.text.contains("there is no orphan"), "{}", unknown.text);
    fixture.notes.refuse_with(CommandError::AlreadyCleared);
    let again = clear("b-1?operator=ann&reason=x").of(&app).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "conflict"));
}
