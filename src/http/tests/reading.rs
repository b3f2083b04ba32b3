//! How requests are read: decimals to the last digit, keys, sizes, types, and one hash for one request.

use actix_web::http::StatusCode;

use super::*;

#[actix_web::test]
async fn every_digit_of_a_decimal_counts_however_it_is_written() {
    for (written, read) in [
        ("123456789.123456789", "123456789.123456789"),
        ("\"123456789.123456789\"", "123456789.123456789"),
        ("999999999999.999999999", "999999999999.999999999"),
        ("0.1", "0.1"),
        ("1e3", "1000"),
        ("1.50e1", "15"),
        ("\"0010.500\"", "10.5"),
    ] {
        let fixture = Fixture::ready();
        let app = serve!(fixture);
        let body = format!(r#"{{"symbol":"AAPL","side":"buy","qty":{written},"order_type":"market"}}"#);
        post("/api/v1/orders", body).of(&app).await;
        let sent = fixture.notes.sent().pop().unwrap();
        assert!(sent.contains(&format!("qty: Qty({read})")), "{written}: {sent}");
    }
}

#[actix_web::test]
async fn one_request_has_one_hash_however_it_is_spelled() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let same = [
        r#"{"symbol":"AAPL","side":"buy","qty":"100","order_type":"limit","limit_price":"99.5","duration_minutes":5}"#,
        r#"{"duration_minutes":5,"limit_price":99.50,"order_type":"limit","qty":1e2,"side":"buy","symbol":"aapl"}"#,
        r#"{"symbol":"AAPL","side":"buy","qty":100.0,"order_type":"limit","limit_price":"99.500","duration_minutes":5,
            "interval_seconds":60,"time_in_force":"day","strategy_id":"default","account":"default","catch_up":"skip",
            "completion":"cancel","extended_hours":false,"client_order_id":null}"#,
    ];
    for body in same {
        post("/api/v1/orders/slice", body).of(&app).await;
    }
    let other = [
        same[0].replace("\"100\"", "\"101\""),
        same[0].replace("\"duration_minutes\":5", "\"duration_seconds\":300"),
        same[0].replace("99.5", "99.51"),
        same[0].replacen('{', "{\"completion\":\"leave\",", 1),
        same[0].replacen('{', "{\"interval_seconds\":30,", 1),
        same[0].replacen('{', "{\"trade_date\":\"2026-11-21\",", 1),
        same[0].replacen('{', "{\"client_order_id\":\"mine\",", 1),
        same[0].replacen('{', "{\"start_time\":\"2026-11-21T15:00:00Z\",", 1),
        same[0].replacen('{', "{\"max_slice_qty\":50,", 1),
        same[0].replacen('{', "{\"randomize\":{\"size_pct\":1},", 1),
        same[0].replacen('{', "{\"randomize\":{\"time_pct\":1},", 1),
        same[0].replacen('{', "{\"randomize\":{\"time_pct\":1,\"seed\":\"s\"},", 1),
        same[0].replacen('{', "{\"extended_hours\":true,", 1),
        same[0].replacen('{', "{\"strategy_id\":\"s\",", 1),
    ];
    for body in &other {
        assert!(post("/api/v1/orders/slice", body.clone()).of(&app).await.status.is_success(), "{body}");
    }
    let hashes = fixture.notes.hashes();
    assert_eq!(hashes.len(), same.len() + other.len());
    assert!(hashes[..same.len()].iter().all(|hash| *hash == hashes[0] && hash.len() == 64));
    let mut distinct = hashes[same.len() - 1..].to_vec();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), other.len() + 1);
}

#[actix_web::test]
async fn idempotency_keys_are_quoted_or_bare_and_checked() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let parent = |key: &str| post("/api/v1/orders/slice", PARENT).header("idempotency-key", key);
    for key in ["k1", "\"k1\""] {
        let answer = parent(key).of(&app).await;
        assert_eq!(answer.body["parent_order_id"], "8c947291d7c16ec35ac68e9d", "{key}");
    }
    let longest = "k".repeat(128);
    assert!(parent(&longest).of(&app).await.status.is_success());
    let sent = fixture.notes.sent().len();
    for key in ["a b", "a|b", "\"\"", "\"a\"b\"", "\"a\\\"", "\"a", "a\"", "\"", "a\"b", &"k".repeat(129)] {
        for path in [
            "/api/v1/orders/slice",
            "/api/v1/orders/slice/preview",
            "/api/v1/orders",
            "/api/v1/kill-switch/engage",
            "/api/v1/kill-switch/disengage",
            "/api/v1/circuit-breaker/trip",
            "/api/v1/orders/abc/resolve",
        ] {
            let answer = post(path, "{}").header("idempotency-key", key).of(&app).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "invalid_idempotency_key"), "{key}");
            assert!(answer.body["detail"].as_str().unwrap().contains("Idempotency-Key"));
        }
    }
    let mut twice = parent("k1");
    twice.headers.push(("idempotency-key", "k2".to_owned()));
    assert_eq!(twice.of(&app).await.code(), "invalid_idempotency_key");
    assert_eq!(fixture.notes.sent().len(), sent);
}

#[actix_web::test]
async fn a_body_may_be_64_kib_and_no_byte_more() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    for path in ["/api/v1/orders", "/api/v1/orders/slice", "/api/v1/kill-switch/engage", "/api/v1/orders/abc/cancel"] {
        let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
        let fits = post(path, padded(65_536)).of(&app).await;
        assert_ne!(fits.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let sent = fixture.notes.sent().len();
        let over = post(path, padded(65_537)).of(&app).await;
        assert_eq!((over.status, over.code()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"), "{path}");
        let announced = post(path, padded(65_537)).header("content-length", "65537").of(&app).await;
        assert_eq!(announced.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!(fixture.notes.sent().len(), sent);
    }
    let whole = format!("{PARENT}{}", " ".repeat(65_536 - PARENT.len()));
    assert_eq!(post("/api/v1/orders/slice", whole).of(&app).await.status, StatusCode::CREATED);
}

#[actix_web::test]
async fn a_body_has_to_be_said_to_be_json() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"] {
        for path in ["/api/v1/orders", "/api/v1/orders/abc/cancel", "/api/v1/kill-switch/engage"] {
            let answer = post(path, SINGLE).header("content-type", kind).of(&app).await;
            assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
            assert_eq!(answer.code(), "unsupported_media_type");
        }
    }
    let zipped = post("/api/v1/orders", SINGLE).header("content-encoding", "gzip").of(&app).await;
    assert_eq!(zipped.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(fixture.notes.sent().is_empty());
    for kind in [
        "application/json; charset=latin1",
        "application/json;Charset=\"utf-16\"",
        "application/json; charset=utf-8; charset=latin1",
        "application/json; charset=",
    ] {
        let answer = post("/api/v1/orders", SINGLE).header("content-type", kind).of(&app).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    assert!(fixture.notes.sent().is_empty());
    for kind in ["application/json; charset=utf-8", "application/json;charset=\"UTF-8\"", "Application/JSON"] {
        let answer = post("/api/v1/orders", SINGLE).header("content-type", kind).of(&app).await;
        assert!(answer.status.is_success(), "{kind}");
    }
}
