//! What a batch speaks of, what the rules make of it, and what the tables would refuse.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use tranche_actors::domain::ledger::{Books, Keys};
use tranche_actors::domain::names::OrderId;
use tranche_actors::domain::order::{Order, Origin};
use tranche_actors::domain::reconciliation::Cause;
use tranche_actors::ports::store::{Batch, Commit, PortfolioConflict, PositionConflict, StoreError, Writer};

use super::ledger::{Ledger, Named};

impl Ledger {
    /// What a batch comes to, and the books as they are after it; nothing is saved.
    pub(super) fn decide(&self, batch: &Batch) -> Result<(Commit, Books), StoreError> {
        let may_write = match &batch.writer {
            Writer::Owner(ownership) => self.account(&ownership.account).is_some_and(|row| row.is_owned(ownership)),
            Writer::Guest(account) => self.account(account).is_some(),
            Writer::Nobody => true,
        };
        if !may_write {
            return Err(StoreError::Deposed);
        }
        let mut keys = Keys::default();
        for write in &batch.writes {
            write.add_keys(&mut keys);
        }
        let mut books = self.load(keys, batch);
        let results = batch.writes.iter().map(|write| books.apply(write)).collect();
        self.check_ids(&books)?;
        self.check_keys(&books)?;
        self.check_executions(&books)?;
        self.check_positions(&books)?;
        self.check_portfolio(&books, batch)?;
        Ok((results, books))
    }

    fn load(&self, keys: Keys, batch: &Batch) -> Books {
        let account = batch.writer.account();
        let mut books = Books::new(account.cloned(), batch.at, batch.day_end);
        books.limits = self.limits.revision;
        if let (true, Some(account)) = (keys.portfolio, account) {
            books.portfolio = self.portfolio(account);
            let known = self.days.get(account);
            let wanted = keys.trading_days(batch.day_end, batch.at).into_iter();
            books.days.extend(wanted.filter_map(|day| Some((day, known?.get(&day)?.clone()))));
        }
        if keys.switches {
            books.kill.clone_from(&self.kill);
            books.halts.clone_from(&self.halts);
            books.breaker.clone_from(&self.breaker);
            books.first_start.clone_from(&self.first_start);
        }
        let mut parents = keys.parents;
        for key in keys.callers_keys {
            if let Some(id) = self.keys.get(&key) {
                self.take(id, &mut books, &mut parents);
                books.keys.insert(key, id.clone());
            }
        }
        for key in keys.answers {
            let kept = self.answers.get(&key).filter(|first| first.is_kept(books.at));
            books.answers.extend(kept.map(|first| (key, first.clone())));
        }
        for id in &keys.orders {
            self.take(id, &mut books, &mut parents);
        }
        for parent in &keys.open_children_of {
            for order in self.indices.open_children(parent).filter_map(|place| self.orders.get(place)) {
                take_order(order, &mut books, &mut parents);
            }
        }
        let chained = books.orders.values().filter(|order| order.is_chained());
        for first in chained.map(|order| order.chain().clone()).collect::<BTreeSet<_>>() {
            for order in self.chain(&first) {
                take_order(order, &mut books, &mut parents);
            }
        }
        for parent in parents.iter().filter_map(|id| self.parent(id)) {
            books.parents.insert(parent.id.clone(), parent.clone());
        }
        let mut executions_of = keys.executions_of;
        for order in keys.positions_of.iter().filter_map(|id| self.order(id)).filter(|order| order.is_chained()) {
            executions_of.extend(self.chain(order.chain()).filter_map(|order| order.broker_order_id.clone()));
        }
        for id in &executions_of {
            let of_it = self.executions.range((id.clone(), Decimal::MIN)..).take_while(|((order, _), _)| order == id);
            books.executions.extend(of_it.map(|(key, (_, execution))| (key.clone(), execution.clone())));
        }
        if let Some(row) = account.and_then(|account| self.account(account)) {
            let needed =
                |cause: &&Cause| keys.causes.contains(&cause.id) || (keys.quarantine && cause.cleared.is_none());
            books.causes.extend(row.causes.values().filter(needed).map(|cause| (cause.id.clone(), cause.clone())));
        }
        for order in keys.positions_of.iter().filter_map(|id| self.order(id)) {
            if let Some(held) = self.held(&order.account, &order.instruction.symbol) {
                let place = (order.account.clone(), held.symbol.clone());
                books.positions.insert(place, held.position.clone());
            }
        }
        books
    }

