//! Limits and lockouts: what is asked of the gateway, and what is refused.

use serde_json::json;

use super::*;

const LIMIT: &str = r#"{"operator":"ann","scope":{"symbol":"AAPL"},"control":"max_order_qty","value":"100"}"#;

#[actix_web::test]
async fn a_limit_is_set_shown_and_taken_away() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let none = get("/api/v1/limits").of(&app).await;
    assert_eq!(none.body, json!({"revision": 0, "limits": [], "overrides": []}));
    let set = ask(Method::PUT, "/api/v1/limits").bytes(LIMIT.into()).of(&app).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    assert_eq!(set.body["revision"], 1);
    let limit = &set.body["limits"][0];
    assert_eq!((&limit["scope"], &limit["control"]), (&json!({"symbol": "AAPL"}), &json!("max_order_qty")));
    assert_eq!(
        (&limit["value"], &limit["operator"], &limit["set_by"]),
        (&json!("100"), &json!("ann"), &json!("local"))
    );
    let gone = r#"{"operator":"ann","control":"max_order_qty","value":null}"#;
    let gone = ask(Method::PUT, "/api/v1/limits").bytes(gone.into()).of(&app).await;
    assert_eq!((gone.status, &gone.body["limits"]), (StatusCode::OK, &json!([])), "{}", gone.text);
    let unsaid = r#"{"operator":"ann","control":"max_order_qty"}"#;
    let unsaid = ask(Method::PUT, "/api/v1/limits").bytes(unsaid.into()).of(&app).await;
    assert_eq!(
        (unsaid.status.as_u16(), unsaid.faulty_fields()),
        (422, vec!["value"]),
        "nothing is removed by an oversight"
    );
    let sent = fixture.notes.sent();
    assert!(sent[0].contains("Set") && sent[1].contains("Remove"), "{sent:?}");
}

#[actix_web::test]
async fn an_override_says_until_when_and_why() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let body = |until: &str| {
        format!(r#"{{"operator":"ann","control":"price_collar","value":5,"reason":"an auction","until":"{until}"}}"#)
    };
    let set = post("/api/v1/limits/overrides", body("2026-11-21T15:30:00Z")).of(&app).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let instead = &set.body["overrides"][0];
    assert_eq!(
        (&instead["scope"], &instead["until"]),
        (&json!("global"), &json!("2026-11-21T15:30:00.000000Z")),
        "{}",
        set.text
    );
    for late in ["2026-11-21T14:00:00Z", "2026-12-21T14:00:00Z"] {
        let refused = post("/api/v1/limits/overrides", body(late)).of(&app).await;
        assert_eq!((refused.status.as_u16(), refused.faulty_fields()), (422, vec!["until"]), "{late}");
    }
    assert_eq!(fixture.notes.sent().len(), 1);
}

#[actix_web::test]
async fn values_that_a_control_does_not_take_change_nothing() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    for (control, value) in
        [("max_open_orders", "1.5"), ("restricted_symbol", "2"), ("price_collar", "1001"), ("max_order_qty", "-1")]
    {
        let body = format!(r#"{{"operator":"ann","control":"{control}","value":{value}}}"#);
        let refused = ask(Method::PUT, "/api/v1/limits").bytes(body.into()).of(&app).await;
        assert_eq!((refused.status.as_u16(), refused.faulty_fields()), (422, vec!["value"]), "{control}");
    }
    let unknown = r#"{"operator":"ann","control":"max_everything","value":1,"scope":{"desk":"a"}}"#;
    let refused = ask(Method::PUT, "/api/v1/limits").bytes(unknown.into()).of(&app).await;
    let mut faulty = refused.faulty_fields();
    faulty.sort_unstable();
    assert_eq!(faulty, ["control", "scope"], "{}", refused.text);
    assert!(fixture.notes.sent().is_empty());
}

#[actix_web::test]
async fn an_account_is_locked_until_a_time_or_until_it_is_lifted() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let locked = post("/api/v1/lockouts", r#"{"operator":"ann","reason":"enough for today"}"#).of(&app).await;
    assert_eq!(locked.status, StatusCode::OK, "{}", locked.text);
    assert_eq!((&locked.body["id"], &locked.body["kind"]), (&json!("default:operator"), &json!("permanent")));
    assert_eq!(locked.body["until"], Value::Null);
    let symbol = r#"{"operator":"ann","reason":"news","symbol":"AAPL","rule":"news","kind":"cooldown","until":"2026-11-21T15:30:00Z"}"#;
    let locked = post("/api/v1/lockouts", symbol).of(&app).await;
    assert_eq!(
        (&locked.body["id"], &locked.body["symbol"]),
        (&json!("default:news:AAPL"), &json!("AAPL")),
        "{}",
        locked.text
    );
    for (extra, faulty) in [
        (r#""kind":"cooldown""#, "until"),
        (r#""kind":"permanent","until":"2026-11-21T15:30:00Z""#, "until"),
        (r#""kind":"daily","until":"2026-11-21T14:00:00Z""#, "until"),
        (r#""rule":"No Rule""#, "rule"),
    ] {
        let body = format!(r#"{{"operator":"ann","reason":"why",{extra}}}"#);
        let refused = post("/api/v1/lockouts", body).of(&app).await;
        assert_eq!((refused.status.as_u16(), refused.faulty_fields()), (422, vec![faulty]), "{extra}");
    }
    let listed = get("/api/v1/lockouts").of(&app).await;
    assert_eq!(listed.body["items"], json!([]), "the store of this test keeps none");
    for unknown in ["default:operator", "nothing", "a:b:c:d"] {
        let lifted = ask(Method::DELETE, &format!("/api/v1/lockouts/{unknown}?operator=ann")).of(&app).await;
        assert_eq!((lifted.status.as_u16(), lifted.code()), (404, "not_found"), "{unknown}");
    }
}
