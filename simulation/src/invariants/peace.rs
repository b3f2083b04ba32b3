//! Once nothing goes wrong any more everything comes to rest, and our books say what the venue's say.

use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::status::{OrderStatus, Share};

use super::{Invariant, Scene};
use crate::tape::Step;

#[derive(Default)]
pub(super) struct Peace;

impl Invariant for Peace {
    fn rule(&self) -> &'static str {
        "at rest nothing is open or in doubt, and our books say of every order what the venue says"
    }

    fn see(&mut self, _: &Step<'_>, _: &Scene<'_>) -> Result<(), String> {
        Ok(())
    }

    fn rest(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        if let Some(parent) = scene.ledger.parents().find(|parent| !parent.status.is_terminal()) {
            return Err(format!("{} is {}", parent.id, parent.status));
        }
        for ours in scene.ledger.orders() {
            let theirs = scene.venue.book().find(&ours.id).map(|held| &held.order);
            let sent = ours.status == OrderStatus::Filled || ours.status.share() == Share::Working;
            if sent && theirs.is_none() {
                return Err(format!("{} is {}, and not at the venue", ours.id, ours.status));
            }
            if theirs.is_some_and(|theirs| theirs.status.is_terminal() != ours.status.is_terminal()) {
                return Err(format!("{} is {} by our books, and not so at the venue", ours.id, ours.status));
            }
        }
        let Some(house) = scene.house else { return Ok(()) };
        if house.accounts.first().doubtful.is_empty() && house.accounts.first().in_flight.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "in doubt: {:?}, in flight: {:?}",
                house.accounts.first().doubtful.ids(),
                house.accounts.first().in_flight.ids(&LimitScope::Global)
            ))
        }
    }
}
