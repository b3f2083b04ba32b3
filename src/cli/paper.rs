//! `tranche paper …`: the paper broker from its own side, with or without a running server.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::venue::VenueOrder;

use super::CliError;
use super::output::{self, Out};
use super::serve::SettingsArgs;
use super::views::{clock, number};
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct PaperArgs {
    #[command(subcommand)]
    command: PaperCommand,
}

#[derive(Debug, Subcommand)]
enum PaperCommand {
    /// Show what it has accepted, filled and canceled, oldest first.
    Book {
        #[command(flatten)]
        settings: SettingsArgs,
        /// The book's file; without it, the one of the configuration.
        #[arg(long, value_name = "FILE")]
        book: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command of `tranche paper`.
pub(super) fn run(args: &PaperArgs, out: &mut Out) -> Result<(), CliError> {
    let PaperCommand::Book { settings, book, json } = &args.command;
    let path = match book {
        Some(path) => path.clone(),
        None => Settings::load(&settings.inputs())?.broker.paper.book,
    };
    let orders = book_of(&path)?;
    if *json {
        return Ok(out.json(&orders.iter().map(as_json).collect::<Vec<_>>())?);
    }
    Ok(out.line(&as_table(&orders))?)
}

/// The seam to the paper broker: every order of a book, oldest first.
fn book_of(path: &Path) -> Result<Vec<VenueOrder>, CliError> {
    // To be replaced by the reader of `crate::brokers::paper`.
    Err(CliError::Failed(format!(
        "{}: the paper broker is not joined yet",
        path.display()
    )))
}

fn as_json(order: &VenueOrder) -> Value {
    let terms = order.instruction.terms;
    json!({
        "broker_order_id": order.broker_order_id,
        "client_order_id": order.client_order_id,
        "symbol": order.instruction.symbol,
        "side": order.instruction.side,
        "qty": canonical(order.qty.get()),
        "order_type": terms.order_type(),
        "limit_price": terms.limit_price().map(|price| canonical(price.get())),
        "stop_price": terms.stop_price().map(|price| canonical(price.get())),
        "time_in_force": order.instruction.time_in_force,
        "status": order.status,
        "filled_qty": canonical(order.filled_qty),
        "filled_avg_price": order.filled_avg_price.map(canonical),
        "reason": order.reason,
        "submitted_at": order.submitted_at,
    })
}

fn as_table(orders: &[VenueOrder]) -> String {
    let rows = orders
        .iter()
        .map(|order| {
            vec![
                clock(Some(order.submitted_at)),
                order.broker_order_id.to_string(),
                order.client_order_id.to_string(),
                order.instruction.symbol.to_string(),
                order.instruction.side.to_string(),
                canonical(order.qty.get()),
                canonical(order.filled_qty),
                number(order.filled_avg_price),
                order.status.to_string(),
            ]
        })
        .collect::<Vec<_>>();
    let headings = [
        "TIME",
        "BROKER ID",
        "CLIENT ID",
        "SYMBOL",
        "SIDE",
        "QTY",
        "FILLED",
        "PRICE",
        "STATUS",
    ];
    output::table(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use tranche_actors::domain::money::Qty;
    use tranche_actors::domain::names::{BrokerOrderId, OrderId, Symbol};
    use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
    use tranche_actors::domain::venue::VenueStatus;

    use super::*;

    #[test]
    fn the_book_is_shown_for_programs_and_for_people() {
        let order = VenueOrder {
            broker_order_id: BrokerOrderId::parse("b1").unwrap(),
            client_order_id: OrderId::parse("c1").unwrap(),
            instruction: Instruction {
                symbol: Symbol::parse("AAPL").unwrap(),
                side: Side::Buy,
                terms: Terms::Market,
                time_in_force: TimeInForce::Day,
                extended_hours: false,
            },
            qty: Qty::new("21.0".parse().unwrap()).unwrap(),
            status: VenueStatus::Filled,
            filled_qty: "21.0".parse().unwrap(),
            filled_avg_price: Some("100.10".parse().unwrap()),
            reason: None,
            submitted_at: "2026-11-21T10:00:00.25Z".parse().unwrap(),
        };
        let json = as_json(&order);
        assert_eq!(json["qty"], "21");
        assert_eq!(json["filled_avg_price"], "100.1");
        assert_eq!(json["limit_price"], Value::Null);
        assert_eq!(json["submitted_at"], "2026-11-21T10:00:00.250Z");
        assert!(as_table(&[order]).contains("10:00:00  b1         c1"));
    }
}
