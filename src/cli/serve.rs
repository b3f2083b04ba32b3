//! `tranche` and `tranche serve`: the server; and how any command gets at the settings.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::launch;
use super::output::in_full;
use crate::settings::{Inputs, Settings};
use crate::telemetry;

/// Where settings come from besides the usual layers.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct SettingsArgs {
    /// One more file of settings, above the environment's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, above all files and variables; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Address and port to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
}

impl SettingsArgs {
    /// The layers, those of this process below those of the command line.
    pub(super) fn inputs(&self) -> Inputs {
        Inputs { file: self.config.clone(), flags: self.set.clone(), ..Inputs::of_this_process() }
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        Some(_) | None => Err("must be KEY=VALUE, such as gate.poll_ms=50".to_owned()),
    }
}

/// Runs the server until it is told to stop.
pub(super) fn serve(args: &ServeArgs) -> Result<(), CliError> {
    let mut inputs = args.settings.inputs();
    if let Some(bind) = &args.bind {
        inputs.flags.push(("http.bind".to_owned(), bind.clone()));
    }
    let settings = Settings::load(&inputs)?;
    telemetry::init(settings.log.format, "info");
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let served = launch::on_a_system(launch::run(settings, |_| {}));
    served.map_err(|error| {
        tracing::error!("{}", in_full(&error));
        CliError::Logged(Box::new(error.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_on_the_command_line_has_a_key_and_a_value() {
        assert_eq!(key_and_value("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(key_and_value("a.b").is_err());
        assert!(key_and_value("=c").is_err());
    }
}
