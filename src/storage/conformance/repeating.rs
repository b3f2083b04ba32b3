//! Requests with a key: done once, and answered the same for a day.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tranche_actors::domain::audit::{By, Request};
use tranche_actors::domain::ledger::{Applied, Books, Refusal, Write};
use tranche_actors::domain::names::{Caller, IdempotencyKey};
use tranche_actors::domain::once::{Once, Render};
use tranche_actors::ports::store::Batch;

use super::canceling::cancel;
use super::fixtures::{single, submit};
use super::{Desk, Place};

fn key() -> IdempotencyKey {
    IdempotencyKey::parse("k-1").unwrap()
}

fn caller(name: &str) -> Caller {
    Caller::parse(name).unwrap()
}

fn status(_: &Books, applied: &Applied) -> Option<Value> {
    let order = applied.orders.first()?;
    Some(json!({"id": order.id, "status": order.status}))
}

/// A cancel of an order, by a request with the key.
fn asked(by: &str, order: &str) -> Write {
    let once = Once { key: key(), hash: format!("cancel {order}"), answer: Render(status) };
    let by = By { caller: caller(by), request_id: None, once: Some(Box::new(once)) };
    let request = Request { by, operator: None, action: None, subject: order.to_owned() };
    cancel(order).requested(Some(request))
}

pub(crate) async fn a_request_with_a_key_is_carried_out_once_and_its_answer_kept(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit(single("a", 1)), submit(single("b", 1))]).await.unwrap();
    assert!(desk.store.first_answer(&caller("ann"), &key()).await.unwrap().is_none());
    let results = desk.commit(vec![asked("ann", "a"), asked("ann", "a"), asked("ann", "b")]).await.unwrap();
    assert!(results[0].is_ok());
    assert_eq!(results[1..], [Err(Refusal::Answered), Err(Refusal::KeyReused)]);
    let desk = desk.again(place).await;
    assert_eq!(desk.write(asked("ann", "a")).await, Err(Refusal::Answered));
    assert_eq!(desk.write(asked("ann", "b")).await, Err(Refusal::KeyReused));
    let first = desk.store.first_answer(&caller("ann"), &key()).await.unwrap().unwrap();
    assert_eq!((first.hash.as_str(), first.answer), ("cancel a", json!({"id": "a", "status": "canceled"})));
    assert!(desk.store.audit(None, 9).await.unwrap().items.is_empty(), "nobody settled anything");
    assert!(desk.write(asked("bob", "b")).await.is_ok(), "another caller's keys are its own");
}

pub(crate) async fn what_had_no_effect_leaves_its_key_unused(place: &dyn Place) {
    let desk = Desk::at(place).await;
    assert_eq!(desk.write(asked("ann", "a")).await, Err(Refusal::NotFound));
    assert!(desk.store.first_answer(&caller("ann"), &key()).await.unwrap().is_none());
    desk.write(submit(single("a", 1))).await.unwrap();
    assert!(desk.write(asked("ann", "a")).await.is_ok());
}

pub(crate) async fn an_answer_is_kept_for_a_day(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit(single("a", 1)), submit(single("b", 1))]).await.unwrap();
    let began = desk.batch(vec![asked("ann", "a")]);
    desk.store.commit(&began).await.unwrap();
    let after = |elapsed: TimeDelta| Batch { at: began.at + elapsed, ..desk.batch(vec![asked("ann", "b")]) };
    let still = desk.store.commit(&after(TimeDelta::hours(24) - TimeDelta::microseconds(1))).await.unwrap();
    assert_eq!(still[0], Err(Refusal::KeyReused));
    assert!(desk.store.commit(&after(TimeDelta::hours(24))).await.unwrap()[0].is_ok());
    let first = desk.store.first_answer(&caller("ann"), &key()).await.unwrap().unwrap();
    assert_eq!(first.hash, "cancel b");
}
