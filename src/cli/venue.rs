//! `tranche venue`: the double of a real broker, as a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use rust_decimal::Decimal;

use super::CliError;
use super::launch;
use super::output::{self, Out, in_full};
use crate::venue::faults::VenueFaults;
use crate::venue::hours::Hours;
use crate::venue::journal::{self, Entry, Line};
use crate::venue::options::{KeyOption, Options};

/// The key of a venue that was given none. Everybody knows it.
const KEY: &str = "PKDOUBLE:double-secret";

/// What `--help` says below the options.
const ABOUT: &str = "It speaks Alpaca's trading API (/v2, /stream) and as much of the data API as an order needs. Money and market are made up.

The journal, FOLDER/journal.jsonl, has a line of JSON for everything that it was asked and everything that became of it,
on disk before anybody was told: n, at, kind and
  started   seed, time_scale
  account   account, cash
  request   account, key, action (submit, replace, cancel, cancel_all, close), client_order_id, id, outcome (accepted,
            refused, lost: it never arrived), status (of the answer), code, message, fault
  order     account, is_new, id, client_order_id, status, filled_qty, row (all that the book knows), execution
The venue rebuilds its books from it.

While it runs, from this machine: GET and PUT /admin/faults (?for_ms=N puts the former ones back), GET and PUT /admin/clock
{scale, advance_ms}, PUT /admin/rate {limit}, POST /admin/stream/cut, POST /admin/orders/ID/fill {qty, price}.";

#[derive(Debug, Args)]
#[command(after_help = ABOUT, args_conflicts_with_subcommands = true)]
pub(super) struct VenueArgs {
    #[command(subcommand)]
    command: Option<VenueCommand>,
    #[command(flatten)]
    serve: ServeVenue,
}

