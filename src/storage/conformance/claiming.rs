//! Claims: guarded, once, and undone only by their own attempt.

use rust_decimal::Decimal;
use tranche_actors::domain::ledger::{Outcome, Refusal, Write};
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::{OrderStatus, OwnEnd};
use tranche_actors::domain::venue::VenueWords;

use super::fixtures::{
    accepted, caller, claim, claim_single, id, kinds, order, parent, parent_now, single, submit, submit_parent, unknown,
};
use super::{Desk, Place, account};

pub(crate) async fn a_claim_takes_a_slice_once(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    let applied = desk.write(claim("p-0")).await.unwrap();
    let kept = order(&*desk.store, "p-0").await;
    assert_eq!(applied.orders, std::slice::from_ref(&kept));
    assert_eq!((kept.status, kept.attempt), (OrderStatus::Submitting, 1));
    assert_eq!(kept.claimed_at, Some(kept.updated_at));
    let whole = parent_now(&*desk.store, "p").await;
    assert_eq!(applied.parents, std::slice::from_ref(&whole));
    assert_eq!((whole.progress.pending_qty, whole.progress.unknown_qty), (Decimal::TEN, Decimal::TEN));

    assert!(matches!(desk.write(claim("p-0")).await, Err(Refusal::GuardLost(_))));
    assert_eq!(order(&*desk.store, "p-0").await, kept);
    let both = desk.commit(vec![claim("p-1"), claim("p-1")]).await.unwrap();
    assert_eq!(both.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(kinds(&*desk.store, "p-1").await, ["claimed"]);
    assert_eq!(desk.write(claim("nowhere")).await, Err(Refusal::NotFound));
}

pub(crate) async fn a_claim_needs_the_plan_version_and_a_working_parent(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    for version in [None, Some(0), Some(2)] {
        let write = Write::Claim { id: id("p-0"), plan_version: version, reduces: false };
        assert!(matches!(desk.write(write).await, Err(Refusal::GuardLost(_))), "{version:?}");
    }
    let before = order(&*desk.store, "p-0").await;
    assert_eq!((before.status, before.attempt), (OrderStatus::PendingNew, 0));
    let cancel = Write::CancelParent { id: id("p"), by: caller("admin") };
    let results = desk.commit(vec![cancel, claim("p-0")]).await.unwrap();
    assert!(results[0].is_ok());
    assert!(matches!(results[1], Err(Refusal::GuardLost(_))), "{results:?}");
    assert_eq!(order(&*desk.store, "p-0").await.status, OrderStatus::Canceled);
}

pub(crate) async fn a_canceled_single_order_is_not_claimed(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit(single("s", 10))).await.unwrap();
    let cancel = Write::CancelOrder { id: id("s"), by: caller("admin") };
    desk.write(cancel).await.unwrap();
    assert!(matches!(desk.write(claim_single("s")).await, Err(Refusal::GuardLost(_))));
    assert_eq!(order(&*desk.store, "s").await.attempt, 0);
}

pub(crate) async fn an_answer_to_another_attempt_is_refused(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit(single("s", 10))).await.unwrap();
    desk.write(claim_single("s")).await.unwrap();
    let before = order(&*desk.store, "s").await;
    let words = VenueWords { code: "40310000".to_owned(), message: "insufficient buying power".to_owned() };
    for attempt in [0, 2] {
        let refused = Write::Refused { id: id("s"), attempt, words: words.clone() };
        let absent = Write::Absent { id: id("s"), attempt };
        for write in [never_left("s", attempt, None), unknown("s", attempt), refused, absent] {
            assert!(matches!(desk.write(write).await, Err(Refusal::GuardLost(_))));
        }
    }
    assert_eq!(order(&*desk.store, "s").await, before);
    let refused = Write::Refused { id: id("s"), attempt: 1, words };
    desk.write(refused).await.unwrap();
    let after = order(&*desk.store, "s").await;
    assert_eq!(after.status, OrderStatus::Rejected);
    assert_eq!(after.reason_code.as_deref(), Some("40310000"));
    assert_eq!(after.terminal_at, Some(after.updated_at));
}

pub(crate) async fn what_never_left_goes_back_until_its_tries_are_used_up(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    for (attempt, tries, status) in
        [(1, None, OrderStatus::PendingNew), (2, Some(2), OrderStatus::PendingNew), (3, Some(2), OrderStatus::Failed)]
    {
        desk.write(claim("p-0")).await.unwrap();
        let applied = desk.write(never_left("p-0", attempt, tries)).await.unwrap();
        let kept = order(&*desk.store, "p-0").await;
        assert_eq!(applied.orders, std::slice::from_ref(&kept));
        assert_eq!((kept.status, kept.attempt), (status, attempt));
    }
    let whole = parent_now(&*desk.store, "p").await;
    assert_eq!((whole.progress.unexecuted_qty, whole.progress.failed), (Decimal::TEN, 1));
    let expected = ["claimed", "never_left", "claimed", "never_left", "claimed", "never_left", "ended"];
    assert_eq!(kinds(&*desk.store, "p-0").await, expected);
}

