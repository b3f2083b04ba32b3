//! From keys to sections: which type, which bounds, and which settings must fit each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;
use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tranche_actors::domain::guards::RepeatRule;
use tranche_actors::domain::ids::DEFAULT_NAME;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{AccountName, Symbol};
use tranche_actors::domain::terms::Instrument;
use tranche_actors::domain::text::BadText;
use tranche_actors::domain::trading_day::DayEnd;

use super::reader::Reader;
use super::sections::{
    Actors, Auth, AuthMode, Breaker, Broker, BrokerErrors, BrokerKind, Calendar, CalendarKind, Execution, Gate, Http,
    KillSwitch, Lease, Log, LogFormat, OpenOrders, Persistence, Redis, Storage, StorePlace,
};
use super::{Fault, Settings};
use super::{alpaca, paper};
use crate::switchboard::redis::RedisBoard;
use crate::tls::is_this_machine;

/// The longest that most times may be, in seconds and in milliseconds.
const DAY: u64 = 86_400;
const HOUR_MS: u64 = 3_600_000;
/// How many requests Alpaca takes of an account in a minute.
const ALPACAS_LIMIT: u32 = 200;
/// The most that a quantity of a setting may be.
const MOST_UNITS: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// Reads everything, so that all faults are found, and only then decides.
pub(super) fn settings(environment: &str, mut reader: Reader) -> Result<Settings, Vec<Fault>> {
    let r = &mut reader;
    let http = http(r);
    let storage = storage(r);
    let mut settings = Settings {
        environment: environment.to_owned(),
        auth: auth(r, http.bind),
        http,
        broker: broker(r, &storage.folder.join("paper-book.db")),
        accounts: accounts(r, &storage.folder),
        lease: lease(r),
        storage,
        persistence: persistence(r),
        actors: actors(r),
        calendar: calendar(r),
        instruments: instruments(r),
        execution: execution(r),
        redis: redis(r),
        kill_switch: KillSwitch {
            settle: r.time("kill_switch.settle_ms", 60_000),
            second_operator: r.flag("kill_switch.second_operator"),
            foreign_mode: r.word("kill_switch.foreign_mode", &FOREIGN_MODES, &[], KillMode::Cancel),
        },
        breaker: breaker(r),
        gate: gate(r),
        log: Log { format: log_format(r) },
        warnings: Vec::new(),
        shown: Vec::new(),
    };
    if let Some(twin) = twins(&settings) {
        reader.fault("accounts", twin);
    }
    settings.shown = reader.finish()?;
    settings.warnings = warnings(&settings);
    Ok(settings)
}

fn http(r: &mut Reader) -> Http {
    let text = r.text("http.bind");
    let bind = text.replace("localhost:", "127.0.0.1:").parse().unwrap_or_else(|_| {
        r.fault("http.bind", format!("must be an address and a port, such as 127.0.0.1:8080; got {text:?}"));
        SocketAddr::from(([127, 0, 0, 1], 0))
    });
    let advertise = r.optional("http.advertise").and_then(|text| {
        let url = advertised(&text);
        if url.is_none() {
            r.fault("http.advertise", format!("must be an address and a port, or http(s)://HOST:PORT; got {text:?}"));
        }
        url
    });
    let settings = Http {
        bind,
        advertise,
        forward_in_the_clear: r.flag("http.forward_in_the_clear"),
        max_body_bytes: r.whole("http.max_body_bytes", 1_024..=16_777_216),
        header_timeout: r.time("http.header_timeout_ms", HOUR_MS),
        request_timeout: r.time("http.request_timeout_ms", HOUR_MS),
        keep_alive: r.time_or_zero("http.keep_alive_seconds", DAY),
        max_connections: r.size("http.max_connections", 1_000_000),
        requests_per_second: NonZeroU32::new(r.whole("http.requests_per_second", 0..=1_000_000)),
        workers: r.size("http.workers", 1_024),
    };
    r.rule(
        ["http.header_timeout_ms", "http.request_timeout_ms"],
        settings.header_timeout <= settings.request_timeout,
        "must not be longer than http.request_timeout_ms (TRANCHE__HTTP__REQUEST_TIMEOUT_MS)",
    );
    settings
}

