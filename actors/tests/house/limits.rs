//! Pre-trade limits: where they bite, where they just don't, and where what isn't known refuses.

use rust_decimal::Decimal;
use tokio::time::sleep;
use tranche_actors::commands::{ChangeLimits, CommandError, SubmitOrder, SubmitParent, SubmittedOrder};
use tranche_actors::domain::limits::{
    Changer, Control, LimitChange, LimitKey, LimitScope, LockKey, LockKind, LockRule, Lockout, StopCode,
};
use tranche_actors::domain::names::StrategyId;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::ParentStatus;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Side;
use tranche_actors::gate::{ShutReason, Verdict};
use tranche_actors::ports::Clock;
use tranche_simulation::venue::Fate;

use crate::support::orders::{account, caller, id, parent, qty, resting_parent, resting_single, single, symbol};
use crate::support::rig::{Rig, Running, millis, run, seconds};

const REASON: &str = "it was looked into, and all is well";

fn key(scope: LimitScope, control: Control) -> LimitKey {
    LimitKey { scope, control }
}

fn of_strategy(name: &str, control: Control) -> LimitKey {
    key(LimitScope::Strategy(StrategyId::parse(name).unwrap()), control)
}

async fn change(running: &Running, change: LimitChange) {
    let who = Changer { operator: "ops".to_owned(), by: caller().into() };
    running.house.switches.limits.send(ChangeLimits { changes: vec![change], who }).await.unwrap().unwrap();
}

async fn set(running: &Running, control: Control, value: u32) {
    change(running, LimitChange::Set(key(LimitScope::Global, control), Decimal::from(value))).await;
}

fn sell(mut submit: SubmitOrder) -> SubmitOrder {
    submit.request.instruction.side = Side::Sell;
    submit
}

/// The same, ten seconds from now.
fn later(rig: &Rig, mut submit: SubmitParent) -> SubmitParent {
    submit.request.schedule.start_time = Some(rig.clock.now() + seconds(10));
    submit
}

async fn ask(running: &Running, submit: SubmitOrder) -> Result<SubmittedOrder, CommandError> {
    running.house.accounts.first().desk.submit_order.send(submit).await.unwrap()
}

