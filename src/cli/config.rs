//! `tranche config …`: is the configuration sound, and what does it come to?

use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::output::{self, Out, cell};
use super::serve::SettingsArgs;
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Tell every fault at once; exit code 2 where there is one.
    Check(ReadArgs),
    /// Show every setting and where it was set; secrets are masked.
    Show(ReadArgs),
}

#[derive(Debug, Args)]
struct ReadArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a command of `tranche config`.
pub(super) fn run(args: &ConfigArgs, out: &mut Out) -> Result<(), CliError> {
    match &args.command {
        ConfigCommand::Check(args) => check(args, out),
        ConfigCommand::Show(args) => show(args, out),
    }
}

fn check(args: &ReadArgs, out: &mut Out) -> Result<(), CliError> {
    match Settings::load(&args.settings.inputs()) {
        Ok(settings) if args.json => {
            Ok(out.json(&json!({"sound": true, "faults": [], "warnings": settings.warnings}))?)
        }
        Ok(settings) => {
            out.line(&format!("the configuration for {:?} is sound", settings.environment))?;
            for warning in &settings.warnings {
                out.line(&format!("warning: {warning}"))?;
            }
            Ok(())
        }
        Err(error) => {
            if args.json {
                out.json(&json!({"sound": false, "faults": error.faults, "warnings": []}))?;
            }
            Err(error.into())
        }
    }
}

fn show(args: &ReadArgs, out: &mut Out) -> Result<(), CliError> {
    let settings = Settings::load(&args.settings.inputs())?;
    if args.json {
        return Ok(out.json(&settings.masked())?);
    }
    let rows = settings
        .masked()
        .iter()
        .map(|shown| vec![shown.key.clone(), cell(&shown.value), shown.from.clone()])
        .collect::<Vec<_>>();
    Ok(out.line(&output::table(&["KEY", "VALUE", "FROM"], &rows))?)
}
