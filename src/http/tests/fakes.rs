//! Actors, a store and clocks that note what they are asked, and answer as they are told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use actix_web::web;
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tranche_actors::commands::{
    CancelOrder, CancelParent, CanceledParent, ChangeLimits, ChangedLimits, ClearCause, ClearedCause, CommandError,
    CompareNow, Desk, Disengage, Engage, EngageAnswer, InstanceOutcome, MoveCapital, ReadVolume, Released, Reset,
    ResolveOrder, ResumeParent, SubmitOrder, SubmitParent, SubmittedOrder, SubmittedParent, SwitchDesk, Trip, Tripped,
};
use tranche_actors::domain::audit::{AuditAction, AuditEntry, Audited};
use tranche_actors::domain::breaker::BreakerState;
use tranche_actors::domain::keys::{ApiKey, KeyId};
use tranche_actors::domain::kill::{EngageOrder, Engaged, KillState};
use tranche_actors::domain::ledger::{CancelCounts, SwitchEntry};
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::liquidity::{Liquidity, Volume};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, Role, Symbol};
use tranche_actors::domain::once::{FirstAnswer, Once};
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::{Parent, ParentStatus};
use tranche_actors::domain::portfolio::{CapitalEntry, CapitalKind, DayResult, Opening, Portfolio};
use tranche_actors::domain::position::Position;
use tranche_actors::domain::reconciliation::{Cause, CauseId, CauseKind, Comparison, Difference};
use tranche_actors::domain::request::{Asked, PlanRules};
use tranche_actors::domain::resuming::Resumes;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Side;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::gate::{GateWriters, InFlight, ProcessGate, ProcessWriters, ShutReason};
use tranche_actors::health::{Health, Phase, Standing};
use tranche_actors::market_hours::MarketHours;
use tranche_actors::ports::Clock;
use tranche_actors::ports::store::{
    Acquired, AnyOrder, Batch, Commit, Confirmation, DueSlice, HeldPosition, InstanceCard, LedgerEvent, OrderFilter,
    Ownership, Page, ParentFilter, SeenAccount, SeenInstance, Stack, Store, StoreError, Switches,
};
use tranche_actors::supervisor::Offices;
use tranche_actors::{Doubtful, Office};

use crate::http::auth::Access;
use crate::http::{About, Forwarding, HttpState, Limits, Shared, StopTrading, metrics};
use crate::keys::{self, NewKey};

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

pub(super) struct Clerk(pub(super) Notes);

impl Actor for Clerk {
    type Context = Context<Self>;
}

pub(super) fn asked(by: Caller, key: Option<IdempotencyKey>) -> Asked {
    Asked { by, key, at: now() }
}

impl Handler<SubmitParent> for Clerk {
    type Result = Result<SubmittedParent, CommandError>;

    fn handle(&mut self, message: SubmitParent, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.0.keep_hash(&message.request.request_hash);
        let planned = message.request.plan(&rules(), &asked(message.by, message.key));
        let (mut parent, slices) = planned.map_err(CommandError::Invalid)?;
        parent.status = ParentStatus::Working;
        parent.progress.pending_qty = parent.qty.get();
        let replayed = self.0.with(|noted| {
            noted.slices.insert(parent.id.clone(), slices.clone());
            let any = AnyOrder::Parent(Box::new(parent.clone()));
            noted.orders.insert(parent.id.clone(), any).is_some()
        });
        Ok(SubmittedParent { replayed, parent, slices })
    }
}

impl Handler<SubmitOrder> for Clerk {
    type Result = Result<SubmittedOrder, CommandError>;

    fn handle(&mut self, message: SubmitOrder, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.0.keep_hash(&message.request.request_hash);
        let order = message.request.order(&rules(), &asked(message.by, message.key));
        let order = order.map_err(CommandError::Invalid)?;
        let any = AnyOrder::Order(Box::new(order.clone()));
        let replayed = self.0.with(|noted| noted.orders.insert(order.id.clone(), any).is_some());
        Ok(SubmittedOrder { replayed, order })
    }
}

impl Clerk {
    pub(super) fn order(&self, id: &OrderId) -> Result<Order, CommandError> {
        match self.0.with(|noted| noted.orders.get(id).cloned()) {
            Some(AnyOrder::Order(order)) => Ok(*order),
            Some(AnyOrder::Parent(_)) | None => Err(CommandError::NotFound),
        }
    }
}

impl Handler<ChangeLimits> for Clerk {
    type Result = Result<ChangedLimits, CommandError>;

