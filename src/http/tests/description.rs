//! The description of the API against the API.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::fakes::{compared, engaged};
use super::*;

fn description() -> Value {
    serde_json::from_str(&super::super::openapi::json()).unwrap()
}

#[actix_web::test]
async fn it_has_just_the_paths_that_are_served() {
    let described = description();
    assert_eq!(described["openapi"], "3.1.0");
    let mut documented = BTreeSet::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        documented.extend(item.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase())));
    }
    let pages = |path: &str| path.starts_with("/docs") || path == "/openapi.json";
    let mut served = BTreeSet::new();
    for endpoint in routes::endpoints().into_iter().filter(|endpoint| !pages(endpoint.path)) {
        served.extend(endpoint.rows.iter().map(|row| (endpoint.path.to_owned(), row.method.to_string())));
    }
    assert_eq!(documented, served);

    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    for (path, _) in &served {
        for method in &methods {
            let answer = ask(method.clone(), &path.replace("{id}", "abc")).of(&app).await;
            let is_served = served.contains(&(path.clone(), method.to_string()));
            assert_eq!(answer.status.as_u16() != 405, is_served, "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn its_operations_have_names_and_problems() {
    let described = description();
    let mut names = BTreeSet::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
            assert!(!operation["responses"].as_object().unwrap().is_empty());
        }
    }
    assert_eq!(described["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    references(&described, &mut |name| {
        assert!(described["components"]["schemas"].get(name).is_some(), "{name} is not described");
    });
}

#[actix_web::test]
async fn what_needs_a_key_says_how_it_refuses() {
    let described = description();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let refusal = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"];
            assert!(refusal.is_object() || operation["security"] == json!([]), "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn the_ids_of_submissions_lead_to_operations_that_there_are() {
    let described = description();
    let operations = described["paths"].as_object().unwrap().values();
    let operations = operations.flat_map(|item| item.as_object().unwrap().values()).collect::<Vec<_>>();
    let takes_an_id = |name: &Value| {
        let found = operations.iter().find(|operation| operation["operationId"] == *name);
        let parameters = found.unwrap_or_else(|| panic!("there is no {name}"))["parameters"].as_array().unwrap();
        parameters.iter().any(|parameter| parameter["name"] == "id" && parameter["in"] == "path")
    };
    for path in ["/api/v1/orders", "/api/v1/orders/slice"] {
        for status in ["200", "201"] {
            let links = described["paths"][path]["post"]["responses"][status]["links"].as_object().unwrap();
            assert!(links.len() >= 4, "{links:?}");
            assert!(links.values().all(|link| takes_an_id(&link["operationId"])), "{links:?}");
        }
    }
}

#[actix_web::test]
async fn a_request_has_no_other_fields_and_every_filter_may_be_empty() {
    let described = description();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(body) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() {
                let name = body.trim_start_matches("#/components/schemas/");
                let schema = &described["components"]["schemas"][name];
                assert_eq!(schema["additionalProperties"], false, "{method} {path}: {schema}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let schema = &parameter["schema"];
                let empty = schema["oneOf"].as_array().into_iter().flatten().any(|choice| choice["maxLength"] == 0);
                let is_filter = parameter["in"] == "query" && parameter["required"] == false;
                assert_eq!(empty, is_filter, "{method} {path}: {parameter}");
            }
        }
    }
}

fn references(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(object) => {
            if let Some(name) = object.get("$ref").and_then(Value::as_str) {
                found(name.trim_start_matches("#/components/schemas/"));
            }
            object.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What of a value a schema doesn't describe.
fn differences(all: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/components/schemas/");
        return differences(all, &all["components"]["schemas"][name], value, at);
    }
    for any in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[any].as_array() {
            let tried = choices.iter().map(|choice| differences(all, choice, value, at));
            return tried.min_by_key(Vec::len).unwrap_or_default();
        }
    }
    if let (Some(object), Some(_)) = (value.as_object(), schema.get("allOf").or(schema.get("properties"))) {
        let mut properties = BTreeMap::new();
        collect(all, schema, &mut properties);
        let mut found = Vec::new();
        for (name, inner) in object {
            match properties.get(name) {
                Some((schema, _)) => found.extend(differences(all, schema, inner, &format!("{at}.{name}"))),
                None => found.push(format!("{at}.{name} is not described")),
            }
        }
        for (name, (_, required)) in &properties {
            if *required && !object.contains_key(name) {
                found.push(format!("{at}.{name} is missing"));
            }
        }
        return found;
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Vec::new(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return vec![format!("{at} is {kind}, described as {kinds:?}")];
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return vec![format!("{at} is {value}, which is not among its words")];
    }
    if let Some(items) = value.as_array() {
        return items.iter().flat_map(|item| differences(all, &schema["items"], item, at)).collect();
    }
    if let (Some(object), Some(each)) = (value.as_object(), schema.get("additionalProperties")) {
        return object.values().flat_map(|inner| differences(all, each, inner, at)).collect();
    }
    Vec::new()
}

fn collect(all: &Value, schema: &Value, properties: &mut BTreeMap<String, (Value, bool)>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/components/schemas/");
        collect(all, &all["components"]["schemas"][name], properties);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect(all, part, properties);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let required = schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
        properties.insert(name.clone(), (property.clone(), required));
    }
}

