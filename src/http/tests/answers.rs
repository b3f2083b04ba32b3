//! What answers look like, field by field, and how refusals are told.

use std::time::Duration;

use actix_web::http::StatusCode;
use serde_json::json;
use tranche_actors::commands::CommandError;
use tranche_actors::domain::calendar::{MarketCalendar, Sessions};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::halts::{Halted, Halts};
use tranche_actors::domain::kill::{EngageOrder, KillMode};
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::{OrderId, Symbol};
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::request::PlanRules;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::venue::VenueClock;
use tranche_actors::gate::ShutReason;
use tranche_actors::market_hours::MarketHours;
use tranche_actors::ports::store::LedgerEvent;

use super::fakes::{engaged, now, traded};
use super::*;

const PARENT_ID: &str = "20abc83977c561c389787d47";

#[actix_web::test]
async fn a_parent_is_planned_once_and_replayed_in_the_same_shape() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let first = post("/api/v1/orders/slice", PARENT).of(&app).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let again = post("/api/v1/orders/slice", PARENT).of(&app).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    let slices = first.body["slices"].as_array().unwrap();
    let quantities = slices.iter().map(|slice| slice["qty"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(quantities, ["21", "21", "21", "20", "20"]);
    let mut head = first.body.clone();
    head.as_object_mut().unwrap().remove("slices");
    assert_eq!(
        head,
        json!({
            "parent_order_id": PARENT_ID, "parent_strategy_id": "twap_parent_5m_60s", "strategy_id": "default",
            "account": "default", "symbol": "AAPL", "side": "buy", "total_qty": "103", "total_slices": 5,
            "duration_minutes": 5, "duration_seconds": 300, "interval_seconds": 60, "status": "working",
            "liquidity": null, "warnings": [],
        })
    );
    assert_eq!(
        slices[0],
        json!({
            "slice_num": 0, "qty": "21", "scheduled_time": "2026-11-21T14:30:00.123456Z",
            "client_order_id": "95f5dbd591beeb19b308dcd9", "strategy_id": format!("twap_slice_{PARENT_ID}_0"),
            "status": "pending_new",
        })
    );
}

#[actix_web::test]
async fn a_duration_that_is_no_whole_minutes_is_told_in_seconds() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let body = PARENT.replace("\"duration_minutes\":5", "\"duration_seconds\":90");
    let plan = post("/api/v1/orders/slice", body).of(&app).await;
    assert_eq!(plan.body["duration_minutes"], Value::Null);
    assert_eq!(plan.body["duration_seconds"], 90);
    assert_eq!(plan.body["parent_strategy_id"], "twap_parent_90s_60s");
}

#[actix_web::test]
async fn a_preview_is_the_plan_and_is_not_sent() {
    let fixture = Fixture::ready();
    fixture.gate.kill_switch.shut(ShutReason::KillSwitchEngaged);
    let app = serve!(fixture);
    let body = PARENT.replacen('{', "{\"max_slice_qty\":\"30.0\",", 1);
    let preview = post("/api/v1/orders/slice/preview", body).of(&app).await;
    assert_eq!(preview.status, StatusCode::OK, "{}", preview.text);
    assert_eq!(preview.body["status"], "pending");
    assert_eq!(preview.body["ends_at"], "2026-11-21T14:35:00.123456Z");
    assert_eq!(
        preview.body["limits"],
        json!({"lot": "1", "max_slice_qty": "30", "max_slices": 25_000, "orders_per_minute": null})
    );
    assert_eq!(preview.body["slices"].as_array().unwrap().len(), 5);
    assert!(fixture.notes.sent().is_empty());

    for (body, fields) in [
        (PARENT.replace("\"103\"", "\"3\""), vec!["qty"]),
        (PARENT.replace("2026-11-21", "2026-12-21"), vec!["trade_date"]),
        (PARENT.replace("2026-11-21", "2026-12-21").replace("\"103\"", "\"0.5\""), vec!["qty", "trade_date"]),
        (PARENT.replacen('{', "{\"account\":\"other\",", 1), vec!["account"]),
        (PARENT.replacen('{', "{\"start_time\":\"2026-11-20T00:00:00Z\",", 1), vec!["start_time"]),
    ] {
        let refused = post("/api/v1/orders/slice/preview", body.clone()).of(&app).await;
        assert_eq!(refused.faulty_fields(), fields, "{body}");
    }
}

