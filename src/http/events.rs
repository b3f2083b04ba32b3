//! What happened to an order, as the ledger has it.

use actix_web::HttpRequest;
use actix_web::web::Json;

use super::documented::ProblemDoc;
use super::problem::Problem;
use super::shapes::{EventView, Items};
use super::{Gateway, body, refusals};

/// The ledger of an order or a parent, oldest first.
#[utoipa::path(
    get, path = "/api/v1/orders/{id}/events", tag = "orders", operation_id = "get_order_events",
    params(("id" = String, Path, description = "A client order id")),
    responses(
        (status = 200, body = Items<EventView>, description = "Every event"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn list(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<EventView>>, Problem> {
    gateway.serves()?;
    let id = body::order_id(&request)?;
    let store = &gateway.state.store;
    let events = store.events(&id).await.map_err(refusals::store)?;
    // A slice that waits for its time has none of its own yet.
    if events.is_empty() && store.order(&id).await.map_err(refusals::store)?.is_none() {
        return Err(Problem::no_order(id.as_str()));
    }
    Ok(Json(Items::all(events.into_iter().map(EventView::of).collect())))
}
