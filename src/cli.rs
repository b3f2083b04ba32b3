//! The command line: the server, a client of a running server, and the tools around them.

mod audit;
mod client;
mod config;
mod db;
mod demo;
mod health;
mod keys;
mod launch;
mod limits;
mod order;
mod output;
mod paper;
mod portfolio;
mod progress;
mod reconcile;
mod report;
mod serve;
mod shared;
mod simulate;
mod switches;
mod tables;
mod venue;
mod views;
mod watch;

#[cfg(any(test, fuzzing))]
pub use simulate::scenario as hostile_scenario;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::settings::SettingsError;
use client::ClientError;
use launch::LaunchError;
use output::{ClosedOutput, Out};

/// What `--help` says about exit codes. [`CliError::code`] keeps it true.
const EXIT_CODES: &str = "Exit codes:
  0   done
  1   failed; a simulation: a rule was broken; a store: something was found
  2   wrong usage, or faults in the configuration or in a scenario's file
  3   the server refused (4xx): the message says why
  4   the server can't be reached, or can't do it now (503)
  70  the server gave itself up, to be started again

A client finds its server by --url or TRANCHE_URL, and takes its API key from the file of --key-file or
TRANCHE_KEY_FILE, or from TRANCHE_KEY. What is logged is up to RUST_LOG.";

#[derive(Debug, Parser)]
#[command(name = "tranche", version, about, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; the same as no command at all.
    Serve(serve::ServeArgs),
    /// Run the server with a sample order at work on the paper broker, watched live.
    Demo(serve::SettingsArgs),
    /// Send, watch and cancel orders at a running server.
    Order(Box<order::OrderArgs>),
    /// Stop all trading, or let it go on.
    Kill(switches::KillArgs),
    /// Trip or reset the circuit breaker.
    Breaker(switches::BreakerArgs),
    /// Make, list and take back the keys of the API.
    Keys(keys::KeysArgs),
    /// Look after the switches that other programs share.
    Switches(shared::SwitchesArgs),
    /// Show what runs, and whether it trades.
    Status(audit::StatusArgs),
    /// List what people did, newest first.
    Audit(audit::AuditArgs),
    /// Compare the books with the broker's, and clear what was looked after.
    Reconcile(reconcile::ReconcileArgs),
    /// Show and change pre-trade limits.
    Limits(limits::LimitsArgs),
    /// Show who may not open positions, and lock or unlock.
    Lockouts(limits::LockoutsArgs),
    /// See what an account holds and is worth, and move its capital.
    Portfolio(portfolio::PortfolioArgs),
    /// Look at the paper broker from its own side.
    Paper(paper::PaperArgs),
    /// Run a double of a real broker, to try the gateway on without an account.
    Venue(Box<venue::VenueArgs>),
    /// Run the gateway on virtual time, with all that can go wrong, and see what becomes of every schedule.
    Simulate(simulate::SimulateArgs),
    /// Check or show the configuration.
    Config(config::ConfigArgs),
    /// Look after the stores: their state, their migrations, their soundness.
    Db(db::DbArgs),
    /// Ask whether the configured server lives; for a container's health check.
    Health(health::HealthArgs),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The words of the command make no sense together.
    #[error("{0}")]
    Usage(String),
    /// The configuration has faults.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A scenario's file has faults.
    #[error(transparent)]
    Scenario(#[from] simulate::ScenarioError),
    /// A server was asked, and it did not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server did not start, or did not end well.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// What was told on the log already.
    #[error(transparent)]
    Logged(Box<CliError>),
    /// Something else.
    #[error("{0}")]
    Failed(String),
    /// Nothing more can be printed.
    #[error(transparent)]
    Output(#[from] ClosedOutput),
}

impl CliError {
    /// Whether nobody is left to tell, or everybody knows.
    fn is_told(&self) -> bool {
        match self {
            Self::Output(closed) => closed.is_readers_wish(),
            Self::Logged(_) => true,
            Self::Usage(_)
            | Self::Settings(_)
            | Self::Scenario(_)
            | Self::Client(_)
            | Self::Launch(_)
            | Self::Failed(_) => false,
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Settings(_) | Self::Scenario(_) | Self::Launch(LaunchError::Keys(_)) => 2,
            Self::Client(error) => error.code(),
            Self::Launch(LaunchError::GaveUp { .. }) => 70,
            Self::Launch(
                LaunchError::AddressInUse { .. } | LaunchError::FolderInUse { .. } | LaunchError::Failed(_),
            )
            | Self::Failed(_) => 1,
            Self::Logged(error) => error.code(),
            Self::Output(closed) => u8::from(!closed.is_readers_wish()),
        }
    }
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // A closed output is no reason for another code.
            error.print().ok();
            return code;
        }
    };
    match dispatch(cli, &mut Out::stdout()) {
        Ok(()) => 0,
        Err(error) => {
            if !error.is_told() {
                output::complain(&error);
            }
            error.code()
        }
    }
}

fn dispatch(cli: Cli, out: &mut Out) -> Result<(), CliError> {
    match cli.command {
        None => serve::serve(&cli.serve),
        Some(Command::Serve(args)) => serve::serve(&args),
        Some(Command::Demo(args)) => demo::demo(&args, out),
        Some(Command::Order(args)) => client::block_on(order::run(*args, out)),
        Some(Command::Kill(args)) => client::block_on(switches::kill(args, out)),
        Some(Command::Breaker(args)) => client::block_on(switches::breaker(args, out)),
        Some(Command::Keys(args)) => client::block_on(keys::run(args, out)),
        Some(Command::Switches(args)) => client::block_on(shared::run(args, out)),
        Some(Command::Reconcile(args)) => client::block_on(reconcile::run(args, out)),
        Some(Command::Status(args)) => client::block_on(audit::status(args, out)),
        Some(Command::Audit(args)) => client::block_on(audit::audit(args, out)),
        Some(Command::Limits(args)) => client::block_on(limits::limits(args, out)),
        Some(Command::Lockouts(args)) => client::block_on(limits::lockouts(args, out)),
        Some(Command::Portfolio(args)) => client::block_on(portfolio::run(args, out)),
        Some(Command::Paper(args)) => paper::run(&args, out),
        Some(Command::Venue(args)) => venue::run(*args, out),
        Some(Command::Simulate(args)) => simulate::run(&args, out),
        Some(Command::Config(args)) => config::run(&args, out),
        Some(Command::Db(args)) => db::run(&args, out),
        Some(Command::Health(args)) => client::block_on(health::run(args, out)),
        Some(Command::Completions { shell }) => completions(shell, out),
    }
}

fn completions(shell: Shell, out: &mut Out) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tranche", &mut script);
    Ok(out.line(String::from_utf8_lossy(&script).trim_end())?)
}

#[cfg(test)]
mod tests;
