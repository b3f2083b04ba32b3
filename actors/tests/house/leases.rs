//! Two instances on one store and at one broker: an account has one owner at a time, and only it sends.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};
use tranche_actors::commands::{CancelOrder, CancelParent, CommandError, Engage};
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::health::{Phase, Standing};
use tranche_actors::ports::store::{Batch, Ownership, Store, StoreError, Writer};
use tranche_actors::ports::{Clock, Entropy};
use tranche_actors::tuning::Lease;
use tranche_simulation::store::{CommitFault, MemoryStore};
use tranche_simulation::venue::Fate;

use crate::support::orders::{account, caller, id, parent, resting_parent};
use crate::support::rig::{Rig, Running, engage, millis, run, seconds};

mod stopping;

const LEASE: Lease = Lease { length: Duration::from_secs(10), renew_every: Duration::from_secs(3) };
/// A lease, the time between two looks, and what a recovery takes.
const TAKEN_OVER: Duration = Duration::from_secs(12);

fn leased(rig: &mut Rig) {
    rig.tuning.lease = Some(LEASE);
}

/// A process of its own, which can be frozen, by leaving it alone, and killed, by dropping it.
struct Process {
    life: LocalSet,
    running: Running,
    store: Arc<MemoryStore>,
}

impl Process {
    async fn start(rig: &Rig, name: &str) -> Self {
        let life = LocalSet::new();
        let (running, store) = life.run_until(async { rig.beside(name) }).await;
        Self { life, running, store }
    }

    /// Lets it go on, beside all others, for as long as something takes.
    async fn during<T>(&self, something: impl Future<Output = T>) -> T {
        self.life.run_until(something).await
    }
}

fn owns(running: &Running) -> bool {
    matches!(running.house.accounts.first().health.standing(), Standing::Owner { .. })
}

fn ownership(running: &Running, owner: &str) -> Ownership {
    let term = running.house.accounts.first().health.term().unwrap();
    Ownership { account: account(), owner: owner.to_owned(), term }
}

/// The first instance trades, the second stands by.
async fn two(rig: &Rig) -> (Process, Running) {
    rig.store.open().await.unwrap();
    let first = Process::start(rig, "first").await;
    first.during(rig.until("the first one trades", || rig.verdict(&first.running) == Verdict::Open)).await;
    let (second, _) = rig.beside("second");
    first.during(rig.until("the second one stands by", || second.house.health.phase() == Phase::Ready)).await;
    assert_eq!(
        second.house.accounts.first().health.standing(),
        Standing::Standby { owner: "first".to_owned() },
        "a standby is ready at once"
    );
    assert!(rig.reasons(&second).contains(&ShutReason::NotOwner));
    (first, second)
}

/// The first instance trades, and the others stand by; all of them look at the switches.
async fn sharing<const N: usize>(rig: &mut Rig, others: [&str; N]) -> (Process, [Running; N]) {
    leased(rig);
    rig.store.open().await.unwrap();
    let first = Process::start(rig, "first").await;
    first.store.share();
    first.during(rig.until("the first one trades", || rig.verdict(&first.running) == Verdict::Open)).await;
    let others = others.map(|name| {
        let (running, store) = rig.beside(name);
        store.share();
        running
    });
    let are_ready = || others.iter().all(|one| one.house.health.phase() == Phase::Ready);
    first.during(rig.until("the others stand by", are_ready)).await;
    (first, others)
}

async fn all_sent_once(rig: &Rig, name: &str, slices: usize) {
    rig.until_all_ended().await;
    let filled = rig.statuses(&id(name)).iter().filter(|status| **status == OrderStatus::Filled).count();
    assert_eq!(filled, slices, "none is lost: {:?}", rig.statuses(&id(name)));
    assert_eq!(rig.venue.submissions().len(), slices);
    rig.audit_at_rest();
}

#[test]
fn an_account_is_taken_over_from_an_instance_that_was_killed_and_no_slice_is_lost_or_sent_twice() {
    for after in [0, 700, 1_400, 2_900, 10_003, 20_001] {
        run(|mut rig| async move {
            leased(&mut rig);
            let (first, second) = two(&rig).await;
            first.during(first.running.submit(parent("worked", 100, 10, 10))).await;
            first.during(sleep(millis(after))).await;
            drop(first);
            let killed = Instant::now();
            rig.until("the second one trades", || rig.verdict(&second) == Verdict::Open).await;
            assert!(killed.elapsed() <= TAKEN_OVER, "{:?} after {after} ms", killed.elapsed());
            all_sent_once(&rig, "worked", 10).await;
        });
    }
}