async fn stopped_by(running: &Running, submit: SubmitOrder) -> StopCode {
    match ask(running, submit).await {
        Err(CommandError::Limited { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

fn ended(order: &Order) -> (OrderStatus, Option<&str>) {
    (order.status, order.reason_code.as_deref())
}

const BLOCKED: OrderStatus = OrderStatus::BlockedRisk;
const MAX_POSITION: (OrderStatus, Option<&str>) = (BLOCKED, Some("max_position"));

#[test]
fn of_ten_slices_that_waited_together_one_gets_the_room_that_is_left() {
    run(|rig| async move {
        let running = rig.open().await;
        set(&running, Control::MaxPosition, 100).await;
        for n in 0..10 {
            running.submit(later(&rig, resting_parent(&format!("p{n}"), 100, 1, 60))).await;
        }
        sleep(seconds(15)).await;
        let slices = (0..10).flat_map(|n| rig.slices(&id(&format!("p{n}")))).collect::<Vec<_>>();
        assert_eq!(slices.iter().filter(|slice| slice.status == OrderStatus::Accepted).count(), 1);
        assert_eq!(slices.iter().filter(|slice| ended(slice) == MAX_POSITION).count(), 9);
        assert_eq!(rig.venue.submissions().len(), 1);
    });
}

#[test]
fn a_limit_that_is_lowered_under_a_working_parent_bites_its_next_slice_and_a_raised_one_lets_it_go_on() {
    run(|rig| async move {
        let running = rig.open().await;
        running.submit(parent("worked", 60, 6, 20)).await;
        sleep(seconds(25)).await;
        set(&running, Control::MaxPosition, 29).await;
        sleep(seconds(20)).await;
        assert_eq!(ended(&rig.slices(&id("worked"))[2]), MAX_POSITION);
        set(&running, Control::MaxPosition, 30).await;
        sleep(seconds(20)).await;
        assert_eq!(rig.statuses(&id("worked"))[3], OrderStatus::Filled, "30 is just not too many");
        rig.until_all_ended().await;
        assert_eq!(ended(&rig.slices(&id("worked"))[4]), MAX_POSITION);
        rig.audit_at_rest();
    });
}

#[test]
fn twenty_clients_who_reduce_one_position_at_once_never_sell_more_than_it_in_a_quiet_period() {
    for (units, answers) in [(100, 1), (10, 10), (30, 3)] {
        run(|rig| async move {
            let running = rig.open().await;
            running.send(single("base", 100)).await;
            running.trip().await;
            running.reset(REASON).await.unwrap();
            assert_eq!(rig.verdict(&running), Verdict::ReduceOnly(ShutReason::CircuitBreakerQuiet));
            rig.venue.plan([Fate::AnswerLost]);
            let asked = (0..20).map(|n| ask(&running, sell(single(&format!("s{n}"), units))));
            let asked = futures_util::future::join_all(asked).await;
            sleep(seconds(30)).await;
            let sold = rig.venue.submissions().iter().filter(|sent| sent.id.as_str().starts_with('s')).count();
            assert_eq!(sold, answers, "{asked:?}");
            for refused in asked.iter().filter_map(|asked| asked.as_ref().err()) {
                assert!(matches!(refused, CommandError::Gate(ShutReason::CircuitBreakerQuiet)), "{refused}");
            }
            assert_eq!(rig.venue.holds(&symbol()), Decimal::from(100 - units * u32::try_from(answers).unwrap()));
            rig.audit_at_rest();
        });
    }
}

#[test]
fn a_quiet_period_lets_nothing_pass_that_opens_flips_or_adds() {
    run(|rig| async move {
        let running = rig.open().await;
        running.trip().await;
        running.reset(REASON).await.unwrap();
        let quiet = |asked: Result<SubmittedOrder, CommandError>| {
            assert!(matches!(asked, Err(CommandError::Gate(ShutReason::CircuitBreakerQuiet))), "{asked:?}");
        };
        quiet(ask(&running, sell(single("from-flat", 1))).await);
        sleep(seconds(301)).await;
        running.send(single("base", 100)).await;
        running.trip().await;
        running.reset(REASON).await.unwrap();
        quiet(ask(&running, single("adds", 1)).await);
        quiet(ask(&running, sell(single("flips", 101))).await);
        let exit = running.send(sell(single("closes", 100))).await;
        assert!(exit.reduces);
        rig.until("it is out", || rig.venue.holds(&symbol()).is_zero()).await;
        sleep(seconds(1)).await;
        quiet(ask(&running, sell(single("from-flat-again", 1))).await);
        rig.audit_at_rest();
    });
}

#[test]
fn what_waits_for_its_time_when_the_breaker_trips_ends_in_the_quiet_period_unless_it_reduces() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(single("base", 30)).await;
        let mut out = parent("out", 40, 4, 20);
        out.request.instruction.side = Side::Sell;
        running.submit(later(&rig, out)).await;
        running.submit(later(&rig, parent("in", 40, 4, 20))).await;
        running.trip().await;
        running.reset(REASON).await.unwrap();
        rig.until_all_ended().await;
        let [filled, blocked] = [OrderStatus::Filled, OrderStatus::BlockedCircuitBreaker];
        assert_eq!(rig.statuses(&id("out")), [filled, filled, filled, blocked], "only 30 are held");
        assert_eq!(rig.statuses(&id("in")), [blocked; 4]);
        rig.audit_at_rest();
    });
}

#[test]
fn an_order_of_its_own_is_held_to_quantity_worth_and_price_also_on_its_way_out() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(single("base", 100)).await;
        set(&running, Control::MaxOrderQty, 50).await;
        assert_eq!(stopped_by(&running, sell(single("big", 51))).await, StopCode::Limit(Control::MaxOrderQty));
        running.send(sell(single("just", 50))).await;
        set(&running, Control::MaxOrderQty, 1_000).await;
        set(&running, Control::MaxOrderNotional, 1_000).await;
        assert_eq!(stopped_by(&running, resting_single("worth", 41)).await, StopCode::Limit(Control::MaxOrderNotional));
        running.send(resting_single("less", 40)).await;
        // At the market nobody knows what it is worth without a price. An exit passes all the same.
        rig.venue.calls.fail("quote", true);
        sleep(seconds(20)).await;
        assert_eq!(stopped_by(&running, single("dark", 1)).await, StopCode::Limit(Control::StalePrice));
        assert!(running.send(sell(single("exit", 1))).await.reduces);
        rig.venue.calls.fail("quote", false);
        sleep(seconds(1)).await;
        set(&running, Control::PriceCollar, 10).await;
        assert_eq!(stopped_by(&running, resting_single("far", 1)).await, StopCode::Limit(Control::PriceCollar));
        set(&running, Control::PriceCollar, 90).await;
        running.send(resting_single("near", 1)).await;
    });
}

