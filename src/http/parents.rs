//! Parents: large orders that are worked into the market slice by slice.

use actix_web::web::{Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tranche_actors::commands::{CancelParent, ReadVolume, ResumeParent, SubmitParent};
use tranche_actors::domain::liquidity::Volume;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::request::Asked;
use tranche_actors::domain::terms::Instrument;

use super::documented::{ParentOrderDoc, ProblemDoc, RepeatableDoc};
use super::fields::Fields;
use super::forward::Bearer;
use super::once::{self, Came};
use super::plan_shapes::{CancelView, ParentView, PlanView, PreviewView};
use super::problem::Problem;
use super::shapes::{OrderView, taken};
use super::{Gateway, body, refusals, requests};

/// Plans, stores and starts a parent.
///
/// Repeating the request is safe: the same order is the same id, and the answer is the plan as it now stands.
#[utoipa::path(
    post, path = "/api/v1/orders/slice", tag = "parents", operation_id = "submit_parent",
    params(RepeatableDoc),
    request_body = ParentOrderDoc,
    responses(
        (status = 201, body = PlanView, description = "Taken; the plan"),
        (status = 200, body = PlanView, description = "Taken before; the plan as it now stands"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn submit(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let by = body::caller(&request)?;
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let key = body::idempotency_key(&request)?;
    let parent = requests::parent(fields).map_err(Problem::invalid)?;
    gateway.takes_work()?;
    let symbol = parent.instruction.symbol.clone();
    let desk = match gateway.bearer(&parent.account, &request, &bytes).await? {
        Bearer::Here(office) => &office.desk,
        Bearer::Answered(answer) => return Ok(answer),
    };
    let submitted = gateway.ask(&desk.submit_parent, SubmitParent { request: parent, by, key }).await;
    let submitted = submitted.map_err(|problem| refusals::of_symbol(problem, &symbol))?;
    let plan = PlanView::of(&submitted.parent, &submitted.slices);
    Ok(HttpResponse::build(taken(submitted.replayed)).json(plan))
}

/// The plan of a parent, the limits that it is held to and its end. Nothing is stored, and the gate may be shut.
#[utoipa::path(
    post, path = "/api/v1/orders/slice/preview", tag = "parents", operation_id = "preview_parent",
    params(("Idempotency-Key" = Option<String>, Header, description = "As it would be sent with the order: it is part of the id")),
    request_body = ParentOrderDoc,
    responses(
        (status = 200, body = PreviewView, description = "The plan"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn preview(
    request: HttpRequest,
    payload: Payload,
    gateway: Gateway,
) -> Result<Json<PreviewView>, Problem> {
    let by = body::caller(&request)?;
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let key = body::idempotency_key(&request)?;
    let parent = requests::parent(fields).map_err(Problem::invalid)?;
    gateway.serves()?;
    let at = gateway.state.clock.now();
    let office = gateway.office(&parent.account);
    let rules = &office.plan_rules;
    let times = parent.check_times(at).err().unwrap_or_default();
    let volume = match rules.adv_pct {
        Some(_) => gateway.ask(&office.desk.volume, ReadVolume(parent.instruction.symbol.clone())).await?,
        None => Volume::Off,
    };
    let planned = match parent.plan_by_volume(rules, &Asked { by, key, at }, &volume) {
        Ok(mut planned) => {
            let calendar = office.market_hours.calendar(gateway.state.clock.boottime());
            let close = parent.check_close(&mut planned.0, rules, calendar.as_deref());
            let faults = [times, close.err().unwrap_or_default()].concat();
            if !faults.is_empty() {
                return Err(Problem::invalid(faults));
            }
            planned
        }
        Err(mut faults) => {
            faults.extend(times);
            return Err(Problem::invalid(faults));
        }
    };
    let symbol = &parent.instruction.symbol;
    let instrument = rules.instruments.get(symbol).copied().unwrap_or_else(Instrument::usual);
    Ok(Json(PreviewView::of(&planned, instrument, rules.max_slices, rules.orders_per_minute)))
}

/// The slices of a parent, by number.
#[utoipa::path(
    get, path = "/api/v1/orders/{id}/slices", tag = "parents", operation_id = "get_slices",
    params(("id" = String, Path, description = "The parent's client order id")),
    responses(
        (status = 200, body = [OrderView], description = "Every slice"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn slices(request: HttpRequest, gateway: Gateway) -> Result<Json<Vec<OrderView>>, Problem> {
    gateway.serves()?;
    let id = body::order_id(&request)?;
    let slices = gateway.state.store.slices(&id).await.map_err(refusals::store)?;
    if slices.is_empty() {
        // A parent has one slice at least.
        return Err(gateway.of_other_kind(Problem::no_order(id.as_str()), &id).await);
    }
    Ok(Json(slices.iter().map(OrderView::of).collect()))
}

/// Cancels what is not done of a parent.
#[utoipa::path(
    delete, path = "/api/v1/orders/{id}/slices", tag = "parents", operation_id = "cancel_parent",
    params(("id" = String, Path, description = "The parent's client order id")),
    responses(
        (status = 200, body = CancelView, description = "What the cancel met"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn cancel(
    request: HttpRequest,
    payload: Payload,
    gateway: Gateway,
) -> Result<Json<CancelView>, Problem> {
    let by = body::caller(&request)?;
    let bytes = body::read(&request, payload, &gateway).await?;
    body::nothing_said(&bytes)?;
    body::idempotency_key(&request)?;
    let id = body::order_id(&request)?;
    gateway.takes_work()?;
    // Never handed on: the marks are written here, whoever owns the account, and its owner looks for them.
    let desk = &gateway.office_of(&id).await?.desk;
    match gateway.ask(&desk.cancel_parent, CancelParent { id: id.clone(), by }).await {
        Ok(canceled) => Ok(Json(CancelView::of(&canceled.parent, canceled.counts))),
        Err(problem) => Err(gateway.of_other_kind(problem, &id).await),
    }
}

/// Lets a parent go on that is paused. What is overdue follows its `catch_up`, and the gate holds for it as for any other.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/resume", tag = "parents", operation_id = "resume_parent",
    params(("id" = String, Path, description = "The parent's client order id")),
    responses(
        (status = 200, body = ParentView, description = "It goes on; the parent as it now stands"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn resume(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    body::nothing_said(&bytes)?;
    let by = once::by(&request, &bytes, once::PARENT)?;
    let id = body::order_id(&request)?;
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.takes_work()?;
    let desk = match gateway.bearer_of(&id, &request, &bytes).await? {
        Bearer::Here(office) => &office.desk,
        Bearer::Answered(answer) => return Ok(answer),
    };
    let command = ResumeParent { id: id.clone(), by: by.clone() };
    match gateway.ask_once(&desk.resume_parent, command, &by).await {
        Ok(Came::Before(first)) => Ok(first),
        Ok(Came::Now(parent)) => Ok(HttpResponse::Ok().json(view(&gateway, &parent).await?)),
        Err(problem) => Err(gateway.of_other_kind(problem, &id).await),
    }
}

/// A parent with the time of its next slice, which only one that still works has.
pub(super) async fn view(gateway: &Gateway, parent: &Parent) -> Result<ParentView, Problem> {
    if parent.status.is_terminal() || parent.progress.pending_qty.is_zero() {
        return Ok(ParentView::of(parent, None));
    }
    let due = gateway.state.store.due_slices(&parent.id, None, 1).await;
    let next = due.map_err(refusals::store)?.first().map(|slice| slice.due);
    Ok(ParentView::of(parent, next))
}
