//! What an account is exposed to and what it may yet buy for, kept together: what is on its way is taken off the broker's
//! figure where that can't have it yet.

use std::collections::BTreeSet;
use std::time::Duration;

use rust_decimal::Decimal;

use super::exposure::{Exposure, Wish};
use super::legs::Leg;
use super::power::Power;
use crate::domain::names::{OrderId, Symbol};
use crate::domain::order::Order;
use crate::domain::position::Position;

/// The room of one account. `uncounted` are the orders that the venue may not have yet, and that `power` doesn't count.
#[derive(Clone, Debug, Default)]
pub struct Room {
    exposure: Exposure,
    power: Power,
    uncounted: BTreeSet<(Symbol, OrderId)>,
}

impl Room {
    /// What is held and what is open.
    #[must_use]
    pub const fn exposure(&self) -> &Exposure {
        &self.exposure
    }

    /// The broker's buying power.
    #[must_use]
    pub const fn power(&self) -> &Power {
        &self.power
    }

    /// What is held and what is open, as it was read.
    pub fn load(&mut self, exposure: Exposure) {
        self.exposure = exposure;
        self.count();
    }

    /// A position as it now is.
    pub fn hold(&mut self, symbol: &Symbol, position: &Position) {
        self.exposure.hold(symbol, position);
    }

    /// An order as it now is.
    pub fn note(&mut self, order: &Order, now: Duration) {
        self.exposure.note(order, None);
        self.power.note(order, now);
        self.settle(&order.instruction.symbol, &order.id);
    }

    /// Keeps room for an order that is about to be claimed, and takes up so much of what may be bought for, where that is
    /// known and it doesn't only reduce.
    pub fn reserve(&mut self, wish: &Wish, worth: Option<Decimal>) {
        self.exposure.reserve(wish);
        if let Some(worth) = worth {
            self.power.bind(&wish.id, worth);
        }
        self.settle(&wish.symbol, &wish.id);
    }

    /// Gives the room back of an order that was not claimed after all.
    pub fn release(&mut self, symbol: &Symbol, id: &OrderId) {
        self.exposure.release(symbol, id);
        self.power.release(id);
        self.settle(symbol, id);
    }

    /// The broker was asked then for its buying power, and has told this, or nothing.
    pub fn tell(&mut self, amount: Option<Decimal>, asked: Duration) {
        self.power.tell(amount, asked);
        self.count();
    }

    /// The orders that the venue may not have yet and that the buying power doesn't count, without those of this chain.
    pub(super) fn uncounted(&self, beside: &OrderId) -> impl Iterator<Item = (&Symbol, &Leg)> {
        let legs = self.uncounted.iter().filter_map(|(symbol, id)| Some((symbol, self.exposure.leg(symbol, id)?)));
        legs.filter(move |(_, leg)| leg.chain != *beside)
    }

    fn settle(&mut self, symbol: &Symbol, id: &OrderId) {
        let key = (symbol.clone(), id.clone());
        if self.exposure.is_away(symbol, id) && !self.power.counts(id) {
            self.uncounted.insert(key);
        } else {
            self.uncounted.remove(&key);
        }
    }

    fn count(&mut self) {
        let uncounted = self.exposure.away().filter(|(_, id)| !self.power.counts(id));
        self.uncounted = uncounted.map(|(symbol, id)| (symbol.clone(), id.clone())).collect();
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::Qty;
    use crate::domain::names::{AccountName, StrategyId};
    use crate::domain::status::OrderStatus;
    use crate::domain::terms::{Instruction, Side, Terms, TimeInForce};

    fn order(number: u8, status: OrderStatus) -> Order {
        let strategy = StrategyId::parse("alpha").unwrap();
        let instruction = Instruction {
            symbol: Symbol::parse("AAPL").unwrap(),
            side: Side::Buy,
            terms: Terms::Market,
            time_in_force: TimeInForce::Day,
            extended_hours: false,
        };
        let (id, account) = (OrderId::parse(&format!("order-{number}")).unwrap(), AccountName::parse("main").unwrap());
        let order =
            Order::new(id, &instruction, Qty::new(10.into()).unwrap(), &account, &strategy, DateTime::UNIX_EPOCH);
        Order { status, ..order }
    }

    proptest! {
        #[test]
        fn what_is_on_its_way_is_counted_once_by_the_power_or_by_itself(
            steps in prop::collection::vec((0..6_u8, 0..4_u8, any::<bool>()), 1..60)
        ) {
            let mut room = Room::default();
            for (second, (step, number, has_worth)) in steps.into_iter().enumerate() {
                let now = Duration::from_secs(u64::try_from(second).unwrap());
                let noted = |status| order(number, status);
                match step {
                    0 => room.reserve(
                        &Wish::of(&noted(OrderStatus::PendingNew), &StrategyId::parse("alpha").unwrap()),
                        has_worth.then_some(Decimal::TEN),
                    ),
                    1 => room.note(&noted(OrderStatus::SubmittedUnconfirmed), now),
                    2 => room.note(&noted(OrderStatus::Accepted), now),
                    3 => room.note(&noted(OrderStatus::Filled), now),
                    4 => room.release(&noted(OrderStatus::PendingNew).instruction.symbol, &noted(OrderStatus::PendingNew).id),
                    _ => room.tell(has_worth.then_some(Decimal::ONE_HUNDRED), now),
                }
                let mut anew = room.clone();
                anew.count();
                prop_assert_eq!(&anew.uncounted, &room.uncounted);
            }
        }
    }
}
