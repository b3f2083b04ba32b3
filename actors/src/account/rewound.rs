//! Books that may be behind the truth: the store was restored, or a standby took over. What is under way is held for a
//! person, and what may have been sent is looked up, before the account is recovered as ever.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::domain::ledger::Write;
use crate::domain::parent::PauseReason;
use crate::domain::status::OrderStatus;
use crate::line::Line;
use crate::persistence::{Lane, Persist};
use crate::ports::store::{OrderFilter, Ownership, Store, StoreError};

/// Why it is not known that the parents are held.
#[derive(Debug, Error)]
pub(super) enum NotHeld {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the parents could not be paused: the store doesn't write")]
    Unwritten,
}

/// Pauses every parent that works, and puts in doubt every order whose time has passed, where the ledger went back; the
/// answer is then since when it may lack orders. Until the store is told that all was seen to, it is done again, whatever
/// comes between: nothing of it twice.
pub(super) async fn hold_if_rewound(
    store: &Arc<dyn Store>,
    ownership: &Ownership,
    (persist, most): (&Line<Persist>, usize),
) -> Result<Option<DateTime<Utc>>, NotHeld> {
    if !store.is_rewound(ownership).await? {
        return Ok(None);
    }
    let account = &ownership.account;
    let parents = store.open_parents(account).await?;
    let paused = parents.len();
    tracing::error!(
        %account, parents = paused,
        "the ledger went back behind what was seen of it (a restore, or a standby that took over): its working parents \
         are paused, and what may have been sent is looked up at the broker. See whether the switches are as they should \
         be, compare positions and orphans (tranche reconcile status), then resume or cancel each parent"
    );
    metrics::counter!("tranche_ledger_rewinds_total").increment(1);
    let mut writes = parents
        .into_iter()
        .map(|parent| Write::Pause { id: parent.id, reason: PauseReason::LedgerRewound })
        .collect::<Vec<_>>();
    let orders = store.open_orders(account).await?;
    let waiting = orders.into_iter().filter(|order| order.slice.is_none() && order.status == OrderStatus::PendingNew);
    writes.extend(waiting.map(|order| Write::Doubt { id: order.id }));
    for writes in writes.chunks(most.max(1)) {
        let asked = persist.ask(Persist { writes: writes.to_vec(), lane: Lane::Rest }).await;
        // What was refused has ended meanwhile.
        asked.map_err(|_| NotHeld::Unwritten)?.map_err(|_| NotHeld::Unwritten)?;
    }
    let newest = store.orders(&OrderFilter { limit: 1, ..OrderFilter::default() }).await?.items.into_iter().next();
    Ok(Some(newest.map_or(DateTime::UNIX_EPOCH, |order| order.created_at)))
}
