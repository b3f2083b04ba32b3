//! The kill switch of a part: what is of it stops, at once and durably, and what is not goes on.

use tokio::time::sleep;
use tranche_actors::commands::{CommandError, Disengage, Engage, EngageAnswer, SubmitOrder, SubmitParent};
use tranche_actors::domain::kill::{KillMode, KillState};
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::{StrategyId, Symbol};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::ports::store::{InstanceCard, Store};
use tranche_simulation::clock::EPOCH;
use tranche_simulation::store::CommitFault;

use crate::support::orders::{account, caller, id, parent, resting_parent, resting_single, single, symbol};
use crate::support::rig::{Running, engage, millis, run, seconds};

const FILLED: OrderStatus = OrderStatus::Filled;
const BLOCKED: OrderStatus = OrderStatus::BlockedKillSwitch;

fn strategy(name: &str) -> LimitScope {
    LimitScope::Strategy(StrategyId::parse(name).unwrap())
}

async fn stop(running: &Running, scope: &LimitScope, mode: KillMode) -> Result<EngageAnswer, CommandError> {
    running.house.kill_switch.engage(Engage { scope: scope.clone(), ..engage(mode) }).await
}

async fn release(running: &Running, scope: &LimitScope) -> Result<KillState, CommandError> {
    let release = Disengage { operator: "ops".to_owned(), notes: None, scope: scope.clone(), by: caller().into() };
    running.house.switches.disengage.send(release).await.unwrap().map(|released| released.state)
}

/// A parent of another strategy, in another symbol.
fn elsewhere(mut submit: SubmitParent) -> SubmitParent {
    submit.request.strategy_id = StrategyId::parse("other").unwrap();
    submit.request.instruction.symbol = Symbol::parse("OTHER").unwrap();
    submit
}

fn elsewhere_single(mut submit: SubmitOrder) -> SubmitOrder {
    submit.request.strategy_id = StrategyId::parse("other").unwrap();
    submit.request.instruction.symbol = Symbol::parse("OTHER").unwrap();
    submit
}

async fn submit_single(running: &Running, submit: SubmitOrder) -> Result<OrderStatus, CommandError> {
    let desk = &running.house.accounts.first().desk;
    desk.submit_order.send(submit).await.unwrap().map(|submitted| submitted.order.status)
}

#[test]
fn what_is_of_a_stopped_part_ends_blocked_and_everything_else_goes_on_also_after_a_restart() {
    for scope in [strategy("seam"), LimitScope::Symbol(symbol())] {
        run(|rig| async move {
            rig.live(async |rig| {
                let running = rig.open().await;
                running.submit(parent("stopped", 40, 4, 20)).await;
                running.submit(elsewhere(parent("free", 40, 4, 20))).await;
                sleep(seconds(30)).await;
                let answer = stop(&running, &scope, KillMode::Halt).await.unwrap();
                assert_eq!((&answer.scope, answer.not_durable.len(), answer.covers), (&scope, 0, "all"));
                assert!(answer.unknown.is_empty(), "{answer:?}");
                assert_eq!(rig.verdict(&running), Verdict::Open, "the gate of everything is open");
                let refused = submit_single(&running, single("late", 1)).await;
                assert!(
                    matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))),
                    "{scope}: {refused:?}"
                );
                submit_single(&running, elsewhere_single(single("fine", 1))).await.unwrap();
                sleep(seconds(15)).await;
            })
            .await;
            assert_eq!(rig.statuses(&id("stopped"))[..3], [FILLED, FILLED, BLOCKED]);
            let running = rig.open().await;
            rig.until_all_ended().await;
            assert_eq!(rig.statuses(&id("stopped")), [FILLED, FILLED, BLOCKED, BLOCKED], "{scope}");
            assert_eq!(rig.statuses(&id("free")), [FILLED; 4], "{scope}");
            assert_eq!(running.house.health.halts().len(), 1);
            assert!(!release(&running, &scope).await.unwrap().is_engaged());
            submit_single(&running, single("again", 1)).await.unwrap();
            assert!(matches!(release(&running, &scope).await, Err(CommandError::NotEngaged)));
            let history = rig.store.look(|ledger| ledger.history("kill_switch"));
            let events = history.iter().map(|entry| entry.event.as_str()).collect::<Vec<_>>();
            assert_eq!(events, ["ENGAGED", "DISENGAGED"]);
            let audited = rig.store.audit(None, 10).await.unwrap().items;
            let subjects = audited.iter().map(|audited| audited.entry.subject.clone()).collect::<Vec<_>>();
            assert_eq!(subjects, [format!("kill_switch {scope}"), format!("kill_switch {scope}")]);
        });
    }
}

