//! What is simulated: the market, what clients ask for, and what goes wrong.

use std::num::NonZeroU32;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tranche_actors::commands::{CancelParent, SubmitOrder, SubmitParent};
use tranche_actors::domain::breaker::ErrorRule;
use tranche_actors::domain::guards::GuardRules;
use tranche_actors::domain::kill::KillMode;
use tranche_actors::domain::limits::{LimitScope, LockRule};
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::{AccountName, Caller, IdempotencyKey, OrderId, StrategyId, Symbol};
use tranche_actors::domain::plan::{Schedule, Span};
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::request::{ParentRequest, PlanRules, SingleRequest};
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::market::engine::Rules;
use tranche_actors::market::faults::Faults;
use tranche_actors::market::quotes::Quotes;
use tranche_actors::market::walk::Walk;
use tranche_actors::ports::store::InstanceCard;
use tranche_actors::tuning::{CalendarSource, Tuning};

use crate::changes::Change;
use crate::clock::{EPOCH, Seeded};
use crate::controls::Control;
use crate::faults::{Fault, FaultKind};
use crate::requests::Request;

/// A scenario; the same one is always the same run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What chance is drawn from.
    pub seed: u64,
    /// The wall time at its start.
    pub start: DateTime<Utc>,
    /// The prices.
    pub quotes: Quotes,
    /// The rules of the venue.
    pub rules: Rules,
    /// How long an answer of the venue takes at least.
    pub latency: Duration,
    /// By how much it may take longer.
    pub spread: Duration,
    /// What clients ask, and when.
    pub requests: Vec<(Duration, Request)>,
    /// What clients change of what is open, and when.
    pub changes: Vec<(Duration, Change)>,
    /// What people who watch over trading do.
    pub controls: Vec<Control>,
    /// What goes wrong at the venue at any time, by chance.
    pub background: Faults,
    /// What goes wrong besides, in the order of its time.
    pub faults: Vec<Fault>,
    /// Until when the schedules need time: nothing heals before, and no client loses its patience.
    pub busy: Duration,
    /// The numbers that the actors work by.
    pub tuning: Tuning,
}

/// How large a drawn scenario is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many parents.
    pub parents: u32,
    /// How many slices each.
    pub slices: u32,
    /// How many faults.
    pub faults: u32,
}

impl Size {
    /// The standard scenario: 20 parents of 30 slices, 50 faults.
    pub const STANDARD: Self = Self { parents: 20, slices: 30, faults: 50 };
}

/// The strategy of every third parent.
const OTHER: &str = "other";
/// All that happens begins within this time.
const SPAN_MS: u64 = 180_000;
/// A trading day: 6.5 hours.
const DAY_S: u32 = 23_400;

impl Scenario {
    /// A scenario drawn from a seed.
    #[must_use]
    pub fn drawn(seed: u64, size: Size) -> Self {
        let chance = Seeded::new(seed);
        let requests = drawn_requests(&chance, size);
        let mut faults = Vec::new();
        for _ in 0..size.faults {
            let at = millis(2_000 + chance.below(SPAN_MS));
            faults.extend(FaultKind::drawn(&chance).into_iter().map(|kind| Fault { at, kind }));
        }
        // By chance of their own: what was drawn before there were controls stays as it was.
        let controls = crate::controls::drawn(&Seeded::new(seed ^ 0xC0_17A0), &requests, SPAN_MS);
        faults.extend(crashes_while_closing(&controls, &Seeded::new(seed ^ 0xC1_05E5)));
        faults.sort_by_key(|fault| fault.at);
        let mut tuning = tuning();
        // Low enough to be met by many, high enough to let most of it go.
        tuning.requests_per_minute = NonZeroU32::new(150 + small(&chance, 250));
        tuning.error_rule.enabled = chance.below(8) == 0;
        tuning.cancel_on_trip = chance.below(2) == 0;
        // A change takes place at once, or while the market may still come first.
        let replace_pending_ms = if chance.below(2) == 0 { 0 } else { chance.below(3_000) };
        let background = Faults { replace_pending_ms, ..Faults::default() };
        let changes = (0..size.parents * 2).map(|n| (millis(chance.below(SPAN_MS)), Change::drawn(&chance, n)));
        let changes = changes.collect();
        Self { requests, changes, controls, background, faults, tuning, ..Self::quiet(seed) }
    }

    /// A trading day: 6.5 hours, each parent worked from the open to the close, nothing goes wrong.
    #[must_use]
    pub fn day(seed: u64, parents: u32, slices: u32) -> Self {
        let interval = NonZeroU32::new(DAY_S / slices.max(1)).unwrap_or(NonZeroU32::MIN);
        let submit = |n: u32| {
            let terms = (Side::Buy, Terms::Market, TimeInForce::Day);
            let request = parent(&format!("day-{n:04}"), terms, "ACME", slices * 10, (slices, interval));
            (millis(10), Request::Parent(Box::new(SubmitParent { request, by: caller(), key: None })))
        };
        let mut tuning = tuning();
        (tuning.requests_per_minute, tuning.max_in_flight) = (None, 4_096);
        tuning.benchmark = Duration::from_secs(60);
        let requests = (0..parents).map(submit).collect();
        let busy = Duration::from_secs(DAY_S.into());
        Self { requests, busy, tuning, spread: Duration::ZERO, ..Self::quiet(seed) }
    }

