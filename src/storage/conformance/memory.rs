//! The port's promises, held to the store that simulations run over: what is found there has to be true of a real one.

use std::time::Duration;

use async_trait::async_trait;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::names::Symbol;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{Batch, LedgerEvent, Store, StoreError, Writer};
use tranche_simulation::life::Life;
use tranche_simulation::store::{CommitFault, MemoryStore};
use tranche_simulation::tape::Tape;

use super::fixtures::{claim_single, dec, id, single, start, submit};
use super::switching::{cause, clear, kill, quarantine};
use super::{Desk, Place, account, suite, take};

/// A ledger that stays when its store is gone.
struct Memory(MemoryStore);

impl Memory {
    fn new() -> Self {
        Self(MemoryStore::new(Life::default(), Tape::default()))
    }
}

#[async_trait]
impl Place for Memory {
    async fn store(&self) -> Box<dyn Store> {
        Box::new(self.0.again(Life::default(), Tape::default()))
    }
}

suite!(Memory::new());

/// No question of the port shows it, but whoever watches a simulation looks at it.
#[tokio::test]
async fn what_is_written_beside_the_orders_is_kept() {
    let place = Memory::new();
    let desk = Desk::at(&place).await;
    let aapl = Symbol::parse("AAPL").unwrap();
    let differs = Write::PositionDiffers { symbol: aapl.clone(), ours: dec("10"), theirs: dec("-0.5") };
    desk.commit(vec![submit(single("s", 1)), quarantine("AAPL", "b-1"), differs, clear("b-1")]).await.unwrap();
    desk.store.commit(&desk.global(vec![kill(0), kill(1)])).await.unwrap();
    desk.commit(vec![claim_single("s")]).await.unwrap();
    let numbers = |events: &[LedgerEvent]| events.iter().map(|event| event.number).collect::<Vec<_>>();
    place.0.look(|ledger| {
        let kept = ledger.cause(&account(), &cause("b-1")).unwrap();
        assert_eq!(kept.cleared.as_ref().unwrap().reason, "it was a drill");
        assert!(ledger.quarantined().is_empty());
        assert_eq!(ledger.differences(), [(aapl.clone(), dec("10"), dec("-0.5"))]);
        assert_eq!(numbers(ledger.events()), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(ledger.switch_events()), [1, 2]);
    });
}

/// As in a database whose log was written, but not synced, when the connection broke.
#[tokio::test(start_paused = true)]
async fn a_commit_in_doubt_becomes_durable_late_unless_it_was_settled_before() {
    let late = Duration::from_secs(2);
    let begun = async |store: &MemoryStore, nonce| {
        store.open().await.unwrap();
        let owner = take(store, &account(), "test").await;
        let batch = Batch {
            writer: Writer::Owner(owner),
            nonce,
            at: start(),
            day_end: DayEnd::new_york(),
            writes: vec![submit(single("s", 1))],
        };
        store.plan([CommitFault::Late(late)]);
        let error = store.commit(&batch).await.unwrap_err();
        assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{error}");
        batch
    };
    let has = async |store: &MemoryStore| store.order(&id("s")).await.unwrap().is_some();

    let store = MemoryStore::new(Life::default(), Tape::default());
    let batch = begun(&store, 1).await;
    assert!(!store.settle(&batch).await.unwrap());
    tokio::time::sleep(late * 2).await;
    assert!(!has(&store).await, "what is settled is shut out");

    let store = MemoryStore::new(Life::default(), Tape::default());
    let batch = begun(&store, 1).await;
    assert!(!has(&store).await);
    tokio::time::sleep(late).await;
    assert!(has(&store).await);
    assert!(store.settle(&batch).await.unwrap());

    let store = MemoryStore::new(Life::default(), Tape::default());
    begun(&store, 1).await;
    let store = store.again(Life::default(), Tape::default());
    store.open().await.unwrap();
    assert!(has(&store).await, "a start brings it back");
}
