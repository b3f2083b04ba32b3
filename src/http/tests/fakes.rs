//! Actors, a store and clocks that note what they are asked, and answer as they are told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Handler, Message};
use actix_web::web;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tranche_actors::commands::{CommandError, Desk, SwitchDesk};
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::keys::ApiKey;
use tranche_actors::domain::kill::{EngageOrder, Engaged, KillState};
use tranche_actors::domain::names::{AccountName, Caller, IdempotencyKey, OrderId, Role, Symbol};
use tranche_actors::domain::once::{FirstAnswer, Once};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::portfolio::Portfolio;
use tranche_actors::domain::reconciliation::{Comparison, Difference};
use tranche_actors::domain::request::{Asked, PlanRules};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::gate::{GateWriters, InFlight, ProcessGate, ProcessWriters, ShutReason};
use tranche_actors::health::{Health, Phase, Standing};
use tranche_actors::market_hours::MarketHours;
use tranche_actors::ports::Clock;
use tranche_actors::ports::store::{AnyOrder, InstanceCard, LedgerEvent, SeenAccount, SeenInstance, Stack, StoreError};
use tranche_actors::supervisor::Offices;
use tranche_actors::{Doubtful, Office};

use crate::http::auth::Access;
use crate::http::{About, Forwarding, HttpState, Limits, Shared, metrics};
use crate::keys::{self, NewKey};

pub(super) use clerk::Clerk;

use clerk::Lever;

mod books;
mod clerk;

pub(super) fn now() -> DateTime<Utc> {
    "2026-11-21T14:30:00.123456Z".parse().unwrap()
}

pub(super) fn rules() -> PlanRules {
    PlanRules {
        instruments: BTreeMap::new(),
        accounts: vec![account()],
        max_slices: 25_000,
        orders_per_minute: None,
        refuse_past_close: false,
        adv_pct: None,
    }
}

pub(super) fn account() -> AccountName {
    AccountName::parse("default").unwrap()
}