#[test]
fn a_part_stays_stopped_where_everything_is_stopped_before_it_could_be_read_and_let_go_again() {
    run(|rig| async move {
        let scope = strategy("seam");
        rig.live(async |rig| {
            let running = rig.open().await;
            stop(&running, &scope, KillMode::Halt).await.unwrap();
        })
        .await;
        rig.store.calls.fail("switches", true);
        let running = rig.start();
        sleep(seconds(1)).await;
        running.engage(KillMode::Halt).await.unwrap();
        assert!(matches!(running.disengage().await, Err(CommandError::StoreUnavailable)), "who knows what is stopped?");
        rig.store.calls.fail("switches", false);
        sleep(seconds(1)).await;
        running.disengage().await.unwrap();
        rig.until("the gate opens", || rig.verdict(&running) == Verdict::Open).await;
        let refused = submit_single(&running, single("late", 1)).await;
        assert!(matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{refused:?}");
        release(&running, &scope).await.unwrap();
        submit_single(&running, single("again", 1)).await.unwrap();
    });
}

#[test]
fn in_mode_cancel_the_open_orders_of_the_part_are_cancelled_and_no_others() {
    for scope in [strategy("seam"), LimitScope::Symbol(symbol())] {
        run(|rig| async move {
            let running = rig.open().await;
            running.submit(resting_parent("slices", 40, 4, 200)).await;
            running.submit(elsewhere(resting_parent("others", 40, 4, 200))).await;
            submit_single(&running, resting_single("one", 1)).await.unwrap();
            submit_single(&running, elsewhere_single(resting_single("another", 1))).await.unwrap();
            sleep(seconds(2)).await;
            let answer = stop(&running, &scope, KillMode::Cancel).await.unwrap();
            assert_eq!((answer.cancel_requested, answer.cancel_confirmed), (2, 2), "{scope}: {answer:?}");
            sleep(seconds(2)).await;
            assert_eq!(rig.statuses(&id("slices"))[0], OrderStatus::Canceled, "{scope}");
            assert_eq!(rig.order(&id("one")).status, OrderStatus::Canceled, "{scope}");
            assert_eq!(rig.statuses(&id("others"))[0], OrderStatus::Accepted, "{scope}");
            assert_eq!(rig.order(&id("another")).status, OrderStatus::Accepted, "{scope}");
        });
    }
}

#[test]
fn a_part_escalates_and_releasing_it_releases_nothing_else() {
    run(|rig| async move {
        let running = rig.open().await;
        let scope = LimitScope::Account(account());
        submit_single(&running, resting_single("one", 1)).await.unwrap();
        let halted = stop(&running, &scope, KillMode::Halt).await.unwrap();
        let again = stop(&running, &scope, KillMode::Halt).await;
        assert!(matches!(again, Err(CommandError::AlreadyEngaged(_))), "{again:?}");
        assert_eq!(rig.order(&id("one")).status, OrderStatus::Accepted);
        let stricter = stop(&running, &scope, KillMode::Cancel).await.unwrap();
        assert_eq!(stricter.engagement_id, halted.engagement_id);
        rig.until("it is cancelled", || rig.order(&id("one")).status == OrderStatus::Canceled).await;
        running.engage(KillMode::Halt).await.unwrap();
        release(&running, &scope).await.unwrap();
        assert_eq!(rig.verdict(&running), Verdict::Shut(ShutReason::KillSwitchEngaged));
        stop(&running, &scope, KillMode::Halt).await.unwrap();
        running.disengage().await.unwrap();
        assert_eq!(rig.verdict(&running), Verdict::Open);
        let refused = submit_single(&running, single("late", 1)).await;
        assert!(matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{refused:?}");
    });
}

fn writes_halts(write: &Write) -> bool {
    if let Write::Requested { write, .. } = write {
        return matches!(**write, Write::Halts { .. });
    }
    matches!(write, Write::Halts { .. })
}

#[test]
fn a_part_whose_release_the_store_does_not_take_stays_stopped_and_is_let_go_later() {
    run(|rig| async move {
        let running = rig.open().await;
        let scope = LimitScope::Symbol(symbol());
        stop(&running, &scope, KillMode::Halt).await.unwrap();
        rig.store.plan_for(writes_halts, CommitFault::Unavailable);
        let refused = release(&running, &scope).await;
        assert!(matches!(refused, Err(CommandError::StoreUnavailable)), "{refused:?}");
        sleep(seconds(2)).await;
        let late = submit_single(&running, single("late", 1)).await;
        assert!(matches!(late, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{late:?}");
        release(&running, &scope).await.unwrap();
        submit_single(&running, single("fine", 1)).await.unwrap();
    });
}

#[test]
fn a_part_whose_release_is_in_doubt_and_that_is_stopped_again_stays_stopped() {
    for committed in [true, false] {
        run(|rig| async move {
            let running = rig.open().await;
            let scope = LimitScope::Symbol(symbol());
            stop(&running, &scope, KillMode::Halt).await.unwrap();
            rig.store.plan_for(writes_halts, CommitFault::Panic { committed });
            let released = release(&running, &scope).await;
            assert!(matches!(released, Err(CommandError::OutcomeUnknown)), "{released:?}");
            let again = stop(&running, &scope, KillMode::Halt).await;
            assert!(matches!(again, Ok(_) | Err(CommandError::AlreadyEngaged(_))), "{again:?}");
            sleep(seconds(2)).await;
            let late = submit_single(&running, single("late", 1)).await;
            assert!(matches!(late, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{committed}: {late:?}");
            assert_eq!(rig.store.look(|ledger| ledger.switches().halts.in_force.len()), 1, "{committed}");
        });
    }
}

#[test]
fn sends_of_the_part_are_cut_and_named_and_those_of_others_are_left_alone() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.set_latency(seconds(4));
        let wish = Engage { scope: strategy("seam"), settle: Some(millis(500)), ..engage(KillMode::Halt) };
        let (_, _, answer) = futures_util::join!(
            submit_single(&running, single("cut", 1)),
            submit_single(&running, elsewhere_single(single("spared", 1))),
            async {
                sleep(millis(200)).await;
                running.house.kill_switch.engage(wish).await.unwrap()
            }
        );
        assert_eq!(answer.unknown, [id("cut")], "{answer:?}");
        rig.until_all_ended().await;
        assert_eq!(rig.order(&id("spared")).status, FILLED);
    });
}

#[test]
fn while_the_store_is_down_a_part_is_stopped_and_durable_as_soon_as_it_is_back() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            rig.store.fail_commits(true);
            let answer = stop(&running, &strategy("seam"), KillMode::Halt).await.unwrap();
            assert_eq!(answer.not_durable, ["database"]);
            rig.store.fail_commits(false);
            sleep(seconds(3)).await;
            let refused = submit_single(&running, single("late", 1)).await;
            assert!(matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{refused:?}");
        })
        .await;
        let running = rig.open().await;
        let refused = submit_single(&running, single("later", 1)).await;
        assert!(matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{refused:?}");
    });
}

