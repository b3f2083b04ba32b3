//! Replacement of open orders, over a wire that loses answers and a market that may be faster: one chain, the right total,
//! nothing left open.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::commands::{CancelOrder, CommandError, ReplaceOrder, ReplacedOrder};
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::ledger::NotReplaceable;
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{IdempotencyKey, OrderId};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::request::ReplaceRequest;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Prices, Terms};
use tranche_actors::domain::venue::VenueStatus;
use tranche_actors::market::faults::EventFault;
use tranche_actors::ports::Venue;
use tranche_simulation::clock::Seeded;
use tranche_simulation::venue::Fate;

use crate::support::orders::{caller, id, qty, resting_parent, resting_single, symbol};
use crate::support::rig::{Rig, Running, millis, run, run_seeded, seconds};

/// A price at which a buy rests, and one at which it trades.
const RESTS: u32 = 20;
const TRADES: u32 = 900;

fn at(price: u32) -> ReplaceRequest {
    let limit = Some(Price::new(Decimal::from(price)).unwrap());
    ReplaceRequest { qty: None, prices: Prices { limit, ..Prices::default() }, request_hash: format!("at {price}") }
}

fn of(units: Qty) -> ReplaceRequest {
    ReplaceRequest { qty: Some(units), request_hash: format!("{units:?}"), ..ReplaceRequest::default() }
}

impl Running {
    async fn replace(&self, id: &OrderId, request: ReplaceRequest) -> Result<ReplacedOrder, CommandError> {
        let replace = ReplaceOrder { id: id.clone(), request, by: caller(), key: None };
        self.house.accounts.first().desk.replace_order.send(replace).await.unwrap()
    }

    async fn cancel(&self, id: &OrderId) -> Order {
        self.house
            .accounts
            .first()
            .desk
            .cancel_order
            .send(CancelOrder { id: id.clone(), by: caller().into() })
            .await
            .unwrap()
            .unwrap()
    }
}

impl Rig {
    fn status(&self, id: &OrderId) -> OrderStatus {
        self.order(id).status
    }

    fn is_ended(&self, ids: &[OrderId]) -> bool {
        ids.iter().all(|id| self.status(id).is_terminal())
    }

    /// At the venue no chain has two orders that can trade.
    fn one_live_order_a_chain(&self) {
        let mut live: BTreeMap<OrderId, u32> = BTreeMap::new();
        for order in self.venue.book() {
            let waits = order.status == VenueStatus::PendingReplace || order.replaces.is_some();
            if !order.status.is_terminal() && !waits {
                *live.entry(self.order(&order.client_order_id).chain().clone()).or_default() += 1;
            }
        }
        assert!(live.values().all(|orders| *orders <= 1), "{live:?}");
    }
}

fn next(id: &OrderId, number: u32) -> OrderId {
    OrderId::parse(&format!("{id}.r{number}")).unwrap()
}

#[test]
fn an_open_order_is_replaced_and_its_successor_goes_on() {
    run(|rig| async move {
        let running = rig.open().await;
        let old = running.send(resting_single("a", 10)).await.id;
        let new = running.replace(&old, of(qty(15))).await.unwrap().order;
        assert_eq!((new.id.clone(), new.status), (next(&old, 1), OrderStatus::Accepted));
        rig.until("the old one is replaced", || rig.status(&old) == OrderStatus::Replaced).await;
        let again = running.replace(&new.id, at(TRADES)).await.unwrap().order;
        assert_eq!(again.id, next(&old, 2));
        rig.until("all of it ended", || rig.is_ended(&[old.clone(), new.id.clone(), again.id.clone()])).await;
        assert_eq!((rig.status(&again.id), rig.order(&again.id).filled_qty), (OrderStatus::Filled, Decimal::from(15)));
        let ended = running.replace(&old, at(RESTS)).await.unwrap_err();
        assert!(matches!(ended, CommandError::NotReplaceable(NotReplaceable::Ended(OrderStatus::Replaced))), "{ended}");
        rig.audit_at_rest();
    });
}

