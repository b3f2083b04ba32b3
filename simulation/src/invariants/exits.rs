//! What passes as a way out is one: together such orders never go beyond the position.

use super::counting::Counting;
use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Exits(Counting);

impl Invariant for Exits {
    fn rule(&self) -> &'static str {
        "orders that pass as reducing never go beyond the position, with all others of their side"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        self.0.claims(step, scene, |order, open, _| {
            if !order.reduces || open.is_way_out(order) {
                return Ok(());
            }
            let (symbol, side) = (&order.instruction.symbol, order.instruction.side);
            let (held, reach) = (open.held(symbol), open.towards(symbol, side));
            Err(format!("{} passes as reducing, of {held} held, and takes them {reach} to the other side", order.id))
        })
    }
}
