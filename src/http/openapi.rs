//! The description of the API, generated from the handlers and the shapes.

use std::collections::BTreeMap;

use actix_web::http::Method;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{PathItem, RefOr, Schema};
use utoipa::{Modify, OpenApi};

use super::{
    audit, circuit_breaker, documented, events, kill_switch, limits, lockouts, orders, parents, plan_shapes, portfolio,
    positions, reconciliation, reconciliation_shapes, routes, service, switch_shapes,
};

mod parameters;

/// The extension of an operation that names the least role that may.
const ROLE: &str = "x-role";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tranche",
        description = "An execution gateway: works large orders into the market as small ones, under controls that hold. \
            `x-role` of an operation is the least role of a key that may: viewer, trader, operator, admin.",
    ),
    paths(
        parents::submit, parents::preview, parents::slices, parents::cancel, parents::resume,
        orders::submit, orders::list, orders::get, orders::cancel, orders::replace, orders::resolve, events::list, positions::list, positions::get,
        portfolio::get, portfolio::list, portfolio::move_capital, portfolio::days,
        kill_switch::engage, kill_switch::disengage, kill_switch::status, kill_switch::history,
        circuit_breaker::status, circuit_breaker::trip, circuit_breaker::reset, circuit_breaker::history,
        limits::get, limits::put, limits::post, lockouts::list, lockouts::post, lockouts::delete,
        reconciliation::status, reconciliation::run, reconciliation::orphans, reconciliation::clear,
        audit::list, service::status, service::livez, service::healthz, service::readyz, service::metrics,
    ),
    components(schemas(
        documented::RandomizeDoc, documented::FieldErrorDoc, plan_shapes::PlanHead, plan_shapes::LiquidityView, plan_shapes::SliceView, plan_shapes::LimitsView,
        reconciliation_shapes::ComparisonView, reconciliation_shapes::OrphanView, reconciliation_shapes::QuarantineView,
        reconciliation_shapes::DifferenceView, switch_shapes::InstanceView, service::ReasonView, service::PartView, service::AccountView,
    )),
    tags(
        (name = "parents", description = "Large orders, worked slice by slice"),
        (name = "orders", description = "Single orders, and all orders by their id"),
        (name = "portfolio", description = "What an account holds, what it is worth, and what its days brought"),
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
    "MoveCapital",
    "SetLimit",
    "OverrideLimit",
    "Lock",
    "Problem",
];

struct Finish;

impl Modify for Finish {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        tell_roles(&mut description.paths.paths);
        link_ids(&mut description.paths.paths);
        let Some(components) = &mut description.components else {
            return;
        };
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
        for (name, schema) in &mut components.schemas {
            if !REQUESTS.contains(&name.as_str()) {
                require_all(schema);
            } else if let RefOr::T(Schema::Object(request)) = schema
                && name != "Problem"
            {
                // Unknown fields are refused. A problem may have more.
                request.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        }
    }
}

/// What the id of an answer's order or parent is good for.
const LINKS: &[(&str, &str, &[&str])] = &[
    (
        "/api/v1/orders",
        "$response.body#/client_order_id",
        &["get_order", "cancel_order", "replace_order", "resolve_order", "get_order_events"],
    ),
    (
        "/api/v1/orders/slice",
        "$response.body#/parent_order_id",
        &["get_order", "get_slices", "cancel_parent", "resume_parent"],
    ),
];

/// Says where the id that a submission answers with leads.
fn link_ids(paths: &mut BTreeMap<String, PathItem>) {
    for (path, id, operations) in LINKS {
        let Some(submit) = paths.get_mut(*path).and_then(|item| item.post.as_mut()) else { continue };
        for status in ["200", "201"] {
            let Some(RefOr::T(response)) = submit.responses.responses.get_mut(status) else { continue };
            for operation in *operations {
                let link = LinkBuilder::new().operation_id(*operation).parameter("id", *id).build();
                response.links.insert((*operation).to_owned(), RefOr::T(link));
            }
        }
    }
}

/// Says of each operation who may, as the table of routes has it, and what its parameters may be.
fn tell_roles(paths: &mut BTreeMap<String, PathItem>) {
    for endpoint in routes::endpoints() {
        let Some(item) = paths.get_mut(endpoint.path) else { continue };
        for row in endpoint.rows {
            let Some(operation) = operation(item, &row.method) else { continue };
            parameters::bound(endpoint.path, operation);
            match row.role {
                Some(role) => {
                    let said = operation.extensions.get_or_insert_default();
                    said.insert(ROLE.to_owned(), role.as_str().into());
                }
                None => operation.security = Some(Vec::new()),
            }
        }
    }
}

fn operation<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match method.as_str() {
        "GET" => item.get.as_mut(),
        "PUT" => item.put.as_mut(),
        "POST" => item.post.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

fn require_all(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema {
        object.required = object.properties.keys().cloned().collect();
    } else if let RefOr::T(Schema::AllOf(all)) = schema {
        all.items.iter_mut().for_each(require_all);
    }
}
