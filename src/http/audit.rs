//! What people did whose word counts: switches, settled orders, cleared orphans, keys.

use actix_web::HttpRequest;
use actix_web::web::Json;
use serde::Serialize;
use serde_json::Value;
use tranche_actors::domain::audit::Audited;
use tranche_actors::domain::names::AccountName;
use utoipa::ToSchema;

use super::documented::ProblemDoc;
use super::problem::Problem;
use super::shapes::{Items, stamp};
use super::{Gateway, queries, refusals, words};

/// One thing that somebody did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct AuditView {
    id: u64,
    #[schema(format = DateTime)]
    at: String,
    /// Null for what belongs to no account.
    account: Option<String>,
    /// The name of the key: `admin` for the one from the file, `local` where none is asked for, `shell` for the command
    /// line at the store itself.
    caller: String,
    /// Who, as given.
    operator: Option<String>,
    #[schema(schema_with = words::audit_action)]
    action: &'static str,
    /// What it was done to.
    subject: String,
    /// How that was before.
    #[schema(schema_with = words::any_json)]
    before: Option<Value>,
    /// How it was then.
    #[schema(schema_with = words::any_json)]
    after: Option<Value>,
    request_id: Option<String>,
}

impl AuditView {
    fn of(Audited { id, at, account, entry }: Audited) -> Self {
        Self {
            id,
            at: stamp(at),
            account: account.as_ref().map(AccountName::to_string),
            caller: entry.by.to_string(),
            operator: entry.operator,
            action: entry.action.as_str(),
            subject: entry.subject,
            before: entry.before,
            after: entry.after,
            request_id: entry.request_id,
        }
    }
}

/// What people did, newest first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "controls", operation_id = "list_audit",
    params(
        ("cursor" = Option<String>, Query, description = "The next_cursor of an earlier page"),
        ("limit" = Option<u32>, Query, description = "1 to 500, 100 if absent"),
    ),
    responses(
        (status = 200, body = Items<AuditView>, description = "A page"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn list(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<AuditView>>, Problem> {
    let (cursor, limit) = queries::page(request.query_string())?;
    let page = gateway.state.store.audit(cursor, limit).await.map_err(refusals::store)?;
    let items = page.items.into_iter().map(AuditView::of).collect();
    Ok(Json(Items { items, next_cursor: page.next.map(|next| next.to_string()) }))
}