#[actix_web::test]
async fn a_preview_says_what_the_calendar_of_the_market_says() {
    let mut fixture = Fixture::ready();
    fixture.change(|office| office.market_hours = MarketHours::default());
    let unknown = post("/api/v1/orders/slice/preview", PARENT).of(&serve!(fixture)).await;
    assert!(unknown.body["warnings"][0].as_str().unwrap().contains("calendar is not known"), "{}", unknown.text);
    let closes = now() + chrono::TimeDelta::minutes(3);
    let date = now().date_naive();
    let clock = VenueClock { at: now(), is_open: true, next_open: closes, next_close: closes };
    let sessions = Sessions::new(Vec::new(), &clock, (date, date));
    fixture.state.accounts.first().market_hours.set(MarketCalendar::Sessions(sessions), Duration::ZERO);
    let warned = post("/api/v1/orders/slice/preview", PARENT).of(&serve!(fixture)).await;
    assert_eq!(
        warned.body["warnings"][0],
        "the schedule ends at 2026-11-21T14:35:00Z, past the market's close at 2026-11-21T14:33:00Z: slices due after it \
         expire"
    );
    let strict = PlanRules { refuse_past_close: true, ..fakes::rules() };
    fixture.change(|office| office.plan_rules = std::sync::Arc::new(strict));
    let refused = post("/api/v1/orders/slice/preview", PARENT).of(&serve!(fixture)).await;
    assert_eq!((refused.faulty_fields(), refused.status.as_u16()), (vec!["duration_minutes"], 422));
}

#[actix_web::test]
async fn a_single_order_is_shown_with_its_absent_values_null() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let first = post("/api/v1/orders", SINGLE).of(&app).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let id = first.body["client_order_id"].as_str().unwrap().to_owned();
    assert_eq!(
        first.body,
        json!({
            "client_order_id": id, "kind": "single", "status": "pending_new", "symbol": "AAPL", "side": "buy",
            "qty": "10", "order_type": "limit", "limit_price": "99.5", "stop_price": null, "trail_price": null,
            "trail_percent": null, "time_in_force": "day", "replaces": null, "replaced_by": null,
            "strategy_id": "default", "account": "default", "filled_qty": "0", "filled_avg_price": null,
            "broker_order_id": null, "attempt": 0, "reason_code": null, "error_message": null,
            "parent_order_id": null, "slice_num": null, "total_slices": null,
            "scheduled_time": "2026-11-21T14:30:00.123456Z", "created_at": "2026-11-21T14:30:00.123456Z",
            "updated_at": "2026-11-21T14:30:00.123456Z", "submitted_at": null, "terminal_at": null,
        })
    );
    let again = post("/api/v1/orders", SINGLE).of(&app).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    let got = get(&format!("/api/v1/orders/{id}")).of(&app).await;
    assert_eq!((got.status, &got.body), (StatusCode::OK, &first.body));
    for body in ["", "{}", " { } "] {
        let canceled = post(&format!("/api/v1/orders/{id}/cancel"), body).of(&app).await;
        assert_eq!((canceled.status, &canceled.body), (StatusCode::OK, &first.body));
    }
    let bare = ask(Method::POST, &format!("/api/v1/orders/{id}/cancel")).of(&app).await;
    assert_eq!(bare.status, StatusCode::OK);
    let resolved = r#"{"as":"filled","filled_qty":"10","filled_avg_price":99.25,"reason":"the broker told us"}"#;
    let resolved = post(&format!("/api/v1/orders/{id}/resolve"), resolved).of(&app).await;
    assert_eq!(resolved.status, StatusCode::OK);
    let told = fixture.notes.sent().pop().unwrap();
    assert!(told.contains("end: Filled, filled_qty: Some(10), filled_avg_price: Some(99.25)"), "{told}");
}

