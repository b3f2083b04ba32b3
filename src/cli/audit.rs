//! `tranche audit`: what people did. `tranche status`: what runs, and whether it trades.

use clap::Args;
use serde_json::Value;

use super::CliError;
use super::client::ClientArgs;
use super::output::{self, Out};
use super::tables::{columns, print};

const ENTRIES: [&str; 8] = ["id", "at", "account", "caller", "operator", "action", "subject", "after"];
const ACCOUNTS: [&str; 6] = ["account", "owner", "term", "lease_left_seconds", "reasons", "quarantined"];
const INSTANCES: [&str; 5] = ["id", "address", "version", "heartbeat_age_seconds", "accounts"];

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// At most so many, 1 to 500.
    #[arg(long)]
    limit: Option<u32>,
    /// Where an earlier page ended.
    #[arg(long)]
    cursor: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Lists what people did, newest first.
pub(super) async fn audit(args: AuditArgs, out: &mut Out) -> Result<(), CliError> {
    let client = args.client.client()?;
    let named = [("limit", args.limit.map(u64::from)), ("cursor", args.cursor)];
    let said = named.iter().filter_map(|(name, value)| Some(format!("{name}={}", (*value)?)));
    let answer: Value = client.get(&format!("/audit?{}", said.collect::<Vec<_>>().join("&"))).await?.body;
    print(&answer, args.client.json, out, |answer| Ok(page(answer)))
}

/// Shows the status.
pub(super) async fn status(args: StatusArgs, out: &mut Out) -> Result<(), CliError> {
    let answer: Value = args.client.client()?.get("/status").await?.body;
    print(&answer, args.client.json, out, |answer| Ok(shown(answer)))
}

fn page(answer: &Value) -> String {
    let mut text = columns(answer, &ENTRIES);
    if let Some(cursor) = answer.get("next_cursor").and_then(Value::as_str) {
        text.push_str(&format!("\nmore: --cursor {cursor}"));
    }
    text
}

/// What is said in a word each, then its parts, accounts and instances.
fn shown(answer: &Value) -> String {
    let is_table = |name: &str| matches!(name, "parts" | "accounts" | "instances");
    let plain = answer.as_object().into_iter().flatten().filter(|(name, _)| !is_table(name));
    let mut texts = vec![output::fields(&plain.map(|(name, value)| (name.clone(), value.clone())).collect())];
    let parts = answer.get("parts").and_then(Value::as_object).into_iter().flatten();
    let parts = parts.map(|(name, part)| {
        let said = |field: &str| part.get(field).map(output::cell).unwrap_or_default();
        vec![output::one_line(name), said("status"), said("detail")]
    });
    let parts = parts.collect::<Vec<_>>();
    if !parts.is_empty() {
        texts.push(output::table(&["PART", "STATUS", "DETAIL"], &parts));
    }
    for (name, columns_of) in [("accounts", ACCOUNTS.as_slice()), ("instances", INSTANCES.as_slice())] {
        let rows = answer.get(name).filter(|rows| rows.as_array().is_some_and(|rows| !rows.is_empty()));
        texts.extend(rows.map(|rows| columns(rows, columns_of)));
    }
    texts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_of_the_audit_says_how_to_get_the_next_one() {
        let answer = json!({
            "items": [{"id": 9, "at": "2026-11-21T10:00:00Z", "account": null, "caller": "ops", "operator": "ann",
                "action": "limits.set", "subject": "max_order_qty (global)", "before": null, "after": {"value": "1"}}],
            "next_cursor": "9",
        });
        let text = page(&answer);
        assert!(text.contains("limits.set") && text.contains(r#"{"value":"1"}"#), "{text}");
        assert!(text.ends_with("\nmore: --cursor 9"), "{text}");
        assert_eq!(page(&json!({"items": [], "next_cursor": null})), "nothing yet");
    }

    #[test]
    fn a_status_shows_the_gate_and_every_part_account_and_instance() {
        let answer = json!({
            "version": "1.2.3", "gate": "reduce_only", "trading_allowed": false, "queues": {"in_flight": 2},
            "parts": {"store": {"status": "up", "detail": ""}, "broker": {"status": "down", "detail": "no route"}},
            "accounts": [{"account": "default", "owner": "one", "term": 3, "reasons": ["circuit_breaker_quiet"]}],
            "instances": null,
        });
        let text = shown(&answer);
        for part in ["gate:             reduce_only", "trading allowed:  no", "circuit_breaker_quiet", "no route"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("instances"), "{text}");
    }
}