pub(crate) async fn an_absent_order_is_claimed_again_under_its_id(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit(single("s", 10))).await.unwrap();
    desk.write(claim_single("s")).await.unwrap();
    desk.write(unknown("s", 1)).await.unwrap();
    assert!(matches!(desk.write(claim_single("s")).await, Err(Refusal::GuardLost(_))));
    let absent = Write::Absent { id: id("s"), attempt: 1 };
    desk.write(absent).await.unwrap();
    let marked = order(&*desk.store, "s").await;
    assert_eq!(marked.status, OrderStatus::SubmittedUnconfirmed);
    assert_eq!(marked.absent_at, Some(marked.updated_at));
    desk.write(claim_single("s")).await.unwrap();
    desk.write(accepted(&marked)).await.unwrap();
    let kept = order(&*desk.store, "s").await;
    assert_eq!((kept.status, kept.attempt, kept.absent_at), (OrderStatus::Accepted, 2, None));
}

pub(crate) async fn a_refusal_of_a_later_send_ends_nothing_that_may_still_arrive(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    let words = VenueWords { code: "40310000".to_owned(), message: "insufficient buying power".to_owned() };
    for name in ["p-0", "p-1"] {
        let absent = Write::Absent { id: id(name), attempt: 1 };
        desk.commit(vec![claim(name), unknown(name, 1), absent]).await.unwrap();
        let marked = order(&*desk.store, name).await;
        desk.write(claim(name)).await.unwrap();
        let refused = Write::Refused { id: id(name), attempt: 2, words: words.clone() };
        desk.write(refused).await.unwrap();
        let kept = order(&*desk.store, name).await;
        assert_eq!((kept.status, kept.absent_at), (OrderStatus::SubmittedUnconfirmed, marked.absent_at));
        assert_eq!((kept.cancel_requested_at, kept.terminal_at), (Some(kept.updated_at), None));
        assert_eq!(kept.reason_code.as_deref(), Some("40310000"));
        assert_eq!(kept.error_message.as_deref(), Some("insufficient buying power"));
        assert!(matches!(desk.write(claim(name)).await, Err(Refusal::GuardLost(_))));
        assert!(desk.store.unknown_orders().await.unwrap().contains(&id(name)));
    }
    assert_eq!(parent_now(&*desk.store, "p").await.progress.unknown_qty, Decimal::from(20));
    // One shows up after all, and is to be cancelled; the other one is given up.
    desk.write(accepted(&order(&*desk.store, "p-0").await)).await.unwrap();
    let marked = desk.store.marked_orders(&account()).await.unwrap();
    assert!(marked.iter().any(|order| order.id == id("p-0") && order.status == OrderStatus::Accepted), "{marked:?}");
    let end = OwnEnd::Canceled;
    let given_up = Write::End { id: id("p-1"), end, reason: "cancel_requested", detail: words.message.clone() };
    desk.write(given_up).await.unwrap();
    let ended = order(&*desk.store, "p-1").await;
    assert_eq!((ended.status, ended.error_message), (OrderStatus::Canceled, Some(words.message)));
    assert_eq!(kinds(&*desk.store, "p-1").await.last().map(String::as_str), Some("ended"));
}

pub(crate) async fn what_is_at_the_venue_can_not_be_absent(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit(single("s", 10))).await.unwrap();
    desk.write(claim_single("s")).await.unwrap();
    let duplicate = Write::OutcomeUnknown { id: id("s"), attempt: 1, detail: "duplicate".to_owned(), at_venue: true };
    desk.write(duplicate).await.unwrap();
    let absent = Write::Absent { id: id("s"), attempt: 1 };
    assert!(matches!(desk.write(absent).await, Err(Refusal::GuardLost(_))));
    let kept = order(&*desk.store, "s").await;
    assert_eq!((kept.at_venue, kept.absent_at), (true, None));
}

pub(crate) async fn ends_are_final_and_add_up(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    let end = |name: &str, end| Write::End { id: id(name), end, reason: "too_late", detail: "by 61 s".to_owned() };
    let applied = desk.write(end("p-0", OwnEnd::Expired)).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Done);
    assert!(matches!(desk.write(end("p-0", OwnEnd::Failed)).await, Err(Refusal::Illegal(_))));
    desk.write(end("p-1", OwnEnd::BlockedKillSwitch)).await.unwrap();
    let (first, whole) = (order(&*desk.store, "p-0").await, parent_now(&*desk.store, "p").await);
    assert_eq!(first.status, OrderStatus::Expired);
    assert_eq!((first.reason_code.as_deref(), first.error_message.as_deref()), (Some("too_late"), Some("by 61 s")));
    assert_eq!((whole.status, whole.progress.open), (ParentStatus::PartiallyCompleted, 0));
    assert_eq!(whole.progress.unexecuted_qty, whole.qty.get());
    assert_eq!(whole.ended_at, Some(whole.updated_at));
    desk.write(submit(single("s", 1))).await.unwrap();
    desk.write(claim_single("s")).await.unwrap();
    desk.write(unknown("s", 1)).await.unwrap();
    assert!(matches!(desk.write(end("s", OwnEnd::Failed)).await, Err(Refusal::GuardLost(_))));
}

fn never_left(name: &str, attempt: u32, tries: Option<u32>) -> Write {
    Write::NeverLeft {
        id: id(name),
        attempt,
        reason: "connection_refused",
        detail: "connection refused".to_owned(),
        tries,
    }
}