#[actix_web::test]
async fn a_parent_is_shown_with_its_progress_and_its_slices() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    post("/api/v1/orders/slice", PARENT).of(&app).await;
    let parent = get(&format!("/api/v1/orders/{PARENT_ID}")).of(&app).await;
    for (field, value) in [
        ("kind", json!("parent")),
        ("filled_qty", json!("0")),
        ("pending_qty", json!("103")),
        ("filled_avg_price", json!(null)),
        ("next_slice_at", json!("2026-11-21T14:30:00.123456Z")),
        ("ended_at", json!(null)),
    ] {
        assert_eq!(parent.body[field], value, "{field}");
    }
    assert_eq!(parent.body.get("slices"), None);
    let slices = get(&format!("/api/v1/orders/{PARENT_ID}/slices")).of(&app).await;
    assert_eq!(slices.body.as_array().unwrap().len(), 5);
    assert_eq!(slices.body[4]["slice_num"], 4);
    assert_eq!(slices.body[4]["total_slices"], 5);
    assert_eq!(slices.body[4]["parent_order_id"], PARENT_ID);
    assert_eq!(slices.body[4]["kind"], "slice");
    let path = format!("/api/v1/orders/{PARENT_ID}/resume");
    for resumed in [post(&path, "").of(&app).await, post(&path, "{}").of(&app).await] {
        assert_eq!((resumed.status, &resumed.body["kind"]), (StatusCode::OK, &json!("parent")), "{}", resumed.text);
        assert_eq!((&resumed.body["status"], &resumed.body["reason_code"]), (&json!("working"), &json!(null)));
    }
    let refused = post(&path, r#"{"force":true}"#).of(&app).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let canceled = ask(Method::DELETE, &format!("/api/v1/orders/{PARENT_ID}/slices")).of(&app).await;
    assert_eq!(
        (canceled.status, canceled.body),
        (
            StatusCode::OK,
            json!({
                "parent_order_id": PARENT_ID, "status": "canceling", "pending_canceled": 3,
                "open_cancel_requested": 1, "already_terminal": 1, "in_flight": 0,
            })
        )
    );
    fixture.notes.refuse_with(CommandError::NotPaused(ParentStatus::Working));
    let refused = post(&path, "").of(&app).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "not_paused"));
    assert_eq!(refused.body["order_status"], "working", "{}", refused.text);
}

#[actix_web::test]
async fn lists_have_items_and_a_cursor_and_events_their_order() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let single = post("/api/v1/orders", SINGLE).of(&app).await;
    post("/api/v1/orders/slice", PARENT).of(&app).await;
    let id = single.body["client_order_id"].as_str().unwrap().to_owned();
    let list = get("/api/v1/orders").of(&app).await;
    assert_eq!(list.body["next_cursor"], "17");
    assert_eq!(list.body["items"], json!([single.body]));
    let parents = get("/api/v1/orders?kind=parent").of(&app).await;
    assert_eq!(parents.body["next_cursor"], Value::Null);
    assert_eq!(parents.body["items"][0]["kind"], "parent");

    let events = get(&format!("/api/v1/orders/{id}/events")).of(&app).await;
    assert_eq!((events.status, events.body), (StatusCode::OK, json!({"items": [], "next_cursor": null})));
    fixture.notes.keep_event(LedgerEvent {
        number: 4,
        order: OrderId::parse(&id).ok(),
        event: "claimed".to_owned(),
        old_status: Some("pending_new".to_owned()),
        new_status: Some("submitting".to_owned()),
        data: json!({"attempt": 1}),
        actor: "gateway".to_owned(),
        at: now(),
    });
    let events = get(&format!("/api/v1/orders/{id}/events")).of(&app).await;
    assert_eq!(
        events.body["items"],
        json!([{
            "number": 4, "client_order_id": id, "event": "claimed", "old_status": "pending_new",
            "new_status": "submitting", "data": {"attempt": 1}, "actor": "gateway",
            "at": "2026-11-21T14:30:00.123456Z",
        }])
    );
}

