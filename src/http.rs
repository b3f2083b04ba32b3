//! The HTTP interface: decodes a request, sends one message or asks one question, encodes the answer.
//!
//! The order of checks is the same everywhere: API key, size and JSON, idempotency key, fields, then the process's
//! phase; replay and gate are the business of the actor that takes the command.

use std::io;
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use tranche_actors::Office;
use tranche_actors::commands::{CommandError, Engage, EngageAnswer, SwitchDesk};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::names::{AccountName, OrderId};
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::gate::{ProcessGate, ShutReason};
use tranche_actors::health::{Health, Phase};
use tranche_actors::kill_switch::KillSwitchHandle;
use tranche_actors::ports::Clock;
use tranche_actors::ports::store::{AnyOrder, Store};
use tranche_actors::supervisor::Offices;

use self::around::around;
use self::auth::{Access, KeyRing, Pace};
use self::forward::Others;
use self::problem::{Code, Problem};

pub mod auth;
pub mod metrics;

mod around;
mod audit;
mod body;
mod canonical;
mod circuit_breaker;
mod docs;
mod documented;
mod events;
pub(crate) mod fields;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod kill_switch;
mod limits;
mod lockouts;
mod once;
mod openapi;
mod orders;
mod parents;
mod plan_shapes;
mod portfolio;
mod positions;
mod problem;
mod queries;
mod reconciliation;
mod reconciliation_shapes;
mod refusals;
mod request_id;
pub(crate) mod requests;
mod routes;
pub(crate) mod schedules;
mod service;
mod shapes;
mod switch_shapes;
mod terms;
#[cfg(test)]
mod tests;
mod words;

/// How often the keys are read. A key that the store is asked for counts as it is there.
const READ_KEYS: Duration = Duration::from_secs(1);

/// What the server is given; it is cheap to clone, and every worker has one.
#[derive(Clone)]
pub struct HttpState {
    /// The accounts, and where their commands go.
    pub accounts: Offices,
    /// Where the commands of the switches go.
    pub switches: SwitchDesk,
    /// The way to the kill switch that waits for nothing.
    pub kill_switch: Arc<dyn StopTrading>,
    /// What shuts every account's gate.
    pub gate: ProcessGate,
    /// What reads ask.
    pub store: Arc<dyn Store>,
    /// How the process is.
    pub health: Health,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// When counts of the day begin anew.
    pub day_end: DayEnd,
    /// Who may.
    pub access: Access,
    /// Whether `GET /metrics` needs no key.
    pub metrics_public: bool,
    /// What `GET /metrics` renders, as [`metrics::install`] gave it.
    pub metrics: PrometheusHandle,
    /// What the server bears.
    pub limits: Limits,
    /// Where requests are handed on to.
    pub forwarding: Forwarding,
    /// What the process is, for `GET /api/v1/status`.
    pub about: About,
}

/// Where requests, and the keys that came with them, are handed on to.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding {
    /// An instance that was silent for longer is not spoken to: somebody else may have its address by now.
    pub silent: Duration,
    /// Whether keys may travel by plain HTTP to other machines.
    pub in_the_clear: bool,
}

/// Bounds of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest body of a request.
    pub max_body_bytes: usize,
    /// Longest wait for the head of a request.
    pub header_timeout: Duration,
    /// Longest wait for a body, and for an actor's answer.
    pub request_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Connections at one time.
    pub max_connections: usize,
    /// Requests of one key in a second; `None`: any number. Engaging the kill switch is never counted.
    pub requests_per_second: Option<NonZeroU32>,
    /// Threads that serve.
    pub workers: usize,
    /// How long requests under way may take when the server is stopped gracefully.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1_024,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            max_connections: 4_096,
            requests_per_second: None,
            workers: 2,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// What the process is, and stays.
#[derive(Clone, Debug)]
pub struct About {
    /// How orders are sent, such as `paper`, `live` or `dry_run`.
    pub mode: String,
    /// The broker.
    pub broker: String,
    /// This instance's name.
    pub instance: String,
}

/// What stops trading; the actors' handle, or a test's.
#[async_trait(?Send)]
pub trait StopTrading: Send + Sync {
    /// Shuts the gate at once, then has the engagement carried out.
    ///
    /// # Errors
    /// When the switch is engaged already, or its actor is gone.
    async fn engage(&self, engage: Engage) -> Result<EngageAnswer, CommandError>;
}

#[async_trait(?Send)]
impl StopTrading for KillSwitchHandle {
    async fn engage(&self, engage: Engage) -> Result<EngageAnswer, CommandError> {
        Self::engage(self, engage).await
    }
}

/// The application around its state; a macro, since its type can't be named.
macro_rules! app {
    ($shared:expr) => {
        App::new()
            .app_data($shared)
            .configure(routes::configure)
            .default_service(web::to(routes::nothing_here))
            .wrap(from_fn(auth::admit))
            .wrap(from_fn(around))
    };
}

