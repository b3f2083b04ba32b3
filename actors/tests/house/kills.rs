//! Stop means stopped: what engaging the kill switch promises, and what releasing it gives back.

use tokio::time::sleep;
use tranche_actors::commands::{CommandError, EngageAnswer};
use tranche_actors::domain::kill::{KillMode, KillWord};
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::names::IdempotencyKey;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::ports::Clock;

use crate::support::orders::{id, parent, resting_parent, resting_single, single};
use crate::support::rig::{Rig, engage, millis, run, seconds};
use tranche_actors::market::faults::EventFault;
use tranche_simulation::store::CommitFault;
use tranche_simulation::venue::Fate;

/// After the answer nothing reaches the venue but what the answer lists, until `rig` says otherwise.
async fn nothing_but_unknown_leaves(rig: &Rig, answer: &EngageAnswer) {
    let (sent, book) = (rig.venue.submissions().len(), rig.venue.book());
    sleep(seconds(90)).await;
    assert_eq!(rig.venue.submissions().len(), sent, "no byte was written after the answer");
    for order in rig.venue.book() {
        let before = book.iter().any(|known| known.client_order_id == order.client_order_id);
        assert!(before || answer.unknown.contains(&order.client_order_id), "{order:?}");
    }
}

#[test]
fn engaging_halts_a_parent_and_due_slices_end_blocked() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("halted", 103, 5, 20)).await;
        sleep(seconds(30)).await;
        let answer = running.engage(KillMode::Halt).await.unwrap();
        assert!(answer.unknown.is_empty() && answer.not_durable.is_empty(), "{answer:?}");
        assert_eq!((answer.covers, answer.state.engagement_count_today), ("all", 1));
        nothing_but_unknown_leaves(&rig, &answer).await;
        let [filled, blocked] = [OrderStatus::Filled, OrderStatus::BlockedKillSwitch];
        assert_eq!(rig.statuses(&id("halted")), [filled, filled, blocked, blocked, blocked]);
        let refused =
            running.house.accounts.first().desk.submit_order.send(single("next", 1)).await.unwrap().unwrap_err();
        assert!(matches!(refused, CommandError::Gate(ShutReason::KillSwitchEngaged)), "{refused}");
        rig.audit_at_rest();
    });
}

#[test]
fn engaging_lists_what_is_in_flight_and_cancels_it_when_it_shows_up() {
    run(|mut rig| async move {
        rig.tuning.send_timeout = seconds(8);
        let running = rig.open().await;
        running.submit(resting_parent("caught", 100, 10, 10)).await;
        sleep(seconds(25)).await;
        rig.venue.plan([Fate::AnswerLost]);
        rig.until("the fourth slice is in flight", || rig.venue.submissions().len() == 4).await;
        let answer = running.engage(KillMode::Cancel).await.unwrap();
        let caught = rig.slices(&id("caught"))[3].id.clone();
        assert_eq!(answer.unknown, std::slice::from_ref(&caught));
        assert_eq!((answer.cancel_requested, answer.cancel_confirmed), (4, 4));
        nothing_but_unknown_leaves(&rig, &answer).await;
        assert_eq!(rig.order(&caught).status, OrderStatus::Canceled);
        let ended = rig.statuses(&id("caught"));
        assert!(ended[..4].iter().all(|status| *status == OrderStatus::Canceled), "{ended:?}");
        assert!(ended[4..].iter().all(|status| *status == OrderStatus::BlockedKillSwitch), "{ended:?}");
        rig.audit_at_rest();
    });
}