#[test]
fn orders_wait_for_a_fresh_price_up_to_their_grace() {
    run(|rig| async move {
        let running = rig.open().await;
        set(&running, Control::StalePrice, 5).await;
        running.submit(parent("dark", 30, 3, 60)).await;
        sleep(seconds(30)).await;
        rig.venue.calls.fail("quote", true);
        sleep(seconds(50)).await;
        let waits = &rig.slices(&id("dark"))[1];
        assert_eq!(ended(waits), (OrderStatus::PendingNew, Some("stale_price")));
        rig.venue.calls.fail("quote", false);
        sleep(seconds(5)).await;
        assert_eq!(rig.statuses(&id("dark"))[1], OrderStatus::Filled, "the price is back");
        rig.venue.calls.fail("quote", true);
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("dark"))[2], OrderStatus::Expired, "it was not back in time");
        rig.audit_at_rest();
    });
}

#[test]
fn orders_wait_for_others_to_end_and_for_the_minute_to_pass() {
    run(|rig| async move {
        let running = rig.open().await;
        set(&running, Control::MaxOpenOrders, 1).await;
        let mut first = resting_parent("first", 10, 1, 60);
        first.request.completion = tranche_actors::domain::policy::Completion::Cancel;
        running.submit(first).await;
        running.submit(later(&rig, parent("second", 10, 1, 60))).await;
        sleep(seconds(30)).await;
        assert_eq!(ended(&rig.slices(&id("second"))[0]), (OrderStatus::PendingNew, Some("max_open_orders")));
        rig.until_all_ended().await;
        assert_eq!(rig.statuses(&id("second")), [OrderStatus::Filled], "the first was cancelled after a minute");
        change(&running, LimitChange::Remove(key(LimitScope::Global, Control::MaxOpenOrders))).await;
        sleep(seconds(60)).await;
        set(&running, Control::MaxMessageRate, 2).await;
        running.submit(parent("third", 30, 3, 1)).await;
        sleep(seconds(30)).await;
        assert_eq!(ended(&rig.slices(&id("third"))[2]), (OrderStatus::PendingNew, Some("max_message_rate")));
        sleep(seconds(32)).await;
        assert_eq!(rig.statuses(&id("third")), [OrderStatus::Filled; 3]);
        rig.audit_at_rest();
    });
}

#[test]
fn a_message_rate_that_is_set_after_a_crash_counts_what_left_before_it() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            running.submit(parent("before", 20, 2, 1)).await;
            rig.until_all_ended().await;
        })
        .await;
        let running = rig.open().await;
        set(&running, Control::MaxMessageRate, 3).await;
        running.submit(parent("third", 10, 1, 1)).await;
        sleep(seconds(5)).await;
        assert_eq!(rig.statuses(&id("third")), [OrderStatus::Filled], "it is just one of three");
        running.submit(parent("fourth", 10, 1, 1)).await;
        sleep(seconds(5)).await;
        assert_eq!(ended(&rig.slices(&id("fourth"))[0]), (OrderStatus::PendingNew, Some("max_message_rate")));
    });
}

