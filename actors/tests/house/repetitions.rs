//! What closes positions is carried out once for its key: after a restart too, and where the store can't say at first.

use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::commands::{CommandError, Disengage, Engage};
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::ledger::Write;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::IdempotencyKey;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_simulation::store::CommitFault;

use crate::support::orders::{account, caller, id, single, symbol};
use crate::support::rig::{Rig, Running, engage, millis, run, seconds};

fn scopes() -> [LimitScope; 2] {
    [LimitScope::Global, LimitScope::Account(account())]
}

/// A wish to close what is held, under a key.
fn keyed(scope: &LimitScope, key: &str) -> Engage {
    let key = Some((IdempotencyKey::parse(key).unwrap(), "hash".to_owned()));
    Engage { scope: scope.clone(), key, ..engage(KillMode::Flatten) }
}

async fn release(running: &Running, scope: &LimitScope) {
    let release = Disengage { operator: "ops".to_owned(), notes: None, scope: scope.clone(), by: caller().into() };
    running.house.switches.disengage.send(release).await.unwrap().unwrap();
}

/// Buys so many units, and waits until our books have them.
async fn buy(rig: &Rig, running: &Running, name: &str, units: u32) {
    running.send(single(name, units)).await;
    rig.until("our books say so", || rig.order(&id(name)).status == OrderStatus::Filled).await;
}

async fn until_flat(rig: &Rig, running: &Running) {
    let health = &running.house.accounts.first().health;
    rig.until("it is flat", || health.flattening().is_some_and(|progress| progress.flat)).await;
}

fn holds(rig: &Rig) -> Decimal {
    rig.venue.holds(&symbol())
}

fn stored_mode(rig: &Rig, scope: &LimitScope) -> Option<KillMode> {
    let switches = rig.store.look(|ledger| ledger.switches());
    match scope {
        LimitScope::Global => switches.kill.filter(|kill| kill.is_engaged()).and_then(|kill| kill.mode),
        LimitScope::Account(_) | LimitScope::Strategy(_) | LimitScope::Symbol(_) => {
            switches.halts.of(scope).map(|halt| halt.mode)
        }
    }
}

/// Closes ten units under the key `close-1`, lets go, and buys seven anew. Then the process is gone.
async fn closed_and_let_go(rig: &Rig, scope: &LimitScope) -> String {
    rig.live(async |rig| {
        let running = rig.open().await;
        buy(rig, &running, "entry", 10).await;
        let answer = running.house.kill_switch.engage(keyed(scope, "close-1")).await.unwrap();
        assert_eq!((answer.state.mode, answer.flatten_orders.len()), (Some(KillMode::Flatten), 1), "{answer:?}");
        until_flat(rig, &running).await;
        release(&running, scope).await;
        buy(rig, &running, "again", 7).await;
        answer.engagement_id
    })
    .await
}

#[test]
fn repeated_after_a_restart_it_closes_nothing_anew_and_stops_nothing_while_a_fresh_key_does() {
    for scope in scopes() {
        run(|rig| async move {
            let first = closed_and_let_go(&rig, &scope).await;
            let running = rig.open().await;
            let again = running.house.kill_switch.engage(keyed(&scope, "close-1")).await.unwrap();
            assert_eq!((&again.engagement_id, again.state.is_engaged()), (&first, false), "{again:?}");
            assert!(again.flatten_orders.is_empty() && again.unknown.is_empty(), "{again:?}");
            assert_eq!(rig.verdict(&running), Verdict::Open);
            buy(&rig, &running, "later", 1).await;
            let mut other = keyed(&scope, "close-1");
            other.key = other.key.map(|(key, _)| (key, "another".to_owned()));
            let reused = running.house.kill_switch.engage(other).await.unwrap_err();
            assert!(matches!(reused, CommandError::KeyReused), "{reused}");
            assert_eq!(rig.verdict(&running), Verdict::Open);
            sleep(seconds(60)).await;
            assert_eq!(holds(&rig), Decimal::from(8), "nothing was closed");
            let fresh = running.house.kill_switch.engage(keyed(&scope, "close-2")).await.unwrap();
            assert_ne!(fresh.engagement_id, first);
            until_flat(&rig, &running).await;
            assert_eq!(holds(&rig), Decimal::ZERO);
            rig.audit_at_rest();
        });
    }
}

