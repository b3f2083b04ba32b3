//! `tranche reconcile …`: our books beside the broker's.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::CliError;
use super::client::ClientArgs;
use super::output::{self, Out};
use super::tables::{self, columns, print};

#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: ReconcileCommand,
}

#[derive(Debug, Subcommand)]
enum ReconcileCommand {
    /// Show how the last comparison went, and what is open from it.
    Status,
    /// Compare now, and show how it went.
    Run,
    /// List what keeps symbols in quarantine.
    Orphans,
    /// Clear one of them that was looked after; the symbol's last one ends its quarantine.
    Clear {
        /// As `tranche reconcile orphans` lists it.
        id: String,
        /// Why it is safe.
        #[arg(long)]
        reason: String,
        /// Who.
        #[arg(long, env = "USER", default_value = "operator")]
        operator: String,
    },
}

/// Runs a command of `tranche reconcile`.
pub(super) async fn run(args: ReconcileArgs, out: &mut Out) -> Result<(), CliError> {
    let client = args.client.client()?;
    let json = args.client.json;
    match args.command {
        ReconcileCommand::Status => {
            let answer = client.get::<Value>("/reconciliation/status").await?.body;
            print(&answer, json, out, |answer| Ok(status(answer)))
        }
        ReconcileCommand::Run => {
            let answer = client.post::<Value>("/reconciliation/run", &Value::Object(Default::default()), None).await?;
            print(&answer, json, out, |answer| Ok(status(answer)))
        }
        ReconcileCommand::Orphans => {
            let answer = client.get::<Value>("/reconciliation/orphans").await?.body;
            print(&answer, json, out, |answer| Ok(columns(answer, &ORPHANS)))
        }
        ReconcileCommand::Clear { id, reason, operator } => {
            let answer = client.delete(&clearance(&id, &operator, &reason)?).await?;
            print(&answer, json, out, tables::fields)
        }
    }
}

const ORPHANS: [&str; 6] = ["id", "symbol", "reason", "broker_order_id", "since", "found"];

/// Where an orphan is cleared, whatever stands in its id.
fn clearance(id: &str, operator: &str, reason: &str) -> Result<String, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut url = reqwest::Url::parse("http://unused/reconciliation/orphans").map_err(|error| failed(&error))?;
    url.path_segments_mut().map_err(|()| failed(&"no path"))?.push(id);
    url.query_pairs_mut().append_pair("operator", operator).append_pair("reason", reason);
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

/// The last comparison, and below it what is open, table by table.
fn status(answer: &Value) -> String {
    let mut parts = vec![match answer.get("last_comparison") {
        Some(last) if !last.is_null() => output::fields(last),
        Some(_) | None => "not compared yet".to_owned(),
    }];
    let mut part = |title: &str, field: &str, names: &[&str]| {
        let rows = answer.get(field).filter(|rows| rows.as_array().is_some_and(|rows| !rows.is_empty()));
        parts.extend(rows.map(|rows| format!("{title}:\n{}", columns(rows, names))));
    };
    part("orphans", "orphans", &ORPHANS);
    part("quarantined", "quarantined", &["symbol", "reasons"]);
    part("positions that differ", "position_differences", &["symbol", "ours", "theirs", "confirmed"]);
    let unknown = answer.get("unknown_orders").and_then(Value::as_array).into_iter().flatten();
    let unknown = unknown.filter_map(Value::as_str).collect::<Vec<_>>();
    if !unknown.is_empty() {
        parts.push(format!("orders of unknown outcome: {}", unknown.join(", ")));
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_shows_what_is_open_and_nothing_that_is_empty() {
        let answer = json!({
            "account": "default", "orphans": [], "quarantined": [{"symbol": "MSFT", "reasons": ["orphan"]}],
            "last_comparison": {"at": "2026-11-21T10:00:00Z", "took_ms": 7, "outcome": "compared", "detail": null},
            "position_differences": [{"symbol": "AAPL", "ours": "10", "theirs": "12", "confirmed": true}],
            "unknown_orders": ["a", "b"],
        });
        let text = status(&answer);
        assert!(
            text.contains("compared") && text.contains("MSFT") && text.contains("AAPL    10    12      yes"),
            "{text}"
        );
        assert!(text.ends_with("orders of unknown outcome: a, b"), "{text}");
        assert!(!text.contains("orphans:"), "{text}");
        assert_eq!(status(&json!({"last_comparison": null})), "not compared yet");
    }

    #[test]
    fn an_id_goes_into_a_path_whatever_is_in_it() {
        let path = clearance("a/b?c#d%e:f", "ann", "it is & was mine").unwrap();
        assert_eq!(path, "/reconciliation/orphans/a%2Fb%3Fc%23d%25e:f?operator=ann&reason=it+is+%26+was+mine");
    }
}
