//! Start-up and shutdown: puts the edges around the actors, and waits for the end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use rust_decimal::Decimal;
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tranche_actors::domain::breaker::ErrorRule;
use tranche_actors::domain::guards::GuardRules;
use tranche_actors::domain::names::AccountName;
use tranche_actors::domain::request::PlanRules;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{InstanceCard, Store, StoreError};
use tranche_actors::ports::switchboard::SwitchBoard;
use tranche_actors::ports::{Clock, Entropy, World};
use tranche_actors::supervisor::{self, DrainAll, House};
use tranche_actors::tuning::{CalendarSource, Lease, Tuning};

use crate::brokers::alpaca::AlpacaError;
use crate::brokers::paper::PaperError;
use crate::clock::{SystemClock, SystemEntropy};
use crate::http::auth::{self, Access, AuthSetupError};
use crate::http::{self, About, Forwarding, HttpState, Limits};
use crate::settings::{AuthMode, Broker, BrokerKind, CalendarKind, OpenOrders, Settings};
use crate::storage::lock::LockError;
use crate::switchboard::redis::{BadAddress, RedisBoard};

use venues::Opened;

mod stores;
mod venues;

/// How often the instance tells that it lives, where nobody waits for that.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How many sends that never left an order may have.
const MAX_TRIES: u32 = 3;

