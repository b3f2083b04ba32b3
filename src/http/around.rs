//! What every answer has in common.

use std::panic::AssertUnwindSafe;

use actix_web::HttpMessage;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use futures_util::FutureExt;
use tranche_actors::health::Phase;

use super::problem::{Code, Problem};
use super::request_id::RequestId;
use super::{Gateway, metrics};

/// Around every answer: its request id, its problem document, its place in the metrics; and a panic becomes an answer.
pub(super) async fn around(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let shared = request.app_data::<Gateway>().cloned();
    let watch = shared
        .as_ref()
        .map(|shared| metrics::Watch::start(request.method(), shared.state.clock.monotonic()));
    // The response is all that outlives a panic here, and nothing reads what was half done.
    let answered = AssertUnwindSafe(next.call(request)).catch_unwind().await;
    let failed = || {
        let problem = Problem::new(
            Code::Internal,
            "the gateway failed: its log says more, under this request's id",
        );
        let mut answer = problem.render(id.as_str());
        id.stamp(answer.headers_mut());
        actix_web::error::InternalError::from_response("a handler failed", answer)
    };
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::error!(request_id = %id.as_str(), %error, "a request failed outside its handler");
            return Err(failed().into());
        }
        Err(_) => {
            tracing::error!(request_id = %id.as_str(), "a handler panicked");
            return Err(failed().into());
        }
    };
    let problem = response.response_mut().extensions_mut().remove::<Problem>();
    if let Some(problem) = problem {
        response = response.into_response(problem.render(id.as_str()));
    }
    id.stamp(response.headers_mut());
    if let (Some(shared), Some(watch)) = (shared, watch) {
        if shared.state.health.phase() == Phase::Draining {
            response
                .response_mut()
                .head_mut()
                .set_connection_type(ConnectionType::Close);
        }
        let route = response.request().match_pattern();
        watch.end(route.as_deref(), response.status(), shared.state.clock.monotonic());
    }
    Ok(response)
}
