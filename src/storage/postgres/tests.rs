//! What is PostgreSQL's own: sessions that are lost, frozen or slow, several instances, its types. The port's rules are
//! in the conformance suite.

use tranche_actors::domain::names::OrderId;

mod broken;
mod conforms;
mod contents;
mod instances;
mod upkeep;

fn id(text: &str) -> OrderId {
    OrderId::parse(text).unwrap()
}