#[test]
fn a_clean_end_gives_the_account_up_at_once() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        let drained = first.running.house.supervisor.send(tranche_actors::supervisor::DrainAll);
        first.during(drained).await.unwrap();
        let ended = Instant::now();
        rig.until("the second one trades", || rig.verdict(&second) == Verdict::Open).await;
        assert!(ended.elapsed() <= LEASE.renew_every + millis(500), "{:?}", ended.elapsed());
        let seen = rig.store.stack().await.unwrap().instances;
        assert_eq!(seen.iter().map(|seen| seen.card.id.as_str()).collect::<Vec<_>>(), ["second"]);
    });
}

#[test]
fn a_frozen_owner_wakes_up_shut_sends_nothing_and_its_writes_are_refused() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        first.during(first.running.submit(parent("worked", 100, 10, 10))).await;
        first.during(sleep(seconds(5))).await;
        let deposed = ownership(&first.running, "first");
        rig.until("the second one trades", || rig.verdict(&second) == Verdict::Open).await;
        sleep(seconds(30)).await;

        let sent = rig.venue.submissions().len();
        assert!(rig.reasons(&first.running).contains(&ShutReason::NotOwner), "before it does a single step");
        let late = Batch {
            writer: Writer::Owner(deposed),
            nonce: rig.entropy.bits(),
            at: rig.clock.now(),
            day_end: DayEnd::new_york(),
            writes: vec![Write::Claim { id: id("worked-9"), plan_version: Some(1), reduces: false, limits: 0 }],
        };
        assert!(matches!(rig.store.commit(&late).await, Err(StoreError::Deposed)));
        first.during(sleep(millis(50))).await;
        assert_eq!(rig.venue.submissions().len(), sent, "it sent nothing when it woke up");
        let standing = || first.running.house.accounts.first().health.standing();
        first.during(rig.until("it stands by", || matches!(standing(), Standing::Standby { .. }))).await;
        assert_eq!(standing(), Standing::Standby { owner: "second".to_owned() });
        first.during(all_sent_once(&rig, "worked", 10)).await;
        assert!(owns(&second) && !owns(&first.running));
    });
}

#[test]
fn a_send_that_is_under_way_is_cut_off_at_the_end_of_the_lease() {
    run(|mut rig| async move {
        leased(&mut rig);
        rig.tuning.send_timeout = seconds(120);
        let (first, second) = two(&rig).await;
        rig.venue.plan([Fate::RequestLost]);
        first.during(first.running.submit(parent("worked", 20, 2, 60))).await;
        first.during(sleep(seconds(2))).await;
        assert!(!first.running.house.accounts.first().in_flight.is_empty());
        rig.until("the second one trades", || rig.verdict(&second) == Verdict::Open).await;
        first.during(sleep(millis(20))).await;
        assert!(first.running.house.accounts.first().in_flight.is_empty(), "it is cut before it goes on");
        first.during(rig.until_all_ended()).await;
        assert_eq!(rig.statuses(&id("worked")), [OrderStatus::Filled; 2]);
        assert_eq!(rig.venue.submissions().len(), 3, "the lost one was sent again, by the next owner");
        rig.audit_at_rest();
    });
}

#[test]
fn a_slow_answer_is_waited_for_as_long_as_the_lease_is_renewed() {
    run(|mut rig| async move {
        leased(&mut rig);
        rig.tuning.send_timeout = seconds(20);
        let (first, _second) = two(&rig).await;
        rig.venue.plan([Fate::AnsweredAfter(seconds(15))]);
        first.during(first.running.submit(parent("worked", 20, 2, 60))).await;
        first.during(sleep(seconds(12))).await;
        assert!(!first.running.house.accounts.first().in_flight.is_empty());
        first.during(all_sent_once(&rig, "worked", 2)).await;
        let in_doubt = rig.store.look(|ledger| ledger.events().iter().any(|event| event.event == "outcome_unknown"));
        assert!(!in_doubt, "its outcome was never in doubt");
    });
}

#[test]
fn a_writer_that_lost_the_account_over_a_commit_in_doubt_writes_again_once_the_account_is_back() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        first.during(first.running.submit(parent("worked", 100, 10, 20))).await;
        first.store.plan([CommitFault::Unknown { committed: false }]);
        for call in ["settle", "renew", "acquire"] {
            first.store.calls.fail(call, true);
        }
        first.during(rig.until("the second one trades", || rig.verdict(&second) == Verdict::Open)).await;
        first.during(sleep(seconds(30))).await;
        first.store.calls.heal();
        first.during(second.house.supervisor.send(tranche_actors::supervisor::DrainAll)).await.unwrap();
        first.during(rig.until("the first one trades again", || rig.verdict(&first.running) == Verdict::Open)).await;
        first.during(all_sent_once(&rig, "worked", 10)).await;
    });
}

