//! What went wrong, as RFC 9457 has it: one stable code for programs, one sentence for people.

use std::fmt;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};
use tranche_actors::domain::fault::FieldError;
use tranche_actors::domain::limits::{Control, StopCode};
use tranche_actors::gate::ShutReason;

/// Most faults that one answer lists.
const MAX_ERRORS: usize = 100;

/// Codes with their status and title.
macro_rules! codes {
    ($($name:ident = $word:literal, $status:ident, $title:literal;)+) => {
        /// The stable code of a problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code { $($name),+ }

        impl Code {
            /// The word that programs read.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// The status that answers with this code have.
            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }

            /// Every word, for the documentation.
            pub(super) const WORDS: &'static [&'static str] = &[$($word),+];
        }
    };
}

codes! {
    MalformedJson = "malformed_json", BAD_REQUEST, "The body is not JSON";
    MalformedRequest = "malformed_request", BAD_REQUEST, "The request can't be read";
    InvalidIdempotencyKey = "invalid_idempotency_key", BAD_REQUEST, "The idempotency key breaks a rule";
    Unauthorised = "unauthorised", UNAUTHORIZED, "An API key is needed";
    ForeignOrigin = "foreign_origin", FORBIDDEN, "The request comes from elsewhere";
    Forbidden = "forbidden", FORBIDDEN, "The key's role does not suffice";
    NotFound = "not_found", NOT_FOUND, "There is no such thing";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The body took too long";
    Conflict = "conflict", CONFLICT, "The request conflicts with what is so";
    VersionConflict = "version_conflict", CONFLICT, "It has changed since it was read";
    InsufficientEquity = "insufficient_equity", CONFLICT, "The account is not worth that much";
    OrderIdReused = "order_id_reused", CONFLICT, "The client order id names another order";
    ParentTerminal = "parent_terminal", CONFLICT, "The parent has ended";
    NotPaused = "not_paused", CONFLICT, "The parent is not paused";
    NotResolvable = "not_resolvable", CONFLICT, "The order needs no word of an operator";
    NotReplaceable = "not_replaceable", CONFLICT, "The order can't be replaced";
    AlreadyEngaged = "kill_switch_already_engaged", CONFLICT, "The kill switch is engaged already";
    NotEngaged = "kill_switch_not_engaged", CONFLICT, "The kill switch is not engaged";
    SecondOperatorNeeded = "second_operator_needed", CONFLICT, "A second operator has to say so too";
    NotTripped = "circuit_breaker_not_tripped", CONFLICT, "The circuit breaker is not tripped";
    SymbolQuarantined = "symbol_quarantined", CONFLICT, "The symbol takes only orders that reduce its position";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body is not of the type expected";
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, "The request breaks rules";
    NotSupported = "not_supported", UNPROCESSABLE_ENTITY, "The request asks for what is not built yet";
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The idempotency key names another request";
    MaxOrderQty = "max_order_qty", UNPROCESSABLE_ENTITY, "The order is too large";
    MaxOrderNotional = "max_order_notional", UNPROCESSABLE_ENTITY, "The order is worth too much";
    PriceCollar = "price_collar", UNPROCESSABLE_ENTITY, "The price is too far from the market";
    MaxPosition = "max_position", UNPROCESSABLE_ENTITY, "The position would become too large";
    MaxGrossExposure = "max_gross_exposure", UNPROCESSABLE_ENTITY, "The positions together would become too large";
    MaxOpenOrders = "max_open_orders", UNPROCESSABLE_ENTITY, "Too many orders are open";
    MaxMessageRate = "max_message_rate", UNPROCESSABLE_ENTITY, "Too many orders have left within a minute";
    DuplicateOrder = "duplicate_order", UNPROCESSABLE_ENTITY, "The same was submitted a moment ago";
    RestrictedSymbol = "restricted_symbol", UNPROCESSABLE_ENTITY, "Nothing may be opened in the symbol";
    BuyingPower = "insufficient_buying_power", UNPROCESSABLE_ENTITY, "The buying power does not suffice";
    MaxAdvShare = "max_adv_share", UNPROCESSABLE_ENTITY, "The order is too large for the symbol's volume";
    StalePrice = "stale_price", UNPROCESSABLE_ENTITY, "No fresh price is known";
    Lockout = "lockout", UNPROCESSABLE_ENTITY, "The account is locked";
    LimitReached = "limit_reached", TOO_MANY_REQUESTS, "A bound was reached";
    Internal = "internal", INTERNAL_SERVER_ERROR, "The gateway failed";
    KillSwitchEngaged = "kill_switch_engaged", SERVICE_UNAVAILABLE, "Trading is stopped by the kill switch";
    KillSwitchUnknown = "kill_switch_unknown", SERVICE_UNAVAILABLE, "The kill switch could not be read";
    BreakerTripped = "circuit_breaker_tripped", SERVICE_UNAVAILABLE, "Trading is stopped by the circuit breaker";
    BreakerQuiet = "circuit_breaker_quiet", SERVICE_UNAVAILABLE, "The circuit breaker was reset a moment ago";
    BreakerUnknown = "circuit_breaker_unknown", SERVICE_UNAVAILABLE, "The circuit breaker could not be read";
    Starting = "starting", SERVICE_UNAVAILABLE, "The gateway is starting";
    Draining = "draining", SERVICE_UNAVAILABLE, "The gateway is shutting down";
    ClockUnsure = "clock_unsure", SERVICE_UNAVAILABLE, "The wall clock is not known to be right";
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, "The store is unavailable";
    SwitchboardUnavailable = "switchboard_unavailable", SERVICE_UNAVAILABLE, "The shared switchboard is unavailable";
    BrokerUnavailable = "broker_unavailable", SERVICE_UNAVAILABLE, "The broker is unavailable";
    BrokerUnauthorised = "broker_unauthorised", SERVICE_UNAVAILABLE, "The broker refuses the gateway's key";
    AccountNotConfigured = "account_not_configured", SERVICE_UNAVAILABLE, "The order's account is not configured here";
    OwnerUnavailable = "owner_unavailable", SERVICE_UNAVAILABLE, "What owns the account is unavailable";
}

