//! Mode `flatten`: what is held is closed, by orders that never open, and said to be closed when the broker says so.

use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::commands::{CommandError, Disengage, Engage, EngageAnswer, Released, SubmitOrder};
use tranche_actors::domain::flatten::{Awaits, Progress};
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::{AccountName, OrderId, Symbol};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::venue::{NewOrder, Unclosable, VenueOrder};
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::ports::Clock;
use tranche_simulation::venue::Fate;

use crate::support::orders::{
    account, caller, id, parent, qty, resting, resting_parent, resting_single, single, symbol,
};
use crate::support::rig::{Rig, Running, engage, millis, run, seconds};

fn of_account() -> LimitScope {
    LimitScope::Account(account())
}

async fn stop(running: &Running, scope: LimitScope, mode: KillMode) -> Result<EngageAnswer, CommandError> {
    running.house.kill_switch.engage(Engage { scope, ..engage(mode) }).await
}

async fn release(running: &Running, scope: LimitScope) -> Result<Released, CommandError> {
    let release = Disengage { operator: "ops".to_owned(), notes: None, scope, by: caller().into() };
    running.house.switches.disengage.send(release).await.unwrap()
}

fn progress(running: &Running) -> Option<Progress> {
    running.house.accounts.first().health.flattening()
}

fn is_flat(running: &Running) -> bool {
    progress(running).is_some_and(|progress| progress.flat)
}

/// The orders that closed something, as the venue has them, oldest first.
fn closing(rig: &Rig) -> Vec<VenueOrder> {
    rig.venue.book().into_iter().filter(|order| order.client_order_id.as_str().starts_with("flatten.")).collect()
}

fn nth(answer: &EngageAnswer, n: u32) -> OrderId {
    id(&format!("flatten.{}.default.ACME.{n}", answer.engagement_id))
}

fn flat_entries(rig: &Rig) -> usize {
    let history = rig.store.look(|ledger| ledger.history("kill_switch"));
    history.iter().filter(|entry| entry.event == "FLAT").count()
}

/// Buys so many units, and waits until they are held.
async fn hold(rig: &Rig, running: &Running, units: u32) {
    running.send(single("entry", units)).await;
    rig.until("it is held", || rig.venue.holds(&symbol()) == Decimal::from(units)).await;
    rig.until("our books say so", || rig.order(&id("entry")).status == OrderStatus::Filled).await;
}

#[test]
fn what_is_held_is_closed_by_one_order_that_the_answer_names_and_flat_is_said_once() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 100).await;
        running.submit(resting_parent("open", 100, 10, 10)).await;
        sleep(seconds(15)).await;
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        assert_eq!(answer.flatten_orders, [nth(&answer, 1)]);
        assert_eq!((answer.cancel_requested, answer.cancel_confirmed), (2, 2));
        rig.until("it is flat", || is_flat(&running)).await;
        assert_eq!(rig.venue.holds(&symbol()), Decimal::ZERO);
        let [only] = &closing(&rig)[..] else { panic!("{:?}", closing(&rig)) };
        assert_eq!((&only.client_order_id, only.instruction.side), (&nth(&answer, 1), Side::Sell));
        assert_eq!(only.qty.get(), Decimal::ONE_HUNDRED);
        let ours = rig.order(&nth(&answer, 1));
        assert_eq!((ours.status, ours.attempt, ours.reduces), (OrderStatus::Filled, 1, true));
        let sent = rig.venue.submissions().len();
        sleep(seconds(120)).await;
        assert_eq!(rig.venue.submissions().len(), sent, "nothing leaves any more");
        assert_eq!(rig.reasons(&running), [ShutReason::KillSwitchEngaged]);
        assert_eq!(flat_entries(&rig), 1);
        let progress = progress(&running).unwrap();
        assert!(progress.flat && progress.left.is_empty() && progress.because.is_none(), "{progress:?}");
        rig.audit_at_rest();
    });
}