    /// All ids share one space, so an id that was meant as an order's may turn out to be a parent's.
    fn take(&self, id: &OrderId, books: &mut Books, parents: &mut BTreeSet<OrderId>) {
        match self.ids.get(id) {
            Some(Named::Parent(_)) => {
                parents.insert(id.clone());
            }
            Some(Named::Order(place)) => {
                if let Some(order) = self.orders.get(*place) {
                    take_order(order, books, parents);
                }
            }
            None => {}
        }
    }

    /// An id names one order of any kind; a slice has a parent that says who asked for it, a single order and a
    /// replacement say it themselves.
    fn check_ids(&self, books: &Books) -> Result<(), StoreError> {
        let changes = &books.changes;
        let twice = changes.new_orders.intersection(&changes.new_parents).next();
        let taken = || changes.new_orders.iter().chain(&changes.new_parents).find(|id| self.ids.contains_key(*id));
        if let Some(id) = twice.or_else(taken) {
            return Err(refused(format!("{id} exists already")));
        }
        let misplaced = |order: &&Order| (order.slice.is_some() && order.replaces.is_none()) == order.origin.is_some();
        match changes.new_orders.iter().filter_map(|id| books.orders.get(id)).find(misplaced) {
            Some(order) => Err(refused(format!("{} is neither a slice nor a single order", order.id))),
            None => Ok(()),
        }
    }

    fn check_keys(&self, books: &Books) -> Result<(), StoreError> {
        let orders = books.changes.new_orders.iter().filter_map(|id| books.orders.get(id)?.origin.as_ref());
        let parents = books.changes.new_parents.iter().filter_map(|id| Some(&books.parents.get(id)?.origin));
        let mut new = BTreeSet::new();
        for key in orders.chain(parents).filter_map(key_of) {
            if self.keys.contains_key(&key) || !new.insert(key) {
                return Err(refused("an idempotency key names something already".to_owned()));
            }
        }
        Ok(())
    }

    fn check_executions(&self, books: &Books) -> Result<(), StoreError> {
        let mut new = BTreeSet::new();
        for (order, execution) in &books.changes.executions {
            let key = (execution.broker_order_id.clone(), execution.cum_qty);
            if self.executions.contains_key(&key) || !new.insert(key) {
                return Err(refused(format!("an execution of {order} exists already")));
            }
        }
        Ok(())
    }

    /// So does what an account is worth.
    fn check_portfolio(&self, books: &Books, batch: &Batch) -> Result<(), StoreError> {
        let Some(account) = batch.writer.account().filter(|_| books.changes.portfolio) else { return Ok(()) };
        let (expected, found) = (books.portfolio.version.saturating_sub(1), self.portfolio(account).version);
        if expected == found {
            return Ok(());
        }
        Err(refused(PortfolioConflict { account: account.clone(), expected, found }.to_string()))
    }

    /// A position replaces the version before, and no other.
    fn check_positions(&self, books: &Books) -> Result<(), StoreError> {
        for key in &books.changes.positions {
            let (account, symbol) = key;
            let found = self.held(account, symbol).map_or(0, |held| held.position.version);
            let version = books.positions.get(key).map_or(0, |position| position.version);
            let expected = version.saturating_sub(1);
            if version == 0 || expected != found {
                let conflict = PositionConflict { symbol: symbol.clone(), expected, found };
                return Err(refused(conflict.to_string()));
            }
        }
        Ok(())
    }
}

fn take_order(order: &Order, books: &mut Books, parents: &mut BTreeSet<OrderId>) {
    parents.extend(order.slice.as_ref().map(|of| of.parent.clone()));
    books.orders.insert(order.id.clone(), order.clone());
}

/// The caller and the key of a request that came with one.
pub(super) fn key_of(origin: &Origin) -> Option<super::ledger::Key> {
    Some((origin.caller.clone(), origin.key.clone()?))
}

const fn refused(detail: String) -> StoreError {
    StoreError::Constraint { detail }
}
