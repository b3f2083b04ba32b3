//! A small client of a running server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use reqwest::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::CliError;
use super::output::one_line;

/// Longest wait for an answer; an engage may wait twice for its settle time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where a server listens that nobody told anything else.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// How a client finds its server, and how it prints.
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// The server.
    #[arg(long, global = true, env = "TRANCHE_URL", default_value = DEFAULT_URL)]
    url: String,
    /// File with the API key (or TRANCHE_KEY: the key itself).
    #[arg(long, global = true, env = "TRANCHE_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Print the server's answer as JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl ClientArgs {
    /// The client that these arguments describe.
    pub(super) fn client(&self) -> Result<Client, CliError> {
        let named = self.key_file.as_ref().filter(|path| !path.as_os_str().is_empty());
        let key =
            match named {
                Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                    CliError::Usage(format!("the key file {} can't be read: {error}", path.display()))
                })?),
                None => std::env::var("TRANCHE_KEY").ok(),
            };
        let key = key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).map(SecretString::from);
        let url = if self.url.is_empty() { DEFAULT_URL } else { &self.url };
        Client::new(url, key)
    }
}

/// Runs a client's work on a runtime of its own.
pub(super) fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime: {error}")))?
        .block_on(work)
}

/// A server, and the key to it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    key: Option<SecretString>,
}

/// What a server answered, with its own time.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) body: T,
    pub(super) at: Option<DateTime<Utc>>,
}

impl Client {
    /// A client of the server at an address like `http://127.0.0.1:8080`.
    pub(super) fn new(url: &str, key: Option<SecretString>) -> Result<Self, CliError> {
        let parsed = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "http" && url.has_host());
        if parsed.is_none() {
            let rule = "the server's address must be like http://127.0.0.1:8080";
            return Err(CliError::Usage(format!("{rule}; got {url:?}")));
        }
        // Neither a proxy nor a redirect may get hold of the key.
        crate::tls::install();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| CliError::Failed(format!("no HTTP client: {error}")))?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { http, url, key })
    }

    /// The server's address.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks for something below `/api/v1`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, ClientError> {
        self.send(Method::GET, &format!("/api/v1{path}"), None, None).await
    }

    /// Posts a body below `/api/v1`, with an idempotency key if there is one.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<T, ClientError> {
        let path = format!("/api/v1{path}");
        Ok(self.send(Method::POST, &path, Some(body), key).await?.body)
    }

    /// Changes something below `/api/v1`, with an idempotency key if there is one.
    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<T, ClientError> {
        let path = format!("/api/v1{path}");
        Ok(self.send(Method::PATCH, &path, Some(body), key).await?.body)
    }

    /// Puts a body below `/api/v1`.
    pub(super) async fn put<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ClientError> {
        Ok(self.send(Method::PUT, &format!("/api/v1{path}"), Some(body), None).await?.body)
    }

    /// Deletes something below `/api/v1`.
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let path = format!("/api/v1{path}");
        Ok(self.send(Method::DELETE, &path, None, None).await?.body)
    }

    /// Asks for something anywhere, whatever the status of the answer.
    pub(super) async fn probe(&self, path: &str) -> Result<(StatusCode, Value), ClientError> {
        let response = self.request(Method::GET, path).send().await;
        let response = response.map_err(|source| self.no_answer(source))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|source| self.no_answer(source))?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Answer<T>, ClientError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let response = request.send().await.map_err(|source| self.no_answer(source))?;
        let status = response.status();
        let at = response.headers().get(header::DATE).and_then(|date| server_time(date.to_str().ok()?));
        let bytes = response.bytes().await.map_err(|source| self.no_answer(source))?;
        if !status.is_success() {
            return Err(ClientError::of_answer(status, &bytes));
        }
        match serde_json::from_slice(&bytes) {
            Ok(body) => Ok(Answer { body, at }),
            Err(source) => Err(ClientError::Malformed { source }),
        }
    }

    fn no_answer(&self, source: reqwest::Error) -> ClientError {
        let url = self.url.clone();
        ClientError::NoAnswer { url, source }
    }
}

