//! Claims of what closes positions: for an engagement in force alone, one after the other.

use tranche_actors::domain::halts::{Halted, Halts};
use tranche_actors::domain::kill::{EngageOrder, KillMode, KillState, KillWord};
use tranche_actors::domain::ledger::{Refusal, SwitchEntry, Write};
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::AccountName;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::VenueWords;

use super::fixtures::{id, kinds, order, single, start};
use super::{Desk, Place, account};

fn entry(event: &str) -> SwitchEntry {
    SwitchEntry {
        event: event.to_owned(),
        timestamp: start(),
        operator: "Zoë".to_owned(),
        reason: Some("a drill".to_owned()),
        details: None,
    }
}

/// The switch of everything, engaged as `e-1`; without a mode it is let go.
fn kill(revision: u64, mode: Option<KillMode>) -> Write {
    let state = KillState {
        state: if mode.is_some() { KillWord::Engaged } else { KillWord::Active },
        engaged_at: Some(start()),
        engaged_by: Some("Zoë".to_owned()),
        engagement_id: Some("e-1".to_owned()),
        mode,
        revision,
        ..KillState::default()
    };
    Write::Kill { state: Box::new(state), entry: entry("ENGAGED") }
}

async fn turn(desk: &Desk, write: Write) {
    let written = desk.store.commit(&desk.global(vec![write])).await.unwrap();
    assert!(written[0].is_ok(), "{written:?}");
}

/// The `n`th order that closes ten, of an engagement.
fn closing(engagement: &str, n: u32) -> Order {
    let mut order = single(&format!("flatten.{engagement}.default.AAPL.{n}"), 10);
    order.instruction.side = Side::Sell;
    order
}

fn close(engagement: &str, n: u32) -> Write {
    let before = (n > 1).then(|| closing(engagement, n - 1).id);
    Write::Flatten { order: Box::new(closing(engagement, n)), engagement: engagement.to_owned(), before }
}

fn is_lost<T>(result: &Result<T, Refusal>) -> bool {
    matches!(result, Err(Refusal::GuardLost(_)))
}

pub(crate) async fn a_position_is_closed_only_for_the_engagement_in_force(place: &dyn Place) {
    let desk = Desk::at(place).await;
    assert!(is_lost(&desk.write(close("e-1", 1)).await), "nothing is engaged");
    turn(&desk, kill(1, Some(KillMode::Cancel))).await;
    assert!(is_lost(&desk.write(close("e-1", 1)).await), "it closes nothing");
    turn(&desk, kill(2, Some(KillMode::Flatten))).await;
    assert!(is_lost(&desk.write(close("e-2", 1)).await), "another engagement");
    assert!(desk.store.order(&closing("e-1", 1).id).await.unwrap().is_none(), "what was refused is not there");
    let applied = desk.write(close("e-1", 1)).await.unwrap();
    let kept = order(&*desk.store, "flatten.e-1.default.AAPL.1").await;
    assert_eq!(applied.orders, std::slice::from_ref(&kept));
    assert_eq!((kept.status, kept.attempt, kept.reduces), (OrderStatus::Submitting, 1, true));
    assert_eq!(kinds(&*desk.store, kept.id.as_str()).await, ["submitted", "claimed"]);
    assert!(is_lost(&desk.write(close("e-1", 1)).await), "it is on its way");
    turn(&desk, kill(3, None)).await;
    let desk = desk.again(place).await;
    assert!(is_lost(&desk.write(close("e-1", 2)).await), "it is over");
}

pub(crate) async fn the_next_closing_order_follows_the_end_of_the_one_before(place: &dyn Place) {
    let desk = Desk::at(place).await;
    turn(&desk, kill(1, Some(KillMode::Flatten))).await;
    assert_eq!(desk.write(close("e-1", 2)).await, Err(Refusal::NotFound), "there is none before it");
    desk.write(close("e-1", 1)).await.unwrap();
    assert!(is_lost(&desk.write(close("e-1", 2)).await), "it may be live");
    let first = closing("e-1", 1).id;
    let words = VenueWords { code: "rejected".to_owned(), message: "no".to_owned() };
    desk.write(Write::Refused { id: first.clone(), attempt: 1, words }).await.unwrap();
    assert_eq!(order(&*desk.store, first.as_str()).await.status, OrderStatus::Rejected);
    desk.write(close("e-1", 2)).await.unwrap();
    let mut other = closing("e-1", 2);
    other.qty = single("other", 7).qty;
    let other = Write::Flatten { order: Box::new(other), engagement: "e-1".to_owned(), before: Some(first) };
    assert_eq!(desk.write(other).await, Err(Refusal::IdReused), "one id is one order");
}

pub(crate) async fn the_halt_of_an_account_closes_that_account_alone(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let order = EngageOrder {
        operator: "Zoë".to_owned(),
        reason: "a drill".to_owned(),
        details: None,
        mode: KillMode::Flatten,
    };
    let mut halts = Halts::default();
    let engaged =
        |halts: &Halts, name: &AccountName| match halts.engage(&LimitScope::Account(name.clone()), &order, start()) {
            Halted::New(halt) => halt,
            Halted::Escalated(_) | Halted::Already(_) => panic!("it is not stopped yet"),
        };
    let other = engaged(&halts, &AccountName::parse("other").unwrap());
    halts = halts.with(&other);
    turn(&desk, Write::Halts { halts: Box::new(halts.clone()), entry: entry("ENGAGED") }).await;
    assert!(is_lost(&desk.write(close(&other.engagement_id, 1)).await), "another account");
    let ours = engaged(&halts, &account());
    halts = halts.with(&ours);
    turn(&desk, Write::Halts { halts: Box::new(halts), entry: entry("ENGAGED") }).await;
    let applied = desk.write(close(&ours.engagement_id, 1)).await.unwrap();
    assert_eq!(applied.orders[0].id, id(&format!("flatten.{}.default.AAPL.1", ours.engagement_id)));
}