    fn handle(&mut self, message: ChangeLimits, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        let before = LimitBook::default();
        Ok(ChangedLimits { after: before.clone().changed(&message.changes, &message.who, now()), before })
    }
}

impl Handler<CancelParent> for Clerk {
    type Result = Result<CanceledParent, CommandError>;

    fn handle(&mut self, message: CancelParent, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        match self.0.with(|noted| noted.orders.get(&message.id).cloned()) {
            Some(AnyOrder::Parent(parent)) => Ok(CanceledParent {
                parent: Parent { status: ParentStatus::Canceling, ..*parent },
                counts: CancelCounts {
                    pending_canceled: 3,
                    open_cancel_requested: 1,
                    already_terminal: 1,
                    in_flight: 0,
                },
            }),
            Some(AnyOrder::Order(_)) | None => Err(CommandError::NotFound),
        }
    }
}

impl Handler<ResumeParent> for Clerk {
    type Result = Result<Parent, CommandError>;

    fn handle(&mut self, message: ResumeParent, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        match self.0.with(|noted| noted.orders.get(&message.id).cloned()) {
            Some(AnyOrder::Parent(parent)) => Ok(Parent { status: ParentStatus::Working, paused: None, ..*parent }),
            Some(AnyOrder::Order(_)) | None => Err(CommandError::NotFound),
        }
    }
}

impl Handler<CancelOrder> for Clerk {
    type Result = Result<Order, CommandError>;

    fn handle(&mut self, message: CancelOrder, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.order(&message.id)
    }
}

impl Handler<ResolveOrder> for Clerk {
    type Result = Result<Order, CommandError>;

    fn handle(&mut self, message: ResolveOrder, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        self.order(&message.id)
    }
}

impl Handler<Disengage> for Clerk {
    type Result = Result<Released, CommandError>;

    fn handle(&mut self, message: Disengage, _: &mut Context<Self>) -> Self::Result {
        self.0.with(|noted| noted.last_once = message.by.once.as_deref().cloned());
        self.0.take(&message)?;
        let released = engaged().disengage(&message.operator, message.notes.as_deref(), now());
        let state = released.ok_or(CommandError::NotEngaged)?;
        let account = AccountName::parse("default").unwrap();
        let parent_order_ids = vec![OrderId::parse("abc").unwrap()];
        Ok(Released { state, resumes: Some(vec![Resumes { account, parents: 1, slices: 3, parent_order_ids }]) })
    }
}

impl Handler<Trip> for Clerk {
    type Result = Result<Tripped, CommandError>;

    fn handle(&mut self, message: Trip, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        let today = DayEnd::new_york().trading_day(now());
        let tripped = BreakerState::default().trip(&message.reason, message.details, now(), today);
        Ok(Tripped { state: tripped.unwrap(), not_durable: vec!["redis"] })
    }
}

impl Handler<Reset> for Clerk {
    type Result = Result<BreakerState, CommandError>;

    fn handle(&mut self, message: Reset, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        let tripped = BreakerState::default().trip("MANUAL", None, now(), now().date_naive()).unwrap();
        Ok(tripped.reset(&message.operator, &message.reason, now(), chrono::TimeDelta::seconds(300))?)
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

impl Handler<ClearCause> for Clerk {
    type Result = Result<ClearedCause, CommandError>;

    fn handle(&mut self, message: ClearCause, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        let known = ["b-1", "b-2"].contains(&message.cause.as_str());
        let cause = known.then(|| orphan(message.cause.as_str())).ok_or(CommandError::NotFound)?;
        Ok(ClearedCause { cause, released: false })
    }
}

impl Handler<MoveCapital> for Clerk {
    type Result = Result<Portfolio, CommandError>;

    fn handle(&mut self, message: MoveCapital, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)?;
        Ok(worth())
    }
}

impl Handler<CompareNow> for Clerk {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, message: CompareNow, _: &mut Context<Self>) -> Self::Result {
        self.0.take(&message)
    }
}

impl Handler<ReadVolume> for Clerk {
    type Result = Result<Volume, CommandError>;

    fn handle(&mut self, _: ReadVolume, _: &mut Context<Self>) -> Self::Result {
        Ok(Liquidity::new(2_500.into(), Decimal::ONE).map_or(Volume::Off, Volume::Known))
    }
}

