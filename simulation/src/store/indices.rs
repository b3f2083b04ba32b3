//! Where the rows of each list stand, so that no question looks through a whole table.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use chrono::{DateTime, Utc};
use tranche_actors::domain::names::{AccountName, OrderId};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::{Parent, ParentStatus};
use tranche_actors::domain::status::OrderStatus;

/// Where a row stands in its table: rows stand in the order of their arrival, and none ever goes.
pub(super) type Place = usize;

type Places = BTreeSet<Place>;

/// Every index; [`Indices::follow`] and [`Indices::follow_parent`] keep them, and nothing else does.
#[derive(Clone, Debug, Default)]
pub(super) struct Indices {
    accounts: BTreeMap<AccountName, OfAccount>,
    children: BTreeMap<OrderId, Children>,
    /// Orders that have not ended, by status. What has ended is most of the table, and no list of it is short.
    live: BTreeMap<OrderStatus, Places>,
    live_parents: BTreeMap<ParentStatus, Places>,
    /// By the first order of a chain, those that were to take its place.
    replacements: BTreeMap<OrderId, Places>,
    /// Asked by id alone, and never gone through.
    events: HashMap<OrderId, Vec<Place>>,
}

#[derive(Clone, Debug, Default)]
struct OfAccount {
    /// Orders that were claimed, and single orders, that have not ended.
    open: Places,
    marked: Places,
    open_parents: Places,
}

#[derive(Clone, Debug, Default)]
struct Children {
    by_place: Places,
    by_number: BTreeSet<(u32, Place)>,
    open: Places,
    due: BTreeSet<(DateTime<Utc>, u32, Place)>,
}

impl Indices {
    /// An order is new, or has changed from what it was before. Its account, its parent, its number and its time are
    /// for life.
    pub(super) fn follow(&mut self, place: Place, before: Option<&Order>, after: &Order) {
        if let Some(before) = before {
            if standing(before) == standing(after) {
                return;
            }
            set(self.live.entry(before.status).or_default(), place, false);
        }
        if let (None, Some(replaces)) = (before, &after.replaces) {
            self.replacements.entry(replaces.first.clone()).or_default().insert(place);
        }
        let is_open = !after.status.is_terminal();
        if is_open {
            set(self.live.entry(after.status).or_default(), place, true);
        }
        let waits = after.status == OrderStatus::PendingNew;
        let of_account = self.accounts.entry(after.account.clone()).or_default();
        // A claim that was undone counts for nothing: the slice waits for its time as it did before.
        set(&mut of_account.open, place, is_open && (after.slice.is_none() || !waits));
        set(&mut of_account.marked, place, is_open && after.cancel_requested_at.is_some());
        if let Some(of) = &after.slice {
            let children = self.children.entry(of.parent.clone()).or_default();
            if before.is_none() {
                children.by_place.insert(place);
                children.by_number.insert((of.slice_num, place));
            }
            set(&mut children.open, place, is_open);
            set(&mut children.due, (after.scheduled_time, of.slice_num, place), waits);
        }
    }

    /// A parent is new, or has changed.
    pub(super) fn follow_parent(&mut self, place: Place, before: Option<&Parent>, after: &Parent) {
        if let Some(before) = before {
            if before.status == after.status {
                return;
            }
            set(self.live_parents.entry(before.status).or_default(), place, false);
        }
        let is_open = !after.status.is_terminal();
        if is_open {
            set(self.live_parents.entry(after.status).or_default(), place, true);
        }
        set(&mut self.accounts.entry(after.account.clone()).or_default().open_parents, place, is_open);
    }

    /// An event of an order or a parent stands there.
    pub(super) fn follow_event(&mut self, id: &OrderId, place: Place) {
        self.events.entry(id.clone()).or_default().push(place);
    }

    /// An account's orders that were claimed, and its single orders, that have not ended.
    pub(super) fn open(&self, account: &AccountName) -> impl Iterator<Item = Place> {
        self.accounts.get(account).into_iter().flat_map(|of| of.open.iter().copied())
    }

    /// An account's orders that have the mark of a cancel and have not ended.
    pub(super) fn marked(&self, account: &AccountName) -> impl Iterator<Item = Place> {
        self.accounts.get(account).into_iter().flat_map(|of| of.marked.iter().copied())
    }

    /// An account's parents that have not ended.
    pub(super) fn open_parents(&self, account: &AccountName) -> impl Iterator<Item = Place> {
        self.accounts.get(account).into_iter().flat_map(|of| of.open_parents.iter().copied())
    }

    /// Orders in a status that is not final, before a place, the newest first.
    pub(super) fn live(&self, status: OrderStatus, end: Place) -> impl Iterator<Item = Place> {
        newest_first(self.live.get(&status), end)
    }

    /// Parents in a status that is not final, before a place, the newest first.
    pub(super) fn live_parents(&self, status: ParentStatus, end: Place) -> impl Iterator<Item = Place> {
        newest_first(self.live_parents.get(&status), end)
    }

    /// A parent's slices before a place, the newest first.
    pub(super) fn children(&self, parent: &OrderId, end: Place) -> impl Iterator<Item = Place> {
        newest_first(self.children.get(parent).map(|children| &children.by_place), end)
    }

    /// Where the orders stand that were to take the place of one, or of one another.
    pub(super) fn replacements(&self, first: &OrderId) -> impl Iterator<Item = Place> {
        self.replacements.get(first).into_iter().flat_map(|places| places.iter().copied())
    }

    /// A parent's slices by number.
    pub(super) fn slices(&self, parent: &OrderId) -> impl Iterator<Item = Place> {
        self.children.get(parent).into_iter().flat_map(|children| children.by_number.iter().map(|(_, place)| *place))
    }

    /// A parent's slices that have not ended.
    pub(super) fn open_children(&self, parent: &OrderId) -> impl Iterator<Item = Place> {
        self.children.get(parent).into_iter().flat_map(|children| children.open.iter().copied())
    }

    /// A parent's slices that wait, by time and number, behind the one that is named.
    pub(super) fn due(&self, parent: &OrderId, after: Option<(DateTime<Utc>, u32)>) -> impl Iterator<Item = Place> {
        let from = after.map_or(Bound::Unbounded, |(at, number)| Bound::Excluded((at, number, Place::MAX)));
        let due = self.children.get(parent).into_iter();
        due.flat_map(move |children| children.due.range((from, Bound::Unbounded)).map(|(_, _, place)| *place))
    }

    /// Where the events of an order or a parent stand, the oldest first.
    pub(super) fn events(&self, id: &OrderId) -> &[Place] {
        self.events.get(id).map_or(&[], Vec::as_slice)
    }
}

/// All of an order that an index looks at and that can change.
const fn standing(order: &Order) -> (OrderStatus, bool) {
    (order.status, order.cancel_requested_at.is_some())
}

fn set<T: Ord>(members: &mut BTreeSet<T>, one: T, present: bool) {
    if present {
        members.insert(one);
    } else {
        members.remove(&one);
    }
}

fn newest_first(places: Option<&Places>, end: Place) -> impl Iterator<Item = Place> {
    places.into_iter().flat_map(move |places| places.range(..end).rev().copied())
}