#[derive(Debug, Subcommand)]
enum VenueCommand {
    /// Show the journal, with or without a running venue.
    Journal {
        /// The folder of the journal.
        #[arg(long, value_name = "FOLDER", default_value = "venue")]
        folder: PathBuf,
        /// Print the lines as they are.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct ServeVenue {
    /// Address and port to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8090")]
    bind: SocketAddr,
    /// The folder of the journal.
    #[arg(long, value_name = "FOLDER", default_value = "venue")]
    folder: PathBuf,
    /// A key that is taken, ID:SECRET or ID:SECRET:ACCOUNT; may be repeated. Keys without an account share one.
    #[arg(long = "key", value_name = "KEY", default_value = KEY)]
    keys: Vec<KeyOption>,
    /// What an account begins with.
    #[arg(long, value_name = "AMOUNT", default_value = "100000")]
    cash: Decimal,
    /// Decides quotes, ids and chances; that of the first start holds.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the market moves, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    quote_interval_ms: u64,
    /// How long an answer takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    latency_ms: u64,
    /// Requests that a key has in a window.
    #[arg(long, value_name = "N", default_value_t = 200)]
    rate_limit: u32,
    /// How long a window of the rate limit is, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    rate_window_ms: u64,
    /// How many times as fast as the system's its clock runs; all times of the venue shrink by that.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    time_scale: u32,
    /// When the market is open: `always`, or hours in New York on weekdays, such as 09:30-16:00.
    #[arg(long = "calendar", value_name = "HOURS", default_value = "always")]
    hours: Hours,
    /// Send text frames on the stream, as the live host does, instead of binary ones, as the paper host does.
    #[arg(long)]
    text_frames: bool,
    /// How often an order is filled only in part by chance, in thousandths.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=1000))]
    partial_per_mille: u16,
    /// A file of what goes wrong, in JSON, in the form of /admin/faults.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

/// Runs the venue, or shows its journal.
pub(super) fn run(args: VenueArgs, out: &mut Out) -> Result<(), CliError> {
    if let Some(VenueCommand::Journal { folder, json }) = args.command {
        return show(&folder, json, out);
    }
    let options = args.serve.options()?;
    crate::telemetry::init(crate::settings::LogFormat::Pretty, "warn");
    let guide = guide(&options);
    let served = launch::on_a_system(crate::venue::run(options, |address| {
        // Who can't be told can still be served.
        out.line(&guide.replace("ADDRESS", &address.to_string())).ok();
    }));
    served.map_err(|error| CliError::Failed(in_full(&error)))
}

fn guide(options: &Options) -> String {
    let key = options.keys.first();
    let (id, secret) = key.map_or(("", ""), |key| (key.id.as_str(), key.secret.as_str()));
    let journal = options.folder.join(journal::FILE);
    format!(
        "A double of Alpaca is up at http://ADDRESS; its journal is {}.\n\
         Try the gateway on it, from another shell:\n\n  \
         export APCA_API_BASE_URL=http://ADDRESS APCA_API_KEY_ID={id} APCA_API_SECRET_KEY={secret}\n  \
         tranche --set broker.kind=alpaca\n",
        journal.display()
    )
}

impl ServeVenue {
    fn options(self) -> Result<Options, CliError> {
        let faults = self.faults.as_deref().map_or_else(|| Ok(VenueFaults::default()), read_faults)?;
        faults.check().map_err(CliError::Usage)?;
        if self.cash < Decimal::ZERO || self.cash > Decimal::from(1_000_000_000_000_000_i64) {
            return Err(CliError::Usage("--cash must be from 0 to 1000000000000000".to_owned()));
        }
        Ok(Options {
            bind: self.bind,
            folder: self.folder,
            keys: self.keys,
            cash: self.cash,
            seed: self.seed,
            quote_interval: Duration::from_millis(self.quote_interval_ms),
            latency: Duration::from_millis(self.latency_ms),
            rate_limit: self.rate_limit,
            rate_window: Duration::from_millis(self.rate_window_ms),
            time_scale: self.time_scale,
            hours: self.hours,
            text_frames: self.text_frames,
            partial_per_mille: self.partial_per_mille,
            faults,
        })
    }
}

fn read_faults(path: &Path) -> Result<VenueFaults, CliError> {
    let wrong = |why: String| CliError::Usage(format!("the faults of {} can't be read: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

fn show(folder: &Path, json: bool, out: &mut Out) -> Result<(), CliError> {
    let lines = journal::read(&folder.join(journal::FILE)).map_err(|error| CliError::Failed(in_full(&error)))?;
    if json {
        for line in &lines {
            let text = serde_json::to_string(line).map_err(|error| CliError::Failed(in_full(&error)))?;
            out.line(&text)?;
        }
        return Ok(());
    }
    let rows = lines.iter().map(row).collect::<Vec<_>>();
    let headings = ["N", "TIME", "KIND", "ACCOUNT", "CLIENT ID", "ID", "WHAT"];
    Ok(out.line(&output::table(&headings, &rows))?)
}

fn row(line: &Line) -> Vec<String> {
    let start = vec![line.n.to_string(), crate::venue::shown(line.at)];
    let rest = match &line.entry {
        Entry::Started { seed, time_scale } => [
            "started".to_owned(),
            String::new(),
            String::new(),
            String::new(),
            format!("seed {seed}, clock × {time_scale}"),
        ],
        Entry::Account { account, cash } => {
            ["account".to_owned(), account.clone(), String::new(), String::new(), format!("begins with {cash}")]
        }
        Entry::Request(request) => [
            request.action.clone(),
            request.account.clone(),
            request.client_order_id.clone().unwrap_or_default(),
            request.id.map(|id| id.to_string()).unwrap_or_default(),
            [
                Some(format!("{:?}", request.outcome).to_lowercase()),
                request.status.map(|status| status.to_string()),
                request.message.clone(),
                request.fault.clone(),
            ]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "),
        ],
        Entry::Order(order) => [
            "order".to_owned(),
            order.account.clone(),
            order.client_order_id.clone(),
            order.id.to_string(),
            format!("{} {}/{}", order.status, order.filled_qty, order.row.qty.get()),
        ],
    };
    start.into_iter().chain(rest).collect()
}