    /// The same with these of its faults alone, by their places.
    #[must_use]
    pub fn with_only(&self, faults: &[usize]) -> Self {
        let faults = faults.iter().filter_map(|place| self.faults.get(*place)).cloned().collect();
        Self { faults, ..self.clone() }
    }

    /// A market, and nobody who wants anything.
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        Self {
            seed,
            start: EPOCH,
            quotes: Quotes::new(Walk::new(seed, 250), [].into()),
            rules: Rules::default(),
            latency: millis(5),
            spread: millis(20),
            requests: Vec::new(),
            changes: Vec::new(),
            controls: Vec::new(),
            background: Faults::default(),
            faults: Vec::new(),
            busy: Duration::ZERO,
            tuning: tuning(),
        }
    }
}

/// The parents of a drawn scenario, some single orders beside them, and a few cancels.
fn drawn_requests(chance: &Seeded, size: Size) -> Vec<(Duration, Request)> {
    let mut requests = Vec::new();
    for n in 0..size.parents {
        let at = millis(chance.below(60_000));
        let name = format!("parent-{n:02}");
        let interval = NonZeroU32::new(2 + small(chance, 5)).unwrap_or(NonZeroU32::MIN);
        // The walk shows 500 to 5,000 on either side: what is larger trades in parts.
        let large = if chance.below(4) == 0 { 150 } else { 1 };
        let lots = large * size.slices * (1 + small(chance, 40)) + small(chance, 29);
        let mut request = parent(&name, drawn_terms(chance), symbol_of(chance), lots, (size.slices, interval));
        if n % 3 == 0 {
            request.strategy_id = strategy_of(OTHER);
        }
        let key = (chance.below(3) == 0).then(|| IdempotencyKey::parse(&format!("key-{n}")).ok()).flatten();
        requests.push((at, Request::Parent(Box::new(SubmitParent { request, by: caller(), key }))));
        if chance.below(6) == 0 {
            let cancel = CancelParent { id: id(&name), by: caller() };
            requests.push((at + millis(1_000 + chance.below(120_000)), Request::CancelParent(cancel)));
        }
    }
    for n in 0..size.parents / 4 {
        let at = millis(chance.below(SPAN_MS));
        let request = single(&format!("single-{n}"), drawn_terms(chance), symbol_of(chance), 1 + small(chance, 300));
        requests.push((at, Request::Single(Box::new(SubmitOrder { request, by: caller(), key: None }))));
    }
    for n in 0..size.parents / 2 {
        // Near the market and larger than what it shows: there is something to change while these trade in parts.
        let at = millis(chance.below(SPAN_MS));
        let (side, _, _) = drawn_terms(chance);
        let near = Price::new(Decimal::new(9_900 + i64::from(small(chance, 200)), 2));
        let terms = (side, near.map_or(Terms::Market, |limit_price| Terms::Limit { limit_price }), TimeInForce::Day);
        let request = single(&format!("resting-{n}"), terms, symbol_of(chance), 5_000 + small(chance, 150_000));
        requests.push((at, Request::Single(Box::new(SubmitOrder { request, by: caller(), key: None }))));
    }
    requests.sort_by_key(|(at, _)| *at);
    requests
}

/// While positions are being closed the process dies more often than it would.
fn crashes_while_closing(controls: &[Control], chance: &Seeded) -> Vec<Fault> {
    let flattens = |control: &&Control| matches!(&control.request, Request::Engage(asked) if asked.mode.flattens());
    let crash = |control: &Control| {
        let at = control.at + millis(chance.below(12_000));
        let kind = FaultKind::Crash(1 + small(chance, 199), millis(chance.below(4_000)));
        (chance.below(2) == 0).then_some(Fault { at, kind })
    };
    controls.iter().filter(flattens).filter_map(crash).collect()
}

fn drawn_terms(chance: &Seeded) -> (Side, Terms, TimeInForce) {
    let side = if chance.below(2) == 0 { Side::Buy } else { Side::Sell };
    let price = |cents: i64| Price::new(Decimal::new(cents, 2)).ok();
    // Walks are at home at 100: some limits trade at once, some rest and trade later, some never do.
    let cents = 9_400 + i64::from(small(chance, 1_200));
    let limit = |cents| price(cents).map_or(Terms::Market, |limit_price| Terms::Limit { limit_price });
    let stop = |cents| price(cents).map_or(Terms::Market, |stop_price| Terms::Stop { stop_price });
    match chance.below(10) {
        0..=4 => (side, Terms::Market, TimeInForce::Day),
        5 | 6 => (side, limit(cents), TimeInForce::Day),
        7 => (side, limit(cents), TimeInForce::Gtc),
        8 => (side, limit(cents), TimeInForce::Ioc),
        _ => (side, stop(cents), TimeInForce::Day),
    }
}

