//! Schemas of words, so that the documentation lists just the words that there are.

use tranche_actors::domain::audit::AuditAction;
use tranche_actors::domain::breaker::BreakerWord;
use tranche_actors::domain::flatten::Awaits;
use tranche_actors::domain::kill::KillWord;
use tranche_actors::domain::limits::{Control, LockKind};
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::portfolio::{CapitalKind, Direction};
use tranche_actors::domain::reconciliation::CauseKind;
use tranche_actors::domain::status::OrderStatus;
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
pub(super) fn parent_time_in_force() -> Object {
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
    let one_of = ["account", "strategy", "symbol"].map(|kind| {
        let name = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        ObjectBuilder::new()
            .property(kind, name)
            .required(kind)
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .build()
    });
    let scope = one_of.into_iter().fold(OneOfBuilder::new().item(words(["global"])), OneOfBuilder::item);
    Schema::OneOf(scope.build())
}

/// Several of them.
pub(super) fn scopes() -> Schema {
    Schema::Array(ArrayBuilder::new().items(ArrayItems::RefOrSchema(Box::new(RefOr::T(scope())))).build())
}

/// Any JSON at all.
pub(super) fn any_json() -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(SchemaType::AnyValue).build())
}

/// A decimal of a request: a string, or a number of which every digit counts.
pub(super) fn decimal() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Number])).build()
}
