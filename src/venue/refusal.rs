//! What the venue answers when it refuses, in the form and with the codes of the real one.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::venue::VenueWords;
use tranche_actors::ports::SubmitError;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: Option<u32>,
    pub(super) message: String,
    extra: Map<String, Value>,
}

impl Refusal {
    fn new(status: u16, code: Option<u32>, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), extra: Map::new() }
    }

    /// A request that makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(422, Some(42_210_000), message)
    }

    /// A body that can't be read.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(400, Some(40_010_000), message)
    }

    /// What the account may not do.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, Some(40_310_000), message)
    }

    /// More than is held and free to be sold.
    pub(super) fn held_for_orders(symbol: &str, wanted: Decimal, existing: Decimal, held: Decimal) -> Self {
        let available = canonical(existing - held);
        let message =
            format!("insufficient qty available for order (requested: {}, available: {available})", canonical(wanted));
        let extra = json!({
            "available": available, "existing_qty": canonical(existing), "held_for_orders": canonical(held), "symbol": symbol,
        });
        let extra = extra.as_object().cloned().unwrap_or_default();
        Self { extra, ..Self::forbidden(message) }
    }

    /// An order that trades against another one of the account.
    pub(super) fn wash_trade(existing: &str) -> Self {
        let extra = Map::from_iter([
            ("existing_order_id".to_owned(), existing.into()),
            ("reject_reason".to_owned(), "opposite side market/stop order exists".into()),
        ]);
        Self { extra, ..Self::forbidden("potential wash trade detected. use complex orders") }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, Some(40_410_000), message)
    }

    /// A key that is not known, or no longer good.
    pub(super) fn unauthorised(status: u16) -> Self {
        match status {
            403 => Self::new(403, None, "forbidden."),
            _ => Self::new(401, Some(40_110_000), "request is not authorized"),
        }
    }

    pub(super) fn busy() -> Self {
        Self::new(429, Some(42_910_000), "rate limit exceeded")
    }

    pub(super) fn broken(status: u16) -> Self {
        Self::new(status, None, "upstream request timeout")
    }

    /// What the matching engine refused.
    pub(super) fn of(error: SubmitError) -> Self {
        match error {
            SubmitError::DuplicateId => Self::new(422, Some(40_010_001), "client_order_id must be unique"),
            SubmitError::Rejected(VenueWords { code, message }) => {
                let code = code.parse::<u32>().unwrap_or(42_210_000);
                let status = u16::try_from(code / 100_000).unwrap_or(422);
                Self::new(status, Some(code), message)
            }
            SubmitError::NotNow { .. } => Self::busy(),
            SubmitError::NeverLeft { detail }
            | SubmitError::Unknown { detail }
            | SubmitError::Unauthorised { detail } => Self::new(500, None, detail),
        }
    }

    pub(super) fn body(&self) -> Value {
        let mut body = self.extra.clone();
        if let Some(code) = self.code {
            body.insert("code".to_owned(), code.into());
        }
        body.insert("message".to_owned(), self.message.clone().into());
        Value::Object(body)
    }

    pub(super) fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        HttpResponse::build(status).json(self.body())
    }
}
