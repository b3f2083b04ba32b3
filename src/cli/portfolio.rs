//! `tranche portfolio …`: what an account holds, what it is worth, and what its days brought.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::CliError;
use super::client::ClientArgs;
use super::output::Out;
use super::tables::{self, columns, print};

#[derive(Debug, Args)]
pub(super) struct PortfolioArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Of which account.
    #[arg(long, global = true, default_value = "default")]
    account: String,
    #[command(subcommand)]
    command: PortfolioCommand,
}

#[derive(Debug, Subcommand)]
enum PortfolioCommand {
    /// Show what the account is worth.
    Show,
    /// List what the account holds, or held.
    Positions,
    /// List the results of its trading days, newest first.
    Days,
    /// List what changed its capital, newest first.
    Capital,
    /// Pay in.
    Deposit(MoveArgs),
    /// Take out; never more than the account is worth without what is open.
    Withdraw(MoveArgs),
}

#[derive(Debug, Args)]
struct MoveArgs {
    /// How much, in the quote currency.
    amount: String,
    /// Why.
    #[arg(long)]
    reason: String,
    /// Who.
    #[arg(long, env = "USER", default_value = "operator")]
    operator: String,
    /// Do nothing if the portfolio has moved on from this version.
    #[arg(long)]
    expected_version: Option<u64>,
}

const POSITIONS: [&str; 7] =
    ["symbol", "qty", "avg_price", "realised_pnl", "unrealised_pnl", "last_price", "last_price_age_seconds"];
const DAYS: [&str; 7] = ["day", "net_pnl", "realised_pnl", "fees", "capital", "orders", "executions"];
const CAPITAL: [&str; 8] =
    ["number", "kind", "amount", "equity_after", "trading_day", "client_order_id", "actor", "reason"];

/// Runs a command of `tranche portfolio`.
pub(super) async fn run(args: PortfolioArgs, out: &mut Out) -> Result<(), CliError> {
    let client = args.client.client()?;
    let as_json = args.client.json;
    let of = |path: &str| at(path, &args.account);
    let (path, names) = match &args.command {
        PortfolioCommand::Show => {
            let answer = client.get::<Value>(&of("/portfolio")?).await?.body;
            return print(&answer, as_json, out, tables::fields);
        }
        PortfolioCommand::Deposit(moved) => {
            let answer = client.post::<Value>(&of("/portfolio/capital")?, &body("deposit", moved), None).await?;
            return print(&answer, as_json, out, tables::fields);
        }
        PortfolioCommand::Withdraw(moved) => {
            let answer = client.post::<Value>(&of("/portfolio/capital")?, &body("withdrawal", moved), None).await?;
            return print(&answer, as_json, out, tables::fields);
        }
        PortfolioCommand::Positions => ("/positions", POSITIONS.as_slice()),
        PortfolioCommand::Days => ("/pnl/daily", DAYS.as_slice()),
        PortfolioCommand::Capital => ("/portfolio/capital", CAPITAL.as_slice()),
    };
    let answer = client.get::<Value>(&of(path)?).await?.body;
    print(&answer, as_json, out, |answer| Ok(columns(answer, names)))
}

fn body(kind: &str, moved: &MoveArgs) -> Value {
    json!({
        "kind": kind, "amount": moved.amount, "reason": moved.reason, "operator": moved.operator,
        "expected_version": moved.expected_version,
    })
}

/// A path of one account, whatever stands in its name.
fn at(path: &str, account: &str) -> Result<String, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut url = reqwest::Url::parse("http://unused").map_err(|error| failed(&error))?;
    url.set_path(path);
    url.query_pairs_mut().append_pair("account", account);
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_goes_into_a_query_whatever_is_in_it() {
        assert_eq!(at("/portfolio", "de&fault").unwrap(), "/portfolio?account=de%26fault");
    }

    #[test]
    fn what_is_not_said_of_a_version_is_null() {
        let moved = MoveArgs {
            amount: "12.50".to_owned(),
            reason: "more".to_owned(),
            operator: "ann".to_owned(),
            expected_version: None,
        };
        let expected = json!({"kind": "deposit", "amount": "12.50", "reason": "more", "operator": "ann", "expected_version": null});
        assert_eq!(body("deposit", &moved), expected);
    }
}