impl From<ShutReason> for Code {
    fn from(reason: ShutReason) -> Self {
        match reason {
            ShutReason::KillSwitchEngaged => Self::KillSwitchEngaged,
            ShutReason::CircuitBreakerTripped => Self::BreakerTripped,
            ShutReason::CircuitBreakerQuiet => Self::BreakerQuiet,
            ShutReason::KillSwitchUnknown => Self::KillSwitchUnknown,
            ShutReason::CircuitBreakerUnknown => Self::BreakerUnknown,
            ShutReason::Starting => Self::Starting,
            ShutReason::Draining => Self::Draining,
            ShutReason::ClockUnsure => Self::ClockUnsure,
            ShutReason::StoreUnavailable => Self::StoreUnavailable,
            ShutReason::BrokerUnavailable => Self::BrokerUnavailable,
            ShutReason::NotOwner => Self::OwnerUnavailable,
            ShutReason::BrokerUnauthorised => Self::BrokerUnauthorised,
        }
    }
}

impl From<StopCode> for Code {
    fn from(code: StopCode) -> Self {
        match code {
            StopCode::Lockout => Self::Lockout,
            StopCode::Limit(Control::MaxOrderQty) => Self::MaxOrderQty,
            StopCode::Limit(Control::MaxOrderNotional) => Self::MaxOrderNotional,
            StopCode::Limit(Control::PriceCollar) => Self::PriceCollar,
            StopCode::Limit(Control::MaxPosition) => Self::MaxPosition,
            StopCode::Limit(Control::MaxGrossExposure) => Self::MaxGrossExposure,
            StopCode::Limit(Control::MaxOpenOrders) => Self::MaxOpenOrders,
            StopCode::Limit(Control::MaxMessageRate) => Self::MaxMessageRate,
            StopCode::Limit(Control::DuplicateOrder) => Self::DuplicateOrder,
            StopCode::Limit(Control::RestrictedSymbol) => Self::RestrictedSymbol,
            StopCode::Limit(Control::BuyingPower) => Self::BuyingPower,
            StopCode::Limit(Control::MaxAdvShare) => Self::MaxAdvShare,
            StopCode::Limit(Control::StalePrice) => Self::StalePrice,
        }
    }
}

/// An answer that is an error. It gets its `request_id` where all answers get theirs, in [`super::around`].
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    extras: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with a sentence that says what to do.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), extras: Map::new(), headers: Vec::new() }
    }

    /// Fields that break rules: `not_supported` where that is all that is wrong with them.
    pub(super) fn invalid(mut errors: Vec<FieldError>) -> Self {
        let unsupported = !errors.is_empty() && errors.iter().all(|fault| fault.code == Code::NotSupported.as_str());
        let code = if unsupported { Code::NotSupported } else { Code::ValidationFailed };
        let named = errors.iter().take(3).map(|fault| format!("{} {}", fault.field, fault.message));
        let mut detail = named.collect::<Vec<_>>().join("; ");
        if errors.len() > 3 {
            detail.push_str(&format!("; and {} more, see errors", errors.len() - 3));
        }
        errors.truncate(MAX_ERRORS);
        Self { errors, ..Self::new(code, detail) }
    }

    /// A query or a path that names nothing.
    pub(super) fn no_order(id: &str) -> Self {
        let shown = id.chars().take(128).collect::<String>();
        Self::new(Code::NotFound, format!("there is no order or parent {shown:?}: check the id"))
    }

    /// Whether it has this code.
    pub(super) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    /// Adds something that this code needs.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extras.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again, rounded up to whole seconds.
    #[must_use]
    pub(super) fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.with("retry_after", seconds).header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds a header to the answer.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer as it goes out.
    pub(super) fn render(&self, request_id: &str) -> HttpResponse {
        let mut body = self.extras.clone();
        let code = self.code.as_str();
        for (name, value) in [
            ("type", json!(format!("urn:tranche:problem:{code}"))),
            ("title", json!(self.code.title())),
            ("status", json!(self.code.status().as_u16())),
            ("detail", json!(self.detail)),
            ("code", json!(code)),
            ("request_id", json!(request_id)),
        ] {
            body.insert(name.to_owned(), value);
        }
        if !self.errors.is_empty() {
            body.insert("errors".to_owned(), json!(self.errors));
        }
        let mut answer = HttpResponse::build(self.code.status());
        for header in &self.headers {
            answer.insert_header(header.clone());
        }
        answer.content_type("application/problem+json").body(Value::Object(body).to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut answer = HttpResponse::new(self.code.status());
        answer.extensions_mut().insert(self.clone());
        answer
    }
}
