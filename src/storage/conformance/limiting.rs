//! Limits, overrides and lockouts: kept whole, changed by who saw the last state, and demanded of every claim.

use chrono::TimeDelta;
use rust_decimal::Decimal;
use tranche_actors::domain::ledger::{Refusal, Write};
use tranche_actors::domain::limits::{
    Changer, Control, LimitBook, LimitChange, LimitKey, LimitScope, LockKey, LockKind, LockRule, Lockout,
};
use tranche_actors::domain::names::{AccountName, StrategyId, Symbol};
use tranche_actors::domain::status::OrderStatus;

use super::fixtures::{caller, claim, claim_single, dec, id, order, parent, single, start, submit, submit_parent};
use super::{Desk, Place, account};

fn set(scope: LimitScope, control: Control, value: &str) -> LimitChange {
    LimitChange::Set(LimitKey { scope, control }, dec(value))
}

fn changed(book: LimitBook, changes: &[LimitChange]) -> LimitBook {
    book.changed(changes, &Changer { operator: "Zoë".to_owned(), by: caller("ops").into() }, start())
}

fn write(book: LimitBook) -> Write {
    Write::Limits { book: Box::new(book), audit: Vec::new() }
}

fn everything() -> Vec<LimitChange> {
    let lockout = |kind, until| Lockout {
        kind,
        reason: "it's \"quoted\"".to_owned(),
        operator: "Zoë".to_owned(),
        by: caller("ops"),
        since: start(),
        until,
    };
    let lock_key = |rule, symbol| LockKey { account: account(), symbol, rule: LockRule::parse(rule).unwrap() };
    let symbol = Symbol::parse("BRK.B").unwrap();
    let later = start() + TimeDelta::microseconds(90_000_001);
    let scopes = [
        LimitScope::Global,
        LimitScope::Account(account()),
        LimitScope::Strategy(StrategyId::parse("al:pha").unwrap()),
        LimitScope::Symbol(symbol.clone()),
    ];
    let mut changes = scopes.map(|scope| set(scope, Control::MaxOrderNotional, "1000000000000.000000001")).to_vec();
    changes.extend(Control::ALL.iter().map(|control| set(LimitScope::Global, *control, "1")));
    changes.push(LimitChange::Override {
        key: LimitKey { scope: LimitScope::Symbol(symbol.clone()), control: Control::PriceCollar },
        value: dec("2.5"),
        until: later,
        reason: "a thin market".to_owned(),
    });
    changes.push(LimitChange::Lock(lock_key("r_003", None), lockout(LockKind::Daily, Some(later))));
    changes.push(LimitChange::Lock(lock_key("r_003", Some(symbol)), lockout(LockKind::Permanent, None)));
    changes
}

pub(crate) async fn limits_come_back_as_they_were_set(place: &dyn Place) {
    let desk = Desk::at(place).await;
    assert_eq!(desk.store.limits(None).await.unwrap(), Some(LimitBook::default()));
    assert_eq!(desk.store.limits(Some(0)).await.unwrap(), None, "it is known already");
    let whole = changed(LimitBook::default(), &everything());
    desk.store.commit(&desk.global(vec![write(whole.clone())])).await.unwrap().remove(0).unwrap();
    assert_eq!(desk.store.limits(Some(0)).await.unwrap(), Some(whole.clone()));
    let key = LimitKey { scope: LimitScope::Global, control: Control::MaxPosition };
    let less = changed(whole, &[LimitChange::Remove(key)]);
    desk.store.commit(&desk.global(vec![write(less.clone())])).await.unwrap().remove(0).unwrap();
    let desk = desk.again(place).await;
    assert_eq!(desk.store.limits(None).await.unwrap(), Some(less));
    assert_eq!(desk.store.limits(Some(2)).await.unwrap(), None);
}

