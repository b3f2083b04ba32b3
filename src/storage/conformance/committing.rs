//! Batches: whole or not at all, by the owner alone, numbered, settled.

use tranche_actors::domain::ledger::{Outcome, Refusal, Report, Write};
use tranche_actors::domain::names::{AccountName, IdempotencyKey};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::ports::store::{Batch, Ownership, StoreError, Writer};

use super::fixtures::{
    accepted, at_venue, caller, claim, claim_single, id, kinds, order, origin, parent, parent_now, report, single,
    submit, submit_parent,
};
use super::switching::quarantine;
use super::{Desk, Place, account, take};

pub(crate) async fn a_refused_write_disturbs_no_other(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let writes = vec![
        submit(single("a", 1)),
        claim_single("nowhere"),
        submit_parent(parent("p", 2)),
        Write::Probe,
        claim("p-0"),
    ];
    let results = desk.commit(writes).await.unwrap();
    let outcomes = results.iter().map(|result| result.as_ref().map(|applied| applied.outcome)).collect::<Vec<_>>();
    assert_eq!(
        outcomes,
        [Ok(Outcome::Done), Err(&Refusal::NotFound), Ok(Outcome::Done), Ok(Outcome::Unchanged), Ok(Outcome::Done)]
    );
    assert_eq!(order(&*desk.store, "a").await.status, OrderStatus::PendingNew);
    assert_eq!(order(&*desk.store, "p-0").await.status, OrderStatus::Submitting);
}

pub(crate) async fn a_batch_sees_what_it_wrote_before(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let fresh = single("s", 10);
    let filled = report(at_venue(&fresh, VenueStatus::Filled, 10, Some("3.5")));
    let writes = vec![submit(fresh), claim_single("s"), filled];
    for result in desk.commit(writes).await.unwrap() {
        result.unwrap();
    }
    let kept = order(&*desk.store, "s").await;
    assert_eq!((kept.status, kept.attempt), (OrderStatus::Filled, 1));
    assert_eq!(kinds(&*desk.store, "s").await, ["submitted", "claimed", "filled"]);
    assert_eq!(desk.store.positions(&account()).await.unwrap().len(), 1);
}

pub(crate) async fn a_deposed_owner_writes_nothing(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let second = take(&*desk.store, &account(), "another").await;
    assert_eq!(second.term, desk.owner.term + 1);
    let error = desk.commit(vec![submit(single("s", 1))]).await.unwrap_err();
    assert!(matches!(error, StoreError::Deposed), "{error}");
    assert_eq!(desk.store.order(&id("s")).await.unwrap(), None);
    let unheard = Ownership { account: AccountName::parse("unheard_of").unwrap(), ..second.clone() };
    for ownership in [second, unheard] {
        let known = ownership.account == account();
        let batch = Batch { writer: Writer::Owner(ownership), ..desk.batch(vec![submit(single("s", 1))]) };
        assert_eq!(desk.store.commit(&batch).await.is_ok(), known);
    }
}

