//! Where nothing goes wrong, everything that was asked for at the market is done.

#![allow(missing_docs, reason = "a test")]

use std::collections::BTreeSet;

use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Terms;
use tranche_simulation::requests::Request;
use tranche_simulation::run::{Options, run};
use tranche_simulation::scenario::{Scenario, Size};

#[test]
fn a_scenario_without_faults_executes_every_slice_at_the_market_but_what_its_client_cancels() {
    for seed in 0..3 {
        let mut calm = Scenario::drawn(seed, Size::STANDARD).with_only(&[]);
        calm.tuning.requests_per_minute = None;
        calm.controls.clear();
        let cancelled = calm.requests.iter().filter_map(|(_, request)| {
            if let Request::CancelParent(cancel) = request { Some(cancel.id.clone()) } else { None }
        });
        let cancelled = cancelled.collect::<BTreeSet<_>>();
        let outcome = run(&calm, Options { watched: true, sink: None });
        assert!(outcome.violation.is_none(), "seed {seed}: {:?}", outcome.violation);
        assert_eq!((outcome.struck, outcome.processes), (0, 1));
        outcome.store.look(|ledger| {
            let at_the_market = ledger.orders().filter(|order| order.instruction.terms == Terms::Market);
            let wanted =
                at_the_market.filter(|order| order.slice.as_ref().is_none_or(|of| !cancelled.contains(&of.parent)));
            let wanted = wanted.collect::<Vec<_>>();
            assert!(wanted.len() > 100, "seed {seed} has too little to execute: {}", wanted.len());
            for order in wanted {
                assert_eq!(order.status, OrderStatus::Filled, "seed {seed}: {order:?}");
            }
        });
    }
}