#[test]
fn without_a_position_an_account_is_flat_at_once_and_nothing_is_sent() {
    run(|rig| async move {
        let running = rig.open().await;
        let answer = stop(&running, of_account(), KillMode::Flatten).await.unwrap();
        assert!(answer.flatten_orders.is_empty(), "{answer:?}");
        rig.until("it is flat", || is_flat(&running)).await;
        assert!(rig.venue.submissions().is_empty());
        release(&running, of_account()).await.unwrap();
        rig.until("nobody wants it flat any more", || progress(&running).is_none()).await;
        assert_eq!(rig.verdict(&running), Verdict::Open);
    });
}

#[test]
fn while_the_broker_does_not_say_what_is_held_nothing_is_closed_and_nothing_is_called_flat() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        rig.venue.calls.fail("positions", true);
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        assert_eq!(answer.flatten_orders, [nth(&answer, 1)], "our books name it where the broker does not");
        sleep(seconds(30)).await;
        let known = progress(&running).unwrap();
        assert!(!known.flat && known.because.is_some(), "{known:?}");
        assert!(closing(&rig).is_empty());
        rig.venue.calls.fail("positions", false);
        rig.until("it is flat", || is_flat(&running)).await;
        rig.venue.calls.fail("positions", true);
        rig.until("that is not known any more", || !is_flat(&running)).await;
    });
}

#[test]
fn what_no_order_can_close_is_named_and_nothing_is_called_flat_while_it_is_held() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        let other = Unclosable { name: "BTCUSD".to_owned(), qty: Decimal::ONE };
        rig.venue.hold_unclosable(vec![other.clone()]);
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        assert_eq!(answer.flatten_orders, [nth(&answer, 1)]);
        sleep(seconds(60)).await;
        let known = progress(&running).unwrap();
        assert_eq!((known.flat, known.left.len(), known.unclosable), (false, 0, vec![other]));
        assert_eq!((rig.venue.holds(&symbol()), closing(&rig).len(), flat_entries(&rig)), (Decimal::ZERO, 1, 0));
        // A person has closed it at the broker.
        rig.venue.hold_unclosable(Vec::new());
        rig.until("it is flat", || is_flat(&running)).await;
        assert!(progress(&running).unwrap().unclosable.is_empty());
    });
}

#[test]
fn a_symbol_waits_for_its_unknown_orders_and_no_other_symbol_waits_with_it() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        let mut other = single("other", 7);
        other.request.instruction.symbol = Symbol::parse("OTHER").unwrap();
        running.send(other).await;
        sleep(seconds(2)).await;
        // It is lost for good, and not known to be for two minutes and more.
        rig.venue.plan([Fate::RequestLost]);
        running.send(resting_single("lost", 1)).await;
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        assert_eq!(answer.unknown, [id("lost")]);
        sleep(seconds(30)).await;
        assert_eq!(rig.venue.holds(&Symbol::parse("OTHER").unwrap()), Decimal::ZERO);
        assert_eq!(rig.venue.holds(&symbol()), Decimal::TEN);
        let known = progress(&running).unwrap();
        let left = known.left.iter().map(|left| (left.symbol.clone(), left.awaits)).collect::<Vec<_>>();
        assert_eq!((left.as_slice(), known.flat), ([(symbol(), Awaits::OpenOrders)].as_slice(), false));
        rig.until("it is flat", || is_flat(&running)).await;
        assert_eq!(rig.order(&id("lost")).status, OrderStatus::Canceled);
        rig.audit_at_rest();
    });
}

#[test]
fn a_refused_order_is_followed_by_the_next_number_and_an_unknown_one_by_none() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        rig.venue.plan([Fate::Rejected, Fate::Rejected, Fate::AnswerLost]);
        rig.venue.decide_events(|_| tranche_actors::market::faults::EventFault::Lost);
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        rig.until("the third is out", || rig.venue.submissions().len() == 4).await;
        let third = nth(&answer, 3);
        rig.until("its outcome is unknown", || rig.order(&third).status == OrderStatus::SubmittedUnconfirmed).await;
        assert_eq!([1, 2].map(|n| rig.order(&nth(&answer, n)).status), [OrderStatus::Rejected; 2]);
        rig.until("it is flat", || is_flat(&running)).await;
        assert_eq!(closing(&rig).len(), 1, "the one that was unknown had closed it");
        assert_eq!(rig.venue.submissions().len(), 4);
        assert_eq!(rig.order(&third).status, OrderStatus::Filled);
    });
}