#[test]
fn an_order_of_unknown_that_arrives_late_is_cancelled_or_filled() {
    run(|mut rig| async move {
        rig.tuning.unknown_settle = seconds(1);
        let running = rig.open().await;
        running.submit(resting_parent("late", 100, 10, 10)).await;
        sleep(seconds(5)).await;
        rig.venue.plan([Fate::ArrivesAfter(seconds(12))]);
        rig.until("the second slice is out", || rig.venue.submissions().len() == 2).await;
        let answer = running.engage(KillMode::Cancel).await.unwrap();
        let late = rig.slices(&id("late"))[1].id.clone();
        assert_eq!(answer.unknown, std::slice::from_ref(&late));
        nothing_but_unknown_leaves(&rig, &answer).await;
        assert!(rig.venue.in_book(&late).unwrap().status.is_terminal());
        assert_eq!(rig.order(&late).status, OrderStatus::Canceled);
        rig.audit_at_rest();
    });
}

#[test]
fn a_mark_that_the_store_could_not_take_in_time_is_written_before_anything_is_let_go() {
    run(|mut rig| async move {
        rig.tuning.unknown_settle = seconds(1);
        rig.live(async |rig| {
            let running = rig.open().await;
            rig.venue.plan([Fate::ArrivesAfter(seconds(60))]);
            running.send(resting_single("late", 5)).await;
            sleep(seconds(1)).await;
        })
        .await;
        // Nobody works for the account before somebody has it.
        rig.store.calls.fail("acquire", true);
        let running = rig.start();
        sleep(seconds(1)).await;
        for _ in 0..25 {
            rig.store.plan_for(|write| matches!(write, Write::MarkCancels { .. }), CommitFault::Unavailable);
        }
        let answer = running.engage(KillMode::Cancel).await.unwrap();
        assert_eq!(answer.unknown, [id("late")]);
        assert!(!rig.store.is_through(), "not marked in time");
        while let Err(error) = running.disengage().await {
            assert!(matches!(error, CommandError::StoreUnavailable), "{error}");
        }
        assert!(rig.store.is_through());
        rig.store.calls.fail("acquire", false);
        rig.until("it trades", || rig.verdict(&running) == Verdict::Open).await;
        running.send(resting_single("fine", 5)).await;
        sleep(seconds(120)).await;
        assert_eq!(rig.order(&id("late")).status, OrderStatus::Canceled);
        assert_eq!(rig.order(&id("fine")).status, OrderStatus::Accepted, "what was sent since is none of it");
    });
}

#[test]
fn after_a_restart_the_switch_is_still_engaged_and_disengaging_lets_new_orders_pass() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            running.engage(KillMode::Cancel).await.unwrap();
        })
        .await;
        let running = rig.start();
        sleep(seconds(5)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
        assert!(!running.disengage().await.unwrap().is_engaged());
        assert_eq!(rig.verdict(&running), Verdict::Open);
        let order = running.send(single("after", 1)).await;
        assert_eq!(order.status, OrderStatus::Accepted);
        assert!(matches!(running.disengage().await, Err(CommandError::NotEngaged)));
        let history = rig.store.look(|ledger| ledger.history("kill_switch"));
        let events = history.iter().map(|entry| entry.event.as_str()).collect::<Vec<_>>();
        assert_eq!(events, ["ENGAGED", "DISENGAGED"]);
    });
}

#[test]
fn engaging_while_the_store_is_down_says_so_and_is_saved_when_it_is_back() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("down", 103, 5, 20)).await;
        sleep(seconds(5)).await;
        rig.store.fail_commits(true);
        rig.store.calls.fail("unknown_orders", true);
        let began = rig.clock.now();
        let answer = running.engage(KillMode::Cancel).await.unwrap();
        assert!((rig.clock.now() - began).num_milliseconds() < 4_000);
        assert_eq!((answer.not_durable, answer.covers), (vec!["database"], "this_instance"));
        sleep(seconds(30)).await;
        assert!(!rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
        rig.store.fail_commits(false);
        sleep(seconds(2)).await;
        assert!(rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
        rig.until_all_ended().await;
        assert_eq!(rig.venue.submissions().len(), 1);
        rig.audit_at_rest();
    });
}

