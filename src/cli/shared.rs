//! `tranche switches …`: the switches that other programs share.

use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::output::Out;
use super::serve::SettingsArgs;
use crate::settings::Settings;
use crate::storage;
use crate::switchboard::init::init;
use crate::switchboard::redis::RedisBoard;

#[derive(Debug, Args)]
pub(super) struct SwitchesArgs {
    #[command(subcommand)]
    command: SwitchesCommand,
}

#[derive(Debug, Subcommand)]
enum SwitchesCommand {
    /// Create the keys that are missing in Redis, as the database remembers the switches; what is there is left alone.
    /// Works with and without a running server.
    Init {
        #[command(flatten)]
        settings: SettingsArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command of `tranche switches`.
pub(super) async fn run(args: SwitchesArgs, out: &mut Out) -> Result<(), CliError> {
    let SwitchesCommand::Init { settings, json } = args.command;
    let settings = Settings::load(&settings.inputs())?;
    let Some(url) = &settings.redis.url else {
        return Err(CliError::Usage("redis.url is empty: the database is the switchboard".to_owned()));
    };
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let board = RedisBoard::new(url).map_err(|error| failed(&error))?;
    board.connect().await.map_err(|error| failed(&error))?;
    let remembered = storage::remembered_switches(&settings.storage).await.map_err(|error| failed(&error))?;
    let written = init(&board, &remembered).await.map_err(|error| failed(&error))?;
    if json {
        let created = written.iter().map(|(key, state)| json!({"key": key, "state": state})).collect::<Vec<_>>();
        return Ok(out.json(&json!({"created": created}))?);
    }
    for (key, state) in written {
        out.line(&format!("created {key}: {state}"))?;
    }
    Ok(())
}
