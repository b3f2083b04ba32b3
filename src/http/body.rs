//! Reading what came with a request: its body, its idempotency key, the name in its path.

use actix_web::http::header;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage, HttpRequest};
use tranche_actors::domain::audit::By;
use tranche_actors::domain::names::{Caller, IdempotencyKey, OrderId};

use super::auth::Asker;
use super::fields::Fields;
use super::problem::{Code, Problem};
use super::request_id::RequestId;
use super::{Gateway, Limits};

/// The header that makes a command safe to repeat.
pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The whole body, within its bounds. A body that is there has to be said to be JSON: a page in a browser can't say so
/// to a foreign server.
pub(super) async fn read(request: &HttpRequest, payload: Payload, gateway: &Gateway) -> Result<Bytes, Problem> {
    let limits = &gateway.state.limits;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > limits.max_body_bytes)) {
        return Err(too_large(limits));
    }
    let read =
        actix_web::rt::time::timeout(limits.request_timeout, payload.to_bytes_limited(limits.max_body_bytes)).await;
    let body = match read {
        Ok(Ok(Ok(body))) => body,
        Ok(Ok(Err(_))) => {
            let detail = "the body ended early or was damaged on its way: send it again";
            return Err(Problem::new(Code::MalformedRequest, detail));
        }
        Ok(Err(_)) => return Err(too_large(limits)),
        Err(_) => {
            let detail = "the body did not arrive in time: send it again";
            return Err(Problem::new(Code::RequestTimeout, detail));
        }
    };
    if !body.is_empty() {
        is_json(request)?;
    }
    Ok(body)
}

fn too_large(limits: &Limits) -> Problem {
    let most = limits.max_body_bytes;
    Problem::new(Code::BodyTooLarge, format!("a body may have {most} bytes at most"))
}

pub(super) fn is_json(request: &HttpRequest) -> Result<(), Problem> {
    let encoded = request.headers().get(header::CONTENT_ENCODING);
    if encoded.is_some_and(|coding| coding != "identity") {
        let detail = "send the body without a Content-Encoding";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    if !request.content_type().eq_ignore_ascii_case("application/json") {
        let detail = "send the body as JSON, with 'Content-Type: application/json'";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    if !is_utf8(request) {
        let detail = "JSON is UTF-8: send it so, with 'charset=utf-8' or without a charset";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    Ok(())
}

/// Whether the `Content-Type` names no other charset.
fn is_utf8(request: &HttpRequest) -> bool {
    let sent = request.headers().get(header::CONTENT_TYPE);
    let text = sent.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, charset)| charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

/// The client's `Idempotency-Key`, quoted or bare.
pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Problem> {
    let mut sent = request.headers().get_all(IDEMPOTENCY_KEY);
    let invalid =
        |rule: &str| Problem::new(Code::InvalidIdempotencyKey, format!("the header {IDEMPOTENCY_KEY} {rule}"));
    let Some(value) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(invalid("must be there once"));
    }
    let text = value.to_str().map_err(|_| invalid("must be 1 to 128 visible ASCII characters without '|'"))?;
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    if inner.is_some_and(|inner| inner.contains(['"', '\\'])) {
        return Err(invalid("must not contain quotes or backslashes within its quotes"));
    }
    if inner.is_none() && text.contains('"') {
        return Err(invalid("must have a quote at both ends, or none at all"));
    }
    IdempotencyKey::parse(inner.unwrap_or(text)).map(Some).map_err(|bad| invalid(bad.rule))
}

/// Who asks.
pub(super) fn caller(request: &HttpRequest) -> Result<Caller, Problem> {
    let asker = request.extensions().get::<Asker>().cloned();
    asker
        .and_then(|asker| asker.caller)
        .ok_or_else(|| Problem::new(Code::Unauthorised, "send the API key as 'Authorization: Bearer …'"))
}

/// Who asks, and by which request.
pub(super) fn by(request: &HttpRequest) -> Result<By, Problem> {
    let request_id = request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned());
    Ok(By { caller: caller(request)?, request_id, once: None })
}

/// The order that the path names. What can't be an id names nothing.
pub(super) fn order_id(request: &HttpRequest) -> Result<OrderId, Problem> {
    let text = request.match_info().get("id").unwrap_or_default();
    OrderId::parse(text).map_err(|_| Problem::no_order(text))
}

/// Holds a body that has nothing to say to that: none, or an object without fields.
pub(super) fn nothing_said(body: &[u8]) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    Fields::of_body(body)?.finish(Some(())).map_err(Problem::invalid)
}
