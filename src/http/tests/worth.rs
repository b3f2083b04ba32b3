//! What an account is worth, as its clients see and move it.

use actix_web::http::StatusCode;
use serde_json::json;
use tranche_actors::commands::CommandError;

use super::*;

const CAPITAL: &str = "/api/v1/portfolio/capital";

#[actix_web::test]
async fn equity_is_shown_with_what_is_open_and_how_old_its_prices_are() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let answer = get("/api/v1/portfolio").of(&app).await;
    assert_eq!(
        answer.body,
        json!({
            "account": "default", "initial_capital": "1000", "net_capital": "1000", "closed_equity": "1050.5",
            "unrealised_pnl": "100", "open_equity": "1150.5", "blended_equity": "1100.5", "price_age_seconds": 0,
            "high_water_mark": "1060", "drawdown": "0", "version": 4,
        })
    );
    let entries = get(CAPITAL).of(&app).await;
    assert_eq!((&entries.body["items"][0]["amount"], &entries.body["next_cursor"]), (&json!("-0.5"), &json!("7")));
    let days = get("/api/v1/pnl/daily?until=2026-11-23&limit=1").of(&app).await;
    assert_eq!(days.body["items"][0]["net_pnl"], "50.5");
    assert_eq!(get("/api/v1/pnl/daily?until=23.11.2026").of(&app).await.code(), "validation_failed");
    let held = get("/api/v1/positions/AAPL").of(&app).await;
    assert_eq!((&held.body["unrealised_pnl"], &held.body["last_price_age_seconds"]), (&json!("100"), &json!(0)));
    assert_eq!(get("/api/v1/positions/MSFT").of(&app).await.code(), "not_found");
    fixture.notes.store_is_down();
    for path in ["/api/v1/portfolio", CAPITAL, "/api/v1/pnl/daily", "/api/v1/positions/AAPL"] {
        assert_eq!(get(path).of(&app).await.code(), "store_unavailable", "{path}");
    }
}

#[actix_web::test]
async fn capital_is_moved_by_an_exact_amount_and_refused_with_what_was_found() {
    let fixture = Fixture::ready();
    let app = serve!(fixture);
    let answer = post(CAPITAL, DEPOSIT).of(&app).await;
    assert_eq!((answer.status, &answer.body["closed_equity"]), (StatusCode::OK, &json!("1050.5")));
    let sent = fixture.notes.sent();
    assert!(sent[0].contains("Deposit") && sent[0].contains("250.000000001"), "{sent:?}");
    for (body, field) in [
        (r#"{"kind":"gift","amount":"1","operator":"ops","reason":"x"}"#, "kind"),
        (r#"{"kind":"deposit","amount":"0","operator":"ops","reason":"x"}"#, "amount"),
        (r#"{"kind":"deposit","amount":"-1","operator":"ops","reason":"x"}"#, "amount"),
        (r#"{"kind":"deposit","amount":"1e16","operator":"ops","reason":"x"}"#, "amount"),
        (r#"{"kind":"deposit","amount":"0.0000000001","operator":"ops","reason":"x"}"#, "amount"),
        (r#"{"kind":"deposit","amount":"1","operator":"ops"}"#, "reason"),
        (r#"{"kind":"deposit","amount":"1","operator":"ops","reason":"x","expected_version":-1}"#, "expected_version"),
    ] {
        let answer = post(CAPITAL, body).of(&app).await;
        assert_eq!((answer.code(), &answer.body["errors"][0]["field"]), ("validation_failed", &json!(field)), "{body}");
    }
    assert_eq!(fixture.notes.sent().len(), 1);
    fixture.notes.refuse_with(CommandError::PortfolioMoved { expected: 3, found: 5 });
    let moved = post(CAPITAL, DEPOSIT).of(&app).await;
    assert_eq!((moved.status, moved.code()), (StatusCode::CONFLICT, "version_conflict"));
    assert_eq!((&moved.body["expected_version"], &moved.body["found_version"]), (&json!(3), &json!(5)));
    fixture.notes.refuse_with(CommandError::BelowZero { equity: 12.into() });
    let short = post(CAPITAL, DEPOSIT).of(&app).await;
    assert_eq!((short.code(), &short.body["closed_equity"]), ("insufficient_equity", &json!("12")));
}