pub(crate) async fn limits_move_on_only_from_what_the_writer_saw(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let one = changed(LimitBook::default(), &[set(LimitScope::Global, Control::MaxOrderQty, "1")]);
    let other = changed(LimitBook::default(), &[set(LimitScope::Global, Control::MaxOrderQty, "2")]);
    let batch = desk.global(vec![write(one.clone()), write(other.clone())]);
    let results = desk.store.commit(&batch).await.unwrap();
    assert_eq!(results[1].as_ref().unwrap_err(), &Refusal::LimitsMoved);
    let late = desk.store.commit(&desk.global(vec![write(other)])).await.unwrap();
    assert_eq!(late[0].as_ref().unwrap_err(), &Refusal::LimitsMoved);
    assert_eq!(desk.store.limits(None).await.unwrap(), Some(one));
}

pub(crate) async fn a_claim_names_the_limits_that_hold_and_keeps_whether_it_reduces(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 3))).await.unwrap();
    desk.write(claim("p-0")).await.unwrap();
    let tighter = changed(LimitBook::default(), &[set(LimitScope::Global, Control::MaxOrderQty, "1")]);
    desk.store.commit(&desk.global(vec![write(tighter)])).await.unwrap().remove(0).unwrap();
    assert_eq!(desk.write(claim("p-1")).await, Err(Refusal::LimitsMoved));
    assert_eq!(order(&*desk.store, "p-1").await.status, OrderStatus::PendingNew, "nothing has changed");
    let renewed = Write::Claim { id: id("p-1"), plan_version: Some(1), reduces: true, limits: 1 };
    desk.write(renewed).await.unwrap();
    let kept = [order(&*desk.store, "p-0").await, order(&*desk.store, "p-1").await];
    assert_eq!(
        kept.map(|order| (order.status, order.reduces)),
        [(OrderStatus::Submitting, false), (OrderStatus::Submitting, true)]
    );
}

pub(crate) async fn claims_of_late_are_told_as_often_as_they_were_made(place: &dyn Place) {
    let desk = Desk::at(place).await;
    assert_eq!(desk.store.claims_since(&account(), start()).await.unwrap(), []);
    let (planned, slices) = parent("p", 2);
    let (of_parent, symbol) = (planned.strategy_id.clone(), planned.instruction.symbol.clone());
    desk.write(submit_parent((planned, slices))).await.unwrap();
    desk.write(submit(single("s", 1))).await.unwrap();
    desk.write(claim("p-0")).await.unwrap();
    let never = Write::NeverLeft {
        id: id("p-0"),
        attempt: 1,
        reason: "never_left",
        detail: "refused".to_owned(),
        tries: Some(3),
    };
    desk.write(never).await.unwrap();
    desk.write(claim("p-0")).await.unwrap();
    desk.write(claim_single("s")).await.unwrap();
    let claims = desk.store.claims_since(&account(), start()).await.unwrap();
    let of_single = order(&*desk.store, "s").await;
    let told = claims.iter().map(|claim| (&claim.strategy_id, &claim.symbol)).collect::<Vec<_>>();
    let single = (&of_single.strategy_id, &of_single.instruction.symbol);
    assert_eq!(told, [(&of_parent, &symbol), (&of_parent, &symbol), single], "a slice is of its parent's strategy");
    assert!(claims.is_sorted_by_key(|claim| claim.at));
    let desk = desk.again(place).await;
    assert_eq!(desk.store.claims_since(&account(), claims[1].at).await.unwrap(), claims[1..]);
    assert_eq!(desk.store.claims_since(&account(), claims[2].at + TimeDelta::microseconds(1)).await.unwrap(), []);
    let other = AccountName::parse("other").unwrap();
    assert_eq!(desk.store.claims_since(&other, start()).await.unwrap(), []);
}

pub(crate) async fn slices_that_are_due_say_how_much_they_are(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.write(submit_parent(parent("p", 2))).await.unwrap();
    let due = desk.store.due_slices(&id("p"), None, 9).await.unwrap();
    assert_eq!(due.iter().map(|slice| slice.qty.get()).collect::<Vec<_>>(), [Decimal::TEN, Decimal::TEN]);
}
