//! The kill switch. It can be used from the first moment on, and engaging it waits for no phase of the process's life.

use std::time::Duration;

use actix_web::web::{Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tranche_actors::Office;
use tranche_actors::commands::{Disengage, Engage, Released};
use tranche_actors::domain::audit::By;
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::flatten::Flattening;
use tranche_actors::domain::kill::{KillMode, KillState};
use tranche_actors::domain::ledger::KILL_SWITCH;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::{IdempotencyKey, Role};

use super::auth::is_enough;
use super::canonical::Canonical;
use super::documented::{DisengageDoc, EngageDoc, ProblemDoc, RepeatableDoc};
use super::fields::{Choice, Fields};
use super::once::{self, Came};
use super::problem::Problem;
use super::requests::MAX_REASON;
use super::shapes::Items;
use super::switch_shapes::{EngagedView, FlatteningView, KillStatusView, KillView, ReleasedView, SwitchEventView};
use super::{Gateway, Shared, body, queries, refusals};

/// Longest name of an operator.
pub(super) const MAX_OPERATOR: usize = 64;
/// Largest details of an engagement or a trip, in bytes.
pub(super) const MAX_DETAILS: usize = 16 * 1_024;
/// Longest wait for sends in flight that can be asked for.
const MAX_SETTLE_MS: u32 = 30_000;

const MODES: Choice<KillMode> = Choice { all: KillMode::ALL, word: KillMode::as_str, designed: &[] };

/// Stops trading. After the answer no byte of an order is written but of those listed in `unknown` and, in mode `flatten`, of
/// those that close what is held, whose ids begin with `flatten.`; that mode takes the role `operator`. Repeated with its key
/// after a restart, or at another instance, it closes nothing anew: the answer shows the switch as it is now.
#[utoipa::path(
    post, path = "/api/v1/kill-switch/engage", tag = "controls", operation_id = "engage_kill_switch",
    params(RepeatableDoc),
    request_body = EngageDoc,
    responses(
        (status = 200, body = EngagedView, description = "Stopped"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn engage(
    request: HttpRequest,
    payload: Payload,
    gateway: Gateway,
) -> Result<Json<EngagedView>, Problem> {
    let by = body::by(&request)?;
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let key = body::idempotency_key(&request)?;
    let command = engagement(fields, by, key).map_err(Problem::invalid)?;
    if command.mode.flattens() {
        // Its orders ask no limit: who may stop everything may not thereby sell everything.
        is_enough(&request, Role::Operator)?;
    }
    let engaged = gateway.state.kill_switch.engage(command).await;
    let answer = engaged.map_err(|error| gateway.refusal(error))?;
    Ok(Json(EngagedView::of(answer)))
}

/// The body of an engagement.
pub(super) fn engagement(
    mut fields: Fields<'_>,
    by: By,
    key: Option<IdempotencyKey>,
) -> Result<Engage, Vec<FieldError>> {
    for name in ["operator", "reason"] {
        fields.require(name);
    }
    let operator = fields.words("operator", MAX_OPERATOR);
    let reason = fields.words("reason", MAX_REASON);
    let details = fields.details("details", MAX_DETAILS);
    let scope = scope(&mut fields);
    let mode = fields.choice("mode", &MODES).unwrap_or(KillMode::Cancel);
    let settle_ms = fields.integer("settle_ms", 0, MAX_SETTLE_MS);
    let engage = operator.zip(reason).map(|(operator, reason)| {
        let mut form = Canonical::default();
        form.put("operator", &operator);
        form.put("reason", &reason);
        form.put("mode", mode.as_str());
        form.put("scope", &scope.to_string());
        form.json("details", details.as_ref());
        form.maybe("settle_ms", settle_ms.map(|ms| ms.to_string()));
        Engage {
            operator,
            reason,
            details,
            scope,
            mode,
            settle: settle_ms.map(|ms| Duration::from_millis(u64::from(ms))),
            by,
            key: key.map(|key| (key, form.hash())),
        }
    });
    fields.finish(engage)
}

/// All of the trading, or a part of it.
pub(super) fn scope(fields: &mut Fields<'_>) -> LimitScope {
    let Some(raw) = fields.take("scope") else { return LimitScope::Global };
    let text = raw.get();
    serde_json::from_str::<LimitScope>(text).unwrap_or_else(|_| {
        let code = if text.starts_with(['"', '{']) { "unknown_value" } else { "wrong_type" };
        fields.fault("scope", code, "must be \"global\", or an object with one of account, strategy and symbol");
        LimitScope::Global
    })
}

/// Releases the kill switch. Answers once this gateway's gate has taken the new state.
#[utoipa::path(
    post, path = "/api/v1/kill-switch/disengage", tag = "controls", operation_id = "disengage_kill_switch",
    params(RepeatableDoc),
    request_body = DisengageDoc,
    responses(
        (status = 200, body = ReleasedView, description = "Released, and what goes on"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn disengage(
    request: HttpRequest,
    payload: Payload,
    gateway: Gateway,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let by = once::by(&request, &bytes, once::KILL)?;
    let command = release(fields, by.clone()).map_err(Problem::invalid)?;
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.is_staying()?;
    match gateway.ask_once(&gateway.state.switches.disengage, command, &by).await? {
        Came::Now(Released { state, resumes }) => {
            Ok(HttpResponse::Ok().json(ReleasedView::of(gateway.kill_view(state), resumes)))
        }
        Came::Before(first) => Ok(first),
    }
}

/// The body of a release.
pub(super) fn release(mut fields: Fields<'_>, by: By) -> Result<Disengage, Vec<FieldError>> {
    fields.require("operator");
    let operator = fields.words("operator", MAX_OPERATOR);
    let notes = fields.words("notes", MAX_REASON);
    let scope = scope(&mut fields);
    let command = operator.map(|operator| Disengage { operator, notes, scope, by });
    fields.finish(command)
}

/// The kill switch as this gateway knows it.
#[utoipa::path(
    get, path = "/api/v1/kill-switch/status", tag = "controls", operation_id = "get_kill_switch",
    responses(
        (status = 200, body = KillStatusView, description = "The switch; `UNKNOWN` while it can't be read"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn status(gateway: Gateway) -> Json<KillStatusView> {
    let health = &gateway.state.health;
    let view = health.kill().map(|state| gateway.kill_view(state));
    let switch = match (view, health.doubt(KILL_SWITCH)) {
        (Some(view), None) => view,
        (last, because) => KillView::unknown(last, because),
    };
    Json(KillStatusView { switch, flattening: gateway.flattening() })
}

/// What was done to the kill switch, newest first.
#[utoipa::path(
    get, path = "/api/v1/kill-switch/history", tag = "controls", operation_id = "get_kill_switch_history",
    params(("limit" = Option<u32>, Query, description = "1 to 1000, 100 if absent")),
    responses(
        (status = 200, body = Items<SwitchEventView>, description = "The last entries"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn history(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<SwitchEventView>>, Problem> {
    entries(&request, &gateway, "kill_switch").await
}

/// The history of a switch.
pub(super) async fn entries(
    request: &HttpRequest,
    gateway: &Gateway,
    switch: &str,
) -> Result<Json<Items<SwitchEventView>>, Problem> {
    let limit = queries::history(request.query_string())?;
    let entries = gateway.state.store.switch_history(switch, limit).await;
    let views = entries.map_err(refusals::store)?.into_iter().map(SwitchEventView::of);
    Ok(Json(Items::all(views.collect())))
}

impl Shared {
    /// How far each account is whose positions an engagement in force wants closed.
    fn flattening(&self) -> Vec<FlatteningView> {
        let health = &self.state.health;
        let of_all = health.kill().as_ref().and_then(Flattening::of_kill);
        let wanted =
            of_all.into_iter().chain(health.halts().iter().filter_map(Flattening::of_halt)).collect::<Vec<_>>();
        let of = |office: &Office| {
            let wanted = wanted.iter().find(|one| one.is_of(&office.account))?;
            let known = office.health.flattening().filter(|known| known.engagement == wanted.engagement);
            Some(FlatteningView::of(&office.account, &wanted.engagement, known, &office.health.standing()))
        };
        self.state.accounts.iter().filter_map(of).collect()
    }

    /// The switch with the count of today, whichever day it was counted on.
    fn kill_view(&self, mut state: KillState) -> KillView {
        if state.counted_on != Some(self.today()) {
            state.engagement_count_today = 0;
        }
        KillView::of(&state).beside(self.state.health.halts())
    }
}
