//! What the parameters may be: one of the same name is the same wherever it stands.

use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Required, Schema};

use crate::http::kill_switch::MAX_OPERATOR;
use crate::http::queries::{MAX_HISTORY, MAX_LIMIT};
use crate::http::requests::MAX_REASON;
use crate::http::words;

/// Says of each parameter what it may be, as far as a schema can.
pub(super) fn bound(path: &str, operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(schema) = schema(path, parameter)
        {
            parameter.schema = Some(RefOr::T(schema));
        }
    }
}

fn schema(path: &str, parameter: &Parameter) -> Option<Schema> {
    let filter = match parameter.name.as_str() {
        "Idempotency-Key" => return Some(words::idempotency_key().into()),
        "operator" => return Some(text(MAX_OPERATOR).into()),
        "reason" => return Some(text(MAX_REASON).into()),
        // The place of a path.
        "symbol" if parameter.required == Required::True => return None,
        "account" => words::account(),
        "symbol" => words::symbol(),
        "strategy_id" | "parent" => words::name(),
        "cursor" => words::like("^[0-9]{1,18}$"),
        "since" => formatted(KnownFormat::DateTime),
        "until" => formatted(KnownFormat::Date),
        "kind" => words::parent_kind(),
        "status" => words::any_status(),
        "limit" => {
            let most = if path.ends_with("/history") { MAX_HISTORY } else { MAX_LIMIT };
            let whole = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
            whole.minimum(Some(1_u32)).maximum(Some(most)).build()
        }
        _ => return None,
    };
    Some(words::or_empty(filter))
}

fn text(longest: usize) -> Object {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    text.min_length(Some(1)).max_length(Some(longest)).build()
}

fn formatted(format: KnownFormat) -> Object {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    text.format(Some(SchemaFormat::KnownFormat(format))).build()
}
