//! Several instances on one database: each a store of its own.

use std::cell::OnceCell;
use std::time::Duration;

use tranche_actors::domain::ledger::{Outcome, Refusal, Write};
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::names::{AccountName, IdempotencyKey};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{Acquired, Batch, InstanceCard, Ownership, Store, StoreError, Writer};

use super::conforms::Base;
use super::id;
use crate::storage::conformance::fixtures::{caller, claim_single, kinds, order, origin, single, start, submit};
use crate::storage::conformance::{Desk, account, take};
use crate::storage::postgres::upkeep::restored;
use crate::storage::postgres::{PostgresSettings, PostgresStore};
use crate::storage::registry::LEDGER;

async fn instance(base: &Base) -> PostgresStore {
    let store = base.store_with(PostgresSettings::default());
    store.open().await.unwrap();
    store
}

fn batch(owner: &Ownership, nonce: u64, writes: Vec<Write>) -> Batch {
    Batch { writer: Writer::Owner(owner.clone()), nonce, at: start(), day_end: DayEnd::new_york(), writes }
}

fn of(account: &AccountName, name: &str) -> Order {
    Order { account: account.clone(), ..single(name, 1) }
}

#[tokio::test]
async fn instances_that_start_at_once_on_an_empty_database_migrate_it_once() {
    let base = Base::new();
    let stores = (0..4).map(|_| base.store_with(PostgresSettings::default())).collect::<Vec<_>>();
    let opened = futures_util::future::join_all(stores.iter().map(|store| store.open())).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    let mut beside = base.beside().await;
    let ran = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM schema_attempts");
    assert_eq!(ran.fetch_one(&mut beside).await.unwrap(), i64::try_from(LEDGER.postgres_migrations.len()).unwrap());
}

#[tokio::test]
async fn accounts_are_written_at_the_same_time_each_with_its_own_numbers() {
    let base = Base::new();
    let (one, two) = (instance(&base).await, instance(&base).await);
    let accounts = ["one", "two"].map(|name| AccountName::parse(name).unwrap());
    let owners = (take(&one, &accounts[0], "1").await, take(&two, &accounts[1], "2").await);
    let work = async |store: &PostgresStore, owner: &Ownership| {
        for n in 0..40_u64 {
            let writes = (0..3).map(|k| submit(of(&owner.account, &format!("{}-{n}-{k}", owner.account))));
            store.commit(&batch(owner, n, writes.collect())).await.unwrap();
        }
    };
    tokio::join!(work(&one, &owners.0), work(&two, &owners.1));
    for name in ["one", "two"] {
        let last = one.events(&id(&format!("{name}-39-2"))).await.unwrap();
        assert_eq!(last[0].number, 120, "{name}");
    }
}

#[tokio::test]
async fn an_owner_and_its_guests_write_one_after_the_other() {
    let base = Base::new();
    let desk = Desk::at(&base).await;
    let guest = instance(&base).await;
    for n in 0..30 {
        desk.write(submit(single(&format!("s{n}"), 1))).await.unwrap();
    }
    let claims = async {
        for n in 0..30 {
            desk.write(claim_single(&format!("s{n}"))).await.ok();
        }
    };
    let cancels = async {
        for n in 0..30_u64 {
            let cancel = Write::CancelOrder { id: id(&format!("s{n}")), by: caller("admin") };
            let batch = Batch {
                writer: Writer::Guest(account()),
                nonce: n,
                at: start(),
                day_end: DayEnd::new_york(),
                writes: vec![cancel],
            };
            guest.commit(&batch).await.unwrap();
        }
    };
    tokio::join!(claims, cancels);
    let mut numbers = Vec::new();
    for n in 0..30 {
        let name = format!("s{n}");
        let kinds = kinds(&guest, &name).await;
        let claimed = kinds.iter().any(|kind| kind == "claimed");
        assert_eq!(
            order(&guest, &name).await.terminal_at.is_none(),
            claimed,
            "{kinds:?}: sent, or ended, and not both"
        );
        numbers.extend(guest.events(&id(&name)).await.unwrap().iter().map(|event| event.number));
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=u64::try_from(numbers.len()).unwrap()), "no number twice, none left out");
}

