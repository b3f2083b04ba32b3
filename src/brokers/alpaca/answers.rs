//! What an answer tells the caller to do.

use serde::Deserialize;
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::venue::{VenueOrder, VenueWords};
use tranche_actors::ports::{CancelError, SubmitError, VenueError};

use super::client::{Answer, Failure};
use super::wire;

/// The body of an error.
#[derive(Debug, Default, Deserialize)]
struct WireError {
    code: Option<u64>,
    message: Option<String>,
}

/// What an answer is, before it is known what was asked.
pub(super) enum Kind {
    /// It was done.
    Done,
    /// The broker asks for patience.
    Busy,
    /// Our key, or the account, is not allowed.
    Unauthorised(String),
    /// It was refused, in the broker's words.
    Refused(VenueWords),
    /// There is no such thing, in the broker's own words.
    NotFound(VenueWords),
    /// Anything else: what became of the request is not known.
    Unclear(String),
}

/// What the broker says of an account that may not trade at all. Its code is the same as of any other refusal.
const BLOCKED: [&str; 7] = [
    "account is blocked",
    "account blocked",
    "account is not authorized to trade",
    "account not authorized to trade",
    "account is suspended",
    "trading is blocked",
    "trading blocked",
];

/// Sorts an answer.
pub(super) fn sort(answer: &Answer) -> Kind {
    let error = serde_json::from_str::<WireError>(&answer.body).unwrap_or_default();
    let said = error.message.filter(|message| !message.is_empty());
    let words = || VenueWords {
        code: error.code.map_or_else(|| answer.status.to_string(), |code| code.to_string()),
        message: said.clone().unwrap_or_default(),
    };
    let unclear = |what: &str| Kind::Unclear(format!("{}: {}", answer.detail(what), answer.excerpt()));
    let of_status = error.code.is_some_and(|code| code / 100_000 == u64::from(answer.status));
    match answer.status {
        200..=299 => Kind::Done,
        401 => Kind::Unauthorised(answer.detail(said.as_deref().unwrap_or("the key is refused"))),
        403 if !of_status => Kind::Unauthorised(answer.detail(said.as_deref().unwrap_or("the key is refused"))),
        403 if is_blocked(said.as_deref()) => Kind::Unauthorised(answer.detail(&words().message)),
        404 if of_status || said.as_deref().is_some_and(|said| said.to_lowercase().contains("not found")) => {
            Kind::NotFound(words())
        }
        404 => unclear("the broker doesn't know the path"),
        408 | 425 | 499 => unclear("the broker did not take the request to its end"),
        429 => Kind::Busy,
        400..=499 if said.is_some() => Kind::Refused(words()),
        300..=399 => unclear("the broker points elsewhere, and no redirect is followed"),
        500..=599 => unclear("the broker failed"),
        _ => unclear("the answer makes no sense"),
    }
}

fn is_blocked(message: Option<&str>) -> bool {
    let message = message.unwrap_or_default().to_lowercase();
    BLOCKED.iter().any(|phrase| message.contains(phrase))
}

/// Whether a refusal says that the id was used before. The separators of the words differ by report.
fn is_duplicate(status: u16, words: &VenueWords) -> bool {
    let letters = words.message.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "");
    matches!(status, 400 | 403 | 409 | 422) && letters.contains("clientorderidmustbeunique")
}

/// What came of sending or of replacing an order.
pub(super) fn submitted(
    id: &OrderId,
    answer: Result<Answer, Failure>,
    busy: impl Fn(&Answer) -> std::time::Duration,
) -> Result<VenueOrder, SubmitError> {
    let answer = answer.map_err(|failure| match failure {
        Failure::NeverLeft(detail) => SubmitError::NeverLeft { detail },
        Failure::Lost(detail) => SubmitError::Unknown { detail },
        Failure::Refused(detail) => SubmitError::Unauthorised { detail },
    })?;
    match sort(&answer) {
        Kind::Done => match wire::strict(&answer.body) {
            Ok(order) if order.client_order_id == *id => Ok(order),
            Ok(_) => Err(SubmitError::Unknown { detail: answer.detail("the answer is about another order") }),
            Err(why) => Err(SubmitError::Unknown { detail: answer.detail(&why.to_string()) }),
        },
        Kind::Busy => Err(SubmitError::NotNow { retry_after: Some(busy(&answer)) }),
        Kind::Unauthorised(detail) => Err(SubmitError::Unauthorised { detail }),
        Kind::Refused(words) if is_duplicate(answer.status, &words) => Err(SubmitError::DuplicateId),
        Kind::Refused(words) | Kind::NotFound(words) => {
            let said = answer.detail(&words.message);
            tracing::warn!(client_order_id = %id, code = words.code, said, "the broker refused an order");
            Err(SubmitError::Rejected(words))
        }
        Kind::Unclear(detail) => Err(SubmitError::Unknown { detail }),
    }
}

/// What came of asking for a cancel.
pub(super) fn canceled(
    answer: Result<Answer, Failure>,
    busy: impl Fn(&Answer) -> std::time::Duration,
) -> Result<(), CancelError> {
    let answer = answer.map_err(failed)?;
    match sort(&answer) {
        Kind::Done => Ok(()),
        Kind::Refused(_) | Kind::NotFound(_) => Err(CancelError::NotCancelable),
        Kind::Busy => Err(VenueError::NotNow { retry_after: Some(busy(&answer)) }.into()),
        Kind::Unauthorised(detail) => Err(VenueError::Unauthorised { detail }.into()),
        Kind::Unclear(detail) => Err(VenueError::Unavailable { detail }.into()),
    }
}

/// The body of what was read; `None` where the broker says that there is no such thing.
pub(super) fn read(
    answer: Result<Answer, Failure>,
    busy: impl Fn(&Answer) -> std::time::Duration,
) -> Result<Option<Answer>, VenueError> {
    let answer = answer.map_err(failed)?;
    match sort(&answer) {
        Kind::Done => Ok(Some(answer)),
        Kind::NotFound(_) => Ok(None),
        Kind::Busy => Err(VenueError::NotNow { retry_after: Some(busy(&answer)) }),
        Kind::Unauthorised(detail) => Err(VenueError::Unauthorised { detail }),
        Kind::Refused(words) => Err(VenueError::Unavailable { detail: answer.detail(&words.message) }),
        Kind::Unclear(detail) => Err(VenueError::Unavailable { detail }),
    }
}

/// What a question comes to that has no answer.
fn failed(failure: Failure) -> VenueError {
    match failure {
        Failure::NeverLeft(detail) | Failure::Lost(detail) => VenueError::Unavailable { detail },
        Failure::Refused(detail) => VenueError::Unauthorised { detail },
    }
}