#[test]
fn engaging_before_anything_could_be_read_holds_through_the_first_read() {
    run(|rig| async move {
        rig.store.calls.fail("open", true);
        let running = rig.start();
        sleep(seconds(1)).await;
        let answer = running.engage(KillMode::Halt).await.unwrap();
        assert_eq!(answer.not_durable, ["database"]);
        rig.store.calls.fail("open", false);
        sleep(seconds(5)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
        assert!(rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
    });
}

#[test]
fn engaging_again_is_a_conflict_and_a_stricter_mode_escalates() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(resting_parent("open", 100, 2, 10)).await;
        sleep(seconds(5)).await;
        let halted = running.engage(KillMode::Halt).await.unwrap();
        assert_eq!(halted.cancel_requested, 0);
        let again = running.engage(KillMode::Halt).await.unwrap_err();
        assert!(matches!(&again, CommandError::AlreadyEngaged(state) if **state == halted.state), "{again}");
        sleep(seconds(5)).await;
        let escalated = running.engage(KillMode::Cancel).await.unwrap();
        assert_eq!(escalated.state.engaged_at, halted.state.engaged_at);
        assert_eq!(escalated.engagement_id, halted.engagement_id);
        assert_eq!((escalated.cancel_requested, escalated.cancel_confirmed), (1, 1));
        assert!(matches!(running.engage(KillMode::Halt).await, Err(CommandError::AlreadyEngaged(_))));
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn engaging_when_the_actor_just_died_holds_and_is_carried_out_when_it_is_back() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(resting_parent("open", 100, 2, 10)).await;
        sleep(seconds(5)).await;
        // The first engagement dies in its last step; the stricter one meets an actor that is not there.
        rig.store.calls.panic("unknown_orders", 1);
        rig.store.calls.delay("switches", seconds(1));
        running.engage(KillMode::Halt).await.unwrap_err();
        let stricter = running.engage(KillMode::Cancel).await;
        assert!(rig.reasons(&running).contains(&ShutReason::KillSwitchEngaged), "{stricter:?}");
        sleep(seconds(10)).await;
        let state = rig.store.look(|ledger| ledger.switches().kill.unwrap());
        assert_eq!((state.is_engaged(), state.mode), (true, Some(KillMode::Cancel)));
        assert_eq!(rig.statuses(&id("open"))[0], OrderStatus::Canceled);
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn an_order_whose_sender_was_cut_down_in_the_middle_is_listed_also_without_the_store() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.decide_events(|_| EventFault::Lost);
        rig.venue.plan([Fate::AnswerLost]);
        running.submit(resting_parent("cut", 100, 2, 60)).await;
        rig.until("it is in flight", || !running.house.accounts.first().in_flight.is_empty()).await;
        // The writer dies and takes the broker with it; then neither store nor venue can be asked.
        rig.store.plan([CommitFault::Panic { committed: false }]);
        running.house.accounts.first().desk.submit_parent.send(parent("next", 10, 2, 10)).await.unwrap().unwrap_err();
        rig.store.fail_commits(true);
        rig.store.calls.fail("unknown_orders", true);
        rig.venue.calls.fail("open_orders", true);
        rig.venue.calls.fail("find", true);
        let answer = running.engage(KillMode::Cancel).await.unwrap();
        assert_eq!(answer.unknown, [rig.slices(&id("cut"))[0].id.clone()]);
    });
}

#[test]
fn a_stricter_engagement_survives_the_actor_before_it_is_durable() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(resting_parent("open", 100, 2, 10)).await;
        sleep(seconds(5)).await;
        running.engage(KillMode::Halt).await.unwrap();
        rig.store.fail_commits(true);
        rig.store.calls.panic("unknown_orders", 1);
        running.engage(KillMode::Cancel).await.unwrap_err();
        rig.store.fail_commits(false);
        sleep(seconds(5)).await;
        let state = rig.store.look(|ledger| ledger.switches().kill.unwrap());
        assert_eq!((state.is_engaged(), state.mode), (true, Some(KillMode::Cancel)));
        assert_eq!(rig.statuses(&id("open"))[0], OrderStatus::Canceled);
        rig.until_all_ended().await;
        rig.audit_at_rest();
    });
}