#[tokio::test]
async fn of_owners_that_race_for_a_lease_one_wins_and_the_deposed_one_writes_nothing() {
    let base = Base::new();
    let stores = [instance(&base).await, instance(&base).await, instance(&base).await];
    let lease = Some(Duration::from_millis(300));
    let mut terms = Vec::new();
    for round in 0..5_u64 {
        let names = ["a", "b", "c"].map(|name| format!("{name}{round}"));
        let account = account();
        let race = stores.iter().zip(&names).map(|(store, name)| store.acquire(&account, name, lease));
        let taken = futures_util::future::join_all(race).await;
        let winners = taken.iter().filter_map(|one| match one.as_ref().unwrap() {
            Acquired::Taken(owner) => Some(owner.clone()),
            Acquired::HeldBy { .. } => None,
        });
        let winners = winners.collect::<Vec<_>>();
        assert_eq!(winners.len(), 1);
        terms.push(winners[0].clone());
        tokio::time::sleep(Duration::from_millis(350)).await;
    }
    let (last, deposed) = terms.split_last().unwrap();
    for (n, owner) in (0_u64..).zip(deposed) {
        for store in &stores {
            let result = store.commit(&batch(owner, n, vec![submit(single("late", 1))])).await;
            assert!(matches!(result, Err(StoreError::Deposed)));
            assert!(matches!(store.renew(owner, Duration::from_secs(1)).await, Err(StoreError::Deposed)));
        }
    }
    assert_eq!(stores[0].order(&id("late")).await.unwrap(), None);
    stores[0].commit(&batch(last, 99, vec![submit(single("kept", 1))])).await.unwrap();
}