/// Why the server is not running.
#[derive(Debug, Error)]
pub enum StartupError {
    /// Somebody else listens there.
    #[error("{address} is taken")]
    AddressInUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The address can't be listened on.
    #[error("{address} can't be listened on")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// Another instance works on these stores, or the folder can't be used.
    #[error(transparent)]
    Folder(#[from] LockError),
    /// The paper broker can't start.
    #[error(transparent)]
    Paper(#[from] PaperError),
    /// The connector to Alpaca can't be made.
    #[error(transparent)]
    Alpaca(#[from] AlpacaError),
    /// Orders go to Alpaca, and there is no key.
    #[error("there is no key for Alpaca")]
    NoKey,
    /// The paper broker's settings contradict its rules.
    #[error("the paper broker's settings are not right")]
    PaperSettings(#[from] serde_json::Error),
    /// The store needs a person: it is newer than this program, or has migrations pending that may not run unasked.
    #[error(transparent)]
    Store(StoreError),
    /// The switchboard has no proper address.
    #[error("redis.url {0}")]
    Redis(#[from] BadAddress),
    /// Nobody may, or everybody.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The name of the account breaks the rule of names.
    #[error("the account has no proper name")]
    Account,
    /// A signal can't be listened for, or the server ended badly.
    #[error("the server failed")]
    Server(#[source] std::io::Error),
    /// The metrics can't be recorded.
    #[error("the metrics can't be recorded")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The root of the actors died: start the process again, and it recovers.
    #[error("the supervisor died")]
    SupervisorDied,
}

/// Runs the gateway until it is told to stop, then drains it. `on_listening` gets the address as soon as there is one.
///
/// A second signal while it drains ends the process at once; the next start recovers.
///
/// # Errors
/// Why it did not start, or did not end well.
pub async fn run(settings: Settings, on_listening: impl FnOnce(SocketAddr)) -> Result<(), StartupError> {
    let (terminate, interrupt) = (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
    // A write beyond a limit on file sizes has to fail like one to a full disk, not to end the process. Once somebody
    // has listened for a signal, it never ends the process any more.
    drop(listen_for(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
    let kept = stores::store(&settings)?;
    let listener = bind(settings.http.bind)?;
    let access = access(&settings).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let switchboard = switchboard(&settings)?;
    let address = listener.local_addr().map_err(StartupError::Server)?;
    let card = card(&settings, address, (&*clock, &*entropy));
    let (mut brokers, mut plans) = (Vec::new(), Vec::new());
    for (account, broker) in settings.brokers() {
        let opened = Opened::open(broker, &clock, &entropy).await?;
        let (clock, entropy) = (Arc::clone(&clock), Arc::clone(&entropy));
        let (store, switchboard) = (Arc::clone(&kept.store), switchboard.clone());
        let world = World { store, switchboard, venue: opened.venue(), clock, entropy };
        plans.push((world, tuning(&settings, (account, broker), &card)?));
        brokers.push(opened);
    }
    let mut plans = plans.into_iter();
    let first = plans.next().ok_or(StartupError::Account)?;
    let (world, names) = (first.0.clone(), brokers.first().map(Opened::names).ok_or(StartupError::Account)?);
    let (fatal, died) = oneshot::channel();
    let house = supervisor::start_all(first, plans.collect(), fatal);
    let state = http_state(&settings, (&world, names), &card, &house, access)?;
    let server = http::serve(listener, state).map_err(StartupError::Server)?;
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    tracing::info!(%address, instance = %card.id, "listening");
    on_listening(address);

    tokio::select! {
        told = until_told(terminate, interrupt, died) => told?,
        error = unusable(&*world.store) => return Err(StartupError::Store(error)),
    }
    drain(&house, &handle).await;
    serving.await.map_err(|error| StartupError::Server(error.into()))?.map_err(StartupError::Server)?;
    drop((house, world));
    for broker in brokers {
        broker.close().await;
    }
    tracing::info!("stopped");
    Ok(())
}

fn listen_for(kind: SignalKind) -> Result<Signal, StartupError> {
    signal(kind).map_err(StartupError::Server)
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartupError> {
    TcpListener::bind(address).map_err(|source| {
        if source.kind() == std::io::ErrorKind::AddrInUse {
            StartupError::AddressInUse { address }
        } else {
            StartupError::Listen { address, source }
        }
    })
}

/// Why the store can't be used, if a person has to decide about it. What passes by itself the supervisor waits for,
/// with everything else at work.
async fn unusable(store: &dyn Store) -> StoreError {
    loop {
        match store.open().await {
            Ok(()) => std::future::pending::<()>().await,
            Err(error @ StoreError::Unusable { .. }) => return error,
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Waits for a signal. After the first one a second one ends the process.
async fn until_told(
    mut terminate: Signal,
    mut interrupt: Signal,
    mut died: oneshot::Receiver<()>,
) -> Result<(), StartupError> {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Ok(()) = &mut died => return Err(StartupError::SupervisorDied),
    }
    actix_web::rt::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("a second signal: ending at once; the next start recovers");
        std::process::exit(1);
    });
    Ok(())
}

/// New work is refused first, then what is under way ends, and only then the connections.
async fn drain(house: &House, server: &ServerHandle) {
    if house.supervisor.send(DrainAll).await.is_err() {
        tracing::error!("the supervisor was gone before the shutdown; the next start recovers");
    }
    server.stop(true).await;
}

/// What this instance tells the others of itself: a name that no process had before, and where it is reached.
fn card(settings: &Settings, address: SocketAddr, (clock, entropy): (&dyn Clock, &dyn Entropy)) -> InstanceCard {
    let own = (!address.ip().is_unspecified()).then(|| format!("http://{address}"));
    let advertised = settings.http.advertise.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    InstanceCard {
        id: format!("{:012x}", entropy.bits() >> 16),
        address: advertised.or(own),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: clock.now(),
    }
}

fn tuning(
    settings: &Settings,
    (account, broker): (&str, &Broker),
    card: &InstanceCard,
) -> Result<Tuning, StartupError> {
    let account = AccountName::parse(account).map_err(|_| StartupError::Account)?;
    let accounts = settings.brokers().filter_map(|(name, _)| AccountName::parse(name).ok()).collect();
    let execution = &settings.execution;
    let lease = Lease { length: settings.lease.length, renew_every: settings.lease.renew_every };
    let shared = settings.storage.is_shared();
    Ok(Tuning {
        account,
        card: card.clone(),
        tell_every: if shared { lease.renew_every } else { TELL_EVERY },
        lease: shared.then_some(lease),
        day_end: broker.day_end,
        plan_rules: PlanRules {
            instruments: settings.instruments.clone(),
            accounts,
            max_slices: execution.max_slices.get(),
            orders_per_minute: broker.rate_limit_per_minute.map(|limit| limit.get() - limit.get() / 10),
            refuse_past_close: settings.calendar.refuse_past_close,
            adv_pct: adv_pct(settings, broker),
        },
        max_open_parents: execution.max_open_parents.get(),
        claim: execution.claim,
        grace: execution.misfire_grace,
        single_grace: execution.single_grace,
        unknown_settle: execution.unknown_settle,
        absent_settle: execution.absent_settle,
        reconcile: execution.reconcile_every,
        submit_wait: execution.submit_wait,
        benchmark: execution.benchmark_every,
        max_tries: MAX_TRIES,
        send_timeout: broker.timeout,
        max_in_flight: broker.max_in_flight.get(),
        max_queue: settings.actors.mailbox.get(),
        requests_per_minute: broker.rate_limit_per_minute,
        gate_poll: settings.gate.poll_every,
        gate_open: settings.gate.open_for,
        kill_settle: settings.kill_switch.settle,
        second_operator: settings.kill_switch.second_operator,
        foreign_mode: settings.kill_switch.foreign_mode,
        quiet_period: settings.breaker.quiet_period,
        error_rule: error_rule(settings),
        calendar: calendar(settings, broker),
        position_tolerance: settings.breaker.position_tolerance,
        guards: guards(settings),
        mark_every: settings.breaker.mark_every,
        cancel_on_trip: settings.breaker.on_trip == OpenOrders::Cancel,
        commit_timeout: settings.persistence.commit_timeout,
        probe: settings.persistence.probe_every,
        heartbeat: settings.actors.heartbeat_every,
        max_batch: settings.persistence.batch.get(),
        max_commits: settings.actors.mailbox.get(),
        drain: settings.actors.drain_timeout,
        cancel_on_shutdown: execution.on_shutdown == OpenOrders::Cancel,
    })
}

const fn calendar(settings: &Settings, broker: &Broker) -> CalendarSource {
    match (settings.calendar.kind, broker.kind) {
        (CalendarKind::Venue, _) | (CalendarKind::Auto, BrokerKind::Alpaca) => {
            CalendarSource::Venue { refresh: settings.calendar.refresh }
        }
        (CalendarKind::AlwaysOpen, _) | (CalendarKind::Auto, BrokerKind::Paper) => CalendarSource::AlwaysOpen,
        (CalendarKind::Nyse, _) => CalendarSource::Nyse,
    }
}

/// The paper broker has no bars to tell a volume by.
const fn adv_pct(settings: &Settings, broker: &Broker) -> Option<Decimal> {
    match broker.kind {
        BrokerKind::Paper => None,
        BrokerKind::Alpaca => settings.execution.adv_pct,
    }
}

const fn guards(settings: &Settings) -> GuardRules {
    let breaker = &settings.breaker;
    GuardRules {
        daily_loss: breaker.daily_loss,
        drawdown: breaker.drawdown,
        stale_after: breaker.stale_after,
        repeats: breaker.repeats,
    }
}

fn error_rule(settings: &Settings) -> ErrorRule {
    let size = |n: std::num::NonZeroU32| usize::try_from(n.get()).unwrap_or(usize::MAX);
    let Some(rule) = &settings.breaker.broker_errors else {
        let never = usize::MAX;
        return ErrorRule {
            enabled: false,
            window: Duration::ZERO,
            min_count: never,
            share_percent: 100,
            consecutive: never,
        };
    };
    ErrorRule {
        enabled: true,
        window: rule.window,
        min_count: size(rule.min_count),
        share_percent: size(rule.share_percent),
        consecutive: rule.consecutive.map_or(usize::MAX, size),
    }
}

fn http_state(
    settings: &Settings,
    (world, (mode, broker)): (&World, (&str, &str)),
    card: &InstanceCard,
    house: &House,
    access: Access,
) -> Result<HttpState, StartupError> {
    Ok(HttpState {
        accounts: house.accounts.clone(),
        switches: house.switches.clone(),
        kill_switch: Arc::new(house.kill_switch.clone()),
        store: Arc::clone(&world.store),
        gate: house.gate.clone(),
        health: house.health.clone(),
        clock: Arc::clone(&world.clock),
        day_end: DayEnd::new_york(),
        access,
        metrics_public: settings.auth.metrics_public,
        metrics: http::metrics::install()?,
        limits: limits(settings),
        forwarding: Forwarding { silent: settings.lease.length, in_the_clear: settings.http.forward_in_the_clear },
        about: About { mode: mode.to_owned(), broker: broker.to_owned(), instance: card.id.clone() },
    })
}

/// How requests are let in. The store is looked into first, since it may have keys; one that can't be read opens nothing.
async fn access(settings: &Settings) -> Result<Access, StartupError> {
    let key = settings.auth.admin_key.as_ref().map(ExposeSecret::expose_secret);
    let stored = match key {
        Some(_) => None,
        None => stores::has_keys(settings).await,
    };
    Ok(auth::access(auth_mode(settings), key, stored, settings.http.bind.ip())?)
}

/// Where the switches are shared with other programs, if they are.
fn switchboard(settings: &Settings) -> Result<Option<Arc<dyn SwitchBoard>>, StartupError> {
    let Some(url) = &settings.redis.url else { return Ok(None) };
    let board: Arc<dyn SwitchBoard> = Arc::new(RedisBoard::new(url)?);
    Ok(Some(board))
}

const fn auth_mode(settings: &Settings) -> auth::Mode {
    match settings.auth.mode {
        AuthMode::Auto => auth::Mode::Auto,
        AuthMode::Keys => auth::Mode::Keys,
        AuthMode::Open => auth::Mode::Open,
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        max_body_bytes: settings.http.max_body_bytes,
        header_timeout: settings.http.header_timeout,
        request_timeout: settings.http.request_timeout,
        keep_alive: settings.http.keep_alive,
        max_connections: settings.http.max_connections.get(),
        requests_per_second: settings.http.requests_per_second,
        workers: settings.http.workers.get(),
        drain_timeout: settings.actors.drain_timeout,
    }
}