#[test]
fn the_minute_of_a_message_rate_outlives_a_crash() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            set(&running, Control::MaxMessageRate, 3).await;
            change(&running, LimitChange::Set(of_strategy("sliced", Control::MaxMessageRate), Decimal::from(2))).await;
            let mut sliced = parent("sliced", 20, 2, 1);
            sliced.request.strategy_id = StrategyId::parse("sliced").unwrap();
            running.submit(sliced).await;
            rig.until_all_ended().await;
        })
        .await;
        let running = rig.open().await;
        // A slice's claim counts for its parent's strategy, also where the parent has ended.
        let mut held = parent("held", 10, 1, 1);
        held.request.strategy_id = StrategyId::parse("sliced").unwrap();
        running.submit(held).await;
        sleep(seconds(5)).await;
        assert_eq!(ended(&rig.slices(&id("held"))[0]), (OrderStatus::PendingNew, Some("max_message_rate")));
        running.submit(parent("third", 10, 1, 1)).await;
        sleep(seconds(5)).await;
        assert_eq!(rig.statuses(&id("third")), [OrderStatus::Filled], "it is just one of three");
        running.submit(parent("fourth", 10, 1, 1)).await;
        sleep(seconds(5)).await;
        assert_eq!(ended(&rig.slices(&id("fourth"))[0]), (OrderStatus::PendingNew, Some("max_message_rate")));
        sleep(seconds(60)).await;
        for name in ["held", "fourth"] {
            assert_eq!(rig.statuses(&id(name)), [OrderStatus::Filled], "{name}: the minute is over");
        }
    });
}

#[test]
fn the_same_again_under_a_fresh_id_is_a_duplicate_and_equal_slices_are_none() {
    run(|rig| async move {
        let running = rig.open().await;
        set(&running, Control::DuplicateOrder, 600).await;
        running.submit(parent("sliced", 390, 390, 1)).await;
        rig.until_all_ended().await;
        assert_eq!(rig.parent(&id("sliced")).status, ParentStatus::Completed);
        running.send(single("once", 7)).await;
        let duplicate = StopCode::Limit(Control::DuplicateOrder);
        assert_eq!(stopped_by(&running, single("twice", 7)).await, duplicate);
        assert!(ask(&running, single("once", 7)).await.unwrap().replayed, "a repetition is none");
        running.send(single("other", 8)).await;
        let again = running.house.accounts.first().desk.submit_parent.send(parent("again", 390, 390, 1)).await.unwrap();
        assert!(matches!(again, Err(CommandError::Limited { code, .. }) if code == duplicate), "{again:?}");
        let begun = rig.clock.now();
        rig.until("the window is over", || rig.clock.now() >= begun + seconds(599)).await;
        sleep(seconds(2)).await;
        running.send(single("later", 7)).await;
    });
}

#[test]
fn the_memory_of_duplicates_outlives_a_crash() {
    run(|rig| async move {
        rig.live(async |rig| {
            let running = rig.open().await;
            set(&running, Control::DuplicateOrder, 600).await;
            running.send(single("once", 7)).await;
        })
        .await;
        let running = rig.open().await;
        assert_eq!(stopped_by(&running, single("twice", 7)).await, StopCode::Limit(Control::DuplicateOrder));
    });
}

#[test]
fn a_locked_account_may_reduce_and_not_open_until_the_lock_is_over() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(single("base", 100)).await;
        running.submit(later(&rig, parent("due", 10, 1, 60))).await;
        let key = |rule, symbol| LockKey { account: account(), symbol, rule: LockRule::parse(rule).unwrap() };
        let lock = |kind, until| Lockout {
            kind,
            reason: "a loss".to_owned(),
            operator: "ops".to_owned(),
            by: caller(),
            since: rig.clock.now(),
            until,
        };
        let minute = rig.clock.now() + seconds(60);
        change(&running, LimitChange::Lock(key("cool", None), lock(LockKind::Cooldown, Some(minute)))).await;
        assert_eq!(stopped_by(&running, single("opens", 1)).await, StopCode::Lockout);
        assert!(running.send(sell(single("reduces", 40))).await.reduces);
        assert_eq!(stopped_by(&running, sell(single("flips", 61))).await, StopCode::Lockout);
        rig.until_all_ended().await;
        assert_eq!(ended(&rig.slices(&id("due"))[0]), (BLOCKED, Some("lockout")));
        change(&running, LimitChange::Lock(key("stay", Some(symbol())), lock(LockKind::Permanent, None))).await;
        sleep(seconds(60)).await;
        assert_eq!(stopped_by(&running, single("still", 1)).await, StopCode::Lockout, "the symbol's lock stays");
        change(&running, LimitChange::Unlock(key("stay", Some(symbol())))).await;
        running.send(single("again", 1)).await;
    });
}

