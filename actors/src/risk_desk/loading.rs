//! What a desk begins with: the account as it stands in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ledger::Replacement;
use crate::domain::limits::{Control, Exposure, LimitBook, Wish};
use crate::domain::names::{AccountName, OrderId, StrategyId};
use crate::domain::order::Order;
use crate::domain::parent::Parent;
use crate::ports::store::{Claimed, OrderFilter, ParentFilter, Store, StoreError};

/// Most rows of one page of a list.
const PAGE: u32 = 500;
/// Most pages of what was submitted lately: whatever lies behind them is older than what a window should span.
const MOST_PAGES: u32 = 20;

/// The account as it was read.
pub(super) struct Read {
    pub(super) exposure: Exposure,
    pub(super) book: LimitBook,
    /// What was submitted within the longest window of duplicates, oldest first.
    pub(super) taken: Vec<(DateTime<Utc>, Wish)>,
    /// What was claimed within the last minute, oldest first.
    pub(super) claims: Vec<Claimed>,
}

pub(super) async fn read(store: Arc<dyn Store>, account: AccountName, now: DateTime<Utc>) -> Result<Read, StoreError> {
    let book = store.limits(None).await?.unwrap_or_default();
    let strategies = strategies(&*store, &account).await?;
    let mut exposure = Exposure::default();
    // Positions last: what trades between the two reads then counts twice, and never not at all.
    for order in store.open_orders(&account).await? {
        let parent = order.slice.as_ref().and_then(|slice| strategies.get(&slice.parent));
        exposure.note(&order, parent);
    }
    for held in store.positions(&account).await? {
        exposure.hold(&held.symbol, &held.position);
    }
    let taken = match window(&book) {
        Some(window) => submitted(&*store, &account, now - window).await?,
        None => Vec::new(),
    };
    // Also where nobody limits that yet: whoever does so within the minute counts all of it.
    let claims = store.claims_since(&account, now - TimeDelta::minutes(1)).await?;
    Ok(Read { exposure, book, taken, claims })
}

async fn strategies(store: &dyn Store, account: &AccountName) -> Result<BTreeMap<OrderId, StrategyId>, StoreError> {
    let parents = store.open_parents(account).await?;
    Ok(parents.into_iter().map(|parent| (parent.id, parent.strategy_id)).collect())
}

/// The longest time in which a duplicate may be refused.
fn window(book: &LimitBook) -> Option<TimeDelta> {
    let limits = book.limits.iter();
    let overrides = book.overrides.iter().map(|(key, instead)| (key, &instead.limit));
    let windows = limits.chain(overrides).filter(|(key, _)| key.control == Control::DuplicateOrder);
    let seconds = windows.filter_map(|(_, limit)| rust_decimal::prelude::ToPrimitive::to_i64(&limit.value)).max()?;
    Some(TimeDelta::seconds(seconds))
}

async fn submitted(
    store: &dyn Store,
    account: &AccountName,
    since: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, Wish)>, StoreError> {
    let mut taken = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let filter = OrderFilter { since: Some(since), cursor, limit: PAGE, ..OrderFilter::default() };
        let page = store.orders(&filter).await?;
        let singles = page.items.iter().filter(|order| order.account == *account && is_single(order));
        taken.extend(singles.map(|order| (order.created_at, Wish::submitted(order))));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    cursor = None;
    for _ in 0..MOST_PAGES {
        let filter = ParentFilter { since: Some(since), cursor, limit: PAGE, ..ParentFilter::default() };
        let page = store.parents(&filter).await?;
        let ours = page.items.iter().filter(|parent| parent.account == *account);
        taken.extend(ours.map(|parent| (parent.created_at, Wish::whole(parent, parent.qty.get()))));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    taken.sort_by_key(|(at, _)| *at);
    Ok(taken)
}

fn is_single(order: &Order) -> bool {
    order.slice.is_none() && order.replaces.is_none()
}

impl Replacement {
    /// What would be in the place of a live order.
    pub(crate) fn wish(&self, live: &Order) -> Wish {
        let qty = self.qty.get() - live.filled_qty;
        Wish { qty, largest: qty, terms: self.terms, ..Wish::of(live, &live.strategy_id) }
    }
}

impl Wish {
    /// A single order as it was submitted.
    pub(crate) fn submitted(order: &Order) -> Self {
        let qty = order.qty.get();
        Self { qty, largest: qty, ..Self::of(order, &order.strategy_id) }
    }

    /// A parent as a whole, whose largest slice is of this quantity.
    pub(crate) fn whole(parent: &Parent, largest: rust_decimal::Decimal) -> Self {
        Self {
            id: parent.id.clone(),
            chain: parent.id.clone(),
            strategy: parent.strategy_id.clone(),
            symbol: parent.instruction.symbol.clone(),
            side: parent.instruction.side,
            qty: parent.qty.get(),
            largest,
            terms: parent.instruction.terms,
        }
    }
}
