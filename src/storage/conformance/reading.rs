//! Reads: what recovery needs, and what clients page through.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::names::{AccountName, OrderId, StrategyId, Symbol};
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::{OrderStatus, OwnEnd};
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::ports::store::{Batch, OrderFilter, ParentFilter, Writer};

use super::fixtures::{
    accepted, at_venue, caller, claim, claim_single, id, order, parent, report, single, start, submit, submit_parent,
    unknown,
};
use super::{Desk, Place, account, take};

pub(crate) async fn slices_come_due_in_order_and_by_pages(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, mut slices) = parent("p", 7);
    // Two at one instant, and one without microseconds.
    slices[3].scheduled_time = slices[2].scheduled_time;
    slices[5].scheduled_time = start() + TimeDelta::seconds(301) - TimeDelta::microseconds(1);
    desk.commit(vec![submit_parent((whole, slices)), submit_parent(parent("q", 2))]).await.unwrap();
    desk.write(claim("p-1")).await.unwrap();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = desk.store.due_slices(&id("p"), after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some((last.due, last.slice_num));
        seen.extend(page.into_iter().map(|slice| slice.slice_num));
    }
    assert_eq!(seen, [0, 2, 3, 4, 5, 6]);
}

pub(crate) async fn pages_skip_and_repeat_none_of_the_slices_that_are_due_at_once(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, mut slices) = parent("p", 7);
    for slice in &mut slices[1..6] {
        slice.scheduled_time = start();
    }
    desk.write(submit_parent((whole, slices))).await.unwrap();
    for limit in 1..=7 {
        let (mut after, mut seen) = (None, Vec::new());
        while let page = desk.store.due_slices(&id("p"), after, limit).await.unwrap()
            && let Some(last) = page.last()
        {
            after = Some((last.due, last.slice_num));
            seen.extend(page.into_iter().map(|slice| slice.slice_num));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6], "by pages of {limit}");
    }
    let page = desk.store.due_slices(&id("p"), Some((start(), 2)), 2).await.unwrap();
    desk.commit(page.iter().map(|slice| claim(slice.id.as_str())).collect()).await.unwrap();
    let next = desk.store.due_slices(&id("p"), Some((start(), 2)), 9).await.unwrap();
    assert_eq!(next.iter().map(|slice| slice.slice_num).collect::<Vec<_>>(), [5, 6], "what is claimed waits no more");
}

pub(crate) async fn slices_come_by_number_whatever_their_times(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, mut slices) = parent("p", 12);
    for (slice, minute) in slices.iter_mut().zip((0..12).rev()) {
        slice.scheduled_time = start() + TimeDelta::minutes(minute);
    }
    desk.write(submit_parent((whole, slices.clone()))).await.unwrap();
    assert_eq!(desk.store.slices(&id("p")).await.unwrap(), slices);
    let due = desk.store.due_slices(&id("p"), None, 12).await.unwrap();
    assert_eq!(due.iter().map(|slice| slice.slice_num).collect::<Vec<_>>(), (0..12).rev().collect::<Vec<_>>());
    assert!(desk.store.slices(&id("p-0")).await.unwrap().is_empty());
}

pub(crate) async fn a_slice_that_never_left_waits_as_before(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    desk.commit(vec![claim("p-0"), claim("p-1")]).await.unwrap();
    let back = Write::NeverLeft { id: id("p-0"), attempt: 1, reason: "gate", detail: String::new(), tries: None };
    desk.write(back).await.unwrap();
    let due = desk.store.due_slices(&id("p"), None, 9).await.unwrap();
    assert_eq!(names(due.iter().map(|slice| &slice.id)), ["p-0"]);
    let open = desk.store.open_orders(&account()).await.unwrap();
    assert_eq!(names(open.iter().map(|order| &order.id)), ["p-1"]);
    assert_eq!(names(desk.store.unknown_orders().await.unwrap().iter()), ["p-1"]);
}

pub(crate) async fn an_account_sees_what_is_its_own(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let other = AccountName::parse("other").unwrap();
    let owner = take(&*desk.store, &other, "test").await;
    desk.commit(vec![submit_parent(parent("p", 1)), claim("p-0")]).await.unwrap();
    let (mut whole, mut slices) = parent("q", 1);
    whole.account = other.clone();
    slices[0].account = other.clone();
    let sent = report(at_venue(&slices[0], VenueStatus::PartiallyFilled, 4, Some("1")));
    let writes = vec![submit_parent((whole, slices)), claim("q-0"), sent, Write::MarkCancels { ids: vec![id("q-0")] }];
    let batch = Batch { writer: Writer::Owner(owner), ..desk.batch(writes) };
    assert!(desk.store.commit(&batch).await.unwrap().iter().all(Result::is_ok));
    for (account, parent, slice, is_theirs) in [(account(), "p", "p-0", false), (other, "q", "q-0", true)] {
        let parents = desk.store.open_parents(&account).await.unwrap();
        assert_eq!(names(parents.iter().map(|parent| &parent.id)), [parent]);
        let open = desk.store.open_orders(&account).await.unwrap();
        assert_eq!(names(open.iter().map(|order| &order.id)), [slice]);
        assert_eq!(desk.store.marked_orders(&account).await.unwrap().len(), usize::from(is_theirs));
        assert_eq!(desk.store.positions(&account).await.unwrap().len(), usize::from(is_theirs));
    }
    assert_eq!(names(desk.store.unknown_orders().await.unwrap().iter()), ["p-0"]);
}

