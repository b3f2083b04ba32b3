//! Requests about an account that another instance owns: handed on to it, once, with all that the caller said.
//!
//! The owner asks for the caller's own key and checks everything anew, so that nothing here has to be believed. The header
//! that marks a forwarded request can only keep it from being forwarded again: whoever sets it falsely harms himself.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};
use tranche_actors::Office;
use tranche_actors::domain::names::{AccountName, OrderId};
use tranche_actors::health::Standing;
use tranche_actors::ports::store::{AnyOrder, SeenAccount};

use super::problem::{Code, Problem};
use super::request_id::{self, RequestId};
use super::{Shared, refusals};
use crate::tls::is_this_machine;

/// Which instance handed a request on.
pub(super) const FORWARDED_BY: HeaderName = HeaderName::from_static("tranche-forwarded-by");
/// Which instance answered one that was handed on.
const ANSWERED_BY: HeaderName = HeaderName::from_static("tranche-answered-by");
/// What the caller said that the owner has to hear as it was said.
const SAID: [HeaderName; 3] = [AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("idempotency-key")];
/// What of the owner's answer is handed back besides its status and body.
const ANSWERED: [HeaderName; 2] = [CONTENT_TYPE, RETRY_AFTER];
/// How long a connection to another instance may take.
const CONNECT: Duration = Duration::from_secs(2);

/// The way to other instances.
#[derive(Clone)]
pub(super) struct Others(Client);

impl Others {
    /// `None` where no client can be made, and the log says why: then nothing is handed on.
    pub(super) fn new(timeout: Duration) -> Option<Self> {
        crate::tls::install();
        let client = Client::builder().redirect(Policy::none()).no_proxy().connect_timeout(CONNECT).timeout(timeout);
        let client = client.retry(reqwest::retry::never()).build();
        client
            .inspect_err(|error| tracing::error!(%error, "requests can't be handed on to other instances"))
            .ok()
            .map(Self)
    }
}

/// Who carries out a request.
pub(super) enum Bearer<'a> {
    /// This instance, here.
    Here(&'a Office),
    /// Another one has answered.
    Answered(HttpResponse),
}

impl Shared {
    /// Who carries out what a new order asks of an account. One that is not configured is refused here, with its field.
    pub(super) async fn bearer(
        &self,
        account: &AccountName,
        request: &HttpRequest,
        body: &[u8],
    ) -> Result<Bearer<'_>, Problem> {
        let owner = match self.state.accounts.of(account) {
            None => return Ok(Bearer::Here(self.state.accounts.first())),
            Some(office) => match office.health.standing() {
                Standing::Unknown | Standing::Owner { .. } => return Ok(Bearer::Here(office)),
                Standing::Standby { owner } => owner,
            },
        };
        self.hand_on(account, &owner, request, body).await.map(Bearer::Answered)
    }

    /// Who carries out what is asked of an order: its account's owner.
    pub(super) async fn bearer_of(
        &self,
        id: &OrderId,
        request: &HttpRequest,
        body: &[u8],
    ) -> Result<Bearer<'_>, Problem> {
        let account = &self.office_of(id).await?.account;
        self.bearer(account, request, body).await
    }

    /// The account of an order in this instance. An id that names nothing is looked for by the first account, which doesn't
    /// find it either.
    pub(super) async fn office_of(&self, id: &OrderId) -> Result<&Office, Problem> {
        let account = match self.state.store.order(id).await.map_err(refusals::store)? {
            Some(AnyOrder::Parent(parent)) => parent.account,
            Some(AnyOrder::Order(order)) => order.account,
            None => return Ok(self.state.accounts.first()),
        };
        self.state.accounts.of(&account).ok_or_else(|| refusals::not_configured(&account))
    }

    async fn hand_on(
        &self,
        account: &AccountName,
        owner: &str,
        request: &HttpRequest,
        body: &[u8],
    ) -> Result<HttpResponse, Problem> {
        if request.headers().contains_key(FORWARDED_BY) {
            return Err(unavailable(account, "the instance that was taken for its owner doesn't own it"));
        }
        let url = self.address_of(account, owner).await.map_err(|why| unavailable(account, why))?;
        let url = url.join(request.uri().path_and_query().map_or("/", |path| path.as_str()));
        let url = url.map_err(|_| unavailable(account, "its owner has no proper address"))?;
        let others = self.others.as_ref().ok_or_else(|| unavailable(account, "nothing can be handed on to it"))?;
        let method = Method::from_bytes(request.method().as_str().as_bytes());
        let method = method.map_err(|_| unavailable(account, "nothing of this method can be handed on to it"))?;
        let mut asked = others.0.request(method, url);
        for name in SAID {
            if let Some(value) = request.headers().get(&name) {
                asked = asked.header(name.as_str(), value.as_bytes());
            }
        }
        if let Some(id) = request.extensions().get::<RequestId>() {
            asked = asked.header(request_id::HEADER.as_str(), id.as_str());
        }
        asked = asked.header(FORWARDED_BY.as_str(), &self.state.about.instance);
        let answer = asked.body(body.to_vec()).send().await.map_err(|error| unanswered(account, &error))?;
        let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut told = HttpResponse::build(status);
        for name in ANSWERED {
            let value = answer.headers().get(name.as_str()).map(|value| HeaderValue::from_bytes(value.as_bytes()));
            if let Some(Ok(value)) = value {
                told.insert_header((name, value));
            }
        }
        told.insert_header((ANSWERED_BY, owner));
        let body = answer.bytes().await.map_err(|error| unanswered(account, &error))?;
        metrics::counter!("tranche_requests_forwarded_total").increment(1);
        Ok(told.body(body))
    }

    /// Where the owner said that it is reached. The caller's key goes there, so that it is the owner's address only for as
    /// long as the owner lives, and not one that others can listen on the way to.
    async fn address_of(&self, account: &AccountName, owner: &str) -> Result<Url, &'static str> {
        let stack = self.state.store.stack().await.map_err(|_| "where its owner is can't be read")?;
        let is_leased = |seen: &SeenAccount| {
            seen.account == *account
                && seen.owner.as_deref() == Some(owner)
                && seen.left.is_none_or(|left| !left.is_zero())
        };
        let seen = stack.instances.into_iter().find(|seen| seen.card.id == owner);
        let seen = seen.filter(|seen| seen.age <= self.state.forwarding.silent && stack.accounts.iter().any(is_leased));
        let address = seen.ok_or("its owner is silent")?.card.address.ok_or("its owner has told no address")?;
        let url = Url::parse(&address).map_err(|_| "its owner has no proper address")?;
        if url.scheme() != "https" && !is_this_machine(&url) && !self.state.forwarding.in_the_clear {
            return Err("its owner is reached by plain HTTP only, which http.forward_in_the_clear doesn't allow");
        }
        Ok(url)
    }
}

fn unavailable(account: &AccountName, why: &str) -> Problem {
    let detail = format!("another instance owns the account {account}, and {why}: nothing was done; try again shortly");
    Problem::new(Code::OwnerUnavailable, detail).retry_after(Duration::from_secs(1))
}

/// No answer of the owner's: where it was never connected, nothing was done.
fn unanswered(account: &AccountName, error: &reqwest::Error) -> Problem {
    tracing::error!(%account, %error, "the owner of an account did not answer a request that was handed on to it");
    if error.is_connect() {
        return unavailable(account, "its owner can't be reached");
    }
    let detail = format!(
        "another instance owns the account {account}, and did not answer: whether it was done is not known; look, or send \
         the same request again"
    );
    Problem::new(Code::OwnerUnavailable, detail).with("outcome", "unknown")
}