#[actix_web::test]
async fn filters_reach_the_store_typed() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let path = "/api/v1/orders?status=filled&symbol=aapl&strategy_id=s1&parent=p1&since=2026-11-21T14:30:00%2B01:00&cursor=9&limit=500";
    assert_eq!(get(path).of(&app).await.status, StatusCode::OK);
    let filter = fixture.notes.filters().pop().unwrap();
    for part in [
        "status: Some(Filled)",
        "symbol: Some(\"AAPL\")",
        "strategy_id: Some(\"s1\")",
        "parent: Some(\"p1\")",
        "since: Some(2026-11-21T13:30:00Z)",
        "cursor: Some(9)",
        "limit: 500",
    ] {
        assert!(filter.contains(part), "{part} in {filter}");
    }
    get("/api/v1/orders?kind=parent&status=working&symbol=").of(&app).await;
    let filter = fixture.notes.filters().pop().unwrap();
    assert!(filter.contains("status: Some(Working), symbol: None"), "{filter}");
    for (query, field) in [
        ("status=nonsense", "status"),
        ("status=working", "status"),
        ("kind=parent&status=filled", "status"),
        ("kind=parent&parent=p1", "parent"),
        ("kind=slice", "kind"),
        ("symbol=a%20b", "symbol"),
        ("strategy_id=a%7Cb", "strategy_id"),
        ("parent=a%2Fb", "parent"),
        ("since=yesterday", "since"),
        ("cursor=-1", "cursor"),
        ("cursor=x", "cursor"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("other=1", "other"),
        ("limit=1&limit=2", "limit"),
    ] {
        let refused = get(&format!("/api/v1/orders?{query}")).of(&app).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(refused.faulty_fields(), [field], "{query}");
    }
    for path in ["/api/v1/kill-switch/history", "/api/v1/circuit-breaker/history"] {
        assert_eq!(get(&format!("{path}?limit=1001")).of(&app).await.faulty_fields(), ["limit"]);
        assert_eq!(get(&format!("{path}?limit=1000")).of(&app).await.status, StatusCode::OK);
    }
    assert_eq!(fixture.notes.filters().pop().unwrap(), "circuit_breaker 1000");
}

