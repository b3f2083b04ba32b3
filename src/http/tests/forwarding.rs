//! What is asked of an account that another instance owns.

use actix_web::http::StatusCode;
use serde_json::json;
use tranche_actors::domain::names::AccountName;
use tranche_actors::health::Standing;

use super::*;

const OWNER: &str = "other";

/// Two instances: this one stands by for the other, which serves on an address of its own.
fn standby() -> (Fixture, Fixture, actix_web::dev::ServerHandle) {
    let (here, owner) = (Fixture::ready(), Fixture::ready());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = crate::http::serve(listener, owner.state.clone()).unwrap();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    here.state.accounts.first().health.stand(Standing::Standby { owner: OWNER.to_owned() });
    here.notes.meet(OWNER, Some(format!("http://{address}")));
    here.notes.lease_to(OWNER);
    (here, owner, handle)
}

#[actix_web::test]
async fn an_order_is_handed_on_to_the_owner_with_all_that_the_caller_said() {
    let (here, owner, server) = standby();
    let app = serve!(here);
    let answer =
        post("/api/v1/orders", SINGLE).header("idempotency-key", "k-1").header("x-request-id", "r-1").of(&app).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert_eq!((answer.header("tranche-answered-by"), answer.header("x-request-id")), (OWNER, "r-1"));
    assert!(here.notes.sent().is_empty(), "nothing is done here");
    let sent = owner.notes.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].contains("k-1"), "{sent:?}");
    let refused = post("/api/v1/orders", r#"{"symbol":"AAPL"}"#).of(&app).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "what is wrong is refused here");
    assert_eq!(owner.notes.sent().len(), 1);
    server.stop(false).await;
}

#[actix_web::test]
async fn a_resume_is_the_owners_to_carry_out() {
    let (here, owner, server) = standby();
    let app = serve!(here);
    let resumed = post("/api/v1/orders/held/resume", "").of(&app).await;
    assert_eq!((resumed.status.as_u16(), resumed.header("tranche-answered-by")), (404, OWNER), "{}", resumed.text);
    assert!(here.notes.sent().is_empty());
    assert!(owner.notes.sent()[0].contains("ResumeParent"), "{:?}", owner.notes.sent());
    server.stop(false).await;
}

#[actix_web::test]
async fn what_was_handed_on_once_is_not_handed_on_again() {
    let (here, owner, server) = standby();
    let app = serve!(here);
    let answer = post("/api/v1/orders/slice", PARENT).header("tranche-forwarded-by", "somebody").of(&app).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "owner_unavailable"), "{}", answer.text);
    assert!(here.notes.sent().is_empty() && owner.notes.sent().is_empty());
    server.stop(false).await;
}

