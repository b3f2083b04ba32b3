//! Leases: one owner at a time, by the store's clock; and what somebody else may write all the same.

use std::time::Duration;

use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::names::AccountName;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{
    Acquired, Batch, InstanceCard, Ownership, SeenAccount, SeenInstance, Store, StoreError, Writer,
};

use super::fixtures::{caller, claim_single, id, kinds, order, single, start, submit};
use super::{Desk, Place, account, take};

/// Long enough that no test outlives it.
const LONG: Option<Duration> = Some(Duration::from_secs(600));
const SHORT: Duration = Duration::from_millis(400);

fn other() -> AccountName {
    AccountName::parse("other").unwrap()
}

fn taken(acquired: Acquired) -> Ownership {
    match acquired {
        Acquired::Taken(ownership) => ownership,
        Acquired::HeldBy { owner, left } => panic!("{owner} has it for {left:?}"),
    }
}

fn owned_by(owner: &str, term: u64) -> Ownership {
    Ownership { account: other(), owner: owner.to_owned(), term }
}

async fn opened(place: &dyn Place) -> Box<dyn Store> {
    let store = place.store().await;
    store.open().await.unwrap();
    store
}

/// Asks until it is ours, and says how long that took.
async fn taken_in_the_end(store: &dyn Store, instance: &str) -> (Ownership, Duration) {
    let began = std::time::Instant::now();
    loop {
        match store.acquire(&other(), instance, LONG).await.unwrap() {
            Acquired::Taken(ownership) => return (ownership, began.elapsed()),
            Acquired::HeldBy { .. } => {
                assert!(began.elapsed() < Duration::from_secs(30), "the lease never ends");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn is_deposed<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Deposed))
}

pub(crate) async fn a_lease_keeps_others_out_until_it_is_over(place: &dyn Place) {
    let store = opened(place).await;
    let first = taken(store.acquire(&other(), "a", Some(SHORT)).await.unwrap());
    assert_eq!(first, owned_by("a", 1));
    let Acquired::HeldBy { owner, left } = store.acquire(&other(), "b", LONG).await.unwrap() else {
        panic!("two owners");
    };
    assert_eq!(owner, "a");
    assert!(left <= SHORT, "{left:?}");
    let (second, _) = taken_in_the_end(&*store, "b").await;
    assert_eq!(second.term, 2);
    let seen = store.stack().await.unwrap().accounts;
    assert_eq!((seen[0].owner.as_deref(), seen[0].term), (Some("b"), 2));
    assert!(seen[0].left > Some(Duration::from_secs(500)), "{:?}", seen[0].left);
}

pub(crate) async fn a_renewed_lease_goes_on_from_the_renewal(place: &dyn Place) {
    let store = opened(place).await;
    let first = taken(store.acquire(&other(), "a", LONG).await.unwrap());
    store.renew(&first, SHORT).await.unwrap();
    let (second, after) = taken_in_the_end(&*store, "b").await;
    assert!(after >= SHORT / 2, "taken {after:?} after a renewal for {SHORT:?}");
    store.renew(&second, SHORT * 1000).await.unwrap();
    assert!(
        matches!(store.acquire(&other(), "a", LONG).await.unwrap(), Acquired::HeldBy { owner, .. } if owner == "b")
    );
}

pub(crate) async fn an_account_that_is_given_up_is_free_at_once_and_its_owner_writes_nothing(place: &dyn Place) {
    let store = opened(place).await;
    let first = taken(store.acquire(&other(), "a", LONG).await.unwrap());
    store.release(&first).await.unwrap();
    let free = store.stack().await.unwrap().accounts.remove(0);
    assert_eq!((free.owner, free.left), (None, None));
    let batch = Batch {
        writer: Writer::Owner(first.clone()),
        nonce: 1,
        at: start(),
        day_end: DayEnd::new_york(),
        writes: vec![Write::Probe],
    };
    assert!(is_deposed(store.commit(&batch).await));
    assert!(is_deposed(store.renew(&first, SHORT).await));
    let second = taken(store.acquire(&other(), "b", LONG).await.unwrap());
    assert!(second.term > first.term);
    assert!(is_deposed(store.release(&first).await));
}

pub(crate) async fn an_instance_takes_anew_what_it_holds_itself(place: &dyn Place) {
    let store = opened(place).await;
    let first = taken(store.acquire(&other(), "a", LONG).await.unwrap());
    let again = taken(store.acquire(&other(), "a", LONG).await.unwrap());
    assert_eq!(again.term, first.term + 1);
    assert!(is_deposed(store.renew(&first, SHORT).await));
}

pub(crate) async fn only_one_of_many_takes_an_account(place: &dyn Place) {
    let store = opened(place).await;
    let lapsed = taken(store.acquire(&other(), "gone", Some(Duration::ZERO)).await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let asked = ["a", "b", "c", "d", "e", "f"].map(|instance| {
        let store = &store;
        async move { store.acquire(&other(), instance, LONG).await.unwrap() }
    });
    let answers = futures_util::future::join_all(asked).await;
    let winners = answers.iter().filter(|answer| matches!(answer, Acquired::Taken(_))).count();
    assert_eq!(winners, 1, "{answers:?}");
    assert_eq!(store.stack().await.unwrap().accounts[0].term, lapsed.term + 1);
}

pub(crate) async fn who_is_deposed_renews_and_releases_nothing(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let second = take(&*desk.store, &account(), "another").await;
    assert!(is_deposed(desk.store.renew(&desk.owner, SHORT).await));
    assert!(is_deposed(desk.store.release(&desk.owner).await));
    let unheard = owned_by("test", 1);
    assert!(is_deposed(desk.store.renew(&unheard, SHORT).await));
    let seen = desk.store.stack().await.unwrap().accounts;
    let expected = SeenAccount { account: account(), owner: Some("another".to_owned()), term: second.term, left: None };
    assert_eq!(seen, [expected], "taken for good");
}

/// Where the store went back behind a take-over, the term of whoever had it is given out once more.
pub(crate) async fn a_term_is_its_owners_alone(place: &dyn Place) {
    let store = opened(place).await;
    let owner = taken(store.acquire(&other(), "b", LONG).await.unwrap());
    let namesake = owned_by("a", owner.term);
    assert!(is_deposed(store.renew(&namesake, SHORT).await));
    assert!(is_deposed(store.release(&namesake).await));
    let batch = |owner: &Ownership, nonce| Batch {
        writer: Writer::Owner(owner.clone()),
        nonce,
        at: start(),
        day_end: DayEnd::new_york(),
        writes: vec![submit(Order { account: other(), ..single(&format!("s{nonce}"), 1) })],
    };
    assert!(is_deposed(store.commit(&batch(&namesake, 1)).await));
    store.commit(&batch(&owner, 2)).await.unwrap();
    assert!(!store.settle(&batch(&owner, 1)).await.unwrap());
    let settled = store.settle(&batch(&namesake, 1)).await;
    assert!(matches!(settled, Err(StoreError::OutcomeUnknown { .. })), "{settled:?}");
    assert_eq!(store.order(&id("s1")).await.unwrap(), None);
    store.renew(&owner, SHORT).await.unwrap();
    store.release(&owner).await.unwrap();
}

pub(crate) async fn a_guest_marks_a_cancel_whatever_the_term_is(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit(single("s", 1)), submit(single("t", 1))]).await.unwrap();
    desk.write(claim_single("s")).await.unwrap();
    let cancel = |name: &str| Write::CancelOrder { id: id(name), by: caller("elsewhere") };
    let guest = Batch { writer: Writer::Guest(account()), ..desk.batch(vec![cancel("s"), cancel("t")]) };
    for result in desk.store.commit(&guest).await.unwrap() {
        result.unwrap();
    }
    assert!(order(&*desk.store, "s").await.cancel_requested_at.is_some());
    assert_eq!(order(&*desk.store, "t").await.status, OrderStatus::Canceled);
    assert_eq!(desk.store.marked_orders(&account()).await.unwrap().len(), 1);
    desk.write(submit(single("u", 1))).await.unwrap();
    let number = desk.store.events(&id("u")).await.unwrap()[0].number;
    assert_eq!(number, 6, "a guest's events are numbered with the owner's");
    assert_eq!(kinds(&*desk.store, "t").await, ["submitted", "ended"]);
    let nobodys = Batch { writer: Writer::Guest(other()), ..desk.batch(vec![cancel("s")]) };
    assert!(is_deposed(desk.store.commit(&nobodys).await), "an account that nobody ever took has nothing to mark");
}