#[test]
fn a_slices_price_is_replaced_and_its_parent_counts_it_once() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(resting_parent("p", 100, 2, 60)).await;
        sleep(seconds(1)).await;
        let slice = rig.slices(&id("p"))[0].id.clone();
        let refused = running.replace(&slice, of(qty(60))).await.unwrap_err();
        assert!(matches!(&refused, CommandError::Invalid(faults) if faults[0].field == "qty"), "{refused}");
        running.replace(&slice, at(TRADES)).await.unwrap();
        rig.until("it traded", || rig.parent(&id("p")).progress.filled_qty == Decimal::from(50)).await;
        rig.until_all_ended().await;
        let parent = rig.parent(&id("p"));
        assert_eq!(
            (parent.status, parent.progress.unexecuted_qty),
            (ParentStatus::PartiallyCompleted, Decimal::from(50))
        );
        rig.audit_at_rest();
    });
}

#[test]
fn a_lost_answer_of_a_replacement_is_looked_up_by_its_id_and_never_resent_blind() {
    for fate in [Fate::AnswerLost, Fate::ErrorAfter, Fate::AnsweredAfter(seconds(30))] {
        run(|rig| async move {
            let running = rig.open().await;
            let old = running.send(resting_single("a", 10)).await.id;
            rig.venue.decide_events(|_| EventFault::Lost);
            rig.venue.plan([fate]);
            running.replace(&old, at(RESTS)).await.unwrap();
            let new = next(&old, 1);
            rig.until("it is found", || rig.status(&new) == OrderStatus::Accepted).await;
            rig.until("the old one is replaced", || rig.status(&old) == OrderStatus::Replaced).await;
            assert_eq!(rig.venue.submissions().len(), 2);
            assert!(running.house.accounts.first().doubtful.is_empty());
            running.cancel(&old).await;
            rig.until("the chain has ended", || rig.is_ended(&[old.clone(), new.clone()])).await;
            rig.audit_at_rest();
        });
    }
}

#[test]
fn a_replacement_that_never_arrived_is_given_up_and_the_order_lives_on() {
    run(|rig| async move {
        let running = rig.open().await;
        let old = running.send(resting_single("a", 10)).await.id;
        rig.venue.plan([Fate::RequestLost]);
        running.replace(&old, at(RESTS)).await.unwrap();
        let (new, busy) = (next(&old, 1), running.replace(&old, at(21)).await.unwrap_err());
        assert!(matches!(busy, CommandError::NotReplaceable(NotReplaceable::Changing(_))), "{busy}");
        rig.until("it is given up", || rig.status(&new).is_terminal()).await;
        assert_eq!((rig.status(&new), rig.status(&old)), (OrderStatus::Failed, OrderStatus::Accepted));
        let traded = running.replace(&old, at(TRADES)).await.unwrap().order;
        rig.until("it traded", || rig.status(&traded.id) == OrderStatus::Filled).await;
        rig.audit_at_rest();
    });
}

/// Buys a little below the market, which comes back to it within the next minutes.
async fn near_the_market(rig: &Rig, running: &Running, name: &str) -> OrderId {
    let bid = rig.venue.quote(&symbol()).await.unwrap().bid.get();
    let mut near = resting_single(name, 10);
    let limit_price = Price::new((bid - Decimal::new(3, 2)).round_dp(2)).unwrap();
    near.request.instruction.terms = Terms::Limit { limit_price };
    running.send(near).await.id
}

#[test]
fn a_replacement_that_loses_to_a_fill_ends_and_says_so() {
    for waits_at_the_venue in [true, false] {
        run(|rig| async move {
            let running = rig.open().await;
            let old = near_the_market(&rig, &running, "a").await;
            let new = next(&old, 1);
            if waits_at_the_venue {
                rig.venue.set_replace_pending(seconds(3_600));
            } else {
                rig.venue.plan([Fate::ArrivesAfter(seconds(3_600))]);
            }
            running.replace(&old, at(RESTS)).await.unwrap();
            assert!(!rig.status(&old).is_terminal() && !rig.status(&new).is_terminal());
            rig.until("the chain has ended", || rig.is_ended(&[old.clone(), new.clone()])).await;
            rig.until("the old one has traded", || rig.status(&old) == OrderStatus::Filled).await;
            let ended = rig.order(&new);
            assert!(!matches!(ended.status, OrderStatus::Filled | OrderStatus::Replaced), "{ended:?}");
            assert!(ended.reason_code.is_some() && ended.error_message.is_some(), "{ended:?}");
            assert_eq!(ended.status == OrderStatus::Rejected, waits_at_the_venue, "{ended:?}");
            assert!(running.house.accounts.first().doubtful.is_empty());
            rig.audit_at_rest();
        });
    }
}