#[actix_web::test]
async fn a_cancel_and_the_kill_switch_are_carried_out_here_whoever_owns_the_account() {
    let (here, owner, server) = standby();
    let app = serve!(here);
    let engaged =
        post("/api/v1/kill-switch/engage", r#"{"operator":"ops","reason":"prices look wrong"}"#).of(&app).await;
    assert_eq!(engaged.status, StatusCode::OK, "{}", engaged.text);
    post("/api/v1/orders/abc/cancel", "").of(&app).await;
    ask(Method::DELETE, "/api/v1/orders/abc/slices").of(&app).await;
    assert!(owner.notes.sent().is_empty());
    assert!(!here.notes.sent().is_empty());
    server.stop(false).await;
}

#[actix_web::test]
async fn an_owner_that_can_not_be_reached_is_said_to_be_unavailable_and_nothing_was_done() {
    let here = Fixture::ready();
    let app = serve!(here);
    here.state.accounts.first().health.stand(Standing::Standby { owner: OWNER.to_owned() });
    let unknown = post("/api/v1/orders", SINGLE).of(&app).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (503, "owner_unavailable"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    here.notes.meet(OWNER, Some(format!("http://{closed}")));
    here.notes.lease_to(OWNER);
    let gone = post("/api/v1/orders", SINGLE).of(&app).await;
    assert_eq!((gone.status.as_u16(), gone.code()), (503, "owner_unavailable"), "{}", gone.text);
    assert_eq!((gone.header("retry-after"), &gone.body["outcome"]), ("1", &json!(null)));
    assert!(here.notes.sent().is_empty());
}

#[actix_web::test]
async fn a_standby_is_ready_and_its_status_shows_who_has_what() {
    let here = Fixture::ready();
    let app = serve!(here);
    here.state.accounts.first().health.stand(Standing::Standby { owner: OWNER.to_owned() });
    here.gate.account.shut(tranche_actors::gate::ShutReason::NotOwner);
    here.notes.meet(OWNER, Some("http://10.0.0.1:8080".to_owned()));
    here.notes.lease_to(OWNER);
    let ready = get("/readyz").of(&app).await;
    assert_eq!((ready.status, &ready.body["ready"]), (StatusCode::OK, &json!(true)));
    let status = get("/api/v1/status").of(&app).await;
    assert_eq!(
        status.body["accounts"],
        json!([{
            "account": "default", "owner": OWNER, "term": 8, "lease_left_seconds": 7, "reasons": ["not_owner"],
            "quarantined": ["MSFT"],
        }])
    );
    assert_eq!(
        status.body["instances"],
        json!([{
            "id": OWNER, "address": "http://10.0.0.1:8080", "version": "1.0.0",
            "started_at": "2026-11-21T14:30:00.123456Z", "heartbeat_age_seconds": 2, "accounts": ["default"],
        }])
    );
}

#[actix_web::test]
async fn nothing_is_asked_of_an_order_whose_account_is_not_configured_here() {
    let here = Fixture::ready();
    let app = serve!(here);
    let removed = post("/api/v1/orders", SINGLE).of(&app).await;
    let id = removed.body["client_order_id"].as_str().unwrap().to_owned();
    here.notes.move_to(&AccountName::parse("removed").unwrap());
    let asked = here.notes.sent().len();
    let resolve = format!("/api/v1/orders/{id}/resolve");
    for answer in [
        post(&format!("/api/v1/orders/{id}/cancel"), "").of(&app).await,
        ask(Method::DELETE, &format!("/api/v1/orders/{id}/slices")).of(&app).await,
        post(&resolve, r#"{"as":"canceled","reason":"it is not there"}"#).of(&app).await,
        ask(Method::PATCH, &format!("/api/v1/orders/{id}")).bytes(br#"{"qty":"7"}"#.to_vec()).of(&app).await,
    ] {
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "account_not_configured"), "{}", answer.text);
        assert_eq!(answer.body["account"], "removed");
    }
    assert_eq!(here.notes.sent().len(), asked);
    assert_eq!(get(&format!("/api/v1/orders/{id}")).of(&app).await.status, StatusCode::OK, "it is shown all the same");
}

#[actix_web::test]
async fn no_key_goes_to_an_owner_that_is_silent_or_has_lost_the_account() {
    let (here, owner, server) = standby();
    let app = serve!(here);
    let refused = async |why: &str| {
        let answer = post("/api/v1/orders", SINGLE).of(&app).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "owner_unavailable"), "{}", answer.text);
        assert!(answer.text.contains(why), "{}", answer.text);
    };
    here.notes.silence(std::time::Duration::from_secs(11));
    refused("silent").await;
    here.notes.silence(std::time::Duration::from_secs(2));
    here.notes.lease_for(OWNER, std::time::Duration::ZERO);
    refused("silent").await;
    here.notes.lease_to("somebody else");
    refused("silent").await;
    assert!(owner.notes.sent().is_empty());
    here.notes.lease_to(OWNER);
    assert_eq!(post("/api/v1/orders", SINGLE).of(&app).await.status, StatusCode::CREATED);
    server.stop(false).await;
}

#[actix_web::test]
async fn a_key_leaves_this_machine_by_plain_http_only_where_a_setting_allows_it() {
    for (address, allowed, goes) in [
        ("http://192.0.2.1:1", false, false),
        ("http://localhost.example:1", false, false),
        ("http://192.0.2.1:1", true, true),
        ("http://127.0.0.1:1", false, true),
        ("http://[::1]:1", false, true),
        ("http://localhost:1", false, true),
        ("https://127.0.0.1:1", false, true),
    ] {
        let mut here = Fixture::ready();
        here.state.forwarding.in_the_clear = allowed;
        here.state.limits.request_timeout = std::time::Duration::from_millis(300);
        here.state.accounts.first().health.stand(Standing::Standby { owner: OWNER.to_owned() });
        here.notes.meet(OWNER, Some(address.to_owned()));
        here.notes.lease_to(OWNER);
        let app = serve!(here);
        let answer = post("/api/v1/orders", SINGLE).of(&app).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "owner_unavailable"), "{}", answer.text);
        assert_eq!(!answer.text.contains("forward_in_the_clear"), goes, "{address}: {}", answer.text);
    }
}
