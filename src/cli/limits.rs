//! `tranche limits …` and `tranche lockouts …`: what may be traded, and who may not open positions.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::CliError;
use super::client::ClientArgs;
use super::output::Out;
use super::switches::{PartArgs, present};
use super::tables::{columns, print};

const LIMITS: [&str; 5] = ["scope", "control", "value", "operator", "set_at"];
const OVERRIDES: [&str; 6] = ["scope", "control", "value", "until", "operator", "reason"];
const LOCKOUTS: [&str; 5] = ["id", "kind", "until", "operator", "reason"];

#[derive(Debug, Args)]
pub(super) struct LimitsArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: LimitsCommand,
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// List the limits that are set.
    List,
    /// List what holds instead of limits for a while.
    Overrides,
    /// Set a limit: it holds for the very next order.
    Set(SetArgs),
    /// Take a limit away.
    Remove(WhichArgs),
    /// Let another value hold until a time.
    Override {
        #[command(flatten)]
        set: SetArgs,
        /// Until when, such as 2026-11-23T14:30:00Z; at most 7 days.
        #[arg(long)]
        until: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct WhichArgs {
    /// What is limited, such as `max_order_qty`.
    control: String,
    #[command(flatten)]
    part: PartArgs,
    /// Who.
    #[arg(long, env = "USER", default_value = "operator")]
    operator: String,
}

#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Its value, in the control's own unit.
    #[arg(long)]
    value: String,
}

impl WhichArgs {
    fn body(self, more: Value) -> Value {
        let mut body = present(json!({"control": self.control, "scope": self.part.scope(), "operator": self.operator}));
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        body
    }
}

#[derive(Debug, Args)]
pub(super) struct LockoutsArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: LockoutsCommand,
}

#[derive(Debug, Subcommand)]
enum LockoutsCommand {
    /// List who is locked.
    List,
    /// Lock an account, or a symbol of it: it may reduce, and open nothing.
    Add {
        /// Why.
        #[arg(long)]
        reason: String,
        /// Which account; `default` if absent.
        #[arg(long)]
        account: Option<String>,
        /// The one symbol.
        #[arg(long)]
        symbol: Option<String>,
        /// Until when; without it, until somebody lifts it.
        #[arg(long)]
        until: Option<String>,
        /// Who.
        #[arg(long, env = "USER", default_value = "operator")]
        operator: String,
    },
    /// Lift a lockout.
    Lift {
        /// As the list has it.
        id: String,
        /// Who.
        #[arg(long, env = "USER", default_value = "operator")]
        operator: String,
    },
}

/// Runs a command of `tranche limits`.
pub(super) async fn limits(args: LimitsArgs, out: &mut Out) -> Result<(), CliError> {
    let client = args.client.client()?;
    let mut names = (LIMITS.as_slice(), "limits");
    let answer: Value = match args.command {
        LimitsCommand::List => client.get("/limits").await?.body,
        LimitsCommand::Overrides => {
            names = (OVERRIDES.as_slice(), "overrides");
            client.get("/limits").await?.body
        }
        LimitsCommand::Set(set) => client.put("/limits", &set.which.body(json!({"value": set.value}))).await?,
        LimitsCommand::Remove(which) => client.put("/limits", &which.body(json!({"value": null}))).await?,
        LimitsCommand::Override { set, until, reason } => {
            names = (OVERRIDES.as_slice(), "overrides");
            let body = set.which.body(json!({"value": set.value, "until": until, "reason": reason}));
            client.post("/limits/overrides", &body, None).await?
        }
    };
    print(&answer, args.client.json, out, |answer: &Value| Ok(columns(&json!({"items": answer.get(names.1)}), names.0)))
}

/// The path that lifts a lockout, whatever is in its id.
fn lifting(id: &str, operator: &str) -> Result<String, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut url = reqwest::Url::parse("http://unused/lockouts").map_err(|error| failed(&error))?;
    url.path_segments_mut().map_err(|()| failed(&"no path"))?.push(id);
    url.query_pairs_mut().append_pair("operator", operator);
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

/// Runs a command of `tranche lockouts`.
pub(super) async fn lockouts(args: LockoutsArgs, out: &mut Out) -> Result<(), CliError> {
    let client = args.client.client()?;
    let answer: Value = match args.command {
        LockoutsCommand::List => client.get("/lockouts").await?.body,
        LockoutsCommand::Add { reason, account, symbol, until, operator } => {
            let kind = until.as_ref().map(|_| "cooldown");
            let body = present(json!({
                "reason": reason, "account": account, "symbol": symbol, "until": until, "kind": kind,
                "operator": operator,
            }));
            let locked: Value = client.post("/lockouts", &body, None).await?;
            json!({"items": [locked]})
        }
        LockoutsCommand::Lift { id, operator } => client.delete(&lifting(&id, &operator)?).await?,
    };
    print(&answer, args.client.json, out, |answer: &Value| Ok(columns(answer, &LOCKOUTS)))
}