pub(crate) async fn what_is_of_another_account_is_not_there(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let others = AccountName::parse("other").unwrap();
    let owner = take(&*desk.store, &others, "test").await;
    let (mut whole, mut slices) = parent("p", 2);
    whole.account.clone_from(&others);
    slices.iter_mut().for_each(|slice| slice.account.clone_from(&others));
    let theirs = || Order { account: others.clone(), ..keyed("s", "k", "r") };
    let taken = vec![submit_parent((whole.clone(), slices.clone())), claim("p-0"), submit(theirs())];
    let batch = Batch { writer: Writer::Owner(owner), ..desk.batch(taken) };
    assert!(desk.store.commit(&batch).await.unwrap().iter().all(Result::is_ok));
    let before = (parent_now(&*desk.store, "p").await, order(&*desk.store, "p-0").await);

    let by = || caller("admin");
    let of_others = || {
        vec![
            claim("p-1"),
            claim_single("s"),
            accepted(&slices[0]),
            Write::CancelOrder { id: id("s"), by: by() },
            Write::CancelParent { id: id("p"), by: by() },
            Write::ScheduleEnded { id: id("p") },
        ]
    };
    let guest = Batch { writer: Writer::Guest(account()), ..desk.batch(of_others()) };
    for batch in [desk.batch(of_others()), guest, desk.global(of_others())] {
        for result in desk.store.commit(&batch).await.unwrap() {
            assert_eq!(result.unwrap_err(), Refusal::NotFound);
        }
    }
    desk.write(Write::MarkCancels { ids: vec![id("p-0"), id("s")] }).await.unwrap();
    let new = Order { account: others.clone(), ..single("new", 1) };
    assert!(matches!(desk.write(submit(new)).await, Err(Refusal::Constraint(_))), "it is not written here");
    assert_eq!((parent_now(&*desk.store, "p").await, order(&*desk.store, "p-0").await), before);
    assert_eq!(kinds(&*desk.store, "s").await, ["submitted"]);

    let repeated = desk.write(submit(theirs())).await.unwrap();
    assert_eq!((repeated.outcome, &repeated.orders[0].account), (Outcome::Replayed, &others));
    assert_eq!(
        desk.write(submit(single("p-0", 1))).await,
        Err(Refusal::IdReused),
        "an id names one thing in all accounts"
    );
    assert_eq!(desk.write(submit(keyed("t", "k", "another"))).await, Err(Refusal::KeyReused));
}

pub(crate) async fn a_deposed_owner_disturbs_nothing(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    let before = (parent_now(&*desk.store, "p").await, order(&*desk.store, "p-0").await);
    let owner = take(&*desk.store, &account(), "another").await;
    let theirs = Batch { writer: Writer::Owner(owner.clone()), ..desk.batch(vec![Write::Probe]) };
    desk.store.commit(&theirs).await.unwrap();
    let late = desk.batch(vec![claim("p-0"), quarantine("AAPL", "b-1"), submit(keyed("s", "k", "r"))]);
    assert!(matches!(desk.store.commit(&late).await, Err(StoreError::Deposed)));
    assert!(desk.store.settle(&theirs).await.unwrap(), "the owner's last batch is still the last");

    assert_eq!((parent_now(&*desk.store, "p").await, order(&*desk.store, "p-0").await), before);
    assert_eq!(desk.store.by_key(&caller("admin"), &key("k")).await.unwrap(), None);
    assert!(desk.store.causes(&account()).await.unwrap().is_empty());
    assert!(desk.store.open_orders(&account()).await.unwrap().is_empty());
    let next = Batch { writer: Writer::Owner(owner), ..desk.batch(vec![claim("p-0")]) };
    desk.store.commit(&next).await.unwrap();
    assert_eq!(desk.store.events(&id("p-0")).await.unwrap()[0].number, 2, "and no number was taken");
}

pub(crate) async fn a_batch_that_is_refused_whole_leaves_nothing_behind(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit_parent(parent("p", 2)), submit(single("old", 10))]).await.unwrap();
    desk.write(claim_single("old")).await.unwrap();
    let last = desk.batch(vec![Write::Probe]);
    desk.store.commit(&last).await.unwrap();
    let before = (parent_now(&*desk.store, "p").await, order(&*desk.store, "old").await);
    // A plan whose slice has the parent's own id is one order too many for that id.
    let (whole, mut slices) = parent("q", 2);
    slices[1].id = whole.id.clone();
    let refused = desk.batch(vec![
        submit(keyed("new", "k", "r")),
        claim("p-0"),
        report(filled(&single("old", 10))),
        quarantine("MSFT", "b-1"),
        submit_parent((whole, slices)),
    ]);
    let error = desk.store.commit(&refused).await.unwrap_err();
    assert!(matches!(error, StoreError::Constraint { .. }), "{error}");
    assert!(desk.store.settle(&last).await.unwrap(), "the batch before is still the last");
    assert!(!desk.store.settle(&refused).await.unwrap());

    let desk = desk.again(place).await;
    assert_eq!((parent_now(&*desk.store, "p").await, order(&*desk.store, "old").await), before);
    for name in ["new", "q", "q-0"] {
        assert_eq!(desk.store.order(&id(name)).await.unwrap(), None, "{name}");
    }
    assert_eq!(desk.store.by_key(&caller("admin"), &key("k")).await.unwrap(), None);
    assert!(desk.store.positions(&account()).await.unwrap().is_empty());
    assert!(desk.store.causes(&account()).await.unwrap().is_empty());
    assert_eq!(names(&desk.store.open_orders(&account()).await.unwrap()), ["old"]);
    assert_eq!(kinds(&*desk.store, "p").await, ["submitted"]);
    // One by one the others pass, and the first takes the number behind the last that was taken.
    desk.write(submit(keyed("new", "k", "r"))).await.unwrap();
    desk.write(report(filled(&single("old", 10)))).await.unwrap();
    assert_eq!(desk.store.events(&id("new")).await.unwrap()[0].number, 4);
}

