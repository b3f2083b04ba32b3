//! The switches and the quarantine.

use chrono::TimeDelta;
use serde_json::json;
use tranche_actors::domain::breaker::{BreakerState, BreakerWord};
use tranche_actors::domain::halts::{Halted, Halts};
use tranche_actors::domain::kill::{EngageOrder, KillMode, KillState, KillWord};
use tranche_actors::domain::ledger::{
    CIRCUIT_BREAKER, FirstStart, HALTS, KILL_SWITCH, Outcome, Refusal, SwitchEntry, Write,
};
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, OrderId, StrategyId, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::reconciliation::{Cause, CauseId, CauseKind};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::ports::store::{Batch, Confirmation, Switches, Writer};

use super::fixtures::{claim_single, dec, id, order, parent, single, start, submit, submit_parent};
use super::{Desk, Place, account, take};

fn entry(event: &str, minute: i64) -> SwitchEntry {
    SwitchEntry {
        event: event.to_owned(),
        timestamp: start() + TimeDelta::minutes(minute),
        operator: "Zoë".to_owned(),
        reason: (minute > 0).then(|| "a drill".to_owned()),
        details: (minute > 0).then(|| json!({"ticket": 7, "open": [null, "x"]})),
    }
}

pub(crate) async fn the_switches_start_open_and_keep_what_was_set(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let first =
        Switches { kill: Some(KillState::default()), breaker: Some(BreakerState::default()), ..Switches::default() };
    assert_eq!(desk.store.switches().await.unwrap(), first);
    assert!(desk.store.switch_history(KILL_SWITCH, 10).await.unwrap().is_empty());

    let engaged = KillState {
        state: KillWord::Engaged,
        engaged_at: Some(start()),
        engaged_by: Some("Zoë".to_owned()),
        engagement_details: Some(json!({"ticket": 7})),
        engagement_count_today: 1,
        counted_on: Some(start().date_naive()),
        engagement_id: Some("e-1".to_owned()),
        mode: Some(KillMode::Cancel),
        ..KillState::default()
    };
    let tripped = BreakerState::default().trip("MANUAL", None, start(), start().date_naive()).unwrap();
    for (minute, revision) in (0..3).zip(1..) {
        let state = KillState { revision, ..engaged.clone() };
        let kill = Write::Kill { state: Box::new(state), entry: entry("ENGAGED", minute) };
        assert!(desk.store.commit(&desk.global(vec![kill])).await.unwrap()[0].is_ok());
    }
    let engaged = KillState { revision: 3, ..engaged };
    let breaker = Write::Breaker { state: Box::new(tripped.clone()), entry: entry("TRIPPED", 5) };
    desk.store.commit(&desk.global(vec![breaker])).await.unwrap();
    desk.write(submit(single("s", 1))).await.unwrap();
    assert_eq!(desk.store.events(&id("s")).await.unwrap()[0].number, 1, "an account counts its own events");

    let desk = desk.again(place).await;
    let switches = desk.store.switches().await.unwrap();
    assert_eq!(switches.kill, Some(engaged));
    assert_eq!(switches.breaker.as_ref().map(|breaker| breaker.state), Some(BreakerWord::Tripped));
    assert_eq!(switches.breaker, Some(tripped));
    let history = desk.store.switch_history(KILL_SWITCH, 2).await.unwrap();
    assert_eq!(history, [entry("ENGAGED", 2), entry("ENGAGED", 1)]);
    assert_eq!(desk.store.switch_history(CIRCUIT_BREAKER, 10).await.unwrap(), [entry("TRIPPED", 5)]);
}

pub(crate) async fn stopped_parts_are_kept_and_of_two_writers_one_is_told(place: &dyn Place) {
    let desk = Desk::at(place).await;
    assert_eq!(desk.store.switches().await.unwrap().halts, Halts::default());
    let order = EngageOrder {
        operator: "Zoë".to_owned(),
        reason: "a drill".to_owned(),
        details: Some(json!({"ticket": 7})),
        mode: KillMode::Cancel,
    };
    let mut halts = Halts::default();
    for scope in [
        LimitScope::Symbol(Symbol::parse("AAPL").unwrap()),
        LimitScope::Account(account()),
        LimitScope::Strategy(StrategyId::parse("alpha").unwrap()),
    ] {
        let Halted::New(halt) = halts.engage(&scope, &order, start()) else { panic!("it is not stopped yet") };
        halts = halts.with(&halt);
        let write = Write::Halts { halts: Box::new(halts.clone()), entry: entry("ENGAGED", 1) };
        assert!(desk.store.commit(&desk.global(vec![write.clone()])).await.unwrap()[0].is_ok());
        let again = desk.store.commit(&desk.global(vec![write])).await.unwrap();
        assert_eq!(again[0].as_ref().unwrap().outcome, Outcome::Unchanged);
    }
    let stale = Halts { revision: 1, in_force: Vec::new() };
    let stale = Write::Halts { halts: Box::new(stale), entry: entry("DISENGAGED", 2) };
    let refused = desk.store.commit(&desk.global(vec![stale])).await.unwrap();
    assert_eq!(refused[0], Err(Refusal::SwitchMoved));
    let desk = desk.again(place).await;
    let switches = desk.store.switches().await.unwrap();
    assert_eq!((switches.halts, switches.kill), (halts, Some(KillState::default())));
    assert_eq!(desk.store.switch_history(KILL_SWITCH, 10).await.unwrap().len(), 3);
}

