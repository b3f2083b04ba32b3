//! A server that fails, and a store that says so in time and heals: locked, killed, frozen, refusing a row, taken over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tranche_actors::domain::ledger::Write;
use tranche_actors::ports::store::{Batch, Store, StoreError, Writer};
use tranche_servers::Server;

use super::conforms::{Base, SOON, beside, options};
use super::id;
use crate::storage::conformance::fixtures::{claim, kinds, parent, single, submit, submit_parent};
use crate::storage::conformance::{Desk, Place, account, take};
use crate::storage::postgres::session::connect;
use crate::storage::postgres::{PostgresSettings, PostgresStore};
use crate::storage::profiles::{Profile, Role};

/// A server of the test's own, which it may kill.
struct Mortal(Server);

impl Mortal {
    fn start() -> Self {
        Self(Server::postgres())
    }

    fn new_store(&self) -> PostgresStore {
        PostgresStore::new(options(self.0.url()), soon())
    }
}

#[async_trait::async_trait]
impl Place for Mortal {
    async fn store(&self) -> Box<dyn Store> {
        Box::new(self.new_store())
    }
}

fn soon() -> PostgresSettings {
    PostgresSettings { patience: SOON, ..PostgresSettings::default() }
}

/// A database whose stores wait no longer than a test does.
struct Soon(Base);

impl Soon {
    fn new() -> Self {
        Self(Base::new())
    }
}

#[async_trait::async_trait]
impl Place for Soon {
    async fn store(&self) -> Box<dyn Store> {
        Box::new(self.0.store_with(soon()))
    }
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { .. }))
}

