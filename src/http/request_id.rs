//! The id of a request: the client's, if it is sane, else one of ours.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

pub(super) static HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id of a client's that is taken.
const LONGEST: usize = 128;

/// Names one request in answers and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(String);

impl RequestId {
    /// The id of the request with these headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(&HEADER).and_then(|value| value.to_str().ok());
        let sane = |id: &&str| (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        Self(given.filter(sane).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned))
    }

    /// The id itself.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Writes it on an answer.
    pub(super) fn stamp(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            headers.insert(HEADER.clone(), value);
        }
    }
}