#[actix_web::test]
async fn its_schemas_are_those_of_real_answers() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let described = description();
    let parent = "20abc83977c561c389787d47";
    let single = post("/api/v1/orders", SINGLE).of(&app).await.body["client_order_id"].as_str().unwrap().to_owned();
    let engage = r#"{"operator":"ops","reason":"prices look wrong"}"#;
    let reset = r#"{"operator":"ops","reason":"the venue is back and was checked"}"#;
    fixture.state.health.set_kill(Some(engaged()));
    fixture.state.accounts.first().health.set_comparison(compared());
    for (asked, template) in [
        (post("/api/v1/orders/slice", PARENT), "/api/v1/orders/slice"),
        (post("/api/v1/orders/slice", PARENT), "/api/v1/orders/slice"),
        (post("/api/v1/orders/slice/preview", PARENT), "/api/v1/orders/slice/preview"),
        (post("/api/v1/orders", SINGLE), "/api/v1/orders"),
        (get("/api/v1/orders"), "/api/v1/orders"),
        (get("/api/v1/orders?kind=parent"), "/api/v1/orders"),
        (get(&format!("/api/v1/orders/{parent}")), "/api/v1/orders/{id}"),
        (get(&format!("/api/v1/orders/{single}")), "/api/v1/orders/{id}"),
        (get(&format!("/api/v1/orders/{parent}/slices")), "/api/v1/orders/{id}/slices"),
        (ask(Method::DELETE, &format!("/api/v1/orders/{parent}/slices")), "/api/v1/orders/{id}/slices"),
        (post(&format!("/api/v1/orders/{parent}/resume"), ""), "/api/v1/orders/{id}/resume"),
        (post(&format!("/api/v1/orders/{single}/cancel"), ""), "/api/v1/orders/{id}/cancel"),
        (get(&format!("/api/v1/orders/{single}/events")), "/api/v1/orders/{id}/events"),
        (post("/api/v1/kill-switch/engage", engage), "/api/v1/kill-switch/engage"),
        (post("/api/v1/kill-switch/disengage", r#"{"operator":"ops"}"#), "/api/v1/kill-switch/disengage"),
        (get("/api/v1/kill-switch/status"), "/api/v1/kill-switch/status"),
        (get("/api/v1/kill-switch/history"), "/api/v1/kill-switch/history"),
        (post("/api/v1/circuit-breaker/trip", engage), "/api/v1/circuit-breaker/trip"),
        (post("/api/v1/circuit-breaker/reset", reset), "/api/v1/circuit-breaker/reset"),
        (get("/api/v1/circuit-breaker/status"), "/api/v1/circuit-breaker/status"),
        (get("/api/v1/positions"), "/api/v1/positions"),
        (get("/api/v1/positions/AAPL"), "/api/v1/positions/{symbol}"),
        (get("/api/v1/portfolio"), "/api/v1/portfolio"),
        (get("/api/v1/portfolio/capital"), "/api/v1/portfolio/capital"),
        (post("/api/v1/portfolio/capital", DEPOSIT), "/api/v1/portfolio/capital"),
        (get("/api/v1/pnl/daily"), "/api/v1/pnl/daily"),
        (get("/api/v1/reconciliation/status"), "/api/v1/reconciliation/status"),
        (post("/api/v1/reconciliation/run", ""), "/api/v1/reconciliation/run"),
        (get("/api/v1/reconciliation/orphans"), "/api/v1/reconciliation/orphans"),
        (
            ask(Method::DELETE, "/api/v1/reconciliation/orphans/b-1?operator=ops&reason=mine"),
            "/api/v1/reconciliation/orphans/{id}",
        ),
        (get("/api/v1/audit?limit=1"), "/api/v1/audit"),
        (get("/api/v1/status"), "/api/v1/status"),
        (get("/livez"), "/livez"),
        (get("/readyz"), "/readyz"),
        (get("/api/v1/orders/nothing"), "/api/v1/orders/{id}"),
        (post("/api/v1/orders/slice", "{}"), "/api/v1/orders/slice"),
    ] {
        let method = asked.method.as_str().to_lowercase();
        let path = asked.path.clone();
        let answer = asked.of(&app).await;
        let responses = &described["paths"][template][&method]["responses"];
        let status = answer.status.as_u16().to_string();
        let response = responses.get(&status).unwrap_or(&responses["default"]);
        let kind = if answer.status.is_success() { "application/json" } else { "application/problem+json" };
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {path} {status}: {response}");
        assert_eq!(differences(&described, schema, &answer.body, ""), Vec::<String>::new(), "{method} {path}");
    }
}

#[actix_web::test]
async fn the_page_is_served_from_the_program_alone() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let redirect = get("/docs").of(&app).await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (308, "/docs/"));
    let page = get("/docs/").of(&app).await;
    assert!(page.header("content-type").starts_with("text/html"));
    for outside in ["http://", "https://", "//cdn"] {
        let asks = ["src=\"", "href=\""].iter().any(|attribute| page.text.contains(&format!("{attribute}{outside}")));
        assert!(!asks, "{}", page.text);
    }
    let script = get("/docs/swagger-initializer.js").of(&app).await;
    assert!(
        script.text.contains("/openapi.json") && script.text.contains("\"validatorUrl\": \"none\""),
        "{}",
        script.text
    );
    let served = get("/openapi.json").of(&app).await;
    assert_eq!(served.body, description());
}
