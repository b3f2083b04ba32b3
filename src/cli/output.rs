//! What a command prints: lines and tables for people, JSON for programs, and no panic when nobody reads any more.

use std::error::Error;
use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

/// Nothing more can be printed.
#[derive(Debug, thiserror::Error)]
#[error("the output can't be written")]
pub(super) struct ClosedOutput(#[from] std::io::Error);

impl ClosedOutput {
    /// Whether the reader has just had enough, as `head` does. A full disk is another thing.
    pub(super) fn is_readers_wish(&self) -> bool {
        self.0.kind() == std::io::ErrorKind::BrokenPipe
    }
}

/// Where a command prints.
pub(super) struct Out {
    sink: Box<dyn Write>,
    terminal: bool,
}

impl Out {
    /// The standard output.
    pub(super) fn stdout() -> Self {
        let stdout = std::io::stdout();
        Self { terminal: stdout.is_terminal(), sink: Box::new(stdout) }
    }

    /// An output that nobody sees.
    pub(super) fn nowhere() -> Self {
        Self { sink: Box::new(std::io::sink()), terminal: false }
    }

    /// An output that is no terminal.
    #[cfg(test)]
    pub(super) fn plain(sink: Box<dyn Write>) -> Self {
        Self { sink, terminal: false }
    }

    /// Whether a person watches.
    pub(super) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Prints a line, at once.
    pub(super) fn line(&mut self, text: &str) -> Result<(), ClosedOutput> {
        writeln!(self.sink, "{text}")?;
        Ok(self.sink.flush()?)
    }

    /// Prints JSON, indented.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), ClosedOutput> {
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
        self.line(&text)
    }
}

/// Tells a failure, with the cause at the bottom of it, on standard error.
pub(super) fn complain(error: &(dyn Error + 'static)) {
    remark(&in_full(error));
}

/// Tells something beside the output, on standard error.
pub(super) fn remark(text: &str) {
    // With standard error closed too there is nobody to tell.
    writeln!(std::io::stderr(), "tranche: {text}").ok();
}

/// An error and its first cause: what lies between are mostly layers of libraries.
pub(super) fn in_full(error: &(dyn Error + 'static)) -> String {
    let told = error.to_string();
    let mut first = error;
    while let Some(cause) = first.source() {
        first = cause;
    }
    let cause = first.to_string();
    if told.contains(&cause) { told } else { format!("{told}: {cause}") }
}

/// A table with a line of headings; the columns are as wide as they need to be.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .chain([heading.chars().count()])
                .max()
                .unwrap_or_default()
        })
        .collect::<Vec<_>>();
    let headings = headings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// The fields of an object, one a line; what is absent is left out.
pub(super) fn fields(object: &Value) -> String {
    let rows = object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name, cell(value)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| vec![format!("{}:", name.replace('_', " ")), value])
        .collect::<Vec<_>>();
    let lines = table(&["", ""], &rows);
    lines.trim_start_matches('\n').to_owned()
}

/// A value as a cell of a table.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => one_line(text),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(_) => value.to_string(),
    }
}

/// A text from elsewhere can't move the cursor or start another line.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cell() {
        let rows = [vec!["a".into(), "1".into()], vec!["längst".into(), "2".into()]];
        assert_eq!(table(&["id", "n"], &rows), "id      n\na       1\nlängst  2");
    }

    #[test]
    fn fields_leave_out_what_is_absent() {
        let object =
            serde_json::json!({"state": "ENGAGED", "engaged_by": "eve\u{1b}[2J", "notes": null, "unknown": []});
        assert_eq!(fields(&object), "engaged by:  eve [2J\nstate:       ENGAGED");
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error_and_not_a_panic() {
        assert!(Out::plain(Box::new(Gone)).line("x").is_err_and(|closed| closed.is_readers_wish()));
        assert!(Out::plain(Box::new(Gone)).json(&1).is_err());
    }
}
