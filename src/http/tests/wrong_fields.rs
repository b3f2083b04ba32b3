//! Each field of each endpoint, wrong in each way: the answer names the field, and nothing is sent.

use std::collections::BTreeMap;

use actix_web::http::{Method, StatusCode};
use serde_json::Value;

use super::*;

/// What a field takes, and so what is wrong for it.
#[derive(Clone, Copy)]
enum Kind {
    Symbol,
    Word,
    Decimal,
    Percent,
    Share,
    Integer { least: u32, most: u32 },
    Boolean,
    Time,
    Date,
    Strategy,
    Account,
    OwnId,
    Words(usize),
    Details,
    Object,
    Unsupported,
    Scope,
}

/// Wrong values, as JSON spells them.
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn wrong(kind: Kind) -> Vec<String> {
    let texts = |bad: &[&str]| bad.iter().map(|text| serde_json::json!(text).to_string()).collect::<Vec<_>>();
    let raws = |bad: &[&str]| bad.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let not_a_text = raws(&["5", "1.5", "true", "[]", "[\"a\"]", "{}"]);
    let name = |longest: usize, bad: &[&str]| {
        let mut all = not_a_text.clone();
        all.extend(texts(bad));
        all.extend(texts(&["", " ", "a b", "a\u{0}b", "ü", "a|b", &"a".repeat(longest + 1)]));
        all
    };
    match kind {
        Kind::Symbol => name(32, &["A_B", "A\nB"]),
        Kind::Strategy => name(64, &["a/b"]),
        Kind::Account => name(32, &["Default", "a-b"]),
        Kind::OwnId => name(64, &["flatten.1", "saga.x", "abc.r1", "slice", ".", "..", "a/b"]),
        Kind::Word => [not_a_text, texts(&["", "nonsense", "MARKET", " buy"])].concat(),
        Kind::Scope => [
            raws(&["5", "true", "[]", "[\"global\"]", "{\"account\":\"a b\"}", "{\"venue\":\"x\"}", "{}"]),
            texts(&["", "Global", "account"]),
        ]
        .concat(),
        Kind::Decimal => [
            raws(&[
                "true",
                "[]",
                "[1]",
                "{}",
                "-1",
                "0",
                "0.0",
                "-0",
                "1e13",
                "1e40",
                "0.0000000001",
                "1.0000000001",
                "12345678901234567890123456789012345678901234567890",
            ]),
            texts(&["", " ", "abc", "-5", "0", "NaN", "Infinity", "1,5", "0x10", "1_000", " 1", "1.0000000001", "١"]),
        ]
        .concat(),
        Kind::Percent => [
            raws(&["true", "[]", "{}", "-1", "100.1", "1e9", "0.0000000001"]),
            texts(&["", "abc", "-0.1", "101", "20%"]),
        ]
        .concat(),
        Kind::Share => {
            [raws(&["true", "[]", "{}", "-1", "0", "100", "1e9", "0.0000000001"]), texts(&["", "abc", "100", "5%"])]
                .concat()
        }
        Kind::Integer { least, most } => {
            let mut all =
                raws(&["-1", "-0.5", "1.5", "5.0", "5e0", "\"5\"", "true", "[]", "{}", "[5]", "99999999999999999999"]);
            all.extend((least > 0).then(|| "0".to_owned()));
            all.push((u64::from(most) + 1).to_string());
            all
        }
        Kind::Boolean => raws(&["0", "1", "\"true\"", "\"\"", "[]", "{}"]),
        Kind::Time => [
            raws(&["1700000000", "true", "[]", "{}"]),
            texts(&["", "now", "2026-11-21", "2026-11-21T14:30:00", "2026-13-01T00:00:00Z", "2026-11-21T23:59:60Z"]),
        ]
        .concat(),
        Kind::Date => [
            raws(&["20261121", "true", "[]", "{}"]),
            texts(&["", "21.11.2026", "2026-1-5", "2026-11-31", "2026-11-21T00:00:00Z", "+12026-11-21"]),
        ]
        .concat(),
        Kind::Words(longest) => {
            [not_a_text, texts(&["", "  ", "a\u{7}b", "a\nb", &"a".repeat(longest + 1), &"ü".repeat(longest + 1)])]
                .concat()
        }
        Kind::Details => [
            raws(&["5", "\"text\"", "true", "[]", "[{}]"]),
            vec![format!("{{\"a\":\"{}\"}}", "x".repeat(16 * 1_024))],
            vec![format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200))],
        ]
        .concat(),
        Kind::Object => raws(&["5", "\"text\"", "true", "[]", "[{}]"]),
        Kind::Unsupported => raws(&["5", "\"5\"", "true", "[]", "{}"]),
    }
}