pub(crate) async fn a_quarantined_symbol_is_listed_once(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let differs =
        Write::PositionDiffers { symbol: Symbol::parse("AAPL").unwrap(), ours: dec("10"), theirs: dec("-0.5") };
    desk.commit(vec![quarantine("MSFT", "b-1"), quarantine("AAPL", "b-2"), differs]).await.unwrap();
    assert_eq!(desk.write(quarantine("MSFT", "b-1")).await.unwrap().outcome, Outcome::Unchanged);
    assert_eq!(desk.write(quarantine("MSFT", "b-0")).await.unwrap().outcome, Outcome::Done);
    let expected = [("b-2", 0), ("b-1", 0), ("b-0", 2)].map(|(id, second)| Cause {
        id: cause(id),
        kind: CauseKind::Orphan,
        symbol: Symbol::parse(if id == "b-2" { "AAPL" } else { "MSFT" }).unwrap(),
        broker_order_id: BrokerOrderId::parse(id).ok(),
        found: json!({"seen": "twice"}),
        since: start() + TimeDelta::seconds(second),
        cleared: None,
    });
    let desk = desk.again(place).await;
    assert_eq!(desk.store.causes(&account()).await.unwrap(), expected);
    let other = AccountName::parse("other").unwrap();
    assert!(desk.store.causes(&other).await.unwrap().is_empty());
}

pub(crate) async fn a_quarantine_ends_with_its_last_cause_and_a_cleared_one_never_comes_back(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let not_sent = Write::Quarantine {
        cause: cause("ours"),
        kind: CauseKind::NotWhatWasSent,
        symbol: Symbol::parse("AAPL").unwrap(),
        broker_order_id: None,
        found: json!({"client_order_id": "ours"}),
    };
    desk.commit(vec![quarantine("AAPL", "b-1"), not_sent.clone(), quarantine("MSFT", "b-2")]).await.unwrap();
    assert_eq!(desk.write(clear("b-3")).await, Err(Refusal::NotFound));
    assert_eq!(desk.write(clear("b-1")).await.unwrap().outcome, Outcome::Cleared { released: false });
    assert_eq!(desk.write(submit(single("early", 1))).await, Err(Refusal::Quarantined));

    let desk = desk.again(place).await;
    let writes = vec![clear("b-1"), clear("ours"), clear("ours"), submit(single("behind", 1))];
    let results = desk.commit(writes).await.unwrap();
    let outcomes = results.into_iter().map(|result| result.map(|applied| applied.outcome)).collect::<Vec<_>>();
    let released = Outcome::Cleared { released: true };
    let expected = [Err(Refusal::AlreadyCleared), Ok(released), Err(Refusal::AlreadyCleared), Ok(Outcome::Done)];
    assert_eq!(outcomes, expected);
    for again in [quarantine("AAPL", "b-1"), not_sent] {
        assert_eq!(desk.write(again).await.unwrap().outcome, Outcome::Unchanged);
    }
    let open = desk.store.causes(&account()).await.unwrap();
    assert_eq!(open.iter().map(|cause| cause.id.as_str()).collect::<Vec<_>>(), ["b-2"]);
    assert_eq!(desk.write(quarantine("AAPL", "b-4")).await.unwrap().outcome, Outcome::Done);
    assert_eq!(desk.write(submit(single("late", 1))).await, Err(Refusal::Quarantined), "another cause counts");
    let other = AccountName::parse("other").unwrap();
    let owner = take(&*desk.store, &other, "test").await;
    let batch = Batch { writer: Writer::Owner(owner), ..desk.batch(vec![clear("b-2")]) };
    assert_eq!(desk.store.commit(&batch).await.unwrap()[0], Err(Refusal::NotFound), "another account has its own");
}

