//! The lists that clients page through: filtered, newest first.

use chrono::{DateTime, Utc};
use tranche_actors::domain::audit::Audited;
use tranche_actors::domain::names::{StrategyId, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::ports::store::{OrderFilter, Page, ParentFilter};

use super::indices::Place;
use super::ledger::Ledger;

/// The largest page.
const MAX_PAGE: u32 = 500;

impl Ledger {
    pub(super) fn page_of_orders(&self, filter: &OrderFilter) -> Page<Order> {
        let end = end(self.orders.len(), filter.cursor);
        let places: Box<dyn Iterator<Item = Place>> = match (&filter.parent, filter.status) {
            (Some(parent), _) => Box::new(self.indices.children(parent, end)),
            (None, Some(status)) if !status.is_terminal() => Box::new(self.indices.live(status, end)),
            (None, _) => Box::new((0..end).rev()),
        };
        let fits = |order: &Order| {
            let instruction = &order.instruction;
            filter.status.is_none_or(|status| status == order.status)
                && is_of(filter.symbol.as_ref(), &instruction.symbol, filter.strategy_id.as_ref(), &order.strategy_id)
                && is_since(filter.since, order.created_at)
        };
        page(&self.orders, places, fits, filter.limit)
    }

    pub(super) fn page_of_parents(&self, filter: &ParentFilter) -> Page<Parent> {
        let end = end(self.parents.len(), filter.cursor);
        let places: Box<dyn Iterator<Item = Place>> = match filter.status {
            Some(status) if !status.is_terminal() => Box::new(self.indices.live_parents(status, end)),
            _ => Box::new((0..end).rev()),
        };
        let fits = |parent: &Parent| {
            let instruction = &parent.instruction;
            filter.status.is_none_or(|status| status == parent.status)
                && is_of(filter.symbol.as_ref(), &instruction.symbol, filter.strategy_id.as_ref(), &parent.strategy_id)
                && is_since(filter.since, parent.created_at)
        };
        page(&self.parents, places, fits, filter.limit)
    }
}

impl Ledger {
    /// Entries are numbered from 1, and a cursor is the number of a page's last one.
    pub(super) fn page_of_audit(&self, cursor: Option<u64>, limit: u32) -> Page<Audited> {
        let end = end(self.audit.len(), cursor.map(|cursor| cursor.saturating_sub(1)));
        let found = page(&self.audit, (0..end).rev(), |_| true, limit);
        Page { next: found.next.map(|place| place.saturating_add(1)), ..found }
    }
}

/// The place before which a page begins: that of a cursor, or the end of the table.
fn end(rows: usize, cursor: Option<u64>) -> Place {
    cursor.and_then(|cursor| Place::try_from(cursor).ok()).map_or(rows, |cursor| cursor.min(rows))
}

fn is_of(symbol: Option<&Symbol>, its: &Symbol, strategy: Option<&StrategyId>, its_own: &StrategyId) -> bool {
    symbol.is_none_or(|symbol| symbol == its) && strategy.is_none_or(|strategy| strategy == its_own)
}

fn is_since(since: Option<DateTime<Utc>>, created: DateTime<Utc>) -> bool {
    since.is_none_or(|since| created >= since)
}

/// A page, whose cursor is the place of its last row; there is one only where another row would follow.
fn page<T: Clone>(rows: &[T], places: impl Iterator<Item = Place>, fits: impl Fn(&T) -> bool, limit: u32) -> Page<T> {
    let limit = usize::try_from(limit.clamp(1, MAX_PAGE)).unwrap_or(usize::MAX);
    let mut found = places.filter_map(|place| Some((place, rows.get(place)?))).filter(|(_, row)| fits(row));
    let shown = found.by_ref().take(limit).collect::<Vec<_>>();
    let last = shown.last().filter(|_| found.next().is_some());
    let next = last.and_then(|(place, _)| u64::try_from(*place).ok());
    Page { items: shown.into_iter().map(|(_, row)| row.clone()).collect(), next }
}