pub(crate) async fn a_slice_has_a_parent_and_a_single_order_a_caller(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, mut slices) = parent("p", 2);
    slices[1].origin = Some(origin(None, "r"));
    let slice = Order { origin: Some(origin(None, "r")), ..parent("q", 1).1.remove(0) };
    for write in [submit_parent((whole, slices)), submit(slice)] {
        let error = desk.commit(vec![write]).await.unwrap_err();
        assert!(matches!(error, StoreError::Constraint { .. }), "{error}");
    }
    assert_eq!(desk.store.order(&id("p")).await.unwrap(), None);
    assert_eq!(desk.store.order(&id("q-0")).await.unwrap(), None);
}

pub(crate) async fn events_are_numbered_without_gaps_in_the_order_of_their_commits(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit_parent(parent("p", 2)), submit(single("s", 1))]).await.unwrap();
    desk.commit(vec![claim("p-0"), claim("p-0"), claim_single("nowhere")]).await.unwrap();
    desk.commit(vec![Write::Probe]).await.unwrap();
    let other = AccountName::parse("other").unwrap();
    let elsewhere = take(&*desk.store, &other, "test").await;
    let mut foreign = single("f", 1);
    foreign.account = other;
    let batch = Batch { writer: Writer::Owner(elsewhere), ..desk.batch(vec![submit(foreign)]) };
    desk.store.commit(&batch).await.unwrap();
    desk.commit(vec![claim_single("s"), accepted(&order(&*desk.store, "p-0").await), claim("p-1")]).await.unwrap();

    let mut numbered = Vec::new();
    for name in ["p", "s", "p-0", "p-1"] {
        let events = desk.store.events(&id(name)).await.unwrap();
        numbered.extend(events.into_iter().map(|event| (event.number, event.event)));
    }
    numbered.sort();
    let expected = ["submitted", "submitted", "claimed", "claimed", "reported", "claimed"];
    assert_eq!(numbered, (1..).zip(expected.map(str::to_owned)).collect::<Vec<_>>());
    assert_eq!(desk.store.events(&id("f")).await.unwrap()[0].number, 1);
}

pub(crate) async fn a_batch_is_settled_by_its_nonce(place: &dyn Place) {
    let desk = Desk::at(place).await;
    for writes in [vec![submit(single("s", 1))], vec![Write::Probe], vec![claim_single("nowhere")]] {
        let batch = desk.batch(writes);
        desk.store.commit(&batch).await.unwrap();
        assert!(desk.store.settle(&batch).await.unwrap());
    }
    let never = desk.batch(vec![submit(single("t", 1))]);
    assert!(!desk.store.settle(&never).await.unwrap());
    let global = desk.global(vec![Write::Probe]);
    assert!(!desk.store.settle(&global).await.unwrap());
    desk.store.commit(&global).await.unwrap();
    assert!(desk.store.settle(&global).await.unwrap());
    desk.store.commit(&never).await.unwrap();
    assert!(desk.store.settle(&never).await.unwrap());

    let lost = desk.batch(vec![Write::Probe]);
    take(&*desk.store, &account(), "another").await;
    let error = desk.store.settle(&lost).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{error}");
}