pub(crate) async fn what_is_open_marked_or_unknown_is_found(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit_parent(parent("p", 6)), submit(single("s", 1)), submit(single("t", 1))]).await.unwrap();
    desk.commit((0..4).map(|n| claim(&format!("p-{n}"))).collect()).await.unwrap();
    let (first, second) = (order(&*desk.store, "p-0").await, order(&*desk.store, "p-1").await);
    let end = Write::End { id: id("t"), end: OwnEnd::Expired, reason: "too_late", detail: String::new() };
    let filled = report(at_venue(&first, VenueStatus::Filled, 10, Some("1")));
    desk.commit(vec![filled, accepted(&second), unknown("p-2", 1), end]).await.unwrap();
    desk.write(Write::MarkCancels { ids: vec![id("p-1")] }).await.unwrap();

    let open = desk.store.open_orders(&account()).await.unwrap();
    assert_eq!(names(open.iter().map(|order| &order.id)), ["p-1", "p-2", "p-3", "s"]);
    let marked = desk.store.marked_orders(&account()).await.unwrap();
    assert_eq!(names(marked.iter().map(|order| &order.id)), ["p-1"]);
    assert_eq!(names(desk.store.unknown_orders().await.unwrap().iter()), ["p-2", "p-3"]);
    let parents = desk.store.open_parents(&account()).await.unwrap();
    assert_eq!(names(parents.iter().map(|parent| &parent.id)), ["p"]);
    let other = AccountName::parse("other").unwrap();
    assert!(desk.store.open_orders(&other).await.unwrap().is_empty());
    assert!(desk.store.marked_orders(&other).await.unwrap().is_empty());
    assert!(desk.store.open_parents(&other).await.unwrap().is_empty());
}

pub(crate) async fn lists_are_filtered_and_come_in_pages_newest_first(place: &dyn Place) {
    let desk = Desk::at(place).await;
    for n in 0..7_i64 {
        let mut order = single(&format!("s{n}"), 1);
        order.created_at = start() + TimeDelta::hours(n);
        if n == 5 {
            order.instruction.symbol = Symbol::parse("MSFT").unwrap();
            order.strategy_id = StrategyId::parse("beta").unwrap();
        }
        desk.write(submit(order)).await.unwrap();
    }
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    desk.commit(vec![claim_single("s1"), claim_single("s6")]).await.unwrap();

    let (mut cursor, mut pages) = (None, Vec::new());
    loop {
        let filter = OrderFilter { cursor, limit: 4, ..OrderFilter::default() };
        let page = desk.store.orders(&filter).await.unwrap();
        pages.push(page.items.iter().map(|order| order.id.to_string()).collect::<Vec<_>>());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        // What comes in meanwhile is newer than the place of the cursor.
        desk.write(submit(single(&format!("late{}", pages.len()), 1))).await.unwrap();
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 1]);
    assert_eq!(pages.iter().flatten().collect::<BTreeSet<_>>().len(), 9);
    assert_eq!(pages[1], ["s4", "s3", "s2", "s1"]);

    let all = OrderFilter { limit: 500, ..OrderFilter::default() };
    let status = OrderFilter { status: Some(OrderStatus::Submitting), ..all.clone() };
    assert_eq!(listed(&desk, &status).await, ["s6", "s1"]);
    let ended = OrderFilter { status: Some(OrderStatus::Filled), ..all.clone() };
    assert!(listed(&desk, &ended).await.is_empty());
    let symbol = OrderFilter { symbol: Some(Symbol::parse("MSFT").unwrap()), ..all.clone() };
    assert_eq!(listed(&desk, &symbol).await, ["s5"]);
    let strategy = OrderFilter { strategy_id: Some(StrategyId::parse("beta").unwrap()), ..all.clone() };
    assert_eq!(listed(&desk, &strategy).await, ["s5"]);
    let slices = OrderFilter { parent: Some(id("p")), ..all.clone() };
    assert_eq!(listed(&desk, &slices).await, ["p-1", "p-0"]);
    let since = OrderFilter { since: Some(start() + TimeDelta::hours(5)), ..all.clone() };
    assert_eq!(listed(&desk, &since).await, ["s6", "s5"]);
    let one = OrderFilter { limit: 0, ..all };
    assert_eq!(desk.store.orders(&one).await.unwrap().items.len(), 1);
}

