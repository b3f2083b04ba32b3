//! The sections of the settings. What each value means, and its default, is in `config/base.toml`.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tranche_actors::domain::guards::RepeatRule;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::trading_day::DayEnd;

use crate::brokers::alpaca::settings::{Environment, Places};

/// `[http]`: what the server listens on, and what it bears.
#[derive(Clone, Debug)]
pub struct Http {
    /// Address and port; port 0 picks one.
    pub bind: SocketAddr,
    /// Where other instances reach this one; none: where it listens.
    pub advertise: Option<Url>,
    /// Whether requests are handed on to other machines by plain HTTP, with the caller's key.
    pub forward_in_the_clear: bool,
    /// Largest body of a request.
    pub max_body_bytes: usize,
    /// Longest wait for a request's headers.
    pub header_timeout: Duration,
    /// Longest time that a request may take in all.
    pub request_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Connections at one time.
    pub max_connections: NonZeroUsize,
    /// Requests of one key in a second.
    pub requests_per_second: Option<NonZeroU32>,
    /// Threads that serve requests.
    pub workers: NonZeroUsize,
}

/// `[auth]`: who may.
#[derive(Clone, Debug)]
pub struct Auth {
    /// When keys are asked for.
    pub mode: AuthMode,
    /// The key of the caller `admin`, from its file or its variable.
    pub admin_key: Option<SecretString>,
    /// Whether `GET /metrics` needs no key.
    pub metrics_public: bool,
}

/// When keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Once there is one. Without any, the address is one of this machine alone: loading refuses all others.
    Auto,
    /// Always.
    Keys,
    /// Never; the address is one of this machine alone.
    Open,
}

/// Where the stores are kept.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// In files of the folder.
    Embedded,
    /// In schemas of a PostgreSQL database, under this URL.
    Postgres(SecretString),
}

/// `[storage]`: the stores.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Where they are.
    pub place: StorePlace,
    /// Folder of the embedded stores, and of a paper broker's book.
    pub folder: PathBuf,
    /// Whether missing migrations are applied at the start, or stop it.
    pub migrate_on_start: bool,
    /// Connections for reading.
    pub readers: NonZeroU32,
}

impl Storage {
    /// Whether other instances may work on the same stores at the same time. Of a folder a lock keeps them out.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        match self.place {
            StorePlace::Embedded => false,
            StorePlace::Postgres(_) => true,
        }
    }
}

/// `[lease]`: how accounts are leased where several instances share the stores.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// How long a lease goes on that is not renewed.
    pub length: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
}

/// `[persistence]`: the one write path.
#[derive(Clone, Debug)]
pub struct Persistence {
    /// Most changes in one transaction.
    pub batch: NonZeroUsize,
    /// A commit that takes longer shuts the gate.
    pub commit_timeout: Duration,
    /// How often a commit is tried while the gate is shut for that.
    pub probe_every: Duration,
}

/// `[actors]`: bounds of actors.
#[derive(Clone, Debug)]
pub struct Actors {
    /// Messages that may wait for one actor.
    pub mailbox: NonZeroUsize,
    /// How often the supervisor asks whether its actors live.
    pub heartbeat_every: Duration,
    /// Longest wait at the end of the program for what is under way.
    pub drain_timeout: Duration,
}

/// `[broker]`: where orders go.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Which one.
    pub kind: BrokerKind,
    /// Requests within any minute; none: no limit.
    pub rate_limit_per_minute: Option<NonZeroU32>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Requests under way at one time.
    pub max_in_flight: NonZeroUsize,
    /// When the account's trading days end.
    pub day_end: DayEnd,
    /// The paper broker.
    pub paper: Paper,
    /// Alpaca.
    pub alpaca: Alpaca,
}

/// The brokers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    /// The paper broker in this process.
    Paper,
    /// Alpaca.
    Alpaca,
}

/// `[broker.alpaca]`.
#[derive(Clone, Debug)]
pub struct Alpaca {
    /// Which of its worlds.
    pub environment: Environment,
    /// Where it is.
    pub places: Places,
    /// The id and the secret of the key. Both are there where orders go to Alpaca.
    pub key: Option<(SecretString, SecretString)>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Whose quotes.
    pub data_feed: String,
    /// Requests to the host of quotes and bars within any minute; 0: no limit.
    pub data_requests_per_minute: u32,
}

