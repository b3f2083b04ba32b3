//! `tranche kill …` and `tranche breaker …`: what an operator does with a running server.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::output::Out;
use super::tables::{self, columns, print};

/// The fields of what was done to a switch; both switches answer with the same.
const HISTORY: [&str; 5] = ["timestamp", "event", "operator", "reason", "details"];

#[derive(Debug, Args)]
pub(super) struct KillArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: KillCommand,
}

#[derive(Debug, Subcommand)]
enum KillCommand {
    /// Stop all trading, or a part of it, now.
    Engage {
        /// Why.
        #[arg(long)]
        reason: String,
        /// Who.
        #[arg(long, env = "USER", default_value = "operator")]
        operator: String,
        /// `halt`: no new orders. `cancel`: and cancel all that is open (the default). `flatten`: and close what is held, of
        /// everything or of an account.
        #[arg(long)]
        mode: Option<String>,
        #[command(flatten)]
        part: PartArgs,
        /// Longest wait for sends under way, in milliseconds.
        #[arg(long)]
        settle_ms: Option<u64>,
    },
    /// Let trading go on.
    Disengage {
        /// Who.
        #[arg(long, env = "USER", default_value = "operator")]
        operator: String,
        /// Whatever should be remembered.
        #[arg(long)]
        notes: Option<String>,
        #[command(flatten)]
        part: PartArgs,
    },
    /// Show whether trading is stopped.
    Status,
    /// Show who stopped trading, when and why.
    History,
}

/// A part of the trading; without one, all of it.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct PartArgs {
    /// Only the orders of this account.
    #[arg(long)]
    account: Option<String>,
    /// Only the orders of this strategy.
    #[arg(long)]
    strategy: Option<String>,
    /// Only the orders in this symbol.
    #[arg(long)]
    symbol: Option<String>,
}

impl PartArgs {
    pub(super) fn scope(self) -> Option<Value> {
        let parts = [("account", self.account), ("strategy", self.strategy), ("symbol", self.symbol)];
        parts.into_iter().find_map(|(kind, name)| Some(json!({kind: name?})))
    }
}

#[derive(Debug, Args)]
pub(super) struct BreakerArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: BreakerCommand,
}

#[derive(Debug, Subcommand)]
enum BreakerCommand {
    /// Trip it by hand.
    Trip {
        /// Why.
        #[arg(long)]
        reason: String,
        /// Who.
        #[arg(long, env = "USER", default_value = "operator")]
        operator: String,
    },
    /// Reset it; its quiet period begins.
    Reset {
        /// Why it is safe to go on: at least 20 characters.
        #[arg(long)]
        reason: String,
        /// Who.
        #[arg(long, env = "USER", default_value = "operator")]
        operator: String,
    },
    /// Show whether it is tripped.
    Status,
    /// Show when it tripped and why.
    History,
}

/// Runs a command of `tranche kill`.
pub(super) async fn kill(args: KillArgs, out: &mut Out) -> Result<(), CliError> {
    let client = args.client.client()?;
    let answer = match args.command {
        KillCommand::Engage { reason, operator, mode, part, settle_ms } => {
            let body = json!({
                "reason": reason, "operator": operator, "mode": mode, "scope": part.scope(), "settle_ms": settle_ms
            });
            let body = present(body);
            client.post("/kill-switch/engage", &body, None).await?
        }
        KillCommand::Disengage { operator, notes, part } => {
            let body = present(json!({"operator": operator, "notes": notes, "scope": part.scope()}));
            client.post("/kill-switch/disengage", &body, None).await?
        }
        KillCommand::Status => status(&client, "/kill-switch/status").await?,
        KillCommand::History => {
            let answer = status(&client, "/kill-switch/history").await?;
            return print(&answer, args.client.json, out, |answer| Ok(columns(answer, &HISTORY)));
        }
    };
    print(&answer, args.client.json, out, tables::fields)
}

/// Runs a command of `tranche breaker`.
pub(super) async fn breaker(args: BreakerArgs, out: &mut Out) -> Result<(), CliError> {
    let client = args.client.client()?;
    let answer = match args.command {
        BreakerCommand::Trip { reason, operator } => {
            let body = json!({"operator": operator, "reason": reason});
            client.post("/circuit-breaker/trip", &body, None).await?
        }
        BreakerCommand::Reset { reason, operator } => {
            let body = json!({"operator": operator, "reason": reason});
            client.post("/circuit-breaker/reset", &body, None).await?
        }
        BreakerCommand::Status => status(&client, "/circuit-breaker/status").await?,
        BreakerCommand::History => {
            let answer = status(&client, "/circuit-breaker/history").await?;
            return print(&answer, args.client.json, out, |answer| Ok(columns(answer, &HISTORY)));
        }
    };
    print(&answer, args.client.json, out, tables::fields)
}

async fn status(client: &Client, path: &str) -> Result<Value, CliError> {
    Ok(client.get(path).await?.body)
}

/// Without the fields that nobody gave: the server's own defaults hold.
pub(super) fn present(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.retain(|_, value| !value.is_null());
    }
    body
}