#[test]
fn an_override_holds_for_its_key_until_its_end() {
    run(|rig| async move {
        let running = rig.open().await;
        let of_strategy = LimitScope::Strategy(StrategyId::parse("seam").unwrap());
        set(&running, Control::MaxOrderQty, 100).await;
        change(&running, LimitChange::Set(key(of_strategy.clone(), Control::MaxOrderQty), Decimal::from(10))).await;
        let tight = StopCode::Limit(Control::MaxOrderQty);
        assert_eq!(stopped_by(&running, single("a", 11)).await, tight, "the tightest wins");
        let until = rig.clock.now() + seconds(60);
        let instead = LimitChange::Override {
            key: key(of_strategy, Control::MaxOrderQty),
            value: Decimal::from(50),
            until,
            reason: "a large client order".to_owned(),
        };
        change(&running, instead).await;
        running.send(single("b", 50)).await;
        assert_eq!(stopped_by(&running, single("c", 51)).await, tight);
        sleep(seconds(60)).await;
        assert_eq!(stopped_by(&running, single("d", 11)).await, tight, "its end has come");
    });
}

#[test]
fn nothing_enters_while_the_limits_cannot_be_read() {
    run(|rig| async move {
        let running = rig.open().await;
        rig.store.calls.fail("limits", true);
        let refused = ask(&running, single("unknown", 1)).await;
        assert!(matches!(refused, Err(CommandError::StoreUnavailable)), "{refused:?}");
        assert!(rig.venue.submissions().is_empty());
        rig.store.calls.fail("limits", false);
        running.send(single("known", 1)).await;
    });
}

#[test]
fn a_desk_that_dies_is_rebuilt_with_what_is_open_and_the_gate_is_shut_meanwhile() {
    run(|rig| async move {
        let running = rig.open().await;
        set(&running, Control::MaxPosition, 100).await;
        running.send(resting_single("open", 60)).await;
        rig.store.calls.panic("limits", 1);
        ask(&running, single("dies", 1)).await.unwrap_err();
        rig.until("it is noticed", || rig.reasons(&running).contains(&ShutReason::BrokerUnavailable)).await;
        rig.until("it is mended", || rig.verdict(&running) == Verdict::Open).await;
        let much = StopCode::Limit(Control::MaxPosition);
        assert_eq!(stopped_by(&running, resting_single("more", 41)).await, much);
        running.send(resting_single("just", 40)).await;
    });
}

#[test]
fn an_order_of_unknown_outcome_keeps_its_room_and_one_that_never_left_gives_it_back() {
    run(|mut rig| async move {
        rig.tuning.max_tries = 1;
        let running = rig.open().await;
        set(&running, Control::MaxPosition, 100).await;
        rig.venue.plan([Fate::NeverLeft, Fate::RequestLost]);
        rig.venue.calls.fail("find", true);
        running.send(resting_single("never", 100)).await;
        sleep(seconds(6)).await;
        assert_eq!(rig.order(&id("never")).status, OrderStatus::Failed);
        running.send(resting_single("lost", 100)).await;
        sleep(millis(6_000)).await;
        assert_eq!(rig.order(&id("lost")).status, OrderStatus::SubmittedUnconfirmed);
        let much = StopCode::Limit(Control::MaxPosition);
        assert_eq!(stopped_by(&running, resting_single("beside", 1)).await, much);
        assert_eq!(qty(100), rig.order(&id("lost")).qty);
    });
}

#[test]
fn restricted_symbols_take_no_entries_and_gross_exposure_counts_everything_that_is_open() {
    run(|rig| async move {
        let running = rig.open().await;
        running.send(single("base", 10)).await;
        set(&running, Control::MaxGrossExposure, 4_000).await;
        let gross = StopCode::Limit(Control::MaxGrossExposure);
        assert_eq!(stopped_by(&running, resting_single("more", 1_000)).await, gross);
        running.send(resting_single("some", 1)).await;
        rig.venue.calls.fail("quote", true);
        sleep(seconds(20)).await;
        assert_eq!(stopped_by(&running, resting_single("dark", 1)).await, StopCode::Limit(Control::StalePrice));
        rig.venue.calls.fail("quote", false);
        let restricted = key(LimitScope::Symbol(symbol()), Control::RestrictedSymbol);
        change(&running, LimitChange::Set(restricted, Decimal::ONE)).await;
        assert_eq!(stopped_by(&running, single("enters", 1)).await, StopCode::Limit(Control::RestrictedSymbol));
        running.send(sell(single("leaves", 10))).await;
    });
}
