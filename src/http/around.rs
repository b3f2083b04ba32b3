//! What every answer has in common.

use std::panic::AssertUnwindSafe;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse};
use futures_util::FutureExt;
use tracing::Instrument;
use tranche_actors::health::Phase;

use super::auth::Asker;
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
    let watch = shared.as_ref().map(|shared| metrics::Watch::start(request.method(), shared.state.clock.monotonic()));
    let span =
        tracing::info_span!("request", request_id = %id.as_str(), method = %request.method(), path = request.path());
    // The response is all that outlives a panic here, and nothing reads what was half done.
    let answering = AssertUnwindSafe(next.call(request).instrument(span.clone()));
    let answered = answering.catch_unwind().await;
    let _in_request = span.entered();
    let mut response = match answered {
        Ok(Ok(response)) => response,
        broken => {
            let why = match broken {
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(_)) | Err(_) => "its handler panicked".to_owned(),
            };
            tracing::error!(why, "a request failed");
            if let (Some(shared), Some(watch)) = (shared, watch) {
                let now = shared.state.clock.monotonic();
                watch.end(None, StatusCode::INTERNAL_SERVER_ERROR, now);
            }
            return Err(failed(&id).into());
        }
    };
    // Whoever has shown no key gets an answer and no more: idle connections of strangers would keep an operator from the
    // kill switch.
    let stays = response.request().extensions().get::<Asker>().is_some_and(|asker| asker.caller.is_some());
    let problem = response.response_mut().extensions_mut().remove::<Problem>();
    if let Some(problem) = problem {
        response = response.into_response(problem.render(id.as_str()));
    }
    id.stamp(response.headers_mut());
    if let (Some(shared), Some(watch)) = (shared, watch) {
        if !stays || shared.state.health.phase() == Phase::Draining {
            close_after(response.response_mut());
        }
        let route = response.request().match_pattern();
        watch.end(route.as_deref(), response.status(), shared.state.clock.monotonic());
    }
    Ok(response)
}

/// The answer to a request that left none.
fn failed(id: &RequestId) -> InternalError<&'static str> {
    let detail = "the gateway failed: its log says more, under this request's id";
    let mut answer = Problem::new(Code::Internal, detail).render(id.as_str());
    id.stamp(answer.headers_mut());
    close_after(&mut answer);
    InternalError::from_response("a request failed", answer)
}

fn close_after(answer: &mut HttpResponse) {
    answer.head_mut().set_connection_type(ConnectionType::Close);
}
