//! Parents that are held, and orders that may have been sent.

use tranche_actors::domain::ledger::{Outcome, Refusal, Write};
use tranche_actors::domain::parent::{ParentStatus, PauseReason};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::venue::VenueStatus;

use super::fixtures::{
    at_venue, caller, claim, id, kinds, order, parent, parent_now, report, single, submit, submit_parent,
};
use super::{Desk, Place, account};

pub(crate) async fn a_paused_parent_says_why_and_is_claimed_of_nothing_until_it_is_resumed(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 3))).await.unwrap();
    assert_eq!(desk.write(resume("p")).await, Err(Refusal::NotPaused(parent_now(&*desk.store, "p").await.status)));
    let applied = desk.write(pause("p")).await.unwrap();
    let desk = desk.again(place).await;
    let held = parent_now(&*desk.store, "p").await;
    assert_eq!((held.status, held.paused), (ParentStatus::Paused, Some(PauseReason::LedgerRewound)));
    assert_eq!(applied.parents, [held]);
    assert_eq!(desk.store.open_parents(&account()).await.unwrap().len(), 1);
    assert!(matches!(desk.write(claim("p-1")).await, Err(Refusal::GuardLost(_))));
    assert_eq!(desk.write(pause("p")).await.unwrap().outcome, Outcome::Unchanged);

    let resumed = desk.write(resume("p")).await.unwrap();
    assert_eq!(resumed.outcome, Outcome::Resumed);
    let goes_on = parent_now(&*desk.store, "p").await;
    assert_eq!((goes_on.status, goes_on.paused), (ParentStatus::Working, None));
    assert_eq!(resumed.parents, [goes_on]);
    assert_eq!(desk.write(claim("p-1")).await.unwrap().orders[0].status, OrderStatus::Submitting);
    assert_eq!(kinds(&*desk.store, "p").await, ["submitted", "paused", "resumed"]);
    assert_eq!(desk.write(resume("nowhere")).await, Err(Refusal::NotFound));

    desk.write(pause("p")).await.unwrap();
    desk.write(Write::CancelParent { id: id("p"), by: caller("ops") }).await.unwrap();
    assert_eq!(parent_now(&*desk.store, "p").await.status, ParentStatus::Canceling);
    assert_eq!(desk.write(resume("p")).await, Err(Refusal::NotPaused(ParentStatus::Canceling)));
}

pub(crate) async fn what_may_have_been_sent_is_put_in_doubt_with_the_pause(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let (whole, slices) = parent("p", 3);
    desk.commit(vec![submit_parent((whole, slices.clone())), submit(single("s", 1))]).await.unwrap();
    desk.commit(vec![pause("p"), Write::Doubt { id: id("s") }]).await.unwrap();
    // The first slice's time has come, the others' has not.
    let doubted = order(&*desk.store, "p-0").await;
    assert_eq!((doubted.status, doubted.attempt), (OrderStatus::SubmittedUnconfirmed, 1));
    assert_eq!(doubted.claimed_at, Some(doubted.scheduled_time), "no sooner can it have left");
    assert_eq!(order(&*desk.store, "p-1").await.status, OrderStatus::PendingNew);
    assert_eq!(order(&*desk.store, "s").await.status, OrderStatus::SubmittedUnconfirmed);
    let open = desk.store.open_orders(&account()).await.unwrap();
    assert_eq!(open.len(), 2, "they are looked up");
    assert_eq!(desk.write(Write::Doubt { id: id("s") }).await.unwrap().outcome, Outcome::Unchanged);
    assert_eq!(parent_now(&*desk.store, "p").await.progress.unknown_qty, slices[0].qty.get());

    desk.write(report(at_venue(&slices[0], VenueStatus::Filled, 10, Some("10")))).await.unwrap();
    let held = parent_now(&*desk.store, "p").await;
    assert_eq!((held.status, held.progress.filled_qty), (ParentStatus::Paused, slices[0].qty.get()));
    assert_eq!(kinds(&*desk.store, "p-0").await, ["doubted", "filled"]);
}

fn pause(name: &str) -> Write {
    Write::Pause { id: id(name), reason: PauseReason::LedgerRewound }
}

fn resume(name: &str) -> Write {
    Write::ResumeParent { id: id(name), by: caller("ops") }
}
