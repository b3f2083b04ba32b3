//! What a batch speaks of, loaded by sets: which rows that are is the same on every backend.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use tranche_actors::domain::ledger::{Books, CIRCUIT_BREAKER, FIRST_START, HALTS, KILL_SWITCH, Keys, LIMITS};
use tranche_actors::domain::names::{AccountName, BrokerOrderId, OrderId, Symbol};
use tranche_actors::domain::order::Order;
use tranche_actors::ports::store::{Batch, StoreError, Switches};

use super::capital;
use super::cells::{self, Cells};
use super::rows::{LimitsRevision, kind};

/// A backend's statements; each takes a set of ids, or of pairs of them.
pub(super) struct Statements {
    /// Caller, key and id, by pairs of caller and key.
    pub(super) by_key: &'static str,
    /// What was answered, by pairs of caller and key.
    pub(super) answers: &'static str,
    /// By id.
    pub(super) orders: &'static str,
    /// What has not ended of parents.
    pub(super) open_children: &'static str,
    /// All slices of parents, and what took their place.
    pub(super) children: &'static str,
    /// An order's whole chain, by the first of it.
    pub(super) chains: &'static str,
    /// With their rows of `orders`, by id.
    pub(super) parents: &'static str,
    /// By the broker's id of their order.
    pub(super) executions: &'static str,
    /// By pairs of account and symbol.
    pub(super) positions: &'static str,
    /// By account.
    pub(super) portfolio: &'static str,
    /// By pairs of account and day.
    pub(super) days: &'static str,
    /// What nobody has cleared, of accounts.
    pub(super) open_causes: &'static str,
    /// By pairs of account and cause.
    pub(super) causes: &'static str,
    /// By name.
    pub(super) switches: &'static str,
}

/// A connection in the transaction of a batch.
pub(super) trait Tables {
    type Row: Cells + Send + Sync;

    const SQL: Statements;