/// Where others reach this instance: a scheme, a host and a port, and nothing else.
fn advertised(text: &str) -> Option<Url> {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) }.ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let fits = matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.fragment().is_none();
    (is_plain && fits && url.host_str().is_some_and(|host| !host.is_empty())).then_some(url)
}

fn auth(r: &mut Reader, bind: SocketAddr) -> Auth {
    let words = [("auto", AuthMode::Auto), ("keys", AuthMode::Keys), ("open", AuthMode::Open)];
    let auth = Auth {
        mode: r.word("auth.mode", &words, &[], AuthMode::Auto),
        admin_key: r.secret("auth.admin_key"),
        metrics_public: r.flag("auth.metrics_public"),
    };
    let keys = ["auth.mode", "auth.admin_key", "auth.admin_key_file", "http.bind"];
    let has_key = auth.admin_key.is_some();
    let alone = bind.ip().is_loopback();
    match auth.mode {
        // Whether the store has a key is known at the start alone.
        AuthMode::Auto | AuthMode::Keys => {}
        AuthMode::Open => {
            r.rule(
                keys,
                !has_key,
                "is \"open\", and still auth.admin_key or auth.admin_key_file gives a key: leave one of them out",
            );
            r.rule(
                keys,
                alone,
                format!(
                    "is \"open\", which works on an address of this machine alone, but http.bind (TRANCHE__HTTP__BIND) \
                     is {bind}"
                ),
            );
        }
    }
    auth
}

const FOREIGN_MODES: [(&str, KillMode); 3] =
    [("halt", KillMode::Halt), ("cancel", KillMode::Cancel), ("flatten", KillMode::Flatten)];

fn redis(r: &mut Reader) -> Redis {
    let url = Some(r.url("redis.url")).filter(|url| !url.is_empty()).map(SecretString::from);
    if let Some(bad) = url.as_ref().and_then(|url| RedisBoard::new(url).err()) {
        r.fault("redis.url", bad.to_string());
    }
    Redis { url }
}

fn storage(r: &mut Reader) -> Storage {
    let url = r.url("storage.url");
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let folder = if is_postgres { Ok(PathBuf::from(FOLDER)) } else { folder(&url) };
    let folder = folder.unwrap_or_else(|rule| {
        r.fault("storage.url", rule);
        PathBuf::new()
    });
    if folder.exists() && !folder.is_dir() {
        let message = format!("names {}, which is not a folder", folder.display());
        r.fault("storage.url", message);
    }
    if is_postgres && PgConnectOptions::from_str(&url).is_err() {
        r.fault(
            "storage.url",
            "must be postgres://USER:PASSWORD@HOST:PORT/DATABASE, with ?sslmode=verify-full over a network",
        );
    }
    let place = if is_postgres { StorePlace::Postgres(SecretString::from(url)) } else { StorePlace::Embedded };
    Storage {
        place,
        folder,
        migrate_on_start: r.flag("storage.migrate_on_start"),
        readers: r.count("storage.readers", 64),
    }
}

/// Where a paper broker's book is when the stores are elsewhere.
const FOLDER: &str = "data";

/// The folder of a URL. A refused URL isn't repeated: it may hold a password.
fn folder(url: &str) -> Result<PathBuf, &'static str> {
    match url.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() && !path.contains(['?', '#', ':', '\0']) => Ok(PathBuf::from(path)),
        Some(_) | None => {
            Err("must be sqlite:// and the path of a folder, such as sqlite://data or sqlite:///var/lib/tranche, or \
             postgres:// and a database")
        }
    }
}

