//! The readers of the configuration, for files and variables that nobody would set.

use std::path::PathBuf;

use super::{Inputs, Settings, layers, read, reader};
use crate::hostile::done;

/// A file above the base, and the same bytes as variables: one `NAME=value` a line.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (found, faults) = layers::overlaid(text);
    told(read::settings("local", reader::Reader::new(found, faults)).map_err(|faults| super::SettingsError { faults }));
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let folder = PathBuf::from("no-such-folder");
    told(Settings::load(&Inputs { variables, folder, ..Inputs::default() }));
}

/// What is shown to people of either.
fn told(loaded: Result<Settings, super::SettingsError>) {
    match loaded {
        Ok(settings) => done(serde_json::to_string(settings.masked())),
        Err(refused) => done(refused.to_string()),
    }
}
