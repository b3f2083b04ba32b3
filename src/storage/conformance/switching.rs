//! The switches and the quarantine.

use chrono::TimeDelta;
use serde_json::json;
use tranche_actors::domain::breaker::{BreakerState, BreakerWord};
use tranche_actors::domain::kill::{KillMode, KillState, KillWord};
use tranche_actors::domain::ledger::{CIRCUIT_BREAKER, KILL_SWITCH, Refusal, SwitchEntry, Write};
use tranche_actors::domain::names::{AccountName, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::ports::store::{Batch, Switches};

use super::fixtures::{claim_single, dec, id, order, parent, single, start, submit, submit_parent};
use super::{Desk, Place, account};

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
    let first = Switches { kill: Some(KillState::default()), breaker: Some(BreakerState::default()) };
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
    for minute in 0..3 {
        let kill = Write::Kill { state: Box::new(engaged.clone()), entry: entry("ENGAGED", minute) };
        desk.store.commit(&desk.global(vec![kill])).await.unwrap();
    }
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

pub(crate) async fn a_quarantined_symbol_is_listed_once(place: &dyn Place) {
    let desk = Desk::at(place).await;
    let differs =
        Write::PositionDiffers { symbol: Symbol::parse("AAPL").unwrap(), ours: dec("10"), theirs: dec("-0.5") };
    desk.commit(vec![quarantine("MSFT", "orphan"), quarantine("AAPL", "orphan"), differs]).await.unwrap();
    desk.write(quarantine("MSFT", "mismatch")).await.unwrap();
    let symbols = desk.store.quarantined(&account()).await.unwrap();
    assert_eq!(symbols.iter().map(Symbol::as_str).collect::<Vec<_>>(), ["AAPL", "MSFT"]);
    let other = AccountName::parse("other").unwrap();
    assert!(desk.store.quarantined(&other).await.unwrap().is_empty());
}

pub(crate) async fn a_quarantine_stops_what_follows_in_its_batch_and_after_it(place: &dyn Place) {
    let desk = Desk::at(place).await;
    desk.commit(vec![submit(single("waits", 1)), submit(single("sent", 1))]).await.unwrap();
    desk.write(claim_single("sent")).await.unwrap();
    let mut elsewhere = single("msft", 1);
    elsewhere.instruction.symbol = Symbol::parse("MSFT").unwrap();
    let writes =
        vec![submit(single("before", 1)), quarantine("AAPL", "orphan"), submit(single("behind", 1)), submit(elsewhere)];
    let results = desk.commit(writes).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
    assert_eq!(results[2], Err(Refusal::Quarantined));

    let desk = desk.again(place).await;
    assert_eq!(desk.write(submit_parent(parent("p", 2))).await, Err(Refusal::Quarantined));
    desk.write(claim_single("waits")).await.unwrap();
    assert_eq!(order(&*desk.store, "waits").await.status, OrderStatus::BlockedRisk);
    assert_eq!(order(&*desk.store, "sent").await.status, OrderStatus::Submitting);
    let other = AccountName::parse("other").unwrap();
    let owner = desk.store.acquire(&other, "test").await.unwrap();
    let theirs = Order { account: other, ..single("theirs", 1) };
    let batch = Batch { ownership: Some(owner), ..desk.batch(vec![submit(theirs)]) };
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
}

pub(crate) fn quarantine(symbol: &str, reason: &'static str) -> Write {
    let symbol = Symbol::parse(symbol).unwrap();
    Write::Quarantine { symbol, reason, broker_order_id: None, data: json!({"seen": "twice"}) }
}

/// The kill switch as it is, with an entry in its history.
pub(crate) fn kill(minute: i64) -> Write {
    Write::Kill { state: Box::default(), entry: entry("ENGAGED", minute) }
}
