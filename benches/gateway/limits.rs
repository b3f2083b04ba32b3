//! What the figures are measured against: the store alone, and timers alone.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tranche::clock::{SystemClock, SystemEntropy};
use tranche::storage::lock::DataLock;
use tranche::storage::sqlite::{SqliteSettings, SqliteStore};
use tranche_actors::domain::ids::DEFAULT_NAME;
use tranche_actors::domain::ledger::{Submission, Write};
use tranche_actors::domain::money::Qty;
use tranche_actors::domain::names::{AccountName, Caller, IdempotencyKey, StrategyId, Symbol};
use tranche_actors::domain::plan::{Schedule, Span};
use tranche_actors::domain::policy::{CatchUp, Completion};
use tranche_actors::domain::request::{Asked, ParentRequest, PlanRules};
use tranche_actors::domain::terms::{Instruction, Side, Terms, TimeInForce};
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{Acquired, Batch, Ownership, Store, Writer};
use tranche_actors::ports::{Clock, Entropy};

use super::figures::{count, ms};
use super::server::Folder;

/// A ledger without anything around it.
pub(crate) struct Ledger {
    store: SqliteStore,
    ownership: Ownership,
    // The last to go: the store works in it.
    _folder: Folder,
}

impl Ledger {
    pub(crate) async fn open() -> Self {
        let folder = Folder::new();
        let lock = Arc::new(DataLock::take(folder.path()).unwrap());
        let store = SqliteStore::new(lock, SqliteSettings::default());
        store.open().await.unwrap();
        let account = AccountName::parse(DEFAULT_NAME).unwrap();
        let Acquired::Taken(ownership) = store.acquire(&account, "bench", None).await.unwrap() else {
            panic!("nobody else has the account");
        };
        Self { store, ownership, _folder: folder }
    }

    /// How long it takes to commit writes, all of which have to be taken.
    async fn commit(&self, writes: Vec<Write>) -> Duration {
        let batch = Batch {
            writer: Writer::Owner(self.ownership.clone()),
            nonce: SystemEntropy.bits(),
            at: SystemClock.now(),
            day_end: DayEnd::new_york(),
            writes,
        };
        let began = Instant::now();
        let results = self.store.commit(&batch).await.unwrap();
        let took = began.elapsed();
        assert!(results.iter().all(Result::is_ok), "a write was refused");
        took
    }

    /// Commits of nothing but the account's row, one after the other, in milliseconds.
    pub(crate) async fn probes(&self, times: u32) -> Vec<f64> {
        let mut took = Vec::new();
        for _ in 0..times {
            took.push(ms(self.commit(vec![Write::Probe]).await));
        }
        self.store.close().await;
        took
    }
}

/// Submissions a second, where so many are committed straight to a new store, so many a commit on average. Their making
/// is not counted, only their commits.
pub(crate) async fn same_writes(submissions: usize, mean: f64) -> f64 {
    let ledger = Ledger::open().await;
    let request = ten_slices();
    let account = ledger.ownership.account.clone();
    let rules = PlanRules {
        instruments: BTreeMap::new(),
        accounts: vec![account],
        max_slices: 25_000,
        orders_per_minute: None,
        refuse_past_close: false,
        adv_pct: None,
    };
    let (mut made, mut batches, mut took) = (0_usize, 0_u32, Duration::ZERO);
    while made < submissions {
        batches += 1;
        let mut writes = Vec::new();
        // Sizes of whole numbers whose mean is the one asked for.
        while made < submissions && count(made) < mean * f64::from(batches) {
            writes.push(submission(&request, &rules, made));
            made += 1;
        }
        if !writes.is_empty() {
            took += ledger.commit(writes).await;
        }
    }
    ledger.store.close().await;
    count(submissions) / took.as_secs_f64()
}

/// The same as the clients of the server ask for.
fn ten_slices() -> ParentRequest {
    let account = AccountName::parse(DEFAULT_NAME).unwrap();
    ParentRequest {
        instruction: Instruction {
            symbol: Symbol::parse("AAPL").unwrap(),
            side: Side::Buy,
            terms: Terms::Market,
            time_in_force: TimeInForce::Day,
            extended_hours: false,
        },
        qty: Qty::new(Decimal::from(600)).unwrap(),
        schedule: Schedule {
            span: Span::Seconds(NonZeroU32::new(600).unwrap()),
            interval_seconds: NonZeroU32::new(60).unwrap(),
            start_time: Some(SystemClock.now() + chrono::TimeDelta::days(30)),
            max_slice_qty: None,
            randomize: None,
        },
        trade_date: None,
        strategy_id: StrategyId::parse(DEFAULT_NAME).unwrap(),
        account,
        client_order_id: None,
        catch_up: CatchUp::Skip,
        completion: Completion::of(TimeInForce::Day),
        request_hash: "0123456789abcdef".repeat(4),
    }
}

fn submission(request: &ParentRequest, rules: &PlanRules, number: usize) -> Write {
    let asked = Asked {
        by: Caller::parse("local").unwrap(),
        key: Some(IdempotencyKey::parse(&format!("bench-{number}")).unwrap()),
        at: SystemClock.now(),
    };
    let (mut parent, slices) = request.plan(rules, &asked).unwrap();
    assert!(slices.len() == 10, "a parent of ten slices");
    parent.arrival_price = Some(Decimal::new(123_455, 3));
    Write::Submit(Box::new(Submission::Parent { parent, slices }))
}

/// How late so many timers fire that are set to one instant, in milliseconds.
pub(crate) async fn timers(number: u32) -> Vec<f64> {
    let due = Instant::now() + Duration::from_millis(500);
    let mut sleeping = JoinSet::new();
    for _ in 0..number {
        sleeping.spawn(async move {
            tokio::time::sleep_until(due).await;
            ms(due.elapsed())
        });
    }
    let mut late = Vec::new();
    while let Some(one) = sleeping.join_next().await {
        late.push(one.unwrap());
    }
    late
}