fn calendar(r: &mut Reader) -> Calendar {
    let words = [
        ("auto", CalendarKind::Auto),
        ("always_open", CalendarKind::AlwaysOpen),
        ("venue", CalendarKind::Venue),
        ("nyse", CalendarKind::Nyse),
    ];
    let kind = r.word("calendar.kind", &words, &[], CalendarKind::Auto);
    let refresh = r.time("calendar.refresh_seconds", DAY / 2);
    let refuse_past_close = r.word("calendar.past_close", &[("warn", false), ("refuse", true)], &[], false);
    Calendar { kind, refresh, refuse_past_close }
}

fn persistence(r: &mut Reader) -> Persistence {
    Persistence {
        batch: r.size("persistence.batch", 100_000),
        commit_timeout: r.time("persistence.commit_ms", 60_000),
        probe_every: r.time("persistence.probe_ms", 60_000),
    }
}

fn actors(r: &mut Reader) -> Actors {
    Actors {
        mailbox: r.size("actors.mailbox", 10_000_000),
        heartbeat_every: r.time("actors.heartbeat_ms", 60_000),
        drain_timeout: r.time("actors.drain_ms", HOUR_MS),
    }
}

/// Every account but `default`, each with a broker of its own.
fn accounts(r: &mut Reader, folder: &Path) -> BTreeMap<AccountName, Broker> {
    let mut all = BTreeMap::new();
    for name in r.names_below("accounts") {
        // What is left of others is refused with everything that nobody takes.
        let Some(account) = AccountName::parse(&name).ok().filter(|_| name != DEFAULT_NAME) else { continue };
        let book = folder.join(format!("paper-book-{name}.db"));
        all.insert(account, r.of_account(&name, |r| broker(r, &book)));
    }
    all
}

fn lease(r: &mut Reader) -> Lease {
    let lease = Lease { length: r.time("lease.seconds", 3_600), renew_every: r.time("lease.renew_seconds", 3_600) };
    r.rule(
        ["lease.seconds", "lease.renew_seconds"],
        lease.length >= lease.renew_every.saturating_mul(3),
        "must be at least three times lease.renew_seconds (TRANCHE__LEASE__RENEW_SECONDS), so that one failed renewal \
         changes nothing",
    );
    lease
}

/// Two accounts that are one at the broker would trade against each other's books.
fn twins(settings: &Settings) -> Option<String> {
    let mut seen = BTreeMap::new();
    for (account, broker) in settings.brokers() {
        let identity = match broker.kind {
            BrokerKind::Paper => broker.paper.book.display().to_string(),
            BrokerKind::Alpaca => match &broker.alpaca.key {
                Some((key, _)) => format!("{} {}", broker.alpaca.places.base, key.expose_secret()),
                None => continue,
            },
        };
        if let Some(other) = seen.insert(identity, account) {
            return Some(match broker.kind {
                BrokerKind::Paper => {
                    format!("has the same file for the paper broker's book as {other}: give it its own")
                }
                BrokerKind::Alpaca => format!("has the same key at the same place as {other}: give it its own"),
            });
        }
    }
    None
}

fn broker(r: &mut Reader, book: &Path) -> Broker {
    let words = [("paper", BrokerKind::Paper), ("alpaca", BrokerKind::Alpaca)];
    let kind = r.word("broker.kind", &words, &["dry_run"], BrokerKind::Paper);
    let timeout = r.time("broker.timeout_ms", HOUR_MS);
    Broker {
        kind,
        rate_limit_per_minute: rate_limit(r, kind),
        timeout,
        max_in_flight: r.size("broker.max_in_flight", 100_000),
        day_end: day_end(r),
        paper: paper::read(r, book),
        alpaca: alpaca::read(r, kind, timeout),
    }
}