#[test]
fn the_late_word_of_an_earlier_term_does_not_depose_the_one_that_holds() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        first.during(first.running.submit(parent("worked", 100, 10, 20))).await;
        first.store.plan([CommitFault::Slow(seconds(60))]);
        for call in ["renew", "acquire"] {
            first.store.calls.fail(call, true);
        }
        first.during(rig.until("the second one trades", || rig.verdict(&second) == Verdict::Open)).await;
        first.store.calls.heal();
        first.during(second.house.supervisor.send(tranche_actors::supervisor::DrainAll)).await.unwrap();
        first.during(rig.until("the account is back", || owns(&first.running))).await;
        let term = first.running.house.accounts.first().health.term();
        first.during(rig.until("it trades", || rig.verdict(&first.running) == Verdict::Open)).await;
        first.during(sleep(seconds(60))).await;
        assert_eq!(first.running.house.accounts.first().health.term(), term, "it was never lost again");
        first.during(rig.until_all_ended()).await;
    });
}

#[test]
fn an_owner_that_can_not_renew_stops_by_itself_before_its_lease_is_over() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        let began = Instant::now();
        first.store.calls.fail("renew", true);
        first.store.calls.fail("acquire", true);
        first.during(rig.until("the first one stops", || !owns(&first.running))).await;
        assert!(began.elapsed() < LEASE.length, "{:?}", began.elapsed());
        let reasons = rig.reasons(&first.running);
        assert!(reasons.contains(&ShutReason::NotOwner), "{reasons:?}");
        first.store.calls.heal();
        first
            .during(rig.until("somebody trades", || {
                [&first.running, &second].iter().any(|it| rig.verdict(it) == Verdict::Open)
            }))
            .await;
        assert!(owns(&first.running) != owns(&second));
    });
}

#[test]
fn a_lease_goes_on_over_renewals_that_fail_or_come_late_for_a_while() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        let term = first.running.house.accounts.first().health.term();
        for _ in 0..5 {
            first.store.calls.fail("renew", true);
            first.during(sleep(seconds(2))).await;
            first.store.calls.fail("renew", false);
            first.during(sleep(seconds(1))).await;
            first.store.calls.delay("renew", seconds(1));
            first.during(sleep(seconds(8))).await;
            first.store.calls.delay("renew", Duration::ZERO);
            assert_eq!(rig.verdict(&first.running), Verdict::Open);
        }
        assert_eq!(first.running.house.accounts.first().health.term(), term);
        assert!(!owns(&second));
    });
}

#[test]
fn one_renewal_that_is_never_answered_costs_no_lease() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        let term = first.running.house.accounts.first().health.term();
        first.store.calls.silence("renew", true);
        first.during(sleep(seconds(4))).await;
        first.store.calls.silence("renew", false);
        for _ in 0..20 {
            first.during(sleep(seconds(1))).await;
            assert_eq!(rig.verdict(&first.running), Verdict::Open);
        }
        assert_eq!(first.running.house.accounts.first().health.term(), term);
        assert!(!owns(&second));
    });
}

#[test]
fn renewals_that_are_all_answered_late_keep_the_lease() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        let term = first.running.house.accounts.first().health.term();
        first.store.calls.delay("renew", millis(2_900));
        for _ in 0..60 {
            first.during(sleep(seconds(1))).await;
            assert_eq!(rig.verdict(&first.running), Verdict::Open);
        }
        assert_eq!(first.running.house.accounts.first().health.term(), term);
        assert!(!owns(&second));
    });
}

#[test]
fn an_account_that_is_taken_while_the_instance_ends_is_given_up() {
    run(|mut rig| async move {
        leased(&mut rig);
        rig.store.open().await.unwrap();
        let only = Process::start(&rig, "only").await;
        only.during(rig.until("it trades", || rig.verdict(&only.running) == Verdict::Open)).await;
        for call in ["renew", "acquire"] {
            only.store.calls.fail(call, true);
        }
        only.during(rig.until("the lease is over", || !owns(&only.running))).await;
        only.during(sleep(seconds(5))).await;
        only.store.calls.heal();
        only.store.calls.delay("acquire", millis(400));
        let asked = only.store.calls.made("acquire");
        only.during(rig.until("the store is asked", || only.store.calls.made("acquire") > asked)).await;
        only.during(only.running.house.supervisor.send(tranche_actors::supervisor::DrainAll)).await.unwrap();
        let account = rig.store.stack().await.unwrap().accounts.remove(0);
        assert_eq!((account.owner, account.left), (None, None));
    });
}