#[test]
fn a_cancel_that_meets_a_replacement_ends_the_whole_chain() {
    for fate in [Fate::Taken, Fate::AnswerLost, Fate::RequestLost, Fate::AnsweredAfter(seconds(2)), Fate::Rejected] {
        for asked_for_the_new_one in [false, true] {
            run(|rig| async move {
                let running = rig.open().await;
                let old = running.send(resting_single("a", 10)).await.id;
                let new = next(&old, 1);
                rig.venue.plan([fate]);
                let (replaced, ()) = futures_util::join!(running.replace(&old, at(RESTS)), async {
                    rig.until("it is stored", || rig.store.look(|ledger| ledger.order(&new).is_some())).await;
                    running.cancel(if asked_for_the_new_one { &new } else { &old }).await;
                });
                replaced.unwrap();
                rig.until("the chain has ended", || rig.is_ended(&[old.clone(), new.clone()])).await;
                assert!(rig.venue.book().iter().all(|order| order.status.is_terminal()));
                assert_eq!(rig.order(&old).filled_qty, Decimal::ZERO);
                rig.audit_at_rest();
            });
        }
    }
}

#[test]
fn a_crash_between_claim_and_answer_of_a_replacement_is_looked_up_and_never_resent_blind() {
    for fate in [Fate::AnsweredAfter(seconds(4)), Fate::RequestLost] {
        run(|rig| async move {
            let (old, new) = (id("a"), next(&id("a"), 1));
            rig.live(async |rig| {
                let running = rig.open().await;
                running.send(resting_single("a", 10)).await;
                rig.venue.plan([fate]);
                rig.venue.decide_events(|_| EventFault::Lost);
                running.replace(&old, at(RESTS)).await.unwrap();
                assert_eq!(rig.status(&new), OrderStatus::Submitting);
            })
            .await;
            rig.venue.decide_events(|_| EventFault::None);
            let running = rig.open().await;
            let settled = |rig: &Rig| {
                if fate == Fate::RequestLost {
                    rig.status(&new).is_terminal() && rig.status(&old) == OrderStatus::Accepted
                } else {
                    rig.status(&new) == OrderStatus::Accepted && rig.status(&old) == OrderStatus::Replaced
                }
            };
            rig.until("it is settled", || settled(&rig)).await;
            assert_eq!(rig.venue.submissions().len(), 2);
            running.cancel(&old).await;
            rig.until("the chain has ended", || rig.is_ended(&[old.clone(), new.clone()])).await;
            rig.audit_at_rest();
        });
    }
}

#[test]
fn an_engagement_lists_a_replacement_in_flight_and_ends_the_chain() {
    for mode in [KillMode::Cancel, KillMode::Halt] {
        run(|rig| async move {
            let running = rig.open().await;
            let old = running.send(resting_single("a", 10)).await.id;
            let new = next(&old, 1);
            rig.venue.decide_events(|_| EventFault::Lost);
            rig.venue.plan([Fate::AnsweredAfter(seconds(60))]);
            running.replace(&old, at(RESTS)).await.unwrap();
            let answer = running.engage(mode).await.unwrap();
            assert_eq!(answer.unknown, std::slice::from_ref(&new));
            rig.until("it is found", || rig.order(&new).broker_order_id.is_some()).await;
            rig.until("the old one is replaced", || rig.status(&old) == OrderStatus::Replaced).await;
            if mode == KillMode::Cancel {
                rig.until("the chain has ended", || rig.is_ended(&[old.clone(), new.clone()])).await;
            } else {
                assert_eq!(rig.status(&new), OrderStatus::Accepted);
            }
            let refused = running.replace(&new, at(21)).await.unwrap_err();
            assert!(matches!(refused, CommandError::Gate(_) | CommandError::NotReplaceable(_)), "{refused}");
            assert_eq!(rig.venue.submissions().len(), 2);
            rig.audit_at_rest();
        });
    }
}

