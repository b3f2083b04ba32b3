//! The store, as far as HTTP asks it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::json;
use tranche_actors::domain::audit::{AuditAction, AuditEntry, Audited};
use tranche_actors::domain::keys::{ApiKey, KeyId};
use tranche_actors::domain::ledger::SwitchEntry;
use tranche_actors::domain::limits::LimitBook;
use tranche_actors::domain::names::{AccountName, BrokerOrderId, Caller, IdempotencyKey, OrderId, Symbol};
use tranche_actors::domain::once::FirstAnswer;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::parent::Parent;
use tranche_actors::domain::portfolio::{CapitalEntry, CapitalKind, DayResult, Opening, Portfolio};
use tranche_actors::domain::position::Position;
use tranche_actors::domain::reconciliation::{Cause, CauseId, CauseKind};
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::Side;
use tranche_actors::ports::store::{
    Acquired, AnyOrder, Batch, Claimed, Commit, Confirmation, DueSlice, HeldPosition, InstanceCard, LedgerEvent,
    OrderFilter, Ownership, Page, ParentFilter, Stack, Store, StoreError, Switches,
};

use super::{Notes, account, now, worth};

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

    async fn claims_since(&self, _: &AccountName, _: DateTime<Utc>) -> Result<Vec<Claimed>, StoreError> {
        panic!("HTTP asks for no claims")
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

/// An order at the broker that is not ours.
pub(super) fn orphan(id: &str) -> Cause {
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
