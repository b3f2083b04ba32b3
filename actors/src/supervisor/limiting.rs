//! Changing limits and lockouts: they belong to no account, so the writer of the switches writes them. Every account's desk
//! learns of it at the next claim, which has to name the revision that holds.

use actix::{Handler, ResponseFuture};

use super::Supervisor;
use crate::commands::{ChangeLimits, ChangedLimits, CommandError};
use crate::domain::audit::Request;
use crate::domain::ledger::{LIMITS, Refusal, Write};
use crate::domain::limits::entries;
use crate::persistence::{Lane, Persist, PersistError};

/// How often somebody else may be faster.
const TRIES: usize = 8;

impl Handler<ChangeLimits> for Supervisor {
    type Result = ResponseFuture<Result<ChangedLimits, CommandError>>;

    fn handle(&mut self, change: ChangeLimits, _: &mut Self::Context) -> Self::Result {
        let (store, persist, clock) = (self.world.store.clone(), self.lines.persist.clone(), self.world.clock.clone());
        Box::pin(async move {
            let ChangeLimits { changes, who } = change;
            for _ in 0..TRIES {
                let before = store.limits(None).await.map_err(|error| {
                    tracing::error!(%error, "the limits could not be read");
                    CommandError::StoreUnavailable
                })?;
                let before = before.unwrap_or_default();
                let after = before.clone().changed(&changes, &who, clock.now());
                let audit = entries(&changes, &who, &before, &after);
                // Each change has its own entry in the audit; a request that may be repeated is known by its answer beside them.
                let request = who.by.once.is_some().then(|| Request {
                    by: who.by.clone(),
                    operator: Some(who.operator.clone()),
                    action: None,
                    subject: LIMITS.to_owned(),
                });
                let writes = vec![Write::Limits { book: Box::new(after.clone()), audit }.requested(request)];
                let asked = persist.ask(Persist { writes, lane: Lane::Switches }).await;
                let mut results = match asked {
                    Ok(Ok(results)) => results,
                    Ok(Err(PersistError::Unavailable)) => return Err(CommandError::StoreUnavailable),
                    Ok(Err(PersistError::Unknown)) | Err(_) => return Err(CommandError::OutcomeUnknown),
                };
                match results.pop() {
                    Some(Ok(_)) => {
                        tracing::warn!(operator = %who.operator, caller = %who.by.caller, revision = after.revision, "the limits were changed");
                        return Ok(ChangedLimits { before, after });
                    }
                    Some(Err(Refusal::LimitsMoved)) => {}
                    Some(Err(Refusal::Answered)) => return Err(CommandError::Answered),
                    Some(Err(Refusal::KeyReused)) => return Err(CommandError::KeyReused),
                    Some(Err(refusal)) => return Err(CommandError::Conflict(refusal.to_string())),
                    None => return Err(CommandError::OutcomeUnknown),
                }
            }
            Err(CommandError::Conflict(Refusal::LimitsMoved.to_string()))
        })
    }
}
