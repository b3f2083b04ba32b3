//! Lets each request in, or not, before anything else looks at it.

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest};
use tokio::time::timeout;
use tranche_actors::domain::keys::{ApiKey, KeyId};
use tranche_actors::domain::names::{Caller, Role};
use tranche_actors::ports::store::StoreError;

use super::local::comes_from_here;
use super::ring::opens;
use super::{Access, AdminKey};
use crate::http::problem::{Code, Problem};
use crate::http::{Gateway, Shared, refusals};
use crate::keys::id_of;

/// The one request that the store's silence never holds up.
const ENGAGE: &str = "/api/v1/kill-switch/engage";
/// How long the store is asked for the key of who engages; then the key counts as it was last read.
const ENGAGE_WAIT: Duration = Duration::from_millis(100);

/// Who asks, as handlers know it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Asker {
    /// Nobody on public paths without a key.
    pub(in crate::http) caller: Option<Caller>,
    pub(in crate::http) role: Role,
}

impl Asker {
    fn named(name: &str, role: Role) -> Self {
        Self { caller: Caller::parse(name).ok(), role }
    }

    fn local() -> Self {
        Self::named("local", Role::Admin)
    }

    const fn nobody() -> Self {
        Self { caller: None, role: Role::Viewer }
    }

    fn with(key: ApiKey) -> Self {
        Self { caller: Some(key.name), role: key.role }
    }
}

/// Lets a request in, and notes who asks.
pub(in crate::http) async fn admit(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let let_in = match request.app_data::<Gateway>() {
        Some(gateway) => gateway.let_in(&request).await,
        None => Err(Problem::new(Code::Internal, "the server has no state")),
    };
    match let_in {
        Ok(()) => next.call(request).await,
        Err(problem) => Ok(request.error_response(problem)),
    }
}

/// Lets a request pass whose caller has this role, or a higher one.
pub(in crate::http) async fn needs(
    role: Role,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let is_enough = is_enough(request.request(), role);
    match is_enough {
        Ok(()) => next.call(request).await,
        Err(problem) => Ok(request.error_response(problem)),
    }
}

/// Whether the caller of a request has this role, or a higher one.
pub(in crate::http) fn is_enough(request: &HttpRequest, role: Role) -> Result<(), Problem> {
    let has = request.extensions().get::<Asker>().map(|asker| asker.role);
    let has = has.ok_or_else(|| Problem::new(Code::Internal, "nobody was let in"))?;
    if has >= role {
        return Ok(());
    }
    let detail = format!("this takes a key of the role {role}, and yours is of the role {has}");
    Err(Problem::new(Code::Forbidden, detail).with("role", has.as_str()).with("needs", role.as_str()))
}

/// What needs no key: probes, and the pages that say how to use one.
fn is_public(path: &str, metrics_public: bool) -> bool {
    match path {
        "/livez" | "/healthz" | "/readyz" | "/openapi.json" | "/docs" => true,
        "/metrics" => metrics_public,
        other => other.starts_with("/docs/"),
    }
}

/// What a request wants, as far as letting it in goes.
#[derive(Clone, Copy)]
struct Wish {
    is_public: bool,
    /// To stop trading.
    engages: bool,
}

impl Shared {
    /// Notes who asks, if they may and have not asked too often.
    async fn let_in(&self, request: &ServiceRequest) -> Result<(), Problem> {
        let wish = Wish {
            is_public: is_public(request.path(), self.state.metrics_public),
            engages: request.path() == ENGAGE && request.method() == Method::POST,
        };
        let asker = self.who(request, wish).await?;
        let wait =
            asker.caller.as_ref().filter(|_| !wish.engages && !wish.is_public).and_then(|who| self.pace.wait(who));
        request.extensions_mut().insert(asker);
        let Some(wait) = wait else { return Ok(()) };
        let detail = "this key sends more requests than http.requests_per_second allows: send fewer";
        Err(Problem::new(Code::LimitReached, detail).with("limit", "requests_per_second").retry_after(wait))
    }

    async fn who(&self, request: &ServiceRequest, wish: Wish) -> Result<Asker, Problem> {
        let local = || comes_from_here(request.headers(), request.uri()).map(|()| Asker::local());
        match &self.state.access {
            Access::Open => local(),
            Access::Keyed(admin) => self.by_key(request.headers(), admin.as_ref(), wish).await,
            Access::OpenUntilKeyed => match self.has_keys().await {
                Ok(false) => local(),
                Ok(true) => self.by_key(request.headers(), None, wish).await,
                // Whether there are keys was never known: this machine may stop trading, and nobody anything else.
                Err(_) if wish.engages || wish.is_public => local(),
                Err(error) => Err(refusals::store(error)),
            },
        }
    }

    /// Whether the store has a key, as it was last read.
    async fn has_keys(&self) -> Result<bool, StoreError> {
        if let Some(known) = self.keys.has_keys() {
            return Ok(known);
        }
        let all = self.state.store.api_keys().await?;
        let has_keys = !all.is_empty();
        self.keys.take(all);
        Ok(has_keys)
    }

    async fn by_key(&self, headers: &HeaderMap, admin: Option<&AdminKey>, wish: Wish) -> Result<Asker, Problem> {
        let sent = headers.get(header::AUTHORIZATION).and_then(bearer);
        if admin.zip(sent).is_some_and(|(admin, sent)| admin.opens(sent)) {
            return Ok(Asker::named("admin", Role::Admin));
        }
        let named = sent.and_then(|sent| Some((sent, id_of(sent)?)));
        if wish.is_public {
            // Who has shown a key keeps the connection; nothing else hangs on it.
            let known = named.and_then(|(sent, id)| self.keys.last(&id)?.filter(|key| opens(key, sent)));
            return Ok(known.map_or_else(Asker::nobody, Asker::with));
        }
        let Some((sent, id)) = named else { return Err(unauthorised()) };
        let key = if wish.engages { self.key_of_a_stop(&id).await } else { self.state.store.api_key(&id).await };
        let key = key.map_err(refusals::store)?;
        key.filter(|key| opens(key, sent)).map(Asker::with).ok_or_else(unauthorised)
    }

    /// The key as the store has it, or, where that doesn't answer at once, as it was last read.
    async fn key_of_a_stop(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        match timeout(ENGAGE_WAIT, self.state.store.api_key(id)).await {
            Ok(Ok(key)) => Ok(key),
            Ok(Err(error)) => self.keys.last(id).ok_or(error),
            Err(_) => {
                let detail = "the store did not answer, and its keys were never read".to_owned();
                self.keys.last(id).ok_or(StoreError::Unavailable { detail })
            }
        }
    }
}

fn unauthorised() -> Problem {
    let detail = "send a live API key as 'Authorization: Bearer …'";
    let challenge = HeaderValue::from_static("Bearer");
    Problem::new(Code::Unauthorised, detail).header(header::WWW_AUTHENTICATE, challenge)
}

/// The token of a bearer header; the scheme's name has no case.
pub(in crate::http) fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
