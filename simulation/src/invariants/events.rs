//! Every change leaves its event, numbered without gaps.

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Events {
    seen: usize,
}

impl Invariant for Events {
    fn rule(&self) -> &'static str {
        "every change of a status has its event, and events are numbered without gaps"
    }

    fn see(&mut self, step: &Step<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Step::Committed(_, saved) = step else { return Ok(()) };
        let new = scene.ledger.events().get(self.seen..).unwrap_or_default();
        for (place, event) in (self.seen..).zip(new) {
            if usize::try_from(event.number).ok() != Some(place + 1) {
                return Err(format!("event {} stands at place {}", event.number, place + 1));
            }
        }
        self.seen += new.len();
        for (id, before) in &saved.orders {
            let Some(now) = scene.ledger.order(id) else { continue };
            let moved = before.as_ref().is_some_and(|before| before.status != now.status);
            let told = new.iter().rev().find(|event| event.order.as_ref() == Some(id));
            if moved && told.and_then(|event| event.new_status.as_deref()) != Some(now.status.as_str()) {
                return Err(format!("{id} is {} now, and no event says so", now.status));
            }
        }
        Ok(())
    }
}
