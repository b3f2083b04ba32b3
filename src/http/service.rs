//! The service itself: probes, metrics, and what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::web::Json;
use actix_web::{HttpResponse, Responder};
use serde::Serialize;
use tranche_actors::Office;
use tranche_actors::domain::names::AccountName;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::health::{PartHealth, Phase, Standing};
use tranche_actors::ports::store::{SeenInstance, Stack};
use utoipa::ToSchema;

use super::documented::ProblemDoc;
use super::shapes::stamp;
use super::{Gateway, Shared, refusals};

/// The text format that metrics are rendered in.
const METRICS_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// How long the store may take to say who works on it.
const STACK_WAIT: Duration = Duration::from_secs(1);

/// The process turns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alive)]
pub(super) struct AliveView {
    #[schema(example = "up")]
    status: &'static str,
}

/// Whether the gateway serves, and whether orders may leave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(super) struct ReadyView {
    /// False while starting and draining only.
    ready: bool,
    /// Whether a new order sent here would be accepted now, one that opens a position included.
    trading_allowed: bool,
    /// `open`, `reduce_only` (what reduces a position passes) or `shut`.
    gate: &'static str,
    /// Why trading is not allowed, the weightiest first.
    reasons: Vec<ReasonView>,
    parts: BTreeMap<&'static str, PartView>,
}

/// One reason that trading is not allowed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reason)]
pub(super) struct ReasonView {
    /// The same codes as of 503 answers.
    code: &'static str,
    /// For a person: what to do. Who stopped trading, and why, is said where a key is asked for.
    detail: String,
}

/// How a part is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Part)]
pub(super) struct PartView {
    /// `up`, `down` or `unknown`.
    status: &'static str,
    /// Why; empty when up.
    detail: String,
}

/// What the gateway is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub(super) struct StatusView {
    version: &'static str,
    /// How orders are sent.
    mode: String,
    broker: String,
    instance: String,
    /// `starting`, `ready` or `draining`.
    phase: &'static str,
    uptime_seconds: u64,
    /// `open`, `reduce_only` (what reduces a position passes) or `shut`.
    gate: &'static str,
    trading_allowed: bool,
    /// How the parts of this instance are, the shared Redis and the database among them.
    parts: BTreeMap<&'static str, PartView>,
    /// The accounts that are configured here, or that anybody has taken.
    accounts: Vec<AccountView>,
    /// The instances that work on the same store; null while it can't be read.
    instances: Option<Vec<InstanceView>>,
    /// How much waits, by the name of the queue.
    queues: BTreeMap<&'static str, u64>,
}

/// Who owns an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(super) struct AccountView {
    account: String,
    /// The instance that owns it; null if none does, or while the store can't be read.
    owner: Option<String>,
    term: Option<u64>,
    /// How long its lease goes on if it is not renewed; null where nothing limits it.
    lease_left_seconds: Option<u64>,
    /// Why this instance sends no orders of it now, the weightiest first; null where it is not configured here.
    reasons: Option<Vec<&'static str>>,
    /// Symbols that take no new orders, because the broker's books did not fit ours; null while the store can't be read.
    quarantined: Option<Vec<String>>,
}

/// An instance of the stack.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Instance)]
pub(super) struct InstanceView {
    id: String,
    /// Where other instances reach it; null if they can't.
    address: Option<String>,
    version: String,
    started_at: String,
    /// How long ago it said last that it lives.
    heartbeat_age_seconds: u64,
    /// The accounts that it owns.
    accounts: Vec<String>,
}

/// Whether the process turns. Asks nothing else.
#[utoipa::path(
    get, path = "/livez", tag = "service", operation_id = "livez", security(()),
    responses((status = 200, body = AliveView, description = "It does"))
)]
pub(super) async fn livez() -> Json<AliveView> {
    Json(AliveView { status: "up" })
}

/// The same as `/livez`.
#[utoipa::path(
    get, path = "/healthz", tag = "service", operation_id = "healthz", security(()),
    responses((status = 200, body = AliveView, description = "It does"))
)]
pub(super) async fn healthz() -> Json<AliveView> {
    livez().await
}

/// Whether the gateway serves: 503 while starting and draining only, so that an operator always reaches it.
#[utoipa::path(
    get, path = "/readyz", tag = "service", operation_id = "readyz", security(()),
    responses(
        (status = 200, body = ReadyView, description = "It serves"),
        (status = 503, body = ReadyView, description = "It starts, or shuts down"),
    )
)]
pub(super) async fn readyz(gateway: Gateway) -> HttpResponse {
    let view = gateway.readiness();
    let mut answer = if view.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(view)
}

/// Metrics in Prometheus's text format.
#[utoipa::path(
    get, path = "/metrics", tag = "service", operation_id = "metrics",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Every metric"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn metrics(gateway: Gateway) -> impl Responder {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, METRICS_FORMAT)).body(gateway.state.metrics.render())
}

