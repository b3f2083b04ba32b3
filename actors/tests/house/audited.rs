//! What people do is entered in the audit with its effect, and never in the way of a stop.

use tokio::time::sleep;
use tranche_actors::commands::ResumeParent;
use tranche_actors::domain::audit::{AuditAction, By};
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::ledger::Write;
use tranche_simulation::store::CommitFault;

use crate::support::orders::{caller, id};
use crate::support::rig::{Rig, engage, run, seconds};

const REASON: &str = "looked after, and it was a drill";

fn actions(rig: &Rig) -> Vec<AuditAction> {
    rig.store.look(|ledger| ledger.audited().iter().map(|audited| audited.entry.action).collect())
}

#[test]
fn what_people_do_to_the_switches_is_entered_once_each() {
    run(|rig| async move {
        let running = rig.open().await;
        let by = By { caller: caller(), request_id: Some("r-1".to_owned()), once: None };
        let command = tranche_actors::commands::Engage { by, ..engage(KillMode::Halt) };
        running.house.kill_switch.engage(command).await.unwrap();
        running.engage(KillMode::Halt).await.unwrap_err();
        running.disengage().await.unwrap();
        running.disengage().await.unwrap_err();
        running.trip().await;
        running.trip().await;
        running.reset("too short").await.unwrap_err();
        running.reset(REASON).await.unwrap();
        let expected = [
            AuditAction::EngageKillSwitch,
            AuditAction::DisengageKillSwitch,
            AuditAction::TripBreaker,
            AuditAction::ResetBreaker,
        ];
        assert_eq!(actions(&rig), expected);
        rig.store.look(|ledger| {
            let engaged = &ledger.audited()[0].entry;
            assert_eq!((engaged.by.clone(), engaged.request_id.as_deref()), (caller(), Some("r-1")));
            assert_eq!(engaged.before.as_ref().unwrap()["state"], "ACTIVE");
            assert_eq!(engaged.after.as_ref().unwrap()["state"], "ENGAGED");
        });
    });
}

#[test]
fn what_the_gateway_does_by_itself_is_not() {
    run(|rig| async move {
        let running = rig.open().await;
        running.trip().await;
        running.reset(REASON).await.unwrap();
        sleep(rig.tuning.quiet_period + seconds(1)).await;
        let resume = ResumeParent { id: id("nothing"), by: caller().into() };
        running.house.accounts.first().desk.resume_parent.send(resume).await.unwrap().unwrap_err();
        assert_eq!(
            actions(&rig),
            [AuditAction::TripBreaker, AuditAction::ResetBreaker],
            "a quiet period ends by itself"
        );
    });
}

#[test]
fn a_stop_is_stored_also_where_the_store_refuses_its_entry() {
    run(|rig| async move {
        let running = rig.open().await;
        // Once as it comes, once by itself, and once write by write.
        for _ in 0..3 {
            rig.store.plan_for(|write| matches!(write, Write::Requested { .. }), CommitFault::Refuse);
        }
        let answer = running.engage(KillMode::Halt).await.unwrap();
        assert!(answer.not_durable.is_empty(), "{answer:?}");
        assert!(rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
        assert_eq!(actions(&rig), []);
    });
}