#[test]
fn another_instance_stops_the_part_too_confirms_it_and_lets_it_go() {
    run(|rig| async move {
        rig.store.share();
        let (other, store) = rig.beside("second");
        store.share();
        let running = rig.open().await;
        for instance in ["seam", "second"] {
            let (id, version) = (instance.to_owned(), "1".to_owned());
            rig.store.heartbeat(&InstanceCard { id, address: None, version, started_at: EPOCH }).await.unwrap();
        }
        let scope = strategy("seam");
        let answer = stop(&running, &scope, KillMode::Halt).await.unwrap();
        assert!(
            answer.instances.len() == 2 && answer.instances.iter().all(|one| one.outcome == "confirmed"),
            "{answer:?}"
        );
        assert_eq!(other.house.health.halts().len(), 1);
        let again = stop(&other, &scope, KillMode::Halt).await;
        assert!(matches!(again, Err(CommandError::AlreadyEngaged(_))), "{again:?}");
        let stricter = stop(&other, &scope, KillMode::Cancel).await.unwrap();
        assert_eq!(stricter.engagement_id, answer.engagement_id);
        release(&other, &scope).await.unwrap();
        sleep(millis(200)).await;
        assert!(running.house.health.halts().is_empty(), "a release on one instance reaches the other");
        submit_single(&running, single("again", 1)).await.unwrap();
    });
}

