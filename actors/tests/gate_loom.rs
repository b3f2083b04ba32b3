//! Check against check: either the sender sees the shut gate, or whoever shut it sees the sender.
#![cfg(feature = "loom")]

use std::time::Duration;

use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::{OrderId, StrategyId, Symbol};
use tranche_actors::gate::{Gate, GateWriters, InFlight, ShutReason, Verdict, Whose};

fn open(writers: &GateWriters) {
    writers.kill_switch.clear(ShutReason::KillSwitchUnknown);
    writers.breaker.clear(ShutReason::CircuitBreakerUnknown);
    writers.account.clear(ShutReason::Starting);
    writers.account.clear(ShutReason::BrokerUnavailable);
    writers.kill_switch.renew(Duration::from_secs(10));
}

#[test]
fn no_order_leaves_that_an_engage_does_not_see() {
    loom::model(|| {
        let (gate, writers) = Gate::new();
        open(&writers);
        let set = InFlight::default();
        let id = OrderId::parse("slice").expect("an id");

        let sender = {
            let (gate, set, id) = (gate, set.clone(), id.clone());
            let of = Whose {
                strategy: StrategyId::parse("s").expect("a strategy"),
                symbol: Symbol::parse("S").expect("a symbol"),
            };
            loom::thread::spawn(move || {
                let (ticket, _is_cut) = set.enter(&id, of);
                let leaves = gate.verdict(Duration::from_secs(1)) == Verdict::Open;
                // An order that leaves stays in the set until its outcome is known.
                leaves.then_some(ticket)
            })
        };
        writers.kill_switch.shut(ShutReason::KillSwitchEngaged);
        let seen = set.ids(&LimitScope::Global);
        let left = sender.join().expect("the sender ends");
        assert!(left.is_none() || seen.contains(&id), "an order left unseen after the gate was shut");
    });
}