    /// The rows that a set names; it is never empty.
    fn named(
        &mut self,
        sql: &'static str,
        ids: Vec<&str>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;

    /// The rows that a set of pairs names; it is never empty.
    fn paired(
        &mut self,
        sql: &'static str,
        pairs: Vec<(&str, &str)>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;
}

/// The books of a batch, before its writes.
pub(super) async fn load<T: Tables>(tables: &mut T, batch: &Batch) -> Result<Books, StoreError> {
    let mut keys = Keys::default();
    for write in &batch.writes {
        write.add_keys(&mut keys);
    }
    let mut books = Books::new(batch.writer.account().cloned(), batch.at, batch.day_end);
    let mut named = std::mem::take(&mut keys.orders);
    named.append(&mut keys.positions_of.clone());
    for row in
        by_pairs(tables, T::SQL.by_key, keys.callers_keys.iter().map(|(caller, key)| (caller.as_str(), key.as_str())))
            .await?
    {
        let id = cells::cell(&row, "client_order_id", cells::order_id)?;
        let key = (cells::cell(&row, "caller", cells::caller)?, cells::cell(&row, "idempotency_key", cells::key)?);
        named.insert(id.clone());
        books.keys.insert(key, id);
    }
    load_answers(tables, &keys, batch, &mut books).await?;
    let mut parents = std::mem::take(&mut keys.parents);
    let by_id = by_ids(tables, T::SQL.orders, named.iter().map(OrderId::as_str)).await?;
    let open_children = by_ids(tables, T::SQL.open_children, keys.open_children_of.iter().map(OrderId::as_str)).await?;
    for row in by_id.iter().chain(&open_children) {
        take_order(&mut books, &mut parents, row)?;
    }
    let chained = books.orders.values().filter(|order| order.is_chained());
    let chains = chained.map(|order| order.chain().clone()).collect::<BTreeSet<_>>();
    for row in by_ids(tables, T::SQL.chains, chains.iter().map(OrderId::as_str)).await? {
        take_order(&mut books, &mut parents, &row)?;
    }
    let executions_of = executions_of(&books, &mut keys);
    for row in by_ids(tables, T::SQL.parents, parents.iter().map(OrderId::as_str)).await? {
        let parent = cells::parent(&row)?;
        books.parents.insert(parent.id.clone(), parent);
    }
    for row in by_ids(tables, T::SQL.executions, executions_of.iter().map(BrokerOrderId::as_str)).await? {
        let execution = cells::execution(&row)?;
        let key = (execution.broker_order_id.clone(), execution.cum_qty);
        books.executions.insert(key, execution);
    }
    if let (true, Some(account)) = (keys.quarantine, batch.writer.account()) {
        let account = account.as_str();
        let mut rows = by_ids(tables, T::SQL.open_causes, [account].into_iter()).await?;
        let of_account = keys.causes.iter().map(|cause| (account, cause.as_str()));
        rows.extend(by_pairs(tables, T::SQL.causes, of_account).await?);
        for row in rows {
            let cause = cells::cause(&row)?;
            books.causes.insert(cause.id.clone(), cause);
        }
    }
    if let Some(account) = batch.writer.account() {
        load_portfolio(tables, &mut books, &keys, (account.as_str(), batch)).await?;
    }
    let switches = [KILL_SWITCH, HALTS, CIRCUIT_BREAKER, FIRST_START].into_iter().filter(|_| keys.switches);
    for row in by_ids(tables, T::SQL.switches, switches.chain(keys.limits.then_some(LIMITS))).await? {
        take_switch(&mut books, &row)?;
    }
    load_positions(tables, &keys, &mut books).await?;
    Ok(books)
}

async fn load_positions<T: Tables>(tables: &mut T, keys: &Keys, books: &mut Books) -> Result<(), StoreError> {
    let positions = positions_of(books, keys);
    for row in by_pairs(
        tables,
        T::SQL.positions,
        positions.iter().map(|(account, symbol)| (account.as_str(), symbol.as_str())),
    )
    .await?
    {
        let key = (cells::cell(&row, "account", cells::account)?, cells::cell(&row, "symbol", cells::symbol)?);
        books.positions.insert(key, cells::position(&row)?);
    }
    Ok(())
}

async fn load_portfolio<T: Tables>(
    tables: &mut T,
    books: &mut Books,
    keys: &Keys,
    (account, batch): (&str, &Batch),
) -> Result<(), StoreError> {
    if !keys.portfolio {
        return Ok(());
    }
    for row in by_ids(tables, T::SQL.portfolio, [account].into_iter()).await? {
        books.portfolio = capital::portfolio(&row)?;
    }
    let days = keys.trading_days(batch.day_end, batch.at).iter().map(NaiveDate::to_string).collect::<Vec<_>>();
    for row in by_pairs(tables, T::SQL.days, days.iter().map(|day| (account, day.as_str()))).await? {
        let result = capital::day(&row)?;
        books.days.insert(result.day, result);
    }
    Ok(())
}

/// First answers that still count.
async fn load_answers<T: Tables>(
    tables: &mut T,
    keys: &Keys,
    batch: &Batch,
    books: &mut Books,
) -> Result<(), StoreError> {
    let answers = keys.answers.iter().map(|(caller, key)| (caller.as_str(), key.as_str()));
    for row in by_pairs(tables, T::SQL.answers, answers).await? {
        let key = (cells::cell(&row, "caller", cells::caller)?, cells::cell(&row, "idempotency_key", cells::key)?);
        let first = cells::first_answer(&row)?;
        books.answers.extend(first.is_kept(batch.at).then_some((key, first)));
    }
    Ok(())
}

/// A switch that can't be read counts as missing here: an engagement, a trip or an operator's word may replace it.
fn take_switch(books: &mut Books, row: &impl Cells) -> Result<(), StoreError> {
    let state = row.json("state")?.unwrap_or_default();
    match row.text("switch")? {
        Some(KILL_SWITCH) => books.kill = serde_json::from_str(state).ok(),
        Some(HALTS) => {
            let halts = serde_json::from_str(state).ok();
            books.halts_are_unreadable = halts.is_none();
            books.halts = halts.unwrap_or_default();
        }
        Some(CIRCUIT_BREAKER) => books.breaker = serde_json::from_str(state).ok(),
        Some(FIRST_START) => books.first_start = serde_json::from_str(state).ok(),
        // Not so the limits: without them nothing is claimed.
        Some(LIMITS) => books.limits = cells::json::<LimitsRevision>(row, "state")?.revision,
        Some(_) | None => {}
    }
    Ok(())
}

/// A row of the switches, as it is asked for: what makes no sense is named, and keeps no other from being read.
pub(super) fn read_switch(switches: &mut Switches, row: &impl Cells) -> Result<(), StoreError> {
    let state = row.json("state")?.unwrap_or_default();
    let (name, is_read) = match row.text("switch")? {
        Some(KILL_SWITCH) => (KILL_SWITCH, into(&mut switches.kill, state)),
        Some(HALTS) => {
            let mut halts = None;
            let is_read = into(&mut halts, state);
            switches.halts = halts.unwrap_or_default();
            (HALTS, is_read)
        }
        Some(CIRCUIT_BREAKER) => (CIRCUIT_BREAKER, into(&mut switches.breaker, state)),
        Some(FIRST_START) => (FIRST_START, into(&mut switches.first_start, state)),
        Some(_) | None => return Ok(()),
    };
    if !is_read {
        switches.unreadable.push(name);
    }
    Ok(())
}

/// Whether it could be read.
fn into<T: serde::de::DeserializeOwned>(place: &mut Option<T>, state: &str) -> bool {
    *place = serde_json::from_str(state).ok();
    place.is_some()
}

/// All ids share one space, so an id that was meant as an order's may turn out to be a parent's.
fn take_order(books: &mut Books, parents: &mut BTreeSet<OrderId>, row: &impl Cells) -> Result<(), StoreError> {
    if row.text("kind")? == Some(kind::PARENT) {
        parents.insert(cells::cell(row, "client_order_id", cells::order_id)?);
        return Ok(());
    }
    let order = cells::order(row)?;
    parents.extend(order.slice.as_ref().map(|slice| slice.parent.clone()));
    books.orders.insert(order.id.clone(), order);
    Ok(())
}

/// What an order of a chain has filled is carried on by those behind it, so its executions count there too.
fn executions_of(books: &Books, keys: &mut Keys) -> BTreeSet<BrokerOrderId> {
    let mut wanted = std::mem::take(&mut keys.executions_of);
    let reported = keys.positions_of.iter().filter_map(|id| books.orders.get(id)).filter(|order| order.is_chained());
    let chains = reported.map(Order::chain).collect::<BTreeSet<_>>();
    let members = books.orders.values().filter(|order| order.is_chained() && chains.contains(order.chain()));
    wanted.extend(members.filter_map(|order| order.broker_order_id.clone()));
    wanted
}

fn positions_of(books: &Books, keys: &Keys) -> BTreeSet<(AccountName, Symbol)> {
    keys.positions_of
        .iter()
        .filter_map(|id| books.orders.get(id))
        .map(|order| (order.account.clone(), order.instruction.symbol.clone()))
        .collect()
}

/// No question where the set is empty.
async fn by_ids<'k, T: Tables>(
    tables: &mut T,
    sql: &'static str,
    ids: impl Iterator<Item = &'k str>,
) -> Result<Vec<T::Row>, StoreError> {
    let ids = ids.collect::<Vec<_>>();
    if ids.is_empty() { Ok(Vec::new()) } else { tables.named(sql, ids).await }
}

async fn by_pairs<'k, T: Tables>(
    tables: &mut T,
    sql: &'static str,
    pairs: impl Iterator<Item = (&'k str, &'k str)>,
) -> Result<Vec<T::Row>, StoreError> {
    let pairs = pairs.collect::<Vec<_>>();
    if pairs.is_empty() { Ok(Vec::new()) } else { tables.paired(sql, pairs).await }
}
