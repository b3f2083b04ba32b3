//! The circuit breaker.

use actix_web::web::{Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tranche_actors::commands::{Reset, Trip};
use tranche_actors::domain::audit::By;
use tranche_actors::domain::breaker::{BreakerState, MIN_RESET_REASON};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::ledger::{CIRCUIT_BREAKER, KILL_SWITCH};

use super::documented::{ProblemDoc, RepeatableDoc, ResetDoc, TripDoc};
use super::fields::Fields;
use super::kill_switch::{MAX_DETAILS, MAX_OPERATOR, entries};
use super::once::{self, Came};
use super::problem::Problem;
use super::requests::MAX_REASON;
use super::shapes::Items;
use super::switch_shapes::{BreakerView, SwitchEventView};
use super::{Gateway, Shared, body};

/// The circuit breaker as this gateway knows it.
#[utoipa::path(
    get, path = "/api/v1/circuit-breaker/status", tag = "controls", operation_id = "get_circuit_breaker",
    responses(
        (status = 200, body = BreakerView, description = "The breaker; `UNKNOWN` while it can't be read"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn status(gateway: Gateway) -> Json<BreakerView> {
    let health = &gateway.state.health;
    let view = health.breaker().map(|state| gateway.breaker_view(state));
    // What shuts everything for want of a look at the switches is the kill switch's doubt, and this switch's too.
    let because = health.doubt(CIRCUIT_BREAKER).or_else(|| health.doubt(KILL_SWITCH));
    Json(match (view, because) {
        (Some(view), None) => view,
        (last, because) => BreakerView::unknown(last, because),
    })
}

/// Trips the circuit breaker. One that is tripped stays as it is.
#[utoipa::path(
    post, path = "/api/v1/circuit-breaker/trip", tag = "controls", operation_id = "trip_circuit_breaker",
    params(RepeatableDoc),
    request_body = TripDoc,
    responses(
        (status = 200, body = BreakerView, description = "Tripped"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn trip(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let by = once::by(&request, &bytes, once::BREAKER)?;
    let command = trip_of(fields, by.clone()).map_err(Problem::invalid)?;
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.takes_work()?;
    match gateway.ask_once(&gateway.state.switches.trip, command, &by).await? {
        Came::Now(tripped) => {
            let view = BreakerView::tripped(&gateway.counted(tripped.state), tripped.not_durable);
            Ok(HttpResponse::Ok().json(view))
        }
        Came::Before(first) => Ok(first),
    }
}

/// The body of a trip.
pub(super) fn trip_of(mut fields: Fields<'_>, by: By) -> Result<Trip, Vec<FieldError>> {
    for name in ["operator", "reason"] {
        fields.require(name);
    }
    let operator = fields.words("operator", MAX_OPERATOR);
    let reason = fields.words("reason", MAX_REASON);
    let details = fields.details("details", MAX_DETAILS);
    let command = operator.zip(reason).map(|(operator, reason)| Trip { operator, reason, details, by });
    fields.finish(command)
}

/// Resets the circuit breaker: entries stay blocked until its quiet period has ended.
#[utoipa::path(
    post, path = "/api/v1/circuit-breaker/reset", tag = "controls", operation_id = "reset_circuit_breaker",
    params(RepeatableDoc),
    request_body = ResetDoc,
    responses(
        (status = 200, body = BreakerView, description = "Reset"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn reset(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let by = once::by(&request, &bytes, once::BREAKER)?;
    let command = reset_of(fields, by.clone()).map_err(Problem::invalid)?;
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.takes_work()?;
    match gateway.ask_once(&gateway.state.switches.reset, command, &by).await? {
        Came::Now(state) => Ok(HttpResponse::Ok().json(gateway.breaker_view(state))),
        Came::Before(first) => Ok(first),
    }
}

/// The body of a reset.
pub(super) fn reset_of(mut fields: Fields<'_>, by: By) -> Result<Reset, Vec<FieldError>> {
    for name in ["operator", "reason"] {
        fields.require(name);
    }
    let operator = fields.words("operator", MAX_OPERATOR);
    let reason = fields.words("reason", MAX_REASON);
    if reason.as_ref().is_some_and(|reason| reason.trim().chars().count() < MIN_RESET_REASON) {
        let rule = format!("must have at least {MIN_RESET_REASON} characters");
        fields.fault("reason", "too_short", rule);
    }
    let command = operator.zip(reason).map(|(operator, reason)| Reset { operator, reason, by });
    fields.finish(command)
}

/// What was done to the circuit breaker, newest first.
#[utoipa::path(
    get, path = "/api/v1/circuit-breaker/history", tag = "controls", operation_id = "get_circuit_breaker_history",
    params(("limit" = Option<u32>, Query, description = "1 to 1000, 100 if absent")),
    responses(
        (status = 200, body = Items<SwitchEventView>, description = "The last entries"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn history(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<SwitchEventView>>, Problem> {
    entries(&request, &gateway, "circuit_breaker").await
}

impl Shared {
    /// The breaker with the count of today, whichever day it was counted on.
    fn breaker_view(&self, state: BreakerState) -> BreakerView {
        BreakerView::of(&self.counted(state))
    }

    fn counted(&self, mut state: BreakerState) -> BreakerState {
        if state.counted_on != Some(self.today()) {
            state.trip_count_today = 0;
        }
        state
    }
}