#[test]
fn repeated_while_the_first_is_in_force_it_is_answered_with_that_and_closing_goes_on() {
    for scope in scopes() {
        run(|rig| async move {
            let first = rig
                .live(async |rig| {
                    let running = rig.open().await;
                    buy(rig, &running, "entry", 10).await;
                    rig.venue.set_latency(millis(500));
                    running.house.kill_switch.engage(keyed(&scope, "close-1")).await.unwrap()
                })
                .await;
            let running = rig.start();
            let is_read = || running.house.health.kill().is_some();
            rig.until("the switch is read", is_read).await;
            let again = running.house.kill_switch.engage(keyed(&scope, "close-1")).await.unwrap();
            assert_eq!((&again.engagement_id, again.state.mode), (&first.engagement_id, Some(KillMode::Flatten)));
            until_flat(&rig, &running).await;
            let sent = rig.venue.submissions().into_iter().filter(|sent| sent.id.as_str().starts_with("flatten."));
            let ids = sent.map(|sent| sent.id).collect::<std::collections::BTreeSet<_>>();
            assert_eq!(ids.into_iter().collect::<Vec<_>>(), first.flatten_orders);
        });
    }
}

#[test]
fn where_the_store_does_not_say_whether_it_was_done_before_it_is_held_as_cancel_and_closes_nothing() {
    for scope in scopes() {
        run(|rig| async move {
            closed_and_let_go(&rig, &scope).await;
            let running = rig.open().await;
            rig.store.calls.fail("first_answer", true);
            let again = running.house.kill_switch.engage(keyed(&scope, "close-1")).await.unwrap();
            assert_eq!(
                (again.state.mode, &*again.not_durable),
                (Some(KillMode::Cancel), &["database"][..]),
                "{again:?}"
            );
            let refused = running.house.accounts.first().desk.submit_order.send(single("late", 1)).await.unwrap();
            assert!(matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))), "{refused:?}");
            sleep(seconds(30)).await;
            rig.store.calls.heal();
            rig.until("it is durable", || stored_mode(&rig, &scope) == Some(KillMode::Cancel)).await;
            sleep(seconds(60)).await;
            assert_eq!((stored_mode(&rig, &scope), holds(&rig)), (Some(KillMode::Cancel), Decimal::from(7)));
            running.house.kill_switch.engage(keyed(&scope, "close-2")).await.unwrap();
            until_flat(&rig, &running).await;
            assert_eq!(holds(&rig), Decimal::ZERO);
        });
    }
}

#[test]
fn a_fresh_key_closes_also_where_only_the_write_can_say_that_it_is_fresh() {
    let lost = |committed| Some(CommitFault::Unknown { committed });
    for (scope, fault) in
        scopes().into_iter().flat_map(|scope| [None, lost(true), lost(false)].map(|fault| (scope.clone(), fault)))
    {
        run(|rig| async move {
            let running = rig.open().await;
            buy(&rig, &running, "entry", 10).await;
            let is_lost = fault.is_some();
            if let Some(fault) = fault {
                let switches: fn(&Write) -> bool = |write| matches!(write, Write::Kill { .. } | Write::Halts { .. });
                rig.store.plan_for(switches, fault);
            } else {
                rig.store.calls.fail("first_answer", true);
            }
            let answer = running.house.kill_switch.engage(keyed(&scope, "close-1")).await.unwrap();
            assert_eq!(answer.flatten_orders.len(), 1, "{answer:?}");
            assert!(rig.store.is_through());
            until_flat(&rig, &running).await;
            assert_eq!((stored_mode(&rig, &scope), holds(&rig)), (Some(KillMode::Flatten), Decimal::ZERO));
            let engaged = rig.store.look(|ledger| ledger.history("kill_switch"));
            let engaged = engaged.iter().filter(|entry| entry.event == "ENGAGED").count();
            assert_eq!(engaged, 1, "lost: {is_lost}");
        });
    }
}

#[test]
fn the_wish_outlives_the_actor_that_was_asked() {
    for scope in scopes() {
        run(|rig| async move {
            let running = rig.open().await;
            buy(&rig, &running, "entry", 10).await;
            rig.store.calls.panic("first_answer", 1);
            let lost = running.house.kill_switch.engage(keyed(&scope, "close-1")).await;
            assert!(matches!(lost, Err(CommandError::OutcomeUnknown)), "{lost:?}");
            until_flat(&rig, &running).await;
            assert_eq!(holds(&rig), Decimal::ZERO);
        });
    }
}