pub(crate) async fn a_quarantine_stops_what_follows_in_its_batch_and_after_it(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit(single("waits", 1)), submit(single("sent", 1))]).await.unwrap();
    desk.write(claim_single("sent")).await.unwrap();
    let mut elsewhere = single("msft", 1);
    elsewhere.instruction.symbol = Symbol::parse("MSFT").unwrap();
    let writes =
        vec![submit(single("before", 1)), quarantine("AAPL", "b-1"), submit(single("behind", 1)), submit(elsewhere)];
    let results = desk.commit(writes).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
    assert_eq!(results[2], Err(Refusal::Quarantined));

    let desk = desk.again(place).await;
    assert_eq!(desk.write(submit_parent(parent("p", 2))).await, Err(Refusal::Quarantined));
    desk.write(claim_single("waits")).await.unwrap();
    assert_eq!(order(&*desk.store, "waits").await.status, OrderStatus::BlockedRisk);
    assert_eq!(order(&*desk.store, "sent").await.status, OrderStatus::Submitting);
    let other = AccountName::parse("other").unwrap();
    let owner = take(&*desk.store, &other, "test").await;
    let theirs = Order { account: other, ..single("theirs", 1) };
    let batch = Batch { writer: Writer::Owner(owner), ..desk.batch(vec![submit(theirs)]) };
    assert!(desk.store.commit(&batch).await.unwrap()[0].is_ok(), "another account may");
}

pub(crate) async fn a_history_has_at_most_so_many_entries(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.store.commit(&desk.global((0..4).map(kill).collect())).await.unwrap();
    for (limit, minutes) in [(0, vec![]), (1, vec![3]), (4, vec![3, 2, 1, 0]), (9, vec![3, 2, 1, 0])] {
        let expected = minutes.into_iter().map(|minute| entry("ENGAGED", minute)).collect::<Vec<_>>();
        assert_eq!(desk.store.switch_history(KILL_SWITCH, limit).await.unwrap(), expected);
    }
    assert!(desk.store.switch_history("light_switch", 9).await.unwrap().is_empty());
    let last = entry("ENGAGED", 3).timestamp;
    let micro = TimeDelta::microseconds(1);
    for (switch, event, at, expected) in [
        (KILL_SWITCH, "ENGAGED", last, true),
        (KILL_SWITCH, "ENGAGED", last + micro, false),
        (KILL_SWITCH, "DISENGAGED", last, false),
        (CIRCUIT_BREAKER, "ENGAGED", last, false),
    ] {
        assert_eq!(desk.store.has_switch_entry(switch, event, at).await.unwrap(), expected, "{switch} {event} {at}");
    }
}

pub(crate) async fn a_switch_moves_on_only_from_what_the_writer_saw(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let outcome = async |write: Write| {
        let mut results = desk.store.commit(&desk.global(vec![write])).await.unwrap();
        results.pop().unwrap().map(|applied| applied.outcome)
    };
    assert_eq!(outcome(kill(0)).await, Ok(Outcome::Done));
    assert_eq!(outcome(kill(0)).await, Ok(Outcome::Unchanged), "taken again, and not entered again");
    assert_eq!(outcome(kill(2)).await, Err(Refusal::SwitchMoved));
    let other = KillState { revision: 1, engaged_by: Some("another".to_owned()), ..KillState::default() };
    let other = Write::Kill { state: Box::new(other), entry: entry("ENGAGED", 9) };
    assert_eq!(outcome(other).await, Err(Refusal::SwitchMoved), "who saw the same state was faster");
    let breaker = |revision| {
        let state = BreakerState { revision, ..BreakerState::default() };
        Write::Breaker { state: Box::new(state), entry: entry("TRIPPED", 5) }
    };
    assert_eq!(outcome(breaker(2)).await, Err(Refusal::SwitchMoved));
    assert_eq!(outcome(breaker(1)).await, Ok(Outcome::Done));
    assert_eq!(outcome(breaker(1)).await, Ok(Outcome::Unchanged));
    assert_eq!(desk.store.switch_history(KILL_SWITCH, 9).await.unwrap(), [entry("ENGAGED", 0)]);
    assert_eq!(desk.store.switch_history(CIRCUIT_BREAKER, 9).await.unwrap(), [entry("TRIPPED", 5)]);
    let switches = desk.store.switches().await.unwrap();
    assert_eq!(switches.kill.unwrap().revision, 1);
}