struct Endpoint {
    path: &'static str,
    /// The schema of its body.
    schema: &'static str,
    valid: BTreeMap<&'static str, &'static str>,
    required: &'static [&'static str],
    fields: Vec<(&'static str, Kind)>,
}

const SECONDS: Kind = Kind::Integer { least: 1, most: 31_536_000 };

fn order_fields() -> Vec<(&'static str, Kind)> {
    vec![
        ("symbol", Kind::Symbol),
        ("side", Kind::Word),
        ("qty", Kind::Decimal),
        ("order_type", Kind::Word),
        ("limit_price", Kind::Decimal),
        ("stop_price", Kind::Decimal),
        ("time_in_force", Kind::Word),
        ("trade_date", Kind::Date),
        ("strategy_id", Kind::Strategy),
        ("account", Kind::Account),
        ("client_order_id", Kind::OwnId),
        ("extended_hours", Kind::Boolean),
    ]
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn endpoints() -> Vec<Endpoint> {
    let order = [
        ("symbol", r#""AAPL""#),
        ("side", r#""buy""#),
        ("qty", r#""1000""#),
        ("order_type", r#""stop_limit""#),
        ("limit_price", r#""10""#),
        ("stop_price", r#""11""#),
    ];
    let mut parent = BTreeMap::from(order);
    parent.insert("duration_minutes", "5");
    let parent_fields = [
        order_fields(),
        vec![
            ("duration_minutes", Kind::Integer { least: 1, most: 525_600 }),
            ("duration_seconds", SECONDS),
            ("interval_seconds", SECONDS),
            ("start_time", Kind::Time),
            ("max_slice_qty", Kind::Decimal),
            ("randomize", Kind::Object),
            ("catch_up", Kind::Word),
            ("completion", Kind::Word),
            ("price_bound", Kind::Unsupported),
        ],
    ]
    .concat();
    let single_fields = [order_fields(), vec![("trail_price", Kind::Decimal), ("trail_percent", Kind::Share)]].concat();
    let trailing = |trail: &'static str| {
        let mut order = BTreeMap::from(order);
        order.retain(|name, _| !["limit_price", "stop_price"].contains(name));
        order.insert("order_type", r#""trailing_stop""#);
        order.insert(trail, "5");
        order
    };
    let of_operators = BTreeMap::from([("operator", r#""ops""#), ("reason", r#""the venue is back and was checked""#)]);
    let said = [("operator", Kind::Words(64)), ("reason", Kind::Words(500))];
    let body = |path, schema, valid: &BTreeMap<_, _>, required, fields: &[_]| Endpoint {
        path,
        schema,
        valid: valid.clone(),
        required,
        fields: fields.to_vec(),
    };
    let required_of_parents: &[&str] =
        &["symbol", "side", "qty", "order_type", "duration_minutes", "limit_price", "stop_price"];
    vec![
        body("/api/v1/orders/slice", "ParentOrder", &parent, required_of_parents, &parent_fields),
        body("/api/v1/orders/slice/preview", "ParentOrder", &parent, required_of_parents, &parent_fields),
        body(
            "/api/v1/orders",
            "SingleOrder",
            &BTreeMap::from(order),
            &["symbol", "side", "qty", "order_type", "limit_price", "stop_price"],
            &single_fields,
        ),
        body(
            "/api/v1/orders",
            "SingleOrder",
            &trailing("trail_price"),
            &["symbol", "side", "qty", "order_type", "trail_price"],
            &single_fields,
        ),
        body(
            "/api/v1/orders",
            "SingleOrder",
            &trailing("trail_percent"),
            &["symbol", "side", "qty", "order_type"],
            &single_fields.iter().filter(|(name, _)| *name != "trail_price").copied().collect::<Vec<_>>(),
        ),
        body(
            "/api/v1/orders/abc/resolve",
            "ResolveOrder",
            &BTreeMap::from([
                ("as", r#""filled""#),
                ("filled_qty", "10"),
                ("filled_avg_price", r#""9.5""#),
                ("reason", r#""seen""#),
            ]),
            &["as", "reason", "filled_qty", "filled_avg_price"],
            &[
                ("as", Kind::Word),
                ("filled_qty", Kind::Decimal),
                ("filled_avg_price", Kind::Decimal),
                ("reason", Kind::Words(500)),
            ],
        ),
        body(
            "/api/v1/kill-switch/engage",
            "Engage",
            &of_operators,
            &["operator", "reason"],
            &[
                said[0],
                said[1],
                ("scope", Kind::Scope),
                ("mode", Kind::Word),
                ("details", Kind::Details),
                ("settle_ms", Kind::Integer { least: 0, most: 30_000 }),
            ],
        ),
        body(
            "/api/v1/kill-switch/disengage",
            "Disengage",
            &BTreeMap::from([("operator", r#""ops""#)]),
            &["operator"],
            &[said[0], ("notes", Kind::Words(500)), ("scope", Kind::Scope)],
        ),
        body(
            "/api/v1/circuit-breaker/trip",
            "Trip",
            &of_operators,
            &["operator", "reason"],
            &[said[0], said[1], ("details", Kind::Details)],
        ),
        body("/api/v1/circuit-breaker/reset", "Reset", &of_operators, &["operator", "reason"], &said),
    ]
}

fn written(fields: &BTreeMap<&str, &str>) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

#[actix_web::test]
async fn each_field_wrong_in_each_way_is_named_and_nothing_is_sent() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let mut tried = 0;
    for endpoint in endpoints() {
        let mut bodies = Vec::new();
        for (field, kind) in &endpoint.fields {
            for value in wrong(*kind) {
                let mut body = endpoint.valid.clone();
                // Two durations would be a fault of their own.
                if *field == "duration_seconds" {
                    body.remove("duration_minutes");
                }
                body.insert(field, &value);
                bodies.push((*field, written(&body)));
            }
        }
        for field in endpoint.required {
            let mut body = endpoint.valid.clone();
            body.remove(field);
            bodies.push((*field, written(&body)));
            body.insert(field, "null");
            bodies.push((*field, written(&body)));
        }
        let mut body = endpoint.valid.clone();
        body.insert("nonsense", "null");
        bodies.push(("nonsense", written(&body)));
        let twice = written(&endpoint.valid).replacen('{', &format!("{{\"{}\":null,", endpoint.required[0]), 1);
        bodies.push((endpoint.required[0], twice));
        for (field, body) in bodies {
            let answer = post(endpoint.path, body.clone()).of(&app).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{} {body}: {}", endpoint.path, answer.text);
            assert_eq!(answer.faulty_fields(), [field], "{} {body}: {}", endpoint.path, answer.text);
            assert_eq!(answer.header("content-type"), "application/problem+json");
            tried += 1;
        }
    }
    assert!(tried > 900, "{tried}");
    assert_eq!(fixture.notes.sent(), Vec::<String>::new());
}

#[actix_web::test]
async fn the_valid_bodies_of_the_table_are_sent_with_every_optional_field_null() {
    for endpoint in endpoints() {
        let fixture = Fixture::ready();
        let app = serve!(fixture);
        let mut body = endpoint.valid.clone();
        for (field, _) in &endpoint.fields {
            body.entry(field).or_insert("null");
        }
        let answer = post(endpoint.path, written(&body)).of(&app).await;
        let sent = usize::from(!endpoint.path.ends_with("/preview"));
        assert_eq!(fixture.notes.sent().len(), sent, "{} {}", endpoint.path, answer.text);
    }
}

#[actix_web::test]
async fn the_table_has_just_the_fields_that_are_documented() {
    let description: Value = serde_json::from_str(&super::super::openapi::json()).unwrap();
    // Where an endpoint stands there again, it is for other values of the same fields.
    let mut schemas = std::collections::BTreeSet::new();
    for endpoint in endpoints().into_iter().filter(|endpoint| schemas.insert((endpoint.path, endpoint.schema))) {
        let schema = &description["components"]["schemas"][endpoint.schema];
        let documented = schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let mut tried = endpoint.fields.iter().map(|(field, _)| (*field).to_owned()).collect::<Vec<_>>();
        tried.sort();
        let mut sorted = documented.clone();
        sorted.sort();
        assert_eq!(tried, sorted, "{}", endpoint.schema);
    }
}

#[actix_web::test]
async fn fields_within_fields_are_named_with_dots() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let parent = |randomize: &str| PARENT.replacen('{', &format!("{{\"randomize\":{randomize},"), 1);
    for field in ["size_pct", "time_pct"] {
        for value in wrong(Kind::Percent) {
            let other = if field == "size_pct" { "time_pct" } else { "size_pct" };
            let body = parent(&format!("{{\"{field}\":{value},\"{other}\":5}}"));
            let answer = post("/api/v1/orders/slice", body).of(&app).await;
            assert_eq!(answer.faulty_fields(), [format!("randomize.{field}")], "{value}");
        }
    }
    for value in wrong(Kind::Words(64)) {
        let body = parent(&format!("{{\"size_pct\":5,\"seed\":{value}}}"));
        let answer = post("/api/v1/orders/slice", body).of(&app).await;
        assert_eq!(answer.faulty_fields(), ["randomize.seed"], "{value}");
    }
    for (randomize, field) in [
        ("{}", "randomize.size_pct"),
        ("{\"seed\":\"a\"}", "randomize.size_pct"),
        ("{\"size_pct\":1,\"other\":1}", "randomize.other"),
        ("{\"size_pct\":1,\"size_pct\":1}", "randomize.size_pct"),
    ] {
        let answer = post("/api/v1/orders/slice", parent(randomize)).of(&app).await;
        assert_eq!(answer.faulty_fields(), [field], "{randomize}");
    }
    assert!(fixture.notes.sent().is_empty());
}

#[actix_web::test]
async fn what_does_not_go_together_is_named() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let order = |rest: &str| format!(r#"{{"symbol":"AAPL","side":"buy","qty":10,{rest}}}"#);
    for (rest, field, code) in [
        (r#""order_type":"market","limit_price":1"#, "limit_price", "wrong_combination"),
        (r#""order_type":"market","stop_price":1"#, "stop_price", "wrong_combination"),
        (r#""order_type":"limit","limit_price":1,"stop_price":1"#, "stop_price", "wrong_combination"),
        (r#""order_type":"stop","limit_price":1,"stop_price":1"#, "limit_price", "wrong_combination"),
        (r#""order_type":"limit""#, "limit_price", "missing"),
        (r#""order_type":"stop""#, "stop_price", "missing"),
        (r#""order_type":"market","extended_hours":true"#, "extended_hours", "wrong_combination"),
        (
            r#""order_type":"limit","limit_price":1,"time_in_force":"gtc","extended_hours":true"#,
            "extended_hours",
            "wrong_combination",
        ),
        (r#""order_type":"trailing_stop""#, "trail_price", "missing"),
        (r#""order_type":"trailing_stop","trail_price":1,"trail_percent":1"#, "trail_percent", "wrong_combination"),
        (r#""order_type":"trailing_stop","trail_price":1,"stop_price":1"#, "stop_price", "wrong_combination"),
        (r#""order_type":"market","trail_price":1"#, "trail_price", "wrong_combination"),
        (r#""order_type":"stop","stop_price":1,"trail_percent":1"#, "trail_percent", "wrong_combination"),
    ] {
        let answer = post("/api/v1/orders", order(rest)).of(&app).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{rest}");
        assert_eq!(answer.faulty_fields(), [field], "{rest}: {}", answer.text);
        assert_eq!(answer.body["errors"][0]["code"], code, "{rest}");
        assert_eq!(answer.code(), "validation_failed", "{rest}");
    }
    for (rest, field) in [
        (r#""duration_seconds":300"#, "duration_seconds"),
        (r#""catch_up":"spread""#, "catch_up"),
        (r#""completion":"cross""#, "completion"),
        (r#""price_bound":"99""#, "price_bound"),
        (r#""time_in_force":"opg""#, "time_in_force"),
        (r#""trail_price":1"#, "trail_price"),
        (r#""trail_percent":1"#, "trail_percent"),
    ] {
        let body = PARENT.replacen('{', &format!("{{{rest},"), 1);
        let answer = post("/api/v1/orders/slice", body).of(&app).await;
        assert_eq!(answer.faulty_fields(), [field], "{rest}: {}", answer.text);
    }
    for (rest, fields) in [
        (r#""as":"rejected","filled_qty":1,"filled_avg_price":1"#, ["filled_qty", "filled_avg_price"].as_slice()),
        (r#""as":"canceled","filled_qty":1"#, ["filled_avg_price"].as_slice()),
        (r#""as":"canceled","filled_avg_price":1"#, ["filled_qty"].as_slice()),
    ] {
        let body = format!(r#"{{"reason":"seen",{rest}}}"#);
        let answer = post("/api/v1/orders/abc/resolve", body).of(&app).await;
        assert_eq!(answer.faulty_fields(), fields);
    }
    let short = r#"{"operator":"ops","reason":"too short"}"#;
    let answer = post("/api/v1/circuit-breaker/reset", short).of(&app).await;
    assert_eq!(answer.body["errors"][0]["code"], "too_short");
    assert!(fixture.notes.sent().is_empty());
}

#[actix_web::test]
async fn all_faults_are_told_at_once() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let body = r#"{"symbol":"A B","side":"up","qty":-1,"order_type":"limit","duration_minutes":0,"x":1,
        "randomize":{"size_pct":101},"interval_seconds":"60"}"#;
    let answer = post("/api/v1/orders/slice", body).of(&app).await;
    let mut fields = answer.faulty_fields();
    fields.sort_unstable();
    let expected =
        ["duration_minutes", "interval_seconds", "limit_price", "qty", "randomize.size_pct", "side", "symbol", "x"];
    assert_eq!(fields, expected);
    assert!(fixture.notes.sent().is_empty());
}

#[actix_web::test]
async fn a_body_of_nothing_but_brackets_is_refused() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let deep = |name: &str| format!("{{\"{name}\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    for endpoint in endpoints() {
        for body in ["[".repeat(60_000), "{\"a\":".repeat(10_000)] {
            assert_eq!(post(endpoint.path, body).of(&app).await.code(), "malformed_json");
        }
        for (field, _) in &endpoint.fields {
            let answer = post(endpoint.path, deep(field)).of(&app).await;
            assert!(answer.faulty_fields().contains(field), "{field}");
        }
    }
    assert!(fixture.notes.sent().is_empty());
}

#[actix_web::test]
async fn bodies_that_are_no_objects_or_no_json_are_refused() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    for endpoint in endpoints() {
        for body in ["[]", "[{}]", "5", "\"text\"", "true", "null", " [1] "] {
            let answer = post(endpoint.path, body).of(&app).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
            assert_eq!(answer.faulty_fields(), ["body"], "{body}");
        }
        for body in ["", "{", "{}}", "{'a':1}", "{\"a\":01}", "nul", "{\"a\":1,}", "\u{feff}{}"] {
            let answer = post(endpoint.path, body).of(&app).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "malformed_json"), "{body}");
        }
        let answer = ask(Method::POST, endpoint.path).bytes(b"{\"a\":\"\xff\"}".to_vec()).of(&app).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "malformed_json"));
    }
    assert!(fixture.notes.sent().is_empty());
}