fn server_time(date: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(date).ok().map(|at| at.to_utc())
}

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// It said no, and will say so again.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// It can't now; later it may.
    #[error("{0}")]
    Unavailable(Box<Problem>),
    /// It failed.
    #[error("{0}")]
    Broken(Box<Problem>),
    /// Nothing came back. Whether it was done is not known.
    #[error("no answer from {url} (start a server with `tranche`, or name another by --url)")]
    NoAnswer {
        /// Where the server should be.
        url: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// What came back is not what a server of ours says.
    #[error("the answer is not what this client expects: another version, or another server?")]
    Malformed {
        /// What failed.
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    fn of_answer(status: StatusCode, body: &[u8]) -> Self {
        let mut problem = serde_json::from_slice::<Box<Problem>>(body).unwrap_or_default();
        problem.status = status.as_u16();
        if status.is_client_error() {
            Self::Refused(problem)
        } else if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
        ) {
            Self::Unavailable(problem)
        } else {
            Self::Broken(problem)
        }
    }

    /// The exit code, as `--help` has it.
    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 3,
            Self::Unavailable(_) | Self::NoAnswer { .. } => 4,
            Self::Broken(_) | Self::Malformed { .. } => 1,
        }
    }

    /// Whether asking again later may help, for a question that changes nothing.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::NoAnswer { .. } => true,
            Self::Refused(_) | Self::Broken(_) | Self::Malformed { .. } => false,
        }
    }

    /// Whether the server doesn't know what was asked for.
    pub(super) const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 404)
    }

    /// The stable code of the refusal, where there is one.
    pub(super) fn problem_code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) | Self::Unavailable(problem) | Self::Broken(problem) => problem.code.as_deref(),
            Self::NoAnswer { .. } | Self::Malformed { .. } => None,
        }
    }
}

/// A server's refusal (RFC 9457), as far as a person needs it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    status: u16,
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
    errors: Vec<FieldProblem>,
    request_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct FieldProblem {
    field: String,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.detail.as_deref().or(self.title.as_deref());
        f.write_str(&one_line(said.unwrap_or("the server refused without a word")))?;
        match &self.code {
            Some(code) => write!(f, " [{} {}]", self.status, one_line(code))?,
            None => write!(f, " [{}]", self.status)?,
        }
        for error in &self.errors {
            write!(f, "\n  {}: {}", one_line(&error.field), one_line(&error.message))?;
        }
        // Only a failure of the server's own is worth a look into its log.
        match &self.request_id {
            Some(id) if self.status >= 500 => write!(f, "\n  request id: {}", one_line(id)),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_its_detail_and_each_field() {
        let body = br#"{"detail":"2 fields are wrong","code":"invalid","errors":[{"field":"qty","code":"x","message":"must be above zero"},{"field":"side","code":"y","message":"is missing"}],"request_id":"r1"}"#;
        let error = ClientError::of_answer(StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(
            error.to_string(),
            "2 fields are wrong [422 invalid]\n  qty: must be above zero\n  side: is missing"
        );
        assert_eq!(error.code(), 3);
    }

    #[test]
    fn the_exit_code_follows_the_status() {
        let code =
            |status: u16, body: &[u8]| ClientError::of_answer(StatusCode::from_u16(status).unwrap(), body).code();
        assert_eq!(code(404, b"{}"), 3);
        assert_eq!(code(409, b"not json"), 3);
        assert_eq!(code(503, br#"{"code":"draining"}"#), 4);
        assert_eq!(code(504, b""), 4);
        assert_eq!(code(500, b""), 1);
    }

    #[test]
    fn an_address_must_be_one_that_the_client_can_speak_to() {
        for bad in ["127.0.0.1:8080", "https://host", "file:///etc", ""] {
            assert!(matches!(Client::new(bad, None), Err(CliError::Usage(_))), "{bad}");
        }
        assert_eq!(Client::new("http://h:1/", None).unwrap().url(), "http://h:1");
    }

    #[test]
    fn the_servers_time_is_read_from_its_answer() {
        let at = server_time("Sat, 21 Nov 2026 10:27:13 GMT").unwrap();
        assert_eq!(at.to_rfc3339(), "2026-11-21T10:27:13+00:00");
    }
}
