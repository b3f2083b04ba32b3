//! Who may what, held against the description of the API.

use std::collections::BTreeMap;

use tranche_actors::domain::names::Role;

use super::*;
use crate::http::auth::Access;

/// Every operation of the description: its name, its least role (none: no key is needed), and how it is called.
fn operations() -> BTreeMap<String, (Option<Role>, Method, String)> {
    let described: Value = serde_json::from_str(&super::super::openapi::json()).unwrap();
    let mut operations = BTreeMap::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let role = operation["x-role"].as_str().map(|role| Role::from_word(role).unwrap());
            assert_eq!(operation["security"].is_array(), role.is_none(), "{method} {path}");
            let method = method.to_uppercase().parse().unwrap();
            let name = operation["operationId"].as_str().unwrap().to_owned();
            operations.insert(name, (role, method, path.clone()));
        }
    }
    operations
}

#[test]
fn the_description_tells_who_may_what() {
    let of = |wanted: Option<Role>| {
        let operations = operations().into_iter().filter(|(_, (role, ..))| *role == wanted);
        operations.map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(of(None), ["healthz", "livez", "readyz"]);
    assert_eq!(
        of(Some(Role::Trader)),
        [
            "cancel_order",
            "cancel_parent",
            "engage_kill_switch",
            "preview_parent",
            "replace_order",
            "submit_order",
            "submit_parent",
        ]
    );
    assert_eq!(
        of(Some(Role::Operator)),
        [
            "clear_orphan",
            "disengage_kill_switch",
            "list_audit",
            "lock",
            "move_capital",
            "override_limit",
            "reset_circuit_breaker",
            "resolve_order",
            "resume_parent",
            "run_reconciliation",
            "set_limit",
            "trip_circuit_breaker",
            "unlock",
        ]
    );
    assert!(of(Some(Role::Admin)).is_empty());
    for (name, (role, method, path)) in operations() {
        let is_read = method == Method::GET && role.is_some() && name != "list_audit";
        assert_eq!(role == Some(Role::Viewer), is_read, "{name} {path}");
    }
}

#[actix_web::test]
async fn every_endpoint_lets_in_who_may_and_nobody_else() {
    let mut fixture = Fixture::ready();
    fixture.state.access = Access::Keyed(None);
    let keys = Role::ALL.iter().map(|role| (*role, fixture.notes.give_key(role.as_str(), *role))).collect::<Vec<_>>();
    let app = serve!(fixture);
    for (name, (least, method, path)) in operations() {
        let path = path.replace("{id}", "abc");
        let asked = |key: Option<&str>| {
            let body = if method == Method::GET { None } else { Some(b"{}".to_vec()) };
            let asked = ask(method.clone(), &path);
            let asked = body.into_iter().fold(asked, Ask::bytes);
            asked.header("authorization", &key.map(|key| format!("Bearer {key}")).unwrap_or_default())
        };
        let stranger = asked(None).of(&app).await;
        assert_eq!(stranger.status == StatusCode::UNAUTHORIZED, least.is_some(), "{name} without a key");
        for (role, key) in &keys {
            let sent = fixture.notes.sent().len();
            let answer = asked(Some(key)).of(&app).await;
            if least.is_none_or(|least| least <= *role) {
                assert!(![401, 403].contains(&answer.status.as_u16()), "{name} as {role}: {}", answer.status);
            } else {
                assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "forbidden"), "{name} as {role}");
                assert_eq!(answer.body["needs"], least.unwrap().as_str());
                assert_eq!(fixture.notes.sent().len(), sent, "{name} as {role}");
            }
        }
    }
}

#[actix_web::test]
async fn who_may_stop_everything_may_not_thereby_close_everything() {
    let mut fixture = Fixture::ready();
    fixture.state.access = Access::Keyed(None);
    let keys = Role::ALL.iter().map(|role| (*role, fixture.notes.give_key(role.as_str(), *role))).collect::<Vec<_>>();
    let app = serve!(fixture);
    for (role, key) in keys.iter().filter(|(role, _)| *role >= Role::Trader) {
        for mode in ["halt", "cancel", "flatten"] {
            let body = format!(r#"{{"operator":"ann","reason":"a drill","mode":"{mode}"}}"#);
            let asked = ask(Method::POST, "/api/v1/kill-switch/engage").bytes(body.into_bytes());
            let answer = asked.header("authorization", &format!("Bearer {key}")).of(&app).await;
            if mode == "flatten" && *role < Role::Operator {
                assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "forbidden"), "{role}");
                assert_eq!(answer.body["needs"], "operator");
            } else {
                assert_ne!(answer.status, StatusCode::FORBIDDEN, "{mode} as {role}");
            }
        }
    }
}