#[actix_web::test]
async fn the_switches_speak_the_words_of_the_stack() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let status = get("/api/v1/kill-switch/status").of(&app).await;
    assert_eq!(
        status.body,
        json!({
            "state": "ACTIVE", "engaged_at": null, "engaged_by": null, "engagement_reason": null,
            "engagement_details": null, "disengaged_at": null, "disengaged_by": null, "disengagement_notes": null,
            "engagement_count_today": 0, "known": true, "unknown_because": null, "engagement_id": null, "scopes": [], "parts": [], "mode": null, "flattening": [],
        })
    );
    let body = r#"{"operator":"ops","reason":"prices look wrong","scope":"global","mode":"halt","details":{"a":[1]},"settle_ms":50}"#;
    let answer = post("/api/v1/kill-switch/engage", body).of(&app).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    for (field, value) in [
        ("state", json!("ENGAGED")),
        ("engaged_at", json!("2026-11-21T14:30:00.123456Z")),
        ("engagement_id", json!("e-1")),
        ("scopes", json!(["global"])),
        ("unknown", json!(["abc"])),
        ("cancel_requested", json!(2)),
        ("cancel_confirmed", json!(1)),
        ("cancel_failed", json!(1)),
        ("flatten_orders", json!([])),
        ("instances", json!([{"id": "one", "outcome": "confirmed"}])),
        ("not_durable", json!(["database"])),
        ("covers", json!("all")),
    ] {
        assert_eq!(answer.body[field], value, "{field}");
    }
    let sent = fixture.notes.sent().pop().unwrap();
    assert!(sent.contains("mode: Halt, settle: Some(50ms), by: By { caller: \"local\""), "{sent}");
    let part = r#"{"operator":"ops","reason":"prices look wrong","scope":{"symbol":"AAPL"}}"#;
    let answer = post("/api/v1/kill-switch/engage", part).of(&app).await;
    assert_eq!(answer.body["scopes"], json!([{"symbol": "AAPL"}]), "{}", answer.text);
    let scope = LimitScope::Symbol(Symbol::parse("AAPL").unwrap());
    let order = EngageOrder { operator: "ops".into(), reason: "why".into(), details: None, mode: KillMode::Halt };
    let Halted::New(halt) = Halts::default().engage(&scope, &order, now()) else { panic!() };
    fixture.state.health.set_halts(vec![halt]);
    let status = get("/api/v1/kill-switch/status").of(&app).await;
    assert_eq!((&status.body["state"], &status.body["scopes"]), (&json!("ACTIVE"), &json!([{"symbol": "AAPL"}])));
    assert_eq!(status.body["parts"][0]["engaged_by"], "ops");
    let release = r#"{"operator":"ops","scope":{"symbol":"AAPL"}}"#;
    assert_eq!(post("/api/v1/kill-switch/disengage", release).of(&app).await.status, StatusCode::OK);
    let sent = fixture.notes.sent().pop().unwrap();
    assert!(sent.contains("scope: Symbol"), "{sent}");
    fixture.state.health.set_halts(Vec::new());
    fixture.state.health.set_kill(Some(engaged()));
    let status = get("/api/v1/kill-switch/status").of(&app).await;
    assert_eq!(status.body["engagement_count_today"], 1);
    assert_eq!(status.body["engagement_details"], json!({"ticket": 7}));
    let released = post("/api/v1/kill-switch/disengage", r#"{"operator":"ops","notes":"over"}"#).of(&app).await;
    assert_eq!((&released.body["state"], &released.body["disengagement_notes"]), (&json!("ACTIVE"), &json!("over")));

    let tripped = post("/api/v1/circuit-breaker/trip", r#"{"operator":"ops","reason":"MANUAL"}"#).of(&app).await;
    assert_eq!(
        tripped.body,
        json!({
            "state": "TRIPPED", "tripped_at": "2026-11-21T14:30:00.123456Z", "trip_reason": "MANUAL",
            "trip_details": null, "reset_at": null, "reset_by": null, "trip_count_today": 1, "quiet_until": null,
            "known": true, "unknown_because": null, "not_durable": ["redis"],
        })
    );
    let reset = r#"{"operator":"ops","reason":"the venue is back and was checked"}"#;
    let reset = post("/api/v1/circuit-breaker/reset", reset).of(&app).await;
    assert_eq!((&reset.body["state"], &reset.body["reset_by"]), (&json!("QUIET_PERIOD"), &json!("ops")));

    fixture.state.health.set_kill(None);
    fixture.state.health.set_breaker(None);
    for path in ["/api/v1/kill-switch/status", "/api/v1/circuit-breaker/status"] {
        let unknown = get(path).of(&app).await;
        assert_eq!((&unknown.body["state"], &unknown.body["known"]), (&json!("UNKNOWN"), &json!(false)));
    }
    let history = get("/api/v1/kill-switch/history").of(&app).await;
    assert_eq!(history.body["items"][0]["event"], "ENGAGED");
}

#[actix_web::test]
async fn each_refusal_has_its_status_and_its_code() {
    let fixture = Fixture::ready();
    fixture.state.health.set_kill(Some(engaged()));
    let app = serve!(fixture);
    let retry = CommandError::Busy { what: "open parents", retry_after: Duration::from_millis(1_500) };
    let reused = FieldError::new("qty", "not_a_multiple", "must be a multiple of the lot 10");
    for (error, status, code) in [
        (CommandError::Invalid(vec![reused]), 422, "validation_failed"),
        (CommandError::KeyReused, 422, "idempotency_key_reused"),
        (CommandError::IdReused, 409, "order_id_reused"),
        (CommandError::NotFound, 404, "not_found"),
        (CommandError::ParentTerminal, 409, "parent_terminal"),
        (CommandError::NotPaused(ParentStatus::Working), 409, "not_paused"),
        (CommandError::NotResolvable(OrderStatus::Filled), 409, "not_resolvable"),
        (CommandError::Conflict("somebody was faster".to_owned()), 409, "conflict"),
        (CommandError::AlreadyEngaged(Box::new(engaged())), 409, "kill_switch_already_engaged"),
        (CommandError::NotEngaged, 409, "kill_switch_not_engaged"),
        (CommandError::Quarantined, 409, "symbol_quarantined"),
        (CommandError::AlreadyCleared, 409, "conflict"),
        (CommandError::SecondOperator, 409, "second_operator_needed"),
        (retry, 429, "limit_reached"),
        (CommandError::StoreUnavailable, 503, "store_unavailable"),
        (CommandError::OutcomeUnknown, 503, "store_unavailable"),
    ] {
        fixture.notes.refuse_with(error.clone());
        let answer = post("/api/v1/orders", SINGLE).of(&app).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{error}");
        assert_eq!(answer.body["status"], status);
        assert_eq!(answer.body["type"], format!("urn:tranche:problem:{code}"));
        assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
        assert!(answer.body["title"].is_string() && answer.body["detail"].is_string());
        if status == 429 {
            assert_eq!((answer.header("retry-after"), &answer.body["retry_after"]), ("2", &json!(2)));
        }
        if code == "symbol_quarantined" {
            let detail = answer.body["detail"].as_str().unwrap();
            assert_eq!(answer.body["symbol"], "AAPL");
            assert!(
                detail.starts_with("AAPL is quarantined") && detail.contains("/api/v1/reconciliation/orphans"),
                "{detail}"
            );
        }
        if code == "kill_switch_already_engaged" {
            assert_eq!(answer.body["state"], "ENGAGED");
            assert_eq!(answer.body["engaged_by"], "ops");
            assert_eq!(answer.body["reason"], "prices look wrong");
        }
    }
    for reason in ShutReason::ALL {
        fixture.notes.refuse_with(CommandError::Gate(*reason));
        let answer = post("/api/v1/orders/slice", PARENT).of(&app).await;
        // Where the gate says that the account is another's, the answer says that its owner is not to be had.
        let code = if *reason == ShutReason::NotOwner { "owner_unavailable" } else { reason.as_str() };
        assert_eq!((answer.status.as_u16(), answer.code()), (503, code));
        if *reason == ShutReason::KillSwitchEngaged {
            assert_eq!(
                (&answer.body["engaged_by"], &answer.body["reason"]),
                (&json!("ops"), &json!("prices look wrong"))
            );
        }
    }
}

#[actix_web::test]
async fn a_quiet_breaker_says_when_to_come_back() {
    let fixture = Fixture::ready();
    let tripped = tranche_actors::domain::breaker::BreakerState::default()
        .trip("MANUAL", None, now(), now().date_naive())
        .unwrap();
    let quiet = tripped.reset("ops", "the venue is back and was checked", now(), chrono::TimeDelta::seconds(30));
    fixture.state.health.set_breaker(quiet.ok());
    let app = serve!(fixture);
    fixture.notes.refuse_with(CommandError::Gate(ShutReason::CircuitBreakerQuiet));
    let answer = post("/api/v1/orders", SINGLE).of(&app).await;
    assert_eq!(answer.header("retry-after"), "30");
}

#[actix_web::test]
async fn a_store_that_is_down_is_told_without_its_words() {
    let fixture = Fixture::ready();
    fixture.notes.store_is_down();
    let app = serve!(fixture);
    for path in ["orders", "orders/abc", "orders/abc/slices", "orders/abc/events", "kill-switch/history"] {
        let answer = get(&format!("/api/v1/{path}")).of(&app).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "store_unavailable"), "{path}");
        assert!(!answer.text.contains("SELECT"), "{}", answer.text);
    }
}