#[test]
fn a_renewal_that_is_answered_after_the_lease_ended_prolongs_nothing() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        // The store takes the renewal in the end, and nobody else can have the account: still it ended here.
        first.store.calls.delay("renew", seconds(9));
        let term = first.running.house.accounts.first().health.term();
        first.during(rig.until("the first one stops", || !owns(&first.running))).await;
        first.store.calls.delay("renew", Duration::ZERO);
        first
            .during(rig.until("somebody trades", || {
                [&first.running, &second].iter().any(|it| rig.verdict(it) == Verdict::Open)
            }))
            .await;
        assert!(first.running.house.accounts.first().health.term() != term);
    });
}

#[test]
fn a_cancel_at_the_instance_that_does_not_own_the_account_is_marked_there_and_carried_out_by_the_owner() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, second) = two(&rig).await;
        first.during(first.running.submit(resting_parent("worked", 30, 3, 30))).await;
        first.during(sleep(seconds(1))).await;
        assert_eq!(rig.venue.submissions().len(), 1);
        let cancel = CancelParent { id: id("worked"), by: caller() };
        let canceled = first.during(second.house.accounts.first().desk.cancel_parent.send(cancel)).await.unwrap();
        let counts = canceled.unwrap().counts;
        assert_eq!((counts.pending_canceled, counts.open_cancel_requested), (2, 1));
        let asked = Instant::now();
        first.during(rig.until_all_ended()).await;
        assert!(asked.elapsed() <= seconds(2), "the owner looks for marks every second: {:?}", asked.elapsed());
        assert_eq!(rig.parent(&id("worked")).status, ParentStatus::Canceled);
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit_at_rest();
    });
}

#[test]
fn a_cancel_elsewhere_and_a_slice_at_the_same_instant_have_one_outcome() {
    for micros in (0..40).map(|n| n * 250) {
        run(|mut rig| async move {
            leased(&mut rig);
            let (first, second) = two(&rig).await;
            first.during(first.running.submit(parent("worked", 20, 2, 10))).await;
            first.during(sleep(seconds(10) - millis(5) + Duration::from_micros(micros))).await;
            let cancel = CancelParent { id: id("worked"), by: caller() };
            let canceled = first.during(second.house.accounts.first().desk.cancel_parent.send(cancel)).await.unwrap();
            first.during(rig.until_all_ended()).await;
            let parent = rig.parent(&id("worked"));
            match canceled {
                Ok(_) => assert!(matches!(parent.status, ParentStatus::Canceled | ParentStatus::Completed)),
                Err(CommandError::ParentTerminal) => assert_eq!(parent.status, ParentStatus::Completed),
                Err(error) => panic!("{error}"),
            }
            rig.audit_at_rest();
        });
    }
}

#[test]
fn a_cancel_at_an_owner_whose_writer_hangs_is_marked_all_the_same() {
    run(|mut rig| async move {
        leased(&mut rig);
        let (first, _second) = two(&rig).await;
        first.during(first.running.submit(resting_parent("worked", 30, 3, 60))).await;
        first.during(sleep(seconds(1))).await;
        let desk = first.running.house.accounts.first().desk.clone();
        first.store.plan([CommitFault::Slow(seconds(7))]);
        let hangs =
            desk.cancel_order.send(CancelOrder { id: rig.slices(&id("worked"))[2].id.clone(), by: caller().into() });
        let canceled = async {
            sleep(millis(1_500)).await;
            let asked = Instant::now();
            let canceled = desk.cancel_parent.send(CancelParent { id: id("worked"), by: caller() }).await.unwrap();
            assert!(asked.elapsed() < seconds(1), "{:?}", asked.elapsed());
            canceled.unwrap().counts
        };
        let (_, counts) = first.during(async { futures_util::join!(hangs, canceled) }).await;
        assert_eq!((counts.pending_canceled, counts.open_cancel_requested), (2, 1));
        first.during(rig.until_all_ended()).await;
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit_at_rest();
    });
}