#[tokio::test]
async fn a_key_that_two_accounts_want_at_once_names_one_order() {
    let base = Base::new();
    let (one, two) = (instance(&base).await, instance(&base).await);
    let accounts = ["one", "two"].map(|name| AccountName::parse(name).unwrap());
    let owners = [take(&one, &accounts[0], "1").await, take(&two, &accounts[1], "2").await];
    for n in 0..20_u64 {
        let key = format!("k{n}");
        let order = |account: &AccountName| Order {
            origin: Some(origin(Some(&key), account.as_str())),
            ..of(account, &format!("{account}{n}"))
        };
        let batches = [
            batch(&owners[0], n, vec![submit(order(&accounts[0]))]),
            batch(&owners[1], n, vec![submit(order(&accounts[1]))]),
        ];
        let (first, second) = tokio::join!(one.commit(&batches[0]), two.commit(&batches[1]));
        let mut taken = 0;
        for (store, batch, result) in [(&one, &batches[0], first), (&two, &batches[1], second)] {
            let mut result = result;
            if let Err(error) = &result {
                assert!(matches!(error, StoreError::Constraint { .. }), "{error}");
                result = store.commit(batch).await;
            }
            match &result.unwrap()[0] {
                Ok(applied) => {
                    assert_eq!(applied.outcome, Outcome::Done);
                    taken += 1;
                }
                Err(refusal) => assert!(!matches!(refusal, Refusal::Constraint(_)), "{refusal:?}"),
            }
        }
        assert_eq!(taken, 1);
        assert!(one.by_key(&caller("admin"), &IdempotencyKey::parse(&key).unwrap()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn tables_that_are_replaced_in_place_end_a_lease_and_are_told_from_those_before() {
    let base = Base::new();
    let (desk, mut beside) = (Desk::at(&base).await, base.beside().await);
    let minute = Duration::from_secs(60);
    desk.store.renew(&desk.owner, minute).await.unwrap();
    let replace = "CREATE TABLE copied (LIKE accounts INCLUDING ALL); INSERT INTO copied SELECT * FROM accounts;
        DROP TABLE accounts; ALTER TABLE copied RENAME TO accounts";
    sqlx::raw_sql(replace).execute(&mut beside).await.unwrap();
    assert!(matches!(desk.store.renew(&desk.owner, minute).await, Err(StoreError::Deposed)));
    let owner = take(&*desk.store, &account(), &desk.owner.owner).await;
    assert!(desk.store.is_rewound(&owner).await.unwrap());
    desk.store.commit(&batch(&owner, 1, vec![Write::Probe])).await.unwrap();
    desk.store.renew(&owner, minute).await.unwrap();
    desk.store.caught_up(&owner).await.unwrap();
    assert!(!desk.store.is_rewound(&owner).await.unwrap());
}

#[tokio::test]
async fn a_database_is_said_to_be_restored_once_nobody_works_on_it() {
    let base = Base::new();
    let desk = Desk::at(&base).await;
    desk.store.renew(&desk.owner, Duration::from_secs(60)).await.unwrap();
    let refused = restored(&base.options()).await;
    assert!(matches!(refused, Err(StoreError::Unusable { .. })), "{refused:?}");
    desk.store.release(&desk.owner).await.unwrap();
    restored(&base.options()).await.unwrap();
    let again = desk.again(&base).await;
    assert!(again.store.is_rewound(&again.owner).await.unwrap());
    again.store.caught_up(&again.owner).await.unwrap();
    assert!(!again.store.is_rewound(&again.owner).await.unwrap());
}

#[tokio::test]
async fn what_belongs_to_nobody_is_settled_by_its_own_name() {
    let base = Base::new();
    let (one, two) = (Desk::at(&base).await, Desk::at(&base).await);
    let mine = one.global(vec![Write::Probe]);
    one.store.commit(&mine).await.unwrap();
    for _ in 0..3 {
        let theirs = Batch { nonce: mine.nonce ^ 0xff00, ..two.global(vec![Write::Probe]) };
        two.store.commit(&theirs).await.ok();
    }
    assert!(one.store.settle(&mine).await.unwrap(), "whoever wrote since");
    assert!(!one.store.settle(&one.global(vec![])).await.unwrap());
}

#[tokio::test]
async fn limits_change_between_claims_and_never_beside_one() {
    let base = Base::new();
    let (desk, changer) = (Desk::at(&base).await, instance(&base).await);
    for name in ["under-way", "late"] {
        desk.write(submit(single(name, 1))).await.unwrap();
    }
    let turn = async |revision| {
        let book = LimitBook { revision, ..LimitBook::default() };
        let writes = vec![Write::Limits { book: Box::new(book), audit: Vec::new() }];
        changer
            .commit(&Batch { writer: Writer::Nobody, ..batch(&desk.owner, revision, writes) })
            .await
            .unwrap()
            .remove(0)
    };
    let short = Duration::from_millis(300);
    let mut beside = base.beside().await;

    // A claim that has read the limits, and can't end yet. That none were ever set makes no difference.
    let mut held = sqlx::Connection::begin(&mut beside).await.unwrap();
    let hold = "SELECT 1 FROM orders WHERE client_order_id = 'under-way' FOR UPDATE";
    sqlx::query(hold).execute(&mut *held).await.unwrap();
    let (claimed, changed) = (OnceCell::new(), OnceCell::new());
    let claim = async { claimed.set(desk.write(claim_single("under-way")).await).unwrap() };
    let change = async {
        tokio::time::sleep(short).await;
        changed.set(turn(1).await).unwrap();
    };
    let release = async {
        tokio::time::sleep(short * 2).await;
        assert!(claimed.get().is_none() && changed.get().is_none(), "the change waits for the claim");
        held.rollback().await.unwrap();
    };
    tokio::join!(claim, change, release);
    claimed.into_inner().unwrap().unwrap();
    changed.into_inner().unwrap().unwrap();

    // A change that is under way, and can't end yet.
    let mut held = sqlx::Connection::begin(&mut beside).await.unwrap();
    sqlx::query("LOCK TABLE limits IN SHARE MODE").execute(&mut *held).await.unwrap();
    let claimed = OnceCell::new();
    let late = |limits| Write::Claim { id: id("late"), plan_version: None, reduces: false, limits };
    let claim = async {
        tokio::time::sleep(short).await;
        claimed.set(desk.write(late(1)).await).unwrap();
    };
    let release = async {
        tokio::time::sleep(short * 2).await;
        assert!(claimed.get().is_none(), "the claim waits for the change");
        held.rollback().await.unwrap();
    };
    let (turned, (), ()) = tokio::join!(turn(2), claim, release);
    turned.unwrap();
    assert_eq!(claimed.into_inner().unwrap().unwrap_err(), Refusal::LimitsMoved);
    desk.write(late(2)).await.unwrap();
}

#[tokio::test]
async fn who_stops_trading_waits_for_no_change_of_the_limits_that_waits_for_a_claim() {
    let base = Base::new();
    let (desk, changer, stopper) = (Desk::at(&base).await, instance(&base).await, instance(&base).await);
    desk.write(submit(single("under-way", 1))).await.unwrap();
    let mut beside = base.beside().await;
    let mut held = sqlx::Connection::begin(&mut beside).await.unwrap();
    let hold = "SELECT 1 FROM orders WHERE client_order_id = 'under-way' FOR UPDATE";
    sqlx::query(hold).execute(&mut *held).await.unwrap();
    let of_nobody = |nonce, write| Batch { writer: Writer::Nobody, ..batch(&desk.owner, nonce, vec![write]) };
    let short = Duration::from_millis(300);
    let change = async {
        tokio::time::sleep(short).await;
        let book = LimitBook { revision: 1, ..LimitBook::default() };
        let write = Write::Limits { book: Box::new(book), audit: Vec::new() };
        changer.commit(&of_nobody(1, write)).await.unwrap()
    };
    let stop = async {
        tokio::time::sleep(short * 2).await;
        // Nobody lets the claim go on before this has ended.
        stopper.commit(&of_nobody(2, Write::Probe)).await.unwrap();
        held.rollback().await.unwrap();
    };
    let (claimed, changed, ()) = tokio::join!(desk.write(claim_single("under-way")), change, stop);
    claimed.unwrap();
    changed[0].as_ref().unwrap();
}

/// A row that somebody holds, and an answer that never comes, are the same to whoever waits.
#[tokio::test]
async fn what_waits_for_one_accounts_row_keeps_no_other_lease_from_being_renewed() {
    let base = Base::new();
    let store = instance(&base).await;
    let accounts = ["stuck", "well", "next"].map(|name| AccountName::parse(name).unwrap());
    let owners = [take(&store, &accounts[0], "1").await, take(&store, &accounts[1], "1").await];
    let mut beside = base.beside().await;
    let mut held = sqlx::Connection::begin(&mut beside).await.unwrap();
    let hold = sqlx::query("SELECT 1 FROM accounts WHERE account = 'stuck' FOR UPDATE");
    hold.execute(&mut *held).await.unwrap();
    let lease = Duration::from_secs(10);
    let waits = async { store.renew(&owners[0], lease).await };
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = std::time::Instant::now();
        store.renew(&owners[1], lease).await.unwrap();
        take(&store, &accounts[2], "1").await;
        store.confirm("e-1", "1", &[]).await.unwrap();
        let card = InstanceCard { id: "1".to_owned(), address: None, version: "1".to_owned(), started_at: start() };
        store.heartbeat(&card).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        held.rollback().await.unwrap();
    };
    let (waited, ()) = tokio::join!(waits, others);
    waited.unwrap();
}