/// `[broker.paper]`: the paper broker.
#[derive(Clone, Debug)]
pub struct Paper {
    /// File of its book.
    pub book: PathBuf,
    /// Seed of its quotes and of its chances.
    pub seed: u64,
    /// Files of quotes to replay, each `path` or `SYMBOL=path`; none: the random walk.
    pub quotes: Vec<String>,
    /// How many times faster than in life they are replayed.
    pub speed: Decimal,
    /// Cash that the account starts with.
    pub cash: Decimal,
    /// Time between the book's taking an order and its answer.
    pub latency: Duration,
    /// Time between two quotes of the random walk.
    pub quote_interval: Duration,
    /// The worst that an order's size does to its price, in hundredths of a percent.
    pub slippage_bps: Decimal,
    /// Events that a slow reader may fall behind.
    pub event_buffer: NonZeroUsize,
    /// Fee for each unit traded, in the quote currency.
    pub fee_per_unit: Decimal,
    /// Fee on the traded value, in hundredths of a percent.
    pub fee_bps: Decimal,
    /// `[broker.paper.faults]`, each value checked: numbers, and `reject_symbols` as a list of texts.
    pub faults: Map<String, Value>,
}

/// `[calendar]`: when the market is open.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    /// Whose word it is.
    pub kind: CalendarKind,
    /// How often the venue's own is read.
    pub refresh: Duration,
    /// Whether a parent that would run past the close is refused, or only warned about.
    pub refuse_past_close: bool,
}

/// Who says when the market is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarKind {
    /// A broker that has a calendar.
    Auto,
    /// Nobody: it never closes.
    AlwaysOpen,
    /// The broker, whatever it is.
    Venue,
    /// The rules of the New York Stock Exchange.
    Nyse,
}

/// `[execution]`: how orders are worked.
#[derive(Clone, Debug)]
pub struct Execution {
    /// How long a claim is good for.
    pub claim: Duration,
    /// A slice later than this expires.
    pub misfire_grace: Duration,
    /// A single order later than this expires.
    pub single_grace: Duration,
    /// How far apart an id is looked for twice before it is absent.
    pub unknown_settle: Duration,
    /// How long after that it may be given up.
    pub absent_settle: Duration,
    /// How often books are compared.
    pub reconcile_every: Duration,
    /// How long a single order's answer waits for the broker.
    pub submit_wait: Duration,
    /// Most slices of one parent.
    pub max_slices: NonZeroU32,
    /// Which share of the average daily volume a slice may be, in percent; none: any.
    pub adv_pct: Option<Decimal>,
    /// Most parents at one time that have not ended.
    pub max_open_parents: NonZeroUsize,
    /// How often the market is sampled for the interval's TWAP.
    pub benchmark_every: Duration,
    /// What becomes of open orders when the program ends.
    pub on_shutdown: OpenOrders,
}

/// What becomes of open orders when the program ends, or the breaker trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenOrders {
    /// They stay at the broker.
    Leave,
    /// They are cancelled.
    Cancel,
}

/// `[kill_switch]`.
#[derive(Clone, Debug)]
pub struct KillSwitch {
    /// Longest wait of an engage for sends under way, and for the broker's word on cancels.
    pub settle: Duration,
    /// What an engagement by another program does.
    pub foreign_mode: KillMode,
    /// Whether it takes two operators to disengage.
    pub second_operator: bool,
}

/// `[redis]`: the switchboard that other programs share.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Its address; none: the database is the switchboard.
    pub url: Option<SecretString>,
}

/// `[breaker]`: the circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    /// How long entries stay blocked after a reset; zero: not at all.
    pub quiet_period: Duration,
    /// What a trip does to open orders.
    pub on_trip: OpenOrders,
    /// When failures of the broker trip it; none: never.
    pub broker_errors: Option<BrokerErrors>,
    /// By how much a position may differ from the broker's before it trips; none: by any quantity.
    pub position_tolerance: Option<Decimal>,
    /// The loss of a trading day that trips it; none: any is borne.
    pub daily_loss: Option<Decimal>,
    /// How far below its best an account may be before it trips; none: any distance is borne.
    pub drawdown: Option<Decimal>,
    /// How old the price of something held may be before it trips; none: of any age.
    pub stale_after: Option<Duration>,
    /// How often a strategy may send the same before it trips; none: as often as it likes.
    pub repeats: Option<RepeatRule>,
    /// How often the prices of what is held are read for that.
    pub mark_every: Duration,
}

/// `[breaker.broker_errors]`: how many failures are too many.
#[derive(Clone, Debug)]
pub struct BrokerErrors {
    /// Over which time answers are counted.
    pub window: Duration,
    /// Fewest answers for their share to count.
    pub min_count: NonZeroU32,
    /// The share of failures that trips, in percent, 1 to 100.
    pub share_percent: NonZeroU32,
    /// Failures in a row that trip; none: any number is borne.
    pub consecutive: Option<NonZeroU32>,
}

/// `[gate]`: the last check before the wire.
#[derive(Clone, Debug)]
pub struct Gate {
    /// How often the switches are read.
    pub poll_every: Duration,
    /// How long a good read keeps it open.
    pub open_for: Duration,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// For programs.
    Json,
}