#[cfg(test)]
use app;

/// Starts the server on a listener that is bound already. It takes no signals: whoever has its handle stops it. Call it
/// within a running actix system.
///
/// # Errors
/// When the listener can't be served.
pub fn serve(listener: TcpListener, state: HttpState) -> io::Result<Server> {
    let limits = state.limits;
    if matches!(state.access, Access::Open) {
        tracing::warn!(
            "the API is open to every program of this machine: set TRANCHE__AUTH__ADMIN_KEY_FILE to ask for a key"
        );
    }
    actix_web::rt::spawn(metrics::keep_up(state.metrics.clone()));
    let shared = web::Data::new(Shared::new(state));
    actix_web::rt::spawn(read_keys(shared.clone()));
    let server = HttpServer::new(move || app!(shared.clone()))
        .workers(limits.workers.max(1))
        .max_connections(limits.max_connections.div_ceil(limits.workers.max(1)))
        .client_request_timeout(limits.header_timeout)
        .keep_alive(limits.keep_alive)
        .shutdown_timeout(limits.drain_timeout.as_secs())
        .disable_signals()
        .listen(listener)?
        .run();
    Ok(server)
}

/// Reads the keys again and again, for when the store doesn't answer.
async fn read_keys(shared: Gateway) {
    loop {
        if let Ok(all) = shared.state.store.api_keys().await {
            shared.keys.take(all);
        }
        actix_web::rt::time::sleep(READ_KEYS).await;
    }
}

/// What every handler is given.
type Gateway = web::Data<Shared>;

/// The state, and what is made of it once.
struct Shared {
    state: HttpState,
    started: Duration,
    openapi: String,
    docs: Arc<utoipa_swagger_ui::Config<'static>>,
    others: Option<Others>,
    keys: KeyRing,
    pace: Pace,
}

impl Shared {
    fn new(state: HttpState) -> Self {
        Self {
            started: state.clock.monotonic(),
            openapi: openapi::json(),
            docs: docs::config(),
            others: Others::new(state.limits.request_timeout),
            keys: KeyRing::default(),
            pace: Pace::new(state.limits.requests_per_second),
            state,
        }
    }

    /// Refuses what can't be answered before recovery was tried.
    fn serves(&self) -> Result<(), Problem> {
        match self.state.health.phase() {
            Phase::Starting => Err(self.shut(ShutReason::Starting)),
            Phase::Ready | Phase::Draining => Ok(()),
        }
    }

    /// Refuses new work at both ends of the process's life.
    fn takes_work(&self) -> Result<(), Problem> {
        self.serves()?;
        self.is_staying()
    }

    /// Refuses what a process that is about to end would leave half done.
    fn is_staying(&self) -> Result<(), Problem> {
        match self.state.health.phase() {
            Phase::Draining => Err(self.shut(ShutReason::Draining)),
            Phase::Starting | Phase::Ready => Ok(()),
        }
    }

    /// The trading day that it is.
    fn today(&self) -> chrono::NaiveDate {
        self.state.day_end.trading_day(self.state.clock.now())
    }

    fn shut(&self, reason: ShutReason) -> Problem {
        refusals::shut(reason, &self.state.health, self.state.clock.now())
    }

    /// The account that a plan names. One that is not configured is refused by the first one, with its field.
    fn office(&self, account: &AccountName) -> &Office {
        self.state.accounts.of(account).unwrap_or_else(|| self.state.accounts.first())
    }

    /// The account that a query names; the first one if it names none.
    fn office_in(&self, account: Option<AccountName>) -> Result<&Office, Problem> {
        let Some(account) = account else { return Ok(self.state.accounts.first()) };
        let unknown = || FieldError::new("account", "unknown_account", "is not configured here");
        self.state.accounts.of(&account).ok_or_else(|| Problem::invalid(vec![unknown()]))
    }

    /// Sends a command and waits for what it came to.
    async fn ask<M, T>(&self, to: &actix::Recipient<M>, command: M) -> Result<T, Problem>
    where
        M: actix::Message<Result = Result<T, CommandError>> + Send,
        T: Send,
    {
        let answer = to.send(command).timeout(self.state.limits.request_timeout).await;
        answer.map_err(refusals::mailbox)?.map_err(|error| self.refusal(error))
    }

    /// The answer to a call that found nothing of its kind under an id: where the id names something of the other kind,
    /// which calls are for that.
    async fn of_other_kind(&self, problem: Problem, id: &OrderId) -> Problem {
        if !problem.is(Code::NotFound) {
            return problem;
        }
        match self.state.store.order(id).await {
            Ok(Some(AnyOrder::Parent(_))) => refusals::is_parent(id),
            Ok(Some(AnyOrder::Order(_))) => refusals::is_order(id),
            Ok(None) | Err(_) => problem,
        }
    }

    fn refusal(&self, error: CommandError) -> Problem {
        refusals::command(error, &self.state.health, self.state.clock.now())
    }
}