pub(crate) fn symbol_of(chance: &Seeded) -> &'static str {
    match chance.below(3) {
        0 => "ACME",
        1 => "INIT",
        _ => "UMBR",
    }
}

pub(crate) fn small(chance: &Seeded, most: u32) -> u32 {
    u32::try_from(chance.below(u64::from(most) + 1)).unwrap_or(0)
}

fn parent(
    name: &str,
    (side, terms, time_in_force): (Side, Terms, TimeInForce),
    of: &str,
    qty: u32,
    (slices, interval_seconds): (u32, NonZeroU32),
) -> ParentRequest {
    let span = NonZeroU32::new(slices * interval_seconds.get()).unwrap_or(NonZeroU32::MIN);
    ParentRequest {
        instruction: Instruction { symbol: symbol(of), side, terms, time_in_force, extended_hours: false },
        qty: units(qty),
        schedule: Schedule {
            span: Span::Seconds(span),
            interval_seconds,
            start_time: None,
            max_slice_qty: None,
            randomize: None,
        },
        trade_date: None,
        strategy_id: strategy(),
        account: account(),
        client_order_id: Some(id(name)),
        catch_up: CatchUp::Skip,
        completion: Completion::of(time_in_force),
        request_hash: name.to_owned(),
    }
}

fn single(name: &str, (side, terms, time_in_force): (Side, Terms, TimeInForce), of: &str, qty: u32) -> SingleRequest {
    SingleRequest {
        instruction: Instruction { symbol: symbol(of), side, terms, time_in_force, extended_hours: false },
        qty: units(qty),
        trade_date: None,
        strategy_id: strategy(),
        account: account(),
        client_order_id: Some(id(name)),
        request_hash: name.to_owned(),
    }
}

fn tuning() -> Tuning {
    let account = account();
    Tuning {
        card: InstanceCard { id: "simulated".to_owned(), address: None, version: "0".to_owned(), started_at: EPOCH },
        tell_every: Duration::from_secs(10),
        lease: None,
        day_end: DayEnd::new_york(),
        plan_rules: PlanRules {
            instruments: [].into(),
            accounts: vec![account.clone()],
            max_slices: 25_000,
            orders_per_minute: None,
            refuse_past_close: false,
            adv_pct: None,
        },
        account,
        max_open_parents: 1_000,
        claim: Duration::from_secs(10),
        grace: Duration::from_secs(60),
        single_grace: Duration::from_secs(5),
        unknown_settle: millis(2_000),
        absent_settle: Duration::from_secs(120),
        reconcile: Duration::from_secs(60),
        submit_wait: millis(1_000),
        benchmark: Duration::from_secs(10),
        max_tries: 3,
        send_timeout: Duration::from_secs(10),
        max_in_flight: 64,
        max_queue: 20_000,
        requests_per_minute: NonZeroU32::new(400),
        gate_poll: millis(50),
        gate_open: millis(500),
        kill_settle: millis(2_000),
        second_operator: false,
        foreign_mode: KillMode::Cancel,
        quiet_period: Duration::from_secs(20),
        error_rule: ErrorRule {
            enabled: false,
            window: Duration::from_secs(60),
            min_count: 10,
            share_percent: 50,
            consecutive: 5,
        },
        calendar: CalendarSource::AlwaysOpen,
        position_tolerance: None,
        guards: GuardRules::default(),
        mark_every: Duration::from_secs(5),
        cancel_on_trip: false,
        commit_timeout: millis(1_000),
        probe: millis(1_000),
        heartbeat: millis(1_000),
        max_batch: 512,
        max_commits: 4_096,
        drain: Duration::from_secs(10),
        cancel_on_shutdown: false,
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// Constants of this file, which obey the rules of their types.
macro_rules! constant {
    ($name:ident, $type:ty) => {
        pub(crate) fn $name(text: &str) -> $type {
            <$type>::parse(text).expect("a constant that obeys its type's rules")
        }
    };
}

constant!(id, OrderId);
constant!(symbol, Symbol);
constant!(account_of, AccountName);
constant!(caller_of, Caller);
constant!(strategy_of, StrategyId);
constant!(rule_of, LockRule);

pub(crate) fn account() -> AccountName {
    account_of("default")
}

/// Whoever asks for something in a scenario.
#[must_use]
pub fn caller() -> Caller {
    caller_of("desk")
}

fn strategy() -> StrategyId {
    strategy_of("simulated")
}

/// Whose orders some limit is for, or some halt.
pub(crate) fn scope_of(chance: &Seeded) -> LimitScope {
    match chance.below(7) {
        0 => LimitScope::Account(account()),
        1 | 2 => LimitScope::Strategy(if chance.below(2) == 0 { strategy() } else { strategy_of(OTHER) }),
        _ => LimitScope::Symbol(symbol(symbol_of(chance))),
    }
}

#[expect(clippy::expect_used, reason = "a small number of units is a quantity")]
fn units(units: u32) -> Qty {
    Qty::new(Decimal::from(units.max(1))).expect("a quantity above zero")
}