#[test]
fn a_parent_that_was_ended_elsewhere_no_longer_counts_as_open_at_its_owner() {
    run(|mut rig| async move {
        leased(&mut rig);
        rig.tuning.max_open_parents = 1;
        let (first, second) = two(&rig).await;
        first.during(first.running.submit(parent("worked", 30, 3, 3_600))).await;
        first.during(rig.until("one slice traded", || rig.statuses(&id("worked"))[0] == OrderStatus::Filled)).await;
        let cancel = CancelParent { id: id("worked"), by: caller() };
        first.during(second.house.accounts.first().desk.cancel_parent.send(cancel)).await.unwrap().unwrap();
        assert!(rig.parent(&id("worked")).status.is_terminal());
        first.during(sleep(seconds(11))).await;
        first.during(first.running.submit(parent("next", 10, 1, 10))).await;
        first.during(rig.until_all_ended()).await;
        rig.audit_at_rest();
    });
}

/// Nothing is asked of the store any more with an answer.
fn cut_off(store: &MemoryStore) {
    for call in [
        "renew",
        "acquire",
        "commit",
        "settle",
        "order",
        "open_orders",
        "marked_orders",
        "unknown_orders",
        "switches",
        "stack",
        "confirm",
        "confirmations",
        "heartbeat",
        "open_parents",
    ] {
        store.calls.fail(call, true);
    }
}

#[test]
fn engaging_while_the_database_is_away_for_longer_than_a_lease_cancels_at_the_broker_and_lists_what_is_in_doubt() {
    run(|mut rig| async move {
        let (first, []) = sharing(&mut rig, []).await;
        first.during(first.running.submit(resting_parent("open", 30, 3, 60))).await;
        first.during(sleep(seconds(2))).await;
        rig.venue.plan([Fate::RequestLost]);
        first.during(first.running.submit(parent("doubtful", 10, 1, 10))).await;
        first.during(sleep(millis(500))).await;
        cut_off(&first.store);
        first.during(sleep(seconds(30))).await;
        assert_eq!(first.running.house.accounts.first().health.standing(), Standing::Unknown);
        let answer = first.during(first.running.engage(KillMode::Cancel)).await.unwrap();
        assert_eq!((answer.cancel_requested, answer.cancel_confirmed, answer.cancel_failed), (1, 1, 0), "{answer:?}");
        assert_eq!(answer.unknown, [rig.slices(&id("doubtful"))[0].id.clone()]);
        assert_eq!((answer.not_durable.as_slice(), answer.covers), (["database"].as_slice(), "this_instance"));
        first.store.calls.heal();
        first.during(rig.until_all_ended()).await;
        assert_eq!(rig.statuses(&id("open"))[0], OrderStatus::Canceled);
        rig.audit_at_rest();
    });
}

#[test]
fn an_engagement_cancels_at_the_broker_what_an_owner_that_is_frozen_left_open() {
    run(|mut rig| async move {
        let (first, [second]) = sharing(&mut rig, ["second"]).await;
        first.during(first.running.submit(resting_parent("open", 30, 3, 600))).await;
        first.during(sleep(seconds(2))).await;

        let answer = second.engage(KillMode::Cancel).await.unwrap();
        let outcomes = answer.instances.iter().map(|one| (one.id.as_str(), one.outcome)).collect::<Vec<_>>();
        assert_eq!(outcomes, [("second", "confirmed"), ("first", "lapsed")]);
        assert_eq!((answer.cancel_requested, answer.cancel_confirmed, answer.cancel_failed), (1, 1, 0), "{answer:?}");
        assert!(!owns(&second), "it did not wait to be the owner");
        first.during(sleep(seconds(30))).await;
        assert_eq!(rig.statuses(&id("open"))[0], OrderStatus::Canceled);
        assert_eq!(rig.venue.submissions().len(), 1);
    });
}

#[test]
fn an_engagement_that_was_released_while_a_frozen_owner_was_waited_for_cancels_nothing_of_it() {
    run(|mut rig| async move {
        let (first, [second, third]) = sharing(&mut rig, ["second", "third"]).await;
        first.during(first.running.submit(resting_parent("open", 30, 3, 600))).await;
        first.during(sleep(seconds(2))).await;
        let wish = Engage { settle: Some(seconds(6)), ..engage(KillMode::Cancel) };
        let (answer, released) = futures_util::join!(second.house.kill_switch.engage(wish), async {
            sleep(seconds(3)).await;
            third.disengage().await
        });
        released.unwrap();
        let answer = answer.unwrap();
        assert_eq!(answer.instances.iter().find(|one| one.id == "first").unwrap().outcome, "lapsed", "{answer:?}");
        assert_eq!(answer.cancel_requested, 0, "{answer:?}");
        assert!(rig.venue.in_book(&rig.slices(&id("open"))[0].id).unwrap().status == VenueStatus::Accepted);
    });
}