#[test]
fn an_absent_order_is_sent_again_under_its_own_id() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        rig.venue.plan([Fate::RequestLost]);
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        rig.until("it is flat", || is_flat(&running)).await;
        let sent = rig.venue.submissions();
        let ids = sent.iter().skip(1).map(|one| one.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids, [nth(&answer, 1), nth(&answer, 1)]);
        assert_eq!((rig.order(&nth(&answer, 1)).attempt, rig.venue.holds(&symbol())), (2, Decimal::ZERO));
        rig.audit_at_rest();
    });
}

#[test]
fn a_crash_at_any_moment_closes_it_once_after_the_restart() {
    for after in [0, 3, 6, 9, 12, 20, 300, 700] {
        run(|rig| async move {
            rig.live(async |rig| {
                let running = rig.open().await;
                hold(rig, &running, 10).await;
                rig.venue.set_latency(millis(4));
                let until = async {
                    rig.until("it is durable", || {
                        rig.store.look(|ledger| ledger.switches().kill.is_some_and(|kill| kill.is_engaged()))
                    })
                    .await;
                    sleep(millis(after)).await;
                };
                let engaged = async {
                    running.engage(KillMode::Flatten).await.unwrap();
                    std::future::pending::<()>().await;
                };
                futures_util::future::select(std::pin::pin!(until), std::pin::pin!(engaged)).await;
            })
            .await;
            let running = rig.start();
            rig.until("it is flat", || is_flat(&running)).await;
            let closed = closing(&rig).iter().map(|order| order.filled_qty).sum::<Decimal>();
            assert_eq!((closed, rig.venue.holds(&symbol())), (Decimal::TEN, Decimal::ZERO), "after {after} ms");
            sleep(seconds(10)).await;
            assert_eq!(flat_entries(&rig), 1, "after {after} ms");
            rig.audit_at_rest();
        });
    }
}

#[test]
fn a_short_position_is_bought_back() {
    run(|rig| async move {
        let running = rig.open().await;
        let mut short = single("short", 30);
        short.request.instruction.side = Side::Sell;
        running.send(short).await;
        rig.until("it is held", || rig.venue.holds(&symbol()) == Decimal::from(-30)).await;
        running.engage(KillMode::Flatten).await.unwrap();
        rig.until("it is flat", || is_flat(&running)).await;
        let [only] = &closing(&rig)[..] else { panic!("{:?}", closing(&rig)) };
        assert_eq!((only.instruction.side, only.qty.get()), (Side::Buy, Decimal::from(30)));
    });
}

/// An order at the broker that somebody sent beside us.
fn slip_in(rig: &Rig, name: &str, side: Side, units: u32, submit: &SubmitOrder) -> VenueOrder {
    let mut instruction = submit.request.instruction.clone();
    instruction.side = side;
    rig.venue.slip_in(&NewOrder { client_order_id: id(name), instruction, qty: qty(units) }).unwrap()
}

/// A limit far above the market, so that a sale rests.
fn dear() -> tranche_actors::domain::terms::Terms {
    let limit_price = tranche_actors::domain::money::Price::new(Decimal::from(1_000_000)).unwrap();
    tranche_actors::domain::terms::Terms::Limit { limit_price }
}

#[test]
fn what_others_may_sell_is_not_sold_twice_and_what_they_left_open_before_is_cancelled() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        let mut rests = single("rests", 1);
        rests.request.instruction.terms = dear();
        slip_in(&rig, "theirs", Side::Sell, 4, &rests);
        let mut buys = rests.clone();
        buys.request.instruction.terms = resting();
        slip_in(&rig, "bid", Side::Buy, 4, &buys);
        // The engagement's own cancels fail, and those that follow too at first.
        rig.venue.plan_cancels([tranche_actors::market::faults::RequestFault::ErrorBefore; 4]);
        rig.venue.set_latency(millis(1));
        running.engage(KillMode::Flatten).await.unwrap();
        let later = slip_in(&rig, "later", Side::Sell, 3, &rests);
        rig.until("the rest was sold", || rig.venue.holds(&symbol()) == Decimal::from(3)).await;
        assert!(!is_flat(&running));
        let ended = |name: &str| rig.venue.in_book(&id(name)).unwrap().status.is_terminal();
        rig.until("what was open is cancelled", || ended("theirs") && ended("bid")).await;
        sleep(seconds(60)).await;
        assert!(!ended("later"), "what somebody sent since is theirs");
        assert_eq!(rig.venue.holds(&symbol()), Decimal::from(3));
        assert_eq!(progress(&running).unwrap().left[0].awaits, Awaits::OtherOrders);
        let canceled = tranche_actors::ports::Venue::cancel(&*rig.venue, &later.broker_order_id).await;
        canceled.unwrap();
        rig.until("it is flat", || is_flat(&running)).await;
        assert_eq!(rig.venue.holds(&symbol()), Decimal::ZERO);
    });
}

