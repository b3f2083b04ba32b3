//! What this instance may write of an account that another one owns: the marks of a cancel. The owner looks for them every
//! second, and now and then for the parents that they ended.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::Account;
use super::commands::refused;
use crate::commands::CommandError;
use crate::domain::ledger::{Applied, Write};
use crate::domain::names::{AccountName, OrderId};
use crate::domain::parent::ParentStatus;
use crate::domain::trading_day::DayEnd;
use crate::ports::World;
use crate::ports::store::{Batch, StoreError, Writer};
use crate::twap_parent::{Rest, Turned};

/// How often an owner looks for what guests did to its parents. No claim of such a parent's slices is taken meanwhile.
pub(super) const LOOK: Duration = Duration::from_secs(10);

/// Writes the marks of a cancel, once: what is not known of it is answered so, and may be asked again.
pub(crate) async fn mark(world: &World, account: AccountName, cancel: Write) -> Result<Applied, CommandError> {
    let batch = Batch {
        writer: Writer::Guest(account),
        nonce: world.entropy.bits(),
        at: world.clock.now(),
        // Nothing that a guest may write counts to a day.
        day_end: DayEnd::new_york(),
        writes: vec![cancel],
    };
    match world.store.commit(&batch).await {
        Ok(mut results) => match results.pop() {
            Some(Ok(applied)) => Ok(applied),
            Some(Err(refusal)) => Err(refused(refusal)),
            None => Err(CommandError::OutcomeUnknown),
        },
        Err(StoreError::OutcomeUnknown { detail, .. }) => {
            tracing::error!(%detail, "whether a cancel was marked is not known");
            Err(CommandError::OutcomeUnknown)
        }
        Err(error) => {
            tracing::error!(%error, "a cancel could not be marked");
            Err(CommandError::StoreUnavailable)
        }
    }
}

impl Account {
    /// What a guest has written nobody here is told: the actor of a parent that was cancelled so would wait for its times,
    /// or for ever, and count as open.
    pub(super) fn look_for_guests(&mut self, ctx: &mut Context<Self>) {
        // What is spawned from here on may be missing from what is read.
        let known = self.parents.keys().cloned().collect::<Vec<_>>();
        if self.ownership.is_none() || known.is_empty() {
            return;
        }
        let (store, account) = (self.world.store.clone(), self.tuning.account.clone());
        let read = async move { store.open_parents(&account).await };
        ctx.spawn(read.into_actor(self).map(move |read, act, ctx| {
            // The next look asks again.
            let Ok(open) = read else { return };
            let open = open.into_iter().map(|parent| (parent.id, parent.status)).collect::<BTreeMap<_, _>>();
            for id in known {
                act.tell_of_guest(&id, open.get(&id).copied(), ctx);
            }
        }));
    }

    fn tell_of_guest(&mut self, id: &OrderId, open: Option<ParentStatus>, ctx: &mut Context<Self>) {
        match open {
            None => {
                let Some(addr) = self.parents.remove(id) else { return };
                tracing::debug!(parent_order_id = %id, "a parent had ended that nobody had told of it");
                ctx.spawn(async move { addr.send(Rest).await }.into_actor(self).map(|_, _, _| ()));
            }
            Some(ParentStatus::Canceling) => {
                let Some(addr) = self.parents.get(id).cloned() else { return };
                let told = async move { addr.send(Turned(ParentStatus::Canceling)).await };
                ctx.spawn(told.into_actor(self).map(|_, _, _| ()));
            }
            // Only the owner makes it so, and tells.
            Some(
                ParentStatus::Pending
                | ParentStatus::Working
                | ParentStatus::Paused
                | ParentStatus::Completed
                | ParentStatus::PartiallyCompleted
                | ParentStatus::Canceled
                | ParentStatus::Rejected
                | ParentStatus::Failed,
            ) => {}
        }
    }
}
