//! Single orders, and what parents, slices and single orders are asked for by their id.

use actix_web::web::{Json, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use tranche_actors::commands::{CancelOrder, ReplaceOrder, ResolveOrder, SubmitOrder};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::ports::store::AnyOrder;
use utoipa::ToSchema;

use super::documented::{ProblemDoc, RepeatableDoc, ReplaceOrderDoc, ResolveOrderDoc, SingleOrderDoc};
use super::fields::Fields;
use super::forward::Bearer;
use super::once::{self, Came};
use super::plan_shapes::ParentView;
use super::problem::Problem;
use super::queries::{self, ListQuery};
use super::shapes::{Items, OrderView, taken};
use super::{Gateway, body, parents, refusals, requests, terms};

/// What an id names.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnyOrder)]
#[serde(untagged)]
pub(super) enum AnyView {
    /// A parent with its progress.
    Parent(Box<ParentView>),
    /// A single order or a slice.
    Order(Box<OrderView>),
}

/// Sends a single order.
///
/// Answers when the broker has, or after a short wait with the status that the order then has. Repeating the request is
/// safe: the same order is the same id, and an `Idempotency-Key` or a `client_order_id` makes another one of it.
#[utoipa::path(
    post, path = "/api/v1/orders", tag = "orders", operation_id = "submit_order",
    params(RepeatableDoc),
    request_body = SingleOrderDoc,
    responses(
        (status = 201, body = OrderView, description = "Taken"),
        (status = 200, body = OrderView, description = "Taken before; the order as it now is"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn submit(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let by = body::caller(&request)?;
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let key = body::idempotency_key(&request)?;
    let order = requests::single(fields).map_err(Problem::invalid)?;
    gateway.takes_work()?;
    let symbol = order.instruction.symbol.clone();
    let desk = match gateway.bearer(&order.account, &request, &bytes).await? {
        Bearer::Here(office) => &office.desk,
        Bearer::Answered(answer) => return Ok(answer),
    };
    let submitted = gateway.ask(&desk.submit_order, SubmitOrder { request: order, by, key }).await;
    let submitted = submitted.map_err(|problem| refusals::of_symbol(problem, &symbol))?;
    Ok(HttpResponse::build(taken(submitted.replayed)).json(OrderView::of(&submitted.order)))
}

/// One order with its place in a parent, or a parent with its progress.
#[utoipa::path(
    get, path = "/api/v1/orders/{id}", tag = "orders", operation_id = "get_order",
    params(("id" = String, Path, description = "A client order id")),
    responses(
        (status = 200, body = AnyView, description = "What the id names"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn get(request: HttpRequest, gateway: Gateway) -> Result<Json<AnyView>, Problem> {
    gateway.serves()?;
    let id = body::order_id(&request)?;
    match gateway.state.store.order(&id).await.map_err(refusals::store)? {
        Some(AnyOrder::Parent(parent)) => Ok(Json(AnyView::Parent(Box::new(parents::view(&gateway, &parent).await?)))),
        Some(AnyOrder::Order(order)) => Ok(Json(AnyView::Order(Box::new(OrderView::of(&order))))),
        None => Err(Problem::no_order(id.as_str())),
    }
}

/// Orders, newest first: single orders and slices, or parents with `kind=parent`.
#[utoipa::path(
    get, path = "/api/v1/orders", tag = "orders", operation_id = "list_orders",
    params(
        ("status" = Option<String>, Query, description = "A status of orders, or of parents"),
        ("symbol" = Option<String>, Query),
        ("strategy_id" = Option<String>, Query),
        ("parent" = Option<String>, Query, description = "Slices of this parent"),
        ("since" = Option<String>, Query, description = "Created at or after, as RFC 3339 has it"),
        ("kind" = Option<String>, Query, description = "`parent`: parents"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of an earlier page"),
        ("limit" = Option<u32>, Query, description = "1 to 500, 100 if absent"),
    ),
    responses(
        (status = 200, body = Items<AnyView>, description = "One page"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn list(request: HttpRequest, gateway: Gateway) -> Result<Json<Items<AnyView>>, Problem> {
    let query = queries::list(request.query_string())?;
    gateway.serves()?;
    let store = &gateway.state.store;
    let (items, next) = match query {
        ListQuery::Orders(filter) => {
            let page = store.orders(&filter).await.map_err(refusals::store)?;
            let views = page.items.iter().map(|order| AnyView::Order(Box::new(OrderView::of(order))));
            (views.collect(), page.next)
        }
        ListQuery::Parents(filter) => {
            let page = store.parents(&filter).await.map_err(refusals::store)?;
            let mut views = Vec::with_capacity(page.items.len());
            for parent in &page.items {
                views.push(AnyView::Parent(Box::new(parents::view(&gateway, parent).await?)));
            }
            (views, page.next)
        }
    };
    Ok(Json(Items { items, next_cursor: next.map(|cursor| cursor.to_string()) }))
}

/// Asks for the end of a single order or a slice. One that has ended stays as it is.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/cancel", tag = "orders", operation_id = "cancel_order",
    params(
        ("id" = String, Path, description = "A client order id"),
        RepeatableDoc,
    ),
    responses(
        (status = 200, body = OrderView, description = "The order as it now is"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn cancel(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    body::nothing_said(&bytes)?;
    let by = once::by(&request, &bytes, once::ORDER)?;
    let id = body::order_id(&request)?;
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.takes_work()?;
    // Never handed on: the mark is written here, whoever owns the account, and its owner looks for it.
    let desk = &gateway.office_of(&id).await?.desk;
    match gateway.ask_once(&desk.cancel_order, CancelOrder { id: id.clone(), by: by.clone() }, &by).await {
        Ok(Came::Now(order)) => Ok(HttpResponse::Ok().json(OrderView::of(&order))),
        Ok(Came::Before(first)) => Ok(first),
        Err(problem) => Err(gateway.of_other_kind(problem, &id).await),
    }
}

/// Puts a new order in the place of a live one: with another quantity, which is the whole, or with other prices of the
/// same type. Of a slice only prices can be changed.
///
/// Answers with the new order, when the broker has or after a short wait. The old one may trade first, and then the new
/// one ends `rejected` or `canceled`. With an `Idempotency-Key`, repeating the request is safe.
#[utoipa::path(
    patch, path = "/api/v1/orders/{id}", tag = "orders", operation_id = "replace_order",
    params(
        ("id" = String, Path, description = "A client order id"),
        RepeatableDoc,
    ),
    request_body = ReplaceOrderDoc,
    responses(
        (status = 200, body = OrderView, description = "The order that is to take the place, as it now is"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn replace(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let by = body::caller(&request)?;
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let in_header = body::idempotency_key(&request)?;
    let id = body::order_id(&request)?;
    let (change, in_body) = terms::replacement(fields, &id).map_err(Problem::invalid)?;
    if in_header.is_some() && in_body.is_some() && in_header != in_body {
        let rule = "differs from the header Idempotency-Key: send one of the two";
        return Err(Problem::invalid(vec![FieldError::new("idempotency_key", "wrong_combination", rule)]));
    }
    gateway.takes_work()?;
    let desk = match gateway.bearer_of(&id, &request, &bytes).await? {
        Bearer::Here(office) => &office.desk,
        Bearer::Answered(answer) => return Ok(answer),
    };
    let command = ReplaceOrder { id: id.clone(), request: change, by, key: in_header.or(in_body) };
    match gateway.ask(&desk.replace_order, command).await {
        Ok(replaced) => Ok(HttpResponse::Ok().json(OrderView::of(&replaced.order))),
        Err(problem) => Err(gateway.of_other_kind(problem, &id).await),
    }
}

/// Settles an order that can't be resolved, by an operator's word.
#[utoipa::path(
    post, path = "/api/v1/orders/{id}/resolve", tag = "orders", operation_id = "resolve_order",
    params(("id" = String, Path, description = "A client order id")),
    request_body = ResolveOrderDoc,
    responses(
        (status = 200, body = OrderView, description = "The order as it now is"),
        (status = "default", body = ProblemDoc, content_type = "application/problem+json", description = "Why not"),
    )
)]
pub(super) async fn resolve(request: HttpRequest, payload: Payload, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload, &gateway).await?;
    let fields = Fields::of_body(&bytes)?;
    let by = once::by(&request, &bytes, once::ORDER)?;
    let resolution = requests::resolution(fields).map_err(Problem::invalid)?;
    let id = body::order_id(&request)?;
    if let Some(first) = gateway.first_answer(&by).await? {
        return Ok(first);
    }
    gateway.takes_work()?;
    let desk = match gateway.bearer_of(&id, &request, &bytes).await? {
        Bearer::Here(office) => &office.desk,
        Bearer::Answered(answer) => return Ok(answer),
    };
    let command = ResolveOrder { id: id.clone(), resolution, by: by.clone() };
    match gateway.ask_once(&desk.resolve, command, &by).await {
        Ok(Came::Now(order)) => Ok(HttpResponse::Ok().json(OrderView::of(&order))),
        Ok(Came::Before(first)) => Ok(first),
        Err(problem) => Err(gateway.of_other_kind(problem, &id).await),
    }
}
