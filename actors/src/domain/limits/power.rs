//! What may be bought for: the broker's figure, kept for a moment, less what it can't have known of.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::domain::names::OrderId;
use crate::domain::order::Order;
use crate::domain::status::Share;

/// How often the broker is asked at most, whether it answers or not.
const RECENT: Duration = Duration::from_secs(5);
/// How old a figure may be where a limit asks for it.
const FRESH: Duration = Duration::from_secs(10);
/// How old it may be where nobody does.
const KEPT: Duration = Duration::from_secs(60);

/// The broker's buying power, and the orders that it can't have counted in it yet: those on their way, and those that have
/// reached it since it was asked. Times are of the clock that counts suspended time.
#[derive(Clone, Debug, Default)]
pub struct Power {
    told: Option<Told>,
    asked: Option<Duration>,
    bound: BTreeMap<OrderId, Bound>,
    /// What all of `bound` comes to.
    sum: Decimal,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    amount: Decimal,
    asked: Duration,
}

/// What an order takes up.
#[derive(Clone, Copy, Debug)]
struct Bound {
    value: Decimal,
    /// When the broker was known to have it.
    arrived: Option<Duration>,
}

impl Power {
    /// Whether it is time to ask the broker again.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        self.asked.is_none_or(|asked| asked + RECENT <= now)
    }

    /// The broker was asked then, and has told this, or nothing.
    pub fn tell(&mut self, amount: Option<Decimal>, asked: Duration) {
        self.asked = self.asked.max(Some(asked));
        if let Some(amount) = amount.filter(|_| self.told.is_none_or(|told| told.asked <= asked)) {
            self.told = Some(Told { amount, asked });
        }
        let from = self.told.map_or(Duration::ZERO, |told| told.asked).max(asked.saturating_sub(KEPT));
        self.bound.retain(|_, bound| bound.arrived.is_none_or(|arrived| from <= arrived));
        self.sum = self.bound.values().map(|bound| bound.value).sum();
    }

    /// An order is about to leave that takes up so much.
    pub fn bind(&mut self, id: &OrderId, value: Decimal) {
        self.release(id);
        self.bound.insert(id.clone(), Bound { value, arrived: None });
        self.sum += value;
    }

    /// It did not leave after all.
    pub fn release(&mut self, id: &OrderId) {
        self.sum -= self.bound.remove(id).map(|bound| bound.value).unwrap_or_default();
    }

    /// An order as it now is.
    pub fn note(&mut self, order: &Order, now: Duration) {
        match order.status.share() {
            Share::Pending => self.release(&order.id),
            Share::Unknown => {}
            // Also of what has ended some may have traded.
            Share::Working | Share::Unexecuted => {
                if let Some(bound) = self.bound.get_mut(&order.id) {
                    bound.arrived.get_or_insert(now);
                }
            }
        }
    }

    /// Whether an order is counted in what is left.
    #[must_use]
    pub fn counts(&self, id: &OrderId) -> bool {
        self.bound.contains_key(id)
    }

    /// What is left by the broker's last figure; `None` where there is none of late.
    #[must_use]
    pub fn left(&self, now: Duration) -> Option<Decimal> {
        self.left_within(KEPT, now)
    }

    /// The same by a fresh one.
    #[must_use]
    pub fn left_for_sure(&self, now: Duration) -> Option<Decimal> {
        self.left_within(FRESH, now)
    }

    fn left_within(&self, age: Duration, now: Duration) -> Option<Decimal> {
        let told = self.told.filter(|told| now < told.asked + age)?;
        Some(told.amount - self.sum)
    }
}
