//! Engaging what is engaged already: somebody else may have released it a moment ago, so a look decides, not memory.

use std::time::Duration;

use actix::{ActorFutureExt, ResponseActFuture, WrapFuture};
use tokio::time::timeout;

use super::KillSwitch;
use crate::commands::{CommandError, Engage, EngageAnswer};
use crate::domain::kill::KillState;
use crate::domain::switchboard::Told;
use crate::domain::switchboard::kill::{self, KillVerdict};
use crate::ports::store::{StoreError, Switches};
use crate::ports::switchboard::{BoardError, BoardReading};

/// How long the database is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// Whether the engagement in memory is in force still, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It is.
    Stands,
    /// That can't be told.
    Unseen,
    /// It was released.
    Over,
}

/// What a look showed of the engagement that was held when it began.
pub(super) struct Looked {
    pub(super) held: KillState,
    pub(super) standing: Standing,
}

impl KillSwitch {
    /// Looks at the switches, and decides by what they say. The gate stays shut meanwhile, whoever lets go: the wish is in
    /// the latch until it was decided.
    pub(super) fn after_a_look(
        &mut self,
        engage: Engage,
        held: KillState,
    ) -> ResponseActFuture<Self, Result<EngageAnswer, CommandError>> {
        // It overtakes a release that is on its way.
        self.epoch += 1;
        Box::pin(self.look(held).then(move |looked, act, ctx| act.decide(engage, Some(looked), ctx)))
    }

    /// What the switches say of an engagement now.
    pub(super) fn look(&self, held: KillState) -> ResponseActFuture<Self, Looked> {
        let (shared, store) = (self.world.switchboard.clone(), self.world.store.clone());
        let look = async move {
            // In the order in which a release goes.
            let told = match shared {
                Some(shared) => Some(shared.read().await),
                None => None,
            };
            let stored = if store.is_shared() { Some(timeout(LOOK, store.switches()).await.ok()) } else { None };
            (told, stored)
        };
        Box::pin(look.into_actor(self).map(move |(told, stored), act, _| {
            let on_board = told.map_or(Standing::Stands, |told| on_board(&held, told));
            let in_store = stored.map_or(Standing::Stands, |stored| in_store(&held, stored, act.saving > 0));
            let doubted = if act.unsettled.is_some() && act.unsettled == held.engaged_at {
                Standing::Unseen
            } else {
                Standing::Stands
            };
            // What was heeded meanwhile is seen no more.
            let here = if act.known().is_engaged() { Standing::Stands } else { Standing::Over };
            Looked { held, standing: on_board.max(in_store).max(doubted).max(here) }
        }))
    }
}

fn on_board(held: &KillState, told: Result<BoardReading, BoardError>) -> Standing {
    let Ok(reading) = told else { return Standing::Unseen };
    match kill::read(reading.kill.as_deref()) {
        // Nothing of that releases it, and it is written again.
        Told::Missing | Told::Unreadable(_) => Standing::Stands,
        Told::Is(told) => match kill::judge(held, &told) {
            KillVerdict::Releases(_) => Standing::Over,
            KillVerdict::Agrees | KillVerdict::Engages(_) | KillVerdict::Relapses(_) | KillVerdict::Contradicts => {
                Standing::Stands
            }
        },
    }
}

fn in_store(held: &KillState, stored: Option<Result<Switches, StoreError>>, is_saving: bool) -> Standing {
    match stored {
        Some(Ok(switches)) => match switches.kill {
            Some(read) if !read.is_engaged() => {
                let is_over = read.engaged_at == held.engaged_at || read.revision > held.revision;
                if is_over { Standing::Over } else { Standing::Stands }
            }
            Some(_) | None => Standing::Stands,
        },
        // What is not there yet, nobody has released there.
        Some(Err(_)) | None => {
            if is_saving {
                Standing::Stands
            } else {
                Standing::Unseen
            }
        }
    }
}