/// A place where a part is stopped and both switches have moved.
pub(crate) async fn with_a_stopped_part(place: &dyn Place) -> Desk {
    let desk = Desk::at(place).await;
    let order =
        EngageOrder { operator: "Zoë".to_owned(), reason: "a drill".to_owned(), details: None, mode: KillMode::Halt };
    let Halted::New(halt) = Halts::default().engage(&LimitScope::Account(account()), &order, start()) else {
        panic!("it is not stopped yet")
    };
    let halts = Write::Halts { halts: Box::new(Halts::default().with(&halt)), entry: entry("ENGAGED", 1) };
    let tripped = BreakerState::default().trip("MANUAL", None, start(), start().date_naive()).unwrap();
    let breaker = Write::Breaker { state: Box::new(tripped), entry: entry("TRIPPED", 5) };
    let written = desk.store.commit(&desk.global(vec![kill(0), halts, breaker])).await.unwrap();
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    desk
}

/// Each switch says why it is unknown, and takes an operator's word whatever it was before.
pub(crate) async fn garbled_switches_are_named_and_may_be_replaced(desk: &Desk) {
    let read = desk.store.switches().await.unwrap();
    assert!((read.kill.as_ref(), read.breaker.as_ref()) == (None, None), "{read:?}");
    let mut unreadable = read.unreadable.clone();
    unreadable.sort_unstable();
    assert_eq!(unreadable, [CIRCUIT_BREAKER, HALTS, KILL_SWITCH]);
    assert!(read.kill_doubt().unwrap().contains("makes no sense") && read.breaker_doubt().is_some());
    let halts = Halts { revision: 7, in_force: Vec::new() };
    let breaker = BreakerState { revision: 9, ..BreakerState::default() };
    let writes = vec![
        kill(40),
        Write::Halts { halts: Box::new(halts.clone()), entry: entry("DISENGAGED", 2) },
        Write::Breaker { state: Box::new(breaker.clone()), entry: entry("RESET", 6) },
    ];
    let written = desk.store.commit(&desk.global(writes)).await.unwrap();
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    let read = desk.store.switches().await.unwrap();
    assert_eq!((read.kill_doubt(), read.breaker_doubt()), (None, None));
    assert_eq!((read.halts, read.breaker), (halts, Some(breaker)));
}

pub(crate) async fn the_first_start_is_over_once(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let first = FirstStart { at: start(), by: "a".to_owned(), created: vec!["kill_switch:state".to_owned()] };
    let second = FirstStart { by: "b".to_owned(), ..first.clone() };
    for said in [&first, &second] {
        desk.store.commit(&desk.global(vec![Write::FirstStart(said.clone())])).await.unwrap();
    }
    let desk = desk.again(place).await;
    assert_eq!(desk.store.switches().await.unwrap().first_start, Some(first));
}

pub(crate) async fn what_an_instance_confirms_first_stays(place: &dyn Place) {
    let desk = Desk::at(place).await;
    assert!(desk.store.confirmations("e-1").await.unwrap().is_empty());
    desk.store.confirm("e-1", "b", &[id("x"), id("y")]).await.unwrap();
    desk.store.confirm("e-1", "a", &[]).await.unwrap();
    desk.store.confirm("e-1", "b", &[]).await.unwrap();
    desk.store.confirm("e-2", "c", &[]).await.unwrap();
    let said = |instance: &str, cut: Vec<OrderId>| Confirmation { instance: instance.to_owned(), cut };
    let expected = [said("a", Vec::new()), said("b", vec![id("x"), id("y")])];
    assert_eq!(desk.store.confirmations("e-1").await.unwrap(), expected);
    let desk = desk.again(place).await;
    assert_eq!(desk.store.confirmations("e-1").await.unwrap(), expected);
}

pub(crate) fn cause(id: &str) -> CauseId {
    CauseId::parse(id).unwrap()
}

/// An orphan of the broker's.
pub(crate) fn quarantine(symbol: &str, id: &str) -> Write {
    Write::Quarantine {
        cause: cause(id),
        kind: CauseKind::Orphan,
        symbol: Symbol::parse(symbol).unwrap(),
        broker_order_id: BrokerOrderId::parse(id).ok(),
        found: json!({"seen": "twice"}),
    }
}

pub(crate) fn clear(id: &str) -> Write {
    Write::ClearCause {
        cause: cause(id),
        operator: "Zoë".to_owned(),
        reason: "it was a drill".to_owned(),
        by: Caller::parse("local").unwrap(),
    }
}

/// The kill switch as it is from the first minute on, with an entry in its history.
pub(crate) fn kill(minute: i64) -> Write {
    let revision = u64::try_from(minute).unwrap() + 1;
    Write::Kill { state: Box::new(KillState { revision, ..KillState::default() }), entry: entry("ENGAGED", minute) }
}
