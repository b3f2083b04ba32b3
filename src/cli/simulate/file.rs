//! A scenario of one's own, from a file: what clients ask, what goes wrong, the prices, and a few numbers.
//!
//! Parents and single orders have the fields of their requests, read by the same rules; faults the keys of the paper
//! broker's. `config/scenarios/trouble.toml` shows all of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::names::Symbol;
use tranche_actors::market::faults::Faults;
use tranche_actors::market::quotes::Quotes;
use tranche_actors::market::replay::Replay;
use tranche_actors::market::walk::Walk;
use tranche_actors::tuning::Tuning;
use tranche_simulation::clock::EPOCH;
use tranche_simulation::scenario::Scenario;

use super::asks::{self, Terms};
use super::{events, toml};
use crate::brokers::paper::quote_files;
use crate::brokers::paper::settings::QuoteFile;
use crate::http::fields::Fields;
use crate::http::schedules;
use crate::settings::paper::{CHANCES, DAY_MS, TIMES};

/// No scenario is longer, in seconds: a week.
pub(super) const LONGEST_S: u32 = 604_800;
/// The seed of a file that names none.
const SEED: u64 = 1;

/// What is wrong with a scenario's file; all of it.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) struct ScenarioError {
    file: PathBuf,
    faults: Vec<FieldError>,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.faults.len() {
            1 => write!(f, "the scenario {file} has a fault:")?,
            n => write!(f, "the scenario {file} has {n} faults:")?,
        }
        for FieldError { field, code, message } in &self.faults {
            let message = if *code == "unknown_field" { "is unknown" } else { message };
            write!(f, "\n  - {field} {message}")?;
        }
        Ok(())
    }
}

/// A larger file is none that somebody wrote.
const LARGEST: u64 = 1_048_576;

fn limited(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|read| read <= LARGEST) {
        Ok(text)
    } else {
        Err(std::io::Error::other("it is larger than 1 MiB"))
    }
}

/// A scenario that can be run by any seed.
#[derive(Debug)]
pub(super) struct ScenarioFile {
    base: Scenario,
    prices: Prices,
}

/// Where prices come from.
#[derive(Debug)]
struct Prices {
    /// The walk's own seed; else it is the scenario's.
    seed: Option<u64>,
    interval_ms: u64,
    replays: BTreeMap<Symbol, Replay>,
}

impl ScenarioFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn read(path: &Path) -> Result<Self, ScenarioError> {
        let unreadable =
            |why: std::io::Error| vec![FieldError::new("the file", "unreadable", format!("can't be read: {why}"))];
        let text = limited(path).map_err(unreadable);
        let folder = path.parent().unwrap_or(Path::new(""));
        let scenario = text.and_then(|text| Self::of(&text, folder));
        scenario.map_err(|faults| ScenarioError { file: path.to_owned(), faults })
    }

    /// Reads what a file says; the files that it names lie in `folder`, where their paths don't say otherwise.
    pub(super) fn of(text: &str, folder: &Path) -> Result<Self, Vec<FieldError>> {
        let json = toml::as_json(text)?;
        let mut fields = Fields::of_object(&json).ok_or_else(Vec::new)?;
        let seed = fields.integer("seed", 0, u64::MAX).unwrap_or(SEED);
        let mut base = Scenario::quiet(seed);
        base.start = fields.name("start", schedules::time).unwrap_or(EPOCH);
        settings(&mut fields, &mut base);
        if let Some(faults) = faults(&mut fields) {
            base.rules.refused = faults.reject_symbols.iter().cloned().collect();
            base.background = faults;
        }
        let prices = prices(&mut fields, &mut base, folder);
        let asks = asks::asks(&mut fields, &Terms { start: base.start, rules: &base.tuning.plan_rules });
        let inner = fields.objects("events");
        let events = inner.into_iter().filter_map(|inner| fields.absorb(events::event(inner))).collect::<Vec<_>>();
        // What is held up by an event is done later, and nobody is to lose patience before.
        base.busy = asks.end + events.iter().map(|event| event.costs).sum::<Duration>();
        base.requests = asks.requests;
        base.faults = events.into_iter().flat_map(|event| event.faults).collect();
        base.faults.sort_by_key(|fault| fault.at);
        if base.requests.is_empty() && !fields.has_faults() {
            fields.fault("parents", "missing", "or orders are required: nobody asks for anything");
        }
        fields.finish(prices.map(|prices| Self { base, prices }))
    }

    /// The seed that the file names.
    pub(super) const fn seed(&self) -> u64 {
        self.base.seed
    }

    /// The scenario by a seed.
    pub(super) fn scenario(&self, seed: u64) -> Scenario {
        let Prices { seed: own, interval_ms, replays } = &self.prices;
        let quotes = Quotes::new(Walk::new(own.unwrap_or(seed), *interval_ms), replays.clone());
        Scenario { seed, quotes, ..self.base.clone() }
    }
}

