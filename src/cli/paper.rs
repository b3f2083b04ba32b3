//! `tranche paper …`: the paper broker from its own side, with or without a running server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tranche_actors::domain::money::canonical;

use super::output::{self, Out, in_full};
use super::serve::SettingsArgs;
use super::views::{clock, number};
use super::{CliError, client};
use crate::brokers::paper::rows::PaperBook;
use crate::brokers::paper::{PaperError, book_file};
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
    client::block_on(async {
        let book = book_file::read(&path).await;
        let book = book.map_err(|source| CliError::Failed(in_full(&PaperError::Book { path, source })))?;
        if *json {
            out.json(&book)?
        } else {
            out.line(&as_table(&book))?
        }
        Ok(())
    })
}

fn as_table(book: &PaperBook) -> String {
    let rows = book
        .orders
        .iter()
        .map(|order| {
            vec![
                clock(Some(order.submitted_at)),
                order.broker_order_id.to_string(),
                order.client_order_id.to_string(),
                order.symbol.to_string(),
                order.side.to_string(),
                canonical(order.qty.get()),
                canonical(order.filled_qty),
                number(order.filled_avg_price),
                order.status.to_string(),
            ]
        })
        .collect::<Vec<_>>();
    let headings = ["TIME", "BROKER ID", "CLIENT ID", "SYMBOL", "SIDE", "QTY", "FILLED", "PRICE", "STATUS"];
    output::table(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_that_is_not_there_is_named() {
        let path = "no-such-folder/book.db";
        let args = PaperArgs {
            command: PaperCommand::Book { settings: SettingsArgs::default(), book: Some(path.into()), json: false },
        };
        let told = run(&args, &mut Out::nowhere()).unwrap_err().to_string();
        assert!(told.contains(path) && told.contains("there is no book"), "{told}");
    }
}
