//! Which path and method leads to which handler, and who may: the one table that the server is built from.

use actix_web::body::BoxBody;
use actix_web::dev::ServiceRequest;
use actix_web::guard::{Any, Get, Head};
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, Route, web};
use tranche_actors::domain::names::Role;

use super::auth::needs;
use super::problem::{Code, Problem};
use super::{
    audit, circuit_breaker, docs, events, kill_switch, limits, lockouts, orders, parents, portfolio, positions,
    reconciliation, service,
};

/// The methods of one path.
pub(super) struct Endpoint {
    /// The path, its variables in braces.
    pub(super) path: &'static str,
    /// The methods with their handlers.
    pub(super) rows: Vec<Row>,
}

/// One method of a path.
pub(super) struct Row {
    pub(super) method: Method,
    /// The least role that may; `None`: anybody, without a key.
    pub(super) role: Option<Role>,
    route: Route,
}

fn at<const N: usize>(path: &'static str, rows: [Row; N]) -> Endpoint {
    Endpoint { path, rows: rows.into() }
}

/// Every path. A more special one comes before one with a variable in its place.
pub(super) fn endpoints() -> Vec<Endpoint> {
    use Role::{Operator, Trader, Viewer};
    vec![
        at("/api/v1/orders/slice/preview", [post(Trader, parents::preview)]),
        at("/api/v1/orders/slice", [post(Trader, parents::submit)]),
        at("/api/v1/orders", [get(Viewer, orders::list), post(Trader, orders::submit)]),
        at("/api/v1/orders/{id}", [get(Viewer, orders::get), patch(Trader, orders::replace)]),
        at("/api/v1/orders/{id}/slices", [get(Viewer, parents::slices), delete(Trader, parents::cancel)]),
        at("/api/v1/orders/{id}/resume", [post(Operator, parents::resume)]),
        at("/api/v1/orders/{id}/cancel", [post(Trader, orders::cancel)]),
        at("/api/v1/orders/{id}/resolve", [post(Operator, orders::resolve)]),
        at("/api/v1/orders/{id}/events", [get(Viewer, events::list)]),
        at("/api/v1/positions", [get(Viewer, positions::list)]),
        at("/api/v1/positions/{symbol}", [get(Viewer, positions::get)]),
        at("/api/v1/portfolio", [get(Viewer, portfolio::get)]),
        at("/api/v1/portfolio/capital", [get(Viewer, portfolio::list), post(Operator, portfolio::move_capital)]),
        at("/api/v1/pnl/daily", [get(Viewer, portfolio::days)]),
        at("/api/v1/kill-switch/engage", [post(Trader, kill_switch::engage)]),
        at("/api/v1/kill-switch/disengage", [post(Operator, kill_switch::disengage)]),
        at("/api/v1/kill-switch/status", [get(Viewer, kill_switch::status)]),
        at("/api/v1/kill-switch/history", [get(Viewer, kill_switch::history)]),
        at("/api/v1/circuit-breaker/status", [get(Viewer, circuit_breaker::status)]),
        at("/api/v1/circuit-breaker/trip", [post(Operator, circuit_breaker::trip)]),
        at("/api/v1/circuit-breaker/reset", [post(Operator, circuit_breaker::reset)]),
        at("/api/v1/circuit-breaker/history", [get(Viewer, circuit_breaker::history)]),
        at("/api/v1/limits", [get(Viewer, limits::get), put(Operator, limits::put)]),
        at("/api/v1/limits/overrides", [post(Operator, limits::post)]),
        at("/api/v1/lockouts", [get(Viewer, lockouts::list), post(Operator, lockouts::post)]),
        at("/api/v1/lockouts/{id}", [delete(Operator, lockouts::delete)]),
        at("/api/v1/reconciliation/status", [get(Viewer, reconciliation::status)]),
        at("/api/v1/reconciliation/run", [post(Operator, reconciliation::run)]),
        at("/api/v1/reconciliation/orphans", [get(Viewer, reconciliation::orphans)]),
        at("/api/v1/reconciliation/orphans/{id}", [delete(Operator, reconciliation::clear)]),
        at("/api/v1/audit", [get(Operator, audit::list)]),
        at("/api/v1/status", [get(Viewer, service::status)]),
        at("/livez", [anybody(service::livez)]),
        at("/healthz", [anybody(service::healthz)]),
        at("/readyz", [anybody(service::readyz)]),
        at("/metrics", [get(Viewer, service::metrics)]),
        at("/openapi.json", [anybody(docs::openapi)]),
        at("/docs", [anybody(docs::redirect)]),
        at("/docs/{file:.*}", [anybody(docs::file)]),
    ]
}

/// Builds the table into a server.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    for endpoint in endpoints() {
        let mut allow = Vec::new();
        let mut resource = web::resource(endpoint.path);
        for row in endpoint.rows {
            if row.method == Method::GET {
                allow.push("HEAD".to_owned());
            }
            allow.push(row.method.to_string());
            resource = resource.route(match row.role {
                Some(role) => {
                    let needs = move |request: ServiceRequest, next: Next<BoxBody>| needs(role, request, next);
                    row.route.wrap(from_fn(needs))
                }
                None => row.route,
            });
        }
        let allow = allow.join(", ");
        config.service(resource.default_service(web::to(move || wrong_method(allow.clone()))));
    }
}

async fn wrong_method(allow: String) -> Result<HttpResponse, Problem> {
    let problem = Problem::new(Code::MethodNotAllowed, format!("this path takes {allow}"));
    Err(match HeaderValue::from_str(&allow) {
        Ok(value) => problem.header(ALLOW, value),
        Err(_) => problem,
    })
}

/// The answer to a path that is not in the table.
pub(super) async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.path().chars().take(128).collect::<String>();
    let detail = format!("there is nothing at {path:?}: /openapi.json lists every path");
    Err(Problem::new(Code::NotFound, detail))
}

/// What can be got can be asked for without its body, too.
fn get<F, Args>(role: Role, handler: F) -> Row
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Row { role: Some(role), ..anybody(handler) }
}

/// A read that needs no key.
fn anybody<F, Args>(handler: F) -> Row
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Row { method: Method::GET, role: None, route: Route::new().guard(Any(Get()).or(Head())).to(handler) }
}

fn post<F, Args>(role: Role, handler: F) -> Row
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Row { method: Method::POST, role: Some(role), route: web::post().to(handler) }
}

fn put<F, Args>(role: Role, handler: F) -> Row
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Row { method: Method::PUT, role: Some(role), route: web::put().to(handler) }
}

fn patch<F, Args>(role: Role, handler: F) -> Row
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Row { method: Method::PATCH, role: Some(role), route: web::patch().to(handler) }
}

fn delete<F, Args>(role: Role, handler: F) -> Row
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Row { method: Method::DELETE, role: Some(role), route: web::delete().to(handler) }
}
