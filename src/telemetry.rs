//! Logs: lines on standard error, for people on a terminal and as JSON for programs.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::Once;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::LogFormat;

/// What libraries say too loudly, unless `RUST_LOG` asks for it. Each request that can't be read is an error to the
/// parser, so that anybody could fill the log; and a pool that is waited for under load is no news.
const QUIETENED: &str = "actix_http::h1::dispatcher=off,actix_http::h1::decoder=off,sqlx=error";

static PANIC_HOOK: Once = Once::new();

/// Starts logging for the rest of the process, with the levels that `RUST_LOG` asks for, else `levels` without what
/// libraries say too loudly.
///
/// Only the first call of a process takes effect, so that tests may call it as often as they like. A `RUST_LOG` that
/// can't be read is told on the log, and `levels` hold.
pub fn init(format: LogFormat, levels: &str) {
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let (filter, complaint) = filter(asked.as_deref(), levels);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let started = if is_json(format, std::io::stderr().is_terminal()) {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init()
    };
    if started.is_ok()
        && let Some(complaint) = complaint
    {
        tracing::warn!("{complaint}");
    }
    PANIC_HOOK.call_once(|| std::panic::set_hook(Box::new(log_panic)));
}

/// The levels to log, and what was wrong with those asked for.
fn filter(asked: Option<&str>, levels: &str) -> (EnvFilter, Option<String>) {
    let usual = || EnvFilter::new(format!("{levels},{QUIETENED}"));
    match asked.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (usual(), Some(format!("RUST_LOG can't be read, {levels:?} holds instead: {error}"))),
        None => (usual(), None),
    }
}

const fn is_json(format: LogFormat, on_terminal: bool) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !on_terminal,
    }
}

/// A panic is one line of the log like any other failure, with the place where it happened.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or_default(), "panic: {}", panic_message(info.payload()));
}

/// What a panic said.
#[must_use]
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_when_asked_for_or_nobody_watches() {
        assert!(is_json(LogFormat::Json, true));
        assert!(is_json(LogFormat::Auto, false));
        assert!(!is_json(LogFormat::Auto, true));
        assert!(!is_json(LogFormat::Pretty, false));
    }

    #[test]
    fn levels_that_cannot_be_read_are_told_and_replaced() {
        let (filter_of_default, complaint) = filter(Some("a=b=c"), "info");
        assert_eq!(filter_of_default.to_string(), filter(None, "info").0.to_string());
        assert!(complaint.unwrap().contains("RUST_LOG"));
        assert_eq!(filter(Some("warn"), "info").0.to_string(), "warn");
    }

    #[test]
    fn what_anybody_could_fill_the_log_with_is_quiet_unless_asked_for() {
        let usual = filter(None, "info").0.to_string();
        let mut directives = usual.split(',').collect::<Vec<_>>();
        directives.sort_unstable();
        let quiet = ["actix_http::h1::decoder=off", "actix_http::h1::dispatcher=off", "info", "sqlx=error"];
        assert_eq!(directives, quiet);
        assert_eq!(filter(Some("info"), "info").0.to_string(), "info");
    }

    #[test]
    fn a_panic_tells_its_message() {
        let text: Box<dyn std::any::Any + Send> = Box::new("plain");
        let formatted: Box<dyn std::any::Any + Send> = Box::new(String::from("made"));
        let other: Box<dyn std::any::Any + Send> = Box::new(3);
        assert_eq!(panic_message(&*text), "plain");
        assert_eq!(panic_message(&*formatted), "made");
        assert_eq!(panic_message(&*other), "no message");
    }

    #[test]
    fn starting_twice_is_harmless() {
        init(LogFormat::Pretty, "off");
        init(LogFormat::Json, "off");
    }
}
