//! What the server says about itself: its description, its pages, its metrics.

use std::collections::BTreeSet;

use serde_json::json;

use crate::house::{House, SOON};

#[tokio::test]
async fn the_description_lists_every_endpoint_and_each_of_them_is_there() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let (status, description) = server.api.get("/openapi.json").await;
    assert_eq!(status, 200);
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut listed = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            listed.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    for promised in [
        "POST /api/v1/orders/slice",
        "POST /api/v1/orders/slice/preview",
        "GET /api/v1/orders/{id}/slices",
        "DELETE /api/v1/orders/{id}/slices",
        "POST /api/v1/orders",
        "GET /api/v1/orders",
        "GET /api/v1/orders/{id}",
        "POST /api/v1/orders/{id}/cancel",
        "POST /api/v1/orders/{id}/resolve",
        "GET /api/v1/orders/{id}/events",
        "POST /api/v1/kill-switch/engage",
        "POST /api/v1/kill-switch/disengage",
        "GET /api/v1/kill-switch/status",
        "GET /api/v1/kill-switch/history",
        "GET /api/v1/circuit-breaker/status",
        "POST /api/v1/circuit-breaker/trip",
        "POST /api/v1/circuit-breaker/reset",
        "GET /api/v1/circuit-breaker/history",
        "GET /api/v1/positions",
        "GET /api/v1/status",
        "GET /livez",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    ] {
        assert!(listed.contains(promised), "{promised} is not in {listed:?}");
    }
    for endpoint in &listed {
        let (method, path) = endpoint.split_once(' ').unwrap();
        let path = path.replace("{id}", "nothing").replace("{parent}", "nothing");
        let response = server.api.request(method, &path).json(&json!({})).send().await.unwrap();
        let status = response.status().as_u16();
        assert!(status != 405 && status < 500, "{endpoint}: {status}");
    }
}

#[tokio::test]
async fn the_page_to_try_it_comes_whole_from_the_program() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let page = server.api.request("GET", "/docs").send().await.unwrap();
    assert_eq!(page.status().as_u16(), 200, "it leads to the page");
    let base = page.url().clone();
    let html = page.text().await.unwrap();
    let mut names =
        html.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")).collect::<BTreeSet<_>>();
    assert!(names.len() >= 2, "{html}");
    let mut foreign = html.split(['"', '\'']).filter(|part| part.starts_with("http") || part.starts_with("//"));
    assert_eq!(foreign.next(), None, "nothing comes from elsewhere");
    while let Some(name) = names.pop_first() {
        let url = base.join(name).unwrap();
        let path = url.path().to_owned();
        let response = server.api.request("GET", &path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        assert!(!response.text().await.unwrap().is_empty(), "{path}");
    }
}

/// A line of Prometheus's text format: `name{label="value",…} number`.
fn assert_sample(line: &str, types: &BTreeSet<String>) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let is_number = value.parse::<f64>().is_ok() || ["+Inf", "-Inf", "NaN"].contains(&value);
    assert!(is_number, "{line}");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
        None => (series, ""),
    };
    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{line}");
    let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    assert!(types.contains(name) || types.contains(family), "no TYPE before {line}");
    for label in labels.split("\",").filter(|label| !label.is_empty()) {
        let (key, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(!key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        assert!(!value.trim_end_matches('"').contains('"'), "{line}");
    }
}

#[tokio::test]
async fn the_metrics_are_prometheus_text_with_the_names_of_the_gateway() {
    let house = House::new(&[]);
    let server = house.serve().await;
    let body = json!({"symbol": "AAPL", "side": "buy", "qty": "4", "order_type": "market", "duration_seconds": 2, "interval_seconds": 1, "client_order_id": "p"});
    server.api.slice(body).await;
    server.api.until_ended("p", SOON).await;
    let response = server.api.request("GET", "/metrics").send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.text().await.unwrap();
    let mut types = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# TYPE ") {
            Some(family) => assert!(types.insert(family.split(' ').next().unwrap().to_owned()), "twice: {line}"),
            None if line.starts_with("# HELP ") => {}
            None => assert_sample(line, &types),
        }
    }
    for name in [
        "tranche_build_info",
        "tranche_slice_lateness_seconds",
        "tranche_submit_to_ack_seconds",
        "tranche_commit_duration_seconds",
        "tranche_http_requests_total",
    ] {
        assert!(types.contains(name), "{name} is not in {types:?}");
    }
}