pub(crate) async fn filtered_lists_come_in_pages_too(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit_parent(parent("p", 5)), submit_parent(parent("q", 3))]).await.unwrap();
    desk.commit(["p-0", "p-2", "q-1", "q-2"].map(claim).to_vec()).await.unwrap();
    let end = |name| Write::End { id: id(name), end: OwnEnd::Expired, reason: "too_late", detail: String::new() };
    desk.commit(["p-1", "q-0"].map(end).to_vec()).await.unwrap();
    let two = OrderFilter { limit: 2, ..OrderFilter::default() };
    let of_p = OrderFilter { parent: Some(id("p")), ..two.clone() };
    let claimed = OrderFilter { status: Some(OrderStatus::Submitting), ..two.clone() };
    let expired = OrderFilter { status: Some(OrderStatus::Expired), ..two };
    let claimed_of_p = OrderFilter { parent: Some(id("p")), ..claimed.clone() };
    for (filter, expected, pages) in [
        (of_p, vec!["p-0", "p-1", "p-2", "p-3", "p-4"], 3),
        (claimed, vec!["p-0", "p-2", "q-1", "q-2"], 2),
        (expired, vec!["p-1", "q-0"], 1),
        (claimed_of_p, vec!["p-0", "p-2"], 1),
    ] {
        let (mut filter, mut seen, mut turned) = (filter, Vec::new(), 0);
        loop {
            let page = desk.store.orders(&filter).await.unwrap();
            seen.extend(page.items.into_iter().map(|order| order.id));
            turned += 1;
            filter.cursor = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!((names(seen.iter()), turned), (expected, pages), "{filter:?}");
    }
}

pub(crate) async fn parents_are_listed_like_orders(place: &dyn Place) {
    let desk = Desk::at(place).await;
    for n in 0..5 {
        desk.write(submit_parent(parent(&format!("p{n}"), 1))).await.unwrap();
    }
    let two = ParentFilter { limit: 2, ..ParentFilter::default() };
    let first = desk.store.parents(&two).await.unwrap();
    assert_eq!(names(first.items.iter().map(|parent| &parent.id)), ["p3", "p4"]);
    assert_eq!(first.items[0].id, id("p4"));
    let second = desk.store.parents(&ParentFilter { cursor: first.next, ..two.clone() }).await.unwrap();
    assert_eq!(names(second.items.iter().map(|parent| &parent.id)), ["p1", "p2"]);
    let last = desk.store.parents(&ParentFilter { cursor: second.next, ..two.clone() }).await.unwrap();
    assert_eq!((last.items.len(), last.next), (1, None));
}

pub(crate) async fn parents_are_filtered(place: &dyn Place) {
    let desk = Desk::at(place).await;
    for n in 0..3 {
        let mut whole = parent(&format!("p{n}"), 1);
        whole.0.created_at = start() + TimeDelta::hours(n);
        if n == 1 {
            whole.0.strategy_id = StrategyId::parse("beta").unwrap();
            whole.0.instruction.symbol = Symbol::parse("MSFT").unwrap();
        }
        desk.write(submit_parent(whole)).await.unwrap();
    }
    let cancel = Write::CancelParent { id: id("p2"), by: caller("admin") };
    desk.write(cancel).await.unwrap();
    let all = ParentFilter { limit: 500, ..ParentFilter::default() };
    let canceled = ParentFilter { status: Some(ParentStatus::Canceled), ..all.clone() };
    let working = ParentFilter { status: Some(ParentStatus::Working), ..all.clone() };
    let since = ParentFilter { since: Some(start() + TimeDelta::hours(1)), ..all.clone() };
    let symbol = ParentFilter { symbol: Some(Symbol::parse("MSFT").unwrap()), ..all.clone() };
    let strategy = ParentFilter { strategy_id: Some(StrategyId::parse("beta").unwrap()), ..all };
    for (filter, expected) in [
        (canceled, vec!["p2"]),
        (working, vec!["p0", "p1"]),
        (since, vec!["p1", "p2"]),
        (symbol, vec!["p1"]),
        (strategy, vec!["p1"]),
    ] {
        let page = desk.store.parents(&filter).await.unwrap();
        assert_eq!(names(page.items.iter().map(|parent| &parent.id)), expected);
    }
}

async fn listed(desk: &Desk, filter: &OrderFilter) -> Vec<String> {
    let page = desk.store.orders(filter).await.unwrap();
    page.items.iter().map(|order| order.id.to_string()).collect()
}

fn names<'a>(ids: impl Iterator<Item = &'a OrderId>) -> Vec<&'a str> {
    let mut names = ids.map(OrderId::as_str).collect::<Vec<_>>();
    names.sort_unstable();
    names
}