#[test]
fn halt_becomes_cancel_and_flatten_and_an_account_everything_and_nothing_opens_meanwhile() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 100).await;
        running.submit(resting_parent("open", 100, 2, 3600)).await;
        sleep(seconds(2)).await;
        let halted = stop(&running, of_account(), KillMode::Halt).await.unwrap();
        let global = running.engage(KillMode::Halt).await.unwrap();
        let cancelled = stop(&running, of_account(), KillMode::Cancel).await.unwrap();
        assert_eq!((cancelled.cancel_requested, cancelled.engagement_id == halted.engagement_id), (1, true));
        assert!(progress(&running).is_none() && closing(&rig).is_empty());
        // Within a halt of everything.
        let flattened = stop(&running, of_account(), KillMode::Flatten).await.unwrap();
        assert_eq!(flattened.engagement_id, halted.engagement_id);
        assert_eq!(flattened.flatten_orders, [nth(&flattened, 1)]);
        rig.until("it is flat", || is_flat(&running)).await;
        let again = stop(&running, of_account(), KillMode::Flatten).await.unwrap_err();
        assert!(matches!(&again, CommandError::AlreadyEngaged(state) if state.mode == Some(KillMode::Flatten)));
        let all = running.engage(KillMode::Flatten).await.unwrap();
        assert_eq!((all.engagement_id == global.engagement_id, all.flatten_orders.len()), (true, 0));
        assert!(matches!(running.engage(KillMode::Flatten).await, Err(CommandError::AlreadyEngaged(_))));
        assert!(matches!(running.engage(KillMode::Cancel).await, Err(CommandError::AlreadyEngaged(_))));
        rig.until("it is flat by that too", || {
            progress(&running).is_some_and(|known| known.flat && known.engagement == all.engagement_id)
        })
        .await;
        assert_eq!(rig.venue.submissions().len(), 3, "the entry, a slice, and what closed");
        // What is let go of the one is held by the other.
        release(&running, LimitScope::Global).await.unwrap();
        assert!(progress(&running).is_some());
        let refused = running.house.accounts.first().desk.submit_order.send(single("late", 1)).await.unwrap();
        assert!(matches!(refused, Err(CommandError::Gate(ShutReason::KillSwitchEngaged))));
        release(&running, of_account()).await.unwrap();
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.audit_at_rest();
    });
}

#[test]
fn after_a_release_nothing_is_closed_any_more_and_what_is_open_of_it_is_cancelled() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        // Sent, and neither there nor known not to be.
        rig.venue.plan([Fate::ArrivesAfter(seconds(40))]);
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        let first = nth(&answer, 1);
        rig.until("it is out", || rig.venue.submissions().len() == 2).await;
        running.disengage().await.unwrap();
        assert_eq!(rig.verdict(&running), Verdict::Open);
        rig.until("its cancel is asked for", || rig.order(&first).cancel_requested_at.is_some()).await;
        sleep(seconds(300)).await;
        assert_eq!(rig.venue.submissions().len(), 2, "it was not sent again");
        assert!(rig.order(&first).status.is_terminal());
        assert!(progress(&running).is_none());
        assert_eq!(flat_entries(&rig), 0);
    });
}

