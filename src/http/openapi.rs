//! The description of the API, generated from the handlers and the shapes.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{Modify, OpenApi};

use super::{
    circuit_breaker, documented, events, kill_switch, orders, parents, plan_shapes, positions, reconciliation,
    reconciliation_shapes, service, switch_shapes,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tranche",
        description = "An execution gateway: works large orders into the market as small ones, under controls that hold.",
    ),
    paths(
        parents::submit, parents::preview, parents::slices, parents::cancel, parents::resume,
        orders::submit, orders::list, orders::get, orders::cancel, orders::replace, orders::resolve, events::list, positions::list,
        kill_switch::engage, kill_switch::disengage, kill_switch::status, kill_switch::history,
        circuit_breaker::status, circuit_breaker::trip, circuit_breaker::reset, circuit_breaker::history,
        reconciliation::status, reconciliation::run, reconciliation::orphans, reconciliation::clear,
        service::status, service::livez, service::healthz, service::readyz, service::metrics,
    ),
    components(schemas(
        documented::RandomizeDoc, documented::FieldErrorDoc, plan_shapes::PlanHead, plan_shapes::LiquidityView, plan_shapes::SliceView, plan_shapes::LimitsView,
        reconciliation_shapes::ComparisonView, reconciliation_shapes::OrphanView, reconciliation_shapes::QuarantineView,
        reconciliation_shapes::DifferenceView, switch_shapes::InstanceView, service::ReasonView, service::PartView, service::AccountView,
    )),
    tags(
        (name = "parents", description = "Large orders, worked slice by slice"),
        (name = "orders", description = "Single orders, and all orders by their id"),
        (name = "controls", description = "What stops trading"),
        (name = "service", description = "The gateway itself"),
    ),
    security(("key" = [])),
    modifiers(&Finish),
)]
struct Description;

/// The description as it is served.
pub(super) fn json() -> String {
    let description = Description::openapi();
    description.to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the API's description can't be written");
        "{}".to_owned()
    })
}

/// Schemas of requests, where what is optional may be left out; answers always have all of their fields.
const REQUESTS: &[&str] = &[
    "ParentOrder",
    "Randomize",
    "SingleOrder",
    "ReplaceOrder",
    "ResolveOrder",
    "Engage",
    "Disengage",
    "Trip",
    "Reset",
    "Problem",
];

struct Finish;

impl Modify for Finish {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let Some(components) = &mut description.components else {
            return;
        };
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
        for (name, schema) in &mut components.schemas {
            if !REQUESTS.contains(&name.as_str()) {
                require_all(schema);
            }
        }
    }
}

fn require_all(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema {
        object.required = object.properties.keys().cloned().collect();
    } else if let RefOr::T(Schema::AllOf(all)) = schema {
        all.items.iter_mut().for_each(require_all);
    }
}
