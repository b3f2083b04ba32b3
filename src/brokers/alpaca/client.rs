//! One request, one answer: sent once, never again, and what is known when there is no answer.
//!
//! Nothing here resends: reqwest's own retries are off and redirects are not followed. What is left is hyper's: a request
//! that was handed to a connection which had closed before the first byte of it was written goes to another connection.
//! Nobody has seen such a request, so that is still the first time.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret, SecretString};
use tranche_actors::budget::Lane;
use tranche_actors::ports::Clock;

use super::AlpacaError;
use super::pace::{Headers, Pace};
use super::settings::AlpacaSettings;

/// Bytes that nobody has acknowledged are given up after this, also those of a connection that we have closed: a request
/// of unknown outcome can't arrive later.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// An idle connection is kept for so long, which is less than what servers and their balancers usually bear.
const IDLE: Duration = Duration::from_secs(50);
/// Largest body that is read. A page of 500 orders has less than half a MiB.
const LARGEST: usize = 8 * 1024 * 1024;
/// After our key was refused, how long nothing is asked any more.
const REFUSED_FOR: Duration = Duration::from_secs(15);
/// The most of a body that a failure repeats, in characters.
const SHOWN: usize = 200;

/// An answer that came whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// How long the broker asks to wait, where it does.
    pub(super) retry_after: Option<Duration>,
    request_id: String,
}

impl Answer {
    /// One as it could have come.
    #[cfg(any(test, fuzzing))]
    pub(super) const fn of(status: u16, body: String) -> Self {
        Self { status, body, retry_after: None, request_id: String::new() }
    }

    /// What happened, with the id that the broker's people ask for.
    pub(super) fn detail(&self, what: &str) -> String {
        format!("{what} (status {}, request {})", self.status, self.request_id)
    }

    /// The beginning of the body, for a log.
    pub(super) fn excerpt(&self) -> String {
        self.body.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No byte of the request left.
    NeverLeft(String),
    /// Some may have.
    Lost(String),
    /// Our key was refused a moment ago: nothing was sent.
    Refused(String),
}

/// A host, and the pace that its answers ask for.
pub(super) struct Host {
    url: Url,
    pub(super) pace: Arc<Pace>,
    /// Where requests of our own making take their tokens.
    pub(super) lane: Lane,
}

impl Host {
    pub(super) fn new(url: &Url, pace: &Arc<Pace>, lane: Lane) -> Self {
        Self { url: url.clone(), pace: Arc::clone(pace), lane }
    }

    /// The address of a path that is made of segments, each kept in one piece.
    pub(super) fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// The way to all hosts.
pub(super) struct Wire {
    client: Client,
    clock: Arc<dyn Clock>,
    refused: Mutex<Option<(Duration, String)>>,
}

impl Wire {
    pub(super) fn new(settings: &AlpacaSettings, clock: &Arc<dyn Clock>) -> Result<Self, AlpacaError> {
        crate::tls::install();
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("apca-api-key-id"), secret(&settings.key_id)?);
        headers.insert(HeaderName::from_static("apca-api-secret-key"), secret(&settings.secret_key)?);
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("tranche/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .tcp_nodelay(true)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| AlpacaError::Client(describe(error)))?;
        Ok(Self { client, clock: Arc::clone(clock), refused: Mutex::new(None) })
    }

    /// Sends one request and reads its answer to the end.
    pub(super) async fn call(
        &self,
        (host, method): (&Host, Method),
        url: Url,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        if let Some(detail) = self.refusal() {
            return Err(Failure::Refused(detail));
        }
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let counted = host.pace.begin();
        let sent = request.send().await;
        let mut response = sent.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                Failure::NeverLeft(describe(error))
            } else {
                Failure::Lost(describe(error))
            }
        })?;
        let headers = Headers::read(response.headers(), &*self.clock);
        host.pace.answered(&headers, self.clock.boottime(), counted);
        let status = response.status().as_u16();
        let lost = |what: &str| Failure::Lost(format!("{what} (status {status}, request {})", headers.request_id));
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST => return Err(lost("the answer is too large")),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(lost(&describe(error))),
            }
        }
        let body = String::from_utf8(body).map_err(|_| lost("the answer is no text"))?;
        Ok(Answer { status, body, retry_after: headers.retry_after, request_id: headers.request_id })
    }

    /// Why nothing is asked just now, if nothing is.
    pub(super) fn refusal(&self) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref().filter(|(until, _)| self.clock.boottime() < *until).map(|(_, detail)| detail.clone())
    }

    /// Our key was refused: hammering on it would change nothing.
    pub(super) fn rest(&self, detail: &str) {
        let until = self.clock.boottime() + REFUSED_FOR;
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((until, detail.to_owned()));
    }
}

fn secret(text: &SecretString) -> Result<HeaderValue, AlpacaError> {
    let mut value = HeaderValue::from_str(text.expose_secret()).map_err(|_| AlpacaError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What failed, with all that is behind it, and without the address.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        // Writing to a text can't fail.
        write!(text, ": {inner}").ok();
        source = inner.source();
    }
    text
}
