//! Which path and method leads to which handler: the one table that the server is built from.

use actix_web::guard::{Any, Get, Head};
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, Route, web};

use super::problem::{Code, Problem};
use super::{circuit_breaker, docs, events, kill_switch, orders, parents, positions, reconciliation, service};

/// The methods of one path.
pub(super) struct Endpoint {
    /// The path, its variables in braces.
    pub(super) path: &'static str,
    /// The methods with their handlers.
    pub(super) routes: Vec<(Method, Route)>,
}

fn at<const N: usize>(path: &'static str, routes: [(Method, Route); N]) -> Endpoint {
    Endpoint { path, routes: routes.into() }
}

/// Every path. A more special one comes before one with a variable in its place.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        at("/api/v1/orders/slice/preview", [post(parents::preview)]),
        at("/api/v1/orders/slice", [post(parents::submit)]),
        at("/api/v1/orders", [get(orders::list), post(orders::submit)]),
        at("/api/v1/orders/{id}", [get(orders::get), patch(orders::replace)]),
        at("/api/v1/orders/{id}/slices", [get(parents::slices), delete(parents::cancel)]),
        at("/api/v1/orders/{id}/resume", [post(parents::resume)]),
        at("/api/v1/orders/{id}/cancel", [post(orders::cancel)]),
        at("/api/v1/orders/{id}/resolve", [post(orders::resolve)]),
        at("/api/v1/orders/{id}/events", [get(events::list)]),
        at("/api/v1/positions", [get(positions::list)]),
        at("/api/v1/kill-switch/engage", [post(kill_switch::engage)]),
        at("/api/v1/kill-switch/disengage", [post(kill_switch::disengage)]),
        at("/api/v1/kill-switch/status", [get(kill_switch::status)]),
        at("/api/v1/kill-switch/history", [get(kill_switch::history)]),
        at("/api/v1/circuit-breaker/status", [get(circuit_breaker::status)]),
        at("/api/v1/circuit-breaker/trip", [post(circuit_breaker::trip)]),
        at("/api/v1/circuit-breaker/reset", [post(circuit_breaker::reset)]),
        at("/api/v1/circuit-breaker/history", [get(circuit_breaker::history)]),
        at("/api/v1/reconciliation/status", [get(reconciliation::status)]),
        at("/api/v1/reconciliation/run", [post(reconciliation::run)]),
        at("/api/v1/reconciliation/orphans", [get(reconciliation::orphans)]),
        at("/api/v1/reconciliation/orphans/{id}", [delete(reconciliation::clear)]),
        at("/api/v1/status", [get(service::status)]),
        at("/livez", [get(service::livez)]),
        at("/healthz", [get(service::healthz)]),
        at("/readyz", [get(service::readyz)]),
        at("/metrics", [get(service::metrics)]),
        at("/openapi.json", [get(docs::openapi)]),
        at("/docs", [get(docs::redirect)]),
        at("/docs/{file:.*}", [get(docs::file)]),
    ]
}

/// Builds the table into a server.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    for endpoint in endpoints() {
        let mut allow = Vec::new();
        let mut resource = web::resource(endpoint.path);
        for (method, route) in endpoint.routes {
            if method == Method::GET {
                allow.push("HEAD".to_owned());
            }
            allow.push(method.to_string());
            resource = resource.route(route);
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
fn get<F, Args>(handler: F) -> (Method, Route)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (Method::GET, Route::new().guard(Any(Get()).or(Head())).to(handler))
}

fn post<F, Args>(handler: F) -> (Method, Route)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (Method::POST, web::post().to(handler))
}

fn patch<F, Args>(handler: F) -> (Method, Route)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (Method::PATCH, web::patch().to(handler))
}

fn delete<F, Args>(handler: F) -> (Method, Route)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (Method::DELETE, web::delete().to(handler))
}