fn day_end(r: &mut Reader) -> DayEnd {
    let (reset, zone) = (r.text("broker.day_reset"), r.text("broker.day_zone"));
    let bad = |part: Result<DayEnd, BadText>| part.err().map(|BadText { rule }| rule);
    if let Some(rule) = bad(DayEnd::parse(&reset, "UTC")) {
        r.fault("broker.day_reset", format!("{rule}; got {reset:?}"));
    }
    if let Some(rule) = bad(DayEnd::parse("00:00", &zone)) {
        r.fault("broker.day_zone", format!("{rule}; got {zone:?}"));
    }
    DayEnd::parse(&reset, &zone).unwrap_or_else(|_| DayEnd::new_york())
}

fn instruments(r: &mut Reader) -> BTreeMap<Symbol, Instrument> {
    let mut all = BTreeMap::new();
    for name in r.names_below("instruments") {
        let lot = r.of_symbol(&name, "lot", Qty::new);
        let tick = r.of_symbol(&name, "tick", Price::new);
        match Symbol::parse(&name) {
            Ok(symbol) => {
                let lot = lot.unwrap_or(Instrument::usual().lot);
                all.insert(symbol, Instrument { lot, tick });
            }
            Err(rule) => r.fault(&format!("instruments.{name}"), format!("names no symbol: it {rule}")),
        }
    }
    all
}

fn execution(r: &mut Reader) -> Execution {
    let words = [("leave", OpenOrders::Leave), ("cancel", OpenOrders::Cancel)];
    Execution {
        claim: r.time("execution.claim_seconds", DAY),
        misfire_grace: r.time_or_zero("execution.misfire_grace_seconds", DAY),
        single_grace: r.time_or_zero("execution.single_grace_seconds", DAY),
        unknown_settle: r.time("execution.unknown_settle_ms", HOUR_MS),
        absent_settle: r.time_or_zero("execution.absent_settle_s", DAY),
        reconcile_every: r.time("execution.reconcile_seconds", DAY),
        submit_wait: r.time_or_zero("execution.submit_wait_ms", HOUR_MS),
        max_slices: r.count("execution.max_slices", 1_000_000),
        adv_pct: Some(r.decimal("execution.adv_pct", Decimal::ZERO, Decimal::ONE_HUNDRED)).filter(|pct| !pct.is_zero()),
        max_open_parents: r.size("execution.max_open_parents", 10_000_000),
        benchmark_every: r.time("execution.benchmark_seconds", 3_600),
        on_shutdown: r.word("execution.on_shutdown", &words, &[], OpenOrders::Leave),
    }
}

/// None, or at least ten: a smaller budget can't be cut into a burst and its lanes. Where nobody says, the broker's own.
fn rate_limit(r: &mut Reader, kind: BrokerKind) -> Option<NonZeroU32> {
    let key = "broker.rate_limit_per_minute";
    let usual = match kind {
        BrokerKind::Paper => 0,
        BrokerKind::Alpaca => ALPACAS_LIMIT,
    };
    let limit = r.optional_whole(key, 0..=1_000_000).and_then(|limit| u32::try_from(limit).ok());
    let limit = NonZeroU32::new(limit.unwrap_or(usual));
    if limit.is_some_and(|limit| limit.get() < 10) {
        r.fault(key, "must be 0 (no limit) or at least 10".to_owned());
    }
    limit
}

