//! Who may what, held against the description of the API.

use std::collections::BTreeMap;

use tranche_actors::domain::names::Role;

use super::*;

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
            "move_capital",
            "reset_circuit_breaker",
            "resolve_order",
            "resume_parent",
            "run_reconciliation",
            "trip_circuit_breaker",
        ]
    );
    assert!(of(Some(Role::Admin)).is_empty());
    for (name, (role, method, path)) in operations() {
        assert_eq!(role == Some(Role::Viewer), method == Method::GET && role.is_some(), "{name} {path}");
    }
}