/// `[settings]`: the numbers of the configuration that matter most, by their names there.
fn settings(fields: &mut Fields<'_>, base: &mut Scenario) {
    base.tuning.benchmark = Duration::from_secs(1);
    base.tuning.requests_per_minute = None;
    base.latency = Duration::from_millis(50);
    base.spread = Duration::ZERO;
    let Some(mut own) = fields.object("settings") else { return };
    let Tuning { grace, single_grace, quiet_period, send_timeout, .. } = &mut base.tuning;
    let times = [
        ("misfire_grace_seconds", grace, 86_400),
        ("single_grace_seconds", single_grace, 86_400),
        ("breaker_quiet_period_seconds", quiet_period, 86_400),
        ("broker_timeout_seconds", send_timeout, 600),
    ];
    for (name, time, most) in times {
        if let Some(value) = own.seconds(name, most) {
            *time = value;
        }
    }
    for (name, time) in [("latency_ms", &mut base.latency), ("latency_spread_ms", &mut base.spread)] {
        if let Some(value) = own.integer(name, 0, 60_000) {
            *time = Duration::from_millis(value);
        }
    }
    let limit = own.integer("rate_limit_per_minute", 0, 1_000_000_u32).unwrap_or(0);
    if (1..10).contains(&limit) {
        own.fault("rate_limit_per_minute", "out_of_range", "must be 10 or more, or 0 for no limit");
    }
    base.tuning.requests_per_minute = NonZeroU32::new(limit);
    // A tenth is kept back for cancels and look-ups.
    base.tuning.plan_rules.orders_per_minute = NonZeroU32::new(limit).map(|limit| limit.get() - limit.get() / 10);
    if let Some(bps) = own.between("slippage_bps", Decimal::ZERO, Decimal::ONE_THOUSAND) {
        base.rules.slippage_bps = bps;
    }
    fields.join(own, Some(()));
}

/// `[faults]`: what goes wrong by chance all the time, by the keys of `broker.paper.faults`.
fn faults(fields: &mut Fields<'_>) -> Option<Faults> {
    let mut own = fields.object("faults")?;
    let mut all = Map::new();
    let chances = CHANCES.into_iter().map(|name| (name, 1_000));
    for (name, most) in chances.chain(TIMES.map(|name| (name, DAY_MS))) {
        if let Some(value) = own.integer::<u64>(name, 0, most) {
            all.insert(name.to_owned(), value.into());
        }
    }
    let symbols = own.texts("reject_symbols").unwrap_or_default();
    let symbols = symbols.iter().map(|text| text.to_ascii_uppercase()).collect::<Vec<_>>();
    for symbol in &symbols {
        if let Err(rule) = Symbol::parse(symbol) {
            own.fault("reject_symbols", "invalid", format!("has {symbol:?}: a symbol {rule}"));
        }
    }
    all.insert("reject_symbols".to_owned(), symbols.into());
    let faults = serde_json::from_value(Value::Object(all)).ok();
    fields.join(own, Some(faults)).flatten()
}

/// `[quotes]`: a seeded walk for every symbol, but for those that have a file.
fn prices(fields: &mut Fields<'_>, base: &mut Scenario, folder: &Path) -> Option<Prices> {
    const INTERVAL_MS: u64 = 250;
    let Some(mut own) = fields.object("quotes") else {
        return Some(Prices { seed: None, interval_ms: INTERVAL_MS, replays: BTreeMap::new() });
    };
    let seed = own.integer("seed", 0, u64::MAX);
    let interval_ms = own.integer("interval_ms", 1, DAY_MS).unwrap_or(INTERVAL_MS);
    let speed = own.between("speed", Decimal::new(1, 6), Decimal::from(1_000_000)).unwrap_or(Decimal::ONE);
    let files = own.texts("files").unwrap_or_default().iter().map(|text| in_folder(text, folder)).collect::<Vec<_>>();
    let series = quote_files::read(&files)
        .map_err(|fault| own.fault("files", "unreadable", format!("can't be replayed: {fault}")));
    let replay = |start: DateTime<Utc>| {
        let series = series.unwrap_or_default().into_iter();
        series.map(|(symbol, series)| (symbol, Replay::new(series, start, speed))).collect()
    };
    let prices = Prices { seed, interval_ms, replays: replay(base.start) };
    fields.join(own, Some(prices))
}

fn in_folder(text: &str, folder: &Path) -> QuoteFile {
    let QuoteFile { symbol, path } = QuoteFile::spelt(text);
    QuoteFile { symbol, path: folder.join(path) }
}

/// The reader of a scenario's file, for files that nobody would write.
#[cfg(any(test, fuzzing))]
pub fn hostile(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ScenarioFile::of(text, Path::new("no-such-folder")) {
        Ok(file) => crate::hostile::done(file.scenario(file.seed())),
        Err(faults) => crate::hostile::done(ScenarioError { file: PathBuf::new(), faults }.to_string()),
    }
}