#[actix_web::test]
async fn ids_that_name_nothing_are_not_found() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    for id in ["abc", "a%20b", "%00", "%F0%9F%98%80", "a%7Cb", &"a".repeat(200), "%2e%2e"] {
        for path in [
            format!("/api/v1/orders/{id}"),
            format!("/api/v1/orders/{id}/slices"),
            format!("/api/v1/orders/{id}/events"),
        ] {
            let answer = get(&path).of(&app).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "not_found"), "{path}");
        }
    }
    let answer = ask(Method::DELETE, "/api/v1/orders/abc/slices").of(&app).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn an_id_of_the_other_kind_is_told_its_own_calls() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let parent = post("/api/v1/orders/slice", PARENT).of(&app).await;
    let parent = parent.body["parent_order_id"].as_str().unwrap();
    let single = post("/api/v1/orders", SINGLE).of(&app).await;
    let single = single.body["client_order_id"].as_str().unwrap();
    let told = |answer: Answer| {
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"));
        answer.body["detail"].as_str().unwrap().to_owned()
    };
    for (path, body) in [("cancel", ""), ("resolve", r#"{"as":"canceled","reason":"it is not there"}"#)] {
        fixture.notes.refuse_with(CommandError::NotFound);
        let asked = post(&format!("/api/v1/orders/{parent}/{path}"), body);
        let detail = told(asked.of(&app).await);
        assert!(detail.contains(&format!("GET /api/v1/orders/{parent}/slices")), "{detail}");
    }
    fixture.notes.refuse_with(CommandError::NotFound);
    let path = format!("/api/v1/orders/{single}/slices");
    for asked in [ask(Method::DELETE, &path), get(&path)] {
        let detail = told(asked.of(&app).await);
        assert!(detail.contains(&format!("POST /api/v1/orders/{single}/cancel")), "{detail}");
    }
}

