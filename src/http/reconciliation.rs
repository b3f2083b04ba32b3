//! Our books beside the broker's: how they compare, and what an operator has to look after.

use std::collections::BTreeMap;

use actix_web::web::{Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use tranche_actors::Office;
use tranche_actors::commands::{ClearCause, CompareNow, NoteCompared};
use tranche_actors::domain::reconciliation::{Cause, CauseId};

use super::documented::{ProblemDoc, RepeatableDoc};
use super::forward::Bearer;
use super::once::{self, Came};
use super::problem::{Code, Problem};
use super::reconciliation_shapes::{
    ClearedView, ComparisonView, DifferenceView, OrphanView, QuarantineView, StatusView,
};
use super::shapes::Items;
use super::{Gateway, Shared, body, queries, refusals};

/// How the last comparison with the broker's books went, and what is open from it.
#[utoipa::path(
    get, path = "/api/v1/reconciliation/status", tag = "controls", operation_id = "get_reconciliation",
    params(("account" = Option<String>, Query, description = "`default` if absent")),
    responses(
        (status = 200, body = StatusView, description = "The last comparison, and what an operator has to look after"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn status(request: HttpRequest, gateway: Gateway) -> Result<Json<StatusView>, Problem> {
    let office = gateway.office_in(queries::account(request.query_string())?)?;
    gateway.serves()?;
    gateway.reconciliation(office).await.map(Json)
}

/// Compares the books now, and answers with the status after it.
#[utoipa::path(
    post, path = "/api/v1/reconciliation/run", tag = "controls", operation_id = "run_reconciliation",
    params(
        ("account" = Option<String>, Query, description = "`default` if absent"),
        RepeatableDoc,
    ),
    responses(
        (status = 200, body = StatusView, description = "Compared"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn run(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    body::nothing_said(&bytes)?;
    let by = once::by(&request, &bytes, once::COMPARED)?;
    let office = gateway.office_in(queries::account(request.query_string())?)?;
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.takes_work()?;
    let office = match gateway.bearer(&office.account, &request, &bytes).await? {
        Bearer::Here(office) => office,
        Bearer::Answered(answer) => return Ok(answer),
    };
    gateway.ask(&office.desk.compare, CompareNow).await?;
    let view = gateway.reconciliation(office).await?;
    let note = NoteCompared { by: by.clone(), answer: json!(view) };
    match gateway.ask_once(&office.desk.note_compared, note, &by).await? {
        Came::Now(()) => Ok(HttpResponse::Ok().json(view)),
        Came::Before(first) => Ok(first),
    }
}

/// What keeps symbols in quarantine: orders at the broker that are not ours, or not what was sent. The gateway never
/// cancels them.
#[utoipa::path(
    get, path = "/api/v1/reconciliation/orphans", tag = "controls", operation_id = "list_orphans",
    params(("account" = Option<String>, Query, description = "`default` if absent")),
    responses(
        (status = 200, body = Items<OrphanView>, description = "Every one that nobody has cleared, by symbol"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn orphans(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<OrphanView>>, Problem> {
    let office = gateway.office_in(queries::account(request.query_string())?)?;
    gateway.serves()?;
    let causes = gateway.causes(office).await?;
    Ok(Json(Items::all(causes.iter().map(OrphanView::of).collect())))
}

/// Clears an orphan that an operator has looked after. With its symbol's last one, the symbol takes orders again.
#[utoipa::path(
    delete, path = "/api/v1/reconciliation/orphans/{id}", tag = "controls", operation_id = "clear_orphan",
    params(
        ("id" = String, Path, description = "As the list of orphans has it"),
        ("account" = Option<String>, Query, description = "`default` if absent"),
        ("operator" = String, Query, description = "Who, in at most 64 characters"),
        ("reason" = String, Query, description = "Why, in at most 500 characters"),
    ),
    responses(
        (status = 200, body = ClearedView, description = "Cleared"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn clear(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let by = body::by(&request)?;
    let bytes = body::read(&request, payload, &gateway).await?;
    body::nothing_said(&bytes)?;
    body::idempotency_key(&request)?;
    let (account, operator, reason) = queries::clearance(request.query_string())?;
    let office = gateway.office_in(account)?;
    let id = request.match_info().get("id").unwrap_or_default();
    let cause = CauseId::parse(id).map_err(|_| no_orphan(id))?;
    gateway.takes_work()?;
    let office = match gateway.bearer(&office.account, &request, &bytes).await? {
        Bearer::Here(office) => office,
        Bearer::Answered(answer) => return Ok(answer),
    };
    let command = ClearCause { cause, operator, reason, by };
    match gateway.ask(&office.desk.clear_cause, command).await {
        Ok(cleared) => Ok(HttpResponse::Ok().json(ClearedView::of(&cleared))),
        Err(problem) if problem.is(Code::NotFound) => Err(no_orphan(id)),
        Err(problem) => Err(problem),
    }
}

fn no_orphan(id: &str) -> Problem {
    let shown = id.chars().take(128).collect::<String>();
    let detail = format!("there is no orphan {shown:?}: GET /api/v1/reconciliation/orphans lists them");
    Problem::new(Code::NotFound, detail)
}

impl Shared {
    async fn causes(&self, office: &Office) -> Result<Vec<Cause>, Problem> {
        self.state.store.causes(&office.account).await.map_err(refusals::store)
    }

    async fn reconciliation(&self, office: &Office) -> Result<StatusView, Problem> {
        let causes = self.causes(office).await?;
        let unknown = self.state.store.unknown_orders().await.map_err(refusals::store)?;
        let comparison = office.health.comparison();
        let mut reasons: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for cause in &causes {
            let of_symbol = reasons.entry(cause.symbol.to_string()).or_default();
            if !of_symbol.contains(&cause.kind.as_str()) {
                of_symbol.push(cause.kind.as_str());
            }
        }
        let quarantined = reasons.into_iter().map(|(symbol, reasons)| QuarantineView { symbol, reasons });
        let differences = comparison.iter().flat_map(|comparison| &comparison.differences);
        Ok(StatusView {
            account: office.account.to_string(),
            orphans: causes.iter().map(OrphanView::of).collect(),
            quarantined: quarantined.collect(),
            position_differences: differences.map(DifferenceView::of).collect(),
            unknown_orders: unknown.iter().map(ToString::to_string).collect(),
            last_comparison: comparison.as_ref().map(ComparisonView::of),
        })
    }
}
