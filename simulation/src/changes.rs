//! What clients change of their orders while these are open, whichever that then are.

use std::time::Duration;

use rust_decimal::Decimal;
use tranche_actors::commands::ReplaceOrder;
use tranche_actors::domain::money::{Price, Qty};
use tranche_actors::domain::names::IdempotencyKey;
use tranche_actors::domain::order::Order;
use tranche_actors::domain::request::ReplaceRequest;
use tranche_actors::domain::status::OrderStatus;
use tranche_actors::domain::terms::{Prices, Terms};
use tranche_actors::ports::Entropy;

use crate::clock::Seeded;
use crate::scenario::caller;

/// Somebody wants other terms of one of the limit orders that are open.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which of them, counted round and round, and of what kind first.
    pub number: u64,
    /// The new limit price.
    pub price: Decimal,
    /// By how much the quantity of a single order changes.
    pub more: i64,
    /// The key under which it is asked for, if any.
    pub key: Option<IdempotencyKey>,
    /// After how long the same client cancels the order, by the id that it had before.
    pub cancelled_after: Option<Duration>,
}

impl Change {
    /// A change, drawn; its number names its key.
    #[must_use]
    pub fn drawn(chance: &Seeded, number: u32) -> Self {
        let cents = 9_600 + i64::try_from(chance.below(800)).unwrap_or(0);
        let more = if chance.below(2) == 0 { 0 } else { i64::try_from(chance.below(60)).unwrap_or(0) - 20 };
        let key = (chance.below(3) != 0).then(|| IdempotencyKey::parse(&format!("change-{number}")).ok()).flatten();
        // Most of these meet the change on its way.
        let longest = if chance.below(2) == 0 { 60 } else { 20_000 };
        let cancelled_after = (chance.below(4) == 0).then(|| Duration::from_millis(1 + chance.below(longest)));
        Self { number: chance.bits(), price: Decimal::new(cents, 2), more, key, cancelled_after }
    }

    /// What is asked for, of which of these orders; `None` while none of them can be changed.
    pub fn request<'a>(&self, orders: impl Iterator<Item = &'a Order>) -> Option<ReplaceOrder> {
        let open = orders.filter(|order| is_open(order)).collect::<Vec<_>>();
        let preferred = open.iter().filter(|order| self.prefers(order)).copied().collect::<Vec<_>>();
        let pool = if preferred.is_empty() { open } else { preferred };
        let place = usize::try_from(self.number / 6).unwrap_or(0).checked_rem(pool.len())?;
        let order = pool.get(place)?;
        let limit = Price::new(self.price).ok();
        let qty =
            (order.slice.is_none() && self.more != 0).then(|| Qty::new(order.qty.get() + Decimal::from(self.more)));
        let request = ReplaceRequest {
            qty: qty.and_then(Result::ok),
            prices: Prices { limit, ..Prices::default() },
            request_hash: format!("{} at {} by {}", order.id, self.price, self.more),
        };
        Some(ReplaceOrder { id: order.id.clone(), request, by: caller(), key: self.key.clone() })
    }

    fn prefers(&self, order: &Order) -> bool {
        match self.number % 6 {
            0 => order.is_chained(),
            1 | 2 => order.status == OrderStatus::PartiallyFilled,
            3 | 4 => order.slice.is_none(),
            _ => true,
        }
    }
}

fn is_open(order: &Order) -> bool {
    let is_live = matches!(order.status, OrderStatus::Submitted | OrderStatus::Accepted | OrderStatus::PartiallyFilled);
    is_live && order.cancel_requested_at.is_none() && matches!(order.instruction.terms, Terms::Limit { .. })
}
