//! Schemas of words, so that the documentation lists just the words that there are.

use std::collections::BTreeSet;

use tranche_actors::domain::audit::AuditAction;
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::flatten::Awaits;
use tranche_actors::domain::kill::{KillMode, KillWord};
use tranche_actors::domain::limits::{Control, LockKind};
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::portfolio::{CapitalKind, Direction};
use tranche_actors::domain::reconciliation::CauseKind;
use tranche_actors::domain::status::{OperatorEnd, OrderStatus};
use tranche_actors::domain::terms::{OrderType, Side, TimeInForce};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ArrayItems, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};

fn words(words: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(Some(words)).build()
}

pub(super) fn audit_action() -> Object {
    words(AuditAction::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn order_kind() -> Object {
    words(["single", "slice"])
}

pub(super) fn parent_kind() -> Object {
    words(["parent"])
}

pub(super) fn order_status() -> Object {
    words(OrderStatus::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn parent_status() -> Object {
    words(ParentStatus::ALL.iter().map(|word| word.as_str()))
}

/// The statuses of orders and of parents.
pub(super) fn any_status() -> Object {
    let mut all = OrderStatus::ALL.iter().map(|word| word.as_str()).collect::<BTreeSet<_>>();
    all.extend(ParentStatus::ALL.iter().map(|word| word.as_str()));
    words(all)
}

pub(super) fn side() -> Object {
    words(Side::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn order_type() -> Object {
    words(OrderType::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn time_in_force() -> Object {
    words(TimeInForce::ALL.iter().map(|word| word.as_str()))
}

/// The types that a parent's slices may have.
pub(super) fn parent_order_type() -> Object {
    words(super::terms::OF_PARENTS.order_types())
}

/// The times in force that a parent's slices may have.
fn parent_time_in_force() -> Object {
    words(super::terms::OF_PARENTS.times_in_force())
}

pub(super) fn capital_kind() -> Object {
    words(CapitalKind::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn capital_direction() -> Object {
    words(Direction::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn kill_state() -> Object {
    words(KillWord::ALL.iter().map(|word| word.as_str()).chain(["UNKNOWN"]))
}

pub(super) fn breaker_state() -> Object {
    words(BreakerWord::ALL.iter().map(|word| word.as_str()).chain(["UNKNOWN"]))
}

pub(super) fn cause_kind() -> Object {
    words(CauseKind::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn comparison_outcome() -> Object {
    words(["compared", "failed"])
}

/// The codes of problems.
pub(super) fn problem_code() -> Object {
    words(super::problem::Code::WORDS.iter().copied())
}

pub(super) fn control() -> Object {
    words(Control::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn awaits() -> Object {
    words(Awaits::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn lock_kind() -> Object {
    words(LockKind::ALL.iter().map(|word| word.as_str()))
}

/// All of the trading, or a part of it.
pub(super) fn scope() -> Schema {
    let own_symbol = like("^[A-Z0-9./-]{1,32}$");
    let one_of = [("account", account()), ("strategy", name()), ("symbol", own_symbol)].map(|(kind, name)| {
        ObjectBuilder::new()
            .property(kind, name)
            .required(kind)
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .build()
    });
    let scope = one_of.into_iter().fold(OneOfBuilder::new().item(words(["global"])), OneOfBuilder::item);
    Schema::OneOf(scope.build())
}

/// The same, or nothing said.
pub(super) fn maybe_scope() -> Schema {
    let null = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Null));
    Schema::OneOf(OneOfBuilder::new().item(scope()).item(null).build())
}

/// Several of them.
pub(super) fn scopes() -> Schema {
    Schema::Array(ArrayBuilder::new().items(ArrayItems::RefOrSchema(Box::new(RefOr::T(scope())))).build())
}

/// Any JSON at all.
pub(super) fn any_json() -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build())
}

/// A text of this pattern.
pub(super) fn like(pattern: &str) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some(pattern)).build()
}

/// The same, or nothing said.
fn or_null(mut object: Object) -> Object {
    if let SchemaType::Type(one) = &object.schema_type {
        object.schema_type = SchemaType::from_iter([one.clone(), Type::Null]);
    } else if let SchemaType::Array(several) = &mut object.schema_type {
        several.push(Type::Null);
    }
    if let Some(words) = &mut object.enum_values {
        words.push(serde_json::Value::Null);
    }
    object
}

/// The same, or an empty text, which is as good as leaving a filter out.
pub(super) fn or_empty(object: Object) -> Schema {
    let empty = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).max_length(Some(0));
    Schema::OneOf(OneOfBuilder::new().item(object).item(empty).build())
}

/// A symbol as a client spells it.
pub(super) fn symbol() -> Object {
    like("^[A-Za-z0-9./-]{1,32}$")
}

pub(super) fn account() -> Object {
    like("^[a-z0-9_]{1,32}$")
}

/// A strategy or an order, the gateway's own names among them.
pub(super) fn name() -> Object {
    like("^[A-Za-z0-9_.:-]{1,128}$")
}

/// A name that a client chose.
fn own_name() -> Object {
    like("^[A-Za-z0-9_.:-]{1,64}$")
}

/// In a header: quoted, or bare.
pub(super) fn idempotency_key() -> Object {
    like(r#"^("[!#-\[\]-{}~]{1,128}"|[!#-{}~]{1,128})$"#)
}

pub(super) fn maybe_time_in_force() -> Object {
    or_null(time_in_force())
}

pub(super) fn maybe_parent_time_in_force() -> Object {
    or_null(parent_time_in_force())
}

pub(super) fn maybe_lock_kind() -> Object {
    or_null(lock_kind())
}

pub(super) fn maybe_mode() -> Object {
    or_null(words(KillMode::ALL.iter().map(|word| word.as_str())))
}

pub(super) fn maybe_catch_up() -> Object {
    or_null(words(CatchUp::ALL.iter().map(|word| word.as_str())))
}

pub(super) fn maybe_completion() -> Object {
    or_null(words(Completion::ALL.iter().map(|word| word.as_str())))
}

pub(super) fn operator_end() -> Object {
    words(OperatorEnd::ALL.iter().map(|word| word.as_str()))
}

pub(super) fn maybe_symbol() -> Object {
    or_null(symbol())
}

pub(super) fn maybe_account() -> Object {
    or_null(account())
}

pub(super) fn maybe_own_name() -> Object {
    or_null(own_name())
}

pub(super) fn maybe_idempotency_key() -> Object {
    or_null(like("^[!-{}~]{1,128}$"))
}

/// A decimal of a request: a string, or a number of which every digit counts.
pub(super) fn decimal() -> Object {
    let decimal = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Number]));
    decimal.pattern(Some(r"^-?([0-9]*\.)?[0-9]+([eE][+-]?[0-9]+)?$")).build()
}

/// The same, or nothing said.
pub(super) fn maybe_decimal() -> Object {
    or_null(decimal())
}