/// What the gateway is, and how much waits in it.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "service", operation_id = "get_status",
    responses(
        (status = 200, body = StatusView, description = "What it is"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn status(gateway: Gateway) -> Json<StatusView> {
    let state = &gateway.state;
    let readiness = gateway.readiness();
    let mut accounts = Vec::new();
    for office in state.accounts.iter() {
        let (owner, term) = match office.health.standing() {
            Standing::Unknown => (None, None),
            Standing::Owner { term } => (Some(state.about.instance.clone()), Some(term)),
            Standing::Standby { owner } => (Some(owner), None),
        };
        let reasons = office.gate.reasons(state.clock.boottime()).into_iter().map(ShutReason::as_str);
        accounts.push(AccountView {
            quarantined: gateway.quarantined(&office.account).await,
            account: office.account.to_string(),
            owner,
            term,
            lease_left_seconds: None,
            reasons: Some(reasons.collect()),
        });
    }
    let instances = gateway.stack().await.map(|stack| instances(stack, &mut accounts));
    Json(StatusView {
        version: env!("CARGO_PKG_VERSION"),
        mode: state.about.mode.clone(),
        broker: state.about.broker.clone(),
        instance: state.about.instance.clone(),
        phase: state.health.phase().as_str(),
        uptime_seconds: state.clock.monotonic().saturating_sub(gateway.started).as_secs(),
        gate: readiness.gate,
        trading_allowed: readiness.trading_allowed,
        parts: readiness.parts,
        accounts,
        instances,
        queues: gateway.queues(),
    })
}

impl Shared {
    /// The status answers without its store, too.
    async fn quarantined(&self, account: &AccountName) -> Option<Vec<String>> {
        let causes = self.state.store.causes(account).await.ok()?;
        let mut symbols = causes.iter().map(|cause| cause.symbol.to_string()).collect::<Vec<_>>();
        symbols.dedup();
        Some(symbols)
    }

    /// Who works on the store; `None` where it doesn't say so in time.
    async fn stack(&self) -> Option<Stack> {
        tokio::time::timeout(STACK_WAIT, self.state.store.stack()).await.ok()?.ok()
    }

    fn queues(&self) -> BTreeMap<&'static str, u64> {
        let count = |size: fn(&Office) -> usize| {
            u64::try_from(self.state.accounts.iter().map(size).sum::<usize>()).unwrap_or(u64::MAX)
        };
        BTreeMap::from([
            ("in_flight", count(|office| office.in_flight.len())),
            ("unknown", count(|office| office.doubtful.len())),
        ])
    }

    fn readiness(&self) -> ReadyView {
        let state = &self.state;
        let boottime = state.clock.boottime();
        // What another instance owns it sends itself, and is asked to.
        let ours = state.accounts.iter().filter(|office| !matches!(office.health.standing(), Standing::Standby { .. }));
        let of_accounts = ours.flat_map(|office| office.gate.reasons(boottime)).collect::<BTreeSet<_>>();
        let of_process = state.gate.reasons(boottime);
        let holds = |reason: &&ShutReason| of_accounts.contains(reason) || of_process.contains(reason);
        let mut reasons = ShutReason::ALL.iter().filter(holds).copied().collect::<Vec<_>>();
        let gate = Verdict::of(&reasons).as_str();
        let phase = state.health.phase();
        let of_phase = match phase {
            Phase::Starting => Some(ShutReason::Starting),
            Phase::Draining => Some(ShutReason::Draining),
            Phase::Ready => None,
        };
        reasons.extend(of_phase.filter(|reason| !reasons.contains(reason)));
        let explained = reasons.iter().map(|reason| ReasonView {
            code: reason.as_str(),
            detail: refusals::explain_to_anybody(*reason, &state.health),
        });
        ReadyView {
            ready: of_phase.is_none(),
            trading_allowed: reasons.is_empty(),
            gate,
            reasons: explained.collect(),
            parts: state.health.parts().into_iter().map(part).collect(),
        }
    }
}

/// The instances as they are shown; what the store says of accounts goes before what this instance knows itself.
fn instances(stack: Stack, accounts: &mut Vec<AccountView>) -> Vec<InstanceView> {
    for seen in &stack.accounts {
        let name = seen.account.as_str();
        let lease_left_seconds = seen.left.map(|left| left.as_secs());
        if let Some(known) = accounts.iter_mut().find(|known| known.account == name) {
            known.owner.clone_from(&seen.owner);
            known.term = Some(seen.term);
            known.lease_left_seconds = lease_left_seconds;
        } else {
            let (account, owner, term) = (name.to_owned(), seen.owner.clone(), Some(seen.term));
            accounts.push(AccountView { account, owner, term, lease_left_seconds, reasons: None, quarantined: None });
        }
    }
    let view = |seen: SeenInstance| {
        let owned = stack.accounts.iter().filter(|account| account.owner.as_deref() == Some(seen.card.id.as_str()));
        InstanceView {
            accounts: owned.map(|account| account.account.to_string()).collect(),
            heartbeat_age_seconds: seen.age.as_secs(),
            started_at: stamp(seen.card.started_at),
            id: seen.card.id,
            address: seen.card.address,
            version: seen.card.version,
        }
    };
    stack.instances.into_iter().map(view).collect()
}

fn part((name, health): (&'static str, PartHealth)) -> (&'static str, PartView) {
    let view = PartView { status: health.status.as_str(), detail: health.detail };
    (name, view)
}