#[test]
fn a_repeated_key_answers_the_same_and_does_not_shut_what_was_released_since() {
    run(|rig| async move {
        let running = rig.open().await;
        let key = IdempotencyKey::parse("stop-1").unwrap();
        let mut keyed = engage(KillMode::Halt);
        keyed.key = Some((key, "hash".to_owned()));
        let (first, second) = futures_util::join!(running.house.kill_switch.engage(keyed.clone()), async {
            sleep(millis(1)).await;
            running.house.kill_switch.engage(keyed.clone()).await
        });
        let first = first.unwrap();
        assert_eq!(second.unwrap(), first, "also while the first one is carried out");
        running.disengage().await.unwrap();
        assert_eq!(running.house.kill_switch.engage(keyed.clone()).await.unwrap(), first);
        assert_eq!(rig.verdict(&running), Verdict::Open);
        keyed.key = keyed.key.map(|(key, _)| (key, "another".to_owned()));
        let reused = running.house.kill_switch.engage(keyed).await.unwrap_err();
        assert!(matches!(reused, CommandError::KeyReused), "{reused}");
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn an_engagement_overtakes_a_release_that_is_on_its_way() {
    run(|rig| async move {
        let running = rig.open().await;
        running.engage(KillMode::Halt).await.unwrap();
        rig.store.calls.delay("commit", millis(200));
        let (released, engaged) = futures_util::join!(running.disengage(), async {
            sleep(millis(100)).await;
            running.engage(KillMode::Halt).await
        });
        assert!(matches!(engaged, Err(CommandError::AlreadyEngaged(_))), "{engaged:?}");
        assert!(matches!(released, Err(CommandError::Conflict(_))), "{released:?}");
        sleep(seconds(2)).await;
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
        assert!(rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
    });
}

#[test]
fn a_release_waits_for_an_engagement_that_is_still_being_carried_out() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.venue.set_latency(seconds(3));
        let (_, engaged, early) = futures_util::join!(
            running.send(single("slow", 10)),
            async {
                sleep(millis(100)).await;
                running.engage(KillMode::Cancel).await
            },
            async {
                sleep(millis(500)).await;
                running.disengage().await
            },
        );
        assert_eq!(engaged.unwrap().unknown, [id("slow")], "cut off, and listed");
        assert_eq!(early.unwrap().state, KillWord::Active);
        rig.venue.set_latency(millis(50));
        let after = running.send(resting_single("after", 10)).await;
        sleep(seconds(10)).await;
        assert_eq!(rig.order(&after.id).status, OrderStatus::Accepted, "nothing of the engagement reaches it");
    });
}

#[test]
fn a_clock_that_jumps_finds_the_gate_shut_until_its_lease_is_renewed() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("frozen", 103, 5, 20)).await;
        sleep(seconds(30)).await;
        rig.clock.freeze(seconds(5));
        assert_eq!(rig.verdict(&running), Verdict::Shut(ShutReason::KillSwitchUnknown));
        sleep(millis(60)).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("frozen")), [OrderStatus::Filled; 5]);
        rig.audit_at_rest();
    });
}

#[test]
fn a_claim_that_slept_through_its_time_is_not_sent() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("slept", 103, 5, 20)).await;
        sleep(seconds(19)).await;
        // The machine is suspended between the claim's commit and the send.
        rig.store.calls.delay("commit", millis(100));
        rig.until("a claim is on its way", || rig.clock.elapsed() > seconds(20) + millis(60)).await;
        rig.clock.freeze(seconds(30));
        sleep(millis(60)).await;
        let sent = rig.venue.submissions().len();
        assert_eq!(sent, 1, "the second slice waits for a claim of its own");
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("slept")), [OrderStatus::Filled; 5]);
        assert!(rig.slices(&id("slept"))[1].attempt > 1);
        rig.audit_at_rest();
    });
}
