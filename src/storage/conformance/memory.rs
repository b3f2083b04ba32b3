//! The port's promises, held to the store that simulations run over: what is found there has to be true of a real one.

use async_trait::async_trait;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::names::Symbol;
use tranche_actors::ports::store::{LedgerEvent, Store};
use tranche_simulation::life::Life;
use tranche_simulation::store::MemoryStore;
use tranche_simulation::tape::Tape;

use super::fixtures::{claim_single, dec, single, submit};
use super::switching::{cause, clear, kill, quarantine};
use super::{Desk, Place, account, suite};

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
