//! The port's promises, held to the store that simulations run over: what is found there has to be true of a real one.

use async_trait::async_trait;
use tranche_actors::ports::store::Store;
use tranche_simulation::life::Life;
use tranche_simulation::store::MemoryStore;
use tranche_simulation::tape::Tape;

use super::{Place, suite};

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
