//! One transaction, and what is done where the store refuses a part of it or its outcome is not known.

use std::time::Duration;

use super::Waiting;
use crate::domain::ledger::{Refusal, Write};
use crate::ports::World;
use crate::ports::store::{Batch, Commit as Results, StoreError};

/// What a batch came to, sender by sender.
pub(super) struct Written {
    pub(super) done: Vec<(Waiting, Results)>,
    /// Certainly not written, none of it, because of `failed`.
    pub(super) undone: Vec<Waiting>,
    pub(super) failed: Option<StoreError>,
}

/// Commits a batch. Where the store refuses one of its writes, each sender's writes are committed alone, so that the
/// refused one disturbs no other; a doubtful commit is settled first.
pub(super) async fn write(world: &World, batch: Batch, waiting: Vec<Waiting>) -> Written {
    let failed = match commit(world, &batch).await {
        Ok(results) => {
            let mut results = results.into_iter();
            let share = |one: Waiting| {
                let share = results.by_ref().take(one.writes.len()).collect();
                (one, share)
            };
            return Written { done: waiting.into_iter().map(share).collect(), undone: Vec::new(), failed: None };
        }
        Err(StoreError::Constraint { .. }) => None,
        Err(error) => Some(error),
    };
    let mut written = Written { done: Vec::new(), undone: Vec::new(), failed };
    for one in waiting {
        if written.failed.is_some() {
            written.undone.push(one);
            continue;
        }
        match alone(world, &batch, &one.writes).await {
            Ok(results) => written.done.push((one, results)),
            Err(error) => {
                written.failed = Some(error);
                written.undone.push(one);
            }
        }
    }
    written
}

/// Commits one sender's writes: together, or one by one where the store refuses one of them.
async fn alone(world: &World, batch: &Batch, writes: &[Write]) -> Result<Results, StoreError> {
    let of = |writes: &[Write]| Batch { nonce: world.entropy.bits(), writes: writes.to_vec(), ..batch.clone() };
    match commit(world, &of(writes)).await {
        Err(StoreError::Constraint { .. }) => {}
        known => return known,
    }
    let mut results = Results::new();
    while let Some(write) = writes.get(results.len()) {
        match commit(world, &of(std::slice::from_ref(write))).await {
            Ok(result) => results.extend(result),
            Err(StoreError::Constraint { detail }) => {
                tracing::error!(%detail, "the store refused a write");
                results.push(Err(Refusal::Constraint(detail)));
            }
            Err(error) if results.iter().all(Result::is_err) => return Err(error),
            // Its end can't be written any more.
            Err(error @ (StoreError::Deposed | StoreError::OutcomeUnknown { .. })) => {
                return Err(StoreError::OutcomeUnknown { detail: error.to_string(), then: Results::new() });
            }
            // What is half written has to be written to its end: its sender can be told neither yes nor no.
            Err(error) => {
                tracing::error!(%error, "the store failed between two writes of one sender; trying on");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    Ok(results)
}

/// A commit whose outcome is known in the end, however long that takes: the watchdog has shut the gate by then. Only a new
/// owner of the account leaves it unknown for good.
async fn commit(world: &World, batch: &Batch) -> Result<Results, StoreError> {
    let (detail, then) = match world.store.commit(batch).await {
        Err(StoreError::OutcomeUnknown { detail, then }) => (detail, then),
        known => return known,
    };
    tracing::error!(%detail, "the outcome of a commit is unknown: reading the account's row back");
    loop {
        match world.store.settle(batch).await {
            Ok(true) => return Ok(then),
            Ok(false) => return Err(StoreError::Unavailable { detail }),
            Err(known @ (StoreError::Deposed | StoreError::OutcomeUnknown { .. })) => return Err(known),
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}