#[test]
fn a_repeated_key_names_the_first_replacement() {
    run(|rig| async move {
        let running = rig.open().await;
        let old = running.send(resting_single("a", 10)).await.id;
        let key = IdempotencyKey::parse("k").ok();
        let ask = |request| {
            let replace = ReplaceOrder { id: old.clone(), request, by: caller(), key: key.clone() };
            running.house.accounts.first().desk.replace_order.send(replace)
        };
        let first = ask(at(RESTS)).await.unwrap().unwrap();
        rig.until("the old one is replaced", || rig.status(&old) == OrderStatus::Replaced).await;
        let again = ask(at(RESTS)).await.unwrap().unwrap();
        assert_eq!((again.replayed, again.order.id), (true, first.order.id));
        assert!(matches!(ask(at(21)).await.unwrap(), Err(CommandError::KeyReused)));
        assert_eq!(rig.venue.submissions().len(), 2);
    });
}

/// One client with one order, which it changes and cancels as luck has it.
async fn client(rig: &Rig, running: &Running, n: u64) {
    let luck = Seeded::new(n.wrapping_mul(7_919) + 1);
    let first = running.send(resting_single(&format!("order-{n}"), 10)).await.id;
    let mut known = first.clone();
    for _ in 0..=luck.below(3) {
        sleep(Duration::from_micros(luck.below(40_000))).await;
        let request = match luck.below(4) {
            0 => at(TRADES),
            1 => of(qty(11 + u32::try_from(luck.below(5)).unwrap())),
            _ => at(21 + u32::try_from(luck.below(5)).unwrap()),
        };
        match running.replace(&known, request).await {
            Ok(replaced) => known = replaced.order.id,
            Err(CommandError::NotReplaceable(_) | CommandError::Invalid(_)) => {
                known = rig.order(&known).replaced_by.unwrap_or(known);
            }
            Err(error) => panic!("{error}"),
        }
    }
    sleep(Duration::from_micros(luck.below(40_000))).await;
    // The last one may have come to nothing, and then the cancel of the first finds what there is instead.
    running.cancel(&known).await;
    running.cancel(&first).await;
}

#[test]
fn a_thousand_clients_replace_and_cancel_at_random_and_nothing_is_left_open() {
    run_seeded(3, |mut rig| async move {
        (rig.tuning.claim, rig.tuning.unknown_settle) = (seconds(2), seconds(1));
        (rig.tuning.send_timeout, rig.tuning.absent_settle) = (seconds(2), seconds(20));
        rig.tuning.reconcile = seconds(15);
        let running = rig.open().await;
        let answers = Seeded::new(5);
        rig.venue.decide(move |order| match answers.below(12) {
            _ if !order.client_order_id.as_str().contains(".r") => Fate::Taken,
            0 => Fate::AnswerLost,
            1 => Fate::RequestLost,
            2 => Fate::ErrorAfter,
            3 => Fate::NeverLeft,
            4 => Fate::AnsweredAfter(millis(700)),
            5 => Fate::Rejected,
            6 => Fate::ArrivesAfter(seconds(1)),
            _ => Fate::Taken,
        });
        let events = Seeded::new(11);
        rig.venue.decide_events(move |_| match events.below(6) {
            0 => EventFault::Lost,
            1 => EventFault::Duplicated,
            2 => EventFault::Reordered,
            _ => EventFault::None,
        });
        for round in 0..20 {
            rig.venue.set_replace_pending(millis(if round % 2 == 0 { 0 } else { 15 }));
            join_all((0..50).map(|n| client(&rig, &running, round * 50 + n))).await;
            rig.one_live_order_a_chain();
        }
        rig.venue.decide(|_| Fate::Taken);
        rig.venue.decide_events(|_| EventFault::None);
        let all_ended = |rig: &Rig| {
            rig.store.look(|ledger| ledger.orders().all(|order| order.status.is_terminal()))
                && rig.venue.book().iter().all(|order| order.status.is_terminal())
        };
        rig.until("every order has ended", || all_ended(&rig)).await;
        let ends = rig.store.look(|ledger| {
            let mut ends: BTreeMap<OrderStatus, u32> = BTreeMap::new();
            ledger.orders().for_each(|order| *ends.entry(order.status).or_default() += 1);
            ends
        });
        for status in [OrderStatus::Filled, OrderStatus::Canceled, OrderStatus::Replaced, OrderStatus::Rejected] {
            assert!(ends.get(&status).is_some_and(|orders| *orders > 30), "{ends:?}");
        }
        rig.audit_at_rest();
    });
}
