//! What this instance may write of an account that another one owns: the marks of a cancel. The owner looks for them every
//! second.

use crate::commands::CommandError;
use crate::domain::ledger::{Applied, Write};
use crate::domain::names::AccountName;
use crate::ports::World;
use crate::ports::store::{Batch, StoreError, Writer};

use super::commands::refused;

/// Writes the marks of a cancel, once: what is not known of it is answered so, and may be asked again.
pub(super) async fn mark(world: &World, account: AccountName, cancel: Write) -> Result<Applied, CommandError> {
    let batch = Batch {
        writer: Writer::Guest(account),
        nonce: world.entropy.bits(),
        at: world.clock.now(),
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
