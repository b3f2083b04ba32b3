//! Around every request: its id, its key, its rate; and the connection, which a fault may cut.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use uuid::Uuid;

use super::rates::Left;
use super::refusal::Refusal;
use super::shop::{Ending, Shop};

/// A connection of a client's.
pub(super) struct Wire(TcpStream);

/// Keeps a handle of each connection, to cut it by.
pub(super) fn on_connect(connection: &dyn Any, extensions: &mut Extensions) {
    let stream = connection.downcast_ref::<actix_web::rt::net::TcpStream>();
    let handle = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
    if let Some(handle) = handle {
        extensions.insert(Wire(TcpStream::from(handle)));
    }
}

/// The answer to a request that was answered.
pub(super) fn answered(status: u16, body: Option<serde_json::Value>) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status);
    let mut builder = HttpResponse::build(status.unwrap_or_default());
    match body {
        Some(body) => builder.json(body),
        None => builder.finish(),
    }
}

/// The answer to a request as it ends; one that ends without an answer takes its connection along.
pub(super) fn answer(request: &HttpRequest, ending: Ending) -> HttpResponse {
    match ending {
        Ending::Answered(status, body) => answered(status, body),
        Ending::Refused(refusal) => refusal.response(),
        Ending::Cut => {
            if let Some(Wire(connection)) = request.conn_data::<Wire>() {
                // One that is gone already needs no cutting.
                drop(connection.shutdown(Shutdown::Both));
            }
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// Asks for a key, counts the request, and says with every answer what is left.
pub(super) async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let Some(shop) = request.app_data::<web::Data<Shop>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let id = Uuid::new_v4().simple().to_string();
    let entered = enter(&shop, &request);
    let (mut response, left) = match entered {
        Err((refusal, left)) => (request.into_response(refusal.response()).map_into_boxed_body(), left),
        Ok((caller, left)) => {
            request.extensions_mut().insert(caller);
            (next.call(request).await?.map_into_boxed_body(), Some(left))
        }
    };
    let headers = response.headers_mut();
    set(headers, "x-request-id", &id);
    if let Some(left) = left {
        set(headers, "x-ratelimit-limit", &left.limit.to_string());
        set(headers, "x-ratelimit-remaining", &left.remaining.to_string());
        set(headers, "x-ratelimit-reset", &left.reset_second().to_string());
    }
    Ok(response)
}

fn enter(shop: &Shop, request: &ServiceRequest) -> Result<(super::desk::Caller, Left), (Refusal, Option<Left>)> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let caller = shop.caller(header("apca-api-key-id"), header("apca-api-secret-key"));
    let caller = caller.map_err(|refusal| (refusal, None))?;
    let left = shop.rates().count(&caller.key, shop.clock.now());
    let busy = shop.desk().mischief.faults().busy;
    if left.exceeded || busy {
        return Err((Refusal::busy(), Some(Left { remaining: 0, ..left })));
    }
    Ok((caller, left))
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
