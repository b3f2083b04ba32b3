//! The seam that the simulation stands on: everything on one arbiter, nothing real but the actors.

use tokio::time::sleep;
use tranche_actors::domain::money::canonical;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::ports::Clock;

use crate::support::orders::{id, parent};
use crate::support::rig::{run, seconds};

/// Runs a parent to its end; the tape of the ledger's events.
fn tape_of_a_parent() -> Vec<String> {
    run(|rig| async move {
        let running = rig.open().await;
        let began = rig.clock.now();
        let submitted = running.submit(parent("whole", 103, 5, 60)).await;
        assert!(submitted.parent.arrival_price.is_some());
        rig.until_all_ended().await;

        let slices = rig.slices(&id("whole"));
        let quantities = slices.iter().map(|slice| canonical(slice.qty.get())).collect::<Vec<_>>();
        assert_eq!(quantities, ["21", "21", "21", "20", "20"]);
        let sent = rig.venue.submissions();
        for (n, (submission, slice)) in sent.iter().zip(&slices).enumerate() {
            assert_eq!(submission.id, slice.id);
            let due = began + seconds(60 * u64::try_from(n).unwrap());
            let late = submission.at - due;
            assert!((0..30).contains(&late.num_milliseconds()), "slice {n} is {late} late");
        }
        assert_eq!(sent.len(), 5);
        let done = rig.parent(&id("whole"));
        assert_eq!(done.status, ParentStatus::Completed);
        assert!(done.progress.filled_avg_price().is_some());
        sleep(seconds(60)).await;
        assert!(rig.parent(&id("whole")).benchmark.interval_twap().is_some());
        rig.audit_at_rest();
        rig.store.look(|ledger| ledger.events().iter().map(|event| format!("{event:?}")).collect())
    })
}

#[test]
fn a_quote_that_never_comes_is_no_sample_and_the_next_one_is() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("quoted", 103, 5, 60)).await;
        sleep(seconds(30)).await;
        let sampled = rig.venue.calls.made("quote");
        rig.venue.calls.silence("quote", true);
        sleep(seconds(100)).await;
        rig.venue.calls.silence("quote", false);
        rig.until_all_ended().await;
        assert!(rig.venue.calls.made("quote") > sampled + 10);
        let measured = rig.parent(&id("quoted")).benchmark.seconds;
        assert!((100..220).contains(&i64::try_from(measured.round().mantissa()).unwrap()), "{measured}");
    });
}

#[test]
fn one_test_runs_the_supervisor_and_all_actors_on_one_arbiter_under_paused_time() {
    let tape = tape_of_a_parent();
    assert!(tape.len() > 15, "{tape:?}");
    assert_eq!(tape, tape_of_a_parent());
}
