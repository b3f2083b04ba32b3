//! The API's description, and a page to try it on, whose files are part of the program.

use std::sync::Arc;

use actix_web::http::header::{self, ContentType, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use utoipa_swagger_ui::Config;

use super::Gateway;
use super::problem::{Code, Problem};

/// The page shows our description, and asks nobody on the network whether it is valid.
pub(super) fn config() -> Arc<Config<'static>> {
    Arc::new(Config::from("/openapi.json").validator_url("none"))
}

/// The description of the API.
pub(super) async fn openapi(gateway: Gateway) -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::json()).body(gateway.openapi.clone())
}

/// The page, under the path that its files are relative to.
pub(super) async fn redirect() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, HeaderValue::from_static("/docs/"))).finish()
}

/// A file of the page.
pub(super) async fn file(request: HttpRequest, gateway: Gateway) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("file").unwrap_or_default();
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&gateway.docs));
    let file = found
        .map_err(|_| Problem::new(Code::Internal, "the page can't be shown; /openapi.json describes the API too"))?
        .ok_or_else(|| Problem::new(Code::NotFound, "the page has no such file: it begins at /docs/"))?;
    let mut answer = HttpResponse::Ok();
    if file.gzpipped {
        answer.insert_header((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
    }
    Ok(answer.content_type(file.content_type).body(file.bytes.into_owned()))
}
