//! `--log`: every step of a run as a line, in a file or on the standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tranche_simulation::log::Sink;

use crate::cli::CliError;
use crate::cli::output::ClosedOutput;

/// Where the lines go. A run is not ended by a log that can't be written: that is told after it.
pub(super) struct LogFile {
    state: Arc<Mutex<State>>,
    /// How the file is called; `None`: it is the standard output.
    name: Option<String>,
}

struct State {
    sink: BufWriter<Box<dyn Write + Send>>,
    failed: Option<io::Error>,
}

/// Begins a log.
pub(super) fn to(path: &Path) -> Result<(LogFile, Sink), CliError> {
    let name = (path.as_os_str() != "-").then(|| path.display().to_string());
    let sink: Box<dyn Write + Send> = match &name {
        None => Box::new(io::stdout()),
        Some(_) => Box::new(File::create(path).map_err(|error| failed(name.as_deref(), error))?),
    };
    let state = Arc::new(Mutex::new(State { sink: BufWriter::new(sink), failed: None }));
    let writing = Arc::clone(&state);
    let sink: Sink = Box::new(move |line| {
        let mut state = writing.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_none() {
            let written = writeln!(state.sink, "{line}");
            state.failed = written.err();
        }
    });
    Ok((LogFile { state, name }, sink))
}

impl LogFile {
    /// Writes out what is left, and tells what went wrong.
    pub(super) fn finish(self) -> Result<(), CliError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = state.sink.flush();
        match state.failed.take().or(flushed.err()) {
            None => Ok(()),
            Some(error) => Err(failed(self.name.as_deref(), error)),
        }
    }
}

fn failed(name: Option<&str>, error: io::Error) -> CliError {
    match name {
        None => ClosedOutput::from(error).into(),
        Some(name) => CliError::Failed(format!("the log {name} can't be written: {error}")),
    }
}