/// Writes until it is taken; what failed before was certainly not written.
async fn until_written(desk: &Desk, name: &str) {
    let began = Instant::now();
    while let Err(error) = desk.commit(vec![submit(single(name, 1))]).await {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_lock_of_somebody_else_is_waited_for_and_then_told() {
    let place = Soon::new();
    let desk = Desk::at(&place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    let mut beside = place.0.beside().await;
    sqlx::raw_sql("BEGIN; SELECT * FROM accounts FOR UPDATE").execute(&mut beside).await.unwrap();
    let started = Instant::now();
    assert!(is_unavailable(&desk.commit(vec![claim("p-0")]).await));
    assert!(started.elapsed() < SOON.lock * 4, "{:?}", started.elapsed());
    assert_eq!(desk.store.slices(&id("p")).await.unwrap().len(), 2, "reads go on");
    sqlx::raw_sql("ROLLBACK").execute(&mut beside).await.unwrap();
    desk.write(claim("p-0")).await.unwrap();
    assert_eq!(kinds(&*desk.store, "p-0").await, ["claimed"]);
}

#[tokio::test]
async fn an_owner_that_freezes_within_a_transaction_holds_up_nobody() {
    let place = Soon::new();
    let desk = Desk::at(&place).await;
    let mut frozen = connect(&place.0.options(), "ledger", Profile::Ledger, Role::Writer, SOON).await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE accounts SET batch = 7 WHERE account = 'default'")
        .execute(&mut frozen.connection)
        .await
        .unwrap();
    let began = Instant::now();
    let taken = loop {
        match desk.store.acquire(&account(), "another", Some(Duration::from_secs(10))).await {
            Ok(acquired) => break acquired,
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error}"),
        }
        assert!(began.elapsed() < SOON.idle_in_transaction * 10);
    };
    assert!(matches!(taken, tranche_actors::ports::store::Acquired::Taken(_)));
    let late = sqlx::raw_sql("COMMIT").execute(&mut frozen.connection).await;
    assert!(late.is_err(), "its session has ended");
}

#[tokio::test]
async fn a_row_that_the_store_refuses_takes_its_batch_with_it_and_nothing_else() {
    let place = Soon::new();
    let desk = Desk::at(&place).await;
    sqlx::raw_sql("ALTER TABLE orders ADD CONSTRAINT poison CHECK (client_order_id <> 'bad')")
        .execute(&mut place.0.beside().await)
        .await
        .unwrap();
    let writes = ["good", "bad", "fine"].map(|name| submit(single(name, 1)));
    let error = desk.commit(writes.to_vec()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Constraint { detail } if detail.contains("poison")), "{error}");
    assert_eq!(desk.store.order(&id("good")).await.unwrap(), None);
    for (write, passes) in writes.into_iter().zip([true, false, true]) {
        assert_eq!(desk.commit(vec![write]).await.is_ok(), passes);
    }
    let numbers = desk.store.events(&id("fine")).await.unwrap();
    assert_eq!(numbers[0].number, 2, "what was rolled back took no number");
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_any_more_harms_no_later_one() {
    let place = Soon::new();
    let desk = Arc::new(Desk::at(&place).await);
    for n in 0..40_u64 {
        let name = format!("s{n}");
        let batch = desk.batch(vec![submit(single(&name, 1))]);
        let interrupted = tokio::time::timeout(Duration::from_micros(n * 100), desk.store.commit(&batch)).await;
        let committed = desk.store.settle(&batch).await.unwrap();
        assert!(interrupted.is_err() || committed);
        assert_eq!(desk.store.order(&id(&name)).await.unwrap().is_some(), committed);
    }
    desk.write(submit(single("last", 1))).await.unwrap();
}

#[tokio::test]
async fn whether_a_batch_was_committed_is_known_once_its_transaction_has_ended() {
    let place = Soon::new();
    let desk = Desk::at(&place).await;
    let batch = desk.batch(vec![Write::Probe]);
    for (end, committed) in [("ROLLBACK", false), ("COMMIT", true)] {
        let mut running = place.0.beside().await;
        sqlx::raw_sql("BEGIN").execute(&mut running).await.unwrap();
        sqlx::query("UPDATE accounts SET batch = $1 WHERE account = 'default'")
            .bind(batch.nonce.cast_signed())
            .execute(&mut running)
            .await
            .unwrap();
        let ends = async {
            tokio::time::sleep(SOON.lock / 4).await;
            sqlx::raw_sql(end).execute(&mut running).await.unwrap();
        };
        let (settled, ()) = tokio::join!(desk.store.settle(&batch), ends);
        assert_eq!(settled.unwrap(), committed, "{end}");
    }
}

#[tokio::test]
async fn a_commit_that_failed_is_read_back() {
    let place = Base::new();
    let desk = Desk::at(&place).await;
    let store = place.store_with(soon());
    store.open().await.unwrap();
    let batch = desk.batch(vec![submit(single("s", 1))]);
    assert!(is_unavailable(&store.after_failed_commit(&batch, "cut".to_owned(), vec![]).await));
    let then = desk.store.commit(&batch).await.unwrap();
    assert_eq!(store.after_failed_commit(&batch, "cut".to_owned(), then.clone()).await.unwrap(), then);
    let guest = Batch { writer: Writer::Guest(account()), ..batch };
    let unknown = store.after_failed_commit(&guest, "cut".to_owned(), then.clone()).await;
    assert!(matches!(unknown, Err(StoreError::OutcomeUnknown { then: kept, .. }) if kept == then));
}

#[tokio::test]
async fn sessions_that_the_server_ends_are_told_and_made_anew() {
    let place = Soon::new();
    let desk = Desk::at(&place).await;
    desk.write(submit(single("before", 1))).await.unwrap();
    let mut beside = place.0.beside().await;
    sqlx::raw_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .execute(&mut beside)
        .await
        .unwrap();
    assert!(is_unavailable(&desk.commit(vec![submit(single("lost", 1))]).await));
    assert_eq!(desk.store.order(&id("lost")).await.unwrap(), None);
    desk.write(submit(single("after", 1))).await.unwrap();
    desk.store.renew(&desk.owner, Duration::from_secs(5)).await.ok();
    desk.store.renew(&desk.owner, Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_killed_loses_nothing_and_is_found_again() {
    let mut place = Mortal::start();
    let desk = Desk::at(&place).await;
    for round in 0..2 {
        desk.write(submit(single(&format!("kept{round}"), 1))).await.unwrap();
        place.0.kill();
        let began = Instant::now();
        for _ in 0..3 {
            assert!(is_unavailable(&desk.commit(vec![submit(single("refused", 1))]).await));
            assert!(is_unavailable(&desk.store.order(&id("kept0")).await));
        }
        assert!(began.elapsed() < SOON.acquire * 5, "{:?}", began.elapsed());
        place.0.start();
        until_written(&desk, &format!("after{round}")).await;
        assert!(desk.store.order(&id(&format!("kept{round}"))).await.unwrap().is_some());
        assert_eq!(desk.store.order(&id("refused")).await.unwrap(), None);
        place.0.kill_backends();
        until_written(&desk, &format!("again{round}")).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let mut place = Mortal::start();
    let desk = Desk::at(&place).await;
    desk.write(submit(single("kept", 1))).await.unwrap();
    place.0.freeze();
    let began = Instant::now();
    assert!(desk.commit(vec![submit(single("refused", 1))]).await.is_err());
    assert!(is_unavailable(&desk.commit(vec![submit(single("refused", 1))]).await));
    assert!(is_unavailable(&desk.store.order(&id("kept")).await));
    assert!(is_unavailable(&desk.store.renew(&desk.owner, SOON.answer).await));
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    place.0.thaw();
    until_written(&desk, "after").await;
    assert!(desk.store.order(&id("kept")).await.unwrap().is_some());
}

#[tokio::test]
async fn an_account_recovers_anew_when_a_standby_has_taken_over() {
    let mut place = Mortal::start();
    let desk = Desk::at(&place).await;
    desk.write(submit(single("before", 1))).await.unwrap();
    assert!(!desk.store.is_rewound(&desk.owner).await.unwrap());
    place.0.take_over();
    let began = Instant::now();
    loop {
        match desk.commit(vec![submit(single("late", 1))]).await {
            Err(StoreError::Deposed) => break,
            known => assert!(is_unavailable(&known), "{known:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert!(matches!(desk.commit(vec![Write::Probe]).await, Err(StoreError::Deposed)), "and again");
    // The connection of leases is found broken by its first use.
    assert!(is_unavailable(&desk.store.acquire(&account(), "test", None).await));
    let owner = take(&*desk.store, &account(), "test").await;
    assert!(desk.store.is_rewound(&owner).await.unwrap());
    let batch = Batch { writer: Writer::Owner(owner.clone()), ..desk.batch(vec![submit(single("after", 1))]) };
    desk.store.commit(&batch).await.unwrap();
    assert!(desk.store.is_rewound(&owner).await.unwrap(), "until it was seen to");
    desk.store.caught_up(&owner).await.unwrap();
    assert!(!desk.store.is_rewound(&owner).await.unwrap());
    assert!(matches!(desk.store.caught_up(&desk.owner).await, Err(StoreError::Deposed)));
    assert_eq!(desk.store.order(&id("late")).await.unwrap(), None);
}

#[tokio::test]
async fn an_account_that_writes_nothing_finds_out_by_its_lease_that_the_ledger_went_back() {
    let mut place = Mortal::start();
    let desk = Desk::at(&place).await;
    desk.store.renew(&desk.owner, SOON.answer).await.unwrap();
    place.0.take_over();
    let began = Instant::now();
    loop {
        match desk.store.renew(&desk.owner, SOON.answer).await {
            Err(StoreError::Deposed) => break,
            known => assert!(is_unavailable(&known), "{known:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert!(matches!(desk.store.caught_up(&desk.owner).await, Err(StoreError::Deposed)), "of that it has seen nothing");
}

#[tokio::test]
async fn a_database_that_was_restored_on_the_same_server_is_told_from_the_one_before() {
    let place = Soon::new();
    let desk = Desk::at(&place).await;
    desk.write(submit(single("before", 1))).await.unwrap();
    let dump = tranche_servers::dump(place.0.url());
    desk.write(submit(single("lost", 1))).await.unwrap();
    desk.store.close().await;
    let again = Desk::at(&place).await;
    assert!(!again.store.is_rewound(&again.owner).await.unwrap(), "a start is no restore");
    again.store.close().await;
    tranche_servers::restore(place.0.url(), &dump);
    let after = Desk::at(&place).await;
    assert!(after.store.is_rewound(&after.owner).await.unwrap());
    assert_eq!(after.store.order(&id("lost")).await.unwrap(), None);
    after.store.caught_up(&after.owner).await.unwrap();
    let again = after.again(&place).await;
    assert!(!again.store.is_rewound(&again.owner).await.unwrap());
}

#[tokio::test]
async fn a_server_that_may_take_back_what_it_answered_is_refused() {
    let place = Mortal::start();
    for sql in ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"] {
        tranche_servers::sql(place.0.url(), sql);
    }
    let began = Instant::now();
    let refused = loop {
        let error = place.new_store().open().await;
        if error.is_err() || began.elapsed() > Duration::from_secs(10) {
            break error;
        }
    };
    assert!(matches!(&refused, Err(StoreError::Unusable { detail }) if detail.contains("fsync")), "{refused:?}");
    let mut connection = beside(place.0.url()).await;
    sqlx::raw_sql("SELECT 1").execute(&mut connection).await.unwrap();
}