#[test]
fn two_parts_that_are_stopped_at_once_on_two_instances_both_stay_stopped() {
    run(|rig| async move {
        rig.store.share();
        let (other, store) = rig.beside("second");
        store.share();
        let running = rig.open().await;
        let scopes = [strategy("seam"), LimitScope::Symbol(symbol())];
        let (one, two) =
            futures_util::join!(stop(&running, &scopes[0], KillMode::Halt), stop(&other, &scopes[1], KillMode::Halt));
        one.unwrap();
        two.unwrap();
        sleep(millis(300)).await;
        for house in [&running.house, &other.house] {
            let halted = house.health.halts().into_iter().map(|halt| halt.scope).collect::<Vec<_>>();
            assert_eq!(halted, scopes);
        }
        assert_eq!(rig.store.look(|ledger| ledger.switches().halts.in_force.len()), 2);
    });
}

#[test]
fn who_stops_a_part_while_it_is_being_let_go_finds_it_stopped() {
    let scope = strategy("seam");
    run(|rig| async move {
        let running = rig.open().await;
        stop(&running, &scope, KillMode::Halt).await.unwrap();
        rig.store.calls.delay("commit", millis(400));
        let (released, stopped) = futures_util::join!(release(&running, &scope), async {
            sleep(millis(100)).await;
            stop(&running, &scope, KillMode::Halt).await
        });
        released.unwrap();
        stopped.unwrap();
        sleep(seconds(5)).await;
        let refused = submit_single(&running, single("late", 1)).await;
        assert!(matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{refused:?}");
        assert_eq!(rig.store.look(|ledger| ledger.switches().halts.in_force.len()), 1);
    });
}

#[test]
fn all_else_trades_on_while_another_instance_is_waited_for() {
    let scope = strategy("seam");
    run(|rig| async move {
        rig.store.share();
        let running = rig.open().await;
        // It was there a moment ago, and says nothing.
        let gone = InstanceCard { id: "gone".to_owned(), address: None, version: "1".to_owned(), started_at: EPOCH };
        rig.store.heartbeat(&gone).await.unwrap();
        sleep(seconds(1)).await;
        let (answer, ()) = futures_util::join!(stop(&running, &scope, KillMode::Halt), async {
            for _ in 0..20 {
                sleep(millis(100)).await;
                assert_eq!(rig.verdict(&running), Verdict::Open);
            }
            submit_single(&running, elsewhere_single(single("fine", 1))).await.unwrap();
        });
        assert_eq!(answer.unwrap().instances.len(), 2);
    });
}

#[test]
fn a_stopped_part_that_is_not_durable_yet_outlives_the_death_of_the_actor() {
    let scope = strategy("seam");
    run(|rig| async move {
        let running = rig.open().await;
        rig.store.fail_commits(true);
        let answer = stop(&running, &scope, KillMode::Halt).await.unwrap();
        assert_eq!(answer.not_durable, ["database"]);
        rig.clock.panic_next();
        stop(&running, &LimitScope::Symbol(Symbol::parse("OTHER").unwrap()), KillMode::Halt).await.unwrap_err();
        sleep(seconds(3)).await;
        rig.store.fail_commits(false);
        let is_stored = || rig.store.look(|ledger| ledger.switches().halts.of(&scope).is_some());
        rig.until("it is durable", is_stored).await;
        sleep(seconds(3)).await;
        let refused = submit_single(&running, single("late", 1)).await;
        assert!(matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{refused:?}");
    });
}
