//! What people did, and that it is entered with its effect and only with it.

use serde_json::json;
use tranche_actors::domain::audit::{AuditAction, AuditEntry, Audited, By, Request};
use tranche_actors::domain::ledger::{Outcome, Refusal, Write};
use tranche_actors::domain::names::Caller;

use super::switching::{clear, kill, quarantine};
use super::{Desk, Place, account};

pub(crate) fn ann() -> By {
    By { caller: Caller::parse("ann").unwrap(), request_id: Some("r-1".to_owned()), once: None }
}

fn asked(write: Write, action: AuditAction, subject: &str) -> Write {
    let operator = Some("Zoë".to_owned());
    write.requested(Some(Request { by: ann(), operator, action: Some(action), subject: subject.to_owned() }))
}

fn clearing(id: &str) -> Write {
    asked(clear(id), AuditAction::ClearOrphan, id)
}

fn engaging(minute: i64) -> Write {
    asked(kill(minute), AuditAction::EngageKillSwitch, "kill_switch")
}

async fn entries(desk: &Desk) -> Vec<Audited> {
    desk.store.audit(None, 100).await.unwrap().items
}

pub(crate) async fn an_effect_is_entered_with_what_was_before_and_after_it(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(quarantine("AAPL", "b-1")).await.unwrap();
    assert_eq!(desk.write(clearing("b-1")).await.unwrap().outcome, Outcome::Cleared { released: true });
    desk.store.commit(&desk.global(vec![engaging(0)])).await.unwrap();
    let desk = desk.again(place).await;
    let found = entries(&desk).await;
    let [engaged, cleared] = &*found else { panic!("{found:?}") };
    let entry = AuditEntry {
        by: ann().caller,
        operator: Some("Zoë".to_owned()),
        action: AuditAction::ClearOrphan,
        subject: "b-1".to_owned(),
        before: Some(json!({"symbol": "AAPL", "kind": "orphan", "cleared": null})),
        after: Some(json!({"symbol": "AAPL", "kind": "orphan", "cleared": {"reason": "it was a drill"}})),
        request_id: Some("r-1".to_owned()),
    };
    assert_eq!((&cleared.entry, &cleared.account), (&entry, &Some(account())));
    assert_eq!((engaged.entry.action, &engaged.account), (AuditAction::EngageKillSwitch, &None));
    let revision = |state: &Option<serde_json::Value>| state.as_ref().unwrap()["revision"].clone();
    assert_eq!((revision(&engaged.entry.before), revision(&engaged.entry.after)), (json!(0), json!(1)));
    assert!(engaged.id > cleared.id && engaged.at > cleared.at);
}

pub(crate) async fn what_had_no_effect_is_not_entered(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(quarantine("AAPL", "b-1")).await.unwrap();
    let results = desk.commit(vec![clearing("b-0"), clearing("b-1"), clearing("b-1")]).await.unwrap();
    assert_eq!(results[0], Err(Refusal::NotFound));
    assert_eq!(results[2], Err(Refusal::AlreadyCleared));
    for _ in 0..2 {
        assert!(desk.store.commit(&desk.global(vec![engaging(0)])).await.unwrap()[0].is_ok());
    }
    assert_eq!(desk.store.commit(&desk.global(vec![engaging(5)])).await.unwrap()[0], Err(Refusal::SwitchMoved));
    let actions = entries(&desk).await.into_iter().map(|audited| audited.entry.action).collect::<Vec<_>>();
    assert_eq!(actions, [AuditAction::EngageKillSwitch, AuditAction::ClearOrphan]);
}

pub(crate) async fn the_audit_comes_in_pages_newest_first(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let entry = |n: u32| AuditEntry {
        by: ann().caller,
        operator: None,
        action: AuditAction::TripBreaker,
        subject: n.to_string(),
        before: None,
        after: None,
        request_id: None,
    };
    let writes = (0..5).map(|n| Write::Audit(Box::new(entry(n)))).collect();
    desk.store.commit(&desk.global(writes)).await.unwrap();
    let mut cursor = None;
    for expected in [vec![4, 3], vec![2, 1], vec![0]] {
        let page = desk.store.audit(cursor, 2).await.unwrap();
        let found = page.items.into_iter().map(|audited| audited.entry).collect::<Vec<_>>();
        assert_eq!(found, expected.into_iter().map(entry).collect::<Vec<_>>());
        cursor = page.next;
    }
    assert_eq!(cursor, None);
}