#[actix_web::test]
async fn a_traded_order_shows_its_average_price() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let single = post("/api/v1/orders", SINGLE).of(&app).await;
    let id = single.body["client_order_id"].as_str().unwrap();
    let tranche_actors::ports::store::AnyOrder::Order(order) =
        tranche_actors::ports::store::Store::order(&fixture.notes, &OrderId::parse(id).unwrap())
            .await
            .unwrap()
            .unwrap()
    else {
        panic!("it is a single order")
    };
    fixture.notes.keep_order(traded(&order));
    let shown = get(&format!("/api/v1/orders/{id}")).of(&app).await;
    assert_eq!(shown.body["filled_avg_price"], "100.125");
    assert_eq!(shown.body["filled_qty"], "10");
    assert_eq!(shown.body["broker_order_id"], "B-1");
}

#[actix_web::test]
async fn a_position_is_valued_at_the_last_price_with_its_age() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let answer = get("/api/v1/positions").of(&app).await;
    let held = &answer.body["items"][0];
    assert_eq!((&held["qty"], &held["avg_price"]), (&json!("10"), &json!("100")));
    assert_eq!((&held["last_price"], &held["last_price_age_seconds"]), (&json!("110"), &json!(0)));
    assert_eq!(held["unrealised_pnl"], "100");
}