#[test]
fn an_order_that_waits_for_its_claim_when_it_is_released_ends() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        rig.venue.plan([Fate::Busy(Some(seconds(30)))]);
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        let first = nth(&answer, 1);
        rig.until("it went back", || {
            rig.venue.submissions().len() == 2 && rig.order(&first).status == OrderStatus::PendingNew
        })
        .await;
        sleep(seconds(3)).await;
        running.disengage().await.unwrap();
        rig.until("it ends", || rig.order(&first).status == OrderStatus::Canceled).await;
        sleep(seconds(60)).await;
        assert_eq!((rig.venue.submissions().len(), rig.venue.holds(&symbol())), (2, Decimal::TEN));
    });
}

#[test]
fn an_account_that_is_not_there_and_a_part_that_holds_nothing_are_refused_and_stop_nothing() {
    run(|rig| async move {
        let running = rig.open().await;
        let nobody = LimitScope::Account(AccountName::parse("nobody").unwrap());
        let strategy = tranche_actors::domain::names::StrategyId::parse("seam").unwrap();
        for (scope, mode, field) in [
            (nobody.clone(), KillMode::Halt, "scope"),
            (nobody, KillMode::Flatten, "scope"),
            (LimitScope::Symbol(symbol()), KillMode::Flatten, "mode"),
            (LimitScope::Strategy(strategy), KillMode::Flatten, "mode"),
        ] {
            let refused = stop(&running, scope, mode).await.unwrap_err();
            let CommandError::Invalid(faults) = refused else { panic!("{refused}") };
            assert_eq!(faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), [field]);
        }
        assert!(running.house.health.halts().is_empty());
        assert_eq!(running.send(single("goes", 1)).await.status, OrderStatus::Accepted);
    });
}

#[test]
fn a_release_says_which_parents_go_on() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(resting_parent("goes_on", 100, 10, 60)).await;
        running.submit(parent("ends", 1, 1, 1)).await;
        sleep(seconds(70)).await;
        running.engage(KillMode::Cancel).await.unwrap();
        let of_symbol = LimitScope::Symbol(symbol());
        stop(&running, of_symbol.clone(), KillMode::Halt).await.unwrap();
        let nothing = release(&running, LimitScope::Global).await.unwrap();
        assert_eq!(nothing.resumes.unwrap(), [], "its symbol is stopped still");
        let [resumes] = &release(&running, of_symbol).await.unwrap().resumes.unwrap()[..] else { panic!() };
        assert_eq!((&resumes.account, resumes.parents, resumes.slices), (&account(), 1, 8));
        assert_eq!(resumes.parent_order_ids, [id("goes_on")]);
        let history = rig.store.look(|ledger| ledger.history("kill_switch"));
        let told = history.iter().rev().find(|entry| entry.event == "DISENGAGED").unwrap().details.clone().unwrap();
        assert_eq!(told["details"]["resumes"][0]["slices"], 8, "{told}");
        let before = rig.clock.now();
        rig.until("the next slice leaves", || rig.venue.submissions().len() > 3).await;
        assert!((rig.clock.now() - before).num_seconds() < 61);
    });
}

#[test]
fn what_closes_a_position_is_not_cancelled_with_the_rest_when_the_account_is_recovered() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        rig.venue.plan([Fate::RequestLost]);
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        sleep(seconds(2)).await;
        assert!(!rig.order(&nth(&answer, 1)).status.is_terminal());
        rig.venue.end_streams();
        sleep(seconds(10)).await;
        let lost = rig.order(&nth(&answer, 1));
        assert!(lost.cancel_requested_at.is_none(), "{lost:?}");
        rig.until("it is flat", || is_flat(&running)).await;
        assert_eq!(rig.order(&nth(&answer, 1)).status, OrderStatus::Filled, "the same order was sent again");
    });
}

#[test]
fn no_order_leaves_by_a_position_that_was_read_long_before() {
    run(|rig| async move {
        let running = rig.open().await;
        hold(&rig, &running, 10).await;
        // The broker is asked for what is held, and the answer takes so long that it may have changed since.
        rig.venue.calls.delay("positions", seconds(8));
        let answer = running.engage(KillMode::Flatten).await.unwrap();
        sleep(seconds(60)).await;
        assert!(closing(&rig).is_empty(), "{:?}", closing(&rig));
        rig.venue.calls.delay("positions", millis(10));
        rig.until("it is flat", || is_flat(&running)).await;
        assert_eq!(closing(&rig).len(), 1, "{answer:?}");
    });
}
