//! The fields of a parent's schedule.

use std::num::NonZeroU32;

use chrono::{DateTime, SubsecRound, Timelike, Utc};
use rust_decimal::Decimal;
use tranche_actors::domain::plan::{MAX_DURATION_SECONDS, Randomize, Schedule, Span};
use tranche_actors::domain::text::BadText;

use super::fields::Fields;

/// Longest seed of a plan's jitter.
const MAX_SEED: usize = 64;
/// The interval of a plan that names none.
const DEFAULT_INTERVAL: u32 = 60;

/// Over which time, and in which pieces.
pub(super) fn schedule(fields: &mut Fields<'_>) -> Option<Schedule> {
    let span = span(fields);
    let interval_seconds = fields.integer("interval_seconds", 1, MAX_DURATION_SECONDS).unwrap_or(DEFAULT_INTERVAL);
    let start_time = fields.name("start_time", time);
    let max_slice_qty = fields.qty("max_slice_qty");
    let randomize = randomize(fields);
    Some(Schedule {
        span: span?,
        interval_seconds: NonZeroU32::new(interval_seconds)?,
        start_time,
        max_slice_qty,
        randomize,
    })
}

fn span(fields: &mut Fields<'_>) -> Option<Span> {
    match (fields.given("duration_minutes"), fields.given("duration_seconds")) {
        (false, false) => fields.fault("duration_minutes", "missing", "or duration_seconds is required"),
        (true, true) => {
            let rule = "and duration_minutes exclude each other: give one of them";
            fields.fault("duration_seconds", "wrong_combination", rule);
        }
        (true, false) | (false, true) => {}
    }
    let minutes = fields.integer("duration_minutes", 1, MAX_DURATION_SECONDS / 60);
    let seconds = fields.integer("duration_seconds", 1, MAX_DURATION_SECONDS);
    match (minutes.and_then(NonZeroU32::new), seconds.and_then(NonZeroU32::new)) {
        (Some(minutes), None) => Some(Span::Minutes(minutes)),
        (None, Some(seconds)) => Some(Span::Seconds(seconds)),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

/// Jitter of sizes, of times, or of both; the one that is not named is nought.
fn randomize(fields: &mut Fields<'_>) -> Option<Randomize> {
    let mut inner = fields.object("randomize")?;
    if !inner.given("size_pct") && !inner.given("time_pct") {
        inner.fault("size_pct", "missing", "or time_pct is required");
    }
    let size_pct = inner.percent("size_pct").unwrap_or(Decimal::ZERO);
    let time_pct = inner.percent("time_pct").unwrap_or(Decimal::ZERO);
    let seed = inner.words("seed", MAX_SEED);
    let randomize = Randomize { size_pct, time_pct, seed };
    fields.join(inner, Some(randomize))
}

/// An instant, cut to microseconds.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, BadText> {
    // A leap second can't be counted on: it would be another instant once it is stored.
    DateTime::parse_from_rfc3339(text)
        .ok()
        .filter(|time| time.nanosecond() < 1_000_000_000)
        .map(|time| time.with_timezone(&Utc).trunc_subsecs(6))
        .ok_or(BadText { rule: "must be a time as RFC 3339 has it, such as 2026-11-23T14:30:00Z" })
}