/// An order at the broker that is not ours.
fn orphan(id: &str) -> Cause {
    Cause {
        id: CauseId::parse(id).unwrap(),
        kind: CauseKind::Orphan,
        symbol: Symbol::parse("MSFT").unwrap(),
        broker_order_id: BrokerOrderId::parse(id).ok(),
        found: json!({"client_order_id": "foreign", "qty": "10"}),
        since: now(),
        cleared: None,
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

struct Lever(Notes);

#[async_trait(?Send)]
impl StopTrading for Lever {
    async fn engage(&self, engage: Engage) -> Result<EngageAnswer, CommandError> {
        self.0.take(&engage)?;
        let scope = engage.scope;
        Ok(EngageAnswer {
            scope,
            state: engaged(),
            engagement_id: "e-1".to_owned(),
            unknown: vec![OrderId::parse("abc").unwrap()],
            cancel_requested: 2,
            cancel_confirmed: 1,
            cancel_failed: 1,
            flatten_orders: Vec::new(),
            instances: vec![InstanceOutcome { id: "one".to_owned(), outcome: "confirmed" }],
            not_durable: vec!["database"],
            covers: "all",
        })
    }
}

#[async_trait]
impl Store for Notes {
    async fn order(&self, id: &OrderId) -> Result<Option<AnyOrder>, StoreError> {
        self.read(|noted| noted.orders.get(id).cloned())
    }

    async fn slices(&self, parent: &OrderId) -> Result<Vec<Order>, StoreError> {
        self.read(|noted| noted.slices.get(parent).cloned().unwrap_or_default())
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Page<Order>, StoreError> {
        self.read(|noted| {
            noted.filters.push(format!("{filter:?}"));
            let singles = noted.orders.values().filter_map(|any| match any {
                AnyOrder::Order(order) => Some(*order.clone()),
                AnyOrder::Parent(_) => None,
            });
            Page { items: singles.collect(), next: Some(17) }
        })
    }

    async fn parents(&self, filter: &ParentFilter) -> Result<Page<Parent>, StoreError> {
        self.read(|noted| {
            noted.filters.push(format!("{filter:?}"));
            let parents = noted.orders.values().filter_map(|any| match any {
                AnyOrder::Parent(parent) => Some(*parent.clone()),
                AnyOrder::Order(_) => None,
            });
            Page { items: parents.collect(), next: None }
        })
    }

    async fn events(&self, id: &OrderId) -> Result<Vec<LedgerEvent>, StoreError> {
        self.read(|noted| {
            let of_it = |event: &&LedgerEvent| event.order.as_ref() == Some(id);
            noted.events.iter().filter(of_it).cloned().collect()
        })
    }

    async fn due_slices(
        &self,
        parent: &OrderId,
        _: Option<(DateTime<Utc>, u32)>,
        _: u32,
    ) -> Result<Vec<DueSlice>, StoreError> {
        self.read(|noted| {
            let slices = noted.slices.get(parent).into_iter().flatten();
            let due = slices.filter(|order| order.status == OrderStatus::PendingNew).map(|order| DueSlice {
                id: order.id.clone(),
                slice_num: order.slice.as_ref().unwrap().slice_num,
                due: order.scheduled_time,
                qty: order.qty,
            });
            due.take(1).collect()
        })
    }

    async fn limits(&self, _: Option<u64>) -> Result<Option<LimitBook>, StoreError> {
        Ok(Some(LimitBook::default()))
    }

    async fn has_switch_entry(&self, _: &str, _: &str, _: DateTime<Utc>) -> Result<bool, StoreError> {
        unreachable!("only the switches ask this")
    }

    async fn audit(&self, cursor: Option<u64>, limit: u32) -> Result<Page<Audited>, StoreError> {
        self.read(|noted| {
            noted.filters.push(format!("audit {cursor:?} {limit}"));
            let entry = AuditEntry {
                by: Caller::parse("ann").unwrap(),
                operator: Some("Ann".to_owned()),
                action: AuditAction::ResolveOrder,
                subject: "abc".to_owned(),
                before: Some(json!({"status": "submitted_unconfirmed"})),
                after: Some(json!({"status": "canceled"})),
                request_id: Some("r-1".to_owned()),
            };
            Page { items: vec![Audited { id: 7, at: now(), account: Some(account()), entry }], next: Some(7) }
        })
    }

    async fn switch_history(&self, switch: &str, limit: u32) -> Result<Vec<SwitchEntry>, StoreError> {
        self.read(|noted| {
            noted.filters.push(format!("{switch} {limit}"));
            vec![SwitchEntry {
                event: "ENGAGED".to_owned(),
                timestamp: now(),
                operator: "ops".to_owned(),
                reason: Some("prices look wrong".to_owned()),
                details: Some(json!({"ticket": 7})),
            }]
        })
    }

    async fn open(&self) -> Result<(), StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn acquire(&self, _: &AccountName, _: &str, _: Option<Duration>) -> Result<Acquired, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn renew(&self, _: &Ownership, _: Duration) -> Result<(), StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn release(&self, _: &Ownership) -> Result<(), StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn heartbeat(&self, _: &InstanceCard) -> Result<(), StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn farewell(&self, _: &str) -> Result<(), StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn stack(&self) -> Result<Stack, StoreError> {
        self.read(|noted| noted.stack.clone())
    }

    async fn commit(&self, _: &Batch) -> Result<Commit, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn settle(&self, _: &Batch) -> Result<bool, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn by_key(&self, _: &Caller, _: &IdempotencyKey) -> Result<Option<AnyOrder>, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn open_parents(&self, _: &AccountName) -> Result<Vec<Parent>, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn open_orders(&self, _: &AccountName) -> Result<Vec<Order>, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn marked_orders(&self, _: &AccountName) -> Result<Vec<Order>, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn unknown_orders(&self) -> Result<Vec<OrderId>, StoreError> {
        self.read(|_| vec![OrderId::parse("in-doubt").unwrap()])
    }

    async fn switches(&self) -> Result<Switches, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    fn is_shared(&self) -> bool {
        unreachable!("not HTTP's to ask")
    }

    async fn confirm(&self, _: &str, _: &str, _: &[OrderId]) -> Result<(), StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn confirmations(&self, _: &str) -> Result<Vec<Confirmation>, StoreError> {
        unreachable!("not HTTP's to ask")
    }

    async fn first_answer(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<FirstAnswer>, StoreError> {
        self.read(|noted| {
            let (first, misses) = noted.answers.get_mut(&(caller.clone(), key.clone()))?;
            let left = *misses;
            *misses = left.saturating_sub(1);
            (left == 0).then(|| first.clone())
        })
    }

    async fn api_key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        if self.with(|noted| noted.store_hangs) {
            std::future::pending::<()>().await;
        }
        self.read(|noted| noted.keys.iter().find(|key| key.id == *id).cloned())
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(|noted| noted.keys.clone())
    }

    async fn causes(&self, _: &AccountName) -> Result<Vec<Cause>, StoreError> {
        assert!(!self.with(|noted| noted.panics), "out of luck");
        self.read(|_| vec![orphan("b-1"), orphan("b-2")])
    }

    async fn positions(&self, _: &AccountName) -> Result<Vec<HeldPosition>, StoreError> {
        let mut position = Position::default().traded(Side::Buy, 10.into(), 1_000.into());
        position.last = Some((110.into(), now()));
        let symbol = Symbol::parse("AAPL").unwrap();
        self.read(|_| vec![HeldPosition { symbol, position, updated_at: now() }])
    }

    async fn portfolio(&self, _: &AccountName) -> Result<Portfolio, StoreError> {
        self.read(|_| worth())
    }

    async fn capital(&self, _: &AccountName, _: Option<u64>, _: u32) -> Result<Vec<CapitalEntry>, StoreError> {
        self.read(|_| vec![booked()])
    }

    async fn days(&self, _: &AccountName, _: Option<NaiveDate>, _: u32) -> Result<Vec<DayResult>, StoreError> {
        self.read(|_| vec![a_day()])
    }

    async fn close(&self) {}
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

fn booked() -> CapitalEntry {
    CapitalEntry {
        number: 7,
        kind: CapitalKind::Fee,
        amount: Decimal::new(-5, 1),
        before: 1_051.into(),
        after: Decimal::new(10_505, 1),
        day: "2026-11-23".parse().unwrap(),
        order: OrderId::parse("it-traded").ok(),
        symbol: Symbol::parse("AAPL").ok(),
        actor: "gateway".to_owned(),
        reason: None,
        at: now(),
    }
}

fn a_day() -> DayResult {
    let opening = Opening { equity: 1_000.into(), unrealised_pnl: 5.into(), at: now() };
    let day = "2026-11-23".parse().unwrap();
    let booked = DayResult { realised_pnl: 51.into(), fees: Decimal::new(5, 1), ..DayResult::new(day) };
    DayResult { executions: 3, orders: 2, opening: Some(opening), ..booked }
}