pub(crate) async fn a_guests_batch_is_never_settled_and_names_nothing(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let last = desk.batch(vec![submit(single("s", 1))]);
    desk.store.commit(&last).await.unwrap();
    let cancel = Write::CancelOrder { id: id("s"), by: caller("elsewhere") };
    let guest = Batch { writer: Writer::Guest(account()), ..desk.batch(vec![cancel]) };
    desk.store.commit(&guest).await.unwrap();
    assert!(matches!(desk.store.settle(&guest).await, Err(StoreError::OutcomeUnknown { .. })));
    assert!(desk.store.settle(&last).await.unwrap(), "the owner's last batch is still the last");
}

pub(crate) async fn instances_are_seen_until_they_say_good_bye(place: &dyn Place) {
    let store = opened(place).await;
    let card = |id: &str, address: Option<&str>| InstanceCard {
        id: id.to_owned(),
        address: address.map(str::to_owned),
        version: "1.2.3".to_owned(),
        started_at: start(),
    };
    let (first, second) = (card("b", None), card("a", Some("http://10.0.0.1:8080")));
    let moved = card("b", Some("http://10.0.0.2:8080"));
    for told in [&first, &second, &moved] {
        store.heartbeat(told).await.unwrap();
    }
    let seen = store.stack().await.unwrap().instances;
    assert!(seen.iter().all(|seen| seen.age < Duration::from_secs(60)), "{seen:?}");
    assert_eq!(cards(seen), [second, moved.clone()]);
    store.farewell("a").await.unwrap();
    store.farewell("a").await.unwrap();
    assert_eq!(cards(store.stack().await.unwrap().instances), [moved]);
}

fn cards(seen: Vec<SeenInstance>) -> Vec<InstanceCard> {
    seen.into_iter().map(|seen| seen.card).collect()
}
