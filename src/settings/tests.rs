//! What a configuration may be, and what it is told when it isn't.

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use rust_decimal::Decimal;
use secrecy::ExposeSecret;

use super::*;

const TEN_CHARS: &str = "0123456789";

fn with(variables: &[(&str, &str)]) -> Inputs {
    Inputs {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        folder: PathBuf::from("/nonexistent"),
        ..Inputs::default()
    }
}

fn faults(inputs: &Inputs) -> Vec<Fault> {
    Settings::load(inputs).map_or_else(|error| error.faults, |_| Vec::new())
}

fn in_file(name: &str, text: &str) -> Inputs {
    let folder = std::env::temp_dir().join(format!("tranche-settings-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("own.toml");
    fs::write(&file, text).unwrap();
    Inputs { file: Some(file), ..with(&[]) }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let settings = Settings::load(&with(&[])).unwrap();
    assert_eq!(settings.environment, "local");
    assert_eq!(settings.http.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.http.max_body_bytes, 65_536);
    assert_eq!(settings.http.keep_alive, Duration::from_secs(15));
    assert_eq!(settings.http.max_connections.get(), 4_096);
    assert_eq!(settings.storage.folder, PathBuf::from("data"));
    assert!(settings.storage.migrate_on_start);
    assert_eq!(settings.broker.paper.book, PathBuf::from("data/paper-book.db"));
    assert_eq!(settings.broker.paper.latency, Duration::from_millis(50));
    assert_eq!(settings.broker.paper.cash, Decimal::from(10_000_000));
    assert!(settings.broker.paper.quotes.is_empty());
    assert_eq!(settings.broker.rate_limit_per_minute, None);
    assert_eq!(settings.broker.timeout, Duration::from_secs(10));
    assert_eq!(settings.execution.claim, Duration::from_secs(10));
    assert_eq!(settings.execution.absent_settle, Duration::from_secs(120));
    assert_eq!(settings.execution.max_slices.get(), 25_000);
    assert_eq!(settings.kill_switch.settle, Duration::from_secs(2));
    assert_eq!(settings.breaker.quiet_period, Duration::from_secs(300));
    assert_eq!(settings.gate.open_for, Duration::from_millis(500));
    assert!(settings.auth.admin_key.is_none());
}

#[test]
fn production_comes_with_the_program() {
    let settings = Settings::load(&with(&[("TRANCHE_ENVIRONMENT", "production")])).unwrap();
    assert!(!settings.storage.migrate_on_start);
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn a_database_is_named_by_its_url_and_its_password_is_never_shown() {
    let named = with(&[("TRANCHE__STORAGE__URL", "postgres://ann:hunter2@db.example:5432/tranche")]);
    let settings = Settings::load(&named).unwrap();
    let StorePlace::Postgres(url) = &settings.storage.place else {
        panic!("{:?}", settings.storage.place);
    };
    assert_eq!(url.expose_secret(), "postgres://ann:hunter2@db.example:5432/tranche");
    assert!(settings.warnings.iter().any(|warning| warning.contains("sslmode=verify-full")));
    let shown = settings.masked().iter().find(|shown| shown.key == "storage.url").unwrap();
    assert!(format!("{:?}", shown.value).contains("postgres://ann:********@db.example:5432/tranche"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn an_environment_without_a_file_stops_the_start() {
    let found = faults(&with(&[("TRANCHE_ENVIRONMENT", "staging")]));
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("staging.toml"), "{}", found[0]);
    let found = faults(&with(&[("TRANCHE_ENVIRONMENT", "../secrets")]));
    assert!(found[0].message.contains("TRANCHE_ENVIRONMENT"), "{}", found[0]);
}

#[test]
fn a_later_layer_wins_and_says_so() {
    let mut inputs = in_file("layers", "[gate]\npoll_ms = 20\nopen_ms = 200\n[kill_switch]\nsettle_ms = 7\n");
    inputs.variables.insert("TRANCHE__GATE__OPEN_MS".into(), "300".into());
    inputs.variables.insert("TRANCHE__HTTP__BIND".into(), "127.0.0.1:1".into());
    inputs.flags.push(("http.bind".into(), "[::1]:0".into()));
    let settings = Settings::load(&inputs).unwrap();
    assert_eq!(settings.gate.poll_every, Duration::from_millis(20));
    assert_eq!(settings.gate.open_for, Duration::from_millis(300));
    assert_eq!(settings.http.bind.to_string(), "[::1]:0");
    let from = |key: &str| {
        let shown = settings.masked().iter().find(|shown| shown.key == key).unwrap();
        shown.from.clone()
    };
    assert_eq!(from("gate.open_ms"), "variable");
    assert_eq!(from("http.bind"), "command line");
    assert_eq!(from("gate.poll_ms"), inputs.file.unwrap().display().to_string());
    assert_eq!(from("log.format"), "default");
}

#[test]
fn a_variable_set_to_nothing_is_not_set() {
    let settings = Settings::load(&with(&[("TRANCHE__GATE__POLL_MS", ""), ("TRANCHE__REDIS__URL", "")])).unwrap();
    assert_eq!(settings.gate.poll_every, Duration::from_millis(50));
}

#[test]
fn instruments_are_named_by_variables_in_any_case_and_by_files_in_quotes() {
    let mut inputs = in_file("instruments", "[instruments.\"BRK.B\"]\nlot = \"0.5\"\n[instruments.gbpusd]\nlot = 10\n");
    inputs.variables.insert("TRANCHE__INSTRUMENTS__GBPUSD__LOT".into(), "1000".into());
    inputs.variables.insert("TRANCHE__INSTRUMENTS__GBPUSD__TICK".into(), "0.00001".into());
    let settings = Settings::load(&inputs).unwrap();
    let of = |name: &str| settings.instrument(&Symbol::parse(name).unwrap());
    assert_eq!(of("GBPUSD").lot.get(), Decimal::from(1000));
    assert_eq!(of("GBPUSD").tick.unwrap().get(), Decimal::new(1, 5));
    assert_eq!(of("BRK.B").lot.get(), Decimal::new(5, 1));
    assert_eq!(of("BRK.B").tick, None);
    assert_eq!(of("AAPL"), Instrument::usual());
}

#[test]
fn lists_are_lists_in_files_and_texts_with_commas_in_variables() {
    let mut inputs = in_file(
        "lists",
        "[broker.paper]\nquotes = [\"GBPUSD=Cargo.toml\", \"README.md\"]\n[broker.paper.faults]\ndelay_ms = 5\n",
    );
    inputs.variables.insert("TRANCHE__BROKER__PAPER__FAULTS__REJECT_SYMBOLS".into(), "aapl, BRK.B,".into());
    let paper = Settings::load(&inputs).unwrap().broker.paper;
    assert_eq!(paper.quotes, ["GBPUSD=Cargo.toml", "README.md"]);
    assert_eq!(paper.faults["reject_symbols"], serde_json::json!(["AAPL", "BRK.B"]));
    assert_eq!(paper.faults["delay_ms"], 5);
    assert_eq!(paper.faults.len(), 15);
}

#[test]
fn times_in_seconds_may_have_a_fraction() {
    let settings = Settings::load(&with(&[("TRANCHE__EXECUTION__CLAIM_SECONDS", "0.25")])).unwrap();
    assert_eq!(settings.execution.claim, Duration::from_millis(250));
}

#[test]
fn an_account_has_a_broker_of_its_own_and_what_it_does_not_say_is_as_for_the_first() {
    let settings = Settings::load(&with(&[
        ("TRANCHE__BROKER__TIMEOUT_MS", "7000"),
        ("TRANCHE__BROKER__ALPACA__KEY_ID", "first"),
        ("TRANCHE__BROKER__ALPACA__SECRET_KEY", "secret"),
        ("TRANCHE__ACCOUNTS__SECOND__BROKER__KIND", "alpaca"),
        ("TRANCHE__ACCOUNTS__SECOND__BROKER__ALPACA__KEY_ID", "second"),
        ("TRANCHE__ACCOUNTS__THIRD__BROKER__PAPER__SEED", "9"),
    ]))
    .unwrap();
    let names = settings.brokers().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names, ["default", "second", "third"]);
    let of = |name: &str| settings.brokers().find(|(own, _)| *own == name).unwrap().1;
    let key = |name: &str| of(name).alpaca.key.as_ref().map(|(id, _)| id.expose_secret().to_owned());
    assert_eq!((key("default").as_deref(), key("second").as_deref()), (Some("first"), Some("second")));
    assert_eq!((of("second").kind, of("third").kind), (BrokerKind::Alpaca, BrokerKind::Paper));
    assert_eq!(of("second").timeout, Duration::from_secs(7));
    assert_eq!(of("second").rate_limit_per_minute.map(NonZeroU32::get), Some(200));
    assert_eq!((of("third").paper.seed, of("default").paper.seed), (9, 1));
    assert!(of("third").paper.book.ends_with("paper-book-third.db"), "{:?}", of("third").paper.book);
    let shown = settings.masked().iter().find(|shown| shown.key == "accounts.second.broker.alpaca.key_id").unwrap();
    assert_eq!((shown.value.as_str(), shown.from.as_str()), (Some("********"), "variable"));
}

#[test]
fn no_two_accounts_are_one_at_the_broker() {
    let error = Settings::load(&with(&[
        ("TRANCHE__BROKER__KIND", "alpaca"),
        ("TRANCHE__BROKER__ALPACA__KEY_ID", "first"),
        ("TRANCHE__BROKER__ALPACA__SECRET_KEY", "secret"),
        ("TRANCHE__ACCOUNTS__SECOND__BROKER__TIMEOUT_MS", "5000"),
    ]))
    .unwrap_err();
    assert!(error.to_string().contains("the same key"), "{error}");
}

/// Each wrong value with the key that it must be told about, and a part of what it must be told.
const WRONG: [(&str, &str, &str, &str); 57] = [
    ("TRANCHE__HTTP__BIND", "8080", "http.bind", "127.0.0.1:8080"),
    ("TRANCHE__HTTP__MAX_BODY_BYTES", "64KiB", "http.max_body_bytes", "whole number"),
    ("TRANCHE__HTTP__HEADER_TIMEOUT_MS", "30001", "http.header_timeout_ms", "request_timeout_ms"),
    ("TRANCHE__HTTP__REQUESTS_PER_SECOND", "-1", "http.requests_per_second", "whole number"),
    ("TRANCHE__HTTP__ADVERTISE", "http://u:p@a", "http.advertise", "HOST:PORT"),
    ("TRANCHE__HTTP__ADVERTISE", "a:80/path", "http.advertise", "HOST:PORT"),
    ("TRANCHE__ACCOUNTS__DEFAULT__BROKER__KIND", "paper", "accounts.default.broker.kind", "[broker]"),
    ("TRANCHE__ACCOUNTS__SECOND__BROKER__KIND", "papre", "accounts.second.broker.kind", "one of paper"),
    ("TRANCHE__ACCOUNTS__SECOND__BROKER__KINDS", "paper", "accounts.second.broker.kinds", "its section has"),
    ("TRANCHE__ACCOUNTS__SECOND__BROKER__PAPER__BOOK", "data/paper-book.db", "accounts", "the same file"),
    ("TRANCHE__HTTP", "x", "http", "a section"),
    ("TRANCHE__HTPP__BIND", "x", "htpp.bind", "unknown"),
    ("TRANCHE__AUTH__MODE", "none", "auth.mode", "auto, keys, open"),
    ("TRANCHE__AUTH__ADMIN_KEY_FILE", "/nonexistent", "auth.admin_key_file", "can't be read"),
    ("TRANCHE__AUTH__ADMIN_KEY", "two words", "auth.admin_key", "visible ASCII"),
    ("TRANCHE__AUTH__METRICS_PUBLIC", "yes", "auth.metrics_public", "true or false"),
    ("TRANCHE__STORAGE__URL", "postgres://u:p@h:port/d", "storage.url", "sslmode"),
    ("TRANCHE__STORAGE__URL_FILE", "/nonexistent", "storage.url_file", "can't be read"),
    ("TRANCHE__STORAGE__URL", "sqlite://", "storage.url", "sqlite://data"),
    ("TRANCHE__STORAGE__URL", "sqlite::memory:", "storage.url", "sqlite://data"),
    ("TRANCHE__STORAGE__MIGRATE_ON_START", "2", "storage.migrate_on_start", "true or false"),
    ("TRANCHE__REDIS__URL", "http://h", "redis.url", "address of a Redis server"),
    ("TRANCHE__BROKER__KIND", "dry_run", "broker.kind", "not built yet"),
    ("TRANCHE__BROKER__KIND", "papre", "broker.kind", "one of paper"),
    ("TRANCHE__BROKER__ALPACA__KEY_ID", "two words", "broker.alpaca.key_id", "visible ASCII"),
    ("TRANCHE__BROKER__ALPACA__ENV", "real", "broker.alpaca.env", "paper, live"),
    ("TRANCHE__BROKER__ALPACA__BASE_URL", "alpaca", "broker.alpaca.base_url", "https://HOST"),
    ("TRANCHE__BROKER__ALPACA__BASE_URL", "ftp://h", "broker.alpaca.base_url", "https://"),
    ("TRANCHE__BROKER__ALPACA__BASE_URL", "http://10.0.0.7", "broker.alpaca.base_url", "in the clear"),
    ("TRANCHE__BROKER__ALPACA__BASE_URL", "https://u:p@h", "broker.alpaca.base_url", "a user"),
    ("TRANCHE__BROKER__ALPACA__BASE_URL", "https://api.alpaca.markets", "broker.alpaca.base_url", "real money"),
    ("TRANCHE__BROKER__ALPACA__STREAM_URL", "ws://example.org/stream", "broker.alpaca.stream_url", "in the clear"),
    (
        "TRANCHE__BROKER__ALPACA__STREAM_URL",
        "wss://api.alpaca.markets/stream",
        "broker.alpaca.stream_url",
        "another world",
    ),
    ("TRANCHE__BROKER__ALPACA__DATA_URL", "ws://127.0.0.1", "broker.alpaca.data_url", "https://"),
    ("TRANCHE__BROKER__ALPACA__DATA_FEED", "otc", "broker.alpaca.data_feed", "iex, sip"),
    ("TRANCHE__BROKER__RATE_LIMIT_PER_MINUTE", "-1", "broker.rate_limit_per_minute", "whole number"),
    ("TRANCHE__BROKER__TIMEOUT_MS", "10s", "broker.timeout_ms", "milliseconds"),
    ("TRANCHE__BROKER__PAPER__SLIPPAGE_BPS", "NaN", "broker.paper.slippage_bps", "a number"),
    ("TRANCHE__BROKER__PAPER__SPEED", "0", "broker.paper.speed", "a number"),
    (
        "TRANCHE__BROKER__PAPER__QUOTES",
        "README.md,no/quotes-A.csv",
        "broker.paper.quotes",
        "no/quotes-A.csv, which is not there",
    ),
    ("TRANCHE__BROKER__PAPER__QUOTES", "GBPUSD=src", "broker.paper.quotes", "src, which is not a file"),
    ("TRANCHE__STORAGE__URL", "sqlite:///dev/null", "storage.url", "/dev/null, which is not a folder"),
    ("TRANCHE__STORAGE__URL", "sqlite://Cargo.toml", "storage.url", "Cargo.toml, which is not a folder"),
    ("TRANCHE__BROKER__PAPER__LATENCY", "5", "broker.paper.latency", "latency_ms"),
    ("TRANCHE__BROKER__PAPER__FAULTS__DELAY_PER_MILLE", "1001", "broker.paper.faults.delay_per_mille", "0 to 1000"),
    (
        "TRANCHE__BROKER__PAPER__FAULTS__REJECT_SYMBOLS",
        "A B",
        "broker.paper.faults.reject_symbols",
        "each symbol must be",
    ),
    ("TRANCHE__CALENDAR__KIND", "lse", "calendar.kind", "nyse"),
    ("TRANCHE__INSTRUMENTS__AAPL__LOT", "0", "instruments.AAPL.lot", "above zero"),
    ("TRANCHE__INSTRUMENTS__AAPL__LOTS", "1", "instruments.AAPL.LOTS", "lot, tick"),
    ("TRANCHE__EXECUTION__CLAIM_SECONDS", "0", "execution.claim_seconds", "above 0"),
    ("TRANCHE__EXECUTION__CLAIM_SECONDS", "0.0001", "execution.claim_seconds", "seconds"),
    ("TRANCHE__BROKER__RATE_LIMIT_PER_MINUTE", "9", "broker.rate_limit_per_minute", "at least 10"),
    ("TRANCHE__EXECUTION__MAX_SLICES", "1.5", "execution.max_slices", "whole number"),
    ("TRANCHE__GATE__OPEN_MS", "99", "gate.open_ms", "twice gate.poll_ms"),
    ("TRANCHE__BREAKER__BROKER_ERRORS__SHARE_PERCENT", "101", "breaker.broker_errors.share_percent", "1 to 100"),
    ("TRANCHE__LEASE__SECONDS", "5", "lease.seconds", "three times"),
    ("TRANCHE__LOG__FORMAT", "xml", "log.format", "auto, pretty, json"),
];

#[test]
fn each_wrong_value_is_told_by_its_key_and_its_variable() {
    for (variable, value, key, told) in WRONG {
        let found = faults(&with(&[(variable, value)]));
        assert_eq!(found.len(), 1, "{variable}={value}: {found:?}");
        let fault = &found[0];
        assert!(fault.key.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(key)), "{variable}={value}: {fault}");
        assert!(fault.message.contains(told), "{variable}={value}: {fault}");
        assert!(fault.to_string().contains("TRANCHE__"), "{fault}");
    }
}

#[test]
fn all_faults_of_all_layers_are_told_at_once() {
    let mut inputs = in_file(
        "all",
        "[gate]\npoll_ms = 2.5\nopen_sm = 3\n[http.bind]\nport = 1\n[auth]\nadmin_key = \"hunter2\"\n[nothing]\n",
    );
    inputs.variables.insert("TRANCHE__LOG__FORMAT".into(), "xml".into());
    inputs.flags.push(("broker.kind".into(), "dry_run".into()));
    let error = Settings::load(&inputs).unwrap_err();
    let keys = error.faults.iter().map(|fault| fault.key.clone().unwrap_or_default()).collect::<Vec<_>>();
    assert_eq!(
        keys,
        ["auth.admin_key", "broker.kind", "gate.open_sm", "gate.poll_ms", "http.bind.port", "log.format", "nothing"]
    );
    assert!(!error.to_string().contains("hunter2"));
    assert!(
        error.to_string().starts_with("the configuration has 7 faults:\n  - auth.admin_key (TRANCHE__AUTH__ADMIN_KEY)")
    );
}

#[test]
fn a_file_that_is_not_toml_or_not_there_stops_the_start() {
    let found = faults(&in_file("toml", "[gate\n"));
    assert!(found[0].message.contains("is not TOML"), "{}", found[0]);
    let missing = Inputs { file: Some(PathBuf::from("/nonexistent/own.toml")), ..with(&[]) };
    assert!(faults(&missing)[0].message.contains("no such file"));
}

#[test]
fn a_secret_comes_from_a_variable_or_a_file_and_is_never_shown() {
    let secret = TEN_CHARS.repeat(4);
    let settings =
        Settings::load(&with(&[("TRANCHE__AUTH__ADMIN_KEY", &secret), ("TRANCHE__HTTP__BIND", "0.0.0.0:8080")]))
            .unwrap();
    assert_eq!(settings.auth.admin_key.as_ref().unwrap().expose_secret(), secret);
    assert!(settings.warnings.is_empty());
    let shown = serde_json::to_string(settings.masked()).unwrap();
    assert!(shown.contains("********") && !shown.contains(TEN_CHARS));
    assert!(!format!("{settings:?}").contains(TEN_CHARS));

    let file = in_file("secret", "").file.unwrap().with_file_name("admin.key");
    fs::write(&file, format!("{TEN_CHARS}\n")).unwrap();
    let file = file.display().to_string();
    let settings = Settings::load(&with(&[("TRANCHE__AUTH__ADMIN_KEY_FILE", &file)])).unwrap();
    assert_eq!(settings.auth.admin_key.unwrap().expose_secret(), TEN_CHARS);
    assert_eq!(settings.warnings.len(), 1);

    let twice = faults(&with(&[("TRANCHE__AUTH__ADMIN_KEY", TEN_CHARS), ("TRANCHE__AUTH__ADMIN_KEY_FILE", &file)]));
    assert!(twice[0].message.contains("given twice"), "{}", twice[0]);
    let open = faults(&with(&[("TRANCHE__AUTH__ADMIN_KEY", TEN_CHARS), ("TRANCHE__AUTH__MODE", "open")]));
    assert!(open[0].message.contains("leave one of them out"), "{}", open[0]);
}

fn alpaca(variables: &[(&str, &str)]) -> Inputs {
    let key = [
        ("TRANCHE__BROKER__KIND", "alpaca"),
        ("TRANCHE__BROKER__ALPACA__KEY_ID", "PKOURS"),
        ("TRANCHE__BROKER__ALPACA__SECRET_KEY", TEN_CHARS),
    ];
    with(&[&key, variables].concat())
}

fn hosts(inputs: &Inputs) -> [String; 3] {
    let places = Settings::load(inputs).unwrap().broker.alpaca.places;
    [places.base, places.stream, places.data].map(|url| url.to_string())
}

#[test]
fn alpaca_is_its_paper_world_unless_real_money_is_asked_for() {
    let settings = Settings::load(&alpaca(&[])).unwrap();
    assert_eq!(settings.broker.kind, BrokerKind::Alpaca);
    assert_eq!(settings.broker.rate_limit_per_minute.map(u32::from), Some(200));
    assert_eq!(
        hosts(&alpaca(&[])),
        ["https://paper-api.alpaca.markets/", "wss://paper-api.alpaca.markets/stream", "https://data.alpaca.markets/"]
    );
    assert_eq!(
        hosts(&alpaca(&[("TRANCHE__BROKER__ALPACA__ENV", "live")])),
        ["https://api.alpaca.markets/", "wss://api.alpaca.markets/stream", "https://data.alpaca.markets/"]
    );
    let found = faults(&alpaca(&[
        ("TRANCHE__BROKER__ALPACA__ENV", "live"),
        ("TRANCHE__BROKER__ALPACA__BASE_URL", "https://paper-api.alpaca.markets"),
    ]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("real money"), "{}", found[0]);
}

#[test]
fn another_host_takes_orders_events_and_data_and_nothing_goes_to_alpaca() {
    let double = ("TRANCHE__BROKER__ALPACA__BASE_URL", "http://127.0.0.1:9090/v2/");
    let own = ["http://127.0.0.1:9090/", "ws://127.0.0.1:9090/stream", "http://127.0.0.1:9090/"];
    assert_eq!(hosts(&alpaca(&[double])), own);
    let elsewhere = ("TRANCHE__BROKER__ALPACA__BASE_URL", "http://venue:9090");
    let allowed = alpaca(&[elsewhere, ("TRANCHE__BROKER__ALPACA__ALLOW_PLAIN", "true")]);
    assert_eq!(hosts(&allowed)[1], "ws://venue:9090/stream");
}

#[test]
fn the_variables_of_the_sdks_stand_in_for_ours_and_give_way_to_them() {
    let sdk = [
        ("TRANCHE__BROKER__KIND", "alpaca"),
        ("APCA_API_KEY_ID", "PKTHEIRS"),
        ("APCA_API_SECRET_KEY", TEN_CHARS),
        ("APCA_API_BASE_URL", "http://localhost:9090"),
    ];
    let settings = Settings::load(&with(&sdk)).unwrap();
    let (id, secret) = settings.broker.alpaca.key.as_ref().unwrap();
    assert_eq!((id.expose_secret(), secret.expose_secret()), ("PKTHEIRS", TEN_CHARS));
    assert_eq!(settings.broker.alpaca.places.base.as_str(), "http://localhost:9090/");
    let shown = serde_json::to_string(settings.masked()).unwrap();
    assert!(!shown.contains(TEN_CHARS) && !shown.contains("PKTHEIRS"), "{shown}");
    assert!(!format!("{settings:?}").contains(TEN_CHARS));

    let ours = ("TRANCHE__BROKER__ALPACA__KEY_ID", "PKOURS");
    let settings = Settings::load(&with(&[&sdk[..], &[ours]].concat())).unwrap();
    assert_eq!(settings.broker.alpaca.key.unwrap().0.expose_secret(), "PKOURS");
    let file = in_file("apca", "").file.unwrap().with_file_name("key");
    fs::write(&file, "PKFILE\n").unwrap();
    let file = file.display().to_string();
    let of_file = ("TRANCHE__BROKER__ALPACA__KEY_ID_FILE", file.as_str());
    let settings = Settings::load(&with(&[&sdk[..], &[of_file]].concat())).unwrap();
    assert_eq!(settings.broker.alpaca.key.unwrap().0.expose_secret(), "PKFILE");
}

#[test]
fn alpaca_without_a_key_stops_the_start_and_a_key_without_alpaca_does_not() {
    let found = faults(&with(&[("TRANCHE__BROKER__KIND", "alpaca")]));
    let keys = found.iter().filter_map(|fault| fault.key.as_deref()).collect::<Vec<_>>();
    assert_eq!(keys, ["broker.alpaca.key_id", "broker.alpaca.secret_key"]);
    assert!(found.iter().all(|fault| fault.message.contains("APCA_API_")), "{found:?}");
    assert!(faults(&with(&[("APCA_API_KEY_ID", "PK")])).is_empty());
    let short = alpaca(&[("TRANCHE__BROKER__TIMEOUT_MS", "4000")]);
    assert_eq!(faults(&short)[0].key.as_deref(), Some("broker.alpaca.connect_timeout_ms"));
}

#[test]
fn every_setting_has_its_words_in_the_base_file() {
    let base = include_str!("../../config/base.toml");
    for (number, line) in base.lines().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#')) {
        let above = base.lines().take(number).collect::<Vec<_>>();
        let described = above.iter().rev().take(2).any(|line| line.starts_with("# "));
        assert!(described, "line {}: {line}", number + 1);
    }
}

proptest! {
    #[test]
    fn a_decimal_is_kept_to_the_last_digit(units in 0_i64..1_000, fraction in 0_u32..1_000_000_000) {
        let text = format!("{units}.{fraction:09}");
        let settings = Settings::load(&with(&[("TRANCHE__BROKER__PAPER__SLIPPAGE_BPS", &text)])).unwrap();
        prop_assert_eq!(settings.broker.paper.slippage_bps, Decimal::from_str_exact(&text).unwrap());
    }

    #[test]
    fn no_value_of_a_variable_panics_or_hides_its_key(value in "\\PC{1,12}") {
        for variable in ["TRANCHE__GATE__POLL_MS", "TRANCHE__HTTP__BIND", "TRANCHE__BROKER__PAPER__CASH"] {
            for fault in faults(&with(&[(variable, &value)])) {
                prop_assert!(fault.to_string().contains("TRANCHE__"));
            }
        }
    }

    #[test]
    fn no_name_of_a_variable_panics_or_is_let_through(name in "[A-Z0-9_.\\[\\]-]{1,20}") {
        let variable = format!("TRANCHE__ZZ{name}");
        prop_assert_eq!(faults(&with(&[(&variable, "1")])).len(), 1);
    }
}