pub(super) fn asked(by: Caller, key: Option<IdempotencyKey>) -> Asked {
    Asked { by, key, at: now() }
}

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> DateTime<Utc> {
        now()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn boottime(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// What was sent to the desk and to the switch, and what they are told to answer.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    sent: Vec<String>,
    hashes: Vec<String>,
    refuse_with: Option<CommandError>,
    orders: HashMap<OrderId, AnyOrder>,
    slices: HashMap<OrderId, Vec<Order>>,
    events: Vec<LedgerEvent>,
    filters: Vec<String>,
    store_is_down: bool,
    store_hangs: bool,
    keys: Vec<ApiKey>,
    answers: BTreeMap<(Caller, IdempotencyKey), (FirstAnswer, u32)>,
    last_once: Option<Once>,
    panics: bool,
    stack: Stack,
}

impl Notes {
    fn with<T>(&self, change: impl FnOnce(&mut Noted) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(super) fn sent(&self) -> Vec<String> {
        self.with(|noted| noted.sent.clone())
    }

    /// A key that lives; its text.
    pub(super) fn give_key(&self, name: &str, role: Role) -> String {
        let provider = rustls::crypto::ring::default_provider();
        let NewKey { id, text, hash } = keys::make(provider.secure_random).unwrap();
        let name = Caller::parse(name).unwrap();
        let key = ApiKey { id, name, role, hash, created_at: now(), revoked_at: None };
        self.with(|noted| noted.keys.push(key));
        text
    }

    pub(super) fn keys(&self) -> Vec<ApiKey> {
        self.with(|noted| noted.keys.clone())
    }

    /// Every key of that name is taken back.
    pub(super) fn revoke(&self, name: &str) {
        self.with(|noted| {
            noted.keys.iter_mut().filter(|key| key.name.as_str() == name).for_each(|key| key.revoked_at = Some(now()));
        });
    }

    /// The store says nothing any more when it is asked for a key.
    pub(super) fn hang(&self) {
        self.with(|noted| noted.store_hangs = true);
    }

    /// How a repetition of the last release is known.
    pub(super) fn last_once(&self) -> Option<Once> {
        self.with(|noted| noted.last_once.clone())
    }

    /// The store knows the answer to a request with a key.
    pub(super) fn remember(&self, caller: &str, key: &str, hash: &str, answer: &Value, at: DateTime<Utc>) {
        let name = (Caller::parse(caller).unwrap(), IdempotencyKey::parse(key).unwrap());
        let first = FirstAnswer { hash: hash.to_owned(), answer: answer.clone(), at };
        self.with(|noted| noted.answers.insert(name, (first, 0)));
    }

    /// The same, but for the first time that it is asked for it.
    pub(super) fn remember_late(&self, caller: &str, key: &str, hash: &str, answer: &Value, at: DateTime<Utc>) {
        self.remember(caller, key, hash, answer, at);
        self.with(|noted| noted.answers.values_mut().for_each(|(_, misses)| *misses = 1));
    }

    /// Another instance is known, and reached there.
    pub(super) fn meet(&self, id: &str, address: Option<String>) {
        let version = "1.0.0".to_owned();
        let card = InstanceCard { id: id.to_owned(), address, version, started_at: now() };
        self.with(|noted| noted.stack.instances.push(SeenInstance { card, age: Duration::from_secs(2) }));
    }

    /// Every other instance was last heard so long ago.
    pub(super) fn silence(&self, age: Duration) {
        self.with(|noted| noted.stack.instances.iter_mut().for_each(|seen| seen.age = age));
    }

    /// Another instance has the account.
    pub(super) fn lease_to(&self, owner: &str) {
        self.lease_for(owner, Duration::from_millis(7_900));
    }

    /// Another instance has the account, for so long.
    pub(super) fn lease_for(&self, owner: &str, left: Duration) {
        let (owner, left) = (Some(owner.to_owned()), Some(left));
        self.with(|noted| noted.stack.accounts.clear());
        self.with(|noted| noted.stack.accounts.push(SeenAccount { account: account(), owner, term: 8, left }));
    }

    pub(super) fn panic(&self) {
        self.with(|noted| noted.panics = true);
    }

    pub(super) fn hashes(&self) -> Vec<String> {
        self.with(|noted| noted.hashes.clone())
    }

    pub(super) fn keep_hash(&self, hash: &str) {
        self.with(|noted| noted.hashes.push(hash.to_owned()));
    }

    pub(super) fn filters(&self) -> Vec<String> {
        self.with(|noted| noted.filters.clone())
    }

    pub(super) fn refuse_with(&self, error: CommandError) {
        self.with(|noted| noted.refuse_with = Some(error));
    }

    pub(super) fn store_is_down(&self) {
        self.with(|noted| noted.store_is_down = true);
    }

    pub(super) fn keep_event(&self, event: LedgerEvent) {
        self.with(|noted| noted.events.push(event));
    }

    pub(super) fn keep_order(&self, order: Order) {
        self.with(|noted| noted.orders.insert(order.id.clone(), AnyOrder::Order(Box::new(order))));
    }

    /// Every order is of that account.
    pub(super) fn move_to(&self, account: &AccountName) {
        self.with(|noted| {
            for any in noted.orders.values_mut() {
                match any {
                    AnyOrder::Parent(parent) => parent.account.clone_from(account),
                    AnyOrder::Order(order) => order.account.clone_from(account),
                }
            }
        });
    }

    pub(super) fn take(&self, message: &impl std::fmt::Debug) -> Result<(), CommandError> {
        self.with(|noted| {
            noted.sent.push(format!("{message:?}"));
            noted.refuse_with.clone().map_or(Ok(()), Err)
        })
    }

    fn read<T>(&self, read: impl FnOnce(&mut Noted) -> T) -> Result<T, StoreError> {
        self.with(|noted| {
            if noted.store_is_down {
                return Err(StoreError::Unavailable { detail: "SELECT secret FROM nowhere".to_owned() });
            }
            Ok(read(noted))
        })
    }
}

/// A switch that somebody engaged.
pub(super) fn engaged() -> KillState {
    let order = EngageOrder {
        operator: "ops".to_owned(),
        reason: "prices look wrong".to_owned(),
        details: Some(json!({"ticket": 7})),
        mode: tranche_actors::domain::kill::KillMode::Cancel,
    };
    let today = DayEnd::new_york().trading_day(now());
    match KillState::default().engage(&order, now(), today) {
        Engaged::New(state) | Engaged::Escalated(state) => KillState { engagement_id: Some("e-1".to_owned()), ..state },
        Engaged::Already => panic!("the default is not engaged"),
    }
}

/// A comparison that found a position to differ.
pub(super) fn compared() -> Comparison {
    let differs = Difference {
        symbol: Symbol::parse("AAPL").unwrap(),
        ours: 10.into(),
        theirs: Decimal::new(125, 1),
        confirmed: true,
    };
    Comparison { at: now(), took: Duration::from_millis(7), failed: None, differences: vec![differs] }
}

/// A gateway that serves, open to its own machine.
pub(super) struct Fixture {
    pub(super) notes: Notes,
    pub(super) state: HttpState,
    pub(super) gate: GateWriters,
    /// The keys as the server has read them last, if it has.
    pub(super) last_read: Option<Vec<ApiKey>>,
}

impl Fixture {
    /// Needs an actor system.
    pub(super) fn ready() -> Self {
        let notes = Notes::default();
        let clerk = Clerk(notes.clone()).start();
        fn to<M>(clerk: &actix::Addr<Clerk>) -> actix::Recipient<M>
        where
            M: Message + Send + 'static,
            M::Result: Send,
            Clerk: Handler<M>,
            <Clerk as Actor>::Context: actix::dev::ToEnvelope<Clerk, M>,
        {
            clerk.clone().recipient()
        }
        let (process, ProcessWriters { kill_switch, breaker, supervisor }) = ProcessGate::new();
        let (gate, account_writer) = process.account();
        let writers = GateWriters { kill_switch, breaker, supervisor, account: account_writer };
        writers.kill_switch.clear(ShutReason::KillSwitchUnknown);
        writers.breaker.clear(ShutReason::CircuitBreakerUnknown);
        for reason in [ShutReason::Starting, ShutReason::BrokerUnavailable] {
            writers.account.clear(reason);
        }
        writers.kill_switch.renew(Duration::from_secs(60));
        let health = Health::default();
        health.enter(Phase::Ready);
        health.set_kill(Some(KillState::default()));
        health.set_breaker(Some(BreakerState::default()));
        let of_account = health.account(&account());
        of_account.become_ready();
        of_account.stand(Standing::Owner { term: 3 });
        let office = Office {
            account: account(),
            desk: Desk {
                submit_parent: to(&clerk),
                submit_order: to(&clerk),
                replace_order: to(&clerk),
                cancel_parent: to(&clerk),
                resume_parent: to(&clerk),
                cancel_order: to(&clerk),
                resolve: to(&clerk),
                clear_cause: to(&clerk),
                move_capital: to(&clerk),
                compare: to(&clerk),
                note_compared: to(&clerk),
                volume: to(&clerk),
            },
            plan_rules: Arc::new(rules()),
            health: of_account,
            gate,
            market_hours: MarketHours::always_open(),
            in_flight: InFlight::default(),
            doubtful: Doubtful::default(),
        };
        let state = HttpState {
            accounts: Offices::new(office, Vec::new()),
            switches: SwitchDesk { disengage: to(&clerk), trip: to(&clerk), reset: to(&clerk), limits: to(&clerk) },
            kill_switch: Arc::new(Lever(notes.clone())),
            gate: process,
            store: Arc::new(notes.clone()),
            health,
            clock: Arc::new(StillClock),
            day_end: DayEnd::new_york(),
            access: Access::Open,
            metrics_public: false,
            metrics: metrics::install().unwrap(),
            limits: Limits::default(),
            forwarding: Forwarding { silent: Duration::from_secs(10), in_the_clear: false },
            about: About { mode: "paper".to_owned(), broker: "paper".to_owned(), instance: "one".to_owned() },
        };
        Self { notes, state, gate: writers, last_read: None }
    }

    /// Changes what there is to know of the account.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Office)) {
        let mut office = self.state.accounts.first().clone();
        change(&mut office);
        self.state.accounts = Offices::new(office, Vec::new());
    }

    pub(super) fn shared(&self) -> web::Data<Shared> {
        let shared = Shared::new(self.state.clone());
        self.last_read.clone().into_iter().for_each(|keys| shared.keys.take(keys));
        web::Data::new(shared)
    }
}

/// An order that has traded, with every field that can be there.
pub(super) fn traded(order: &Order) -> Order {
    Order {
        status: OrderStatus::Filled,
        broker_order_id: tranche_actors::domain::names::BrokerOrderId::parse("B-1").ok(),
        attempt: 1,
        filled_qty: order.qty.get(),
        filled_cost: order.qty.get() * Decimal::new(1_001_250, 4),
        reason_code: Some("why".to_owned()),
        error_message: Some("because".to_owned()),
        submitted_at: Some(now()),
        terminal_at: Some(now()),
        ..order.clone()
    }
}

/// An account that was paid in to, and won.
pub(super) fn worth() -> Portfolio {
    Portfolio {
        initial_capital: 1_000.into(),
        net_capital: 1_000.into(),
        closed_equity: Decimal::new(10_505, 1),
        high_water_mark: 1_060.into(),
        peak_result: 60.into(),
        entries: 7,
        version: 4,
    }
}
