//! Who has which account, and for how long; which instances there are.

use std::time::Duration;

use tokio::time::Instant;
use tranche_actors::domain::names::AccountName;
use tranche_actors::ports::store::{Acquired, InstanceCard, Ownership, SeenAccount, SeenInstance, Stack, StoreError};

use super::ledger::{Account, Ledger};

impl Ledger {
    pub(super) fn acquire(
        &mut self,
        account: &AccountName,
        instance: &str,
        lease: Option<Duration>,
        now: Instant,
    ) -> Acquired {
        let row = self.accounts.entry(Some(account.clone())).or_default();
        if row.term == 0 {
            row.history = self.history;
        }
        if let (Some(owner), Some(until), true) = (&row.owner, row.until, lease.is_some())
            && owner != instance
            && until > now
        {
            return Acquired::HeldBy { owner: owner.clone(), left: until - now };
        }
        row.term += 1;
        row.owner = Some(instance.to_owned());
        row.until = lease.map(|lease| now + lease);
        Acquired::Taken(Ownership { account: account.clone(), owner: instance.to_owned(), term: row.term })
    }

    pub(super) fn renew(&mut self, ownership: &Ownership, lease: Duration, now: Instant) -> Result<(), StoreError> {
        self.owned(ownership)?.until = Some(now + lease);
        Ok(())
    }

    pub(super) fn release(&mut self, ownership: &Ownership) -> Result<(), StoreError> {
        let row = self.owned(ownership)?;
        row.term += 1;
        row.owner = None;
        row.until = None;
        Ok(())
    }

    pub(super) fn is_rewound(&mut self, ownership: &Ownership) -> Result<bool, StoreError> {
        let history = self.history;
        Ok(self.owned(ownership)?.history != history)
    }

    pub(super) fn caught_up(&mut self, ownership: &Ownership) -> Result<(), StoreError> {
        let history = self.history;
        self.owned(ownership)?.history = history;
        Ok(())
    }

    fn owned(&mut self, ownership: &Ownership) -> Result<&mut Account, StoreError> {
        let row = self.accounts.get_mut(&Some(ownership.account.clone()));
        row.filter(|row| row.is_owned(ownership)).ok_or(StoreError::Deposed)
    }

    pub(super) fn heartbeat(&mut self, card: &InstanceCard, now: Instant) {
        self.instances.insert(card.id.clone(), (card.clone(), now));
    }

    pub(super) fn farewell(&mut self, instance: &str) {
        self.instances.remove(instance);
    }

    pub(super) fn stack(&self, now: Instant) -> Stack {
        let seen = |(card, at): &(InstanceCard, Instant)| SeenInstance { card: card.clone(), age: now - *at };
        let accounts = self.accounts.iter().filter_map(|(account, row)| {
            Some(SeenAccount {
                account: account.clone()?,
                owner: row.owner.clone(),
                term: row.term,
                left: row.until.map(|until| until.saturating_duration_since(now)),
            })
        });
        Stack { instances: self.instances.values().map(seen).collect(), accounts: accounts.collect() }
    }
}