fn breaker(r: &mut Reader) -> Breaker {
    let enabled = r.flag("breaker.broker_errors.enabled");
    let errors = BrokerErrors {
        window: r.time("breaker.broker_errors.window_seconds", DAY),
        min_count: r.count("breaker.broker_errors.min_count", 1_000_000),
        share_percent: r.count("breaker.broker_errors.share_percent", 100),
        consecutive: NonZeroU32::new(r.whole("breaker.broker_errors.consecutive", 0..=1_000_000)),
    };
    let watches_positions = r.flag("breaker.position_mismatch.enabled");
    let tolerance = r.decimal("breaker.position_mismatch.tolerance", Decimal::ZERO, MOST_UNITS);
    let words = [("keep", OpenOrders::Leave), ("cancel", OpenOrders::Cancel)];
    let stale_after = r.time("breaker.data_stale.seconds", DAY);
    let repeats = RepeatRule {
        most: r.count("breaker.repeated_execution.most", 1_000_000).get(),
        window: r.time("breaker.repeated_execution.window_seconds", DAY),
    };
    Breaker {
        quiet_period: r.time_or_zero("breaker.quiet_period_seconds", DAY),
        on_trip: r.word("breaker.on_trip", &words, &[], OpenOrders::Leave),
        broker_errors: enabled.then_some(errors),
        position_tolerance: watches_positions.then_some(tolerance),
        daily_loss: amount(r, "breaker.daily_loss"),
        drawdown: amount(r, "breaker.drawdown"),
        stale_after: r.flag("breaker.data_stale.enabled").then_some(stale_after),
        repeats: r.flag("breaker.repeated_execution.enabled").then_some(repeats),
        mark_every: r.time("breaker.mark_seconds", 3_600),
    }
}

/// An amount of money that trips, where that is on.
fn amount(r: &mut Reader, section: &'static str) -> Option<Decimal> {
    let limit = r.decimal(&format!("{section}.limit"), Decimal::new(1, 2), MOST_UNITS);
    r.flag(&format!("{section}.enabled")).then_some(limit)
}

fn gate(r: &mut Reader) -> Gate {
    let settings = Gate { poll_every: r.time("gate.poll_ms", 60_000), open_for: r.time("gate.open_ms", 60_000) };
    r.rule(
        ["gate.open_ms", "gate.poll_ms"],
        settings.open_for >= settings.poll_every.saturating_mul(2),
        "must be at least twice gate.poll_ms (TRANCHE__GATE__POLL_MS), so that one failed read changes nothing",
    );
    settings
}

fn log_format(r: &mut Reader) -> LogFormat {
    let words = [("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
    r.word("log.format", &words, &[], LogFormat::Auto)
}

fn warnings(settings: &Settings) -> Vec<String> {
    let mut all = Vec::new();
    match &settings.auth.admin_key {
        Some(key) if key.expose_secret().len() < 32 => {
            all.push("the admin key is shorter than 32 characters: it can be guessed".to_owned());
        }
        Some(_) | None => {}
    }
    for (account, broker) in settings.brokers() {
        if broker.kind == BrokerKind::Alpaca && broker.rate_limit_per_minute.is_none() {
            let of = if account == DEFAULT_NAME { String::new() } else { format!(" of the account {account}") };
            all.push(format!("no rate limit is set for Alpaca{of}: what is beyond its own is refused there"));
        }
    }
    let is_everywhere = settings.http.bind.ip().is_unspecified();
    if settings.storage.is_shared() && is_everywhere && settings.http.advertise.is_none() {
        all.push(
            "other instances can't reach this one: http.bind names no address of its own, and http.advertise is empty"
                .to_owned(),
        );
    }
    let is_plain = match &settings.http.advertise {
        Some(url) => url.scheme() == "http" && !is_this_machine(url),
        None => !is_everywhere && !settings.http.bind.ip().is_loopback(),
    };
    if settings.storage.is_shared() && is_plain && !settings.http.forward_in_the_clear {
        all.push(
            "other machines hand nothing on to this one: they reach it by plain HTTP, which \
             http.forward_in_the_clear doesn't allow"
                .to_owned(),
        );
    }
    if let StorePlace::Postgres(url) = &settings.storage.place
        && PgConnectOptions::from_str(url.expose_secret()).is_ok_and(|options| is_in_the_clear(&options))
    {
        all.push(
            "PostgreSQL is reached over a network without sslmode=verify-full: whoever is between reads along"
                .to_owned(),
        );
    }
    all
}

/// Whether a password and orders go over a network to a server that nobody has made sure of.
fn is_in_the_clear(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_local =
        host == "localhost" || host.starts_with('/') || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !is_local && options.get_socket().is_none() && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
}