pub(crate) async fn only_the_last_batch_of_an_account_is_known_to_be_committed(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let other = AccountName::parse("other").unwrap();
    let elsewhere = take(&*desk.store, &other, "test").await;
    let (first, last) = (desk.batch(vec![submit(single("a", 1))]), desk.batch(vec![submit(single("b", 1))]));
    let foreign = Batch { writer: Writer::Owner(elsewhere), ..desk.batch(vec![Write::Probe]) };
    let (global, later) = (desk.global(vec![Write::Probe]), desk.global(vec![Write::Probe]));
    for batch in [&first, &last, &foreign, &global, &later] {
        desk.store.commit(batch).await.unwrap();
    }
    let desk = desk.again(place).await;
    for batch in [&last, &foreign, &later] {
        assert!(desk.store.settle(batch).await.unwrap(), "whoever owns the account by now");
    }
    let error = desk.store.settle(&first).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{error}");
    let (first, last) = (desk.batch(vec![Write::Probe]), desk.batch(vec![Write::Probe]));
    desk.store.commit(&first).await.unwrap();
    desk.store.commit(&last).await.unwrap();
    assert!(desk.store.settle(&last).await.unwrap());
    assert!(!desk.store.settle(&first).await.unwrap());
}

pub(crate) async fn a_store_that_is_not_open_says_so(place: &dyn Place) {
    let store = place.store().await;
    let error = store.order(&id("s")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    store.open().await.unwrap();
    store.open().await.unwrap();
    let owner = take(&*store, &account(), "test").await;
    store.close().await;
    store.close().await;
    let writes = vec![submit(single("s", 1))];
    let batch = Batch {
        writer: Writer::Owner(owner),
        nonce: 1,
        at: super::fixtures::start(),
        day_end: DayEnd::new_york(),
        writes,
    };
    let error = store.commit(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(matches!(store.settle(&batch).await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(store.acquire(&account(), "test", None).await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(store.open_orders(&account()).await, Err(StoreError::Unavailable { .. })));
    store.open().await.unwrap();
    assert_eq!(store.order(&id("s")).await.unwrap(), None);
    assert!(!store.settle(&batch).await.unwrap(), "and the term is still the same");
}

pub(crate) async fn opening_again_keeps_everything_and_raises_the_term(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit_parent(parent("p", 3)), submit(single("s", 10))]).await.unwrap();
    desk.commit(vec![claim("p-0"), claim_single("s")]).await.unwrap();
    let filled = report(at_venue(&single("s", 10), VenueStatus::Filled, 10, Some("3.5")));
    desk.write(filled).await.unwrap();
    let before = (
        parent_now(&*desk.store, "p").await,
        desk.store.slices(&id("p")).await.unwrap(),
        order(&*desk.store, "s").await,
        desk.store.events(&id("s")).await.unwrap(),
        desk.store.positions(&account()).await.unwrap(),
        desk.store.switches().await.unwrap(),
    );
    let term = desk.owner.term;
    let desk = desk.again(place).await;
    assert_eq!(desk.owner.term, term + 1);
    let after = (
        parent_now(&*desk.store, "p").await,
        desk.store.slices(&id("p")).await.unwrap(),
        order(&*desk.store, "s").await,
        desk.store.events(&id("s")).await.unwrap(),
        desk.store.positions(&account()).await.unwrap(),
        desk.store.switches().await.unwrap(),
    );
    assert_eq!(before, after);
    desk.write(claim("p-1")).await.unwrap();
    let events = desk.store.events(&id("p-1")).await.unwrap();
    assert_eq!(events[0].number, before.3.last().unwrap().number + 1);
}

fn keyed(name: &str, key: &str, request: &str) -> Order {
    Order { origin: Some(origin(Some(key), request)), ..single(name, 1) }
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

fn filled(order: &Order) -> Report {
    at_venue(order, VenueStatus::Filled, 10, Some("3.5"))
}

fn names(orders: &[Order]) -> Vec<&str> {
    orders.iter().map(|order| order.id.as_str()).collect()
}
